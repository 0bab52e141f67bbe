"""What one format says of an image, another one says too, as far as it has words for it; what it lacks is told once."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from napari_dip.io import files
from napari_dip.io.channels import Channel, Function
from napari_dip.io.picture import Picture

RAMP = np.outer([0, 1, 1], np.arange(256)).astype("uint8")  # cyan


def values(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 200, shape, dtype="uint16")


def rewritten(path: Path, to: str, dtype: str = "", **how: Any) -> tuple[Picture, Picture, list[str]]:
    """What is read of a file, what is read of a copy of it, and what was said in copying."""
    before = files.read(path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        files.write(path.with_name(to), before.values.astype(dtype or before.values.dtype), before, **how)
    return before, files.read(path.with_name(to)), [str(each.message) for each in said]


@pytest.fixture
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two channels of an OME-TIFF or of an ImageJ TIFF, with all that it can say."""
    path = tmp_path / f"in{request.param}"
    if request.param == ".ome.tif":
        planes = {"ExposureTime": [0.1] * 4, "PositionX": [1.0, 1.5, 2.0, 2.5], "PositionXUnit": ["µm"] * 4}
        channel = {"Name": ["DAPI", "GFP"], "Color": [65535, 16711935], "EmissionWavelength": [461.0, 509.0]}
        metadata = {"axes": "CZYX", "PhysicalSizeX": 65.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeZ": 0.3}
        metadata |= {"PhysicalSizeZUnit": "µm", "Channel": channel, "Plane": planes, "Description": "by hand"}
        tifffile.imwrite(path, values(2, 2, 9, 8), ome=True, photometric="minisblack", metadata=metadata)
    else:
        colours = [np.outer(top, np.arange(256)).astype("uint8") for top in ([0, 0, 1], [0, 1, 0])]
        metadata = {"axes": "ZCYX", "unit": "nm", "spacing": 300.0, "Ranges": (0.0, 9.0, 1.0, 8.0), "mode": "composite"}
        metadata |= {"Labels": ["DAPI", "GFP"] * 2, "LUTs": colours, "Info": "by hand", "Properties": {"a": "b"}}
        tifffile.imwrite(path, values(2, 2, 9, 8), imagej=True, resolution=((1, 65), (1, 65)), metadata=metadata)
    return path


@pytest.mark.parametrize("to", [".tif", ".ome.tif", ".npy"])
@pytest.mark.parametrize("dtype", ["float32", "uint16", "float64"])
@pytest.mark.parametrize("source", [".tif", ".ome.tif"], indirect=True)
def test_what_is_said_of_an_image_is_said_of_its_copy(source: Path, to: str, dtype: str) -> None:
    before, after, said = rewritten(source, f"out{to}", dtype)
    np.testing.assert_array_equal(after.values, before.values)
    assert after.axes == before.axes
    for axis in "XZ":
        assert after.sizes_in("nm", axis) == {axis: {"X": 65, "Z": 300}[axis]}
    assert [(each.name, each.colour) for each in after.channels] == [("DAPI", "0000FF"), ("GFP", "00FF00")]
    from_ome, to_ome, to_imagej = source.name == "in.ome.tif", to == ".ome.tif", to == ".tif" and dtype != "float64"
    if not (from_ome and to_imagej):
        assert [each.emission for each in after.channels] == [461 if from_ome else None, 509 if from_ome else None]
    if not (to_ome and not from_ome):
        assert [each.limits for each in after.channels] == [None if from_ome else (0, 9), None if from_ome else (1, 8)]
    assert "by hand" in after.notes or to == ".npy"
    if not from_ome or to_ome:
        assert after.order == before.order or to == ".npy"
    lost = {  # from, to -> in words
        (True, True): (),
        (True, False): ("positions", "exposure times", *(("wavelengths", "axes CZYX") if to_imagej else ())),
        (False, True): ("contrast limits", "properties"),
        (False, False): () if to_imagej else ("properties",),
    }[from_ome, to_ome]
    assert len(said) == bool(lost)
    assert all(word in said[0] for word in lost)


@pytest.mark.parametrize("source", [".ome.tif"], indirect=True)
def test_an_ome_tiff_keeps_what_only_it_can_say(source: Path) -> None:
    rewritten(source, "out.ome.tif", factors={"X": 1})
    with tifffile.TiffFile(source.with_name("out.ome.tif")) as tif:
        assert tif.series[0].axes == "CZYX"
        xml = tif.ome_metadata or ""
    for words in ('PositionX="2.5"', 'ExposureTime="0.1"', 'EmissionWavelength="509.0"', 'DimensionOrder="XYZCT"'):
        assert words in xml


@pytest.mark.parametrize("source", [".ome.tif"], indirect=True)
def test_what_holds_no_longer_on_a_finer_grid_is_left_out_and_told(source: Path) -> None:
    like = files.read(source)
    like.display["OME"].append(ElementTree.Element("ROI", ID="ROI:0"))
    ElementTree.SubElement(like.display["OME"].find("Image"), "ROIRef", ID="ROI:0")
    with pytest.warns(UserWarning, match=r"positions, exposure times, regions of interest of the input .* left out"):
        files.write(source.with_name("b.ome.tif"), like.values.repeat(2, 1), like, factors={"Z": 2})
    after = files.read(source.with_name("b.ome.tif"))
    assert (after.values.shape, after.sizes_in("nm", "Z")) == ((2, 4, 9, 8), {"Z": 150})
    assert [each.tag for each in after.display["OME"].iter() if each.tag in ("Plane", "ROI", "ROIRef")] == []


@pytest.mark.parametrize("axes", ["CTZYX", "TCZYX", "ZTYX", "CYX", "TYX"])
@pytest.mark.parametrize("ending", [".ome.tif", ".tif"])
def test_axes_come_back_in_the_order_they_had(tmp_path: Path, ending: str, axes: str) -> None:
    shape = [{"C": 2, "T": 3, "Z": 4, "Y": 6, "X": 5}[axis] for axis in axes]
    tifffile.imwrite(tmp_path / f"a{ending}", values(*shape), photometric="minisblack", metadata={"axes": axes})
    before, after, said = rewritten(tmp_path / f"a{ending}", f"b{ending}", "float32")
    assert (after.order, after.axes, said) == (axes, before.axes, [])
    with tifffile.TiffFile(tmp_path / f"b{ending}") as tif:
        np.testing.assert_array_equal(tif.asarray(), values(*shape))


def test_colours_of_planes_stay_planes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values(3, 6, 5), photometric="rgb", planarconfig="separate")
    _, after, _ = rewritten(tmp_path / "a.tif", "b.tif", "float32")
    assert (after.order, after.axes) == ("SYX", "YXS")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), values(3, 6, 5))


@pytest.mark.parametrize(
    ("said", "sizes"),
    [
        ({"unit": "micron", "finterval": 2.0, "tunit": "min"}, {"T": 120}),
        ({"unit": "micron", "finterval": 20.0, "tunit": "ms"}, {"T": 0.02}),
        ({"unit": "micron", "finterval": 2.0}, {"T": 2}),
        ({"unit": "micron", "fps": 4.0}, {"T": 0.25}),
        ({"unit": "nm", "zunit": "micron", "spacing": 0.5}, {"Z": 500, "X": 65, "Y": 65}),
        ({"unit": "nm", "yunit": "micron", "spacing": 0.3}, {"Z": 0.3, "X": 65, "Y": 65000}),
    ],
)
def test_imagejs_units_are_honoured_and_kept(tmp_path: Path, said: dict[str, Any], sizes: dict[str, float]) -> None:
    axes = "TYX" if "T" in sizes else "ZYX"
    tifffile.imwrite(
        tmp_path / "a.tif", values(3, 6, 5), imagej=True, resolution=((1, 65), (1, 65)), metadata={"axes": axes, **said}
    )
    for to in ("b.tif", "b.ome.tif", "b.npy"):
        before, after, _ = rewritten(tmp_path / "a.tif", to)
        for picture in (before, after):
            assert {**picture.sizes_in("s", "T"), **picture.sizes_in("nm", "XYZ")} == (
                sizes if "X" in sizes else {**sizes, "X": 65000, "Y": 65000}
            )
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        assert said.items() <= (tif.imagej_metadata or {}).items()


@pytest.mark.parametrize(
    ("function", "shown"),
    [
        ({"cf": 0, "c0": -32768.0, "c1": 1.0}, lambda x: x - 32768),
        ({"cf": 0, "c0": 5.0, "c1": 0.5}, lambda x: 5 + x / 2),
        ({"cf": 1, "c0": 5.0, "c1": 0.5, "c2": 0.01}, lambda x: 5 + x / 2 + x * x / 100),
    ],
)
def test_imagejs_function_is_kept_or_applied(tmp_path: Path, function: dict[str, Any], shown: Any) -> None:
    raw = values(6, 5) + np.uint16(32700)
    metadata = {**function, "vunit": "nM", "min": 32700.0, "max": 32800.0}
    tifffile.imwrite(tmp_path / "a.tif", raw, imagej=True, metadata=metadata)
    rewritten(tmp_path / "a.tif", "whole.tif")
    with tifffile.TiffFile(tmp_path / "whole.tif") as tif:
        np.testing.assert_array_equal(tif.asarray(), raw)
        assert metadata.items() <= (tif.imagej_metadata or {}).items()
    source = files.read(tmp_path / "a.tif")
    signed = source.values.dtype == "int16"
    for name in ("float.tif", "float.ome.tif", "float.npy"):
        _, after, said = rewritten(tmp_path / "a.tif", name, "float32")
        np.testing.assert_allclose(after.values, shown(raw.astype(float)), rtol=1e-6)
        assert not any("function" in each for each in said)
        if name != "float.ome.tif":
            np.testing.assert_allclose(after.channels[0].limits, [shown(32700), shown(32800)])
    _, after, said = rewritten(tmp_path / "a.tif", "whole.ome.tif")
    assert any("function" in each for each in said) != signed
    if signed:
        np.testing.assert_array_equal(after.values, raw.astype(int) - 32768)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("table", [RAMP, (np.arange(768).reshape(3, 256) * 7).astype("uint8")])
def test_a_lookup_table_is_kept(tmp_path: Path, dtype: str, table: np.ndarray[Any, Any]) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", values(6, 5).astype("uint8"), imagej=True, colormap=table.astype("uint16") * 257
    )
    _, after, _ = rewritten(tmp_path / "a.tif", "b.tif", dtype)
    assert after.axes == "YX"
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        colormap = tif.pages.first.colormap
        assert colormap is not None
        np.testing.assert_array_equal(colormap >> 8, table)
        assert (tif.pages.first.photometric == tifffile.PHOTOMETRIC.PALETTE) == (dtype == "uint8")


def test_slice_labels_are_kept(tmp_path: Path) -> None:
    labels = ["0 min", "1 min", "washed"]
    tifffile.imwrite(tmp_path / "a.tif", values(3, 6, 5), imagej=True, metadata={"axes": "TYX", "Labels": labels})
    _, after, said = rewritten(tmp_path / "a.tif", "b.tif", "float32")
    assert (list(after.labels), said) == (labels, [])
    _, _, said = rewritten(tmp_path / "a.tif", "b.ome.tif", "float32")
    assert "slice labels" in said[0]


def test_what_a_screen_format_cannot_hold_is_told(tmp_path: Path) -> None:
    like = Picture(values=values(6, 5).astype("uint8"), axes="YX", channels=(Channel(name="DAPI", emission=461.0),))
    with pytest.warns(UserWarning, match=r"a\.png cannot hold channel names, wavelengths"):
        files.write(tmp_path / "a.png", like.values, like)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits", "zstd", "lzma", "jpeg", "jpeg2000", "webp", "png"])
def test_compressed_files_are_read(tmp_path: Path, compression: str) -> None:
    image = np.full((32, 32, 3), 7, "uint8")
    predictor = compression in ("lzw", "zlib", "zstd")
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb", compression=compression, predictor=predictor)
    np.testing.assert_allclose(files.read(tmp_path / "a.tif").values, image, atol=2)
    if predictor:
        for dtype in ("uint16", "float32"):
            tifffile.imwrite(tmp_path / "b.tif", values(32, 32).astype(dtype), compression=compression, predictor=True)
            np.testing.assert_array_equal(files.read(tmp_path / "b.tif").values, values(32, 32))


def write_set(folder: Path, files_of: int = 3, *, binary_only: bool = False) -> str:
    """Times of an image in files of their own, as OME-TIFF; returns what describes all of them."""
    head = '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    data = "".join(
        f'<TiffData FirstT="{i}" FirstZ="0" FirstC="0" IFD="0" PlaneCount="1">'
        f'<UUID FileName="t{i}.ome.tif">urn:uuid:{i}</UUID></TiffData>'
        for i in range(files_of)
    )
    body = (
        '><Image ID="Image:0" Name="i"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="5" SizeY="6" '
        f'SizeC="1" SizeZ="1" SizeT="{files_of}" PhysicalSizeX="0.1" PhysicalSizeY="0.1">'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
    )
    for i, plane in enumerate(values(files_of, 6, 5)):
        text = f'{head} UUID="urn:uuid:{i}"{body}'
        if binary_only:
            text = f'{head} UUID="urn:uuid:{i}"><BinaryOnly MetadataFile="all.companion.ome" UUID="urn:uuid:9"/></OME>'
        tifffile.imwrite(folder / f"t{i}.ome.tif", plane, description=text, metadata=None)
    return f'{head} UUID="urn:uuid:9"{body}'


def test_a_set_of_files_is_read_whole_or_refused_by_the_names_that_are_missing(tmp_path: Path) -> None:
    write_set(tmp_path)
    picture = files.read(tmp_path / "t1.ome.tif")
    np.testing.assert_array_equal(picture.values, values(3, 6, 5))
    assert (picture.axes, picture.pixel_size) == ("TYX", {"X": 0.1, "Y": 0.1})
    (tmp_path / "t2.ome.tif").unlink()
    with pytest.raises(OSError, match=r"1 files are missing beside it: t2\.ome\.tif .T=2.*copy what is missing"):
        files.read(tmp_path / "t1.ome.tif")


def test_planes_that_are_not_there_are_no_zeros(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", values(3, 6, 5), ome=True, metadata={"axes": "TYX"})
    raw = (tmp_path / "a.ome.tif").read_bytes().replace(b'SizeT="3"', b'SizeT="5"')
    (tmp_path / "a.ome.tif").write_bytes(raw)
    with pytest.raises(OSError, match="2 of its 5 planes are missing: 3, 4"):
        files.read(tmp_path / "a.ome.tif")


def test_a_file_of_its_own_may_be_renamed(tmp_path: Path) -> None:
    text = write_set(tmp_path, 1).replace(' UUID="urn:uuid:9"', "")
    tifffile.imwrite(tmp_path / "other.ome.tif", values(1, 6, 5)[0], description=text, metadata=None)
    (tmp_path / "t0.ome.tif").unlink()
    np.testing.assert_array_equal(files.read(tmp_path / "other.ome.tif").values, values(1, 6, 5)[0])


def test_a_file_without_its_metadata_says_where_that_is(tmp_path: Path) -> None:
    text = write_set(tmp_path, binary_only=True)
    with pytest.warns(UserWarning, match=r"metadata in all\.companion\.ome, which is not beside it"):
        assert files.read(tmp_path / "t0.ome.tif").pixel_size == {}
    (tmp_path / "all.companion.ome").write_text(text, encoding="utf-8")
    picture = files.read(tmp_path / "t0.ome.tif")
    assert (picture.axes, picture.pixel_size) == ("TYX", {"X": 0.1, "Y": 0.1})
    np.testing.assert_array_equal(picture.values, values(3, 6, 5))


@pytest.mark.parametrize(
    ("before", "to", "dtype"),
    [
        (Picture(values=values(6, 5), axes="YX", channels=(Channel(name="a", emission=461.0),)), "a.tif", "float32"),
        (Picture(values=values(6, 5), axes="YX", channels=(Channel(limits=(0.0, 9.0)),)), "a.ome.tif", "float32"),
        (Picture(values=values(6, 5), axes="YX", labels=("washed",)), "a.ome.tif", "float32"),
        (
            Picture(values=values(6, 5), axes="YX", function=Function(code=0, coefficients=(1, 2))),
            "a.ome.tif",
            "uint16",
        ),
        (Picture(values=values(6, 5), axes="YX", function=Function(code=21, coefficients=())), "a.tif", "float32"),
    ],
)
def test_the_format_that_a_warning_names_does_hold_it(tmp_path: Path, before: Picture, to: str, dtype: str) -> None:
    with pytest.warns(UserWarning, match="cannot hold") as said:
        files.write(tmp_path / to, before.values.astype(dtype), before)
    remedy = str(said[0].message).partition("; a ")[2]
    other = "uint16" if "output_dtype='input'" in remedy else dtype
    with warnings.catch_warnings(action="error"):
        files.write(tmp_path / f"b{remedy.split()[0]}", before.values.astype(other), before)


def test_zeiss_lsm_is_read_with_its_calibration(tmp_path: Path) -> None:
    image = values(4, 3, 6, 5).astype("uint8")  # z, channel
    said = np.zeros(1, tifffile.TIFF.CZ_LSMINFO)
    size = said.dtype.itemsize
    sizes = {"DimensionX": 5, "DimensionY": 6, "DimensionZ": 4, "DimensionChannels": 3, "DimensionTime": 1}
    voxel = {"VoxelSizeX": 6.5e-8, "VoxelSizeY": 6.5e-8, "VoxelSizeZ": 3e-7}
    for name, value in {"MagicNumber": 67127628, "StructureSize": size, **sizes, **voxel}.items():
        said[name] = value
    with tifffile.TiffWriter(tmp_path / "a.lsm", byteorder="<") as writer:
        for i, plane in enumerate(image):
            tag = [(34412, 1, size, said.tobytes(), True)] if i == 0 else []
            how = {"photometric": "minisblack", "planarconfig": "separate", "metadata": None}
            writer.write(plane, extratags=tag, **how)  # type: ignore[arg-type]
            writer.write(plane[:, ::3, ::2], subfiletype=1, **how)  # type: ignore[arg-type]
    with warnings.catch_warnings(action="error"):
        picture = files.read(tmp_path / "a.lsm")
    assert (picture.axes, picture.unit) == ("CZYX", "µm")
    assert picture.pixel_size == {"X": 0.065, "Y": 0.065, "Z": 0.3}
    np.testing.assert_array_equal(picture.values, image.swapaxes(0, 1))
    with pytest.raises(ValueError, match="ends in none of"):
        files.write(tmp_path / "b.lsm", picture.values, picture)
