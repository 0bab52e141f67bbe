"""A reader goes through a tutorial in the real window: docs/tutorials.py, with a small image and few iterations."""

import sys
from pathlib import Path

import pytest

from tests.viewer.docks import QUICK

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.skipif(not DOCS.exists(), reason="needs a checkout")
@pytest.mark.parametrize("page", ["denoise", "together", "superresolve", "samples", "general"])
def test_a_task_goes_as_its_page_says(viewer, qtbot, monkeypatch, tmp_path, page):
    monkeypatch.syspath_prepend(str(DOCS))
    import tutorials

    class Reader(tutorials.Reader):
        def starts_again(self):
            """Empty the window in place of closing it, as all tests have this one."""
            self.viewer.window.remove_dock_widget("all")
            self.viewer.layers.clear()

    window = viewer.window._qt_window
    theme, size = viewer.theme, window.size()
    viewer.window.show()
    try:
        tutorials.TUTORIALS[page](Reader(viewer, QUICK | {"iterations": 60 if page == "denoise" else 15}), tmp_path)
    finally:
        viewer.theme = theme
        window.resize(size)
        window.hide()
        sys.modules.pop("tutorials")
