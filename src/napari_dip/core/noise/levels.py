"""Noise level by differences of neighbours, where there is no room for patches."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
#: Differences of a higher order, of which so many tell the level.
_BENDS = 500


def level_of(values: npt.NDArray[np.generic], known: npt.NDArray[np.bool_]) -> float:
    """Noise level by differences of neighbours in channels (C, *S), which fine texture adds to."""
    return _level(differences(values, known, 1), 1)


def _level(differences: Array, order: int) -> float:
    """Noise level by differences of an order, of independent noise."""
    # the quartile of the absolute value of a Gaussian of unit variance is 0.3186
    quartile = float(np.quantile(differences, 0.25)) / 0.3186 if differences.size else 0.0
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


def least_level(values: npt.NDArray[np.generic], known: npt.NDArray[np.bool_]) -> float:
    """Noise level by the differences that structure adds least to: of slopes and bends, if enough are known."""
    higher = [(order, differences(values, known, order)) for order in (2, 3)]
    levels = [_level(found, order) for order, found in higher if found.size >= _BENDS]
    return min([level_of(values, known), *levels])
