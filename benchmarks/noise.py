"""How well the noise of one image is known: ``python -m benchmarks noise --data FOLDER``.

The estimate of the variance over the true one, on each image whose noise is known. Of real images it is known from a
better measurement of the same field, which does not lie on the frame: light bleaches, focus and stage drift. So gain,
offset and shift of the truth are fitted in blocks of 64x64 pixels, and what that takes from the noise is given back.
Where the sample itself moved in between, as in `biosr`, the figure is of the darker half of the pixels, and bounds the
truth from above.

| set | the noise |
|---|---|
| `fmd`, `w2s`, `biosr` | of one frame |
| `grey-15`, `-25`, `-50`, `shared-25` | as in ``quality``: added, white or correlated, another draw for each |
| `photons` | of 20 photons at the brightest pixel, on `grey`, and read noise of one photon |
| `charges` | of 1 to 9 photons whose charges vary by a half (photomultiplier), and read noise of 0.3, on `grey` |

FOLDER is as that of ``quality``. Written into ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks import images
from benchmarks.holes import scattered
from benchmarks.images import Array

BLOCK = 64  # pixels a side
FRAMES = 50  # that the truths of `fmd` are means of, with the frame itself among them
SETS = ("fmd", "w2s", "biosr", "grey-15", "grey-25", "grey-50", "shared-25", "photons", "charges")


@dataclass(frozen=True)
class Known:
    """An image, and the variance of its noise at each pixel or some of them (`where`), on the mean."""

    name: str
    observed: npt.NDArray[Any]
    variance: float
    correlation: float
    where: npt.NDArray[np.bool_]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="with the images")
    parser.add_argument("--images", nargs="+", default=["*"], metavar="NAME", help="wildcards of set/image")
    parser.add_argument("--crop", type=int, default=192, metavar="N", help="pixels a side, from the middle; 0 for all")
    parser.add_argument("--missing", type=float, default=0, metavar="SHARE", help="of the pixels, drawn by chance")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="where the table goes")


def main(options: argparse.Namespace) -> int:
    """Measure; write a table and a JSON."""
    from benchmarks import report

    rows = []
    for known in cases(options.data, options.crop):
        if any(fnmatch(known.name, pattern) for pattern in options.images):
            rows.append(row_of(known, options.missing))
            print(line(rows[-1]), flush=True)
    head = ["image", "estimated over true variance", "correlation: true, estimated", "sigma", "contrast", "warning"]
    lines = report.table(head, [*map(line, rows)])
    groups = report.table(["set", "mean", "lowest", "highest"], [])
    for group in SETS:
        ratios = [row["ratio"] for row in rows if row["name"].startswith(f"{group}/")]
        if ratios:
            groups.append(f"| {group} | {np.mean(ratios):.3f} | {min(ratios):.3f} | {max(ratios):.3f} |")
    size = f"{options.crop}x{options.crop} centres" if options.crop else "whole images"
    name = f"noise-{options.crop}" if options.crop else "noise"
    if options.missing:
        name, size = f"{name}-missing-{options.missing:.0%}".rstrip("%"), f"{size}, {options.missing:.0%} missing"
    folder, text = options.results or Path(__file__).parent / "results", "\n".join([*groups, "", *lines])
    print(report.save(folder, name, f"Noise of one image, {size}", text, {"images": rows}, report.where("cpu")))
    return 0


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    true, found = row["correlation"]
    return (
        f"| {row['name']} | {row['ratio']:.3f} | {true:.2f}, {found:.2f} | {row['sigma']:.3g} | {row['contrast']:.2f} "
        f"| {row['warning']} |"
    )


def row_of(known: Known, share: float) -> dict[str, Any]:
    """The estimate, with a share of the pixels missing, against what is known."""
    from napari_dip.core.noise.estimate import estimate_noise

    missing = scattered(share, known.observed.shape)
    began = time.process_time()
    noise = estimate_noise(known.observed, mask=missing)
    seconds = time.process_time() - began
    level = known.observed[known.where].astype(np.float64)
    found = noise.sigma**2 if known.where.all() else float(np.mean(noise.variance(level.mean())))
    return {
        "name": known.name,
        "ratio": found / known.variance,
        "correlation": (known.correlation, noise.correlation),
        "sigma": noise.sigma,
        "contrast": noise.contrast,
        "warning": noise.warning,
        "seconds": seconds,
    }


def cases(folder: Path, crop: int) -> Iterator[Known]:
    """Those whose files are there."""
    for case in images.cases(folder, "denoise", ("fmd", "w2s", "biosr"), crop):
        yield _measured(case)
    truths = {
        path.stem: images._read(path, crop).astype(np.float64) for path in sorted((folder / "grey").glob("*.png"))
    }
    for index, (name, truth) in enumerate(truths.items()):
        rng = np.random.default_rng(index)
        white = rng.normal(size=truth.shape)
        for sigma in (15, 25, 50):
            yield _added(f"grey-{sigma}/{name}", truth, truth + sigma * white)
        shared = ndimage.gaussian_filter(white, images.SHARED, mode="wrap")
        yield _added(f"shared-25/{name}", truth, truth + 25 / shared.std() * shared)
        light = 20 * truth / truth.max()
        yield _added(f"photons/{name}", light, rng.poisson(light) + rng.normal(size=light.shape))
        light = 1 + 8 * truth / truth.max()
        yield _added(f"charges/{name}", light, charges(light, rng) + rng.normal(0, 0.3, light.shape))


def charges(light: Array, rng: np.random.Generator) -> Array:
    """Photons of that light, each of a charge that varies by a half about 1."""
    photons = rng.poisson(light)
    return np.where(photons > 0, rng.gamma(4 * np.maximum(photons, 1)) / 4, 0)


def _added(name: str, truth: Array, observed: Array) -> Known:
    noise = observed - truth
    everywhere = np.ones(truth.shape, bool)
    return Known(name, observed, float(np.mean(noise**2)), _neighbours(noise, everywhere), everywhere)


def _measured(case: images.Case) -> Known:
    """A frame, and its noise from the better measurement laid on it."""
    observed = case.observed.astype(np.float64)
    fair = observed < np.iinfo(case.observed.dtype).max
    noise, fitted = residual(observed, case.truth, fair)
    where = np.ones(fair.shape, bool) if case.group != "biosr" else case.truth <= np.median(case.truth)
    correlation = _neighbours(noise, where)
    # correlated noise has more of its power where the fit takes it
    taken = fitted * (1 + correlation) ** 4 + (1 / FRAMES if case.group == "fmd" else 0)
    variance = float(np.mean(noise[where] ** 2)) / (1 - taken)
    return Known(f"{case.group}/{case.name}", case.observed, variance, correlation, where)


def residual(observed: Array, truth: Array, fair: npt.NDArray[np.bool_]) -> tuple[Array, float]:
    """What a frame has beyond the truth that is laid on it, and the fraction of white noise that this takes."""
    basis = np.stack([np.ones(truth.shape), truth, *np.gradient(truth)], axis=-1)
    laid, count = np.empty(truth.shape), 0
    for top in range(0, truth.shape[0], BLOCK):
        for left in range(0, truth.shape[1], BLOCK):
            part = np.s_[top : top + BLOCK, left : left + BLOCK]
            weights = np.linalg.lstsq(basis[part][fair[part]], observed[part][fair[part]], rcond=None)[0]
            laid[part] = basis[part] @ weights
            count += 1
    return observed - laid, count * basis.shape[-1] / truth.size


def _neighbours(noise: Array, where: npt.NDArray[np.bool_]) -> float:
    """Correlation of direct neighbours, averaged over the axes."""
    beside = [
        np.mean((np.delete(noise, 0, a) * np.delete(noise, -1, a))[np.delete(where, 0, a) & np.delete(where, -1, a)])
        for a in range(noise.ndim)
    ]
    return float(np.mean(beside) / np.mean(noise[where] ** 2))
