"""Metadata of ImageJ's TIFF: read into the fields of a `Picture`, and written for one that was made from it.

`meta` is the mapping that tifffile reads and writes: the lines of the description and the private tags together. See
ImageJ's ``ij.io.FileOpener`` (decodeDescriptionString) and ``ij.measure.Calibration`` for their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from napari_dip.io.channels import Array, Channel, Function
from napari_dip.io.picture import Picture
from napari_dip.io.units import finite, unit_name

UNITS = {"Y": "yunit", "Z": "zunit", "T": "tunit"}
_COUNTED = ("ImageJ", "images", "channels", "slices", "frames", "hyperstack", "order", "axes", "shape", "Info")
_SAID = ("unit", "spacing", "finterval", "LUTs", "Ranges", "Labels", "min", "max", "cf", *UNITS.values())
_IN_PIXELS = {"ROI": "regions of interest", "Overlays": "overlays"}
_OTHERS = {"Properties": "properties", "Plot": "plot"}


def calibration(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Distances along z and time, and the units: arguments of a `Picture`."""
    unit = unit_name(str(meta.get("unit") or ""))
    sizes = {}
    for axis, name in (("Z", "spacing"), ("T", "finterval")):
        if size := finite(meta.get(name)):
            sizes[axis] = abs(size)
    if "T" not in sizes and (rate := finite(meta.get("fps"))):
        sizes["T"] = 1 / rate
    units = {axis: unit_name(str(meta.get(name) or "")) for axis, name in UNITS.items()}
    units = {axis: own for axis, own in units.items() if own and own != ("s" if axis == "T" else unit)}
    return {"pixel_size": sizes, "unit": unit, "units": units, "notes": str(meta.get("Info", ""))}


def read(meta: Mapping[str, Any], colormap: Array | None, axes: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Channels, labels, function, and entries that only ImageJ knows: arguments of a `Picture`."""
    counts = dict(zip(axes, shape, strict=True))
    count = counts.get("C", 1)
    ranges = list(meta.get("Ranges", ()))
    if not ranges and count == 1 and finite(meta.get("min")) is not None and finite(meta.get("max")) is not None:
        ranges = [float(meta["min"]), float(meta["max"])]
    tables = list(np.asarray(meta.get("LUTs", ()), np.uint8).reshape(-1, 3, 256))  # tifffile hands out one as it is
    if not tables and colormap is not None and colormap.shape == (3, 256):
        tables = [(colormap >> 8).astype(np.uint8)] * count
    labels = [str(label) for label in meta.get("Labels", ())]
    names = _names(labels, axes, counts)
    channels = [
        Channel(
            name=names[i] if names else "",
            limits=(float(ranges[2 * i]), float(ranges[2 * i + 1])) if len(ranges) >= 2 * i + 2 else None,
            **(look(tables[i]) if i < len(tables) and "S" not in axes else {}),
        )
        for i in range(count)
    ]
    known = any(channel != Channel() for channel in channels)
    return {
        "channels": tuple(channels) if known else (),
        "labels": () if names else tuple(labels),
        "function": _function(meta),
        "display": {"ImageJ": {name: value for name, value in meta.items() if not _is_said(name)}},
    }


def write(picture: Picture, axes: str, shape: tuple[int, ...]) -> tuple[dict[str, Any], Array | None]:
    """Metadata for a picture, and the colour map of its single channel if it has one."""
    sizes, own = picture.pixel_size, picture.display.get("ImageJ", {})
    counts = dict(zip(axes, shape, strict=True))
    meta = {name: value for name, value in own.items() if name not in _IN_PIXELS or not picture.enlarged}
    for name, axis in (("xorigin", "X"), ("yorigin", "Y"), ("zorigin", "Z")):
        if name in meta and (finer := picture.enlarged.get(axis, 1)) > 1:
            meta[name] = finer * float(meta[name]) + (finer - 1) / 2
    said: dict[str, Any] = {"unit": _spelt(picture.unit), "spacing": sizes.get("Z")}
    if "T" in sizes and sizes["T"] * (finite(own.get("fps")) or 0) != 1:
        said["finterval"] = sizes["T"]
    said |= {name: _spelt(picture.units[axis]) for axis, name in UNITS.items() if axis in picture.units}
    if picture.function is not None:
        said |= {"cf": str(picture.function.code)}
        said |= {f"c{i}": value for i, value in enumerate(picture.function.coefficients)}
    channels, tables, colormap = picture.channels, [], None
    if "S" not in axes and any(channel.colour or channel.table is not None for channel in channels):
        tables = [table_of(channel) for channel in channels]
    if len(tables) == 1 and (channels[0].table is not None or channels[0].colour != "FFFFFF"):
        colormap = tables[0].astype(np.uint16) * 257
    if tables and len(channels) > 1:
        meta.setdefault("mode", "composite")
    limits = [channel.limits for channel in channels]
    if len(channels) > 1 and all(each is not None for each in limits):
        said["Ranges"] = tuple(value for each in limits for value in each or ())
    if channels and limits[0] is not None:
        said["min"], said["max"] = limits[0]
    said["LUTs"] = tables
    said["Labels"] = list(picture.labels) or _labels(channels, axes, counts)
    said["Info"] = picture.text()
    return meta | {name: value for name, value in said.items() if value or value == 0.0}, colormap


def outgrown(picture: Picture) -> list[str]:
    """Words for what is left out because it does not hold on a finer grid."""
    own = picture.display.get("ImageJ", {}) if picture.enlarged else {}
    return [word for name, word in _IN_PIXELS.items() if name in own]


def own(picture: Picture) -> list[str]:
    """Words for what only ImageJ says of an image."""
    own = picture.display.get("ImageJ", {})
    return [word for name, word in (_IN_PIXELS | _OTHERS).items() if name in own]


def _is_said(name: str) -> bool:
    """True if an entry is written anew for each picture."""
    return name in _COUNTED or name in _SAID or (name[0] == "c" and name[1:].isdigit())


def _function(meta: Mapping[str, Any]) -> Function | None:
    code = finite(meta.get("cf"))
    if code is None or code == 20:  # none
        return None
    coefficients: list[float] = []
    while (value := finite(meta.get(f"c{len(coefficients)}"))) is not None:
        coefficients.append(value)
    return Function(code=int(code), coefficients=tuple(coefficients))


def look(table: Array) -> dict[str, Any]:
    """A lookup table (3, 256) as a colour, where it is a ramp from black: arguments of a `Channel`."""
    top = table[:, -1].astype(int)
    ramp = np.rint(np.outer(top, np.arange(256)) / 255)
    colour = "".join(f"{value:02X}" for value in top)
    return {"colour": colour} if np.abs(table - ramp).max() <= 1 else {"colour": colour, "table": table}


def table_of(channel: Channel) -> Array:
    """The lookup table (3, 256) that shows a channel."""
    if channel.table is not None:
        return np.asarray(channel.table, np.uint8)
    top = [int(channel.colour[i : i + 2], 16) for i in (0, 2, 4)] if channel.colour else [255] * 3
    return np.rint(np.outer(top, np.arange(256)) / 255).astype(np.uint8)


def _labels(channels: tuple[Channel, ...], axes: str, counts: Mapping[str, int]) -> list[str]:
    """The names of the channels as labels of the slices, where ImageJ shows them."""
    if not any(channel.name for channel in channels) or "S" in axes:
        return []
    outer, inner = (int(np.prod([counts.get(axis, 1) for axis in group])) for group in ("TZ", "C"))
    return [channels[i].name if i < len(channels) else "" for _ in range(outer) for i in range(inner)]


def _names(labels: list[str], axes: str, counts: Mapping[str, int]) -> list[str]:
    """The names of the channels, where all slices of each are labelled alike, and channels are told apart by it."""
    order = [axis for axis in axes if axis in "TZC"]
    if len(labels) != int(np.prod([counts[axis] for axis in order])) or "S" in axes or not any(labels):
        return []
    table = np.array(labels, dtype=object).reshape([counts[axis] for axis in order])
    if "C" not in order:
        return [labels[0]] if len(set(labels)) == 1 else []
    each = [set(part.ravel()) for part in np.moveaxis(table, order.index("C"), 0)]
    names = [found.pop() for found in each if len(found) == 1]
    return names if len(set(names)) == len(each) else []


def _spelt(unit: str) -> str:
    return {"µm": "micron", "s": "sec"}.get(unit, unit).encode("ascii", "backslashreplace").decode()
