"""OME-Zarr files: images in them are found and opened, and their calibration read."""

from __future__ import annotations

import itertools
import json
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import zarr
from zarr.storage import FsspecStore, StorePath

from napari_dip.io import ome
from napari_dip.io.ngff import AXES, METADATA, SOURCE, Calibration, Node, calibration_in, image_metadata, path_of_finest
from napari_dip.io.picture import Picture
from napari_dip.io.units import NAMES

VERSIONS = {2: "0.4", 3: "0.5"}  # zarr format -> NGFF
WHITE = "FFFFFF"  # of a channel whose colour is not known
_NAMED = 10  # images of a file in a message
_VISITED = 1000  # groups, in search of them


def open_node(path: str) -> Any:
    """Open the zarr group or array at a path.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is none; the message says what is damaged, as far as that is known.
    """
    try:
        return zarr.open(path, mode="r")
    except Exception as error:  # zarr raises anything for what is none
        if "://" not in path and not Path(path).exists():
            raise FileNotFoundError(f"{path} is not there; check the name") from None
        damage = "" if "://" in path else _damage(Path(path), error)
        if damage:
            raise ValueError(f"{damage}; correct it, or take it from a copy") from error
        raise ValueError(f"{path} is no zarr array or OME-Zarr image ({why(error)})") from error


def _damage(folder: Path, error: Exception) -> str:
    """Sentence on damaged metadata in a folder; empty if there is none in it."""
    there = [file for file in (folder / name for name in (*METADATA, ".zattrs", ".zmetadata")) if file.is_file()]
    for file in there:
        try:
            json.loads(file.read_bytes())
        except Exception as reason:  # RecursionError, UnicodeDecodeError and more
            return f"{file} is damaged ({why(reason)})"
    return f"{there[0]} is damaged ({why(error)})" if there else ""


def why(error: BaseException) -> str:
    """Words of an error, in one line that is not too long."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    words = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return words if len(words) <= 300 else f"{words[:297]}..."


def attributes_of(node: zarr.Group | zarr.Array[Any]) -> dict[str, Any]:
    """Attributes of a group or an array; a `ValueError` names its file if they are damaged."""
    try:
        return dict(node.attrs)
    except Exception as error:  # zarr looks at them only now
        raise ValueError(f"{file_of(node)} is damaged: its attributes are no object with entries by name") from error


def image_in(group: zarr.Group, path: str) -> zarr.Group:
    """The group itself if it is an OME-Zarr image, or the only image in it.

    Raises
    ------
    ValueError
        If there is none, or several, as in a plate, in labels and in what bioformats2raw writes.
    """
    path = path or str(group.store_path)
    if image_metadata(attributes_of(group), path) is not None:
        return group
    inside = list(itertools.islice(_inside(group), _VISITED))
    images = [name for name, is_image in inside if is_image]
    if len(images) == 1:
        return group[images[0]]  # type: ignore[return-value]
    arrays = [name for name, is_image in inside if not is_image]
    names = [f"{path}/{name}" for name in (images or arrays)[:_NAMED]]
    if not names:
        raise ValueError(f"{path} is a zarr group without an image or array in it; name one that has an image")
    what = "holds several images" if images else "is a zarr group but no OME-Zarr image; it has arrays"
    more = f" and {len(images or arrays) - _NAMED} more" if len(images or arrays) > _NAMED else ""
    raise ValueError(f"{path} {what}: name one of {', '.join(names)}{more}")


def numbered(path: str | os.PathLike[str], series: int) -> str:
    """The path of one of several images in a file, counted from 0, as bioformats2raw and plates have them.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file or image.
    """
    path = os.fspath(path)
    node = open_node(path)
    images = [""]
    if isinstance(node, zarr.Group) and not _has_image(node):
        inside = itertools.islice(_inside(node), _VISITED)
        images = sorted((name for name, is_image in inside if is_image), key=_as_people_sort) or images
    if not 0 <= series < len(images):
        more = ", ..." if len(images) > _NAMED else ""
        listed = ", ".join(f"{path}/{name}".rstrip("/") for name in images[:_NAMED]) + more
        raise ValueError(f"series {series} is not one of its {len(images)} images: {listed}")
    return f"{path}/{images[series]}".rstrip("/")


def _as_people_sort(name: str) -> list[tuple[int, str]]:
    """A key by which 2 comes before 10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def _inside(group: zarr.Group, name: str = "") -> Iterator[tuple[str, bool]]:
    """Names of the images and arrays in a group and its groups, each with True for an image."""
    try:
        members = sorted(group.members())
    except Exception:  # a store that cannot be listed, and whatever zarr raises for damaged ones
        return
    for each, member in members:
        if isinstance(member, zarr.Array):
            yield f"{name}{each}", False
        elif _has_image(member):
            yield f"{name}{each}", True
        elif name.count("/") < 4:
            yield from _inside(member, f"{name}{each}/")


def _has_image(group: zarr.Group) -> bool:
    try:
        return image_metadata(attributes_of(group), "") is not None
    except ValueError:  # damaged: what is in it may be named all the same
        return False


def finest(group: zarr.Group, calibration: Calibration | None) -> tuple[zarr.Array[Any], Calibration, Node]:
    """Finest level of an OME-Zarr image, its calibration unless one is given, and its metadata."""
    path = file_of(group)
    metadata = image_metadata(attributes_of(group), path)
    assert metadata is not None
    try:
        array = _array(group, path_of_finest(metadata), path)
        if calibration is None:
            calibration = calibration_in(metadata, array.ndim)
    except ValueError as error:
        arrays = [name for name, is_image in _inside(group) if not is_image]
        instead = f", or name an array in it ({path}/{arrays[0]}) to do without" if arrays else ""
        raise ValueError(f"{error}; correct that{instead}") from error
    return array, calibration, metadata


def calibration_around(path: str, ndim: int) -> Calibration | None:
    """Calibration of an array that was named by itself, from the image that it is the finest level of."""
    folder = Path(path)
    try:
        group = zarr.open_group(folder.parent, mode="r")
        metadata = image_metadata(attributes_of(group), str(folder.parent))
        if metadata is None:
            return None
        if path_of_finest(metadata) == folder.name:
            return calibration_in(metadata, ndim)
        other = path_of_finest(metadata) in group.array_keys()
    except Exception:  # no image, or a damaged one, which an array is named to do without
        return None
    if other:
        warnings.warn(f"{path} is not the finest level of {folder.parent}: its pixel sizes are not known", stacklevel=2)
    return None


def beside(group: zarr.Group) -> dict[str, Any]:
    """OME-XML that bioformats2raw keeps beside its images, as an attribute of this one."""
    folder = Path(file_of(group))
    file = folder.parent / "OME" / "METADATA.ome.xml"
    if not folder.name.isdecimal() or not file.is_file():
        return {}
    try:
        root = ome.parse(file.read_text(encoding="utf-8"))
        document = ome.read(root, ome.images(root)[int(folder.name)])["display"]["OME"]
        return {SOURCE: {"OME": ElementTree.tostring(document, encoding="unicode")}}
    except Exception as error:  # what is beside an image never costs it
        warnings.warn(f"{file} cannot be read, and is left out ({why(error)})", stacklevel=2)
        return {}


def _array(group: zarr.Group, name: str, path: str) -> zarr.Array[Any]:
    """Open an array of an image."""
    try:
        array = group[name]
    except Exception as error:  # zarr raises anything for a damaged one
        damage = "" if "://" in path else _damage(Path(path, name), error)
        raise ValueError(damage or f"{path}/{name} is not there, but {path} names it as its finest level") from error
    if not isinstance(array, zarr.Array):
        raise ValueError(f"{path}/{name} is a zarr group, but {path} names it as its finest level, an array")
    return array


def file_of(source: zarr.Array[Any] | zarr.Group | StorePath) -> str:
    """Path of what is in a file, or the address of its store."""
    place = getattr(source, "store_path", source)
    store = getattr(place, "store", None)
    if isinstance(store, FsspecStore) and "file" in store.fs.protocol:  # as dask opens what lies in a folder
        return f"{store.path}/{place.path}".rstrip("/")
    return str(place).removeprefix("file://")


def calibration_of(picture: Picture, name: str) -> Calibration:
    """Calibration of an image file.

    Raises
    ------
    ValueError
        If it has axes that OME-Zarr lacks.
    """
    axes = picture.axes.lower()
    if not set(axes) <= set(AXES):
        raise ValueError(f"{name} has the axes {picture.axes}; a .zarr has {', '.join(AXES.upper())} only, no colours")
    sizes = [picture.pixel_size.get(axis, 0.0) for axis in picture.axes]
    units = [
        NAMES.get(picture.unit_of(axis), picture.unit_of(axis)) if size else ""
        for axis, size in zip(picture.axes, sizes, strict=True)
    ]
    scale = tuple(size or 1.0 for size in sizes)
    return Calibration(
        axes=axes,
        scale=scale,
        translation=(0.0,) * len(axes),
        units=tuple(units),
        omero=_omero(picture),
        besides={SOURCE: _known(picture)},
    )


def _omero(picture: Picture) -> dict[str, Any]:
    """Channels as NGFF describes them: a colour and a window for each."""
    if not picture.channels:
        return {}
    finite = picture.values[np.isfinite(picture.values)]
    ends = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    channels = []
    for channel in picture.channels:
        start, end = channel.limits or ends
        window = {"start": start, "end": end, "min": min(start, ends[0]), "max": max(end, ends[1])}
        label = {"label": channel.name} if channel.name else {}
        channels.append({**label, "color": channel.colour or WHITE, "window": window, "active": True})
    return {"channels": channels}


def _known(picture: Picture) -> dict[str, Any]:
    """Everything that a file says of its image, fit for JSON."""
    known = {**picture.sheet(), **({"notes": picture.notes} if picture.notes else {})}
    if picture.function is not None:
        known["function"] = {"code": picture.function.code, "coefficients": list(picture.function.coefficients)}
    root = picture.display.get("OME")
    return known if root is None else {**known, "OME": ElementTree.tostring(root, encoding="unicode")}
