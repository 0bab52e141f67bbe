"""What holds for all docks: they can be closed by napari's button and opened again, and each field has a name."""

import numpy as np
import pytest
from npe2 import PluginManifest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QAbstractItemView, QComboBox, QDockWidget, QLabel, QWidget

from napari_dip.viewer.queue import queue
from tests.viewer.docks import LONG, QUICK, restored

DOCKS = [each.display_name for each in PluginManifest.from_distribution("napari-dip").contributions.widgets]


def closed_by_its_button(dock):
    """Click the × in the title bar of a dock."""
    QTest.mouseClick(dock.titleBarWidget().close_button, Qt.MouseButton.LeftButton)


def test_what_was_changed_is_there_when_a_closed_dock_is_opened_again(viewer, picture, tmp_path):
    source = viewer.add_image(np.stack([picture] * 3), name="cells")
    marks = viewer.add_labels(np.zeros(picture.shape, np.uint8), name="marks")
    viewer.layers.selection.active = source
    dock, first = viewer.window.add_plugin_dock_widget("napari-dip", "Deconvolve")
    part = tmp_path / "own.py"
    part.write_text("def far(predicted, observed): return abs(predicted - observed)")
    first.form.set(iterations=77, channels="1o", quality="best", device="cpu")
    first.inputs.where.value = "the volume"
    first.inputs.mask.value = marks
    first.inputs.camera.rows["gain"].value = "2"
    first.inputs.known["psf"].sigma.value = "3"
    first.inputs.own.rows["fidelity"].offer(f"{part}:far")
    first.live.every.value = 50
    first.live.memory.value = 256
    first.trust.switches["control"].setChecked(True)
    first.trust.truth.value = source
    held = first.held()
    closed_by_its_button(dock)

    _, again = viewer.window.add_plugin_dock_widget("napari-dip", "Deconvolve")
    assert again is not first
    assert again.held() == held
    assert again.form.row("channels").value == "1o"
    assert again.inputs.marking is marks
    assert "as they were when this dock was closed" in again.status


def test_a_layer_that_is_gone_is_chosen_no_more(viewer, picture):
    viewer.add_image(picture, name="cells")
    marks = viewer.add_labels(np.zeros(picture.shape, np.uint8), name="marks")
    dock, first = viewer.window.add_plugin_dock_widget("napari-dip", "Inpaint")
    first.inputs.mask.value = marks
    first.form.set(iterations=77)
    closed_by_its_button(dock)
    viewer.layers.remove(marks)
    again = viewer.window.add_plugin_dock_widget("napari-dip", "Inpaint")[1]
    assert again.inputs.mask.value is None
    assert again.form.knobs()["iterations"] == 77


def test_a_dock_in_which_nothing_was_changed_says_nothing(viewer, picture):
    viewer.add_image(picture, name="cells")
    closed_by_its_button(viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")[0])
    assert viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")[1].status == ""


@pytest.fixture
def told(monkeypatch):
    """Sentences of the notifications."""
    told = []
    for module in ("widget", "laboratory"):
        monkeypatch.setattr(f"napari_dip.viewer.{module}.show_info", told.append)
    return told


def test_a_dock_that_is_closed_during_its_run_says_what_becomes_of_it(viewer, dock, wait, picture, told):
    """It became a layer without a word, and could not be gone on with."""
    queue().empty()
    viewer.add_image(picture, name="cells")
    widget = dock(**LONG)
    widget.run()
    widget.run_button.clicked.emit()  # is off during a run
    widget.apply_to_all()  # waits
    wait(lambda: widget.fraction > 0)
    closed_by_its_button(viewer.window._qt_window.findChildren(QDockWidget)[-1])
    said = "Denoise 'cells': stopped, as its dock was closed. What there is so far is kept."
    assert told == [f"{said} One restoration that waited will not begin."]
    wait(lambda: not widget.running)
    assert len(restored(viewer)) == 1
    assert told[1].startswith("'cells denoised'")
    again = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")[1]
    again.form.set(**QUICK)
    assert "'cells denoised'" in again.more_button.text()
    assert again.saving.isVisibleTo(again)
    assert again.copying.isVisibleTo(again)
    assert "denoise(" in again.copying.run_as("python")
    again.more_button.click()
    wait(lambda: not again.running)
    assert len(restored(viewer)) == 2
    assert len(told) == 2


def test_a_run_whose_layer_is_removed_is_not_kept_for_a_closed_dock(viewer, dock, wait, picture, told):
    """It held its memory, and the dock that was opened again went on with it."""
    queue().empty()
    viewer.add_image(picture, name="cells")
    widget = dock(**LONG)
    widget.run()
    wait(lambda: widget.fraction > 0)
    closed_by_its_button(viewer.window._qt_window.findChildren(QDockWidget)[-1])
    wait(lambda: not widget.running)
    (kept,) = widget._kept.values()
    assert "last" in kept
    viewer.layers.remove(restored(viewer)[0])
    assert "last" not in kept
    again = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")[1]
    offered = again.more_button, again.saving, again.copying
    assert not any(each.isVisibleTo(again) for each in offered)


def test_an_experiment_ends_with_its_dock_and_says_so(viewer, wait, told):
    """It went on, and nothing was left to stop it with."""
    viewer.add_image(np.random.default_rng(0).normal(100, 10, (40, 40)), name="cells")
    dock, widget = viewer.window.add_plugin_dock_widget("napari-dip", "Laboratory")
    widget.iterations.value = 100_000
    widget.run()
    closed_by_its_button(dock)
    wait(lambda: not widget.running)
    assert told == ["cells, ablation of skips: stopped, as its dock was closed. What there is so far is kept."]


@pytest.mark.parametrize("name", ["Laboratory", "Samples of the prior"])
def test_a_dock_of_rows_alone_keeps_them_too(viewer, name):
    dock, first = viewer.window.add_plugin_dock_widget("napari-dip", name)
    first.rows.hold({"seed": 5})
    closed_by_its_button(dock)
    assert viewer.window.add_plugin_dock_widget("napari-dip", name)[1].rows.held()["seed"] == 5


@pytest.mark.parametrize("name", DOCKS)
def test_all_that_takes_the_focus_has_a_name_for_those_who_cannot_see_it(viewer, picture, name):
    viewer.add_image(picture, name="cells")
    dock, widget = viewer.window.add_plugin_dock_widget("napari-dip", name)
    for block in getattr(getattr(widget, "form", None), "_blocks", ()):
        widget.form.row(block.names[0])
    dock.setFloating(True)  # with another title bar, and another when it is back
    dock.setFloating(False)
    widgets = [*widget.findChildren(QWidget), *dock.titleBarWidget().findChildren(QAbstractButton)]
    fields = [each for each in widgets if each.focusPolicy() != Qt.FocusPolicy.NoFocus and each.focusProxy() is None]
    nameless = [f"{type(each).__name__} {each.objectName()}: {each.toolTip()}" for each in fields if not name_of(each)]
    assert not nameless


def name_of(field):
    """The name that Qt tells of a field: words that are shown are one."""
    if isinstance(field, QAbstractItemView) and isinstance(field.parent().parent(), QComboBox):
        return "its choices"
    shown = field.text() if isinstance(field, QAbstractButton) else ""
    if isinstance(field, QAbstractButton) and field.isHidden():
        return "it says what it does once it is shown"
    return field.accessibleName() or shown or (isinstance(field, QLabel) and "its text")
