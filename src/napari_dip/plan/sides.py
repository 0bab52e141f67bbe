"""A mask as an image file has it: two values, or two colours, one of which marks what is missing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_SAMPLE = 100_000  # values of an image that tell that it is no mask


def sample(values: Array, colours: bool) -> Array:
    """Some of the pixels of an image, evenly spaced; its last axis may be one of colours."""
    axes = values.ndim - colours
    return values[(slice(None, None, math.ceil((values.size / _SAMPLE) ** (1 / axes))),) * axes]


def has_two_sides(values: Array, colours: bool) -> bool:
    """True if an image has two values: a sample refutes most in no time, what it does not is looked at as a whole."""
    for part in (sample(values, colours), values):
        seen = brightness(part) if colours else part
        low, high = seen.min(), seen.max()
        if not all(((plane == low) | (plane == high)).all() for plane in seen):
            return False
    return bool(low < high)


def bright_side(values: Array, colours: bool) -> npt.NDArray[np.bool_]:
    """True for the bright pixels of an image that has two sides, in its shape without colours."""
    seen = brightness(values) if colours else values
    return np.asarray(seen > seen.min() / 2 + seen.max() / 2)


def brightness(colours: Array) -> npt.NDArray[np.float64]:
    """Brightness of colours (..., 3 or 4) as the eye has it (ITU-R BT.601), in thousandths."""
    red, green, blue = np.moveaxis(colours[..., :3].astype(np.float64), -1, 0)
    return np.asarray(299 * red + 587 * green + 114 * blue)
