"""The loop: fit the generator to one observation, and say at every moment what it makes of it.

`iterate` is the whole protocol. Scripts, the command line, the tests and the dock widgets consume its stream of
`Progress` and take the `Result` at its end; there are no callbacks and no queues.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_dip.core import device as devices
from napari_dip.core.attempt import Attempt, Outcome
from napari_dip.core.ladder import Ladder
from napari_dip.core.noise import Noise
from napari_dip.core.problem import Problem
from napari_dip.core.reason import End, Reason
from napari_dip.core.state import SAVING, SLOWER, Event, State, in_words, on_host
from napari_dip.core.stopping import Choice, choose
from napari_dip.core.trust import Verdict
from napari_dip.settings import Settings

Image = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run has come.

    Attributes
    ----------
    image : array
        What is restored so far: of the slice at hand, in the units and axes of the input. Before the first iteration,
        the measurement.
    iteration, iterations : int
        Steps made and steps at the most, of this run.
    slice, slices : int
        Index of the slice at hand and the number of slices (0 and 1 for a single image).
    tile, tiles : int
        Index of the tile at hand and the number of tiles of each slice.
    run, runs : int
        Index of the run at hand and the number of runs of each tile.
    loss : float
        Of the latest iterate, in the scaled intensities of the generator.
    rate : float
        Iterations a second, since this run began.
    snapshot : bool
        Whether this is one of those that ``snapshot_every`` asks for.
    at_once : int
        Slices that are under way together.
    ready : float
        Share that is done of what precedes the first iteration or follows the last, 1 in between: a self-guided fit
        compares similar patches.
    """

    image: Image
    iteration: int
    iterations: int
    loss: float
    rate: float
    slice: int = 0
    slices: int = 1
    tile: int = 0
    tiles: int = 1
    run: int = 0
    runs: int = 1
    snapshot: bool = False
    at_once: int = 1
    ready: float = 1.0

    @property
    def fraction(self) -> float:
        """Share of the whole run that is done, 0 to 1."""
        tile = self.tile + (self.run + self.iteration / self.iterations) / self.runs
        return (self.slice + tile / self.tiles * min(self.at_once, self.slices - self.slice)) / self.slices

    @property
    def seconds_left(self) -> float:
        """Time left if all goes on as it has, in seconds."""
        later = (((self.slices - self.slice) * self.tiles - self.tile) * self.runs - self.run - 1) * self.iterations
        left = self.iterations - self.iteration + later / self.at_once
        return left / self.rate if self.rate else float("inf")


@dataclass(frozen=True)
class History:
    """What happened: the loss of every iteration (float32, 1-D), and the events."""

    loss: npt.NDArray[np.float32]
    events: tuple[Event, ...] = ()

    @property
    def setbacks(self) -> tuple[Event, ...]:
        """Events that cost more than time or digits."""
        return tuple(event for event in self.events if event.kind not in (SLOWER, SAVING))


@dataclass(frozen=True, kw_only=True)
class Result:
    """The restored image and how it came about.

    Attributes
    ----------
    image : array
        In the units and axes of the input: what the stopping rule marked, else the image at the end.
    last : array
        The image at the end of the run, like `image`.
    residual : array
        Observation minus what the instrument would see of the fitted image, in the units and axes of the input; NaN
        where that is not known.
    uncertainty : array or None
        Standard deviation at each pixel, like `image`, if the settings ask for it: of the iterates about their
        average, weighted as they are in it, which are samples of the posterior with ``optimiser="sgld"``; of a
        self-guided fit, the error that its disagreement with similar patches lets expect; and that between the runs if
        there are several. NaN where a known pixel is kept; at least the spread around a hole that nothing determines.
    noise : Noise or None
        Of the observation, in the units of the input; None if it is not known.
    method : Choice
        "self-guided" or "prior" (the generator is fed something fixed), and why.
    rule : Choice
        The stopping rule and why it was taken (of the first slice that was fitted).
    marks : tuple of int
        The iteration that `image` is of, for each slice that was fitted, each of its tiles and each of their runs.
    iterations : int
        Steps made in all (summed over the slices of a stack, and over the runs that it continues).
    end : End
        Why the run ended: a `reason`, which is a member of an enum, and its sentence, which is `stop_reason` too.
    history : History
        Loss and events.
    settings : Settings
        All knobs, with what ``auto`` became.
    device : Device
        Where it was computed, and why there.
    seconds : float
        Wall-clock time.
    complete : bool
        False if the run was stopped, gave up or ran out of memory before its last iteration or its stopping rule
        ended it.
    verdict : Verdict or None
        On the residual, the worst of all slices and channels; None if nothing was fitted or no noise is known.
    warnings : tuple of str
        Sentences that say what not to rely on: the estimate of the noise, and holes that nothing determines.
    record : dict
        Provenance, fit for JSON: all of the above and the versions of the software.
    glance : (array, array) or None
        Small pictures of one slice before and after, for a notebook.

    Notes
    -----
    ``np.asarray(result)`` is its image. A notebook shows the image before and after, and the verdict.
    """

    image: Image
    last: Image
    residual: Image
    uncertainty: Image | None = None
    noise: Noise | None = None
    method: Choice
    rule: Choice
    marks: tuple[int, ...]
    iterations: int
    end: End
    history: History
    settings: Settings
    device: devices.Device
    seconds: float
    complete: bool
    verdict: Verdict | None = None
    warnings: tuple[str, ...] = ()
    states: tuple[State | None, ...] = field(default=(), repr=False)
    record: dict[str, Any] = field(default_factory=dict, repr=False)
    glance: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]] | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        """Shape, type, method, end and verdict, in a few lines."""
        return "\n".join([f"Result: {self._headline}", *self._sentences, *self._count_of_warnings])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Image:
        """The image, for numpy and all that takes an array."""
        return np.array(self.image, dtype=dtype, copy=copy)  # type: ignore[arg-type, unused-ignore]  # numpy 1: a bool

    def _repr_html_(self) -> str:
        """The page that a notebook shows."""
        from napari_dip.glance import page  # presentation, which numerics do without

        pictures = zip(("before", "after"), self.glance or (), strict=False)
        return page(pictures, [self._headline, *self._sentences], self.warnings)

    @property
    def stop_reason(self) -> str:
        """The sentence that says why the run ended."""
        return str(self.end)

    @property
    def _headline(self) -> str:
        shape = " x ".join(map(str, self.image.shape))
        return f"{self.record.get('task', 'image')}, {shape}, {self.image.dtype}, {self.method.name}"

    @property
    def _sentences(self) -> list[str]:
        return [self.stop_reason, *([self.verdict.sentence] if self.verdict else [])]

    @property
    def _count_of_warnings(self) -> list[str]:
        count = len(self.warnings)
        return [f"{count} warning{'s' if count > 1 else ''}, see .warnings"] if count else []

    @property
    def choices(self) -> dict[str, str]:
        """What was chosen and why: headings and sentences."""
        return {"Method": str(self.method), "Stopping rule": str(self.rule)}


class OutOfMemory(MemoryError):
    """Memory ran out before the first iteration was made; `events` tells what was tried."""

    def __init__(self, what: str, events: tuple[Event, ...] = (), remedy: str = "") -> None:
        end = Reason.NO_MEMORY.told(f"; {remedy}" * bool(remedy), error=what)
        super().__init__(str(end))
        self.end = end
        self.events = events


def iterate(problem: Problem, settings: Settings, **how: Any) -> Generator[Progress, None, Result]:
    """Fit the generator to the observation of one problem.

    Parameters
    ----------
    problem : Problem
        What is measured, and through which instrument.
    settings : Settings
        How to fit.
    should_stop : callable
        Asked before every iteration; true ends the run with what there is. It may block, which pauses the run.
    state : State, optional
        Of an earlier result: the run goes on from there for ``settings.iterations`` more.
    since : int, optional
        The iteration that the run began at, if the state is of a run that did not come to its end and is to.
    ladder : Ladder, optional
        What may be done when memory runs out; by default nothing.
    neighbour : State, optional
        That the run of a similar image ended in, for a self-guided fit: it begins from those weights and makes a
        quarter of the passes. Where these find out much that the neighbour did not know, it begins again afresh.
    interval : float
        Seconds between two `Progress`, at the least; 0 for one every iteration. Each costs a copy of the image to the
        host, and waits for the GPU; of a self-guided fit, a pass over the image. More than a tenth of the time it does
        not take, unless the interval is 0.
    snapshot_every : int
        A `Progress` at each multiple of so many iterations, whatever the interval; 0 for none.
    found : dict of str to Tensor, optional
        What other runs of the same problem have found out about it and need not be done again; this one adds to it.

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
    return (yield from shown(turns(problem, settings, **how)))


def shown(turns: Generator[Progress | None, None, Result]) -> Generator[Progress, None, Result]:
    """The turns of a run that show something."""
    try:
        while True:
            progress = next(turns)
            if progress is not None:
                yield progress
    except StopIteration as end:
        result: Result = end.value
        return result
    finally:
        turns.close()


def turns(
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
) -> Generator[Progress | None, None, Result]:
    """As `iterate`, with None after each iteration that shows nothing, so that several runs can take turns.

    With `finish` a run whose rule had ended it gets no more iterations: others that were stopped are to be finished.
    """
    ladder = ladder or Ladder(settings, devices.choose(settings.device))
    choice = choose(problem, settings.method)
    threads, began = torch.get_num_threads(), time.perf_counter()
    first = (state.iteration if state else 0) if since is None else since
    events: list[Event] = []
    found = {} if found is None else found
    saved: Outcome | None = None  # of the rung before
    while True:
        settings, failure = ladder.applied(settings), ""
        try:
            attempt = Attempt(problem, settings.method, choice, ladder.device, events, found)
        except Exception as error:
            if saved is None or not devices.is_out_of_memory(error):
                raise
            words = {"iterations": saved.iteration, "why": in_words(error), "also": ""}
            end = Reason.OUT_OF_MEMORY.told(f"; {_SMALLER}", device=ladder.device, **words)
            events.append(Event(saved.iteration, "out of memory", str(end)))
            break
        devices.use_threads(settings.threads)
        try:
            try:
                attempt.begin(state, neighbour, first)
                over = finish and attempt.rule.ended
                end = yield from _steps(attempt, first, should_stop, interval, snapshot_every, over)
                if over and end.reason.complete:
                    end = attempt.end_as_before(state)
                if end.reason is Reason.AFRESH:
                    events.append(Event(attempt.fitter.iteration, "afresh", str(end)))
                    state, neighbour, saved = None, None, None
                    continue
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
                    sentence = f"{_OUT} on {attempt.device} ({failure})"
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
        raise OutOfMemory(f"{_OUT} on {attempt.device} over the final image", remedy=_SMALLER)
    ladder.cuts &= not end.reason.complete
    return Result(
        image=saved.image,
        last=saved.last,
        residual=_residual(problem, saved.image, events),
        uncertainty=saved.spread,
        noise=problem.noise,
        method=Choice(settings.method.name, "chosen by the user"),
        rule=choice,
        marks=(saved.mark,),
        iterations=saved.iteration,
        end=end,
        history=History(np.array(saved.losses, np.float32), tuple(events)),
        settings=settings,
        device=ladder.device,
        seconds=time.perf_counter() - began,
        complete=end.reason.complete,
        states=() if saved.state is None else (saved.state,),
    )


def _residual(problem: Problem, image: Image, events: list[Event]) -> Image:
    """Residual of an image; NaN where there is no memory for it, which costs no image."""
    try:
        return problem.residual(image)
    except Exception as error:
        if not devices.is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
    events.append(Event(0, SAVING, "memory ran out over the residual, which is not known"))
    return np.full_like(problem.observation, np.nan)


@contextmanager
def telling_of_memory() -> Iterator[None]:
    """Say in one way, with a remedy, that memory ran out, whatever library it was that said so."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OutOfMemory) or not devices.is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        words = str(error).split("\n")[0] or type(error).__name__
    else:
        return
    raise OutOfMemory(f"{_OUT} ({words})", remedy=_SMALLER)


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
    where = f"{_OUT} on {attempt.device}"
    if ladder.crowded():
        raise OutOfMemory(f"{where} beside other slices ({failure})", remedy="use at_once=1")
    if iterations == 0:
        told = tuple(event for event in attempt.events if event.kind == SAVING)
        raise OutOfMemory(f"{where} before the first iteration ({failure}){also}", told, _SMALLER)
    if attempt.begun:
        attempt.rescue()
    words = {"iterations": iterations, "why": failure, "also": also}
    end = Reason.OUT_OF_MEMORY.told(f"; {_SMALLER}", device=attempt.device, **words)
    attempt.events.append(Event(iterations, "out of memory", str(end)))
    return end


_RARELY = 10  # times what an image costs pass before the next: looking takes a tenth of the time at the most
_OUT = "memory ran out"
_SMALLER = "use fewer channels, a smaller image, or device='cpu'"


def _steps(
    attempt: Attempt, first: int, should_stop: Callable[[], bool], interval: float, snapshot_every: int, over: bool
) -> Generator[Progress | None, None, End]:
    """Make the steps of a run that began at iteration `first`: fewer if the rule ends it, none if it is over.

    Returns why it ended.
    """
    fitter, guard, rule, events = attempt.fitter, attempt.guard, attempt.rule, attempt.events
    here = fitter.iteration
    last = here if over else first + rule.at_most(attempt.method.iterations, first)
    stopped = partial(Reason.STOPPED.told, iterations=last)
    if not (yield from _through(fitter.prepare(), attempt, last, should_stop, interval)):
        return stopped(iteration=here)
    began = shown = time.perf_counter()
    cost = 0.0
    reason = "" if here < last or rule.ended else rule.look(fitter)
    while fitter.iteration < last and not reason:
        asked = time.perf_counter()
        stopping = should_stop()  # may wait, which must not count as slowness
        began += time.perf_counter() - asked
        if not stopping:
            fitter.step()
        if stopping or guard.due(fitter) or fitter.iteration == last:
            event = guard.check(fitter, last=fitter.iteration == last)  # waits for the GPU
            if event:
                events.append(event)
                rule.restart()
            if event and event.kind == "gave up":
                return Reason.GAVE_UP.told(guard=event.message)
            if not (event or stopping or rule.ended):
                reason = rule.look(fitter)
        if stopping:
            return stopped(iteration=fitter.iteration)
        now = time.perf_counter()
        snapshot = snapshot_every > 0 and fitter.iteration % snapshot_every == 0
        if snapshot or now - shown >= (interval and max(interval, _RARELY * cost)):
            image = _preview(attempt)  # waits for the GPU
            shown = time.perf_counter() if image is not None else np.inf
            cost = shown - now
            if image is None or not np.isfinite(image).all():
                yield None  # the next look will go back
                continue
            yield Progress(
                image=image,
                iteration=fitter.iteration,
                iterations=last,
                loss=fitter.losses[-1],
                rate=(fitter.iteration - here) / (now - began),
                snapshot=snapshot,
            )
        else:
            yield None
    if not (rule.ended or fitter.helped()):  # whoever goes on has no more to learn about the neighbour
        return Reason.AFRESH.told()
    if not (yield from _through(fitter.finish(), attempt, last, should_stop, interval)):
        return stopped(iteration=fitter.iteration)
    if not reason:
        return Reason.FINISHED.told(iterations=last, remark="" if rule.ended else rule.remark())
    rule.ended = True
    return Reason.RULE.told(rule=reason)


def _through(
    work: Generator[float, None, None],
    attempt: Attempt,
    last: int,
    should_stop: Callable[[], bool],
    interval: float,
) -> Generator[Progress | None, None, bool]:
    """Do what precedes the first iteration or follows the last; returns whether the user let it come to its end."""
    fitter, shown = attempt.fitter, time.perf_counter()
    for ready in work:
        if should_stop():
            return False
        if ready < 1 and interval and time.perf_counter() - shown >= interval:
            image = _preview(attempt) if fitter.iteration else on_host(fitter.observation)
            shown = time.perf_counter()
            yield (
                image
                if image is None
                else Progress(
                    image=image, iteration=fitter.iteration, iterations=last, loss=np.nan, rate=0, ready=ready
                )
            )
        else:
            yield None
    return True


def _preview(attempt: Attempt) -> Image | None:
    """The image so far; None if there is no memory to make it, which costs the previews and not the run."""
    try:
        return attempt.fitter.image()
    except Exception as error:
        if not devices.is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        failure = str(error).split("\n")[0]
    attempt.fitter.drop_gradients()
    message = f"memory ran out on {attempt.device} over a preview ({failure}): no more are shown"
    attempt.events.append(Event(attempt.fitter.iteration, SAVING, message))
    return None
