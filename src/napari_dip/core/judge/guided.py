"""Structure of a guide that is in a restored image and that its measurement does not support."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage  # type: ignore[import-untyped]

from napari_dip.core.noise.model import Noise

Array = npt.NDArray[np.float64]

SURE = 5.0  # standard deviations: windows of pure noise reach 4 in images of 100x100 pixels
_WINDOW = 9  # pixels a side
_SEEN = 3.0  # standard errors of what the measurement shows itself
_VISIBLE = 0.25  # contrast along the guide in a window, over that of the whole image
_KNOWN = 0.3  # of a window, at the least
_CONTRAST = 0.2  # of the guide in a window, over that in the whole: below it the guide says nothing there


@dataclass(frozen=True, kw_only=True)
class Unsupported:
    """Structure that came from the guide.

    Attributes
    ----------
    share : float
        Of the image, 0 to 1, where there is any.
    unconfirmed : float
        Of the image where there is visible structure of the guide that the measurement is too noisy to confirm.
    strength : float
        Largest excess, in standard deviations of what noise alone would make.
    place : tuple of int
        Pixel where that is.
    """

    share: float
    unconfirmed: float
    strength: float
    place: tuple[int, ...]


def unsupported(image: npt.ArrayLike, measured: npt.ArrayLike, guide: npt.ArrayLike, noise: Noise) -> Unsupported:
    """Compare, window by window, how much of the guide is in the image and how much is in the measurement.

    Both are regressed on the guide within windows of 9 pixels a side. The slope of the measurement has an error that
    follows from the noise; the guide's structure is unsupported where the slope of the image is larger, by more than
    five of these errors, and more than twice as large.

    Parameters
    ----------
    image, measured : array-like, (Y, X) or (Z, Y, X)
        Restored, and as measured; NaN where nothing is known.
    guide : array-like, (G, *S)
    noise : Noise
        Of the measurement, in its units.

    Raises
    ------
    ValueError
        If there is no noise to compare with.
    """
    seen, made = np.asarray(measured, np.float64), np.asarray(image, np.float64)
    known = np.isfinite(seen) & np.isfinite(made)
    if noise.sigma <= 0 or not known.any():
        raise ValueError("noise has sigma 0, or no pixel is known: nothing can be compared with it")
    variance = np.where(known, np.maximum(noise.variance(np.where(known, made, noise.offset)), 0), 0)
    variance = np.maximum(variance, 1e-3 * noise.sigma**2)
    shared = (1 + 2 * max(noise.correlation, 0)) ** seen.ndim  # pixels that share their noise count as one
    excess, doubtful = np.zeros(seen.shape), np.zeros(seen.shape, bool)
    for channel in np.asarray(guide, np.float64):
        more, unseen = _excess(made, seen, channel, known, variance * shared)
        excess, doubtful = np.maximum(excess, more), doubtful | unseen
    place = np.unravel_index(int(excess.argmax()), excess.shape)
    return Unsupported(
        share=float((excess > SURE).mean()),
        unconfirmed=float(doubtful.mean()),
        strength=float(excess.max()),
        place=tuple(int(i) for i in place),
    )


def _excess(
    made: Array, seen: Array, guide: Array, known: npt.NDArray[np.bool_], variance: Array
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Excess of the slope of the image over that of the measurement, in standard errors, 0 where there is none.

    Also true where the image has visible structure of the guide, and the measurement's slope is below three errors.
    """
    weight = known.astype(np.float64)

    def mean(values: Array) -> Array:
        return np.asarray(ndimage.uniform_filter(np.where(known, values, 0), _WINDOW, mode="constant"))

    count = np.maximum(mean(weight), 1e-9)
    centre = mean(guide) / count
    spread = np.maximum(mean(guide**2) / count - centre**2, 0)
    told = (spread > _CONTRAST**2 * guide[known].var()) & (count > _KNOWN)

    def with_guide(values: Array) -> Array:
        return mean(values * guide) / count - mean(values) / count * centre

    of_image, of_measurement = with_guide(made), with_guide(seen)
    error = np.sqrt(mean(variance) / count * np.maximum(spread, 1e-30) / (count * _WINDOW**guide.ndim))
    visible = of_image**2 > _VISIBLE**2 * made[known].var() * np.maximum(spread, 0)
    unseen = told & visible & (np.abs(of_measurement) < _SEEN * error)
    told &= np.abs(of_image) > 2 * np.abs(of_measurement)
    excess = np.sign(of_image) * (of_image - of_measurement)
    return np.divide(excess, error, out=np.zeros_like(excess), where=told & (excess > 0) & (error > 0)), unseen
