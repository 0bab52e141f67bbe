"""Noise that neighbouring pixels share: made of white noise, and seen on grids where it is nearly independent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

FAINT = 0.03


def spectrum(autocorrelation: npt.NDArray[np.float64], shape: tuple[int, ...]) -> Tensor:
    """What white noise (*shape) is multiplied by in Fourier space to get an autocorrelation; a single 1 if it is white.

    A correlation below `FAINT` is none: it may come from the estimate, and costs a transform in each iteration.
    """
    if autocorrelation.ndim == sum(n > 1 for n in shape):  # it was estimated without the axes of one pixel
        sizes = iter(autocorrelation.shape)
        autocorrelation = autocorrelation.reshape([next(sizes) if n > 1 else 1 for n in shape])
    middle = tuple(n // 2 for n in autocorrelation.shape)
    beside = autocorrelation.copy()
    beside[middle] = 0
    if autocorrelation.ndim != len(shape) or np.abs(beside).max() < FAINT:
        return torch.ones(())
    kernel = np.zeros(shape)
    for place in np.ndindex(autocorrelation.shape):
        kernel[tuple((i - m) % n for i, m, n in zip(place, middle, shape, strict=True))] += autocorrelation[place]
    power = np.maximum(np.fft.fftn(kernel).real, 0)
    return torch.from_numpy(np.sqrt(power / power.mean())).float()
