"""Compression artefacts removed blindly: where the run stops by itself, and what going on costs.

Each scene is saved as JPEG and read again; the micrographs, of more bits, are first scaled to the 8 that JPEG holds.
PSNR is that against the scene before it was saved, in dB with a peak of 255. Total variation and non-local means have
the strength that is best by the truth.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

import napari_dip
from benchmarks import images
from benchmarks.figures import Figure, sheet, table
from benchmarks.images import Array
from napari_dip.core.judge.metrics import psnr

QUALITY = 10
SCENES = ("grey/02.png", "grey/07.png", "biosr/ccps10_clean.tiff")
AT = (100, 600, 1200, 2400)  # iterations; the paper shows 100, 2400 and 50 000


def measure(data: Path, crop: int) -> Figure:
    """PSNR of each scene by iteration, at the stop, and of two other methods."""
    rows, shown = [], []
    for name in SCENES:
        truth = _eight_bits(images._read(data / name, crop))
        saved = as_jpeg(truth)
        parts = {"JPEG": saved, **_others(saved, truth)}
        run = napari_dip.iterate("deblock", saved, snapshot_every=AT[0], interval=float("inf"))
        found = {p.iteration: p.image for p in run if p.iteration in AT}
        result = run.result
        if result.iterations < AT[-1]:
            how = {"resume": result, "iterations": AT[-1] - result.iterations, "stop": "iterations"}
            more = napari_dip.iterate("deblock", saved, snapshot_every=AT[0], interval=float("inf"), **how)
            found |= {result.iterations + p.iteration: p.image for p in more}
            found[AT[-1]] = more.result.image
        parts |= {f"stops, {result.marks[0]}": result.image, **{f"{n}": found[n] for n in AT if n in found}}
        scores = {key: psnr(image, truth, data_range=255) for key, image in parts.items()}
        row = {"image": name} | {key: scores[key] for key in ("JPEG", "total variation", "non-local means")}
        row |= {"stops at": result.marks[0], "there": scores[f"stops, {result.marks[0]}"]}
        rows.append(row | {f"at {n}": scores.get(str(n), float("nan")) for n in AT})
        shown.append({"before": truth, **{f"{key}  {scores[key]:.2f}": image for key, image in parts.items()}})
        print(rows[-1], result.stop_reason, flush=True)
    return Figure(text=table(rows), rows=rows, picture=sheet(shown))


def as_jpeg(image: npt.NDArray[np.uint8], quality: int = QUALITY) -> npt.NDArray[np.uint8]:
    """An image of 8 bits saved as JPEG and read again."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _eight_bits(image: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    if image.dtype == np.uint8:
        return image.astype(np.uint8)
    low, high = float(image.min()), float(image.max())
    return np.rint(255 * (image.astype(float) - low) / (high - low)).astype(np.uint8)


def _others(saved: Array, truth: Array) -> dict[str, Array]:
    """Total variation and non-local means, at the strength that is best by the truth."""
    seen = np.asarray(saved, float)
    made = {
        "total variation": [denoise_tv_chambolle(seen, weight=weight) for weight in (1, 2, 4, 8, 12, 16, 24)],
        "non-local means": [denoise_nl_means(seen, 5, 7, h=h) for h in (1, 2, 4, 8, 12, 16, 24)],
    }
    return {name: max(each, key=lambda image: psnr(image, truth, data_range=255)) for name, each in made.items()}
