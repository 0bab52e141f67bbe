"""Stacks: what slices take over from their neighbours, and that several at once give what each gives alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_dip import Result, denoise, iterate
from napari_dip.core.methods import coverage, prior, selfguided
from napari_dip.run.loop import room
from tests.bad_inputs import QUICK
from tests.core.tiny import comparisons, picture, psnr

FAST = {**QUICK, "iterations": 6}
GUIDED = dict(preset="denoise-self", channels=8, scales=3, crop=16, batch=2, device="cpu")
FEW = {**GUIDED, "iterations": 1, "similar_patches": False}  # for what is settled before
SIZE, WHOLE, QUARTER = 24, 102, 26  # pixels a side, iterations of a whole fit and from a neighbour


def series(count: int = 3, sigma: float = 10) -> tuple[np.ndarray, np.ndarray]:
    """A picture that moves, 100 to 200, and the same with noise: (count, H, W) each."""
    truth = np.stack([100 + 100 * np.roll(picture(SIZE, SIZE), shift, 1) for shift in range(count)])
    return truth, truth + sigma * np.random.default_rng(0).normal(size=truth.shape)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole fits of 12 iterations."""
    monkeypatch.setattr(coverage, "EPOCHS", (10, 10, 10))


def restored(image: np.ndarray, **changes: Any) -> Result:
    return denoise(image, leading_axes=1, read_noise=10.0, gain=0.0, offset=0.0, **{**GUIDED, **changes})


def test_slices_begin_with_what_their_neighbours_have_learnt_and_are_no_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "EPOCHS", (90,) * 3)
    monkeypatch.setattr(selfguided, "LEARNT", 1.0)  # so short a fit of so small an image has more to learn
    truth, image = series(2)
    warm, cold = restored(image), restored(image, warm_start=False)
    assert cold.iterations == 2 * WHOLE
    assert warm.iterations == WHOLE + QUARTER
    assert not warm.history.events
    assert np.array_equal(warm.image[0], cold.image[0])
    for w, c, t in zip(warm.image, cold.image, truth, strict=True):
        assert psnr(w, t) > psnr(c, t) - 0.1
    assert "neighbour" in warm.stop_reason
    assert warm.record["settings"]["warm_start"]


def test_a_series_repeats_bit_by_bit(quick: None) -> None:
    _, image = series()
    assert np.array_equal(restored(image).image, restored(image).image)


def test_where_a_neighbour_does_not_help_a_slice_is_begun_afresh(quick: None) -> None:
    """Stripes as fine as the grid, after a slice that is empty but for noise."""
    image = np.random.default_rng(0).normal(100, 10, (2, SIZE, SIZE))
    image[1, ::2] += 100
    warm, cold = restored(image), restored(image, warm_start=False)
    assert [event.kind for event in warm.history.events] == ["afresh"]
    assert np.array_equal(warm.image, cold.image)
    assert warm.iterations == cold.iterations


@pytest.mark.filterwarnings("ignore:.*known pixel and stay")
@pytest.mark.parametrize(("tile", "patches"), [(0, False), (16, True)])
def test_a_finished_stack_with_empty_slices_goes_on_each_time_it_is_asked_to(
    quick: None, tile: int, patches: bool
) -> None:
    """What holds nothing is never fitted, and does not make the stack unfinished."""
    _, image = series()
    image[1] = np.nan
    image[2, :16, :16] = np.nan  # a tile, where there are tiles
    how = dict(leading_axes=1, read_noise=10.0, gain=0.0, offset=0.0, tile=tile, similar_patches=patches, **GUIDED)
    done = denoise(image, **how)
    stop: list[bool] = []
    steps = iterate("denoise", image, **how, resume=done, interval=0, should_stop=lambda: bool(stop))
    for progress in steps:
        if progress.slice == 2 and progress.tile == progress.tiles - 1:
            stop.append(True)
    gone_on = denoise(image, **how, resume=steps.result)
    assert done.complete
    assert not steps.result.complete
    assert gone_on.iterations > steps.result.iterations
    assert "had been ended" not in gone_on.stop_reason


def test_a_slice_that_is_begun_afresh_keeps_its_teacher(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patches are compared before a slice, and for their share in its final image: the neighbour's is never final."""
    image = np.random.default_rng(0).normal(100, 10, (2, SIZE, SIZE))
    image[1, ::2] += 100
    compared = comparisons(monkeypatch)
    assert [event.kind for event in restored(image).history.events] == ["afresh"]
    assert len(compared) == 2 * 2


def noisy_stack(sigma: list[float], mean: float = 100) -> np.ndarray:
    truth = mean + 60 * picture(64, 64)
    draws = np.random.default_rng(0).normal(size=(len(sigma), 64, 64))
    return truth + np.array(sigma)[:, None, None] * draws


def test_slices_of_other_noise_are_restored_with_their_own_and_named(quick: None) -> None:
    image = noisy_stack([5, 5, 20, 5])
    result = denoise(image, leading_axes=1, **{**GUIDED, "iterations": 1})
    assert result.noise.sigma == pytest.approx(5, rel=0.2)  # of the stack
    assert [np.std(each) for each in result.residual[[2, 3]]] == pytest.approx([20, 5], rel=0.3)
    assert any(sentence.startswith("In slice 2 the noise is 4") for sentence in result.warnings)
    assert all(each.startswith("In slice 2 ") for each in result.record["warnings"])
    half = denoise(image, leading_axes=1, read_noise=5.0, **FEW)
    assert not half.warnings  # what the user says holds for all


def test_a_frame_that_was_interpolated_leaves_the_others_their_noise(quick: None) -> None:
    """Its noise is the calmest of the stack: taken for that of all, it cost them 7 dB."""
    image = noisy_stack([8] * 5)
    for interpolated in (ndimage.shift(image[1], 0.5, order=1, mode="nearest"), (image[0] + image[2]) / 2):
        image[1] = interpolated
        result = denoise(image, leading_axes=1, **FEW)
        assert result.noise.sigma == pytest.approx(8, rel=0.1)
        assert [sentence[:24] for sentence in result.warnings] == ["In slice 1 the noise is "]


def test_slices_of_the_same_camera_share_its_noise() -> None:
    """Photons: brighter slices are noisier, of the same gain."""
    photons = np.random.default_rng(0).poisson(np.array([1, 8])[:, None, None] * (20 + 40 * picture(64, 64)))
    result = denoise(photons, leading_axes=1, **FEW)
    assert not result.warnings
    assert result.noise.gain == pytest.approx(1, rel=0.2)


def neighbours_of(image: np.ndarray, monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[int]:
    """Of each slice but the first, the number of the one whose weights it began with."""
    plain, taken = selfguided.SelfGuidedFitter.take_over, []

    def take_over(self: Any, state: Any) -> None:
        taken.append(state)
        plain(self, state)

    monkeypatch.setattr(selfguided.SelfGuidedFitter, "take_over", take_over)
    how = {**GUIDED, "similar_patches": False, **options}
    result = denoise(image, read_noise=10.0, gain=0.0, offset=0.0, **how)
    return [next(i for i, state in enumerate(result.states) if state is one) for one in taken]


def test_a_slice_begins_with_the_same_of_the_frame_before(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    _, image = series(6)
    frames = image.reshape(3, 2, SIZE, SIZE)
    assert neighbours_of(frames, monkeypatch, leading_axes=2) == [0, 0, 1, 2, 3]


def test_several_at_once_all_begin_with_the_first(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    _, image = series(4)
    assert neighbours_of(image, monkeypatch, leading_axes=1, at_once=2) == [0, 0, 0]


def test_any_axis_may_be_restored_together_wherever_it_stands() -> None:
    _, image = series(6)
    image = image.reshape(3, 2, SIZE, SIZE)  # times, channels
    as_last = denoise(np.moveaxis(image, 0, 1), leading_axes=1, channel_axis=1, **FAST)
    run = iterate("denoise", image, leading_axes=1, channel_axis=0, interval=0, **FAST)
    assert {progress.image.shape for progress in run} == {(3, SIZE, SIZE)}
    assert np.array_equal(run.result.image, np.moveaxis(as_last.image, 1, 0))
    assert run.result.residual.shape == image.shape
    assert run.result.iterations == 2 * FAST["iterations"]


def test_a_user_who_sets_the_iterations_has_them_in_each_slice() -> None:
    _, image = series()
    assert restored(image, stop="iterations", iterations=5).iterations == 15


@pytest.mark.parametrize("knobs", [FAST, {**GUIDED, "warm_start": False}], ids=["prior", "self-guided"])
@pytest.mark.parametrize("at_once", [2, 8])
def test_several_at_once_give_what_each_gives_alone(knobs: dict[str, Any], at_once: int, quick: None) -> None:
    _, image = series(4)
    image[2] = 130
    with pytest.warns(UserWarning, match="one value"):
        alone = denoise(image, leading_axes=1, **knobs)
    with pytest.warns(UserWarning, match="one value"):
        together = denoise(image, leading_axes=1, at_once=at_once, **knobs)
    assert np.array_equal(together.image, alone.image)
    assert np.array_equal(together.history.loss, alone.history.loss)
    assert together.marks == alone.marks
    assert together.stop_reason == alone.stop_reason


def test_a_stop_ends_all_that_are_under_way_and_the_rest_is_empty() -> None:
    _, image = series(5)
    asked = iter([False] * 8)
    result = denoise(image, leading_axes=1, at_once=2, should_stop=lambda: next(asked, True), **FAST)
    assert np.isfinite(result.image[:2]).all()
    assert np.isnan(result.image[2:]).all()
    assert not result.complete
    assert "slices 0 to 1, counted from 0" in result.stop_reason
    both = denoise(image, leading_axes=1, resume=result)
    assert np.isfinite(both.image).all()


def test_empty_slices_of_whole_numbers_are_said_to_be_0() -> None:
    image = (series(3)[1] * 1000).astype(np.uint16)
    reasons = []
    for dtype in ("input", "float32"):
        asked = iter([False] * 4)
        stopped = denoise(
            image, leading_axes=1, output_dtype=dtype, should_stop=lambda asked=asked: next(asked, True), **FAST
        )
        reasons.append(stopped.stop_reason)
    assert [reason.endswith("the empty parts are 0, as integers have no NaN") for reason in reasons] == [True, False]


def test_progress_does_not_go_back_and_shows_one_slice_at_a_time() -> None:
    _, image = series(4)
    shown = list(iterate("denoise", image, leading_axes=1, at_once=2, interval=0, **FAST))
    fractions = [p.fraction for p in shown]
    assert fractions == sorted(fractions)
    assert {p.slice for p in shown} == {0, 2}
    snapshots = list(iterate("denoise", image, leading_axes=1, at_once=2, interval=1e9, snapshot_every=3, **FAST))
    assert {p.slice for p in snapshots} == {0, 1, 2, 3}


def test_what_does_not_fit_beside_others_is_restored_after_them(monkeypatch: pytest.MonkeyPatch) -> None:
    make, made = prior.fresh_generator, []

    def fresh_generator(*rest: Any) -> Any:
        made.append(1)
        if len(made) == 2:
            raise MemoryError("on purpose")
        return make(*rest)

    _, image = series(4)
    alone = denoise(image, leading_axes=1, **FAST)
    monkeypatch.setattr(prior, "fresh_generator", fresh_generator)
    together = denoise(image, leading_axes=1, at_once=3, **FAST)
    assert np.array_equal(together.image, alone.image)
    assert together.complete
    assert [event.kind for event in together.history.events] == ["out of memory"]


def test_states_too_large_to_keep_are_forgotten_on_the_way(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    _, image = series(4)
    whole = restored(image, similar_patches=False)
    monkeypatch.setattr("napari_dip.core.state.STATES_AT_MOST", 0)
    result = restored(image, similar_patches=False)
    assert result.states == ()
    assert np.array_equal(result.image, whole.image)


def test_what_fits_at_once_is_within_the_share_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 10)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 1000))  # of the whole GPU
    monkeypatch.setattr("napari_dip.core.memory.free", lambda device: 100)
    assert room("cuda:0", (8, 8), 50, 1) == 7


def test_channels_of_other_noise_than_they_share_are_named_with_what_helps() -> None:
    """One channel of few photons and one of many: the noise of both was 0.3 times that of the first, without a word."""
    random = np.random.default_rng(0)
    light = ndimage.gaussian_filter(random.random((96, 96)), 4)
    light = 2 + 20 * (light - light.min()) / np.ptp(light)
    few, many = 40.0 * random.poisson(light), 1.0 * random.poisson(100 * light[::-1])
    few, many = (each + random.normal(0, 5, each.shape) for each in (few, many))
    together = denoise(np.stack([few, many]), channel_axis=0, preset="denoise-patches")
    (warning,) = (each for each in together.warnings if "channel" in each)
    assert "in channel 0" in warning
    assert "one by one" in warning
    apart = denoise(np.stack([few, many]), leading_axes=1, preset="denoise-patches")
    assert not any("channel" in each for each in apart.warnings)
    truth = 40 * light
    error, before = (np.sqrt(np.mean((each.image[0] - truth) ** 2)) for each in (apart, together))
    assert 2 * error < before
    same = denoise(np.stack([many, many[::-1], many.T]), channel_axis=0, preset="denoise-patches")
    assert not any("channel" in each for each in same.warnings)
