"""Volumes and point spread functions in the window."""

import numpy as np
import pytest

from napari_dip import superresolve
from napari_dip.viewer import layers, restore_layer
from tests.viewer.docks import QUICK, restored

IN_VIEW, VOLUME, ALL_VOLUMES = "the slice in view", "the volume", "all volumes, one after the other"
SCALE, TRANSLATE = (4.0, 0.5, 0.5), (10.0, 20.0, 30.0)


@pytest.fixture
def stack():
    return np.random.default_rng(0).normal(100, 10, (6, 20, 18)).astype(np.float32)


def test_a_stack_is_enlarged_along_z_as_a_volume(viewer, dock, wait, stack):
    """The scale is divided along z alone, and the outlines coincide."""
    viewer.add_image(stack, name="stack", scale=SCALE, translate=TRANSLATE)
    widget = dock("Super-resolve")
    widget.inputs.where.value = VOLUME
    widget.inputs.known["factor"].z.value, widget.inputs.known["factor"].yx.value = 4, 1
    assert "4 times along z" in widget._sentence.text()
    assert "6 x 20 x 18" in widget._sentence.text()
    widget.run()
    wait(lambda: not widget.running)
    (layer,) = restored(viewer)
    assert layer.data.shape == (24, 20, 18)
    np.testing.assert_allclose(layer.scale, (1, 0.5, 0.5))
    np.testing.assert_allclose(layer.translate, (10 + 4 * (1 / 4 - 1) / 2, 20, 30))
    record = layer.metadata["napari-dip"]
    assert (record["factor"], record["voxel_size"]) == ([4, 1, 1], list(SCALE))


def test_an_enlargement_by_nothing_is_refused_before_the_run(viewer, dock, stack):
    viewer.add_image(stack[0])
    widget = dock("Super-resolve")
    widget.inputs.known["factor"].yx.value = 1
    assert "Choose a factor of 2 or more." in widget._sentence.text()
    assert not widget.run_button.isEnabled()


def test_the_volume_in_view_is_denoised_where_it_lies(viewer, dock, wait, stack):
    series = np.stack([stack, stack + 5])
    viewer.add_image(series, scale=(1, *SCALE))
    viewer.dims.set_current_step(0, 1)
    widget = dock("Denoise", code="uniform", generator="hourglass")
    assert list(widget.inputs.where.choices)[2:] == [VOLUME, ALL_VOLUMES]
    widget.inputs.where.value = VOLUME
    widget.run()
    wait(lambda: not widget.running)
    (layer,) = restored(viewer)
    assert layer.data.shape == (1, 6, 20, 18)
    assert layer.translate[0] == 1


def test_an_image_is_offered_no_volume(viewer, dock, stack):
    viewer.add_image(stack, name="stack")
    widget = dock()
    widget.inputs.where.value = VOLUME
    plane = viewer.add_image(stack[0], name="plane")
    viewer.layers.selection.active = plane
    assert VOLUME not in widget.inputs.where.choices
    assert widget.inputs.space == 2
    assert widget.run_button.isEnabled()


@pytest.mark.parametrize("measured", [False, True])
def test_an_enlargement_undoes_the_blur_that_is_known_and_none_otherwise(viewer, dock, wait, stack, measured):
    psf = viewer.add_image(np.outer([1, 2, 1], [1, 4, 1.0]), name="bead")
    viewer.layers.selection.active = viewer.add_image(stack[0], name="cells")
    widget = dock("Super-resolve")
    assert "blur" not in widget._sentence.text()
    assert "psf" not in widget.inputs.problem()
    if measured:
        widget.inputs.known["psf"].layer.value = psf
    else:
        widget.inputs.known["psf"].sigma.value = "1.5"
    blur = "the blur of 'bead'" if measured else "a Gaussian blur"
    assert f"Undo {blur} in 'cells' (20 x 18 pixels of float32) and enlarge it 2 times" in widget._sentence.text()
    widget.run()
    wait(lambda: not widget.running)
    (layer,) = restored(viewer)
    assert layer.data.shape == (40, 36)
    record = layer.metadata["napari-dip"]
    quick = QUICK | {"channels": 4, "threads": record["settings"]["threads"]}
    expected = superresolve(stack[0], factor=2, psf=psf.data if measured else 1.5, **quick)
    assert record["psf"] == expected.record["psf"]
    np.testing.assert_array_equal(layer.data, expected.image)


@pytest.mark.parametrize("measured", [False, True])
def test_a_layer_is_deconvolved_by_a_gaussian_or_by_another_layer(viewer, dock, wait, stack, measured):
    psf = viewer.add_image(np.outer([1, 2, 1], [1, 4, 1.0]), name="bead")
    image = viewer.add_image(stack[0], name="cells", scale=(0.5, 0.5))
    viewer.layers.selection.active = image
    widget = dock("Deconvolve")
    widget.inputs.known["psf"].layer.value = psf if measured else None
    widget.inputs.known["psf"].sigma.value = "1.5"
    assert widget.inputs.known["psf"].sigma.native.isVisibleTo(widget.inputs) != measured
    assert widget.inputs.known["psf"].centre.native.isVisibleTo(widget.inputs) == measured
    assert ("the blur of 'bead'" if measured else "a Gaussian blur") in widget._sentence.text()
    widget.run()
    wait(lambda: not widget.running)
    (layer,) = restored(viewer)
    assert layer.name == "cells deconvolved"
    assert layer.data.shape == stack[0].shape
    np.testing.assert_allclose(layer.scale, (0.5, 0.5))
    assert layer.metadata["napari-dip"]["psf"]


@pytest.mark.parametrize("name", ["Deconvolve", "Super-resolve"])
def test_a_point_spread_function_of_other_axes_is_refused_before_the_run(viewer, dock, stack, name):
    psf = viewer.add_image(np.ones((3, 3)), name="bead")
    viewer.layers.selection.active = viewer.add_image(stack, name="stack")
    widget = dock(name)
    widget.inputs.known["psf"].layer.value = psf
    assert widget.run_button.isEnabled()
    widget.inputs.where.value = VOLUME
    assert "'bead' has 2 axes" in widget._sentence.text()
    assert not widget.run_button.isEnabled()


def test_a_script_deconvolves_a_volume(viewer, stack):
    quick = {"channels": 4, "scales": 2, "code_channels": 8, "iterations": 3}
    layer = viewer.add_image(stack, name="stack", scale=SCALE)
    viewer.add_image(np.ones((3, 3, 3)), name="bead")
    options = {"volume": True, "resolution": True, "residual": True, "truth": layer}
    result = restore_layer(viewer, "deconvolve", layer, psf="bead", **options, **quick)
    assert result.data.shape == stack.shape
    assert restore_layer(viewer, "deconvolve", layer, psf=1.5, where=2, **quick).data.shape == (1, 20, 18)
    with pytest.raises(ValueError, match="a volume needs 3"):
        layers.read(viewer.add_image(stack[0]), space=3)


def test_voxels_are_measured_in_one_unit(viewer, stack):
    layer = viewer.add_image(stack, scale=SCALE, units=("um", "nm", "nm"))
    assert layers.read(layer, space=3).voxel_size == pytest.approx((4000, 0.5, 0.5))
    assert layers.read(layer).voxel_size == (0.5, 0.5)


def test_a_point_spread_function_chooses_volumes_or_slices_and_says_where_its_light_is(viewer, dock, wait, stack):
    z, y, x = np.indices((9, 33, 33)) - np.array([4, 16, 16])[:, None, None, None]
    point = np.exp(-(x**2 + y**2 + z**2) / 2).astype(np.float32)
    bead, flat = viewer.add_image(point, name="bead"), viewer.add_image(point[4], name="flat")
    layer = viewer.add_image(stack, name="stack")
    widget = dock("Deconvolve")
    widget.inputs.image.value = layer
    widget.inputs.where.value = IN_VIEW
    widget.inputs.known["psf"].layer.value = bead
    assert widget.inputs.where.value == VOLUME
    assert "'bead' (its light is in 7 x 7 x 7 of its 9 x 33 x 33 pixels)" in widget._sentence.text()
    widget.inputs.known["psf"].layer.value = flat
    assert widget.inputs.where.value == IN_VIEW


def test_a_blur_that_is_wider_than_the_image_is_asked_about_and_one_in_other_units_refused(viewer, dock, wait, picture):
    layer = viewer.add_image(picture, name="cells")
    broad = np.exp(-np.hypot(*(np.indices((41, 41)) - 20)) / 8).astype(np.float32)
    viewer.add_image(broad, name="broad", visible=False)
    widget = dock("Deconvolve")
    widget.inputs.image.value, psf = layer, widget.inputs.known["psf"]
    psf.sigma.value = "1.5"
    wait(lambda: not widget.noise.waiting)
    assert widget.run_button.text() == "Run"
    psf.sigma.value = "8"
    assert widget.run_button.text() == "Run anyway"
    assert "The blur spreads light over 39 x 39 pixels, and the image has 20 x 24" in widget._sentence.text()
    psf.sigma.value = 100
    assert not widget.run_button.isEnabled()
    assert "where the image has 20" in widget._sentence.text()
    psf.sigma.value = "1.5"
    assert widget.run_button.text() == "Run"
    psf.layer.value = viewer.layers["broad"]
    assert widget.run_button.text() == "Run anyway"
