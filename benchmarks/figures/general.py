"""A general prior beside the internal one: where does the pair beat both alone?

General: the small trained network (`napari_dip.lab.trained_denoiser`), which has seen other images. Internal: the
untrained generator, which has seen this one alone; and similar patches of its image. Half of the pixels are missing, or
the noise is white with 0.1 of the range. The steps of each are chosen on four crops, seed 0; the claim is made on four
others with three seeds. Fits have 500 iterations at the most. PSNR in dB of the range, of all pixels. Prediction before
the run: missing pixels +1.5 dB over the prior, +0.5 over the network; noise +0.5 over the prior, 0 over the network,
which is trained for just that.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import napari_dip
from benchmarks import images
from benchmarks.figures import Figure, sheet, table
from benchmarks.images import Array
from napari_dip.core.methods.refine import refined
from napari_dip.core.pauses import without_pauses
from napari_dip.lab import trained_denoiser
from napari_dip.tables.parts import OwnPart
from napari_dip.trust import psnr

CHOSEN = ("grey/03.png", "grey/09.png", "fmd/gt/Confocal_MICE.png", "fmd/gt/TwoPhoton_BPAE_R.png")
CLAIMED = ("grey/02.png", "grey/07.png", "fmd/gt/Confocal_BPAE_R.png", "fmd/gt/TwoPhoton_BPAE_B.png")
SEEDS, SIGMA = (0, 1, 2), 0.1
STEPS = (1, 2, 4, 8, 16)  # behind the prior
ALONE = (4, 8, 16, 32)  # of the network alone, where pixels are missing
STRENGTHS = (0.8, 1.0, 1.2)  # of the network alone, times the deviation of the noise
WAYS = ("prior", "prior, similar patches", "network", "prior, network")
TASKS = ("half missing", "noise")
RUN: dict[str, Any] = {
    "iterations": 500, "threads": 1, "runs": 1, "refine": 0, "interval": float("inf"), "skip_bad_pixels": False
}  # fmt: skip


def measure(data: Path, crop: int) -> Figure:
    """Choose steps on the one half, and compare on the other."""
    steps = {task: _chosen(data, crop, task) for task in TASKS}
    print(steps, flush=True)
    rows, shown = [], []
    for task in TASKS:
        for name in CLAIMED:
            tries = [_made(data, crop, name, task, seed, steps[task]) for seed in SEEDS]
            truth, seen = tries[0][1:]
            found = [{way: psnr(image, truth, data_range=1.0) for way, image in made.items()} for made, *_ in tries]
            row: dict[str, Any] = {"task": task, "image": name}
            row |= {way: float(np.mean([each[way] for each in found])) for way in WAYS}
            gains = [each["prior, network"] - max(each[way] for way in WAYS[:3]) for each in found]
            rows.append(row | {"gain over the best": float(np.mean(gains)), "worst seed": min(gains)})
            print(rows[-1], flush=True)
            shown.append({"truth": truth, f"{task}": seen, **tries[0][0]})
    text = [f"Steps, chosen on {', '.join(CHOSEN)}: {steps}.", table(rows), "Means:", table(_means(rows))]
    return Figure(text="\n\n".join(text), rows=rows, picture=sheet(shown))


def _means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    made = []
    for task in TASKS:
        there = [row for row in rows if row["task"] == task]
        gains = [row["gain over the best"] for row in there]
        row = {"task": task} | {way: float(np.mean([row[way] for row in there])) for way in WAYS}
        row |= {"gain over the best": float(np.mean(gains)), "worst image": min(gains)}
        made.append(row | {"ahead": f"{sum(gain > 0 for gain in gains)} of {len(gains)}"})
    return made


def _seen(data: Path, crop: int, name: str, task: str, seed: int) -> tuple[Array, Array]:
    image = images._read(data / name, crop).astype(np.float64)
    truth, rng = (image - image.min()) / np.ptp(image), np.random.default_rng(seed)
    if task == "noise":
        return truth, truth + SIGMA * rng.standard_normal(truth.shape)
    return truth, np.where(rng.random(truth.shape) < 0.5, np.nan, truth)


def _fitted(seen: Array, task: str, seed: int) -> Any:
    """The prior alone, and what it solved."""
    name = "denoise" if task == "noise" else "inpaint"
    run = napari_dip.iterate(name, seen, preset=f"{name}-small", seed=seed, **RUN)
    for _ in run:
        pass
    return run


def _behind(run: Any, steps: int, network: bool) -> Array:
    """The image of a prior after steps of the network, or of similar patches."""
    problem, scaling = run.plan.problem(0), run.plan.scaling
    if network:
        problem = replace(problem, denoiser=OwnPart(trained_denoiser))
    image = torch.from_numpy(scaling.apply(run.result.image))[None, None]
    return scaling.undo(without_pauses(refined(problem, image, steps))[0, 0].numpy())


def _alone(seen: Array, task: str, steps: float) -> Array:
    """The network without the prior: once, or from the smoothest image that has the known pixels."""
    if task == "noise":
        return np.asarray(trained_denoiser(seen, steps * SIGMA), np.float64)
    how: dict[str, Any] = {"preset": "inpaint-patches", "refine": int(steps), "progress": False}
    return napari_dip.inpaint(seen, denoiser=trained_denoiser, skip_bad_pixels=False, **how).image


def _chosen(data: Path, crop: int, task: str) -> dict[str, Any]:
    """Steps of each way with the highest mean PSNR on the first half."""
    scores: dict[str, dict[float, list[float]]] = {way: {} for way in WAYS[1:]}
    for name in CHOSEN:
        truth, seen = _seen(data, crop, name, task, 0)
        run = _fitted(seen, task, 0)
        for way in WAYS[1:]:
            tried = STEPS if way != "network" else STRENGTHS if task == "noise" else ALONE
            for steps in tried:
                made = _alone(seen, task, steps) if way == "network" else _behind(run, int(steps), "network" in way)
                scores[way].setdefault(steps, []).append(psnr(made, truth, data_range=1.0))
        print(task, name, psnr(run.result.image, truth, data_range=1.0), scores, flush=True)
    return {way: max(each, key=lambda steps: np.mean(each[steps])) for way, each in scores.items()}


def _made(
    data: Path, crop: int, name: str, task: str, seed: int, steps: dict[str, Any]
) -> tuple[dict[str, Array], Array, Array]:
    """Image of each way, the truth, and what was measured."""
    truth, seen = _seen(data, crop, name, task, seed)
    run = _fitted(seen, task, seed)
    made = {
        "prior": run.result.image,
        "prior, similar patches": _behind(run, steps["prior, similar patches"], network=False),
        "network": _alone(seen, task, steps["network"]),
        "prior, network": _behind(run, steps["prior, network"], network=True),
    }
    return made, truth, np.nan_to_num(seen)
