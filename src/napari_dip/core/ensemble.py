"""Several runs of one problem, each from a seed of its own: their mean is better than any, and their spread says how
far they agree. One image and one number of memory more, whatever the number of runs.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_dip.core import solve
from napari_dip.core.averaging import RunningAverage
from napari_dip.core.problem import Problem
from napari_dip.core.solve import History, Image, Progress, Result
from napari_dip.core.state import FAILED, Event, State, in_words
from napari_dip.settings import Settings


def iterate(problem: Problem, settings: Settings, **how: Any) -> Generator[Progress, None, Result]:
    """Fit one problem as often as ``settings.runs`` says, and average.

    Parameters
    ----------
    problem, settings, **how
        As for `solve.iterate`.
    states, neighbours : tuple of State or None
        Of an earlier result, and of the result of a similar image: one for each run.

    Yields
    ------
    Progress
        Its image is the mean of the runs so far, the one at hand counting by how far it has come.

    Returns
    -------
    Result
        Image, last and residual are of the mean, the uncertainty is the standard deviation between and within the
        runs. A run that was stopped or failed is left out, unless it is the first. The states of runs that were not
        reached are those that were handed in.
    """
    return (yield from solve.shown(turns(problem, settings, **how)))


def turns(
    problem: Problem,
    settings: Settings,
    *,
    states: tuple[State | None, ...] = (),
    neighbours: tuple[State | None, ...] = (),
    **how: Any,
) -> Generator[Progress | None, None, Result]:
    """As `iterate`, with None after each iteration that shows nothing, so that several runs can take turns."""
    found: dict[str, Tensor] = {}  # by any of the runs, and their attempts: it depends on no seed
    each: list[dict[str, Any]] = [
        {
            "state": states[run] if states else None,
            "neighbour": neighbours[run] if neighbours else None,
            "found": found,
            **how,
        }
        for run in range(settings.runs)
    ]
    try:
        if settings.runs == 1:
            return (yield from solve.turns(problem, settings, **each[0]))
        return (yield from _averaged(problem, settings, each))
    finally:
        found.clear()  # which an error would keep


def _averaged(
    problem: Problem, settings: Settings, each: list[dict[str, Any]]
) -> Generator[Progress | None, None, Result]:
    """The mean of several runs, each of which is told its own."""
    runs = settings.runs
    image, last = RunningAverage(1, spread=True), RunningAverage(1)
    done: list[Result] = []
    kept: list[State | None] = [how["state"] for how in each]
    ending, ended_in, events = "", 0, list[Event]()
    error: Exception | None = None
    lost = False  # whether there is a run without a state
    for run, seed in enumerate(seeds(settings.seed, runs)):
        steps = solve.turns(problem, settings.changed(seed=seed), **each[run])
        try:
            while True:
                progress = next(steps)
                yield progress and replace(progress, image=_blend(image, progress), run=run, runs=runs)
        except StopIteration as end:
            result: Result = end.value
        except MemoryError as shortage:  # the runs to come are as large
            if not done:
                raise
            ending, ended_in = str(shortage), run
            break
        except Exception as failure:
            error = error or failure
            words = f"run {run + 1} of {runs} failed, and counts for nothing: {in_words(failure)}"
            events.append(Event(0, FAILED, words))
            continue
        finally:
            steps.close()
        kept[run], lost = (result.states[0], lost) if result.states else (None, True)
        if result.complete or not done:
            image.add(torch.from_numpy(result.image))
            last.add(torch.from_numpy(result.last))
            done.append(result)
        if not result.complete:
            ending, ended_in = result.stop_reason, run
            break
    if error is not None and not done:
        raise error
    assert image.mean is not None
    assert last.mean is not None
    mean = image.mean.numpy()
    reason = (
        f"{ending}, in run {ended_in + 1} of {runs}"
        if ending
        else f"averaged {len(done)} runs, the last of which {done[-1].stop_reason}"
    )
    if events:
        more = f" ({len(events) - 1} more failed too)" if len(events) > 1 else ""
        reason += f"; {events[0].message}{more}"
    return replace(
        done[0],
        image=mean,
        last=last.mean.numpy(),
        residual=problem.residual(mean),
        uncertainty=_spread(image, done, settings),
        marks=tuple(r.marks[0] for r in done),
        iterations=sum(r.iterations for r in done),
        stop_reason=reason,
        history=History(
            np.concatenate([r.history.loss for r in done]),
            (*(event for r in done for event in r.history.events), *events),
        ),
        settings=settings,
        seconds=sum(r.seconds for r in done),
        complete=not (ending or events),
        states=() if lost else tuple(kept),
    )


def seeds(seed: int, runs: int) -> list[int]:
    """The seeds of the runs: the first is the one given, the others are drawn from it."""
    return [seed, *(int(np.random.SeedSequence([seed, run]).generate_state(1)[0] >> 1) for run in range(1, runs))]


def _blend(finished: RunningAverage, progress: Progress) -> Image:
    if finished.mean is None:
        return progress.image
    share = progress.iteration / progress.iterations if progress.ready == 1 else 0
    weight = finished.weight
    return np.asarray((weight * finished.mean.numpy() + share * progress.image) / (weight + share))


def _spread(images: RunningAverage, done: list[Result], settings: Settings) -> Image | None:
    """The standard deviation of all that the runs say: of their means, and within each (the law of total variance).

    Without the bias of a small number of runs.
    """
    count, own = len(done), [result.uncertainty for result in done if result.uncertainty is not None]
    if not settings.uncertainty or not own:
        return None
    assert images.variance is not None
    between = images.variance.numpy() * count / max(count - 1, 1)
    return np.asarray(np.sqrt(between + np.mean(np.square(own), axis=0)))
