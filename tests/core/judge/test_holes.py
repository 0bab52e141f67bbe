"""A hole is determined as far as the structure around it reaches."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_dip.core.judge.holes import correlation_length, hole_ratio, hole_warning
from napari_dip.core.noise.model import Noise


def texture(size: float, shape: tuple[int, ...] = (96, 96), seed: int = 0) -> np.ndarray:
    """Blobs with a Gaussian autocorrelation that halves at 1.665 times the size; standard deviation 1."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), size, mode="wrap")
    return 100 + field / field.std()


def disc(radius: float, shape: tuple[int, ...] = (96, 96)) -> np.ndarray:
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    return sum((axis - n // 2) ** 2 for axis, n in zip(axes, shape, strict=True)) <= radius**2


@pytest.mark.parametrize("shape", [(96, 96), (40, 40, 40)])
@pytest.mark.parametrize("size", [1.5, 3])
def test_the_correlation_length_is_that_of_the_structure(size: float, shape: tuple[int, ...]) -> None:
    found = [correlation_length(texture(size, shape, seed), np.ones(shape, bool)) for seed in range(4)]
    assert np.mean(found) == pytest.approx(1.665 * size, rel=0.15)


@pytest.mark.parametrize("known_noise", [True, False])
def test_noise_is_no_structure(known_noise: bool) -> None:
    image = texture(3)
    noisy = image + np.random.default_rng(5).normal(0, 1, image.shape)
    noise = Noise(gain=0, offset=0, read_noise=1, sigma=1) if known_noise else None
    known = np.ones(image.shape, bool)
    assert correlation_length(noisy, known, noise) == pytest.approx(correlation_length(image, known), rel=0.15)


def test_noise_that_neighbours_share_is_no_structure_if_it_is_known() -> None:
    line = np.exp(-(np.arange(-4, 5) ** 2) / 4)
    noise = Noise(gain=0, offset=0, read_noise=1, sigma=1, correlation=0.78, autocorrelation=np.outer(line, line))
    image = texture(4)
    noisy = image + texture(1, seed=9) - 100
    known = np.ones(image.shape, bool)
    assert correlation_length(noisy, known, noise) == pytest.approx(correlation_length(image, known), rel=0.1)


def test_what_is_missing_does_not_count() -> None:
    image, missing = texture(3), disc(10)
    for value in (1e9, np.nan, -np.inf):
        np.testing.assert_array_equal(hole_ratio(missing, np.where(missing, value, image)), hole_ratio(missing, image))


def test_the_ratio_grows_into_the_hole_and_with_finer_structure() -> None:
    missing = disc(12)
    coarse, fine = hole_ratio(missing, texture(4)), hole_ratio(missing, texture(1.5))
    assert np.all(coarse[~missing] == 0)
    assert np.unravel_index(coarse.argmax(), coarse.shape) == (48, 48)
    np.testing.assert_allclose(fine[missing] / coarse[missing], fine.max() / coarse.max())
    assert fine.max() > 1.8 * coarse.max()


def test_it_warns_of_a_large_hole_alone() -> None:
    image = texture(4)
    half = np.random.default_rng(0).random(image.shape) < 0.5
    assert hole_warning(half, image) == ""
    assert hole_warning(disc(3), image) == ""
    assert hole_warning(np.zeros(image.shape, bool), image) == ""
    words = hole_warning(disc(20), image)
    assert "(48, 48)" in words
    assert "invented" in words
    assert hole_warning(disc(20) | half, image)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("strength", [0.5, 1, 2])  # of the noise, over what is there
def test_a_hole_of_one_or_two_pixels_is_never_warned_of(width: int, strength: float) -> None:
    given = Noise(gain=0, offset=0, read_noise=3 * strength, sigma=3 * strength)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        for image in (texture(3, (64, 64), seed) + rng.normal(0, 3, (64, 64)), rng.normal(0, 3, (64, 64))):
            missing = np.zeros(image.shape, bool)
            missing[30 : 30 + width, 30 : 30 + width] = True
            assert hole_warning(missing, image, given) == ""
            assert hole_warning(missing, image) == ""


def test_a_wrong_strength_of_white_noise_does_no_harm() -> None:
    missing, image = disc(10), texture(3) + np.random.default_rng(0).normal(0, 1, (96, 96))
    for sigma in (0.1, 1, 3):
        noise = Noise(gain=0, offset=0, read_noise=sigma, sigma=sigma)
        np.testing.assert_array_equal(hole_ratio(missing, image, noise), hole_ratio(missing, image))


def test_where_nothing_varies_only_a_hole_that_could_hide_much_is_warned_of() -> None:
    noise = Noise(gain=0, offset=0, read_noise=1, sigma=1)
    for image in (np.full((96, 96), 7.0), np.random.default_rng(0).normal(100, 1, (96, 96))):
        assert hole_warning(disc(10), image, noise) == ""
        assert hole_warning(disc(20), image, noise)


def test_the_surroundings_are_those_of_the_hole() -> None:
    image = np.concatenate([texture(1.5, (96, 200)), texture(8, (96, 200))], axis=1)
    left, right = np.zeros(image.shape, bool), np.zeros(image.shape, bool)
    left[44:52, 60:68] = right[44:52, 330:338] = True
    assert hole_ratio(left, image).max() > 1.8 * hole_ratio(right, image).max()


def test_a_volume_has_holes_too() -> None:
    shape = (32, 32, 32)
    assert hole_warning(disc(8, shape), texture(1.5, shape))
    assert hole_warning(disc(1, shape), texture(1.5, shape)) == ""


@pytest.mark.parametrize(
    ("missing", "image", "words"),
    [
        (np.ones((8, 8)), np.ones((8, 8)), "hides every pixel"),
        (np.ones((8, 8)), np.ones((8, 9)), r"\(8, 8\).*\(8, 9\)"),
        (np.ones(8), np.ones(8), "2 or 3 axes"),
    ],
)
def test_what_cannot_be_judged_is_said(missing: np.ndarray, image: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        hole_ratio(missing, image)
