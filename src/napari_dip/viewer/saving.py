"""Image layers as files with all that they say, and files as layers: the writers and the reader in the manifest.

What a file format has no place for (colour map by name, contrast limits of OME, gamma, translation, rotation) lies in
the record, under "layer", and counts only while shape and pixel size are as they were written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.utils.colormaps import AVAILABLE_COLORMAPS, Colormap, ensure_colormap

from napari_dip import pictures
from napari_dip.doors import asked_from
from napari_dip.viewer.restoration import METADATA

LayerData = tuple[Any, dict[str, Any], str]

_LOOK = ("gamma", "blending", "opacity", "interpolation2d")
_TURNED = ("rotate", "shear", "affine")
_RAMP = np.linspace(0, 1, 256)


def write_ome_tiff(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an image layer, for File > Save and ``layer.save``; without an ending as .ome.tif."""
    return [write_image(path, data, meta, ".ome.tif")]


def write_tiff(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an image layer as ImageJ reads it; without an ending as .tif."""
    return [write_image(path, data, meta, ".tif")]


def write_ome_zarr(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an image layer as an OME-Zarr; without an ending as .ome.zarr."""
    return [write_image(path, data, meta, ".ome.zarr")]


@asked_from("window")
def write_image(path: str, data: Any, meta: dict[str, Any], ending: str = "") -> str:
    """Write an image layer, and return the path that was written.

    Parameters
    ----------
    path : str
        Ends in one of `pictures.ENDINGS`. A file that is there is replaced once the new one is whole; a .zarr is not.
    data : array, or list of arrays
        Of the layer; of a multiscale one the finest level is written, and coarser ones are made anew.
    meta : dict
        Attributes of the layer, as ``layer.as_layer_data_tuple()`` has them.
    ending : str
        Of a path without one. Nobody was asked about that file, so that it is not replaced.

    Raises
    ------
    FileExistsError, DiskFull, OSError
        If it cannot be written; what was there is as before.
    """
    named = path.lower().endswith(pictures.ENDINGS)
    path = path if named else path + ending
    values = np.asarray(data[0] if meta.get("multiscale") else data)
    ndim = values.ndim - bool(meta.get("rgb"))
    picture = pictures.make(
        values,
        labels=meta.get("axis_labels", ()),
        scale=meta.get("scale", (1,) * ndim),
        units=[str(unit) for unit in meta.get("units") or ()],
        rgb=bool(meta.get("rgb")),
        shown=_channel(meta),
        record=_plain({**meta.get("metadata", {}).get(METADATA, {}), "layer": _layer_entry(values.shape, meta)}),
    )
    order = picture.order.replace("S", "")
    translate = [dict(zip(order, meta.get("translate", (0,) * ndim), strict=True))[a] for a in picture.slice_axes]
    pictures.save(path, picture, overwrite=named, place=translate)
    return path


def get_reader(path: str | Sequence[str]) -> Callable[..., list[LayerData]] | None:
    """The reader of OME-TIFF and OME-Zarr, for napari; None for several files, which it stacks itself."""
    if not isinstance(path, str) or not path.lower().endswith(pictures.ENDINGS):
        return None
    return lambda path: [read_image(path)]


@asked_from("window")
def read_image(path: str | Path) -> LayerData:
    """An image file, or an OME-Zarr that fits in memory, as an image layer with calibration, colours and record."""
    picture = pictures.read(path)
    record = dict(picture.record)
    entry = record.pop("layer", None) or {}
    axes, values = picture.slice_axes, picture.samples()
    meta: dict[str, Any] = {
        "name": Path(path).name.partition(".ome.")[0] if ".ome." in str(path) else Path(path).stem,
        "scale": [picture.pixel_size.get(axis, 1.0) for axis in axes],
        "units": pictures.units_of(picture),
        "axis_labels": [axis.lower() for axis in axes],
        "rgb": picture.sample_axes.endswith("S"),
        "metadata": {METADATA: record} if record else {},
    }
    meta |= {name: value for name, value in entry.items() if name in _LOOK}
    as_written = list(values.shape) == entry.get("shape") and np.allclose(meta["scale"], np.abs(entry["scale"]))
    if as_written:
        known = ("name", "scale", "translate", "axis_labels", *_TURNED)
        meta |= {name: value for name, value in entry.items() if name in known}
    if meta["rgb"]:
        return values, meta, "image"
    channels = picture.channels
    if "C" in axes and len({(each.name, each.colour) for each in channels}) > 1:
        return values, _split(meta, axes.index("C"), channels), "image"
    if channels:
        meta["colormap"], limits = _colormap(channels[0], entry.get("colormap")), channels[0].limits
        if limits is None and as_written:
            limits = entry.get("contrast_limits")
        meta |= {} if limits is None or not limits[0] < limits[1] else {"contrast_limits": list(limits)}
    return values, meta, "image"


def _split(meta: dict[str, Any], axis: int, channels: Sequence[Any]) -> dict[str, Any]:
    """Attributes of one layer for each channel."""
    along = {name: [v for i, v in enumerate(meta[name]) if i != axis] for name in ("scale", "units", "axis_labels")}
    names = [each.name or f"{meta['name']}, channel {i}" for i, each in enumerate(channels)]
    split = {**meta, **along, "channel_axis": axis, "name": names, "colormap": [_colormap(c) for c in channels]}
    split["metadata"] = [meta["metadata"]] * len(channels)
    limits = [each.limits for each in channels]
    if all(each is not None and each[0] < each[1] for each in limits):
        split["contrast_limits"] = [list(each) for each in limits]
    for name in ("translate", *_TURNED):
        split.pop(name, None)
    split.pop("rgb")
    return split


def _channel(meta: dict[str, Any]) -> Any:
    if meta.get("rgb"):
        return None
    limits = meta.get("contrast_limits")
    told = None if limits is None else (float(limits[0]), float(limits[1]))
    return pictures.channel(_table(meta.get("colormap", "gray")), meta.get("name", ""), told)


def _layer_entry(shape: tuple[int, ...], meta: dict[str, Any]) -> dict[str, Any]:
    """The part of a layer that formats do not hold, fit for JSON."""
    names = ("name", "scale", "translate", "axis_labels", *_LOOK)
    entry = {"shape": list(shape), **{name: meta[name] for name in names if name in meta}}
    for name in _TURNED:
        matrix = np.asarray(meta.get(name, 0.0), float)
        if not (np.array_equal(matrix, np.eye(len(matrix))) if matrix.ndim == 2 else not matrix.any()):
            entry[name] = matrix
    if not meta.get("rgb"):
        colormap = meta.get("colormap", "gray")
        entry["colormap"] = colormap.get("name") if isinstance(colormap, dict) else getattr(colormap, "name", colormap)
        entry["contrast_limits"] = meta.get("contrast_limits")
    return entry


def _table(colormap: Any) -> np.ndarray:
    """The lookup table (3, 256) of a colour map of napari."""
    made = Colormap(**colormap) if isinstance(colormap, dict) else ensure_colormap(colormap)
    return np.rint(255 * made.map(_RAMP)[:, :3]).astype(np.uint8).T


def _colormap(channel: Any, name: str | None = None) -> Any:
    """The colour map that shows a channel: napari's own of this name if that is what the file shows."""
    table = pictures.table_of(channel)
    top = table[:, -1]
    if name in AVAILABLE_COLORMAPS:
        known = _table(name)
        same = np.array_equal(known, table) if channel.table is not None else np.array_equal(known[:, -1], top)
        if same:
            return name
    return Colormap(np.c_[table.T / 255, np.ones(256)], name=f"file {channel.colour or 'gray'}")


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """A record, fit for JSON whatever was put into it."""
    return dict(json.loads(json.dumps(record, default=_listed)))


def _listed(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
