"""The front door: what goes in, in which shape and type it comes out, what it promises, and what it refuses."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import napari_dip
from napari_dip import Result, Run, Settings, deconvolve, denoise, inpaint, iterate, superresolve
from napari_dip.core import fidelity
from napari_dip.core.attempt import Attempt
from napari_dip.core.guard import Diverged
from napari_dip.core.methods import prior
from napari_dip.core.stopping import RULES
from napari_dip.tables import record
from tests.bad_inputs import QUICK, Case, bad, dot, odd, plain
from tests.core.tiny import noisy, picture, psnr

FAST = {**QUICK, "iterations": 6}
SOURCE = Path(napari_dip.__file__).parent


def stack(*shape: int) -> np.ndarray:
    """Different noisy pictures, (N, H, W), 100 to 200."""
    return np.stack([100 + 100 * noisy(*shape[1:], seed=seed) for seed in range(shape[0])])


def stop_after(steps: int) -> Callable[[], bool]:
    """A `should_stop` that lets so many iterations pass."""
    asked = iter([False] * steps)
    return lambda: next(asked, True)


# ------------------------------------------------------------------------------------------------- bad and odd inputs


@pytest.mark.parametrize("case", bad("api"), ids=str)
def test_what_cannot_be_restored_is_refused_with_a_remedy(case: Case) -> None:
    with pytest.raises(case.error) as caught:
        iterate(case.task, case.image(), case.mask(), **{**QUICK, **case.options})  # before the first next()
    for words in case.words:
        assert words in str(caught.value)


@pytest.mark.parametrize("case", odd("api"), ids=str)
def test_what_is_odd_but_valid_is_restored(case: Case) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run = iterate(case.task, case.image(), case.mask(), **{**QUICK, **case.options})
        for progress in run:
            assert np.isfinite(progress.image).all()
    assert [str(w.message) for w in said if case.warning not in str(w.message)] == []
    assert bool(said) == bool(case.warning)
    factor = case.options.get("factor", 1)
    assert run.result.image.shape == tuple(n * factor for n in np.shape(case.image()))
    assert run.result.image.dtype == (np.float64 if case.name in ("far from zero", "int64") else np.float32)
    assert np.isfinite(run.result.image).all()
    assert run.result.complete


# -------------------------------------------------------------------------------------------------- shapes and types


@pytest.mark.parametrize(
    ("shape", "options", "shown"),
    [
        ((12, 9), {}, (12, 9)),
        ((12, 9, 3), {"channel_axis": -1}, (12, 9, 3)),
        ((12, 9, 3), {"channel_axis": 2}, (12, 9, 3)),
        ((3, 12, 9), {"channel_axis": 0}, (3, 12, 9)),
        ((12, 3, 9), {"channel_axis": 1}, (12, 3, 9)),
        ((5, 8, 6), {}, (5, 8, 6)),
        ((2, 5, 8, 6), {"channel_axis": 0}, (2, 5, 8, 6)),
        ((2, 12, 9), {"leading_axes": 1}, (12, 9)),
        ((2, 1, 12, 9), {"leading_axes": 2}, (12, 9)),
        ((2, 12, 9, 3), {"leading_axes": 1, "channel_axis": -1}, (12, 9, 3)),
        ((2, 3, 12, 9), {"leading_axes": 1, "channel_axis": 1}, (3, 12, 9)),
        ((2, 5, 8, 6), {"leading_axes": 1}, (5, 8, 6)),
    ],
    ids=str,
)
def test_a_result_has_the_axes_of_the_input(
    shape: tuple[int, ...], options: dict[str, Any], shown: tuple[int, ...]
) -> None:
    image = noisy(*shape)
    run = iterate("denoise", image, interval=0, **FAST, **options)
    for progress in run:
        assert progress.image.shape == shown
    assert run.result.image.shape == shape
    assert np.isfinite(run.result.image).all()


def test_channels_stay_in_their_places() -> None:
    """Red is bright, green dark, blue between: also after a short run, wherever the channel axis is."""
    image = np.stack([picture(12, 12) + level for level in (20, 0, 10)])
    settings = {**FAST, "iterations": 150}
    first = denoise(image, channel_axis=0, **settings).image
    last = denoise(np.moveaxis(image, 0, -1), channel_axis=-1, **settings).image
    for means in (first.mean((1, 2)), last.mean((0, 1))):
        np.testing.assert_allclose(means, image.mean((1, 2)), atol=4)


@pytest.mark.parametrize(
    ("factor", "options", "shape", "expected"),
    [
        (2, {}, (6, 5), (12, 10)),
        ((1, 3), {}, (6, 5), (6, 15)),
        ([4, 2], {"kernel": "box"}, (6, 5), (24, 10)),
        (np.int64(2), {}, (6, 5), (12, 10)),
        (np.array([2, 3]), {"kernel": "gaussian"}, (6, 5), (12, 15)),
        (2, {"channel_axis": -1}, (6, 5, 3), (12, 10, 3)),
        (2, {"leading_axes": 1}, (2, 6, 5), (2, 12, 10)),
        ((1, 2, 2), {"kernel": "bicubic"}, (4, 6, 5), (4, 12, 10)),
        (2, {"kernel": "lanczos3"}, (4, 6, 5), (8, 12, 10)),
    ],
    ids=str,
)
def test_superresolution_enlarges_by_its_factors(
    factor: Any, options: dict[str, Any], shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    result = superresolve(noisy(*shape), factor, **FAST, **options)
    assert result.image.shape == expected
    assert np.isfinite(result.image).all()


def test_the_units_are_those_of_the_input() -> None:
    image = 1000 + 50 * picture(16, 16)
    result = denoise(image, **{**FAST, "iterations": 150}).image
    assert abs(result.mean() - image.mean()) < 5
    assert image.min() <= result.min() < result.max() <= image.max()  # a sigmoid keeps to the range


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint64", "int64", "float16", "float64", ">u2", ">f4"])
def test_the_type_of_the_input_comes_back_on_request(dtype: str) -> None:
    image = (100 * picture(9, 12)).astype(dtype)
    as_float = denoise(image, **FAST).image
    same = denoise(image, output_dtype="input", **FAST).image
    assert as_float.dtype == np.float32
    assert same.dtype == dtype
    if same.dtype.kind in "iu":
        np.testing.assert_allclose(same.astype(float), np.rint(as_float), atol=0.01)
    else:
        np.testing.assert_allclose(same.astype(float), as_float, rtol=1e-3)


def test_integers_are_clipped_to_their_range() -> None:
    """A linear output leaves the range of the image, which here is all that the type can hold."""
    image = np.where(picture(12, 12) > 0.5, 65535, 0).astype(np.uint16)
    knobs = {**FAST, "iterations": 40, "output": "linear", "average": 0.0, "learning_rate": 0.05}
    as_float, same = denoise(image, **knobs).image, denoise(image, output_dtype="input", **knobs).image
    assert as_float.min() < 0 or as_float.max() > 65535
    np.testing.assert_array_equal(same, np.clip(np.rint(as_float.astype(float)), 0, 65535))


# -------------------------------------------------------------------------------------------------- source and layout

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Fortran": np.asfortranarray,
    "negative strides": lambda image: np.ascontiguousarray(image[::-1, ::-1])[::-1, ::-1],
    "a crop": lambda image: np.pad(image, 3)[3:-3, 3:-3],
    "transposed": lambda image: np.ascontiguousarray(image.T).T,
    "big-endian": lambda image: image.astype(">f8"),
    "float16": lambda image: image.astype(np.float16),
    "float32": lambda image: image.astype(np.float32),
    "int64": lambda image: image.astype(np.int64),
    "uint64": lambda image: image.astype(np.uint64),
    "big-endian int16": lambda image: image.astype(">i2"),
}


@cache
def of_plain(task: str) -> np.ndarray:
    """The plain image restored."""
    run = iterate(task, plain(), dot(), **FAST)
    list(run)
    return run.result.image


@pytest.mark.parametrize("task", ["denoise", "inpaint"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_neither_type_nor_layout_matters_and_the_source_is_left_alone(layout: Any, task: str) -> None:
    image = layout(plain())
    image.flags.writeable = False
    before, strides = image.copy(), image.strides
    result = iterate(task, image, dot(), **FAST)
    list(result)
    np.testing.assert_allclose(result.result.image, of_plain(task), rtol=1e-4, atol=1e-2)
    np.testing.assert_array_equal(image, before)
    assert (image.dtype, image.strides) == (before.dtype, strides)


def test_the_result_shares_no_memory_with_the_source() -> None:
    image = plain().astype(np.float32)
    for result in (denoise(image, **FAST), inpaint(image, dot(), output_dtype="input", **FAST)):
        assert not np.shares_memory(result.image, image)
        assert result.image.flags.writeable
    with pytest.warns(UserWarning, match="one value"):
        assert not np.shares_memory(denoise(np.ones((4, 4), np.float32), **FAST).image, image)


# -------------------------------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("make", [np.asarray, lambda m: m.astype(np.uint8) * 255, lambda m: m.tolist()])
def test_a_mask_is_accepted_in_every_shape(make: Any) -> None:
    image = np.stack([stack(3, 9, 12), stack(3, 9, 12) + 3]).transpose(0, 2, 3, 1)  # (2, 9, 12, 3)
    options = {"leading_axes": 1, "channel_axis": -1, **FAST}
    expected = inpaint(image, dot(), **options).image
    for mask in (np.stack([dot()] * 2), np.broadcast_to(dot()[None, :, :, None], image.shape)):
        assert np.array_equal(inpaint(image, make(mask), **options).image, expected)


def test_masks_may_differ_between_slices_and_channels() -> None:
    image = np.stack([plain(), plain()[::-1]])
    mask = np.stack([dot(), np.roll(dot(), 2)])
    for options in ({"leading_axes": 1}, {"channel_axis": 0}):
        result = inpaint(image, mask, **options, **FAST).image
        assert np.array_equal(result[~mask], image[~mask].astype(np.float32))
        assert not np.any(result[mask] == image[mask])


@pytest.mark.parametrize("task", ["denoise", "inpaint", "superresolve"])
def test_what_is_under_the_mask_never_matters(task: str) -> None:
    options = {**FAST, "factor": 2} if task == "superresolve" else FAST
    images = []
    for value in (50.0, -1e300, np.nan, np.inf):
        image = plain()
        image[dot()] = value
        run = iterate(task, image, dot(), **options)
        list(run)
        images.append(run.result.image)
    assert all(np.array_equal(image, images[0]) for image in images)


def test_the_loss_is_the_mean_square_error_of_known_pixels_in_units_of_their_range() -> None:
    mask = plain() > 70
    result = inpaint(plain(), mask, keep_known=False, average=0.0, **FAST)
    error = (result.image - plain())[~mask] / np.ptp(plain()[~mask])
    assert result.history.loss[-1] == pytest.approx(np.mean(error**2), rel=1e-4)


def test_pixels_that_are_not_finite_count_as_missing() -> None:
    holed = plain()
    holed[dot()] = [np.nan, np.inf]
    expected = inpaint(plain(), dot(), **FAST)
    result = inpaint(holed, **FAST)
    assert np.array_equal(result.image, expected.image)
    assert result.record["missing_pixels"] == expected.record["missing_pixels"] == 2


@pytest.mark.parametrize("dtype", ["float64", "uint8", "int64", "uint64", ">i8"])
def test_inpainting_keeps_known_pixels_exactly(dtype: str) -> None:
    image = plain().astype(dtype)
    if image.dtype.itemsize == 8 and image.dtype.kind in "iu":
        image = (image * 2**50 + image.dtype.type(2**61 + 1)).astype(dtype)  # beyond what float64 can hold
    result = inpaint(image, dot(), output_dtype="input", **FAST).image
    assert result.dtype == dtype
    assert np.array_equal(result[~dot()], image[~dot()])
    for progress in (run := iterate("inpaint", image, dot(), interval=0, **FAST)):
        assert np.array_equal(progress.image[~dot()], image[~dot()].astype(np.float32))
    assert np.array_equal(run.result.image[~dot()], image[~dot()].astype(np.float32))


def test_inpainting_keeps_known_pixels_that_float64_cannot_tell_apart() -> None:
    image = plain().astype(np.int64) + 2**62
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = inpaint(image, dot(), output_dtype="input", **FAST).image
    assert np.array_equal(result[~dot()], image[~dot()])


def test_inpainting_restores_known_pixels_too_on_request() -> None:
    free = inpaint(plain(), dot(), keep_known=False, **FAST).image
    kept = inpaint(plain(), dot(), **FAST).image
    assert not np.any(free[~dot()] == plain()[~dot()].astype(np.float32))
    assert np.array_equal(free[dot()], kept[dot()])


# ------------------------------------------------------------------------------------------------------------- stacks


@pytest.mark.parametrize("options", [{}, {"channel_axis": -1}], ids=["gray", "colour"])
def test_a_slice_of_a_stack_is_restored_as_on_its_own_with_one_scaling(options: dict[str, Any]) -> None:
    image = stack(3, 9, 12)
    if options:
        image = np.stack([image, image[::-1]], -1)
    image[1] *= 2
    result = denoise(image, leading_axes=1, **options, **FAST)
    low, high = result.record["intensity_range"]
    assert (low, high) == (image.min(), image.max())
    assert result.iterations == len(result.history.loss) == 3 * FAST["iterations"]
    for one, restored in zip(image, result.image, strict=True):
        assert np.array_equal(denoise(one, intensity_range=(low, high), **options, **FAST).image, restored)


def test_progress_counts_slices() -> None:
    shown = list(iterate("denoise", stack(3, 9, 12), leading_axes=1, interval=0, **FAST))
    assert [(p.slice, p.iteration) for p in shown] == [(s, i) for s in range(3) for i in range(1, 7)]
    fractions = [p.fraction for p in shown]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert {p.slices for p in shown} == {3}


@pytest.mark.parametrize(("output", "empty"), [("float32", np.nan), ("input", 0)])
def test_slices_that_a_stopped_run_did_not_reach_are_empty(output: str, empty: float) -> None:
    image = stack(4, 9, 12).astype(np.uint8)
    result = denoise(image, leading_axes=1, output_dtype=output, should_stop=stop_after(9), **FAST)
    whole = denoise(image, leading_axes=1, output_dtype=output, **FAST)
    assert np.array_equal(result.image[0], whole.image[0])
    assert np.isfinite(result.image[1]).all()
    assert result.image[1].any()
    np.testing.assert_array_equal(result.image[2:], empty)
    assert not result.complete
    assert result.iterations == 9
    for words in ("stopped", "slice 1", "empty"):
        assert words in result.stop_reason
    assert whole.whole
    assert not result.whole
    assert f"Slices 2 to 3 are {'NaN' if output == 'float32' else 0}: the run ended before them" in result.warnings


def test_tiles_that_a_stopped_run_did_not_reach_are_said() -> None:
    result = denoise(stack(16, 40), should_stop=stop_after(9), **FAST, tile=16, overlap=4)
    assert np.isnan(result.image).any()
    assert not result.whole
    assert "Parts of the image are NaN: the run ended before them" in result.warnings


def test_a_slice_at_which_no_step_was_made_is_empty_too() -> None:
    """A stop between two slices leaves no untrained image that looks like a result."""
    result = denoise(stack(3, 9, 12), leading_axes=1, should_stop=stop_after(6), **FAST)
    assert np.isfinite(result.image[0]).all()
    assert np.isnan(result.image[1:]).all()


def test_slices_with_nothing_to_fit_are_passed_over() -> None:
    image = stack(4, 9, 12)
    image[1] = 130
    image[3] = np.nan
    with pytest.warns(UserWarning, match="one value only|no known pixel") as said:
        result = denoise(image, leading_axes=1, **FAST)
    assert {str(w.message).split(" has ")[1] for w in said} == {
        "one value only and comes back as it is",
        "no known pixel and stays empty",
    }
    assert "slice 1 has one value only and comes back as it is" in result.warnings
    assert (result.image[1] == 130).all()
    assert np.isnan(result.image[3]).all()
    assert result.iterations == 2 * FAST["iterations"]
    assert result.complete


def test_the_remedy_for_a_tiny_image_is_more_of_it() -> None:
    (warning,) = denoise(np.arange(4.0).reshape(2, 2), **FAST).warnings
    assert "2 x 2 pixels, too few to tell noise from structure; restore more of it at once" in warning


@pytest.mark.filterwarnings("ignore:mask. 99% of the pixels count as missing")
@pytest.mark.parametrize("known", [80, 1], ids=["flat", "one known pixel"])
def test_holes_in_one_value_are_said_to_be_filled_with_it(known: int) -> None:
    mask = np.arange(81).reshape(9, 9) >= known
    with pytest.warns(UserWarning, match="^the image has one value only, and its holes are filled with it$"):
        result = inpaint(np.full((9, 9), 7.0), mask, **FAST)
    assert (result.image == 7).all()
    assert "the image has one value only, and its holes are filled with it" in result.warnings


@pytest.mark.filterwarnings("ignore:slice . has one value only", "ignore:psf has a background")
def test_what_is_warned_of_before_a_run_stays_with_the_result() -> None:
    y, x = np.indices((15, 15)) - 7
    psf = 1000 * np.exp(-(y**2 + x**2) / 4) + 100
    image = stack(3, 15, 15)
    image[1:] = 7
    result = deconvolve(image, psf, leading_axes=1, **FAST)
    flat, background = (each for each in result.warnings if each.startswith(("2 slices have", "psf has a")))
    assert "slice 1 has one value only" in flat
    assert "background of 100" in background
    assert result.record["warnings"] == list(result.warnings)


def test_pixels_without_a_value_are_said_to_be_filled_where_nobody_asked_for_it() -> None:
    image = stack(2, 9, 12)
    image[0, 2:4, 3:5] = np.nan
    said = "Filled from their surroundings, not measured: 4 pixels without a value (NaN, infinite)"
    assert said in denoise(image, leading_axes=1, **FAST).warnings
    assert said not in inpaint(image, leading_axes=1, **FAST).warnings


def test_slices_that_a_run_did_not_come_to_are_not_said_to_come_back() -> None:
    image = stack(3, 9, 12)
    image[2] = 7
    run = iterate("denoise", image, leading_axes=1, should_stop=lambda: True, **FAST)
    for _ in run:
        pass
    assert not run.result.complete
    assert not any("one value" in each for each in run.result.warnings)


def test_a_slice_that_has_no_hole_is_kept() -> None:
    image, mask = stack(2, 9, 12), np.stack([dot(), np.zeros_like(dot())])
    assert np.array_equal(inpaint(image, mask, leading_axes=1, **FAST).image[1], image[1].astype(np.float32))


def test_an_error_in_a_later_slice_keeps_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    make, made = prior.fresh_generator, []

    def fresh_generator(*rest: Any) -> Any:
        made.append(1)
        if len(made) >= 2:  # on every rung of the ladder
            raise MemoryError("on purpose")
        return make(*rest)

    monkeypatch.setattr(prior, "fresh_generator", fresh_generator)
    result = denoise(stack(3, 9, 12), leading_axes=1, **FAST)
    assert np.isfinite(result.image[0]).all()
    assert np.isnan(result.image[1:]).all()
    assert "memory ran out" in result.stop_reason
    assert "slice 1" in result.stop_reason


def test_a_flat_image_comes_back_with_a_warning() -> None:
    for image in (np.full((6, 8), 7, np.uint8), np.full((6, 8), -0.25)):
        with pytest.warns(UserWarning, match="one value"):
            result = superresolve(image, 2, output_dtype="input", **FAST)
        assert result.image.dtype == image.dtype
        assert result.image.shape == (12, 16)
        assert (result.image == image[0, 0]).all()
        assert result.iterations == 0
        assert "nothing to fit" in result.stop_reason


# -------------------------------------------------------------------------------------------------- run, stop, resume


@pytest.mark.parametrize("end", ["finished", "closed", "failed"])
def test_the_number_of_threads_is_given_back(end: str) -> None:
    before = torch.get_num_threads()

    def should_stop() -> bool:
        if end == "failed":
            raise KeyError("on purpose")
        return False

    knobs = {**FAST, "threads": before + 1, "iterations": 1}
    run = iterate("denoise", plain(), **knobs, interval=0, should_stop=should_stop)
    if end == "failed":
        with pytest.raises(KeyError):
            next(run)
    else:
        next(run)
        assert torch.get_num_threads() == before
        run.close() if end == "closed" else list(run)
    assert torch.get_num_threads() == before


def test_runs_in_turn_compute_each_on_its_own_number_of_threads() -> None:
    before, met = torch.get_num_threads(), {1: set[int](), 2: set[int]()}

    def never(threads: int) -> bool:
        met[threads].add(torch.get_num_threads())
        return False

    one, two = (
        iterate("denoise", plain(), interval=0, should_stop=partial(never, n), **{**FAST, "threads": n}) for n in met
    )
    for _ in zip(one, two, strict=False):
        pass
    list(one), list(two)
    assert met == {1: {1}, 2: {2}}
    assert torch.get_num_threads() == before


def test_a_thread_that_begins_during_a_run_computes_on_the_number_of_the_process() -> None:
    before, met = torch.get_num_threads(), []

    def should_stop() -> bool:
        with ThreadPoolExecutor(1) as new:
            met.append((torch.get_num_threads(), new.submit(torch.get_num_threads).result()))
        return True

    denoise(plain(), **{**FAST, "threads": before + 1}, should_stop=should_stop)
    assert met[0] == (before + 1, before)


def test_a_run_that_is_closed_on_another_thread_leaves_the_number_of_that_alone() -> None:
    before = torch.get_num_threads()
    run = iterate("denoise", plain(), **{**FAST, "threads": before + 1}, interval=0)
    with ThreadPoolExecutor(1) as other:
        other.submit(next, run).result()
        run.close()
        assert torch.get_num_threads() == before


def test_no_preview_is_made_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    def preview(attempt: Attempt) -> None:
        pytest.fail("a preview was made")

    with monkeypatch.context() as patched:
        patched.setattr("time.perf_counter", iter(range(10**6)).__next__)  # a second goes by at each look
        patched.setattr(Attempt, "preview", preview)
        denoise(plain(), progress=False, **FAST)
    denoise(plain(), progress=False, interval=0, **FAST)  # as asked for


def test_a_run_has_no_result_before_its_end() -> None:
    run = iterate("denoise", plain(), interval=0, **FAST)
    assert isinstance(run, Run)
    with pytest.raises(RuntimeError, match="exhaust"):
        run.result  # noqa: B018
    next(run)
    with pytest.raises(RuntimeError, match="exhaust"):
        run.result  # noqa: B018
    list(run)
    assert run.result.complete
    assert list(run) == []
    assert run.result is run.result


def test_a_closed_run_has_no_result() -> None:
    run = iterate("denoise", plain(), interval=0, **FAST)
    next(run)
    run.close()
    assert list(run) == []
    with pytest.raises(RuntimeError, match="exhaust"):
        run.result  # noqa: B018


def test_a_stop_before_the_first_iteration_still_has_a_result() -> None:
    result = denoise(plain(), should_stop=lambda: True, **FAST)
    assert result.image.shape == (9, 12)
    assert np.isfinite(result.image).all()
    assert result.iterations == 0
    assert not result.complete


@pytest.mark.parametrize("task", ["denoise", "inpaint", "superresolve"])
def test_resuming_is_the_same_as_not_having_stopped(task: str) -> None:
    def run(iterations: int, **options: Any) -> Result:
        knobs = {**QUICK, "iterations": iterations, **({"factor": 2} if task == "superresolve" else {})}
        steps = iterate(task, stack(2, 9, 12), dot(), leading_axes=1, **knobs, **options)
        list(steps)
        return steps.result

    both, whole = run(8, resume=run(5)), run(13)
    assert np.array_equal(both.image, whole.image)
    assert np.array_equal(both.history.loss, whole.history.loss)
    assert both.iterations == whole.iterations == 26


def test_resuming_takes_the_settings_of_the_result() -> None:
    half = denoise(plain(), seed=7, average=0.5, **FAST)
    both = denoise(plain(), resume=half)
    assert both.settings == half.settings
    assert np.array_equal(both.image, denoise(plain(), seed=7, average=0.5, **{**FAST, "iterations": 12}).image)


def test_a_stopped_stack_is_finished_by_resuming() -> None:
    half = denoise(stack(3, 9, 12), leading_axes=1, should_stop=stop_after(9), **FAST)
    both = denoise(stack(3, 9, 12), leading_axes=1, resume=half)
    assert np.isfinite(both.image).all()
    assert both.complete


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("image", {"image": plain() + 1}),
        ("image", {"image": plain().astype(np.float32)}),
        ("seed", {"seed": 1}),
        ("channels", {"channels": 5}),
        ("learning_rate", {"learning_rate": 0.02}),
        ("mask", {"mask": np.roll(dot(), 1)}),
        ("mask", {"mask": None}),
        ("factor", {"factor": 3}),
        ("factor", {"factor": (2, 1)}),
        ("kernel", {"kernel": "box"}),
        ("intensity_range", {"intensity_range": (0, 500)}),
        ("task", {"task": "denoise", "factor": None}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_only_the_same_problem_can_be_resumed(name: str, change: dict[str, Any]) -> None:
    asked = {"task": "superresolve", "image": plain(), "mask": dot(), "factor": 2, **FAST}
    half = iterate(**asked)
    list(half)
    with pytest.raises(ValueError, match=name):
        iterate(**{**asked, **change}, resume=half.result)


def test_only_with_the_same_guide_can_be_resumed() -> None:
    half = denoise(plain(), code="guide", guide=plain()[::-1], **FAST)
    with pytest.raises(ValueError, match="guide"):
        denoise(plain(), code="guide", guide=plain(), resume=half, **FAST)


def test_a_result_without_state_cannot_be_resumed() -> None:
    with pytest.warns(UserWarning, match="one value"):
        flat = denoise(np.ones((8, 8)), **FAST)
    with pytest.raises(ValueError, match="state"):
        denoise(np.ones((8, 8)), resume=flat)


def test_a_run_that_diverges_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity.Gaussian, "forward", lambda self, a, b: (a - b).mean() * torch.nan)
    with pytest.raises(Diverged, match="learning_rate"):
        denoise(plain(), **{**FAST, "iterations": 100})


def test_a_guide_is_used() -> None:
    knobs = {**FAST, "code": "guide"}
    guides = {"gray": picture(9, 12), "colour": np.stack([picture(9, 12)] * 3, -1), "with a NaN": picture(9, 12)}
    guides["with a NaN"][0, 0] = np.nan
    for guide in guides.values():
        assert np.isfinite(denoise(noisy(9, 12), guide=guide, **knobs).image).all()
    one, other = (
        denoise(noisy(9, 12), guide=g, **knobs).image for g in (guides["gray"], picture(9, 12).T.reshape(9, 12))
    )
    assert not np.array_equal(one, other)


# ------------------------------------------------------------------------------------- residual, uncertainty, stopping


@pytest.mark.parametrize("task", ["denoise", "superresolve"])
def test_the_residual_is_what_the_image_leaves_unexplained(task: str) -> None:
    image = np.stack([stack(2, 8, 12)] * 3, -1)
    mask = np.zeros((8, 12), bool)
    mask[3, 4] = True
    run = iterate(
        task,
        image,
        mask,
        factor=2 if task == "superresolve" else None,
        kernel="box",
        leading_axes=1,
        channel_axis=-1,
        **FAST,
    )
    list(run)
    result = run.result
    assert (result.residual.shape, result.residual.dtype) == (image.shape, np.float32)
    missing = np.broadcast_to(mask[None, :, :, None], image.shape)
    assert np.array_equal(np.isnan(result.residual), missing)
    expected = result.image
    if task == "superresolve":
        expected = expected.reshape(2, 8, 2, 12, 2, 3).mean((2, 4))
    np.testing.assert_allclose(result.residual[~missing], (image - expected)[~missing], atol=1e-3)


def test_known_pixels_that_are_kept_have_a_residual_but_no_uncertainty() -> None:
    result = inpaint(plain(), dot(), uncertainty=True, **FAST)
    assert np.abs(result.residual[~dot()]).max() > 1
    assert np.array_equal(np.isnan(result.uncertainty), ~dot())


@pytest.mark.parametrize(
    ("knobs", "source"),
    [({"runs": 2}, "runs and iterates"), ({"optimiser": "sgld"}, "samples"), ({}, "iterates")],
    ids=["runs", "samples", "iterates"],
)
def test_the_uncertainty_is_in_the_units_of_the_image(knobs: dict[str, Any], source: str) -> None:
    maps = []
    for scale in (1, 1000):
        result = denoise(scale * stack(2, 9, 12) + 7, leading_axes=1, uncertainty=True, **{**FAST, **knobs})
        assert (result.uncertainty.shape, result.uncertainty.dtype) == (result.image.shape, np.float32)
        assert result.record["uncertainty"] == source
        maps.append(result.uncertainty)
    np.testing.assert_allclose(maps[1], 1000 * maps[0], rtol=0.02)
    assert (maps[0] > 0).all()
    assert denoise(plain(), **FAST).uncertainty is None


def test_slices_that_were_not_reached_have_no_residual_and_no_uncertainty() -> None:
    result = denoise(stack(3, 9, 12), leading_axes=1, uncertainty=True, should_stop=stop_after(9), **FAST)
    for values in (result.residual, result.uncertainty):
        assert np.isfinite(values[:2]).all()
        assert np.isnan(values[2]).all()


def test_the_runs_of_every_slice_are_gone_on_with() -> None:
    half = denoise(stack(2, 9, 12), leading_axes=1, **{**FAST, "runs": 2})
    both = denoise(stack(2, 9, 12), leading_axes=1, resume=half)
    whole = denoise(stack(2, 9, 12), leading_axes=1, **{**FAST, "runs": 2, "iterations": 12})
    np.testing.assert_allclose(both.image, whole.image, atol=1e-3)
    assert both.iterations == whole.iterations == 48


def grainy(*shape: int, gain: float = 4.0) -> np.ndarray:
    """Photons of a picture, times a gain, above an offset of 10 counts."""
    return 10 + gain * np.random.default_rng(0).poisson(20 + 100 * picture(*shape)).astype(float)


def test_the_noise_is_that_of_the_image_in_its_units() -> None:
    result = denoise(grainy(64, 64), **FAST)
    assert result.noise.sigma == pytest.approx(np.sqrt(4 * (grainy(64, 64).mean() - 10)), rel=0.15)
    assert result.record["noise"]["sigma"] == result.noise.sigma
    assert result.rule.name == "held-out"


def test_the_values_of_a_camera_override_the_estimate() -> None:
    result = denoise(grainy(64, 64), gain=4.0, offset=10.0, read_noise=0.0, **FAST)
    assert (result.noise.gain, result.noise.offset, result.noise.read_noise) == (4, 10, 0)
    assert result.record["camera"] == {"gain": 4, "offset": 10, "read_noise": 0}
    assert denoise(grainy(64, 64), gain=3.0, **FAST).noise.gain == 3
    with pytest.raises(ValueError, match="gain"):
        iterate("denoise", grainy(64, 64), gain=-1.0, **FAST)


def test_one_noise_serves_all_slices_at_the_mean_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    problems, plain = [], Attempt.begin

    def begin(attempt: Attempt) -> None:
        problems.append(attempt.problem)
        plain(attempt)

    monkeypatch.setattr(Attempt, "begin", begin)
    image = np.stack([grainy(64, 64), 3 * grainy(64, 64) - 20])
    denoise(image, leading_axes=1, gain=4.0, offset=10.0, read_noise=0.0, **FAST)
    for one, problem in zip(image, problems, strict=True):
        expected = 4 * (one.mean() - 10) / np.ptp(image) ** 2
        assert problem.noise is not None
        assert problem.noise.sigma**2 == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("noise", ["gaussian", "poisson-gaussian", "impulse"])
def test_each_kind_of_noise_has_its_fidelity(noise: str) -> None:
    image, knobs = grainy(32, 32), {**FAST, "iterations": 60, "channels": 8, "stop": "iterations"}
    result = denoise(image, noise=noise, **knobs)
    truth = 10 + 4 * (20 + 100 * picture(32, 32))
    assert psnr(result.image, truth) > psnr(np.full_like(truth, truth.mean()), truth)
    assert np.array_equal(result.image, denoise(image, **knobs).image) == (noise == "gaussian")


@pytest.mark.parametrize("shape", [(1, 200), (200, 1), (1, 1, 200), (2, 100)])
def test_the_noise_of_a_line_is_known_and_leaves_it(shape: tuple[int, ...]) -> None:
    truth = 100 + 50 * np.sin(np.indices(shape).sum(0) / 9)
    image = truth + np.random.default_rng(0).normal(0, 10, shape)
    result = denoise(image, device="cpu", crop=16, batch=2, channels=4, iterations=60)
    assert result.method.name == "self-guided"
    assert result.noise.sigma == pytest.approx(10, rel=0.25)
    assert psnr(result.image, truth) > psnr(image, truth) + 3


def test_the_noise_of_a_few_pixels_is_a_guess_and_one_pixel_has_none() -> None:
    image = 100 + np.random.default_rng(0).normal(0, 10, (1, 20))
    assert "guess" in denoise(image, **FAST).noise.warning
    with pytest.warns(UserWarning, match="one value"):
        assert denoise(np.ones((1, 1)), **FAST).noise is None


def test_a_record_tells_the_rule_its_reason_and_its_mark() -> None:
    told = denoise(plain(), stop="held-out", **FAST).record
    assert told["stop_rule"] == {"name": "held-out", "reason": "chosen by the user"}
    assert told["marks"] == [6]


def test_the_image_at_the_end_stays_beside_the_one_that_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RULES["variance"], "score", lambda _, fitter: torch.tensor(abs(fitter.iteration - 20.0)))
    monkeypatch.setattr(RULES["variance"], "warm_up", 0)
    result = denoise(noisy(12, 12), stop="variance", **{**FAST, "iterations": 40})
    assert result.last.shape == result.image.shape
    assert result.marks == (20,)
    assert result.iterations == 40
    assert not np.array_equal(result.last, result.image)


# --------------------------------------------------------------------------------------------------- settings, record


def test_settings_may_be_given_whole_and_changed() -> None:
    settings = Settings(**FAST, seed=3)
    by_name = denoise(plain(), **FAST, seed=3, preset="original-denoise", code_scale=0.1, skip_channels=4)
    as_whole = denoise(plain(), settings=settings)
    assert np.array_equal(as_whole.image, by_name.image)
    assert denoise(plain(), settings=settings, iterations=2).iterations == 2
    assert settings.iterations == FAST["iterations"]


def test_a_result_says_what_auto_became() -> None:
    result = denoise(plain(), **{**FAST, "device": "auto"})
    assert result.settings.preset != "auto"
    assert result.settings.device != "auto"
    assert result.settings.device == result.device.name


def test_a_record_is_json_and_repeats_the_run() -> None:
    knobs = {**FAST, "channels": (4, 3), "weight_noise": 0.01, "seed": 5}
    image = stack(2, 9, 12)
    result = superresolve(image, (2, 1), dot(), leading_axes=1, kernel="box", **knobs)
    told = json.loads(json.dumps(result.record, allow_nan=False))
    again = iterate(
        told["task"],
        image,
        dot(),
        factor=told["factor"],
        kernel=told["kernel"],
        channel_axis=told["input"]["channel_axis"],
        leading_axes=told["input"]["leading_axes"],
        intensity_range=tuple(told["intensity_range"]),
        settings=Settings(**told["settings"]),
    )
    list(again)
    assert np.array_equal(again.result.image, result.image)
    changing = ("seconds", "finished", "method")
    assert {k: v for k, v in again.result.record.items() if k not in changing} == {
        k: v for k, v in result.record.items() if k not in changing
    }


@pytest.mark.parametrize("end", ["stopped", "resumed"])
def test_the_record_of_a_longer_or_shorter_run_repeats_it_too(end: str) -> None:
    if end == "stopped":
        result = denoise(plain(), should_stop=stop_after(4), **FAST)
    else:
        result = denoise(plain(), resume=denoise(plain(), **FAST), iterations=3)
    settings = Settings(**result.record["settings"]).changed(iterations=result.record["iterations"])
    assert np.array_equal(denoise(plain(), settings=settings).image, result.image)


def test_a_record_tells_what_was_done() -> None:
    result = denoise(plain(), dot(), **FAST)
    told = result.record
    assert told["task"] == "denoise"
    assert told["missing_pixels"] == 2
    assert told["intensity_range"] == [plain()[~dot()].min(), plain()[~dot()].max()]
    assert told["input"]["shape"] == [9, 12]
    assert told["input"]["dtype"] == "float64"
    assert told["input"]["sha256"] == record.fingerprint(plain()[None, None])
    assert told["device"]["name"] == "cpu"
    assert (told["iterations"], told["stop_reason"]) == (6, result.stop_reason)
    assert told["events"] == []
    assert (
        told["software"]["torch"] == torch.__version__.split("+")[0] or told["software"]["torch"] == torch.__version__
    )
    assert told["finished"].endswith("+00:00")


def test_a_record_has_no_mask_where_no_pixel_is_missing() -> None:
    assert denoise(plain(), **FAST).record["mask"] is None


def test_records_of_different_masks_differ() -> None:
    one, other = (
        inpaint(plain(), mask, intensity_range=(0, 107), **FAST).record for mask in (dot(), np.roll(dot(), 1))
    )
    assert {**one, "seconds": 0, "finished": ""} != {**other, "seconds": 0, "finished": ""}


def test_records_of_different_guides_differ() -> None:
    one, other = (denoise(plain(), code="guide", guide=guide, **FAST).record for guide in (plain(), plain()[::-1]))
    assert {**one, "seconds": 0, "finished": ""} != {**other, "seconds": 0, "finished": ""}


def test_the_fingerprint_is_of_the_values() -> None:
    image = plain()
    same = [image.copy(), np.asfortranarray(image), image.astype(">f8"), np.pad(image, 1)[1:-1, 1:-1]]
    other = [image + 1, image.T, image.reshape(-1), image.astype(np.float32), image[::-1]]
    assert {record.fingerprint(a) for a in same} == {record.fingerprint(image)}
    assert len({record.fingerprint(a) for a in [image, *other]}) == 6
    assert record.fingerprint(np.zeros((0, 3))) != record.fingerprint(np.zeros((3, 0)))


# ------------------------------------------------------------------------------------------------------------ package


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, napari_dip; napari_dip.PRESETS; napari_dip.Settings(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "napari_dip" in loaded
    assert not loaded & {"torch", "napari", "qtpy", "PyQt6", "magicgui", "scipy", "skimage", "npe2"}


def test_a_first_run_imports_only_what_it_computes_with() -> None:
    code = (
        "import sys, numpy; from napari_dip import denoise; "
        "image = numpy.random.default_rng(0).random((16, 16)); "
        "[denoise(image, preset=f'denoise-{each}', iterations=1, device='cpu', progress=False) "
        "for each in ('self', 'small')]; "
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "napari_dip.core.methods.bins" in done.stdout.split()
    slow = {"scipy.signal", "scipy.stats", "scipy.optimize"}  # together 0.6 s
    assert not slow & set(done.stdout.split())


def test_public_names_are_there_and_others_are_not() -> None:
    for name in napari_dip.__all__:
        assert getattr(napari_dip, name).__doc__
    assert set(napari_dip.__all__) <= set(dir(napari_dip))
    assert napari_dip.__version__
    with pytest.raises(AttributeError, match="sharpen"):
        napari_dip.sharpen  # noqa: B018


def imported(path: Path) -> set[str]:
    """The names that a file imports, wherever it does."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize(
    "path", [p for p in sorted(SOURCE.rglob("*.py")) if "viewer" not in p.parts], ids=lambda p: p.name
)
def test_only_the_viewer_imports_the_window(path: Path) -> None:
    window = ("napari.", "qtpy", "magicgui", "superqt", "PyQt", "napari_dip.viewer")
    assert not [name for name in imported(path) if f"{name}.".startswith(window)]


def test_the_core_needs_no_more_than_torch_and_scikit_image() -> None:
    allowed = {"torch", "numpy", "scipy", "skimage", "napari_dip", *sys.stdlib_module_names}
    for path in sorted((SOURCE / "core").rglob("*.py")):
        assert {name.partition(".")[0] for name in imported(path)} <= allowed, path
    assert importlib.import_module("napari_dip.core")


def test_files_are_read_and_written_by_what_imports_nothing_else_of_ours() -> None:
    """But the words of remedies, `doors`, which import nothing of ours."""
    for path in sorted((SOURCE / "io").rglob("*.py")):
        ours = {name for name in imported(path) if name.startswith("napari_dip")}
        assert not [name for name in ours if not name.startswith(("napari_dip.io.", "napari_dip.doors."))], path


# ------------------------------------------------------------------------------------------------------- does it work

WORKS = {"channels": 16, "scales": 3, "code_channels": 16, "skip_channels": 4, "device": "cpu", "average": 0.95}


def test_noise_is_removed() -> None:
    truth, image = picture(24, 24), noisy(24, 24, sigma=0.15)
    result = denoise(image, iterations=150, **WORKS)
    assert psnr(result.image, truth) > psnr(image, truth) + 3


def test_holes_are_filled_better_than_by_the_mean() -> None:
    truth = picture(24, 24)
    mask = np.random.default_rng(0).random(truth.shape) < 0.5
    result = inpaint(truth, mask, iterations=150, **WORKS).image
    assert psnr(result[mask], truth[mask]) > psnr(np.full(mask.sum(), truth[~mask].mean()), truth[mask]) + 6


def test_enlarging_beats_repeating_pixels() -> None:
    truth = picture(24, 24)
    coarse = truth.reshape(12, 2, 12, 2).mean((1, 3))
    result = superresolve(coarse, 2, kernel="box", iterations=200, **WORKS).image
    assert psnr(result, truth) > psnr(coarse.repeat(2, 0).repeat(2, 1), truth) + 1


# -------------------------------------------------------------------------------------------------------------- tiles


def test_a_stack_in_tiles_goes_on_where_it_was_and_says_what_it_is() -> None:
    stack = np.random.default_rng(0).normal(100, 5, size=(2, 18, 30))
    once = denoise(stack, leading_axes=1, tile=18, overlap=6, **{**QUICK, "iterations": 4}, preset="denoise-small")
    first = denoise(stack, leading_axes=1, tile=18, overlap=6, **{**QUICK, "iterations": 2}, preset="denoise-small")
    both = denoise(stack, leading_axes=1, resume=first, iterations=2)
    np.testing.assert_allclose(both.image, once.image, rtol=1e-5)
    assert len(both.marks) == 4
    assert both.record["settings"]["tile"] == 18
    with pytest.raises(ValueError, match="tile=0 was 18 in the run to be continued"):
        denoise(stack, leading_axes=1, resume=first, tile=0)


def test_a_run_stopped_in_its_tiles_has_nan_where_none_was_fitted() -> None:
    asked = iter([False] * 4 + [True])
    image = np.random.default_rng(0).normal(100, 5, size=(18, 54))
    run = iterate(
        "denoise", image, tile=18, overlap=6, preset="denoise-small", should_stop=lambda: next(asked), **QUICK
    )
    for _ in run:
        pass
    assert not run.result.complete
    assert np.isfinite(run.result.image[:, :18]).all()
    assert np.isnan(run.result.image[:, 36:]).all()
    assert abs(np.nanmean(run.result.image - image)) < 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"tile": 8}, "tile=8 is too small"), ({"tile": 48, "overlap": 25}, "overlap=25 is more than half of tile=48")],
)
def test_tiles_that_make_no_sense_are_refused(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settings(**changes)
