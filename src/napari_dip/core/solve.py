"""Fit one problem, whatever happens: memory runs out, the loss diverges, a neighbour does not help.

The loop itself is `napari_dip.core.fit`. `iterate` is the whole protocol: scripts, the command line, the tests and the
dock widgets consume its stream of `Progress` and take the `Result` at its end; there are no callbacks and no queues.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from napari_dip.core import device as devices
from napari_dip.core.attempt import Attempt, Outcome
from napari_dip.core.fit import Clock, fit
from napari_dip.core.guard import GaveUp
from napari_dip.core.ladder import Ladder
from napari_dip.core.memory import RAN_OUT, SMALLER, OutOfMemory
from napari_dip.core.problem import Problem
from napari_dip.core.reason import Choice, End, Reason
from napari_dip.core.result import History, Image, Progress, Result
from napari_dip.core.state import SAVING, Event, State, in_words
from napari_dip.core.stopping import choose
from napari_dip.settings import Settings


def iterate(problem: Problem, settings: Settings, **how: Any) -> Generator[Progress, None, Result]:
    """Fit the generator to the observation of one problem.

    Parameters
    ----------
    problem : Problem
        The measurement and its instrument.
    settings : Settings
        Knobs of the fit.
    should_stop : callable
        Asked before every iteration; true ends the run with what there is. It may block, which pauses the run.
    state : State, optional
        Of an earlier result: the run goes on from there for ``settings.iterations`` more.
    since : int, optional
        The iteration that the run began at, if the state is of a run that did not come to its end and is to.
    ladder : Ladder, optional
        Steps that may be taken when memory runs out; by default none.
    neighbour : State, optional
        Final state of the run of a similar image: a self-guided fit starts from those weights and trains a quarter as
        long. Falls back to a fresh start where that does not help.
    seed : int, optional
        In place of that of the settings.
    interval : float
        Seconds between two `Progress`, at the least; 0 for one every iteration. Each costs a copy of the image to the
        host, and waits for the GPU; of a self-guided fit, a prediction of the image. Together they take a tenth of the
        time at most, unless the interval is 0.
    snapshot_every : int
        A `Progress` at each multiple of so many iterations, whatever the interval; 0 for none.
    found : dict of str to Tensor, optional
        Costly results about the problem from other runs of it; this one adds its own.

    Yields
    ------
    Progress
        With the image (C, *S) so far, in scaled intensities.

    Returns
    -------
    Result
        With its images (C, *S) in scaled intensities; the residual is zero where the observation is not known.

    Raises
    ------
    OutOfMemory
        Before the first iteration is done. Later the run ends with what there is.
    Diverged
        If the loss never was finite.
    """
    return (yield from shown(steps(problem, settings, **how)))


def shown(steps: Generator[Progress | None, None, Result]) -> Generator[Progress, None, Result]:
    """The progress that a run shows, without the None between."""
    try:
        while True:
            progress = next(steps)
            if progress is not None:
                yield progress
    except StopIteration as end:
        result: Result = end.value
        return result
    finally:
        steps.close()


def steps(
    problem: Problem,
    settings: Settings,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    state: State | None = None,
    neighbour: State | None = None,
    since: int | None = None,
    ladder: Ladder | None = None,
    interval: float = 0.25,
    snapshot_every: int = 0,
    finish: bool = False,
    found: dict[str, torch.Tensor] | None = None,
    seed: int | None = None,
) -> Generator[Progress | None, None, Result]:
    """`iterate`, with None after each iteration that shows nothing, so that several runs can go round robin.

    With `finish` a run whose rule had ended it gets no more iterations: others that were stopped are to be finished.
    """
    ladder = ladder or Ladder(settings, devices.choose(settings.device))
    method = settings.method if seed is None else replace(settings.method, seed=seed)
    choice = choose(problem, method)
    threads, began = torch.get_num_threads(), time.perf_counter()
    first = (state.iteration if state else 0) if since is None else since
    events: list[Event] = []
    found = {} if found is None else found
    saved: Outcome | None = None  # of the rung before
    while True:
        failure = ""
        try:
            attempt = Attempt(problem, ladder.applied(method), choice, ladder.device, events, found)
        except Exception as error:
            if saved is None or not devices.is_out_of_memory(error):
                raise
            words = {"iterations": saved.iteration, "why": in_words(error), "also": ""}
            end = Reason.OUT_OF_MEMORY.told(f"; {SMALLER}", device=ladder.device, **words)
            events.append(Event(saved.iteration, "out of memory", str(end)))
            break
        devices.use_threads(method.threads)
        try:
            try:
                attempt.begin(state, neighbour, first)
                over = finish and attempt.rule.ended
                before = attempt.end_as_before(state) if over else None
                last = attempt.fitter.iteration if over else first + attempt.rule.at_most(method.iterations, first)
                end = yield from fit(attempt, last, Clock(attempt, last, should_stop, interval, snapshot_every))
                if before is not None and end.reason.complete:
                    end = before.and_(attempt.steps_behind)
                if end.reason is Reason.AFRESH:
                    events.append(Event(attempt.fitter.iteration, "afresh", str(end)))
                    state, neighbour, saved = None, None, None
                    continue
            except GaveUp as error:
                end = Reason.GAVE_UP.told(guard=error)
            except Exception as error:
                if not devices.is_out_of_memory(error):
                    traceback.clear_frames(error.__traceback__)  # their variables would keep every tensor alive
                    raise
                failure = str(error).split("\n")[0] or type(error).__name__
            # out of memory goes on here, outside the except block: the traceback would keep every tensor alive
            if failure:
                attempt.fitter.drop_gradients()
                if how := ladder.lower():
                    if attempt.begun and attempt.fitter.iteration > max(first, _reached(saved)):
                        saved = attempt.outcome(final=False) or saved
                    state = attempt.good() or state
                    sentence = f"{RAN_OUT} on {attempt.device} ({failure})"
                    events.append(step_down(state.iteration if state else 0, sentence, how))
                    continue
                ladder.good = (attempt.good() or state) if ladder.cuts else None
                state = neighbour = None  # which an error would keep
                end = _ran_out(ladder, attempt, failure, saved)
            # whoever stops a run by hand wants what is on the screen, and wants it soon
            stopped = end.reason is Reason.STOPPED
            if attempt.begun and attempt.fitter.iteration >= _reached(saved):
                saved = attempt.outcome(final=not stopped, stopped=stopped, cpu=ladder.has_cpu) or saved
        finally:
            attempt.close()
            torch.set_num_threads(threads)
        break
    if saved is None:
        raise OutOfMemory(f"{RAN_OUT} on {attempt.device} over the final image", remedy=SMALLER)
    ladder.cuts &= not end.reason.complete
    return Result(
        image=saved.image,
        last=saved.last,
        residual=_residual(problem, saved.image, events),
        uncertainty=saved.spread,
        noise=problem.noise,
        method=Choice(method.name, "chosen by the user"),
        rule=choice,
        marks=(saved.mark,),
        iterations=saved.iteration,
        end=end,
        history=History(np.array(saved.losses, np.float32), tuple(events), saved.curves),
        settings=ladder.changed(settings),
        device=ladder.device,
        seconds=time.perf_counter() - began,
        complete=end.reason.complete,
        states=() if saved.state is None else (saved.state,),
    )


def _residual(problem: Problem, image: Image, events: list[Event]) -> Image:
    """Residual of an image; NaN where there is no memory for it, which costs no image."""
    residual, _ = devices.if_memory_allows(lambda: problem.residual(image))
    if residual is not None:
        return residual
    events.append(Event(0, SAVING, "memory ran out over the residual, which is not known"))
    return np.full_like(problem.observation, np.nan)


def step_down(iteration: int, sentence: str, how: str) -> Event:
    """The event of a run that goes on with less memory."""
    where = f"goes on {how} from iteration {iteration}" if iteration else f"begins again {how}"
    return Event(iteration, SAVING, f"{sentence}: {where}")


def _reached(saved: Outcome | None) -> int:
    return saved.iteration if saved else 0


def _ran_out(ladder: Ladder, attempt: Attempt, failure: str, saved: Outcome | None) -> End:
    """The end of a run for want of memory.

    Raises
    ------
    OutOfMemory
        If there is nothing to end with.
    """
    iterations = max(attempt.fitter.iteration if attempt.begun else 0, _reached(saved))
    also = f", also {' and '.join(ladder.tried)}" if ladder.tried else ""
    where = f"{RAN_OUT} on {attempt.device}"
    if ladder.crowded():
        raise OutOfMemory(f"{where} beside other slices ({failure})", remedy="use at_once=1")
    if iterations == 0:
        told = tuple(event for event in attempt.events if event.kind == SAVING)
        raise OutOfMemory(f"{where} before the first iteration ({failure}){also}", told, SMALLER)
    if attempt.begun:
        attempt.rescue()
    words = {"iterations": iterations, "why": failure, "also": also}
    end = Reason.OUT_OF_MEMORY.told(f"; {SMALLER}", device=attempt.device, **words)
    attempt.events.append(Event(iterations, "out of memory", str(end)))
    return end
