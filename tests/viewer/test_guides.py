"""A guide of another scale and offset lies where the world says."""

import numpy as np
import pytest

from napari_dip.viewer import guides, layers

UM = {"units": ("um", "um")}


def test_a_guide_is_looked_up_through_the_world(viewer):
    whole = np.add.outer(10.0 * np.arange(40), np.arange(48))
    guide = viewer.add_image(whole, scale=(0.5, 0.5), **UM)
    image = viewer.add_image(np.zeros((10, 12)), scale=(1, 1), translate=(3, 4), **UM)
    found = guides.aligned(guide, layers.select(image), None)
    assert np.allclose(found, whole[6:26:2, 8:32:2])
    fine = guides.aligned(guide, layers.select(image), (2, 2))
    assert fine.shape == (20, 24)
    assert np.allclose(fine.reshape(10, 2, 12, 2).mean((1, 3)), found)


def test_where_a_guide_does_not_reach_it_says_so(viewer):
    guide = viewer.add_image(np.ones((20, 20)), **UM)
    image = viewer.add_image(np.zeros((20, 20)), translate=(0, 10), **UM)
    with pytest.warns(UserWarning, match="covers 50% of the image"):
        found = guides.aligned(guide, layers.select(image), None)
    assert np.isfinite(found).mean() == 0.5
    image.translate = (0, 100)
    with pytest.raises(ValueError, match="does not reach"):
        guides.aligned(guide, layers.select(image), None)


def test_without_units_it_lies_pixel_on_pixel_and_colours_are_channels(viewer):
    colours = viewer.add_image(np.random.default_rng(0).random((10, 12, 3)), rgb=True)
    image = viewer.add_image(np.zeros((10, 12)), scale=(0.1, 0.1), **UM)
    assert np.array_equal(guides.aligned(colours, layers.select(image), None), colours.data)
    colours.units, colours.scale = ("um", "um"), (0.2, 0.2)
    assert guides.aligned(colours, layers.select(image), None).shape == (10, 12, 3)
    image.translate = (0, 1.75)
    with pytest.warns(UserWarning, match="covers 50% of the image") as told:
        guides.aligned(colours, layers.select(image), None)
    assert len(told) == 1  # not once for each colour


@pytest.mark.parametrize("place", [{}, {"scale": (0.1, 0.1), **UM}])
def test_without_units_a_guide_of_all_lies_on_a_part_and_on_finer_pixels(viewer, place):
    guide = viewer.add_image(np.random.default_rng(0).random((20, 24)))
    part = {"window": (slice(2, 8), slice(3, 9))}
    same = viewer.add_image(np.zeros((20, 24)), **place)
    assert np.allclose(guides.aligned(guide, layers.select(same, **part), None), guide.data[2:8, 3:9])
    coarse = viewer.add_image(np.zeros((10, 12)), **place)
    assert np.array_equal(guides.aligned(guide, layers.select(coarse), (2, 2)), guide.data)
    assert np.allclose(guides.aligned(guide, layers.select(coarse, **part), (2, 2)), guide.data[4:16, 6:18])
