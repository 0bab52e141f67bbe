"""Noise of images that are mostly without light: of photon counters, and of exports with a background set to 0.

In a square of 3x3 pixels with s photons, the sum weighted by the outer product of (1, -2, 1) with itself has a square
that is the sum weighted by the squares of these on the average, whatever s: the photons fall by chance (a multinomial
distribution). Structure can only add to that, and little of it has such fine waves along both axes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls  # type: ignore[import-untyped]

Array = npt.NDArray[np.float64]
Known = npt.NDArray[np.bool_]

#: Of the pixels, how many are without a photon at the least in an image of a counter: where all is lit, the noise is
#: read in the usual way.
_DARK = 0.1
#: Of the pixels, how many are lit at the most where the noise is guessed in this way.
_LIT = 0.7
#: Pixels at a level, from which one between two such levels is not missing by chance.
_POPULATED = 6
#: Parts of a step by which the levels of a counter may be off, of a rounding to float32.
_ROUNDING = 0.01
#: Squares of one brightness that tell something; standard errors by which their noise is less for sure (they overlap).
_SQUARES, _SURE = 20, 7.0
#: Variance over that of photons: less than the first is no counter, and so is more than the second over most
#: brightnesses, for structure is not everywhere.
_LEAST, _MOST = 0.9, 1.7


def step_of(values: Array, known: Known) -> float:
    """Intensity of one photon in an image of a photon counter; 0 if it is of none, or that cannot be told.

    The levels are multiples of the lowest one, or such multiples rounded, as in an export to 8 bits; and the variance
    is that of photons at each brightness: not less, as in a picture without noise, and not more, as that of a camera.

    Parameters
    ----------
    values : float64 array (C, *S)
        The lowest known one is 0.
    known : bool array (C, *S)
    """
    levels, counts = np.unique(values[known], return_counts=True)
    if len(levels) < 3 or counts[0] < _DARK * counts.sum():
        return 0.0
    step = _step(levels, counts)
    if step == 0:
        return 0.0
    count, light, square = _by_brightness(values / step, known)
    if not len(count):
        return 0.0
    each = np.stack([count, count * light, count * square])
    for many, expected, found in (each, np.cumsum(each[:, ::-1], axis=1)):
        if np.any(found / expected + _SURE / np.sqrt(many) < _LEAST):
            return 0.0
    return step if np.median(np.repeat(square / light, count)) < _MOST else 0.0


def guess(values: Array, known: Known) -> tuple[float, float] | None:
    """Gain, and standard deviation without light, of an image that is much at its lowest level; None if none is seen.

    Parameters
    ----------
    values : float64 array (C, *S)
        The lowest known one is 0.
    known : bool array (C, *S)
    """
    lit = values[known & (values > 0)]
    if lit.size > _LIT * np.count_nonzero(known) or not lit.size:
        return None
    unit = max(float(lit.min()), float(lit.max()) / 256)
    count, light, square = _by_brightness(values / unit, known)
    if not len(count):
        return None
    weight = np.sqrt(count) / np.maximum(square, 0.05 * light)
    rows = np.stack([light, np.full(len(light), 36.0)], axis=1)  # 36: the sum of all squares of weights
    (gain, constant), _ = nnls(rows * weight[:, None], square * weight)
    return (float(gain * unit), float(constant) ** 0.5 * unit) if gain > 0 else None


def _step(levels: Array, counts: npt.NDArray[np.intp]) -> float:
    """Distance of levels from 0 upwards that lie evenly, rounded or not; 0 if they do not."""
    few = np.flatnonzero(counts[1:] < _POPULATED)
    last = max(int(few[0]) if few.size else len(levels) - 1, 1)  # levels that no chance leaves out
    order = np.arange(1, last + 1)
    rounding = float(np.diff(levels).min())
    least = float(np.max((levels[1 : last + 1] - rounding / 2) / order))
    most = float(np.min((levels[1 : last + 1] + rounding) / order))  # rounded, or cut off
    first = float(levels[1])
    multiples = levels / first
    if least <= first <= most and np.abs(multiples - np.rint(multiples)).max() < _ROUNDING:
        return first
    return (least + most) / 2 if least <= most and last >= 3 else 0.0


def _by_brightness(photons: Array, known: Known) -> tuple[npt.NDArray[np.intp], Array, Array]:
    """Of squares of 3x3 pixels with as many photons, but for a factor of 2: how many, and what was said of them above.

    Returns their number, the mean of the sums weighted by squares, and the mean of the squares of the weighted sums.
    """
    if min(photons.shape[-2:]) < 3:
        return np.zeros(0, np.intp), np.zeros(0), np.zeros(0)
    whole = _sums(known.astype(np.float64), 1, 1) > 8.5
    total = _sums(photons, 1, 1)[whole]
    light, square = _sums(photons, 1, 4)[whole], np.square(_sums(photons, 1, -2)[whole])
    octave = np.log2(np.maximum(total, 0.5) + 0.5).astype(int)  # 0 of up to one photon, which is where it is for sure
    count = np.bincount(octave)
    tells = np.flatnonzero(count >= _SQUARES)
    tells = tells[tells > 0]
    lights, squares = (np.bincount(octave, each)[tells] / count[tells] for each in (light, square))
    return count[tells], lights, squares


def _sums(values: Array, outer: float, inner: float) -> Array:
    """Sums of 3 by 3 pixels, weighted by (outer, inner, outer) along the last two axes."""
    for axis in (-2, -1):
        lines = np.moveaxis(values, axis, 0)
        values = np.moveaxis(outer * (lines[:-2] + lines[2:]) + inner * lines[1:-1], 0, axis)
    return values
