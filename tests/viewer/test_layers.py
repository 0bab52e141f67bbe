"""Places: what is read of a layer, where a result lies, and how a mask of another grid finds its pixels."""

import os

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_dip.viewer import layers, masks
from napari_dip.viewer.restoration import Asked

UM = ("um", "um")


def corner(layer, shape):
    """World position of the outer corner of the first and of the last pixel."""
    return np.array([layer.data_to_world(np.full(layer.ndim, -0.5)), layer.data_to_world(np.array(shape) - 0.5)])


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def image(viewer):
    """A calibrated, rotated, sheared image with an affine and a look of its own."""
    return viewer.add_image(
        np.arange(48, dtype=np.uint16).reshape(6, 8),
        name="cells",
        scale=(0.5, 0.25),
        translate=(3, -2),
        rotate=30,
        shear=[0.2],
        affine=np.array([[1.1, 0.1, 4], [0, 0.9, 5], [0, 0, 1]]),
        units=UM,
        axis_labels=("y", "x"),
        colormap="magma",
        gamma=0.7,
        contrast_limits=(3, 30),
    )


def test_a_result_lies_where_its_source_lies_and_looks_like_it(viewer, image):
    source = layers.read(image)
    shown = layers.show(viewer, source.image * 2.0, source.geometry, "restored", {"napari-dip": {"a": [1]}})
    assert np.allclose(corner(shown, (6, 8)), corner(image, (6, 8)))
    assert shown.units == image.units
    assert shown.axis_labels == image.axis_labels
    assert shown.colormap.name == "magma"
    assert shown.gamma == 0.7
    assert tuple(shown.contrast_limits) == (3, 30)
    assert tuple(shown.contrast_limits_range) == tuple(image.contrast_limits_range)
    assert shown.metadata == {"napari-dip": {"a": [1]}}


@pytest.mark.parametrize("factors", [(2, 2), (4, 1), (3, 5)])
def test_outlines_of_an_enlarged_image_coincide_with_its_source(viewer, image, factors):
    source = layers.read(image)
    shape = tuple(n * f for n, f in zip((6, 8), factors, strict=True))
    shown = layers.show(viewer, np.zeros(shape), source.geometry.finer(factors), "fine")
    assert np.allclose(corner(shown, shape), corner(image, (6, 8)))


def test_a_new_layer_leaves_the_selection_and_the_names_alone(viewer, image):
    source = layers.read(image)
    viewer.layers.selection.active = image
    first = layers.show(viewer, source.image, source.geometry, "cells")
    second = layers.show(viewer, source.image, source.geometry, "cells")
    assert viewer.layers.selection.active is image
    assert len({image.name, first.name, second.name}) == 3


def test_one_slice_of_a_stack_stays_in_its_place(viewer):
    data = np.random.default_rng(0).random((3, 4, 6, 8))
    stack = viewer.add_image(data, scale=(2, 5, 0.5, 0.25), translate=(1, 2, 3, 4), units=("s", "um", "um", "um"))
    viewer.dims.set_point(0, 1 + 2 * 2)
    viewer.dims.set_point(1, 2 + 5 * 3)
    index = layers.in_view(viewer, stack)
    assert index == (2, 3)
    source = layers.read(stack, where=index)
    assert np.array_equal(source.image, data[2:3, 3:4])
    assert np.allclose(source.geometry.translate, stack.data_to_world((2, 3, 0, 0)))
    assert source.arguments["leading_axes"] == 2


def test_all_slices_are_read_in_order(viewer):
    stack = viewer.add_image(np.random.default_rng(0).random((3, 4, 6, 8)), scale=(2, 5, 1, 1))
    source = layers.read(stack)
    assert source.image.shape == (3, 4, 6, 8)
    assert np.allclose(source.slice_geometry(5).translate, stack.data_to_world((1, 1, 0, 0)))


def test_a_level_of_a_multiscale_layer_has_the_outline_of_the_finest(viewer):
    levels = [np.zeros((32, 48)), np.zeros((16, 24)), np.zeros((8, 12))]
    layer = viewer.add_image(levels, multiscale=True, scale=(0.5, 0.5))
    source = layers.read(layer, level=2)
    shown = layers.show(viewer, source.image, source.geometry, "level")
    assert source.image.shape == (8, 12)
    assert np.allclose(corner(shown, (8, 12)), corner(layer, (32, 48)))


def test_rgb_keeps_its_transparency(viewer):
    layer = viewer.add_image(np.random.default_rng(0).integers(0, 255, (6, 8, 4), np.uint8), rgb=True)
    source = layers.read(layer)
    assert source.image.shape == (6, 8, 3)
    assert source.arguments["channel_axis"] == -1
    fine = layers.with_alpha(source, np.zeros((12, 16, 3), np.uint8))
    assert np.array_equal(fine[::2, 1::2, 3], layer.data[..., 3])


def test_a_mask_on_the_same_grid_is_taken_as_it_is(viewer, image):
    marks = np.zeros((6, 8), int)
    marks[1, 2], marks[4, 7] = 1, 2
    place = {n: getattr(image, n) for n in ("scale", "translate", "rotate", "shear", "affine", "units")}
    labels = viewer.add_labels(marks, **place)
    assert np.array_equal(masks.align_mask(layers.read(image), labels, None, viewer), marks > 0)
    assert np.array_equal(masks.align_mask(layers.read(image), labels, 2, viewer), marks == 2)


def test_a_mask_with_greys_is_told_and_split_in_the_middle(viewer):
    image = viewer.add_image(np.zeros((32, 32), np.float32))
    rim = np.clip(9.5 - np.hypot(*np.indices((32, 32)) - 15.5), 0, 1)
    labels = viewer.add_labels(np.rint(255 * rim).astype(np.uint8), name="drawn")
    with pytest.warns(UserWarning, match="mask 'drawn' has greys"):
        missing = masks.align_mask(layers.read(image), labels, None, viewer)
    assert np.array_equal(missing, rim > 0.5)


@pytest.mark.parametrize("fine", [2, 3])
def test_a_finer_mask_is_looked_up_at_pixel_centres(viewer, fine):
    image = viewer.add_image(np.zeros((6, 8)), scale=(0.6, 0.6), translate=(5, 5))
    marks = np.zeros((6, 8), int)
    marks[2, 3] = 1
    scale = 0.6 / fine
    offset = 5 + 0.6 * (1 / fine - 1) / 2
    labels = viewer.add_labels(np.kron(marks, np.ones((fine, fine), int)), scale=(scale,) * 2, translate=(offset,) * 2)
    assert np.array_equal(masks.align_mask(layers.read(image), labels, None, viewer), marks > 0)


def test_a_shifted_mask_moves_and_ends_at_its_border(viewer):
    image = viewer.add_image(np.zeros((6, 8)))
    labels = viewer.add_labels(np.ones((3, 3), int), translate=(4, -1))
    expected = np.zeros((6, 8), bool)
    expected[4:, :2] = True
    assert np.array_equal(masks.align_mask(layers.read(image), labels, None, viewer), expected)


def test_a_mask_in_other_units_is_aligned(viewer):
    image = viewer.add_image(np.zeros((6, 8)), scale=(0.5, 0.5), units=UM)
    marks = np.random.default_rng(0).integers(0, 2, (6, 8))
    labels = viewer.add_labels(marks, scale=(500, 500), units=("nm", "nm"))
    assert np.array_equal(masks.align_mask(layers.read(image), labels, None, viewer), marks > 0)


@pytest.mark.parametrize("sized", ["image", "mask"])
@pytest.mark.parametrize("place", [{"units": UM}, {}])
def test_of_two_layers_of_which_one_has_no_pixel_size_pixels_lie_on_pixels(viewer, sized, place):
    """At one unit a pixel, a mask from a file overwrote what was measured beside its holes, without a word."""
    place |= {"scale": (0.065, 0.065), "translate": (0.5, 0)}
    marks = np.random.default_rng(0).integers(0, 2, (40, 48))
    image = viewer.add_image(np.zeros(marks.shape), **(place if sized == "image" else {}))
    labels = viewer.add_labels(marks, **(place if sized == "mask" else {}))
    assert np.array_equal(masks.align_mask(layers.read(image), labels, None, viewer), marks > 0)
    assert masks.lie_over(layers.select(image), labels)
    part = layers.select(image, window=(slice(7, 30), slice(11, 33)))
    assert np.array_equal(masks.align_mask(part.read(), labels, None, viewer), marks[7:30, 11:33] > 0)
    assert np.array_equal(masks.lazy_mask(part, labels, None, viewer).compute(), marks[7:30, 11:33])
    drawn = viewer.add_shapes([[0, 0], [0, 0.12], [0.2, 0.12], [0.2, 0]], shape_type="polygon")
    drawn.translate = image.translate
    filled = masks.align_mask(layers.read(image), drawn, None, viewer)
    assert filled.sum() < (20 if sized == "image" else 3), "shapes are drawn in the world"


def test_pixels_lie_on_pixels_in_stacks_and_at_the_levels_of_a_pyramid(viewer):
    marks = np.random.default_rng(0).integers(0, 2, (3, 16, 20))
    stack = viewer.add_image(np.zeros((3, 16, 20)), scale=(2, 0.1, 0.1), units=("um",) * 3)
    flat, deep = viewer.add_labels(marks[1]), viewer.add_labels(marks)
    source = layers.read(stack)
    assert np.array_equal(masks.align_mask(source, flat, None, viewer), np.broadcast_to(marks[1] > 0, (3, 16, 20)))
    assert np.array_equal(masks.align_mask(source, deep, None, viewer), marks > 0)
    assert np.array_equal(masks.align_mask(layers.read(stack, where=(2,)), deep, None, viewer), marks[2:] > 0)
    pyramid = viewer.add_image([np.zeros((32, 40)), np.zeros((16, 20))], multiscale=True, scale=(0.1, 0.1), units=UM)
    assert np.array_equal(masks.align_mask(layers.read(pyramid, level=1), flat, None, viewer), marks[1] > 0)
    fine = viewer.add_labels(np.kron(marks[1], np.ones((2, 2), int)))
    assert np.array_equal(masks.align_mask(layers.read(pyramid), fine, None, viewer), fine.data > 0)


def test_what_is_moved_or_measured_lies_in_the_world(viewer):
    image = viewer.add_image(np.zeros((6, 8)))
    moved = viewer.add_labels(np.ones((6, 8), int), translate=(0, 2))
    assert masks.align_mask(layers.read(image), moved, None, viewer).sum() == 36
    image.scale, image.units = (0.5, 0.5), UM
    other = viewer.add_labels(np.ones((6, 8), int), scale=(0.25, 0.25), units=UM)
    assert masks.align_mask(layers.read(image), other, None, viewer).sum() == 12
    assert not masks.lie_over(layers.select(image), other)


def test_a_flat_mask_holds_for_all_slices_and_a_deep_one_for_its_own(viewer):
    stack = viewer.add_image(np.zeros((3, 6, 8)), scale=(2, 1, 1))
    marks = np.random.default_rng(0).integers(0, 2, (3, 6, 8))
    flat = viewer.add_labels(marks[0])
    deep = viewer.add_labels(marks, scale=(2, 1, 1))
    source = layers.read(stack)
    assert np.array_equal(masks.align_mask(source, flat, None, viewer), np.broadcast_to(marks[0] > 0, (3, 6, 8)))
    assert np.array_equal(masks.align_mask(source, deep, None, viewer), marks > 0)
    one = layers.read(stack, where=(1,))
    assert np.array_equal(masks.align_mask(one, deep, None, viewer), marks[1:2] > 0)


def test_of_a_mask_with_more_axes_the_slice_in_view_is_taken(viewer):
    image = viewer.add_image(np.zeros((6, 8)))
    marks = np.random.default_rng(0).integers(0, 2, (3, 6, 8))
    labels = viewer.add_labels(marks)
    viewer.dims.set_point(0, 2)
    assert np.array_equal(masks.align_mask(layers.read(image), labels, None, viewer), marks[2] > 0)


def test_only_images_are_read_and_only_labels_mask():
    with pytest.raises(TypeError, match="labels layer; choose an image"):
        layers.read(Labels(np.zeros((4, 4), int), name="cells"))
    with pytest.raises(TypeError, match="image layer; choose a labels"):
        masks.with_mask(layers.read(Image(np.zeros((4, 4)))), Image(np.zeros((4, 4)), name="a"), None, None)


def test_reading_changes_nothing(image):
    before = image.data.copy()
    source = layers.read(image)
    assert np.shares_memory(source.image, image.data)  # no copy is made
    assert np.array_equal(image.data, before)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_one_of_the_processors_that_the_process_may_use_is_left_to_the_window(monkeypatch):
    def threads(usable, **knobs):
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(usable)))
        return Asked(task="denoise", source=None, knobs=knobs).knobs_here["threads"]

    assert [threads(n) for n in (1, 2, 8)] == [1, 1, 7]
    assert threads(8, threads=8) == 8


def test_a_damaged_chunk_of_a_lazy_layer_is_named_with_its_file(viewer, tmp_path):
    array = zarr.create_array(tmp_path / "in.zarr", shape=(3, 8, 8), chunks=(1, 8, 8), dtype="u2")
    array[:] = 7
    chunk = tmp_path / "in.zarr" / "c" / "1" / "0" / "0"
    chunk.write_bytes(b"x")
    for i, data in enumerate((array, da.from_zarr(array))):
        layer = Image(data, name=str(i), contrast_limits=(0, 9))
        assert layers.read(layer, where=(0,)).image.shape == (1, 8, 8)
        with pytest.raises(OSError, match=f"{chunk} cannot be read"):
            layers.read(layer, where=(1,))
