"""A bright channel guides a dim one: what is gained, and what a guide with an object of its own puts into the image.

Scenes: the dim and the bright channel of the sample; the same with a disc in the bright channel alone; a photograph
without flash, guided by one with flash, which has no truth. The guided filter (He, Sun, Tang 2013) has the radius and
the regularisation that are best by the truth. All runs of the prior have the same settings but for the code, and
four seeds, for one alone differs by up to 4 dB from the next, and from the same on another processor.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

import napari_dip
from benchmarks import images
from benchmarks.figures import Figure, sheet, table
from benchmarks.images import Array
from napari_dip.core.judge.errors import psnr
from napari_dip.viewer import samples

HOW = {"preset": "denoise-small", "runs": 1, "iterations": 800, "progress": False}
SEEDS = range(4)


def measure(data: Path, crop: int) -> Figure:
    """PSNR of both scenes with a truth over all seeds, share of unsupported structure of all."""
    (bright, _, _), (truth, _, _), (dim, _, _) = samples.two_channels()
    guide, middle = bright[48:144, 48:144], slice((96 - crop) // 2, (96 + crop) // 2)
    guide, truth, dim = (each[middle, middle].astype(np.float64) for each in (guide, truth, dim))
    disc = np.hypot(*(np.indices(dim.shape) - crop // 3)) < crop / 14
    invented = guide + disc * np.ptp(guide) / 2
    flash, dark = (images._read(data / f"flash/cave01_0{n}flash.jpg", 0) for n in ("0_", "1_no"))
    place = tuple(slice(n // 2, n // 2 + crop) for n in dark.shape[:2])
    flash, dark = (each[place].mean(-1) for each in (flash, dark))
    rows, shown = [], []
    for name, seen, aid, true in (
        ("two channels", dim, guide, truth),
        ("a disc in the guide alone", dim, invented, truth),
        ("flash", dark, flash, None),
    ):
        alone = [napari_dip.denoise(seen, seed=seed, **HOW) for seed in SEEDS]
        led = [napari_dip.denoise(seen, seed=seed, code="guide", guide=aid, **HOW) for seed in SEEDS]
        made = {
            "measured": [seen],
            "prior": [each.image for each in alone],
            "prior, guided": [each.image for each in led],
            "guided filter": [_best(seen, aid, true)],
        }
        row = {"image": name}
        for key, several in made.items():
            row[key] = "" if true is None else _scores(several, true)
        warned = [each for each in led[0].warnings if "structure of the guide" in each]
        rows.append(row | {"warning": warned[0].split(": ")[0] if warned else "none"})
        like = seen.min() + (aid - aid.min()) / np.ptp(aid) * np.ptp(seen)
        shown.append({"measured": seen, "guide": like, **{k: v[0] for k, v in made.items() if k != "measured"}})
        print(rows[-1], flush=True)
    return Figure(text=table(rows), rows=rows, picture=sheet(shown))


def _scores(found: list[Array], truth: Array) -> str:
    """PSNR in dB: the mean of several images, and their least and largest."""
    scores = [psnr(image, truth, data_range=float(np.ptp(truth))) for image in found]
    spread = f" ({min(scores):.2f} to {max(scores):.2f})" if len(scores) > 1 else ""
    return f"{np.mean(scores):.2f}{spread}"


def _best(seen: Array, guide: Array, truth: Array | None) -> Array:
    """The guided filter at its best by the truth; in the middle of its range without one."""
    scaled = (guide - guide.min()) / np.ptp(guide)
    tries = {(r, e): _guided(seen, scaled, r, e) for r in (2, 4, 8) for e in (1e-4, 1e-3, 1e-2, 1e-1)}
    return tries[4, 1e-2] if truth is None else max(tries.values(), key=lambda image: -np.mean((image - truth) ** 2))


def _guided(seen: Array, guide: Array, radius: int, regularisation: float) -> Array:
    def mean(values: Array) -> Array:
        return np.asarray(ndimage.uniform_filter(values, 2 * radius + 1, mode="reflect"))

    slope = (mean(seen * guide) - mean(seen) * mean(guide)) / (mean(guide**2) - mean(guide) ** 2 + regularisation)
    return mean(slope) * guide + mean(mean(seen) - slope * mean(guide))
