"""The experiments by name, as window and command line run them: what each is given, and how long it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from napari_dip.core.device import choose
from napari_dip.core.telling import counted
from napari_dip.lab.ablation import iterate_ablation
from napari_dip.lab.explicit import iterate_explicit
from napari_dip.lab.held_out import iterate_held_out
from napari_dip.lab.impedance import iterate_impedance
from napari_dip.lab.iterates import Scaled, Steps, scaled
from napari_dip.lab.networks import load_network
from napari_dip.lab.preimage import iterate_maximise, iterate_preimage
from napari_dip.lab.sought import Preimage, Sought
from napari_dip.lab.trajectory import iterate_trajectory
from napari_dip.plan.cost import busy, estimate, in_time, slowed_by
from napari_dip.tables.experiments import row_of


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
        ``iterations``, ``question``, ``truth``, ``generators``, ``network``, ``weights``, ``layer``, ``unit``: what is
        None, or none of the experiment's, is left out.

    Raises
    ------
    ValueError
        If there is no such experiment, or no such question.
    """
    row = row_of(name, given)
    said = {key: value for key, value in given.items() if value is not None and key in ("iterations", *row.takes)}
    seeds: dict[str, Any] = {"seeds": [seed]} if name == "ablation" else {"seed": seed}
    return _STEPS[name](image, should_stop=should_stop, **said, **seeds)


def _preimage(image: Any, *, network: str, layer: str, weights: str | None = None, **rest: Any) -> Steps[Preimage]:
    unit = scaled(image)
    return _in_units((yield from iterate_preimage(unit.values, load_network(network, weights), layer, **rest)), unit)


def _maximise(
    image: Any, *, network: str, layer: str, unit: int, weights: str | None = None, **rest: Any
) -> Steps[Preimage]:
    there = scaled(image)
    work = iterate_maximise(load_network(network, weights), layer, unit, there.values.shape, **rest)
    return _in_units((yield from work), there)


def _in_units(found: Preimage, unit: Scaled) -> Preimage:
    """Images in the units of the user's, of those from 0 to 1 that a network takes."""

    def back(sought: Sought) -> Sought:
        return replace(sought, image=unit.back(sought.image))

    return replace(found, prior=back(found.prior), plain=None if found.plain is None else back(found.plain))


#: Name -> function that goes step by step.
_STEPS: dict[str, Callable[..., Any]] = {
    "impedance": iterate_impedance,
    "ablation": iterate_ablation,
    "held-out": iterate_held_out,
    "explicit": iterate_explicit,
    "trajectory": iterate_trajectory,
    "preimage": _preimage,
    "maximise": _maximise,
}


def duration(name: str, shape: tuple[int, ...], *, iterations: int | None = None, **given: Any) -> str:
    """Time that an experiment takes on this machine, as busy as it is, in words: that of its fits by the hourglass."""
    row = row_of(name, given)
    fits, each = row.fits(given), iterations or row.iterations
    one = estimate(shape, preset="denoise-small", runs=1, iterations=each, stop="iterations")
    seconds = fits * one.seconds
    slowed = slowed_by(seconds, choose("auto").name)
    time = f"about {in_time(slowed * seconds)}.{busy(seconds, slowed)}"
    return f"{counted(fits, 'fit')} of {counted(each, 'iteration')}, {time}"
