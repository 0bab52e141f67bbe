"""The loop: one attempt to fit one problem, on one screen. What may go wrong is caught by `napari_dip.core.solve`."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import replace

import numpy as np

from napari_dip.core.attempt import Attempt
from napari_dip.core.reason import End, Reason
from napari_dip.core.result import History, Progress
from napari_dip.core.state import on_host
from napari_dip.core.telling import counted

_LATELY = 20  # seconds of which the rate of a fit is: the machine may be busier than it was
_RARELY = 10  # least interval of previews, over the cost of one: they take a tenth of the time at most


def fit(attempt: Attempt, clock: Clock) -> Generator[Progress | None, None, End]:
    """Fit until the rule ends it, at the latest in the last iteration; returns why it ended.

    Yields
    ------
    Progress or None
        After each iteration; None where it is not yet time to show something.

    Raises
    ------
    GaveUp, Diverged
        If the loss leaves the finite numbers, or jumps, again and again.
    """
    attempt.begin()
    clock.begin(attempt)
    fitter, rule, last = attempt.fitter, attempt.rule, attempt.last
    if (yield from clock.through(fitter.prepare())):
        return clock.stopped()
    reason = "" if fitter.iteration < last or rule.ended else rule.look(fitter)
    while fitter.iteration < last and not reason:
        if clock.stops():
            attempt.check()
            return clock.stopped()
        fitter.step()  # perturb, predict, compare, move, average, watch; replayed from a graph on a GPU
        if attempt.due() and attempt.check() and not rule.ended:  # waits for the GPU
            reason = rule.look(fitter)
        yield from clock.shown()
    if not (rule.ended or fitter.helped()):  # a continued run was judged before
        return Reason.AFRESH.told()
    if (yield from clock.through(fitter.finish())):
        return clock.stopped()
    if (yield from clock.through(attempt.refine())):
        before = "that before" if attempt.iteration else "the smoothest that explains the measurement"
        return clock.stopped().and_(f", over {attempt.behind}: the image is {before}")
    if reason:
        rule.ended, end = True, Reason.RULE.told(rule=reason)
    elif attempt.had_ended:
        end = Reason.RULE_BEFORE.told(iteration=last)
    else:
        end = Reason.FINISHED.told(iterations=last, remark="" if rule.ended else rule.remark())
    return end.and_(attempt.steps_behind)


class Clock:
    """Timing of fits, one after the other: when to show an image, and the stop by the user.

    Parameters
    ----------
    should_stop : callable
        Asked before every iteration. It may block, which pauses the fit and does not lower its rate.
    interval : float
        Least seconds between two images, more if these took over a tenth of the time; 0 for one every iteration.
    snapshot_every : int
        An image at each multiple of so many iterations, whatever the interval; 0 for none.
    whole : callable
        Progress of the whole image, from that of a fit.
    """

    _first: int
    _began: float
    _later: tuple[int, float]

    def __init__(
        self,
        should_stop: Callable[[], bool],
        interval: float,
        snapshot_every: int,
        whole: Callable[[Progress], Progress],
    ) -> None:
        self._should_stop, self._interval, self._every, self._whole = should_stop, interval, snapshot_every, whole

    def begin(self, attempt: Attempt) -> None:
        """Begin with a fit."""
        self._attempt = attempt
        self._count_from_here()
        self._due = self._began + self._interval

    def stops(self) -> bool:
        """True if the user ends the fit here."""
        asked = time.perf_counter()
        stops = self._should_stop()
        waited = time.perf_counter() - asked
        self._began, self._later = self._began + waited, (self._later[0], self._later[1] + waited)
        return stops

    def _count_from_here(self) -> None:
        self._first, self._began = self._later = self._attempt.iteration, time.perf_counter()

    def _rate(self, now: float) -> float:
        """Iterations a second, over the last `_LATELY` seconds and up to as many before."""
        if now - self._later[1] > _LATELY:
            self._first, self._began = self._later
            self._later = self._attempt.iteration, now
        return (self._attempt.iteration - self._first) / (now - self._began)

    def stopped(self) -> End:
        """The end of a fit that the user ends here."""
        done, last = self._attempt.iteration, self._attempt.last
        share = "all" if done == last else f"{done} of"
        return Reason.STOPPED.told(after=f" after {share} {counted(last, 'iteration')}" if last else "")

    def shown(self, ready: float = 1.0) -> Generator[Progress | None, None, None]:
        """Show the image so far, if it is time for it; `ready` is the share done of other work than iterations."""
        attempt, now = self._attempt, time.perf_counter()
        iterates = ready == 1
        snapshot = iterates and self._every > 0 and attempt.iteration % self._every == 0
        if not (snapshot or now >= self._due):
            yield None
            return
        image = attempt.preview() if attempt.iteration else on_host(attempt.fitter.observation)
        if image is None:
            self._due = np.inf
            yield None
            return
        progress = Progress(
            image=image, iteration=attempt.iteration, iterations=attempt.last, loss=np.nan, rate=0, ready=ready
        )
        if iterates:
            losses, rule = attempt.fitter.losses, attempt.rule
            progress = replace(
                progress,
                loss=losses[-1],
                rate=self._rate(now),
                snapshot=snapshot,
                history=History(np.array(losses, np.float32), tuple(attempt.events), rule.curves),
                mark=None if rule.mark is None else rule.mark.iteration,
            )
        yield self._whole(progress) if np.isfinite(image).all() else None  # else the guard will go back
        shown = time.perf_counter()
        self._due = shown + (self._interval and max(self._interval, _RARELY * (shown - now)))

    def through(self, work: Generator[float, None, None]) -> Generator[Progress | None, None, bool]:
        """Do the work before the first iteration or after the last; returns True if the user stopped it."""
        ready = 0.0
        for ready in work:
            if self._should_stop():
                return True
            if ready == 1 or not self._interval:
                yield None
            else:
                yield from self.shown(ready)
        self._count_from_here()
        soon = ready and not self._attempt.iteration  # what was prepared is to be seen with the first iteration
        self._due = self._began + (0 if soon and self._interval < np.inf else self._interval)
        return False
