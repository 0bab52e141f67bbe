"""Nearest known pixels in place of those that are not: what is computed from all pixels needs some value for each."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage  # type: ignore[import-untyped]

Value = TypeVar("Value", np.float32, np.float64)


def standing_in(images: npt.NDArray[Value], known: npt.NDArray[np.bool_]) -> npt.NDArray[Value]:
    """Images (N, *S), each with its nearest known pixel in place of each that is not; as it is where none is known."""
    result = images.copy()
    for image, found, where in zip(images, result, known, strict=True):
        if where.any() and not where.all():
            nearest = ndimage.distance_transform_edt(~where, return_distances=False, return_indices=True)
            found[...] = image[tuple(nearest)]
    return result
