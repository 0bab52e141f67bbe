"""Experiments of the laboratory on crops: knobs, explicit penalties, held-out pixels, bands of frequencies.

Noise is white, sigma 0.1 of the range of the crop. The paper compares with CBM3D and non-local means on photographs in
colour. Prediction before the run: the prior above total variation and non-local means by 0.5 dB or less on either crop,
and total variation behind the prior worth less than 0.2 dB.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import images
from benchmarks.figures import Figure, sheet, table
from napari_dip import lab

SCENES = ("fmd/gt/Confocal_BPAE_R.png", "grey/02.png")
SIGMA = 0.1
QUESTIONS = ("skips", "upsampling", "code noise", "optimiser")


def measure(data: Path, crop: int) -> Figure:
    """Explicit methods and four questions on each scene; held-out pixels and bands on the first."""
    said: dict[str, Any] = {"progress": False, "threads": 1}
    parts, rows, shown = [], [], []
    for name in SCENES:
        truth = images._read(data / name, crop).astype(np.float64)
        noisy = truth + SIGMA * np.ptp(truth) * np.random.default_rng(0).standard_normal(truth.shape)
        found = lab.explicit(noisy, truth, iterations=1000, **said)
        shown.append(found.images)
        tables = [("each at its best", found.rows)]
        print(found.table(), flush=True)
        for question in QUESTIONS:
            tables.append((question, lab.ablation(noisy, question, truth=truth, iterations=400, **said).rows))
            print(table(tables[-1][1]), flush=True)
        if name == SCENES[0]:
            tables.append(("held-out pixels", lab.held_out(noisy, truth=truth, iterations=1500, **said).rows))
            tables.append(("bands of frequencies", lab.trajectory(noisy, iterations=1000, **said).rows))
        for title, each in tables:
            parts += [f"{name}, {title}:", table(each)]
            rows += [{"image": name, "experiment": title, **row} for row in each]
    return Figure(text="\n\n".join(parts), rows=rows, picture=sheet(shown))
