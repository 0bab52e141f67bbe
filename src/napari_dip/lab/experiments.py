"""The experiments by name, as window and command line run them: what each is given, and how long it takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from napari_dip.lab.ablation import iterate_ablation
from napari_dip.lab.explicit import iterate_explicit
from napari_dip.lab.held_out import iterate_held_out
from napari_dip.lab.impedance import iterate_impedance
from napari_dip.lab.trajectory import iterate_trajectory
from napari_dip.plan.cost import estimate, in_time
from napari_dip.tables.experiments import row_of

#: Name -> function that goes step by step.
_STEPS: dict[str, Callable[..., Any]] = {
    "impedance": iterate_impedance,
    "ablation": iterate_ablation,
    "held-out": iterate_held_out,
    "explicit": iterate_explicit,
    "trajectory": iterate_trajectory,
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
    row = row_of(name, given)
    said = {key: value for key, value in given.items() if value is not None and key in ("iterations", *row.takes)}
    seeds: dict[str, Any] = {"seeds": [seed]} if name == "ablation" else {"seed": seed}
    return _STEPS[name](image, should_stop=should_stop, **said, **seeds)


def duration(name: str, shape: tuple[int, ...], *, iterations: int | None = None, **given: Any) -> str:
    """Time that an experiment takes on this machine, in words: that of its fits by the hourglass."""
    row = row_of(name, given)
    fits, each = row.fits(given), iterations or row.iterations
    one = estimate(shape, preset="denoise-small", runs=1, iterations=each, stop="iterations")
    time = in_time(math.ceil(fits * one.seconds / 5) * 5)
    return f"{fits} fit{'s' if fits > 1 else ''} of {each} iterations, about {time}"
