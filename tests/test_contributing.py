"""The worked examples of CONTRIBUTING: each applies to the package as it is, and what it promises runs.

A worked example is a section of the third level. Its ``diff`` blocks are patches from the root of the repository, its
``py`` block is a tiny restoration that uses what they add and asserts what it says. Both run on a copy of the package,
which stands in for it within this process: another one would import torch again.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "CONTRIBUTING.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="needs a checkout")


@dataclass(frozen=True)
class Example:
    """What one section says to change, and the restoration that shows the change."""

    title: str
    patch: str
    code: str

    def __str__(self) -> str:
        return self.title


def examples(page: str) -> list[Example]:
    """The sections with a patch, in the order of the page."""
    found = []
    for section in re.split(r"^(?=##)", page, flags=re.MULTILINE):
        title, _, text = section.partition("\n")
        blocks = re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        patches = [block for kind, block in blocks if kind == "diff"]
        if title.startswith("### ") and patches:
            code = "".join(block for kind, block in blocks if kind == "py")
            found.append(Example(title.removeprefix("### "), "".join(patches), code))
    return found


def apply(example: Example, folder: Path) -> None:
    """Make the change on a copy of the package; a patch that does not fit is an error that names the line."""
    shutil.copytree(ROOT / "src", folder / "src")  # with what is compiled
    done = subprocess.run(["git", "apply", "-"], input=example.patch, cwd=folder, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def run(example: Example, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the restoration with the changed copy in place of the package."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "napari_dip"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(folder / "src")
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example.code, example.title, "exec"), names)
    assert names["napari_dip"].__file__.startswith(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "napari_dip"]:
        del sys.modules[name]


@pytest.mark.parametrize("example", examples(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else [], ids=str)
def test_a_worked_example_applies_and_runs(example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "import napari_dip\n" in example.code
    assert "assert" in example.code
    apply(example, tmp_path)
    run(example, tmp_path, monkeypatch)


def test_each_kind_of_change_has_an_example() -> None:
    kinds = {"A knob", "An argument of the problem", "A task", "A generator", "A stopping rule", "A method"}
    assert {example.title for example in examples(PAGE.read_text(encoding="utf-8"))} == kinds


def test_tests_lie_in_the_rooms_of_the_code() -> None:
    """A folder of tests is one of the package; those of the benchmarks stand beside it."""
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    rooms = {path.parent.relative_to(ROOT / "src/napari_dip") for path in (ROOT / "src/napari_dip").rglob("*.py")}
    assert folders - rooms == {Path("benchmarks")}


def test_an_example_that_is_no_longer_true_fails(tmp_path: Path) -> None:
    page = """
## How to add
### A name
```diff
--- a/src/napari_dip/py.typed
+++ b/src/napari_dip/py.typed
@@ -1 +1 @@
-this line was never there
+nor this one
```
```py
import napari_dip
```
### A sentence without a patch
"""
    (example,) = examples(page)
    assert (example.title, example.code) == ("A name", "import napari_dip\n")
    with pytest.raises(AssertionError, match="py.typed"):
        apply(example, tmp_path)
