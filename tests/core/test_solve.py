"""The loop: it lowers the loss, repeats itself bit by bit, goes on where it was, and stops when asked."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.random import mtrand

from napari_dip.core.fit import Clock
from napari_dip.core.operators import Downsample
from napari_dip.core.result import Result
from napari_dip.core.state import Curve, State
from tests.core.tiny import finish, holed, iterate, picture, problem, psnr, run, tiny

#: Knobs that draw random numbers, keep an average, or move otherwise.
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"code_noise": 0.0, "average": 0.0},
    "averaged": {"code_noise": 0.0, "average": 0.9},
    "noisy": {"code_noise": 0.03, "weight_noise": 0.01},
    "lbfgs": {"optimiser": "lbfgs", "code_noise": 0.0},
    "noisy lbfgs": {"optimiser": "lbfgs", "code_noise": 0.03},
    "regularised": {"regulariser": "tv", "regulariser_weight": 0.1},
    "normal code": {"code": "normal", "upsampling": "transposed"},
}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def equal(a: Any, b: Any) -> bool:
    """Whether two nests of tensors and numbers are the same bit by bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, Curve):
        return equal(vars(a), vars(b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


def others_seed() -> None:
    """Seed the generators that all programs share."""
    torch.manual_seed(5)
    mtrand.seed(5)
    random.seed(5)


def others_draw() -> list[float]:
    return [float(torch.rand(())), mtrand.rand(), random.random()]


def state_of(result: Result) -> State:
    (state,) = result.states
    assert state is not None
    return state


@each_way
def test_the_loss_falls(way: dict[str, Any]) -> None:
    result = run(problem(), tiny(iterations=60, **way))
    assert np.mean(result.history.loss[-10:]) < 0.5 * result.history.loss[0]
    assert result.complete
    assert (result.iterations, len(result.history.loss)) == (60, 60)
    assert not result.history.events


@pytest.mark.parametrize("shape", [(12, 12), (1, 9), (4, 6, 5)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_image_has_the_shape_of_the_problem(shape: tuple[int, ...], channels: int) -> None:
    image = run(problem(*shape, channels=channels), tiny(iterations=3)).image
    assert (image.shape, image.dtype) == ((channels, *shape), np.float32)
    doubled = run(problem(*shape, operator=Downsample((2,) * len(shape))), tiny(iterations=3)).image
    assert doubled.shape == (1, *(2 * n for n in shape))


@each_way
def test_the_same_seed_gives_the_same_image_bit_by_bit(way: dict[str, Any]) -> None:
    first = run(problem(), tiny(seed=3, **way))
    torch.manual_seed(99)
    steps = iterate(problem(), tiny(seed=3, **way), interval=0)
    for _ in range(20):
        next(steps)
        others_draw()
    again = finish(steps)
    assert np.array_equal(first.image, again.image)
    assert equal(vars(state_of(first)), vars(state_of(again)))


def test_another_seed_gives_another_image() -> None:
    assert not np.array_equal(run(problem(), tiny(seed=3)).image, run(problem(), tiny(seed=4)).image)


@each_way
def test_a_run_leaves_the_random_numbers_of_others_alone(way: dict[str, Any]) -> None:
    others_seed()
    expected = others_draw()
    others_seed()
    run(problem(), tiny(iterations=3, **way))
    assert others_draw() == expected


@each_way
def test_going_on_is_the_same_as_not_having_stopped(way: dict[str, Any]) -> None:
    whole = run(problem(), tiny(iterations=25, **way))
    for first in (1, 13, 20):
        half = run(problem(), tiny(iterations=first, **way))
        both = run(problem(), tiny(iterations=25 - first, **way), state=state_of(half))
        assert both.iterations == 25
        assert np.array_equal(both.image, whole.image)
        assert np.array_equal(both.history.loss, whole.history.loss)
        assert equal(vars(state_of(both)), vars(state_of(whole)))


def test_going_on_leaves_the_state_as_it_was() -> None:
    half = run(problem(), tiny())
    before = run(problem(), tiny(), state=state_of(half)).image
    assert np.array_equal(run(problem(), tiny(), state=state_of(half)).image, before)


def test_a_state_from_another_kind_of_device_goes_on_with_random_numbers_of_its_own() -> None:
    half = run(problem(), tiny())
    elsewhere = replace(state_of(half), random=torch.zeros(16, dtype=torch.uint8))  # as CUDA has them
    both = run(problem(), tiny(), state=elsewhere)
    assert both.iterations == 40
    assert np.mean(both.history.loss[20:]) < np.mean(both.history.loss[:20])


def test_a_stopped_run_goes_on_too() -> None:
    asked = iter([False] * 7 + [True])
    half = run(problem(), tiny(), should_stop=lambda: next(asked))
    both = run(problem(), tiny(iterations=13), state=state_of(half))
    assert np.array_equal(both.image, run(problem(), tiny()).image)


# --------------------------------------------------------------------------------------------------------- iterates


def test_the_last_iterate_is_the_result_without_averaging() -> None:
    case = problem()
    result = run(case, tiny(average=0.0, code_noise=0.0))
    assert np.mean((result.image - case.observation) ** 2) == pytest.approx(result.history.loss[-1], rel=1e-4)


def test_every_iterate_takes_part_in_the_average() -> None:
    plain = iterate(problem(), tiny(average=0.0), interval=0)
    iterates = np.stack([progress.image for progress in plain]).astype(np.float64)
    weights = 0.9 ** np.arange(len(iterates) - 1, -1, -1.0)
    assert len(iterates) == 20
    averaged = run(problem(), tiny(average=0.9)).image
    np.testing.assert_allclose(averaged, np.tensordot(weights, iterates, 1) / weights.sum(), atol=1e-6)


def test_weight_noise_perturbs_the_filters_by_its_fraction() -> None:
    # a step too short to matter, so that what moves the weights is the noise
    settings = tiny(channels=32, learning_rate=1e-7, iterations=1, code_noise=0.0)
    start = state_of(run(problem(), settings, should_stop=lambda: True)).weights
    still = state_of(run(problem(), settings)).weights
    moved = state_of(run(problem(), settings.changed(weight_noise=0.05))).weights
    for name, weight in start.items():
        if weight.numel() > 1000:
            torch.testing.assert_close(still[name], weight, rtol=0, atol=1e-6)
            assert float((moved[name] - weight).std() / weight.std()) == pytest.approx(0.05, rel=0.1)
    assert not np.array_equal(run(problem(), tiny(weight_noise=0.05)).image, run(problem(), tiny()).image)


# ----------------------------------------------------------------------------------------------- stopping, progress


def test_stopping_is_asked_about_before_every_iteration() -> None:
    asked = []
    run(problem(), tiny(), should_stop=lambda: bool(asked.append(1)))
    assert len(asked) == 20


@pytest.mark.parametrize("at", [1, 2, 9, 10, 19])
def test_a_stop_is_heard_within_one_iteration(at: int) -> None:
    stop = False
    steps = iterate(problem(), tiny(), should_stop=lambda: stop, interval=0)
    for progress in steps:
        stop = progress.iteration == at
        if stop:
            break
    result = finish(steps)
    assert result.iterations == len(result.history.loss) == at
    assert not result.complete
    assert "stopped" in result.stop_reason
    assert f"{at} of 20" in result.stop_reason
    assert np.array_equal(result.image, run(problem(), tiny(iterations=at)).image)


def test_a_stop_before_the_first_iteration_gives_a_defined_image() -> None:
    results = [run(problem(), tiny(), should_stop=lambda: True) for _ in range(2)]
    assert results[0].iterations == len(results[0].history.loss) == 0
    assert np.isfinite(results[0].image).all()
    assert np.array_equal(results[0].image, results[1].image)
    assert not results[0].complete


def test_the_stop_reason_is_a_sentence() -> None:
    assert run(problem(), tiny()).stop_reason == "finished all 20 iterations"


def test_progress_comes_every_iteration_at_interval_zero() -> None:
    shown = list(iterate(problem(), tiny(), interval=0))
    assert [progress.iteration for progress in shown] == list(range(1, 21))
    fractions = [progress.fraction for progress in shown]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert shown[-1].seconds_left == 0
    for progress in shown:
        assert progress.image.shape == (1, 12, 12)
        assert np.isfinite(progress.image).all()
        assert progress.rate > 0
        assert progress.seconds_left >= 0
        assert progress.iterations == 20


def test_the_last_progress_shows_the_result_and_its_loss() -> None:
    shown = []
    steps = iterate(problem(), tiny(), interval=0)
    while True:
        try:
            shown.append(next(steps))
        except StopIteration as end:
            result = end.value
            break
    assert np.array_equal(shown[-1].image, result.image)
    np.testing.assert_array_equal([progress.loss for progress in shown], result.history.loss)


def test_progress_keeps_its_image_while_the_run_goes_on() -> None:
    steps = iterate(problem(), tiny(), interval=0)
    first = next(steps).image
    before = first.copy()
    finish(steps)
    assert np.array_equal(first, before)


def test_progress_keeps_its_distance_in_time() -> None:
    began, shown = time.perf_counter(), []
    for _ in iterate(problem(), tiny(iterations=150), interval=0.05):
        shown.append(time.perf_counter())
    assert len(shown) <= (shown[-1] - began) / 0.05 + 1
    assert list(iterate(problem(), tiny(), interval=1e9)) == []


def test_a_pause_does_not_count_as_slowness() -> None:
    began = time.perf_counter()
    steps = iterate(problem(), tiny(), interval=0, should_stop=lambda: bool(time.sleep(0.02)))
    last = list(steps)[-1]
    assert last.rate > 20 / (time.perf_counter() - began - 10 * 0.02)


def test_snapshots_come_whatever_the_interval() -> None:
    steps = iterate(problem(), tiny(), interval=1e9, snapshot_every=7)
    assert [(progress.iteration, progress.snapshot) for progress in steps] == [(7, True), (14, True)]
    steps = iterate(problem(), tiny(), interval=0, snapshot_every=7)
    assert [progress.iteration for progress in steps if progress.snapshot] == [7, 14]


def test_a_problem_is_left_as_it_was() -> None:
    missing = np.zeros((12, 12), bool)
    missing[3:6, 3:6] = True
    case = holed(missing)
    before = case.observation.copy()
    run(case, tiny())
    assert np.array_equal(case.observation, before)
    assert np.array_equal(case.operator.known.numpy()[0, 0], ~missing)  # type: ignore[operator]


def test_what_is_under_the_mask_is_invented_from_around_it() -> None:
    missing = np.zeros((24, 24), bool)
    missing[10:14, 15:19] = True
    image = run(holed(missing), tiny(channels=8, scales=3, iterations=200)).image[0]
    truth = picture(24, 24)
    assert psnr(image[missing], truth[missing]) > psnr(np.full(missing.sum(), truth[~missing].mean()), truth[missing])


def test_the_rate_is_that_of_late_and_without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a machine became four times busier after a minute, the time left was still told by the minute before."""
    now, attempt = [0.0], SimpleNamespace(iteration=0)
    monkeypatch.setattr("napari_dip.core.fit.time", SimpleNamespace(perf_counter=lambda: now[0]))

    def pause() -> bool:
        now[0] += 100
        return False

    clock = Clock(pause, 0.3, 0, lambda progress: progress)
    clock.begin(cast(Any, attempt))
    rates = []
    for seconds in [0.1] * 600 + [0.4] * 150:
        clock.stops()
        now[0] += seconds
        attempt.iteration += 1
        rates.append(clock._rate(now[0]))
    assert rates[599] == pytest.approx(10)
    assert rates[-1] == pytest.approx(2.5)
