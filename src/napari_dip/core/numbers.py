"""One number, of Python's int and float or of numpy: a truth value, a text or a list is none."""

from __future__ import annotations

from typing import Any

import numpy as np


def is_number(value: Any) -> bool:
    """True for one real number, NaN and infinity among them."""
    return _kind(value) in ("i", "u", "f")


def is_whole(value: Any) -> bool:
    """True for one integer."""
    return _kind(value) in ("i", "u")


def _kind(value: Any) -> str:
    """Kind of numpy's type of one value; empty where it is none, or several."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # lists of unlike length, tensors that numpy cannot hold
        return ""
    return array.dtype.kind if array.ndim == 0 else ""
