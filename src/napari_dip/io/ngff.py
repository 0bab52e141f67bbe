"""Metadata of OME-Zarr images: NGFF 0.1 to 0.5 is read, 0.5 (in zarr 3) and 0.4 (in zarr 2) is written.

Read field by field, so that what is damaged is named. What is foreign, or only for display, goes through as it is.
See Moore et al., "OME-Zarr: a cloud-optimized bioimaging file format" (Histochemistry and Cell Biology, 2023).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from napari_dip.io.units import LENGTHS, unit_name

ENDING = ".zarr"
RECORD = "napari-dip"  # attribute with the record of a restoration
SOURCE = "napari-dip-source"  # attribute with what the file says that an image was made of, and NGFF has no field for
METADATA = ("zarr.json", ".zgroup", ".zarray")  # one of them is in each zarr group and array
AXES = "tczyx"  # those that have a letter here, in the order that NGFF asks for
_KINDS = {"t": "time", "c": "channel"}
_MISSING = object()
_OWN = ("version", "name", "type", "axes", "datasets", "coordinateTransformations")  # what is written anew
_OF_PYRAMID = ("description", "method", "version", "args", "kwargs")  # in "metadata": how levels were made, by others


def is_zarr(path: str | os.PathLike[str]) -> bool:
    """True if a path is meant for zarr: it or a folder around it ends in .zarr, or it has zarr's metadata."""
    path = Path(path)
    if path.is_file():
        return False
    named = any(each.suffix.lower() == ENDING for each in (path, *path.parents))
    return named or any((path / name).is_file() for name in METADATA)


@dataclass(frozen=True)
class Node:
    """A value in the metadata of a file, and its place there.

    Attributes
    ----------
    value : object
        As read from JSON.
    file : str
        Path of the zarr group.
    field : str
        Its place, as in "multiscales[0].axes".
    """

    value: Any
    file: str
    field: str = ""

    @property
    def there(self) -> bool:
        """True if the file has it."""
        return self.value is not _MISSING and self.value is not None

    def wrong(self, must: str) -> ValueError:
        """The error that names it."""
        said = "is missing" if self.value is _MISSING else f"is {_short(self.value)}"
        return ValueError(f"{self.file} is damaged: {self.field or 'its metadata'} {said}, but must be {must}")

    def __getitem__(self, key: str) -> Node:
        """An entry, which may be missing."""
        if not isinstance(self.value, dict):
            raise self.wrong("an object with entries by name")
        return Node(self.value.get(key, _MISSING), self.file, f"{self.field}.{key}" if self.field else key)

    def items(self, must: str) -> list[Node]:
        """The entries of a list."""
        if not isinstance(self.value, list):
            raise self.wrong(must)
        return [Node(each, self.file, f"{self.field}[{i}]") for i, each in enumerate(self.value)]

    def text(self, must: str) -> str:
        """A text that is not empty."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.wrong(must)
        return self.value

    def numbers(self, count: int, *, zero: bool) -> tuple[float, ...]:
        """A finite number for each axis."""
        must = f"a list of {count} numbers, one for each axis" + ("" if zero else ", none of them 0")
        found = []
        for each in self.items(must):
            number = each.value
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise self.wrong(must)
            if not abs(number) <= 1e300 or not (zero or number):  # also NaN, and whole numbers beyond all floats
                raise self.wrong(must)
            found.append(float(number))
        if len(found) != count:
            raise self.wrong(must)
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Place of the pixels of an array: axes, distances and units.

    Attributes
    ----------
    axes : str
        A letter for each axis, of "tczyx"; the last two are y and x.
    scale, translation : tuple of float
        Distance of two pixels along each axis, and position of the centre of the first one.
    units : tuple of str
        Unit of each axis as NGFF spells it ("micrometer", "second"); empty if there is none.
    omero : dict
        Names, colours and contrast of the channels, as NGFF has them.
    besides : dict
        Attributes of the group that NGFF does not know.
    """

    axes: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    units: tuple[str, ...]
    omero: dict[str, Any] = field(default_factory=dict)
    besides: dict[str, Any] = field(default_factory=dict)

    def finer(self, factors: Sequence[float]) -> Calibration:
        """Calibration of a grid that is finer by one factor per axis and has the same outline."""
        steps = list(zip(self.scale, factors, strict=True))
        return replace(
            self,
            scale=tuple(float(f"{s / f:.15g}") if f != 1 else s for s, f in steps),  # 0.3 / 3 is 0.1
            translation=tuple(t + s * (1 / f - 1) / 2 for t, (s, f) in zip(self.translation, steps, strict=True)),
        )

    def voxel_size(self, space: int) -> tuple[float, ...] | None:
        """Size of a voxel along the last axes, in one unit; None if one is missing, or they differ and are unknown."""
        units, scale = self.units[-space:], [abs(each) for each in self.scale[-space:]]
        if not all(units):
            return None
        if len(set(units)) == 1:
            return tuple(scale)
        metres = [LENGTHS.get(unit_name(each), 0.0) for each in units]
        if not all(metres):
            return None
        return tuple(s * (m / metres[-1]) for s, m in zip(scale, metres, strict=True))

    def metadata(self, name: str, paths: Sequence[str], factors: Sequence[Sequence[float]]) -> dict[str, Any]:
        """Metadata of an image with one level per path, each finer than this by its factors."""
        axes = []
        for letter, unit in zip(self.axes, self.units, strict=True):
            axes.append({"name": letter, "type": _KINDS.get(letter, "space"), **({"unit": unit} if unit else {})})
        levels = [self.finer(each) for each in factors]
        datasets = [
            {
                "path": path,
                "coordinateTransformations": [
                    {"type": "scale", "scale": list(level.scale)},
                    {"type": "translation", "translation": list(level.translation)},
                ],
            }
            for path, level in zip(paths, levels, strict=True)
        ]
        return {"name": name, "type": "mean", "axes": axes, "datasets": datasets}


def plain(ndim: int) -> Calibration:
    """Calibration of an array that says nothing: the last axes of t, c, z, y, x, in pixels."""
    if not 2 <= ndim <= len(AXES):
        raise ValueError(f"source has {ndim} axes; OME-Zarr has from 2 to {len(AXES)} ({', '.join(AXES)})")
    return Calibration(axes=AXES[-ndim:], scale=(1.0,) * ndim, translation=(0.0,) * ndim, units=("",) * ndim)


def image_metadata(attributes: dict[str, Any], file: str) -> Node | None:
    """Metadata of the image in a group, from its attributes; None if it has no image."""
    ome = attributes.get("ome", attributes)
    node = Node(ome, file, "ome" if "ome" in attributes else "")
    return node if node["multiscales"].value is not _MISSING else None


def _first(ome: Node) -> tuple[Node, Node]:
    """The first image, and its first level."""
    images = ome["multiscales"].items("a list of images")
    if not images:
        raise ome["multiscales"].wrong("a list with an image in it")
    levels = images[0]["datasets"].items("a list of the arrays of the image")
    if not levels:
        raise images[0]["datasets"].wrong("a list with an array in it")
    return images[0], levels[0]


def path_of_finest(ome: Node) -> str:
    """Path of the finest array of an image, within its group.

    Raises
    ------
    ValueError
        If a field that is needed is missing or damaged; the message names file and field.
    """
    return _first(ome)[1]["path"].text("the name of an array in the group")


def calibration_in(ome: Node, ndim: int) -> Calibration:
    """Calibration of the finest array, which has `ndim` axes.

    Raises
    ------
    ValueError
        As `path_of_finest` does.
    """
    image, level = _first(ome)
    axes, units = _axes(image["axes"], ndim)
    scale, translation = (1.0,) * ndim, (0.0,) * ndim
    for kind, step in (*_steps(level), *_steps(image)):
        values = step.numbers(ndim, zero=kind == "translation")
        if kind == "scale":
            scale = tuple(s * v for s, v in zip(scale, values, strict=True))
            translation = tuple(t * v for t, v in zip(translation, values, strict=True))
        else:
            translation = tuple(t + v for t, v in zip(translation, values, strict=True))
    if not all(map(math.isfinite, (*scale, *translation))) or not all(scale):
        raise image["datasets"].wrong("of pixel sizes that a number can hold, all scales multiplied")
    omero = ome["omero"].value
    found = Calibration(axes=axes, scale=scale, translation=translation, units=units)
    return replace(found, omero=omero) if isinstance(omero, dict) else found


def _axes(node: Node, ndim: int) -> tuple[str, tuple[str, ...]]:
    """Letters and units of the axes."""
    if not node.there:  # in NGFF 0.1 and 0.2
        return plain(ndim).axes, ("",) * ndim
    letters, units = "", []
    must = f"of {', '.join(AXES)}, each at most once, and the last two y, x"
    for each in node.items("a list of axes"):
        named = each if isinstance(each.value, str) else each["name"]
        letter = named.text(must).lower()
        if letter not in list(AXES) or letter in letters:
            raise named.wrong(f"one {must}")
        letters += letter
        unit = None if named is each else each["unit"]
        if unit and unit.there and not isinstance(unit.value, str):
            raise unit.wrong("the name of a unit")
        units.append(unit.value if unit and unit.there else "")
    if not letters.endswith("yx"):
        raise node.wrong(f"a list of axes {must}")
    if len(letters) != ndim:
        raise node.wrong(f"a list of {ndim} axes, as the array has")
    return letters, tuple(units)


def _steps(node: Node) -> Iterator[tuple[str, Node]]:
    """Scales and translations, in the order in which they apply."""
    if not node["coordinateTransformations"].there:
        return
    for step in node["coordinateTransformations"].items("a list of transformations"):
        kind = step["type"].text("'scale', 'translation' or 'identity'")
        if kind == "identity":
            continue
        if kind not in ("scale", "translation"):
            raise step["type"].wrong("'scale', 'translation' or 'identity'")
        if not step[kind].there and step["path"].there:
            raise step["path"].wrong(f"left out, and the numbers be in {step[kind].field}")
        yield kind, step[kind]


def merged(image: dict[str, Any], found: Node | None) -> dict[str, Any]:
    """Metadata of an image to write, with the entries of its source that NGFF does not know."""
    if found is None:
        return image
    before = found.value["multiscales"][0]
    besides = {name: value for name, value in before.items() if name not in _OWN}
    if isinstance(besides.get("metadata"), dict):
        kept = {name: value for name, value in besides.pop("metadata").items() if name not in _OF_PYRAMID}
        besides |= {"metadata": kept} if kept else {}
    listed = before.get("axes") if isinstance(before.get("axes"), list) else []
    axes = {str(each.get("name")).lower(): each for each in listed if isinstance(each, dict)}
    level = {name: value for name, value in before["datasets"][0].items() if name not in (*_OWN, "path")}
    return {
        **besides,
        **image,
        "axes": [{**axes.get(each["name"], {}), **each} for each in image["axes"]],
        "datasets": [{**level, **image["datasets"][0]}, *image["datasets"][1:]],
    }


def besides(attributes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Attributes that NGFF does not know: those of the group, and those within "ome"."""
    inner = attributes.get("ome")
    names = ("multiscales", "omero", "version")
    return (
        {name: value for name, value in attributes.items() if name not in ("ome", "multiscales", "omero")},
        {name: value for name, value in inner.items() if name not in names} if isinstance(inner, dict) else {},
    )


def _short(value: Any) -> str:
    """A value as Python writes it, cut where it is long."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # ValueError: a whole number of thousands of digits
        return f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
