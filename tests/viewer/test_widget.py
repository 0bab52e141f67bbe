"""The dock widgets in a real window, by the menu and through the proxy, also when things go wrong."""

import dataclasses
import gc
import re
import threading
import weakref

import numpy as np
import pytest
import torch
from scipy import ndimage

import napari_dip
from napari_dip.core.fidelity import Gaussian
from napari_dip.tables.tasks import TASKS
from napari_dip.viewer import engine
from napari_dip.viewer.choice import ALL_SLICES
from napari_dip.viewer.job import Job
from napari_dip.viewer.queue import FAILED, queue
from napari_dip.viewer.restoration import METADATA
from tests.bad_inputs import bad, odd
from tests.viewer.docks import LONG, QUICK, restored


def status(widget):
    return widget.status


@pytest.mark.parametrize("name", ["Denoise", "Inpaint", "Super-resolve"])
def test_each_widget_opens_and_says_what_to_do_next(viewer, dock, name):
    widget = dock(name)
    assert "Open an image" in widget._sentence.text()
    assert not widget.run_button.isEnabled()


@pytest.mark.parametrize("name", ["Denoise", "Inpaint", "Super-resolve"])
def test_a_run_adds_one_layer_with_its_record(viewer, dock, wait, picture, name):
    source = viewer.add_image(picture, name="cells", scale=(0.2, 0.2), units=("um", "um"))
    before = picture.copy()
    widget = dock(name)
    if name == "Inpaint":
        widget.inputs.missing.new_mask.native.click()
        viewer.layers["cells mask"].data[3:5, 3:5] = 1
        viewer.layers["cells mask"].refresh()
    widget.run_button.click()
    wait(lambda: not widget.running)
    (layer,) = restored(viewer)
    record = layer.metadata[METADATA]
    factor = 2 if name == "Super-resolve" else 1
    assert layer.data.shape == tuple(factor * n for n in picture.shape)
    assert layer.name.startswith("cells ")
    assert layer.units == source.units
    assert np.allclose(layer.scale, 0.2 / factor)
    assert record["settings"]["iterations"] == record["iterations"] == 5
    assert record["source_layer"] == "cells"
    assert "finished" in status(widget)
    assert not [other for other in viewer.layers if "preview" in other.name]
    assert np.array_equal(source.data, before)
    assert widget.more_button.isEnabled()
    assert not widget.more_button.isHidden()
    assert widget.controls._bar.isHidden(), "it says nothing after a run, and takes the room of the curve"
    widget.run_button.click()
    assert widget.more_button.isHidden()
    assert not widget.controls._bar.isHidden()
    wait(lambda: not widget.running)


def test_similar_patches_have_nothing_to_go_on_with(viewer, wait, picture):
    viewer.add_image(picture, name="cells")
    widget = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")[1]
    widget.form.set(preset="denoise-patches")
    widget.run_button.click()
    wait(lambda: not widget.running)
    assert restored(viewer)
    assert not widget.more_button.isEnabled()
    assert "more" not in widget.more_button.text()


def test_the_menu_opens_the_same_widget_with_the_real_viewer(viewer, wait, picture):
    from app_model.types import Action  # noqa: F401  (napari's menus need it)
    from napari._app_model import get_app_model

    viewer.add_image(picture)
    commands = get_app_model().commands
    name = "napari-dip.denoise" if "napari-dip.denoise" in commands else "napari-dip:Denoise"  # before napari 0.9
    commands.execute_command(name)
    docks = [dock for name, dock in viewer.window.dock_widgets.items() if "Denoise" in name]
    widget = docks[0] if hasattr(docks[0], "run") else docks[0].widget()
    widget.form.set(**QUICK)
    widget.run_button.click()
    wait(lambda: not widget.running)
    assert len(restored(viewer)) == 1


def test_the_image_follows_the_active_layer(viewer, dock, picture):
    first, second = viewer.add_image(picture, name="a"), viewer.add_image(picture, name="b")
    widget = dock()
    for layer in (first, second):
        viewer.layers.selection.active = layer
        assert f"'{layer.name}'" in widget._sentence.text()
    points = viewer.add_points(np.zeros((1, 2)))
    assert viewer.layers.selection.active == points
    assert "'b'" in widget._sentence.text()  # an image stays chosen


def test_a_layer_that_is_no_image_is_named(viewer, dock):
    viewer.add_points(np.zeros((1, 2)), name="spots")
    widget = dock()
    assert "'spots' is a points layer" in widget._sentence.text()


def test_a_wrong_value_is_said_before_the_run(viewer, dock, picture):
    viewer.add_image(picture)
    widget = dock()
    widget.form.set(channels="16, x")
    assert "Channels: type a number" in widget._sentence.text()
    assert not widget.run_button.isEnabled()
    widget.form.set(channels="16")
    assert widget.run_button.isEnabled()


def test_stop_keeps_the_result_and_more_iterations_go_on(viewer, dock, wait, picture):
    viewer.add_image(picture, name="cells")
    widget = dock(**LONG)
    widget.run_button.click()
    wait(lambda: "iteration" in status(widget))
    widget.stop_button.click()
    wait(lambda: not widget.running)
    assert "stopped by the user" in status(widget)
    (first,) = restored(viewer)
    steps = first.metadata[METADATA]["iterations"]
    widget.form.set(iterations=7)
    widget.more_button.click()
    wait(lambda: not widget.running)
    assert [layer.metadata[METADATA]["iterations"] for layer in restored(viewer)] == [steps, steps + 7]


def test_pause_waits_and_resume_goes_on_and_stop_ends_a_pause(viewer, dock, wait, qtbot, picture, monkeypatch):
    asked, inside = Job._should_stop, []

    def should_stop(job):
        inside.append(job)
        try:
            return asked(job)
        finally:
            inside.pop()

    monkeypatch.setattr(Job, "_should_stop", should_stop)
    viewer.add_image(picture)
    widget = dock(**LONG)
    widget.run_button.click()
    wait(lambda: "iteration" in status(widget))
    widget.pause_button.click()
    assert widget.pause_button.text() == "Resume"
    wait(lambda: bool(inside))  # and there it stays
    qtbot.wait(50)  # what it has sent before is shown
    said = status(widget)
    qtbot.wait(400)
    assert status(widget) == said
    widget.pause_button.click()
    wait(lambda: status(widget) != said)
    widget.pause_button.click()
    widget.stop_button.click()
    wait(lambda: not widget.running)
    assert len(restored(viewer)) == 1


def test_stop_before_the_first_iteration_shows_nothing(viewer, dock, wait, picture):
    viewer.add_image(picture)
    widget = dock(**LONG)
    widget.run()
    widget.stop()
    wait(lambda: not widget.running)
    assert len(restored(viewer)) <= 1  # the worker may have been quicker
    assert widget.run_button.isEnabled()


@pytest.mark.parametrize("kept_as", ["new layers", "one stack"])
def test_snapshots_come_back_at_exact_iterations(viewer, dock, wait, picture, kept_as):
    viewer.add_image(picture, name="cells", scale=(0.5, 0.5), units=("um", "um"))
    widget = dock(iterations=9)
    widget.live.every.value, widget.live.kept_as.value = 3, kept_as
    widget.run_button.click()
    wait(lambda: not widget.running)
    kept = [layer for layer in viewer.layers if "iteration" in layer.name]
    (final,) = restored(viewer)
    if kept_as == "one stack":
        (stack,) = kept
        assert stack.data.shape == (3, *picture.shape)
        assert np.allclose(stack.data_to_world((1, 0, 0)), (6, 0, 0))
        assert np.array_equal(stack.data[2], final.data)
        assert str(stack.units[-1]) == "micrometer"
    else:
        assert [layer.metadata[METADATA]["iteration"] for layer in kept] == [3, 6, 9]
        assert np.array_equal(kept[2].data, final.data)
        assert kept[0].metadata[METADATA]["settings"] == final.metadata[METADATA]["settings"]
        assert kept[0].metadata[METADATA]["input"] == final.metadata[METADATA]["input"]
        assert [*viewer.layers] == [viewer.layers["cells"], *kept, final], "the newest is on top, and hides no result"


@pytest.mark.parametrize("kept_as", ["new layers", "one stack"])
def test_snapshots_say_which_run_they_are_of(viewer, dock, wait, picture, kept_as):
    viewer.add_image(picture, name="cells")
    widget = dock(iterations=6, runs=2)
    widget.live.every.value, widget.live.kept_as.value = 3, kept_as
    widget.run_button.click()
    wait(lambda: not widget.running)
    kept = [layer.name for layer in viewer.layers if "iteration" in layer.name]
    if kept_as == "one stack":
        assert kept == [f"cells denoised, run {run}, iterations" for run in (1, 2)]
    else:
        assert kept == [f"cells denoised, run {run}, iteration {at}" for run in (1, 2) for at in (3, 6)]


def test_the_slice_in_view_or_all_of_them(viewer, dock, wait):
    data = np.random.default_rng(0).random((3, 16, 18)).astype(np.float32)
    viewer.add_image(data, name="stack", scale=(2, 1, 1))
    viewer.dims.set_point(0, 4)
    widget = dock()
    widget.run_button.click()
    wait(lambda: not widget.running)
    widget.inputs.where.value = "all slices, one after the other"
    widget.run_button.click()
    wait(lambda: not widget.running)
    one, every = restored(viewer)
    assert one.data.shape == (1, 16, 18)
    assert np.allclose(one.translate, (4, 0, 0))
    assert every.data.shape == (3, 16, 18)
    assert np.isfinite(every.data).all()


def test_all_slices_together_are_one_image_of_so_many_channels(viewer, dock, wait):
    data = np.random.default_rng(0).random((3, 16, 18)).astype(np.float32)
    viewer.add_image(data, name="stack", scale=(2, 1, 1))
    widget = dock()
    widget.inputs.where.value = "all slices, together"
    widget.run_button.click()
    wait(lambda: not widget.running)
    (together,) = restored(viewer)
    assert together.data.shape == data.shape
    assert np.isfinite(together.data).all()
    assert np.allclose(together.scale, (2, 1, 1))
    assert together.metadata[METADATA]["input"]["channel_axis"] == 0


def test_a_multiscale_layer_is_restored_at_the_chosen_level(viewer, dock, wait, picture):
    viewer.add_image([picture, picture[::2, ::2]], multiscale=True)
    widget = dock()
    widget.inputs.level.value = 1
    widget.run_button.click()
    wait(lambda: not widget.running)
    assert restored(viewer)[0].data.shape == (10, 12)


def test_rgb_stays_rgb_in_its_own_type(viewer, dock, wait):
    viewer.add_image(np.random.default_rng(0).integers(0, 255, (16, 18, 3), np.uint8), rgb=True)
    widget = dock()
    widget.run_button.click()
    wait(lambda: not widget.running)
    (layer,) = restored(viewer)
    assert layer.rgb
    assert layer.data.dtype == np.uint8


def test_nan_pixels_count_as_missing(viewer, dock, wait, picture):
    picture[4:6, 4:6] = np.nan
    viewer.add_image(picture)
    widget = dock("Inpaint")
    widget.run_button.click()
    wait(lambda: not widget.running)
    (layer,) = restored(viewer)
    assert np.isfinite(layer.data).all()
    assert np.array_equal(layer.data[np.isfinite(picture)], picture[np.isfinite(picture)])


def test_a_second_run_waits_for_the_first_and_says_so(viewer, dock, wait, picture):
    viewer.add_image(picture, name="cells")
    widget, other = dock(**LONG), dock("Super-resolve")
    widget.run_button.click()
    widget.run()  # the same widget: nothing happens
    other.run_button.click()
    assert status(other) == "Waiting for 'cells' to finish (1 in the queue)."
    assert not other.running
    widget.stop()
    wait(lambda: "finished" in status(other))
    assert restored(viewer)


@pytest.mark.parametrize("victim", ["source", "mask", "preview", "all"])
def test_layers_deleted_during_a_run_cost_nothing(viewer, dock, wait, picture, victim):
    source = viewer.add_image(picture, name="cells")
    mask = viewer.add_labels((np.arange(picture.size).reshape(picture.shape) % 7 == 0).astype(int))
    viewer.layers.selection.active = source
    widget = dock("Inpaint", **LONG)
    widget.inputs.mask.value = mask
    widget.run_button.click()
    wait(lambda: any("preview" in layer.name for layer in viewer.layers))
    if victim == "all":
        viewer.layers.clear()
    else:
        preview = next(layer for layer in viewer.layers if "preview" in layer.name)
        viewer.layers.remove({"source": source, "mask": mask, "preview": preview}[victim])
    seen = status(widget)
    wait(lambda: status(widget) != seen)
    widget.stop()
    wait(lambda: not widget.running)
    (layer,) = restored(viewer)
    assert layer.data.shape == picture.shape
    assert not [other for other in viewer.layers if "preview" in other.name]


def test_the_selection_may_change_during_a_run(viewer, dock, wait, picture):
    viewer.add_image(picture, name="cells")
    other = viewer.add_image(picture, name="other")
    viewer.layers.selection.active = viewer.layers["cells"]
    widget = dock(**LONG)
    widget.run_button.click()
    wait(lambda: "iteration" in status(widget))
    viewer.layers.selection.active = other
    widget.stop()
    wait(lambda: not widget.running)
    assert restored(viewer)[0].metadata[METADATA]["source_layer"] == "cells"


@pytest.mark.parametrize("after", [0, 8])
def test_running_out_of_memory_is_a_sentence_and_keeps_what_there_is(viewer, dock, wait, picture, monkeypatch, after):
    calls = []

    def forward(self, predicted, observed):
        calls.append(1)
        if len(calls) > after:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return (predicted - observed).square().mean()

    viewer.add_image(picture)
    widget = dock(iterations=50)
    with monkeypatch.context() as patch:
        patch.setattr(Gaussian, "forward", forward)
        widget.run_button.click()
        wait(lambda: not widget.running)
    assert "memory ran out" in status(widget)
    assert "Traceback" not in status(widget)
    assert len(restored(viewer)) == (after > 0)
    widget.run_button.click()  # ready again
    wait(lambda: not widget.running)
    assert "finished" in status(widget)


def test_an_unforeseen_error_is_a_sentence_too(viewer, dock, wait, picture, monkeypatch):
    def forward(self, predicted, observed):
        raise RuntimeError("something odd")

    viewer.add_image(picture)
    widget = dock()
    monkeypatch.setattr(Gaussian, "forward", forward)
    widget.run_button.click()
    wait(lambda: not widget.running)
    assert "something odd" in status(widget)
    assert widget.run_button.isEnabled()


def test_closing_the_dock_ends_the_run_and_keeps_the_result(viewer, dock, wait, picture):
    viewer.add_image(picture)
    widget = dock(**LONG)
    widget.run_button.click()
    wait(lambda: "iteration" in status(widget))
    viewer.window.remove_dock_widget(widget)
    wait(lambda: len(restored(viewer)) == 1)
    assert Job._current is None


@pytest.mark.parametrize("paused", [False, True])
def test_closing_the_window_ends_the_run(make_napari_viewer, wait, picture, paused):
    viewer = make_napari_viewer()
    viewer.add_image(picture)
    widget = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")[1]
    widget.form.set(**LONG)
    widget.run_button.click()
    wait(lambda: "iteration" in status(widget))
    if paused:
        widget.pause_button.click()
    job = widget.controls.job
    viewer.close()
    wait(lambda: not job.running)


def test_the_widget_dies_with_its_dock(viewer, dock, qtbot):
    widget = dock()
    gone = weakref.ref(widget)
    viewer.window.remove_dock_widget(widget)
    widget.deleteLater()
    del widget
    for _ in range(3):
        qtbot.wait(10)
        gc.collect()
    assert gone() is None or not gone()._connections
    viewer.add_image(np.zeros((4, 4)))  # and no event of the viewer reaches it any more


def test_a_script_restores_a_layer_without_a_form(viewer, picture):
    from napari_dip.viewer import restore_layer

    layer = viewer.add_image(picture, name="cells", scale=(0.5, 0.5))
    mask = viewer.add_labels((picture > 105).astype(int), scale=(0.5, 0.5))
    quick = {"channels": 4, "scales": 2, "code_channels": 8, "iterations": 4}
    assert restore_layer(viewer, "denoise", layer, **quick).data.shape == picture.shape
    filled = restore_layer(viewer, "inpaint", "cells", mask, **quick)
    assert np.array_equal(filled.data[picture <= 105], picture[picture <= 105])
    assert restore_layer(viewer, "superresolve", layer, factor=(2, 3), **quick).data.shape == (40, 72)
    with pytest.raises(TypeError, match="labels layer; choose an image"):
        restore_layer(viewer, "denoise", mask, **quick)
    with pytest.raises(TypeError, match="did you mean 'iterations'"):
        restore_layer(viewer, "denoise", layer, iteration=4)
    with pytest.raises(ValueError, match="mask is not given"):
        restore_layer(viewer, "inpaint", layer, **quick)


def test_window_and_script_give_the_same_image(viewer, dock, wait, picture):
    from napari_dip import denoise

    viewer.add_image(picture)
    widget = dock()
    widget.run_button.click()
    wait(lambda: not widget.running)
    record = restored(viewer)[0].metadata[METADATA]
    again = denoise(
        picture,
        channels=4,
        scales=2,
        code_channels=8,
        iterations=5,
        stop="iterations",
        runs=1,
        threads=record["settings"]["threads"],
    )
    assert np.array_equal(restored(viewer)[0].data, again.image)


def test_no_thread_is_left(viewer, dock, wait, picture):
    before = threading.enumerate()  # those that wait for work of patches stay, see core/crew.py
    viewer.add_image(picture)
    widget = dock()
    widget.run_button.click()
    wait(lambda: not widget.running)
    wait(lambda: all("napari-dip" not in each.name for each in threading.enumerate() if each not in before))
    assert Job._current is None


def run_case(viewer, widget, wait, case):
    """Hand a case's image, mask and knobs to a widget, press Run, and wait for the end."""
    image = viewer.add_image(case.image(), name="image")
    mask = case.mask()
    if mask is not None:
        widget.inputs.mask.value = viewer.add_labels(np.asarray(mask).astype(int), name="mask")
        viewer.layers.selection.active = image
    knobs = {name: value for name, value in case.options.items() if name != "factor"}
    widget.form.set(**{"iterations": 3, **knobs})
    if image.ndim > 2:
        widget.inputs.where.value = "all slices, one after the other"
    widget.run()
    wait(lambda: not widget.running)


@pytest.mark.parametrize("case", bad("widget"), ids=str)
def test_bad_input_is_a_sentence_and_no_layer(viewer, dock, wait, case):
    widget = dock(TASKS[case.task].title)
    run_case(viewer, widget, wait, case)
    assert all(word in status(widget) + widget._sentence.text() for word in case.words)
    assert not restored(viewer)


@pytest.mark.filterwarnings("default::UserWarning")
@pytest.mark.parametrize("task", sorted({case.task for case in odd("widget")}))
def test_odd_but_valid_input_works(viewer, dock, wait, task):
    """One image after the other in one dock."""
    widget = dock(TASKS[task].title)
    for case in odd("widget"):
        if case.task == task:
            run_case(viewer, widget, wait, case)
            assert "finished" in status(widget), case
            assert np.isfinite(restored(viewer)[0].data).all(), case
            viewer.layers.clear()


def test_a_boolean_image_is_refused_with_a_sentence(viewer, dock, wait, picture):
    viewer.add_image(picture > 100)
    widget = dock()
    widget.run()
    wait(lambda: not widget.running)
    assert "boolean" in status(widget)


@pytest.mark.parametrize("task", ["Denoise", "Inpaint", "Deconvolve"])
def test_a_boolean_image_turns_run_off(viewer, dock, wait, picture, task):
    viewer.add_image(picture > 100, name="cells")
    widget = dock(task)
    wait(lambda: "'cells' is boolean, as a mask: there is nothing to restore." in widget._sentence.text())
    assert (widget.run_button.text(), widget.run_button.isEnabled()) == ("Run", False)
    viewer.add_image(picture, name="counts")
    widget.inputs.image.value = viewer.layers["counts"]
    wait(lambda: "boolean" not in widget._sentence.text())


def test_a_guide_is_asked_for_when_the_code_is_one(viewer, dock, wait, picture):
    source = viewer.add_image(picture, name="dim")
    flash = viewer.add_image(picture + 50, name="flash")
    viewer.layers.selection.active = source
    widget = dock()
    assert not widget.inputs.guide.native.isVisibleTo(widget)
    widget.form.set(code="guide")
    assert widget.inputs.guide.native.isVisibleTo(widget)
    widget.inputs.guide.value = flash
    widget.run()
    wait(lambda: not widget.running)
    assert "finished" in status(widget)


@pytest.mark.parametrize("correlated", [0, 0.7])
def test_one_maximum_of_iterations_is_told_before_and_during_a_run(viewer, wait, hold, correlated):
    """Where neighbours share their noise, 383 iterations were told before a run of 130."""
    hold("napari_dip.viewer.findings.restore", lambda progress: progress.iteration > 0)
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 10, (96, 96)), correlated)
    viewer.add_image((noise + np.linspace(0, 100, 96)).astype(np.float32))
    widget = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")[1]
    widget.form.set(preset="denoise-self", channels="8", scales=2)
    wait(lambda: not widget.noise.waiting)
    assert widget._noise.independent == (not correlated)
    (before,) = re.findall(r"at most (\d+) iterations", widget._sentence.text())
    assert int(before) < 4000
    widget.run()
    wait(lambda: "of at most" in widget.status)
    assert f"of at most {before}," in widget.status
    widget.stop()
    wait(lambda: not widget.running)


def test_more_iterations_go_on_with_the_last_run_that_gave_a_result(viewer, dock, wait, picture):
    viewer.add_image(picture, name="cells")
    widget = dock()
    widget.run()
    wait(lambda: not widget.running)
    viewer.add_image(np.full((8, 8), np.nan), name="blank")
    widget.run()
    wait(lambda: not widget.running)
    assert "no finite pixel" in status(widget)
    wait(lambda: not widget.noise.waiting)
    assert not widget.run_button.isEnabled()
    widget.more_button.click()
    wait(lambda: not widget.running)
    assert [layer.metadata[METADATA]["source_layer"] for layer in restored(viewer)] == ["cells", "cells"]
    assert restored(viewer)[1].metadata[METADATA]["iterations"] == 10


def test_the_sample_with_holes_is_inpainted_and_not_its_truth(viewer):
    viewer.open_sample("napari-dip", "holes")
    widget = viewer.window.add_plugin_dock_widget("napari-dip", "Inpaint")[1]
    assert widget.inputs.image.value.name == "fluorescence with holes"
    assert widget.inputs.mask.value.name == "holes"


@pytest.mark.parametrize("name", ["Denoise", "Super-resolve"])
def test_labels_mask_nothing_unless_they_are_chosen(viewer, dock, picture, name):
    viewer.add_image(picture)
    viewer.add_labels(np.ones(picture.shape, int), name="cells")
    widget = dock(name)
    assert widget.inputs.mask.value is None
    widget.inputs.mask.value = viewer.layers["cells"]
    assert "'cells'" in widget._sentence.text()


def test_the_choice_of_the_image_does_not_jump_to_what_a_run_adds(viewer, dock, wait, picture):
    viewer.add_image(picture, name="cells")
    idle, widget = dock("Denoise"), dock("Inpaint")
    widget.inputs.missing.new_mask.native.click()
    viewer.layers["cells mask"].data[3:5, 3:5] = 1
    viewer.layers["cells mask"].refresh()
    seen = set()
    note = viewer.layers.events.inserted.connect(lambda: seen.add(idle.inputs.image.value.name))
    widget.live.every.value = 2
    widget.run_button.click()
    wait(lambda: not widget.running)
    viewer.layers.events.inserted.disconnect(note)  # the window outlives the test
    assert {widget.inputs.image.value.name, idle.inputs.image.value.name} | seen == {"cells"}


def test_a_failure_is_forgotten_with_its_image(viewer, dock, wait, picture):
    viewer.add_image(picture > 100)
    widget = dock()
    widget.run()
    wait(lambda: not widget.running)
    assert "boolean" in status(widget)
    viewer.add_image(picture)
    assert status(widget) == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"task": "sharpen"}, "task='sharpen'"),
        ({"layer": "nuclei"}, "no layer 'nuclei'"),
        ({"where": (9,)}, "where="),
        ({"layer": "5-D", "where": "together"}, "has 3"),
        ({"level": 3}, "level=3"),
    ],
)
def test_a_script_with_a_wrong_argument_is_told_so(viewer, arguments, words):
    viewer.add_image(np.zeros((3, 8, 8)), name="stack")
    viewer.add_image(np.zeros((2, 2, 2, 8, 8)), name="5-D")
    with pytest.raises(ValueError, match=words):
        napari_dip.viewer.restore_layer(viewer, **({"task": "denoise", "layer": "stack"} | arguments))


def test_the_bar_is_busy_once_all_iterations_are_made(viewer, dock, wait, hold, qtbot):
    seen = []

    def begun(progress):
        seen.append(progress)
        return progress.iteration > 1

    held = hold("napari_dip.viewer.findings.restore", begun)
    viewer.add_image(np.random.default_rng(0).normal(100, 10, (2, 24, 24)), name="stack")
    widget = dock()
    widget.inputs.where.value = ALL_SLICES
    widget.run()
    wait(held.is_set)
    widget.pause_button.click()  # or else what the run says next may be shown over this
    qtbot.wait(50)
    last = dataclasses.replace(seen[-1], slice=1, tiles=1, iterations=10)
    widget.controls._tell(dataclasses.replace(last, iteration=9))
    assert (widget.controls._bar.maximum(), widget.controls.fraction) == (1000, 0.95)
    assert "slice 1, iteration 9 of at most 10" in widget.status
    widget.controls._tell(dataclasses.replace(last, iteration=10, ready=0.4))
    assert widget.controls._bar.maximum() == 0
    assert "comparing similar patches, 40%" in widget.status
    widget.stop()
    wait(lambda: not widget.running)
    assert widget.controls._bar.maximum() == 1000


def test_a_run_whose_source_is_removed_says_so_and_goes_on(viewer, dock, wait, picture):
    source = viewer.add_image(picture, name="cells")
    widget = dock(**LONG)
    widget.run()
    wait(lambda: widget.fraction > 0)
    viewer.layers.remove(source)
    assert widget._sentence.text().startswith("'cells' was removed, and its run goes on. Denoise 'cells': a prior")
    widget.stop()
    wait(lambda: not widget.running)
    (result,) = restored(viewer)
    assert "was removed" not in widget._sentence.text()
    assert widget.curve.moments.count
    viewer.layers.remove(result)  # the last that there was of it
    assert (widget.status, widget.controls.account, widget.curve.moments.count) == ("", "", 0)
    offered = widget.more_button, widget.saving, widget.copying, widget.curve, widget.controls.happened
    assert not any(each.isVisibleTo(widget) for each in offered)


def test_a_source_is_known_by_itself_and_not_by_its_name(viewer, dock, wait, picture):
    source = viewer.add_image(picture, name="cells")
    widget = dock(**LONG)
    widget.run()
    wait(lambda: widget.fraction > 0)
    source.name = "renamed"
    viewer.layers.remove(viewer.add_image(picture, name="cells"))
    assert "was removed" not in widget._sentence.text()
    viewer.layers.remove(source)
    assert widget._sentence.text().startswith("'renamed' was removed, and its run goes on.")
    widget.stop()
    wait(lambda: not widget.running)
    (result,) = restored(viewer)
    viewer.add_image(picture, name="cells")  # another one
    viewer.layers.remove(result)
    assert not widget.curve.moments.count


def test_a_run_that_is_stopped_before_torch_is_there_ends_at_once(viewer, dock, wait, picture):
    viewer.add_image(picture, name="cells")
    queue().empty()
    widget = dock(**LONG)
    with engine._one:  # as while another thread imports torch
        widget.run()
        assert widget.running
        widget.stop()
        wait(lambda: not widget.running)
    assert widget.status == "Stopped before the first iteration; there is nothing to show."
    assert not restored(viewer)
    assert not queue().of(FAILED)
