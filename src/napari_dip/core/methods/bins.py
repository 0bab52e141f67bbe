"""Means of squares in place of pixels, where noise outweighs the structure: patches of them are more alike.

Or where correlated noise reaches over several pixels: means of 2x2 have less of it, and share it with fewer others.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage  # type: ignore[import-untyped]

from napari_dip.core.noise.correlation import autocorrelation_of, every
from napari_dip.core.noise.model import Noise, between_neighbours
from napari_dip.tables.method import FAINTEST, reaches_far

Image = npt.NDArray[np.float32]
_LEAST = 8  # squares along a side
_FAINTER = FAINTEST / 2  # SNR below which squares are of 3x3 pixels, not 2x2


def side_of(noise: Noise, shape: tuple[int, ...]) -> int:
    """Pixels along the side of a square of an image (*shape) with this noise; 1 where pixels are better."""
    if len(shape) != 2 or not (reaches_far(noise) or (noise.independent and noise.contrast < FAINTEST)):
        return 1
    sides = (3, 2) if noise.contrast < _FAINTER else (2,)
    return next((side for side in sides if min(shape) >= _LEAST * side), 1)


def means(image: Image, noise: Noise, side: int) -> tuple[Image, Noise]:
    """Mean of each square of an image (C, *S), which is mirrored beyond its far ends, and the noise of these means."""
    whole = np.pad(image, [(0, -n % s) for n, s in zip(image.shape, (1, side, side), strict=True)], mode="symmetric")
    channels, down, across = whole.shape
    squares = whole.reshape(channels, down // side, side, across // side, side)
    line = (side - np.abs(np.arange(1 - side, side))) / side**2  # a mean with itself
    before = np.ones((1, 1)) if noise.independent else autocorrelation_of(noise, image.shape[1:])
    after = every(ndimage.convolve(np.pad(before, side - 1), np.outer(line, line), mode="constant"), (side, side))
    left, shared = float(after.max()), after / after.max()
    return squares.mean((2, 4)), replace(
        noise,
        gain=noise.gain * left,
        read_noise=noise.read_noise * left**0.5,
        sigma=noise.sigma * left**0.5,
        correlation=float(np.mean(between_neighbours(shared) or 0.0)),
        autocorrelation=shared,
        contrast=noise.contrast / left**0.5,
    )


def enlarged(image: Image, side: int, shape: tuple[int, ...]) -> Image:
    """Image (C, *shape) whose squares have about the values of an image (C, *S), by cubic splines."""
    fine = [ndimage.zoom(plane, side, order=3, mode="nearest", grid_mode=True) for plane in image]
    return np.stack(fine)[:, : shape[0], : shape[1]]
