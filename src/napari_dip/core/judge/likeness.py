"""Likeness of channels: how much their edges have in common, which one generator for all of them can share."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from scipy import ndimage  # type: ignore[import-untyped]

_SMOOTH = 1.5  # pixels: edges that rise above noise


def likeness(channels: npt.NDArray[np.float64]) -> float:
    """Mean correlation of the strength of edges between any two channels (C, *S) that both vary; NaN if there are none.

    1 if all edges are in the same places, 0 if places have nothing to do with each other. Noise lowers it.
    """
    edges = [ndimage.gaussian_gradient_magnitude(each, _SMOOTH) for each in channels if np.ptp(each) > 0]
    pairs = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in itertools.combinations(edges, 2)]
    return float(np.mean(pairs)) if pairs else float("nan")
