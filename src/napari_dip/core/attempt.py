"""One attempt at a fit: a fitter, the guard that watches it and the rule that ends it, begun and released together."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy.typing as npt
from torch import Tensor

from napari_dip.core import device as devices
from napari_dip.core.device import Device
from napari_dip.core.guard import GaveUp, Guard
from napari_dip.core.methods import fitter_of
from napari_dip.core.methods.refine import refined
from napari_dip.core.problem import Problem
from napari_dip.core.reason import Choice, End, Reason
from napari_dip.core.state import SAVING, Curve, Event, Mark, State, copy_to, on_host
from napari_dip.core.stopping import RULES
from napari_dip.knobs import Method

Image = npt.NDArray[Any]
Made = TypeVar("Made")
NO_STATE = "memory ran out over a copy of the state: the image is whole, but more iterations are not possible"


@dataclass(frozen=True)
class Outcome:
    """Images and state of a fit, on the host: the image that the rule marked, the last one, its spread, the state.

    `mark` is the iteration of `image`, `iteration` that of `last`. The state is None if there was no memory for it.
    """

    image: Image
    last: Image
    spread: Image | None
    mark: int
    iteration: int
    losses: tuple[float, ...]
    curves: tuple[Curve, ...]
    state: State | None


class Attempt:
    """A fitter with its guard and its rule.

    Parameters
    ----------
    problem, method
        Of the fit.
    choice : Choice
        Of the rule.
    device : Device
        Where it computes.
    events : list of Event
        Log that it appends to.
    found : dict of str to Tensor
        Costly results about the problem from earlier attempts; this one adds its own.
    """

    def __init__(
        self,
        problem: Problem,
        method: Method,
        choice: Choice,
        device: Device,
        events: list[Event],
        found: dict[str, Tensor],
    ) -> None:
        self.problem, self.method, self.device, self.events = problem, method, device, events
        self.rule = RULES[choice.name](problem, method)
        self.fitter = fitter_of(self.rule.problem, method, device.name)
        self.fitter.events, self.fitter.found = events, found
        self.guard = Guard()
        self._refined: Tensor | None = None
        self._rule_name = choice.name

    def begin(self, state: State | None, neighbour: State | None, since: int | None = None) -> None:
        """Begin as `Fitter.begin` does; the rule goes on where it was."""
        self.fitter.begin(state, neighbour, since)
        self.rule.begin(self.fitter)
        self.fitter.watch(self.rule.update)
        if state is not None and state.rule.get("name") == self._rule_name:
            self.rule.resume(copy_to(self.fitter.device)(state.rule["state"]))
        self.guard.begin(self.fitter)

    def end_as_before(self, state: State | None) -> End:
        """Take the image that the rule had marked when it ended the run."""
        mark = state and state.rule["state"]["mark"]
        self.rule.mark = Mark(**copy_to(self.fitter.device)(mark)) if mark else None
        return Reason.RULE_BEFORE.told(iteration=self.fitter.iteration)

    @property
    def begun(self) -> bool:
        """True once `begin` has completed."""
        return self.guard.good is not None

    def state(self) -> State:
        """Current state, on the host."""
        return self._with_rule(self.fitter.state("cpu"))

    def good(self) -> State | None:
        """Last good state, on the host; None before `begin` has completed, or without memory for a copy."""
        return None if self.guard.good is None else self._if_there_is_room(self._good)

    def _good(self) -> State:
        good = self.guard.good
        assert good is not None
        place = copy_to("cpu")
        if self.fitter.iteration != good.iteration:
            self.rule.restart()
        return self._with_rule(
            replace(good, weights=place(good.weights), optimiser=place(good.optimiser), average=place(good.average))
        )

    def due(self, last: int) -> bool:
        """True if it is time to look at the loss, which waits for the GPU."""
        return self.guard.due(self.fitter) or self.fitter.iteration == last

    def check(self, last: int) -> bool:
        """Go back to the last good state if the loss jumped; returns False if it did.

        Raises
        ------
        GaveUp, Diverged
            If several returns in a row have not helped.
        """
        event = self.guard.check(self.fitter, last=self.fitter.iteration == last)
        if event is None:
            return True
        self.events.append(event)
        self.rule.restart()
        if event.kind == "gave up":
            raise GaveUp(event.message)
        return False

    def preview(self) -> Image | None:
        """The image so far; None if there is no memory to make it, which costs the previews and not the run."""
        image, failure = devices.if_memory_allows(self.fitter.image)
        if image is None:
            self.fitter.drop_gradients()
            self._tell(SAVING, f"memory ran out on {self.device} over a preview ({failure}): no more are shown")
        return image

    def refine(self) -> Generator[float, None, None]:
        """Refine the image of the fit by similar patches, if its method has them, yielding the share that is done.

        Where memory runs out over it, the image stays as it is.
        """
        if not self.method.refine:
            return
        self._refined, failure = yield from devices.work_if_memory_allows(self._of_similar_patches())
        if failure:
            self.fitter.drop_gradients()
            self._tell(SAVING, f"memory ran out over similar patches ({failure}): the image is that of the prior")

    def _of_similar_patches(self) -> Generator[float, None, Tensor]:
        return (yield from refined(self.problem, (self.rule.mark or self.fitter.mark()).image, self.method.refine))

    @property
    def steps_behind(self) -> str:
        """Words on what came after the fit; empty if nothing did."""
        steps = self.method.refine
        return "" if self._refined is None else f", then {steps} step{'s' * (steps > 1)} of similar patches"

    def rescue(self) -> None:
        """Go back to the last good state if a loss since the last check was not finite, memory permitting."""
        self._if_there_is_room(lambda: self.guard.rescue(self.fitter))

    def _if_there_is_room(self, make: Callable[[], Made]) -> Made | None:
        """Make something, in the second try if need be; None if memory runs out over it."""
        made, failure = devices.if_memory_allows(lambda: devices.in_two_tries(make, self.fitter.drop_gradients))
        if failure:
            self.fitter.drop_gradients()
        return made

    def outcome(self, *, final: bool, stopped: bool = False, cpu: bool = False) -> Outcome | None:
        """Outcome so far; None if there is no memory for an image.

        Parameters
        ----------
        final : bool
            Make the final image, which takes more time and memory than a preview.
        stopped : bool
            Return the latest image, not the one that the rule has marked.
        cpu : bool
            Allow the final image to be made on the CPU if memory runs out.
        """
        last = self._mark(final, cpu) or self.rule.mark
        if last is None:
            return None
        mark = last if self.rule.mark is None or stopped else self.rule.mark
        best = mark.image if stopped or self._refined is None else self._refined
        image = self._if_there_is_room(lambda: on_host(best))
        if image is None:
            return None
        latest = image if best is last.image else self._if_there_is_room(lambda: on_host(last.image))
        spread = None if mark.spread is None else mark.spread
        state = self._if_there_is_room(self.state)
        if state is None and final:
            self._tell(SAVING, NO_STATE)
        return Outcome(
            image=image,
            last=image if latest is None else latest,
            spread=None if spread is None else self._if_there_is_room(lambda: on_host(spread)),
            mark=mark.iteration,
            iteration=self.fitter.iteration,
            losses=tuple(self.fitter.losses),
            curves=self.rule.curves,
            state=state,
        )

    def _mark(self, final: bool, cpu: bool) -> Mark | None:
        """Image of this iteration; if memory runs out, made on the CPU if `cpu`, else without the costly last steps."""
        kind = "out of memory"
        ways: list[tuple[Callable[[], Mark], str, str]] = [  # each with the event that tells of its failure
            (partial(self.fitter.mark, final=False), "", ""),
            (self._mark_in_place, "", ""),
        ]
        if final and cpu:
            ways.insert(0, (self._mark_on_cpu, kind, ""))
        if final:  # the second time there is more room
            told = (SAVING, ": it is made on the CPU") if cpu else (kind, "")
            ways = [(self.fitter.mark, "", ""), (self.fitter.mark, *told), *ways]
        for way, kind, instead in ways:
            mark, failure = devices.if_memory_allows(way)
            if mark is not None:
                return mark
            self.fitter.drop_gradients()
            if kind:
                self._tell(kind, f"memory ran out over the final image ({failure}){instead}")
        return None

    def _mark_in_place(self) -> Mark:
        """The image as it stands, which takes no memory where it is an average."""
        return Mark(self.fitter.iteration, self.fitter.average, None)

    def _mark_on_cpu(self) -> Mark:
        fitter = fitter_of(self.fitter.problem, replace(self.method, precision="float32"), "cpu")
        fitter.found = self.fitter.found
        try:
            fitter.begin(self.fitter.state("cpu"))
            for _ in fitter.prepare():
                pass
            return fitter.mark()
        finally:
            fitter.close()

    def _tell(self, kind: str, message: str) -> None:
        self.events.append(Event(self.fitter.iteration, kind, message))

    def close(self) -> None:
        """Let go of all tensors."""
        self.fitter.close()
        self.guard.forget()
        self.rule.forget()

    def _with_rule(self, state: State) -> State:
        return replace(state, rule={"name": self._rule_name, "state": copy_to("cpu")(self.rule.state())})
