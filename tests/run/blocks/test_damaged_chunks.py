"""A chunk that cannot be read costs its block, and is named; once it is repaired the same call restores the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr

from napari_dip import estimate_blocks, iterate_blocks, restore_blocks
from napari_dip.command.cli import FAILED, main
from tests.command.test_blockwise import TINY
from tests.io.test_ngff import written
from tests.run.blocks.test_large import PRIOR, finish
from tests.run.blocks.test_targets import stack

CHUNK = {2: "0/1.0.0", 3: "0/c/1/0/0"}
DAMAGE: dict[str, Callable[[Path], Any]] = {
    "cut": lambda chunk: chunk.write_bytes(chunk.read_bytes()[:7]),
    "empty": lambda chunk: chunk.write_bytes(b""),
    "garbled": lambda chunk: chunk.write_bytes(bytes(reversed(chunk.read_bytes()))),
}


@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize("damage", DAMAGE)
def test_the_command_restores_the_others_and_says_which_file(
    tmp_path: Path, damage: str, form: int, capsys: pytest.CaptureFixture[str]
) -> None:
    values, target = stack(4, 16, 20), tmp_path / "out.zarr"
    path = written(tmp_path / "in.zarr", form, values=values)
    chunk = path / CHUNK[form]
    whole = chunk.read_bytes()
    DAMAGE[damage](chunk)
    words = ["denoise", str(path), str(target), "--quiet", *TINY, "--refine", "0"]
    assert main(words) == FAILED
    said = capsys.readouterr()
    assert f"{target}: restored 3 of 4 blocks; failed in 1: block 1 (c=1): {chunk} cannot be read (" in said.out
    assert said.out.count(str(chunk)) == 1
    assert said.err == ""
    result = zarr.open_array(target / "0", mode="r")
    np.testing.assert_array_equal(result[::2], values[::2])
    assert np.isnan(result[1]).all()
    assert str(chunk) in zarr.open_group(target, mode="r").attrs["napari-dip"]["failed"][0]
    assert main(words) == FAILED  # still so
    chunk.write_bytes(whole)
    seen, restored = finish(iterate_blocks("denoise", path, target, **PRIOR))
    assert next(each for each in seen if each.step == "fit").done == 3
    np.testing.assert_array_equal(restored.array[:], values)
    assert "failed" not in restored.record


@pytest.mark.parametrize("at", ["0/0", "3/0"])
def test_tiles_are_blended_around_a_damaged_one_and_again_after_its_repair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    monkeypatch.setattr("napari_dip.io.zarrwriter._SMALLEST", 16)
    monkeypatch.setattr("napari_dip.io.zarrwriter._CHUNK", {2: (16, 16), 3: (8, 16, 16)})
    values = np.full((2, 40, 40), 7, np.uint16)
    values[1] = 9
    source = zarr.create_array(tmp_path / "in.zarr", shape=values.shape, dtype="u2", chunks=(1, 10, 10))
    source[:] = values
    chunk = tmp_path / "in.zarr/c/0" / at
    whole = chunk.read_bytes()
    chunk.write_bytes(b"x")
    knobs = {**PRIOR, "tile": 24, "overlap": 8}
    restored = restore_blocks("denoise", tmp_path / "in.zarr", tmp_path / "out.zarr", **knobs)
    assert not restored.complete
    assert f"{chunk} cannot be read" in restored.stop_reason
    image = restored.array[:]
    known = np.isfinite(image)
    np.testing.assert_allclose(image[known], values[known], rtol=1e-6)
    assert known[1].all()
    assert 0.2 < known[0].mean() < 0.9
    coarse = zarr.open_array(tmp_path / "out.zarr" / "1", mode="r")[:]
    np.testing.assert_allclose(coarse[1], 9, rtol=1e-6)
    chunk.write_bytes(whole)
    seen, restored = finish(iterate_blocks("denoise", tmp_path / "in.zarr", tmp_path / "out.zarr", **knobs))
    assert restored.complete
    assert all(next(each for each in seen if each.step == step).done > 0 for step in ("fit", "blend", "level 1"))
    for level in "01":
        array = zarr.open_array(tmp_path / "out.zarr" / level, mode="r")[:]
        np.testing.assert_allclose(array, np.broadcast_to([[[7]], [[9]]], array.shape), rtol=1e-6)


def _raises(block: np.ndarray, block_id: Any = None) -> np.ndarray:
    if block_id[0] == 1:
        raise RuntimeError("on purpose")
    return block


def test_a_dask_array_loses_the_block_alone(tmp_path: Path) -> None:
    values = stack(4, 16, 20)
    path = written(tmp_path / "in.zarr", 3, values=values)
    source = da.from_zarr(zarr.open_array(path / "0", mode="r"))
    raising = da.from_array(values, chunks=(1, 16, 20)).map_blocks(_raises, dtype=values.dtype)
    (path / CHUNK[3]).write_bytes(b"x")
    for i, (array, words) in enumerate([(source, str(path / CHUNK[3])), (raising, "on purpose")]):
        restored = restore_blocks("denoise", array, tmp_path / f"{i}.zarr", **PRIOR)
        assert "restored 3 of 4 blocks; failed in 1: block 1 (z=1)" in restored.stop_reason
        assert words in restored.stop_reason
        np.testing.assert_array_equal(restored.array[::2], values[::2])


@pytest.mark.skipif(tifffile.__version__ < "2025.5", reason="whose stores are those of zarr 2")
def test_a_damaged_page_of_a_tiff_costs_its_block(tmp_path: Path) -> None:
    values = stack(4, 16, 20)
    tifffile.imwrite(tmp_path / "in.tif", values, photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(tmp_path / "in.tif") as tif:
        offset = tif.pages[1].dataoffsets[0]
    with open(tmp_path / "in.tif", "r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 8)
    with tifffile.imread(tmp_path / "in.tif", aszarr=True) as store:
        restored = restore_blocks("denoise", da.from_zarr(store), tmp_path / "out.zarr", **PRIOR)
    assert "restored 3 of 4 blocks; failed in 1: block 1 (z=1)" in restored.stop_reason
    np.testing.assert_array_equal(restored.array[::2], values[::2])


def test_an_image_of_which_nothing_can_be_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "in.zarr", 3)
    for i in (0, 1):
        (path / f"0/c/{i}/0/0").write_bytes(b"x")
    assert main(["denoise", str(path), str(tmp_path / "out.zarr"), *TINY]) == FAILED
    assert f"napari-dip: error: {path}/0/c/0/0/0 cannot be read (" in capsys.readouterr().err
    assert not (tmp_path / "out.zarr").exists()


def test_a_damaged_mask_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, mask = written(tmp_path / "in.zarr", 3), written(tmp_path / "mask.zarr", 3)
    (mask / CHUNK[3]).write_bytes(b"x")
    words = ["--mask", str(mask), *TINY]
    assert main(["denoise", str(path), str(tmp_path / "out.zarr"), *words]) == FAILED
    assert f"{mask / CHUNK[3]} cannot be read" in capsys.readouterr().err


def test_an_estimate_needs_no_whole_image(tmp_path: Path) -> None:
    path = written(tmp_path / "in.zarr", 3, values=stack(4, 16, 20))
    (path / CHUNK[3]).write_bytes(b"x")
    assert estimate_blocks("denoise", path, **PRIOR).blocks == 4


def test_another_image_is_told_though_a_chunk_is_damaged(tmp_path: Path) -> None:
    values, target = stack(4, 16, 20), tmp_path / "out.zarr"
    path = written(tmp_path / "in.zarr", 3, values=values)
    (path / CHUNK[3]).write_bytes(b"x")
    restore_blocks("denoise", path, target, **PRIOR)
    other = written(tmp_path / "other.zarr", 3, values=values + 1)
    with pytest.raises(ValueError, match="the source: another one"):
        restore_blocks("denoise", other, target, **PRIOR)
