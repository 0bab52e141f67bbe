"""Errors of a restored image against the truth: PSNR, a fit by least squares, and calibration of an uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass
class Levels:
    """Sums over the pixels of a slice that are compared, part by part: what a fit by least squares needs."""

    count: int = 0
    mean: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))  # of the restored image and the truth
    power: float = 0.0  # of the restored image, about its mean
    shared: float = 0.0  # with the truth
    low: float = np.inf  # of the truth
    high: float = -np.inf

    def add(self, restored: Array, truth: Array) -> None:
        """Add the pixels of a part."""
        if not truth.size:
            return
        count, mean = self.count + truth.size, np.array([restored.mean(), truth.mean()])
        step, weight = mean - self.mean, self.count * truth.size / count
        centred = restored - mean[0]
        self.power += float(centred @ centred) + float(step[0] ** 2) * weight
        self.shared += float(centred @ (truth - mean[1])) + float(step[0] * step[1]) * weight
        self.mean = mean if not self.count else self.mean + step * truth.size / count
        self.low, self.high, self.count = min(self.low, float(truth.min())), max(self.high, float(truth.max())), count

    @property
    def fit(self) -> tuple[float, float]:
        """Gain and offset by least squares; a constant image becomes the mean of the truth."""
        gain = self.shared / self.power if self.power > 0 else 0.0
        return gain, float(self.mean[1] - gain * self.mean[0])


def peak_of(truth: npt.NDArray[Any]) -> float:
    """Peak that a truth has by default: 255 of 8-bit integers, else the difference of its finite extremes; 0 if none.

    For figures of parts of it, which are to have the peak of the whole.
    """
    known = truth[np.isfinite(truth)]
    return peak(truth.dtype, float(known.min()), float(known.max())) if known.size else 0.0


def peak(kind: np.dtype[Any], low: float, high: float) -> float:
    """Data range by default, of a truth of this type between two values."""
    return 255.0 if kind == np.uint8 else high - low


def decibels(error: float, data_range: float) -> float:
    """PSNR of a mean square error; infinite without any."""
    return float(10 * np.log10(data_range**2 / error)) if error else float("inf")


def psnr(
    restored: npt.NDArray[Any], truth: npt.NDArray[Any], *, affine: bool = False, data_range: float | None = None
) -> float:
    """PSNR alone of one slice, as `compare` has it, in a few milliseconds; pixels that are not finite are left out.

    Parameters
    ----------
    restored, truth : arrays of one shape
    affine, data_range
        As for `compare`.

    Returns
    -------
    float
        In dB; infinite if the two are equal, NaN if no pixel can be compared or the truth has one value only.
    """
    compared = np.isfinite(restored) & np.isfinite(truth)
    if not compared.any():
        return float("nan")
    result, target = restored[compared].astype(np.float64), truth[compared].astype(np.float64)
    levels = Levels()
    levels.add(result, target)
    if data_range is None:
        data_range = peak(truth.dtype, levels.low, levels.high)
    if data_range == 0:
        return float("nan")
    gain, offset = levels.fit if affine else (1.0, 0.0)
    return decibels(float(np.mean(np.square(gain * result + offset - target))), data_range)


def calibration(uncertainty: npt.ArrayLike, restored: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Fraction of the true values that lie within two uncertainties of the restored ones.

    About 0.95 if the uncertainty is the standard deviation of a normal error; less if it is too small.

    Parameters
    ----------
    uncertainty, restored, truth : array-like of one shape
        In the same units; pixels where one of them is not finite are left out.

    Raises
    ------
    ValueError
        If the shapes differ, an uncertainty is negative or no pixel is finite.
    """
    spread, image, target = (np.asarray(a, np.float64) for a in (uncertainty, restored, truth))
    if not spread.shape == image.shape == target.shape:
        raise ValueError(f"uncertainty {spread.shape}, restored {image.shape}, truth {target.shape}: shapes must agree")
    fair = np.isfinite(spread) & np.isfinite(image) & np.isfinite(target)
    if not fair.any():
        raise ValueError("uncertainty, restored and truth have no pixel in common where all three are finite")
    if (spread[fair] < 0).any():
        raise ValueError("uncertainty has negative values; it must be a standard deviation")
    return float(np.mean(np.abs(image - target)[fair] <= 2 * spread[fair]))
