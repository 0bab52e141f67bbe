"""Files that are not whole yet: they have another name in the folder of the file that they become."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable
from pathlib import Path


def part_of(path: Path) -> Path:
    """The name that a file has until it is whole."""
    return path.with_name(f"{_beginning()}{os.getpid()}{path.suffix}")


def delete(parts: Iterable[Path]) -> None:
    """Delete files and folders, as far as they are there."""
    for part in parts:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Delete what processes of this machine left that were killed while they wrote."""
    import psutil  # type: ignore[import-untyped]

    for file in folder.glob(f"{_beginning()}*"):
        number = file.stem.removeprefix(_beginning())
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            delete([file])


def _beginning() -> str:
    """Beginning of such names; the number of the process follows."""
    return f".napari-dip-{''.join(filter(str.isalnum, platform.node()))[:64]}-"
