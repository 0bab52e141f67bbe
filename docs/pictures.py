"""Pictures of how-it-works.md, computed anew: ``python docs/pictures.py``; a few minutes on two cores.

The image is a part of the sample *fluorescence*, of which the truth is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

import napari_dip
from napari_dip.trust import psnr
from napari_dip.viewer.samples import fluorescence

Array = npt.NDArray[Any]
HERE = Path(__file__).parent
PART = slice(40, 136), slice(40, 136)
GREY = "#555555"
PRIOR: dict[str, Any] = {  # without what ends it in time, so that it can be seen to go on too long
    "preset": "denoise-small", "runs": 1, "stop": "iterations", "iterations": 4000, "average": 0.0,
    "seed": 0, "interval": float("inf"), "snapshot_every": 50
}  # fmt: skip


def main() -> None:
    """Take all pictures."""
    truth, noisy = (np.asarray(layer[0], np.float64)[PART] for layer in fluorescence())
    _prior(truth, noisy).savefig(HERE / "prior.png", dpi=100)
    _training(truth, noisy).savefig(HERE / "training.png", dpi=100)


def _prior(truth: Array, noisy: Array) -> Figure:
    """Iterates of a prior that is not stopped, below them how near each is to the truth."""
    iterates = {each.iteration: each.image for each in napari_dip.iterate("denoise", noisy, **PRIOR) if each.snapshot}
    found = {iteration: _decibels(image, truth) for iteration, image in iterates.items()}
    best, last = max(found, key=found.__getitem__), max(found)
    early = min(found)
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.1, 1))
    shown = {
        f"measured, {_decibels(noisy, truth):.1f} dB": noisy,
        f"iteration {early}: too early": iterates[early],
        f"iteration {best}: in time": iterates[best],
        f"iteration {last}: too late": iterates[last],
        "truth": truth,
    }
    _row(above, shown, truth)
    axes = below.subplots()
    axes.plot(list(found), list(found.values()), color="#1f77b4")
    axes.axhline(_decibels(noisy, truth), color=GREY, linestyle=":")
    axes.annotate("the measurement", (last / 3, _decibels(noisy, truth)), va="bottom", color=GREY)
    for at in (early, best, last):
        axes.plot(at, found[at], "o", color="#d62728")
    axes.set(xlabel="iteration", ylabel="PSNR to the truth, dB")
    return figure


def _training(truth: Array, noisy: Array) -> Figure:
    """What self-guided training is taught by, and what it makes."""
    teacher = napari_dip.denoise(noisy, quality="fast", seed=0, progress=False).image
    made = napari_dip.denoise(noisy, preset="denoise-self", seed=0, progress=False).image
    figure = Figure(figsize=(9, 2.7), layout="constrained")
    named = {"measured": noisy, "similar patches, the teacher": teacher, "self-guided training": made, "truth": truth}
    _row(figure, named, truth)
    for axes, image in zip(figure.axes[:-1], (noisy, teacher, made), strict=True):
        axes.set_title(f"{axes.get_title()}\n{_decibels(image, truth):.1f} dB", fontsize=10)
    return figure


def _row(figure: Any, shown: dict[str, Array], truth: Array) -> None:
    low, high = np.percentile(truth, (0.5, 99.8))
    for axes, (name, image) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
        axes.imshow(image, cmap="gray", vmin=low, vmax=high)
        axes.set_title(name, fontsize=10)
        axes.set_axis_off()


def _decibels(image: Array, truth: Array) -> float:
    return float(psnr(image, truth, data_range=float(np.ptp(truth))))


if __name__ == "__main__":
    main()
