"""How soon an image is good: ``python -m benchmarks pace --data FOLDER``.

Per image, in one process: the preset of the original notebooks, computed as all is here, until its best iterate by the
truth; ours with everything on auto until a preview is as good, and until its end. On a CPU the seconds are those of
the processor, all threads together, so that other work on the machine does not count; on a GPU those of the clock.
Written into ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import images, methods, report
from benchmarks.quality import RESULTS

PATIENCE = 500  # iterations without a better iterate after which none is expected


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Of one image: PSNR in dB, and the seconds after which it was reached."""

    image: str
    noisy: float
    original: float
    original_iteration: int
    original_seconds: float
    as_good_seconds: float
    ours: float
    ours_seconds: float

    @property
    def share(self) -> float:
        """The time until ours is as good, as a share of the original's."""
        return self.as_good_seconds / self.original_seconds


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with the sets of images; see benchmarks/images.py"
    )
    parser.add_argument("--images", nargs="+", default=("grey-25", "fmd"), metavar="NAME", help="sets or images")
    parser.add_argument("--crop", type=int, default=0, metavar="N", help="NxN pixels in the middle; 0 for whole images")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    parser.add_argument("--iterations", type=int, help="of the original at the most, in place of its own number")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the table goes")


def main(options: argparse.Namespace) -> int:
    """Measure each image, write a table and a JSON."""
    from napari_dip.core import device

    clock = time.process_time if device.choose(options.device).name == "cpu" else _gpu_clock
    limit = {} if options.iterations is None else {"iterations": options.iterations}
    done = []
    for case in images.cases(options.data, "denoise", tuple(options.images), options.crop):
        done.append(measure(case, clock, options.device, limit))
        print(done[-1], f"share {done[-1].share:.3f}", flush=True)
        write(options, done)
    return 0


def measure(case: images.Case, clock: Any, device: str, limit: dict[str, int]) -> Pace:
    """Both methods on one image."""
    from napari_dip import iterate

    quick = {**case.arguments, "interval": 1e9, "device": device}
    began = clock()
    run = iterate(case.task, case.observed, **quick)
    for _ in run:
        pass
    ours_seconds, ours = clock() - began, case.score(run.result.image)

    looking = {**quick, "snapshot_every": methods.SNAPSHOT}
    best, iteration, seconds = -np.inf, 0, 0.0
    for spent, now, reached in _looks(case, clock, preset=case.original, **looking, **limit):
        if reached > best:
            best, iteration, seconds = reached, now, spent
        if now - iteration > PATIENCE:
            break
    soon = (spent for spent, _, reached in _looks(case, clock, **looking) if reached >= best)
    return Pace(
        image=f"{case.group}/{case.name}",
        noisy=case.score(case.observed.astype(np.float64)),
        original=best,
        original_iteration=iteration,
        original_seconds=seconds,
        as_good_seconds=next(soon, ours_seconds),
        ours=ours,
        ours_seconds=ours_seconds,
    )


def _looks(case: images.Case, clock: Any, **options: Any) -> Iterator[tuple[float, int, float]]:
    """Seconds, iteration and PSNR of a run now and then; the seconds without what scoring takes."""
    from napari_dip import iterate

    spent, began = 0.0, clock()
    for progress in iterate(case.task, case.observed, **options):
        spent += clock() - began
        yield spent, progress.iteration, case.score(progress.image)
        began = clock()


def write(options: argparse.Namespace, done: list[Pace]) -> None:
    """The table so far."""
    lines = [
        "PSNR in dB.",
        "",
        "| image | noisy | original, best | at iteration | after, s | ours as good, s | share | ours, end | after, s |",
        "|---" * 9 + "|",
    ]
    lines += [
        f"| {p.image} | {p.noisy:.2f} | {p.original:.2f} | {p.original_iteration} | {p.original_seconds:.0f} | "
        f"{p.as_good_seconds:.1f} | {p.share:.3f} | {p.ours:.2f} | {p.ours_seconds:.0f} |"
        for p in done
    ]
    gain, share = [p.ours - p.original for p in done], [p.share for p in done]
    end = [p.ours_seconds / p.original_seconds for p in done]
    lines += [
        "",
        f"Ours is as good as the best of the original after {np.mean(share):.3f} of its time on average,",
        f"{max(share):.3f} at the most. In the end it is {np.mean(gain):+.2f} dB better on average,",
        f"{min(gain):+.2f} at the worst, after",
        f"{np.mean(end):.3f} of that time on average, {max(end):.3f} at the most.",
    ]
    size = f"{options.crop}x{options.crop} centres" if options.crop else "whole images"
    name = f"pace{f'-{options.crop}' if options.crop else ''}"
    figures = {"images": [{**asdict(p), "share": p.share} for p in done]}
    where = report.where(options.device)
    report.save(options.results, name, f"Time to quality: {size}", "\n".join(lines), figures, where)


def _gpu_clock() -> float:
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()
