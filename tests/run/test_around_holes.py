"""Inpainting by a prior fits what surrounds the holes: the rest is as measured, and costs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_dip
from napari_dip import Result, inpaint, iterate
from napari_dip.core import around
from napari_dip.plan.cost import cost_of
from tests.core.tiny import TINY, noisy

OPERATIONS = np.array([0, 0, 1.0, 0])
KNOBS: dict[str, Any] = {**TINY, "preset": "inpaint-small", "iterations": 6, "refine": 1, "stop": "iterations"}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 24 pixels around a hole of 4."""
    monkeypatch.setattr(around, "MARGIN", 8)
    monkeypatch.setattr(around, "_MULTIPLE", 8)


IMAGE = (100 + 50 * noisy(96, 96)).astype(np.float32)


def missing(*corners: tuple[int, ...], side: int = 4, shape: tuple[int, ...] = (96, 96)) -> np.ndarray:
    """Holes with these first pixels."""
    mask = np.zeros(shape, bool)
    for corner in corners:
        mask[tuple(slice(c, c + side) for c in corner)] = True
    return mask


TWO = missing((10, 20), (70, 60))


def filled(image: np.ndarray = IMAGE, mask: np.ndarray | None = TWO, **knobs: Any) -> Result:
    return inpaint(image, mask, progress=False, **{**({} if "resume" in knobs else KNOBS), **knobs})


def test_holes_are_filled_and_all_else_is_as_measured() -> None:
    result = filled(uncertainty=True)
    assert np.array_equal(result.image[~TWO], IMAGE[~TWO])
    assert np.isfinite(result.image).all()
    assert np.array_equal(result.last[~TWO], IMAGE[~TWO])
    assert np.isfinite(result.uncertainty[TWO]).all()
    assert np.isnan(result.uncertainty[~TWO]).all()
    assert np.isnan(result.residual[TWO]).all()
    assert np.isfinite(result.residual).sum() == 2 * (24 * 24 - 4 * 4)  # what was fitted
    assert result.complete
    assert result.whole
    assert result.marks == (6, 6)
    assert result.stop_reason.startswith("fitted 2 tiles around holes, the last of which finished all 6 iterations")
    one = filled(mask=missing((10, 20)))
    assert one.stop_reason.startswith("fitted 1 tile around holes, which finished all 6 iterations")


def test_the_same_seed_and_the_record_make_the_same_image() -> None:
    result = filled()
    assert np.array_equal(filled().image, result.image)
    again = napari_dip.Settings.of_record(result.record)
    assert np.array_equal(inpaint(IMAGE, TWO, settings=again, progress=False).image, result.image)
    assert not np.array_equal(filled(seed=1).image, result.image)


def test_a_tile_is_what_it_would_be_without_the_other_holes() -> None:
    """Its seed depends on its place, and scaling and noise are those of the image."""
    how = dict(intensity_range=(0, 300), read_noise=5.0, gain=0.0, offset=0.0)
    one, both = filled(mask=missing((10, 20)), **how), filled(**how)
    there = missing((10, 20))
    np.testing.assert_array_equal(one.image[there], both.image[there])


@pytest.mark.parametrize("knobs", [{"tile": 96}, {"keep_known": False}, {"preset": "original-inpaint-hole"}])
def test_the_whole_is_fitted_where_that_is_asked_for(knobs: dict[str, Any]) -> None:
    result = filled(**{**KNOBS, **knobs, **({"refine": 0} if "preset" in knobs else {})})
    assert np.isfinite(result.residual[~TWO]).all()
    assert len(result.states) == 1


def test_half_missing_is_fitted_whole() -> None:
    result = filled(mask=np.random.default_rng(0).random((96, 96)) < 0.5)
    assert len(result.states) == 1
    assert "tile" not in result.stop_reason


def test_tiles_of_a_grid_without_a_hole_are_left_out() -> None:
    result = filled(tile=32, overlap=8)
    assert 2 <= len(result.marks) <= 4
    assert np.array_equal(result.image[~TWO], IMAGE[~TWO])
    assert np.isfinite(result.image).all()
    assert result.complete


@pytest.mark.parametrize("corner", [(0, 0), (92, 40), (40, 92)])
def test_a_hole_at_the_edge_is_filled(corner: tuple[int, int]) -> None:
    mask = missing(corner)
    result = filled(mask=mask)
    assert np.isfinite(result.image).all()
    assert np.array_equal(result.image[~mask], IMAGE[~mask])


def test_pixels_without_a_value_are_holes() -> None:
    result = filled(np.where(TWO, np.nan, IMAGE), None)
    assert np.isfinite(result.image).all()
    np.testing.assert_array_equal(result.image, filled().image)


def test_channels_are_filled_together() -> None:
    image, mask = np.stack([IMAGE, IMAGE[::-1]], -1), np.stack([TWO, missing((10, 20))], -1)
    result = filled(image, mask, channel_axis=-1)
    assert np.array_equal(result.image[~mask], image[~mask])
    assert np.isfinite(result.image).all()
    assert len(result.marks) == 2


def test_volumes_are_filled() -> None:
    volume = (100 + 50 * noisy(16, 64, 64)).astype(np.float32)
    mask = missing((6, 30, 30), shape=volume.shape)
    result = filled(volume, mask, iterations=2)
    assert np.array_equal(result.image[~mask], volume[~mask])
    assert np.isfinite(result.image).all()
    assert np.isfinite(result.residual).sum() == 16 * 24 * 24 - 4**3


def test_runs_are_averaged_in_each_tile() -> None:
    result = filled(runs=2)
    assert len(result.marks) == len(result.states) == 4
    assert "fitted 2 tiles around holes" in result.stop_reason


def test_previews_show_the_image_around_what_is_being_filled() -> None:
    shown = list(iterate("inpaint", IMAGE, TWO, interval=0, **KNOBS))
    assert [(p.tile, p.tiles, p.iteration) for p in shown if p.iteration] == [
        (tile, 2, i) for tile in range(2) for i in range(1, 7)
    ]
    assert all(np.array_equal(p.image[~TWO], IMAGE[~TWO]) for p in shown)
    assert np.isfinite(shown[-1].image).all()
    assert shown[-1].fraction == 1


STACK = np.stack([IMAGE, IMAGE[::-1].copy(), IMAGE.T.copy(), IMAGE])
HOLES = np.stack([TWO, missing(), missing((40, 40)), missing((5, 5), (80, 5), (40, 85))])


def test_each_slice_has_its_own_holes() -> None:
    result = filled(STACK, HOLES, leading_axes=1)
    assert np.array_equal(result.image[~HOLES], STACK[~HOLES])
    assert np.isfinite(result.image).all()
    assert len(result.marks) == 6
    assert result.complete


def test_a_stack_may_have_one_mask() -> None:
    result = filled(STACK[:2], TWO, leading_axes=1)
    assert np.isfinite(result.image).all()
    assert len(result.states) == 4


@pytest.mark.parametrize(("slice_", "tile", "iteration"), [(0, 0, 3), (0, 1, 3), (2, 0, 2), (3, 1, 4)])
def test_a_stack_that_was_stopped_and_gone_on_with_is_one_that_was_not(slice_: int, tile: int, iteration: int) -> None:
    """What its rule had ended stays, and what was not reached is fitted."""
    asked: list[bool] = []
    run = iterate("inpaint", STACK, HOLES, leading_axes=1, interval=0, should_stop=lambda: bool(asked), **KNOBS)
    for progress in run:
        if (progress.slice, progress.tile, progress.iteration) == (slice_, tile, iteration):
            asked.append(True)
    stopped, known = run.result, ~HOLES & np.isfinite(run.result.image)
    assert not stopped.complete
    assert np.array_equal(stopped.image[known], STACK[known])
    gone_on, unbroken = filled(STACK, HOLES, leading_axes=1, resume=stopped), filled(STACK, HOLES, leading_axes=1)
    assert np.array_equal(gone_on.image[~HOLES], STACK[~HOLES])
    assert len(gone_on.marks) == 6
    later = HOLES & (np.arange(4) > slice_)[:, None, None]
    np.testing.assert_array_equal(gone_on.image[later], unbroken.image[later])


def test_going_on_is_as_if_it_had_not_been_stopped() -> None:
    half = filled(iterations=3)
    np.testing.assert_allclose(filled(resume=half, iterations=3).image, filled().image, atol=1e-4)


def test_the_forecast_is_of_the_tiles() -> None:
    def work(mask: np.ndarray, image: np.ndarray = IMAGE, **knobs: Any) -> float:
        return cost_of(iterate("inpaint", image, mask, **{**KNOBS, **knobs}).plan, OPERATIONS).seconds

    whole = work(TWO, tile=96)
    assert work(TWO) == pytest.approx(whole * 2 * 24**2 / 96**2, rel=0.1)
    assert work(missing((10, 20))) == pytest.approx(work(TWO) / 2, rel=0.05)
    stack = work(HOLES, STACK, leading_axes=1)
    assert stack == pytest.approx(3 * work(TWO), rel=0.1)
    one = iterate("inpaint", IMAGE, TWO, **KNOBS).cost
    assert one.memory <= iterate("inpaint", IMAGE, TWO, **{**KNOBS, "tile": 96}).cost.memory


def test_blocks_are_fitted_around_their_holes(tmp_path: Path) -> None:
    image, mask = np.hstack([IMAGE, IMAGE, IMAGE[:, :32]]), np.hstack([TWO, np.zeros((96, 128), bool)])
    knobs = {**KNOBS, "residual": True, "progress": False}
    restored = napari_dip.restore_blocks("inpaint", image, tmp_path / "out.zarr", mask, **knobs)
    assert np.array_equal(restored.array[:][~mask], image[~mask])
    assert np.isfinite(restored.array[:]).all()
    assert restored.residual is not None
    assert np.isfinite(restored.residual[:]).sum() == 2 * (24 * 24 - 4 * 4)


def test_a_hole_in_a_dark_place_begins_dark() -> None:
    """A prior of a tile that is dark all over would take long to make the hole dark, as nothing draws it down."""
    image = np.where(np.arange(96) < 60, 5.0, 200.0) * np.ones((96, 1)) + np.random.default_rng(0).normal(size=(96, 96))
    mask = missing((40, 16))
    result = filled(image.astype(np.float32), mask, iterations=1, refine=0, average=0)
    assert result.image[mask].mean() < 60  # of a range up to 200, the middle of which is at 100
    whole = filled(image.astype(np.float32), mask, iterations=1, refine=0, average=0, tile=96)
    assert whole.image[mask].mean() > 80


@pytest.mark.parametrize("generator", ["decoder", "unet", "resnet", "mixer"])
def test_every_generator_fills_a_dark_hole(generator: str) -> None:
    names = ("channels", "code_channels", "iterations", "stop", "device", "precision")
    knobs = {"preset": "inpaint-small", "refine": 1, **{name: KNOBS[name] for name in names}, "generator": generator}
    image = np.stack([IMAGE, IMAGE + 100], -1)
    result = inpaint(image, missing((40, 16)), channel_axis=-1, progress=False, **knobs)
    assert np.isfinite(result.image).all()
    assert "around holes" in result.stop_reason


def test_a_hole_with_nothing_known_around_it_is_filled_by_a_fit_of_the_whole() -> None:
    image = IMAGE.copy()
    image[:60, :60] = 7  # which counts as padding
    result = filled(image, missing((20, 20), (80, 80)))
    assert result.whole
    assert np.isfinite(result.image).all()
    assert not any("NaN" in warning for warning in result.warnings)
