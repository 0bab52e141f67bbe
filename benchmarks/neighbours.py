"""What a stack gains from neighbours: ``python -m benchmarks neighbours --data FOLDER``.

Slices whose truth is known are denoised with defaults, each from nothing, and then from the weights of the slice before
it: some that are alike, some that are not. "Learnt" is the error, in variances of the noise, that a slice's passes took
away from what the neighbour knew: above a limit it is begun afresh. Seconds are of the processor. FOLDER is as that of
``quality``: `grey`, `fmd`, `volume`. Written into ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy import ndimage

from benchmarks.images import Array, fit_noise
from napari_dip.core.methods.selfguided import SelfGuidedFitter

STEP = 0.7, -1.3  # pixels that a scene moves by from slice to slice
Stack = tuple[str, Array, Array]  # name, truth, observed: (N, H, W)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="with the images")
    parser.add_argument("--size", type=int, default=160, metavar="N", help="pixels a side, from the middle")
    parser.add_argument("--stacks", nargs="+", default=["*"], metavar="NAME", help="wildcards; by default all")
    parser.add_argument("--iterations", type=int, help="of each slice at the most")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="where the table goes")


def main(options: argparse.Namespace) -> int:
    """Measure; write a table and a JSON."""
    from benchmarks import report

    knobs = {"device": "cpu", **({"iterations": options.iterations} if options.iterations else {})}
    rows = []
    for name, truth, observed in stacks(options.data, options.size):
        if any(fnmatch(name, pattern) for pattern in options.stacks):
            rows.append({"stack": name, **compared(truth, observed, knobs)})
            print(line(rows[-1]), flush=True)
    gains = [gain for row in rows for gain in row["gains"]]
    head = ["stack", "each from nothing, dB", "from neighbours: dB more, mean, worst", "learnt", "afresh", "s", "ratio"]
    lines = report.table(head, [*map(line, rows)])
    text = "\n".join(lines) + f"\n\nAll slices but the first: mean {np.mean(gains):+.3f}, worst {min(gains):+.3f} dB."
    folder = options.results or Path(__file__).parent / "results"
    title = f"Slices from their neighbours, {options.size}x{options.size}"
    print(report.save(folder, f"neighbours-{options.size}", title, text, {"stacks": rows}, report.where("cpu")))
    return 0


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    fresh, learnt = (", ".join(f"{x:.2f}" for x in row[what]) for what in ("fresh", "learnt"))
    first, second = row["seconds"]
    gains = f"{np.mean(row['gains']):+.2f}, {min(row['gains']):+.2f}"
    seconds = f"{first:.0f}, {second:.0f} | {second / first:.2f}"
    return f"| {row['stack']} | {fresh} | {gains} | {learnt} | {row['afresh']} | {seconds} |"


def compared(truth: Array, observed: Array, knobs: dict[str, Any]) -> dict[str, Any]:
    """Both ways of restoring a stack."""
    from napari_dip import denoise

    learnt, plain = [], SelfGuidedFitter.learnt

    def noted(search: SelfGuidedFitter) -> float:
        amount = plain(search)
        if search.warm:
            learnt.append(amount)
        return amount

    images, seconds = [], []
    with patch.object(SelfGuidedFitter, "learnt", noted):
        for warm in (False, True):
            began = time.process_time()
            result = denoise(observed, leading_axes=1, warm_start=warm, seed=0, **knobs)
            seconds.append(time.process_time() - began)
            images.append(result.image)
    fresh, warm = ([psnr(image, t, np.ptp(truth)) for image, t in zip(each, truth, strict=True)] for each in images)
    return {
        "fresh": fresh,
        "gains": [w - f for w, f in zip(warm[1:], fresh[1:], strict=True)],
        "learnt": learnt,
        "afresh": sum(event.kind == "afresh" for event in result.history.events),
        "seconds": seconds,
        "iterations": result.iterations,
        "noise": str(result.noise),
    }


def psnr(image: Array, truth: Array, peak: float) -> float:
    return float(10 * np.log10(peak**2 / np.mean((image - truth) ** 2)))


def stacks(folder: Path, size: int) -> Iterator[Stack]:
    """Those whose files are there."""
    grey = {path.stem: path for path in sorted((folder / "grey").glob("*.png"))}
    for name, sigma in (("02", 25), ("07", 25), ("11", 15), ("02", 50)):
        if name in grey:
            yield f"{name} moved, sigma {sigma}", *white(moved(grey[name], size, 3), sigma)
    if "07" in grey:
        yield "07 moved, 10 photons", *photons(moved(grey["07"], size, 3), 10)
    if "02" in grey:
        truth = moved(grey["02"], size, 4)
        yield "02 moved; 20, 80, 80, 20 photons", *photons(truth, 20, np.array([1, 4, 4, 1]))
        yield "02 moved; sigma 10, 40, 10, 40", *white(truth, np.array([10, 40, 10, 40])[:, None, None])
        blank = truth[:3].copy()
        blank[1] = blank[1].mean()
        yield "02 moved, the second blank; sigma 25", *white(blank, 25)
    unrelated = [name for name in ("03", "09", "02", "07") if name in grey]
    if len(unrelated) > 1:
        yield (
            f"{', '.join(unrelated)}; sigma 25",
            *white(np.stack([middle(read(grey[n]), size) for n in unrelated]), 25),
        )
    for name in ("Confocal_BPAE", "TwoPhoton_BPAE"):
        pairs = [[folder / "fmd" / kind / f"{name}_{channel}.png" for channel in "BR"] for kind in ("gt", "raw")]
        if all(path.exists() for paths in pairs for path in paths):
            truth, observed = (np.stack([middle(read(path), size) for path in paths]) for paths in pairs)
            yield f"fmd {name}, B and R", truth, observed
    one = [folder / "fmd" / kind / "Confocal_MICE.png" for kind in ("gt", "raw")]
    if all(path.exists() for path in one):
        clean, raw = (middle(read(path), size) for path in one)
        noise, rng = fit_noise(raw, clean, affine=False), np.random.default_rng(0)
        truth = np.stack([clean] * 3)
        counted = noise.gain * rng.poisson(np.maximum(truth - noise.offset, 0) / noise.gain) + noise.offset
        yield "fmd Confocal_MICE, new noise", truth, counted + rng.normal(0, noise.read_noise, truth.shape)
    if (folder / "volume/actual.tif").exists():
        volume = read(folder / "volume/actual.tif")
        planes = volume[len(volume) // 2 :][:4]
        yield "planes of a volume, 30 photons", *photons(np.stack([enlarged(plane, size) for plane in planes]), 30)


def read(path: Path) -> Array:
    from skimage import io

    return io.imread(path).astype(np.float64)


def middle(image: Array, size: int) -> Array:
    top, left = (max(n // 2 - size // 2, 0) for n in image.shape)
    return image[top : top + size, left : left + size]


def moved(path: Path, size: int, count: int) -> Array:
    """An image that moves, by splines of the third order (count, H, W)."""
    image = read(path)
    return np.stack([middle(ndimage.shift(image, [i * s for s in STEP], mode="reflect"), size) for i in range(count)])


def enlarged(plane: Array, size: int) -> Array:
    return middle(ndimage.zoom(plane, max(1, size / min(plane.shape)), order=1), size)


def white(truth: Array, sigma: Any) -> tuple[Array, Array]:
    return truth, truth + sigma * np.random.default_rng(0).normal(size=truth.shape)


def photons(image: Array, peak: float, times: Any = 1) -> tuple[Array, Array]:
    """An image of so many photons at its brightest, each slice so many times as bright; read noise of half a photon."""
    rng = np.random.default_rng(0)
    truth = np.maximum(image, 0.01 * image.max()) / image.max() * peak * np.reshape(times, (-1, 1, 1))
    return truth, rng.poisson(truth) + rng.normal(0, 0.5, truth.shape)
