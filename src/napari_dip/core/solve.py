"""Fit one image, whatever happens: memory runs out, the loss diverges, a neighbour does not help.

The loop itself is `napari_dip.core.fit`, and the pieces that it fits are those of `napari_dip.core.pieces`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from napari_dip.core.attempt import Attempt, Start
from napari_dip.core.fit import Clock, fit
from napari_dip.core.memory import RAN_OUT, SMALLER, OutOfMemory
from napari_dip.core.pieces import Piece, Pieces, States
from napari_dip.core.problem import Problem
from napari_dip.core.reason import End, Reason
from napari_dip.core.result import Progress, Result, Steps
from napari_dip.core.setup import Setup
from napari_dip.core.state import SAVING, Event, State


class Restoration:
    """One image under way: piece after piece is fitted, with less memory where that runs out.

    Parameters
    ----------
    problem : Problem
        The measurement and its instrument.
    setup : Setup
        Settings and device, and what may be changed of them.
    states : tuple of State or None
        Of an earlier result, one for each run of each tile: the fits go on from there for ``settings.iterations`` more.
    neighbours : tuple of State or None
        Final states of the fits of a similar image: a self-guided fit starts from those weights and trains a quarter as
        long. Falls back to a fresh start where that does not help.
    should_stop : callable
        Asked before every iteration; true ends the run with what there is. It may block, which pauses the run.
    interval : float
        Seconds between two `Progress`, at the least; 0 for one every iteration. Each costs a copy of the image to the
        host, and waits for the GPU; of a self-guided fit, a prediction of the image. Together they take a tenth of the
        time at most, unless the interval is 0.
    snapshot_every : int
        A `Progress` at each multiple of so many iterations, whatever the interval; 0 for none.
    finish : bool
        True if fits whose rule had ended them get no more iterations: others that were stopped are to be finished.
    crowded : callable
        True while others share the device: then fewer of them are the remedy for a shortage of memory.

    Attributes
    ----------
    setup : Setup
        How it is computed now.
    """

    def __init__(
        self,
        problem: Problem,
        setup: Setup,
        *,
        states: States = (),
        neighbours: States = (),
        should_stop: Callable[[], bool] = lambda: False,
        interval: float = 0.25,
        snapshot_every: int = 0,
        finish: bool = False,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self.problem, self.setup = problem, setup
        self._neighbours, self._finish, self._crowded = neighbours, finish, crowded
        self._pace = should_stop, interval, snapshot_every
        self._events: list[Event] = []
        self._continued = bool(states)
        self._begin(states)
        self._kept: Result | None = None  # what there was before it began again
        self._good: dict[int, States] = {}  # for each size of tiles that was left, states to go on from

    def steps(self) -> Steps:
        """Fit all pieces.

        Yields
        ------
        Progress or None
            Its image (C, *image), in scaled intensities, is the whole so far: NaN where no tile is fitted yet. The
            current run counts by the share of its iterations. None after each iteration that shows nothing.

        Returns
        -------
        Result
            Its images (C, *S), in scaled intensities, are blended from those of the tiles, and NaN where there was
            none; the residual is zero where the observation is not known. Of a tile, image and last are the means of
            its runs, the uncertainty is the standard deviation between and within them. A run that was stopped or
            failed is left out, unless it is the first of its tile. Tiles without a known pixel are left out, and those
            of one value come back as they are. The states of what was not reached are those that were handed in.

        Raises
        ------
        OutOfMemory
            Before the first iteration is done. Later the run ends with what there is.
        Diverged
            If the loss never was finite.
        """
        began, clock = time.perf_counter(), Clock(*self._pace, self._whole)
        for attempt in self._attempts():
            try:
                attempt.end = yield from fit(attempt, clock)
            except Exception as error:
                attempt.fail(error)
        return self._result(time.perf_counter() - began)

    def _whole(self, progress: Progress) -> Progress:
        return self._pieces.whole(progress)

    def _begin(self, states: States) -> None:
        """Begin with all pieces, in the tiles of this setup."""
        self._fresh = not states
        self._pieces = Pieces(self.problem, self.setup.settings, states, self._neighbours)
        self._shortage: End | None = None

    def _attempts(self) -> Iterator[Attempt]:
        """Attempts at all pieces; if memory runs out before any is complete, at those of other tiles."""
        while True:
            for piece in self._pieces:
                yield from self._attempts_at(piece)
            less = self.setup.with_less_memory() if self._shortage and self._may_cut else None
            if less is None:
                return
            self._begin_again(less)

    def _attempts_at(self, piece: Piece) -> Iterator[Attempt]:
        """Attempts at one piece, with less and less memory, each from the last good state of the one before."""
        first = piece.state.iteration if piece.state and self._continued else 0
        start = Start(piece.state, piece.neighbour, first, self._finish)
        while True:
            with Attempt(piece, self.setup, start) as attempt:
                yield attempt
                if attempt.failure and (less := self._less(attempt)):
                    start = attempt.go_on()
                    sentence = f"{RAN_OUT} on {attempt.device} ({attempt.failure})"
                    piece.events.append(self._step_down(less, sentence, start.state))
                elif attempt.end is not None and attempt.end.reason is Reason.AFRESH:
                    piece.events.append(Event(attempt.iteration, "afresh", str(attempt.end)))
                    start = Start(first=first, finish=self._finish)
                else:
                    self._settle(piece, attempt)
                    self._events += piece.events
                    return

    def _less(self, attempt: Attempt) -> Setup | None:
        """The next setup, if a fit that memory ran out in can go on with it; None if there is none, or it cuts."""
        attempt.make_room()
        if self._crowded():
            where = f"{RAN_OUT} on {attempt.device} beside other slices"
            raise OutOfMemory(f"{where} ({attempt.failure})", "use at_once=1")
        less = self.setup.with_less_memory(self._may_cut)
        return less if less and less.settings.tile == self.setup.settings.tile else None

    @property
    def _may_cut(self) -> bool:
        """True if tiles are open, and nothing is complete yet that would have to start again in others."""
        complete = any(fit.end.reason.complete for fit in self._pieces.done)
        return self._fresh and "tile" in self.setup.open and not complete

    def _settle(self, piece: Piece, attempt: Attempt) -> None:
        """Take in a piece that came to an end, one way or the other."""
        if attempt.error is not None:
            self._pieces.fail(attempt.error)
            return
        end = attempt.end
        if end is None:
            end = self._shortage = attempt.ran_out()
            if self._may_cut and (good := attempt.good() or attempt.start.state):
                states = (good if number == piece.number else None for number in range(self._pieces.count))
                self._good.setdefault(self.setup.settings.tile, tuple(states))
        if end.reason is not Reason.NO_MEMORY:
            # whoever stops a run by hand wants what is on the screen, and wants it soon
            stopped = end.reason is Reason.STOPPED
            if outcome := attempt.outcome(final=not stopped, stopped=stopped):
                self._pieces.settle(attempt.choice, outcome, end)
                return
            what = f"{RAN_OUT} on {attempt.device} over the final image"
            end = self._shortage = Reason.NO_MEMORY.told(f"; {SMALLER}", error=what)
        self._pieces.leave(end, over=True)

    def _step_down(self, less: Setup, sentence: str, state: State | None) -> Event:
        """Go on with less memory; returns the event that says so."""
        iteration, how = state.iteration if state else 0, less.tried[-1]
        where = f"goes on {how} from iteration {iteration}" if iteration else f"begins again {how}"
        self.setup = less
        return Event(iteration, SAVING, f"{sentence}: {where}")

    def _begin_again(self, less: Setup) -> None:
        """Begin again in other tiles; on the CPU, whole from the last good state."""
        assert self._shortage is not None
        others = [event for event in self._events if event.kind != SAVING]
        self._events = [event for event in self._events if event.kind == SAVING]
        if self._kept is None and self._pieces.done:
            self._kept = self._pieces.result(self.setup, others, 0)
        states = self._good.get(less.settings.tile, ())
        self._events.append(self._step_down(less, self._shortage.what, next(filter(None, states), None)))
        self._begin(states)

    def _result(self, seconds: float) -> Result:
        """Result of the last setup, or of an earlier one that came further.

        Raises
        ------
        OutOfMemory
            If there is nothing.
        """
        pieces, kept = self._pieces, self._kept
        if self._shortage is not None:
            iterations = sum(fit.iterations for fit in pieces.done)
            if kept is not None and (not pieces.done or self._may_cut or iterations < kept.iterations):
                end = kept.end.and_(f"; {' and '.join(self.setup.tried)} it ran out too")
                history = replace(kept.history, events=(*self._events, *kept.history.events))
                setup = self.setup
                return replace(
                    kept, end=end, history=history, settings=setup.settings, device=setup.device, seconds=seconds
                )
            if not pieces.done:
                raise OutOfMemory(str(self._shortage))
        return pieces.result(self.setup, self._events, seconds)
