"""Records of restorations: fingerprint of an array, software and time that they hold, and how they are read."""

from __future__ import annotations

import hashlib
import json
import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def fingerprint(values: npt.NDArray[Any]) -> str:
    """SHA-256 of an array's values in C order, little-endian, with its type and shape."""
    if values.dtype.kind == "f" and values.dtype.itemsize > 8:  # long doubles have undefined bytes
        values = values.astype(np.float64)
    plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{plain.dtype.str}{plain.shape}".encode())
    digest.update(plain.data if plain.size else b"")
    return digest.hexdigest()


def software() -> dict[str, str]:
    """Versions of what took part, and the machine's architecture."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        **{name: _version(name) for name in ("napari-dip", "torch", "numpy")},
    }


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from a source tree
        return "not installed"


def write(path: Path, text: str) -> None:
    """Write a record or settings; what is there is replaced once the new text is whole."""
    from napari_dip.io import parts

    parts.sweep(path.parent)
    part = parts.part_of(path)
    try:
        part.write_text(f"{text}\n", encoding="utf-8")
        part.replace(path)
    finally:
        parts.delete([part])


def read(source: str | Path) -> dict[str, Any]:
    """The record of a restoration, or settings by name: of the text, the file or the image that `source` is.

    Raises
    ------
    OSError, ValueError
        As `Settings.from_json` does.
    """
    from napari_dip.io import files  # imports tifffile and Pillow, which most settings do without

    given = isinstance(source, str) and source.lstrip().startswith(("{", "["))
    if not given and files.is_image(source):
        found = files.read_record(source)
        if not isinstance(found.get("settings"), dict):
            raise ValueError(f"'{source}' has no settings in it: it is not an image that napari-dip restored and wrote")
        return found
    name = "the text" if given else f"'{source}'"
    try:
        found = json.loads(str(source) if given else Path(source).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # bytes that are no text are a ValueError too
        raise ValueError(f"{name} is not JSON: {error}") from None
    found = found.get("napari-dip", found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not isinstance(found.get("settings", {}), dict):
        raise ValueError(f"{name} is not an object with settings by name, as Settings.to_json() writes it")
    return found
