"""The verdict finds structure that was removed on purpose and none in noise; noise alone is what it is said to be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from napari_dip.core.judge.control import invented, noise_only_observation, unit_noise
from napari_dip.core.judge.errors import calibration
from napari_dip.core.judge.residual import residual_verdict
from napari_dip.core.noise.correlation import autocorrelation_of, power_of
from napari_dip.core.noise.model import Noise

WHITE = Noise(gain=0, offset=0, read_noise=10, sigma=10)
PHOTON = Noise(gain=4, offset=20, read_noise=3, sigma=17)
_LINE = np.exp(-(np.arange(-4, 5) ** 2) / 2)
SHARED = Noise(
    gain=0, offset=0, read_noise=10, sigma=10, correlation=float(_LINE[5]), autocorrelation=np.outer(_LINE, _LINE)
)
NOISES = {"white": WHITE, "photon": PHOTON, "shared": SHARED}
each_noise = pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
each_seed = pytest.mark.parametrize("seed", range(4))


def scene(seed: int, shape: tuple[int, ...] = (128, 128)) -> np.ndarray:
    """Bright spots of several sizes on a dim ground, in counts."""
    rng, image = np.random.default_rng(seed), np.full(shape, 40.0)
    for size in (1.5, 2.5, 4):
        points = (rng.random(shape) < 0.006 / size ** (len(shape) - 1)) * rng.uniform(0.5, 1, shape)
        image += 1500 * ndimage.gaussian_filter(points, size) * size ** (len(shape) - 1) / 1.5
    return image


def measured(image: np.ndarray, noise: Noise, seed: int) -> np.ndarray:
    rng = np.random.default_rng([1, seed])
    if noise.gain:
        photons = rng.poisson((image - noise.offset) / noise.gain)
        return noise.gain * photons + noise.offset + rng.normal(0, noise.read_noise, image.shape)
    return image + noise.read_noise * unit_noise(noise, image.shape, rng)


# ---------------------------------------------------------------------------------------------------------- the verdict


def test_of_pixels_that_are_kept_only_the_sentence_differs() -> None:
    truth = scene(0)
    observed = measured(truth, WHITE, 0)
    for restored in (truth, observed, truth + 0.5 * (observed - truth), ndimage.gaussian_filter(truth, 2), truth * 0):
        usual, kept = (residual_verdict(observed, restored, WHITE, kept=each) for each in (False, True))
        assert replace(kept, sentence=usual.sentence) == usual
        assert kept.sentence.startswith("Known pixels are kept")
        assert "removed" not in kept.sentence
        assert ("lacks structure" in kept.sentence) == (not kept.ok)


@each_seed
@each_noise
def test_the_truth_has_lost_nothing(noise: Noise, seed: int) -> None:
    truth = scene(seed)
    verdict = residual_verdict(measured(truth, noise, seed), truth, noise)
    assert verdict.ok, verdict
    assert verdict.lost == 0
    assert verdict.balance == pytest.approx(1, abs=0.1)
    assert verdict.correlation == pytest.approx(0, abs=0.05)
    assert verdict.sentence.startswith("What was removed looks like pure noise")


@each_seed
@each_noise
@pytest.mark.parametrize("width", [1.5, 3])
def test_a_blur_is_found(noise: Noise, seed: int, width: float) -> None:
    truth = scene(seed)
    verdict = residual_verdict(measured(truth, noise, seed), ndimage.gaussian_filter(truth, width), noise)
    assert not verdict.ok
    assert "removed" in verdict.sentence


@each_seed
@each_noise
def test_a_loss_of_contrast_is_found_and_how_much_it_is(noise: Noise, seed: int) -> None:
    truth = scene(seed)
    faded = truth.mean() + 0.8 * (truth - truth.mean())
    verdict = residual_verdict(measured(truth, noise, seed), faded, noise)
    assert not verdict.ok
    assert verdict.lost == pytest.approx(0.2, abs=0.08)


@each_seed
@pytest.mark.parametrize("noise", [WHITE, PHOTON], ids=["white", "photon"])
def test_a_line_that_was_erased_is_found_where_it_was(noise: Noise, seed: int) -> None:
    truth = scene(seed)
    line = np.zeros(truth.shape)
    line[30:70, 90] = 1
    line = ndimage.gaussian_filter(line, (0, 1.2))
    line *= 3 * np.sqrt(noise.variance(40)) / line.max()
    verdict = residual_verdict(measured(truth + line, noise, seed), truth, noise)
    assert not verdict.ok
    row, column = verdict.place
    assert 25 <= row < 75
    assert abs(column - 90) < 6


def filtered(image: np.ndarray, truth: np.ndarray, noise: Noise) -> np.ndarray:
    """The best linear restoration, by the spectra of the truth and of the noise (Wiener)."""
    waves, mean = np.fft.fft2(image - truth.mean()), truth.mean()
    structure = ndimage.gaussian_filter(np.abs(np.fft.fft2(truth - mean)) ** 2, 2, mode="wrap")
    power = noise.sigma**2 * image.size * power_of(autocorrelation_of(noise, image.shape), image.shape)
    return mean + np.fft.ifft2(waves * structure / (structure + power)).real


@each_seed
@pytest.mark.parametrize("noise", [WHITE, SHARED], ids=["white", "shared"])
@pytest.mark.parametrize("strength", [1, 3, 6])
def test_what_any_denoising_costs_is_no_fault(noise: Noise, seed: int, strength: float) -> None:
    """Where the noise outweighs the structure at a size, its contrast cannot be kept: more than that is too much."""
    truth = scene(seed)
    loud = replace(noise, read_noise=strength * noise.read_noise, sigma=strength * noise.sigma)
    image = measured(truth, loud, seed)
    best = filtered(image, truth, loud)
    verdict = residual_verdict(image, best, loud)
    assert verdict.ok, verdict
    if strength == 1:
        assert not residual_verdict(image, ndimage.gaussian_filter(best, 3), loud).ok


def test_a_dark_background_whose_noise_is_hardly_known_is_no_fault() -> None:
    dark = np.where(np.arange(128) < 100, 20.0, 400.0) * np.ones((128, 1))
    noise = replace(PHOTON, read_noise=1, sigma=20)
    real = replace(noise, read_noise=5)
    verdict = residual_verdict(measured(dark, real, 0), dark, noise)
    assert verdict.ok, verdict
    assert verdict.balance == pytest.approx(1, abs=0.15)


@each_seed
@each_noise
@pytest.mark.parametrize("kept", [0.05, 0.3])
def test_noise_that_stayed_is_not_taken_for_structure(noise: Noise, seed: int, kept: float) -> None:
    truth = scene(seed)
    observed = measured(truth, noise, seed)
    verdict = residual_verdict(observed, truth + kept * (observed - truth), noise)
    assert verdict.ok, verdict
    assert verdict.balance == pytest.approx((1 - kept) ** 2, abs=0.1)
    assert ("left in the image" in verdict.sentence) == (kept == 0.3)


def test_a_volume_is_judged_too() -> None:
    truth = scene(0, (24, 48, 48))
    observed = measured(truth, WHITE, 0)
    assert residual_verdict(observed, truth, WHITE).ok
    assert not residual_verdict(observed, ndimage.gaussian_filter(truth, 1.5), WHITE).ok


def test_what_is_left_out_does_not_count() -> None:
    truth = scene(0)
    observed = measured(truth, WHITE, 0)
    mask = np.zeros(truth.shape, bool)
    mask[40:60, 40:60] = True
    expected = residual_verdict(observed, truth, WHITE, mask=mask)
    for value in (1e9, np.nan):
        assert residual_verdict(np.where(mask, value, observed), truth, WHITE, mask=mask) == expected
    assert residual_verdict(np.where(mask, np.nan, observed), truth, WHITE) == expected
    saturated = np.where(mask, 255, np.clip(observed, 0, 254)).astype(np.uint8)
    assert residual_verdict(saturated, np.where(mask, 600, truth), WHITE).balance == pytest.approx(1, abs=0.1)


def test_a_hot_pixel_is_no_structure() -> None:
    truth = scene(0)
    observed = measured(truth, WHITE, 0)
    observed[20, 30] += 200
    assert residual_verdict(observed, truth, WHITE).ok


def test_units_do_not_matter() -> None:
    truth = scene(0)
    observed = measured(truth, WHITE, 0)
    fine = Noise(gain=0, offset=0, read_noise=1e-3, sigma=1e-3)
    a, b = (
        residual_verdict(observed * k, ndimage.gaussian_filter(truth, 2) * k, n) for k, n in ((1, WHITE), (1e-4, fine))
    )
    assert a.sentence == b.sentence


def test_noise_stronger_than_estimated_is_said() -> None:
    truth = np.full((96, 96), 40.0)
    weak = Noise(gain=0, offset=0, read_noise=8, sigma=8)
    verdict = residual_verdict(measured(truth, WHITE, 0), truth, weak)
    assert not verdict.ok
    assert "stronger than estimated" in verdict.sentence


def test_shapes_and_masks_that_do_not_fit_are_said() -> None:
    with pytest.raises(ValueError, match=r"\(8, 8\).*\(8, 9\)"):
        residual_verdict(np.ones((8, 8)), np.ones((8, 9)), WHITE)
    with pytest.raises(ValueError, match="~mask"):
        residual_verdict(np.ones((8, 8)), np.ones((8, 8)), WHITE, mask=np.ones((8, 8)))
    with pytest.raises(ValueError, match="2 axes and the image 3"):
        residual_verdict(np.ones((8, 8, 8)), np.ones((8, 8, 8)), SHARED)


# ---------------------------------------------------------------------------------------------------------- noise alone


@each_noise
@pytest.mark.parametrize("level", [25, 60, 1000])
def test_noise_alone_has_the_level_and_the_variance_of_the_noise(noise: Noise, level: float) -> None:
    field = noise_only_observation(noise, (400, 400), level, np.random.default_rng(0))
    assert field.mean() == pytest.approx(level, abs=0.02 * np.sqrt(noise.variance(level)) + 0.1)
    assert field.var() == pytest.approx(noise.variance(level), rel=0.05)


def test_noise_alone_has_the_autocorrelation_of_the_noise() -> None:
    field = noise_only_observation(SHARED, (256, 256), 50, np.random.default_rng(0)) - 50
    for row, column in ((0, 1), (1, 0), (1, 1), (0, 3)):
        found = np.mean(field * np.roll(field, (row, column), (0, 1))) / field.var()
        assert found == pytest.approx(SHARED.autocorrelation[4 + row, 4 + column], abs=0.03)


def test_noise_of_which_only_the_correlation_is_known_has_that() -> None:
    noise = Noise(gain=0, offset=0, read_noise=1, sigma=1, correlation=0.4)
    field = unit_noise(noise, (200, 200), np.random.default_rng(0))
    assert np.mean(field[:, 1:] * field[:, :-1]) == pytest.approx(0.4, abs=0.05)


def test_the_same_seed_is_the_same_noise() -> None:
    a, b, c = (noise_only_observation(PHOTON, (9, 9), 50, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


@each_noise
def test_what_was_invented_is_relative_to_the_noise(noise: Noise) -> None:
    field = noise_only_observation(noise, (128, 128), 60, np.random.default_rng(0))
    assert invented(field, noise).strength == pytest.approx(1, rel=0.1)
    assert invented(60 + 0.1 * (field - 60), noise).strength == pytest.approx(0.1, rel=0.1)
    flat = invented(np.full((9, 9), 60.0), noise)
    assert (flat.strength, flat.counts) == (0, 0)
    assert "noise alone" in flat.sentence


def test_an_image_that_is_the_measurement_is_called_so() -> None:
    image = measured(scene(0), WHITE, 0)
    verdict = residual_verdict(image, image, WHITE)
    assert verdict.ok
    assert "the measurement was kept" in verdict.sentence
    assert "may be left" not in verdict.sentence


# ---------------------------------------------------------------------------------------------------------- calibration


def test_a_right_uncertainty_holds_as_many_as_a_normal_error_does() -> None:
    rng = np.random.default_rng(0)
    truth, spread = np.zeros((200, 200)), rng.uniform(0.5, 2, (200, 200))
    restored = truth + spread * rng.normal(size=truth.shape)
    assert calibration(spread, restored, truth) == pytest.approx(0.954, abs=0.01)
    assert calibration(spread / 2, restored, truth) == pytest.approx(0.683, abs=0.01)
    restored[0, 0] = np.nan
    assert 0.9 < calibration(spread, restored, truth) < 1


def test_an_uncertainty_that_is_none_is_said() -> None:
    with pytest.raises(ValueError, match="negative"):
        calibration(-np.ones(3), np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="shapes must agree"):
        calibration(np.ones(3), np.ones(4), np.ones(4))
    with pytest.raises(ValueError, match="no pixel"):
        calibration(np.full(3, np.nan), np.ones(3), np.ones(3))
