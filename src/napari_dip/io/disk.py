"""Room on a disk: looked at before a run, and a full disk called so, with what it lacks."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)
_CUT = "requested and"  # in numpy's words, which come without a number


class DiskFull(OSError):
    """A disk that has no room for what is to be written."""


def is_full(error: BaseException) -> bool:
    """True for an error because the disk, or what a user may have of it, is full."""
    return isinstance(error, OSError) and (isinstance(error, DiskFull) or error.errno in _FULL or _CUT in str(error))


def lack(path: str | os.PathLike[str], size: int) -> str:
    """The words on a disk without room for so many bytes at a path, with the remedy."""
    free = _in_bytes(free_at(path))
    return f"{path} takes {_in_bytes(size)}, and {free} are free on its disk; free some, or name another folder"


def full(path: str | os.PathLike[str]) -> DiskFull:
    """The error for a disk that was found full while something at a path was written part by part."""
    return DiskFull(f"the disk of {path} is full, with {_in_bytes(free_at(path))} free; free some")


def check_room(path: str | os.PathLike[str], size: int) -> None:
    """Raise `DiskFull` if so many bytes have no room at a path."""
    if size > free_at(path):
        raise DiskFull(f"the disk is too full: {lack(path, size)}")


def free_at(path: str | os.PathLike[str]) -> int:
    """Bytes that are free where a path is, or will be."""
    folder = Path(os.path.realpath(path))
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _in_bytes(size: int) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"
