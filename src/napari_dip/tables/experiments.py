"""The experiments of the laboratory as a table, which needs no torch: window and command line read it at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_dip.tables.knobs import GENERATORS

#: What the impedance of a generator is measured on, in the order of the table.
TARGETS = ("image", "noise", "image + noise", "shuffled")
#: Weights of total variation that the prior is tried with, besides none.
WEIGHTS = (0.003, 0.01)
#: The question for which an image is a stack (n, y, x): a generator for each plane, or one for all.
SEVERAL = "one image or several"
#: Names that a network of an experiment may have.
NETWORKS = "textures, torchvision:NAME, timm:NAME, or FILE.py:NAME"
#: Question of an ablation -> value by its label -> knobs.
QUESTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "skips": {"none": {"skip_channels": 0}, "4 channels": {"skip_channels": 4}, "32 channels": {"skip_channels": 32}},
    "upsampling": {name: {"upsampling": name} for name in ("nearest", "bilinear", "transposed")},
    "downsampling": {name: {"downsampling": name} for name in ("stride", "average", "maximum", "lanczos2")},
    "depth": {f"{n} scales": {"scales": n, "channels": 32} for n in (1, 3, 5)},
    "code": {
        **{name: {"code": name} for name in ("uniform", "normal", "mesh", "fourier")},
        "learned": {"code_learned": True},
    },
    "code noise": {"none": {"code_noise": 0.0}, "1/30": {"code_noise": 1 / 30}, "1/10": {"code_noise": 0.1}},
    "generator": {name: {"generator": name, "channels": 32} for name in GENERATORS},
    "normalisation": {name: {"normalisation": name} for name in ("batch", "none")},
    "optimiser": {name: {"optimiser": name} for name in ("adam", "muon", "lbfgs")},
    "fidelity": {name: {"noise": name} for name in ("gaussian", "poisson-gaussian", "impulse")},
    "regulariser": {
        "none": {},
        "tv": {"regulariser": "tv", "regulariser_weight": 0.01},
        "tikhonov": {"regulariser": "tikhonov", "regulariser_weight": 0.1},
    },
    "average": {f"{value:g}": {"average": value} for value in (0.0, 0.9, 0.99)},
    "range": {  # the image of an experiment is between 0 and 1
        "0 to 1": {"output": "linear", "intensity_range": (0.0, 1.0)},
        "0 to 255": {"output": "linear", "intensity_range": (0.0, 1 / 255)},
    },
    SEVERAL: {"one each": {"each_plane": True}, "together": {"channel_axis": 0}},
}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment.

    Attributes
    ----------
    does : str
        A sentence.
    takes : tuple of str
        What it may be given besides image, iterations, seed and knobs.
    iterations : int
        Of each fit, by default.
    fits : callable
        Number of fits, of what it is given.
    quantity : str
        On the axis of its curves.
    """

    does: str
    takes: tuple[str, ...] = ()
    iterations: int = 400
    fits: Callable[[dict[str, Any]], int] = lambda given: 1
    quantity: str = "PSNR (dB)"


EXPERIMENTS: dict[str, Experiment] = {
    "impedance": Experiment(
        does="Fit the image, noise, both and shuffled pixels by each generator.",
        takes=("generators",),
        fits=lambda given: len(TARGETS) * len(given["generators"]),
    ),
    "ablation": Experiment(
        does="Restore with each of several values of one knob, from the same seeds.",
        takes=("question", "truth"),
        fits=lambda given: len(QUESTIONS[given["question"]]),
    ),
    "held-out": Experiment(
        does="Follow the error on fitted and on held-out pixels.",
        takes=("truth",),
        iterations=1500,
        quantity="error (rms)",
    ),
    "explicit": Experiment(
        does="Remove noise by penalties, non-local means, a trained network, the prior, and by both, each at its best.",
        takes=("truth",),
        iterations=1500,
        fits=lambda given: 2 + len(WEIGHTS),
    ),
    "trajectory": Experiment(
        does="Keep the iterates of a fit, and measure how fast each band of frequencies is fitted.",
        iterations=1000,
        quantity="share of the band",
    ),
    "preimage": Experiment(
        does="Seek an image that a layer of a trained network takes for the same, by the prior and by plain pixels.",
        takes=("network", "weights", "layer"),
        iterations=200,
        fits=lambda given: 2,
        quantity="feature error",
    ),
    "maximise": Experiment(
        does="Seek an image that excites one unit of a layer of a trained network; of IN only the size counts.",
        takes=("network", "weights", "layer", "unit"),
        iterations=200,
        fits=lambda given: 2,
        quantity="activation",
    ),
}


def row_of(name: str, given: dict[str, Any]) -> Experiment:
    """Row of an experiment.

    Raises
    ------
    ValueError
        If there is no such experiment, or no such question, or no network can have the name.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment {name!r} must be one of {', '.join(EXPERIMENTS)}")
    if name == "ablation" and given["question"] not in QUESTIONS:
        raise ValueError(f"question {given['question']!r} must be one of {', '.join(QUESTIONS)}")
    if given.get("network") is not None:
        check_network(given["network"])
    return EXPERIMENTS[name]


def check_network(name: str) -> None:
    """Raise a `ValueError` unless a network can have this name; if there is one takes torch to know."""
    kind, _, rest = name.partition(":")
    if name != "textures" and not (kind in ("torchvision", "timm") and rest) and not Path(name).suffix:
        raise ValueError(f"network {name!r} must be {NETWORKS}")
