"""Langevin sampling (SGLD) beside the plain prior, one run and four: PSNR, and how right the uncertainty is.

White noise, sigma 0.1 of the range; the noise is estimated, as for a user. The plain prior is stopped by its rule.
Prediction before the run: sampling is level with one plain run (within 0.3 dB) and 0.5 dB behind four; 0.85 of the
truth lies within two of its standard deviations, 0.75 within two of those of four runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import napari_dip
from benchmarks import images
from benchmarks.figures import Figure, sheet, table
from benchmarks.figures.impedance import SIGMA
from napari_dip.trust import calibration, psnr

SCENES = "fmd/gt/Confocal_BPAE_R.png", "grey/02.png", "fmd/gt/Confocal_MICE.png"
WAYS: dict[str, dict[str, Any]] = {
    "prior": {"runs": 1},
    "prior, 4 runs": {"runs": 4},
    "SGLD": {"runs": 1, "optimiser": "sgld", "iterations": 2000},
}


def measure(data: Path, crop: int) -> Figure:
    """PSNR and calibration of each way on each scene, and the means."""
    rows, shown = [], []
    for name in SCENES:
        truth = images._read(data / name, crop).astype(np.float64)
        noisy = truth + SIGMA * np.ptp(truth) * np.random.default_rng(0).standard_normal(truth.shape)
        pictures = {"measured": noisy}
        for way, knobs in WAYS.items():
            said: dict[str, Any] = {"preset": "denoise-small", "uncertainty": True, "threads": 1, "progress": False}
            result = napari_dip.denoise(noisy, skip_bad_pixels=False, **said | knobs)
            pictures[way] = result.image
            assert result.uncertainty is not None
            spread, error = np.sqrt(np.mean(result.uncertainty**2)), np.sqrt(np.mean((result.image - truth) ** 2))
            rows.append(
                {
                    "image": name,
                    "way": way,
                    "PSNR": psnr(result.image, truth, data_range=float(np.ptp(truth))),
                    "within two": calibration(result.uncertainty, result.image, truth),
                    "uncertainty over error": float(spread / error),
                    "iterations": int(result.iterations),
                }
            )
            print(rows[-1], flush=True)
        shown.append({**pictures, "truth": truth})
    figures = "PSNR", "within two", "uncertainty over error"
    for way in WAYS:
        means = {key: float(np.mean([row[key] for row in rows if row["way"] == way])) for key in figures}
        rows.append({"image": "mean", "way": way, **means, "iterations": ""})
    return Figure(text=f"{crop}x{crop} pixels:\n\n{table(rows)}", rows=rows, picture=sheet(shown))
