"""Chunks of a zarr array without a file: the fill value is read there, be it sparse or a file lost."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zarr

from napari_dip.io.omezarr import file_of

_NUMBERS = re.compile(r"\d+")


def absent_chunks(array: zarr.Array[Any]) -> tuple[int, str]:
    """Number of chunks (of shards, if it has them) without a file, and the file that the first of them would have.

    Its folders are listed once, so that each chunk that is there costs some microseconds. Of a store that is no local
    folder nothing is known: 0.
    """
    folder = Path(file_of(array))
    if not folder.is_dir() or not array.ndim:
        return 0, ""
    size = getattr(array, "shards", None) or array.chunks
    grid = [math.ceil(n / c) for n, c in zip(array.shape, size, strict=True)]
    there = set(_chunks_in(folder, array, grid))
    count = math.prod(grid) - len(there)
    if not count:
        return 0, ""
    first = next(at for at in (_place(i, grid) for i in itertools.count()) if at not in there)
    return count, str(folder / array.metadata.encode_chunk_key(first))


def _place(index: int, grid: list[int]) -> tuple[int, ...]:
    """Place in the grid of a chunk by its number; the grid may be larger than numpy can count."""
    at = []
    for n in reversed(grid):
        index, i = divmod(index, n)
        at.append(i)
    return tuple(reversed(at))


def _chunks_in(folder: Path, array: zarr.Array[Any], grid: list[int]) -> Iterator[tuple[int, ...]]:
    """Places in the grid of the chunks that have a file."""
    for inside, _, names in os.walk(folder):
        way = os.path.relpath(inside, folder).replace(os.sep, "/")
        for name in names:
            key = name if way == "." else f"{way}/{name}"
            at = tuple(map(int, _NUMBERS.findall(key)))
            if (
                len(at) == array.ndim
                and all(i < n for i, n in zip(at, grid, strict=True))
                and array.metadata.encode_chunk_key(at) == key
            ):
                yield at


def on_absent_chunks(array: zarr.Array[Any]) -> str:
    """The sentence on chunks without a file; empty if all have one."""
    count, first = absent_chunks(array)
    if not count:
        return ""
    have, are = ("have", "are") if count > 1 else ("has", "is")
    value = "0" if array.fill_value is None else f"{array.fill_value:g}"
    return (
        f"{count} chunk{'s' * (count > 1)} {have} no file (first {first}) and {are} read as the fill value, {value}; "
        "if something was measured there, take the lost files from a copy"
    )
