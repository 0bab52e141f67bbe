"""Similar patches behind a prior: laws of the data step, of the refined image, and of the runs that have them."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch

import napari_dip
from napari_dip.core.methods.patches import smoothest
from napari_dip.core.methods.refine import contrast, noise_left, put_back, refined, told_by
from napari_dip.core.noise.model import Noise
from napari_dip.core.operators import Blur, Compose, Downsample, Mask, Operator
from napari_dip.core.pauses import without_pauses
from napari_dip.core.problem import Problem
from napari_dip.tables.parts import OwnPart
from tests.core.tiny import noisy, picture

STEPS: dict[str, Any] = {"channels": 4, "scales": 2, "code_channels": 4, "iterations": 6, "threads": 1}
TINY: dict[str, Any] = {**STEPS, "progress": False}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(seed))


def masked(*shape: int) -> Problem:
    missing = np.random.default_rng(3).random(shape) < 0.4
    image = picture(*shape).astype(np.float32)
    return Problem(
        observation=np.where(missing, 0, image)[None].astype(np.float32),
        operator=Mask(torch.from_numpy(~missing)[None, None]),
        known=float(1 - missing.mean()),
    )


def test_patches_behind_a_prior_begin_with_less_noise_where_the_grid_is_finer() -> None:
    def first(operator: Operator, *shape: int, anew: bool = False) -> float:
        noises: list[float] = []

        def denoiser(image: np.ndarray, sigma: float) -> np.ndarray:
            noises.append(sigma)
            return image

        seen = picture(*shape).astype(np.float32)[None]
        problem = Problem(observation=seen, operator=operator, denoiser=OwnPart(denoiser))
        without_pauses(refined(problem, random(16, 16), 2, anew=anew))
        return noises[0]

    finer = Downsample((2, 2))
    assert first(finer, 8, 8) < first(finer, 8, 8, anew=True) == first(Operator(), 16, 16)


def test_noise_on_a_coarse_grid_is_told_from_detail_by_all_that_err_differently() -> None:
    truth, finer, sigma = torch.from_numpy(picture(64, 64).astype(np.float32))[None, None], Downsample((2, 2)), 0.1
    seen = finer(truth)[0].numpy() + np.random.default_rng(0).normal(0, sigma, (1, 32, 32)).astype(np.float32)
    noise = Noise(gain=0, offset=0, read_noise=sigma, sigma=sigma, contrast=3.0)
    problem = Problem(observation=seen, operator=finer, noise=noise)
    rough = truth + 0.1 * random(64, 64, seed=1) - 0.05

    def error(problem: Problem, image: torch.Tensor = rough) -> float:
        return float((without_pauses(refined(problem, image, 2)) - truth).square().mean())

    assert error(problem) < 0.8 * error(replace(problem, noise=replace(noise, contrast=9.0)))
    hidden = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    hidden[..., 3:6, 4:9] = True
    masked = np.where(hidden[0].numpy(), 0, seen).astype(np.float32)
    partly = replace(problem, observation=masked, operator=Compose(finer, Mask(~hidden)), known=0.985)
    assert error(partly) < 1.1 * error(problem)


@pytest.mark.parametrize("anew", [True, False])
@pytest.mark.parametrize("operator", [Downsample((2, 2)), Blur(torch.full((3, 3), 1 / 9), (1, 1))], ids=["x2", "blur"])
def test_no_light_of_few_photons_is_lost(operator: Operator, anew: bool) -> None:
    truth = torch.from_numpy(0.1 + picture(64, 64).astype(np.float32))[None, None]
    photons = np.random.default_rng(0).poisson(10 * operator(truth)[0].numpy()).astype(np.float32)
    known = torch.ones(1, *photons.shape, dtype=torch.bool)
    known[..., 4:12, 4:9] = False
    noise = Noise(gain=0.1, offset=0, read_noise=0.01, sigma=(0.01 * photons.mean()) ** 0.5, contrast=1.5)
    seen = np.where(known[0], photons / 10, 0).astype(np.float32)
    problem = Problem(observation=seen, operator=Compose(operator, Mask(known)), known=float(known.float().mean()))
    made = without_pauses(refined(replace(problem, noise=noise), truth, 2, anew=anew))
    assert abs(problem.residual(made[0].numpy()).mean()) < 1e-4 * seen.mean()


@pytest.mark.parametrize(
    "operator",
    [
        Mask(random(16, 16) > 0.5),
        Downsample((2, 2)),
        Compose(Downsample((2, 2)), Mask(random(8, 8) > 0.3)),
        Blur(torch.full((3, 3), 1 / 9), (1, 1)),
    ],
    ids=lambda operator: type(operator).__name__,
)
def test_what_is_put_back_minimises_both_distances(operator: Operator) -> None:
    image, weight = random(16, 16, seed=1), 0.5
    observation = operator(random(16, 16, seed=2))

    def cost(x: torch.Tensor) -> float:
        return float((observation - operator(x)).square().sum() + weight * (x - image).square().sum())

    found = put_back(operator, observation, image, weight)
    assert cost(found) < cost(image)
    for seed in range(3):
        nearby = found + 0.01 * (random(16, 16, seed=10 + seed) - 0.5)
        assert cost(found) <= cost(nearby)


def test_known_pixels_without_noise_are_put_back_as_measured() -> None:
    problem = masked(16, 16)
    observation = torch.from_numpy(problem.observation)[None]
    back = put_back(problem.operator, observation, random(16, 16), 0)
    assert torch.allclose(problem.operator(back), observation, atol=1e-6)


def test_the_noise_is_at_most_the_residual_that_is_left() -> None:
    problem = Problem(observation=picture(16, 16)[None].astype(np.float32), operator=Operator())
    observation = torch.from_numpy(problem.observation)[None]
    assert noise_left(problem, problem.operator, observation, observation) == 0
    loud = Problem(
        observation=problem.observation, operator=Operator(), noise=Noise(gain=0, offset=0, read_noise=0.2, sigma=0.2)
    )
    assert noise_left(loud, loud.operator, observation + 0.05, observation) == pytest.approx(0.05, rel=1e-3)
    assert noise_left(loud, loud.operator, observation + 0.5, observation) == pytest.approx(0.2)
    guess = replace(loud, known=0.5, noise=Noise(gain=0, offset=0, read_noise=0.2, sigma=0.2, warning="a guess"))
    assert noise_left(guess, guess.operator, observation + 0.5, observation) == 0


def test_a_refined_image_is_nearer_to_the_truth() -> None:
    problem, truth = masked(48, 48), torch.from_numpy(picture(48, 48).astype(np.float32))[None, None]
    rough = truth + 0.05 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    better = without_pauses(refined(problem, rough, 4))
    assert (better - truth).square().mean() < (rough - truth).square().mean()
    assert torch.equal(better, without_pauses(refined(problem, rough, 4)))
    assert torch.equal(rough, without_pauses(refined(problem, rough, 0)))


@pytest.mark.parametrize("sigma", [0.0, 0.01])
def test_a_dark_hole_is_as_bright_as_what_surrounds_it_though_the_prior_made_both_too_bright(sigma: float) -> None:
    rows, columns = np.ogrid[-24:24, -24:24]
    missing = rows**2 + columns**2 < 100
    seen = 0.1 + sigma * np.random.default_rng(0).normal(size=(1, *missing.shape))
    problem = Problem(
        observation=np.where(missing, 0, seen).astype(np.float32),
        operator=Mask(torch.from_numpy(~missing)[None, None]),
        noise=Noise(gain=0, offset=0, read_noise=sigma, sigma=sigma) if sigma else None,
        known=float(1 - missing.mean()),
    )
    made = without_pauses(refined(problem, torch.full((1, 1, *missing.shape), 0.15), 2))
    assert np.abs(made[0, 0].numpy()[missing] - 0.1).max() < 0.005


def test_where_nothing_rises_above_the_patches_the_image_stays() -> None:
    dark = 1e-4 * random(40, 40)
    problem = Problem(observation=dark[0].numpy(), operator=Operator())
    assert torch.allclose(without_pauses(refined(problem, dark, 2)), dark, atol=1e-6)
    assert contrast(dark).max() < 1e-4


def test_dark_pixels_of_photons_tell_more_and_all_tell_the_same_without_photons() -> None:
    photons = Noise(gain=0.02, offset=0, read_noise=0, sigma=0.1)  # of a mean of 0.5
    told = told_by(photons, Operator(), torch.tensor([0.5, 0.125, 2.0, 0.0, -1.0]))
    assert torch.allclose(torch.as_tensor(told), torch.tensor([1.0, 2.0, 0.5, 10**0.5, 10**0.5]))
    assert told_by(Noise(gain=0, offset=0, read_noise=0.1, sigma=0.1), Operator(), dark_field()) == 1
    assert told_by(None, Operator(), dark_field()) == 1


def dark_field(side: int = 48) -> torch.Tensor:
    """A picture in the middle of darkness, (1, 1, side, side)."""
    truth = np.zeros((side, side))
    truth[12:-12, 12:-12] = picture(side - 24, side - 24)
    return torch.from_numpy(truth).float()[None, None]


def test_photons_behind_a_blur_are_taken_out_though_most_of_it_is_dark() -> None:
    truth, gain = dark_field(), 0.02
    blur = Blur(torch.full((3, 3), 1 / 9), (1, 1))
    seen = gain * np.random.default_rng(0).poisson(blur(truth).clamp(min=0).numpy() / gain)[0]
    sigma = float(np.sqrt(gain * seen.mean()))
    noise = Noise(gain=gain, offset=0, read_noise=0, sigma=sigma)
    problem = Problem(observation=seen.astype(np.float32), operator=blur, noise=noise)
    start = smoothest(blur, torch.from_numpy(problem.observation)[None], (48, 48), sigma)
    better = without_pauses(refined(problem, start, 4))
    assert (better - truth).square().mean() < 0.8 * (start - truth).square().mean()


def test_nothing_deblurred_is_darker_than_no_light_where_the_camera_says_it() -> None:
    truth = torch.zeros(1, 1, 48, 48)
    truth[0, 0, 10:14, 8:40] = truth[0, 0, 20:24, 8:40] = 2.0
    line = torch.exp(-(torch.arange(-4.0, 5.0) ** 2) / 4.5)
    blur = Blur(torch.outer(line, line) / line.sum() ** 2, (0, 0))
    gain, offset = 0.01, 0.2
    seen = offset + gain * np.random.default_rng(0).poisson(blur(truth).clamp(min=0).numpy()[0] / gain)
    sigma = float(np.sqrt(gain * (seen.mean() - offset)))
    noise = Noise(gain=gain, offset=offset, read_noise=0.01, sigma=sigma, given=True)
    problem = Problem(observation=seen.astype(np.float32), operator=blur, noise=noise)
    start = smoothest(blur, torch.from_numpy(problem.observation)[None], (48, 48), sigma)
    guess = replace(problem, noise=replace(noise, given=False))
    bounded, free = (without_pauses(refined(each, start, 4)) for each in (problem, guess))
    assert free.min() < offset - sigma
    assert bounded.min() >= np.float32(offset)
    assert (bounded - truth - offset).square().mean() < 0.92 * (free - truth - offset).square().mean()
    weak = replace(problem, noise=replace(noise, sigma=1 / 512))
    assert without_pauses(refined(weak, free.new_full(free.shape, offset - 0.1), 1)).min() >= np.float32(offset)
    assert guess.darkest == replace(problem, operator=Operator()).darkest == -np.inf


def test_a_dark_background_behind_a_blur_stays_flat_around_a_bead() -> None:
    sigma, truth = 0.1, torch.zeros(1, 1, 64, 64)
    truth[0, 0, 12:15, 12:15] = 2.0
    line = torch.exp(-(torch.arange(-5.0, 6.0) ** 2) / 4.5)
    blur = Blur(torch.outer(line, line) / line.sum() ** 2, (0, 0))
    seen = blur(truth)[0].numpy() + np.random.default_rng(0).normal(0, sigma, (1, 64, 64))
    noise = Noise(gain=0, offset=0, read_noise=sigma, sigma=sigma)
    problem = Problem(observation=seen.astype(np.float32), operator=blur, noise=noise)
    start = smoothest(blur, torch.from_numpy(problem.observation)[None], (64, 64), sigma)
    made = without_pauses(refined(problem, start, 6))
    dark = made[..., 32:, :]
    assert dark.std() < 0.1 * sigma  # patches that share noise agree on stripes of 0.16 sigma
    assert made[0, 0, 13, 13] > 8 * sigma


def test_a_volume_and_channels_are_refined_too() -> None:
    volume = torch.rand(1, 2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    problem = Problem(observation=volume[0].numpy(), operator=Operator())
    better = without_pauses(refined(problem, volume, 1))
    assert better.shape == volume.shape
    assert torch.isfinite(better).all()


@pytest.mark.parametrize(
    ("task", "more"),
    [("inpaint", {"mask": np.eye(20, dtype=bool)}), ("superresolve", {"factor": 2}), ("deconvolve", {"psf": 1.0})],
)
def test_a_run_says_how_its_image_was_refined_and_keeps_the_last_iterate(task: str, more: dict[str, Any]) -> None:
    image = 100 * noisy(20, 20)
    run = getattr(napari_dip, task)
    with_patches, without = (run(image, **more, **TINY, refine=steps) for steps in (2, 0))
    assert with_patches.settings.refine == with_patches.record["settings"]["refine"] == 2
    assert "then 2 steps of similar patches" in with_patches.stop_reason
    assert "similar patches" not in without.stop_reason
    assert np.array_equal(with_patches.last, without.last)
    assert not np.array_equal(with_patches.image, without.image)
    assert np.isfinite(with_patches.image).all()
    again = run(image, **more, **TINY, refine=2)
    assert np.array_equal(with_patches.image, again.image)


def test_missing_pixels_do_not_reach_the_patches() -> None:
    image, mask = 100 * noisy(20, 20), np.eye(20, dtype=bool)
    first = napari_dip.inpaint(np.where(mask, np.nan, image), **TINY, refine=2)
    other = napari_dip.inpaint(np.where(mask, 1e6, image), mask, **TINY, refine=2)
    assert np.array_equal(first.image, other.image)


def test_brightness_and_contrast_are_followed() -> None:
    image, mask = noisy(20, 20), np.eye(20, dtype=bool)
    first = napari_dip.inpaint(image, mask, **TINY, refine=2, stop="iterations")
    other = napari_dip.inpaint(512 * image + 1024, mask, **TINY, refine=2, stop="iterations")
    np.testing.assert_allclose(other.image, 512 * first.image + 1024, atol=1e-3 * 512)


def test_a_run_that_goes_on_refines_from_the_network_anew() -> None:
    image, mask = noisy(20, 20), np.eye(20, dtype=bool)
    knobs = {**TINY, "stop": "iterations"}
    half = napari_dip.inpaint(image, mask, **{**knobs, "iterations": 3}, refine=2)
    rest = napari_dip.inpaint(image, mask, resume=half, iterations=3, progress=False)
    whole = napari_dip.inpaint(image, mask, **knobs, refine=2)
    np.testing.assert_allclose(rest.image, whole.image, atol=1e-5)


def test_a_run_that_is_stopped_over_patches_has_the_image_of_the_prior() -> None:
    image, mask, asked = noisy(20, 20), np.eye(20, dtype=bool), count()
    run = napari_dip.iterate("inpaint", image, mask, should_stop=lambda: next(asked) >= 7, **STEPS)
    for _ in run:
        pass
    assert not run.result.complete
    assert run.result.iterations == 6
    said = "stopped by the user after all 6 iterations, over similar patches: the image is that before"
    assert run.result.stop_reason == said
    assert np.array_equal(run.result.image, run.result.last)
    finished = napari_dip.inpaint(image, mask, resume=run.result, progress=False)
    assert finished.complete
    assert "steps of similar patches" in finished.stop_reason
