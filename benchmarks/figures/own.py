"""Parts of the user's own against what there is without them: a regulariser, and the operator of a mosaic.

The regulariser is that of docs/own-parts.md, with its weight; noise is white, sigma 0.1 of the range. The mosaic is
that of examples/mosaic.py: two dyes in four bands, 200 photons at the most. Predictions before the run: the regulariser
is worth 0.2 dB and level with total variation; the operator 1 dB more than to undo the overlap afterwards.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.interpolate import griddata

import napari_dip
from benchmarks import images
from benchmarks.figures import Figure, sheet, table
from benchmarks.figures.impedance import SIGMA
from benchmarks.figures.sgld import SCENES
from benchmarks.images import Array
from napari_dip.trust import psnr

DYES = ("Confocal_BPAE_R.png", "Confocal_BPAE_B.png"), ("TwoPhoton_BPAE_R.png", "TwoPhoton_BPAE_B.png")
SPECTRA = np.array([[0.6, 0.3, 0.1, 0.0], [0.0, 0.2, 0.3, 0.5]])  # dyes, bands
OVERLAP = np.array([[0.8, 0.2, 0, 0], [0.1, 0.8, 0.1, 0], [0, 0.1, 0.8, 0.1], [0, 0, 0.2, 0.8]])  # filters, bands
PHOTONS = 200


def measure(data: Path, crop: int) -> Figure:
    """PSNR with the part, without it, and of a plain way."""
    rows, shown = [], []
    for each, names in ((_regulariser, SCENES), (_mosaic, DYES)):
        for name in names:
            truth, made = each(data, name, crop)
            for way, image in made.items():
                score = psnr(image, truth, data_range=float(np.ptp(truth)))
                rows.append({"image": name if isinstance(name, str) else name[0], "way": way, "PSNR": score})
                print(rows[-1], flush=True)
            planes = {**made, "truth": truth}
            shown.append({way: image.reshape(-1, *image.shape[-2:])[0] for way, image in planes.items()})
    picture = sheet([shown[0], shown[len(SCENES)]])
    return Figure(text=f"{crop}x{crop} pixels, dB:\n\n{table(rows)}", rows=rows, picture=picture)


def bending(image: torch.Tensor) -> torch.Tensor:
    """Hessian of an image (1, C, *shape)."""
    return sum((image.diff(n=2, dim=axis).abs().mean() for axis in range(2, image.ndim)), torch.zeros(()))


def filters(image: torch.Tensor) -> torch.Tensor:
    """What each filter lets pass of an image (1, 4, y, x) of four bands."""
    return torch.einsum("fb,nbyx->nfyx", torch.as_tensor(OVERLAP).to(image), image)


def _regulariser(data: Path, name: str, crop: int) -> tuple[Array, dict[str, Array]]:
    truth = images._read(data / name, crop).astype(np.float64)
    noisy = truth + SIGMA * np.ptp(truth) * np.random.default_rng(0).standard_normal(truth.shape)
    ways: dict[str, dict[str, Any]] = {
        "no regulariser": {},
        "total variation": {"regulariser": "tv", "regulariser_weight": 0.01},
        "own regulariser": {"regulariser": bending, "regulariser_weight": 0.02},
    }
    said: dict[str, Any] = {"preset": "denoise-small", "runs": 1, "threads": 1, "progress": False}
    return truth, {"measured": noisy, **{way: napari_dip.denoise(noisy, **said, **ways[way]).image for way in ways}}


def _mosaic(data: Path, names: tuple[str, ...], crop: int) -> tuple[Array, dict[str, Array]]:
    dyes = np.stack([images._read(data / "fmd/gt" / name, crop).astype(np.float64) for name in names])
    bands = np.einsum("db,dyx->byx", SPECTRA, dyes / dyes.max())
    counts = np.random.default_rng(0).poisson(PHOTONS * np.einsum("fb,byx->fyx", OVERLAP, bands)).astype(np.float64)
    measured, grid = np.full(counts.shape, np.nan), np.indices(counts.shape[1:]).reshape(2, -1).T
    for band, (y, x) in enumerate(np.ndindex(2, 2)):
        measured[band, y::2, x::2] = counts[band, y::2, x::2]

    def undone(image: Array) -> Array:
        return np.einsum("bf,fyx->byx", np.linalg.inv(OVERLAP), image) / PHOTONS

    def between(plane: Array) -> Array:
        there = np.argwhere(np.isfinite(plane))
        linear, nearest = (griddata(there, plane[tuple(there.T)], grid, kind) for kind in ("linear", "nearest"))
        return np.where(np.isfinite(linear), linear, nearest).reshape(plane.shape)

    said: dict[str, Any] = {"channel_axis": 0, "threads": 1, "progress": False}
    return bands, {
        "bilinear, undone": undone(np.stack([between(plane) for plane in measured])),
        "no operator, undone": undone(napari_dip.inpaint(measured, **said).image),
        "own operator": napari_dip.inpaint(measured, operator=filters, **said).image / PHOTONS,
    }
