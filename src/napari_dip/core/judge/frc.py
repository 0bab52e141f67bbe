"""Resolution of an image by Fourier ring correlation, in volumes by Fourier shell correlation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.intensity import check_range
from napari_dip.core.noise.model import INDEPENDENT

Array = npt.NDArray[np.float64]

_WINDOWED = 0.514  # share of the pixels along an axis that a Hann window leaves independent: (sum w^2)^2 / (n sum w^4)
_SURE = 3  # standard deviations by which the correlation must be above that of nothing

RESTORED = (
    "It cannot tell structure from invention: what a restoration, a blur or a fixed pattern put into both halves alike "
    "counts as detail. After a restoration the halves are not independent, so a finer figure is no proof."
)


@dataclass(frozen=True, kw_only=True)
class FourierCorrelation:
    """Correlation of two halves of a measurement by spatial frequency.

    Attributes
    ----------
    frequency : float array, (R,)
        Middle of each ring or shell, periods per unit of the pixel size, from the first above zero.
    correlation : float array, (R,)
        -1 to 1.
    threshold : float array, (R,)
        Below it the two halves count as different.
    counts : float array, (R,)
        Independent complex values in each ring: half of its pixels, less what the window takes. The correlation of
        nothing spreads by 1 / sqrt(2 counts).
    resolution : float
        The period at which the correlation falls below the threshold for the first time, in units of the pixel
        size; infinite if the halves share no structure.
    limit : float
        The finest period that could have been found.
    in_pixels : bool
        True if the unit is a pixel: no other pixel size was given.
    caveat : str
        Sentences on the limits of the figure.
    """

    frequency: Array
    correlation: Array
    threshold: Array
    counts: Array
    resolution: float
    limit: float
    in_pixels: bool
    caveat: str

    def __str__(self) -> str:
        return f"{self.detail('pixels' if self.in_pixels else 'in the unit of pixel_size')}. {self.caveat}"

    def detail(self, unit: str) -> str:
        """The finest detail in words, with its unit."""
        if np.isinf(self.resolution):
            return "no detail above the noise"
        if self.resolution <= self.limit:
            return f"detail down to {self.limit:.3g} {unit}, the limit of what can be told"
        return f"detail down to {self.resolution:.3g} {unit}"


def fourier_correlation(
    image: npt.ArrayLike,
    other: npt.ArrayLike | None = None,
    *,
    pixel_size: float | tuple[float, ...] = 1.0,
    threshold: str = "1/7",
    noise_correlation: float = 0.0,
) -> FourierCorrelation:
    """Correlate two measurements of one field, or the two diagonal halves of one image, by spatial frequency.

    Parameters
    ----------
    image : array-like of real finite numbers, (Y, X) or (Z, Y, X)
        At least 16 pixels along each axis, 32 if there is no other image.
    other : array-like of the same shape, optional
        A second measurement of the same field with its own noise. Without it the image is split into its pixels of even
        and of odd index along all axes (and the other diagonals of that checkerboard), which finds periods of four
        pixels and more.
    pixel_size : float or tuple of float
        For all axes, or for each; frequencies are physical, so that a shell is round in a volume of long voxels. Beyond
        the limit of the coarsest axis a shell holds the directions that remain.
    threshold : {"1/7", "half-bit"}
        The fixed one of light microscopy, or the one by information, which is stricter where a ring has few pixels.
    noise_correlation : float
        Of the noise of direct neighbours, as `Noise.correlation` has it, for the caveat.

    Raises
    ------
    TypeError, ValueError
        If an argument is not fit; the message says what to do.

    Notes
    -----
    It cannot tell real structure from other structure that is in both halves: what a restoration invented, a blur or a
    fixed pattern. Correlated noise is in both halves of one image and passes for detail. After a restoration the halves
    are made by one fit and not independent. It is a figure of repeatability, of a whole image; compare it before and
    after with this in mind.

    Nieuwenhuizen et al., "Measuring image resolution in optical nanoscopy" (2013), for rings and 1/7; van Heel and
    Schatz, "Fourier shell correlation threshold criteria" (2005), for half a bit; Koho et al., "Fourier ring
    correlation simplifies image restoration in fluorescence microscopy" (2019), for one image. Koho et al. calibrate
    their figure by a curve fitted to pairs of images, because the halves lie one pixel apart. Here that known shift is
    undone in Fourier space instead, which needs no calibration; in return periods below four pixels, which alias in
    the halves, are out of reach. A Hann window is applied, which blurs the curve by a ring or two: where noise is weak
    the figure is too fine by as much, which matters in images of few periods. It is read off as the running median of
    three rings.
    """
    values = _read("image", image, 32 if other is None else 16)
    values = values - values.flat[0]  # else the rounding of a mean passes for the structure of a constant image
    size = _sizes(pixel_size, values.ndim)
    if threshold not in ("1/7", "half-bit"):
        raise ValueError(f"threshold={threshold!r} is not known: choose '1/7' or 'half-bit'")
    if other is None:
        pairs, steps = _halves(values), 2 * size
    else:
        second = _read("other", other, 16)
        second = second - second.flat[0]
        if second.shape != values.shape:
            raise ValueError(f"other has shape {second.shape} and image {values.shape}: they must be the same")
        pairs, steps = iter([(values, second, np.zeros(values.ndim))]), size
    shared, powers, radius = np.zeros(()), [np.zeros(())] * 2, np.zeros(())
    for one, two, shift in pairs:
        waves = [np.fft.fftfreq(n) for n in one.shape]
        window = _outer([np.hanning(n + 2)[1:-1] for n in one.shape], np.multiply)
        back = np.exp(-2j * np.pi * _outer([w * s for w, s in zip(waves, shift, strict=True)], np.add))
        first, last = (np.fft.fftn(window * (half - np.average(half, weights=window))) for half in (one, two))
        shared = shared + (first * np.conj(last * back)).real
        powers = [power + np.abs(wave) ** 2 for power, wave in zip(powers, (first, last), strict=True)]
        radius = np.sqrt(_outer([(w / s) ** 2 for w, s in zip(waves, steps, strict=True)], np.add))
        width = max(1 / (n * s) for n, s in zip(one.shape, steps, strict=True))
    finest = 1 / (2 * min(steps))  # the highest frequency that a half can hold
    rings = np.rint(radius / width).astype(int).ravel()
    last_ring = int(finest / width)

    def total(of: Any) -> Array:
        sums = np.bincount(rings, np.broadcast_to(of, radius.shape).ravel())[1 : last_ring + 1]
        return np.asarray(sums, np.float64)

    counts = total(1.0) / 2 * _WINDOWED ** (values.ndim - 1)  # along the ring; across it there is one pixel
    norm = np.sqrt(total(powers[0]) * total(powers[1]))
    curve = np.divide(total(shared), norm, out=np.zeros(norm.shape), where=norm > 0)
    frequency = width * np.arange(1, len(curve) + 1)
    limits = np.full(curve.shape, 1 / 7) if threshold == "1/7" else _half_bit(counts)
    caveat = RESTORED
    if other is None and abs(noise_correlation) > INDEPENDENT:
        caveat += (
            f" The noise is correlated between neighbouring pixels ({noise_correlation:.2f}), is in both halves of one"
            " image, and counts as detail: use two measurements."
        )
    return FourierCorrelation(
        frequency=frequency,
        correlation=curve,
        threshold=limits,
        counts=counts,
        resolution=_crossing(frequency, curve, limits, counts),
        limit=float(1 / frequency[-1]),
        in_pixels=bool((size == 1).all()),
        caveat=caveat,
    )


def _halves(values: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Pairs of halves: pixels at opposite corners of 2-pixel cells; and the shift of the second, in their pixels."""
    values = values[tuple(slice(n // 2 * 2) for n in values.shape)]
    for corner in product((0, 1), repeat=values.ndim - 1):
        first = (0, *corner)
        one, two = (values[tuple(slice(c, None, 2) for c in corners)] for corners in (first, [1 - c for c in first]))
        yield one, two, np.array([0.5 - c for c in first])


def _crossing(frequency: Array, curve: Array, limits: Array, counts: Array) -> float:
    """The period at which the curve, the median of three rings, first falls below its limits; infinite for nothing."""
    padded = np.concatenate([curve[:1], curve, curve[-1:]])
    smooth = np.median([padded[:-2], padded[1:-1], padded[2:]], axis=0)  # which leaves a steep edge where it is
    above = smooth - limits
    below = np.flatnonzero(above < 0)
    first = int(below[0]) if len(below) else len(curve)
    if (curve * counts)[:first].sum() <= _SURE * np.sqrt(counts[:first].sum() / 2):
        return float("inf")
    if first == len(curve):
        return float(1 / frequency[-1])
    part = above[first - 1] / (above[first - 1] - above[first])
    return float(1 / (frequency[first - 1] + part * (frequency[first] - frequency[first - 1])))


def _half_bit(counts: Array) -> Array:
    """Correlation at which a pixel of both halves together carries half a bit (van Heel and Schatz 2005, eq. 17)."""
    root = np.sqrt(counts)
    return np.asarray((0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root))


def _outer(axes: list[Array], combine: np.ufunc) -> Array:
    """An array with as many axes, from one line along each."""
    result = axes[0]
    for axis in axes[1:]:
        result = combine.outer(result, axis)
    return result


def _read(name: str, image: npt.ArrayLike, least: int) -> Array:
    values = np.asarray(image)
    if values.dtype.kind not in "buif":
        raise TypeError(f"{name} is of type {values.dtype}: give an array of real numbers")
    if values.ndim not in (2, 3) or min(values.shape) < least:
        raise ValueError(f"{name} has shape {values.shape}: give two or three axes of {least} pixels or more")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} has pixels that are NaN or infinite; fill them, or crop to where there are none")
    check_range(float(values.min()), float(values.max()))
    return values.astype(np.float64)


def _sizes(pixel_size: Any, ndim: int) -> Array:
    size = np.broadcast_to(np.asarray(pixel_size, np.float64), ndim) if np.ndim(pixel_size) == 0 else pixel_size
    size = np.asarray(size, np.float64)
    if size.shape != (ndim,) or not (np.isfinite(size).all() and (size > 0).all()):
        raise ValueError(f"pixel_size={pixel_size} must be one number above 0, or one for each of {ndim} axes")
    return size
