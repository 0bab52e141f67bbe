"""What goes wrong: a loss that jumps or is not finite, memory that runs out, an error; and all memory comes back."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_dip.core import fidelity, stopping
from napari_dip.core.fidelity import Gaussian
from napari_dip.core.guard import EVERY, PATIENCE, Diverged
from napari_dip.core.methods import prior
from napari_dip.core.noise.model import Noise
from napari_dip.core.problem import Problem
from napari_dip.core.result import Result
from tests.core.tiny import finish, holed, iterate, live_tensors, problem, run, tiny

Plan = Callable[[int, Tensor], Tensor]
Spoil = Callable[[Plan], None]


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Spoil:
    """Have the loss of each iteration, counted from zero over all tries, go through a plan."""

    def spoil(plan: Plan) -> None:
        class Spoiled(Gaussian):
            asked = 0

            def forward(self, predicted: Tensor, observed: Tensor) -> Tensor:
                loss = super().forward(predicted, observed)
                self.asked += 1
                return plan(self.asked - 1, loss)

        monkeypatch.setattr(fidelity, "Gaussian", Spoiled)

    return spoil


def nan_from(first: int, last: float = float("inf")) -> Plan:
    return lambda i, loss: loss * float("nan") if first <= i <= last else loss


def jump_at(first: int, last: int) -> Plan:
    return lambda i, loss: loss * 100 if first <= i <= last else loss


def fails_at(at: int, kind: type[BaseException], *words: str) -> Plan:
    def plan(i: int, loss: Tensor) -> Tensor:
        if i == at:
            raise kind(*words)  # a new one each time: an error that is kept keeps the variables of its frames
        return loss

    return plan


def kinds(result: Result) -> list[str]:
    return [event.kind for event in result.history.events]


# ------------------------------------------------------------------------------------------------- back to good state


@pytest.mark.parametrize("plan", [nan_from(25, 25), nan_from(20, 29), jump_at(20, 29)], ids=["one NaN", "NaN", "jump"])
def test_a_bad_loss_leads_back_to_the_last_good_state(spoil: Spoil, plan: Plan) -> None:
    good = run(problem(), tiny(iterations=20)).image
    spoil(plan)
    result = run(problem(), tiny(iterations=30))
    assert np.array_equal(result.image, good)
    assert kinds(result) == ["returned"]
    assert result.history.events[0].iteration == 30
    assert "back to iteration 20" in result.history.events[0].message
    assert result.iterations == len(result.history.loss) == 30
    assert result.complete


@pytest.mark.parametrize("plan", [nan_from(25, 25), jump_at(20, 29)], ids=["NaN", "jump"])
def test_the_run_goes_on_after_a_return(spoil: Spoil, plan: Plan) -> None:
    spoil(plan)
    result = run(problem(), tiny(iterations=100))
    assert kinds(result)[0] == "returned"
    assert "gave up" not in kinds(result)
    assert result.complete
    assert np.isfinite(result.image).all()
    assert np.mean(result.history.loss[-10:]) < np.mean(result.history.loss[:10])


def test_steps_get_shorter_with_each_return_in_a_row(spoil: Spoil) -> None:
    spoil(nan_from(20, 49))
    result = run(problem(), tiny(iterations=60))
    assert kinds(result) == ["returned"] * 3
    for event, slower in zip(result.history.events, ("0.5", "0.25", "0.125"), strict=True):
        assert event.message.endswith(f"step length times {slower}")


@pytest.mark.parametrize("first", [10, 17, 25])
def test_it_gives_up_with_the_last_good_image(spoil: Spoil, first: int) -> None:
    good = first // EVERY * EVERY
    image = run(problem(), tiny(iterations=good)).image
    spoil(nan_from(first))
    result = run(problem(), tiny(iterations=200))
    assert np.array_equal(result.image, image)
    assert kinds(result) == ["returned"] * (PATIENCE - 1) + ["gave up"]
    assert result.iterations == good + PATIENCE * EVERY
    assert not result.complete
    assert "gave up" in result.stop_reason
    assert "learning_rate=0.01" in result.stop_reason


@pytest.mark.parametrize("iterations", [1, 5, 10, 35, 200])
def test_a_loss_that_never_was_finite_is_an_error(spoil: Spoil, iterations: int) -> None:
    spoil(nan_from(0))
    with pytest.raises(Diverged, match="learning_rate") as caught:
        run(problem(), tiny(iterations=iterations))
    assert isinstance(caught.value, ArithmeticError)


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_a_result_is_finite_whenever_the_run_is_stopped(spoil: Spoil, optimiser: str) -> None:
    spoil(nan_from(22))
    asked = iter([False] * 26 + [True])
    result = run(problem(), tiny(iterations=100, optimiser=optimiser), should_stop=lambda: next(asked))
    assert np.isfinite(result.image).all()


def test_a_result_is_finite_whenever_memory_runs_out(spoil: Spoil) -> None:
    def plan(i: int, loss: Tensor) -> Tensor:
        return fails_at(26, MemoryError)(i, nan_from(22)(i, loss))

    spoil(plan)
    assert np.isfinite(run(problem(), tiny(iterations=100)).image).all()


def test_progress_shows_finite_images_alone(spoil: Spoil) -> None:
    spoil(nan_from(22, 22))
    for progress in iterate(problem(), tiny(iterations=40), interval=0):
        assert np.isfinite(progress.image).all(), progress.iteration


@pytest.mark.parametrize("stop", ["discrepancy", "held-out", "variance", "variance-exponential"])
def test_a_return_spoils_no_rule(spoil: Spoil, monkeypatch: pytest.MonkeyPatch, stop: str) -> None:
    for rule in (stopping.WindowedVariance, stopping.ExponentialVariance):
        monkeypatch.setattr(rule, "warm_up", 0)
    monkeypatch.setattr(stopping, "WINDOW", 10)
    spoil(nan_from(35, 35))
    case = replace(problem(), noise=Noise(gain=0.0, offset=0.0, read_noise=0.1, sigma=0.1))
    result = run(case, tiny(stop=stop, iterations=100, channels=8))
    assert kinds(result) == ["returned"]
    assert np.isfinite(result.image).all()
    assert result.marks[0] not in range(31, 41)
    assert result.complete


def test_an_ordinary_run_is_never_led_back() -> None:
    assert not run(problem(), tiny(iterations=200)).history.events


# --------------------------------------------------------------------------------------------------- memory, errors

OUT_OF_MEMORY: dict[str, tuple[type[Exception], str]] = {
    "CUDA": (torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate 2.00 GiB\nand a long story"),
    "CPU": (RuntimeError, "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate ..."),
    "MPS": (RuntimeError, "MPS backend out of memory (MPS allocated: 8.00 GB)"),
    "Python": (MemoryError, "no more"),
}
each_shortage = pytest.mark.parametrize(("kind", "words"), OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY)


@each_shortage
def test_memory_out_at_once_is_an_error_with_a_remedy(spoil: Spoil, kind: type[Exception], words: str) -> None:
    spoil(fails_at(0, kind, words))
    with pytest.raises(MemoryError, match="cpu.*fewer channels"):
        run(problem(), tiny())


@each_shortage
def test_memory_out_while_the_generator_is_made_is_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception], words: str
) -> None:
    def make_generator(*_: Any) -> None:
        raise kind(words)

    monkeypatch.setattr(prior, "fresh_generator", make_generator)
    with pytest.raises(MemoryError, match="fewer channels"):
        run(problem(), tiny())


@each_shortage
def test_memory_out_later_ends_the_run_with_what_there_is(spoil: Spoil, kind: type[Exception], words: str) -> None:
    image = run(problem(), tiny(iterations=7)).image
    spoil(fails_at(7, kind, words))
    result = run(problem(), tiny())
    assert np.array_equal(result.image, image)
    assert result.iterations == len(result.history.loss) == 7
    assert kinds(result) == ["out of memory"]
    assert not result.complete
    assert "memory ran out on cpu after 7 iterations" in result.stop_reason
    assert "\n" not in result.stop_reason


@pytest.mark.parametrize("kind", [ValueError, RuntimeError, KeyboardInterrupt])
def test_other_errors_are_passed_on(spoil: Spoil, kind: type[BaseException]) -> None:
    spoil(fails_at(3, kind, "on purpose"))
    with pytest.raises(kind, match="^on purpose$"):
        run(problem(), tiny())


# -------------------------------------------------------------------------------------------- memory is given back


@pytest.fixture
def nothing_alive() -> Iterator[None]:
    """Count only what is made from here on; looking through all else takes a second."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def hole_problem() -> Problem:
    missing = np.zeros((12, 12), bool)
    missing[3:6, 3:6] = True
    return holed(missing)


def test_what_an_iteration_remembers_for_its_gradient_is_gone_with_the_next(spoil: Spoil) -> None:
    losses: list[weakref.ref[Tensor]] = []

    def plan(i: int, loss: Tensor) -> Tensor:
        assert not any(earlier() is not None for earlier in losses)
        losses.append(weakref.ref(loss))
        return loss

    spoil(plan)
    run(problem(), tiny())
    assert len(losses) == 20


@pytest.mark.usefixtures("nothing_alive")
@pytest.mark.parametrize(
    ("optimiser", "end"),
    [
        ("adam", "finished"),
        ("adam", "stopped"),
        ("adam", "closed"),
        ("adam", "memory out later"),
        ("lbfgs", "finished"),
    ],
)
def test_no_tensor_of_a_run_outlives_it(spoil: Spoil, optimiser: str, end: str) -> None:
    if end == "memory out":
        spoil(fails_at(7, MemoryError))
    case = hole_problem()
    before = live_tensors()
    asked = iter([False] * 7 + [True] * 99)
    should_stop = (lambda: next(asked)) if end == "stopped" else (lambda: False)
    settings = tiny(optimiser=optimiser, weight_noise=0.01, regulariser="tv", regulariser_weight=0.1)
    steps = iterate(case, settings, interval=0, should_stop=should_stop)
    next(steps)
    assert live_tensors() > before
    if end == "closed":
        steps.close()
    else:
        finish(steps)
    assert live_tensors() == before


@pytest.mark.usefixtures("nothing_alive")
@pytest.mark.parametrize(
    ("plan", "error"),
    [
        (fails_at(0, MemoryError), MemoryError),
        (nan_from(0), Diverged),
        (fails_at(0, ValueError), ValueError),
        (fails_at(3, ValueError), ValueError),
        (fails_at(13, RuntimeError), RuntimeError),
    ],
    ids=["memory out", "diverged", "at once", "early", "late"],
)
def test_no_tensor_of_a_run_outlives_its_error_while_that_is_looked_at(
    spoil: Spoil, plan: Plan, error: type[Exception]
) -> None:
    spoil(plan)
    case = hole_problem()
    before = live_tensors()
    with pytest.raises(error) as caught:
        run(case, tiny(iterations=100))
    assert caught.tb is not None  # the traceback is held, and so are the variables of its frames
    assert live_tensors() == before


@pytest.mark.usefixtures("nothing_alive")
def test_no_tensor_outlives_an_error_of_the_consumer() -> None:
    case = hole_problem()
    before = live_tensors()

    def should_stop() -> bool:
        raise KeyError("on purpose")

    with pytest.raises(KeyError) as caught:
        run(case, tiny(), should_stop=should_stop)
    assert caught.tb is not None
    assert live_tensors() == before
