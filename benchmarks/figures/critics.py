"""What critics of the prior claim, on six crops and two seeds: mean, and the crop and seed that speak most against it.

Noise: white, sigma 0.1 of the range, PSNR of the best iterate and of the one at the end. Holes: a disc of radius 8,
PSNR within it. Differences are taken crop by crop and seed by seed. Predictions before the run, from one seed and three
crops (`impedance`): transposed against bilinear upsampling, at the end, 3 dB less; upsampling without filters (1x1)
against filters without upsampling (resnet) 1 dB less; nearest against bilinear 1 dB more; skips in holes, 32 channels
against none, 2 dB less with one crop deciding; a mesh grid no gain.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

import napari_dip
from benchmarks import images
from benchmarks.figures import Figure, sheet, table
from benchmarks.figures.impedance import FILLED, GENERATORS, ITERATIONS, RADIUS, SIGMA
from benchmarks.images import Array
from napari_dip import lab
from napari_dip.trust import psnr

SCENES = (
    "grey/02.png", "grey/07.png", "grey/09.png", "fmd/gt/Confocal_BPAE_R.png", "fmd/gt/Confocal_MICE.png",
    "fmd/gt/TwoPhoton_BPAE_B.png",
)  # fmt: skip
SEEDS = 0, 1
#: Claim -> what is measured, the two that are compared, the first of which should be ahead by it.
CLAIMS = {
    "bilinear above transposed, at the end": ("end", "hourglass", "transposed"),
    "bilinear above transposed, best iterate": ("best", "hourglass", "transposed"),
    "upsampling alone (1x1) above filters alone (resnet)": ("best", "1x1 filters", "resnet"),
    "upsampling alone (decoder) above filters alone (resnet)": ("best", "decoder", "resnet"),
    "nearest above bilinear": ("best", "nearest", "hourglass"),
    "holes: no skips above 4 channels": ("hole", "no skips", "skips 4"),
    "holes: no skips above 32 channels": ("hole", "no skips", "skips 32"),
    "holes: mesh grid above noise as the code": ("hole", "no skips, mesh", "no skips"),
}
#: What takes part: a hole or noise, and the generator.
PARTS = tuple(
    dict.fromkeys(("hole" if what == "hole" else "noise", each) for what, *two in CLAIMS.values() for each in two)
)


def measure(data: Path, crop: int) -> Figure:
    """PSNR of each that a claim compares, on each crop with each seed, and what became of the claims."""
    found: dict[tuple[str, str], list[float]] = {}
    rows, shown = [], []
    for seed in SEEDS:
        for name in SCENES:
            row: dict[str, Any] = {"image": name, "seed": seed}
            image = images._read(data / name, crop).astype(np.float64)
            image = (image - image.min()) / np.ptp(image)
            pictures = {"image": image}
            for what, label in PARTS:
                scores, pictures[label] = (_hole if what == "hole" else _noise)(image, label, seed)
                for kind, score in scores.items():
                    found.setdefault((kind, label), []).append(score)
                    row[f"{kind}, {label}"] = score
            rows.append(row)
            shown.append(pictures)
            print(row, flush=True)
            print(table(_claims(found)), flush=True)
    text = [f"{crop}x{crop} pixels, {ITERATIONS} iterations, dB:", table(_claims(found)), table(rows)]
    return Figure(text="\n\n".join(text), rows=[*_claims(found), *rows], picture=sheet(shown[: len(SCENES)]))


def _claims(found: dict[tuple[str, str], list[float]]) -> list[dict[str, Any]]:
    made = []
    for claim, (what, one, other) in CLAIMS.items():
        gains = np.subtract(found[what, one], found[what, other])
        row = {"claim": claim, "mean": float(gains.mean()), "worst": float(gains.min()), "best": float(gains.max())}
        made.append(row | {"holds": f"{(gains > 0).sum()} of {gains.size}"})
    return made


def _noise(image: Array, label: str, seed: int) -> tuple[dict[str, float], Array]:
    noisy = lab.targets_of(image, SIGMA, seed)["image + noise"]
    run = napari_dip.iterate(
        "denoise", noisy, preset="denoise-small", runs=1, average=0.0, iterations=ITERATIONS, stop="iterations",
        skip_bad_pixels=False, interval=math.inf, snapshot_every=10, threads=1, seed=seed, **GENERATORS[label],
    )  # fmt: skip
    made = [shown.image for shown in run if shown.iteration]
    scores = [psnr(each, image, data_range=1.0) for each in made]
    return {"best": max(scores), "end": scores[-1]}, made[int(np.argmax(scores))]


def _hole(image: Array, label: str, seed: int) -> tuple[dict[str, float], Array]:
    y, x = np.indices(image.shape) - np.reshape(image.shape, (2, 1, 1)) // 2
    hole = y**2 + x**2 <= RADIUS**2
    result = napari_dip.inpaint(
        np.where(hole, 0, image), hole, preset="inpaint-small", iterations=ITERATIONS, refine=0, stop="iterations",
        threads=1, skip_bad_pixels=False, progress=False, seed=seed, **FILLED[label],
    )  # fmt: skip
    return {"hole": psnr(result.image[hole], image[hole], data_range=1.0)}, result.image
