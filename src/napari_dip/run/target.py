"""The target in memory: slices as they come in, reduced to one result with images, accounts, judgement and record."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.intensity import to_dtype
from napari_dip.core.pieces import Account, States
from napari_dip.core.reason import Choice, End, Reason
from napari_dip.core.result import History, Progress, Result
from napari_dip.core.setup import Setup
from napari_dip.core.state import FAILED, NO_STATE, Event, has_ended, keepable
from napari_dip.core.telling import counted, error_in_words
from napari_dip.glance import glance
from napari_dip.plan.cost import iterations_at_most
from napari_dip.plan.plan import Plan
from napari_dip.run import doubts
from napari_dip.run.earlier import account_of, gone_on, left_of, of_slices
from napari_dip.run.fits import Extras, Fit, Unfitted
from napari_dip.run.record import describe
from napari_dip.tables.settings import PRESETS

Array = npt.NDArray[Any]
_log = logging.getLogger(__name__)
_SAME = "stop", "output_dtype", "keep_known"  # knobs with which a slice that had ended comes out as it did
_STAY = {False: "empty", True: "as they were"}
_STAYS = {False: "is empty", True: "is as it was"}


class ArrayTarget:
    """Images of all slices, and what became of each.

    Attributes
    ----------
    image, last, residual, uncertainty : array (N, C, *shape)
        In the units of the input; NaN, or 0 in whole numbers, where nothing has come in.
    done : dict of int to Account
        Slices that have come in.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.units = plan, plan.units
        self.count = len(plan.slices.values)
        shape = (self.count, plan.slices.values.shape[1], *plan.shape)
        spread = self.units.dtype_of_differences
        self.image = np.full(shape, self.units.empty, dtype=self.units.dtype)
        self.last = self.image.copy()
        self.residual = np.full(plan.slices.values.shape, np.nan, spread)
        self.uncertainty = np.full(shape, np.nan, spread) if plan.settings.uncertainty else None
        self.done: dict[int, Account] = {}
        self.events: list[Event] = []
        self.extras = Extras()
        self._before: dict[int, Account] = {}  # of an earlier result
        self._kept: dict[int, States] = {}
        self._all_kept = True
        self._ends: dict[int, End] = {}  # slices that came to no proper end, and why
        self._errors: dict[int, Exception] = {}  # of slices that nothing came of
        self._unfitted: list[int] = []  # slices that there was nothing to fit to
        self._made = False  # whether anything came of a slice
        self._partly: list[int] = []  # slices of which not all tiles were reached
        self._short = 0  # most iterations of a fit that had fewer than usual, though its rule had not ended it

    def take(self, earlier: Result, *, finish: bool) -> None:
        """Begin with what an earlier result has; with `finish`, slices that had ended are done."""
        plan = self.plan
        self.events += earlier.history.events
        parts = of_slices(plan, earlier.states)
        # what is empty is so in the type of the result, of which there may be another now
        there = [index for index, states in enumerate(parts) if any(states) or self.units.holds_nothing(index)]
        for name in ("image", "last", "residual", "uncertainty"):
            mine, given = getattr(self, name), getattr(earlier, name)
            if mine is not None and given is not None:
                given = plan.slices.cut(given)[there]
                mine[there] = given if given.dtype == mine.dtype else to_dtype(given, mine.dtype)
        same = all(getattr(plan.settings, how) == getattr(earlier.settings, how) for how in _SAME)
        for index, left in enumerate(left_of(plan, earlier.states)):
            states = parts[index]
            if not any(states):
                continue
            self._kept[index] = states
            self._before[index] = account_of(states, earlier.rule)
            if finish and same and left == 0:
                self.done[index] = self._before[index]

    def states(self, index: int | None) -> States:
        """The states of a slice: of this run, else of the earlier result."""
        return () if index is None else self._kept.get(index, ())

    @property
    def warm(self) -> Collection[int]:
        """Slices whose weights others may begin with."""
        return self.done

    def put(self, index: int, slice_: Unfitted) -> None:
        """Put a slice that nothing was fitted to in its place."""
        self.image[index] = self.last[index] = slice_.image
        self._unfitted.append(index)

    def keep(self, index: int, fit: Fit, result: Result, ahead: set[int]) -> None:
        """Put a restored slice in its place; those `ahead` may begin with the weights of what is kept."""
        if not result.complete:
            self._ends[index] = result.end
            if index in self._before and not gone_on(self._kept[index], result.states):
                return  # the image that it was stopped with is no better than that of the earlier result
        self._made |= result.made
        if not (result.made or self.count == 1):  # a slice that was not begun stays empty
            return
        made = fit.images(result, self.extras)
        self._put(self.image, index, result, made.image)
        if index not in self._before and np.isnan(result.image).any():
            self._partly.append(index)
        self._put(self.last, index, result, made.last)
        self._put(self.residual, index, result, made.residual)
        if self.uncertainty is not None and made.uncertainty is not None:
            self._put(self.uncertainty, index, result, made.uncertainty)
        going_on = [state.iteration for state in result.states if state is not None and not has_ended(state)]
        self._short = max([self._short, *(each for each in going_on if each < self._usual_iterations)])
        account = Account.of(result)
        if index in self._before and not result.complete and result.states:
            account = replace(account_of(result.states, result.rule), events=account.events)
        self._keep_states(index, result.states, ahead)
        self.done[index] = account

    def end(self, index: int) -> Progress | None:
        """Image and log at the end of a slice that has come in; None if it is not one fit with iterations."""
        account = self.done.get(index)
        if account is None or len(account.marks) != 1 or not len(account.loss):
            return None
        image, length = self.plan.slices.layout_one(self.last[index]), len(account.loss)
        log = History(account.loss, account.events, account.curves)
        how: dict[str, Any] = {"slice": index, "slices": self.count, "mark": account.marks[0]}
        how |= {"iteration": length, "iterations": length}
        return Progress(image=image, loss=float(account.loss[-1]), rate=0, history=log, **how)

    def _put(self, images: Array, index: int, result: Result, image: Array) -> None:
        """Put an image (C, *any) in its place; where tiles were not reached the earlier one stays."""
        if index in self._before and not result.complete:
            like = result.residual if images is self.residual else self.units.field(result.image)
            image = np.where(np.isnan(like), images[index], image)
        images[index] = image

    def _keep_states(self, index: int, states: States, ahead: set[int]) -> None:
        """Keep what it takes to go on, and where that is too much, what the slices to come begin with."""
        self._kept[index] = states
        every = itertools.chain(*self._kept.values())
        self._all_kept = self._all_kept and bool(states) and keepable(every)
        if not self._all_kept:
            frame = int(np.prod(self.plan.slices.leading[1:], dtype=int))
            self._kept = {i: s for i, s in self._kept.items() if i in ahead or i == index or i > index - frame}

    def fail(self, index: int, error: Exception) -> None:
        """Take note of a slice that nothing came of."""
        _log.debug("slice %d failed", index, exc_info=error)
        self._ends.pop(index, None)
        self._errors[index] = error
        message = f"slice {index} failed and {_STAYS[index in self._before]}: {error_in_words(error)}"
        self.events.append(Event(0, FAILED, message))

    def result(self, setup: Setup, seconds: float, due: list[int]) -> Result:
        """All slices as one result; those `due` were not begun, and are left as they are."""
        failed = [error for index, error in self._errors.items() if index not in self.plan.slices.unread]
        if failed and not self.done:
            raise failed[0]
        plan, accounts, extra = self.plan, {**self._before, **self.done}, self.extras.make
        done = [accounts[index] for index in sorted(accounts)]
        ratios = None
        if plan.slices.holes.any():
            ratios = extra("the check of its holes", lambda: doubts.hole_ratios(plan.slices, plan.noise), None)
        uncertainty = self.uncertainty
        if uncertainty is not None and done and np.isnan(uncertainty).all():
            uncertainty = None
        why = self._why_too_smooth()
        verdict = None
        if plan.request.task.removes_noise:
            judge = partial(doubts.judge, plan.slices, self.residual, plan.noises.of, why, kept=self.units.keeps_known)
            verdict = extra("the verdict", judge, None)
        warned: tuple[str, ...] = extra("the warnings", lambda: tuple(self._warned(accounts, ratios)), ())
        lost = [event.message for r in done for event in r.events if event.kind == NO_STATE]
        stateless = [message[0].upper() + message[1:] for message in lost]
        unreached = sorted({*due, *self._ends}.difference(accounts))
        shown = extra("the view before and after", lambda: self._glance(sorted(accounts)), None)
        states = self._all_states(setup)
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
            end=self._why_it_ended(accounts, due),
            history=History(
                np.concatenate([r.loss for r in done] or [np.zeros(0, np.float32)]),
                (*self.events, *(event for r in done for event in r.events)),
                tuple(curve for r in done for curve in r.curves),
            ),
            settings=setup.settings,
            device=setup.device,
            seconds=seconds,
            complete=not (self._ends or self._errors),
            made=self._made or bool(self._before) or not self._ends,
            whole=not (unreached or self._partly or self._errors.keys() - self._before),
            verdict=verdict,
            warnings=(
                *doubts.failures({index: error_in_words(e) for index, e in self._errors.items()}, {*self._before}),
                *doubts.unreached(unreached, self._partly, self.count, self.units.empty),
                *warned,
                *stateless[:1],
                *self.extras.sentences,
            ),
            states=states,
            glance=shown,
        )
        record: dict[str, Any] = extra("the record", lambda: describe(plan, result), {})
        if not record:
            return replace(result, states=(), warnings=(*result.warnings, self.extras.sentences[-1]))
        return replace(result, record=record)

    def _warned(self, accounts: dict[int, Account], ratios: Array | None) -> Iterator[str]:
        plan = self.plan
        guided = doubts.guide_sentence(plan.slices, self.residual, plan.request.guide, plan.noises.of)
        of_one_value = [said for index in sorted(self._unfitted) if (said := self.units.one_value(index))]
        if len(of_one_value) > 1:
            yield f"{len(of_one_value)} slices have one value only: {of_one_value[0]}"
        else:
            yield from of_one_value
        request = plan.request
        yield from filter(None, (self.units.rounding, request.background, request.spread, self.units.contrast, guided))
        if request.psf is not None and not (plan.noise and plan.noise.given):
            yield from filter(None, [doubts.darkness_sentence(plan.slices, self.image)])
        judged = plan.request.task.removes_noise and plan.scaling is not None
        noise, apart = (plan.noise, plan.noises.apart(accounts)) if judged else (None, {})
        channels = plan.noises.channels_apart(min(accounts)) if noise is not None and accounts else {}
        how = {"camera": bool(plan.request.camera), "fills": request.task.fills_holes}
        yield from doubts.warnings_of(plan.slices, noise, ratios, apart=apart, channels=channels, **how)

    def _glance(self, done: list[int]) -> tuple[Array, Array] | None:
        """The middle one of the restored slices, before and after."""
        index, slices = done[len(done) // 2] if done else 0, self.plan.slices
        return glance(slices.values[index], slices.missing[index], self.image[index])

    def _why_it_ended(self, accounts: dict[int, Account], due: list[int]) -> End:
        """Reason why the run ended, and the slices that did not come to their end."""
        ends, count = sorted(self._ends), self.count
        end, more = accounts[max(accounts)].end if accounts else Reason.NOTHING.told(), ""
        if ends:
            end = self._ends[ends[0]]
            if count > 1:
                together = ends == list(range(ends[0], ends[-1] + 1))
                which = f"s {ends[0]} to {ends[-1]}" if together else f"s {', '.join(map(str, ends))}"
                more += f", in slice{which if len(ends) > 1 else f' {ends[0]}'}, counted from 0"
        last = max([*ends, *self._errors], default=count)
        rest = {index in accounts for index in range(last + 1, count)} if due else set()
        if rest:
            more += f"; the slices after it are {' or '.join(_STAY[there] for there in sorted(rest)[::-1])}"
        if self._errors:
            failed = [event.message for event in self.events if event.kind == FAILED]
            others = f" ({len(self._errors) - 1} more failed too)" if len(self._errors) > 1 else ""
            more += f"; {failed[-len(self._errors)]}{others}"
        empty = False in rest or any(index not in accounts for index in self._errors)
        if empty and self.image.dtype.kind in "ui":
            more += "; the empty parts are 0, as integers have no NaN"
        return end.and_(more)

    def _why_too_smooth(self) -> str:
        """Likely cause where structure is missing: that the run was short, as the user chose; else nothing."""
        if self._ends:
            return "the run ended early, which is the likely cause: let it go on"
        if self._short:
            more = f"allow more than {counted(self._short, 'iteration')}, or let it go on"
            return f"the run was short, which is the likely cause: {more}"
        return ""

    @cached_property
    def _usual_iterations(self) -> int:
        """Iterations of a fit by the unchanged preset, if no rule ends it sooner."""
        plan, settings = self.plan, self.plan.settings
        preset = PRESETS.get(settings.preset, settings)
        usual = settings.decided(iterations=preset.iterations, stop=preset.stop)
        return iterations_at_most(usual, plan.slices.values.shape[2:], plan.request.fine_voxel_size, plan.noise)

    def _all_states(self, setup: Setup) -> States:
        """States of all fits of each slice, with this setup; empty if not all were kept."""
        if not self._kept or not self._all_kept:
            return ()
        plan = replace(self.plan, settings=setup.settings)
        none: list[States] = [(None,) * plan.fits(index) for index in range(self.count)]
        kept = [self._kept.get(index, states) for index, states in enumerate(none)]
        if list(map(len, kept)) != list(map(len, none)):
            return ()  # not all in the same tiles, as memory ran out
        return tuple(itertools.chain(*kept))
