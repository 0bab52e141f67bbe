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

from napari_dip.picture import LENGTHS, Picture, make_picture, unit_name

_MINISWHITE, _PALETTE = 0, 3  # photometric interpretations
_CENTIMETRE, _INCH = 3, 2  # resolution units
_SECONDS = {"ms": 1e-3, "µs": 1e-6, "ns": 1e-9, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_IMAGEJ_DISPLAY = ("mode", "LUTs", "Ranges", "Labels", "min", "max", "loop")
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
        sizes = {axis: size * LENGTHS[of_tags] / LENGTHS[unit] for axis, size in sizes.items()}
    sizes.update(
        {axis: abs(float(meta[name])) for axis, name in (("Z", "spacing"), ("T", "finterval")) if meta.get(name)}
    )
    sizes.update(meta.get("pixel_size", {}))
    display = {name: meta[name] for name in _IMAGEJ_DISPLAY if name in meta} if imagej else {}
    return {"pixel_size": sizes, "unit": unit, "notes": str(meta.get("Info", "")), "display": display}


def _ome_calibration(xml: str) -> dict[str, Any]:
    """Pixel sizes of the first image; all lengths in the unit along x."""
    root = ElementTree.fromstring(xml)
    pixels = root.find(".//{*}Pixels")
    known = {} if pixels is None else pixels.attrib
    unit = unit_name(known.get("PhysicalSizeXUnit", "µm"))
    sizes = {}
    for axis in "XYZ":
        if f"PhysicalSize{axis}" in known:
            own = unit_name(known.get(f"PhysicalSize{axis}Unit", "µm"))
            sizes[axis] = float(known[f"PhysicalSize{axis}"]) * LENGTHS.get(own, 1) / LENGTHS.get(unit, 1)
    if "TimeIncrement" in known:
        sizes["T"] = float(known["TimeIncrement"]) * _SECONDS.get(known.get("TimeIncrementUnit", "s"), 1)
    names = [] if pixels is None else [channel.get("Name") for channel in pixels.findall("{*}Channel")]
    return {
        "pixel_size": sizes,
        "unit": unit if sizes else "",
        "notes": root.findtext(".//{*}Image/{*}Description", ""),
        "display": {"Channel": {"Name": names}} if all(names) and names else {},
    }


def _imagej(picture: Picture) -> dict[str, Any]:
    sizes = picture.pixel_size
    unit = {"µm": "micron"}.get(picture.unit, picture.unit).encode("ascii", "backslashreplace").decode()
    known = {"unit": unit, "spacing": sizes.get("Z"), "finterval": sizes.get("T"), "Info": picture.text()}
    display = {name: value for name, value in picture.display.items() if name in _IMAGEJ_DISPLAY}
    return {**display, **{name: value for name, value in known.items() if value}}


def _ome(picture: Picture) -> dict[str, Any]:
    sizes = picture.pixel_size
    unit = {"inch": "in"}.get(picture.unit, picture.unit if picture.unit in LENGTHS else "reference frame")
    metadata: dict[str, Any] = {"Description": picture.text()}
    for axis in "XYZ":
        if axis in sizes:
            metadata.update({f"PhysicalSize{axis}": sizes[axis], f"PhysicalSize{axis}Unit": unit})
    if "T" in sizes:
        metadata.update({"TimeIncrement": sizes["T"], "TimeIncrementUnit": "s"})
    if "Channel" in picture.display:
        metadata["Channel"] = picture.display["Channel"]
    return metadata


def _resolution(picture: Picture, imagej: bool) -> dict[str, Any]:
    """The resolution tags: in ImageJ's files pixels per unit, in others per centimetre or inch."""
    unit, sizes = picture.unit, picture.pixel_size
    if "X" not in sizes:
        return {}
    per_unit = [1 / sizes.get(axis, sizes["X"]) for axis in "XY"]
    per_cm = [value * LENGTHS["cm"] / LENGTHS.get(unit, 1) for value in per_unit]
    if unit == "inch":
        values, name = per_unit, "INCH"
    elif unit == "cm" or (unit in LENGTHS and not imagej):
        values, name = per_cm, "CENTIMETER"
    else:
        values, name = per_unit, "NONE"
    if not all(1e-9 < value < 2**32 for value in values):  # the tag is a fraction of 32-bit numbers
        return {}
    return {"resolution": tuple(values), "resolutionunit": name}
