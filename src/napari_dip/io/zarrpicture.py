"""An OME-Zarr that fits in memory as a picture, like any image file: the way back from `omezarr.calibration_of`."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import psutil  # type: ignore[import-untyped]

from napari_dip.io import ome
from napari_dip.io.arrays import Source, open_source
from napari_dip.io.channels import Channel, Function, channels_in
from napari_dip.io.ngff import RECORD, SOURCE, besides
from napari_dip.io.omezarr import WHITE, numbered
from napari_dip.io.picture import Picture, make_picture
from napari_dip.io.units import unit_name

_DAMAGED = ValueError, KeyError, TypeError, AttributeError, IndexError, ElementTree.ParseError


def read_zarr(
    path: str | os.PathLike[str], series: int | None = None, *, partly: bool = False, sparse: bool = False
) -> Picture:
    """Read an OME-Zarr image, or a zarr array, that fits in memory.

    Where some slices of y and x cannot be read and `partly` allows it, a warning names the files. Chunks without a file
    count as the fill value; a warning says how many there are, unless it is `sparse`: in a mask most may be without.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such image.
    MemoryError
        If it does not fit.
    OSError
        If there is damage in all of its slices, or in some and `partly` is false.
    """
    source = open_source(path if series is None else numbered(path, series))
    size, free = math.prod(source.shape) * source.array.dtype.itemsize, psutil.virtual_memory().available
    if size > free:
        raise MemoryError(
            f"{path} takes {size / 2**30:.1f} GB of memory, and {free / 2**30:.1f} GB are free; "
            "name an OUT.zarr, which is written block by block"
        )
    if not sparse and (absent := source.absent):
        warnings.warn(absent, stacklevel=3)
    axes, lead = source.calibration.axes, source.shape[:-2]
    values, failed = source.load(range(len(lead)) if partly else ())
    picture = make_picture(values, axes.upper(), **_said(source))
    if not failed:
        return picture
    unread = np.zeros(source.shape, bool)
    for index, why in failed.items():
        at = np.unravel_index(index, lead)
        unread[at] = True
        place = ", ".join(f"{axis}={i}" for axis, i in zip(axes, at, strict=False))
        warnings.warn(f"{why}: the slice at {place} stays empty", stacklevel=3)
    return replace(picture, unread=make_picture(unread, axes.upper()).values)


def read_zarr_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The record of an OME-Zarr; empty if there is none."""
    return _entries(open_source(path).attributes.get(RECORD))


def _said(source: Source) -> dict[str, Any]:
    """All that an OME-Zarr says of its image, as the arguments of a `Picture`."""
    known = _kept(source)
    grid = source.calibration
    sizes, units = dict[str, float](), dict[str, str]()
    for axis, size, unit in zip(grid.axes.upper(), grid.scale, grid.units, strict=True):
        if unit or (size != 1 and axis != "C"):
            sizes[axis], units[axis] = abs(size), unit_name(unit)
    unit = units.get("X", "")
    others = {axis: each for axis, each in units.items() if each != ("s" if axis == "T" else unit)}
    count = source.shape[grid.axes.index("c")] if "c" in grid.axes else 1
    channels = _channels(grid.omero, known.pop("channels", ()), count)
    labels, record = known.pop("labels", ()), source.attributes.get(RECORD)
    foreign = [name for part in besides(source.attributes) for name in part if name not in (RECORD, SOURCE)]
    only = ["its place in space"] * any(grid.translation) + [f"the attribute {name}" for name in foreign]
    said = {"pixel_size": sizes, "unit": unit, "units": others, "channels": channels, **known}
    said["display"] = {**known.get("display", {}), **({"zarr": only} if only else {})}
    if len(labels) == math.prod(source.shape[:-2]):
        said["labels"] = labels
    before = Picture(values=np.empty(0), axes="", record=_entries(record), notes=known.get("notes", ""))
    return said | {"notes": before.text()}


def _kept(source: Source) -> dict[str, Any]:
    """Arguments of a `Picture` that the image file had which became an OME-Zarr."""
    sheet, found = _entries(source.attributes.get(SOURCE)), dict[str, Any]()
    try:
        if "OME" in sheet:
            root = ome.parse(sheet["OME"])
            said = ome.read(root, ome.images(root)[0])
            found |= {name: said[name] for name in ("channels", "notes", "display")}
        found |= {"channels": channels_in(sheet["channels"])} if "channels" in sheet else {}
        found |= {"notes": str(sheet["notes"])} if "notes" in sheet else {}
        found |= {"labels": tuple(map(str, sheet["labels"]))} if "labels" in sheet else {}
        if "function" in sheet:
            code, coefficients = sheet["function"]["code"], map(float, sheet["function"]["coefficients"])
            found["function"] = Function(code=int(code), coefficients=tuple(coefficients))
    except _DAMAGED as error:
        warnings.warn(
            f"{source.path}: the attribute {SOURCE} is damaged ({error}), and what it says is left out", stacklevel=4
        )
        return {}
    return found


def _channels(omero: dict[str, Any], kept: tuple[Channel, ...], count: int) -> tuple[Channel, ...]:
    """Channels by what NGFF says of them, and besides what the file had said that the image was made of."""
    listed = omero.get("channels")
    if not isinstance(listed, list) or len(listed) != count:
        return kept if len(kept) == count else ()
    if len(kept) != count:
        kept = (Channel(),) * count
    return tuple(_channel(_entries(said), known) for said, known in zip(listed, kept, strict=True))


def _channel(said: dict[str, Any], known: Channel) -> Channel:
    name, colour, window = said.get("label"), said.get("color"), _entries(said.get("window"))
    ends = [window.get(name) for name in ("start", "end")]
    told = ends != [window.get(name) for name in ("min", "max")]  # a window is always written, and then that of all
    limits = tuple(float(end) for end in ends if told and isinstance(end, (int, float)))
    hexadecimal = isinstance(colour, str) and len(colour) == 6 and set(colour.upper()) <= set("0123456789ABCDEF")
    return replace(
        known,
        name=name if isinstance(name, str) else known.name,
        colour=str(colour).upper() if hexadecimal and colour != WHITE else known.colour,
        limits=(limits[0], limits[1]) if len(limits) == 2 else known.limits,
    )


def _entries(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
