"""All methods on the same images: ``python -m benchmarks choice --data FOLDER``.

Each image is denoised by a prior, by a self-guided fit and by similar patches, everything else on auto, and `auto` is
asked which of them it would take. PSNR is affine, for frames differ in brightness from the mean of fifty. Besides the
sets of ``quality``:

| set | the observation |
|---|---|
| `wide` | crops of the wide-field frame of `fmd`, from its corners and its middle |
| `moved` | truths of `fmd`, blurred, and of `grey`, with the noise of that frame, taken from a corner of it |
| `dark` | the same, or in white noise five times as strong, rounded and a twentieth of the pixels cut off at 0 |
| `shared-50`, `-75` | as `shared-25`, of stronger noise |

The verdict is of the image that each gave, by the noise that was estimated for it. FOLDER is as that of ``quality``.
Written into ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import pickle
import time
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks import images
from benchmarks.images import Array, Case
from napari_dip.core.noise.model import Noise

METHODS = {"prior": "denoise-small", "self-guided": "denoise-self", "patches": "denoise-patches"}
#: Truth, its blur in pixels, and its contrast over the noise of the wide-field frame.
MOVED = (("MICE", 2, 0.5), ("Confocal_BPAE_R", 1, 0.6), ("Confocal_BPAE_B", 2, 0.7), ("TwoPhoton_BPAE_R", 0, 0.8))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="with the images")
    parser.add_argument("--images", nargs="+", default=["*"], metavar="NAME", help="wildcards of set/image")
    parser.add_argument("--size", type=int, default=192, metavar="N", help="pixels a side, from the middle")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keeps what the methods gave, for next time")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="where the table goes")


def main(options: argparse.Namespace) -> int:
    """Measure; write a table and a JSON."""
    from benchmarks import report

    rows = []
    for case in cases(options.data, options.size, options.images):
        rows.append(row_of(case, options.cache))
        print(line(rows[-1]), flush=True)
    head = ["image", "contrast", "correlation", "noisy", *METHODS, "auto", "below the best", "verdict of each"]
    lines = report.table(head, [*map(line, rows)])
    lost = [row["lost"] for row in rows]
    text = "\n".join(lines) + f"\n\nBelow the best of them: mean {np.mean(lost):.2f}, worst {max(lost):.2f} dB."
    folder = options.results or Path(__file__).parent / "results"
    title = f"Prior, self-guided and patches, {options.size}x{options.size}, affine PSNR in dB"
    print(report.save(folder, f"choice-{options.size}", title, text, {"images": rows}, report.where("cpu")))
    return 0


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    figures = " | ".join(f"{row['psnr'][name]:.2f}" for name in ("noisy", *METHODS))
    verdicts = "; ".join(row["verdict"].values())
    return (
        f"| {row['name']} | {row['contrast']:.2f} | {row['correlation']:.2f} | {figures} | {row['auto']} "
        f"| {row['lost']:.2f} | {verdicts} |"
    )


def row_of(case: Case, cache: Path | None) -> dict[str, Any]:
    """All methods on a case."""
    from napari_dip.core.judge.residual import residual_verdict
    from napari_dip.core.noise.estimate import estimate_noise

    noise = estimate_noise(case.observed)
    auto = taken(noise, case.truth.size)
    psnr, verdict, seconds = {"noisy": affine(case.observed, case)}, {}, {}
    for name in METHODS:
        found = restored(case, name, cache)
        psnr[name], seconds[name] = affine(found["image"], case), found["seconds"]
        verdict[name] = residual_verdict(case.observed, found["image"], found["noise"]).sentence
    return {
        "name": f"{case.group}/{case.name}",
        "contrast": noise.contrast,
        "correlation": noise.correlation,
        "psnr": psnr,
        "auto": auto,
        "lost": max(psnr[name] for name in METHODS) - psnr[auto],
        "verdict": verdict,
        "seconds": seconds,
    }


def taken(noise: Noise, pixels: int) -> str:
    """The method that auto takes for an image of so many pixels with this noise."""
    from napari_dip.tables.method import auto_preset

    preset, _ = auto_preset("denoise", on_cpu=True, noise=noise, pixels=pixels, changes={})
    return next(name for name, of in METHODS.items() if of == preset)


def restored(case: Case, name: str, cache: Path | None) -> dict[str, Any]:
    """Image, noise and seconds of the processor of one method, from the cache if it has them."""
    from napari_dip import denoise

    size = "x".join(map(str, case.observed.shape))
    kept = cache and cache / f"{case.group}-{case.name}-{size}-{name}.pickle"
    if kept and kept.exists():
        return pickle.loads(kept.read_bytes())
    began = time.process_time()
    result = denoise(case.observed, preset=METHODS[name], seed=0, device="cpu", progress=False)
    found = {"image": result.image, "noise": result.noise, "seconds": time.process_time() - began}
    if kept:
        kept.write_bytes(pickle.dumps(found))
    return found


def affine(image: Array, case: Case) -> float:
    """PSNR after gain and offset were fitted, in dB."""
    from napari_dip.core.judge.metrics import compare

    return compare(image, case.truth, affine=True, data_range=case.data_range).psnr


def cases(folder: Path, size: int, wanted: list[str]) -> Iterator[Case]:
    """Those whose files are there."""
    real, drawn = ("fmd", "w2s", "biosr"), ("shared-25", "grey-50", "grey-25", "clip-50", "clip-25")
    made = {"wide": _wide, "moved": _moved, "dark": _dark}
    for group in (*made, "shared-75", "shared-50", *real, *drawn):
        if group in made:
            found = made[group](folder, size)
        else:
            found = images._READERS[group.split("-")[0]](folder, group, size)
        for case in found:
            if any(fnmatch(f"{group}/{case.name}", pattern) for pattern in wanted):
                yield case


def _wide(folder: Path, size: int) -> Iterator[Case]:
    whole = _frame(folder, "WideField_BPAE_R")
    last = len(whole.truth) - size
    corners = [(f"{top}-{left}", top, left) for top in (0, last) for left in (0, last)]
    for name, top, left in (("middle", last // 2, last // 2), *corners):
        part = np.s_[top : top + size, left : left + size]
        yield replace(whole, group="wide", name=name, truth=whole.truth[part], observed=whole.observed[part].copy())


def _moved(folder: Path, size: int) -> Iterator[Case]:
    wide = _frame(folder, "WideField_BPAE_R")
    field = np.s_[-size:, -size:]
    gain, offset = np.polyfit(wide.truth.ravel(), wide.observed.ravel(), 1)
    noise = (wide.observed - gain * wide.truth - offset)[field]
    for name, blur, contrast in MOVED:
        case = next(c for c in images.cases(folder, "denoise", (f"fmd/*{name}",), size))
        truth = ndimage.gaussian_filter(case.truth, blur)
        truth = truth * (contrast * noise.std() / truth.std())
        yield replace(case, group="moved", truth=truth, observed=truth + noise, data_range=float(np.ptp(truth)))


def _dark(folder: Path, size: int) -> Iterator[Case]:
    for case in _moved(folder, size):
        white = np.random.default_rng(0).normal(0, 5 * case.truth.std(), case.truth.shape)
        for name, observed in ((case.name, case.observed), (f"{case.name}-white", case.truth + white)):
            cut = (observed - np.quantile(observed, 0.05)).round().clip(0, 255).astype(np.uint8)
            yield replace(case, group="dark", name=name, observed=cut)


def _frame(folder: Path, name: str) -> Case:
    return next(images.cases(folder, "denoise", (f"fmd/{name}",)))
