"""Pixels that stand out of everything around them: hot, dead, salt and pepper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage  # type: ignore[import-untyped]

from napari_dip.core.stabilise import Stabiliser

if TYPE_CHECKING:
    from napari_dip.core.noise import Noise

#: Standard deviations above or below the surroundings.
_FAR = 5.0
#: Of the height of a pixel, what its neighbours may have of it. A spot of 2 pixels' width gives them half.
_SHARED = 0.35
#: The same of pixels that are defective beyond doubt; times as many small spots from which there is doubt; and parts of
#: all pixels from which they are texture.
_SURELY, _UNSHARED, _DOUBT, _MANY = 10.0, 0.1, 0.25, 0.01
#: Times the range of the neighbours but the two extreme ones: fine texture reaches further than noise.
_VARIED = 2.0

_BESIDE = np.ones((3, 3), bool)
_BESIDE[1, 1] = False
_AROUND = np.ones((5, 5), bool)
_AROUND[1:-1, 1:-1] = False


def isolated(values: npt.NDArray[np.float64], noise: Noise) -> npt.NDArray[np.bool_]:
    """Single pixels, or pairs, far from their surroundings.

    A pixel is compared with the median at two pixels' distance. What an instrument images is as wide as its point
    spread function, so if more than one neighbour goes along, it is a small structure.

    Parameters
    ----------
    values : float64 array (..., Y, X)
        Each plane is looked at on its own.
    noise : Noise
        In the same units.
    """
    height, above, below = _heights(values, noise)
    far = np.abs(height) > np.maximum(_FAR, _VARIED * (above - below))
    hot = far & (height > 0) & (above < _SHARED * height + 0.5)
    dead = far & (height < 0) & (below > _SHARED * height - 0.5)
    return np.asarray(hot | dead)


def defective(values: npt.NDArray[np.float64], noise: Noise) -> npt.NDArray[np.bool_]:
    """Isolated pixels that are so beyond doubt: none where spots as small as a pixel have light in its neighbours too.

    Parameters are those of `isolated`.
    """
    height, above, below = _heights(values, noise)
    beside = np.where(height > 0, above, -below)
    far = np.abs(height) > np.maximum(_SURELY, 2 * _VARIED * (above - below))
    level = ndimage.median_filter(values, footprint=_AROUND.reshape((1,) * (values.ndim - 2) + (5, 5)), mode="mirror")
    far &= np.abs(values - level) > _SURELY * np.sqrt(noise.variance(level))  # the dark end of the transform is a guess
    alone = far & (beside < _UNSHARED * np.abs(height) + 2)
    small = far & ~alone & (beside < 2 * _SHARED * np.abs(height))  # of a blur of less than a pixel
    doubtful = np.count_nonzero(small) > _DOUBT * np.count_nonzero(alone) or alone.mean() > _MANY
    return np.zeros(values.shape, bool) if doubtful else np.asarray(alone)


def _heights(values: npt.NDArray[np.float64], noise: Noise) -> tuple[npt.NDArray[np.float64], ...]:
    """Height above the surroundings, in standard deviations of the noise, of a pixel and of its extreme neighbours."""
    stabiliser = Stabiliser(noise)
    # below no light the transform ends, which would hide dead pixels: its tangent goes on
    missing = np.maximum(noise.offset - values, 0) / stabiliser.unit if noise.gain > 0 else np.zeros(values.shape)
    stable = stabiliser.forward(np.maximum(values, noise.offset) if noise.gain > 0 else values)
    stable -= missing / np.sqrt(stabiliser.dark)
    flat = (1,) * (values.ndim - 2)
    beside, around = _BESIDE.reshape(*flat, 3, 3), _AROUND.reshape(*flat, 5, 5)
    height = stable - ndimage.median_filter(stable, footprint=around, mode="mirror")
    level = stable - height
    above = ndimage.rank_filter(stable, rank=-2, footprint=beside, mode="mirror") - level
    below = ndimage.rank_filter(stable, rank=1, footprint=beside, mode="mirror") - level
    return height, above, below


def filled(values: npt.NDArray[np.float64], bad: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Each bad pixel replaced by the nearest good one of its plane, which has the same noise; (..., Y, X)."""
    result = values.copy()
    for place in np.ndindex(values.shape[:-2]):
        if bad[place].any() and not bad[place].all():
            nearest = ndimage.distance_transform_edt(bad[place], return_distances=False, return_indices=True)
            result[place] = values[place][tuple(nearest)]
    return result
