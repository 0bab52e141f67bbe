"""Parts of the user's own in the window: a name in a Python file, which is run."""

import runpy
import shlex

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QApplication, QFileDialog, QInputDialog

from napari_dip import denoise, pictures
from napari_dip.command.cli import main
from napari_dip.viewer.ownparts import FROM_FILE, NONE
from tests.viewer.docks import QUICK, restored

PARTS = """
from torch import nn

def bending(image):
    return sum(image.diff(n=2, dim=axis).abs().mean() for axis in range(2, image.ndim))

def twice(image):
    return 2 * image

def power(image):
    return image**2
"""


@pytest.fixture
def mine(tmp_path):
    """A Python file with parts."""
    path = tmp_path / "mine.py"
    path.write_text(PARTS)
    return path


@pytest.fixture
def answer(monkeypatch):
    """Answers the questions for a file and a name in it; returns the names that were offered."""
    offered = []

    def answer(path, name=""):
        ask = lambda *args: offered.append(args[3]) or (name, bool(name))  # noqa: E731
        monkeypatch.setattr(QFileDialog, "getOpenFileName", staticmethod(lambda *_: (str(path), "")))
        monkeypatch.setattr(QInputDialog, "getItem", staticmethod(ask))
        return offered

    return answer


def test_a_run_with_parts_of_ones_own_is_that_of_the_api(viewer, dock, wait, picture, mine, answer):
    viewer.add_image(picture)
    widget = dock()
    row = widget.form.row("regulariser")
    assert answer(mine, "bending") == []
    row.value = FROM_FILE
    assert answer(mine, "twice") == [["bending", "twice", "power"]]
    widget.inputs.own.rows["operator"].value = FROM_FILE
    widget.form.set(regulariser_weight=0.02)
    assert row.value == f"{mine}:bending"
    widget.run_button.click()
    wait(lambda: not widget.running)
    (layer,) = restored(viewer)
    parts = runpy.run_path(str(mine))
    knobs = dict(regulariser=parts["bending"], operator=parts["twice"], regulariser_weight=0.02)
    found = denoise(picture, **QUICK | knobs | {"channels": 4}, threads=1, device="cpu", progress=False)
    assert np.array_equal(layer.data, found.image)
    assert {*layer.metadata["napari-dip"]["own_parts"]} == {"regulariser", "operator"}


@pytest.fixture
def run_with_parts(viewer, dock, wait, mine):
    """Restores the layer that is chosen with two parts; returns the dock and the result."""

    def run():
        widget = dock(regulariser_weight=0.02)
        widget.form.row("regulariser").offer(f"{mine}:bending")
        widget.inputs.own.rows["operator"].offer(f"{mine}:twice")
        widget.run_button.click()
        wait(lambda: not widget.running)
        (first,) = restored(viewer)
        return widget, first

    return run


def test_a_question_that_is_dismissed_changes_nothing(viewer, dock, picture, mine, answer):
    viewer.add_image(picture)
    widget = dock()
    before = widget.form.settings()
    for path, name in (("", ""), (mine, "")):
        answer(path, name)
        for row in (widget.form.row("generator"), widget.inputs.own.rows["denoiser"]):
            row.value = FROM_FILE
    assert widget.form.settings() == before
    assert widget.inputs.own.rows["denoiser"].value == NONE
    assert "generator" not in widget.form._touched


def test_a_file_that_fails_and_a_law_that_does_not_hold_are_said(viewer, dock, wait, picture, mine):
    viewer.add_image(picture)
    widget = dock()
    row = widget.inputs.own.rows["operator"]
    row.offer(f"{mine}:none")
    assert f"there is no none in {mine}" in widget._sentence.text()
    assert not widget.run_button.isEnabled()
    row.offer(f"{mine}:power")
    widget.run_button.click()
    wait(lambda: not widget.running)
    assert "operator='own_mine.power" in widget.status
    assert "linear" in widget.status
    assert "own_mine.power#" in widget.queue.told
    assert widget.queue.minimumSizeHint().width() < 260, "no word is so long that the dock grows wider"
    mine.write_text(PARTS.replace("image**2", "image / 2"))
    widget.run_button.click()
    wait(lambda: not widget.running)
    assert restored(viewer)


def test_settings_with_a_part_are_taken_where_its_row_has_it(viewer, run_with_parts, wait, picture, mine):
    cells = viewer.add_image(picture)
    widget, first = run_with_parts()
    widget.kinds.keep("with a part")
    assert "Nothing is kept" in widget.status
    widget.form.reset()
    viewer.layers.selection.active = first
    widget.record.again_button.click()
    assert "in the window choose it in its row" in widget.status
    widget.form.row("regulariser").offer(f"{mine}:bending")
    widget.record.again_button.click()
    wait(lambda: not widget.running)
    same = next(layer for layer in restored(viewer) if layer is not first)
    assert np.array_equal(first.data, same.data)
    assert cells in viewer.layers


@pytest.mark.parametrize("which", ["Python", "command"])
def test_a_copy_names_the_file(viewer, run_with_parts, picture, tmp_path, which):
    tifffile.imwrite(tmp_path / "cells.tif", picture)
    viewer.open(tmp_path / "cells.tif", plugin="napari")
    widget, first = run_with_parts()
    next(each for each in widget.copying.menu().actions() if each.text() == f"Copy as {which}").trigger()
    text = QApplication.clipboard().text()
    if which == "Python":
        (tmp_path / "again.py").write_text(text)
        runpy.run_path(str(tmp_path / "again.py"))
    else:
        assert main(shlex.split(text)[1:]) == 0
    assert np.array_equal(pictures.read(tmp_path / "cells again.ome.tif").values, first.data)
