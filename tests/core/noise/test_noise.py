"""The noise that was added to an image is the noise that is found in it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import convolve, gaussian_filter

from napari_dip import denoise
from napari_dip.core.intensity import Scaling
from napari_dip.core.noise.estimate import estimate_noise
from napari_dip.core.noise.levels import power_of_detail
from napari_dip.core.noise.model import Noise
from napari_dip.tables.method import FINE, auto_preset

KERNELS = {0.0: np.ones((1, 1)), 0.3: np.array([[0, 0.16, 0], [0.16, 1, 0.16], [0, 0.16, 0]]), 0.5: np.ones((2, 2))}


def scene(size: int = 192, seed: int = 0) -> npt.NDArray[np.float64]:
    """Cells with sharp edges, a smooth glow and fine lines, 0..1."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    image = np.zeros((size, size))
    for row, column, radius, glow in random.uniform((0, 0, 6, 10), (size, size, 24, 40), (12, 4)):
        distance = np.hypot(y - row, x - column)
        image += 0.5 * (distance < radius) + np.exp(-((distance / glow) ** 2))
    for row, slope in random.uniform((0, -0.5), (size, 0.5), (10, 2)):
        image += np.abs(y - row - slope * x) < 1
    image = gaussian_filter(image, 1)
    return image / image.max()


def photons(
    gain: float,
    peak: float,
    background: float,
    read_noise: float,
    shared: float = 0.0,
    seed: int = 0,
    power: float = 1,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A scene in counts above an offset of 100, and the noise that is in it; mostly dark if taken to a power."""
    random = np.random.default_rng(seed)
    light = scene(seed=seed) ** power * peak + background
    noise = gain * (random.poisson(light) - light) + random.normal(0, read_noise, light.shape)
    kernel = KERNELS[shared]
    noise = convolve(noise, kernel / np.sqrt(np.square(kernel).sum()), mode="wrap")
    return 100 + gain * light + noise, noise


@pytest.mark.parametrize("shared", KERNELS)
@pytest.mark.parametrize(
    ("gain", "peak", "background", "read_noise"), [(0.5, 400, 20, 2), (2, 100, 10, 5), (5, 30, 1, 0), (20, 100, 20, 20)]
)
def test_photon_noise_is_found(gain: float, peak: float, background: float, read_noise: float, shared: float) -> None:
    image, noise = photons(gain, peak, background, read_noise, shared)
    found = estimate_noise(image)
    assert found.gain == pytest.approx(gain, rel=0.15)
    assert found.sigma == pytest.approx(noise.std(), rel=0.05)
    assert found.correlation == pytest.approx(float((noise[1:] * noise[:-1]).mean() / noise.var()), abs=0.1)
    assert not found.warning


@pytest.mark.parametrize("light", [1.5, 3.0, 12.0])
def test_few_photons_are_not_taken_for_more_noise(light: float) -> None:
    """Nor those of a photomultiplier, whose charges vary, so that its noise has longer tails than that of photons."""
    random = np.random.default_rng(0)
    photons = random.poisson(light, (2, 192, 192))
    charges = np.where(photons > 0, random.gamma(3 * np.maximum(photons, 1)) / 3, 0)
    for image in (*photons, *charges):
        assert estimate_noise(10 + 5 * image).sigma == pytest.approx(5 * image.std(), rel=0.03)


def test_white_noise_has_no_correlation_that_moves_its_level() -> None:
    random = np.random.default_rng(0)
    for _ in range(4):
        noise = random.normal(0, 10, (128, 128))
        found = estimate_noise(noise + np.linspace(0, 50, 128))
        assert found.sigma == pytest.approx(noise.std(), rel=0.03)
        assert found.correlation == 0


def test_what_neighbours_share_does_not_hide_the_gain_where_most_is_dark() -> None:
    gains = [estimate_noise(photons(20, 10, 5, 20, 0.5, seed, power=4)[0]).gain for seed in range(6)]
    assert np.mean(gains) == pytest.approx(20, rel=0.15)


@pytest.mark.parametrize(
    ("grain", "spread", "sigma", "told"),
    [(0.8, 30, 15, True), (0.5, 20, 5, True), (0.8, 10, 0, False), (0.0, 10, 0, False)],
    ids=["texture", "texture of the bright half", "correlated noise", "white noise"],
)
def test_fine_structure_that_counts_as_noise_is_told_in_a_small_image(
    grain: float, spread: float, sigma: float, told: bool
) -> None:
    """Structure that neighbours share lies below noise of single pixels; correlated noise has nothing below it."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[:64, :64]
    light = 100 + 40 * np.sin(x / 9) * np.cos(y / 11)
    structure = gaussian_filter(random.normal(size=light.shape), grain, mode="wrap")
    structure *= spread / structure.std() * ((light - 60) / 80 if grain == 0.5 else 1)
    noise = estimate_noise(light + structure + random.normal(0, sigma, light.shape))
    assert ("fine structure may be a part" in noise.caution) == told
    assert not noise.warning


def test_what_neighbours_seem_to_share_in_a_small_image_may_be_its_texture() -> None:
    texture = 100 * gaussian_filter(np.random.default_rng(0).normal(0, 1, (80, 80)), 0.8)
    small, large = estimate_noise(texture[:24, :24]), estimate_noise(texture)
    assert small.correlation > 0.2
    assert "small" in small.warning
    assert "small" not in large.warning
    white = scene(24) * 100 + np.random.default_rng(0).normal(0, 10, (24, 24))
    assert not estimate_noise(white).warning


@pytest.mark.parametrize("sigma", [5, 20])
@pytest.mark.parametrize("shared", KERNELS)
def test_noise_that_ignores_the_signal_has_no_gain(sigma: float, shared: float) -> None:
    kernel = KERNELS[shared]
    noise = convolve(np.random.default_rng(1).normal(0, sigma, (192, 192)), kernel / np.linalg.norm(kernel))
    found = estimate_noise(200 * scene() + noise)
    assert found.sigma == pytest.approx(sigma, rel=0.07)
    assert found.gain * 200 < 0.5 * sigma**2


def test_a_volume_and_its_slices_have_the_same_noise() -> None:
    random = np.random.default_rng(0)
    volume = np.stack([scene(96, seed=3)] * 12) * 100 + random.normal(0, 10, (12, 96, 96))
    found = estimate_noise(volume)
    assert found.sigma == pytest.approx(10, rel=0.05)
    assert found.autocorrelation.ndim == 3
    assert abs(found.correlation) < 0.05


def test_the_unit_of_the_image_is_the_unit_of_its_noise() -> None:
    image, _ = photons(2, 100, 10, 5)
    counts, scaled = estimate_noise(image), estimate_noise(Scaling(100, 300).apply(image).astype(np.float64))
    expected = counts.scaled(Scaling(100, 300))
    assert scaled.gain == pytest.approx(expected.gain, rel=1e-3)
    assert scaled.sigma == pytest.approx(expected.sigma, rel=3e-3)


def test_pixels_that_are_missing_or_saturated_are_left_out() -> None:
    image, noise = photons(2, 100, 10, 5)
    spoilt = image.copy()
    spoilt[:40, :60] = np.nan
    spoilt[100:140] = np.inf
    mask = np.zeros(image.shape, bool)
    mask[200:220, 100:] = True
    spoilt[mask] = np.random.default_rng(0).uniform(0, 1e4, mask.sum())
    known = np.isfinite(spoilt) & ~mask
    assert estimate_noise(spoilt, mask=mask).sigma == pytest.approx(noise[known].std(), rel=0.05)
    shown = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    assert estimate_noise(shown).gain == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize("missing", [0.1, 0.5])
@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_noise_is_found_between_missing_pixels(missing: float, shared: float) -> None:
    image, noise = photons(2, 100, 10, 5, shared)
    mask = np.random.default_rng(0).random(image.shape) < missing
    found = estimate_noise(np.where(mask, np.nan, image))
    assert found.sigma == pytest.approx(noise[~mask].std(), rel=0.06)
    assert found.gain == pytest.approx(2, rel=0.3)
    assert found.correlation == pytest.approx(float((noise[1:] * noise[:-1]).mean() / noise.var()), abs=0.1)
    assert not found.warning


@pytest.mark.parametrize(("size", "missing", "sentence"), [(128, 0.6, "too little"), (40, 0.5, "small")])
def test_noise_between_more_or_fewer_missing_pixels_is_a_guess(size: int, missing: float, sentence: str) -> None:
    waves = np.add.outer(np.sin(np.arange(size) * 0.9), np.sin(np.arange(size) * 0.7))
    image = 100 + 30 * waves + np.random.default_rng(0).normal(0, 5 if size > 100 else 0, (size, size))
    mask = np.random.default_rng(1).random(image.shape) < missing
    assert sentence in estimate_noise(image, mask=mask).warning


@pytest.mark.parametrize("pattern", ["at random", "rows"])
def test_hot_pixels_are_found_between_missing_pixels(pattern: str) -> None:
    random = np.random.default_rng(0)
    image = 200 * scene(128) + random.normal(0, 5, (128, 128))
    hot = random.random(image.shape) < 0.004
    missing = random.random(image.shape) < 0.1
    if pattern == "rows":
        missing[:] = (np.arange(128) % 16 < 2)[:, None]
    clean, found = (estimate_noise(values, mask=missing) for values in (image, image + 400 * hot))
    assert found.impulses == pytest.approx(hot[~missing].mean(), rel=0.1)
    assert found.contrast == pytest.approx(clean.contrast, rel=0.05)


def test_noise_of_a_volume_is_found_between_missing_voxels() -> None:
    random = np.random.default_rng(0)
    volume = np.stack([scene(40, seed=3)] * 8) * 100 + random.normal(0, 10, (8, 40, 40))
    found = estimate_noise(volume, mask=random.random(volume.shape) < 0.5)
    assert found.sigma == pytest.approx(10, rel=0.05)
    assert abs(found.correlation) < 0.05


def test_no_pixel_is_without_noise() -> None:
    found = estimate_noise(photons(5, 30, 1, 0)[0])
    assert found.variance(-1e4) > 0
    assert found.variance(found.offset) < 0.01 * found.sigma**2


def test_what_is_given_is_kept() -> None:
    image, noise = photons(2, 100, 10, 5)
    given = estimate_noise(image, gain=2.2, offset=99)
    assert (given.gain, given.offset) == (2.2, 99)
    assert given.sigma == pytest.approx(noise.std(), rel=0.05)
    both = estimate_noise(image, offset=100, read_noise=5)
    assert (both.offset, both.read_noise) == (100, 5)
    assert both.gain == pytest.approx(2, rel=0.1)
    assert estimate_noise(image, read_noise=5).offset == pytest.approx(100, abs=10)
    assert estimate_noise(image, gain=0).gain == 0


def test_what_a_camera_says_is_no_guess_in_a_small_image_of_fine_texture() -> None:
    light = 40 + 60 * gaussian_filter(np.random.default_rng(0).normal(0, 1, (32, 32)), 0.8).clip(-0.6, 0.6)
    image = 3 + 2.0 * np.random.default_rng(1).poisson(light)
    assert estimate_noise(image).warning
    known = estimate_noise(image, gain=2, offset=3, read_noise=0)
    assert (known.warning, known.correlation, known.given) == ("", 0, True)
    assert known.independent
    assert known.sigma == pytest.approx(2 * light.mean() ** 0.5, rel=0.03)
    assert not estimate_noise(image, gain=2).given
    assert "times the noise" in estimate_noise(image, gain=0, read_noise=200).warning


def test_the_same_image_gives_the_same_noise_in_any_type_and_channel_order() -> None:
    image = np.rint(photons(2, 100, 10, 5)[0]).astype(np.uint16)
    one, other = estimate_noise(image), estimate_noise(image.astype(np.float32))
    assert one == other
    pair = estimate_noise(np.stack([image, image], -1), channel_axis=-1)
    assert pair.sigma == pytest.approx(one.sigma, rel=0.02)


@pytest.mark.parametrize("shape", [(1, 1), (4, 6), (8, 8), (1, 64), (2, 3, 4), (3, 40, 40)])
def test_any_size_has_an_answer(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    for image in (random.normal(5, 1, shape), np.zeros(shape), random.random(shape) > 0.5):
        found = estimate_noise(image)
        assert np.isfinite(found.sigma)
        assert found.autocorrelation.ndim == len(shape)


STEPS = {
    "disc": (np.hypot(*(np.indices((128, 128)) - 64)) < 30) * 100.0,
    "padded": np.pad(np.full((20, 20), 500, np.uint16), 20),
    "hot pixel": np.where(np.arange(4096) == 2000, 4000.0, 100.0).reshape(64, 64),
    "labels": (200 * scene(128)).astype(np.uint8) // 60,
    "halves": np.repeat([0.0, 50.0], 8192).reshape(128, 128),
    "flat": np.full((64, 64), 7.0),
}


@pytest.mark.parametrize("given", [{}, {"gain": 1}, {"offset": 0}, {"read_noise": 2}, {"gain": 1, "offset": -5}])
@pytest.mark.parametrize("name", STEPS)
def test_images_without_noise_have_none_and_say_so(name: str, given: dict[str, float]) -> None:
    found = estimate_noise(STEPS[name], **given)
    assert "no noise can be seen" in found.warning or name == "labels"
    assert found.warning
    assert np.isfinite([found.gain, found.offset, found.read_noise, found.sigma]).all()
    assert given or found.sigma == 0


_Y, _X = np.mgrid[:96, :96].astype(float)
SMOOTH = {
    "ramp": 100 + 0.7 * _X + 0.3 * _Y,
    "steps of whole numbers": np.rint(1.5 * _X + 0.4 * _Y).astype(np.uint16),
    "hill": 1000 * np.exp(-((_X - 48) ** 2 + (_Y - 48) ** 2) / 800),
    "bowl": ((_X - 48) ** 2 + (_Y - 48) ** 2) / 50,
}


@pytest.mark.parametrize("name", SMOOTH)
def test_noise_that_may_be_a_slope_is_said_to_be_that_and_real_noise_is_not(name: str) -> None:
    found = estimate_noise(SMOOTH[name])
    assert "no noise" in found.caution
    assert found.caution in str(found)
    assert not found.warning
    assert np.abs(found.autocorrelation).max() == 1
    noisy = SMOOTH[name] + np.random.default_rng(0).normal(0, np.ptp(SMOOTH[name]) / 100, SMOOTH[name].shape)
    assert not estimate_noise(noisy).caution
    assert not estimate_noise(SMOOTH[name], read_noise=found.sigma).caution


def test_the_noise_of_a_line_is_said_to_be_a_guess_and_the_choice_of_a_method_relies_on_it_all_the_same() -> None:
    row = np.random.default_rng(0).normal(100, 10, (1, 200))
    found = estimate_noise(row)
    assert "hardly more than a line" in found.caution
    assert not found.warning
    result = denoise(row, preset="denoise-small", iterations=3, channels=4, scales=2, runs=1, progress=False)
    assert any("a line of pixels" in sentence for sentence in result.warnings)
    chosen = [
        auto_preset("denoise", on_cpu=True, noise=each, changes={}) for each in (found, replace(found, caution=""))
    ]
    assert chosen[0] == chosen[1]


WAVES = 120 + 60 * np.sin(_X / 5) * np.sin(_Y / 7)


@pytest.mark.parametrize(
    ("image", "limit"),
    [(SMOOTH["hill"], 1 / 3000), (SMOOTH["bowl"], 1 / 5000), (WAVES, 1 / 500)],
    ids=["hill", "bowl", "waves"],
)
def test_a_smooth_image_with_missing_pixels_has_hardly_any_noise(image: npt.NDArray[np.float64], limit: float) -> None:
    """The limits are about twice what is found; where slopes are taken for noise it is 1/810, 1/930 and 1/180."""
    found = estimate_noise(image, mask=np.random.default_rng(1).random(image.shape) < 0.5)
    assert 0 < found.sigma < limit * np.ptp(image)
    assert found.hardly_any


@pytest.mark.parametrize("missing", [0, 0.5])
def test_slopes_are_no_noise_and_no_photons(missing: float) -> None:
    """Waves of 13 pixels had a sigma of 1.6 and 1.05 without a word, and 0.5 where twice as wide."""
    mask = np.random.default_rng(1).random(WAVES.shape) < missing
    for waves in (WAVES, 120 + 60 * np.sin(_X / 3) * np.cos(_Y / 4)):
        found = estimate_noise(waves, mask=mask)
        assert found.sigma < 0.008 * np.ptp(waves) / 2
        assert "no noise" in found.caution
        assert not found.warning
        noisy = waves + np.random.default_rng(0).normal(0, 8, waves.shape)
        assert estimate_noise(noisy, mask=mask).sigma == pytest.approx(8, rel=0.15)


def test_padding_hides_no_noise() -> None:
    noise = np.random.default_rng(0).normal(0, 10, (128, 128))
    found = estimate_noise(np.pad(200 + 50 * scene(128) + noise, 100))
    assert found.sigma == pytest.approx(10, rel=0.06)
    assert "the rest" in found.warning


@pytest.mark.parametrize("scale", [2.0**66, 2.0**-100])
def test_no_unit_is_too_large_or_small(scale: float) -> None:
    image, _ = photons(2, 100, 10, 5)
    assert estimate_noise(scale * image) == estimate_noise(image).scaled(Scaling(0, 1 / scale))


def test_noise_shared_along_one_axis_is_not_independent() -> None:
    noise = np.random.default_rng(0).normal(0, 10, (128, 128))
    found = estimate_noise(convolve(noise, [[0.4, 1, 0]]) + 100)
    assert not found.independent
    assert "correlated between neighbouring pixels" in str(found)
    assert estimate_noise(noise).independent
    by_hand = Noise(gain=0, offset=0, read_noise=1, sigma=1, correlation=0.3)
    assert not by_hand.independent


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"offset": 180}, "offset=180 is above [5-8].% of the pixels"),
        ({"gain": 1e-4}, "gain=0.0001 is far from the 2"),
        ({"gain": 0, "read_noise": 60}, "gain=0, read_noise=60 means [45].* times the noise"),
    ],
)
def test_a_camera_that_hardly_fits_is_doubted(given: dict[str, float], words: str) -> None:
    found = estimate_noise(photons(2, 100, 10, 5)[0], **given)
    assert re.search(words, found.warning)
    assert "leave it out or correct it" in found.warning
    assert np.isfinite([found.gain, found.offset, found.read_noise, found.sigma]).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"offset": 1000}, "offset=1000 is above 100% of the pixels: leave it out or correct it"),
        ({"gain": 1e-9}, "gain=1e-09 is out of all proportion"),
        ({"gain": 1e9}, "gain=1e[+]09 means .* times the noise"),
        ({"gain": 1e300}, "gain=1e[+]300 is out"),
        ({"read_noise": 1e300}, "read_noise=1e[+]300 is out"),
        ({"gain": 0, "read_noise": 1e-3}, "means .* times the noise"),
    ],
)
def test_a_camera_that_cannot_be_is_refused(given: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        estimate_noise(photons(2, 100, 10, 5)[0], **given)


def test_a_gain_that_is_no_number_is_refused() -> None:
    with pytest.raises(TypeError, match="gain='a' is not one number"):
        estimate_noise(np.eye(32), gain="a")  # type: ignore[arg-type]


def test_hardly_any_pixel_left_is_said() -> None:
    image, noise = photons(2, 100, 10, 5)
    found = estimate_noise(image, mask=np.random.default_rng(0).random(image.shape) > 0.3)
    assert "guess" in found.warning
    assert found.sigma == pytest.approx(noise.std(), rel=0.5)


def test_a_picture_that_its_range_limits_is_still_told_by_the_rest() -> None:
    rng = np.random.default_rng(0)
    white = 20 + 300 * scene() + rng.normal(0, 25, (192, 192))
    found = estimate_noise(np.clip(np.rint(white), 0, 255).astype(np.uint8))
    assert found.limited
    assert "limit of its range" in found.warning
    assert found.sigma == pytest.approx(25, rel=0.1)
    assert not estimate_noise(white).limited
    assert not estimate_noise(rng.normal(0, 1, (8, 8)).clip(-0.5, 0.5)).limited  # too little of it is there as well


def test_what_a_camera_says_ends_the_doubt_about_a_range() -> None:
    """The advice beside the warning was to say it, and the warning stayed."""
    white = 20 + 300 * scene() + np.random.default_rng(0).normal(0, 25, (192, 192))
    picture = np.clip(np.rint(white), 0, 255).astype(np.uint8)
    found = estimate_noise(picture)
    assert found.warning.endswith("the noise is that of the rest")
    assert found.independent
    told = estimate_noise(picture, gain=0, read_noise=25)
    assert not told.warning
    assert told.given
    assert "times the noise" in estimate_noise(picture, gain=0, read_noise=100).warning
    assert "limit of its range" in estimate_noise(picture, gain=0).warning


@pytest.mark.parametrize("sigma", [0, 2, 10])
def test_structure_between_missing_pixels_is_no_noise(sigma: float) -> None:
    random = np.random.default_rng(0)
    image = 200 * scene(128) + random.normal(0, sigma, (128, 128))
    found = estimate_noise(image, mask=random.random(image.shape) < 0.5)
    assert found.sigma == pytest.approx(sigma, rel=0.2, abs=0.1)
    assert found.impulses == 0


@pytest.mark.parametrize(
    ("noise", "sentence"),
    [
        (Noise(gain=4.2, offset=3, read_noise=0, sigma=8), "photon noise, gain 4.2, neighbours independent"),
        (Noise(gain=0, offset=0, read_noise=25, sigma=25), "noise of sigma 25, neighbours independent"),
        (
            Noise(gain=0, offset=0, read_noise=9, sigma=9, correlation=0.62, impulses=0.01, warning="guess"),
            "noise of sigma 9, correlated between neighbouring pixels (0.6), 1 % of the pixels hot or dead; guess",
        ),
        (Noise(gain=0, offset=7, read_noise=0, sigma=0, warning="all is flat"), "none found; all is flat"),
    ],
)
def test_noise_is_one_sentence(noise: Noise, sentence: str) -> None:
    assert str(noise) == sentence


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image": np.zeros(5)}, "spatial axes"),
        ({"image": np.full((9, 9), np.nan)}, "no known pixel"),
        ({"image": np.zeros((9, 9), complex)}, "real numbers"),
        ({"image": np.zeros((9, 9)), "mask": np.zeros((9, 8))}, "mask of shape"),
        ({"image": np.zeros((9, 9)), "gain": -1}, "gain=-1"),
        ({"image": np.zeros((9, 9)), "read_noise": np.nan}, "read_noise=nan"),
    ],
)
def test_what_cannot_be_estimated_is_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        estimate_noise(**arguments)


def test_a_volume_of_few_planes_has_slopes_too() -> None:
    volume = np.random.default_rng(0).normal(1, 0.1, (5, 32, 32)) + np.linspace(0, 3, 32)
    assert estimate_noise(volume).sigma == pytest.approx(0.1, rel=0.3)


def test_detail_where_the_model_has_no_noise_is_more_than_noise() -> None:
    """Two halves of unlike noise look like photons with an offset within the darker one, which divided by zero."""
    calm, loud = (np.random.default_rng(seed).normal(200, sigma, (64, 64)) for seed, sigma in ((0, 5), (1, 50)))
    assert estimate_noise(np.hstack([calm, loud])).sigma > 5


@pytest.mark.parametrize(
    ("down", "across", "fine"), [(0, 1 / 40, False), (0, 1 / 5, True), (1 / 3, 1 / 3, True), (0.5, 0.5, True)]
)
def test_fine_detail_is_told_from_white_noise(down: float, across: float, fine: bool) -> None:
    """Of so large a plane, whatever noise it has and whatever pixels are missing; of a small one it cannot be told."""
    y, x = np.indices((512, 512))
    image = scene(512) + 0.5 * np.cos(2 * np.pi * (down * y + across * x))
    noisy = image + image.std() / 0.5 * np.random.default_rng(1).normal(size=image.shape)
    missing = np.random.default_rng(2).random(image.shape) < 0.01
    hot = np.where(missing, 10 * noisy.max(), noisy)
    for noise in (
        *map(estimate_noise, (noisy, hot)),
        estimate_noise(noisy, mask=missing),
        estimate_noise(noisy, gain=0),
    ):
        assert noise.independent
        assert (noise.fine > FINE) == fine
    assert estimate_noise(noisy[:128, :128]).fine > FINE
    assert estimate_noise(noisy[:128, :128].reshape(8, 64, 32)).fine == np.inf


def test_fine_detail_of_a_large_plane_is_read_from_a_part_of_it() -> None:
    white = np.random.default_rng(0).normal(size=(1, 1024, 3000))
    assert 0.0009 < power_of_detail(white, np.ones(white.shape, bool)) < 0.0025  # its error is 0.001
    assert power_of_detail(white, np.indices(white.shape).sum(0) % 2 == 0) == np.inf  # of no square all is known
