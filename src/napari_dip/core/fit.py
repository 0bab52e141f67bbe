"""The loop: one attempt to fit one problem, on one screen. What may go wrong is caught by `napari_dip.core.solve`."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator

import numpy as np

from napari_dip.core.attempt import Attempt
from napari_dip.core.reason import End, Reason
from napari_dip.core.result import History, Progress
from napari_dip.core.state import on_host

_RARELY = 10  # least interval of previews, over the cost of one: they take a tenth of the time at most


def fit(attempt: Attempt, last: int, clock: Clock) -> Generator[Progress | None, None, End]:
    """Fit until the rule ends it, at the latest in iteration `last`; returns why it ended.

    Yields
    ------
    Progress or None
        After each iteration; None where it is not yet time to show something.

    Raises
    ------
    GaveUp, Diverged
        If the loss leaves the finite numbers, or jumps, again and again.
    """
    fitter, rule = attempt.fitter, attempt.rule
    if (yield from clock.through(fitter.prepare())):
        return clock.stopped()
    reason = "" if fitter.iteration < last or rule.ended else rule.look(fitter)
    while fitter.iteration < last and not reason:
        if clock.stops():
            attempt.check(last)
            return clock.stopped()
        fitter.step()  # perturb, predict, compare, move, average, watch; replayed from a graph on a GPU
        if attempt.due(last) and attempt.check(last) and not rule.ended:  # waits for the GPU
            reason = rule.look(fitter)
        yield clock.progress()
    if not (rule.ended or fitter.helped()):  # a continued run was judged before
        return Reason.AFRESH.told()
    if (yield from clock.through(fitter.finish())):
        return clock.stopped()
    if (yield from clock.through(attempt.refine())):
        return clock.stopped().and_(", over similar patches: the image is the prior's")
    if not reason:
        end = Reason.FINISHED.told(iterations=last, remark="" if rule.ended else rule.remark())
    else:
        rule.ended, end = True, Reason.RULE.told(rule=reason)
    return end.and_(attempt.steps_behind)


class Clock:
    """Timing of a fit: when to show an image, and the stop by the user.

    Parameters
    ----------
    attempt : Attempt
    last : int
        The last iteration, at the latest.
    should_stop : callable
        Asked before every iteration. It may block, which pauses the fit and does not lower its rate.
    interval : float
        Least seconds between two images, more if these took over a tenth of the time; 0 for one every iteration.
    snapshot_every : int
        An image at each multiple of so many iterations, whatever the interval; 0 for none.
    """

    def __init__(
        self, attempt: Attempt, last: int, should_stop: Callable[[], bool], interval: float, snapshot_every: int
    ) -> None:
        self._attempt, self._last = attempt, last
        self._should_stop, self._interval, self._every = should_stop, interval, snapshot_every
        self._first = attempt.fitter.iteration
        self._began = self._shown = time.perf_counter()
        self._cost = 0.0

    def stops(self) -> bool:
        """True if the user ends the fit here."""
        asked = time.perf_counter()
        stops = self._should_stop()
        self._began += time.perf_counter() - asked
        return stops

    def stopped(self) -> End:
        """The end of a fit that the user ends here."""
        return Reason.STOPPED.told(iteration=self._attempt.fitter.iteration, iterations=self._last)

    def progress(self) -> Progress | None:
        """The image so far, if it is time for it."""
        fitter, now = self._attempt.fitter, time.perf_counter()
        snapshot = self._every > 0 and fitter.iteration % self._every == 0
        if not (snapshot or now - self._shown >= (self._interval and max(self._interval, _RARELY * self._cost))):
            return None
        image = self._attempt.preview()  # waits for the GPU
        self._shown = time.perf_counter() if image is not None else np.inf
        self._cost = self._shown - now
        if image is None or not np.isfinite(image).all():
            return None  # the guard will go back at its next look
        rule = self._attempt.rule
        return Progress(
            image=image,
            iteration=fitter.iteration,
            iterations=self._last,
            loss=fitter.losses[-1],
            rate=(fitter.iteration - self._first) / (now - self._began),
            snapshot=snapshot,
            history=History(np.array(fitter.losses, np.float32), tuple(self._attempt.events), rule.curves),
            mark=None if rule.mark is None else rule.mark.iteration,
        )

    def through(self, work: Generator[float, None, None]) -> Generator[Progress | None, None, bool]:
        """Do the work before the first iteration or after the last; returns True if the user stopped it."""
        attempt, fitter, shown = self._attempt, self._attempt.fitter, time.perf_counter()
        ready = 0.0
        for ready in work:
            if self._should_stop():
                return True
            if ready == 1 or not self._interval or time.perf_counter() - shown < self._interval:
                yield None
                continue
            image = attempt.preview() if fitter.iteration else on_host(fitter.observation)
            shown = time.perf_counter()
            if image is None:
                yield None
                continue
            yield Progress(
                image=image, iteration=fitter.iteration, iterations=self._last, loss=np.nan, rate=0, ready=ready
            )
        self._began = self._shown = time.perf_counter()
        if ready and not fitter.iteration and self._interval < np.inf:
            self._shown -= self._interval  # what was prepared is to be seen with the first iteration
        return False
