"""An OME-Zarr that fits in memory: read like any file, and written as one, with what both formats can say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr

from napari_dip import denoise
from napari_dip.command.cli import DONE, FAILED, main
from napari_dip.io import files
from tests.bad_inputs import QUICK
from tests.command.test_blockwise import TINY
from tests.io.test_ngff import bioformats, plate, written
from tests.run.blocks.test_damaged_chunks import CHUNK, DAMAGE
from tests.run.blocks.test_large import stack


def test_what_a_tiff_says_comes_back_from_a_zarr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = {"Name": ["DAPI", "GFP"], "Color": [65535, 16711935], "EmissionWavelength": [460.0, 520.0]}
    size = {"PhysicalSizeX": 0.3, "PhysicalSizeY": 300.0, "PhysicalSizeYUnit": "nm"}
    plane = {"Plane": {"PositionX": [1.5] * 2, "ExposureTime": [0.1] * 2}}
    metadata = {"axes": "CYX", **size, "Channel": plain, **plane}
    tifffile.imwrite(tmp_path / "in.ome.tif", stack(2, 16, 20), photometric="minisblack", metadata=metadata)
    source = files.read(tmp_path / "in.ome.tif")
    assert main(["denoise", str(tmp_path / "in.ome.tif"), str(tmp_path / "in.zarr"), *TINY]) == DONE
    found = files.read(tmp_path / "in.zarr")
    assert (found.axes, found.pixel_size, found.unit, found.units) == ("CYX", {"X": 0.3, "Y": 300}, "µm", {"Y": "nm"})
    assert [(c.name, c.colour, c.emission) for c in found.channels] == [
        (c.name, c.colour, c.emission) for c in source.channels
    ]
    assert found.record["task"] == "denoise"
    capsys.readouterr()
    for name in ("out.ome.tif", "out.npy"):
        assert main(["denoise", str(tmp_path / "in.zarr"), str(tmp_path / name), "--quiet", *TINY]) == DONE
        again = files.read(tmp_path / name)
        assert (again.values.shape, again.pixel_size["X"], again.channels[1].name) == ((2, 16, 20), 0.3, "GFP")
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as tif:
        assert tif.ome_metadata is not None
        assert all(word in tif.ome_metadata for word in ('PositionX="1.5"', 'EmissionWavelength="520', "0.3"))
    assert "cannot hold" not in capsys.readouterr().err.partition("out.npy")[0]


@pytest.mark.parametrize("form", [2, 3])
def test_any_option_takes_a_zarr(tmp_path: Path, form: int, capsys: pytest.CaptureFixture[str]) -> None:
    path, zarr_of = written(tmp_path / "in.zarr", form, values=stack(2, 16, 20)), {}
    for name, values in {"mask": np.eye(16, 20), "psf": np.ones((3, 3)), "truth": stack(2, 16, 20)}.items():
        array = zarr.create_array(tmp_path / f"{name}.zarr", shape=values.shape, dtype="f4", zarr_format=form)
        array[:] = values
        zarr_of[name] = str(tmp_path / f"{name}.zarr")
    assert main(["noise", str(path), "--mask", zarr_of["mask"]]) == DONE
    words = [str(path), "--mask", zarr_of["mask"], "--mask-label", "1"]
    assert main(["denoise", *words, str(tmp_path / "out.tif"), "--truth", zarr_of["truth"], *TINY]) == DONE
    assert main(["denoise", *words, str(tmp_path / "out.zarr"), *TINY]) == DONE
    blurred = ["--psf", zarr_of["psf"], "--preset", "deconvolve-small", *TINY[2:]]
    assert main(["deconvolve", str(path), str(tmp_path / "sharp.tif"), *blurred]) == DONE
    assert "After:" in capsys.readouterr().out
    assert files.read(tmp_path / "out.tif").sizes_in("µm", "YX") == {"Y": 0.5, "X": 0.25}


@pytest.mark.parametrize("layout", [bioformats, plate])
@pytest.mark.parametrize("target", ["out.tif", "out.zarr"])
def test_one_of_several_images_is_taken_by_its_number(
    tmp_path: Path, layout: Any, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = layout(tmp_path / "in.zarr")
    second = path / ("1" if layout is bioformats else "A/1/1")
    values = zarr.open_array(second / "0", mode="r+")
    values[:] = 7
    words = ["denoise", str(path), str(tmp_path / target), *TINY]
    assert main([*words, "--series", "1"]) == DONE
    assert (files.read(tmp_path / target).values == 7).all()
    assert main([*words, "--overwrite", "--series", "2"]) == FAILED
    assert f"series 2 is not one of its 2 images: {path}/" in capsys.readouterr().err


def test_what_does_not_fit_in_memory_is_for_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "in.zarr", 3)
    memory = type("Memory", (), {"available": 1000})
    monkeypatch.setattr("psutil.virtual_memory", memory)
    assert main(["denoise", str(path), str(tmp_path / "out.tif"), *TINY]) == FAILED
    assert "name an OUT.zarr, which is written block by block" in capsys.readouterr().err


def test_nothing_is_written_into_the_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "in.zarr", 3)
    assert main(["denoise", str(path), str(path / "out.tif"), *TINY]) == FAILED
    assert "lies in IN" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------------------- damage


def test_a_damaged_chunk_costs_its_slice_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "in.zarr", 3, values=stack(4, 16, 20))
    chunk = path / CHUNK[3]
    DAMAGE["cut"](chunk)
    assert main(["denoise", str(path), str(tmp_path / "out.tif"), "--quiet", *TINY]) == FAILED
    said = capsys.readouterr()
    assert f"{chunk} cannot be read (" in said.err
    assert "out.tif is written" in said.out
    assert np.isfinite(files.read(tmp_path / "out.tif").values).all(axis=(1, 2)).tolist() == [True, False, True, True]
    array = zarr.open_array(path / "0", mode="r")
    for lazy in (array, da.from_zarr(array)):
        result = denoise(lazy, leading_axes=1, **QUICK)
        assert np.isfinite(result.image).all(axis=(1, 2)).tolist() == [True, False, True, True]
        assert not result.complete
        assert any(f"Slice 1 could not be restored and is empty: {chunk} cannot be" in each for each in result.warnings)
        with pytest.raises(OSError, match="cannot be read"):
            denoise(lazy, **QUICK)  # one volume
    assert main(["denoise", str(path), str(tmp_path / "volume.tif"), "--volume", *TINY]) == FAILED
    assert main(["denoise", str(tmp_path / "out.tif"), str(tmp_path / "b.tif"), "--truth", str(path), *TINY]) == FAILED
    assert capsys.readouterr().err.count(f"{chunk} cannot be read (") == 2
    assert not (tmp_path / "volume.tif").exists()
