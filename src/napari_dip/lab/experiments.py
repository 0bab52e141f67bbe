"""The experiments by name, as window and command line offer them: what each is given, and how long it takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from napari_dip.cost import estimate, in_time
from napari_dip.lab.ablation import QUESTIONS, iterate_ablation
from napari_dip.lab.explicit import WEIGHTS, iterate_explicit
from napari_dip.lab.held_out import iterate_held_out
from napari_dip.lab.impedance import TARGETS, iterate_impedance
from napari_dip.lab.trajectory import iterate_trajectory


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment.

    Attributes
    ----------
    does : str
        A sentence.
    steps : callable
        Its function that goes step by step.
    takes : tuple of str
        Of "question", "truth" and "generators": what it may be given besides image, iterations, seed and knobs.
    iterations : int
        Of each fit, by default.
    fits : callable
        Number of fits, of what it is given.
    """

    does: str
    steps: Callable[..., Any]
    takes: tuple[str, ...]
    iterations: int
    fits: Callable[[dict[str, Any]], int]


EXPERIMENTS: dict[str, Experiment] = {
    "impedance": Experiment(
        does="Fit the image, noise, both and shuffled pixels by each generator.",
        steps=iterate_impedance,
        takes=("generators",),
        iterations=400,
        fits=lambda given: len(TARGETS) * len(given["generators"]),
    ),
    "ablation": Experiment(
        does="Restore with each of several values of one knob, from the same seeds.",
        steps=iterate_ablation,
        takes=("question", "truth"),
        iterations=400,
        fits=lambda given: len(QUESTIONS[given["question"]]),
    ),
    "held-out": Experiment(
        does="Follow the error on fitted and on held-out pixels.",
        steps=iterate_held_out,
        takes=("truth",),
        iterations=1500,
        fits=lambda given: 1,
    ),
    "explicit": Experiment(
        does="Remove noise by total variation, Tikhonov, wavelets, non-local means and the prior, each at its best.",
        steps=iterate_explicit,
        takes=("truth",),
        iterations=1500,
        fits=lambda given: 1 + len(WEIGHTS),
    ),
    "trajectory": Experiment(
        does="Keep the iterates of a fit, and measure how fast each band of frequencies is fitted.",
        steps=iterate_trajectory,
        takes=(),
        iterations=1000,
        fits=lambda given: 1,
    ),
}


def begin(name: str, image: Any, *, seed: int = 0, should_stop: Callable[[], bool], **given: Any) -> Any:
    """An experiment step by step; its result is what the generator returns.

    Parameters
    ----------
    name : str
        One of `EXPERIMENTS`.
    image : array-like
    seed : int
    should_stop : callable
    **given
        ``iterations``, ``question``, ``truth``, ``generators``: what is None, or none of the experiment's, is left out.

    Raises
    ------
    ValueError
        If there is no such experiment, or no such question.
    """
    row = _row(name, given)
    said = {key: value for key, value in given.items() if value is not None and key in ("iterations", *row.takes)}
    return row.steps(
        image, should_stop=should_stop, **said, **({"seeds": [seed]} if name == "ablation" else {"seed": seed})
    )


def duration(name: str, shape: tuple[int, ...], *, iterations: int | None = None, **given: Any) -> str:
    """Time that an experiment takes on this machine, in words: that of its fits by the hourglass."""
    row = _row(name, given)
    fits, each = row.fits(given), iterations or row.iterations
    one = estimate(shape, preset="denoise-small", runs=1, iterations=each, stop="iterations")
    time = in_time(math.ceil(fits * one.seconds / 5) * 5)
    return f"{fits} fit{'s' if fits > 1 else ''} of {each} iterations, about {time}"


def _row(name: str, given: dict[str, Any]) -> Experiment:
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment {name!r} must be one of {', '.join(EXPERIMENTS)}")
    if name == "ablation" and given["question"] not in QUESTIONS:
        raise ValueError(f"question {given['question']!r} must be one of {', '.join(QUESTIONS)}")
    return EXPERIMENTS[name]
