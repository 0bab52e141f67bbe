"""OME-Zarr, and arrays that are read part by part: with their calibration, in any process that reaches their file.

Metadata is that of NGFF 0.5 (in zarr 3) and 0.4 (in zarr 2): Moore et al., "OME-Zarr: a cloud-optimized bioimaging
file format" (Histochemistry and Cell Biology, 2023).
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import StorePath

Array = npt.NDArray[Any]
Place = tuple[slice, ...]

AXES = "tczyx"  # the order that NGFF asks for
_KINDS = {"t": "time", "c": "channel"}
_SMALLEST = 256  # pixels along y and x of the coarsest level, about
_CHUNK = {2: (1024, 1024), 3: (64, 256, 256)}  # 4 to 16 MB
VERSIONS = {2: "0.4", 3: "0.5"}  # zarr format -> NGFF


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Where the pixels of an array lie.

    Attributes
    ----------
    axes : str
        A letter for each axis, of "tczyx" and in this order.
    scale, translation : tuple of float
        For each axis the distance of two pixels, and where the middle of the first one is.
    units : tuple of str
        For each axis the name of the unit as NGFF spells it ("micrometer", "second"); empty if there is none.
    omero : dict
        Names, colours and contrast of the channels, as NGFF has them.
    """

    axes: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    units: tuple[str, ...]
    omero: dict[str, Any] = field(default_factory=dict)

    def finer(self, factors: Sequence[float]) -> Calibration:
        """That of a grid which is finer by a factor for each axis and has the same outline."""
        steps = list(zip(self.scale, factors, strict=True))
        return replace(
            self,
            scale=tuple(s / f for s, f in steps),
            translation=tuple(t + s * (1 / f - 1) / 2 for t, (s, f) in zip(self.translation, steps, strict=True)),
        )

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
    """

    array: Any
    calibration: Calibration
    zarr_format: int = 3
    path: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(int, self.array.shape))

    def part(self, place: Place) -> Part:
        """A part, not read yet."""
        if hasattr(self.array, "dask"):
            from dask.base import optimize

            (alone,) = optimize(self.array[place])  # type: ignore[no-untyped-call]  # without the graph of the rest
            return Part(alone, ())
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
            found += _stores(self.array)
        schemes = ("file", "local", "zip", "")
        split = [each.rpartition("://") for each in found]
        return [Path(path).resolve() for scheme, _, path in split if scheme in schemes]


@dataclass(frozen=True)
class Part:
    """A part of an array, not read yet: small to send, if the array is in a file."""

    array: Any
    place: Place

    def read(self) -> Array:
        """Its values."""
        if hasattr(self.array, "dask"):
            return np.asarray(self.array.compute(scheduler="synchronous"))
        return np.asarray(self.array[self.place])


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
    form, path, found = 3, "", None
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        source = _open(path)
    if isinstance(source, zarr.Group):
        source, found = _finest(source, path)
    if isinstance(source, zarr.Array):
        form, path = source.metadata.zarr_format, path or str(source.store_path)
    shape, dtype = getattr(source, "shape", None), getattr(source, "dtype", None)
    if shape is None or dtype is None:
        raise TypeError(f"source is a {type(source).__name__}; hand in the path of a .zarr, or a zarr or dask array")
    calibration = calibration or found or plain(len(shape))
    if len(calibration.axes) != len(shape):
        raise ValueError(f"calibration has the axes {calibration.axes!r}, but the source has the shape {tuple(shape)}")
    if np.dtype(dtype).kind not in "iuf":
        raise TypeError(f"source is of {dtype}; it must hold real numbers")
    if 0 in shape:
        raise ValueError(f"source is empty (shape {tuple(shape)})")
    return Source(source, calibration, form, path)


def _stores(array: Any) -> list[str]:
    """The addresses of all zarr stores that the graph of a dask array refers to: what is met in pickling it."""
    from cloudpickle import Pickler  # type: ignore[import-untyped]

    found: list[str] = []

    class Search(Pickler):  # type: ignore[misc]
        def persistent_id(self, thing: Any) -> str | None:
            if isinstance(thing, StorePath):
                found.append(str(thing))
            return "left out" if isinstance(thing, (StorePath, np.ndarray)) else None

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
        raise ValueError(f"{path} is no zarr array or OME-Zarr image ({error})") from error


def _finest(group: zarr.Group, path: str) -> tuple[zarr.Array[Any], Calibration]:
    """The finest level of an OME-Zarr image, and its calibration."""
    attributes: dict[str, Any] = dict(group.attrs)
    ome = attributes.get("ome", attributes)
    if "multiscales" not in ome:
        inside = ", ".join(sorted(name for name, _ in group.members())[:10])
        raise ValueError(f"{path or group} is a zarr group but no OME-Zarr image; name one in it ({inside})")
    multiscale = ome["multiscales"][0]
    dataset = multiscale["datasets"][0]
    array = group[dataset["path"]]
    assert isinstance(array, zarr.Array)
    ndim = array.ndim
    entries = [axis if isinstance(axis, dict) else {"name": axis} for axis in multiscale.get("axes", AXES[-ndim:])]
    axes = "".join(str(entry["name"]).lower() for entry in entries)
    if len(axes) != ndim or not set(axes) <= set(AXES) or list(axes) != sorted(axes, key=AXES.index):
        raise ValueError(f"{path} has the axes {axes!r}; they must be of {', '.join(AXES)}, in this order")
    scale, translation = np.ones(ndim), np.zeros(ndim)
    for step in (*dataset.get("coordinateTransformations", ()), *multiscale.get("coordinateTransformations", ())):
        if step["type"] == "scale" and "scale" in step:
            scale, translation = scale * step["scale"], translation * step["scale"]
        elif step["type"] == "translation" and "translation" in step:
            translation = translation + step["translation"]
    calibration = Calibration(
        axes=axes,
        scale=tuple(map(float, scale)),
        translation=tuple(map(float, translation)),
        units=tuple(str(entry.get("unit", "")) for entry in entries),
        omero=dict(ome.get("omero", {})),
    )
    return array, calibration


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
) -> None:
    """An array of NaN (of 0 if it holds whole numbers)."""
    names: dict[str, Any] = {"dimension_names": list(axes)}
    if group.metadata.zarr_format == 2:
        names = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    empty = np.nan if dtype.kind == "f" else 0
    group.create_array(path, shape=shape, dtype=dtype, chunks=chunks, fill_value=empty, **names)


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
