"""Stacks and tiles that were stopped and are gone on with: what was there before costs nothing again, and stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from napari_dip import Result, denoise, iterate
from napari_dip.core import fit
from napari_dip.core.methods import coverage, selfguided, stable
from tests.bad_inputs import QUICK
from tests.core.tiny import comparisons, picture

SIZE = 24
GUIDED = dict(preset="denoise-self", channels=4, scales=2, crop=16, batch=2, device="cpu", uncertainty=True)
CAMERA = dict(read_noise=10.0, gain=0.0, offset=0.0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole fits of 12 iterations, and of 3 from a neighbour, which always helps; an image whenever it is due."""
    monkeypatch.setattr(fit, "_RARELY", 0)  # however long the image before took to show
    monkeypatch.setattr(coverage, "EPOCHS", (10, 10, 10))
    monkeypatch.setattr(selfguided, "LEARNT", np.inf)


def stack(count: int = 3) -> np.ndarray:
    truth = np.stack([100 + 100 * np.roll(picture(SIZE, SIZE), shift, 1) for shift in range(count)])
    return truth + 10 * np.random.default_rng(0).normal(size=truth.shape)


def restored(stop: Callable[[Any], bool] = lambda progress: False, interval: float = 0, **changes: Any) -> Result:
    """A restored stack, of a run that is stopped after the first progress of which `stop` is true."""
    asked: list[bool] = []
    options = dict(leading_axes=1, interval=interval, should_stop=lambda: bool(asked), **CAMERA)
    options |= {**({} if "resume" in changes else GUIDED), **changes}
    run = iterate("denoise", stack(options.pop("count", 3)).astype(options.pop("dtype", float)), **options)
    for progress in run:
        if stop(progress):
            asked.append(True)
    return run.result


@cache
def unbroken(**knobs: Any) -> Result:
    """The stack restored without a stop, once for all tests."""
    return restored(**knobs)


def in_slice(index: int, iteration: int = 1) -> Callable[[Any], bool]:
    return lambda progress: (progress.slice, progress.iteration) == (index, iteration)


def assert_same(one: Result, other: Result) -> None:
    for name in ("image", "last", "residual", "uncertainty"):
        assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True), name
    assert one.marks == other.marks
    assert one.iterations == other.iterations
    assert np.array_equal(one.history.loss, other.history.loss)


@pytest.mark.parametrize(
    ("index", "knobs"),
    [(0, {}), (1, {}), (2, {}), (1, {"runs": 2, "similar_patches": False}), (1, {"at_once": 2}), (1, {"tile": 16})],
    ids=str,
)
def test_a_stopped_stack_comes_out_as_one_that_was_not_stopped(index: int, knobs: dict[str, Any]) -> None:
    """Slices that are begun later have the neighbours that they would have had."""
    half = restored(in_slice(index, 2), **knobs)
    assert not half.complete
    assert_same(denoise(stack(), leading_axes=1, resume=half, **CAMERA), unbroken(**knobs))


def test_a_run_that_was_stopped_over_its_final_image_makes_that_and_nothing_else() -> None:
    half = restored(lambda progress: progress.iteration > 0 and progress.ready < 1, 1e-6, count=1)
    whole = unbroken(count=1)
    assert not half.complete
    assert half.iterations == whole.iterations
    assert_same(restored(count=1, resume=half), whole)


def test_slices_that_had_ended_cost_nothing_where_others_are_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    half = restored(in_slice(2, 2))
    compared = comparisons(monkeypatch)
    shown: list[int] = []
    both = restored(lambda progress: shown.append(progress.slice), resume=half)  # type: ignore[func-returns-value]
    assert len(compared) == 2  # of the last slice: its teacher, and the share in its image
    assert set(shown) == {2}
    assert both.complete


def test_slices_that_had_ended_are_made_in_another_type_if_that_is_asked_for() -> None:
    counts = stack().astype(np.uint16)
    half, whole = restored(in_slice(2, 2), dtype="uint16"), unbroken(dtype="uint16")
    both = denoise(counts, leading_axes=1, resume=half, output_dtype="input", **CAMERA)
    assert both.image.dtype == np.uint16
    assert np.abs(both.image - whole.image).max() <= 0.5


def test_what_was_not_reached_stays_empty_in_another_type() -> None:
    half = restored(in_slice(1), dtype="uint16", output_dtype="input")
    more = restored(in_slice(1, 2), dtype="uint16", resume=half, output_dtype="float32")
    assert not half.image[2].any()
    assert [bool(np.isnan(image).all()) for image in more.image] == [False, False, True]


def test_what_was_there_stays_where_a_run_that_goes_on_is_stopped() -> None:
    done = unbroken()
    more = restored(in_slice(1, 5), resume=done)
    assert not more.complete
    assert "in slice 1, counted from 0; the slices after it are as they were" in more.stop_reason
    assert more.iterations > done.iterations
    assert len(more.marks) == 3
    for name in ("image", "last", "residual", "uncertainty"):
        assert np.array_equal(getattr(more, name)[2], getattr(done, name)[2])
        assert not np.array_equal(getattr(more, name)[0], getattr(done, name)[0])
    assert [state.iteration for state in more.states] == [24, 5, 3]  # type: ignore[union-attr]
    assert denoise(stack(), leading_axes=1, resume=more, **CAMERA).complete


@pytest.mark.parametrize("tile", [0, 16])
def test_a_stop_is_answered_before_a_run_that_goes_on_has_begun_and_changes_nothing(
    tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, plain, pauses = unbroken(tile=tile), stable.by_strips, []

    def by_strips(*rest: Any) -> Any:
        steps = plain(*rest)
        while True:
            try:
                pauses.append(next(steps))
            except StopIteration as end:
                return end.value
            yield pauses[-1]

    monkeypatch.setattr(stable, "by_strips", by_strips)
    more = denoise(stack(), leading_axes=1, resume=done, should_stop=lambda: True, **CAMERA)
    assert len(pauses) == 1
    assert_same(more, done)
    assert not more.complete


def test_tiles_that_had_ended_are_shown_and_can_be_stopped() -> None:
    """They are blended from their states, which takes time."""
    half = restored(lambda progress: (progress.tile, progress.iteration) == (1, 2), count=1, tile=16)
    shown = []

    def stop(progress: Any) -> bool:
        shown.append((progress.tile, progress.ready < 1))
        return True

    again = restored(stop, 1e-6, count=1, resume=half)
    assert shown[0] == (0, True)
    assert_same(again, half)
    assert_same(restored(count=1, resume=again), unbroken(count=1, tile=16))


def test_tiles_that_were_there_stay_where_a_run_that_goes_on_is_stopped() -> None:
    done = unbroken(count=1, tile=16)
    more = restored(lambda progress: (progress.tile, progress.iteration) == (1, 7), count=1, resume=done)
    assert "in tile 2 of 4; the tiles after it are as they were" in more.stop_reason
    assert np.isfinite(more.image).all()
    assert np.array_equal(more.image[:, 16:, 16:], done.image[:, 16:, 16:])  # where the last tile is alone
    assert not np.array_equal(more.image[:, :8, :8], done.image[:, :8, :8])
    assert all(state is not None for state in more.states)
    assert denoise(stack(1), leading_axes=1, resume=more, **CAMERA).complete


def test_runs_that_were_there_stay_where_a_run_that_goes_on_is_stopped() -> None:
    done = restored(count=1, runs=2)
    more = restored(lambda progress: (progress.run, progress.iteration) == (0, 14), count=1, resume=done)
    assert [state.iteration for state in more.states] == [14, 12]  # type: ignore[union-attr]


@pytest.mark.parametrize(("index", "iteration"), [(1, 2), (2, 7)], ids=["from a neighbour", "afresh"])
def test_what_happened_before_a_stop_is_told_too(index: int, iteration: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a slice that no neighbour helps comes out the same."""
    monkeypatch.setattr(selfguided.SelfGuidedFitter, "learnt", lambda self: np.inf if self.warm else 0.0)
    monkeypatch.setattr(selfguided, "LEARNT", 1.0)
    whole = restored()
    both = restored(resume=restored(in_slice(index, iteration)))
    assert_same(both, whole)
    assert [event.kind for event in both.history.events] == ["afresh"] * 2
    assert [event["kind"] for event in both.record["events"]] == ["afresh"] * 2


def test_a_stack_whose_slices_were_too_many_at_once_goes_on_one_after_the_other() -> None:
    half = restored(in_slice(0, 2), at_once=2)
    assert restored(resume=half, at_once=1).complete


def test_slices_at_once_stay_as_they_were_where_their_states_are_too_many_to_be_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that ends before those beside it has let go of what tells whether these have gone on."""
    monkeypatch.setattr(coverage, "EPOCHS", (40, 40, 40))
    together = dict(at_once=3, warm_start=False)
    early, late = restored(in_slice(0, 2), **together), restored(in_slice(0, 40), **together)
    half = replace(early, states=(*early.states[:2], late.states[2]))
    monkeypatch.setattr("napari_dip.core.state.STATES_AT_MOST", 0)
    more = restored(in_slice(0, 44), resume=half, at_once=3)
    assert "in slices 0 to 1, counted from 0" in more.stop_reason
    assert np.isfinite(more.image).all()


def test_a_device_that_was_found_is_not_called_chosen_by_the_user_later() -> None:
    first = denoise(picture(20, 20), **{**QUICK, "preset": "denoise-small", "device": "auto"})
    again = denoise(picture(20, 20), resume=first, progress=False)
    assert again.device == first.device
    assert again.record["device"]["reason"] == first.record["device"]["reason"]
    by_settings = denoise(picture(20, 20), settings=first.settings, progress=False)
    assert "user" not in by_settings.device.reason
