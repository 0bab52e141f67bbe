"""One number, of Python's int and float or of numpy: a truth value, a text or a list is none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def is_number(value: Any) -> bool:
    """True for one real number, NaN and infinity among them."""
    return _kind(value) in ("i", "u", "f")


def is_whole(value: Any) -> bool:
    """True for one integer."""
    return _kind(value) in ("i", "u")


def to_float(value: Any) -> float:
    """One number as a float; infinity where it is beyond what a float holds."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def channel_from_first(axis: Any, shape: tuple[int, ...]) -> int | None:
    """Axis of the channels, counted from the first of an image (*shape); None if it has none.

    Raises
    ------
    ValueError
        If there is no such axis.
    """
    if axis is None:
        return None
    if not is_whole(axis) or not -len(shape) <= axis < len(shape):
        raise ValueError(f"channel_axis={axis} is not an axis of an image of shape {shape}")
    return int(axis) % len(shape)


def check_leading(axes: Any, ndim: int) -> None:
    """Refuse a number of leading axes that an image of `ndim` axes cannot have."""
    if not is_whole(axes) or not 0 <= axes < max(1, ndim):
        raise ValueError(f"leading_axes={axes} must be a whole number from 0 to {max(0, ndim - 2)}")


def check_pace(interval: Any, snapshot_every: Any = 0) -> None:
    """Refuse a least time between two steps, or a number of iterations between two snapshots, that there cannot be."""
    if not is_number(interval) or not interval >= 0:  # false for NaN too
        raise ValueError(f"interval={interval!r} must be a number of seconds; 0 for each iteration")
    if not is_whole(snapshot_every) or snapshot_every < 0:
        raise ValueError(f"snapshot_every={snapshot_every!r} must be a whole number of iterations; 0 for none")


def _kind(value: Any) -> str:
    """Kind of numpy's type of one value; empty where it is none, or several."""
    if type(value) is int:
        return "i"  # also beyond 64 bits
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # lists of unlike length, tensors that numpy cannot hold
        return ""
    return array.dtype.kind if array.ndim == 0 else ""
