"""The one affine scaling between intensities as measured and as the generator sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: Limits of differences whose fourth powers float64 holds, and the smallest number to divide by.
_SMALLEST, _LARGEST, _TINY = 1e-70, 1e70, 1e-300


@dataclass(frozen=True)
class Scaling:
    """Maps `low` to 0 and `high` to 1, and exactly back.

    Parameters
    ----------
    low, high : float
        In the units of the measurement; `high` is above `low`.
    """

    low: float
    high: float

    def apply(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Intensities in the units of the generator, float32."""
        return ((values.astype(np.float64) - self.low) / (self.high - self.low)).astype(np.float32)

    def undo(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Intensities in the units of the measurement, float64."""
        return values.astype(np.float64) * (self.high - self.low) + self.low


def above(values: npt.NDArray[np.generic], low: np.generic) -> npt.NDArray[np.float64]:
    """Differences between real numbers and a lower bound of their type, float64.

    Exact where float64 holds the difference, even of integers that it does not hold themselves.
    """
    if values.dtype.kind in "iu":
        wide = np.dtype(f"{values.dtype.kind}8")
        return np.asarray(values.astype(wide).view(np.uint64) - low.astype(wide).view(np.uint64), np.float64)
    precise = np.result_type(values.dtype.newbyteorder("="), np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values.astype(precise) - low.astype(precise), np.float64)


def mean_of(values: npt.NDArray[np.generic]) -> float:
    """Mean of real numbers of any type and size, as float64; a constant added to them costs no accuracy."""
    low = values.min()
    over = above(values, low)
    span = float(over.max()) or 1.0
    return float(low) + span * float((over / span).mean())


def check_range(low: float, high: float) -> None:
    """Raise a `ValueError` unless float64 holds the powers of the difference between the limits of an image."""
    if low < high and not _SMALLEST < high - low < _LARGEST:
        raise ValueError(
            f"image has values from {low:.3g} to {high:.3g}, and float64 cannot hold the powers of such differences: "
            f"divide it by a constant, such as image / {max(abs(low), abs(high), _TINY):.1e}"
        )


def float_for(low: float, high: float, sigma: float = 0.0) -> np.dtype[np.floating[Any]]:
    """The smaller of float32 and float64 that holds intensities between two limits.

    Its steps there are at most a hundredth of the standard deviation `sigma` of the noise, or, where that is not known,
    a ten thousandth of the range. One value alone is held exactly.
    """
    with np.errstate(all="ignore"):
        top = np.float32(max(abs(low), abs(high)))
        if low == high:
            held = float(top) == max(abs(low), abs(high))
        else:
            held = np.spacing(top) <= (sigma / 100 or (high - low) / 1e4)  # not so beyond what float32 holds: it is NaN
    return np.dtype(np.float32 if held else np.float64)


def to_dtype(values: npt.NDArray[np.float64], dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
    """Cast intensities, clipped to the range of the type; to an integer type rounded, NaN as 0."""
    if np.issubdtype(dtype, np.floating):
        widest = np.finfo(dtype.name)
        return np.clip(values, float(widest.min), float(widest.max)).astype(dtype)
    limits = np.iinfo(dtype.name)
    # 64-bit limits round up as float64: stay one step inside so that the cast cannot wrap round
    top = np.nextafter(float(limits.max), 0) if float(limits.max) > limits.max else float(limits.max)
    return np.clip(np.rint(np.nan_to_num(values, nan=0.0)), float(limits.min), top).astype(dtype)


def piled(
    values: npt.NDArray[np.generic], known: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Known pixels at the lower and at the upper limit of the range.

    That of the type, or an end of the data where more pixels pile up than at any value beside it.
    """
    levels, counts = np.unique(values[known], return_counts=True)
    limits = (np.iinfo(values.dtype.name).min, np.iinfo(values.dtype.name).max) if values.dtype.kind in "iu" else ()
    beside = (counts[1:4].max(), counts[-4:-1].max()) if len(levels) > 2 else (np.inf, np.inf)
    most = [max(3 * count, 1e-3 * counts.sum()) for count in beside]
    low = known & (values == levels[0]) & (levels[0] in limits or counts[0] > most[0])
    high = known & (values == levels[-1]) & (levels[-1] in limits or counts[-1] > most[1])
    return low, high
