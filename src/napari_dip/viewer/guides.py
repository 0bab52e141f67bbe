"""A guide of another scale, offset or rotation, looked up through the world on the grid of the result."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy import ndimage  # type: ignore[import-untyped]

from napari_dip.viewer import layers
from napari_dip.viewer.geometry import in_pixels_of
from napari_dip.viewer.layers import Selection, Source

_SAME = 1e-3  # pixels


def aligned(guide: Any, source: Selection | Source, factor: tuple[int, ...] | None, viewer: Any) -> np.ndarray:
    """The pixels of a guide on the grid of the restored image, NaN where it does not reach.

    Parameters
    ----------
    guide : napari.layers.Image
        With the axes of space alone, and maybe colours, it is interpolated; where it has more axes, the slice in view
        counts, or all of them are channels if the image has fewer slices than these.
    source : Selection or Source
        Of what is restored.
    factor : tuple of int or None
        Of a super-resolution.

    Raises
    ------
    ValueError
        If the guide does not reach the image, or is too large to load.
    """
    values, space = layers.pixels(guide), source.space
    if guide.ndim != space:
        return values
    geometry = source.geometry.last(space)
    geometry = geometry if factor is None else geometry.finer(factor)
    shape = tuple(n * f for n, f in zip(source.shape[-space:], factor or (1,) * space, strict=True))
    bare = any(set(map(str, units)) == {"pixel"} for units in (guide.units, geometry.place["units"]))
    matrix = in_pixels_of(geometry, guide)
    here = np.abs(matrix - np.eye(space, space + 1)).max() < _SAME
    if values.shape[:space] == shape and (bare or here):
        return values
    channels = np.moveaxis(values, -1, 0) if guide.rgb else values[None]
    coarser = np.maximum(np.linalg.norm(matrix[:, :-1], axis=1), 1)  # pixels of the guide for one of the result
    blurred = (ndimage.gaussian_filter(each.astype(np.float64), (coarser - 1) / 2) for each in channels)
    found = np.stack(
        [ndimage.affine_transform(each, matrix[:, :-1], matrix[:, -1], shape, order=1, cval=np.nan) for each in blurred]
    )
    covered = float(np.isfinite(found[0]).mean())
    if not covered:
        raise ValueError(f"guide '{guide.name}' does not reach the image: move it there, or set scale and translate")
    if covered < 1:
        warnings.warn(
            f"guide '{guide.name}' covers {covered:.0%} of the image; it guides nothing in the rest", stacklevel=2
        )
    return np.moveaxis(found, 0, -1) if guide.rgb else found[0]
