"""Arrays that are read part by part, with their calibration, in any process that reaches their file."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import StorePath

from napari_dip.io.absent import on_absent_chunks
from napari_dip.io.channels import Array
from napari_dip.io.ngff import Calibration, Node, plain
from napari_dip.io.omezarr import attributes_of, beside, calibration_around, file_of, finest, image_in, open_node, why

Place = tuple[slice, ...]


@dataclass(frozen=True)
class Source:
    """An array that is read part by part: a zarr or dask array, or one in memory.

    Attributes
    ----------
    array : zarr.Array, dask.array.Array or numpy array
    calibration : Calibration
    zarr_format : int
        Format of its file, 2 or 3; 3 if it is in none.
    path : str
        Path of its file; empty if it is in none.
    ome : Node or None
        Metadata of the OME-Zarr image that it belongs to.
    attributes : dict
        Other attributes of the group of that image.
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
        """Shape of the array."""
        return tuple(map(int, self.array.shape))

    @property
    def lazy(self) -> Any:
        """The same as a dask array."""
        from dask.array import from_array

        if hasattr(self.array, "dask"):
            return self.array
        return from_array(self.array, chunks=getattr(self.array, "chunks", "auto"))  # type: ignore[no-untyped-call]

    def part(self, place: Place) -> Part:
        """A part, not read yet."""
        if hasattr(self.array, "dask"):
            from dask.base import optimize

            (alone,) = optimize(self.array[place])  # type: ignore[no-untyped-call]  # without the graph of the rest
            return Part(alone, (), (self.shape, place))
        if isinstance(self.array, np.ndarray):  # no task takes the rest along
            return Part(self.array[place], ())
        return Part(self.array, place)

    def load(self, along: Sequence[int] = ()) -> tuple[Array, dict[int, str]]:
        """All values, in memory, and the slices along some axes that cannot be read, with the reason: they are 0.

        Raises
        ------
        Unreadable
            If no slice can be read.
        """
        place = [slice(None)] * len(self.shape)
        try:
            return self.part(tuple(place)).read(), {}
        except Unreadable as error:
            damage = error
        values, failed = np.zeros(self.shape, self.array.dtype), dict[int, str]()
        count = [self.shape[axis] for axis in along]
        for index, at in enumerate(np.ndindex(*count)):
            for axis, i in zip(along, at, strict=True):
                place[axis] = slice(i, i + 1)
            try:
                values[tuple(place)] = self.part(tuple(place)).read()
            except Unreadable as error:
                failed[index] = str(error)
        if len(failed) == math.prod(count):
            raise damage
        return values, failed

    @property
    def absent(self) -> str:
        """Sentence on chunks without a file, of a zarr array or of that behind a dask array; may be empty."""
        arrays = [self.array]
        if hasattr(self.array, "dask"):
            with contextlib.suppress(ValueError):
                arrays = [each for each in _zarrs(self.array) if getattr(each, "shape", None) == self.shape]
        said = (on_absent_chunks(each) for each in arrays if isinstance(each, zarr.Array))
        return next(filter(None, said), "")

    def files(self) -> list[Path]:
        """Local zarr files and folders that it is read from.

        Raises
        ------
        ValueError
            If those of a dask array cannot be found.
        """
        found = [self.path] if self.path else []
        if hasattr(self.array, "dask"):
            found += [file_of(each) for each in _zarrs(self.array)]
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
    array : zarr.Array, dask.array.Array or numpy array
    place : tuple of slice
        Place of the part in `array`; empty if it is all of it.
    whole : tuple
        Shape of the array that a dask array is a part of, and its place there.
    """

    array: Any
    place: Place
    whole: tuple[tuple[int, ...], Place] = ((), ())

    def read(self) -> Array:
        """Values of the part.

        Raises
        ------
        Unreadable
            If it is damaged.
        """
        try:
            if hasattr(self.array, "dask"):
                return np.asarray(self.array.compute(scheduler="synchronous"))
            return np.asarray(self.array[self.place])
        except MemoryError:
            raise
        except Exception as error:  # codecs and what a user put into a dask graph raise anything
            raise Unreadable(f"{' or '.join(self._files()) or 'what it is'} cannot be read ({why(error)})") from error

    def _files(self) -> list[str]:
        """Files that may be damaged: one chunk of a zarr array, or all that a dask array reads."""
        if isinstance(self.array, zarr.Array):
            return [_damaged_chunk(self.array, self.place)]
        try:
            found = _zarrs(self.array)
        except ValueError:
            return []
        shape, place = self.whole
        return [
            _damaged_chunk(each, place) if getattr(each, "shape", None) == shape else file_of(each) for each in found
        ]


def read_known(part: Part, mask: Part | None) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The values of a part, and True where they are not known: not finite, or where a mask is not zero."""
    values = part.read()
    missing = ~np.isfinite(values)
    if mask is not None:
        missing = missing | np.broadcast_to(mask.read() != 0, values.shape)
    return values, missing


def _damaged_chunk(array: zarr.Array[Any], place: Place) -> str:
    """File of the first damaged chunk in a place, or of the array if none is."""
    size = getattr(array, "shards", None) or array.chunks
    place = (*place, *[slice(None)] * (array.ndim - len(place)))
    ends = [each.indices(n)[:2] for each, n in zip(place, array.shape, strict=True)]
    for at in itertools.product(*(range(a // n, -(-b // n)) for (a, b), n in zip(ends, size, strict=True))):
        try:
            array[tuple(slice(i * n, (i + 1) * n) for i, n in zip(at, size, strict=True))]
        except Exception:  # as above
            return f"{file_of(array)}/{array.metadata.encode_chunk_key(at)}"
    return file_of(array)


def open_source(source: Any, calibration: Calibration | None = None) -> Source:
    """Open an array without reading its pixels.

    Parameters
    ----------
    source : path, zarr.Array, dask.array.Array or array
        A path leads to a zarr array, or to an OME-Zarr image, of which the finest level is taken.
    calibration : Calibration, optional
        Replaces that of the file.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError
        If it is not there, is damaged, or holds no real numbers; the message says which, and what to do.
    """
    form, path, found, metadata = 3, "", None, None
    attributes, of_array = dict[str, Any](), dict[str, Any]()
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        source = open_node(path)
    if isinstance(source, zarr.Group):
        group = image_in(source, path)
        source, found, metadata = finest(group, calibration)
        attributes = {**attributes_of(group), **beside(group)}
    if isinstance(source, zarr.Array):
        form, path = source.metadata.zarr_format, path or str(source.store_path)
        of_array = attributes_of(source)
        if path and found is None and calibration is None and "://" not in path:
            found = calibration_around(path, source.ndim)
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
    """Zarr arrays and stores in the graph of a dask array: those that are met in pickling it.

    Raises
    ------
    ValueError
        If the graph cannot be pickled.
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
