"""Figures of the paper that have a counterpart here: ``python -m benchmarks paper --figure enhance --data FOLDER``.

Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior" (CVPR 2018, IJCV 2020). Each figure is a file of `benchmarks.figures`
with `measure`, and becomes ``paper-NAME.md``, ``.json`` and ``.png`` in ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from benchmarks import report
from benchmarks.quality import RESULTS

#: Name -> what the figure of the paper shows.
FIGURES = {
    "general": "a general prior beside the internal one (not in the paper)",
    "guide": "a guide: flash and no flash, two channels",
    "together": "one generator for several channels (not in the paper)",
    "jpeg": "compression artefacts, removed without knowing of them",
    "enhance": "detail enhancement: the image plus what a coarse image lacks",
    "laboratory": "the laboratory: knobs, explicit penalties, held-out pixels, bands of frequencies",
    "critics": "what critics of the prior claim, on six crops and two seeds (not in the paper)",
    "impedance": "impedance: what each generator fits first, and what critics claim of it",
    "mosaic": "a spectral mosaic by an operator of the user's own (not in the paper)",
    "own": "a regulariser of the user's own (not in the paper)",
    "range": "the image between 0 and 1, or between 0 and 255 (not in the paper)",
    "sgld": "Langevin sampling beside the plain prior, one run and four (not in the paper)",
    "preimage": "pre-images: which images a network takes for the same",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    names = "; ".join(f"{name}: {what}" for name, what in FIGURES.items())
    parser.add_argument("--figure", required=True, choices=FIGURES, help=names)
    parser.add_argument("--data", type=Path, required=True, help="folder with the images; see benchmarks/images.py")
    parser.add_argument("--crop", type=int, default=96, metavar="N", help="NxN pixels in the middle")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the table goes")


def main(options: argparse.Namespace) -> int:
    """Measure one figure, write its table, its numbers and its picture."""
    name = options.figure
    found = importlib.import_module(f"benchmarks.figures.{name}").measure(options.data, options.crop)
    title, stem = f"The paper's figure on {FIGURES[name]}", f"paper-{name}"
    text = report.save(options.results, stem, title, found.text, {"rows": found.rows}, report.where("cpu"))
    found.picture.save(options.results / f"{stem}.png")
    print(text)
    return 0
