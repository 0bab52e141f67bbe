"""A guide of another scale, offset or rotation, looked up through the world on the grid of the result."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_dip.guides import looked_up
from napari_dip.viewer import layers
from napari_dip.viewer.geometry import in_pixels_of
from napari_dip.viewer.layers import Selection, Source

_SAME = 1e-3  # pixels


def aligned(guide: Any, source: Selection | Source, factor: tuple[int, ...] | None) -> np.ndarray:
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
    matrix = in_pixels_of(geometry, guide)
    here = np.abs(matrix - np.eye(space, space + 1)).max() < _SAME
    if values.shape[:space] == shape and here:
        return values
    channels = np.moveaxis(values, -1, 0) if guide.rgb else values[None]
    found = looked_up(channels, matrix, shape, f"guide '{guide.name}'")
    return np.moveaxis(found, 0, -1) if guide.rgb else found[0]
