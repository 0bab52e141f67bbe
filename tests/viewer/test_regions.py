"""Try on a part, then on all; shapes as masks; and a queue of what is to be done."""

import numpy as np
import pytest

import napari_dip
from napari_dip import pictures
from napari_dip.viewer import layers, masks, regions
from napari_dip.viewer.queue import WAITING, Entry, QueuePanel, queue
from napari_dip.viewer.restoration import METADATA
from tests.viewer.docks import LONG, QUICK, restored

CORNERS = np.array([[2.0, 3.0], [2.0, 21.0], [18.0, 21.0], [18.0, 3.0]])  # of a rectangle, in pixels


@pytest.fixture
def cells(viewer, picture):
    place = {"scale": (0.2, 0.3), "translate": (5, 6), "units": ("um", "um")}
    return viewer.add_image(picture, name="cells", **place)


def draw(viewer, layer, corners=CORNERS):
    """A rectangle over an image, in a Shapes layer of another scale."""
    world = [[5 + 0.2 * y, 6 + 0.3 * x] for y, x in corners]
    shapes = viewer.add_shapes([np.array(world) / 0.1], scale=(0.1, 0.1), units=("um", "um"), name="part")
    viewer.layers.selection.active = layer
    return shapes


def test_a_part_is_tried_and_lies_in_its_place_then_all_is_restored(viewer, dock, wait, cells):
    widget = dock()
    widget.inputs.part.value = draw(viewer, cells)
    assert "16 x 18 pixels" in widget._sentence.text()
    widget.run_button.click()
    wait(lambda: not widget.running)
    (part,) = restored(viewer)
    assert list(viewer.layers) == [cells, part, widget.inputs.part.value], "the rectangle is hidden by what is in it"
    assert part.name == "cells denoised (part)"
    assert part.data.shape == (16, 18)
    assert np.allclose(part.data_to_world((0, 0)), cells.data_to_world((2, 3)))
    assert np.allclose(part.scale, cells.scale)
    assert widget.controls.all_button.text() == "Apply to all of 'cells'"
    widget.controls.all_button.click()
    wait(lambda: len(restored(viewer)) == 2 and not widget.running)
    assert restored(viewer)[1].data.shape == cells.data.shape


def test_the_rectangle_of_a_part_is_no_mask(viewer, dock, cells):
    scratch = viewer.add_labels(np.eye(20, 24, dtype=np.uint8), name="scratch")
    widget = dock("Inpaint")
    widget.inputs.mask.value = scratch
    widget.inputs.part.value = regions.DRAW
    assert widget.inputs.part.value is viewer.layers.selection.active
    assert widget.inputs.mask.value is scratch


def test_what_another_dock_has_drawn_is_no_mask(viewer, dock, cells):
    scratch = viewer.add_labels(np.eye(20, 24, dtype=np.uint8), name="scratch")
    viewer.add_image(cells.data, name="cells denoised", metadata={METADATA: {"source_layer": "cells"}})
    inpaint, denoise = dock("Inpaint"), dock("Denoise")
    inpaint.inputs.mask.value = scratch
    denoise.inputs.part.value = regions.DRAW
    assert inpaint.inputs.mask.value is scratch
    denoise.comparing.switches["profile"].setChecked(True)
    viewer.layers.selection.active = denoise.comparing._profile.line  # to drag its ends
    assert inpaint.inputs.mask.value is scratch
    viewer.layers.selection.active = own = viewer.add_shapes([CORNERS], name="own")
    assert inpaint.inputs.mask.value is own


def test_a_part_takes_the_noise_of_all(viewer, dock, wait, cells):
    cells.data[:, 12:] = cells.data[:, 12:] / 5 + 80  # less noise in what is tried
    cells.refresh()
    widget = dock()
    widget.inputs.part.value = draw(viewer, cells, corners=[[0, 13], [0, 23], [16, 23], [16, 13]])
    wait(lambda: not widget.noise.waiting)
    widget.run_button.click()
    wait(lambda: not widget.running)
    (part,) = restored(viewer)
    record = part.metadata[METADATA]
    assert record["noise"]["read_noise"] == widget._noise.read_noise
    assert f"read noise {widget._noise.read_noise:.4g}," in widget.noise.toolTip()
    assert record["noise_of"] == "all of 'cells'"
    assert record["camera"] == {}
    copied = widget.copying.run_as("python")
    assert "    image_noise=noise,\n" in copied
    names = {"np": np, "napari_dip": napari_dip}
    exec(copied[copied.index("noise = ") : copied.index("assert ")], names)
    assert names["noise"] == widget._noise
    assert np.array_equal(names["noise"].autocorrelation, widget._noise.autocorrelation)


def test_a_part_is_to_be_larger_than_the_blur_and_units_are_asked_of_the_whole_image(viewer, dock, wait, cells):
    widget = dock("Deconvolve")
    widget.inputs.known["psf"].sigma.value = "4"
    widget.inputs.part.value = draw(viewer, cells, corners=[[0, 0], [0, 15], [15, 15], [15, 0]])
    wait(lambda: not widget.noise.waiting)
    assert "over 19 x 19 pixels, and the part has 16 x 16: take a larger one." in widget._sentence.text()
    assert widget.run_button.text() == "Run anyway"
    widget.inputs.known["psf"].sigma.value = "8"
    assert "and the image has 20 x 24: is it given in pixels?" in widget._sentence.text()
    widget.inputs.known["psf"].sigma.value = "21"
    assert "far wider than the part" in widget._sentence.text()
    assert not widget.run_button.isEnabled()


def test_run_waits_for_a_rectangle_to_be_drawn(viewer, dock, cells):
    widget = dock()
    widget.inputs.part.value = regions.DRAW
    assert "Draw a rectangle" in widget._sentence.text()
    assert not widget.run_button.isEnabled()
    shapes = widget.inputs.part.value
    assert viewer.layers.selection.active == shapes
    shapes.add_rectangles(CORNERS)
    assert widget.run_button.isEnabled()


def test_all_slices_and_the_selected_layers_wait_in_the_queue(viewer, dock, wait, picture):
    stack = viewer.add_image(np.stack([picture, picture + 1]), name="stack")
    other = viewer.add_image(picture, name="other")
    viewer.layers.selection = {stack, other}
    widget = dock()
    widget.inputs.image.value = stack
    assert widget.controls.all_button.text() == "Apply to the 2 selected layers"
    queue().empty()
    widget.controls.all_button.click()
    assert widget.queue.told == "running: stack\nwaiting: other"
    wait(lambda: len(restored(viewer)) == 2 and not widget.running)
    assert widget.queue.told == "done: stack\ndone: other"
    assert [layer.data.shape for layer in restored(viewer)] == [(2, *picture.shape), picture.shape]


def test_the_queue_is_emptied_at_once_and_what_runs_goes_on(viewer, dock, wait, picture):
    first, second = viewer.add_image(picture, name="a"), viewer.add_image(picture, name="b")
    viewer.layers.selection = {first, second}
    widget = dock(**LONG)
    widget.inputs.image.value = first
    widget.apply_to_all()
    widget.queue.empty_button.click()
    assert not queue().of(WAITING)
    assert widget.running
    widget.stop()
    wait(lambda: not widget.running)
    assert len(restored(viewer)) <= 1


def test_a_dock_that_opens_while_others_have_run_shows_no_window_of_its_queue(viewer, qtbot):
    queue().entries = [Entry(None, name, bool) for name in "ab"]
    panel = QueuePanel()
    qtbot.addWidget(panel)
    assert not panel.isVisible()
    assert panel.told == "waiting: a\nwaiting: b"
    queue().empty()


def test_a_dock_whose_run_was_taken_from_the_queue_waits_no_longer(viewer, dock, wait, picture):
    queue().empty()
    for name in ("a", "b"):
        viewer.add_image(picture, name=name)
    running, waiting = dock(**LONG), dock("Enhance")
    for widget, name in ((running, "a"), (waiting, "b")):
        widget.inputs.image.value = viewer.layers[name]
        widget.run_button.click()
    assert waiting.status == "Waiting for 'a' to finish (1 in the queue)."
    waiting.queue.empty_button.click()
    assert waiting.status == ""
    running.stop()
    wait(lambda: not running.running)


def test_what_waits_is_what_was_asked_for_or_fails_in_a_sentence(viewer, dock, wait, picture):
    queue().empty()
    for name in ("a", "b", "c"):
        viewer.add_image(picture, name=name)
    running, waiting, other = dock(**LONG), dock("Super-resolve"), dock("Enhance")
    for widget, name in ((running, "a"), (waiting, "b"), (other, "c")):
        widget.inputs.image.value = viewer.layers[name]
        widget.run_button.click()
    viewer.layers.selection.active = viewer.layers["a"]  # which docks that wait choose too
    viewer.layers.remove("c")
    wait(lambda: running.fraction > 0)
    running.stop()
    wait(lambda: not queue().of("waiting", "running"))
    assert {layer.metadata[METADATA]["source_layer"] for layer in restored(viewer)} == {"a", "b"}
    assert running.queue.told.splitlines()[1:] == ["done: b", "failed: c ('c' was removed before its turn.)"]
    queue().empty()


def test_what_waits_takes_the_mask_the_label_and_the_part_that_it_was_asked_for(viewer, dock, wait, picture):
    queue().empty()
    for name in ("a", "b"):
        viewer.add_image(picture, name=name)
    marks = np.zeros(picture.shape, np.uint8)
    marks[4:6, 4:8], marks[8:10, 4:8] = 1, 2
    asked, other, gone = (viewer.add_labels(marks, name=name) for name in ("asked", "other", "gone"))
    running, waiting = dock(**LONG), dock("Inpaint")
    running.inputs.image.value = viewer.layers["a"]
    running.run()
    inputs = waiting.inputs
    inputs.part.value = viewer.add_shapes([CORNERS], name="part")
    inputs.image.value = viewer.layers["b"]
    for mask, inputs.label.value in ((asked, 2), (gone, 1)):
        inputs.mask.value = mask
        waiting.run()
    viewer.layers.selection.active = other  # which a dock that waits chooses too
    inputs.part.value = regions.WHOLE
    viewer.layers.remove(gone)
    running.stop()
    wait(lambda: not queue().of("waiting", "running"))
    (filled,) = [layer for layer in restored(viewer) if layer.metadata[METADATA]["source_layer"] == "b"]
    assert filled.metadata[METADATA]["mask_layer"] == "asked"
    assert np.array_equal(filled.data != picture[2:18, 3:21], marks[2:18, 3:21] == 2)
    assert running.queue.told.splitlines()[1:] == ["done: b", "failed: b ('gone' was removed before its turn.)"]
    queue().empty()


def test_shapes_mark_what_labels_would(viewer, cells):
    shapes = draw(viewer, cells)
    missing = masks.align_mask(layers.read(cells), shapes, None, viewer)
    expected = np.zeros(cells.data.shape, bool)
    expected[2:19, 3:22] = True
    assert np.array_equal(missing, expected)
    part = layers.select(cells, window=(slice(10, 20), slice(0, 24))).read()
    assert np.array_equal(masks.align_mask(part, shapes, None, viewer), expected[10:])


def test_shapes_are_a_mask_of_inpainting(viewer, dock, wait, cells):
    shapes = draw(viewer, cells, corners=CORNERS / 3)
    widget = dock("Inpaint")
    widget.inputs.mask.value = shapes
    widget.run_button.click()
    wait(lambda: not widget.running)
    assert restored(viewer)[0].metadata[METADATA]["mask_layer"] == "part"


def test_a_folder_of_images_becomes_files_through_the_queue(viewer, dock, wait, picture, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir(), target.mkdir()
    stack = np.stack([picture, picture + 5])
    for name, values in {"b": stack, "a": picture}.items():
        made = pictures.make(values, scale=(1, 0.5, 0.5)[-values.ndim :], units=["um"] * values.ndim)
        pictures.save(source / f"{name}.ome.tif", made)
    (source / "damaged.tif").write_bytes(b"no image")
    before = list(viewer.layers)
    queue().empty()  # of what other tests did
    widget = dock()
    widget.apply_to_folder(source, target)
    wait(lambda: not queue().of("running", "waiting"))
    assert list(viewer.layers) == before
    reason = next(each.reason for each in queue().of("failed"))
    assert "damaged.tif" in reason
    assert widget.status == f"1 of 3 images failed: 'damaged.tif' ({reason})."
    assert f"failed: damaged.tif ({reason})" in widget.queue.told
    assert {each.name: each.state for each in queue().entries} == {
        "a.ome.tif": "done", "b.ome.tif": "done", "damaged.tif": "failed"
    }  # fmt: skip
    made = pictures.read(target / "b.ome.tif")
    assert made.values.shape == stack.shape
    assert made.pixel_size["X"] == 0.5
    assert made.record["settings"]["iterations"] == QUICK["iterations"]
    widget.apply_to_folder(source, target)  # those that are there stay
    assert [each.name for each in queue().of("running", "waiting")] in ([], ["damaged.tif"])
    wait(lambda: not queue().of("running", "waiting"))
    (source / "damaged.tif").unlink()
    widget.apply_to_folder(source, target)
    assert "All 2 images are in" in widget.status
    widget.apply_to_folder(source, source)
    assert "choose another one for the results" in widget.status
    assert not queue().of("running", "waiting")
    queue().empty()


def test_run_again_like_this_takes_one_click(viewer, dock, wait, picture):
    viewer.add_image(picture, name="first")
    other = viewer.add_image(picture + 7, name="other")
    widget = dock(iterations=7)
    widget.inputs.image.value = viewer.layers["first"]
    widget.run()
    wait(lambda: not widget.running and len(restored(viewer)) == 1)
    widget.form.reset()
    viewer.layers.selection.active = restored(viewer)[0]
    assert widget.record.image.value is viewer.layers["first"]
    widget.record.image.value = other
    widget.record.again_button.click()
    wait(lambda: not widget.running and len(restored(viewer)) == 2)
    record = restored(viewer)[1].metadata[METADATA]
    assert record["source_layer"] == "other"
    assert record["settings"] == restored(viewer)[0].metadata[METADATA]["settings"]
    inpaint = dock("Inpaint")
    viewer.layers.selection.active = restored(viewer)[0]
    inpaint.record.again_button.click()
    assert "open Denoise" in inpaint.status


def test_run_again_repeats_with_a_mask_from_a_file_and_says_where_it_is_another_one(viewer, dock, wait, picture):
    """A mask that was painted has no calibration when it comes back from a file."""
    place = {"scale": (0.065, 0.065), "units": ("um", "um")}
    viewer.add_image(np.rint(picture).astype(np.uint16), name="cells", **place)
    marks = np.pad(np.ones((3, 4), np.uint8), ((5, 12), (6, 14)))
    widget = dock("Inpaint")
    widget.inputs.mask.value = viewer.add_labels(marks, **place)
    widget.run()
    wait(lambda: not widget.running and len(restored(viewer)) == 1)
    (first,) = restored(viewer)
    viewer.add_image(255 * marks, name="file")
    seen = {first.name}
    for count, mask in ((2, "where 'file' is bright"), (3, "where 'file' is dark")):
        widget.inputs.mask.value = dict(widget.inputs.missing._masks())[mask]
        viewer.layers.selection.active = first
        widget.record.again_button.click()
        wait(lambda count=count: not widget.running and len(restored(viewer)) == count)
        another = "The mask is not that of 'cells inpainted'." in widget.status
        assert another == ("dark" in mask)
        new = next(layer for layer in restored(viewer) if layer.name not in seen)
        assert np.array_equal(new.data, first.data) != another
        seen.add(new.name)


def test_pixels_that_are_replaced_in_a_run_or_after_it_are_told(viewer, dock, wait, hold, picture):
    held = hold("napari_dip.viewer.findings.restore", lambda progress: True)
    cells = viewer.add_image(picture, name="cells")
    widget = dock()
    widget.run()
    wait(held.is_set)
    cells.data = picture + 1
    widget.stop()
    wait(lambda: not widget.running and len(restored(viewer)) == 1)
    assert "The pixels of 'cells' were replaced meanwhile" in widget.status
    for count, told in ((2, True), (3, False)):
        viewer.layers.selection.active = made = restored(viewer)[-1]
        widget.record.again_button.click()
        wait(lambda count=count: not widget.running and len(restored(viewer)) == count)
        assert "meanwhile" not in widget.status
        assert (f"The pixels of 'cells' are not those that '{made.name}' was made of." in widget.status) == told


def test_run_again_says_what_is_lacking_before_it_runs(viewer, dock, wait, picture):
    cells = viewer.add_image(np.rint(picture).astype(np.uint16), name="cells")  # which has no NaN
    holes = viewer.add_labels(np.pad(np.ones((3, 4), int), ((5, 12), (6, 14))), name="holes")
    widget = dock("Inpaint")
    widget.inputs.mask.value = holes
    widget.run()
    wait(lambda: not widget.running and len(restored(viewer)) == 1)
    widget.inputs.mask.value = None
    viewer.layers.selection.active = restored(viewer)[0]
    widget.record.again_button.click()
    assert widget.record.image.value is cells
    assert widget.status.startswith("The settings are those of 'cells inpainted'. Choose what is missing: a Labels")
    assert not widget.running
    widget.inputs.mask.value = holes
    widget.record.again_button.click()
    wait(lambda: not widget.running and len(restored(viewer)) == 2)
    one, other = (layer.metadata[METADATA] for layer in restored(viewer))
    assert one["settings"] == other["settings"]


@pytest.mark.parametrize("text", ["1.25", "1.5, 2"])
def test_run_again_takes_the_sigma_of_a_gaussian(viewer, dock, wait, picture, text):
    viewer.add_image(picture, name="cells")
    widget = dock("Deconvolve")
    row = widget.inputs.known["psf"].sigma
    row.value = text
    widget.run()
    wait(lambda: not widget.running and len(restored(viewer)) == 1)
    row.value = "3"
    viewer.layers.selection.active = restored(viewer)[0]
    widget.record.again_button.click()
    wait(lambda: not widget.running and len(restored(viewer)) == 2)
    assert row.value == text
    one, other = restored(viewer)
    assert one.metadata[METADATA]["psf_sigma"] == other.metadata[METADATA]["psf_sigma"]
    assert np.array_equal(one.data, other.data)
