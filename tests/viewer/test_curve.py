"""The run as a curve in a real window: the marker is dragged, what it shows is kept, and runs go on from each other."""

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

import napari_dip
from napari_dip.tables import record
from napari_dip.viewer import position, preferences
from napari_dip.viewer.layers import TOGETHER, read
from napari_dip.viewer.moments import Chart, Row
from napari_dip.viewer.plot import CurvePlot
from napari_dip.viewer.queue import queue
from napari_dip.viewer.restoration import METADATA
from tests.viewer.docks import LONG, QUICK, restored

STEPS = QUICK | {"iterations": 12}


@pytest.fixture(autouse=True)
def every_iteration(monkeypatch):
    """Each iteration is shown, and so kept."""
    plain = preferences.preference
    name = "napari_dip.viewer.widget.preference"
    monkeypatch.setattr(name, lambda each: 0 if each == "preview_interval" else plain(each))


@pytest.fixture
def run(dock, wait):
    """Opens a dock and runs it to its end; returns it with its plot drawn."""

    def run(**knobs):
        widget = dock(**(STEPS | knobs))
        widget.run_button.click()
        wait(lambda: not widget.running)
        return widget

    return run


def at(plot, iteration):
    """The place of an iteration on the screen, in the last row."""
    for _ in range(2):  # lays it out, in a window that is hidden
        plot.grab()
        QTest.qWait(10)
    box = plot._rows[-1].plot.getViewBox()
    middle = box.viewRect().center().y()
    return plot.mapFromScene(box.mapViewToScene(QPointF(iteration, middle)))


def drag(plot, start, end):
    """Drag the marker with the mouse."""
    port, first, last = plot.viewport(), at(plot, start), at(plot, end)
    left, no = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton

    def send(kind, x, button, buttons):
        spot = QPointF(x, first.y())
        around = QPointF(port.mapToGlobal(spot.toPoint()))
        QApplication.sendEvent(port, QMouseEvent(kind, spot, around, button, buttons, Qt.KeyboardModifier.NoModifier))
        QTest.qWait(20)  # moves that follow faster are left out

    send(QEvent.Type.MouseMove, first.x(), no, no)
    send(QEvent.Type.MouseButtonPress, first.x(), left, left)
    for x in np.linspace(first.x(), last.x(), 8):
        send(QEvent.Type.MouseMove, round(x), no, left)
    send(QEvent.Type.MouseButtonRelease, last.x(), left, no)


def preview(viewer):
    return next((layer for layer in viewer.layers if "(preview)" in layer.name), None)


def denoised(picture, iterations, **knobs):
    """The image of the same run, ended there: what the marker shows, to 16 bits."""
    knobs = STEPS | {"channels": 4, "iterations": iterations} | knobs
    image = napari_dip.denoise(picture, progress=False, **knobs).image
    return pytest.approx(image, abs=float(np.ptp(image)) / 60_000)


def test_the_marker_is_dragged_to_an_earlier_image_which_is_kept_with_its_record(viewer, run, picture):
    viewer.add_image(picture, name="cells", scale=(0.2, 0.2), units=("um", "um"), colormap="green")
    widget = run(seed=3)
    assert preview(viewer) is None
    assert not widget.curve.keep_button.isEnabled()
    drag(widget.curve.plot, 12, 5)
    shown = widget.curve.chosen.about.iteration
    assert shown == 5
    assert f"Iteration {shown} of 12" in widget.curve.words
    assert preview(viewer).data == denoised(picture, shown, seed=3)
    assert np.allclose(preview(viewer).scale, 0.2)
    widget.curve.keep_button.click()
    kept = viewer.layers["cells denoised, iteration 5"]
    assert np.array_equal(kept.data, preview(viewer).data)
    told = kept.metadata[METADATA]
    assert (told["iteration"], told["bits"], told["source_layer"]) == (5, 16, "cells")
    assert told["settings"]["seed"] == 3
    assert told["settings"] == restored(viewer)[0].metadata[METADATA]["settings"]
    assert str(kept.units[-1]) == "micrometer"
    assert kept.colormap.name == "green"
    widget.curve.choose(9)
    widget.curve.keep_button.click()
    below = [viewer.layers["cells"], kept, viewer.layers["cells denoised, iteration 9"]]
    assert [*viewer.layers] == [*below, restored(viewer)[0], preview(viewer)], "they hide neither"
    widget.curve.now_button.click()
    assert preview(viewer) is None
    assert widget.curve.chosen is None


def test_a_moment_of_several_runs_says_everywhere_which_of_them_it_is_of(viewer, run, picture):
    viewer.add_image(picture, name="cells")
    widget = run(runs=2)
    for at, which in ((17, "run 2, iteration 5"), (5, "run 1, iteration 5")):
        widget.curve.choose(at)
        assert widget.curve.words == f"{which.capitalize()} of 12, is shown in the preview."
        widget.curve.keep_button.click()
        kept = viewer.layers[f"cells denoised, {which}"].metadata[METADATA]
        assert kept["moment"] == which
        assert (kept["run"], kept["runs"], kept["iteration"]) == (int(which[4]), 2, 5)
        assert {"tile", "tiles"}.isdisjoint(kept)


def test_the_record_of_a_moment_has_what_is_known_of_the_run_and_no_verdict(viewer, run, picture):
    viewer.add_image(picture, name="cells")
    widget = run(seed=3)
    widget.curve.choose(5)
    kept, result = widget.curve.keep().metadata[METADATA], restored(viewer)[0].metadata[METADATA]
    outcome = {"iterations", "seconds", "stop_reason", "ended", "stop_rule", "marks", "residual_verdict", "warnings"}
    outcome |= {"uncertainty", "events", "finished"}
    same = result.keys() - outcome
    assert {name: kept.get(name) for name in same} == {name: result[name] for name in same}
    assert {"noise", "software", "input", "method", "device", "settings"} <= same
    assert outcome.isdisjoint(kept)
    assert kept.keys() - same == {"moment", "iteration", "slice", "run", "runs", "bits", "kept"}
    assert kept["kept"] <= record.now()


def test_the_run_of_a_moment_is_made_again(viewer, run, wait, picture):
    viewer.add_image(picture, name="cells")
    widget = run(seed=3)
    widget.curve.choose(5)
    moment = widget.curve.keep()
    widget.form.set(seed=9, iterations=4)
    viewer.layers.selection.active = moment
    assert not widget.record.again_button.isHidden()
    said = "Record of 'cells denoised, iteration 5', a moment of a run: Run again like this makes the whole run."
    assert widget.record.title.text() == said
    widget.record.again_button.click()
    wait(lambda: not widget.running and len(restored(viewer)) == 2)
    first, again = restored(viewer)
    assert np.array_equal(first.data, again.data)


def test_a_click_moves_the_marker_and_past_the_end_is_the_last_moment(viewer, run, picture):
    viewer.add_image(picture)
    widget = run()
    plot = widget.curve.plot
    QTest.mouseClick(plot.viewport(), Qt.MouseButton.LeftButton, pos=at(plot, 3))
    assert widget.curve.chosen.about.iteration == 3
    widget.curve.choose(1000)
    assert widget.curve.chosen.about.iteration == 12
    assert np.array_equal(preview(viewer).data, widget.curve.chosen.progress.image)
    assert preview(viewer).data == denoised(picture, 12)


def test_while_a_run_goes_on_the_preview_stays_at_the_marker_and_comes_back_to_now(viewer, dock, wait, picture):
    viewer.add_image(picture)
    widget = dock(**LONG)
    widget.run_button.click()
    wait(lambda: widget.curve.plot is not None and len(widget.curve.moments.chart(0).moments) > 8)
    widget.curve.choose(4)
    shown = preview(viewer).data
    before = widget.curve.moments.chart(0).length
    wait(lambda: widget.curve.moments.chart(0).length > before + 20)
    assert preview(viewer).data is shown
    assert widget.curve.keep_button.isEnabled()
    widget.curve.now_button.click()
    wait(lambda: preview(viewer).data is not shown)
    widget.curve.keep_button.click()  # what there is now
    widget.stop_button.click()
    wait(lambda: not widget.running)
    (kept,) = [layer for layer in viewer.layers if ", iteration " in layer.name]
    assert kept.metadata[METADATA]["iteration"] > 4
    assert len(restored(viewer)) == 1


def test_going_on_lengthens_the_curve_and_another_run_begins_it_anew(viewer, run, wait, picture):
    viewer.add_image(picture)
    widget = run()
    first = widget.curve.moments.chart(0)
    widget.form.set(iterations=6)
    widget.more_button.click()
    wait(lambda: not widget.running)
    chart = widget.curve.moments.chart(0)
    assert chart.length == 18
    assert np.array_equal(chart.rows[-1].values[:12], first.rows[-1].values)
    assert [place for place, _ in chart.moments] == list(range(1, 19))
    widget.curve.choose(5)  # of the first of the two
    assert preview(viewer).data == denoised(picture, 5)
    widget.run_button.click()
    assert preview(viewer) is None
    wait(lambda: not widget.running)
    assert widget.curve.moments.chart(0).length == 6


def test_the_button_says_what_going_on_would_mean(viewer, run, picture):
    viewer.add_image(picture, name="a long name that would widen the dock beyond all reason")
    widget = run()
    words = widget.more_button.text()
    assert words.startswith("Go on from 'a long name")
    assert "…" in words
    assert ":\n12 more, about" in words
    assert "reason denoised" in widget.more_button.toolTip()
    widget.form.set(iterations=7)
    assert ":\n7 more" in widget.more_button.text()


def test_a_run_that_waits_leaves_the_moments_of_the_last_one(viewer, run, dock, wait, picture):
    viewer.add_image(picture)
    widget, other = run(), dock("Inpaint", **LONG)
    widget.curve.choose(4)
    viewer.layers.selection.active = viewer.layers[0]
    other.inputs.missing.new_mask.native.click()
    viewer.layers[-1].data[3:5, 3:5] = 1
    viewer.layers[-1].refresh()
    other.run_button.click()
    widget.run_button.click()
    assert "Waiting for 'picture'" in widget.status
    assert widget.curve.moments.count == 12
    queue().empty()
    other.stop()
    wait(lambda: not other.running)


def test_with_a_truth_the_psnr_is_plotted(viewer, run, dock, wait, picture):
    viewer.add_image(picture, name="cells")
    truth = viewer.add_image(np.full_like(picture, 100) + np.eye(20, 24, dtype=np.float32), name="truth")
    viewer.layers.selection.active = viewer.layers["cells"]
    widget = dock(**STEPS)
    widget.trust.truth.value = truth
    widget.run_button.click()
    wait(lambda: not widget.running)
    row = widget.curve.moments.chart(0).rows[0]
    assert row.quantity == "PSNR (dB)"
    result = restored(viewer)[0]
    expected = napari_dip.trust.compare(result.data, truth.data).psnr
    assert row.values[-1] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("values", "below"), [([20, 25, 26], True), ([30, 27, 26], False)])
def test_the_name_of_a_curve_is_where_it_does_not_end(qtbot, values, below):
    plot = CurvePlot()
    qtbot.addWidget(plot)
    plot.draw(Chart((Row("PSNR (dB)", np.arange(3.0), np.array(values, float)),), lengths=(3,)))
    plot.show()
    (row,) = plot._rows
    box = row.plot.getViewBox()
    assert (row._name.pos().y() > box.rect().height() / 3) == below


def test_each_slice_of_a_stack_has_its_curve_and_the_sliders_choose(viewer, run, dock, wait):
    stack = np.random.default_rng(0).normal(100, 10, (3, 20, 24)).astype(np.float32)
    viewer.add_image(stack, name="stack", scale=(2, 1, 1), axis_labels=("t", "y", "x"))
    widget = dock(**STEPS)
    widget.inputs.where.value = "all slices, one after the other"
    widget.run_button.click()
    wait(lambda: not widget.running)
    assert widget.curve.moments.slices == [0, 1, 2]
    viewer.dims.set_point(0, 4)  # the last one, in its world
    widget.curve.choose(7)
    assert (widget.curve.chosen.about.slice, widget.curve.chosen.about.iteration) == (2, 7)
    assert preview(viewer).data.shape == (1, 20, 24)
    assert np.allclose(preview(viewer).translate, (4, 0, 0))
    viewer.dims.set_point(0, 0)
    assert preview(viewer) is None  # it lies elsewhere
    widget.curve.choose(3)
    assert widget.curve.chosen.about.slice == 0


def test_the_sliders_are_shown_the_way_to_the_slice_at_hand_and_follow_until_they_are_moved(viewer, dock, wait, hold):
    stack = np.random.default_rng(0).normal(100, 10, (3, 20, 24)).astype(np.float32)
    viewer.add_image(stack, name="stack", scale=(2, 1, 1), axis_labels=("t", "y", "x"))
    viewer.dims.set_point(0, 4)
    widget = dock(**LONG)
    widget.inputs.where.value = "all slices, one after the other"
    widget.run_button.click()
    wait(lambda: widget.curve.plot is not None)
    assert "t=0" in widget.curve.where
    assert widget.status.startswith(("t=0, ", "Starting"))
    widget.curve.show_button.click()
    assert viewer.dims.point[0] == 0
    assert widget.curve.where == ""
    viewer.dims.set_point(0, 2)
    wait(lambda: "t=0" in widget.curve.where)
    widget.stop_button.click()
    wait(lambda: not widget.running)


def test_a_channel_is_named_by_its_colour_where_it_has_one(viewer):
    """A verdict on a photograph said "In channel 1", where its user knows green."""
    said = "In slice 1, channel 1, structure was removed"
    photographs = viewer.add_image(np.zeros((2, 8, 9, 3)), rgb=True)
    assert position.with_names(read(photographs), said) == "In slice 1, the green channel, structure was removed"
    stains = viewer.add_image(np.zeros((3, 8, 9)))
    told = "In channel 1, the worst of 3, structure was removed"
    assert position.with_names(read(stains, where=TOGETHER), told) == told.replace("channel", "slice")
    times = viewer.add_image(np.zeros((3, 8, 9)), axis_labels=("t", "y", "x"))
    assert position.with_names(read(times, where=TOGETHER), told) == told.replace("channel 1", "t=1")


@pytest.mark.parametrize(
    ("labels", "number", "name"),
    [(("t", "z", "y", "x"), 5, "t=1, z=1"), (None, 5, "slice 1, 1"), (("t", "z", "y", "x"), 0, "t=0, z=0")],
)
def test_a_slice_is_found_and_named_as_the_sliders_do(viewer, labels, number, name):
    options = {} if labels is None else {"axis_labels": labels}
    layer = viewer.add_image(
        np.zeros((2, 4, 8, 9)), scale=(3, 0.5, 1, 1), translate=(5, 1, 0, 0), units="um", **options
    )
    source = read(layer)
    assert position.slice_name(source, number) == name
    said = "In slice 5, structure was removed. Slice 5 failed. In slices 5, 5 and 3 more the noise is: slice 99."
    words = f"In {name}, structure was removed. {name} failed. In {name}, {name} and 3 more the noise is: slice 99."
    assert position.with_names(source, said.replace("5", str(number))) == words
    position.show_slice(viewer, source, number)
    assert position.slice_in_view(viewer, source) == number
    assert np.allclose(viewer.dims.point[:2], layer.data_to_world((number // 4, number % 4, 0, 0))[:2])
    small = viewer.add_image(
        np.zeros((1, 4, 8, 9)), name="one", scale=(3, 0.5, 1, 1), translate=(8, 1, 0, 0), units="um"
    )
    viewer.dims.set_point(0, 5)
    assert position.slice_in_view(viewer, read(small)) is None


def test_the_bound_of_memory_is_kept_and_said(viewer, run, picture):
    viewer.add_image(picture)
    widget = run()
    assert widget.curve.text() == "Curve (12 moments, 0.0 of 512 MB)"
    needs = widget.curve.minimumSizeHint().width()
    widget.curve.setText("Curve (12345 moments, 1234.5 MB of a heading that says far too much)")
    assert widget.curve.minimumSizeHint().width() == needs  # else the form around it is scrolled to the side
    widget.live.memory.value = 0
    widget.run_button.click()
    widget.stop_button.click()
    assert widget.curve.moments.memory == 0


def test_one_moment_is_no_moments(viewer, run, picture):
    viewer.add_image(picture)
    assert run(iterations=1).curve.text() == "Curve (1 moment, 0.0 of 512 MB)"


def test_a_long_run_ends_with_a_notification(viewer, run, picture, monkeypatch):
    told = []
    monkeypatch.setattr("napari_dip.viewer.widget.show_info", told.append)
    viewer.add_image(picture, name="cells")
    run()
    assert not told
    monkeypatch.setattr("napari_dip.viewer.widget._LONG", 0)
    run()
    assert len(told) == 1
    assert "'cells denoised [1]'" in told[0]


def test_the_curve_is_scrolled_to_and_the_rest_stays_in_reach(viewer, run, qtbot, picture):
    viewer.add_image(picture)
    widget = run()
    widget.resize(340, 700)
    widget.grab()
    widget.curve.reveal()
    bar, plot = widget._scroll.verticalScrollBar(), widget.curve.plot
    qtbot.waitUntil(lambda: bar.value() > bar.maximum() / 2 > 0, timeout=5000)
    assert widget._scroll.viewport().rect().contains(plot.mapTo(widget._scroll.viewport(), plot.rect().center()))
