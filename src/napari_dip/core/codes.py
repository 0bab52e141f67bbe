"""The code z, the fixed input of a generator: drawn at random or laid out once."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_dip.tables.knobs import Prior

Shape = tuple[int, ...]
NO_GUIDE = "code='guide' needs a guide image: give guide=, or choose another code"


def code_channels_of(method: Prior, ndim: int, guide: npt.NDArray[np.float32] | None) -> int:
    """Channels of the code of an image with `ndim` axes of space, for a guide (G, *image) if there is one.

    Raises
    ------
    ValueError
        If ``code="guide"`` and there is no guide.
    """
    known = {"mesh": ndim, "guide": 0 if guide is None else len(guide)}
    channels = known.get(method.code, method.code_channels)
    if channels == 0:
        raise ValueError(NO_GUIDE)
    return channels


def make_code(method: Prior, shape: Shape, guide: Tensor | None, rng: torch.Generator) -> Tensor:
    """The code (1, Z, *shape), float32 on the CPU, so that one seed means one code on every device.

    Raises
    ------
    ValueError
        If ``code="guide"`` and there is no guide.
    """
    if method.code == "guide":
        if guide is None:
            raise ValueError(NO_GUIDE)
        return guide
    if method.code == "mesh":
        return mesh(shape)
    if method.code == "fourier":
        return fourier_features(shape, method.code_channels)
    code = torch.empty(1, method.code_channels, *shape)
    if method.code == "uniform":
        return code.uniform_(0, method.code_scale, generator=rng)
    return code.normal_(0, method.code_scale, generator=rng)


def mesh(shape: Shape) -> Tensor:
    """The coordinates of the pixels, 0 to 1 along each axis: (1, ndim, *shape), the last axis first."""
    axes = [torch.linspace(0, 1, n) if n > 1 else torch.zeros(1) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1])[None]


def fourier_features(shape: Shape, channels: int) -> Tensor:
    """Sines and cosines of the coordinates at frequencies from one to half the Nyquist limit: (1, channels, *shape).

    Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions" (2020), with frequencies in
    geometric progression. Sine and cosine vary fastest along the channels, then the axes, then the frequencies.
    """
    coordinates = mesh(shape)[0]
    per_frequency = 2 * len(shape)
    count = math.ceil(channels / per_frequency)
    highest = [max(1.0, n / 4) for n in reversed(shape)]
    steps = [i / max(1, count - 1) for i in range(count)]
    waves = [
        wave(2 * math.pi * h**step * x)
        for step in steps
        for h, x in zip(highest, coordinates, strict=True)
        for wave in (torch.sin, torch.cos)
    ]
    return torch.stack(waves[:channels])[None]
