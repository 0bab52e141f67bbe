"""New OME-Zarr files: an image in memory, whole or not at all (the way back from `zarrpicture`); the levels of any."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr

from napari_dip.io import disk
from napari_dip.io.channels import Array, Channel
from napari_dip.io.ngff import RECORD
from napari_dip.io.omezarr import VERSIONS, calibration_of
from napari_dip.io.picture import Picture, make_picture

_COLOURS = ("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF")
_FORMAT: Literal[3] = 3  # of zarr, as NGFF 0.5 has it
_SMALLEST = 256  # pixels along y and x of the coarsest level, about
_CHUNK = {2: (1024, 1024), 3: (64, 256, 256)}  # 4 to 16 MB


def write_zarr(path: Path, part: Path, picture: Picture, place: Sequence[float] | None = None) -> None:
    """Write an image with its calibration, channels and record, and coarser levels of it.

    Parameters
    ----------
    path : Path
        Where nothing is yet.
    part : Path
        Where it is until it is whole, in the same folder.
    picture : Picture
        Its colours become channels.
    place : sequence of float, optional
        Position of the centre of the first pixel along each axis without the colours, in the units of `picture`.

    Raises
    ------
    ValueError
        If it has axes that OME-Zarr lacks.
    DiskFull, OSError
        If it cannot be written.
    """
    if "S" in picture.axes:
        picture, place = _with_channels(picture, place)
    calibration = calibration_of(picture, path.name)
    if place is not None:
        calibration = replace(calibration, translation=tuple(map(float, place)))
    shape, spatial = picture.values.shape, 3 if "Z" in picture.axes else 2
    factors, chunks = pyramid(shape, spatial), chunks_of(shape, spatial)
    paths = [str(i) for i in range(len(factors))]
    image = calibration.metadata(path.stem, paths, [[1 / f for f in each] for each in factors])
    omero = {"omero": calibration.omero} if calibration.omero else {}
    attributes = {
        **calibration.besides,
        "ome": {"version": VERSIONS[_FORMAT], "multiscales": [image], **omero},
        **({RECORD: picture.record} if picture.record else {}),
    }
    try:
        group = zarr.create_group(part, zarr_format=_FORMAT, attributes=attributes)
        values, before = picture.values, factors[0]
        for name, each in zip(paths, factors, strict=True):
            values = coarser(values, [b // a for a, b in zip(before, each, strict=True)]) if name != "0" else values
            before = each
            level = create_level(group, name, values.shape, values.dtype, chunks, calibration.axes)
            for start in itertools.product(*(range(0, n, c) for n, c in zip(values.shape, chunks, strict=True))):
                piece = tuple(slice(s, s + c) for s, c in zip(start, chunks, strict=True))
                level[piece] = values[piece]
        os.rename(part, path)
    except OSError as error:
        if disk.is_full(error):
            shutil.rmtree(part, ignore_errors=True)  # so that what it took counts as free
            raise disk.DiskFull(f"the disk is full: {disk.lack(path, picture.values.nbytes)}") from error
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _with_channels(picture: Picture, place: Sequence[float] | None) -> tuple[Picture, Sequence[float] | None]:
    """A picture with its colours as channels, of which NGFF has no others, without its transparency."""
    if "C" in picture.axes:
        raise ValueError("a .zarr holds channels or colours, not both; save a .tif")
    top = np.iinfo(picture.values.dtype).max if picture.values.dtype.kind in "iu" else 1
    channels = [Channel(name=name, colour=colour, limits=(0.0, float(top))) for name, colour in _COLOURS]
    known = {name: getattr(picture, name) for name in ("pixel_size", "unit", "units", "function", "display", "record")}
    made = make_picture(picture.values, picture.slice_axes + "C", channels=tuple(channels), **known)
    if place is not None:
        place = list(place)
        place.insert(made.axes.index("C"), 0.0)
    return replace(made, notes=picture.notes), place


def pyramid(shape: tuple[int, ...], spatial: int) -> list[tuple[int, ...]]:
    """Factors by which each level is coarser along each axis: halved where it is long; the first is all ones."""
    factors = [(1,) * len(shape)]
    while True:
        size = [n // f for n, f in zip(shape, factors[-1], strict=True)]
        halve = [i >= len(shape) - spatial and size[i] >= 2 * _SMALLEST for i in range(len(shape))]
        if not any(halve):
            return factors
        factors.append(tuple(f * (1 + h) for f, h in zip(factors[-1], halve, strict=True)))


def chunks_of(shape: tuple[int, ...], spatial: int) -> tuple[int, ...]:
    """Shape of a chunk: one slice of the leading axes, some megabytes of space."""
    ends = [min(n, c) for n, c in zip(shape[-spatial:], _CHUNK[spatial], strict=True)]
    return (*[1] * (len(shape) - spatial), *ends)


def create_level(
    group: zarr.Group, path: str, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: tuple[int, ...], axes: str
) -> zarr.Array[Any]:
    """Create an array of NaN (of 0 if it holds whole numbers)."""
    names: dict[str, Any] = {"dimension_names": list(axes)}
    if group.metadata.zarr_format == 2:
        names = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    empty = np.nan if dtype.kind == "f" else 0
    return group.create_array(path, shape=shape, dtype=dtype, chunks=chunks, fill_value=empty, **names)


def coarser(values: Array, factors: Sequence[int]) -> Array:
    """Mean over blocks of `factors` pixels, in the same type; the last block of an axis may be smaller."""
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
