"""OME-Zarr, and arrays that are read part by part: with their calibration, in any process that reaches their file.

Metadata is that of NGFF 0.5 (in zarr 3) and 0.4 (in zarr 2): Moore et al., "OME-Zarr: a cloud-optimized bioimaging
file format" (Histochemistry and Cell Biology, 2023).
"""

from __future__ import annotations

import io
import itertools
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import StorePath

from napari_dip.io import ome
from napari_dip.io.omezarr import AXES, METADATA, SOURCE, Node, finest, image_metadata, path_of_finest
from napari_dip.io.picture import LENGTHS, unit_name

Array = npt.NDArray[Any]
Place = tuple[slice, ...]

_KINDS = {"t": "time", "c": "channel"}
_SMALLEST = 256  # pixels along y and x of the coarsest level, about
_CHUNK = {2: (1024, 1024), 3: (64, 256, 256)}  # 4 to 16 MB
VERSIONS = {2: "0.4", 3: "0.5"}  # zarr format -> NGFF
_NAMED = 10  # images of a file in a message
_VISITED = 1000  # groups, in search of them


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Where the pixels of an array lie.

    Attributes
    ----------
    axes : str
        A letter for each axis, of "tczyx"; the last two are y and x.
    scale, translation : tuple of float
        For each axis the distance of two pixels, and where the middle of the first one is.
    units : tuple of str
        For each axis the name of the unit as NGFF spells it ("micrometer", "second"); empty if there is none.
    omero : dict
        Names, colours and contrast of the channels, as NGFF has them.
    besides : dict
        Attributes for what NGFF has no field for.
    """

    axes: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    units: tuple[str, ...]
    omero: dict[str, Any] = field(default_factory=dict)
    besides: dict[str, Any] = field(default_factory=dict)

    def finer(self, factors: Sequence[float]) -> Calibration:
        """That of a grid which is finer by a factor for each axis and has the same outline."""
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
        """The multiscale image whose levels, at `paths`, are finer than this by `factors`."""
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


@dataclass(frozen=True)
class Source:
    """An array that is read part by part: a zarr or dask array, or one in memory.

    Attributes
    ----------
    array : zarr.Array, dask.array.Array or numpy array
    calibration : Calibration
    zarr_format : int
        2 or 3: that of the file it is in, 3 if it is in none.
    path : str
        Of the file, as far as there is one.
    ome : Node or None
        The metadata of the OME-Zarr image that it is of.
    attributes : dict
        What else the group of that image has.
    of_array : dict
        Attributes of the array itself.
    """

    array: Any
    calibration: Calibration
    zarr_format: int = 3
    path: str = ""
    ome: Node | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    of_array: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(int, self.array.shape))

    def part(self, place: Place) -> Part:
        """A part, not read yet."""
        if hasattr(self.array, "dask"):
            from dask.base import optimize

            (alone,) = optimize(self.array[place])  # type: ignore[no-untyped-call]  # without the graph of the rest
            return Part(alone, (), (self.shape, place))
        if isinstance(self.array, np.ndarray):  # no task takes the rest along
            return Part(self.array[place], ())
        return Part(self.array, place)

    def files(self) -> list[Path]:
        """The files and folders that it is read from, as far as they are zarr and here.

        Raises
        ------
        ValueError
            If that of a dask array cannot be told.
        """
        found = [self.path] if self.path else []
        if hasattr(self.array, "dask"):
            found += [str(getattr(each, "store_path", each)) for each in _zarrs(self.array)]
        schemes = ("file", "local", "zip", "")
        split = [each.rpartition("://") for each in found]
        return [Path(path).resolve() for scheme, _, path in split if scheme in schemes]


class Unreadable(OSError):
    """A part of an array that cannot be read; the message names its file, as far as that is known."""


@dataclass(frozen=True)
class Part:
    """A part of an array, not read yet: small to send, if the array is in a file.

    Attributes
    ----------
    array : as that of a `Source`
    place : tuple of slice
        In the array.
    whole : tuple
        Shape of the array that a dask array is a part of, and its place there.
    """

    array: Any
    place: Place
    whole: tuple[tuple[int, ...], Place] = ((), ())

    def read(self) -> Array:
        """Its values.

        Raises
        ------
        Unreadable
            If there is damage.
        """
        try:
            if hasattr(self.array, "dask"):
                return np.asarray(self.array.compute(scheduler="synchronous"))
            return np.asarray(self.array[self.place])
        except MemoryError:
            raise
        except Exception as error:  # codecs and what a user put into a dask graph raise anything
            raise Unreadable(f"{' or '.join(self._files()) or 'what it is'} cannot be read ({_why(error)})") from error

    def _files(self) -> list[str]:
        """The file that cannot be read: a chunk of a zarr array, else all files that it may be."""
        if isinstance(self.array, zarr.Array):
            return [_damaged_chunk(self.array, self.place)]
        try:
            found = _zarrs(self.array)
        except ValueError:
            return []
        shape, place = self.whole
        return [_damaged_chunk(each, place) if getattr(each, "shape", None) == shape else _file(each) for each in found]


def _damaged_chunk(array: zarr.Array[Any], place: Place) -> str:
    """The file of the first chunk in a place that cannot be read, or that of the array."""
    size = getattr(array, "shards", None) or array.chunks
    place = (*place, *[slice(None)] * (array.ndim - len(place)))
    ends = [each.indices(n)[:2] for each, n in zip(place, array.shape, strict=True)]
    for at in itertools.product(*(range(a // n, -(-b // n)) for (a, b), n in zip(ends, size, strict=True))):
        try:
            array[tuple(slice(i * n, (i + 1) * n) for i, n in zip(at, size, strict=True))]
        except Exception:  # as above
            return f"{_file(array)}/{array.metadata.encode_chunk_key(at)}"
    return _file(array)


def _file(source: zarr.Array[Any] | zarr.Group | StorePath) -> str:
    return str(getattr(source, "store_path", source)).removeprefix("file://")


def open_source(source: Any, calibration: Calibration | None = None) -> Source:
    """What a user hands in, not read yet.

    Parameters
    ----------
    source : path, zarr.Array, dask.array.Array or array
        The path is that of a zarr array, or of an OME-Zarr image, whose finest level is taken.
    calibration : Calibration, optional
        In place of what the file says.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError
        If there is no such image.
    """
    form, path, found, metadata = 3, "", None, None
    attributes, of_array = dict[str, Any](), dict[str, Any]()
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        source = _open(path)
    if isinstance(source, zarr.Group):
        group = _image_in(source, path)
        source, found, metadata = _finest(group, calibration)
        attributes = {**_attributes(group), **_beside(group)}
    if isinstance(source, zarr.Array):
        form, path = source.metadata.zarr_format, path or str(source.store_path)
        of_array = _attributes(source)
        if not all(source.chunks) and 0 not in source.shape:
            raise ValueError(f"{source.store_path} is damaged: chunks of {source.chunks} pixels; none may be 0")
    name = f"source {path}" if path else "source"
    shape, dtype = getattr(source, "shape", None), getattr(source, "dtype", None)
    if shape is None or dtype is None:
        raise TypeError(f"source is a {type(source).__name__}; hand in the path of a .zarr, or a zarr or dask array")
    calibration = calibration or found or plain(len(shape))
    if len(calibration.axes) != len(shape):
        raise ValueError(f"calibration has the axes {calibration.axes!r}, but {name} has the shape {tuple(shape)}")
    if np.dtype(dtype).kind not in "iuf":
        raise TypeError(f"{name} is of {dtype}; it must hold real numbers")
    if 0 in shape:
        raise ValueError(f"{name} is empty (shape {tuple(shape)})")
    return Source(source, calibration, form, path, metadata, attributes, of_array)


def _zarrs(array: Any) -> list[Any]:
    """All zarr arrays and stores that the graph of a dask array refers to: what is met in pickling it.

    Raises
    ------
    ValueError
        If that cannot be told.
    """
    from cloudpickle import Pickler  # type: ignore[import-untyped]

    found: list[Any] = []

    class Search(Pickler):  # type: ignore[misc]
        def persistent_id(self, thing: Any) -> str | None:
            if isinstance(thing, (zarr.Array, StorePath)):
                found.append(thing)
            return "left out" if isinstance(thing, (zarr.Array, StorePath, np.ndarray)) else None

    try:
        Search(io.BytesIO()).dump(array)
    except Exception as error:  # whatever what a user put there raises
        raise ValueError(f"what the dask array is read from cannot be told ({error})") from error
    return found


def plain(ndim: int) -> Calibration:
    """That of an array which says nothing: the last axes of t, c, z, y, x, in pixels."""
    if not 2 <= ndim <= len(AXES):
        raise ValueError(f"source has {ndim} axes; OME-Zarr has from 2 to {len(AXES)} ({', '.join(AXES)})")
    return Calibration(axes=AXES[-ndim:], scale=(1.0,) * ndim, translation=(0.0,) * ndim, units=("",) * ndim)


def _open(path: str) -> Any:
    try:
        return zarr.open(path, mode="r")
    except Exception as error:  # zarr raises anything for what is none
        if "://" not in path and not Path(path).exists():
            raise FileNotFoundError(f"{path} is not there; check the name") from None
        damage = "" if "://" in path else _damage(Path(path), error)
        raise ValueError(damage or f"{path} is no zarr array or OME-Zarr image ({_why(error)})") from error


def _damage(folder: Path, error: Exception) -> str:
    """The sentence on metadata in a folder that zarr cannot read; empty if there is none."""
    there = [file for file in (folder / name for name in (*METADATA, ".zattrs", ".zmetadata")) if file.is_file()]
    for file in there:
        try:
            json.loads(file.read_bytes())
        except Exception as reason:  # RecursionError, UnicodeDecodeError and more
            return f"{file} is damaged ({_why(reason)}); correct it, or take it from a copy"
    return f"{there[0]} is damaged ({_why(error)}); correct it, or take it from a copy" if there else ""


def _why(error: BaseException) -> str:
    """The words of an error, in a line."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _attributes(node: zarr.Group | zarr.Array[Any]) -> dict[str, Any]:
    try:
        return dict(node.attrs)
    except Exception as error:  # zarr looks at them only now
        raise ValueError(f"{_file(node)} is damaged: its attributes are no object with entries by name") from error


def _image_in(group: zarr.Group, path: str) -> zarr.Group:
    """The group itself if it is an OME-Zarr image, or the only one in it.

    Raises
    ------
    ValueError
        If there are several, as in a plate, in labels and in what bioformats2raw writes; or none.
    """
    path = path or str(group.store_path)
    if image_metadata(_attributes(group), path) is not None:
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


def _inside(group: zarr.Group, name: str = "") -> Iterator[tuple[str, bool]]:
    """The images and arrays in a group and its groups, by name; and whether it is an image."""
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
        return image_metadata(_attributes(group), "") is not None
    except ValueError:  # damaged: what is in it may be named all the same
        return False


def _entries(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _finest(group: zarr.Group, calibration: Calibration | None) -> tuple[zarr.Array[Any], Calibration, Node]:
    """The finest level of an OME-Zarr image, its calibration if none is given, and all its metadata."""
    path = _file(group)
    metadata = image_metadata(_attributes(group), path)
    assert metadata is not None
    try:
        array = _array(group, path_of_finest(metadata), path)
        if calibration is None:
            level = finest(metadata, array.ndim)
            calibration = Calibration(
                axes=level.axes or plain(array.ndim).axes,
                scale=level.scale,
                translation=level.translation,
                units=level.units,
                omero=_entries(metadata["omero"].value),
            )
    except ValueError as error:
        arrays = [name for name, is_image in _inside(group) if not is_image]
        instead = f", or name an array in it ({path}/{arrays[0]}) to do without" if arrays else ""
        raise ValueError(f"{error}; correct that{instead}") from error
    return array, calibration, metadata


def _beside(group: zarr.Group) -> dict[str, Any]:
    """OME-XML of an image that bioformats2raw has beside the images of a file."""
    folder = Path(_file(group))
    file = folder.parent / "OME" / "METADATA.ome.xml"
    if not folder.name.isdecimal() or not file.is_file():
        return {}
    try:
        root = ome.parse(file.read_text(encoding="utf-8"))
        document = ome.read(root, ome.images(root)[int(folder.name)])["display"]["OME"]
        return {SOURCE: {"OME": ElementTree.tostring(document, encoding="unicode")}}
    except Exception as error:  # what is beside an image never costs it
        warnings.warn(f"{file} cannot be read, and is left out ({_why(error)})", stacklevel=2)
        return {}


def _array(group: zarr.Group, name: str, path: str) -> zarr.Array[Any]:
    """An array of an image."""
    try:
        array = group[name]
    except Exception as error:  # zarr raises anything for a damaged one
        damage = "" if "://" in path else _damage(Path(path, name), error)
        raise ValueError(damage or f"{path}/{name} is not there, but {path} names it as its finest level") from error
    if not isinstance(array, zarr.Array):
        raise ValueError(f"{path}/{name} is a zarr group, but {path} names it as its finest level, an array")
    return array


# ------------------------------------------------------------------------------------------------------------ writing


def pyramid(shape: tuple[int, ...], spatial: int) -> list[tuple[int, ...]]:
    """By how much each level is coarser along each axis: halved where it is long, the first level not at all."""
    factors = [(1,) * len(shape)]
    while True:
        size = [n // f for n, f in zip(shape, factors[-1], strict=True)]
        halve = [i >= len(shape) - spatial and size[i] >= 2 * _SMALLEST for i in range(len(shape))]
        if not any(halve):
            return factors
        factors.append(tuple(f * (1 + h) for f, h in zip(factors[-1], halve, strict=True)))


def chunks_of(shape: tuple[int, ...], spatial: int) -> tuple[int, ...]:
    """Chunks of one slice along the leading axes, and of some megabytes in space."""
    ends = [min(n, c) for n, c in zip(shape[-spatial:], _CHUNK[spatial], strict=True)]
    return (*[1] * (len(shape) - spatial), *ends)


def create_level(
    group: zarr.Group, path: str, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: tuple[int, ...], axes: str
) -> zarr.Array[Any]:
    """An array of NaN (of 0 if it holds whole numbers)."""
    names: dict[str, Any] = {"dimension_names": list(axes)}
    if group.metadata.zarr_format == 2:
        names = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    empty = np.nan if dtype.kind == "f" else 0
    return group.create_array(path, shape=shape, dtype=dtype, chunks=chunks, fill_value=empty, **names)


def coarser(values: Array, factors: Sequence[int]) -> Array:
    """The mean over blocks of so many pixels, in the same type; at the end of an axis over those that are left."""
    kind = values.dtype
    result = values.astype(np.float64)
    for axis, factor in enumerate(factors):
        if factor > 1:
            starts = np.arange(0, result.shape[axis], factor)
            counts = np.diff(np.append(starts, result.shape[axis]))
            along = [1] * result.ndim
            along[axis] = -1
            result = np.add.reduceat(result, starts, axis) / counts.reshape(along)
    return (np.rint(result) if kind.kind in "iu" else result).astype(kind)
