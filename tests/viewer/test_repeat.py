"""A run as a text: Python or a command that gives the identical image."""

import os
import runpy
import shlex
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QApplication

from napari_dip import pictures
from tests.viewer.docks import restored


@pytest.fixture
def stack(tmp_path):
    """A file with two slices, and a mask of it."""
    values = np.random.default_rng(0).normal(100, 10, (2, 20, 24)).astype(np.float32)
    tifffile.imwrite(
        tmp_path / "cells.tif", values, imagej=True, resolution=(4, 4), metadata={"axes": "ZYX", "unit": "um"}
    )
    marks = np.zeros((20, 24), np.uint8)
    marks[5:7, 8:11] = 2
    tifffile.imwrite(tmp_path / "holes.tif", marks)
    return tmp_path


def copied(widget, which):
    """The text in the clipboard after an entry of the menu was chosen."""
    (one,) = [each for each in widget.copying.menu().actions() if each.text() == f"Copy as {which}"]
    one.trigger()
    assert "in the clipboard" in widget.status
    text = QApplication.clipboard().text()
    assert "napari_dip." not in "".join(line for line in text.splitlines() if line.startswith(("from ", "import ")))
    return text


def restored_again(viewer, widget, wait, folder, monkeypatch):
    """Run what is chosen, then its script in this folder; the layer of the first."""
    widget.run_button.click()
    wait(lambda: not widget.running)
    (first,) = restored(viewer)
    (folder / "again.py").write_text(copied(widget, "Python"))
    monkeypatch.chdir(folder)
    runpy.run_path("again.py")
    return first


def test_python_gives_the_identical_image(viewer, dock, wait, stack, monkeypatch):
    (cells,) = viewer.open(stack / "cells.tif", plugin="napari")
    (holes,) = viewer.open(stack / "holes.tif", plugin="napari", layer_type="labels")
    place = {"scale": (1, 0.25, 0.25), "units": ("um",) * 3}
    cells.scale, cells.units = place.values()
    holes.scale, holes.units = (0.25, 0.25), ("um",) * 2
    widget = dock("Inpaint", seed=3)
    widget.inputs.image.value = cells
    widget.inputs.where.value = "the slice in view"
    viewer.dims.set_point(0, 1)
    corner = viewer.add_shapes([[1, 2, 3], [1, 2, 20], [1, 17, 20], [1, 17, 3]], name="corner", **place)
    widget.inputs.image.value, widget.inputs.part.value = cells, corner
    widget.inputs.mask.value, widget.inputs.label.value = holes, 2
    first = restored_again(viewer, widget, wait, stack, monkeypatch)
    again = pictures.read(stack / "cells again.ome.tif")
    assert np.array_equal(again.values, first.data[0])
    assert (again.pixel_size["X"], again.unit, again.record["task"]) == (0.25, "µm", "inpaint")


def test_python_keeps_all_that_a_whole_file_says(viewer, dock, wait, picture, stack):
    """An array has no unit, and no name of a channel."""
    made = pictures.make(
        picture, scale=(0.25, 0.25), units=("um", "um"), shown=pictures.channel(np.eye(3, 256), "DAPI")
    )
    pictures.save(stack / "nuclei.ome.tif", made)
    viewer.open(stack / "nuclei.ome.tif", plugin="napari-dip")
    widget = dock(seed=3)
    widget.run_button.click()
    wait(lambda: not widget.running)
    (stack / "again.py").write_text(copied(widget, "Python"))
    runpy.run_path(str(stack / "again.py"))
    again = pictures.read(stack / "nuclei again.ome.tif")
    assert (again.pixel_size["X"], again.unit, again.channels[0].name) == (0.25, "µm", "DAPI")
    assert np.array_equal(again.values, restored(viewer)[0].data)


def test_a_command_gives_the_identical_image_in_a_fresh_process(viewer, dock, wait, stack):
    viewer.open(stack / "cells.tif", plugin="napari")
    widget = dock(seed=3)
    widget.inputs.where.value = "all slices, one after the other"
    widget.run_button.click()
    wait(lambda: not widget.running)
    (first,) = restored(viewer)
    program, *words = shlex.split(copied(widget, "command"))
    assert program == "napari-dip"
    command, quiet = [sys.executable, "-m", "napari_dip", *words], {**os.environ, "PYTHONWARNINGS": ""}
    run = subprocess.run(command, cwd=stack, capture_output=True, text=True, timeout=300, env=quiet)
    assert run.returncode == 0, run.stderr
    assert np.array_equal(pictures.read(stack / "cells again.ome.tif").values, first.data)


@pytest.fixture
def point(tmp_path):
    """A file with the image of a point."""
    y, x = np.mgrid[-3:4, -3:4]
    tifffile.imwrite(tmp_path / "point.tif", np.exp(-(y**2 + x**2) / 2).astype(np.float32))
    return tmp_path / "point.tif"


def test_a_measured_point_spread_function_is_read_from_its_file(viewer, dock, wait, stack, point, monkeypatch):
    viewer.open(point, plugin="napari")
    tifffile.imwrite(stack / "blurred.tif", tifffile.imread(stack / "cells.tif")[0])
    (blurred,) = viewer.open(stack / "blurred.tif", plugin="napari")
    widget = dock("Deconvolve", seed=3)
    widget.inputs.image.value, widget.inputs.known["psf"].layer.value = blurred, viewer.layers["point"]
    first = restored_again(viewer, widget, wait, stack, monkeypatch)
    assert np.array_equal(pictures.read(stack / "blurred again.ome.tif").values, first.data)
    words = shlex.split(copied(widget, "command"))
    assert words[words.index("--psf") + 1] == str(point)
    viewer.layers["point"].data = np.ones((7, 7))
    with pytest.raises(ValueError, match="no layer, or a guide"):
        widget.copying.run_as("python")


def test_a_run_with_a_measured_point_spread_function_is_run_again(viewer, dock, wait, picture, point):
    viewer.open(point, plugin="napari")
    cells = viewer.add_image(picture, name="cells")
    widget = dock("Deconvolve", seed=3)
    psf = widget.inputs.known["psf"].layer
    widget.inputs.image.value, psf.value = cells, viewer.layers["point"]
    widget.run_button.click()
    wait(lambda: not widget.running)
    (first,) = restored(viewer)
    psf.value = None
    viewer.layers.selection.active = first
    widget.record.image.value = cells
    widget.record.again_button.click()
    wait(lambda: not widget.running)
    assert psf.value is viewer.layers["point"]
    _, again = restored(viewer)
    assert np.array_equal(again.data, first.data)
    viewer.layers.remove("point")
    viewer.layers.selection.active = first
    widget.record.again_button.click()
    assert "Choose its point spread function." in widget.status


def test_what_no_text_can_say_is_said(viewer, dock, wait, picture):
    viewer.add_image(np.stack([picture] * 2), name="from nowhere")
    widget = dock("Super-resolve")
    widget.run_button.click()
    wait(lambda: not widget.running)
    (viewer.layers.selection.active,) = restored(viewer)
    panel = widget.record.tree
    top = [panel.topLevelItem(i) for i in range(panel.topLevelItemCount())]
    told = {item.text(0): item.text(1) for item in top}
    assert (told["task"], told["factor"], told["source layer"]) == ("superresolve", "2, 2", "from nowhere")
    (settings,) = [item for item in top if item.text(0) == "settings"]
    inner = [settings.child(i) for i in range(settings.childCount())]
    assert {each.text(0): each.text(1) for each in inner}["iterations"] == "5"
    text = copied(widget, "Python")
    assert "# save layer 'from nowhere' as 'from nowhere.ome.tif' first" in text
    assert "pictures.read('from nowhere.ome.tif')" in text
    assert "factor=(2, 2)" in text
    with pytest.raises(ValueError, match="a command restores all of a file"):
        widget.copying.run_as("command")
