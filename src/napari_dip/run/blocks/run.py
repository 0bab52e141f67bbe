"""A run over the blocks of an array, here or on the workers of a cluster: what `run` is for slices in memory.

Scaling, noise and settings are found before the first block, for all of them, and written into the target with all that
was asked for: so a run that was killed goes on with the blocks that are missing, and ends with the same image.
"""

from __future__ import annotations

import contextlib
import time
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from napari_dip.core.pauses import between_pauses
from napari_dip.core.reason import End, Reason
from napari_dip.core.result import Progress
from napari_dip.core.telling import quietly
from napari_dip.io.arrays import Part
from napari_dip.io.disk import DiskFull, full, is_full
from napari_dip.plan.inputs import inverted
from napari_dip.run.blocks import result
from napari_dip.run.blocks.blocks import Blocks
from napari_dip.run.blocks.cluster import check_sendable, connected, once, outcomes
from napari_dip.run.blocks.cost import tell_of_full_disk, tell_of_long_wait
from napari_dip.run.blocks.ledger import KEY, Ledger
from napari_dip.run.blocks.order import Order, look
from napari_dip.run.blocks.record import asked_for, begun, noted, plan_of, refuse_another
from napari_dip.run.blocks.result import BlockProgress, Restored, Step
from napari_dip.run.blocks.survey import Survey, joined, range_of
from napari_dip.run.blocks.target import FIT, ZarrTarget, check_array
from napari_dip.run.fits import Extras
from napari_dip.tables import record
from napari_dip.tables.settings import Settings

Work = Generator[BlockProgress, None, Restored]


@dataclass(frozen=True, kw_only=True)
class BlockRun:
    """A run over the blocks of an order, and how it goes."""

    order: Order
    path: Path
    client: Any
    should_stop: Callable[[], bool]
    interval: float
    overwrite: bool

    def alone(self) -> Work:
        """The run, while nobody else writes its target, and with a connection to its workers."""
        ledger = Ledger(self.path)
        with ledger.locked(), connected(self.client) as client:
            ledger.recover()
            if client is not None:
                check_sendable(self.order.own_parts)
            try:
                return (yield from replace(self, client=client, path=ledger.target)._steps())
            except OSError as error:
                if isinstance(error, DiskFull) or not is_full(error):
                    raise
                raise full(ledger.target) from error

    def _steps(self) -> Work:
        began, target, order = time.perf_counter(), self.path, self.order
        yield BlockProgress(step="sample", done=0, count=0)
        if absent := order.source.absent:
            warnings.warn(absent, stacklevel=2)
        plan, samples, nearly = once(self.client, look, *order.looked_at)
        stopped = End(Reason.STOPPED, "stopped by the user")
        ended = partial(Restored, path=target, order=order)
        survey, beside = Survey(order, self.client, self.should_stop), {}
        for name in order.beside:
            beside[name] = yield from survey.beside(name)
            if self.should_stop():
                return ended(end=stopped, record={})
        asked = asked_for(order, samples, {name: joined(found) for name, found in beside.items()})
        ledger, found = self._place(asked, plan.settings)
        if found is not None:
            if found["finished"]:
                ledger.finish()
                with contextlib.suppress(ValueError):  # by another version: nothing but a control needs it
                    ended = partial(ended, blocks=_blocks(order, found, ledger, plan.settings))
                return ended(end=Reason.DONE_BEFORE.told(), record=found)
            if found["software"] != record.software():
                warnings.warn(
                    f"{target} was begun with other versions of the software: blocks may differ", stacklevel=2
                )
            blocks = _blocks(order, found, ledger, plan.settings)
        else:
            if nearly:
                warnings.warn(f"mask: {nearly}; {inverted()}", stacklevel=2)
            scaling = yield from survey.scaling(plan)
            if self.should_stop():
                return ended(end=stopped, record={})
            Ledger(target, beside=True).discard()  # an earlier one, of another request
            guide = range_of(beside["guide"]) if "guide" in beside else None
            found = noted(order, asked, replace(plan, scaling=scaling), ledger.run, guide)
            blocks = _blocks(order, found, ledger, plan.settings)
            blocks.target.create(ledger, order.source, found)
        found["absent_chunks"] = absent
        tell_of_long_wait(blocks, order, self.client)
        tell_of_full_disk(blocks.target, self.path)
        ledger.begin()
        count, failures = len(blocks.target.grid), list[str]()
        ended = partial(ended, path=ledger.path, blocks=blocks)
        for step, pieces in blocks.target.steps.items():
            try:
                yield from self._work(blocks, step, pieces, failures)
            except DiskFull as error:
                if not (done := len(ledger.done(FIT))):
                    raise
                rest = f", and the same call goes on, with {done} of {count} blocks done"
                return ended(end=Reason.DISK_FULL.told(rest, disk=error), record=found)
            if not ledger.alive:
                return ended(end=Reason.REPLACED.told(), record=found)
            missing = pieces - len(ledger.done(step))
            if self.should_stop() and missing:
                end = stopped.and_(f", with {missing} of {pieces} pieces of the step {step!r} left")
                break
        else:
            end = Reason.SOME_BLOCKS.told(done=len(ledger.done(FIT)), blocks=count)
        if failures or missing:
            if failures or "failed" in found:
                found = {**found, "failed": failures}
                ledger.amend(**{KEY: found})  # so that the file says which
            there = "" if ledger.path == target else f", and until it ends {target} stays as it was"
            return ended(end=end.and_(result.left(failures) + there), record=found)
        found.pop("failed", None)
        finished = {**found, **result.account(ledger), "software": record.software(), "finished": record.now()}
        ledger.amend(**{KEY: finished})
        ledger.finish()
        end = Reason.ALL_BLOCKS.told(result.found(finished), blocks=count, seconds=time.perf_counter() - began)
        return ended(path=target, end=end, record=finished)

    def _place(self, asked: dict[str, Any], decided: Settings) -> tuple[Ledger, dict[str, Any] | None]:
        """Ledger of the target that a run writes to, and the record of the run that it continues, if any.

        What is at the target is replaced by what is made beside it: such a run goes on, and so does one at the target
        that is not finished; a finished one is left, or replaced, as is a damaged one.
        """
        for beside in (True, False):
            found = begun(self.order, Ledger(self.path, beside=beside), asked)
            if found is None or (self.overwrite and found["finished"] and not beside):
                continue
            ledger = Ledger(self.path, found["run"], beside=beside)
            try:
                if found["finished"]:
                    check_array(ledger.path, "0")
                else:
                    _blocks(self.order, found, ledger, decided).target.check()
                    ledger.check_links()
                return ledger, found
            except ValueError:
                if not self.overwrite:
                    raise
        if not self.overwrite and (found := Ledger(self.path).record()) is not None:
            refuse_another(self.order, found, self.path, asked)
        return Ledger(self.path, uuid.uuid4().hex, beside=self.overwrite and self.path.exists()), None

    def _work(self, blocks: Blocks, name: str, count: int, failures: list[str]) -> Generator[BlockProgress, None, None]:
        """Do the pieces of a step that are not done yet; what fails is added to `failures`."""
        ledger = blocks.target.ledger
        done = ledger.done(name)
        step, due = Step(name, count, len(done)), [index for index in range(count) if index not in done]
        yield step.progress()
        if name == FIT and self.client is None:
            ended = self._here(blocks, due)
        else:
            pieces = ((i, self._parts(blocks, name, i)) for i in due)
            function = blocks.restore if name == FIT else partial(blocks.compose, name)
            ended = outcomes(function, pieces, self.client, self.should_stop)
        try:
            for index, found in ended:
                if isinstance(found, Progress):
                    yield step.progress(block=found, place=blocks.read_place(name, index))
                    continue
                if found is not None and is_full(found):  # all that follow would be computed for nothing
                    raise full(self.path) from found
                step.settle(found)
                if found is not None:
                    failures.append(f"{_named(self.order, blocks, name, index)}: {found or type(found).__name__}")
                yield step.progress()
        finally:
            if self.client is not None and self.should_stop():
                ledger.ask_to_stop()
        if not self.should_stop():
            step.check(1)

    def _here(self, blocks: Blocks, due: list[int]) -> Iterator[tuple[int, Progress | Exception | None]]:
        """Restore blocks in this process: what each shows, and None for one that is done, or why it is not."""
        pace = {"should_stop": self.should_stop, "interval": self.interval}
        loop = blocks.loop(partial(self._parts, blocks, FIT), due, **pace)
        loop.over = self.should_stop()
        with loop as steps:
            for index, outcome in between_pauses(quietly, steps):
                if isinstance(outcome, Progress):
                    if shown := Extras().make("a preview", partial(loop.under_way[index].shown, outcome), None):
                        yield index, shown
                    continue
                with quietly():
                    error = loop.settle(index, outcome)
                if error is not None or blocks.target.ledger.has(FIT, index):  # else it was stopped, or begins again
                    yield index, error
                loop.over |= self.should_stop()

    def _parts(self, blocks: Blocks, step: str, index: int) -> tuple[Part | None, ...]:
        """Parts of source and mask that a piece of a step reads, and of the guide that a fit does."""
        place = blocks.read_place(step, index)
        parts = (None, None) if place is None else self.order.parts(place)
        return parts if step != FIT else (*parts, self.order.guide_part(index))


def _blocks(order: Order, found: dict[str, Any], ledger: Ledger, decided: Settings) -> Blocks:
    """The blocks of a run, by its record; `decided` are the settings that would be decided now.

    Raises
    ------
    ValueError
        If that is damaged, or of another version.
    """
    try:
        plan = plan_of(order, found, decided)
        target = ZarrTarget.of(plan, order.source, order.grid, ledger, residual=order.residual)
        guide = found.get("guide_range")
        limits = None if guide is None else (float(guide[0]), float(guide[1]), float(guide[2]))
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"target={str(ledger.target)!r} was begun by another version of napari-dip, or its record is damaged "
            f"({why}); name another target, or overwrite it"
        ) from error
    return Blocks(plan, target, limits)


def _named(order: Order, blocks: Blocks, step: str, index: int) -> str:
    """A piece of a step, with its place in the source."""
    if step != FIT:
        return f"piece {index} of the step {step!r}"
    parts = [
        f"{axis}={each.start}" + (f":{each.stop}" if each.stop > each.start + 1 else "")
        for axis, each, n in zip(
            order.source.calibration.axes, blocks.target.grid.place(index), order.source.shape, strict=True
        )
        if (each.start, each.stop) != (0, n)
    ]
    return f"block {index}" + (f" ({', '.join(parts)})" if parts else "")
