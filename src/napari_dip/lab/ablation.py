"""Ablation: one knob, several values, the same seeds, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.lab.iterates import TASKS, Array, Outcome, Step, Steps, draw, every, iterates, like, scaled, to_the_end
from napari_dip.tables import tasks
from napari_dip.tables.experiments import QUESTIONS, SEVERAL
from napari_dip.tables.settings import knobs as known_knobs
from napari_dip.trust import peak_of, psnr

HELD_OUT = 0.1  # share of the known pixels by which values are compared where there is no truth


@dataclass(frozen=True, kw_only=True)
class Ablation(Outcome):
    """Outcome of an ablation.

    Attributes
    ----------
    question : str
        The question, or the knob.
    measure : str
        What the PSNR is taken against: the truth, or the pixels held out.
    iterations : int array (n,)
    curves : dict of str to float array (seeds, n)
        Value -> PSNR in dB, of the range of the truth or of the image.
    images : dict of str to array
        Value -> its best iterate by that measure, of the first seed, in the units of the image.
    image : array
        The image itself.
    knobs : dict of str to dict
        Value -> knobs that it was run with.
    """

    question: str
    measure: str
    iterations: npt.NDArray[np.int64]
    curves: dict[str, Array]
    images: dict[str, Array] = field(repr=False)
    image: Array = field(repr=False)
    knobs: dict[str, dict[str, Any]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Row of the table for each value: best PSNR on the way (mean, worst of the seeds), where, and at the end."""
        rows = []
        for label, curves in self.curves.items():
            best, mean = curves.max(axis=1), curves.mean(axis=0)
            rows.append(
                {
                    self.question: label,
                    "best": float(best.mean()),
                    "worst seed": float(best.min()),
                    "at iteration": int(self.iterations[int(np.argmax(mean))]),
                    "at the end": float(mean[-1]),
                }
            )
        return rows

    def plot(self) -> Any:
        """Curves and images as a figure of matplotlib, which must be installed (``napari-dip[plot]``)."""
        curves = {label: (self.iterations, values.mean(axis=0)) for label, values in self.curves.items()}
        return draw(curves, f"PSNR against {self.measure} (dB)", {"image": self.image, **self.images})


def iterate_ablation(
    image: npt.ArrayLike,
    question: str,
    values: Sequence[Any] | Mapping[str, dict[str, Any]] | None = None,
    *,
    task: str = "denoise",
    mask: npt.ArrayLike | None = None,
    truth: npt.ArrayLike | None = None,
    seeds: Sequence[int] = (0,),
    iterations: int = 400,
    should_stop: Callable[[], bool] = lambda: False,
    **knobs: Any,
) -> Steps[Ablation]:
    """Restore an image with each of several values of one knob, from the same seeds, and compare.

    Parameters
    ----------
    image : array-like, (y, x) or (z, y, x)
        Real and finite; a crop of about 100 pixels a side tells enough.
    question : str
        One of `QUESTIONS` ("skips", "upsampling", "code noise", "generator", "optimiser", ...), or a knob by name.
    values : sequence, or dict of str to dict, optional
        Values of the knob; or labels, each with knobs of its own. Needed unless the question is one of `QUESTIONS`.
    task : {"denoise", "inpaint", "deblock"}
    mask : array-like of bool, optional
        True where a pixel is missing.
    truth : array-like, optional
        Like `image`. With it values are compared by the PSNR against it (of what is filled, for "inpaint"). Without
        it a tenth of the known pixels is held out of all fits, and values are compared by the PSNR of what they make
        of these: noise bounds that, but the order tells, unless neighbouring pixels share their noise.
    seeds : sequence of int
        Each value is run once from each.
    iterations : int
        Of each fit; none is stopped before.
    should_stop : callable
        Asked before every iteration; true ends the run with the values of which all seeds are there.
    **knobs
        Knobs of all fits, as for `napari_dip.denoise`.

    Yields
    ------
    Step

    Returns
    -------
    Ablation

    Raises
    ------
    ValueError, TypeError
        If the question, the image or a knob is not fit; the message says what to do.
    """
    if task not in TASKS:
        raise ValueError(f"task={task!r} must be one of {', '.join(TASKS)}")
    if not len(seeds):
        raise ValueError("seeds is empty: name at least one, such as seeds=[0]")
    unit, step, named = scaled(image), every(iterations), _named(question, values)
    shape = unit.values.shape
    if question == SEVERAL and len(shape) != 3:
        raise ValueError(f"question={question!r} is of a stack (n, y, x), not of an image {shape}; give several images")
    missing, known_truth = like("mask", mask, shape), like("truth", truth, shape)
    missing = np.zeros(shape, bool) if missing is None else missing != 0
    if known_truth is None:
        held = ~missing & (np.random.default_rng(0).random(shape) < HELD_OUT)
        aim, where, peak, measure = unit.values, held, 1.0, "the pixels held out"
        missing = missing | held
    else:
        aim, peak, measure = unit.forward(known_truth), peak_of(known_truth) / unit.span, "the truth"
        where = missing if tasks.TASKS[task].fills_holes and missing.any() else np.ones(shape, bool)
    curves: dict[str, Array] = {}
    images: dict[str, Array] = {}
    for label, own in named.items():
        tries: list[list[float]] = []
        best, best_image = -np.inf, unit.values
        for number, seed in enumerate(seeds):
            begun, points = len(curves) + number / len(seeds), list[float]()
            fits = iterates(
                task, unit.values, missing if missing.any() else None, iterations, step, should_stop,
                **{**knobs, **own, "seed": int(seed)},
            )  # fmt: skip
            for at, made in fits:
                points.append(psnr(made[where], aim[where], data_range=peak))
                if number == 0 and points[-1] > best:
                    best, best_image = points[-1], np.asarray(made, np.float64)
                done = (begun + at / iterations / len(seeds)) / len(named)
                yield Step(
                    part=f"{label}, seed {seed}", iteration=at, values={measure: points[-1]}, done=done,
                    image=unit.back(made),
                )  # fmt: skip
            if should_stop():
                break
            tries.append(points)
        if len(tries) < len(seeds):
            break
        curves[label], images[label] = np.array(tries), unit.back(best_image)
    return Ablation(
        question=question,
        measure=measure,
        iterations=np.arange(step, iterations + 1, step),
        curves=curves,
        images=images,
        image=unit.back(unit.values),
        knobs={label: {**knobs, **named[label]} for label in curves},
    )


ablation = to_the_end(iterate_ablation)


def _named(question: str, values: Any) -> Mapping[str, dict[str, Any]]:
    """Label -> knobs of a question."""
    if values is None:
        if question not in QUESTIONS:
            raise ValueError(f"question={question!r} needs values=[...], or is one of {', '.join(QUESTIONS)}")
        return QUESTIONS[question]
    if not len(values):
        raise ValueError("values is empty: name at least one")
    if isinstance(values, Mapping):
        return values
    if question not in known_knobs():
        raise ValueError(f"question={question!r} is no knob; docs/knobs.md lists them")
    return {str(value): {question: value} for value in values}
