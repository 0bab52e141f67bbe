"""Holes of a request: the tiles around them, whether they are nearly all of it, and how deep they are."""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy import ndimage  # type: ignore[import-untyped]

from napari_dip.core.around import Tiles, tiles_for
from napari_dip.plan.inputs import Slices
from napari_dip.plan.request import Request
from napari_dip.tables.settings import Settings

_MOST, _FAR = 0.75, 8  # share of the pixels, and pixels away from a known one: as where a mask is the other way round


def tiles_of_slice(slices: Slices, index: int, settings: Settings, *, around: bool) -> Tiles:
    """Tiles that a slice is fitted in; only with `around` those around its holes."""
    return tiles_for(slices.values.shape[2:], settings, slices.around[index] if around else None)


def tiles_with_holes(slices: Slices, settings: Settings) -> dict[tuple[int, ...], int]:
    """Shapes of the tiles that have a hole, those around holes or of a grid, and how many there are."""
    each = ((slices.wanted(i), tiles_of_slice(slices, i, settings, around=True)) for i in range(len(slices.values)))
    return Counter(wanted[place].shape for wanted, tiles in each for place in tiles if wanted[place].any())


def nearly_all(request: Request) -> str:
    """Words on a mask that hides nearly all pixels with a value; empty if those left are many, or near everywhere."""
    share = float(request.slices.holes[np.isfinite(request.slices.values)].mean())
    return f"{share:.0%} of the pixels count as missing" if share > _MOST and depth_of(request) > _FAR else ""


def depth_of(request: Request) -> float:
    """Pixels from the deepest missing pixel of all slices to the nearest one that is known in all channels.

    Infinite where there is none; slices with no known pixel stay empty, and do not count.
    """
    slices = request.slices
    fillable = ~slices.missing.all(axis=tuple(range(1, slices.missing.ndim)))
    holes = np.any(slices.holes[fillable], axis=1)
    depths = [np.inf if np.all(hole) else float(ndimage.distance_transform_edt(hole).max()) for hole in holes]
    return max(depths, default=np.inf)
