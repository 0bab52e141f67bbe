"""The verdict on whole frames, held against their truths: ``python -m benchmarks verdict --data FOLDER``.

Each frame of ``fmd`` is denoised by similar patches alone and, if asked for, as `auto` would; and the mean of fifty
frames itself, with the gain and offset of the frame, is given to the verdict as a restoration. Lost is the share of the
truth's structure that is missing in the restoration, in the verdict's four bands of sizes; limit is what the verdict
lets pass there, for the structure of the truth and the noise of the frame. FOLDER is as that of ``quality``. Written
into ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks import choice, images
from benchmarks.images import Array, Case
from napari_dip.core.judge import residual

SIZES = ("2", "3", "7", "13")  # pixels, of the bands


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="with the images")
    parser.add_argument("--images", nargs="+", default=["*"], metavar="NAME", help="wildcards of frames")
    parser.add_argument("--auto", nargs="*", default=[], metavar="NAME", help="of those to denoise as auto would too")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keeps what the methods gave, for next time")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="where the table goes")


def main(options: argparse.Namespace) -> int:
    """Judge; write a table and a JSON."""
    from benchmarks import report

    rows = []
    for case in images.cases(options.data, "denoise", tuple(f"fmd/{name}" for name in options.images)):
        for row in rows_of(case, case.name in options.auto, options.cache):
            print(line(row), flush=True)
            rows.append(row)
    if not rows:
        print(f"no image of {options.data} was asked for: see the table in benchmarks/images.py", file=sys.stderr)
        return 1
    head = ["frame", "restoration", "affine dB", "verdict", "place", *(f"lost (limit) at {size}" for size in SIZES)]
    text = "\n".join(report.table(head, [*map(line, rows)]))
    folder = options.results or Path(__file__).parent / "results"
    title = "The verdict on whole frames of fmd, 512x512"
    print(report.save(folder, "verdict-fmd-512", title, text, {"rows": rows}, report.where("cpu")))
    return 0


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    lost = [f"{part:.2f} ({limit:.2f})" for part, limit in zip(row["lost"], row["limits"], strict=True)]
    psnr = "" if row["restoration"] == "truth" else f"{row['psnr']:.2f}"
    cells = [row["frame"], row["restoration"], psnr, row["verdict"], f"{row['excess']:.1f}", *lost]
    return f"| {' | '.join(cells)} |"


def rows_of(case: Case, auto: bool, cache: Path | None) -> Iterator[dict[str, Any]]:
    """The truth, and what the methods make of a frame."""
    gain, offset = np.polyfit(case.truth.ravel(), case.observed.ravel(), 1)
    truth = gain * case.truth + offset
    found = {"patches": choice.restored(case, "patches", cache)}
    if auto and (name := choice.taken(found["patches"]["noise"], case.truth.size)) != "patches":
        found[name] = choice.restored(case, name, cache)
    noise = found["patches"]["noise"]
    shown = {"truth": truth, **{name: each["image"].astype(np.float64) for name, each in found.items()}}
    for name, image in shown.items():
        verdict = residual.residual_verdict(case.observed, image, noise)
        lost, limits = missing(truth, image, noise)
        yield {
            "frame": case.name,
            "restoration": name,
            "psnr": choice.affine(image, case),
            "verdict": verdict.sentence,
            "ok": verdict.ok,
            "excess": verdict.excess,
            "lost": lost,
            "limits": limits,
            "seconds": found[name]["seconds"] if name in found else 0.0,
        }


def missing(truth: Array, image: Array, noise: Any) -> tuple[list[float], list[float]]:
    """Share of the truth's structure that an image lacks in each band, and what the verdict lets pass of it."""
    deviation = np.sqrt(np.maximum(noise.variance(truth), (residual._LEAST * noise.sigma) ** 2))
    spectrum = residual.power_of(residual.autocorrelation_of(noise, truth.shape), truth.shape)
    lost, limits = [], []
    for least, fine, coarse, band in residual.bands(truth.shape):
        there, here = (
            (ndimage.gaussian_filter(each, fine) - ndimage.gaussian_filter(each, coarse)) / deviation
            for each in (truth, image)
        )
        energy, expected = float(np.sum(there**2)), float(np.sum(band**2 * spectrum))
        lost.append(1 - float(np.sum(there * here)) / energy)
        limits.append(max(least, residual._COST * expected / (expected + energy)))
    return lost, limits
