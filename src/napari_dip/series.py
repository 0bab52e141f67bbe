"""The slices of a stack: restored one after the other, or several at once, and brought together in one result."""

from __future__ import annotations

import gc
import logging
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from napari_dip import doubts
from napari_dip.core import device as devices
from napari_dip.core import memory, pieces
from napari_dip.core.attempt import NO_STATE
from napari_dip.core.batch import take_turns
from napari_dip.core.intensity import to_dtype
from napari_dip.core.ladder import Ladder
from napari_dip.core.pieces import Account, States, Turns
from napari_dip.core.problem import Problem
from napari_dip.core.reason import End, Reason
from napari_dip.core.result import History, Progress, Result
from napari_dip.core.solve import OutOfMemory
from napari_dip.core.state import FAILED, Event, has_ended, in_words, mark_of
from napari_dip.core.stopping import Choice
from napari_dip.cost import iterations_at_most
from napari_dip.glance import glance
from napari_dip.plan import Plan
from napari_dip.record import describe
from napari_dip.settings import PRESETS

Array = npt.NDArray[Any]
_log = logging.getLogger(__name__)
_AT_ONCE = 64  # slices at the most, and of so many pixels together: more have no kernel that would fill a GPU better
_PIXELS = 2048**2
_SHARE = 0.7  # of the free memory of a GPU is planned with
_PATIENCE = 2  # slices in a row that memory runs out in: the next would fail like them
_SAME = "stop", "output_dtype", "keep_known"  # knobs with which a slice that had ended comes out as it did
_STAY = {False: "empty", True: "as they were"}
_STAYS = {False: "is empty", True: "is as it was"}

Made = TypeVar("Made")


def stream(plan: Plan, earlier: Result | None, pace: dict[str, Any]) -> Generator[Progress, None, Result]:
    """Restore all slices; `pace` holds what `solve.iterate` is told about stopping and showing."""
    return (yield from Series(plan, earlier, pace).stream())


class Series:
    """The restoration of all slices, as planned.

    Parameters
    ----------
    plan : Plan
    earlier : Result or None
        That is gone on with. A slice which is not reached stays as it is there, and one that nothing is left to do for
        costs nothing.
    pace : dict
        What `solve.iterate` is told about stopping and showing.
    """

    def __init__(self, plan: Plan, earlier: Result | None, pace: dict[str, Any]) -> None:
        self.plan, self.units = plan, plan.units
        self.pace = pace
        self.count = len(plan.slices.values)
        shape = (self.count, plan.slices.values.shape[1], *plan.shape)
        self.image = np.full(shape, self.units.empty, dtype=self.units.dtype)
        self.last = self.image.copy()
        self.residual = np.full(plan.slices.values.shape, np.nan, self.units.dtype_of_differences)
        self.uncertainty = (
            np.full(shape, np.nan, self.units.dtype_of_differences) if plan.settings.uncertainty else None
        )
        self.done: dict[int, Account] = {}
        self.events: list[Event] = []
        self.at_once = at_once(plan)
        volume = plan.slices.ndim == 3
        self.ladder = Ladder(plan.settings, plan.device, plan.open, volume, lambda: len(self._under_way) > 1)
        self._kept: dict[int, States] = {}
        self._all_kept = True
        self._due = list(range(self.count))
        self._before: dict[int, Account] = {}
        self._under_way: dict[int, Problem] = {}
        self._ends: dict[int, End] = {}  # slices that came to no proper end, and why
        self._errors: dict[int, Exception] = {}  # of slices that nothing came of
        self._shortages = 0  # slices in a row that memory ran out in
        self.lost: dict[str, str] = {}  # what came with no image, and why
        self._partly: list[int] = []  # slices of which not all tiles were reached
        self._stateless = False  # whether there was no room to keep the state of a slice
        self._over = False  # whether no other slice is begun
        self._short = False  # whether a fit had fewer iterations than usual, though its rule had not ended it
        self._measured = plan.settings.at_once != 0  # whether it is known how many fit on a GPU
        if earlier is not None:
            self._take(earlier)
        for index, why in plan.slices.unread.items():
            if index in self._due:
                self._due.remove(index)
                self._failed(index, OSError(why))

    def _take(self, earlier: Result) -> None:
        """Begin with what an earlier result has."""
        plan = self.plan
        self.events += earlier.history.events
        parts = [earlier.states[index * self._fits : (index + 1) * self._fits] for index in range(self.count)]
        # what is empty is so in the type of the result, of which there may be another now
        there = [index for index, states in enumerate(parts) if any(states) or self.units.holds_nothing(index)]
        for name in ("image", "last", "residual", "uncertainty"):
            mine, given = getattr(self, name), getattr(earlier, name)
            if mine is not None and given is not None:
                given = plan.slices.cut(given)[there]
                mine[there] = given if given.dtype == mine.dtype else to_dtype(given, mine.dtype)
        same = all(getattr(plan.settings, how) == getattr(earlier.settings, how) for how in _SAME)
        for index, left in enumerate(_left(plan, earlier.states)):
            states = parts[index]
            if not any(states):
                continue
            self._kept[index] = states
            self._before[index] = _account_of(states, earlier.rule)
            if self.pace["finish"] and same and left == 0:
                self.done[index] = self._before[index]
                self._due.remove(index)

    def stream(self) -> Generator[Progress, None, Result]:
        """Restore the slices."""
        began = time.perf_counter()
        threads = torch.get_num_threads()
        if self.at_once > 1 and self.plan.settings.threads:  # runs that take turns would give them back out of turn
            devices.use_threads(self.plan.settings.threads)
        turns = take_turns(self._begin, self.plan.device.name)
        try:
            for index, outcome in turns:
                if isinstance(outcome, Progress):
                    shown = self._extra("some previews", lambda: self._shown(index, outcome), None)  # noqa: B023
                    if shown is not None:
                        yield shown
                elif not isinstance(outcome, Result):
                    self._failed(index, outcome)
                elif outcome.end.reason is Reason.OUT_OF_MEMORY and len(self._under_way) > 1:
                    self._failed(index, OutOfMemory(outcome.stop_reason))
                else:
                    self._settle(index, outcome)
        finally:
            turns.close()
            torch.set_num_threads(threads)
        return self._result(time.perf_counter() - began)

    def _begin(self) -> tuple[int, Turns] | None:
        """The run of the next slice, or None while or because there is none to begin."""
        while self._due and not self._over and len(self._under_way) < self.at_once:
            index = self._due[0]
            neighbour = self._neighbour(index)
            if neighbour in self._under_way:
                return None
            del self._due[0]
            try:
                trivial = self.units.trivial(index)
                if trivial is None:
                    return index, self._run(index, neighbour)
                self.image[index] = self.last[index] = trivial
            except Exception as error:
                self._failed(index, error)
        return None

    def _run(self, index: int, neighbour: int | None) -> Turns:
        """The run of a slice, from the weights of another one."""
        how = dict(self.pace)
        if self._under_way:  # one preview at a time
            how["interval"] = np.inf
        settings = self.plan.settings if self.at_once == 1 else self.plan.settings.changed(threads=0)
        problem = self.plan.problem(index)
        self._under_way[index] = problem
        states, neighbours = self._states(index), self._states(neighbour)
        return pieces.turns(problem, settings, ladder=self.ladder, states=states, neighbours=neighbours, **how)

    @property
    def _fits(self) -> int:
        """Runs of each slice."""
        settings = self.ladder.settings
        return len(pieces.tiles_of(self.plan.slices.values.shape[2:], settings)) * settings.runs

    def _neighbour(self, index: int) -> int | None:
        """The slice whose weights another one begins with: the same of the frame before, or the one before."""
        fitted = sorted({*self.done, *self._under_way})
        if not fitted or not (self.plan.settings.warm_start and self.plan.settings.method.begins_warm):
            return None
        if self.at_once > 1:
            return fitted[0]  # the others would have to wait for each other
        frame = int(np.prod(self.plan.slices.leading[1:], dtype=int))
        return index - frame if index - frame in self._kept else max((i for i in fitted if i < index), default=None)

    def _states(self, index: int | None) -> States:
        """The states of a slice: of this run, else of the earlier result."""
        return () if index is None else self._kept.get(index, ())

    def _shown(self, index: int, progress: Progress) -> Progress:
        plan = self.plan
        level = self.units.level(self._under_way[index], progress.image)
        image = plan.slices.layout_one(self.units.finish(index, progress.image + level))
        return replace(progress, image=image, slice=index, slices=self.count, at_once=len(self._under_way))

    def _settle(self, index: int, result: Result) -> None:
        """Keep what a slice has come to, and see whether others are to follow."""
        problem = self._under_way.pop(index)
        try:
            self._keep(index, problem, result)
        except Exception as error:
            self._failed(index, error)
            return
        self._shortages = self._shortages + 1 if result.end.reason is Reason.OUT_OF_MEMORY else 0
        self._over |= result.end.reason is Reason.STOPPED or self._shortages >= _PATIENCE

    def _keep(self, index: int, problem: Problem, result: Result) -> None:
        """Put a restored slice in its place."""
        plan = self.plan
        if not result.complete:
            self._ends[index] = result.end
            if index in self._before and not _gone_on(self._kept[index], result.states):
                return  # the image that it was stopped with is no better than that of the earlier result
        if not (result.iterations or self.count == 1):  # a slice that was not begun stays empty
            return
        level = self._extra(
            "the brightness of the measurement",
            lambda: self.units.level(problem, result.image),
            np.zeros((), np.float32),
        )
        image = devices.in_two_tries(lambda: self.units.finish(index, result.image + level), gc.collect)
        last = self._extra("the last iterate", lambda: self.units.finish(index, result.last + level), image)
        nothing, spread = np.full((), np.nan, np.float32), result.uncertainty
        rest = self._extra("the residual", lambda: self.units.residual(index, result.residual - level), nothing)
        self._put(self.image, index, result, image)
        if index not in self._before and np.isnan(result.image).any():
            self._partly.append(index)
        self._put(self.last, index, result, last)
        self._put(self.residual, index, result, rest)
        if self.uncertainty is not None and spread is not None:
            found = self._extra("the uncertainty", lambda: self.units.uncertainty(index, spread), nothing)
            self._put(self.uncertainty, index, result, found)
        going_on = (state for state in result.states if state is not None and not has_ended(state))
        self._short |= any(state.iteration < self._usual_iterations for state in going_on)
        account = Account.of(result)
        if index in self._before and not result.complete and result.states:
            account = replace(_account_of(result.states, result.rule), events=account.events)
        self._stateless |= any(event.message == NO_STATE for event in result.history.events)
        self._keep_states(index, result.states)
        self.done[index] = account
        if not self._measured:
            self._measured = True
            self.at_once = room(plan, self.at_once) if self.ladder.device == plan.device else 1

    def _extra(self, what: str, make: Callable[[], Made], otherwise: Made) -> Made:
        """Make something that comes with the images and is worth none of them: where it fails twice, that is said."""
        try:
            return devices.in_two_tries(make, gc.collect)
        except Warning:  # that are errors here
            raise
        except Exception as error:
            traceback.clear_frames(error.__traceback__)
            _log.debug("%s failed", what, exc_info=error)
            self.lost[what] = in_words(error)
            return otherwise

    def _put(self, images: Array, index: int, result: Result, image: Array) -> None:
        """Put an image (C, *any) in its place; where tiles were not reached the earlier one stays."""
        if index in self._before and not result.complete:
            like = result.residual if images is self.residual else self.units.field(result.image)
            image = np.where(np.isnan(like), images[index], image)
        images[index] = image

    def _keep_states(self, index: int, states: States) -> None:
        """Keep what it takes to go on, and where that is too much, what the slices to come begin with."""
        self._kept[index] = states
        size = sum(pieces.size_of(list(each)) for each in self._kept.values())
        self._all_kept = self._all_kept and bool(states) and size <= pieces.STATES_AT_MOST
        if not self._all_kept:
            frame = int(np.prod(self.plan.slices.leading[1:], dtype=int))
            first = min(self._kept) if self.at_once > 1 else -1
            needed = {first, index, *self._due, *self._under_way}
            self._kept = {i: s for i, s in self._kept.items() if i in needed or i > index - frame}

    def _failed(self, index: int, error: Exception) -> None:
        """Go on with the other slices."""
        self._under_way.pop(index, None)
        short = devices.is_out_of_memory(error)
        if short and self._under_way:
            self.at_once = len(self._under_way)
            self._due.insert(0, index)
            message = f"memory ran out with {self.at_once + 1} slices at once; {self.at_once} from here on"
            self.events.append(Event(0, "out of memory", message))
            return
        _log.debug("slice %d failed", index, exc_info=error)
        self._ends.pop(index, None)
        self._errors[index] = error
        message = f"slice {index} failed and {_STAYS[index in self._before]}: {in_words(error)}"
        self.events.append(Event(0, FAILED, message))
        self._shortages = self._shortages + 1 if short else 0
        self._over |= self._shortages >= _PATIENCE

    def _result(self, seconds: float) -> Result:
        """All slices as one result."""
        failed = [error for index, error in self._errors.items() if index not in self.plan.slices.unread]
        if failed and not self.done:
            raise failed[0]
        plan, accounts = self.plan, {**self._before, **self.done}
        done = [accounts[index] for index in sorted(accounts)]
        ratios = None
        if plan.slices.holes.any():
            ratios = self._extra("what holes leave open", lambda: doubts.hole_ratios(plan.slices, plan.noise), None)
        uncertainty = self.uncertainty
        if uncertainty is not None and done and np.isnan(uncertainty).all():
            uncertainty = None
        spread, left_open = uncertainty, ratios
        if spread is not None and left_open is not None:
            uncertainty = self._extra("the uncertainty", lambda: self._at_least(spread, left_open), None)
        why = self._why_too_smooth()
        verdict = self._extra(
            "the verdict", lambda: doubts.judge(plan.slices, self.residual, plan.noises.of, why), None
        )
        warned: tuple[str, ...] = self._extra("what to doubt", lambda: tuple(self._warned(accounts, ratios)), ())
        unreached = sorted({*self._due, *self._ends}.difference(accounts))
        shown = self._extra("a glance", lambda: self._glance(sorted(accounts)), None)
        states = self._all_states()
        result = Result(
            image=plan.slices.layout(self.image),
            last=plan.slices.layout(self.last),
            residual=plan.slices.layout(self.residual),
            uncertainty=None if uncertainty is None else plan.slices.layout(uncertainty),
            noise=plan.noise,
            method=plan.method,
            rule=done[0].rule if done else Choice("iterations", "there was nothing to fit"),
            marks=tuple(mark for r in done for mark in r.marks),
            iterations=sum(r.iterations for r in done),
            end=self._why_it_ended(accounts),
            history=History(
                np.concatenate([r.loss for r in done] or [np.zeros(0, np.float32)]),
                (*self.events, *(event for r in done for event in r.events)),
            ),
            settings=self.ladder.settings,
            device=self.ladder.device,
            seconds=seconds,
            complete=not (self._ends or self._errors),
            whole=not (unreached or self._partly or self._errors.keys() - self._before),
            verdict=verdict,
            warnings=(
                *doubts.failures({index: in_words(error) for index, error in self._errors.items()}, {*self._before}),
                *doubts.unreached(unreached, self._partly, self.count, self.units.empty),
                *warned,
                *([NO_STATE[0].upper() + NO_STATE[1:]] if self._stateless else []),
                *(_without(what, why) for what, why in self.lost.items()),
            ),
            states=states,
            glance=shown,
        )
        record: dict[str, Any] = self._extra("the record", lambda: describe(plan, result), {})
        if not record:
            lost = _without("the record", self.lost["the record"])
            return replace(result, states=(), warnings=(*result.warnings, lost))
        return replace(result, record=record)

    def _at_least(self, uncertainty: Array, ratios: Array) -> Array:
        """The uncertainty, in holes that nothing determines no less than the spread around them."""
        spread = self.units.enlarged(doubts.undetermined(self.plan.slices, ratios))
        return np.asarray(np.maximum(uncertainty, spread.astype(uncertainty.dtype)))

    def _warned(self, accounts: dict[int, Account], ratios: Array | None) -> Iterator[str]:
        plan = self.plan
        if sentence := self.units.rounding:
            yield sentence
        yield from doubts.warnings_of(
            plan.slices, plan.noise, ratios, apart=plan.noises.apart(accounts), camera=bool(plan.request.camera)
        )

    def _glance(self, done: list[int]) -> tuple[Array, Array] | None:
        """The middle one of the restored slices, before and after."""
        index, slices = done[len(done) // 2] if done else 0, self.plan.slices
        return glance(slices.values[index], slices.missing[index], self.image[index])

    def _why_it_ended(self, accounts: dict[int, Account]) -> End:
        """Why the run ended, and which slices did not come to their end."""
        ends, count = sorted(self._ends), self.count
        end, more = accounts[max(accounts)].end if accounts else Reason.NOTHING.told(), ""
        if ends:
            end = self._ends[ends[0]]
            if count > 1:
                together = ends == list(range(ends[0], ends[-1] + 1))
                which = f"s {ends[0]} to {ends[-1]}" if together else f"s {', '.join(map(str, ends))}"
                more += f", in slice{which if len(ends) > 1 else f' {ends[0]}'}, counted from 0"
        last = max([*ends, *self._errors], default=count)
        rest = {index in accounts for index in range(last + 1, count)} if self._over else set()
        if rest:
            more += f"; the slices after it are {' or '.join(_STAY[there] for there in sorted(rest)[::-1])}"
        if self._errors:
            failed = [event.message for event in self.events if event.kind == FAILED]
            others = f" ({len(self._errors) - 1} more failed too)" if len(self._errors) > 1 else ""
            more += f"; {failed[-len(self._errors)]}{others}"
        empty = False in rest or any(index not in accounts for index in self._errors)
        if empty and self.image.dtype.kind in "ui":
            more += "; what is empty is 0 in a result of whole numbers"
        return end.and_(more)

    def _why_too_smooth(self) -> str:
        """What is to blame first where structure is missing: that the run was short, as the user chose."""
        if self._ends:
            return "the run ended early, which is the likely cause: let it go on"
        if self._short:
            more = f"allow more than {self.plan.settings.iterations} iterations, or let it go on"
            return f"the run was short, which is the likely cause: {more}"
        return ""

    @cached_property
    def _usual_iterations(self) -> int:
        """Of a fit by the preset as it is, if no rule ends it sooner."""
        plan, settings = self.plan, self.plan.settings
        preset = PRESETS.get(settings.preset, settings)
        usual = settings.changed(iterations=preset.iterations, stop=preset.stop)
        return iterations_at_most(usual, plan.slices.values.shape[2:], plan.request.fine_voxel_size)

    def _all_states(self) -> States:
        """One for each run of each slice, or none if they are too large."""
        if not self._kept or not self._all_kept:
            return ()
        if any(len(states) != self._fits for states in self._kept.values()):
            return ()  # not all in the same tiles, as memory ran out
        none: States = (None,) * self._fits
        return tuple(state for index in range(self.count) for state in self._kept.get(index, none))


def _without(what: str, why: str) -> str:
    return f"The result is without {what}: {why}"


def unfinished(plan: Plan, states: States) -> float:
    """The share of fits, by their states, that no rule had ended, or not begun though there is what to fit."""
    return sum(_left(plan, states)) / max(1, len(states))


def _left(plan: Plan, states: States) -> list[int]:
    """How many such fits each slice has."""
    tiles, runs = list(pieces.tiles_of(plan.slices.values.shape[2:], plan.settings)), plan.settings.runs
    counts = [0] * len(plan.slices.values)
    for number, state in enumerate(states):
        index, tile = divmod(number // runs, len(tiles))
        counts[index] += not has_ended(state) and (
            state is not None or not plan.units.holds_nothing(index, tiles[tile])
        )
    return counts


def _account_of(states: States, rule: Choice) -> Account:
    """What the states of a slice tell."""
    begun = [state for state in states if state is not None]
    return Account(
        rule=rule,
        marks=tuple(map(mark_of, begun)),
        iterations=sum(state.iteration for state in begun),
        end=Reason.BEFORE.told(iteration=begun[-1].iteration),
        loss=np.array([loss for state in begun for loss in state.losses], np.float32),
    )


def _gone_on(before: States, after: States) -> bool:
    """Whether any fit has made an iteration since."""
    pairs = zip(before, after, strict=True) if after else ()
    return any(a is not None and (b is None or a.iteration > b.iteration) for b, a in pairs)


def at_once(plan: Plan) -> int:
    """How many slices to begin with: those that the user asks for; of themselves, several on a GPU alone."""
    count = len(plan.slices.values)
    if plan.settings.at_once:
        return min(plan.settings.at_once, count)
    if not plan.device.name.startswith("cuda"):
        return 1  # a slice keeps all cores of a CPU busy
    torch.cuda.reset_peak_memory_stats(plan.device.name)
    return 1


def room(plan: Plan, now: int) -> int:
    """How many slices fit on a GPU, after the first one has shown what one takes."""
    if not plan.device.name.startswith("cuda"):
        return now
    pixels = int(np.prod(plan.shape))
    free = memory.free(plan.device.name)
    fit = int(_SHARE * free / max(torch.cuda.max_memory_allocated(plan.device.name), 1))
    return max(1, min(fit, _AT_ONCE, _PIXELS // pixels, len(plan.slices.values)))
