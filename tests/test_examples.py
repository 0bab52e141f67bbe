"""The examples run: each script, and each notebook cell by cell, with short fits of small images."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.short import make_fits_short

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py") if path.name not in ("demo.py", "make_samples.py"))
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))

pytestmark = [
    pytest.mark.skipif(not EXAMPLES.exists(), reason="needs a checkout"),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # of so small images
]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["make_samples.py", "32"])
        runpy.run_path(str(EXAMPLES / "make_samples.py"))
    return folder


@pytest.fixture
def quick(samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the samples, and short fits."""
    make_fits_short(monkeypatch)
    for file in samples.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["example"])


def test_all_are_listed() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert len(SCRIPTS) >= 8
    assert len(NOTEBOOKS) >= 2
    assert [name for name in (*SCRIPTS, *NOTEBOOKS) if f"[{name}]({name})" not in listed] == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    assert capsys.readouterr().out.strip()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(name: str) -> None:
    cells = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)  # as small as its words
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in code:
        exec("".join(cell["source"]), names)
