"""When memory runs out: less of it rung by rung, what the user chose is kept, and the image so far is never lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import napari_dip
from napari_dip.core import device as devices
from napari_dip.core.device import Device
from napari_dip.core.guard import Guard
from napari_dip.core.memory import OutOfMemory
from napari_dip.core.methods.base import Fitter
from napari_dip.core.methods.prior import PriorFitter
from napari_dip.core.methods.selfguided import SelfGuidedFitter
from napari_dip.core.noise.model import Noise
from napari_dip.core.problem import Problem
from napari_dip.core.result import Result
from napari_dip.core.setup import Setup, left_open
from napari_dip.core.solve import Restoration
from napari_dip.core.state import SAVING
from napari_dip.tables.settings import Settings
from tests.core.tiny import TINY, comparisons, finish, guided, iterate, noisy, picture, problem, run, setup_of, tiny

Fails = Callable[[Fitter], bool]
SHORTAGES = [
    MemoryError("no more"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate ..."),
]
OPEN = ("precision", "recompute", "tile", "device")
GPU = Device("cpu:0", "played by the CPU")  # the same to torch, another one to the ladder


@pytest.fixture(autouse=True)
def any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rungs whatever the processor has: it can compute in bfloat16, and is not faster with it."""
    monkeypatch.setattr(devices, "has_bfloat16", lambda *_: False)
    monkeypatch.setattr(devices, "can_bfloat16", lambda settings, *_: settings.optimiser == "adam")


def auto(**changes: Any) -> Settings:
    return tiny(**{"precision": "auto", **changes})


def setup(case: Problem, settings: Settings, open: tuple[str, ...] = OPEN) -> Setup:
    device = GPU if "device" in open else Device("cpu", "alone")
    return setup_of(case, settings, device=device, open=frozenset(open))


def steps(result: Result) -> list[str]:
    """The rungs that a run has gone down to."""
    return [event.message.rpartition(": ")[2] for event in result.history.events if event.kind == SAVING]


def goes(case: Problem, settings: Settings, open: tuple[str, ...] = OPEN, **how: Any) -> Result:
    return run(case, settings, setup=setup(case, settings, open), **how)


@contextmanager
def failing(
    monkeypatch: pytest.MonkeyPatch,
    fails: Fails,
    owner: Any = Fitter,
    name: str = "make_step",
    error: Exception = SHORTAGES[0],
) -> Iterator[list[int]]:
    """Have a method of a search run out of memory where a plan says so; lists at which iterations it did."""
    plain, failed = getattr(owner, name), []

    def instead(self: Any, *rest: Any, **named: Any) -> Any:
        here = self if isinstance(self, Fitter) else rest[0]
        if fails(here):
            failed.append(here.iteration)
            raise type(error)(*error.args)
        return plain(self, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, instead)
        yield failed


def at(iteration: int, times: int = 1) -> Fails:
    """So many times, when a search comes to an iteration."""
    left = [times]

    def fails(search: Fitter) -> bool:
        if search.iteration == iteration and left[0]:
            left[0] -= 1
            return True
        return False

    return fails


def before_rung(rung: int) -> Fails:
    """On all rungs before one: bfloat16, recomputing, tiles, the CPU."""

    def fails(search: Fitter) -> bool:
        settings = search.method
        reached = [
            settings.precision == "bfloat16",
            settings.recompute == "on",
            max(search.problem.image_shape) <= 160,
            search.device == "cpu",
        ]
        return not any(reached[rung - 1 :])

    return fails


# ----------------------------------------------------------------------------------------------------------- the rungs


@pytest.mark.parametrize("error", SHORTAGES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("iteration", [0, 1, 10, 15, 19])
def test_a_run_goes_on_in_bfloat16_from_the_last_good_state(
    monkeypatch: pytest.MonkeyPatch, error: Exception, iteration: int
) -> None:
    with failing(monkeypatch, at(iteration), error=error):
        result = goes(problem(), auto(), ("precision", "recompute", "tile"))
    good = iteration // 10 * 10
    where = f"goes on in bfloat16 from iteration {good}" if good else "begins again in bfloat16"
    assert steps(result) == [where]
    assert error.args[0] in result.history.events[0].message
    assert result.settings.precision == "bfloat16"
    assert result.complete
    assert result.iterations == len(result.history.loss) == 20
    if good:
        half = run(problem(), tiny(iterations=good))
        ends = run(problem(), tiny(iterations=20 - good, precision="bfloat16"), state=half.states[0])
        assert np.array_equal(result.image, ends.image)
        assert np.array_equal(result.history.loss, ends.history.loss)


@pytest.mark.parametrize("knobs", [{}, {"tail": 0.6}, {"uncertainty": True, "weight_noise": 0.01}], ids=str)
@pytest.mark.parametrize("iteration", [0, 3, 10, 15])
def test_recomputing_gives_the_very_image(
    monkeypatch: pytest.MonkeyPatch, knobs: dict[str, Any], iteration: int
) -> None:
    whole = run(problem(), tiny(**knobs))
    with failing(monkeypatch, at(iteration)):
        result = goes(problem(), tiny(**knobs), ("recompute",))
    assert np.array_equal(result.image, whole.image)
    assert np.array_equal(result.history.loss, whole.history.loss)
    assert result.settings.recompute == "on"
    assert result.complete
    assert len(steps(result)) == 1


@pytest.mark.parametrize("stop", ["held-out", "discrepancy", "variance", "variance-exponential"])
def test_a_rule_comes_along(monkeypatch: pytest.MonkeyPatch, stop: str) -> None:
    case = replace(problem(), noise=Noise(gain=0.0, offset=0.0, read_noise=0.1, sigma=0.1))
    with failing(monkeypatch, at(15)):
        result = goes(case, tiny(stop=stop), ("recompute",))
    assert len(steps(result)) == 1
    assert result.complete
    assert np.isfinite(result.image).all()
    whole = run(case, tiny(stop=stop))
    assert result.marks == whole.marks
    assert np.array_equal(result.image, whole.image)


def test_the_rungs_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    with failing(monkeypatch, lambda search: search.device != "cpu" and search.iteration == 13):
        result = goes(problem(), auto())
    assert steps(result) == [
        "goes on in bfloat16 from iteration 10",
        "goes on computing activations twice, not keeping them from iteration 10",
        "goes on on the CPU from iteration 10",
    ]
    assert (result.device.name, result.settings.device) == ("cpu", "cpu")
    assert "memory ran out on cpu:0" in result.device.reason
    assert (result.settings.precision, result.settings.recompute) == ("auto", "auto")  # it has memory of its own
    assert result.complete


@pytest.mark.parametrize("rung", [1, 2, 3, 4])
def test_it_stays_on_the_first_rung_that_works(monkeypatch: pytest.MonkeyPatch, rung: int) -> None:
    with failing(monkeypatch, before_rung(rung)) as failed:
        result = goes(problem(3, 300), auto(iterations=2))
    assert len(failed) == {1: 1, 2: 2, 3: 3, 4: 4}[rung]
    assert len(steps(result)) == len(failed)
    assert result.complete
    assert np.isfinite(result.image).all()
    assert result.settings.tile == (160 if rung == 3 else 0)
    assert (result.device.name == "cpu") is (rung == 4)


def test_the_cpu_goes_on_from_the_whole_image_when_tiles_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    case, settings = problem(3, 300), tiny()
    with failing(monkeypatch, lambda search: search.device != "cpu" and search.iteration >= 12):
        result = goes(case, settings, ("tile", "device"))
    assert steps(result)[-1] == "goes on on the CPU from iteration 10"
    half = run(case, settings, setup=setup_of(case, tiny(iterations=10), device=GPU))
    assert np.array_equal(result.image, run(case, tiny(iterations=10), state=half.states[0]).image)
    assert result.iterations == 20
    assert result.complete


def test_the_cpu_begins_afresh_when_the_tiles_of_an_earlier_slice_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    case, settings = problem(3, 500), tiny()
    whole = setup(case, settings, ("tile", "device"))
    tiles = whole.with_less_memory()
    assert tiles is not None
    assert tiles.settings.tile == 267
    with failing(monkeypatch, lambda search: search.device != "cpu" and search.iteration >= 12):
        result = run(case, settings, setup=tiles)
    assert steps(result) == ["begins again in tiles (tile=138)", "begins again on the CPU"]
    assert np.array_equal(result.image, run(case, settings).image)
    assert result.complete


def test_the_cpu_takes_the_tiles_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    case, settings, made = problem(3, 300), tiny(tile=128, iterations=12), []

    def fails(search: Fitter) -> bool:
        made.append(search.device)
        return len(made) > 35 and search.device != "cpu"  # at the last iteration of the last of three

    whole = run(case, settings)
    with failing(monkeypatch, fails):
        result = goes(case, settings, ("device",))
    assert result.complete
    np.testing.assert_allclose(result.image, whole.image, atol=1e-3)
    assert steps(result) == ["goes on on the CPU from iteration 10"]


# ---------------------------------------------------------------------------------------------------- at every stage


@pytest.mark.parametrize(
    ("owner", "name", "iteration"),
    [
        *((PriorFitter, "lay_out", 0), (Fitter, "restart_optimiser", 0), (Guard, "begin", 0), (Fitter, "make_step", 0)),
        *((Fitter, "make_step", 14), (Fitter, "state", 0), (Fitter, "state", 10)),
        *((PriorFitter, "remember", 7), (Fitter, "losses", 10)),
    ],
)
def test_at_every_stage_the_run_goes_on(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, iteration: int) -> None:
    if name == "losses":
        plain, failed = Fitter.losses.fget, []  # type: ignore[attr-defined]

        def losses(self: Fitter) -> list[float]:
            if self.iteration == iteration and not failed:
                failed.append(iteration)
                raise MemoryError("no more")
            return plain(self)

        monkeypatch.setattr(Fitter, "losses", property(losses))
        result = goes(problem(), tiny(), ("recompute",))
    else:
        with failing(monkeypatch, at(iteration), owner, name) as failed:
            result = goes(problem(), tiny(), ("recompute",))
    monkeypatch.undo()
    assert failed == [iteration]
    assert len(steps(result)) == 1
    assert result.complete
    assert np.array_equal(result.image, run(problem(), tiny()).image)


def test_a_preview_costs_previews_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with failing(monkeypatch, at(5), name="image"):
        shown = []
        stream = iterate(problem(), tiny(), interval=0)
        while True:
            try:
                shown.append(next(stream).iteration)
            except StopIteration as end:
                result = end.value
                break
    assert shown == [1, 2, 3, 4]
    assert steps(result) == ["no more are shown"]
    assert np.array_equal(result.image, run(problem(), tiny()).image)


GUIDED = replace(problem(24, 24), noise=Noise(gain=0.0, offset=0.0, read_noise=0.1, sigma=0.1))


@pytest.mark.parametrize("iteration", [0, 3, 10])
def test_a_self_guided_fit_goes_on_too(monkeypatch: pytest.MonkeyPatch, iteration: int) -> None:
    with failing(monkeypatch, at(iteration)):
        result = goes(GUIDED, guided(), ("recompute",))
    assert len(steps(result)) == 1
    assert np.array_equal(result.image, run(GUIDED, guided()).image)


@pytest.mark.parametrize("iteration", [0, 3, 10])
def test_similar_patches_are_compared_on_the_first_rung_alone(monkeypatch: pytest.MonkeyPatch, iteration: int) -> None:
    """And once more when the image is final, for their share."""
    compared = comparisons(monkeypatch)
    with failing(monkeypatch, lambda search: search.device != "cpu" and search.iteration == iteration):
        result = goes(GUIDED, guided(), ("recompute", "device"))
    assert len(steps(result)) == 2
    assert len(compared) == 2
    assert np.isfinite(result.image).all()


@pytest.mark.parametrize("left", [(), ("device",), ("recompute", "device")], ids=str)
def test_a_final_image_is_made_on_the_cpu(monkeypatch: pytest.MonkeyPatch, left: tuple[str, ...]) -> None:
    whole = run(GUIDED, guided())
    plain = SelfGuidedFitter.mark

    def mark(self: SelfGuidedFitter, final: bool = True) -> Any:
        if final and (self.device != "cpu" or not left):
            raise torch.OutOfMemoryError("on purpose")
        return plain(self, final)

    monkeypatch.setattr(SelfGuidedFitter, "mark", mark)
    result = goes(GUIDED, guided(), left)
    assert result.complete
    assert (result.device == GPU) is bool(left)  # the fit stays there
    if left:
        assert steps(result) == ["it is made on the CPU"]
        np.testing.assert_allclose(result.image, whole.image, atol=1e-3)
    else:
        assert [event.kind for event in result.history.events] == ["out of memory"]
        assert np.isfinite(result.image).all()


# ------------------------------------------------------------------------------------------------- nothing is lost


@pytest.mark.parametrize("name", ["make_step", "lay_out"])
def test_when_no_rung_helps_the_run_ends_with_what_there_is(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    failed: list[int] = []

    def fails(search: Fitter) -> bool:
        if search.iteration == 17:
            failed.append(17)
        return bool(failed)

    case, settings = problem(3, 300), tiny(iterations=17)
    image = run(case, settings, setup=setup_of(case, settings, device=GPU)).image
    with failing(monkeypatch, fails), failing(monkeypatch, lambda _: bool(failed), name=name):
        result = goes(problem(3, 300), tiny(precision="auto"))
    assert not result.complete
    assert np.array_equal(result.image, image)
    assert result.iterations == len(result.history.loss) == 17
    assert "memory ran out on cpu" in result.stop_reason
    for tried in ("bfloat16", "activations", "tile=160", "on the CPU"):
        assert tried in result.stop_reason


def test_what_never_fits_is_an_error_that_says_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        failing(monkeypatch, lambda _: True),
        pytest.raises(OutOfMemory, match="bfloat16.*activations.*tile=160.*CPU.*fewer channels"),
    ):
        goes(problem(3, 300), auto())


def test_a_run_that_is_continued_is_never_begun_again_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    case = problem(3, 300)
    half = run(case, tiny())
    left = ("recompute", "tile")
    with failing(monkeypatch, lambda search: search.iteration == 33):
        result = goes(case, tiny(), left, states=half.states)
    assert result.iterations == 33
    assert result.settings.tile == 0
    assert not result.complete
    with failing(monkeypatch, at(33)):
        result = goes(case, tiny(), left, states=half.states)
    assert np.array_equal(result.image, run(case, tiny(), state=half.states[0]).image)


def test_a_stop_after_a_step_down_is_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = iter([False] * 12 + [True])
    with failing(monkeypatch, at(3)):
        result = goes(problem(), tiny(), should_stop=lambda: next(asked))
    assert "stopped by the user" in result.stop_reason
    assert {event.kind for event in result.history.events} == {SAVING}


# ------------------------------------------------------------------------------------------- what the user chose stays


@pytest.mark.parametrize(
    ("chosen", "never"),
    [
        ({"precision": "float32"}, "bfloat16"),
        ({"recompute": "off"}, "activations"),
        ({"tile": 200}, "tile="),
        ({"device": "cuda:0"}, "CPU"),
    ],
    ids=str,
)
def test_what_was_chosen_is_never_overridden(
    monkeypatch: pytest.MonkeyPatch, chosen: dict[str, Any], never: str
) -> None:
    knobs = {"precision": "auto", "recompute": "auto", "tile": 0, "device": "auto", **chosen}
    settings = Settings(**{**TINY, **knobs})
    left = tuple(left_open(settings))
    assert len(left) == 3
    with failing(monkeypatch, lambda _: True), pytest.raises(OutOfMemory) as caught:
        goes(problem(3, 300), settings.changed(device="cpu"), left)
    assert never not in str(caught.value).replace("device='cpu'", "")
    assert str(caught.value).count(" and ") >= 2 - (never == "tile=")


def test_a_crowd_is_no_reason_for_less(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Restoration(problem(), setup(problem(), tiny()), crowded=lambda: True)
    with failing(monkeypatch, at(0)), pytest.raises(OutOfMemory, match="beside other slices"):
        finish(work.steps())
    assert not work.setup.tried


# ------------------------------------------------------------------------------------------------- from the front door


FAST = {**TINY, "preset": "denoise-small", "iterations": 12, "runs": 1}


def test_later_slices_start_on_the_rung_that_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = np.stack([noisy(12, 14, seed=s) for s in range(3)])
    whole = napari_dip.denoise(stack, leading_axes=1, **FAST)
    with failing(monkeypatch, lambda search: search.method.recompute != "on") as failed:
        result = napari_dip.denoise(stack, leading_axes=1, **FAST)
    assert failed == [0]
    assert np.array_equal(result.image, whole.image)
    assert result.complete
    assert [event["kind"] for event in result.record["events"]] == [SAVING]
    assert result.record["settings"]["recompute"] == "on"
    more = napari_dip.denoise(stack, leading_axes=1, resume=result, iterations=3)
    assert more.iterations == 3 * 15


def test_a_stack_in_tiles_of_two_sizes_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = np.stack([noisy(3, 300, seed=s) for s in range(2)])
    makes: list[int] = []

    def fails(search: Fitter) -> bool:
        makes.append(1)
        return len(makes) > 12 and max(search.problem.image_shape) > 160

    with failing(monkeypatch, fails):
        result = napari_dip.denoise(stack, leading_axes=1, **FAST, recompute="off")
    assert result.complete
    assert np.isfinite(result.image).all()
    assert result.settings.tile == 160
    assert result.states == ()


def test_the_device_is_the_users_if_named(monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(12, 12)
    with failing(monkeypatch, lambda _: True), pytest.raises(MemoryError) as caught:
        napari_dip.denoise(image, **FAST)
    assert "on the CPU" not in str(caught.value)


# --------------------------------------------------------------------------------------------------------- recomputing


@pytest.mark.parametrize(
    ("case", "settings"),
    [
        (problem(), tiny()),
        (problem(channels=3), tiny(precision="bfloat16", upsampling="transposed", downsampling="lanczos2")),
        (problem(), tiny(skip_channels=0, optimiser="lbfgs", pointwise_up=False, filter_size=1, filter_size_up=1)),
        (problem(6, 8, 8), tiny()),
        (GUIDED, guided()),
    ],
    ids=["2-D", "other layers", "no skips", "3-D", "self-guided"],
)
def test_computing_twice_gives_the_same_image_bit_by_bit(case: Problem, settings: Settings) -> None:
    once, twice = (run(case, settings.changed(iterations=6, recompute=how)) for how in ("off", "on"))
    assert np.array_equal(once.image, twice.image)
    assert np.array_equal(once.history.loss, twice.history.loss)


def kept(case: Problem, settings: Settings) -> int:
    """Bytes that an iteration keeps for the way back."""
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run(case, settings.changed(iterations=1))
    return sum(sizes.values())


@pytest.mark.parametrize("shape", [(48, 48), (40, 36, 8)], ids=str)
def test_computing_twice_keeps_less(shape: tuple[int, ...]) -> None:
    """Of volumes that are convolved as they are: the two overlapping halves of smaller ones leave less to save."""
    settings = tiny(channels=16, code_channels=2)
    once, twice = (kept(problem(*shape), settings.changed(recompute=how)) for how in ("off", "on"))
    assert 0 < twice < 0.7 * once


def test_the_estimate_knows() -> None:
    wide = {**FAST, "channels": 32}
    once, twice = (napari_dip.estimate((512, 512), **wide, recompute=how) for how in ("off", "on"))
    assert twice.memory < once.memory
    assert twice.seconds > once.seconds


def test_what_does_not_fit_is_computed_twice_before_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    once, twice = (napari_dip.estimate((512, 512), **FAST, recompute=how).memory for how in ("off", "on"))
    monkeypatch.setattr("napari_dip.core.memory.free", lambda device: (once + twice) / 2)
    with pytest.warns(UserWarning, match="activations twice"):
        napari_dip.iterate("denoise", picture(512, 512), **FAST).close()
    with pytest.warns(UserWarning, match="tile="):
        napari_dip.iterate("denoise", picture(512, 512), **FAST, recompute="off").close()
