"""TIFF as ImageJ, OME and others write it, with its calibration.

| written as  | when                                                          | calibration         | record      |
|-------------|---------------------------------------------------------------|---------------------|-------------|
| OME-TIFF    | the name ends in .ome.tif or .ome.tiff                        | OME-XML             | Description |
| ImageJ TIFF | ImageJ knows the type: 8 or 16 bits, float32, RGB of 8 bits   | as in ImageJ        | Info        |
| plain TIFF  | all others: float RGB, float64, 32-bit integers, transparency | tags, also as JSON  | JSON        |
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_dip.picture import LENGTHS, TIMES, Picture, channels_in, converted, make_picture, unit_name

_MINISWHITE, _PALETTE = 0, 3  # photometric interpretations
_CENTIMETRE, _INCH = 3, 2  # resolution units
_IMAGEJ_DISPLAY = ("mode", "LUTs", "Ranges", "Labels", "min", "max", "loop")
_IMAGEJ_UNITS = {"Y": "yunit", "Z": "zunit", "T": "tunit"}
_IMAGEJ_BYTES = 2**32 - 2**20  # a classic TIFF has 32-bit offsets; a plain one grows into a BigTIFF


def read_tiff(path: Path) -> Picture:
    """The first image of a TIFF file.

    Raises
    ------
    ValueError
        If the file is damaged: tifffile would return the pages before the damage.
    """
    with _complaints() as complaints, tifffile.TiffFile(path) as tif:
        if not tif.series:
            raise ValueError("it holds no image")
        series = tif.series[0]
        values, axes, page = series.asarray(), series.axes, series.keyframe
        meta = tif.imagej_metadata or (tif.shaped_metadata or ({},))[0]
        if tif.is_ome:
            calibration = _ome_calibration(tif.ome_metadata or "")
        else:
            calibration = _calibration(page, meta, imagej=tif.is_imagej)
        images = len(tif.series)
        if page.photometric == _PALETTE and not tif.is_imagej:  # ImageJ's are measurements shown in false colours
            assert page.colormap is not None
            values, axes = np.moveaxis(page.colormap[:, values] >> 8, 0, -1).astype(np.uint8), axes + "S"
        has_alpha = "S" in axes and page.extrasamples[-1:] in ((1,), (2,))
    if complaints:
        raise ValueError(f"damaged or cut short: {complaints[0].rpartition('> ')[2]}")
    if images > 1:
        warnings.warn(f"{path} holds {images} images; the first one is read, of shape {values.shape}", stacklevel=2)
    if page.photometric == _MINISWHITE:
        calibration["display"]["photometric"] = "miniswhite"
    return make_picture(values, axes, has_alpha=has_alpha, **calibration)


def write_tiff(file: BinaryIO, picture: Picture, *, ome: bool) -> None:
    """Write a picture as the table above says."""
    values, axes = picture.samples(), picture.sample_axes
    order = sorted(range(len(axes)), key=lambda i: "TZCYXS".find(axes[i]))
    values, axes = np.ascontiguousarray(values.transpose(order)), "".join(axes[i] for i in order)
    colours = values.shape[-1] - (picture.alpha is not None) if "S" in axes else 1
    imagej = (
        not ome
        and (values.dtype in ("uint8", "uint16", "float32") if "S" not in axes else values.dtype == "uint8")
        and (colours in (1, 3) and picture.alpha is None)
        and set(axes) <= set("TZCYXS")
        and values.nbytes < _IMAGEJ_BYTES
    )
    options: dict[str, Any] = {"photometric": "rgb" if colours == 3 else "minisblack"}
    if "S" in axes:
        options["planarconfig"] = "contig"
    elif not ome:
        options["photometric"] = picture.display.get("photometric", "minisblack")
    if picture.alpha is not None:
        options["extrasamples"] = ["unassalpha"]
    metadata = _ome(picture) if ome else _imagej(picture) if imagej else {**picture.sheet(), "Info": picture.text()}
    tifffile.imwrite(
        file,
        values,
        ome=ome,
        imagej=imagej,
        metadata={**metadata, "axes": axes},
        **options,
        **_resolution(picture, imagej),
    )


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """The errors that tifffile logs about a file instead of raising them."""
    found: list[str] = []

    def collect(entry: logging.LogRecord) -> bool:
        if entry.levelno >= logging.ERROR:
            found.append(entry.getMessage())
        return False

    log = logging.getLogger("tifffile")
    log.addFilter(collect)
    try:
        yield found
    finally:
        log.removeFilter(collect)


def _calibration(page: Any, meta: dict[str, Any], *, imagej: bool) -> dict[str, Any]:
    """Pixel sizes from what ImageJ wrote, or `write_tiff` in its words, else from the resolution tags."""
    tags = {
        name: getattr(page.tags.get(name), "value", None) for name in ("XResolution", "YResolution", "ResolutionUnit")
    }
    of_tags = {_CENTIMETRE: "cm", _INCH: "inch"}.get(int(tags["ResolutionUnit"] or 1), "")
    unit = unit_name(str(meta.get("unit") or "")) or of_tags
    sizes = {}
    for axis in "XY":
        pixels, per = tags[f"{axis}Resolution"] or (0, 0)
        if pixels and per and (unit or pixels != per):
            sizes[axis] = per / pixels
    if not imagej and of_tags and unit in LENGTHS:
        sizes = {axis: converted(size, of_tags, unit) for axis, size in sizes.items()}
    sizes.update(
        {axis: abs(float(meta[name])) for axis, name in (("Z", "spacing"), ("T", "finterval")) if meta.get(name)}
    )
    if "T" not in sizes and meta.get("fps"):
        sizes["T"] = 1 / float(meta["fps"])
    sizes.update(meta.get("pixel_size", {}))
    units = {axis: unit_name(str(meta.get(name) or "")) for axis, name in _IMAGEJ_UNITS.items()}
    units = {axis: own for axis, own in units.items() if own and own != ("s" if axis == "T" else unit)}
    display = {name: meta[name] for name in _IMAGEJ_DISPLAY if name in meta} if imagej else {}
    return {
        "pixel_size": sizes,
        "unit": unit,
        "units": units | dict(meta.get("units", {})),
        "channels": channels_in(meta.get("channels")),
        "notes": str(meta.get("Info", "")),
        "display": display,
    }


def _ome_calibration(xml: str) -> dict[str, Any]:
    """Pixel sizes of the first image."""
    root = ElementTree.fromstring(xml)
    pixels = root.find(".//{*}Pixels")
    known = {} if pixels is None else pixels.attrib
    unit = unit_name(known.get("PhysicalSizeXUnit", "µm"))
    sizes: dict[str, float] = {}
    units: dict[str, str] = {}
    for axis, name in {**{axis: f"PhysicalSize{axis}" for axis in "XYZ"}, "T": "TimeIncrement"}.items():
        if name in known:
            sizes[axis] = float(known[name])
            own = unit_name(known.get(f"{name}Unit", "s" if axis == "T" else "µm"))
            units |= {axis: own} if own != ("s" if axis == "T" else unit) else {}
    names = [] if pixels is None else [channel.get("Name") for channel in pixels.findall("{*}Channel")]
    return {
        "pixel_size": sizes,
        "unit": unit if sizes else "",
        "units": units,
        "notes": root.findtext(".//{*}Image/{*}Description", ""),
        "display": {"Channel": {"Name": names}} if all(names) and names else {},
    }


def _imagej(picture: Picture) -> dict[str, Any]:
    sizes = picture.pixel_size
    known = {"unit": _imagej_unit(picture.unit), "spacing": sizes.get("Z"), "finterval": sizes.get("T")}
    known |= {name: _imagej_unit(picture.units[axis]) for axis, name in _IMAGEJ_UNITS.items() if axis in picture.units}
    known["Info"] = picture.text()
    display = {name: value for name, value in picture.display.items() if name in _IMAGEJ_DISPLAY}
    return {**display, **{name: value for name, value in known.items() if value}}


def _imagej_unit(unit: str) -> str:
    return {"µm": "micron", "s": "sec"}.get(unit, unit).encode("ascii", "backslashreplace").decode()


def _ome(picture: Picture) -> dict[str, Any]:
    sizes = picture.pixel_size
    metadata: dict[str, Any] = {"Description": picture.text()}
    for axis, name in {**{axis: f"PhysicalSize{axis}" for axis in "XYZ"}, "T": "TimeIncrement"}.items():
        if axis in sizes:
            metadata.update({name: sizes[axis], f"{name}Unit": _ome_unit(picture.unit_of(axis))})
    if "Channel" in picture.display:
        metadata["Channel"] = picture.display["Channel"]
    return metadata


def _ome_unit(unit: str) -> str:
    return {"inch": "in"}.get(unit, unit if unit in LENGTHS or unit in TIMES else "reference frame")


def _resolution(picture: Picture, imagej: bool) -> dict[str, Any]:
    """The resolution tags: in ImageJ's files pixels per unit, in others per centimetre or inch."""
    unit, sizes = picture.unit, picture.pixel_size
    if "X" not in sizes:
        return {}
    per_unit = [1 / sizes.get(axis, sizes["X"]) for axis in "XY"]
    in_cm = picture.sizes_in("cm", "XY")
    per_cm = [1 / in_cm.get(axis, in_cm.get("X", 1)) for axis in "XY"]
    if unit == "inch":
        values, name = per_unit, "INCH"
    elif unit == "cm" or (unit in LENGTHS and not imagej):
        values, name = per_cm, "CENTIMETER"
    else:
        values, name = per_unit, "NONE"
    if not all(1e-9 < value < 2**32 for value in values):  # the tag is a fraction of 32-bit numbers
        return {}
    return {"resolution": tuple(values), "resolutionunit": name}
