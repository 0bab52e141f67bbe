"""Arguments beside image and mask, checked: range, factor, multiple of detail, guide."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.telling import refuse_name
from napari_dip.plan.inputs import Array, Slices
from napari_dip.tables.numbers import is_number, is_whole, to_float

BLANK = "guide shows nothing: it has no two different finite values"


def read_range(intensity_range: Any) -> tuple[float, float]:
    """Check the two intensities that become 0 and 1; a `ValueError` says what is wrong with them."""
    ends = tuple(intensity_range) if np.iterable(intensity_range) else ()
    low, high = map(to_float, ends) if len(ends) == 2 and all(map(is_number, ends)) else (math.nan, math.nan)
    if not (math.isfinite(high - low) and low < high):
        raise ValueError(
            f"intensity_range={intensity_range} must be two finite numbers, the smaller one first, with a difference "
            "that float64 holds"
        )
    return low, high


def read_factor(factor: Any, ndim: int) -> tuple[int, ...]:
    """Factor of a super-resolution, one whole number per spatial axis.

    Raises
    ------
    TypeError, ValueError
        If it is no whole number, below one, one on all axes, or of the wrong length.
    """
    each = tuple(factor) if isinstance(factor, (tuple, list)) or np.ndim(factor) else (factor,) * ndim
    if len(each) != ndim:
        raise ValueError(f"factor={factor} must be one whole number, or one for each of the {ndim} spatial axes")
    for f in each:
        if not is_whole(f):
            raise TypeError(f"factor={factor!r} must be a whole number, such as 4")
        if f < 1:
            raise ValueError(f"factor={factor} must be at least 1 along each axis")
    if max(each) == 1:
        raise ValueError(f"factor={factor} enlarges nothing; use at least 2 along one axis, or denoise")
    return tuple(int(f) for f in each)


def read_boost(boost: Any) -> float:
    """Check a multiple of detail; a `ValueError` says what is wrong with it."""
    if not (is_number(boost) and -1 <= boost <= 100):  # false for NaN too
        raise ValueError(f"boost={boost!r} must be a number from -1 to 100, such as 2")
    return float(boost)


def read_guide(guide: Any, slices: Slices, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """A guide image as a code (G, *shape) from 0 to 1.

    Raises
    ------
    ValueError
        If it has another spatial shape than the restored image.
    """
    refuse_name("guide", guide)
    array = np.asarray(guide, dtype=np.float64)
    if array.shape == shape:
        array = array[None]
    elif array.ndim == len(shape) + 1:
        axis = -1 if slices.channel_axis is None else slices.channel_axis - len(slices.leading)
        array = np.moveaxis(array, axis, 0)
    if array.shape[1:] != shape:
        raise ValueError(f"guide has shape {np.shape(guide)}, but the restored image is {shape}; resample it to that")
    finite = array[np.isfinite(array)]
    if finite.size == 0:
        raise ValueError(BLANK)
    return as_code(array, finite.min(), finite.max(), finite.mean())


def as_code(guide: Array, low: float, high: float, mean: float) -> npt.NDArray[np.float32]:
    """A guide, or a part of it, from 0 to 1, by its smallest and largest value; the mean stands for what is not finite.

    Raises
    ------
    ValueError
        If all of it has one value.
    """
    if low == high:
        raise ValueError(BLANK)
    array = np.asarray(guide, np.float64)
    array = np.where(np.isfinite(array), array, mean)
    return np.asarray((array - low) / (high - low), dtype=np.float32)
