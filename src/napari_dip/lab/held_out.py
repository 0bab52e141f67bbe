"""Held-out pixels: the error of fitted pixels falls to the end, that of others rises again as noise is fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.noise.model import INDEPENDENT
from napari_dip.core.stopping import BLOCK, draw_held_out
from napari_dip.core.telling import quietly
from napari_dip.lab.iterates import Array, Outcome, Step, Steps, draw, every, iterates, like, scaled, to_the_end
from napari_dip.trust import estimate_noise

_POINTS = 100


@dataclass(frozen=True, kw_only=True)
class HeldOut(Outcome):
    """Errors against iterations: root mean squares, in the units of the image.

    Attributes
    ----------
    iterations : int array (n,)
    errors : dict of str to float array (n,)
        "fitted" pixels and those "held out", against what was measured; with a truth, all pixels against it ("truth").
    images : dict of str to array
        The iterate at the least of each of these errors.
    held : bool array
        True where a pixel was held out.
    noise : float
        Standard deviation of the noise, as estimated: "fitted" falls below it, "held out" by chance alone.
    """

    iterations: npt.NDArray[np.int64]
    errors: dict[str, Array]
    images: dict[str, Array] = field(repr=False)
    held: npt.NDArray[np.bool_] = field(repr=False)
    noise: float

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Row of the table for each error: the least, where, at the end; and the error of the others there."""
        rows = []
        for name, errors in self.errors.items():
            at = int(np.argmin(errors))
            row = {"error of": name, "least": f"{errors[at]:.4g}", "at iteration": int(self.iterations[at])}
            row["at the end"] = f"{errors[-1]:.4g}"
            rows.append(row | {f"{other} there": f"{self.errors[other][at]:.4g}" for other in self.errors})
        return rows

    def plot(self) -> Any:
        """Curves and images as a figure of matplotlib, which must be installed (``napari-dip[plot]``)."""
        curves = {name: (self.iterations, values) for name, values in self.errors.items()}
        return draw(curves, "error (rms)", self.images)


def iterate_held_out(
    image: npt.ArrayLike,
    *,
    task: str = "denoise",
    mask: npt.ArrayLike | None = None,
    truth: npt.ArrayLike | None = None,
    iterations: int = 1500,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    **knobs: Any,
) -> Steps[HeldOut]:
    """Follow the error on fitted and on held-out pixels, over a run that goes to its end.

    Parameters
    ----------
    image : array-like, (y, x) or (z, y, x)
        Real and finite.
    task : {"denoise", "inpaint", "deblock"}
    mask : array-like of bool, optional
        True where a pixel is missing.
    truth : array-like, optional
        Like `image`: its error says whether the held-out pixels choose well.
    iterations : int
    seed : int
        Decides which pixels are held out (3 % of the known ones, in blocks where neighbours share noise, as by
        ``stop="held-out"``), and the fit.
    should_stop : callable
        Asked before every iteration; true ends the run with the curves so far, or a `ValueError` before their first
        point.
    **knobs
        As for `napari_dip.denoise`.

    Yields
    ------
    Step

    Returns
    -------
    HeldOut

    Raises
    ------
    ValueError, TypeError
        If the image or a knob is not fit; the message says what to do.
    """
    unit, step = scaled(image), every(iterations, _POINTS)
    shape = unit.values.shape
    missing, known_truth = like("mask", mask, shape), like("truth", truth, shape)
    missing = np.zeros(shape, bool) if missing is None else missing != 0
    with quietly():
        noise = estimate_noise(unit.values, missing)
    held = draw_held_out(~missing, BLOCK if noise.correlation >= INDEPENDENT else 1, seed) & ~missing
    aims = {"fitted": (unit.values, ~missing & ~held), "held out": (unit.values, held)}
    if known_truth is not None:
        aims["truth"] = unit.forward(known_truth), np.ones(shape, bool)
    counts: list[int] = []
    errors: dict[str, list[float]] = {name: [] for name in aims}
    images: dict[str, Array] = {}
    changes = {"seed": seed, **knobs}
    for at, made in iterates(task, unit.values, missing | held, iterations, step, should_stop, **changes):
        now = {
            name: unit.span * float(np.sqrt(np.mean((made - aim)[where] ** 2))) for name, (aim, where) in aims.items()
        }
        counts.append(at)
        for name, error in now.items():
            if not errors[name] or error < min(errors[name]):
                images[name] = unit.back(made)
            errors[name].append(error)
        yield Step(part="fit", iteration=at, values=now, done=at / iterations, image=unit.back(made))
    if not counts:
        raise ValueError("stopped before there was a point of the curves")
    return HeldOut(
        iterations=np.array(counts),
        errors={name: np.array(values) for name, values in errors.items()},
        images=images,
        held=held,
        noise=unit.span * noise.sigma,
    )


held_out = to_the_end(iterate_held_out)
