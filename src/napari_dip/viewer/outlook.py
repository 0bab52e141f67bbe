"""Outlook on a run before it begins: the sentence above Run, and what speaks against running."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_dip.tables.presets import at_quality
from napari_dip.tables.settings import PRESETS
from napari_dip.tables.tasks import TASKS
from napari_dip.viewer import account, engine

if TYPE_CHECKING:
    from napari_dip import Noise
    from napari_dip.plan.plan import Plan

LOADING = " PyTorch is being loaded; Run waits for it."
_SHORT = 0.5  # of the automatic iterations, below which it is told how few are set
_HOW = {
    "self-guided": "self-guided (it learns from the image itself)",
    "prior": "a prior (an untrained network is fitted)",
    "similar patches": "similar patches alone (no network)",
}


@dataclass(frozen=True)
class Outlook:
    """Plan of a run in words, and whether it can begin.

    Attributes
    ----------
    sentence : str
        In view; where nothing can be run, what to do first.
    ready : bool
        It can be run.
    why : str
        Reason for the method, in a sentence.
    """

    sentence: str
    ready: bool = False
    why: str = ""


def doubt_of(task: str, noise: Noise | None, short: bool) -> str:
    """Sentence that speaks against a run; empty if nothing does.

    Parameters
    ----------
    task : str
    noise : Noise or None
    short : bool
        More memory is needed than there is.
    """
    if short:
        return "There is too little memory for it: restore a part of the image, or fewer slices."
    row = TASKS[task]
    if noise is None or noise.detected or noise.impulses or not (row.keeps_mean and row.removes_noise):
        return ""
    return f"{'Hardly any' if noise.sigma > 0 else 'No'} noise found: denoising may only blur."


def before(inputs: Any, form: Any, asked: Any, noise: Noise | None, waiting: bool) -> Outlook:
    """Outlook on the run that is asked for, by the noise of the image, if that is known and not waited for.

    Raises
    ------
    ValueError, TypeError
        If it cannot be run; the message says what to do.
    """
    form.check()
    form.settings()
    what = inputs.sentence()
    inputs.check()
    if not engine.loaded():
        return Outlook(f"{what}.{LOADING}", ready=True)
    destination, fitted = asked.destination(), asked.fitted
    form.know_size(math.prod(fitted) * math.prod(asked.factor or ()))
    settings = form.settings()
    from napari_dip.machine import choose
    from napari_dip.plan.cost import iterations_at_most

    device = choose(settings.device)
    source = asked.source
    at_most = partial(
        iterations_at_most, shape=fitted, voxel_size=source.geometry.pixel_size(source.space), noise=noise
    )
    most = at_most(settings)
    slices = math.prod(source.shape[: -source.space])
    form.show_for(most, many=slices > 1 and not source.together)
    each = " a block" if asked.lazy else ""
    how = f": {work(settings, most)}{each}, on {computer(settings)}.{enough(settings, at_most)}"
    if waiting and form.automatic:
        how = ". The method is chosen once the noise is known."
    sentence = f"{what}{how} {destination}".rstrip()
    return Outlook(sentence, ready=True, why=f"{form.why} On {device.name}: {device.reason}.")


def of_plan(plan: Plan, what: str, goes_on: bool = False) -> Outlook:
    """Outlook on a run that is under way, by its plan; maybe one that goes on from another."""
    from napari_dip.plan.cost import iterations_at_most

    size = {"shape": plan.slices.values.shape[2:], "voxel_size": plan.request.voxel_size}
    at_most = partial(iterations_at_most, **size, noise=plan.noise)
    sentence = f"{what}: {work(plan.settings, at_most(plan.settings))}, on {computer(plan.settings)}."
    sentence += "" if goes_on else enough(plan.settings, at_most)
    return Outlook(sentence, why=f"It is {plan.method.name}, because {plan.method.reason}.")


def work(settings: Any, most: int) -> str:
    """Method and length of a run."""
    runs = f"{settings.runs} runs, each " if settings.runs > 1 else ""
    return f"{_HOW[settings.method.name]}" + (f", {runs}at most {most} iterations" if most else "")


def enough(settings: Any, at_most: Callable[[Any], int]) -> str:
    """Sentence on iterations that somebody set far from what an image needs; empty if none are.

    `at_most` tells the iterations of settings on that image.
    """
    if "iterations" not in settings.chosen or settings.preset not in PRESETS:
        return ""
    most, preset = at_most(settings), PRESETS[settings.preset]
    if 0 < most < settings.iterations:
        return f" Of the {settings.iterations} iterations that are set, this image needs {most}."
    automatic = at_quality(settings.preset, settings.quality).get("iterations", preset.iterations)
    usual = at_most(settings.decided(iterations=automatic))
    short = f" That is {100 * most / usual:.2g} % of the automatic {usual}, and may be too short."
    return short if 0 < most < _SHORT * usual else ""


def computer(settings: Any) -> str:
    """Device of a run."""
    from napari_dip.machine import choose

    device = choose(settings.device)
    return account.device(device.name) + (f" ({device.reason})" if device.name != "cpu" else "")
