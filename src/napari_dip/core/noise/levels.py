"""Noise level by differences of neighbours, where there is no room for patches."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

from napari_dip.core.noise.model import Noise, along

Array = npt.NDArray[np.float64]
_QUARTILE, _MEDIAN = 0.3186, 0.6745  # of the absolute value of a Gaussian of unit variance
#: Differences of a higher order, of which so many tell the level.
_BENDS = 500
#: Pixels of an image, about, from which `detail_over` is read.
_ENOUGH = 2**18
#: Of an image, at the most, that `power_of_detail` is read from.
_MOST = 2**20
_SHARED = (4 / 3) ** 0.5  # standard error of a mean of squares that share their sides, over that of independent ones
#: Variance of third differences, relative to that of noise, below which correlation hides what they say of its level.
_HIDDEN = 1.0
#: Root mean square of the finest detail over what its calmer half says, up to which it is alike everywhere. In 32x32
#: pixels: 0.9 to 1.13 in white noise alone, up to 1.33 in 90 % of crops with noise of 10 of 255 or of 20 to 50 photons,
#: 1.36 and more in 14 of 15 crops without noise, 1.07 in the other, wide-field one.
_ALIKE = 1.25


def level_of(values: npt.NDArray[np.generic], known: npt.NDArray[np.bool_]) -> float:
    """Noise level by differences of neighbours in channels (C, *S), which fine texture adds to."""
    return _level(differences(values, known, 1), 1)


def _level(differences: Array, order: int) -> float:
    """Noise level by differences of an order, of independent noise."""
    quartile = float(np.quantile(differences, 0.25)) / _QUARTILE if differences.size else 0.0
    return quartile / math.sqrt(math.comb(2 * order, order))


def differences(values: npt.NDArray[np.generic], known: npt.NDArray[np.bool_], order: int) -> Array:
    """Absolute differences of an order between known neighbours along all axes of channels (C, *S)."""
    return np.concatenate([np.empty(0), *steps_along(values, known, order)])


def steps_along(values: npt.NDArray[np.generic], known: npt.NDArray[np.bool_], order: int) -> list[Array]:
    """The same for each axis."""
    steps, values = [], np.where(known, values, 0).astype(np.float64)  # what is not known may be infinite
    for axis in range(1, values.ndim):
        there = known
        for _ in range(order):
            n = there.shape[axis]
            there = np.take(there, range(1, n), axis) & np.take(there, range(n - 1), axis)
        steps.append(np.abs(np.diff(values, order, axis=axis))[there])
    return steps


def level_of_detail(values: npt.NDArray[np.generic], known: npt.NDArray[np.bool_]) -> float:
    """Noise level by the finest detail of channels (C, *S) along y and x, where it is alike everywhere; 0 elsewhere.

    Noise is in all places, and structure in some. What is left of that makes the level too high, up to twice.
    """
    detail = np.where(known, values, np.nan).astype(np.float64)
    for axis in (-2, -1):
        detail = np.diff(detail, 3, axis=axis) / math.sqrt(math.comb(6, 3))
    detail = np.abs(detail[np.isfinite(detail)])
    if detail.size < _BENDS:
        return 0.0
    level = float(np.sqrt(np.mean(np.square(detail))))
    return level if level <= _ALIKE * float(np.quantile(detail, 0.25)) / _QUARTILE else 0.0


def power_of_finest(noise: Noise, values: Array, known: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Power of the finest detail of channels (C, Y, X) along both axes, over the variance of the noise.

    Of all places, and of the brighter half of them, where fine structure is taken for photons; of either by its calmer
    places. NaN where too few are known, and in volumes.
    """
    if values.ndim != 3 or min(values.shape[1:]) < 4:
        return math.nan, math.nan
    rows = np.where(known, values, np.nan)
    rows = np.lib.stride_tricks.sliding_window_view(rows, 4, axis=1)[:, :: math.ceil(values.size / _MOST)]
    detail = np.diff(rows @ (1.0, -3.0, 3.0, -1.0), 3) / math.comb(6, 3)
    level = np.lib.stride_tricks.sliding_window_view(rows.mean(axis=-1), 4, axis=2).mean(axis=-1)
    some = np.isfinite(detail) & (detail != 0)  # of pixels that are set to one value nothing is read
    if some.sum() < 2 * _BENDS:
        return math.nan, math.nan
    detail, level = detail[some], level[some]
    power = np.square(detail) / noise.variance(level).clip(np.finfo(float).tiny)
    places = power, power[level >= np.median(level)]
    everywhere, bright = (float(np.quantile(each, 0.25)) / _QUARTILE**2 for each in places)
    return everywhere, bright


def power_of_detail(values: Array, known: npt.NDArray[np.bool_]) -> float:
    """Power of structure that means of 2x2 pixels lose of channels (C, Y, X), at the most: with one standard error.

    White noise is in no product of different pixels. Those of pixels of a square that share a side are larger than
    those across it where structure is fine along an axis; the two across it differ where it is fine along a diagonal.
    Infinite where no square is known, and in volumes.
    """
    if values.ndim != 3:
        return math.inf
    step = math.ceil(values.size / _MOST)
    sides = (slice(None, -1, step), slice(1, None, step)), (slice(None, -1), slice(1, None))
    corners = [(slice(None), *corner) for corner in itertools.product(*sides)]
    whole = np.logical_and.reduce([known[corner] for corner in corners])
    if not whole.any():
        return math.inf
    one, beside, below, across = (values[corner][whole] for corner in corners)
    level = one.mean()
    one, beside, below, across = (each - level for each in (one, beside, below, across))
    fine = (one + across) * (beside + below) / 4 - (one * across + beside * below) / 2
    slanted = (one * across - beside * below) / 2
    powers, errors = (np.array([each(fine), each(slanted)]) for each in (np.mean, np.std))
    errors *= np.array([_SHARED, 1.0]) / math.sqrt(one.size)
    surely = np.abs(powers) - 2 * errors  # a checkerboard has less than none
    return float(max(powers[0], *surely, 0.0) + errors[0])


def least_level(values: npt.NDArray[np.generic], known: npt.NDArray[np.bool_]) -> float:
    """Noise level by the differences that structure adds least to: of slopes and bends, if enough are known."""
    higher = [(order, differences(values, known, order)) for order in (2, 3)]
    levels = [_level(found, order) for order, found in higher if found.size >= _BENDS]
    return min([level_of(values, known), *levels])


def detail_over(noise: Noise, values: Array, known: npt.NDArray[np.bool_]) -> float:
    """Finest detail of channels (C, *S), over that of such noise alone; 1 where too little of it can be seen.

    Noise is in all places and at all frequencies, so 0.83 and more were found wherever it was known; slopes and hills
    have 0.2 and less. Of pixels that are set to one value nothing is read.
    """
    ratios = []
    for axis in range(1, values.ndim):
        beside, further = (along(noise.autocorrelation, axis - 1, apart) for apart in (1, 2))
        expected = 20 - 30 * beside + 12 * further
        if values.shape[axis] < 4 or expected < _HIDDEN:
            continue
        step = max(1, math.ceil((values.size / _ENOUGH) ** (1 / max(values.ndim - 2, 1))))
        some = tuple(slice(None, None, None if a in (0, axis) else step) for a in range(values.ndim))
        fours, there = (np.lib.stride_tricks.sliding_window_view(each[some], 4, axis) for each in (values, known))
        fours = fours[there.all(axis=-1)]
        fours = fours[np.ptp(fours, axis=1) > 0]
        bends = np.abs(fours @ (1.0, -3.0, 3.0, -1.0))
        variance = noise.variance(fours.mean(axis=1)).clip(np.finfo(float).tiny)  # photons alone have none when dark
        ratios.append(bends / np.sqrt(expected * variance))
    found = np.concatenate([np.empty(0), *ratios])
    return float(np.median(found)) / _MEDIAN if found.size >= _BENDS else 1.0
