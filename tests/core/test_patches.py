"""Similar patches without a network: laws of the smoothest image, and of the runs that make nothing else."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import signal

import napari_dip
from napari_dip.core.methods import bins
from napari_dip.core.methods.patches import laplacian, smoothest, standing_in
from napari_dip.core.methods.stable import denoised
from napari_dip.core.noise.model import Noise
from napari_dip.core.operators import Blur, Downsample, Mask, Operator
from napari_dip.core.pauses import without_pauses
from napari_dip.tables.method import auto_preset
from tests.core.tiny import noisy, picture

LINE = np.array([1 / 6, 2 / 3, 1, 2 / 3, 1 / 6])  # of white noise behind a binomial filter
SHARED, NEAR = (np.outer(line, line) for line in (LINE, LINE[1:-1]))
QUICK: dict[str, Any] = {"quality": "fast", "threads": 1, "progress": False}


def plane(*shape: int) -> torch.Tensor:
    y, x = np.indices(shape)
    return torch.from_numpy(0.2 + 0.01 * x + 0.005 * y).float()[None, None]


@pytest.mark.parametrize(
    "operator",
    [Mask(torch.from_numpy(np.hypot(*np.indices((40, 40)) - 20) > 9)[None, None]), Downsample((2, 2))],
    ids=lambda operator: type(operator).__name__,
)
def test_the_smoothest_image_that_explains_a_plane_is_the_plane(operator: Operator) -> None:
    truth = plane(40, 40)
    found = smoothest(operator, operator(truth), (40, 40), 0.0)
    inside = (slice(None), slice(None), slice(6, -6), slice(6, -6))  # a border bends towards a level one
    assert torch.allclose(found[inside], truth[inside], atol=0.01)


def test_more_noise_makes_it_smoother() -> None:
    observation = torch.from_numpy(noisy(24, 24)).float()[None, None]
    rough, smooth = (smoothest(Mask(observation > -9), observation, (24, 24), sigma) for sigma in (0.0, 0.1))
    assert laplacian(smooth).square().mean() < 0.1 * laplacian(rough).square().mean()
    assert torch.allclose(rough, observation, atol=0.05)


def test_the_nearest_known_pixel_stands_in() -> None:
    image = np.array([[[1, 2, 3, 4]]], np.float32)
    known = np.array([[[True, False, False, True]]])
    assert standing_in(image, known).tolist() == [[[1, 1, 4, 4]]]
    assert np.array_equal(standing_in(image, known | True), image)


def test_threads_change_nothing_of_fast_denoising() -> None:
    one, two = (napari_dip.denoise(noisy(96, 80), **{**QUICK, "threads": threads}).image for threads in (1, 2))
    assert np.array_equal(one, two)


def test_fast_denoising_is_similar_patches_alone() -> None:
    image = (100 + 1000 * noisy(48, 48)).astype(np.float32)
    truth = 100 + 1000 * picture(48, 48)
    result = napari_dip.denoise(image, **QUICK)
    assert (result.method.name, result.iterations, result.complete) == ("similar patches", 0, True)
    assert "quality='fast'" in result.method.reason
    assert np.square(result.image - truth).mean() < 0.3 * np.square(image - truth).mean()
    again = napari_dip.denoise(image, resume=result, progress=False)
    assert np.array_equal(again.image, result.image)
    assert np.array_equal(napari_dip.denoise(image, **QUICK, seed=3).image, result.image)  # nothing is drawn


def test_fast_stacks_and_tiles_are_whole() -> None:
    stack = np.stack([noisy(32, 32, seed=s) for s in range(2)])
    result = napari_dip.denoise(stack, leading_axes=1, **QUICK)
    assert result.complete
    assert np.ptp(result.image, axis=(1, 2)).min() > 0
    assert np.isfinite(napari_dip.denoise(stack[0], tile=16, **QUICK).image).all()


def stopped(image: np.ndarray, asked: int, **arguments: Any) -> napari_dip.Result:
    """Result of a fast run that is stopped when it asks so often."""
    count = itertools.count(1)
    task = "inpaint" if "mask" in arguments else "denoise"
    pace = {"interval": 0, "should_stop": lambda: next(count) >= asked}
    run = napari_dip.iterate(task, image, **arguments, quality="fast", **pace)
    for _ in run:
        pass
    return run.result


def test_fast_inpainting_that_is_stopped_keeps_the_smoothest_image() -> None:
    truth = picture(32, 32)
    mask = np.random.default_rng(0).random((32, 32)) < 0.4
    result = stopped(np.where(mask, 0, truth), 2, mask=mask)
    assert (result.made, result.complete, result.iterations) == (True, False, 0)
    said = "stopped by the user, over similar patches: the image is the smoothest that explains the measurement"
    assert result.stop_reason == said
    assert np.square(result.image - truth)[mask].mean() < 0.3 * truth[mask].var()


def test_fast_denoising_that_is_stopped_keeps_whole_slices_alone() -> None:
    stack = np.stack([noisy(32, 32, seed=s) for s in range(3)])
    alone = stopped(stack[0], 2)
    assert (alone.made, alone.complete) == (False, False)
    whole = napari_dip.denoise(stack, leading_axes=1, **QUICK)
    result = stopped(stack, 5, leading_axes=1)  # each slice asks three times
    assert (result.made, result.complete, result.whole) == (True, False, False)
    assert np.array_equal(result.image[0], whole.image[0])
    assert np.isnan(result.image[2]).all()


def test_fast_inpainting_keeps_what_is_known_and_fills_the_rest() -> None:
    truth = picture(32, 32)
    mask = np.random.default_rng(0).random((32, 32)) < 0.4
    image = np.where(mask, 0, truth)
    result = napari_dip.inpaint(image, mask, **QUICK)
    assert np.array_equal(result.image[~mask], image[~mask].astype(np.float32))
    assert np.square(result.image - truth)[mask].mean() < 0.1 * truth[mask].var()
    assert "steps of similar patches" in result.stop_reason
    assert np.array_equal(result.image, napari_dip.inpaint(np.where(mask, np.nan, image), **QUICK).image)


def test_fast_superresolution_and_deconvolution_come_nearer_to_the_truth() -> None:
    truth = picture(32, 32)
    image = torch.from_numpy(truth).float()[None, None]

    def error(of: np.ndarray) -> float:
        return float(np.square(of - truth).mean())

    coarse = Downsample((2, 2))(image)[0, 0].numpy()
    assert error(napari_dip.superresolve(coarse, 2, **QUICK).image) < error(coarse.repeat(2, 0).repeat(2, 1))
    psf = np.outer(*[np.hanning(7)[1:-1]] * 2)
    blur = Blur(torch.from_numpy(psf / psf.sum()).float(), (2, 2))
    blurred = blur(torch.nn.functional.pad(image, [2] * 4, "reflect"))[0, 0].numpy()
    assert error(napari_dip.deconvolve(blurred, psf, **QUICK).image) < error(blurred)


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"uncertainty": True}, "uncertainty=True"),
        ({"stop": "passes"}, "stop="),
        ({"iterations": 500}, "iterations=500 has no effect"),
        ({"optimiser": "muon"}, "optimiser='muon' has no effect"),
        ({"runs": 4}, "runs=4 has no effect"),
    ],
)
def test_what_needs_a_network_is_refused(knobs: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"{said}.*code='patches'"):
        napari_dip.denoise(noisy(24, 24), preset="denoise-patches", progress=False, **knobs)


def test_a_seed_and_a_precision_are_harmless_without_a_network() -> None:
    knobs = {"preset": "denoise-patches", "threads": 1, "progress": False}
    plain, seeded = (napari_dip.denoise(noisy(24, 24), **knobs, **more).image for more in ({}, {"seed": 3}))
    assert np.array_equal(plain, seeded)


def test_means_of_squares_have_the_noise_that_is_said_of_them() -> None:
    noise = Noise(gain=2, offset=10, read_noise=3, sigma=15, contrast=0.2)
    counts = 10 + 2 * np.random.default_rng(0).poisson(100, (1, 301, 200)) + 3 * noisy(301, 200, sigma=1.0)
    flat = (counts - 3 * picture(301, 200)).astype(np.float32)
    image, left = bins.means(flat, 3), bins.noise_of(noise, 3, flat.shape[1:])
    assert image.shape == (1, 101, 67)
    assert image.mean() == pytest.approx(flat.mean(), rel=0.01)
    assert image[:, :-1, :-1].var() == pytest.approx(float(left.variance(image.mean())), rel=0.05)


@pytest.mark.parametrize("side", [2, 3])
def test_means_of_squares_have_the_correlated_noise_that_is_said_of_them(side: int) -> None:
    line = np.array([0.25, 0.5, 0.25])
    noise = Noise(gain=0, offset=0, read_noise=1, sigma=1, contrast=1.0, correlation=2 / 3, autocorrelation=SHARED)
    white = np.random.default_rng(0).normal(size=(602, 602))
    image = signal.convolve2d(white, np.outer(line, line), "valid")[None] / 0.375
    made, left = bins.means(image.astype(np.float32), side), bins.noise_of(noise, side, image.shape[1:])
    centred = made[0] - made.mean()
    power = np.square(centred).mean()
    assert power == pytest.approx(left.sigma**2, rel=0.05)
    assert left.read_noise == left.sigma == pytest.approx(1 / left.contrast)
    assert (centred[1:] * centred[:-1]).mean() / power == pytest.approx(left.correlation, abs=0.02)
    assert (centred[1:, 1:] * centred[:-1, :-1]).mean() / power == pytest.approx(left.correlation**2, abs=0.02)
    assert not left.independent


@pytest.mark.parametrize(("contrast", "shape", "side"), [(0.3, (64, 64), 1), (0.2, (64, 40), 2), (0.1, (64, 40), 3)])
def test_the_fainter_the_structure_the_larger_the_squares(contrast: float, shape: tuple[int, int], side: int) -> None:
    noise = Noise(gain=0, offset=0, read_noise=1, sigma=1, contrast=contrast)
    assert bins.side_of(noise, shape) == side
    assert bins.side_of(noise, (20, 200)) == min(side, 2)
    assert bins.side_of(noise, (12, 64)) == bins.side_of(noise, (64, 64, 64)) == 1
    assert bins.side_of(replace(noise, correlation=0.4), shape) == 1
    far = replace(noise, correlation=2 / 3, autocorrelation=SHARED)
    assert bins.side_of(far, shape) == max(side, 2)
    assert (
        bins.side_of(replace(far, contrast=1.5), shape) == bins.side_of(replace(far, autocorrelation=NEAR), shape) == 1
    )


@pytest.mark.parametrize(("contrast", "fine", "side"), [(0.69, 0.003, 2), (0.71, 0.003, 1), (0.69, 0.005, 1)])
def test_without_fine_detail_the_structure_need_not_be_so_faint(contrast: float, fine: float, side: int) -> None:
    noise = Noise(gain=0, offset=0, read_noise=1, sigma=1, contrast=contrast, fine=fine)
    assert bins.side_of(noise, (64, 64)) == side
    for quality, preset in (("balanced", "denoise-self"), ("fast", "denoise-patches")):
        chosen = auto_preset("denoise", on_cpu=True, noise=noise, pixels=256**2, changes={"quality": quality})
        assert (chosen[0], "hardly any fine detail" in chosen[1]) == (preset, side == 2)


def test_an_enlarged_plane_is_the_plane() -> None:
    image = plane(48, 46)[0].numpy()
    again = bins.enlarged(bins.means(image, 2), 2, (48, 46))
    assert np.abs(again - image)[:, 4:-4, 4:-4].max() < 1e-3


def test_faint_structure_is_denoised_by_means_of_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = picture(96, 97)
    image = truth + truth.std() / 0.2 * np.random.default_rng(0).normal(size=truth.shape)
    result = napari_dip.denoise(image, device="cpu", progress=False)
    assert result.method.name == "similar patches"
    assert "outweighs" in result.method.reason
    monkeypatch.setattr(bins, "side_of", lambda *_: 1)
    alone = napari_dip.denoise(image, quality="fast", device="cpu", progress=False)
    assert np.square(result.image - truth).mean() < 0.7 * np.square(alone.image - truth).mean()


def test_noise_that_reaches_far_is_removed_by_means_of_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = picture(96, 97).astype(np.float32)
    white = np.random.default_rng(0).normal(size=(98, 99))
    added = signal.convolve2d(white, np.outer([1, 2, 1], [1, 2, 1]), "valid") * truth.std() / 3
    known = Noise(gain=0, offset=0, read_noise=added.std(), sigma=added.std(), correlation=2 / 3, contrast=0.5)
    noise, image = replace(known, autocorrelation=SHARED), (truth + added).astype(np.float32)[None]
    squares = without_pauses(denoised(image, noise, "cpu"))
    monkeypatch.setattr(bins, "side_of", lambda *_: 1)
    pixels = without_pauses(denoised(image, noise, "cpu"))
    assert np.square(squares - truth).mean() < 0.6 * np.square(pixels - truth).mean()
