"""The loop over the slices of a stack: one after the other, or several at once, into a target."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from napari_dip.core import device as devices
from napari_dip.core import memory
from napari_dip.core.batch import round_robin
from napari_dip.core.cost import Cost
from napari_dip.core.memory import telling_of_memory
from napari_dip.core.reason import Reason
from napari_dip.core.result import Progress, Result, Steps
from napari_dip.core.solve import Restoration
from napari_dip.core.state import OUT_OF_MEMORY, Event
from napari_dip.cost import cost_of
from napari_dip.plan import Plan
from napari_dip.target import ArrayTarget

_AT_ONCE = 64  # slices at the most, and of so many pixels together: more have no kernel that would fill a GPU better
_PIXELS = 2048**2
_SHARE = 0.7  # of the free memory of a GPU is planned with
_PATIENCE = 2  # slices in a row that memory runs out in: the next would fail like them


class Run:
    """A restoration under way: an iterator of `Progress`, and the `Result` when it is exhausted.

    Parameters
    ----------
    plan : Plan
        Decisions made before the run, with their reasons; also an attribute.
    earlier, pace
        As for `Series`.
    """

    def __init__(self, plan: Plan, earlier: Result | None, pace: dict[str, Any]) -> None:
        self.plan = plan
        self._ended: list[Result] = []
        self._stream = _stream(plan, earlier, pace, self._ended.append)

    def __iter__(self) -> Iterator[Progress]:
        return self._stream

    def __next__(self) -> Progress:
        return next(self._stream)

    @property
    def cost(self) -> Cost:
        """Memory and time of the run up to its last iteration, from `napari_dip.estimate`."""
        return cost_of(self.plan)

    @property
    def result(self) -> Result:
        """The result.

        Raises
        ------
        RuntimeError
            If the run is not exhausted yet.
        """
        if not self._ended:
            raise RuntimeError("the run has no result yet: exhaust it first, as in `for progress in run: ...`")
        return self._ended[0]

    def close(self) -> None:
        """Abandon the run and give its memory back."""
        self._stream.close()


def _stream(
    plan: Plan, earlier: Result | None, pace: dict[str, Any], end: Callable[[Result], object]
) -> Generator[Progress, None, None]:
    """Restore all slices; nothing is allocated before the first step."""
    began, threads = time.perf_counter(), torch.get_num_threads()
    with telling_of_memory():
        series = Series(plan, earlier, pace)
        devices.use_threads(plan.settings.threads)
        outcomes = round_robin(series.begin, plan.device.name)
        try:
            for index, outcome in outcomes:
                if not isinstance(outcome, Progress):
                    series.settle(index, outcome)
                elif shown := series.target.extra("some previews", partial(series.shown, index, outcome), None):
                    yield shown
        finally:
            outcomes.close()
            series.under_way.clear()  # which know the series
            torch.set_num_threads(threads)
        end(series.result(time.perf_counter() - began))


class Series:
    """The restoration of all slices, as planned.

    Parameters
    ----------
    plan : Plan
    earlier : Result or None
        That is gone on with. A slice which is not reached stays as it is there, and one that nothing is left to do for
        costs nothing.
    pace : dict
        Arguments of `Restoration` for stopping and showing.

    Attributes
    ----------
    setup : Setup
        That the last slice was fitted with: the next one begins with it.
    under_way : dict of int to Restoration
        Slices that are being fitted.
    """

    def __init__(self, plan: Plan, earlier: Result | None, pace: dict[str, Any]) -> None:
        self.plan, self.pace, self.count = plan, pace, len(plan.slices.values)
        self.setup = plan.setup
        self.target = ArrayTarget(plan)
        self.at_once = at_once(plan)
        self.under_way: dict[int, Restoration] = {}
        self._shortages = 0  # slices in a row that memory ran out in
        self._over = False  # whether no other slice is begun
        self._measured = plan.settings.at_once != 0  # whether it is known how many fit on a GPU
        if earlier is not None:
            self.target.take(earlier, finish=pace["finish"])
        self._due = [index for index in range(self.count) if index not in self.target.done]
        for index, why in plan.slices.unread.items():
            if index in self._due:
                self._due.remove(index)
                self._failed(index, OSError(why))

    def begin(self) -> tuple[int, Steps] | None:
        """The run of the next slice, or None while or because there is none to begin."""
        while self._due and not self._over and len(self.under_way) < self.at_once:
            index = self._due[0]
            neighbour = self._neighbour(index)
            if neighbour in self.under_way:
                return None
            del self._due[0]
            try:
                trivial = self.plan.units.trivial(index)
                if trivial is None:
                    return index, self._run(index, neighbour)
                self.target.put(index, trivial)
            except Exception as error:
                self._failed(index, error)
        return None

    def _run(self, index: int, neighbour: int | None) -> Steps:
        """The run of a slice, from the weights of another one."""
        how = dict(self.pace)
        if self.under_way:  # one preview at a time
            how["interval"] = np.inf
        states, neighbours = self.target.states(index), self.target.states(neighbour)
        how |= {"states": states, "neighbours": neighbours, "crowded": self._crowded}
        slice_ = Restoration(self.plan.problem(index), self.setup, **how)
        self.under_way[index] = slice_
        return slice_.steps()

    def _crowded(self) -> bool:
        return len(self.under_way) > 1

    def _neighbour(self, index: int) -> int | None:
        """The slice whose weights another one begins with: the same of the frame before, or the one before."""
        fitted = sorted({*self.target.done, *self.under_way})
        if not fitted or not (self.plan.settings.warm_start and self.plan.settings.method.begins_warm):
            return None
        if self.at_once > 1:
            return fitted[0]  # the others would have to wait for each other
        frame = int(np.prod(self.plan.slices.leading[1:], dtype=int))
        if self.target.states(index - frame):
            return index - frame
        return max((i for i in fitted if i < index), default=None)

    def shown(self, index: int, progress: Progress) -> Progress:
        units = self.plan.units
        level = units.level(self.under_way[index].problem, progress.image)
        image = self.plan.slices.layout_one(units.finish(index, progress.image + level))
        return replace(progress, image=image, slice=index, slices=self.count, at_once=len(self.under_way))

    def settle(self, index: int, result: Result | Exception) -> None:
        """Keep what a slice has come to, and see whether others are to follow."""
        if not isinstance(result, Result):
            self._failed(index, result)
            return
        slice_ = self.under_way.pop(index)
        self.setup = slice_.setup
        try:
            self.target.keep(index, slice_.problem, result, self._ahead())
            if not self._measured:
                self._measured = True
                self.at_once = room(self.plan, self.at_once) if self.setup.device == self.plan.device else 1
        except Exception as error:
            self._failed(index, error)
            return
        self._shortages = self._shortages + 1 if result.end.reason is Reason.OUT_OF_MEMORY else 0
        self._over |= result.end.reason is Reason.STOPPED or self._shortages >= _PATIENCE

    def result(self, seconds: float) -> Result:
        """All slices as one result, after so many seconds."""
        return self.target.result(self.setup, seconds, self._due)

    def _ahead(self) -> set[int]:
        """Slices that are to come, and the one whose weights all begin with where several are under way."""
        first = min(self.target.done, default=0)
        return {*self._due, *self.under_way, *([first] if self.at_once > 1 else [])}

    def _failed(self, index: int, error: Exception) -> None:
        """Go on with the other slices."""
        if index in self.under_way:
            self.setup = self.under_way.pop(index).setup
        short = devices.is_out_of_memory(error)
        if short and self.under_way:
            self.at_once = len(self.under_way)
            self._due.insert(0, index)
            message = f"memory ran out with {self.at_once + 1} slices at once; {self.at_once} from here on"
            self.target.events.append(Event(0, OUT_OF_MEMORY, message))
            return
        self.target.fail(index, error)
        self._shortages = self._shortages + 1 if short else 0
        self._over |= self._shortages >= _PATIENCE


def at_once(plan: Plan) -> int:
    """Number of slices to begin with: what the user asks for, at most all; else 1, until `room` finds more on a GPU."""
    count = len(plan.slices.values)
    if plan.settings.at_once:
        return min(plan.settings.at_once, count)
    if not plan.device.name.startswith("cuda"):
        return 1  # a slice keeps all cores of a CPU busy
    torch.cuda.reset_peak_memory_stats(plan.device.name)
    return 1


def room(plan: Plan, now: int) -> int:
    """Number of slices that fit on a GPU at once, after the first one has shown the memory that one takes."""
    if not plan.device.name.startswith("cuda"):
        return now
    pixels = int(np.prod(plan.shape))
    free = memory.free(plan.device.name)
    fit = int(_SHARE * free / max(torch.cuda.max_memory_allocated(plan.device.name), 1))
    return max(1, min(fit, _AT_ONCE, _PIXELS // pixels, len(plan.slices.values)))
