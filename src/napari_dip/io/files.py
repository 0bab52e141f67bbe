"""Read and write images: TIFF, PNG, JPEG and NumPy's own format, with calibration and record; read OME-Zarr too.

A TIFF or a PNG holds the record of a restoration inside (see `tiff`; in a PNG it is the text named napari-dip). JPEG
and .npy have no place for it: there it lies beside the image, as ``OUT.json``, together with axes and pixel sizes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.doors import overwriting
from napari_dip.io import disk, imagej, ome
from napari_dip.io.channels import Array
from napari_dip.io.formats import READABLE, SCREEN, Path_, ending_of, format_of, tell_lost
from napari_dip.io.ngff import ENDING, is_zarr
from napari_dip.io.parts import delete, part_of, sweep
from napari_dip.io.picture import Picture, record_in
from napari_dip.io.screen import for_screen, read_screen, write_jpeg, write_png
from napari_dip.io.sheets import beside, read_jpeg, read_npy, write_npy, write_sheet
from napari_dip.io.tiff import read_notes, read_tiff, write_tiff

_BESIDE = (".jpg", ".jpeg", ".npy")  # no place for a record inside


def read(path: Path_, series: int | None = None, *, partly: bool = False, sparse: bool = False) -> Picture:
    """Read an image file.

    Parameters
    ----------
    path : path
        Path of a file that ends in one of `READABLE`, or of an OME-Zarr.
    series : int, optional
        Number of the image in a file of several, from 0; by default the first one of a TIFF, with a warning that lists
        them.
    partly : bool
        Read an OME-Zarr of which some slices are damaged, too: see `Picture.unread`.
    sparse : bool
        Say nothing of chunks of an OME-Zarr that have no file, as those of a mask where nothing is marked.

    Raises
    ------
    ValueError
        For an unknown ending.
    OSError
        If it cannot be read; the message says why and what to do.
    """
    path = Path(path)
    if is_zarr(path):
        from napari_dip.io.zarrpicture import read_zarr  # imports zarr: a second

        return read_zarr(path, series, partly=partly, sparse=sparse)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, and no zarr; name an image file in it")
    ending = ending_of(path, READABLE)
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; check the name")
    try:
        if ending in (".tif", ".tiff", ".lsm"):
            return read_tiff(path, series)
        if series:
            raise ValueError(f"series {series} is asked for, but it holds one image")
        if ending == ".png":
            return read_screen(path)
        return read_npy(path) if ending == ".npy" else read_jpeg(path)
    except MemoryError:
        raise
    except Exception as error:  # readers of broken files raise anything, from struct.error to SyntaxError
        remedy = "check that it is complete, and that its ending says what it is"
        if isinstance(error, PermissionError):
            remedy = "change its permissions, or read a copy"
        elif "set, of which" in str(error) or "planes are missing" in str(error):
            remedy = "copy what is missing beside it, or save what is there as a file of its own"
        raise OSError(f"{path} cannot be read ({_why(error)}); {remedy}") from error


def is_image(path: Path_) -> bool:
    """True if a path is that of an image file or an OME-Zarr, by its ending."""
    return is_zarr(path) or Path(path).suffix.lower() in READABLE


def read_record(path: Path_) -> dict[str, Any]:
    """The record in an image file, or beside it; empty if there is none. Of a TIFF or an OME-Zarr no pixel is read.

    Raises
    ------
    OSError, ValueError
        As `read` does.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; check the name")
    if is_zarr(path):
        from napari_dip.io.zarrpicture import read_zarr_record  # imports zarr: a second

        return read_zarr_record(path)
    if path.suffix.lower() not in (".tif", ".tiff"):
        return read(path).record
    try:
        return record_in(read_notes(path))
    except Exception as error:  # as in `read`
        raise OSError(f"{path} cannot be read ({_why(error)}); check that it is complete") from error


def write(
    path: Path_,
    values: Array,
    like: Picture,
    *,
    factors: Mapping[str, int] | None = None,
    record: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a restored image with the calibration of the one that it was made from.

    Until it is complete the file has another name in the same folder, so that a failure leaves nothing, or what was
    there before.

    Parameters
    ----------
    path : path
        Ends in one of `ENDINGS`, which decides the format.
    values : array
        With the axes of `like`. PNG (8 or 16 bits) and JPEG (8 bits) hold whole numbers: where `like` is of such a
        type, values are rounded and clipped to it; otherwise the smallest becomes 0 and the largest the format's
        largest, and a warning says so.
    like : Picture
        The image that was restored.
    factors : mapping, optional
        Axis -> factor of a super-resolution: the pixel size is divided by it.
    record : dict, optional
        Record of the restoration.
    overwrite : bool
        Replace a file that is there.

    Raises
    ------
    FileExistsError
        If the file is there, and `overwrite` is not set.
    ValueError
        For an unknown ending.
    DiskFull, OSError
        If it cannot be written.
    """
    path = Path(path)
    check(path, overwrite=overwrite)
    held = SCREEN.get(ending_of(path))
    values = values if held is None else for_screen(values, like.values.dtype, held, path.name)
    picture = like.restored(values, factors or {}, record or {})
    gone = ome.outgrown(picture) + imagej.outgrown(picture)
    gone += ["slice labels"] * (len(like.labels) > len(picture.labels))
    if gone:
        warnings.warn(f"{', '.join(gone)} of the input hold for its pixels, not for finer ones: left out", stacklevel=2)
    tell_lost(path, picture, gone)
    _put(path, picture, overwrite=overwrite)


def put(
    path: Path_,
    picture: Picture,
    *,
    overwrite: bool = False,
    kept: Sequence[str] = (),
    place: Sequence[float] | None = None,
) -> None:
    """Write a picture as it is, as `write` does one that was restored; also as an OME-Zarr, which replaces nothing.

    Parameters
    ----------
    kept : sequence of str
        Words for what the file keeps in the record, so that nobody is warned of its loss.
    place : sequence of float, optional
        Position of the first pixel, for an OME-Zarr: see `zarrwriter.write_zarr`.
    """
    path = Path(path)
    if path.suffix.lower() != ENDING:
        check(path, overwrite=overwrite)
        _put(path, picture, overwrite=overwrite)
    elif path.exists():
        raise FileExistsError(f"{path} exists, and a .zarr may hold more than an image; name another one, or delete it")
    elif not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is not a folder, so {path.name} cannot be written there; make it first")
    else:
        from napari_dip.io.zarrwriter import write_zarr  # imports zarr: a second

        sweep(path.parent)
        write_zarr(path, part_of(path), picture, place)
    tell_lost(path, picture, kept)


def written(path: Path_) -> tuple[Path, ...]:
    """The files that `write` writes: the image, and its record where there is no place for it inside."""
    path = Path(path)
    return (path, beside(path)) if ending_of(path) in _BESIDE else (path,)


def check(path: Path_, *, overwrite: bool = False, other: str = "file") -> None:
    """Raise what `write` would raise because of the name, the folder, or a file that is there.

    `other` is what can be named in place of it: a folder, where each file in it has the name of its source.
    """
    path = Path(path)
    for target in written(path):
        if target.is_dir():
            raise IsADirectoryError(f"{target} is a folder; name a file in it")
        if target.exists() and not target.is_file():
            raise FileExistsError(f"{target} is no plain file and is not replaced; name another {other}")
        if target.exists() and not overwrite:
            raise FileExistsError(f"{target} exists; name another {other}, {overwriting()}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is not a folder, so {path.name} cannot be written there; make it first")


def refuse_inputs(targets: Iterable[Path_], inputs: Mapping[str, Path_ | None], *, other: str = "file") -> None:
    """Raise a `ValueError` if a file to be written, or what lies beside it, is one that is read, by whatever name.

    `other` is as for `check`.
    """
    written = [Path(target) for target in targets]
    written += [beside(target) for target in written]
    for role, given in inputs.items():
        for target in written:
            if given is not None and target.exists() and os.path.exists(given) and os.path.samefile(target, given):
                raise ValueError(
                    f"{target} is the same file as {role} ({given}), which would be lost; name another {other}"
                )
            if given is not None and Path(given).resolve() in target.resolve().parents:
                raise ValueError(f"{target} lies in {role} ({given}), which is never changed; name another {other}")


def rehearse(
    path: Path_,
    like: Picture,
    dtype: npt.DTypeLike,
    *,
    factors: Mapping[str, int] | None = None,
    overwrite: bool = False,
) -> int:
    """Raise what `write` would raise, before a long run: a black image of the result's size is written, and deleted.

    Returns
    -------
    int
        The bytes that it took; an image that is not black takes more in a PNG or JPEG.
    """
    path = Path(path)
    check(path, overwrite=overwrite)
    held = SCREEN.get(ending_of(path))
    shape = [n * (factors or {}).get(axis, 1) for axis, n in zip(like.axes, like.values.shape, strict=True)]
    values = np.zeros(shape, dtype if held is None else held[-1])
    return _put(path, like.restored(values, factors or {}, {}), overwrite=overwrite, keep=False)


def _put(path: Path, picture: Picture, *, overwrite: bool, keep: bool = True) -> int:
    """Write all files of a picture under temporary names; then, if they are to be kept, give them their own.

    Returns their size in bytes.
    """
    writers = {".png": write_png, ".jpg": write_jpeg, ".jpeg": write_jpeg, ".npy": write_npy}
    form = format_of(path, picture)
    targets = {path: writers.get(form, partial(write_tiff, kind=form))}
    if ending_of(path) in _BESIDE:
        targets[beside(path)] = write_sheet
    parts: dict[Path, Path] = {}
    size = 0
    try:
        for target, writer in targets.items():
            target = Path(os.path.realpath(target))  # a link stays, and what it names is replaced
            sweep(target.parent)
            part = part_of(target)
            parts[part] = target
            with open(part, "w+b") as file:
                writer(file, picture)
                if keep:  # or a computer that loses its power may keep the name, with zeros for pixels
                    file.flush()
                    os.fsync(file.fileno())
            size += part.stat().st_size
        if keep:
            check(path, overwrite=overwrite)  # again: a run takes its time
            for part, target in parts.items():
                os.replace(part, target)
        return size
    except (MemoryError, FileExistsError):
        raise
    except Exception as error:  # writers raise anything for what their format cannot hold
        if disk.is_full(error):
            delete(parts)  # so that what they took counts as free
            raise disk.DiskFull(f"the disk is full: {disk.lack(path, picture.values.nbytes)}") from error
        remedy = "name another folder" if isinstance(error, OSError) else "a plain .tif holds any image"
        raise OSError(f"{path} cannot be written ({_why(error)}); {remedy}") from error
    finally:
        delete(parts)


def _why(error: Exception) -> str:
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return words.strip().rstrip(".") or type(error).__name__
