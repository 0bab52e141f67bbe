"""Several channels by one generator, or by one each: what sharing gains where they look alike, and loses where not.

Colours of a photograph, two stains of one field, and two photographs that have nothing in common, each with noise.
Likeness is the correlation of the edges of the channels, as the noisy images show them (`napari_dip.trust.likeness`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import napari_dip
from benchmarks import images
from benchmarks.figures import Figure, sheet, table
from napari_dip.core.judge.errors import psnr
from napari_dip.trust import likeness

HOW = {"preset": "denoise-small", "runs": 1, "iterations": 400, "progress": False}
SIGMA = 25.0


def measure(data: Path, crop: int) -> Figure:
    """Mean PSNR of the channels of each scene, by both ways."""
    rows, shown = [], []
    for name, truth, seen in _scenes(data, crop):
        likely = likeness(seen, channel_axis=0)
        one = napari_dip.denoise(seen, channel_axis=0, **HOW).image
        each = np.stack([napari_dip.denoise(channel, **HOW).image for channel in seen])
        scores = {
            key: float(np.mean([psnr(a, b, data_range=255) for a, b in zip(image, truth, strict=True)]))
            for key, image in {"noisy": seen, "one each": each, "together": one}.items()
        }
        rows.append({"scene": name, "likeness": likely, **scores, "gain": scores["together"] - scores["one each"]})
        shown.append({"truth": truth[0], "noisy": seen[0], "one each": each[0], "together": one[0]})
        print(rows[-1], flush=True)
    return Figure(text=table(rows), rows=rows, picture=sheet(shown))


def _scenes(data: Path, crop: int) -> list[tuple[str, images.Array, images.Array]]:
    """Name, truth and noisy image (C, Y, X)."""
    scenes = []
    for name, files in {
        "two photographs": ("grey/02.png", "grey/07.png"),
        "two stains": ("fmd/gt/Confocal_BPAE_R.png", "fmd/gt/Confocal_BPAE_B.png"),
    }.items():
        truth = np.stack([images._read(data / file, crop) for file in files])
        scenes.append((name, truth, truth + np.random.default_rng(0).normal(0, SIGMA, truth.shape)))
    truth, seen = (np.moveaxis(images._read(data / f"colour/F16_{kind}.png", crop), -1, 0) for kind in ("GT", "noisy"))
    scenes.append(("colours of a photograph", truth, seen))
    return [(name, truth.astype(np.float64), seen.astype(np.float64)) for name, truth, seen in scenes]
