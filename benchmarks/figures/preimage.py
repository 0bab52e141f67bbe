"""Pre-images: images whose features a layer takes for the same, sought by the prior and by plain pixels with TV.

The network is the small one of textures (`napari_dip.lab.texture_network`). The weight of the total variation is chosen
on two images, and the claim is made on four others. Units of the last layer are raised by both, for the picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import images
from benchmarks.figures import Figure, sheet, table
from benchmarks.images import Array
from napari_dip import lab

LAYERS = ("relu1", "relu2", "relu3")
WEIGHTS = (0.004, 0.02, 0.1)
CHOSEN = ("dots", "grey/03.png")
SHOWN = ("rings", "cells", "grey/02.png", "fmd/gt/Confocal_BPAE_R.png")
RAISED = ("checks", "rings", "dots")
RUN: dict[str, Any] = {"iterations": 200, "threads": 1, "progress": False}
TINY = {"channels": 4, "scales": 1}  # of the prior where only the pixels are looked at


def measure(data: Path, crop: int) -> Figure:
    """Feature error and PSNR of both ways at three layers, and a picture with units raised in its last row."""
    network, side = lab.texture_network(), min(crop, 64)
    tried = {
        weight: np.mean(
            [
                lab.preimage(_image(data, name, side), network, layer, tv=weight, **TINY, **RUN).plain.psnr
                for name in CHOSEN
                for layer in LAYERS[1:]
            ]
        )
        for weight in WEIGHTS
    }
    best = max(tried, key=tried.get)
    print(tried, flush=True)
    rows, pictures = [], []
    for name in SHOWN:
        image = _image(data, name, side)
        shown = {name.split("/")[-1]: image}
        for layer in LAYERS:
            found = lab.preimage(image, network, layer, tv=best, **RUN)
            rows.append(
                {
                    "image": name,
                    "layer": layer,
                    "error, prior": f"{found.prior.values[-1]:.3f}",
                    "error, pixels": f"{found.plain.values[-1]:.3f}",
                    "PSNR, prior": found.prior.psnr,
                    "PSNR, pixels": found.plain.psnr,
                }
            )
            print(rows[-1], flush=True)
            shown |= {f"{layer}, prior": found.image, f"{layer}, pixels and TV": found.plain.image}
        pictures.append(shown)
    raised: dict[str, Array] = {}
    for name in RAISED:
        found = lab.maximise(network, "classes", lab.TEXTURES.index(name), (side, side), tv=best, **RUN)
        raised |= {f"raises {name}: prior": found.image, f"{name}: pixels and TV": found.plain.image}
    text = [
        f"{side}x{side} pixels, {RUN['iterations']} iterations; weight {best:g} of TV, chosen on {', '.join(CHOSEN)}:",
        table(rows),
        "Mean, and number of images where the prior is ahead:",
        table([_mean(rows, layer) for layer in LAYERS]),
    ]
    return Figure(text="\n\n".join(text), rows=rows, picture=sheet([*pictures, raised]))


def _image(data: Path, name: str, side: int) -> Array:
    if name in lab.TEXTURES:
        return lab.texture(name, (side, side), 5)
    image = images._read(data / name, side).astype(np.float64)
    return (image - image.min()) / np.ptp(image)


def _mean(rows: list[dict[str, Any]], layer: str) -> dict[str, Any]:
    there = [row for row in rows if row["layer"] == layer]
    prior, plain = ([row[f"PSNR, {way}"] for row in there] for way in ("prior", "pixels"))
    ahead = sum(one > other for one, other in zip(prior, plain, strict=True))
    gain = np.subtract(prior, plain)
    return {
        "layer": layer,
        "PSNR, prior": float(np.mean(prior)),
        "PSNR, pixels": float(np.mean(plain)),
        "worst gain": float(gain.min()),
        "ahead": f"{ahead} of {len(there)}",
    }
