"""Averages of runs, of the tail of a run and of samples: each is its formula, and their spreads are what they say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from napari_dip.core import pieces
from napari_dip.core.attempt import Attempt
from napari_dip.core.averaging import RunningAverage
from napari_dip.core.guard import Diverged
from napari_dip.core.langevin import Langevin
from napari_dip.core.methods.selfguided import SelfGuidedFitter
from napari_dip.core.noise.model import Noise
from napari_dip.core.result import Result
from napari_dip.core.state import has_ended
from tests.core.tiny import comparisons, guided, iterate, live_tensors, picture, problem, psnr, run, tiny

WHITE = Noise(gain=0.0, offset=0.0, read_noise=0.1, sigma=0.1)


def several(runs: int = 3, **rest: Any) -> Result:
    changes = {name: rest.pop(name) for name in list(rest) if name not in ("states", "should_stop")}
    return run(problem(), tiny(runs=runs, **changes), **rest)


def single(seed: int, **changes: Any) -> Result:
    return run(problem(), tiny(seed=seed, **changes))


# ------------------------------------------------------------------------------------------------------- several runs


def test_the_image_is_the_mean_of_the_runs_and_the_uncertainty_their_spread_and_that_within_them() -> None:
    result = several(uncertainty=True)
    runs = [single(seed, uncertainty=True) for seed in pieces.seeds(0, 3)]
    each, within = (np.stack([getattr(r, what) for r in runs]).astype(np.float64) for what in ("image", "uncertainty"))
    np.testing.assert_allclose(result.image, each.mean(0), atol=1e-6)
    expected = np.sqrt(each.var(0, ddof=1) + (within**2).mean(0))
    np.testing.assert_allclose(result.uncertainty, expected, atol=1e-6)
    np.testing.assert_allclose(result.residual, problem().observation - result.image, atol=1e-6)
    assert (result.iterations, len(result.history.loss), result.marks) == (60, 60, (20, 20, 20))
    assert result.complete
    assert result.stop_reason == "averaged 3 runs, the last of which finished all 20 iterations"


def test_the_first_seed_is_the_one_given_and_all_differ() -> None:
    assert pieces.seeds(7, 1) == [7]
    assert pieces.seeds(7, 4)[0] == 7
    assert len({*pieces.seeds(7, 50), *pieces.seeds(8, 50)}) == 100
    assert all(0 <= seed < 2**31 for seed in pieces.seeds(2**31 - 1, 50))


def test_one_run_is_a_plain_run() -> None:
    assert np.array_equal(several(1).image, single(0).image)


def test_all_runs_have_one_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run compares similar patches once more, of its final image, for their share."""
    case, mean = replace(problem(24, 24), noise=WHITE), RunningAverage(1)
    for seed in pieces.seeds(0, 3):
        mean.add(torch.from_numpy(run(case, guided(seed=seed)).image))
    assert mean.mean is not None
    compared = comparisons(monkeypatch)
    result = run(case, guided(runs=3))
    assert len(compared) == 1 + 3
    assert np.array_equal(result.image, mean.mean.numpy())


@pytest.mark.parametrize("error", [MemoryError, ValueError])
def test_an_error_keeps_no_teacher(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def fail(_: SelfGuidedFitter) -> None:
        raise error("on purpose")

    case = replace(problem(24, 24), noise=WHITE)
    run(case, guided(iterations=1))
    monkeypatch.setattr(SelfGuidedFitter, "make_step", fail)
    before = live_tensors()
    with pytest.raises(error) as caught:
        run(case, guided())
    assert caught.tb is not None  # the traceback is held, and so are the variables of its frames
    assert live_tensors() == before


def test_progress_is_over_all_runs_and_shows_their_mean() -> None:
    shown = list(iterate(problem(), tiny(runs=3), interval=0))
    assert [(p.run, p.iteration) for p in shown] == [(r, i) for r in range(3) for i in range(1, 21)]
    fractions = [p.fraction for p in shown]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert shown[-1].seconds_left == 0
    np.testing.assert_allclose(shown[-1].image, several().image, atol=1e-6)


def test_a_run_that_is_stopped_is_left_out() -> None:
    asked = iter([False] * 27 + [True])
    result = several(should_stop=lambda: next(asked))
    assert np.array_equal(result.image, single(0).image)
    assert not result.complete
    assert "stopped by the user" in result.stop_reason
    assert "run 2 of 3" in result.stop_reason


def test_a_stop_in_the_first_run_gives_what_there_is() -> None:
    asked = iter([False] * 7 + [True])
    assert np.array_equal(several(should_stop=lambda: next(asked)).image, single(0, iterations=7).image)


def test_going_on_goes_on_with_every_run() -> None:
    both = several(iterations=8, states=several(iterations=12).states)
    np.testing.assert_array_equal(both.image, several().image)


def test_runs_that_had_ended_are_left_as_they_are_where_others_are_to_be_finished() -> None:
    case = replace(problem(), noise=Noise(gain=0, offset=0, read_noise=0.15, sigma=0.15))
    settings = tiny(runs=2, stop="discrepancy", iterations=200)
    whole = run(case, settings)
    ended, count = whole.marks
    assert ended < 200
    asked = iter([False] * (ended + count // 2) + [True])
    half = run(case, settings, should_stop=lambda: next(asked))
    assert [has_ended(state) for state in half.states] == [True, False]
    result = run(case, settings, states=half.states, finish=True)
    assert np.array_equal(result.image, whole.image)
    assert result.marks == whole.marks
    assert result.complete
    longer = run(case, settings.changed(iterations=10), states=whole.states)
    assert longer.iterations == whole.iterations + 20  # whoever wants more of what is complete gets it


def test_a_self_guided_run_that_had_ended_is_left_as_it_is_too() -> None:
    case, settings = replace(problem(24, 24), noise=WHITE), guided(stop="auto", iterations=4000)
    whole = run(case, settings)
    result = run(case, settings, states=whole.states, finish=True)
    assert result.iterations == whole.iterations
    assert np.array_equal(result.image, whole.image)
    assert result.complete
    assert "had been ended" in result.stop_reason


def test_a_run_that_diverges_keeps_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Attempt.begin

    def begin(attempt: Attempt) -> None:
        if attempt.method.seed != 0:
            raise Diverged("on purpose")
        plain(attempt)

    monkeypatch.setattr(Attempt, "begin", begin)
    result = several()
    assert np.array_equal(result.image, single(0).image)
    assert "on purpose" in result.stop_reason
    assert not result.complete


# ---------------------------------------------------------------------------------------------------- tail, trajectory


def iterates(**changes: Any) -> np.ndarray:
    shown = iterate(problem(), tiny(average=0.0, **changes), interval=0)
    return np.stack([progress.image for progress in shown]).astype(np.float64)


@pytest.mark.parametrize(("tail", "count"), [(1.0, 20), (0.5, 10), (0.04, 1)])
def test_the_tail_is_averaged_plainly(tail: float, count: int) -> None:
    images = iterates()[-count:]
    result = run(problem(), tiny(tail=tail, uncertainty=True))
    np.testing.assert_allclose(result.image, images.mean(0), atol=1e-6)
    np.testing.assert_allclose(result.uncertainty, images.std(0), atol=1e-5)


def test_the_spread_of_the_trajectory_is_about_its_running_average() -> None:
    images, weights = iterates(), 0.9 ** np.arange(19, -1, -1.0)
    mean = np.average(images, 0, weights)
    expected = np.sqrt(np.average((images - mean) ** 2, 0, weights))
    result = run(problem(), tiny(average=0.9, uncertainty=True))
    np.testing.assert_allclose(result.uncertainty, expected, atol=1e-5)
    assert run(problem(), tiny()).uncertainty is None


# --------------------------------------------------------------------------------------------------------- sampling


@pytest.mark.parametrize("temperature", [0.01, 0.04])
def test_langevin_steps_draw_from_the_posterior_of_a_quadratic(temperature: float) -> None:
    """Loss (w^2) / 2 at temperature T is a Gaussian of variance T, whatever the scale of the preconditioner."""
    random = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(2000, generator=random))
    langevin = Langevin([weight], 0.01, lambda loss: temperature, random)

    def closure() -> torch.Tensor:
        langevin.zero_grad()
        loss = weight.square().sum() / 2
        loss.backward()
        return loss

    total, count = 0.0, 0
    for i in range(1200):
        langevin.step(closure)
        if i >= 800:
            total, count = total + float(weight.detach().var()), count + 1
    assert total / count == pytest.approx(temperature, rel=0.15)


def test_samples_are_averaged_after_the_burn_in_and_repeat_themselves() -> None:
    case, settings = replace(problem(), noise=WHITE), tiny(optimiser="sgld", uncertainty=True, iterations=60)
    first, again = run(case, settings), run(case, settings)
    assert np.array_equal(first.image, again.image)
    assert first.uncertainty is not None
    assert (first.uncertainty > 0).all()
    assert first.rule.name == "iterations"
    other = run(problem(), settings)  # the noise is not known: its variance is that of the residual
    assert np.isfinite(other.image).all()


def test_samples_find_the_picture() -> None:
    case = replace(problem(24, 24), noise=WHITE)
    result = run(case, tiny(optimiser="sgld", channels=8, iterations=300))
    assert psnr(result.image[0], picture(24, 24)) > psnr(case.observation[0], picture(24, 24))
