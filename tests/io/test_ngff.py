"""OME-Zarr as others write it, and as it is damaged: read, or refused in a sentence that names file and field."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr

from napari_dip import restore_blocks
from napari_dip.command.cli import DONE, FAILED, main
from napari_dip.io.arrays import open_source
from napari_dip.io.ngff import Calibration
from tests.bad_inputs import QUICK
from tests.command.test_blockwise import TINY
from tests.run.blocks.test_large import PRIOR, stack

AXES = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space", "unit": "micrometer"} for n in "yx")]
IMAGE = {
    "axes": AXES,
    "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 0.5, 0.25]}]}],
}


def written(path: Path, form: int, image: Any = IMAGE, values: np.ndarray | None = None, **more: Any) -> Path:
    """An OME-Zarr with this as its multiscale image, as other programs lay it out."""
    ome = {"multiscales": [image], **more}
    attributes = {"ome": {"version": "0.5", **ome}} if form == 3 else ome
    group = zarr.create_group(path, zarr_format=form, attributes=attributes)
    values = stack(2, 16, 20) if values is None else values
    group.create_array("0", shape=values.shape, dtype=values.dtype, chunks=(1, *values.shape[1:]))[:] = values
    return path


def changed(*way: str | int, value: Any = None, drop: bool = False) -> dict[str, Any]:
    """The metadata of the image with another value in one place, or without it."""
    image: Any = copy.deepcopy(IMAGE)
    *before, last = way
    inside = image
    for step in before:
        inside = inside[step]
    if drop:
        del inside[last]
    else:
        inside[last] = value
    return image  # type: ignore[no-any-return]


TRANSFORMS = ("datasets", 0, "coordinateTransformations")
DAMAGED: dict[str, tuple[Any, str]] = {
    "no image": (None, r"multiscales\[0\] is None"),
    "a text for an image": ("0", r"multiscales\[0\] is '0'"),
    "no datasets": (changed("datasets", drop=True), r"multiscales\[0\]\.datasets is missing"),
    "empty datasets": (changed("datasets", value=[]), r"multiscales\[0\]\.datasets is \[\]"),
    "datasets by name": (changed("datasets", value={"0": 1}), r"multiscales\[0\]\.datasets is \{"),
    "no path": (changed("datasets", 0, "path", drop=True), r"datasets\[0\]\.path is missing"),
    "empty path": (changed("datasets", 0, "path", value=""), r"datasets\[0\]\.path is ''"),
    "number for a path": (changed("datasets", 0, "path", value=0), r"datasets\[0\]\.path is 0"),
    "path of nothing": (changed("datasets", 0, "path", value="7"), r"in\.zarr/7 is not there"),
    "path to outside": (changed("datasets", 0, "path", value="../0"), r"in\.zarr/\.\./0 is not there"),
    "axis without a name": (changed("axes", 1, "name", drop=True), r"axes\[1\]\.name is missing"),
    "unknown axis": (changed("axes", 0, "name", value="angle"), r"axes\[0\]\.name is 'angle'"),
    "axis twice": (changed("axes", 0, "name", value="x"), r"axes\[2\]\.name is 'x'"),
    "order of axes": (changed("axes", value=AXES[::-1]), r"axes is \[.*last two y, x"),
    "too few axes": (changed("axes", value=AXES[1:]), r"axes is \[.*a list of 3 axes"),
    "number for a unit": (changed("axes", 1, "unit", value=3), r"axes\[1\]\.unit is 3"),
    "a text for axes": (changed("axes", value="cyx"), r"axes is 'cyx'"),
    "no type": (changed(*TRANSFORMS, 0, "type", drop=True), r"coordinateTransformations\[0\]\.type is missing"),
    "unknown type": (changed(*TRANSFORMS, 0, "type", value="affine"), r"\.type is 'affine'"),
    "no scale": (changed(*TRANSFORMS, 0, "scale", drop=True), r"coordinateTransformations\[0\]\.scale is missing"),
    "short scale": (changed(*TRANSFORMS, 0, "scale", value=[1, 1]), r"scale is \[1, 1\].*3 numbers"),
    "zero scale": (changed(*TRANSFORMS, 0, "scale", value=[1, 0, 1]), r"scale is \[1, 0, 1\].*none of them 0"),
    "NaN scale": (changed(*TRANSFORMS, 0, "scale", value=[1, float("nan"), 1]), r"scale is \[1, nan, 1\]"),
    "huge scale": (changed(*TRANSFORMS, 0, "scale", value=[1, 10**400, 1]), r"scale is "),
    "text in a scale": (changed(*TRANSFORMS, 0, "scale", value=[1, "1", 1]), r"scale is \[1, '1', 1\]"),
    "a file of numbers": (changed(*TRANSFORMS, 0, value={"type": "scale", "path": "s"}), r"\[0\]\.path is 's'"),
    "steps by name": (changed("datasets", 0, "coordinateTransformations", value={"scale": 1}), "Transformations is {"),
}


@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_metadata_is_named_with_file_and_field(tmp_path: Path, case: str, form: int) -> None:
    image, words = DAMAGED[case]
    path = written(tmp_path / "in.zarr", form, image)
    with pytest.raises(ValueError, match=words) as refused:
        open_source(path)
    said = str(refused.value)
    assert said.startswith(str(path))
    assert "\n" not in said
    plain = said.rpartition("or name an array in it (")[2].partition(")")[0]  # the remedy
    assert open_source(plain).shape == (2, 16, 20)


@pytest.mark.parametrize("form", [2, 3])
def test_an_array_that_is_named_by_itself_has_the_calibration_of_its_image(tmp_path: Path, form: int) -> None:
    path = written(tmp_path / "in.zarr", form)
    assert open_source(path / "0").calibration == open_source(path).calibration
    coarser = zarr.open_group(path).create_array("1", shape=(2, 8, 10), dtype="uint8")
    coarser[:] = 1
    with pytest.warns(UserWarning, match=r"1 is not the finest level of .*in\.zarr: its pixel sizes are not known"):
        assert open_source(path / "1").calibration.units == ("", "", "")


@pytest.mark.parametrize("value", [[], {}, None, "x"])
@pytest.mark.parametrize("form", [2, 3])
def test_multiscales_that_are_none(tmp_path: Path, value: Any, form: int) -> None:
    path = written(tmp_path / "in.zarr", form, multiscales=value)
    with pytest.raises(ValueError, match=r"in\.zarr is damaged: (ome\.)?multiscales is .*but must be a list"):
        open_source(path)


_GRID = {"name": "regular", "configuration": {"chunk_shape": [0, 16, 20]}}


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("zarr.json", "{", r"in\.zarr/zarr\.json is damaged \(.*\); correct it, or take"),
        ("zarr.json", "[" * 100_000, r"in\.zarr/zarr\.json is damaged"),
        ("zarr.json", "[]", r"in\.zarr/zarr\.json is damaged"),
        ("zarr.json", "\xff", r"in\.zarr/zarr\.json is damaged"),
        ("zarr.json", "", r"in\.zarr/zarr\.json is damaged"),
        ("0/zarr.json", None, r"in\.zarr/0 is not there, but .*in\.zarr names it"),
        ("0/zarr.json", "{", r"in\.zarr/0/zarr\.json is damaged"),
        ("0/zarr.json", {"shape": None}, r"in\.zarr/0/zarr\.json is damaged"),
        ("0/zarr.json", {"chunk_grid": _GRID}, r"in\.zarr/0.* is damaged"),
        ("0/zarr.json", {"codecs": [{"name": "none.there"}]}, r"in\.zarr/0.*none\.there"),
        ("0/zarr.json", {"data_type": "complex64", "fill_value": [0, 0]}, "real numbers"),
        (".zattrs", "{", r"in\.zarr/\.zattrs is damaged"),
        ("0/.zarray", {"chunks": [0, 16, 20]}, r"in\.zarr/0.* is damaged"),
        ("0/.zarray", {"chunks": [{"": "1" * 2000}, 16, 20]}, r"in\.zarr/0.* is damaged"),
        ("0/.zarray", {"compressor": {"id": "none.there"}}, r"in\.zarr/0.*none\.there"),
        ("0/.zarray", {"shape": [2, 16]}, r"in\.zarr"),
    ],
)
def test_a_damaged_file_of_metadata_is_named(tmp_path: Path, file: str, change: Any, words: str) -> None:
    path = written(tmp_path / "in.zarr", 3 if file.endswith("zarr.json") else 2)
    if change is None:
        (path / file).unlink()
    elif isinstance(change, str):
        (path / file).write_bytes(change.encode("latin1"))
    else:
        (path / file).write_text(json.dumps({**json.loads((path / file).read_text()), **change}))
    with pytest.raises((ValueError, TypeError), match=words) as refused:
        open_source(path)
    said = str(refused.value)
    assert "\n" not in said
    assert len(said) < 1000
    assert said.count("correct ") <= 1


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.pop("axes"),
        lambda image: image.update(axes=["c", "y", "x"]),
        lambda image: [axis.pop("type") for axis in image["axes"]],
        lambda image: [axis.pop("unit", None) for axis in image["axes"]],
        lambda image: image["axes"][1].update(unit=None),
        lambda image: image["datasets"][0].pop("coordinateTransformations"),
        lambda image: image["datasets"][0].update(coordinateTransformations=[{"type": "identity"}]),
        lambda image: image["datasets"][0]["coordinateTransformations"][0].update(scale=[1, -0.5, 0.5]),
        lambda image: image.update(name=7, version=None, metadata=[]),
    ],
)
def test_what_the_format_leaves_open_is_read(tmp_path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    image: dict[str, Any] = copy.deepcopy(IMAGE)
    change(image)
    source = open_source(written(tmp_path / "in.zarr", 2, image))
    assert source.shape == (2, 16, 20)
    assert set(source.calibration.units) <= {"", "micrometer"}


def test_the_command_says_what_is_damaged_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "in.zarr", 3, changed("datasets", value=[]))
    assert main(["denoise", str(path), str(tmp_path / "out.zarr"), *TINY]) == FAILED
    said = capsys.readouterr().err
    assert said.startswith(f"napari-dip: error: {path} is damaged: ome.multiscales[0].datasets is []")
    assert said.count("\n") == 1
    assert not (tmp_path / "out.zarr").exists()


# ------------------------------------------------------------------------------------------------------ many images


def bioformats(path: Path) -> Path:
    """As bioformats2raw lays out a file of two images: zarr 2, and chunks whose names have dots."""
    zarr.create_group(path, zarr_format=2, attributes={"bioformats2raw.layout": 3})
    zarr.create_group(path / "OME", zarr_format=2, attributes={"series": ["0", "1"]})
    (path / "OME" / "METADATA.ome.xml").write_text("<OME><Image><Pixels/></Image><Image><Pixels/></Image></OME>")
    for name in "01":
        written(path / name, 2)
    return path


def plate(path: Path) -> Path:
    """A plate of a well of two fields, without metadata for its rows."""
    wells = {"wells": [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}]}
    zarr.create_group(path, zarr_format=3, attributes={"ome": {"version": "0.5", "plate": wells}})
    zarr.create_group(path / "A", zarr_format=3)
    zarr.create_group(path / "A/1", zarr_format=3, attributes={"ome": {"well": {"images": [{"path": "0"}]}}})
    for name in "01":
        written(path / "A/1" / name, 3)
    return path


@pytest.mark.parametrize("layout", [bioformats, plate])
@pytest.mark.parametrize("name", ["in.zarr", "in"])
def test_an_image_in_a_file_of_several_is_read_by_the_name_that_the_refusal_gives(
    tmp_path: Path, layout: Callable[[Path], Path], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = layout(tmp_path / name), tmp_path / "out.zarr"
    assert main(["denoise", str(path), str(target), *TINY]) == FAILED
    said = capsys.readouterr().err
    assert f"{path} holds several images: name one of" in said
    first, second = said.strip().partition("name one of ")[2].split(", ")
    assert main(["denoise", first, str(target), *TINY]) == DONE
    assert open_source(target).calibration == open_source(second).calibration
    assert open_source(target).calibration.scale == (1.0, 0.5, 0.25)


def test_the_only_image_of_a_file_is_read(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "in.zarr", zarr_format=2, attributes={"bioformats2raw.layout": 3})
    written(tmp_path / "in.zarr" / "0", 2)
    assert open_source(tmp_path / "in.zarr").calibration.scale == (1.0, 0.5, 0.25)


def test_arrays_of_a_group_are_named(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "in.zarr")
    with pytest.raises(ValueError, match="in.zarr is a zarr group without an image"):
        open_source(tmp_path / "in.zarr")
    group.create_array("raw", shape=(8, 8), dtype="f4")
    group.create_array("deep/more", shape=(8, 9), dtype="f4")
    with pytest.raises(ValueError, match="no OME-Zarr image.*name one of .*in.zarr/deep/more, .*in.zarr/raw") as said:
        open_source(tmp_path / "in.zarr")
    named = str(said.value).partition("name one of ")[2].split(", ")
    assert [open_source(each).shape for each in named] == [(8, 9), (8, 8)]


def test_a_missing_image_in_a_file_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bioformats(tmp_path / "in.zarr") / "7"
    assert main(["denoise", str(path), str(tmp_path / "out.zarr"), *TINY]) == FAILED
    assert f"{path} is not there; check the name" in capsys.readouterr().err


def test_a_mask_may_lie_in_a_file(tmp_path: Path) -> None:
    path = written(tmp_path / "in.zarr", 3)
    mask = np.zeros((2, 16, 20), np.uint8)
    mask[:, 4:7, 5:8] = 1
    written(tmp_path / "in.zarr" / "labels" / "cells", 3, values=mask)
    words = ["--preset", "inpaint-small", *TINY[2:], "--mask", os.fspath(path / "labels" / "cells")]
    assert main(["inpaint", str(path), str(tmp_path / "out.zarr"), *words]) == DONE


# ----------------------------------------------------------------------------------------------- what a file says stays


@pytest.mark.parametrize("form", [2, 3])
def test_what_others_have_written_into_the_attributes_stays(tmp_path: Path, form: int) -> None:
    image: dict[str, Any] = copy.deepcopy(IMAGE)
    image |= {"name": "before", "metadata": {"method": "theirs", "operator": "Ada"}, "lab": {"room": 7}}
    image["axes"][1] |= {"long_name": "height"}
    image["datasets"][0] |= {"checked": True}
    omero = {"channels": [{"label": "DAPI", "color": "0000FF"}, {"label": "GFP"}], "rdefs": {"model": "color"}, "id": 1}
    path = written(tmp_path / "in.zarr", form, image, omero=omero, _creator={"name": "others"})
    group = zarr.open_group(path, mode="r+")
    group.attrs["acquisition"] = {"objective": "63x", "positions": [1.5, 2]}
    group["0"].attrs.update({"_ARRAY_DIMENSIONS": ["c", "y", "x"], "camera": "A"})
    restore_blocks("denoise", path, tmp_path / "out.zarr", **PRIOR)
    result = zarr.open_group(tmp_path / "out.zarr", mode="r")
    attributes: Any = dict(result.attrs)
    ome = attributes["ome"] if form == 3 else attributes
    assert attributes["acquisition"] == {"objective": "63x", "positions": [1.5, 2]}
    assert ome["omero"] == omero
    assert ome["_creator"] == {"name": "others"}
    (written_image,) = ome["multiscales"]
    assert written_image["lab"] == {"room": 7}
    assert written_image["metadata"] == {"operator": "Ada"}
    assert (written_image["name"], written_image["axes"][1]["long_name"]) == ("out", "height")
    assert written_image["datasets"][0]["checked"] is True
    assert dict(result["0"].attrs) == {"_ARRAY_DIMENSIONS": ["c", "y", "x"], "camera": "A"}
    again = restore_blocks("denoise", tmp_path / "out.zarr", tmp_path / "again.zarr", **PRIOR).record
    assert again["input_record"]["task"] == "denoise"


@pytest.mark.parametrize("form", [2, 3])
def test_a_result_is_as_the_format_asks_and_a_third_of_a_pixel_as_people_write_it(tmp_path: Path, form: int) -> None:
    image = changed(*TRANSFORMS, 0, "scale", value=[1.0, 0.3, 0.9])
    path = written(tmp_path / "in.zarr", form, image)
    restore_blocks("superresolve", path, tmp_path / "out.zarr", factor=3, client=False, **QUICK)
    assert open_source(tmp_path / "out.zarr").calibration.scale == (1.0, 0.1, 0.3)
    yaozarrs.validate_zarr_store(tmp_path / "out.zarr")


def test_an_order_of_axes_that_others_have_is_kept(tmp_path: Path) -> None:
    names = ["z", "c", "y", "x"]
    axes = [{"name": name, "type": "channel" if name == "c" else "space"} for name in names]
    image = {"axes": axes, "datasets": [{"path": "0"}]}
    path = written(tmp_path / "in.zarr", 3, image, values=np.full((3, 2, 8, 8), 5, np.uint16))
    restored = restore_blocks("denoise", path, tmp_path / "out.zarr", **PRIOR)
    assert restored.array.shape == (3, 2, 8, 8)
    assert open_source(tmp_path / "out.zarr").calibration.axes == "zcyx"


def test_units_of_axes_are_brought_together_for_the_shape_of_voxels() -> None:
    def size(*units: str) -> Any:
        known = Calibration(axes="zyx", scale=(0.5, -100, 100), translation=(0,) * 3, units=units)
        return known.voxel_size(3)

    assert size("micrometer", "nanometer", "nanometer") == pytest.approx((500, 100, 100))
    assert size("parsec", "parsec", "parsec") == (0.5, 100, 100)
    assert size("parsec", "nanometer", "nanometer") is None
    assert size("", "nanometer", "nanometer") is None


def test_what_an_image_file_says_is_in_the_zarr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    channels = {"Name": ["DAPI", "GFP"], "Color": [65535, 16711935], "EmissionWavelength": [460.0, 520.0]}
    tifffile.imwrite(
        tmp_path / "in.ome.tif",
        np.full((2, 3, 8, 8), 7, np.uint16),
        metadata={
            "axes": "CZYX",
            "PhysicalSizeX": 0.3,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 0.3,
            "PhysicalSizeYUnit": "µm",
            "Channel": channels,
            "Plane": {"PositionX": [1.5] * 6, "ExposureTime": [0.1] * 6},
        },
    )
    assert main(["denoise", str(tmp_path / "in.ome.tif"), str(tmp_path / "out.zarr"), *TINY]) == DONE
    said = capsys.readouterr().err
    assert "out.zarr cannot hold positions, exposure times, wavelengths" in said
    found = open_source(tmp_path / "out.zarr")
    assert found.calibration.axes == "czyx"
    assert found.calibration.scale[2:] == (0.3, 0.3)
    assert found.calibration.units[2:] == ("micrometer", "nanometer")
    labels = [(each["label"], each["color"]) for each in found.calibration.omero["channels"]]
    assert labels == [("DAPI", "0000FF"), ("GFP", "00FF00")]
    kept = found.attributes["napari-dip-source"]
    assert [each["emission"] for each in kept["channels"]] == [460, 520]
    assert 'PositionX="1.5"' in kept["OME"]
    restore_blocks("denoise", tmp_path / "out.zarr", tmp_path / "again.zarr", **PRIOR)  # within the format
    assert open_source(tmp_path / "again.zarr").attributes["napari-dip-source"] == kept


def test_contrast_of_an_imagej_file_is_in_the_zarr(tmp_path: Path) -> None:
    metadata = {"axes": "CYX", "Ranges": (100.0, 400.0, 5.0, 9.0), "mode": "composite"}
    tifffile.imwrite(tmp_path / "in.tif", np.full((2, 8, 8), 7, np.uint16), imagej=True, metadata=metadata)
    assert main(["denoise", str(tmp_path / "in.tif"), str(tmp_path / "out.zarr"), *TINY]) == DONE
    first, second = open_source(tmp_path / "out.zarr").calibration.omero["channels"]
    assert (first["window"]["start"], first["window"]["end"]) == (100, 400)
    assert (second["window"]["start"], second["window"]["end"]) == (5, 9)


def test_wavelengths_that_bioformats2raw_has_beside_its_images_stay(tmp_path: Path) -> None:
    path = bioformats(tmp_path / "in.zarr")
    pixels = '<Pixels><Channel Name="{0}" EmissionWavelength="{0}"/></Pixels>'
    xml = "".join(f'<Image ID="Image:{i}">{pixels.format(500 + i)}</Image>' for i in range(2))
    schema = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    (path / "OME" / "METADATA.ome.xml").write_text(f'<OME xmlns="{schema}">{xml}</OME>')
    kept = open_source(path / "1").attributes["napari-dip-source"]["OME"]
    assert 'EmissionWavelength="501"' in kept
    assert "500" not in kept
