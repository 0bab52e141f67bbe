"""Holes in an image: what their surroundings determine, and what is invented."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage  # type: ignore[import-untyped]

from napari_dip.core.noise.model import Noise

Array = npt.NDArray[np.float64]

_NEAR = 16  # pixels around a hole that count as its surroundings, at the least
_SHORTEST = 2.0  # pixels: no shorter length can be told from noise, and the next neighbour always says something
_SURE = 3.0  # standard deviations by which structure must be above what chance makes of noise


def hole_ratio(missing: npt.ArrayLike, image: npt.ArrayLike, noise: Noise | None = None) -> Array:
    """Distance of each missing pixel from the nearest known one, over the correlation length of what surrounds it.

    Below 1 the surroundings determine most of what is missing; well above 1 nothing of it. Where no structure rises
    above the noise, around the hole or anywhere, 16 pixels are taken: nobody knows what a larger hole hides.

    Parameters
    ----------
    missing : array-like of bool, (Y, X) or (Z, Y, X)
        True where there is a hole.
    image : array-like of the same shape
        Values of missing pixels, and those that are not finite, do not matter.
    noise : Noise, optional
        Of the image; without it the noise is taken for white.

    Returns
    -------
    float64 array of the same shape
        0 where the image is known. Pixels count as cubes.

    Raises
    ------
    ValueError
        If the shapes differ or nothing is known.
    """
    values, hidden = np.asarray(image, np.float64), np.asarray(missing, bool)
    if values.shape != hidden.shape or values.ndim not in (2, 3):
        raise ValueError(f"missing has shape {hidden.shape} and image {values.shape}: same shapes, of 2 or 3 axes")
    known = ~hidden & np.isfinite(values)
    if not known.any():
        raise ValueError("missing hides every pixel, so that nothing surrounds the hole")
    distance = np.where(hidden, ndimage.distance_transform_edt(~known), 0.0)
    deepest = distance.max()
    if deepest == 0:
        return distance
    # the surroundings of the deep holes: single pixels elsewhere say nothing of them
    deep = distance > deepest / 2
    around = known & (ndimage.distance_transform_edt(~deep) <= max(3 * deepest, _NEAR))
    low = values[known].min()
    filled = np.where(known, values - low, 0)
    noise = None if noise is None else replace(noise, offset=noise.offset - float(low))
    length = correlation_length(filled, around, noise)
    if not np.isfinite(length):  # the surroundings are even; the rest of the image may tell
        length = correlation_length(filled, known, noise)
    return np.asarray(distance / (length if np.isfinite(length) else _NEAR))


def hole_warning(missing: npt.ArrayLike, image: npt.ArrayLike, noise: Noise | None = None) -> str:
    """A sentence if a hole is larger than what its surroundings determine, else an empty one.

    Parameters and errors are those of `hole_ratio`; it warns from a ratio of 1.
    """
    ratio = hole_ratio(missing, image, noise)
    if ratio.max() < 1:
        return ""
    place = tuple(int(i) for i in np.unravel_index(int(ratio.argmax()), ratio.shape))
    share = np.count_nonzero(ratio >= 1) / np.count_nonzero(ratio)
    return (
        f"The hole around {place} reaches {ratio.max():.1f} times as far from what is known as its structure does: "
        f"{share:.0%} of the missing pixels are invented rather than determined"
    )


def spread_around(missing: npt.ArrayLike, image: npt.ArrayLike, where: npt.ArrayLike) -> Array:
    """Standard deviation of the known pixels around missing ones: the uncertainty of what nothing determines.

    Parameters
    ----------
    missing : array-like of bool, (Y, X) or (Z, Y, X)
        True where there is a hole; not everywhere.
    image : array-like of the same shape
        In counts. Values of missing pixels do not matter.
    where : array-like of bool, of the same shape
        The pixels that are asked for, such as those with a `hole_ratio` of 1 or more.

    Returns
    -------
    float64 array of the same shape
        In counts; 0 where it is not asked for. Of the known pixels in a window that reaches twice as far as the
        deepest of the pixels asked for, and 16 pixels at the least.
    """
    hidden, asked = np.asarray(missing, bool) | ~np.isfinite(np.asarray(image)), np.asarray(where, bool)
    if not asked.any():
        return np.zeros(hidden.shape)
    width = 2 * int(max(2 * ndimage.distance_transform_edt(hidden)[asked].max(), _NEAR)) + 1

    def total(of: Array) -> Array:
        return np.asarray(ndimage.uniform_filter(of, width, mode="constant"))

    values = np.asarray(image, np.float64)
    values = np.where(hidden, 0, values - values[~hidden].min())
    centred = np.where(hidden, 0, values - values[~hidden].mean())
    share = np.maximum(total(~hidden * 1.0), np.finfo(np.float64).tiny)
    variance = total(centred**2) / share - (total(centred) / share) ** 2
    return np.where(asked, np.sqrt(np.maximum(variance, 0)), 0.0)


def correlation_length(image: Array, known: npt.NDArray[np.bool_], noise: Noise | None = None) -> float:
    """Distance at which the structure of an image has lost half of its correlation, in pixels; at least 2.

    Noise is subtracted from the autocovariance. Correlated noise is subtracted at all lags. White noise is at lag 0
    alone, which is extrapolated from lags 1 and 2, so that a wrong noise level does no harm. Infinite if no structure
    rises above what chance makes of the noise.
    """
    shape, axes = [2 * n for n in image.shape], range(image.ndim)  # room for the lags not to wrap round

    def lags(a: Array) -> Array:
        return np.asarray(np.fft.irfftn(np.abs(np.fft.rfftn(a, shape, axes)) ** 2, shape, axes))

    weight = known.astype(np.float64)
    centred = np.where(known, image - image[known].mean(), 0)
    pairs = lags(weight)
    covariance = np.divide(lags(centred), pairs, out=np.zeros(pairs.shape), where=pairs > 0.5)
    chance = _SURE * covariance.flat[0] / np.sqrt(np.count_nonzero(known))
    shared = noise is not None and noise.autocorrelation.size > 1
    if noise is not None and shared:
        level = noise.variance(image[known]).mean()
        middle = [n // 2 for n in noise.autocorrelation.shape]
        for lag, part in np.ndenumerate(noise.autocorrelation):
            covariance[tuple(i - m for i, m in zip(lag, middle, strict=True))] -= level * part
        chance *= np.sqrt(np.sum(noise.autocorrelation**2))  # fewer of its pixels are independent
    radius = np.sqrt(sum(np.ix_(*((np.fft.fftfreq(n) * n) ** 2 for n in shape)), np.zeros(())))
    rings = np.rint(radius).astype(int).ravel()
    top = max(min(n for n in image.shape if n > 1) // 2, 2)
    sums = [np.bincount(rings, (part * pairs).ravel())[: top + 1] for part in (covariance, np.ones(pairs.shape))]
    curve = np.divide(sums[0], sums[1], out=np.zeros(top + 1), where=sums[1] > 0.5)
    if not shared:
        curve[0] = min(curve[0], max(2 * curve[1] - curve[2], curve[1]))
    if curve[0] <= chance:
        return float("inf")
    half = np.flatnonzero(curve < curve[0] / 2)
    if half.size == 0:
        return float(top)
    after = int(half[0])
    part = (curve[after - 1] - curve[0] / 2) / (curve[after - 1] - curve[after])
    return max(float(after - 1 + part), _SHORTEST)
