"""The pages of the site say what the code says. `make docs` builds them; `test_printed` runs what they print."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from napari_dip.tables.presets import KINDS
from napari_dip.tables.settings import knobs
from napari_dip.tables.tasks import TASKS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="needs a checkout")


def messages() -> str:
    """All of the source, its texts in one piece, with ... where a value is filled in."""
    source = "\n".join(path.read_text() for path in (ROOT / "src/napari_dip").rglob("*.py"))
    whole = re.sub(r'"\s*\n\s*f?"', "", source)
    return re.sub(r"\{(?:[^{}]|\{[^{}]*\})*\}", "...", whole)


def test_messages_that_are_explained_are_some_that_the_code_says() -> None:
    said, quoted = messages(), []
    for line in (DOCS / "troubleshooting.md").read_text().splitlines():
        first = line.split("|")[1] if line.startswith("| ") else ""
        quoted += re.findall(r"\*([^*]+)\*|`([^`]+)`", first)
    parts = [part.strip(" :;,") for pair in quoted for part in "".join(pair).split("...")]
    parts = [part for part in parts if len(part) > 3]
    assert len(parts) > 20
    assert not [part for part in parts if part not in said]


def test_tables_have_every_knob_and_every_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    sys.modules.pop("tables", None)
    import tables

    listed = re.findall(r"^`(\w+)`$", tables.knobs_by_owner(), re.MULTILINE)
    assert sorted(listed) == sorted(knobs())
    presets = tables.presets_by_task()
    assert all(f"| `{name}` |" in presets for row in TASKS.values() for name in row.presets)
    assert all(f"| `{name}` |" in tables.kinds_of_image() for name in KINDS)


def test_pages_ask_for_tables_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    import tables

    asked = [name for page in DOCS.glob("*.md") for name in re.findall(r"<!-- (\w+) -->", page.read_text())]
    assert asked
    assert all(callable(getattr(tables, name)) for name in asked)


def test_every_page_is_in_the_table_of_contents() -> None:
    pages = {page.stem for page in DOCS.glob("*.md")} - {"index"}
    index = (DOCS / "index.md").read_text()
    trees = re.findall(r"^:::\{toctree\}\n(.*?)^:::", index, re.MULTILINE | re.DOTALL)
    assert pages == {line for tree in trees for line in tree.splitlines() if line and line[0] != ":"}
