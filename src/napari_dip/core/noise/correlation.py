"""Correlated noise: made from white noise, and split into sub-grids on which it is nearly independent."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_dip.core.noise.model import INDEPENDENT, Noise

Array = npt.NDArray[np.float64]
FAINT = 0.03
_APART = 0.3  # correlation tolerated beyond lag 1: stride 2 with some of it restores more than stride 3


def autocorrelation_of(noise: Noise, shape: tuple[int, ...]) -> Array:
    """Autocorrelation of the noise of an image (*shape), with one axis per axis of the image.

    If only the correlation of direct neighbours is known, it is 0 beyond them.
    """
    known, long = noise.autocorrelation, [n > 1 for n in shape]
    if known.size > 1:
        if known.ndim == len(shape):
            return known
        if known.ndim == sum(long):  # it was estimated without axes of length 1
            sizes = iter(known.shape)
            return known.reshape([next(sizes) if each else 1 for each in long])
        if not noise.independent:
            axes = f"noise.autocorrelation has {known.ndim} axes and the image {len(shape)}"
            raise ValueError(f"{axes}; estimate the noise of an image of as many")
    if noise.independent:
        return np.ones((1,) * len(shape))
    beside = noise.correlation
    lines = [np.array([beside, 1, beside]) if each else np.ones(1) for each in long]
    return np.asarray(functools.reduce(np.multiply.outer, lines))


def power_of(autocorrelation: Array, shape: tuple[int, ...]) -> Array:
    """Power spectrum of noise (*shape), of mean 1, from its autocorrelation, which wraps round at the border."""
    middle = tuple(n // 2 for n in autocorrelation.shape)
    kernel = np.zeros(shape)
    for place, shared in np.ndenumerate(autocorrelation):  # it wraps round more than once in a narrow image
        kernel[tuple((i - m) % n for i, m, n in zip(place, middle, shape, strict=True))] += shared
    power = np.maximum(np.fft.fftn(kernel).real, 0)
    return np.asarray(power / power.mean())


def spectrum(autocorrelation: Array, shape: tuple[int, ...]) -> Tensor:
    """Transfer function that gives white noise (*shape) an autocorrelation; a single 1 if that is white.

    Correlation below `FAINT` counts as none: it may be an error of the estimate, and costs a transform per iteration.
    """
    beside = autocorrelation.copy()
    beside[tuple(n // 2 for n in beside.shape)] = 0
    if np.abs(beside).max() < FAINT:
        return torch.ones(())
    return torch.from_numpy(np.sqrt(power_of(autocorrelation, shape))).float()


def coloured(white: Tensor, spectrum: Tensor, ndim: int) -> Tensor:
    """White noise (..., *S), filtered by a `spectrum` along its last axes."""
    if spectrum.numel() == 1:
        return white
    axes = tuple(range(-ndim, 0))
    return torch.as_tensor(torch.fft.ifftn(torch.fft.fftn(white, dim=axes) * spectrum, dim=axes).real)


def plane_of(autocorrelation: Array) -> Array:
    """Autocorrelation within a plane of a volume; that of an image is returned as it is."""
    return autocorrelation[len(autocorrelation) // 2] if autocorrelation.ndim == 3 else autocorrelation


def strides_of(autocorrelation: Array, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Stride along each axis of an image (*shape) at which noise is nearly independent.

    Stride 1 if the lag-1 autocorrelation is below 0.1 (or below half that of another axis); else the first lag below
    0.3. A larger stride than need be leaves the differences between sub-grids, as these are denoised separately.
    """
    middle = tuple(n // 2 for n in autocorrelation.shape)
    lines = [np.moveaxis(autocorrelation, axis, -1)[middle[:axis] + middle[axis + 1 :]] for axis in range(len(shape))]
    lines = [line[len(line) // 2 + 1 :] for line in lines]  # lags from 1 on
    much = max(INDEPENDENT, max((line[0] for line in lines if line.size), default=0) / 2)
    strides = []
    for line, size in zip(lines, shape, strict=True):
        near = (lag for lag, shared in enumerate(line, 1) if shared < (much if lag == 1 else _APART))
        strides.append(min(next(near, len(line) + 1), size))
    return tuple(strides)


def every(autocorrelation: Array, strides: tuple[int, ...]) -> Array:
    """Autocorrelation on a sub-grid with these strides."""
    steps = zip(autocorrelation.shape, strides, strict=True)
    return autocorrelation[tuple(slice(n // 2 % step, None, step) for n, step in steps)]


def phases(strides: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Sub-grids with these strides that an image (C, *S) falls into, each as an index of it."""
    return [
        (slice(None), *(slice(first, None, step) for first, step in zip(corner, strides, strict=True)))
        for corner in itertools.product(*map(range, strides))
    ]
