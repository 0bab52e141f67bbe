"""The laboratory in the window: an experiment on a crop, its curves, table, images and files, and the stop."""

from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QLineEdit

from napari_dip.lab import Step
from napari_dip.viewer.restoration import METADATA
from tests.core.tiny import picture


@pytest.fixture
def widget(viewer):
    viewer.add_image(np.stack([picture(48, 40)] * 2) * 100, name="cells", scale=(1, 0.5, 0.5))
    viewer.fit_to_view()  # before napari 0.9 it stays where a test before has moved it
    widget = viewer.window.add_plugin_dock_widget("napari-dip", "Laboratory")[1]
    widget.crop.value = 32
    return widget


def test_an_ablation_of_a_crop_leaves_curves_a_table_a_stack_in_place_and_files(
    widget, viewer, wait, tmp_path, monkeypatch
):
    viewer.layers["cells"].name = "mice/cells"
    widget.experiment.value, widget.question.value, widget.truth.value = "ablation", "code noise", "mice/cells"
    widget.iterations.value = 10
    wait(lambda: "3 fits of 10 iterations, about" in widget.cost)
    widget.run_button.click()
    wait(lambda: not widget.running and widget.told.endswith(":"))
    made = viewer.layers[-1]
    assert made.name == "mice/cells, ablation of code noise"
    assert made.data.shape == (3, 32, 32)
    assert tuple(made.translate) == (0, 4, 2)
    assert tuple(made.scale) == (1, 0.5, 0.5)
    assert made.metadata[METADATA]["images"] == ["none", "1/30", "1/10"]
    asked = []
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *of: asked.append(of[2]) or (str(tmp_path / "out.md"), "")
    )
    widget.save_button.click()
    assert asked == ["mice_cells ablation of code noise.md"]
    assert "| code noise | best |" in (tmp_path / "out.md").read_text()
    assert (tmp_path / "out.png").stat().st_size > 1000
    assert widget.minimumSizeHint().height() < 500  # a screen has 720 at the least, and napari's own bars
    curves = {name: len(curve.getData()[0]) for name, curve in widget.plot._curves.items()}
    before = widget.plot.backgroundBrush().color().lightness()
    theme = viewer.theme
    viewer.theme = "light" if theme == "dark" else "dark"
    assert abs(widget.plot.backgroundBrush().color().lightness() - before) > 100
    assert {name: len(curve.getData()[0]) for name, curve in widget.plot._curves.items()} == curves
    viewer.theme = theme


def test_the_widest_table_has_room_in_the_narrowest_dock(widget, wait):
    """The last columns were behind a bar to scroll by."""
    widget.experiment.value = "held-out"
    widget.truth.value = "cells"
    widget.iterations.value = 10
    widget.run_button.click()
    wait(lambda: not widget.running and widget.told.endswith(":"))
    assert "held out there" in widget._table.text()
    assert "truth there" in widget._table.text()
    assert widget._table.minimumSizeHint().width() < widget.minimumWidth() - 30  # margins, and a bar beside


def test_the_time_left_of_an_experiment_is_by_its_own_pace(widget, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("napari_dip.viewer.laboratory.monotonic", lambda: now[0])
    widget._job = SimpleNamespace(taken=lambda: None, running=False)
    told = []
    for seconds, done in ((1, 0.0), (30, 0.25), (40, 0.8)):
        now[0] = seconds
        widget._on_step(Step(part="none", iteration=50, values={}, done=done, image=np.zeros((1, 1))))
        told.append(widget.told)
    whole = "none, iteration 50"
    assert told == [whole, f"{whole}, about 1:30 min left", f"{whole}, about 10 s left"]


def test_a_stop_ends_an_experiment_at_once_and_keeps_what_is_whole(widget, viewer, wait):
    widget.experiment.value = "trajectory"
    widget.iterations.value = 10_000  # a moment every fifty
    widget.run_button.click()
    wait(lambda: "iteration" in widget.told)
    widget.stop_button.click()
    wait(lambda: not widget.running and "iteration" not in widget.told)
    assert viewer.layers[-1].name == "cells, trajectory"
    assert widget.run_button.isEnabled()


def test_a_preimage_is_sought_in_the_layer_that_is_named_and_a_wrong_name_lists_those_there_are(widget, viewer, wait):
    widget.experiment.value = "preimage"
    widget.iterations.value, widget.layer.value = 10, "relu7"
    widget.run_button.click()
    wait(lambda: not widget.running and "choose one of conv1, relu1" in widget.told)
    widget.layer.value = "relu1"
    widget.run_button.click()
    wait(lambda: not widget.running and widget.told == "cells, preimage of relu1:")
    assert viewer.layers[-1].data.shape == (2, 32, 32)
    assert viewer.layers[-1].data.max() > 10  # in the units of the image
    assert viewer.layers[-1].metadata[METADATA]["images"] == ["prior", "pixels and total variation"]


def test_one_image_or_several_is_asked_of_all_planes_of_a_stack(widget, viewer, wait):
    widget.experiment.value, widget.question.value, widget.iterations.value = "ablation", "one image or several", 10
    widget.run_button.click()
    wait(lambda: not widget.running and widget.told.endswith("several:"))
    assert viewer.layers[-1].data.shape == (2, 2, 32, 32)
    assert tuple(viewer.layers[-1].translate) == (0, 0, 4, 2)


def test_a_number_is_typed_digit_by_digit_also_where_the_first_is_below_the_least(widget):
    for row, text in ((widget.crop, "64"), (widget.iterations, "600")):
        field = row.native.findChild(QLineEdit)
        field.selectAll()
        QTest.keyClicks(field, text)
        QTest.keyClick(row.native, Qt.Key.Key_Return)
        assert row.value == int(text)
