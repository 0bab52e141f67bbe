"""An image in memory as a new OME-Zarr: the way back from `zarrpicture`. Whole, or not at all."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import zarr

from napari_dip.io import disk
from napari_dip.io.channels import Channel
from napari_dip.io.ngff import RECORD
from napari_dip.io.omezarr import VERSIONS, calibration_of, chunks_of, coarser, create_level, pyramid
from napari_dip.io.picture import Picture, make_picture

_COLOURS = ("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF")
_FORMAT: Literal[3] = 3  # of zarr, as NGFF 0.5 has it


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
