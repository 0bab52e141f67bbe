"""The one affine scaling between intensities as measured and as the generator sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


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


def to_dtype(values: npt.NDArray[np.float64], dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
    """Cast intensities, clipped to the range of the type; to an integer type rounded, NaN as 0."""
    if np.issubdtype(dtype, np.floating):
        widest = np.finfo(dtype.name)
        return np.clip(values, float(widest.min), float(widest.max)).astype(dtype)
    limits = np.iinfo(dtype.name)
    # 64-bit limits round up as float64: stay one step inside so that the cast cannot wrap round
    top = np.nextafter(float(limits.max), 0) if float(limits.max) > limits.max else float(limits.max)
    return np.clip(np.rint(np.nan_to_num(values, nan=0.0)), float(limits.min), top).astype(dtype)
