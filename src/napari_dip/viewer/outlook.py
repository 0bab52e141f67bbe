"""Outlook on a run before it begins: the sentence above Run, and what speaks against running."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_dip.tables.tasks import TASKS
from napari_dip.viewer import account, engine

if TYPE_CHECKING:
    from napari_dip import Noise
    from napari_dip.plan.plan import Plan

LOADING = " PyTorch is being loaded; Run waits for it."
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
    most = iterations_at_most(settings, fitted, source.geometry.pixel_size(source.space), noise)
    slices = math.prod(source.shape[: -source.space])
    form.show_for(most, many=slices > 1 and not source.together)
    each = " a block" if asked.lazy else ""
    how = f": {work(settings, most)}{each}, on {computer(settings)}.{enough(settings, most)}"
    if waiting and form.automatic:
        how = ". The method is chosen once the noise is known."
    sentence = f"{what}{how} {destination}".rstrip()
    return Outlook(sentence, ready=True, why=f"{form.why} On {device.name}: {device.reason}.")


def of_plan(plan: Plan, what: str) -> Outlook:
    """Outlook on a run that is under way, by its plan."""
    from napari_dip.plan.cost import iterations_at_most

    most = iterations_at_most(plan.settings, plan.slices.values.shape[2:], plan.request.voxel_size, plan.noise)
    sentence = f"{what}: {work(plan.settings, most)}, on {computer(plan.settings)}."
    sentence += enough(plan.settings, most)
    return Outlook(sentence, why=f"It is {plan.method.name}, because {plan.method.reason}.")


def work(settings: Any, most: int) -> str:
    """Method and length of a run."""
    runs = f"{settings.runs} runs, each " if settings.runs > 1 else ""
    return f"{_HOW[settings.method.name]}" + (f", {runs}at most {most} iterations" if most else "")


def enough(settings: Any, most: int) -> str:
    """Sentence on iterations that somebody set above what an image needs; empty if none are."""
    too_many = 0 < most < settings.iterations and "iterations" in settings.chosen
    return f" Of the {settings.iterations} iterations that are set, this image needs {most}." if too_many else ""


def computer(settings: Any) -> str:
    """Device of a run."""
    from napari_dip.machine import choose

    device = choose(settings.device)
    return account.device(device.name) + (f" ({device.reason})" if device.name != "cpu" else "")
