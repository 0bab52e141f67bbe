"""The same image whatever constant is added to it, and whatever gain: zero and one are no intensities of their own."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_dip import denoise, estimate_noise, find_bad_pixels, trust
from napari_dip.core.noise.model import Noise
from tests.core.tiny import TINY, picture

PRIOR: dict[str, Any] = {**TINY, "iterations": 3, "code": "uniform"}
GUIDED: dict[str, Any] = {"channels": 4, "scales": 2, "crop": 8, "batch": 2, "iterations": 3, "device": "cpu"}
ADDED = (-1000, 4 * 10**9)
GAINS = (2.0, 1 / 64)  # powers of two, which change no digit
OTHERS = (3.0, 1 / 1000)  # which round


def measured(
    gain: float,
    background: float,
    offset: float,
    whole: bool = True,
    size: int = 40,
    peak: float = 100,
    read: float = 2,
) -> npt.NDArray[np.generic]:
    """Photons of a picture, and a camera's read noise, in counts: int64, or else in steps of 1/64."""
    random = np.random.default_rng(0)
    light = picture(size, size) * peak + background
    counts = offset + (gain or 1) * (random.poisson(light) if gain else light) + random.normal(0, read, light.shape)
    return np.rint(counts).astype(np.int64) if whole else np.rint(64 * counts) / 64


def figures(noise: Noise) -> tuple[Any, ...]:
    """All of a noise but its offset."""
    return (
        *(noise.gain, noise.read_noise, noise.sigma, noise.correlation, noise.impulses, noise.contrast),
        noise.warning,
    )


CAMERAS = {
    "photons and read noise": measured(2, 20, 100),
    "in fractions": measured(0.5, 3, 0, whole=False),
    "photons alone": measured(5, 1, 0, read=0),
    "read noise outweighs": measured(1, 0, 100, read=20),
    "of one strength": measured(0, 0, 10, read=10),
    "a line": measured(2, 20, 100)[:1],
    "tiny": measured(2, 20, 100, size=9),
    "noise-free": np.rint(100 * picture(40, 40)),
    "hot pixels": np.where(np.arange(1600).reshape(40, 40) % 401 == 7, 4000, measured(2, 20, 100)),
    "dark": measured(1, 0, 0, peak=3, read=0),
}


@cache
def seen(name: str, whole: bool) -> tuple[npt.NDArray[np.generic], Noise, npt.NDArray[np.bool_]]:
    """What a camera measured, its noise and its bad pixels; whole numbers may be photons, others are not."""
    image = CAMERAS[name] if whole else CAMERAS[name] / 64 + 0.5**20
    return image, estimate_noise(image), find_bad_pixels(image)


@pytest.mark.parametrize("name", CAMERAS)
def test_the_noise_is_the_same_whatever_is_added(name: str) -> None:
    image, found, bad = seen(name, whole=True)
    for constant in ADDED:
        moved = estimate_noise(image + constant)
        assert figures(moved) == figures(found)
        assert moved.offset == found.offset + constant
        np.testing.assert_array_equal(moved.autocorrelation, found.autocorrelation)
        levels = np.linspace(image.min() - 50, image.max() + 50, 9)  # below no light, too
        np.testing.assert_allclose(moved.variance(levels + constant), found.variance(levels), rtol=1e-6)
        np.testing.assert_array_equal(find_bad_pixels(image + constant), bad)


@pytest.mark.parametrize("name", CAMERAS)
def test_the_noise_follows_a_gain(name: str) -> None:
    image, found, bad = seen(name, whole=False)
    for gain in GAINS:
        moved = estimate_noise(image * gain)
        for figure in ("gain", "offset", "read_noise", "sigma"):
            assert getattr(moved, figure) == getattr(found, figure) * gain, figure
        assert figures(moved)[3:] == figures(found)[3:]
        np.testing.assert_array_equal(find_bad_pixels(image * gain), bad)


@pytest.mark.parametrize("name", CAMERAS)
def test_the_noise_follows_a_gain_that_rounds(name: str) -> None:
    image, found, bad = seen(name, whole=False)
    size = float(np.ptp(image))
    for gain in OTHERS:
        moved = estimate_noise(image * gain)
        for figure in ("gain", "read_noise", "sigma"):
            assert getattr(moved, figure) == pytest.approx(getattr(found, figure) * gain, rel=2e-5), figure
        assert moved.offset == pytest.approx(found.offset * gain, rel=0, abs=1e-5 * size * gain)
        assert figures(moved)[3:-1] == pytest.approx(figures(found)[3:-1], rel=2e-5)
        assert moved.warning == found.warning
        np.testing.assert_array_equal(find_bad_pixels(image * gain), bad)


@pytest.mark.parametrize("known", [("gain",), ("offset",), ("read_noise",), ("gain", "offset"), ("gain", "read_noise")])
def test_the_noise_around_a_camera_is_the_same_whatever_is_added(known: tuple[str, ...]) -> None:
    image, camera = measured(2, 20, 100), {"gain": 2.0, "offset": 100.0, "read_noise": 2.0}
    given = {name: camera[name] for name in known}
    found = estimate_noise(image, **given)
    for constant in ADDED:
        there = {name: value + constant * (name == "offset") for name, value in given.items()}
        moved = estimate_noise(image + constant, **there)
        assert figures(moved) == figures(found)
        assert moved.offset == found.offset + constant


def test_the_offset_lies_between_no_noise_and_the_darkest_part() -> None:
    assert estimate_noise(measured(5, 30, 100, read=0, size=128)).offset == pytest.approx(100, abs=15)
    assert estimate_noise(measured(1, 0, 100, read=30, size=128)).offset == pytest.approx(100, abs=15)
    assert estimate_noise(measured(0, 0, 100, read=10, size=128)).offset == pytest.approx(100, abs=15)


@pytest.mark.parametrize("name", ["photons and read noise", "in fractions", "of one strength", "dark"])
@pytest.mark.parametrize("knobs", [GUIDED, PRIOR])
def test_a_result_is_the_same_whatever_is_added(name: str, knobs: dict[str, Any]) -> None:
    image = CAMERAS[name][8:32, 8:32]
    plain = denoise(image, uncertainty=True, **knobs)
    for constant in (-1000, 4 * 10**9):
        moved = denoise(image + constant, uncertainty=True, **knobs)
        close = {"rtol": 0, "atol": 2e-6 * np.ptp(image) + float(np.spacing(np.abs(moved.image).max()))}
        np.testing.assert_allclose(moved.image.astype(float) - constant, plain.image, **close)
        np.testing.assert_allclose(moved.residual, plain.residual, **close)
        np.testing.assert_allclose(moved.uncertainty, plain.uncertainty, **close)
        assert (moved.verdict and moved.verdict.sentence) == (plain.verdict and plain.verdict.sentence)
        assert (moved.rule, moved.method, moved.warnings) == (plain.rule, plain.method, plain.warnings)


@pytest.mark.parametrize("name", ["photons and read noise", "of one strength"])
@pytest.mark.parametrize("knobs", [GUIDED, PRIOR])
def test_a_result_follows_a_gain(name: str, knobs: dict[str, Any]) -> None:
    image = CAMERAS[name][8:32, 8:32] / 64 + 0.5**20
    plain = denoise(image, uncertainty=True, **knobs)
    for gain in GAINS:
        moved = denoise(image * gain, uncertainty=True, **knobs)
        for what in ("image", "residual", "uncertainty"):
            np.testing.assert_array_equal(getattr(moved, what), getattr(plain, what) * np.float32(gain))
        assert (moved.verdict and moved.verdict.ok) == (plain.verdict and plain.verdict.ok)
        assert (moved.rule, moved.method, moved.warnings) == (plain.rule, plain.method, plain.warnings)


@pytest.mark.parametrize("name", ["photons and read noise", "of one strength"])
@pytest.mark.parametrize("knobs", [GUIDED, PRIOR])
def test_a_result_follows_a_gain_that_rounds(name: str, knobs: dict[str, Any]) -> None:
    image = CAMERAS[name][8:32, 8:32] / 64 + 0.5**20
    plain = denoise(image, uncertainty=True, **knobs)
    for gain in OTHERS:
        moved = denoise(image * gain, uncertainty=True, **knobs)
        for what in ("image", "residual", "uncertainty"):
            close = {"rtol": 0, "atol": 2e-6 * np.ptp(image)}
            np.testing.assert_allclose(getattr(moved, what) / np.float64(gain), getattr(plain, what), **close)
        assert (moved.verdict and moved.verdict.ok) == (plain.verdict and plain.verdict.ok)
        assert (moved.rule, moved.method, moved.warnings) == (plain.rule, plain.method, plain.warnings)


def test_holes_and_resolution_are_the_same_whatever_is_added() -> None:
    image, mask = CAMERAS["photons and read noise"], np.zeros((40, 40), bool)
    mask[5:25, 5:25] = True
    noise = estimate_noise(image, mask)
    for constant in ADDED:
        moved = estimate_noise(image + constant, mask)
        ratio = trust.hole_map(image + constant, mask, moved)
        np.testing.assert_allclose(ratio, trust.hole_map(image, mask, noise), rtol=1e-6)
        detail = trust.resolution(image + constant).resolution
        assert detail == pytest.approx(trust.resolution(image).resolution)
