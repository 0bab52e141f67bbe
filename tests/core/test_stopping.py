"""The rules: what they mark, when they end a run and why, and that a run goes on as if it had not stopped."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from napari_dip.core import stopping
from napari_dip.core.noise.estimate import estimate_noise
from napari_dip.core.noise.model import Noise
from napari_dip.core.operators import Downsample
from napari_dip.core.problem import Problem
from napari_dip.core.result import Result
from napari_dip.core.state import State
from napari_dip.core.stopping import RATIO, RATIO_GUESSED, RATIO_SHARED, HeldOut
from napari_dip.tables.settings import PRESETS
from tests.core.tiny import holed, iterate, picture, problem, psnr, run, tiny

WHITE = Noise(gain=0.0, offset=0.0, read_noise=0.1, sigma=0.1)
SHARED = replace(WHITE, correlation=0.6)
LEARNS: dict[str, Any] = {"channels": 8, "learning_rate": 0.02, "average": 0.9}
RULES = ("discrepancy", "held-out", "variance", "variance-exponential")
each_rule = pytest.mark.parametrize("stop", RULES)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules at the scale of tiny runs."""
    for name, value in (("WARM_UP", 20), ("WINDOW", 10), ("PATIENCE", 40), ("PATIENCE_BELOW", 20), ("HELD_OUT", 0.1)):
        monkeypatch.setattr(stopping, name, value)
    for rule in (stopping.WindowedVariance, stopping.ExponentialVariance):
        monkeypatch.setattr(rule, "warm_up", 20)


def noisy_problem(noise: Noise | None = WHITE) -> Problem:
    return replace(problem(24, 24), noise=noise)


@cache
def ended(stop: str) -> Result:
    """The noisy problem until its rule ends the run, once for all tests."""
    return run(noisy_problem(), tiny(stop=stop, iterations=1000, **LEARNS))


def state_of(result: Any) -> State:
    (state,) = result.states
    return state


# ------------------------------------------------------------------------------------------------------ ends and marks


@each_rule
def test_a_rule_ends_the_run_and_says_why(stop: str) -> None:
    result = ended(stop)
    assert result.complete
    assert 0 < result.marks[0] <= result.iterations < 1000
    assert str(result.marks[0]) in result.stop_reason
    assert result.rule.name == stop


@each_rule
def test_the_image_is_the_running_average_at_the_mark(stop: str) -> None:
    case, settings = noisy_problem(), tiny(stop=stop, iterations=1000, **LEARNS)
    result = ended(stop)
    assert np.array_equal(result.image, run(case, settings.changed(iterations=result.marks[0])).last)
    assert np.array_equal(result.image, result.last) == (result.marks[0] == result.iterations)


@each_rule
def test_going_on_is_the_same_as_not_having_stopped(stop: str) -> None:
    case, settings = noisy_problem(), tiny(stop=stop, iterations=1000, **LEARNS)
    whole = ended(stop)
    half = run(case, settings.changed(iterations=30))
    both = run(case, settings, state=state_of(half))
    assert (both.marks, both.iterations, both.stop_reason) == (whole.marks, whole.iterations, whole.stop_reason)
    assert np.array_equal(both.image, whole.image)


@each_rule
def test_a_run_that_goes_on_after_its_rule_ended_it_goes_to_its_end(stop: str) -> None:
    case, settings = noisy_problem(), tiny(stop=stop, iterations=1000, **LEARNS)
    first = ended(stop)
    longer = run(case, settings.changed(iterations=20), state=state_of(first))
    assert longer.iterations == first.iterations + 20 == longer.marks[0]
    assert np.array_equal(longer.image, longer.last)
    assert longer.stop_reason == f"finished all {longer.iterations} iterations"


def test_the_image_on_the_screen_counts_when_the_user_stops() -> None:
    asked = iter([False] * 120 + [True])
    settings = tiny(stop="variance-exponential", iterations=1000, **LEARNS)
    result = run(noisy_problem(), settings, should_stop=lambda: next(asked))
    assert result.marks == (120,)
    assert np.array_equal(result.image, result.last)


def test_a_rule_that_finds_nothing_leaves_the_last_image_and_says_what_is_left() -> None:
    result = run(noisy_problem(), tiny(stop="discrepancy", iterations=5))
    assert result.marks == (5,)
    assert np.array_equal(result.image, result.last)
    assert "finished all 5 iterations" in result.stop_reason
    assert "times the noise" in result.stop_reason


# ------------------------------------------------------------------------------------------------------------- curves


@each_rule
def test_a_curve_is_what_the_rule_looked_at_and_goes_on_with_the_run(stop: str) -> None:
    case, knobs = noisy_problem(), {"stop": stop, **LEARNS}
    (whole,) = run(case, tiny(iterations=60, **knobs)).history.curves
    first = run(case, tiny(iterations=30, **knobs))
    (gone_on,) = run(case, tiny(iterations=30, **knobs), state=state_of(first)).history.curves
    assert len(whole.iterations) > 2
    assert set(np.diff(whole.iterations)) == {10}
    for curve in (whole, gone_on):
        assert curve.quantity == stopping.RULES[stop].quantity != ""
    assert np.array_equal(gone_on.iterations, whole.iterations)
    assert np.array_equal(gone_on.values, whole.values)


def test_the_curve_of_the_discrepancy_ends_at_its_bound() -> None:
    (curve,) = ended("discrepancy").history.curves
    assert curve.bound == RATIO
    assert curve.values[-1] <= RATIO < curve.values[-2]


def test_the_curve_of_pixels_held_out_is_lowest_at_the_mark() -> None:
    result = ended("held-out")
    (curve,) = result.history.curves
    like_noise = curve.iterations >= result.marks[0]
    assert curve.iterations[like_noise][np.argmin(curve.values[like_noise])] == result.marks[0]


def test_progress_has_the_log_so_far_and_the_mark() -> None:
    steps = iterate(noisy_problem(), tiny(stop="held-out", iterations=200, **LEARNS), interval=0)
    shown = list(steps)
    marks = [progress.mark for progress in shown]
    for progress in shown:
        assert progress.history is not None
        assert len(progress.history.loss) == progress.iteration
        assert progress.history.loss[-1] == np.float32(progress.loss)
    assert marks[0] is None
    assert marks[-1] is not None
    (curve,) = shown[-1].history.curves
    assert shown[-1].iteration - curve.iterations[-1] < 10


def test_the_iterations_alone_have_no_curve() -> None:
    assert run(noisy_problem(), tiny(stop="iterations")).history.curves == ()


# ---------------------------------------------------------------------------------------------------------- the rules


@pytest.mark.parametrize(
    ("noise", "ratio", "sigma"), [(WHITE, RATIO, 0.15), (SHARED, RATIO_SHARED, 0.1)], ids=["white", "shared"]
)
def test_the_discrepancy_stops_where_the_residual_is_down_to_the_noise(
    noise: Noise, ratio: float, sigma: float
) -> None:
    case = noisy_problem(replace(noise, sigma=sigma))
    result = run(case, tiny(stop="discrepancy", iterations=1000, **LEARNS))
    assert 0.8 * ratio < np.mean(result.residual**2) / sigma**2 <= ratio


def test_the_discrepancy_is_of_known_pixels_alone() -> None:
    missing = np.zeros((24, 24), bool)
    missing[:, :10] = True
    result = run(replace(holed(missing), noise=WHITE), tiny(stop="discrepancy", iterations=1000, **LEARNS))
    assert 0.8 * RATIO < np.mean(result.residual[0][~missing] ** 2) / 0.01 <= RATIO


def test_the_discrepancy_leaves_impulses_out() -> None:
    """Hot pixels make the residual larger than the noise for as long as they are not fitted."""
    case = noisy_problem(replace(WHITE, impulses=6 / 576))
    hot = case.observation.copy()
    hot[0, 2::4, 7] += 3  # six of them
    settings = tiny(stop="discrepancy", iterations=300, noise="impulse", **LEARNS, output="linear")
    result = run(replace(case, observation=hot), settings)
    assert np.mean(result.residual**2) > WHITE.sigma**2
    assert result.iterations < 300


def test_the_discrepancy_without_the_noise_is_an_error_with_a_remedy() -> None:
    with pytest.raises(ValueError, match="another rule"):
        run(noisy_problem(None), tiny(stop="discrepancy"))


@pytest.mark.parametrize("noise", [WHITE, SHARED], ids=["pixels", "blocks"])
def test_what_is_held_out_does_not_influence_the_fit(noise: Noise) -> None:
    case, settings = noisy_problem(noise), tiny(stop="held-out", seed=4)
    held = HeldOut(case, settings).held
    spoilt = replace(case, observation=np.where(held, 99, case.observation).astype(np.float32))
    assert np.array_equal(run(case, settings).last, run(spoilt, settings).last)
    assert 0 < held.mean() < 0.2
    other = HeldOut(case, settings.changed(seed=5)).held
    assert not np.array_equal(held, other)


def test_held_out_pixels_are_known_and_the_others_stay_known() -> None:
    missing = np.random.default_rng(0).random((24, 24)) < 0.5
    rule = HeldOut(holed(missing), tiny(stop="held-out"))
    assert not (rule.held[0] & missing).any()
    assert rule.problem.known == pytest.approx((~missing & ~rule.held[0]).mean())


def test_held_out_blocks_are_blocks_where_neighbours_share_noise() -> None:
    single, blocks = (HeldOut(replace(problem(64, 64), noise=noise), tiny()).held[0] for noise in (WHITE, SHARED))
    inside = [(h[1:] & h[:-1]).sum() / h.sum() for h in (single, blocks)]
    assert inside[0] < 0.3
    assert inside[1] > 0.7


def test_held_out_pixels_choose_among_images_whose_residual_is_like_the_noise() -> None:
    """Noise said to be far larger than it is does not end the run there, said to be far smaller it marks nothing."""
    settings, truth = tiny(stop="held-out", iterations=150, **LEARNS), picture(24, 24)
    larger = noisy_problem(replace(WHITE, sigma=0.3))
    held, there = (run(larger, settings.changed(stop=stop)) for stop in ("held-out", "discrepancy"))
    assert np.mean(held.residual**2) < 0.5 * 0.3**2
    assert psnr(held.image[0], truth) > psnr(there.image[0], truth) + 3
    never = run(noisy_problem(replace(WHITE, sigma=0.01)), settings)
    assert never.marks == (150,)
    unknown = run(noisy_problem(replace(WHITE, sigma=0.0, warning="it is flat")), settings)
    assert unknown.marks < never.marks


def test_below_the_noise_a_run_ends_soon_after_what_is_held_out_is_foretold_no_better() -> None:
    """Said to be larger, the same noise ends the same run sooner: the residual is below it all the while."""
    settings = tiny(stop="held-out", iterations=1000, **LEARNS)
    for sigma, patience in ((0.1, stopping.PATIENCE), (1.0, stopping.PATIENCE_BELOW)):
        result = run(noisy_problem(replace(WHITE, sigma=sigma)), settings)
        assert f"stopped {patience} later" in result.stop_reason


@pytest.mark.parametrize("stop", ["variance", "variance-exponential"])
def test_the_variance_is_that_of_the_iterates(stop: str) -> None:
    images = torch.rand(30, 1, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    case = problem(4, 5)
    rule = stopping.RULES[stop](case, tiny().method)

    class Watched:
        method, device = tiny().method, "cpu"

    search: Any = Watched()
    rule.begin(search)
    mean, variance = images[0].double(), torch.zeros(1, 1, 4, 5, dtype=torch.float64)
    for i, image in enumerate(images.double()):
        search.iterate = images[i]
        rule.update(search)
        step = image - mean
        mean, variance = mean + 0.1 * step, 0.9 * (variance + 0.1 * step**2)
    expected = images[-10:].double().var(0, correction=0) if stop == "variance" else variance
    assert float(rule.score(search)) == pytest.approx(float(expected.mean()), rel=1e-5)  # type: ignore[attr-defined]


def test_pixels_held_out_find_a_better_image_than_the_last() -> None:
    case = noisy_problem()
    settings = tiny(stop="held-out", iterations=600, channels=16, learning_rate=0.02, average=0.9)
    result = run(case, settings)
    whole = run(case, settings.changed(stop="iterations"))
    truth = picture(24, 24)
    assert psnr(result.image[0], truth) > psnr(whole.image[0], truth)


# --------------------------------------------------------------------------------------------------------------- auto


@pytest.mark.parametrize(
    ("case", "name", "words"),
    [
        (noisy_problem(None), "iterations", "not known"),
        (noisy_problem(replace(WHITE, warning="it is flat")), "fitted", "it is flat"),
        (noisy_problem(replace(SHARED, warning="it is flat")), "discrepancy", "0.6"),
        (noisy_problem(WHITE), "discrepancy", "small"),
        (noisy_problem(replace(WHITE, contrast=20.0)), "discrepancy", "small"),
        (replace(problem(operator=Downsample((2, 2))), noise=replace(WHITE, contrast=20.0)), "fitted", "weak"),
        (replace(problem(operator=Downsample((2, 2))), noise=replace(SHARED, contrast=20.0)), "fitted", "weak"),
        *(
            (
                replace(problem(operator=Downsample((2, 2))), noise=replace(SHARED, contrast=contrast, warning="few")),
                "iterations",
                "few",
            )
            for contrast in (20.0, 3.0)
        ),
        (replace(problem(operator=Downsample((2, 2))), noise=replace(SHARED, contrast=3.0)), "discrepancy", "0.6"),
        (replace(problem(operator=Downsample((2, 2))), noise=replace(SHARED, contrast=5.0)), "iterations", "structure"),
        (replace(problem(64, 64), noise=WHITE), "held-out", "independent"),
        (replace(problem(64, 64), noise=replace(WHITE, warning="it is flat")), "held-out", "independent"),
        (noisy_problem(SHARED), "discrepancy", "0.6"),
        (replace(problem(64, 64, operator=Downsample((2, 2))), noise=WHITE), "held-out", "independent"),
        (
            replace(problem(64, 64, operator=Downsample((2, 2))), noise=replace(WHITE, given=True, contrast=3.0)),
            "discrepancy",
            "camera",
        ),
        (replace(problem(operator=Downsample((2, 2))), noise=replace(WHITE, warning="few")), "iterations", "few"),
    ],
    ids=[
        "no noise",
        "warning",
        "shared warning",
        "small",
        "small and weak",
        "fine grid, weak",
        "fine grid, weak and shared",
        "fine grid, a weak guess",
        "fine grid, a guess",
        "fine grid, shared",
        "fine grid, cut up",
        "white",
        "white warning",
        "shared",
        "fine grid",
        "fine grid, a camera",
        "guess",
    ],
)
def test_auto_says_what_it_chose_and_why(case: Problem, name: str, words: str) -> None:
    choice = stopping.choose(case, tiny(stop="auto").method)
    assert choice.name == name
    assert words in choice.reason
    assert run(case, tiny(stop="auto", iterations=2)).rule == choice


def test_a_small_image_whose_noise_is_a_guess_is_fitted_until_nothing_but_noise_can_come() -> None:
    guess, truth = replace(WHITE, sigma=0.2, warning="few"), picture(12, 12)
    settings = tiny(channels=16, iterations=700, learning_rate=0.04)
    case = replace(problem(12, 12), noise=guess)
    fitted, whole = (run(case, settings.changed(stop=stop)) for stop in ("auto", "iterations"))
    assert fitted.iterations < 700
    assert np.mean(fitted.residual**2) < RATIO_GUESSED * guess.sigma**2
    assert psnr(fitted.image[0], truth) > psnr(whole.image[0], truth)


def test_a_coarse_image_whose_finest_detail_is_alike_everywhere_is_fitted_down_to_a_part_of_it() -> None:
    sigma, rng = 0.1, np.random.default_rng(1)
    hills = np.outer(np.sin(np.linspace(0, 40, 30)), np.sin(np.linspace(0, 32, 30)))
    noisy = (hills + rng.normal(0, sigma, (30, 30))).astype(np.float32)[None]
    detail = estimate_noise(noisy[0]).detail
    guess = replace(WHITE, sigma=0.3, correlation=0.4, warning="few", detail=detail)
    case = Problem(observation=noisy, operator=Downsample((2, 2)), noise=guess)
    choice = stopping.choose(case, tiny(stop="auto").method)
    assert (choice.name, "alike" in choice.reason) == ("fitted", True)
    bound = stopping.Fitted(case, tiny(stop="auto").method).bound
    assert bound == pytest.approx(stopping.RATIO_SEEN * (sigma / 0.3) ** 2, rel=0.4)
    edges = np.where(rng.random((30, 30)) < 0.1, 1, 0).astype(np.float32)[None]
    assert stopping.choose(replace(case, observation=edges), tiny(stop="auto").method).name == "fitted"  # a tile
    assert estimate_noise(edges[0]).detail == 0
    large = estimate_noise(np.tile(noisy[0], (1, 5)), read_noise=1.0)
    assert large.warning
    assert large.detail == 0
    unlike = replace(case, noise=replace(guess, detail=0.0))
    assert stopping.choose(unlike, tiny(stop="auto").method).name == "iterations"


def test_the_users_rule_is_taken() -> None:
    for stop in set(RULES) - {"passes"}:
        assert stopping.choose(noisy_problem(None), tiny(stop=stop).method).name == stop


def test_a_rule_of_the_other_method_is_refused() -> None:
    with pytest.raises(ValueError, match="stop='passes'.*code='uniform'.*use 'auto'"):
        tiny(stop="passes")
    with pytest.raises(ValueError, match="stop='variance'.*code='self'"):
        PRESETS["denoise-self"].changed(stop="variance")


def test_the_last_progress_shows_where_the_rule_ended_the_run() -> None:
    shown = []
    steps = iterate(noisy_problem(), tiny(stop="discrepancy", iterations=1000, **LEARNS), interval=0)
    while True:
        try:
            shown.append(next(steps))
        except StopIteration as end:
            result = end.value
            break
    assert shown[-1].iteration == result.iterations
    assert np.array_equal(shown[-1].image, result.image)


def test_a_rule_that_cannot_be_leaves_the_number_of_threads_alone() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="another rule"):
        run(noisy_problem(None), tiny(stop="discrepancy", threads=before + 1))
    assert torch.get_num_threads() == before
