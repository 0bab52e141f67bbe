"""How much memory runs take, and how long, against what `napari_dip.estimate` says before them.

Each case is run in a process of its own, with few iterations: the peak does not depend on their number. The peak is
the largest resident size, or on a GPU the largest allocation, above what the process held before the run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report

RESULTS = Path(__file__).parent / "results"
ITERATIONS = 4

#: Shapes, number of channels in front, and knobs.
CASES: tuple[tuple[tuple[int, ...], int, dict[str, Any]], ...] = (
    ((64, 64), 1, {"preset": "denoise-small"}),
    ((256, 256), 1, {"preset": "denoise-small"}),
    ((512, 512), 1, {"preset": "denoise-small"}),
    ((1024, 1024), 1, {"preset": "denoise-small"}),
    ((256, 256), 3, {"preset": "denoise-small"}),
    ((256, 256), 1, {"preset": "denoise-small", "precision": "bfloat16"}),
    ((512, 512), 1, {"preset": "denoise-small", "uncertainty": True, "average": 0.9}),
    ((512, 512), 1, {"preset": "denoise-small", "tile": 256}),
    ((128, 128), 1, {"preset": "denoise-large"}),
    ((256, 256), 1, {"preset": "original-denoise"}),
    ((16, 64, 64), 1, {"preset": "denoise-small"}),
    ((32, 128, 128), 1, {"preset": "denoise-small"}),
    ((128, 128), 1, {"preset": "denoise-self"}),
    ((256, 256), 1, {"preset": "denoise-self"}),
    ((512, 512), 1, {"preset": "denoise-self"}),
    ((1024, 1024), 1, {"preset": "denoise-self"}),
    ((256, 256), 3, {"preset": "denoise-self", "precision": "float32"}),
    ((16, 64, 64), 1, {"preset": "denoise-self"}),
    ((8, 48, 48), 1, {"preset": "denoise-small"}),
    ((4, 96, 96), 1, {"preset": "denoise-small"}),
    ((12, 64, 64), 2, {"preset": "denoise-small", "runs": 3}),
    ((512, 512), 1, {"preset": "denoise-small", "threads": 4}),
    ((200, 200), 1, {"preset": "denoise-self"}),
    ((160, 160), 5, {"preset": "denoise-self"}),
)
LARGE = (
    ((2048, 2048), 1, {"preset": "denoise-self"}),
    ((2048, 2048), 1, {"preset": "denoise-small", "tile": 1024}),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="where to compute (default: auto)")
    parser.add_argument("--large", action="store_true", help="images of 2048 x 2048 alone: an hour on a CPU")
    parser.add_argument("--most", type=int, default=2**30, metavar="N", help="leave out cases of more pixels")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the table goes")


def main(options: argparse.Namespace) -> int:
    """Measure all cases; write a table and a JSON."""
    rows = []
    for shape, channels, knobs in LARGE if options.large else CASES:
        if np.prod(shape) <= options.most:
            rows.append(measured(shape, channels, {**knobs, "iterations": ITERATIONS, "device": options.device}))
            print(rows[-1], flush=True)
    where = report.where(options.device)
    lines = ["| image | settings | measured, MB | estimate, MB | ratio |", "|---" * 5 + "|"]
    for row in rows:
        size = " x ".join(map(str, row["shape"])) + (f", {row['channels']} channels" if row["channels"] > 1 else "")
        knobs = ", ".join(
            f"{name}={value}" for name, value in row["knobs"].items() if name not in ("device", "iterations")
        )
        figures = f"{row['measured'] / 1e6:.0f} | {row['estimate'] / 1e6:.0f} | {row['ratio']:.2f}"
        lines.append(f"| {size} | {knobs} | {figures} |")
    ratios = [row["ratio"] for row in rows]
    lines += ["", f"Estimate over measurement: {min(ratios):.2f} to {max(ratios):.2f}."]
    title = "Memory beyond what the process held before a run"
    name = "memory" + ("-large" if options.large else "") + ("-gpu" if rows[0]["gpu"] else "")
    print(report.save(options.results, name, title, "\n".join(lines), {"runs": rows}, where))
    return 0


def measured(shape: tuple[int, ...], channels: int, knobs: dict[str, Any]) -> dict[str, Any]:
    """What a run takes, in a fresh process, and what was said before it."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (shape, channels, knobs))


def _measure(shape: tuple[int, ...], channels: int, knobs: dict[str, Any]) -> dict[str, Any]:
    import torch

    import napari_dip
    from napari_dip.core import device as devices

    gpu = devices.choose(knobs["device"]).name.startswith("cuda")
    axes = {"channel_axis": 0 if channels > 1 else None}
    image = _image((channels, *shape))
    image = image if channels > 1 else image[0]
    began = time.perf_counter()
    cost = napari_dip.estimate(image.shape, **axes, **knobs)
    asked = time.perf_counter() - began
    if gpu:
        torch.cuda.reset_peak_memory_stats()  # an estimate measures how fast the GPU is
    before = torch.cuda.memory_allocated() if gpu else _resident("VmRSS")
    began = time.perf_counter()
    napari_dip.denoise(image, **axes, **knobs)
    seconds = time.perf_counter() - began
    peak = (torch.cuda.max_memory_allocated() if gpu else _resident("VmHWM")) - before
    return {
        "shape": shape,
        "channels": channels,
        "knobs": knobs,
        "gpu": gpu,
        "measured": peak,
        "estimate": cost.memory,
        "ratio": round(cost.memory / peak, 3),
        "seconds": round(seconds, 2),
        "seconds_estimate": round(cost.seconds, 2),
        "seconds_to_estimate": round(asked, 2),
    }


def _image(shape: tuple[int, ...]) -> np.ndarray:
    """Stripes with photon noise."""
    stripes = 20 + 10 * np.sin(np.indices(shape).sum(axis=0) / 7)
    return np.random.default_rng(0).poisson(stripes).astype(np.float32)


def _resident(line: str) -> int:
    """Bytes of this process in memory: now (VmRSS), or at the most (VmHWM)."""
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(text for text in status if text.startswith(line)).split()[1])
