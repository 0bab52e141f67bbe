"""Means of squares in place of pixels, where noise outweighs the structure: patches of them are more alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage  # type: ignore[import-untyped]

from napari_dip.core.noise.model import Noise
from napari_dip.tables.method import FAINTEST

Image = npt.NDArray[np.float32]
_LEAST = 8  # squares along a side
_FAINTER = FAINTEST / 2  # SNR below which squares are of 3x3 pixels, not 2x2


def side_of(noise: Noise, shape: tuple[int, ...]) -> int:
    """Pixels along the side of a square of an image (*shape) with this noise; 1 where pixels are better."""
    if len(shape) != 2 or not noise.independent or noise.contrast >= FAINTEST:
        return 1
    side = 3 if noise.contrast < _FAINTER else 2
    return side if min(shape) >= _LEAST * side else 1


def means(image: Image, noise: Noise, side: int) -> tuple[Image, Noise]:
    """Mean of each square of an image (C, *S), which is mirrored beyond its far ends, and the noise of these means."""
    whole = np.pad(image, [(0, -n % s) for n, s in zip(image.shape, (1, side, side), strict=True)], mode="symmetric")
    channels, down, across = whole.shape
    squares = whole.reshape(channels, down // side, side, across // side, side)
    left = replace(noise, gain=noise.gain / side**2, read_noise=noise.read_noise / side, sigma=noise.sigma / side)
    return squares.mean((2, 4)), replace(left, contrast=noise.contrast * side)


def enlarged(image: Image, side: int, shape: tuple[int, ...]) -> Image:
    """Image (C, *shape) whose squares have about the values of an image (C, *S), by cubic splines."""
    fine = [ndimage.zoom(plane, side, order=3, mode="nearest", grid_mode=True) for plane in image]
    return np.stack(fine)[:, : shape[0], : shape[1]]
