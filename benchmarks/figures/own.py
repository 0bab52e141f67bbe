"""A regulariser of the user's own against none, and against total variation.

It is that of docs/own-parts.md, with its weight; noise is white, sigma 0.1 of the range. Predictions before the run: it
is worth 0.2 dB, and level with total variation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

import napari_dip
from benchmarks import images
from benchmarks.figures import Figure, sheet, table
from benchmarks.figures.impedance import SIGMA
from benchmarks.figures.sgld import SCENES
from napari_dip.trust import psnr


def bending(image: torch.Tensor) -> torch.Tensor:
    """Hessian of an image (1, C, *shape)."""
    return sum((image.diff(n=2, dim=axis).abs().mean() for axis in range(2, image.ndim)), torch.zeros(()))


WAYS: dict[str, dict[str, Any]] = {
    "no regulariser": {},
    "total variation": {"regulariser": "tv", "regulariser_weight": 0.01},
    "own regulariser": {"regulariser": bending, "regulariser_weight": 0.02},
}


def measure(data: Path, crop: int) -> Figure:
    """PSNR of each way on each scene."""
    rows, shown = [], []
    for name in SCENES:
        truth = images._read(data / name, crop).astype(np.float64)
        made = {"measured": truth + SIGMA * np.ptp(truth) * np.random.default_rng(0).standard_normal(truth.shape)}
        for way, knobs in WAYS.items():
            said: dict[str, Any] = {"preset": "denoise-small", "runs": 1, "threads": 1, "progress": False}
            made[way] = napari_dip.denoise(made["measured"], **said, **knobs).image
        scores = {way: psnr(image, truth, data_range=float(np.ptp(truth))) for way, image in made.items()}
        rows.append({"image": name, **scores})
        shown.append({**made, "truth": truth})
        print(rows[-1], flush=True)
    return Figure(text=f"{crop}x{crop} pixels, dB:\n\n{table(rows)}", rows=rows, picture=sheet(shown))
