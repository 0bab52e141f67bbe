"""What is padding takes no part in a restoration, and comes back as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

import napari_dip
from napari_dip import denoise, inpaint, iterate, restore_blocks, superresolve
from napari_dip.command.cli import main
from napari_dip.io.arrays import open_source
from napari_dip.plan.defects import without_lines
from napari_dip.plan.inputs import read_slices
from napari_dip.plan.request import read_instrument
from napari_dip.run.blocks.order import look
from tests.bad_inputs import QUICK
from tests.core.noise.test_padding import scene

SMALL = {**QUICK, "iterations": 3, "seed": 0}


def padded(*shape: int, value: float = 0, dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """An image or a stack whose frames are moved by different amounts, and where it is padding."""
    image = scene(*shape).astype(dtype)
    where = np.zeros(shape, bool)
    for index, frame in enumerate(where.reshape(-1, *shape[-2:])):
        frame[:, : 3 + index] = True
    image[where] = value
    return image, where


@pytest.mark.parametrize("shape", [(24, 26), (3, 24, 26)])
def test_padding_is_as_good_as_missing_and_comes_back(shape: tuple[int, ...]) -> None:
    image, where = padded(*shape)
    axes = {"leading_axes": len(shape) - 2}
    result = denoise(image, **axes, **SMALL)
    missing = denoise(np.where(where, np.nan, image), **axes, **SMALL)
    assert (result.image[~where] == missing.image[~where]).all()
    assert (result.image[where] == 0).all()
    assert np.isnan(result.residual[where]).all()
    assert (result.noise, result.method, result.rule) == (missing.noise, missing.method, missing.rule)
    assert napari_dip.estimate_noise(image, **axes) == missing.noise
    assert result.record["padding_pixels"] == where.sum()
    (said,) = (sentence for sentence in result.warnings if "padding" in sentence)
    assert f"{where.sum()} pixels" in said
    assert "skip_padding=False" in said
    assert not any("hole" in sentence for sentence in result.warnings)


def test_it_can_be_switched_off() -> None:
    image, where = padded(24, 26)
    result = denoise(image, skip_padding=False, **SMALL)
    assert result.record["padding_pixels"] == 0
    assert not any("padding" in sentence for sentence in result.warnings)
    assert (result.image[where] != 0).any()
    again = denoise(image, settings=result.settings)
    assert again.record["padding_pixels"] == 0


@pytest.mark.parametrize("output", ["input", "float32"])
@pytest.mark.parametrize(("value", "dtype"), [(65535, np.uint16), (-1e300, np.float64), (255, np.uint8)])
def test_its_value_comes_back_in_the_type_of_the_result(value: float, dtype: Any, output: str) -> None:
    image, where = padded(24, 26, value=value, dtype=dtype)
    result = denoise(image, output_dtype=output, **SMALL)
    nearest = value if output == "input" else max(value, float(np.finfo(np.float32).min))
    assert (result.image[where] == np.array(nearest, result.image.dtype)).all()
    assert result.image[~where].max() < 1000
    assert result.image[~where].min() > 0


def test_it_is_enlarged_by_superresolution() -> None:
    image, where = padded(16, 18)
    result = superresolve(image, 2, uncertainty=True, **SMALL)
    finer = where.repeat(2, 0).repeat(2, 1)
    assert (result.image[finer] == 0).all()
    assert result.uncertainty is not None
    assert np.isnan(result.uncertainty[finer]).all()


def test_inpainting_fills_the_mask_alone() -> None:
    image, where = padded(24, 26)
    with pytest.raises(ValueError, match="no hole to fill"):
        next(iterate("inpaint", image, **SMALL))
    mask = np.zeros(image.shape, bool)
    mask[10:12, 10:12] = True
    result = inpaint(image, mask, **SMALL)
    assert (result.image[where] == 0).all()
    assert (result.image[~mask] == image[~mask]).all()
    assert (result.image[mask] != image[mask]).all()


def test_each_channel_has_its_own() -> None:
    stack, where = padded(2, 24, 26)
    result = denoise(stack, channel_axis=0, **SMALL)
    assert (result.image[where] == 0).all()
    assert (result.image[~where] > 0).all()


def test_blocks_leave_it_out_with_no_seam(tmp_path: Path) -> None:
    image, where = padded(32, 80, value=0.1)
    image[:, :20], where[:, :20] = 0.1, True  # the first block has nothing else
    done = restore_blocks("denoise", image, tmp_path / "out.zarr", tile=32, client=False, progress=False, **SMALL)
    restored = zarr.open_array(tmp_path / "out.zarr" / "0")[:]
    assert (restored[where] == np.float32(0.1)).all()
    assert restored[~where].min() > 50
    assert done.record["padding_pixels"] > 0
    assert "skip_padding=False" in done.stop_reason
    missing = np.where(where, np.nan, image)
    other = restore_blocks("denoise", missing, tmp_path / "nan.zarr", tile=32, client=False, progress=False, **SMALL)
    assert done.record["intensity_range"] == other.record["intensity_range"]
    assert done.record["noise"] == other.record["noise"]
    assert (zarr.open_array(tmp_path / "nan.zarr" / "0")[:][~where] == restored[~where]).all()


def test_the_noise_of_a_block_is_that_at_the_mean_of_its_measured_pixels() -> None:
    image, where = padded(48, 64)
    image[~where] += np.random.default_rng(0).normal(0, np.sqrt(image[~where]))
    where[:, :24], image[:, :24] = True, 0
    sample = open_source(image[:, 24:]).part((slice(None), slice(None)))
    whole, *_ = look(read_instrument("denoise", 2, gain=1.0, offset=0.0), [(sample, None)], None, SMALL)
    none = np.zeros(image.shape, bool)
    block, missing = whole.of_block(image[None], none[None], None), whole.of_block(image[None], where[None], None)
    assert block.slices.padding is not None
    assert block.noise == missing.noise


def test_pixels_that_are_bad_beyond_doubt_are_restored() -> None:
    image = scene(48, 48)
    bad = np.zeros(image.shape, bool)
    bad[7, 9] = bad[30, 33] = bad[41, 12] = True
    image[bad] = 60000, 0, 3000
    result = denoise(image, **SMALL)
    assert result.record["bad_pixels"] == 3
    assert any("3 pixels are hot or dead" in sentence for sentence in result.warnings)
    assert result.image.max() < 400
    assert (result.image == denoise(np.where(bad, np.nan, image), **SMALL).image).all()
    off = denoise(image, skip_bad_pixels=False, **SMALL)
    assert off.record["bad_pixels"] == 0
    assert denoise(scene(48, 48), **SMALL).record["bad_pixels"] == 0
    stars = 100 + 2 * np.random.default_rng(0).normal(size=(48, 48))
    for index in range(12):  # light of a point is in its neighbours too, wherever it lies
        y, x = 4 + 3 * index + 0.08 * index, 40 - 3 * index + 0.11 * index
        stars += 500 * np.exp(-((np.arange(48)[:, None] - y) ** 2 + (np.arange(48) - x) ** 2) / (2 * 0.5**2))
    assert denoise(stars, **SMALL).record["bad_pixels"] == 0


@pytest.mark.parametrize("kind", ["hot column", "faint row", "half a column", "two columns", "2x2", "5x5", "pieces"])
def test_lines_and_clusters_are_as_good_as_missing(kind: str) -> None:
    image = scene(48, 48).astype(np.float32)
    bad, rng = np.zeros(image.shape, bool), np.random.default_rng(1)
    where: dict[str, list[Any]] = {
        "hot column": [np.s_[:, 30]],
        "faint row": [np.s_[20]],
        "half a column": [np.s_[24:, 30]],
        "two columns": [np.s_[:, 30:32]],
        "2x2": [np.s_[8:10, 9:11], np.s_[40:42, 33:35]],
        "5x5": [np.s_[8:13, 9:14], np.s_[40:45, 33:38]],
        "pieces": [np.s_[8:20, 9], np.s_[33, 20:40], np.s_[22, 40:47]],
    }
    for place in where[kind]:
        bad[place] = True
    image[bad] = (800 if kind == "faint row" else 5000) + 50 * rng.standard_normal(bad.sum())
    result = denoise(image, **SMALL)
    assert result.record["bad_pixels"] == bad.sum()
    assert any(f"{bad.sum()} pixels are hot or dead" in sentence for sentence in result.warnings)
    assert result.image.max() < 450
    missing = denoise(np.where(bad, np.nan, image), **SMALL)
    assert result.noise is not None
    assert missing.noise is not None
    assert result.noise.sigma == pytest.approx(missing.noise.sigma, rel=0.1)
    assert np.sqrt(np.mean((result.image - missing.image)[~bad] ** 2)) < 0.3 * missing.noise.sigma
    assert napari_dip.estimate_noise(image) == result.noise
    assert denoise(image, skip_bad_pixels=False, **SMALL).record["bad_pixels"] == 0


def test_lines_and_spots_that_light_makes_stay() -> None:
    rng, across = np.random.default_rng(0), np.arange(64.0)
    fibre = 100 + 500 * np.exp(-((across - 30.2) ** 2) / (2 * 0.6**2)) + 3 * rng.normal(size=(64, 64))
    stripes = 100 + 200.0 * (across % 2) + 3 * rng.normal(size=(64, 64))
    edge = np.where(across < 30, 100.0, 600.0) + 3 * rng.normal(size=(64, 64))
    spots = 100 + 3 * rng.normal(size=(64, 64))
    for index in range(9):
        y, x = 5.1 + 6.3 * index, 58.4 - 5.9 * index
        spots += 900 * np.exp(-((across[:, None] - y) ** 2 + (across - x) ** 2) / (2 * 0.8**2))
    for image in (fibre, fibre.T, stripes, edge, spots):
        assert denoise(image, **SMALL).record["bad_pixels"] == 0


@pytest.mark.parametrize("known", [np.s_[:, :32], np.s_[:32, :32], np.s_[:, 20:], np.s_[12:40, 8:]], ids=str)
def test_where_an_image_ends_within_its_frame_no_line_is_bad(known: Any) -> None:
    """What stands in for missing pixels is the nearest one, again and again: lines, but no evidence."""
    missing = np.ones((64, 64), bool)
    missing[known] = False
    for seed in range(12):
        rng = np.random.default_rng(seed)
        image = 3.7 * rng.poisson(5, (64, 64)) + rng.normal(0, 1, (64, 64))
        slices = without_lines(read_slices(image, missing, None, 0))
        assert slices.bad is None


@pytest.mark.parametrize("known", [np.s_[:, :32], np.s_[8:, 8:]], ids=str)
def test_a_line_is_found_in_the_known_part_alone(known: Any) -> None:
    missing = np.ones((64, 64), bool)
    missing[known] = False
    image = np.random.default_rng(0).normal(100, 5, (64, 64))
    image[:, 20] = 400
    image[30, 10:13] = np.nan
    bad = without_lines(read_slices(image, missing, None, 0)).bad
    assert bad is not None
    expected = np.zeros((64, 64), bool)
    expected[:, 20] = True
    assert np.array_equal(bad[0, 0], expected & ~missing)


def test_blocks_count_bad_pixels_and_say_so(tmp_path: Path) -> None:
    image = scene(48, 48)
    image[7, 9], image[30:32, 33:35] = 60000, 3000
    quick = {"tile": 64, "client": False, "progress": False, **SMALL}
    done = restore_blocks("denoise", image, tmp_path / "out.zarr", **quick)
    assert done.record["bad_pixels"] == 5
    assert done.record["intensity_range"][1] < 1000
    assert "skip_bad_pixels=False" in done.stop_reason
    off = restore_blocks("denoise", image, tmp_path / "off.zarr", skip_bad_pixels=False, **quick)
    assert off.record["bad_pixels"] == 0
    assert "skip_bad_pixels" not in off.stop_reason


def test_the_noise_says_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    image, where = padded(48, 48)
    image[:, 30] = 5000 + np.arange(48)
    tifffile.imwrite("in.tif", image)
    assert main(["noise", "in.tif"]) == 0
    assert f"{where.sum() + 48} pixels (" in capsys.readouterr().out
    tifffile.imwrite("in.tif", scene(48, 48))
    assert main(["noise", "in.tif"]) == 0
    assert "Warning" not in capsys.readouterr().out
