"""Photon noise of images that are mostly dark: from photon counters, and exports with the background set to 0.

Squares x of 3x3 pixels are weighted by w, the outer product of (1, -2, 1) with itself. For photons that fall at random
within a square (a multinomial distribution), the mean of (sum of w x)^2 is that of the sum of w^2 x, however many there
are. Structure can only add to that, and little of it has such fine waves along both axes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Known = npt.NDArray[np.bool_]

#: Least fraction of pixels without a photon in an image from a counter; brighter images get the general estimate.
_DARK = 0.1
#: Largest fraction of lit pixels at which the noise is guessed in this way.
_LIT = 0.7
#: Pixels at each of two levels from which an empty level between them is no chance.
_POPULATED = 6
#: Largest error of the levels of a counter, in steps: rounding to float32.
_ROUNDING = 0.01
#: Least number of squares of one brightness; standard errors below which their noise is surely less (they overlap).
_SQUARES, _SURE = 20, 7.0
#: Variance over that of photons. Below the first it is no counter; above the second at most brightnesses neither, as
#: structure is not everywhere.
_LEAST, _MOST = 0.9, 1.7


def step_of(values: Array, known: Known) -> float:
    """Intensity of one photon in an image from a photon counter; 0 for any other image, or if that cannot be told.

    The levels of a counter are multiples of the lowest one, rounded perhaps, as in an export to 8 bits. The variance at
    each brightness is that of photons: not less, as in a picture without noise, and not more, as with a camera.

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
    """Gain and read noise of an image that is largely at its lowest level; None if no photon noise is seen.

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
    from scipy.optimize import nnls  # type: ignore[import-untyped]  # 0.1 s to import, for counters alone

    count, light, square = _by_brightness(values / unit, known)
    if not len(count):
        return None
    weight = np.sqrt(count) / np.maximum(square, 0.05 * light)
    rows = np.stack([light, np.full(len(light), 36.0)], axis=1)  # 36: the sum of w^2
    (gain, constant), _ = nnls(rows * weight[:, None], square * weight)
    return (float(gain * unit), float(constant) ** 0.5 * unit) if gain > 0 else None


def _step(levels: Array, counts: npt.NDArray[np.intp]) -> float:
    """Step between levels that are evenly spaced from 0 upwards, rounded or not; 0 if they are not."""
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
    """Statistics of squares of 3x3 pixels in octaves of brightness, as the module's docstring defines them.

    Returns the number of squares in each octave, the mean of (sum of w^2 x), and the mean of (sum of w x)^2.
    """
    if min(photons.shape[-2:]) < 3:
        return np.zeros(0, np.intp), np.zeros(0), np.zeros(0)
    whole = _sums(known.astype(np.float64), 1, 1) > 8.5
    total = _sums(photons, 1, 1)[whole]
    light, square = _sums(photons, 1, 4)[whole], np.square(_sums(photons, 1, -2)[whole])
    octave = np.log2(np.maximum(total, 0.5) + 0.5).astype(int)  # 0: up to one photon, where both are equal
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
