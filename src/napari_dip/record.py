"""Provenance: what made this image, as plain values that JSON can hold."""

from __future__ import annotations

import hashlib
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
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


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from a source tree
        return "not installed"
