"""The image between 0 and 1, or between 0 and 255: does the scale that the generator has to make matter?

White noise, sigma 0.1 of the range, three crops, PSNR of the best iterate and of the one at the end. Prediction before
the run: from 0 to 255 the best iterate is 1 dB worse, as the last layer has to grow first.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks import images
from benchmarks.figures import Figure, sheet, table
from benchmarks.figures.critics import SCENES
from benchmarks.figures.impedance import SIGMA
from napari_dip import lab

ITERATIONS = 800


def measure(data: Path, crop: int) -> Figure:
    """Best and last PSNR of both on each scene."""
    rows, shown = [], []
    for name in SCENES[::2]:
        truth = images._read(data / name, crop).astype(np.float64)
        noisy = truth + SIGMA * np.ptp(truth) * np.random.default_rng(0).standard_normal(truth.shape)
        found = lab.ablation(noisy, "range", truth=truth, iterations=ITERATIONS, progress=False, threads=1)
        rows += [{"image": name, **{key: row[key] for key in row if key != "worst seed"}} for row in found.rows]
        shown.append({"measured": noisy, **found.images, "truth": truth})
        print(rows[-2:], flush=True)
    text = f"{crop}x{crop} pixels, {ITERATIONS} iterations, dB:\n\n{table(rows)}"
    return Figure(text=text, rows=rows, picture=sheet(shown))
