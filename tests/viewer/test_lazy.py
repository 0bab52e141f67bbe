"""Lazy layers: never read as a whole, restored block by block into a file that a later run goes on with."""

import errno
import tracemalloc
from pathlib import Path

import dask.array
import numpy as np
import pytest
import zarr

from napari_dip.run.blocks import blocks
from napari_dip.tables.settings import Settings
from napari_dip.viewer import layers, masks, restore_layer
from napari_dip.viewer.choice import ALL_SLICES, TOGETHER, VOLUME
from napari_dip.viewer.job import Job
from napari_dip.viewer.restoration import METADATA
from napari_dip.viewer.stream import Stream
from tests.viewer.docks import restored

PLANES, SIDE = 4, 24
BLOCKS = "napari_dip.run.blocks.restore.iterate_blocks"
QUICK = {"channels": 4, "scales": 2, "code_channels": 8, "iterations": 3, "stop": "iterations"}
SCALE, TRANSLATE, UNITS = (2.0, 0.5, 0.25), (10.0, 20.0, 30.0), ("um", "um", "um")


class Planes:
    """A stack that counts which of its planes are read, and will not give more than a few at once."""

    def __init__(self, shape=(PLANES, SIDE, SIDE), most=2):
        self.values = np.random.default_rng(0).normal(100, 10, shape).astype(np.float32)
        self.shape, self.dtype, self.ndim = shape, self.values.dtype, len(shape)
        self.most, self.read = most, set()

    def __getitem__(self, part):
        planes = range(self.shape[0])[part[0]] if isinstance(part, tuple) else range(self.shape[0])
        assert len(planes) <= self.most, f"{len(planes)} planes are read at once"
        self.read |= set(planes)
        return self.values[part]


def after_blocks(count):
    """That so many blocks are restored, and the next one is under way."""
    return lambda progress: progress.step == "fit" and progress.done >= count and progress.block is not None


def lazily(source):
    """The stack as a dask array with a plane in each chunk; computed as a whole, it fails."""

    def compute(block_info=None):
        (start, stop), *_ = block_info[None]["array-location"]
        return source[start:stop, :, :]

    chunks = ((1,) * source.shape[0], *((n,) for n in source.shape[1:]))
    array = dask.array.map_blocks(compute, chunks=chunks, dtype=source.dtype, meta=np.empty((0,) * 3, source.dtype))
    whole = array.__class__.__array__

    class Guarded(dask.array.Array):
        def __array__(self, *args, **kwargs):
            assert self.numblocks[0] <= source.most, f"{self.numblocks[0]} chunks are computed at once"
            return whole(self, *args, **kwargs)

    array.__class__ = Guarded
    return array


@pytest.fixture
def planes():
    return Planes()


@pytest.fixture
def show(viewer):
    def add(data, **options):
        place = {"scale": SCALE, "translate": TRANSLATE, "units": UNITS, "contrast_limits": (60, 140)}
        return viewer.add_image(data, name="stack", multiscale=False, **(place | options))

    return add


def test_a_slice_in_view_is_all_that_is_read_of_a_lazy_stack(viewer, dock, wait, planes, show):
    show(lazily(planes))
    viewer.dims.set_current_step(0, 3)
    planes.read.clear()
    widget = dock()
    wait(lambda: not widget.noise.waiting)
    widget.inputs.missing.find_bad_pixels()
    wait(lambda: not widget.inputs.missing._finder.waiting)
    widget.inputs.mask.value = None
    widget.run()
    wait(lambda: not widget.running)
    (layer,) = restored(viewer)
    assert planes.read == {3}
    assert layer.data.shape == (1, SIDE, SIDE)


@pytest.mark.parametrize("form", ["dask", "zarr"])
def test_all_slices_of_a_lazy_stack_become_a_lazy_layer_in_its_place(viewer, dock, wait, planes, show, tmp_path, form):
    data = lazily(planes) if form == "dask" else zarr.create_array(tmp_path / "in.zarr", data=planes.values)
    source = show(data, colormap="magma")
    widget = dock()
    widget.inputs.where.value = ALL_SLICES
    assert widget.inputs.target.isVisibleTo(widget.inputs)
    widget.inputs.target.value = tmp_path / "out.ome.zarr"
    assert "out.ome.zarr" in widget._sentence.text()
    assert widget.trust.switches["residual"].isEnabled()
    assert not widget.trust.switches["resolution"].isEnabled()
    widget.run()
    wait(lambda: not widget.running)
    assert "finished 4 blocks" in widget.status
    layer = next(each for each in viewer.layers if METADATA in each.metadata)
    assert layers.is_lazy(layer.data)
    assert layer.data.shape == source.data.shape
    assert np.isfinite(np.asarray(layer.data[3])).all()
    assert layer.scale == pytest.approx(SCALE)
    assert layer.translate == pytest.approx(TRANSLATE)
    assert (layer.units, layer.axis_labels) == (source.units, source.axis_labels)
    assert (layer.colormap.name, tuple(layer.contrast_limits)) == ("magma", (60, 140))
    assert layer.metadata[METADATA]["complete"]
    dataset = zarr.open_group(tmp_path / "out.ome.zarr").attrs["ome"]["multiscales"][0]["datasets"][0]
    assert dataset["coordinateTransformations"][0]["scale"] == list(SCALE)
    assert not [each for each in viewer.layers if "preview" in each.name]


def test_what_a_run_over_blocks_is_to_be_trusted_for_is_found_out_and_shown(viewer, dock, wait, planes, show, tmp_path):
    show(lazily(planes))
    viewer.add_image(dask.array.from_array(planes.values + 3.0, chunks=(1, SIDE, SIDE)), name="truth")
    widget = dock()
    widget.inputs.image.value = viewer.layers["stack"]
    widget.inputs.where.value = ALL_SLICES
    widget.inputs.target.value = tmp_path / "out.ome.zarr"
    for name in ("residual", "uncertainty", "control"):
        widget.trust.switches[name].setChecked(True)
    widget.trust.truth.value = viewer.layers["truth"]
    widget.run()
    wait(lambda: not widget.running and "noise-only control" in widget.trust.told)
    assert "finished 4 blocks" in widget.status
    for words in ("removed in", "Standard deviation at each pixel", "PSNR", "Out of noise alone"):
        assert words in widget.trust.told
    maps = {
        layer.metadata[METADATA]["map"]: layer for layer in viewer.layers if "map" in layer.metadata.get(METADATA, {})
    }
    assert [*maps] == ["residual", "uncertainty", "noise-only control"]
    for name in ("residual", "uncertainty"):
        assert layers.is_lazy(maps[name].data)
        assert maps[name].data.shape == planes.shape
        assert np.isfinite(np.asarray(maps[name].data[3])).all()
        assert maps[name].scale == pytest.approx(SCALE)
    assert maps["noise-only control"].data.shape == (1, SIDE, SIDE)
    (result,) = [each for each in viewer.layers if "store" in each.metadata.get(METADATA, {})]
    assert result.metadata[METADATA]["trust"].keys() == {"residual_verdicts", "truth", "noise_only_control"}


def test_slices_of_a_lazy_stack_are_restored_together_and_by_a_guide(
    viewer, dock, wait, planes, show, tmp_path, monkeypatch
):
    monkeypatch.setattr(layers, "_ONE_BLOCK", {2: 100, 3: 100})
    show(lazily(planes))
    viewer.add_image(dask.array.from_array(planes.values[0] + 0.0, chunks=(SIDE, SIDE)), name="guide")
    widget = dock(code="guide")
    widget.inputs.image.value = viewer.layers["stack"]
    widget.inputs.where.value = TOGETHER
    widget.inputs.guide.value = viewer.layers["guide"]
    widget.inputs.target.value = tmp_path / "out.ome.zarr"
    widget.run()
    wait(lambda: not widget.running)
    assert "finished 1 block" in widget.status
    request = zarr.open_group(tmp_path / "out.ome.zarr").attrs["napari-dip"]["request"]
    assert (request["channel_axis"], request["guide"]["shape"]) == (0, [SIDE, SIDE])


def test_a_stopped_run_shows_what_is_done_and_the_next_one_goes_on(viewer, dock, wait, hold, planes, show, tmp_path):
    held = hold(BLOCKS, after_blocks(2))
    show(lazily(planes))
    widget = dock()
    widget.inputs.where.value = ALL_SLICES
    widget.inputs.target.value = tmp_path / "out.ome.zarr"
    widget.run()
    wait(lambda: held.is_set() and "Restoring, 2 of 4 blocks done" in widget.status)
    widget.stop()
    wait(lambda: not widget.running)
    assert "Run goes on" in widget.status
    (partial,) = [each for each in viewer.layers if METADATA in each.metadata]
    done = [bool(np.isfinite(np.asarray(partial.data[i])).all()) for i in range(PLANES)]
    assert done[0]
    assert not done[-1]
    assert " of 4 blocks are restored" in widget.status
    assert "goes on with the run in" in widget._sentence.text()
    first = np.asarray(partial.data[0])
    widget.run()
    wait(lambda: not widget.running)
    (layer,) = [each for each in viewer.layers if METADATA in each.metadata]
    assert layer.metadata[METADATA]["complete"]
    assert np.array_equal(np.asarray(layer.data[0]), first)
    assert np.isfinite(np.asarray(layer.data[-1])).all()
    assert "finished before" in widget._sentence.text()


def test_stopped_tiles_are_blended_as_far_as_they_are_fitted(viewer, dock, wait, hold, show, tmp_path):
    held = hold(BLOCKS, after_blocks(3))
    show(lazily(Planes((2, 48, 80))), scale=(1, 1, 1))
    widget = dock(tile=32, overlap=8)
    widget.inputs.where.value = ALL_SLICES
    widget.inputs.target.value = tmp_path / "out.ome.zarr"
    widget.run()
    wait(held.is_set)
    widget.stop()
    wait(lambda: not widget.running)
    (layer,) = [each for each in viewer.layers if METADATA in each.metadata]
    known = np.isfinite(np.asarray(layer.data[0]))
    assert 0 < known.mean() < 1


def test_what_is_no_run_of_ours_is_never_written_over(viewer, dock, planes, show, tmp_path):
    show(lazily(planes))
    widget = dock()
    widget.inputs.where.value = ALL_SLICES
    (tmp_path / "mine.ome.zarr").mkdir()
    widget.inputs.target.value = tmp_path / "mine.ome.zarr"
    assert "not from a run of this plugin" in widget._sentence.text()
    assert not widget.run_button.isEnabled()
    widget.inputs.target.value = tmp_path / "nowhere" / "out.ome.zarr"
    assert "is not a folder" in widget._sentence.text()
    assert not widget.run_button.isEnabled()


def test_a_name_is_proposed_beside_the_file_until_the_user_writes_one(viewer, dock, planes, show, tmp_path):
    show(zarr.create_array(tmp_path / "cells.ome.zarr" / "0", data=planes.values))
    widget = dock()
    widget.inputs.where.value = ALL_SLICES
    assert widget.inputs.target.value == tmp_path / "stack denoised.ome.zarr"
    other = show(lazily(planes))
    viewer.layers.selection.active = other
    assert widget.inputs.target.value == Path()  # it has no folder: test_preferences
    widget.inputs.target.value = tmp_path / "mine.ome.zarr"
    viewer.layers.selection.active = viewer.layers["stack"]
    assert widget.inputs.target.value == tmp_path / "mine.ome.zarr"


def test_an_image_in_memory_asks_for_no_file(viewer, dock, planes, show):
    show(planes.values)
    widget = dock()
    widget.inputs.where.value = ALL_SLICES
    assert not widget.inputs.target.isVisibleTo(widget.inputs)
    assert widget.trust.switches["residual"].isEnabled()


def test_a_lazy_multiscale_volume_is_enlarged_along_z(viewer, dock, wait, tmp_path):
    values = np.random.default_rng(0).normal(100, 10, (2, 6, 16, 18)).astype(np.float32)
    levels = [dask.array.from_array(values, chunks=(1, 6, 16, 18)), dask.array.from_array(values[..., ::2, ::2])]
    viewer.add_image(levels, name="stack", scale=(1, 4, 0.5, 0.5), translate=(0, 10, 20, 30), contrast_limits=(60, 140))
    widget = dock("Super-resolve")
    widget.inputs.where.value = "all volumes, one after the other"
    widget.inputs.known["factor"].z.value, widget.inputs.known["factor"].yx.value = 4, 1
    widget.inputs.target.value = tmp_path / "out.ome.zarr"
    widget.run()
    wait(lambda: not widget.running)
    (layer,) = [each for each in viewer.layers if METADATA in each.metadata]
    assert layer.data.shape == (2, 24, 16, 18)
    np.testing.assert_allclose(layer.scale, (1, 1, 0.5, 0.5))
    np.testing.assert_allclose(layer.translate, (0, 10 + 4 * (1 / 4 - 1) / 2, 20, 30))
    multiscale = zarr.open_group(tmp_path / "out.ome.zarr").attrs["ome"]["multiscales"][0]
    scale, translation = multiscale["datasets"][0]["coordinateTransformations"]
    assert (scale["scale"], translation["translation"]) == ([1, 1, 0.5, 0.5], [0, 8.5, 20, 30])


def test_a_volume_of_a_lazy_stack_is_read_as_one(viewer, dock, wait, show):
    show(lazily(Planes(most=PLANES)))
    widget = dock("Denoise", code="uniform", generator="hourglass")
    widget.inputs.where.value = VOLUME
    assert not widget.inputs.target.isVisibleTo(widget.inputs)
    widget.run()
    wait(lambda: not widget.running)
    (layer,) = restored(viewer)
    assert layer.data.shape == (PLANES, SIDE, SIDE)


@pytest.mark.parametrize("flat", [True, False])
def test_a_lazy_mask_is_that_of_the_image_in_memory(viewer, planes, flat):
    """Looked up block by block through the world, with another grid of the labels, it marks the same pixels."""
    rng = np.random.default_rng(1)
    marks = rng.integers(0, 3, (SIDE, SIDE) if flat else (PLANES, SIDE, SIDE))
    place = {"scale": (2.0, 0.6, 0.6), "translate": (10.0, 21.0, 29.0)}
    image = viewer.add_image(planes.values, scale=SCALE, translate=TRANSLATE)
    labels = viewer.add_labels(marks, **{name: each[1:] if flat else each for name, each in place.items()})
    lazy = masks.lazy_mask(layers.select(image), labels, 2, viewer)
    expected = masks.align_mask(layers.read(image), labels, 2, viewer)
    assert lazy.ndim == (2 if flat else 3)
    assert 0 < expected.mean() < 1
    assert np.array_equal(np.broadcast_to(lazy.compute(), expected.shape), expected)


def test_lazy_labels_fill_holes_without_being_read_whole(viewer, dock, wait, planes, show, tmp_path):
    source = show(lazily(planes))
    marks = Planes()
    marks.values = (marks.values > 110).astype(np.uint8)
    marks.dtype = marks.values.dtype
    labels = viewer.add_labels(lazily(marks), scale=SCALE, translate=TRANSLATE, multiscale=False)
    viewer.layers.selection.active = source
    widget = dock("Inpaint")
    widget.inputs.where.value = ALL_SLICES
    widget.inputs.mask.value = labels
    widget.inputs.target.value = tmp_path / "out.ome.zarr"
    widget.run()
    wait(lambda: not widget.running)
    assert "finished 4 blocks" in widget.status
    layer = next(each for each in viewer.layers if METADATA in each.metadata)
    filled = layer.data.compute()
    assert np.array_equal(filled[marks.values == 0], planes.values[marks.values == 0])
    assert not np.isclose(filled[marks.values > 0], planes.values[marks.values > 0]).all()


def test_a_new_mask_for_a_lazy_stack_is_a_plane(viewer, dock, planes, show):
    show(lazily(planes))
    widget = dock("Inpaint")
    planes.read.clear()
    widget.inputs.missing.new_mask.native.click()
    assert viewer.layers["stack mask"].data.shape == (SIDE, SIDE)
    assert viewer.layers["stack mask"].scale[-2:] == pytest.approx(SCALE[-2:])
    assert len(planes.read) <= 1


def test_a_large_lazy_slice_shows_its_noise_of_the_middle_alone(viewer, dock, wait, tmp_path, monkeypatch):
    monkeypatch.setitem(layers._ONE_BLOCK, 2, 32**2)
    monkeypatch.setattr("napari_dip.viewer.choice._LOOKED_AT", 30)
    rows = Planes((64, 64, 1))  # its planes stand for the rows of an image
    viewer.add_image(lazily(rows)[..., 0], name="wide", contrast_limits=(60, 140), multiscale=False)
    rows.read.clear()
    widget = dock()
    assert widget.inputs.large
    wait(lambda: not widget.noise.waiting)
    assert rows.read == set(range(17, 47))
    widget.inputs.target.value = tmp_path / "out.ome.zarr"
    widget.run()
    wait(lambda: not widget.running)
    assert "finished" in widget.status


def test_a_script_streams_a_lazy_layer_or_is_told_that_it_must(viewer, planes, show, tmp_path):
    layer = show(lazily(planes))
    with pytest.raises(ValueError, match="block by block"):
        restore_layer(viewer, "denoise", layer, **QUICK)
    shown = restore_layer(viewer, "denoise", layer, target=tmp_path / "out.ome.zarr", **QUICK)
    assert layers.is_lazy(shown.data)
    assert shown.data.shape == planes.shape


def test_colours_are_refused_block_by_block_with_the_remedy(viewer, dock, wait, tmp_path):
    viewer.add_image(dask.array.zeros((3, 20, 20, 3), chunks=(1, 20, 20, 3), dtype=np.uint8), rgb=True)
    widget = dock()
    widget.inputs.where.value = ALL_SLICES
    widget.inputs.target.value = tmp_path / "out.ome.zarr"
    assert "split its channels" in widget._sentence.text()
    assert not widget.run_button.isEnabled()


def test_a_run_stopped_before_its_first_block_adds_no_layer(viewer, dock, wait, hold, planes, show, tmp_path):
    held = hold(BLOCKS, after_blocks(0))
    show(lazily(planes))
    widget = dock()
    widget.inputs.where.value = ALL_SLICES
    widget.inputs.target.value = tmp_path / "out.ome.zarr"
    widget.run()
    wait(held.is_set)
    widget.stop()
    wait(lambda: not widget.running)
    assert "nothing to show" in widget.status
    assert [layer.name for layer in viewer.layers] == ["stack"]


def test_closing_the_dock_ends_a_run_over_blocks(viewer, dock, wait, hold, planes, show, tmp_path):
    held = hold(BLOCKS, after_blocks(0))
    show(lazily(planes))
    widget = dock()
    widget.inputs.where.value = ALL_SLICES
    widget.inputs.target.value = tmp_path / "out.ome.zarr"
    widget.run()
    wait(held.is_set)
    viewer.window.remove_dock_widget(widget)
    wait(lambda: Job._current is None)


def test_a_mask_is_copied_for_a_run_and_not_to_say_what_it_would_do(viewer, dock, planes, show):
    source, marks = show(lazily(planes)), np.zeros((PLANES, 1000, 1000), np.uint8)
    labels = viewer.add_labels(marks)
    viewer.layers.selection.active = source
    widget = dock()
    widget.inputs.where.value, widget.inputs.mask.value = ALL_SLICES, labels
    tracemalloc.start()
    try:
        widget.inputs.changed.emit()
        viewer.dims.set_current_step(0, 3)
        assert tracemalloc.get_traced_memory()[1] < marks.nbytes / 4
        widget._asked(read=True)
        assert tracemalloc.get_traced_memory()[1] > marks.nbytes
    finally:
        tracemalloc.stop()


def test_what_is_painted_during_a_run_is_of_no_matter_to_it(viewer, planes):
    image = viewer.add_image(planes.values, scale=SCALE, translate=TRANSLATE)
    labels = viewer.add_labels(np.zeros((SIDE, SIDE), np.uint8), scale=SCALE[-2:], translate=TRANSLATE[-2:])
    lazy = masks.lazy_mask(layers.select(image), labels, None, viewer)
    labels.data[:] = 1
    assert not lazy.compute().any()


# ------------------------------------------------------------------------------------------------------ going on


@pytest.fixture
def begun(viewer, dock, wait, hold, planes, show, tmp_path):
    """A widget, and an OME-Zarr that holds a run of its which was stopped after some blocks."""
    held = hold(BLOCKS, after_blocks(2))
    show(lazily(planes))
    target = tmp_path / "out.ome.zarr"
    widget = dock(iterations=4)
    widget.inputs.where.value = ALL_SLICES
    widget.inputs.camera.rows["offset"].value = "2.5"
    widget.inputs.target.value = target
    widget.run()
    wait(held.is_set)
    widget.stop()
    wait(lambda: not widget.running)
    return widget, target


def test_another_choice_than_that_of_the_run_in_the_file_is_said_before_the_run(begun):
    widget, target = begun
    assert widget.run_button.isEnabled()
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    widget.form.set(iterations=5, seed=7)
    said = widget._sentence.text()
    assert "iterations 4 (now 5) and seed left as proposed (now 7)" in said
    assert "Continue a run..." in said
    assert "'Write to'" in said
    assert not widget.run_button.isEnabled()
    widget.form.set(iterations=4, seed=0)
    assert "goes on with the run in" in widget._sentence.text()
    assert widget.run_button.isEnabled()
    widget.inputs.camera.rows["offset"].value = ""
    assert "offset 2.5 (now left as proposed)" in widget._sentence.text()
    assert before == {path: path.stat().st_mtime_ns for path in target.rglob("*")}


def test_another_image_mask_or_part_is_said_before_the_run(begun, viewer, planes, show):
    widget, _ = begun
    widget.inputs.mask.value = viewer.add_labels(np.zeros((SIDE, SIDE), np.uint8), scale=SCALE[-2:])
    assert "another mask." in widget._sentence.text()
    assert not widget.run_button.isEnabled()
    widget.inputs.mask.value = None
    widget.inputs.image.value = show(lazily(Planes((PLANES, SIDE, SIDE + 1))))
    assert "another image or other slices" in widget._sentence.text()
    widget.inputs.image.value = show(lazily(planes), scale=(2, 0.5, 0.5))
    assert "another pixel size" in widget._sentence.text()


def test_a_killed_run_is_chosen_with_the_settings_it_was_begun_with_and_goes_on(begun, dock, wait, monkeypatch):
    first, target = begun
    widget = dock(iterations=9, runs=2)  # as after a restart: other settings, another file
    widget.inputs.where.value = ALL_SLICES
    assert widget.inputs.target.continue_button.native.isVisibleTo(widget.inputs)
    chosen = "napari_dip.viewer.target.QFileDialog.getExistingDirectory"
    monkeypatch.setattr(chosen, lambda *_: str(target / "0"))  # the user has gone one folder too deep
    widget.inputs.target.continue_button.native.click()
    assert widget.inputs.target.value == target
    assert widget.form.knobs() == first.form.knobs()
    assert widget.inputs.camera.values() == {"offset": 2.5}
    assert "goes on with the run in" in widget._sentence.text()
    assert "begun with" in widget.status
    widget.run()
    wait(lambda: not widget.running)
    assert "finished 4 blocks" in widget.status


def test_what_is_no_run_of_this_widget_is_not_continued(begun, dock, tmp_path, monkeypatch):
    _, target = begun
    widget = dock("Deconvolve")
    widget.inputs.where.value = ALL_SLICES
    before, knobs = widget.inputs.target.value, widget.form.knobs()
    for folder, why in ((target, "another widget, 'denoise'"), (tmp_path, "no unfinished or finished run"), ("", "")):
        monkeypatch.setattr(
            "napari_dip.viewer.target.QFileDialog.getExistingDirectory", lambda *_, folder=folder: str(folder)
        )
        widget._say("")
        widget.inputs.target.continue_button.native.click()
        assert why in widget.status
        assert (widget.inputs.target.value, widget.form.knobs()) == (before, knobs)


def test_an_enlargement_goes_on_with_its_factors_and_blur(viewer, dock, wait, planes, show, tmp_path):
    show(lazily(planes))
    widget = dock("Super-resolve", iterations=1)
    widget.inputs.where.value = ALL_SLICES
    widget.inputs.known["factor"].yx.value, widget.inputs.known["factor"].beside["kernel"].value = 3, "box"
    widget.inputs.target.value = tmp_path / "out.ome.zarr"
    widget.run()
    wait(lambda: not widget.running)
    other = dock("Super-resolve")
    other.inputs.where.value = ALL_SLICES
    other.inputs.target.continue_run(tmp_path / "out.ome.zarr")
    assert (other.inputs.known["factor"].yx.value, other.inputs.known["factor"].beside["kernel"].value) == (3, "box")
    assert "finished before" in other._sentence.text()


def test_a_name_that_is_proposed_is_not_taken_unless_by_a_run_that_can_go_on(
    viewer, dock, wait, hold, planes, show, tmp_path
):
    held = hold(BLOCKS, after_blocks(1))
    show(zarr.create_array(tmp_path / "cells.ome.zarr" / "0", data=planes.values))
    (tmp_path / "stack denoised.ome.zarr").mkdir()  # something of the user's
    widget = dock()
    widget.inputs.where.value = ALL_SLICES
    target = widget.inputs.target
    assert target.value == tmp_path / "stack denoised 2.ome.zarr"
    widget.run()
    wait(held.is_set)
    widget.stop()
    wait(lambda: not widget.running)
    assert target.value == tmp_path / "stack denoised 2.ome.zarr"
    widget.run()
    wait(lambda: not widget.running)
    assert "finished 4 blocks" in widget.status
    assert target.value == tmp_path / "stack denoised 3.ome.zarr"
    assert widget.run_button.isEnabled()


# ---------------------------------------------------------------------------------------------------------- the cost


@pytest.mark.usefixtures("forecast")
def test_what_the_blocks_that_are_left_take_is_said_before_the_run_and_nothing_read_for_it(begun, viewer, wait, planes):
    widget, target = begun
    done = int(widget.status.partition(" of 4 blocks")[0].split()[-1])
    wait(lambda: not widget.noise.waiting)  # which the cost waits for
    wait(lambda: not widget.cost.waiting)
    assert f"for the {PLANES - done} blocks that are left." in widget.cost.text()
    planes.read.clear()
    widget.inputs.target.value = target.with_name("other.ome.zarr")
    assert widget.cost.text() == "Takes ..."
    wait(lambda: not widget.cost.waiting)
    assert "for 4 blocks." in widget.cost.text()
    assert not planes.read
    widget.inputs.target.value = target
    widget.run()
    wait(lambda: not widget.running)
    wait(lambda: not widget.cost.waiting)
    assert widget.cost.text() == ""


def test_the_blocks_cost_as_much_as_there_are_of_them(viewer, show, tmp_path):
    def cost(planes, channels=256):
        selection = layers.select(show(lazily(Planes((planes, SIDE, SIDE)))))
        stream = Stream(task="denoise", source=selection, knobs={}, target=tmp_path / "out.ome.zarr")
        return stream.cost(Settings(**{**QUICK, "channels": channels}))

    few, many, narrow = cost(2), cost(8), cost(2, channels=4)
    assert (few.blocks, many.blocks) == (2, 8)
    assert many.block == few.block
    assert narrow.memory < few.memory


def test_chunks_of_a_lazy_layer_without_a_file_are_said(viewer, dock, wait, planes, show, tmp_path):
    zarr.create_array(tmp_path / "in.zarr", data=planes.values, chunks=(1, SIDE, SIDE))
    (tmp_path / "in.zarr" / "c" / "3" / "0" / "0").unlink()
    show(dask.array.from_zarr(tmp_path / "in.zarr"))
    widget = dock()
    widget.inputs.where.value = ALL_SLICES
    widget.inputs.target.value = tmp_path / "out.ome.zarr"
    widget.run()
    wait(lambda: not widget.running)
    assert "finished 4 blocks" in widget.status
    assert "What happened (1 warning)" in widget.controls.happened.text()
    assert f"1 chunk has no file (first {tmp_path / 'in.zarr' / 'c' / '3' / '0' / '0'})" in widget.controls.account


def test_a_full_disk_ends_a_run_over_blocks_and_is_said(viewer, dock, wait, planes, show, tmp_path, monkeypatch):
    before, marked = blocks.Blocks._piece, []

    def piece(plan, index, *arguments, **pace):
        if len(marked) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        marked.append(index)
        return before(plan, index, *arguments, **pace)

    monkeypatch.setattr("napari_dip.run.blocks.blocks.Blocks._piece", piece)
    show(lazily(planes))
    widget = dock()
    widget.inputs.where.value = ALL_SLICES
    widget.inputs.target.value = tmp_path / "out.ome.zarr"
    widget.run()
    wait(lambda: not widget.running)
    assert "out.ome.zarr is full, with " in widget.status
    assert "with 3 of 4 blocks done" in widget.status
