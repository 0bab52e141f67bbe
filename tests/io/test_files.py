"""What a file says of an image survives reading and writing, and no failure costs a file."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from napari_dip.io import files, parts
from napari_dip.io.picture import Picture, guess_axes, make_picture
from napari_dip.io.units import converted

TYPES = ["uint8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
RECORD = {"task": "denoise", "settings": {"iterations": 3}, "note": "50 µm"}


def values(shape: tuple[int, ...], dtype: str = "uint8") -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).uniform(0, 100, shape).astype(dtype)


def listing(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("ending", [".tif", ".tiff", ".ome.tif", ".OME.TIFF", ".npy"])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("axes", "shape"), [("YX", (5, 4)), ("TCZYX", (2, 3, 4, 6, 5)), ("ZYXS", (2, 6, 5, 3))])
def test_calibration_survives(tmp_path: Path, ending: str, dtype: str, axes: str, shape: tuple[int, ...]) -> None:
    sizes = {axis: size for axis, size in {"T": 2.5, "Z": 0.3, "Y": 0.11, "X": 0.1}.items() if axis in axes}
    before = Picture(values=values(shape, dtype), axes=axes, pixel_size=sizes, unit="µm", notes="Objektiv 60x Öl")
    files.write(tmp_path / f"a{ending}", before.values, before, record=RECORD)
    after = files.read(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(after.values, before.values)
    assert after.values.dtype == before.values.dtype
    assert (after.axes, after.unit, after.record) == (axes, "µm", RECORD)
    assert after.pixel_size == pytest.approx(sizes)
    assert "Objektiv 60x Öl" in after.notes or ending == ".npy"


@pytest.mark.parametrize("unit", ["µm", "nm", "mm", "cm", "inch", "furlong", ""])
@pytest.mark.parametrize(("ending", "dtype"), [(".tif", "float32"), (".tif", "float64"), (".ome.tif", "float32")])
def test_units_survive(tmp_path: Path, unit: str, ending: str, dtype: str) -> None:
    before = Picture(values=values((5, 4), dtype), axes="YX", pixel_size={"Y": 2.5, "X": 0.5}, unit=unit)
    files.write(tmp_path / f"a{ending}", before.values, before)
    after = files.read(tmp_path / f"a{ending}")
    assert after.pixel_size == pytest.approx(before.pixel_size)
    assert after.unit == unit or (unit == "furlong" and ending == ".ome.tif")  # OME has a list of units


@pytest.mark.parametrize("unit", ["um", "micron", "\\u00B5m", "micrometer"])
def test_imagej_is_understood_and_understands(tmp_path: Path, unit: str) -> None:
    display = {"mode": "composite", "Ranges": (0.0, 9.0, 1.0, 8.0), "Labels": [f"slice {i}" for i in range(12)]}
    tables = list(np.arange(2 * 3 * 256).reshape(2, 3, 256).astype("uint8"))
    tifffile.imwrite(
        tmp_path / "a.tif",
        values((3, 2, 2, 5, 4), "uint16"),
        imagej=True,
        resolution=(10, 8),
        metadata={
            "axes": "TZCYX",
            "unit": unit,
            "spacing": 0.5,
            "finterval": 1.5,
            "Info": "by hand",
            "LUTs": tables,
            **display,
        },
    )
    picture = files.read(tmp_path / "a.tif")
    assert (picture.axes, picture.unit, picture.notes) == ("TCZYX", "µm", "by hand")
    assert picture.pixel_size == pytest.approx({"T": 1.5, "Z": 0.5, "Y": 0.125, "X": 0.1})
    files.write(tmp_path / "b.tif", picture.values.astype(np.float32), picture, record=RECORD)
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        meta = tif.imagej_metadata
        assert meta is not None
        assert tif.series[0].axes == "TZCYX"
        np.testing.assert_array_equal(tif.asarray(), tifffile.imread(tmp_path / "a.tif"))
        assert tif.pages.first.resolution == pytest.approx((10, 8))
    assert (meta["unit"], meta["spacing"], meta["finterval"]) == ("micron", 0.5, 1.5)
    assert {name: meta[name] for name in display} == display
    np.testing.assert_array_equal(meta["LUTs"], tables)
    assert meta["Info"].endswith("by hand")


def test_ome_units_stay_and_channels_keep_their_names(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        values((2, 3, 5, 4)),
        photometric="minisblack",
        metadata={
            "axes": "CZYX",
            "PhysicalSizeX": 100.0,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 0.2,
            "PhysicalSizeYUnit": "µm",
            "PhysicalSizeZ": 0.001,
            "PhysicalSizeZUnit": "mm",
            "TimeIncrement": 20.0,
            "TimeIncrementUnit": "ms",
            "Channel": {"Name": ["DAPI", "GFP"]},
        },
    )
    picture = files.read(tmp_path / "a.ome.tif")
    assert picture.pixel_size == {"X": 100, "Y": 0.2, "Z": 0.001, "T": 20}
    assert [picture.unit_of(axis) for axis in "XYZT"] == ["nm", "µm", "mm", "ms"]
    assert picture.sizes_in("nm", "XYZT") == {"X": 100, "Y": 200, "Z": 1000}
    files.write(tmp_path / "b.ome.tif", picture.values, picture)
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as tif:
        assert tif.is_ome
        xml = tif.ome_metadata or ""
    assert all(words in xml for words in ('Name="DAPI"', 'Name="GFP"', 'PhysicalSizeXUnit="nm"'))
    again = files.read(tmp_path / "b.ome.tif")
    assert (again.pixel_size, again.units) == (picture.pixel_size, picture.units)


@pytest.mark.parametrize(
    ("size", "unit", "to", "is_"),
    [(0.3, "µm", "nm", 300), (0.7, "nm", "µm", 0.0007), (2, "min", "s", 120), (1.1, "s", "ms", 1100), (3, "", "", 3)],
)
def test_a_conversion_is_exact(size: float, unit: str, to: str, is_: float) -> None:
    assert converted(size, unit, to) == is_


def test_resolution_tags_calibrate_and_others_can_read_them(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values((5, 4)), resolution=(300, 150), resolutionunit="INCH", metadata=None)
    assert files.read(tmp_path / "a.tif").pixel_size == pytest.approx({"X": 1 / 300, "Y": 1 / 150})
    assert files.read(tmp_path / "a.tif").unit == "inch"
    like = Picture(values=values((5, 4)), axes="YX", pixel_size={"Y": 0.1, "X": 0.1}, unit="µm")
    files.write(tmp_path / "b.tif", values((5, 4), "float64"), like)
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        assert tif.pages.first.resolution == pytest.approx((1e5, 1e5))
        assert tif.pages.first.resolutionunit == tifffile.RESUNIT.CENTIMETER


def test_no_calibration_is_invented(tmp_path: Path) -> None:
    for name in ("a.tif", "a.ome.tif", "a.png", "a.jpg", "a.npy"):
        like = Picture(values=values((8, 8)), axes="YX")
        files.write(tmp_path / name, like.values, like)
        after = files.read(tmp_path / name)
        assert (after.pixel_size, after.unit, after.record) == ({}, "", {})


@pytest.mark.parametrize("ending", [".tif", ".ome.tif", ".png", ".jpg", ".npy"])
def test_superresolution_divides_the_pixel_size_and_says_how_it_was_made(tmp_path: Path, ending: str) -> None:
    like = Picture(values=values((6, 5)), axes="YX", pixel_size={"Y": 0.2, "X": 0.3}, unit="µm", alpha=values((6, 5)))
    if ending == ".jpg":
        like = Picture(values=like.values, axes="YX", pixel_size=like.pixel_size, unit="µm")
    path = tmp_path / f"a{ending}"
    files.write(path, values((12, 15)), like, factors={"Y": 2, "X": 3}, record=RECORD)
    after = files.read(path)
    assert after.record == RECORD
    assert after.pixel_size == pytest.approx({"Y": 0.1, "X": 0.1}, rel=1e-6)
    assert after.unit == "µm"
    if ending in (".tif", ".ome.tif", ".png"):
        assert like.alpha is not None
        np.testing.assert_array_equal(after.alpha, np.kron(like.alpha, np.ones((2, 3), "uint8")))


@pytest.mark.parametrize("samples", [(), (2,), (3,), (4,)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_is_exact_with_transparency(tmp_path: Path, dtype: str, samples: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (7, 5, *samples), endpoint=True, dtype=dtype)
    picture = make_picture(array, "YXS"[: array.ndim], has_alpha=samples in ((2,), (4,)))
    files.write(tmp_path / "a.png", picture.values, picture)
    after = files.read(tmp_path / "a.png")
    np.testing.assert_array_equal(after.samples(), array)
    assert after.samples().dtype == array.dtype
    assert after.axes == picture.axes
    assert (after.alpha is None) == (picture.alpha is None)
    if dtype == "uint8":
        np.testing.assert_array_equal(np.array(Image.open(tmp_path / "a.png")), array)


def test_png_and_tiff_resolution_of_a_photograph_survives(tmp_path: Path) -> None:
    Image.fromarray(values((6, 5))).save(tmp_path / "a.png", dpi=(300, 300))
    picture = files.read(tmp_path / "a.png")
    assert picture.pixel_size == pytest.approx({"X": 25400 / 300, "Y": 25400 / 300}, rel=1e-3)
    files.write(tmp_path / "b.png", picture.values, picture)
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["dpi"] == pytest.approx((300, 300), rel=1e-3)


def test_palettes_and_flags_become_what_they_show(tmp_path: Path) -> None:
    grey = values((6, 5)) // 10
    colours = Image.fromarray(grey).convert("RGB").quantize(16)
    colours.save(tmp_path / "a.png")
    np.testing.assert_array_equal(files.read(tmp_path / "a.png").values, np.array(colours.convert("RGB")))
    Image.fromarray(grey > 4).save(tmp_path / "b.png")
    np.testing.assert_array_equal(files.read(tmp_path / "b.png").values, np.where(grey > 4, 255, 0))
    table = np.random.default_rng(0).integers(0, 256, (3, 256)).astype("uint16") * 257
    tifffile.imwrite(tmp_path / "a.tif", grey, photometric="palette", colormap=table)
    np.testing.assert_array_equal(files.read(tmp_path / "a.tif").values, (table.T >> 8)[grey])


def test_inverted_tiff_stays_inverted(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values((6, 5)), photometric="miniswhite")
    picture = files.read(tmp_path / "a.tif")
    files.write(tmp_path / "b.tif", picture.values, picture)
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        assert tif.pages.first.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        np.testing.assert_array_equal(tif.asarray(), values((6, 5)))


@pytest.mark.parametrize("name", ["b.ome.tif", "b.png", "b.jpg"])
def test_that_0_is_white_is_told_where_it_is_lost(tmp_path: Path, name: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values((6, 5), "uint8"), photometric="miniswhite")
    picture = files.read(tmp_path / "a.tif")
    with pytest.warns(UserWarning, match=f"^{name} cannot hold that 0 is white; a .tif does$"):
        files.write(tmp_path / name, picture.values, picture)


def test_photographs_are_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(values((6, 9))).save(tmp_path / "a.jpg", exif=exif)
    assert files.read(tmp_path / "a.jpg").values.shape == (9, 6)


def test_jpeg_is_close_and_tells_of_lost_transparency(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(16), np.arange(16)).astype("uint8") * 8
    like = Picture(values=smooth, axes="YX", alpha=smooth)
    with pytest.warns(UserWarning, match=r"a\.jpg cannot hold transparency"):
        files.write(tmp_path / "a.jpg", smooth, like)
    assert np.abs(files.read(tmp_path / "a.jpg").values.astype(int) - smooth).max() < 8


@pytest.mark.parametrize(("name", "top"), [("a.png", 65535), ("a.jpg", 255)])
def test_values_that_a_screen_format_cannot_hold_are_stretched_aloud(tmp_path: Path, name: str, top: int) -> None:
    array = np.linspace(-1, 3, 64, dtype=np.float32).reshape(8, 8)
    with pytest.warns(UserWarning, match=f"-1 is written as 0 and 3 as {top}"):
        files.write(tmp_path / name, array, Picture(values=array, axes="YX"))
    after = files.read(tmp_path / name).values.astype(float)
    np.testing.assert_allclose(after, (array + 1) / 4 * top, atol=top / 50)


def test_a_float_result_of_whole_numbers_is_rounded_and_clipped(tmp_path: Path) -> None:
    result = np.array([[-3, 0.4, 0.6], [254.6, 256, np.nan]], np.float32)
    with pytest.warns(
        UserWarning, match="a.png holds whole numbers from 0 to 255: values are changed by up to 3; .tif"
    ):
        files.write(tmp_path / "a.png", result, Picture(values=values((2, 3)), axes="YX"))
    np.testing.assert_array_equal(files.read(tmp_path / "a.png").values, [[0, 0, 1], [255, 255, 0]])


def test_any_order_of_axes_is_brought_to_one(tmp_path: Path) -> None:
    planar = values((3, 6, 5))
    tifffile.imwrite(tmp_path / "a.tif", planar, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(files.read(tmp_path / "a.tif").values, np.moveaxis(planar, 0, -1))
    tifffile.imwrite(tmp_path / "b.tif", values((4, 6, 5)), metadata={"axes": "XZY"}, photometric="minisblack")
    picture = files.read(tmp_path / "b.tif")
    assert picture.axes == "ZYX"
    np.testing.assert_array_equal(picture.values, values((4, 6, 5)).transpose(1, 2, 0))
    tifffile.imwrite(tmp_path / "c.tif", values((4, 6, 5)), byteorder=">", metadata=None, photometric="minisblack")
    assert files.read(tmp_path / "c.tif").axes == "ZYX"
    np.save(tmp_path / "d.npy", np.asfortranarray(values((6, 5), ">f8")))
    assert files.read(tmp_path / "d.npy").values.dtype.isnative


def test_axes_without_names() -> None:
    def named(*shape: int) -> str:
        return make_picture(np.zeros(shape), guess_axes(shape)).axes

    assert [named(9, 9), named(9, 9, 3), named(9, 9, 9), named(9, 9, 9, 4)] == ["YX", "YXS", "ZYX", "ZYXS"]
    assert [named(2, 9, 9, 9), named(2, 2, 9, 9, 9), named(1, 2, 2, 9, 9, 9)] == ["TZYX", "TCZYX", "QTCZYX"]


def test_float_colours_with_transparency_stay_together(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values((6, 5, 4)), photometric="rgb", extrasamples=["unassalpha"])
    picture = files.read(tmp_path / "a.tif")
    assert (picture.axes, picture.values.shape) == ("YXS", (6, 5, 3))
    files.write(tmp_path / "b.tif", picture.values.astype("float32"), picture)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), values((6, 5, 4)).astype("float32"))
    assert files.read(tmp_path / "b.tif").alpha is not None


def test_a_record_remembers_the_one_before(tmp_path: Path) -> None:
    first = Picture(values=values((6, 5)), axes="YX", notes="by hand")
    files.write(tmp_path / "a.tif", first.values, first, record={"task": "denoise"})
    second = files.read(tmp_path / "a.tif")
    files.write(tmp_path / "b.tif", second.values, second, record={"task": "inpaint"})
    third = files.read(tmp_path / "b.tif")
    assert third.record == {"task": "inpaint"}
    assert '"task": "denoise"' in third.notes
    assert third.notes.endswith("by hand")


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.png", "a.jpg", "a.npy"])
def test_nothing_is_overwritten_unless_asked(tmp_path: Path, name: str) -> None:
    like = Picture(values=values((6, 5)), axes="YX")
    (tmp_path / name).write_text("precious")
    for attempt in (
        lambda: files.write(tmp_path / name, like.values, like),
        lambda: files.rehearse(tmp_path / name, like, "uint8"),
        lambda: files.check(tmp_path / name),
    ):
        with pytest.raises(FileExistsError, match=r"exists.*overwrite=True"):
            attempt()
    assert (tmp_path / name).read_text() == "precious"
    files.write(tmp_path / name, like.values, like, overwrite=True)
    assert files.read(tmp_path / name).axes == "YX"


def test_the_record_beside_an_image_is_not_overwritten_either(tmp_path: Path) -> None:
    (tmp_path / "a.npy.json").write_text("precious")
    with pytest.raises(FileExistsError, match=r"a\.npy\.json exists"):
        files.write(tmp_path / "a.npy", values((6, 5)), Picture(values=values((6, 5)), axes="YX"))
    assert listing(tmp_path) == {"a.npy.json"}
    files.write(tmp_path / "a.npy", values((6, 5)), Picture(values=values((6, 5)), axes="YX"), overwrite=True)
    assert json.loads((tmp_path / "a.npy.json").read_text())["axes"] == "YX"


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg", "a.npy"])
def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    like = Picture(values=values((6, 5)), axes="YX")
    (tmp_path / name).write_text("precious")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=f"the disk is full: .*{name} takes"):
        files.write(tmp_path / name, like.values, like, overwrite=True)
    assert listing(tmp_path) == {name}
    assert (tmp_path / name).read_text() == "precious"


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg", "a.npy"])
def test_a_rehearsal_leaves_nothing(tmp_path: Path, name: str) -> None:
    files.rehearse(tmp_path / name, Picture(values=values((6, 5)), axes="YX"), "float32", factors={"Y": 2})
    assert listing(tmp_path) == set()


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("a.png", (4, 6, 5), "uint8"),
        ("a.jpg", (4, 6, 5), "uint8"),
        ("a.jpg", (2, 70000), "uint8"),
        ("a.ome.tif", (6, 5), "int64"),
    ],
)
def test_what_a_format_cannot_hold_is_known_before_the_run(
    tmp_path: Path, name: str, shape: tuple[int, ...], dtype: str
) -> None:
    like = make_picture(values(shape, dtype), guess_axes(shape))
    with pytest.raises(OSError, match=f"{name} cannot be written .*a plain .tif holds any image"):
        files.rehearse(tmp_path / name, like, dtype)
    assert listing(tmp_path) == set()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    like = Picture(values=values((6, 5)), axes="YX")
    (tmp_path / "real.tif").write_text("old")
    (tmp_path / "link.tif").symlink_to(tmp_path / "real.tif")
    files.write(tmp_path / "link.tif", like.values, like, overwrite=True)
    assert (tmp_path / "link.tif").is_symlink()
    np.testing.assert_array_equal(files.read(tmp_path / "real.tif").values, like.values)


@pytest.mark.parametrize("options", [{"imagej": True}, {"ome": True}, {"compression": "zlib"}, {"metadata": None}])
def test_a_cut_stack_is_refused_or_whole(tmp_path: Path, options: dict[str, Any]) -> None:
    stack = np.random.default_rng(0).integers(0, 9, (5, 16, 16)).astype("uint16")
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", **options)
    whole = (tmp_path / "a.tif").read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "cut.tif").write_bytes(whole[:length])
        with contextlib.suppress(OSError):
            np.testing.assert_array_equal(files.read(tmp_path / "cut.tif").values, stack)


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg", "a.npy"])
@pytest.mark.parametrize("content", [b"", b"no image at all"])
def test_what_is_no_image_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OSError, match=f"{name} cannot be read .*check that it is complete"):
        files.read(tmp_path / name)


def test_names_that_cannot_work_are_refused_by_name(tmp_path: Path) -> None:
    like = Picture(values=values((6, 5)), axes="YX")
    np.save(tmp_path / "line.npy", np.arange(5))
    np.save(tmp_path / "none.npy", np.zeros((0, 5)))
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(OSError, match=r"line\.npy cannot be read .an image has at least two axes"):
        files.read(tmp_path / "line.npy")
    (tmp_path / "text.npy").write_text("1 2 3")
    with pytest.raises(OSError, match=r"text\.npy cannot be read .it does not begin as one array of numpy does"):
        files.read(tmp_path / "text.npy")
    with pytest.raises(OSError, match=r"none\.npy cannot be read .it is empty"):
        files.read(tmp_path / "none.npy")
    with pytest.raises(FileNotFoundError, match=r"b\.tif is not there"):
        files.read(tmp_path / "b.tif")
    with pytest.raises(ValueError, match=r"a\.gif ends in none of \.tif"):
        files.read(tmp_path / "a.gif")
    with pytest.raises(ValueError, match=r"a\.gif ends in none of \.tif"):
        files.write(tmp_path / "a.gif", like.values, like)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        files.read(tmp_path / "folder.tif")
    with pytest.raises(IsADirectoryError, match="is a folder, and no zarr; name an image file in it"):
        files.read(tmp_path)
    for name in ("a.zarr.zip", "a.ozx"):
        with pytest.raises(ValueError, match="a zipped zarr is not read by napari-dip; unpack it, and name the folder"):
            files.read(tmp_path / name)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        files.write(tmp_path / "folder.tif", like.values, like, overwrite=True)
    with pytest.raises(FileNotFoundError, match=r"missing is not a folder.*make it first"):
        files.write(tmp_path / "missing" / "a.tif", like.values, like)


def test_several_images_in_a_file_are_mentioned(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(values((6, 5)))
        writer.write(values((8, 9)))
    with pytest.warns(UserWarning, match=r"holds 2 images .*1: image, YX \(8, 9\).; the first one is read"):
        assert files.read(tmp_path / "a.tif").values.shape == (6, 5)
    assert files.read(tmp_path / "a.tif", 1).values.shape == (8, 9)
    with pytest.raises(OSError, match=r"series 2 is not one of its 2 .0: image"):
        files.read(tmp_path / "a.tif", 2)


def of_60000_squared(path: Path) -> None:
    """A small file that declares 3.6 billion pixels."""
    if path.suffix == ".npy":
        header = {"descr": "<u2", "fortran_order": False, "shape": (60000, 60000)}
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
        return
    content = {".png": b"", ".jpg": b"", ".tif": b""}[path.suffix]
    if path.suffix == ".png":
        Image.fromarray(values((6, 5))).save(path)
        head = b"IHDR" + struct.pack(">II", 60000, 60000) + path.read_bytes()[24:29]
        content = path.read_bytes()[:12] + head + struct.pack(">I", zlib.crc32(head)) + path.read_bytes()[33:]
    elif path.suffix == ".jpg":
        Image.fromarray(values((6, 5))).save(path)
        raw = path.read_bytes()
        at = raw.index(b"\xff\xc0") + 5
        content = raw[:at] + struct.pack(">HH", 60000, 60000) + raw[at + 4 :]
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["a.npy", "a.png", "a.jpg"])
def test_no_room_is_made_for_more_than_a_file_can_hold(tmp_path: Path, name: str) -> None:
    of_60000_squared(tmp_path / name)
    with pytest.raises(OSError, match=f"{name} cannot be read"):
        allocated(lambda: files.read(tmp_path / name))


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"compression": "lzw", "tile": (64, 64)}])
@pytest.mark.parametrize("declared", ["tags", "imagej", "shape", "ome"])
def test_no_room_is_made_for_more_than_a_tiff_can_hold(tmp_path: Path, declared: str, options: dict[str, Any]) -> None:
    path = tmp_path / "a.ome.tif" if declared == "ome" else tmp_path / "a.tif"
    how = {"imagej": {"imagej": True, "metadata": {"axes": "TYX"}}, "tags": {"metadata": None}}.get(declared, {})
    tifffile.imwrite(path, values((2, 64, 64), "uint16"), photometric="minisblack", **how, **options)
    raw = path.read_bytes()
    raw = raw.replace(b"frames=2", b"frames=9").replace(b'"shape": [2, 64, 64]', b'"shape": [99999999]')
    raw = raw.replace(b'SizeT="1"', b'SizeT="9"').replace(b'SizeZ="2"', b'SizeZ="9"')
    path.write_bytes(raw)
    if declared == "tags":
        with tifffile.TiffFile(path, mode="r+") as tif:
            for page in tif.pages:
                for name in ("ImageWidth", "ImageLength"):
                    page.tags[name].overwrite(60000)  # type: ignore[union-attr]
    with contextlib.suppress(OSError):
        allocated(lambda: files.read(path))


def allocated(read: Callable[[], object]) -> None:
    """Call a function, and see that it never holds much."""
    tracemalloc.start()
    try:
        read()
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 50e6


def test_files_that_compress_well_are_read(tmp_path: Path) -> None:
    flat = np.zeros((2048, 2048), "uint16")
    for compression in ("zlib", "lzw", "zstd", "lzma"):
        tifffile.imwrite(tmp_path / "a.tif", flat, compression=compression)
        assert not files.read(tmp_path / "a.tif").values.any()
    Image.fromarray(flat.astype("uint8")).save(tmp_path / "a.png", optimize=True)
    Image.fromarray(flat.astype("uint8")).save(tmp_path / "a.jpg", optimize=True, progressive=True, quality=1)
    assert files.read(tmp_path / "a.png").values.shape == files.read(tmp_path / "a.jpg").values.shape == (2048, 2048)


@pytest.mark.parametrize("name", ["a.tif", "imagej.tif", "a.ome.tif", "a.png", "a.jpg", "a.npy"])
def test_a_record_that_is_nested_too_deep_does_not_cost_the_image(tmp_path: Path, name: str) -> None:
    deep = '{"napari-dip": ' + "[" * 100_000 + "]" * 100_000 + "}"
    like = Picture(values=values((6, 5)), axes="YX")
    if name.endswith(("png", "jpg", "npy")):
        files.write(tmp_path / name, like.values, like)
        if name == "a.png":
            text = PngInfo()
            text.add_text("napari-dip", deep)
            Image.fromarray(like.values).save(tmp_path / name, pnginfo=text)
        else:
            (tmp_path / f"{name}.json").write_text(deep)
    else:
        options: dict[str, dict[str, Any]] = {
            "a.tif": {"description": deep[:-1] + ', "shape": [6, 5]}', "metadata": None},
            "imagej.tif": {"imagej": True, "metadata": {"Info": deep}},
            "a.ome.tif": {"metadata": {"Description": deep}},
        }
        tifffile.imwrite(tmp_path / name, like.values, **options[name])
    with pytest.warns(UserWarning, match="left out"):
        read = files.read(tmp_path / name)
    assert (read.values.shape, read.record) == ((6, 5), {})


def test_what_a_killed_run_left_half_written_is_swept(tmp_path: Path) -> None:
    """By the next one that writes there; never what a living process, or another program, is writing."""
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    begin = parts._beginning()
    gone, alive, other = f"{begin}{int(child.stdout)}.tif", f"{begin}{os.getpid()}.png", ".napari-dip-notes.tif"
    for name in (gone, alive, other):
        (tmp_path / name).write_bytes(b"half")
    picture = make_picture(np.zeros((4, 4), np.uint8), "YX")
    files.write(tmp_path / "out.tif", picture.values, picture)
    assert {each.name for each in tmp_path.iterdir()} == {alive, other, "out.tif"}


def test_a_file_has_its_name_once_its_pixels_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a computer that loses its power keeps the name, with zeros at the end, which look like a whole image."""
    order, sync, replace = list[str](), os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (order.append(f"{os.fstat(file).st_size} bytes"), sync(file)))
    monkeypatch.setattr(os, "replace", lambda part, path: (order.append("named"), replace(part, path)))
    values = np.ones((16, 16), np.float32)
    files.write(tmp_path / "a.tif", values, make_picture(values, "YX"))
    assert order == [f"{(tmp_path / 'a.tif').stat().st_size} bytes", "named"]
    files.rehearse(tmp_path / "b.tif", make_picture(values, "YX"), np.float32)
    assert len(order) == 2  # nothing of that is kept
