"""Likeness of channels: edges in the same places, in other ones, and none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_dip import trust


def test_edges_in_the_same_places_are_alike_whatever_their_sign_and_contrast() -> None:
    scene, other = (ndimage.gaussian_filter(np.random.default_rng(i).normal(size=(64, 64)), 3) for i in (0, 1))
    assert trust.likeness(np.stack([scene, 5 - 3 * scene]), channel_axis=0) == pytest.approx(1)
    assert abs(trust.likeness(np.stack([scene, other], axis=-1), channel_axis=-1)) < 0.3
    noisy = np.stack([scene, scene]) + np.random.default_rng(2).normal(0, scene.std(), (2, 64, 64))
    assert 0.1 < trust.likeness(noisy, channel_axis=0) < 0.9


def test_a_channel_of_one_value_says_nothing_and_missing_pixels_do_not_matter() -> None:
    scene = np.random.default_rng(0).normal(size=(32, 32))
    assert np.isnan(trust.likeness(np.stack([scene, np.ones_like(scene)]), channel_axis=0))
    scene[3, 4] = np.nan
    assert np.isfinite(trust.likeness(np.stack([scene, scene]), channel_axis=0))
