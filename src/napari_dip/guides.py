"""A guide of other pixels than the image, looked up on its grid."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage  # type: ignore[import-untyped]

Array = npt.NDArray[np.float64]
_EDGE = 1e-6  # pixels, for what is rounded


def on_grid(
    guide: npt.ArrayLike,
    shape: Sequence[int],
    *,
    size: float | Sequence[float] = 1.0,
    guide_size: float | Sequence[float] = 1.0,
    offset: float | Sequence[float] = 0.0,
) -> Array:
    """A guide on the grid of an image, interpolated; blurred first where its pixels are finer.

    Parameters
    ----------
    guide : array-like (*S)
        Along the axes of space alone.
    shape : sequence of int
        Of the restored image.
    size, guide_size : float, or one for each axis
        Pixel sizes of that image and of the guide, in one unit.
    offset : float, or one for each axis
        Of the outer corner of the guide's first pixel from that of the image's, in the same unit.

    Returns
    -------
    float64 array (*shape)
        NaN where the guide does not reach: it guides nothing there, and a warning says how much.

    Raises
    ------
    ValueError
        If the axes differ in number, a size is not above 0, or the guide does not reach the image.
    """
    values, space = np.asarray(guide, np.float64), len(shape)
    fine, coarse, away = (np.broadcast_to(np.asarray(each, np.float64), space) for each in (size, guide_size, offset))
    if values.ndim != space:
        raise ValueError(
            f"guide has the shape {values.shape}, and the image {tuple(shape)}; give one with as many axes"
        )
    for name, sizes in (("size", fine), ("guide_size", coarse)):
        if not (np.isfinite(sizes).all() and (sizes > 0).all()):
            raise ValueError(f"{name}={sizes.tolist()} must be above 0, the size of a pixel")
    ratio = fine / coarse
    matrix = np.column_stack([np.diag(ratio), (ratio - 1) / 2 - away / coarse])
    made: Array = looked_up(values[None], matrix, tuple(shape), "guide")[0]
    return made


def looked_up(guide: Array, matrix: Array, shape: tuple[int, ...], name: str) -> Array:
    """A guide (channels, *S) at the places that a matrix gives, in its pixels, for each pixel of an image.

    Raises
    ------
    ValueError
        If it is at none of them.
    """
    finer = np.maximum(np.linalg.norm(matrix[:, :-1], axis=1), 1)  # pixels of the guide for one of the image
    made = np.empty((len(guide), *shape))
    for each, there in zip(guide.astype(np.float64), made, strict=True):
        blurred = ndimage.gaussian_filter(each, (finer - 1) / 2)
        ndimage.affine_transform(blurred, matrix[:, :-1], matrix[:, -1], shape, there, order=1, mode="nearest")
    where = np.tensordot(matrix[:, :-1], np.indices(shape), 1)
    for place, start, n in zip(where, matrix[:, -1], guide.shape[1:], strict=True):
        beyond = np.abs(place + start - (n - 1) / 2) > n / 2 + _EDGE  # pixels reach half a pixel from their centres
        made[:, beyond] = np.nan
    covered = float(np.isfinite(made[0]).mean())
    if not covered:
        raise ValueError(f"{name} does not reach the image: move it there, or set its pixel size and offset")
    if covered < 1:
        warnings.warn(f"{name} covers {covered:.0%} of the image; it guides nothing in the rest", stacklevel=3)
    return made
