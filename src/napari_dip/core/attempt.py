"""One attempt at a fit: a search, the guard that watches it and the rule that ends it, begun and let go of together."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy.typing as npt
from torch import Tensor

from napari_dip.core import device as devices
from napari_dip.core.device import Device
from napari_dip.core.guard import Guard
from napari_dip.core.problem import Problem
from napari_dip.core.search import Search
from napari_dip.core.selfguided import SelfGuided
from napari_dip.core.state import SAVING, Event, Mark, State, copy_to, on_host
from napari_dip.core.stopping import RULES, Choice
from napari_dip.settings import Settings

Image = npt.NDArray[Any]


@dataclass(frozen=True)
class Outcome:
    """What a fit has come to, on the host: the image of its rule, the last one, the spread, and the state.

    `mark` is the iteration that the image is of.
    """

    image: Image
    last: Image
    spread: Image | None
    mark: int
    state: State


class Attempt:
    """A search with its guard and its rule.

    Parameters
    ----------
    problem, settings
        Of the fit.
    choice : Choice
        Of the rule.
    device : Device
        Where it computes.
    events : list of Event
        Where it writes down what happens.
    found : dict of str to Tensor
        What attempts before have found out about the problem, and this one does.
    """

    def __init__(
        self,
        problem: Problem,
        settings: Settings,
        choice: Choice,
        device: Device,
        events: list[Event],
        found: dict[str, Tensor],
    ) -> None:
        self.settings, self.device, self.events = settings, device, events
        self.rule = RULES[choice.name](problem, settings)
        kind = SelfGuided if settings.code == "self" else Search
        self.search = kind(self.rule.problem, settings, device.name)
        self.search.events, self.search.found = events, found
        self.guard = Guard()
        self._rule_name = choice.name

    def begin(self, state: State | None, neighbour: State | None, since: int | None = None) -> None:
        """Begin as `Search.begin` does; the rule goes on where it was."""
        self.search.begin(state, neighbour, since)
        self.rule.begin(self.search)
        self.search.watch(self.rule.update)
        if state is not None and state.rule.get("name") == self._rule_name:
            self.rule.resume(copy_to(self.search.device)(state.rule["state"]))
        self.guard.begin(self.search)

    def end_as_before(self, state: State | None) -> str:
        """Take the image that the rule had marked when it ended the run; returns why it ended."""
        mark = state and state.rule["state"]["mark"]
        self.rule.mark = Mark(**copy_to(self.search.device)(mark)) if mark else None
        return f"had been ended by its rule at iteration {self.search.iteration}"

    @property
    def begun(self) -> bool:
        """Whether it came so far as to begin."""
        return self.guard.good is not None

    def state(self) -> State:
        """The state at hand, on the host."""
        return self._with_rule(self.search.state("cpu"))

    def good(self) -> State | None:
        """The last state that is good, on the host; None if it did not come so far as to begin."""
        good = self.guard.good
        if good is None:
            return None
        place = copy_to("cpu")
        if self.search.iteration != good.iteration:
            self.rule.restart()
        return self._with_rule(
            replace(good, weights=place(good.weights), optimiser=place(good.optimiser), average=place(good.average))
        )

    def outcome(self, *, final: bool, stopped: bool = False, cpu: bool = False) -> Outcome | None:
        """What it has come to; None if there is no memory for an image.

        Parameters
        ----------
        final : bool
            With what takes long and much memory.
        stopped : bool
            Whether to return what is on the screen, whatever the rule has marked.
        cpu : bool
            Whether the final image may be made on the CPU if it must.
        """
        last = self._mark(final, cpu)
        if last is None:
            return None
        mark = last if self.rule.mark is None or stopped else self.rule.mark
        return Outcome(
            image=on_host(mark.image),
            last=on_host(last.image),
            spread=None if mark.spread is None else on_host(mark.spread),
            mark=mark.iteration,
            state=self.state(),
        )

    def _mark(self, final: bool, cpu: bool) -> Mark | None:
        """The image now; if memory runs out over it, that of the CPU, or without what takes more."""
        ways: list[Callable[[], Mark]] = [partial(self.search.mark, final=False)]
        if final:
            ways = [self.search.mark, *([self._mark_on_cpu] if cpu else []), *ways]
        for way in ways:
            try:
                return way()
            except Exception as error:
                if not devices.is_out_of_memory(error):
                    raise
                traceback.clear_frames(error.__traceback__)
                failure = str(error).split("\n")[0]
            self.search.drop_gradients()
            message = f"memory ran out over the final image ({failure})"
            if final and cpu and way == self.search.mark:
                self._tell(SAVING, f"{message}: it is made on the CPU")
            elif final:
                self._tell("out of memory", message)
        return None

    def _mark_on_cpu(self) -> Mark:
        settings = self.settings.changed(device="cpu", precision="float32")
        search = type(self.search)(self.search.problem, settings, "cpu")
        search.found = self.search.found
        try:
            search.begin(self.search.state("cpu"))
            for _ in search.preliminaries():
                pass
            return search.mark()
        finally:
            search.close()

    def _tell(self, kind: str, message: str) -> None:
        self.events.append(Event(self.search.iteration, kind, message))

    def close(self) -> None:
        """Let go of all tensors."""
        self.search.close()
        self.guard.forget()
        self.rule.forget()

    def _with_rule(self, state: State) -> State:
        return replace(state, rule={"name": self._rule_name, "state": copy_to("cpu")(self.rule.state())})
