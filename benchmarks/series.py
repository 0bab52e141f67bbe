"""How long a stack takes: ``python -m benchmarks series``.

Slices restored one after the other, and several at once, in the same number of iterations: a prior and a self-guided
fit, each slice from nothing. The numbers at once take turns, so that what else the machine does hits all alike.
Then a self-guided fit whose slices begin with the weights of their neighbours. Written into ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

METHODS: dict[str, dict[str, Any]] = {
    "prior": {"preset": "denoise-small", "stop": "iterations"},
    "self-guided": {"preset": "denoise-self", "stop": "iterations"},
}
SIGMA = 10


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    parser.add_argument("--slices", type=int, help="of the stack; by default 4, on a GPU 64")
    parser.add_argument("--size", type=int, help="N of NxN pixels; by default 64, on a GPU 256")
    parser.add_argument("--at-once", nargs="+", type=int, metavar="N", help="by default 2, on a GPU 8 32 64")
    parser.add_argument("--iterations", type=int, help="of each slice; by default 20, on a GPU 400")
    parser.add_argument("--rounds", type=int, default=3, help="turns that each takes")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="where the table goes")


def main(options: argparse.Namespace) -> int:
    """Measure; write a table and a JSON."""
    from benchmarks import report

    device = "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"
    gpu = device == "cuda"
    count, size = options.slices or (64 if gpu else 4), options.size or (256 if gpu else 64)
    iterations = options.iterations or (400 if gpu else 20)
    image = stack(count, size)
    rows = []
    for method, settings in METHODS.items():
        knobs = {**settings, "iterations": iterations, "warm_start": False, "device": device}
        rows += compared(method, image, [1, *(options.at_once or ([8, 32, 64] if gpu else [2]))], options.rounds, knobs)
    whole = {"preset": "denoise-self", "device": device, "at_once": 1}
    cold, warm = (seconds(image, {**whole, "warm_start": start})[0] for start in (False, True))
    rows.append({"method": "self-guided, whole, from nothing", "at_once": 1, "seconds": cold, "faster": 1.0})
    rows.append({"method": "the same, from neighbours", "at_once": 1, "seconds": warm, "faster": cold / warm})
    lines = ["| method | slices at once | s | times as fast |", "|---|---|---|---|"]
    lines += [f"| {r['method']} | {r['at_once']} | {r['seconds']:.2f} | {r['faster']:.2f} |" for r in rows]
    text = "\n".join(lines) + f"\n\n{count} slices of {size}x{size}, {iterations} iterations each unless whole."
    folder = options.results or Path(__file__).parent / "results"
    title = f"A stack on a {'GPU' if gpu else 'CPU'}: seconds"
    print(report.save(folder, f"series-{device}", title, text, {"series": rows}, report.where(device)))
    return 0


def stack(count: int, size: int) -> np.ndarray:
    """A scene of blobs that moves by a pixel a slice, with white noise (count, size, size)."""
    rng = np.random.default_rng(0)
    places, widths = rng.uniform(0, size, (size // 4, 2)), rng.uniform(2, size / 16 + 2, size // 4)
    y, x = np.mgrid[:size, :size]
    scene = sum(np.exp(-((y - v) ** 2 + (x - u) ** 2) / (2 * w**2)) for (v, u), w in zip(places, widths, strict=True))
    moved = np.stack([np.roll(scene, i, axis=1) for i in range(count)])
    return 100 + 100 * moved + rng.normal(0, SIGMA, moved.shape)


def compared(method: str, image: np.ndarray, at_once: list[int], rounds: int, knobs: dict[str, Any]) -> list[dict]:
    """A row for each number at once: the median time, and how much faster that is than one after the other."""
    seconds(image[:2], {**knobs, "at_once": 2, "iterations": 5})  # libraries choose their algorithms
    taken: dict[int, list[float]] = {n: [] for n in at_once}
    images = {}
    for turn in range(rounds):
        for n in at_once[turn % len(at_once) :] + at_once[: turn % len(at_once)]:
            took, images[n] = seconds(image, {**knobs, "at_once": n})
            taken[n].append(took)
            print(f"{method}, {n} at once: {took:.2f} s", flush=True)
    alone = median(taken[1])
    return [
        {
            "method": method,
            "at_once": n,
            "seconds": median(each),
            "faster": alone / median(each),
            "difference": float(np.abs(images[n] - images[1]).max()),  # of the restored stacks, in counts
        }
        for n, each in taken.items()
    ]


def seconds(image: np.ndarray, knobs: dict[str, Any]) -> tuple[float, np.ndarray]:
    """How long a stack takes, and what comes out."""
    from napari_dip import denoise

    began = time.perf_counter()
    result = denoise(image, leading_axes=1, gain=0.0, offset=0.0, read_noise=float(SIGMA), **knobs)
    return time.perf_counter() - began, result.image
