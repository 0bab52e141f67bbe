"""The loop over slices, one after the other or several at once: of a stack into arrays, of blocks into an OME-Zarr."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch

from napari_dip.core import device as devices
from napari_dip.core import memory
from napari_dip.core.batch import round_robin
from napari_dip.core.memory import is_out_of_memory
from napari_dip.core.pieces import States
from napari_dip.core.reason import Reason
from napari_dip.core.result import Progress, Result, Steps
from napari_dip.core.setup import Setup
from napari_dip.core.state import OUT_OF_MEMORY, Event
from napari_dip.run.fits import Fit, Unfitted
from napari_dip.tables.settings import Settings

_AT_ONCE = 64  # slices at the most, and of so many pixels together: more have no kernel that would fill a GPU better
_PIXELS = 2048**2
_SHARE = 0.7  # of the free memory of a GPU is planned with

Outcome = Result | Unfitted | Exception
Outcomes = Generator[tuple[int, Progress | Outcome], None, None]


class Target(Protocol):
    """Where the slices of a run go."""

    @property
    def warm(self) -> Collection[int]:
        """Slices whose weights others may begin with."""

    def states(self, index: int | None) -> States:
        """States of the fits of a slice, to go on from or to begin others with; empty if there are none."""

    def put(self, index: int, slice_: Unfitted) -> None:
        """Put a slice that nothing was fitted to in its place."""

    def keep(self, index: int, fit: Fit, result: Result, ahead: set[int]) -> None:
        """Put a slice in its place, by the result of its fit; those `ahead` may begin with its weights."""


class Loop:
    """The restoration of many slices into a target: ``with loop as outcomes: for index, outcome in outcomes: ...``

    Parameters
    ----------
    piece : callable
        The fit of a slice, by its index and the arguments of `Fit`, or what it is where there is nothing to fit.
    due : iterable of int
        Slices to restore, in order.
    target : Target
    settings : Settings
    device : str
    count : int
        Number of all slices.
    frame : int
        Number of slices in a frame of a series: each begins with the weights of the same one of the frame before, or of
        the one before. 0 if each is fitted as if it were alone.
    events : list of Event
        That takes in what happens to the loop.
    **pace
        Arguments of `Restoration` for stopping and showing.

    Attributes
    ----------
    due : list of int
        Slices that are not begun.
    over : bool
        True if no other slice is to be begun.
    setup : Setup or None
        What the last slice came to for want of memory, with which the next one begins; None for that of its plan.
    shortages : int
        Slices in a row that memory ran out in.
    under_way : dict of int to Fit
        Slices that are being fitted.
    """

    def __init__(
        self,
        piece: Callable[..., Fit | Unfitted],
        due: Iterable[int],
        target: Target,
        settings: Settings,
        device: str,
        *,
        count: int,
        frame: int = 0,
        events: list[Event] | None = None,
        **pace: Any,
    ) -> None:
        self.due, self.over, self.shortages = list(due), False, 0
        self.setup: Setup | None = None
        self.under_way: dict[int, Fit] = {}
        self.at_once = at_once(settings, device, count)
        self._measured = settings.at_once != 0  # whether it is known how many fit on a GPU
        self._piece, self._target, self._device = piece, target, device
        self._count, self._frame, self._pace = count, frame, pace
        self._events = [] if events is None else events
        self._threads = partial(devices.use_threads, settings.threads)  # not of what is done between two steps

    def __enter__(self) -> Outcomes:
        """Yield what the slices show and come to, by their indices: `settle` is to be told the latter."""
        self._outcomes: Outcomes = round_robin(self._begin, self._device, self._threads)
        return self._outcomes

    def __exit__(self, *_: object) -> None:
        self._outcomes.close()
        self.under_way.clear()  # which know the loop

    def _begin(self) -> tuple[int, Steps | Unfitted | Exception] | None:
        """The fit of the next slice, or what is known of it at once; None while or because there is none to begin."""
        if not self.due or self.over or len(self.under_way) >= self.at_once:
            return None
        index, neighbour = self.due[0], self._neighbour(self.due[0])
        if neighbour in self.under_way:
            return None
        del self.due[0]
        how = {"setup": self.setup, "crowded": self._crowded, **self._pace}
        if self.under_way:  # one preview at a time
            how["interval"] = np.inf
        states, neighbours = self._target.states(index), self._target.states(neighbour)
        try:
            fit = self._piece(index, states=states, neighbours=neighbours, **how)
        except Exception as error:
            return index, error
        if isinstance(fit, Unfitted):
            return index, fit
        self.under_way[index] = fit
        return index, fit.restoration.steps()

    def _crowded(self) -> bool:
        return len(self.under_way) > 1

    def _neighbour(self, index: int) -> int | None:
        """The slice whose weights another one begins with: the same of the frame before, or the one before."""
        if not self._frame or not (fitted := sorted({*self._target.warm, *self.under_way})):
            return None
        if self.at_once > 1:
            return fitted[0]  # the others would have to wait for each other
        if self._target.states(index - self._frame):
            return index - self._frame
        return max((i for i in fitted if i < index), default=None)

    def shown(self, index: int, progress: Progress) -> Progress:
        """Progress of a slice as that of all."""
        shown = self.under_way[index].shown(progress)
        return replace(shown, slice=index, slices=self._count, at_once=len(self.under_way))

    def settle(self, index: int, outcome: Outcome) -> Exception | None:
        """Take in what a slice has come to; returns the error if that is nothing, and it is not begun again."""
        with self._threads():
            return self._settle(index, outcome)

    def _settle(self, index: int, outcome: Outcome) -> Exception | None:
        fit = self.under_way.pop(index, None)
        if fit is not None and fit.restoration.setup.tried:
            self.setup = fit.restoration.setup
        error = outcome if isinstance(outcome, Exception) else self._put(index, fit, outcome)
        if error is None:
            return None
        short = is_out_of_memory(error)
        if short and self.under_way:
            self.at_once = len(self.under_way)
            self.due.insert(0, index)
            message = f"memory ran out with {self.at_once + 1} slices at once; {self.at_once} from here on"
            self._events.append(Event(0, OUT_OF_MEMORY, message))
            return None
        self.shortages = self.shortages + 1 if short else 0
        return error

    def _put(self, index: int, fit: Fit | None, outcome: Result | Unfitted) -> Exception | None:
        """Hand a slice to the target; returns the error if that cannot take it."""
        try:
            if isinstance(outcome, Unfitted):
                self._target.put(index, outcome)
            elif fit is not None:
                self._keep(index, fit, outcome)
        except Exception as error:
            return error
        return None

    def _keep(self, index: int, fit: Fit, result: Result) -> None:
        """Keep a slice, and see by the first one how many fit on a GPU at once."""
        self._target.keep(index, fit, result, self._ahead())
        self.over |= result.end.reason is Reason.STOPPED
        self.shortages = self.shortages + 1 if result.end.reason is Reason.OUT_OF_MEMORY else 0
        if not self._measured:
            self._measured = True
            same = fit.restoration.setup.device == fit.plan.device
            self.at_once = room(self._device, fit.plan.shape, self._count, self.at_once) if same else 1

    def _ahead(self) -> set[int]:
        """Slices that are to come, and the one whose weights all begin with where several are under way."""
        first = min(self._target.warm, default=0)
        return {*self.due, *self.under_way, *([first] if self.at_once > 1 else [])}


def at_once(settings: Settings, device: str, count: int) -> int:
    """Number of slices to begin with: what the user asks for, at most all; else 1, until `room` finds more on a GPU."""
    if settings.at_once:
        return min(settings.at_once, count)
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    return 1  # a slice keeps all cores of a CPU busy


def room(device: str, shape: tuple[int, ...], count: int, now: int) -> int:
    """Number of slices (*shape) that fit on a GPU at once, after the first one has shown the memory that one takes."""
    if not device.startswith("cuda"):
        return now
    fit = int(_SHARE * memory.free(device) / max(torch.cuda.max_memory_allocated(device), 1))
    return max(1, min(fit, _AT_ONCE, _PIXELS // int(np.prod(shape)), count))
