"""Means of squares in place of pixels, where noise outweighs the structure: patches of them are more alike.

Or where correlated noise reaches over several pixels: means of 2x2 have less of it, and share it with fewer others.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage  # type: ignore[import-untyped]

from napari_dip.core.noise.correlation import autocorrelation_of, every
from napari_dip.core.noise.model import Noise, between_neighbours
from napari_dip.core.operators import Mask
from napari_dip.core.problem import Problem
from napari_dip.tables.method import FAINTEST, is_faint, reaches_far

Image = npt.NDArray[np.float32]
_LEAST = 8  # squares along a side
_FAINTER = FAINTEST / 2  # SNR below which squares are of 3x3 pixels, not 2x2


def side_of(noise: Noise, shape: tuple[int, ...]) -> int:
    """Pixels along the side of a square of an image (*shape) with this noise; 1 where pixels are better."""
    if len(shape) != 2 or not (is_faint(noise) or reaches_far(noise)):
        return 1
    sides = (3, 2) if noise.contrast < _FAINTER else (2,)
    return next((side for side in sides if min(shape) >= _LEAST * side), 1)


def binned(shape: tuple[int, ...], noise: Noise) -> tuple[tuple[int, ...], Noise]:
    """Number of squares along each axis of an image (*shape) with this noise, and that of their means."""
    side = side_of(noise, shape)
    return (shape, noise) if side == 1 else (tuple(-(-n // side) for n in shape), noise_of(noise, side, shape))


def means(image: Image, side: int) -> Image:
    """Mean of each square of an image (C, *S), which is mirrored beyond its far ends."""
    whole = np.pad(image, [(0, -n % s) for n, s in zip(image.shape, (1, side, side), strict=True)], mode="symmetric")
    channels, down, across = whole.shape
    return np.asarray(whole.reshape(channels, down // side, side, across // side, side).mean((2, 4)))


def noise_of(noise: Noise, side: int, shape: tuple[int, ...]) -> Noise:
    """Noise of the means of squares of an image (*shape) with this noise."""
    line = (side - np.abs(np.arange(1 - side, side))) / side**2  # a mean with itself
    before = np.ones((1, 1)) if noise.independent else autocorrelation_of(noise, shape)
    after = every(ndimage.convolve(np.pad(before, side - 1), np.outer(line, line), mode="constant"), (side, side))
    left, shared = float(after.max()), after / after.max()
    return replace(
        noise,
        gain=noise.gain * left,
        read_noise=noise.read_noise * left**0.5,
        sigma=noise.sigma * left**0.5,
        correlation=float(np.mean(between_neighbours(shared) or 0.0)),
        autocorrelation=shared,
        contrast=noise.contrast / left**0.5,
        fine=math.inf,
    )


def problem_of(problem: Problem, noise: Noise, side: int) -> Problem:
    """Problem of the means of squares of a measurement with this noise, of its known pixels.

    A square is known where half of its pixels are, or as many as in any square if that is fewer.
    """
    known = problem.known_pixels()
    share = means(known.astype(np.float32), side)
    enough = (share > 0) & (share >= np.minimum(0.5, share.max((1, 2), keepdims=True)))
    image = np.where(enough, means(problem.observation * known, side) / np.maximum(share, 1e-6), 0)
    return replace(
        problem,
        observation=image.astype(np.float32),
        operator=Mask(torch.from_numpy(enough)[None]),
        known=float(enough.mean()),
        noise=noise_of(noise, side, problem.image_shape),
    )


def enlarged(image: Image, side: int, shape: tuple[int, ...]) -> Image:
    """Image (C, *shape) whose squares have about the values of an image (C, *S), by cubic splines."""
    fine = [ndimage.zoom(plane, side, order=3, mode="nearest", grid_mode=True) for plane in image]
    return np.stack(fine)[:, : shape[0], : shape[1]]
