"""Pixels that measured nothing are found, and small true structures are spared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from napari_dip.core.noise.estimate import estimate_noise
from napari_dip.core.noise.model import Noise
from napari_dip.core.noise.pixels import find_bad_pixels
from tests.core.noise.test_noise import photons, scene

WHITE = Noise(gain=0, offset=0, read_noise=5, sigma=5)


def plant(image: np.ndarray, kind: str, density: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """An image with bad pixels, and where."""
    random = np.random.default_rng(7)
    where = random.random(image.shape) < density
    span = np.ptp(image)
    value = {
        "hot": image + span * random.uniform(0.7, 1, image.shape),
        "dead": np.full_like(image, 0.0),
        "salt and pepper": np.where(random.random(image.shape) < 0.5, image.min() - span, image.max() + 0.5 * span),
    }[kind]
    return np.where(where, value, image), where


@pytest.mark.parametrize("kind", ["hot", "dead", "salt and pepper"])
@pytest.mark.parametrize(("gain", "peak", "read_noise"), [(2, 200, 5), (10, 20, 0)])
def test_planted_pixels_are_found_and_few_others(kind: str, gain: float, peak: float, read_noise: float) -> None:
    image, noise = photons(gain, peak, 5, read_noise)
    spoilt, where = plant(image, kind)
    found = find_bad_pixels(spoilt)
    assert found[where].mean() >= 0.95
    assert found[~where].mean() < 1e-3
    estimate = estimate_noise(spoilt)
    assert estimate.impulses == pytest.approx(where.mean(), rel=0.1)
    assert estimate.sigma == pytest.approx(noise.std(), rel=0.06)
    assert "hot or dead" in str(estimate)


def test_pixels_beside_missing_ones_are_not_bad() -> None:
    """The median of the image stood in for what is missing: 3 % of the others were marked."""
    image, _ = photons(2, 100, 5, 3)
    missing = np.random.default_rng(1).random(image.shape) < 0.5
    found = find_bad_pixels(np.where(missing, np.nan, image))
    assert found[missing].all()
    assert found[~missing].mean() < 1e-3


@pytest.mark.parametrize(("gain", "peak", "background"), [(1, 1, 0.05), (5, 10, 0.5), (2, 100, 5), (20, 1000, 50)])
def test_clean_images_have_hardly_any(gain: float, peak: float, background: float) -> None:
    image, _ = photons(gain, peak, background, 0)
    assert find_bad_pixels(image).mean() < 1e-3
    assert estimate_noise(image).impulses == 0


@pytest.mark.parametrize("seed", range(2))
def test_good_pixels_in_the_dark_are_not_bad(seed: int) -> None:
    """The offset is fitted above the lower tail, where no noise seems left: 0.2 % were marked, 1 to 4 sigma off."""
    random = np.random.default_rng(seed)
    spots = np.where(random.random((128, 128)) < 0.005, random.uniform(600, 4500, (128, 128)), 0)
    light = random.poisson(ndimage.gaussian_filter(spots, 1.5))
    image = np.round(light + random.normal(100, 2, light.shape)).astype(np.uint16)
    assert find_bad_pixels(image).mean() < 1e-4
    assert estimate_noise(image).impulses == 0
    image[64, 60:68:4] = 50, 400
    assert find_bad_pixels(image)[64, 60:68:4].all()


@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize("height", [60, 200, 1000])
def test_beads_are_no_bad_pixels(width: float, height: float) -> None:
    y, x = np.mgrid[-20:20, -20:20]
    for shift in (0, 0.5):
        bead = height * np.exp(-4 * np.log(2) * ((y - shift) ** 2 + (x - shift) ** 2) / width**2)
        image = bead + np.random.default_rng(0).normal(0, 5, bead.shape)
        assert not find_bad_pixels(image, noise=WHITE).any()


def test_saturated_pixels_and_what_is_not_a_number_are_bad() -> None:
    image = scene(64) * 300 + np.random.default_rng(0).normal(20, 2, (64, 64))
    shown = np.clip(image, 0, 255).astype(np.uint8)
    assert (find_bad_pixels(shown, noise=WHITE) >= (shown == 255)).all()
    assert (find_bad_pixels(shown.astype(float), noise=WHITE) >= (shown == 255)).all()
    image[3, 4:9] = np.nan
    assert find_bad_pixels(image, noise=WHITE)[3, 4:9].all()
    assert find_bad_pixels(np.full((5, 5), np.nan)).all()


def test_an_image_that_is_saturated_all_over_is_bad_all_over() -> None:
    assert find_bad_pixels(np.full((32, 32), 255, np.uint8)).all()
    assert not find_bad_pixels(np.full((32, 32), 254, np.uint8)).any()


def test_channels_may_come_before_the_leading_axes() -> None:
    stack = plant(np.random.default_rng(0).normal(100, 5, (3, 40, 44, 2)), "hot")[0]
    found = find_bad_pixels(stack, noise=WHITE, leading_axes=1, channel_axis=-1)
    moved = find_bad_pixels(np.moveaxis(stack, -1, 0), noise=WHITE, leading_axes=1, channel_axis=0)
    assert (np.moveaxis(moved, 0, -1) == found).all()


@pytest.mark.parametrize("axis", [-4, 3, 1.0, "t"])
@pytest.mark.parametrize("name", ["leading_axes", "channel_axis"])
def test_axes_that_are_none_are_refused(name: str, axis: Any) -> None:
    with pytest.raises(ValueError, match=f"{name}={axis}"):
        find_bad_pixels(np.zeros((3, 32, 32)), noise=WHITE, **{name: axis})


def test_what_is_no_image_or_no_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="image of type bool"):
        find_bad_pixels(np.eye(32) > 0)
    with pytest.raises(TypeError, match="noise=5 is no Noise"):
        find_bad_pixels(np.eye(32), noise=5)  # type: ignore[arg-type]


def test_channels_and_slices_are_looked_at_one_by_one() -> None:
    image, _ = plant(scene(64) * 100 + np.random.default_rng(0).normal(0, 5, (64, 64)), "hot")
    one = find_bad_pixels(image, noise=WHITE)
    other = np.zeros_like(image)
    both = find_bad_pixels(np.stack([image, other], -1), noise=WHITE, channel_axis=-1)
    assert (both[..., 0] == one).all()
    assert not both[..., 1].any()
    stack = np.stack([image, other])[:, None]
    assert (find_bad_pixels(stack, noise=WHITE, leading_axes=2)[0, 0] == one).all()
    assert (find_bad_pixels(stack[..., None], noise=WHITE, leading_axes=2, channel_axis=-1)[0, 0, ..., 0] == one).all()
