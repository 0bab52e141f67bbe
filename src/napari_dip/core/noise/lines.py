"""Lines through variances against intensities, which keep to what is known of a camera."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from napari_dip.core.noise import calm

#: Precision of the offset, relative to an image's range: a constant can then be added to it without rounding.
_STEP = 2.0**-20


def line_keeping(gain: float | None, offset: float | None, read_noise: float | None) -> calm.Line:
    """A line through variances against intensities that keeps to what is given."""
    if gain is not None:
        return partial(_constant, slope=gain)
    if offset is not None and read_noise is not None:
        return partial(_slope, offset=offset, constant=read_noise**2)
    if offset is not None:
        return partial(_above, offset=offset)
    return calm.straight_line


def _constant(intensity: calm.Array, variance: calm.Array, error: calm.Array, slope: float) -> tuple[float, float]:
    above = variance - slope * intensity
    return slope, _weighted_median(above, 1 / (error * variance))


def _slope(
    intensity: calm.Array, variance: calm.Array, error: calm.Array, offset: float, constant: float
) -> tuple[float, float]:
    photons = np.maximum(intensity - offset, np.finfo(float).eps * (1 + abs(offset)))
    slope = max(_weighted_median((variance - constant) / photons, photons / (error * variance)), 0.0)
    return slope, constant - slope * offset


def _above(intensity: calm.Array, variance: calm.Array, error: calm.Array, offset: float) -> tuple[float, float]:
    """A line that is not negative at the offset."""
    slope, constant = calm.straight_line(intensity, variance, error)
    return (slope, constant) if slope * offset + constant >= 0 else _slope(intensity, variance, error, offset, 0.0)


def _weighted_median(values: calm.Array, weight: calm.Array) -> float:
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def camera_of(
    slope: float,
    constant: float,
    seen: tuple[float, float],
    gain: float | None,
    offset: float | None,
    read_noise: float | None,
) -> tuple[float, float, float]:
    """Gain, offset and read noise of a line, keeping what is given; by the darkest and the brightest part seen."""
    gain = slope if gain is None else gain
    if offset is None:
        dark, bright = seen
        offset = ((read_noise or 0.0) ** 2 - constant) / gain if gain else dark
        if read_noise is None and offset < 2 * dark - bright:
            offset = dark
        offset = round(offset / _STEP) * _STEP
    if read_noise is None:
        read_noise = math.sqrt(max(constant + gain * offset, 0.0))
    return gain, offset, read_noise
