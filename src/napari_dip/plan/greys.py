"""Greys in a mask, which JPEG, resampling and antialiased painting leave at the rims of what is marked."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_GREYS = 16  # shades that a mask with greys reaches at least; labels may begin at 1
_HIGH, _FULL = 0.5, 0.25  # share of the pixels that are not 0 near the largest; where that is the largest of the type


def read_greys(values: Array, *, lossy: bool = False) -> tuple[float, str]:
    """Level above which pixels of a mask with greys count as missing, and a sentence about it.

    Labels (many values of about the same frequency, or small whole numbers) are no greys: all of them count as missing.

    Parameters
    ----------
    values : array
        Mask, not zero where a pixel is missing.
    lossy : bool
        The mask comes from a JPEG, whose values are never exact.

    Returns
    -------
    level : float
    sentence : str
        Follows the name of the mask; empty if it has no greys, and the level does not matter.
    """
    marked = values[values != 0] if values.dtype != bool else np.empty(0)
    marked = marked[np.isfinite(marked)]
    if not marked.size or marked.min() < 0:
        return 0.0, ""
    top = float(marked.max())
    kinds = np.unique(marked).size
    whole = values.dtype.kind in "iu" or not np.any(marked % 1)
    full = values.dtype.kind in "iu" and top in (255, np.iinfo(values.dtype).max)
    if whole and not lossy:
        least = _FULL if full else _HIGH
        if kinds < 3 - full or top < _GREYS or np.mean(marked > 0.9 * top) < least or _plateau(values, top):
            return 0.0, ""
    if kinds < 2 or (whole and top < _GREYS):
        return 0.0, ""
    level = float(top // 2 if whole else top / 2)
    above = int(np.count_nonzero(marked > level))
    return level, f"has greys: {above} pixels above {level:g} count as missing, of {marked.size} that are not 0"


def _plateau(values: Array, top: float) -> bool:
    """True if a grey covers a pixel and the pixels around it, as labels do and rims do not."""
    if min(values.shape[-2:], default=0) < 3:
        return False
    middle = values[..., 1:-1, 1:-1]
    around = (values[..., :-2, 1:-1], values[..., 2:, 1:-1], values[..., 1:-1, :-2], values[..., 1:-1, 2:])
    flat = (middle > 0.05 * top) & (middle <= 0.9 * top)
    for each in around:
        flat &= each == middle
    return bool(flat.any())
