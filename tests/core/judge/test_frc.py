"""Fourier correlation finds the band limit of a picture, nothing in noise, and says what it cannot tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from napari_dip.core.judge.frc import fourier_correlation


def limited(shape: tuple[int, ...], period: float, size: tuple[float, ...] | None = None, seed: int = 0) -> np.ndarray:
    """A random picture of standard deviation 1 without any period below the given one."""
    steps = size or (1.0,) * len(shape)
    waves = np.meshgrid(*(np.fft.fftfreq(n, s) for n, s in zip(shape, steps, strict=True)), indexing="ij")
    radius = np.sqrt(sum(w**2 for w in waves))
    spectrum = np.fft.fftn(np.random.default_rng(seed).normal(size=shape)) * (radius < 1 / period)
    picture = np.fft.ifftn(spectrum / np.maximum(radius, 1 / 32)).real
    return picture / picture.std()


def noise(shape: tuple[int, ...], seed: int, sigma: float = 0.2) -> np.ndarray:
    return np.random.default_rng([7, seed]).normal(0, sigma, shape)


def two(picture: np.ndarray, seed: int = 0, sigma: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    return picture + noise(picture.shape, 2 * seed, sigma), picture + noise(picture.shape, 2 * seed + 1, sigma)


@pytest.mark.parametrize("threshold", ["1/7", "half-bit"])
@pytest.mark.parametrize("period", [5, 8, 12])
def test_the_band_limit_of_a_picture_is_found(period: float, threshold: str) -> None:
    for seed in range(3):
        one, other = two(limited((256, 240), period, seed=seed), seed)
        for halves in ((one,), (one, other)):
            found = fourier_correlation(*halves, threshold=threshold).resolution
            assert found == pytest.approx(period, rel=0.12), (seed, len(halves))


def test_two_images_reach_finer_than_one() -> None:
    one, other = two(limited((128, 128), 2.6))
    assert fourier_correlation(one, other).resolution == pytest.approx(2.6, rel=0.1)
    alone = fourier_correlation(one)
    assert alone.resolution == alone.limit == pytest.approx(4, rel=0.05)
    assert "limit" in str(alone)


@pytest.mark.parametrize("alone", [True, False])
def test_shells_are_round_in_physical_units(alone: bool) -> None:
    size = (2.0, 0.5, 0.5)
    volume = limited((40, 160, 160), 9, size)
    halves = two(volume, sigma=1)[: 1 if alone else 2]
    found = fourier_correlation(*halves, pixel_size=size).resolution
    assert found == pytest.approx(9, rel=0.2)  # which is in ring 9, blurred by two


def test_the_pixel_size_is_the_unit() -> None:
    one, _ = two(limited((64, 64), 8))
    plain, micrometres = fourier_correlation(one), fourier_correlation(one, pixel_size=0.1)
    assert micrometres.resolution == pytest.approx(0.1 * plain.resolution)
    np.testing.assert_allclose(micrometres.frequency, 10 * plain.frequency)
    np.testing.assert_allclose(micrometres.correlation, plain.correlation)


@pytest.mark.parametrize("shape", [(64, 64), (33, 40), (32, 32, 32)])
@pytest.mark.parametrize("alone", [True, False])
def test_white_noise_has_no_detail(shape: tuple[int, ...], alone: bool) -> None:
    for seed in range(20):
        halves = two(np.zeros(shape), seed)[: 1 if alone else 2]
        result = fourier_correlation(*halves)
        weights = result.counts / result.counts.sum()
        assert abs(weights @ result.correlation) < 5 / np.sqrt(result.counts.sum())
        assert result.resolution == np.inf, seed
        assert str(result).startswith("no detail above the noise. It cannot tell")


def test_counts_say_how_far_noise_alone_correlates() -> None:
    curves = [fourier_correlation(*two(np.zeros((64, 64)), seed)) for seed in range(40)]
    spread = np.std([curve.correlation for curve in curves], axis=0)
    expected = 1 / np.sqrt(2 * curves[0].counts)
    np.testing.assert_allclose(spread[3:].mean(), expected[3:].mean(), rtol=0.15)


def test_noise_that_neighbours_share_passes_for_detail_in_one_image_and_the_caveat_says_so() -> None:
    shared = [ndimage.gaussian_filter(noise((128, 128), seed), 1.0) for seed in (0, 1)]
    one = fourier_correlation(shared[0], noise_correlation=0.6)
    assert np.isfinite(one.resolution)
    assert "correlated between neighbouring pixels (0.60)" in one.caveat
    both = fourier_correlation(*shared, noise_correlation=0.6)
    assert both.resolution == np.inf
    assert "correlated" not in both.caveat
    assert "correlated" not in fourier_correlation(shared[0], noise_correlation=0.05).caveat


def test_structure_that_was_invented_passes_for_detail_and_the_caveat_says_so() -> None:
    invented = limited((128, 128), 8)  # of which the measurement has nothing
    result = fourier_correlation(invented + noise(invented.shape, 0, 0.1))
    assert result.resolution == pytest.approx(8, rel=0.15)
    assert "invention" in result.caveat


def test_half_a_bit_is_stricter_where_a_ring_has_few_pixels() -> None:
    one, _ = two(limited((64, 64), 8))
    half, fixed = fourier_correlation(one, threshold="half-bit"), fourier_correlation(one)
    assert np.all(np.diff(half.threshold[np.argsort(half.counts)]) <= 0)
    assert half.threshold[1] > 2 * fixed.threshold[1]
    assert np.all(fixed.threshold == 1 / 7)


@pytest.mark.parametrize("scale", [1e-6, 1, 1e9])
def test_gain_and_offset_do_not_matter(scale: float) -> None:
    one, _ = two(limited((64, 64), 8))
    result = fourier_correlation(scale * (one + 3))
    assert result.resolution == pytest.approx(fourier_correlation(one).resolution)


def test_a_constant_image_has_no_detail() -> None:
    assert fourier_correlation(np.ones((32, 32))).resolution == np.inf


@pytest.mark.parametrize(
    ("images", "options", "words"),
    [
        ((np.ones((31, 40)),), {}, "32 pixels or more"),
        ((np.ones(64),), {}, "two or three axes"),
        ((np.ones((40, 40)), np.ones((40, 41))), {}, r"\(40, 41\).*\(40, 40\)"),
        ((np.full((40, 40), np.nan),), {}, "NaN"),
        ((np.ones((40, 40)),), {"threshold": "1/4"}, "threshold='1/4'"),
        ((np.ones((40, 40)),), {"pixel_size": (1, 1, 1)}, "pixel_size"),
        ((np.ones((40, 40)),), {"pixel_size": 0}, "pixel_size=0"),
    ],
)
def test_what_cannot_be_told_is_said(images: tuple[Any, ...], options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fourier_correlation(*images, **options)
