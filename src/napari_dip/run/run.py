"""A restoration of an image or a stack in memory: an iterator of `Progress`, and then a `Result`."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any

import numpy as np

from napari_dip.core.cost import Cost
from napari_dip.core.memory import telling_of_memory
from napari_dip.core.result import Progress, Result
from napari_dip.plan.cost import cost_of
from napari_dip.plan.plan import Plan
from napari_dip.run.fits import Fit, Unfitted
from napari_dip.run.loop import Loop
from napari_dip.run.record import known
from napari_dip.run.target import ArrayTarget

_PATIENCE = 2  # slices in a row that memory runs out in: the next would fail like them


class Run:
    """A restoration under way: an iterator of `Progress`, and the `Result` when it is exhausted.

    Parameters
    ----------
    plan : Plan
        Decisions made before the run, with their reasons; also an attribute.
    earlier : Result or None
        That is gone on with. A slice which is not reached stays as it is there, and one that nothing is left to do for
        costs nothing.
    pace : dict
        Arguments of `Restoration` for stopping and showing.

    Attributes
    ----------
    ends : dict of int to Progress
        Image and log at the end of each slice that has come to it in this run, and that is one fit.
    """

    def __init__(self, plan: Plan, earlier: Result | None, pace: dict[str, Any]) -> None:
        self.plan = plan
        self.ends: dict[int, Progress] = {}
        self._ended: list[Result] = []
        self._stream = _stream(plan, earlier, pace, self.ends, self._ended.append)

    def __iter__(self) -> Iterator[Progress]:
        return self._stream

    def __next__(self) -> Progress:
        return next(self._stream)

    @property
    def cost(self) -> Cost:
        """Memory and time of the run up to its last iteration, from `napari_dip.estimate`."""
        return cost_of(self.plan)

    @property
    def record(self) -> dict[str, Any]:
        """The part of its record that is known before the first iteration."""
        return known(self.plan)

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
    plan: Plan,
    earlier: Result | None,
    pace: dict[str, Any],
    ends: dict[int, Progress],
    end: Callable[[Result], object],
) -> Generator[Progress, None, None]:
    """Restore all slices; nothing is allocated before the first step."""
    began, slices = time.perf_counter(), plan.slices
    with telling_of_memory():
        target = ArrayTarget(plan)
        if earlier is not None:
            target.take(earlier, finish=pace["finish"])
        count, warm = len(slices.values), plan.settings.warm_start and plan.settings.method.begins_warm
        loop = Loop(
            partial(_piece, plan),
            [index for index in range(count) if index not in target.done],
            target,
            plan.settings,
            plan.device.name,
            count=count,
            frame=int(np.prod(slices.leading[1:], dtype=int)) if warm else 0,
            events=target.events,
            **pace,
        )
        with loop as outcomes:
            for index, outcome in outcomes:
                if isinstance(outcome, Progress):
                    if shown := target.extras.make("some previews", partial(loop.shown, index, outcome), None):
                        yield shown
                elif error := loop.settle(index, outcome):
                    target.fail(index, error)
                elif last := target.end(index):
                    ends[index] = last
                loop.over |= loop.shortages >= _PATIENCE
        end(target.result(loop.setup or plan.setup, time.perf_counter() - began, loop.due))


def _piece(plan: Plan, index: int, **how: Any) -> Fit | Unfitted:
    """The fit of a slice, or its image where there is nothing to fit."""
    if index in plan.slices.unread:
        raise OSError(plan.slices.unread[index])
    trivial = plan.units.trivial(index)
    return Fit(plan, index, **how) if trivial is None else Unfitted(trivial, plan.slices)
