"""Chunks without a file: read as the fill value, as a sparse zarr means and a lost file does not: said once."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_dip import restore_blocks
from napari_dip.command.cli import DONE, main
from napari_dip.io import files
from napari_dip.io.absent import absent_chunks
from tests.command.test_blockwise import TINY
from tests.io.test_ngff import written
from tests.run.blocks.test_damaged_chunks import CHUNK
from tests.run.blocks.test_large import PRIOR, stack


@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize("target", ["out.zarr", "out.npy"])
def test_a_lost_file_is_named_once_and_the_rest_restored(
    tmp_path: Path, form: int, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "in.zarr", form, values=stack(4, 32, 40))
    (path / CHUNK[form]).unlink()
    assert main(["denoise", str(path), str(tmp_path / target), "--quiet", *TINY]) == DONE
    said = capsys.readouterr().err
    assert said.count(f"1 chunk has no file (first {path / CHUNK[form]}) and is read as the fill value, 0; ") == 1
    result = files.read(tmp_path / target).values
    assert not result[1].any()
    assert (result[[0, 2, 3]] > 50).all()


def test_a_lost_file_within_a_slice_is_padding_beside_its_neighbours(tmp_path: Path) -> None:
    values = stack(2, 64, 64)
    source = zarr.create_array(tmp_path / "in.zarr", shape=values.shape, chunks=(1, 16, 16), dtype=values.dtype)
    source[:] = values
    (tmp_path / "in.zarr/c/1/2/2").unlink()
    with pytest.warns(UserWarning, match="1 chunk has no file .*in.zarr/c/1/2/2.* fill value, 0"):
        restored = restore_blocks("denoise", tmp_path / "in.zarr", tmp_path / "out.zarr", **PRIOR)
    lost = restored.array[1, 32:48, 32:48]
    assert not lost.any()
    assert restored.record["padding_pixels"] == lost.size
    assert restored.record["intensity_range"] == [values.min(), values.max()]


def test_of_a_dask_array_too(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "in.zarr", shape=(3, 32, 40), chunks=(1, 32, 40), dtype="f4", fill_value=np.nan)[
        1:
    ] = 7
    lazy = da.from_zarr(tmp_path / "in.zarr")
    with pytest.warns(UserWarning, match="1 chunk has no file .*in.zarr/c/0/0/0.* is read as the fill value, nan"):
        restored = restore_blocks("denoise", lazy, tmp_path / "out.zarr", **PRIOR)
    assert np.isnan(restored.array[0]).all()


@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize("separator", [".", "/"])
def test_they_are_counted_whatever_lies_beside_them(tmp_path: Path, form: int, separator: str) -> None:
    keys = {"name": "v2" if form == 2 else "default", "separator": separator}
    array = zarr.create_array(
        tmp_path / "in.zarr",
        shape=(5, 7),
        chunks=(2, 3),
        dtype="u1",
        zarr_format=form,
        chunk_key_encoding=keys,  # type: ignore[arg-type]
    )
    assert absent_chunks(array) == (9, f"{tmp_path}/in.zarr/{array.metadata.encode_chunk_key((0, 0))}")
    array[:] = 1
    assert absent_chunks(array) == (0, "")
    for name in ("Thumbs.db", "9.9", "0.0.0", "90", "d/0/0.partial"):
        (tmp_path / "in.zarr" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in.zarr" / name).touch()
    last = array.metadata.encode_chunk_key((2, 2))
    (tmp_path / "in.zarr" / last).unlink()
    assert absent_chunks(array) == (1, f"{tmp_path}/in.zarr/{last}")


def test_shards_are_counted_and_other_stores_and_endless_grids_are_no_matter(tmp_path: Path) -> None:
    sharded = zarr.create_array(tmp_path / "s.zarr", shape=(8, 8), chunks=(2, 2), shards=(4, 8), dtype="u1")
    sharded[:4] = 1
    assert absent_chunks(sharded) == (1, f"{tmp_path}/s.zarr/c/1/0")
    endless = zarr.create_array(tmp_path / "e.zarr", shape=(10**12, 10**12), chunks=(1, 1), dtype="u1")
    assert absent_chunks(endless) == (10**24, f"{tmp_path}/e.zarr/c/0/0")
    assert absent_chunks(zarr.create_array({}, shape=(8, 8), chunks=(2, 2), dtype="u1")) == (0, "")


def test_a_whole_image_is_read_in_silence(tmp_path: Path) -> None:
    path = written(tmp_path / "in.zarr", 3, values=stack(2, 32, 40))
    shutil.copytree(path, tmp_path / "again.zarr")
    with warnings.catch_warnings(action="error"):
        files.read(path)
        restore_blocks("denoise", path, tmp_path / "out.zarr", **PRIOR)


@pytest.mark.parametrize("target", ["out.zarr", "out.npy"])
def test_a_sparse_mask_is_read_in_silence(tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "in.zarr", 3, values=stack(2, 32, 40))
    mask = np.zeros((2, 32, 40), np.uint8)
    mask[0, 3:5, 3:5] = 1
    marked = written(tmp_path / "mask.zarr", 3, values=mask)
    assert not (marked / "0/c/1").exists()
    command = ["inpaint", str(path), str(tmp_path / target), "--mask", str(marked), "--quiet", *TINY]
    assert main(command) == DONE
    assert "no file" not in capsys.readouterr().err
