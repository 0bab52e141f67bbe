"""Pixels that measured nothing: hot, dead and saturated ones, and what is not a number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_dip.core.intensity import piled
from napari_dip.core.noise.estimate import estimate_noise
from napari_dip.core.noise.impulses import filled, isolated
from napari_dip.core.noise.model import Noise
from napari_dip.tables.numbers import channel_from_first, check_leading


def find_bad_pixels(
    image: npt.ArrayLike, *, noise: Noise | None = None, channel_axis: int | None = None, leading_axes: int = 0
) -> npt.NDArray[np.bool_]:
    """Find pixels that measured nothing, as a mask to inpaint by.

    Parameters
    ----------
    image : array-like of real numbers
        Leading axes first, then two or three spatial ones, with the channels where `channel_axis` says.
    noise : Noise, optional
        Of the image; by default estimated, for each of its slices.
    channel_axis : int, optional
        Axis of the channels, which are looked at one by one.
    leading_axes : int
        Number of leading axes that are not spatial.

    Returns
    -------
    bool array
        In the shape of the image. True where a pixel stands alone, five standard deviations of its noise or more from
        the median of its surroundings and hardly shared by its neighbours (hot, dead, salt, pepper), is at the upper
        limit of the type or at the highest value if many pixels are (saturated), or is no finite number. Spots of two
        pixels' width are spared; a line that ends within one pixel is not.

    Raises
    ------
    ValueError
        As `estimate_noise`, if the image is of bool, or if it has no such axes.
    TypeError
        If the noise is no `Noise`.
    """
    values = np.asarray(image)
    if values.dtype.kind not in "iuf":
        raise ValueError(f"image of type {values.dtype} does not hold real numbers; convert it")
    if noise is not None and not isinstance(noise, Noise):
        raise TypeError(f"noise={noise!r} is no Noise; hand in what estimate_noise returns, or leave it out")
    check_leading(leading_axes, values.ndim)
    channel_axis = channel_from_first(channel_axis, values.shape)
    if leading_axes:
        axis, inner = (leading_axes, None) if channel_axis is None else (channel_axis, 0)
        stack = np.moveaxis(values, axis, leading_axes)
        slices = stack.reshape(-1, *stack.shape[leading_axes:])
        found = [find_bad_pixels(each, noise=noise, channel_axis=inner) for each in slices]
        return np.moveaxis(np.array(found, bool).reshape(stack.shape), leading_axes, axis)
    finite = np.isfinite(values)
    if not finite.any():
        return np.asarray(~finite)
    noise = estimate_noise(values, channel_axis=channel_axis) if noise is None else noise
    axis = channel_axis or 0
    planes, known = (np.moveaxis(each, axis, 0) for each in (values, finite))
    alone = isolated(filled(np.where(known, planes, 0).astype(np.float64), ~known), noise, surely=True)
    alone = np.moveaxis(alone, 0, axis)
    return np.asarray(alone | piled(values, finite)[1] | ~finite)
