"""Images judged by themselves: their noise, what their holes leave open, their resolution, the likeness of channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.judge.frc import FourierCorrelation, fourier_correlation
from napari_dip.core.judge.likeness import likeness as _likeness
from napari_dip.core.noise.model import Noise
from napari_dip.plan.defects import without_lines, without_padding
from napari_dip.plan.inputs import read_slices
from napari_dip.plan.noises import noise_of
from napari_dip.run import doubts


def estimate_noise(
    image: Any,
    mask: Any = None,
    *,
    gain: float | None = None,
    offset: float | None = None,
    read_noise: float | None = None,
    channel_axis: int | None = None,
    leading_axes: int = 0,
) -> Noise:
    """Estimate the noise of one image, stack or volume from nothing else, as a restoration does before it begins.

    Parameters
    ----------
    image : array-like, (*leading, *S) or with channels
        Any real number type. NaN, infinite and saturated pixels are left out, padding (``skip_padding``) and hot or
        dead lines (``skip_bad_pixels``) too.
    mask : array-like of bool or integers, optional
        True or non-zero where a pixel is left out; in the shapes that `napari_dip.iterate` takes.
    gain, offset, read_noise : float, optional
        Known values of the camera: counts per photo-electron, counts in the dark, and standard deviation in the dark in
        counts. The rest is estimated around it.
    channel_axis, leading_axes : int
        As for `napari_dip.iterate`. All channels and slices are taken to have the same noise, which is estimated from
        at most sixteen of them, evenly spaced.

    Returns
    -------
    Noise
        In the units of the image; as a string, one sentence.

    Raises
    ------
    TypeError, ValueError
        If an argument is not fit, or the image is one pixel; the message says what to do.

    Notes
    -----
    Method, sources and limits: `napari_dip.core.noise.estimate.estimate_noise`.
    """
    given = {"gain": gain, "offset": offset, "read_noise": read_noise}
    slices = without_lines(without_padding(read_slices(image, mask, channel_axis, leading_axes)))
    noise = noise_of(slices, {name: value for name, value in given.items() if value is not None})
    if noise is None:
        raise ValueError(
            f"image of shape {np.shape(image)} is one pixel, which has no noise to estimate; give a larger image"
        )
    return noise


def left_out(image: Any, mask: Any = None, *, channel_axis: int | None = None, leading_axes: int = 0) -> str:
    """A sentence if `estimate_noise` leaves out padding, or hot or dead lines, with their number; else an empty one.

    Parameters and errors are those of `estimate_noise`.
    """
    slices = read_slices(image, mask, channel_axis, leading_axes)
    return doubts.left_out_sentence(without_lines(without_padding(slices)))


def hole_map(
    image: Any, mask: Any = None, noise: Noise | None = None, *, channel_axis: int | None = None, leading_axes: int = 0
) -> npt.NDArray[np.float64]:
    """Distance of each missing pixel from the nearest known one, over the correlation length of what surrounds it.

    Parameters
    ----------
    image : array-like, (*leading, *S) or with channels
        Missing pixels may have any value. NaN and infinite pixels are missing too.
    mask : array-like of bool or integers, optional
        True or non-zero where a pixel is missing; in the shapes that `napari_dip.iterate` takes.
    noise : Noise, optional
        Of the image; without it the noise is taken for white.
    channel_axis, leading_axes : int
        As for `napari_dip.iterate`.

    Returns
    -------
    float64 array in the shape of the image
        0 where it is known. Below 1 the surroundings determine most of what is missing; well above 1 nothing of it;
        infinite in a slice of which nothing is known.

    Raises
    ------
    TypeError, ValueError
        If an argument is not fit; the message says what to do.
    """
    slices = read_slices(image, mask, channel_axis, leading_axes)
    return np.asarray(slices.layout(doubts.hole_ratios(slices, noise)))


def hole_warning(
    image: Any, mask: Any = None, noise: Noise | None = None, *, channel_axis: int | None = None, leading_axes: int = 0
) -> str:
    """A sentence if a hole is larger than what its surroundings determine, else an empty one.

    Parameters and errors are those of `hole_map`; it warns from 1, and of the largest hole only.
    """
    slices = read_slices(image, mask, channel_axis, leading_axes)
    return doubts.hole_sentence(slices, noise, doubts.hole_ratios(slices, noise))


def resolution(
    image: npt.ArrayLike,
    other: npt.ArrayLike | None = None,
    *,
    pixel_size: float | tuple[float, ...] = 1.0,
    threshold: str = "1/7",
    noise: Noise | None = None,
    channel_axis: int | None = None,
    leading_axes: int = 0,
) -> FourierCorrelation:
    """To which detail one image (or two of the same field) can be told from its noise, by Fourier ring correlation.

    Before and after a restoration call it on either image; of a super-resolved one the pixels are smaller.

    Parameters
    ----------
    image : array-like of finite real numbers, (*leading, *S) or with channels
        At least 32 pixels along each spatial axis, or 16 if there is another image. In a volume shells are correlated.
    other : array-like of the same shape, optional
        A second measurement of the same field with its own noise; without it the image is split in two.
    pixel_size : float or tuple of float
        For all spatial axes, or for each.
    threshold : {"1/7", "half-bit"}
        Below which the halves count as different.
    noise : Noise, optional
        Of the image, for the caveat on correlated noise.
    channel_axis, leading_axes : int
        As for `napari_dip.iterate`.

    Returns
    -------
    FourierCorrelation
        Of several slices and channels, that with the median resolution. As a string, one sentence.

    Raises
    ------
    TypeError, ValueError
        If an argument is not fit; the message says what to do.

    Notes
    -----
    Method, sources and what it cannot see: `napari_dip.core.judge.frc.fourier_correlation`.
    """
    if other is not None and np.shape(other) != np.shape(image):
        raise ValueError(f"other has shape {np.shape(other)} and image {np.shape(image)}: they must be the same")
    first, second = (
        None if each is None else read_slices(each, None, channel_axis, leading_axes).values for each in (image, other)
    )
    assert first is not None
    found = [
        fourier_correlation(
            first[place],
            None if second is None else second[place],
            pixel_size=pixel_size,
            threshold=threshold,
            noise_correlation=0.0 if noise is None else noise.correlation,
        )
        for place in np.ndindex(*first.shape[:2])
    ]
    return sorted(found, key=lambda each: each.resolution)[len(found) // 2]


def likeness(image: Any, *, channel_axis: int, leading_axes: int = 0) -> float:
    """Likeness of channels that one generator would make together: correlation of their edges, on the mean.

    Parameters
    ----------
    image : array-like with channels
    channel_axis, leading_axes : int
        As for `napari_dip.denoise`; the mean over the slices of leading axes is told.

    Returns
    -------
    float
        1 if all edges are in the same places, 0 if their places have nothing in common; NaN where no two channels vary.

    Raises
    ------
    TypeError, ValueError
        If the image is not fit.

    Notes
    -----
    docs/together.md says what sharing gained and lost by it. Noise lowers it.
    """
    slices = read_slices(image, None, channel_axis, leading_axes)
    values = np.where(slices.missing, np.nan, slices.values.astype(np.float64))
    middle = np.nanmean(values, axis=tuple(range(2, values.ndim)), keepdims=True)
    return float(np.mean([_likeness(each) for each in np.where(slices.missing, middle, values)]))


#: Correlation of edges from which one generator for all does so, see docs/together.md.
_SHARING = (
    (0.3, "expect a gain from sharing one generator"),
    (0.0, "expect little from sharing one generator"),
    (-np.inf, "expect a loss: restore each on its own"),
)


def sharing(image: Any, *, channel_axis: int, leading_axes: int = 0) -> str:
    """`likeness` of channels and what it lets expect of one generator for all of them, as a sentence without its end.

    Parameters and errors are those of `likeness`.
    """
    found = likeness(image, channel_axis=channel_axis, leading_axes=leading_axes)
    if np.isnan(found):
        return "no two of the images vary, so they share nothing"
    expected = next(words for bound, words in _SHARING if found >= bound)
    return f"edges correlate by {found:.2f}: {expected} (measured on few scenes)"
