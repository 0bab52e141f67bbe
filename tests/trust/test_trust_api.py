"""The front door of the trust measures: axes, what a run says against its result, and the noise-only control."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from scipy import ndimage

import napari_dip
from napari_dip import Result, Settings, denoise, inpaint, iterate, superresolve, trust
from napari_dip.core.judge.residual import residual_verdict
from napari_dip.core.methods import coverage
from napari_dip.core.noise.model import Noise
from napari_dip.plan.inputs import read_slices
from napari_dip.run import doubts, target
from tests.bad_inputs import QUICK

SMALL = {**QUICK, "iterations": 4, "seed": 3}


def scene(*shape: int, sigma: float = 5.0, seed: int = 0) -> np.ndarray:
    """Soft structure of a few pixels, about 100, with noise."""
    rng = np.random.default_rng(seed)
    clean = 100 + 150 * ndimage.gaussian_filter(np.random.default_rng(9).normal(size=shape), 2)
    return clean + sigma * rng.normal(size=shape)


def stack(count: int) -> np.ndarray:
    return np.stack([scene(40, 36, seed=seed) for seed in range(count)])


@pytest.fixture(scope="module")
def restored() -> Result:
    return denoise(scene(40, 36), **SMALL)


# ------------------------------------------------------------------------------------------------------------- verdict


def test_every_run_brings_a_verdict_and_its_record_is_json(restored: Result) -> None:
    verdict = trust.verdict(restored)
    assert verdict is restored.verdict
    assert json.loads(json.dumps(restored.record))["residual_verdict"]["sentence"] == verdict.sentence
    assert restored.record["residual_verdict"]["place"] == verdict.place


def test_the_verdict_is_that_of_the_core_on_what_was_fitted(restored: Result) -> None:
    image = scene(40, 36)
    assert restored.noise is not None
    expected = residual_verdict(image, (image - restored.residual).astype(np.float32), restored.noise)
    assert trust.verdict(restored).sentence.partition(";")[0] == expected.sentence
    assert trust.verdict(restored).balance == pytest.approx(expected.balance, rel=1e-3)


def structured() -> np.ndarray:
    """A picture with little noise, of which a short run has hardly anything."""
    return scene(40, 36, sigma=2)


def test_of_a_short_run_that_removed_structure_the_likely_cause_is_named() -> None:
    cause = "which is the likely cause:"
    result = denoise(structured(), **SMALL)
    for most in (4, 7):
        told = trust.verdict(result).sentence
        assert told.startswith("Structure was removed")
        assert told.endswith(f"; the run was short, {cause} allow more than {most} iterations, or let it go on")
        result = denoise(structured(), resume=result, iterations=3)
    stopped = iterate("denoise", structured(), should_stop=lambda: True, **SMALL)
    list(stopped)
    assert trust.verdict(stopped.result).sentence.endswith(f"; the run ended early, {cause} let it go on")


def test_a_run_as_long_as_its_preset_is_not_called_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "PRESETS", {"denoise-small": Settings(iterations=4)})
    verdict = trust.verdict(denoise(structured(), **SMALL))
    assert not verdict.ok
    assert "cause" not in verdict.sentence


def test_a_run_is_as_long_as_its_parts_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "PRESETS", {"denoise-small": Settings(iterations=8)})
    part = denoise(structured(), **SMALL)
    whole = trust.verdict(denoise(structured(), **SMALL, resume=part))
    assert "the run was short" in trust.verdict(part).sentence
    assert not whole.ok
    assert "cause" not in whole.sentence


@pytest.mark.parametrize(("iterations", "short"), [(5, True), (6, False)])
def test_a_self_guided_run_is_short_of_fewer_iterations_than_the_image_needs(
    iterations: int, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which may be far fewer than its preset allows."""
    causes: list[str] = []
    monkeypatch.setattr(doubts, "judge", lambda slices, residual, noise, cause, **_: causes.append(cause))
    monkeypatch.setattr(coverage, "EPOCHS", (2, 2, 2))
    small = dict(preset="denoise-self", channels=4, scales=2, crop=16, batch=2, similar_patches=False, device="cpu")
    denoise(structured(), **small, stop="iterations", iterations=iterations, read_noise=2.0, gain=0.0)
    assert [bool(cause) for cause in causes] == [short]


@pytest.mark.parametrize(("axis", "place"), [(None, (1, 10, 20)), (1, (1, 1, 10, 20)), (3, (1, 10, 20, 1))])
def test_the_worst_slice_and_channel_are_named(axis: int | None, place: tuple[int, ...]) -> None:
    noise = Noise(gain=0, offset=0, read_noise=1, sigma=1)
    values = np.random.default_rng(0).normal(size=(3, 2, 40, 36))
    values[1, 1, 8:13, 18:23] += 5  # removed altogether
    image = values[:, 1] if axis is None else np.moveaxis(values, 1, axis)
    slices = read_slices(image, None, axis, 1)
    verdict = doubts.judge(slices, slices.values, lambda index: noise)
    assert verdict is not None
    assert not verdict.ok
    where = "In slice 1, the worst of 3" if axis is None else "In slice 1, channel 1, the worst of 6"
    assert verdict.sentence.startswith(f"{where}, structure was removed: ")
    kept = doubts.judge(slices, slices.values, lambda index: noise, kept=True)
    assert kept is not None
    assert kept.sentence.startswith(f"Known pixels are kept. {where}, the fit that fills the holes lacks structure")
    np.testing.assert_allclose(verdict.place, place, atol=2)


def test_a_super_resolved_image_is_judged_on_the_measured_grid() -> None:
    verdict = trust.verdict(superresolve(scene(40, 36), 2, **SMALL))
    assert all(0 <= p < n for p, n in zip(verdict.place, (40, 36), strict=True))


def test_impulses_are_no_lost_structure() -> None:
    image, noise = scene(64, 64), Noise(gain=0, offset=0, read_noise=5, sigma=5, impulses=0.01)
    hot = image.copy()
    hot.flat[:: 4096 // 40] += 400
    clean = scene(64, 64, sigma=0)
    slices = read_slices(hot, None, None, 0)
    verdict = doubts.judge(slices, (hot - clean)[None, None], lambda index: noise)
    assert verdict is not None
    assert verdict.ok


@pytest.mark.parametrize("keep", [True, False])
def test_nothing_is_said_to_be_removed_from_pixels_that_are_kept(keep: bool) -> None:
    image, mask = structured(), np.zeros((40, 36), bool)
    mask[10:14, 10:14] = True
    result = inpaint(image, mask, keep_known=keep, **SMALL)
    said = trust.verdict(result)
    assert np.array_equal(result.image[~mask], image[~mask].astype(np.float32)) == keep
    assert not said.ok  # of the fit, which is short
    assert ("removed" in said.sentence) != keep
    assert said.sentence.startswith("Known pixels are kept. The fit that fills the holes lacks structure") == keep


def test_without_noise_there_is_nothing_to_judge() -> None:
    with pytest.raises(ValueError, match="line"):
        trust.verdict(denoise(scene(1, 36), **SMALL))
    with pytest.warns(UserWarning, match="one value"):
        flat = denoise(np.full((12, 12), 7.0), **SMALL)
    with pytest.raises(ValueError, match="one value"):
        trust.verdict(flat)


# --------------------------------------------------------------------------------------------------- noise-only control


def test_the_control_has_the_noise_the_level_and_the_settings_of_the_run(restored: Result) -> None:
    image = scene(40, 36)
    control = trust.noise_control(restored, image)
    noise = restored.noise
    assert noise is not None
    assert control.observation.shape == control.image.shape == image.shape
    assert control.observation.mean() == pytest.approx(image.mean(), abs=4 * noise.sigma / 36)
    assert control.observation.std() == pytest.approx(np.sqrt(noise.variance(image.mean())), rel=0.1)
    assert control.result.settings == restored.settings.changed(stop=restored.rule.name)
    assert control.result.record["intensity_range"] == restored.record["intensity_range"]
    assert control.result.noise is not None
    assert control.result.noise.variance(50) == pytest.approx(noise.variance(50))
    assert control.invention.counts == pytest.approx(control.image.std(), rel=1e-5)


def test_the_control_can_be_watched_and_stopped(restored: Result) -> None:
    asked = iter([False, False, True])
    steps = trust.iterate_noise_control(restored, scene(40, 36), interval=0, should_stop=lambda: next(asked, True))
    shown = []
    while True:
        try:
            shown.append(next(steps).iteration)
        except StopIteration as end:
            control = end.value
            break
    assert shown == [1, 2]
    assert control.invention.sentence == "Stopped after 2 iterations, too early to tell anything"


@pytest.mark.parametrize("axis", [0, -1])
def test_the_control_is_one_slice_with_its_channels(axis: int) -> None:
    image = np.moveaxis(stack(4).reshape(2, 2, 40, 36), 1, axis or 1)
    result = denoise(image, leading_axes=1, channel_axis=axis or 1, **SMALL)
    assert trust.noise_control(result, image).image.shape == image.shape[1:]


def test_of_an_inpainted_image_only_the_hole_counts() -> None:
    image, mask = scene(40, 36), np.zeros((40, 36), bool)
    mask[10:20, 10:20] = True
    control = trust.noise_control(inpaint(image, mask, **SMALL), image)
    assert control.invention.counts == pytest.approx(control.image[mask].std(), rel=1e-5)
    np.testing.assert_allclose(control.image[~mask], control.observation[~mask], rtol=1e-6)


def test_a_super_resolved_control_has_the_size_of_the_result() -> None:
    image = scene(40, 36)
    control = trust.noise_control(superresolve(image, 2, **SMALL), image)
    assert (control.observation.shape, control.image.shape) == ((40, 36), (80, 72))


def test_the_control_refuses_another_image(restored: Result) -> None:
    with pytest.raises(ValueError, match=r"\(40, 30\).*give the image that was restored"):
        trust.noise_control(restored, scene(40, 30))
    with pytest.raises(ValueError, match="other values.*give the image that was restored"):
        trust.noise_control(restored, scene(40, 36, seed=1))


def test_an_image_is_no_result() -> None:
    image: Any = scene(40, 36)
    for ask in (lambda: trust.verdict(image), lambda: trust.noise_control(image, image)):
        with pytest.raises(TypeError, match="ndarray: give what denoise"):
            ask()


# ---------------------------------------------------------------------------------------------------------------- holes


def holed(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    """A scene with a hole that is large and one that is not."""
    mask = np.zeros(shape, bool)
    mask[5:35, 5:35] = mask[50, 50] = True
    return scene(*shape, sigma=0.5), mask


def test_a_large_hole_is_warned_of_and_at_least_as_uncertain_as_its_surroundings() -> None:
    image, mask = holed(64, 64)
    result = inpaint(image, mask, uncertainty=True, average=0.5, **SMALL)
    (sentence,) = [w for w in result.warnings if "hole" in w]
    assert sentence == trust.hole_warning(image, mask, result.noise)
    assert result.record["warnings"] == list(result.warnings)
    assert result.uncertainty is not None
    assert result.uncertainty[20, 20] >= 0.8 * image[~mask].std()
    assert 0 < result.uncertainty[50, 50] < 0.8 * image[~mask].std()
    assert np.isnan(result.uncertainty[~mask]).all()


def test_small_holes_are_not_warned_of() -> None:
    image, mask = holed(64, 64)
    mask[5:35, 5:35] = False
    assert not [w for w in inpaint(image, mask, **SMALL).warnings if "hole" in w]


def test_the_map_of_holes_has_the_axes_of_the_image() -> None:
    image, mask = holed(64, 64)
    both = np.stack([image, image], axis=-1)
    found = trust.hole_map(np.stack([both] * 3), mask, leading_axes=1, channel_axis=-1)
    assert found.shape == (3, 64, 64, 2)
    np.testing.assert_array_equal(found[2, ..., 1], trust.hole_map(image, mask))
    assert found.max() > 1
    assert (found[:, ~mask] == 0).all()


def test_of_several_slices_the_largest_hole_is_warned_of() -> None:
    image, mask = holed(64, 64)
    masks = np.stack([np.zeros_like(mask), mask])
    assert trust.hole_warning(np.stack([image, image]), masks, leading_axes=1).startswith("In slice 1, the hole around")
    masks[0] = True
    assert trust.hole_warning(np.stack([image, image]), masks, leading_axes=1) == "In slice 0, no pixel is known"


def test_a_noise_that_is_a_guess_is_said_in_the_result() -> None:
    image = np.clip(scene(40, 36, sigma=60), 90, 110)
    result = denoise(image, **SMALL)
    (sentence,) = [each for each in result.warnings if "guess" in each]
    assert "; say gain, offset and read noise of the camera if they are known, or " in sentence
    (sentence,) = [each for each in denoise(image, read_noise=60.0, gain=0.0, **SMALL).warnings if "noise" in each]
    assert "if they are known" not in sentence


# ---------------------------------------------------------------------------------------------------------- the noise


def test_the_noise_is_that_of_a_run(restored: Result) -> None:
    assert napari_dip.estimate_noise(scene(40, 36)) == restored.noise


@pytest.mark.parametrize(("axis", "leading"), [(None, 1), (0, 0), (-1, 0)])
def test_slices_and_channels_share_one_noise(axis: int | None, leading: int) -> None:
    image = np.moveaxis(stack(3), 0, axis or 0)
    noise = napari_dip.estimate_noise(image, channel_axis=axis, leading_axes=leading)
    assert noise == napari_dip.estimate_noise(stack(3), leading_axes=1)
    assert noise.sigma == pytest.approx(5, rel=0.3)


def test_what_is_known_of_the_camera_is_kept() -> None:
    noise = napari_dip.estimate_noise(scene(40, 36), gain=2.0, offset=50.0)
    assert (noise.gain, noise.offset) == (2, 50)


def test_one_pixel_has_no_noise_to_be_told() -> None:
    with pytest.raises(ValueError, match="one pixel"):
        trust.estimate_noise(scene(1, 1))


# ----------------------------------------------------------------------------------------------- resolution, comparison


def test_the_resolution_of_a_stack_is_the_median_of_its_slices() -> None:
    images = np.stack([scene(64, 64, sigma=sigma) for sigma in (1, 5, 40)])
    each = [trust.resolution(image, pixel_size=0.1).resolution for image in images]
    assert trust.resolution(images, pixel_size=0.1, leading_axes=1).resolution == sorted(each)[1]
    assert trust.resolution(images[[2, 0, 1]], channel_axis=0, pixel_size=0.1).resolution == sorted(each)[1]


def test_the_resolution_in_words_has_its_unit_and_its_caveat() -> None:
    image = scene(64, 64, sigma=1)
    found = trust.resolution(image)
    assert f" pixels, the limit of what can be told. {found.caveat}" in str(found)
    assert "in the unit of pixel_size" in str(trust.resolution(image, pixel_size=0.1))


def test_finer_pixels_are_a_finer_resolution() -> None:
    image = scene(64, 64)
    assert trust.resolution(image, pixel_size=0.1).resolution == pytest.approx(0.1 * trust.resolution(image).resolution)


def test_shared_noise_is_a_caveat() -> None:
    shared = Noise(gain=0, offset=0, read_noise=5, sigma=5, correlation=0.6)
    assert "correlated between neighbouring pixels" in trust.resolution(scene(64, 64), noise=shared).caveat


def test_a_stack_is_compared_slice_by_slice() -> None:
    truth, image = np.stack([scene(40, 36, sigma=0)] * 2), stack(2)
    together = trust.compare(image, truth, leading_axes=1)
    each = [trust.compare(a, b, data_range=together.data_range) for a, b in zip(image, truth, strict=True)]
    assert together.psnr == pytest.approx(np.mean([one.psnr for one in each]))
    assert together.ssim == pytest.approx(np.mean([one.ssim for one in each]))
    mask = np.zeros((40, 36), bool)
    mask[:5] = True
    image[:, mask] = 0
    assert trust.compare(image, truth, leading_axes=1, mask=mask).psnr == pytest.approx(together.psnr, abs=1)


@pytest.mark.parametrize("change", [dict(channel_axis=1), dict(channel_axis=-1)])
def test_channels_of_a_stack_are_compared_together(change: dict[str, Any]) -> None:
    image, truth = stack(4).reshape(2, 2, 40, 36), np.stack([scene(40, 36, sigma=0)] * 4).reshape(2, 2, 40, 36)
    if change["channel_axis"] == -1:
        image, truth = (np.moveaxis(a, 1, -1) for a in (image, truth))
    found = trust.compare(2 * image + 3, truth, leading_axes=1, affine=True, **change)
    assert found.gain == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("axes", [{"channel_axis": 0, "leading_axes": 1}, {"channel_axis": 1, "leading_axes": 1}])
def test_channels_may_come_before_a_leading_axis(axes: dict[str, int]) -> None:
    image, truth = stack(6).reshape(2, 3, 40, 36), np.stack([scene(40, 36, sigma=0)] * 6).reshape(2, 3, 40, 36)
    found = trust.compare(image, truth, **axes)
    slices = np.moveaxis(image, axes["channel_axis"], 1), np.moveaxis(truth, axes["channel_axis"], 1)
    peak = float(np.ptp(truth))
    each = [trust.compare(a, b, channel_axis=0, data_range=peak) for a, b in zip(*slices, strict=True)]
    assert found.ssim == pytest.approx(np.mean([one.ssim for one in each]), rel=1e-12)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize(("shape", "space"), [((2, 40, 36), 2), ((9, 40, 36), 3)])
def test_what_is_compared_part_by_part_has_the_figures_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], space: int, affine: bool
) -> None:
    image, truth = stack(shape[0]), np.stack([scene(40, 36, sigma=0)] * shape[0])
    mask = np.zeros((40, 36), bool)
    mask[10:14, 20:30] = True
    mask = mask if space == 2 else np.broadcast_to(mask, shape)
    image[:, 12, 25], truth[:, 12, 26] = np.nan, np.inf
    options: dict[str, Any] = {"leading_axes": 3 - space, "mask": mask, "affine": affine}
    whole = trust.compare(image, truth, **options)
    zarr.create_array(tmp_path / "truth.zarr", data=truth)
    monkeypatch.setattr("napari_dip.core.judge.metrics._PART", {2: 16, 3: 16})
    parts = trust.compare(da.from_array(image), tmp_path / "truth.zarr", **options)
    for name in vars(whole):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-9), name


def test_what_is_not_in_memory_is_never_read_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy:
        """An array that notes the largest part that was read of it."""

        def __init__(self, values: np.ndarray) -> None:
            self.values, self.shape, self.ndim, self.dtype = values, values.shape, values.ndim, values.dtype
            self.chunks, self.most = (1, 8, 8), 0

        def __getitem__(self, place: Any) -> np.ndarray:
            self.most = max(self.most, self.values[place].size)
            return self.values[place]

    monkeypatch.setattr("napari_dip.core.judge.metrics._PART", {2: 12, 3: 12})
    image, truth = Lazy(stack(3)), Lazy(stack(3) + 1)
    trust.compare(image, truth, leading_axes=1, affine=True)
    assert 0 < max(image.most, truth.most) <= (12 + 2 * 7) ** 2 < 40 * 36


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 40, 36\).*\(2, 40, 30\)"):
        trust.compare(stack(2), stack(2)[..., :30], leading_axes=1)
    with pytest.raises(ValueError, match="must be the same"):
        trust.resolution(scene(64, 64), scene(64, 60))


@pytest.mark.parametrize("wrong", [{"leading_axes": 1.0}, {"leading_axes": -1}, {"data_range": "8"}])
def test_axes_and_ranges_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="=".join(map(str, *wrong.items()))):
        trust.compare(stack(2), stack(2), **{"leading_axes": 1, **wrong})
