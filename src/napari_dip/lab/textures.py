"""A small network that tells eight textures apart, to try experiments on networks with: 24 000 weights, in the package.

`scripts/train_textures.py` trains it, in minutes, on textures that `texture` makes.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage, spatial  # type: ignore[import-untyped]
from torch import nn

from napari_dip.lab.weights import from_npz

#: What it tells apart, in the order of its outputs.
TEXTURES = ("horizontal", "vertical", "diagonal", "checks", "dots", "rings", "blobs", "cells")
WEIGHTS = Path(__file__).with_name("textures.npz")


def texture_network(weights: Path | None = WEIGHTS) -> nn.Sequential:
    """The network: an image (N, 1, y, x) from 0 to 1, of any size from 16 pixels up, to scores (N, 8) of `TEXTURES`.

    Parameters
    ----------
    weights : path of an .npz, or None
        By default those in the package; None for untrained ones.

    Returns
    -------
    torch.nn.Sequential
        Its layers: conv1, relu1, pool1, conv2, relu2, pool2, conv3, relu3, mean, flat, classes.
    """
    network = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 16, 5, padding=2),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(16, 32, 3, padding=1),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            conv3=nn.Conv2d(32, 64, 3, padding=1),
            relu3=nn.ReLU(),
            mean=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            classes=nn.Linear(64, len(TEXTURES)),
        )
    )
    if weights is not None:
        network.load_state_dict(from_npz(weights))
    return network.eval()


def texture(name: str, shape: tuple[int, int] = (64, 64), seed: int = 0) -> npt.NDArray[np.float32]:
    """An image (y, x) of one of `TEXTURES`, from 0 to 1, its scale, place and contrast drawn from the seed.

    Raises
    ------
    ValueError
        If there is no texture of this name.
    """
    if name not in TEXTURES:
        raise ValueError(f"name={name!r} is no texture; choose one of {', '.join(TEXTURES)}")
    rng = np.random.default_rng([TEXTURES.index(name), seed])
    y, x = np.indices(shape).astype(np.float64)
    period, phase, other = rng.uniform(5, 12), rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi)
    wave = 2 * np.pi / period
    if name in ("horizontal", "vertical", "diagonal"):
        turn = {"horizontal": 0, "vertical": 90, "diagonal": rng.choice([-45, 45])}[name] + rng.uniform(-12, 12)
        made = np.sin(wave * (np.cos(np.deg2rad(turn)) * y + np.sin(np.deg2rad(turn)) * x) + phase)
    elif name == "checks":
        made = np.sin(wave * y + phase) * np.sin(wave * x + other)
    elif name == "rings":
        made = np.sin(wave * np.hypot(y - rng.uniform(0, shape[0]), x - rng.uniform(0, shape[1])) + phase)
    elif name == "blobs":
        made = ndimage.gaussian_filter(rng.normal(size=shape), period / 3, mode="wrap")
        made = made / made.std()
    else:
        points = rng.uniform(-period, np.array(shape) + period, (round(4 * np.prod(shape) / period**2), 2))
        points = points[: max(3, len(points) // 2)] if name == "cells" else points[: max(3, len(points) // 3)]
        near = spatial.cKDTree(points).query(np.stack([y, x], -1), k=2)[0]
        made = 4 - near[..., 0] * 2 if name == "dots" else 2.5 - 1.5 * (near[..., 1] - near[..., 0])
    sharp = 0.5 + 0.5 * np.tanh(rng.uniform(0.8, 3) * made)
    low, high = sorted(rng.uniform(0, 1, 2)) if rng.random() < 0.3 else (rng.uniform(0, 0.2), rng.uniform(0.7, 1))
    noisy = low + max(high - low, 0.3) * sharp + 0.03 * rng.normal(size=shape)
    return np.asarray(np.clip(noisy, 0, 1), np.float32)
