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

SMALL, SELF = {"preset": "denoise-small"}, {"preset": "denoise-self"}
ALONE = {**SELF, "similar_patches": False}
FULL, HALF = {"precision": "float32"}, {"precision": "bfloat16"}

#: Shapes, and what is asked.
CASES: tuple[tuple[tuple[int, ...], dict[str, Any]], ...] = (
    *(((n, n), {**SMALL, **digits}) for n in (64, 96, 128, 192, 256, 384, 512) for digits in (FULL, HALF)),
    *(((n, n), {**SELF, **digits}) for n in (64, 96, 128, 192, 256) for digits in (FULL, HALF)),
    *(((n, n), {**SELF, **FULL}) for n in (384, 512)),
    *(((n, n), {**ALONE, **digits}) for n in (512, 1024) for digits in (FULL, HALF)),
    ((256, 256), {**ALONE, **FULL}),
    ((1024, 1024), {**SMALL, **FULL}),
    *((shape, {**SMALL, **FULL}) for shape in ((8, 48, 48), (16, 64, 64), (4, 96, 96), (24, 80, 80), (32, 96, 96))),
    *((shape, {**SELF, **FULL}) for shape in ((8, 48, 48), (16, 64, 64))),
    ((24, 80, 80), {**ALONE, **FULL}),
    *(((3, 256, 256), {**each, **FULL, "channel_axis": 0}) for each in (SMALL, SELF)),
    *(((512, 512), {**SMALL, **digits, "recompute": "on"}) for digits in (FULL, HALF)),
    ((24, 80, 80), {**SMALL, **FULL, "recompute": "on"}),
    ((256, 256), {"preset": "denoise-large", **FULL}),
    *(((512, 512), {**SMALL, **digits, "threads": 2}) for digits in (FULL, HALF)),
    ((512, 512), {**SMALL, **FULL, "tile": 256}),
    ((12, 90, 110), {**SMALL, **FULL, "leading_axes": 1}),
    ((100, 120), {"task": "superresolve", "preset": "superresolve-small", **FULL, "factor": 2}),
    ((224, 224), {"task": "inpaint", "preset": "inpaint-small", **FULL}),
    ((160, 160), {"task": "deconvolve", "preset": "deconvolve-small", **FULL, "psf": 2.0}),
)
LARGE = (
    ((2048, 2048), {**SELF, **FULL}),
    ((2048, 2048), {**SMALL, **FULL, "tile": 1024}),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="where to compute (default: auto)")
    parser.add_argument("--large", action="store_true", help="images of 2048 x 2048 alone: an hour on a CPU")
    parser.add_argument("--most", type=int, default=2**30, metavar="N", help="leave out cases of more pixels")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the table goes")


def main(options: argparse.Namespace) -> int:
    """Measure all cases; write a table and a JSON."""
    rows = []
    for shape, asked in LARGE if options.large else CASES:
        if np.prod(shape) <= options.most:
            rows.append(measured(shape, {"threads": 1, **asked, "iterations": ITERATIONS, "device": options.device}))
            print(rows[-1], flush=True)
    name = "memory" + ("-large" if options.large else "") + ("-gpu" if rows[0]["gpu"] else "")
    print(save(options.results, name, rows, report.where(options.device)))
    return 0


def save(results: Path, name: str, rows: list[dict[str, Any]], where: dict[str, str]) -> str:
    """Write the table and the JSON of what was measured."""
    lines = ["| image | asked | measured, MB | estimate, MB | ratio |", "|---" * 5 + "|"]
    for row in rows:
        said = ", ".join(f"{k}={v}" for k, v in row["asked"].items() if k not in ("device", "iterations"))
        figures = f"{row['measured'] / 1e6:.0f} | {row['estimate'] / 1e6:.0f} | {row['ratio']:.2f}"
        lines.append(f"| {' x '.join(map(str, row['shape']))} | {said} | {figures} |")
    ratios = [row["ratio"] for row in rows]
    lines += ["", f"Estimate over measurement: {min(ratios):.2f} to {max(ratios):.2f}."]
    title = "Memory beyond what the process held before a run"
    return report.save(results, name, title, "\n".join(lines), {"runs": rows}, where)


def measured(shape: tuple[int, ...], asked: dict[str, Any]) -> dict[str, Any]:
    """What a run takes, and what is said before it, each in a fresh process: either loads code that the other needs."""
    found: dict[str, Any] = {"shape": shape, "asked": asked}
    for part in (_measure, _estimate):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found |= pool.apply(part, (shape, asked))
    return found | {"ratio": round(found["estimate"] / found["measured"], 3)}


def _estimate(shape: tuple[int, ...], asked: dict[str, Any]) -> dict[str, Any]:
    import napari_dip

    began = time.perf_counter()
    cost = napari_dip.estimate(shape, **asked)
    took = time.perf_counter() - began
    return {"estimate": cost.memory, "seconds_estimate": round(cost.seconds, 2), "seconds_to_estimate": round(took, 2)}


def _measure(shape: tuple[int, ...], asked: dict[str, Any]) -> dict[str, Any]:
    import torch

    from napari_dip import iterate
    from napari_dip.core import device as devices

    gpu = devices.choose(asked["device"]).name.startswith("cuda")
    image, mask = _image(shape), None
    if asked.get("task") == "inpaint":
        mask = np.indices(shape).sum(axis=0) % 9 == 0
    before = torch.cuda.memory_allocated() if gpu else _resident("VmRSS")
    began = time.perf_counter()
    for _ in iterate(**{"task": "denoise", **asked}, image=image, mask=mask):
        pass
    seconds = time.perf_counter() - began
    peak = (torch.cuda.max_memory_allocated() if gpu else _resident("VmHWM")) - before
    return {"gpu": gpu, "measured": peak, "seconds": round(seconds, 2)}


def _image(shape: tuple[int, ...]) -> np.ndarray:
    """Stripes with photon noise."""
    stripes = 20 + 10 * np.sin(np.indices(shape).sum(axis=0) / 7)
    return np.random.default_rng(0).poisson(stripes).astype(np.float32)


def _resident(line: str) -> int:
    """Bytes of this process in memory: now (VmRSS), or at the most (VmHWM)."""
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(text for text in status if text.startswith(line)).split()[1])
