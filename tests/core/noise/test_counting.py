"""Photon counters are recognised by what photons do, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

from napari_dip.core.noise.estimate import estimate_noise
from napari_dip.tables.method import auto_preset

Array = npt.NDArray[np.float64]


def beads(size: int, peak: float, seed: int = 0) -> Array:
    """Light of spots on a background of exactly 0."""
    random = np.random.default_rng(seed)
    light = np.zeros((size, size))
    places = random.integers(0, size, (2, max(3, size**2 // 250)))
    light[tuple(places)] = random.uniform(0.3, 1, places.shape[1])
    light = gaussian_filter(light, 1.5)
    light[light < 1e-3 * light.max()] = 0
    return peak * light / light.max()


def cells(size: int, peak: float, seed: int = 0) -> Array:
    """Light of discs with a soft edge on a background of exactly 0."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    light = np.zeros((size, size))
    for row, column, radius in random.uniform((0, 0, 5), (size, size, 10), (max(2, size**2 // 1500), 3)):
        light = np.maximum(light, np.hypot(y - row, x - column) < radius)
    light = gaussian_filter(light, 1.2)
    light[light < 1e-3 * light.max()] = 0
    return peak * light / light.max()


def counts(light: Array, seed: int = 1) -> Array:
    return np.random.default_rng(seed).poisson(light).astype(np.float64)


@pytest.mark.parametrize("scene", [beads, cells])
@pytest.mark.parametrize(("size", "peak"), [(32, 100), (64, 3), (64, 10), (64, 100), (64, 1000), (256, 30)])
def test_a_photon_counter_is_recognised(scene: Callable[..., Array], size: int, peak: float) -> None:
    light = scene(size, peak)
    image = counts(light)
    found = estimate_noise(image.astype(np.uint16))
    assert (found.counting, found.gain, found.offset, found.warning) == (True, 1, 0, "")
    assert found.sigma == pytest.approx(np.sqrt(image.mean()), rel=0.01)
    assert found.variance(20) == pytest.approx(20, rel=0.01)
    assert found.independent
    assert "counted photons" in str(found)
    assert auto_preset("denoise", on_cpu=True, noise=found, changes={})[0] == "denoise-self"


@pytest.mark.parametrize("scene", [beads, cells])
def test_a_counter_in_another_unit_or_with_an_offset_is_the_same(scene: Callable[..., Array]) -> None:
    image = counts(scene(64, 100))
    found = estimate_noise(image)
    for gain, offset in ((1, -1000), (0.37, 0), (12, 100)):
        other = estimate_noise((gain * image + offset).astype(np.float32))
        assert other.counting
        assert other.gain == pytest.approx(gain, rel=1e-3)
        assert other.sigma == pytest.approx(gain * found.sigma, rel=2e-3)
        assert other.offset == pytest.approx(offset, abs=1e-3)
    for dim in (10, 100):
        image = counts(scene(64, dim))
        step = 255 / image.max()
        for shown in (np.rint(step * image), np.floor(step * image)):
            assert estimate_noise(shown.astype(np.uint8)).gain == pytest.approx(step, rel=0.1)


def camera(gain: float, read_noise: float, cut: float) -> Array:
    """Beads as a camera sees them, its offset subtracted and so much more, and what is below 0 cut off."""
    random = np.random.default_rng(2)
    light = beads(96, 200)
    return np.clip(np.rint(gain * random.poisson(light) + random.normal(0, read_noise, light.shape) - cut), 0, None)


OTHERS = {
    "smooth": np.rint(beads(64, 1000)),
    "dim and smooth": np.rint(cells(64, 10)),
    "of two levels": (np.random.default_rng(0).random((64, 64)) > 0.8) * 1.0,
    "labels": np.rint(cells(64, 4)),
    "posterised": np.rint(counts(cells(64, 200)) // 64),
    "a camera": np.rint(100 + counts(beads(64, 100)) + np.random.default_rng(3).normal(0, 2, (64, 64))),
    "a quiet camera": np.rint(100 + counts(beads(64, 100)) / 4 + np.random.default_rng(3).normal(0, 0.5, (64, 64))),
    **{f"cut off, gain {gain}": camera(gain, 3, 9) for gain in (0.25, 2.0, 20.0)},
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_counter_is_not_taken_for_one(name: str) -> None:
    assert not estimate_noise(OTHERS[name]).counting


@pytest.mark.parametrize("gain", [0.5, 2, 20])
@pytest.mark.parametrize("cut", [3, 9])
def test_noise_that_is_cut_off_in_the_dark_is_guessed_and_doubted(gain: float, cut: float) -> None:
    image = camera(gain, 3, cut)
    true = np.sqrt(np.where(image > 0, gain**2 * beads(96, 200) + 9, 0).mean())
    found = estimate_noise(image)
    assert found.sigma == pytest.approx(true, rel=0.25)
    assert "guess" in found.warning
    assert found.limited
    assert auto_preset("denoise", on_cpu=True, noise=found, changes={})[0] == "denoise-self"


def test_an_export_of_a_bright_counter_is_guessed() -> None:
    image = counts(cells(64, 2000))
    step = 255 / image.max()
    found = estimate_noise(np.rint(step * image).astype(np.uint8))
    assert found.gain == pytest.approx(step, rel=0.3)
    assert "guess" in found.warning
