"""One attempt at a fit: a fitter, the guard that watches it and the rule that ends it, begun and released together."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TypeVar

from torch import Tensor

from napari_dip.core.guard import GaveUp, Guard
from napari_dip.core.memory import RAN_OUT, SMALLER, if_memory_allows, in_two_tries, shortage, work_if_memory_allows
from napari_dip.core.methods import fitter_of
from napari_dip.core.methods.base import Fitter
from napari_dip.core.methods.refine import refined
from napari_dip.core.pauses import without_pauses
from napari_dip.core.pieces import Piece
from napari_dip.core.reason import Choice, End, Reason
from napari_dip.core.setup import Setup
from napari_dip.core.state import NO_STATE, OUT_OF_MEMORY, SAVING, Event, Image, Mark, Outcome, State, copy_to, on_host
from napari_dip.core.stopping import RULES, Rule, choose
from napari_dip.core.telling import counted

Made = TypeVar("Made")


@dataclass(frozen=True)
class Start:
    """Beginning of an attempt: a state to go on from, or a neighbour whose weights a fresh fit begins with.

    `first` is the iteration that the run began at. With `finish` a run whose rule had ended it gets no more iterations.
    `saved` is the outcome of an earlier attempt, which may have come further.
    """

    state: State | None = None
    neighbour: State | None = None
    first: int = 0
    finish: bool = False
    saved: Outcome | None = None


class Attempt:
    """A fitter with its guard and its rule, until its ``with`` block ends.

    Parameters
    ----------
    piece, setup, start
        What is fitted, how, and from where.

    Attributes
    ----------
    last : int
        The last iteration, at the latest.
    end : End or None
        Why it ended, if it came to an end.
    failure : str
        The message of the shortage of memory that ended it, else empty.
    error : Exception or None
        Any other error that ended it.
    """

    choice: Choice
    rule: Rule
    fitter: Fitter
    last: int
    had_ended: bool

    def __init__(self, piece: Piece, setup: Setup, start: Start) -> None:
        self.problem, self.method = piece.problem, replace(setup.settings.method, seed=piece.seed)
        self.stop_said = setup.settings.reason("stop")
        self.device, self.start, self.events = setup.device, start, piece.events
        self.guard = Guard()
        self.end: End | None = None
        self.failure = ""
        self.error: Exception | None = None
        self._found, self._setup = piece.found, setup
        self._refined: Tensor | None = None

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of all tensors."""
        if hasattr(self, "fitter"):
            self.fitter.close()
            self.rule.forget()
        self.guard.forget()
        self._refined = None

    def begin(self) -> None:
        """Make all that the fit needs; the rule goes on where it was."""
        start, state = self.start, self.start.state
        self.choice = choose(self.problem, self.method, self.stop_said)
        self.rule = RULES[self.choice.name](self.problem, self.method)
        self.fitter = fitter_of(self.rule.problem, self.method, self.device.name)
        self.fitter.events, self.fitter.found = self.events, self._found
        self.fitter.begin(state, start.neighbour, start.first)
        self.rule.begin(self.fitter)
        self.fitter.watch(self.rule.update)
        if state is not None and state.rule.get("name") == self.choice.name:
            self.rule.resume(copy_to(self.fitter.device)(state.rule["state"]))
        self.guard.begin(self.fitter)
        self.had_ended = start.finish and self.rule.ended
        if self.had_ended:  # its image is the one that the rule had marked
            mark = state and state.rule["state"]["mark"]
            self.rule.mark = Mark(**copy_to(self.fitter.device)(mark)) if mark else None
            self.last = self.iteration
        else:
            self.last = start.first + self.rule.at_most(self.method.iterations, start.first)

    def fail(self, error: Exception) -> None:
        """Take note of what ended it before its end, and keep no variable of the frames that it came through."""
        if isinstance(error, GaveUp):
            self.end = Reason.GAVE_UP.told(guard=error)
            return
        self.failure = shortage(error)
        if not self.failure:
            traceback.clear_frames(error.__traceback__)
            self.error = error

    @property
    def begun(self) -> bool:
        """True once `begin` has completed."""
        return self.guard.good is not None

    @property
    def iteration(self) -> int:
        """Iterations of the run so far; 0 before `begin` has completed."""
        return self.fitter.iteration if self.begun else 0

    def go_on(self) -> Start:
        """Start of the next attempt, after memory ran out: from the last good state, with the outcome so far."""
        saved = self.outcome(final=False) if self.iteration > self.start.first else self.start.saved
        return replace(self.start, state=self.good() or self.start.state, saved=saved)

    def ran_out(self) -> End:
        """The end of a fit for want of memory."""
        iterations = max(self.iteration, self.start.saved.iteration if self.start.saved else 0)
        also = f", also {' and '.join(self._setup.tried)}" if self._setup.tried else ""
        if iterations == 0:
            what = f"{RAN_OUT} on {self.device} before the first iteration ({self.failure}){also}"
            return Reason.NO_MEMORY.told(f"; {SMALLER}", error=what)
        if self.begun:
            self._if_there_is_room(lambda: self.guard.rescue(self.fitter))
        words = {"iterations": iterations, "why": self.failure, "also": also}
        end = Reason.OUT_OF_MEMORY.told(f"; {SMALLER}", device=self.device, **words)
        self.events.append(Event(iterations, OUT_OF_MEMORY, str(end)))
        return end

    def make_room(self) -> None:
        """Let go of what a step takes, after memory ran out."""
        if hasattr(self, "fitter"):
            self.fitter.drop_gradients()

    def state(self) -> State:
        """Current state, on the host."""
        return self._with_rule(self.fitter.state("cpu"))

    def good(self) -> State | None:
        """Last good state, on the host; None before `begin` has completed, or without memory for a copy."""
        return self._if_there_is_room(self._good) if self.begun else None

    def _good(self) -> State:
        good = self.guard.good
        assert good is not None
        place = copy_to("cpu")
        if self.fitter.iteration != good.iteration:
            self.rule.restart()
        return self._with_rule(
            replace(good, weights=place(good.weights), optimiser=place(good.optimiser), average=place(good.average))
        )

    def due(self) -> bool:
        """True if it is time to look at the loss, which waits for the GPU."""
        return self.guard.due(self.fitter) or self.fitter.iteration == self.last

    def check(self) -> bool:
        """Go back to the last good state if the loss jumped; returns False if it did.

        Raises
        ------
        GaveUp, Diverged
            If several returns in a row have not helped.
        """
        event = self.guard.check(self.fitter, last=self.fitter.iteration == self.last)
        if event is None:
            return True
        self.events.append(event)
        self.rule.restart()
        if event.kind == "gave up":
            raise GaveUp(event.message)
        return False

    def preview(self) -> Image | None:
        """The image so far; None if there is no memory to make it, which costs the previews and not the run."""
        image, failure = if_memory_allows(self.fitter.image)
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
        self._refined, failure = yield from work_if_memory_allows(self._of_similar_patches())
        if failure:
            self.fitter.drop_gradients()
            self._tell(SAVING, f"memory ran out over {self.behind} ({failure}): the image is that of the prior")

    def _of_similar_patches(self) -> Generator[float, None, Tensor]:
        image, anew = (self.rule.mark or self.fitter.mark()).image, self.iteration == 0
        return (yield from refined(self.problem, image, self.method.refine, anew=anew))

    @property
    def steps_behind(self) -> str:
        """Words on what came after the fit; empty if nothing did."""
        return "" if self._refined is None else f", then {counted(self.method.refine, 'step')} of {self.behind}"

    @property
    def behind(self) -> str:
        """Name of what follows the fit."""
        return "similar patches" if self.problem.denoiser is None else f"the denoiser {self.problem.denoiser.word!r}"

    def _if_there_is_room(
        self, make: Callable[[], Made], kind: str = "", what: str = "", rest: str = ""
    ) -> Made | None:
        """Make something, in the second try if need be; None if memory runs out over it, which is told if of a kind."""
        made, failure = if_memory_allows(lambda: in_two_tries(make, self.fitter.drop_gradients))
        if failure:
            self.fitter.drop_gradients()
            if kind:
                self._tell(kind, f"memory ran out over {what} ({failure}){rest}")
        return made

    def outcome(self, *, final: bool, stopped: bool = False) -> Outcome | None:
        """Outcome so far, or that of an earlier attempt which came further; None if there is no memory for an image.

        A `final` image takes more time and memory than a preview; it is made on the CPU if it must be and that is open.
        If `stopped`, its image is the latest, not the one that the rule has marked.
        """
        saved = self.start.saved
        if not self.begun or (saved is not None and self.iteration < saved.iteration):
            return saved
        return self._outcome(final=final, stopped=stopped) or saved

    def _outcome(self, *, final: bool, stopped: bool) -> Outcome | None:
        last = self._mark(final) or self.rule.mark
        if last is None:
            return None
        mark = last if self.rule.mark is None or stopped else self.rule.mark
        best = mark.image if stopped or self._refined is None else self._refined
        image = self._if_there_is_room(lambda: on_host(best))
        if image is None:
            return None
        latest = image if best is last.image else self._if_there_is_room(lambda: on_host(last.image))
        told = NO_STATE, "a copy of the state", ": the image is whole, but more iterations are not possible"
        spread, state = mark.spread, self._if_there_is_room(self.state, *(told if final else ()))
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

    def _mark(self, final: bool) -> Mark | None:
        """Image of this iteration; if memory runs out, made on the CPU if open, else without the costly last steps."""
        mark = None
        if final:
            cpu, over = self._setup.has_cpu, "the final image"
            told = (SAVING, over, ": it is made on the CPU") if cpu else (OUT_OF_MEMORY, over)
            mark = self._if_there_is_room(self.fitter.mark, *told)
            if mark is None and cpu:
                mark = self._if_there_is_room(self._mark_on_cpu, OUT_OF_MEMORY, over)
        for make in (
            lambda: self.fitter.mark(final=False),
            lambda: Mark(self.fitter.iteration, self.fitter.average, None),  # takes no memory where it is an average
        ):
            mark = mark or self._if_there_is_room(make)
        return mark

    def _mark_on_cpu(self) -> Mark:
        fitter = fitter_of(self.fitter.problem, replace(self.method, precision="float32"), "cpu")
        fitter.found = self.fitter.found
        try:
            fitter.begin(self.fitter.state("cpu"))
            without_pauses(fitter.prepare())
            return fitter.mark()
        finally:
            fitter.close()

    def _tell(self, kind: str, message: str) -> None:
        self.events.append(Event(self.fitter.iteration, kind, message))

    def _with_rule(self, state: State) -> State:
        return replace(state, rule={"name": self.choice.name, "state": copy_to("cpu")(self.rule.state())})
