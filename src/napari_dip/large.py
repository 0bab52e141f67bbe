"""The front door for arrays of any size: block after block from a lazy array into an OME-Zarr, here or on a cluster.

At no time is the whole array in memory. Scaling, noise and settings are found before the first block, for all of them,
and written into the target with all that was asked for: so a run that was killed goes on with the blocks that are
missing, and ends with the same image.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import zarr

from napari_dip import blocks, record
from napari_dip.blockcost import tell_of_full_disk, tell_of_long_wait
from napari_dip.blocks import Plan, check_array
from napari_dip.cluster import compute, connected
from napari_dip.core.pauses import without_pauses
from napari_dip.core.result import Progress
from napari_dip.defects import Skips
from napari_dip.io.arrays import Place, Unreadable
from napari_dip.io.disk import DiskFull, full, is_full
from napari_dip.io.ngff import Calibration
from napari_dip.keywords import BlockOptions, Instrument, with_knobs
from napari_dip.ledger import KEY, RESIDUAL, UNCERTAINTY, Ledger
from napari_dip.order import (
    AnotherRun,
    Order,
    begin,
    look,
    noise_from,
    plan_of,
    read_order,
    refuse_another,
    same_samples,
)
from napari_dip.outputs import IMAGE
from napari_dip.settings import Settings
from napari_dip.tasks import TASKS
from napari_dip.terminal import script_bar

_TOLD = 10  # failures, in a sentence
_PATIENCE = 3  # blocks that fail before any is done, after which no other is tried


@dataclass(frozen=True, kw_only=True)
class BlockProgress:
    """Progress of a run over blocks.

    Attributes
    ----------
    step : str
        "sample", "measure", "fit", "blend", or "level 1" and so on (of the pyramid).
    done, count : int
        Pieces of this step that are done, and all of them.
    failed : int
        Pieces that could not be done; a later call tries them again.
    seconds_left : float
        Time left for this step, if all goes on as it has.
    block : Progress or None
        Progress of the block at hand, if it is computed here: its image is that block.
    place : tuple of slice or None
        Where that block lies in the source.
    """

    step: str
    done: int
    count: int
    failed: int = 0
    seconds_left: float = float("inf")
    block: Progress | None = None
    place: Place | None = None

    @property
    def fraction(self) -> float:
        """Share of this step that is done, 0 to 1."""
        return (self.done + self.failed + (self.block.fraction if self.block else 0)) / max(1, self.count)


@dataclass(frozen=True, kw_only=True)
class Restored:
    """Result of a run over blocks.

    Attributes
    ----------
    path : Path
        Path of the OME-Zarr image.
    complete : bool
        True if all blocks are in it. If not, the same call goes on.
    stop_reason : str
        A sentence that says why it ended.
    record : dict
        Provenance, as in the attributes of the image.
    plan : Plan or None
        Plan of its blocks, where they were worked on.
    stopped : bool
        True if the user ended it.
    """

    path: Path
    complete: bool
    stop_reason: str
    record: dict[str, Any]
    plan: Plan | None = field(default=None, repr=False)
    stopped: bool = False

    @property
    def array(self) -> Any:
        """The finest level, not read: a zarr array."""
        return self._finest(IMAGE)

    @property
    def uncertainty(self) -> Any:
        """The standard deviation at each pixel, not read, where the settings ask for it; else None."""
        return self._finest(UNCERTAINTY)

    @property
    def residual(self) -> Any:
        """Measurement minus what the instrument sees of the result, not read, if it was asked for; else None."""
        return self._finest(RESIDUAL)

    def _finest(self, name: str) -> Any:
        path = self.path / name / "0"
        return zarr.open_array(path, mode="r") if path.is_dir() or not name else None


@with_knobs
def restore_blocks(
    task: str,
    source: Any,
    target: Any,
    mask: Any = None,
    *,
    progress: bool = True,
    **options: Unpack[BlockOptions],
) -> Restored:
    """Restore an array of any size block by block into an OME-Zarr.

    Parameters
    ----------
    task, source, target, mask, **options
        As for `iterate_blocks`.
    progress : bool
        Show a progress bar, as `denoise` does.

    Returns
    -------
    Restored
        Result, with the lazy `array`.
    """
    work = iterate_blocks(task, source, target, mask, **options)
    with script_bar(progress) as bar:
        return without_pauses(work, bar.show_blocks)


@with_knobs
def iterate_blocks(
    task: str,
    source: Any,
    target: Any,
    mask: Any = None,
    *,
    factor: Any = None,
    leading_axes: int | None = None,
    calibration: Calibration | None = None,
    intensity_range: tuple[float, float] | None = None,
    gain: float | None = None,
    offset: float | None = None,
    read_noise: float | None = None,
    client: Any = None,
    overwrite: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    interval: float = 0.25,
    settings: Settings | None = None,
    residual: bool = False,
    **options: Unpack[Instrument],
) -> Generator[BlockProgress, None, Restored]:
    """Restore an array of any size block by block into an OME-Zarr, and say how far it is.

    Parameters
    ----------
    task : str
        One of `TASKS`.
    source : path, zarr.Array, zarr.Group, dask.array.Array or array, (*leading, *S)
        Real numbers; a path is that of a zarr array or an OME-Zarr image. Two to five axes.
    target : path
        Path of the OME-Zarr to write, on a file system that all workers share. If the same run was begun there, it goes
        on; if it was finished, nothing is computed. Anything else that is there is refused.
    mask : as source, optional
        Not zero where a pixel is missing: of the shape of the source, or of its last axes.
    factor : int or sequence of int
        For super-resolution.
    leading_axes : int, optional
        Number of leading axes that are not space: each of their slices is restored on its own. By default all but y and
        x.
    calibration : Calibration, optional
        Calibration of the source, if its file does not say it.
    intensity_range, gain, offset, read_noise
        As for `restore.iterate`, of the whole array. By default the smallest and largest known pixel, for which the
        array is read once, and an estimate from samples of up to 16 blocks.
    client : distributed.Client, str or False, optional
        Dask workers to compute on, or the address of their scheduler, to which there is a connection until the run
        ends; by default those of the active client. Without one, or with False, blocks are computed here one after the
        other.
    overwrite : bool
        Begin anew, and replace the image that is at the target when the new one is whole; until then both are kept, and
        the same call goes on. Never one that the source or the mask is read from, or that something else lies in.
    should_stop : callable
        Asked now and then; true ends the run, with what is done.
    interval : float
        Seconds between two signs of life from within a block that is computed here.
    residual : bool
        Also write what was removed, like `Result.residual`, as the group ``residual`` of the target. A map of the
        uncertainty, with ``uncertainty=True``, is its group ``uncertainty``. Each is an OME-Zarr image.
    settings, **options
        As for `restore.iterate`: the settings, and changes to them by name; also ``kernel``, ``psf``,
        ``psf_centre`` and ``voxel_size``, which by default is that of the calibration. ``tile`` and ``overlap``
        say how a slice is cut; by default into tiles of 1024 pixels at the most, of a volume 128, along an axis that is
        longer than one and a half of them.

    Yields
    ------
    BlockProgress

    Returns
    -------
    Restored

    Raises
    ------
    FileExistsError
        If something else is at the target.
    BlockingIOError
        If another run is writing the target.
    ValueError, TypeError
        If an argument is not valid, or differs from that of the run which goes on.

    Notes
    -----
    A block that fails is left out, and tried again by the next call, unless it is the first one. Bits are the same
    after a kill as long as device, number of threads and versions are.
    """
    order = read_order(
        task,
        source,
        Ledger(target),
        mask,
        factor=factor,
        leading_axes=leading_axes,
        calibration=calibration,
        intensity_range=intensity_range,
        gain=gain,
        offset=offset,
        read_noise=read_noise,
        client=client,
        should_stop=should_stop,
        interval=interval,
        settings=settings,
        residual=residual,
        **options,
    )
    if order.client is not None and isinstance(order.source.array, np.ndarray):
        raise TypeError("source is an array in memory, which workers cannot read; save it as .zarr and name that")
    _refuse_inputs(order, overwrite=overwrite)
    if overwrite:
        order.ledger.check_replaceable()
    elif order.ledger.path.exists() and _begun(order, Ledger(target, beside=True)) is None:
        found = order.ledger.record()
        if found is None:
            raise FileExistsError(_no_run(order.ledger))
        _refuse_another(order, found, None, Path(target))
    return _run_alone(order, overwrite=overwrite)


def _no_run(ledger: Ledger) -> str:
    """The sentence on a target that is something else, with a remedy that will do."""
    try:
        ledger.check_replaceable()
        remedy = "name another target, or overwrite it (overwrite=True, --overwrite)"
    except FileExistsError:
        remedy = "name another target"
    damage = ledger.damage()
    return f"{damage or f'{ledger.path} exists, and is no run that could go on'}; {remedy}"


def _again(order: Order, found: dict[str, Any]) -> dict[str, Any]:
    """The request, as far as no pixel is read for it: with the fingerprints that another one has."""
    source, mask = found["request"]["source"], found["request"]["mask"]
    return order.request(source.get("sha256"), None if mask is None else mask.get("sha256"))


def _refuse_another(order: Order, found: dict[str, Any], request: dict[str, Any] | None, path: Path) -> None:
    """Raise `AnotherRun` if that which is there was asked for something else."""
    before = found["request"]
    if request is None:  # what needs no reading
        request = _again(order, found)
    else:  # a chunk may have been damaged then, or be damaged now
        samples = same_samples(request["source"]["sha256"], before["source"].get("sha256"))
        request = {**request, "source": {**request["source"], "sha256": samples}}
    refuse_another(before, request, path)


def _begun(order: Order, ledger: Ledger, request: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """The record of a run that is there and was asked for the same; without a request as far as no pixel is read."""
    found = ledger.record()
    if found is None:
        return None
    try:
        _refuse_another(order, found, request, ledger.path)
    except AnotherRun:
        return None
    return found


def _refuse_inputs(order: Order, *, overwrite: bool) -> None:
    """Raise if the target is the source or the mask, or the one lies in the other."""
    target = order.ledger.path.resolve()
    for name, each in (("source", order.source), ("mask", order.mask)):
        try:
            files = [] if each is None else each.files()
        except ValueError as error:
            if overwrite and target.exists():
                raise ValueError(f"{target} may hold the {name}: {error}; name another target") from error
            continue
        for file in files:
            if target == file or target in file.parents or file in target.parents:
                how = "is" if target == file else "contains" if target in file.parents else "lies in"
                raise ValueError(f"target={target} {how} the {name}, which is never changed; name another one")


def _run_alone(order: Order, *, overwrite: bool) -> Generator[BlockProgress, None, Restored]:
    """The run, while nobody else writes its target, and with a connection to its workers."""
    with order.ledger.locked(), connected(order.client) as client:
        order.ledger.recover()
        try:
            return (yield from _stream(replace(order, client=client), overwrite=overwrite))
        except OSError as error:
            if isinstance(error, DiskFull) or not is_full(error):
                raise
            raise full(order.ledger.target) from error


def _stream(order: Order, *, overwrite: bool) -> Generator[BlockProgress, None, Restored]:
    began, target = time.perf_counter(), order.ledger.target
    yield BlockProgress(step="sample", done=0, count=0)
    if absent := order.source.absent:
        warnings.warn(absent, stacklevel=2)
    seen = order.once(look, *order.looked_at)
    digest = yield from _digest(order)
    if order.mask is not None and digest is None:
        return _stopped(target)
    request = order.request(seen["sha256"], digest)
    ledger, found = _place(order, request, overwrite=overwrite)
    order = replace(order, ledger=ledger)
    if found is not None:
        if found["finished"]:
            shutil.rmtree(ledger.path / KEY, ignore_errors=True)
            ledger.take_place()
            return Restored(path=target, complete=True, stop_reason="was finished before", record=found)
        if found["software"] != record.software():
            warnings.warn(f"{target} was begun with other versions of the software: blocks may differ", stacklevel=2)
    else:
        limits = order.intensity_range
        if limits is None or seen["noise"] is None:  # the latter: no sample has a known pixel, perhaps none has
            measured = yield from _extremes(order, seen["noise"])
            if order.should_stop():
                return _stopped(target)
            if measured is None:
                raise ValueError("source has no finite pixel; NaN, infinite and masked pixels count as missing")
            limits = limits or (measured if measured[0] < measured[1] else None)
        Ledger(target, beside=True).discard()  # an earlier one, of another request
        found = begin(order, request, seen, limits)
    found["absent_chunks"] = absent
    plan = plan_of(order, found)
    tell_of_long_wait(order, plan)
    tell_of_full_disk(plan)
    ledger.begin()
    failures: list[str] = []
    for step, count in plan.steps.items():
        try:
            yield from _run(order, plan, step, count, failures)
        except DiskFull as error:
            if not ledger.done("fit"):
                raise
            reason = f"{error}, and the same call goes on, with {len(ledger.done('fit'))} of {plan.blocks} blocks done"
            return Restored(path=ledger.path, complete=False, stop_reason=reason, record=found, plan=plan)
        if not ledger.alive:
            reason = "its target was replaced, or finished, by another run"
            return Restored(path=ledger.path, complete=False, stop_reason=reason, record=found)
        missing = count - len(ledger.done(step))
        if order.should_stop() and missing:
            reason = f"stopped by the user, with {missing} of {count} pieces of the step {step!r} left"
            break
    else:
        reason = f"restored {len(ledger.done('fit'))} of {plan.blocks} blocks"
    if failures or missing:
        if failures or "failed" in found:
            found = {**found, "failed": failures}
            ledger.amend(**{KEY: found})  # so that the file says which
        told = "; ".join(failures[:_TOLD]) + (f"; and {len(failures) - _TOLD} more" if len(failures) > _TOLD else "")
        reason += f"; failed in {len(failures)}: {told}" if failures else ""
        reason += "; the same call goes on"
        reason += "" if ledger.path == target else f", and until it ends {target} stays as it was"
        return Restored(
            path=ledger.path,
            complete=False,
            stop_reason=reason,
            record=found,
            plan=plan,
            stopped=bool(order.should_stop() and missing),
        )
    found.pop("failed", None)
    finished = {**found, **_account(ledger), "software": record.software(), "finished": record.now()}
    ledger.amend(**{KEY: finished})
    shutil.rmtree(ledger.path / KEY, ignore_errors=True)
    ledger.take_place()
    reason = f"finished {plan.blocks} blocks in {time.perf_counter() - began:.0f} s"
    if finished["empty"]:
        reason += f"; {finished['empty']} of them have no known pixel and stay empty"
    if finished["padding_pixels"]:
        reason += "; padding or dead lines in them came back as they are (skip_padding=False restores them)"
    if finished["bad_pixels"]:
        reason += "; pixels in them that are hot or dead beyond doubt were restored (skip_bad_pixels=False leaves them)"
    return Restored(path=target, complete=True, stop_reason=reason, record=finished, plan=plan)


def _stopped(target: Path) -> Restored:
    """The result of a run that the user ended before its first block."""
    return Restored(path=target, complete=False, stop_reason="stopped by the user", record={}, stopped=True)


def _place(order: Order, request: dict[str, Any], *, overwrite: bool) -> tuple[Ledger, dict[str, Any] | None]:
    """Ledger of the target that a run writes to, and the record of the run that it continues, if any.

    What is at the target is replaced by what is made beside it: such a run goes on, and so does one at the target that
    is not finished; a finished one is left, or replaced, as is a damaged one.
    """
    target = order.ledger.target
    for beside in (True, False):
        found = _begun(order, Ledger(target, beside=beside), request)
        if found is None or (overwrite and found["finished"] and not beside):
            continue
        ledger = Ledger(target, found["run"], beside=beside)
        try:
            if found["finished"]:
                check_array(ledger.path, "0")
            else:
                plan_of(replace(order, ledger=ledger), found).check()
                ledger.check_links()
            return ledger, found
        except ValueError:
            if not overwrite:
                raise
    if not overwrite and (found := order.ledger.record()) is not None:
        _refuse_another(order, found, request, target)
    return Ledger(target, uuid.uuid4().hex, beside=overwrite and target.exists()), None


def _account(ledger: Ledger) -> dict[str, Any]:
    """Totals over the fits of all blocks."""
    total = {
        "blocks": 0,
        "empty": 0,
        "iterations": 0,
        "seconds": 0.0,
        "padding_pixels": 0,
        "bad_pixels": 0,
        "residuals_judged": 0,
        "residuals_with_structure": 0,
    }
    gave_up: list[str] = []
    for entry in ledger.entries("fit"):
        total["blocks"] += 1
        total["empty"] += entry.get("empty", False)
        total["iterations"] += entry.get("iterations", 0)
        total["seconds"] = round(total["seconds"] + entry.get("seconds", 0), 3)
        total["padding_pixels"] += entry.get("padding_pixels", 0)
        total["bad_pixels"] += entry.get("bad_pixels", 0)
        total["residuals_judged"] += entry.get("verdict") is not None
        total["residuals_with_structure"] += entry.get("verdict") is False
        if not entry.get("complete", True) and len(gave_up) < 10:
            gave_up.append(entry["stop_reason"])
    return {**total, "gave_up": gave_up}


def _digest(order: Order) -> Generator[BlockProgress, None, str | None]:
    """A fingerprint of the whole mask; None if there is none, or the user stops."""
    if order.mask is None:
        return None
    if isinstance(order.mask.array, np.ndarray):
        return blocks.marked(0, order.mask.part(()))
    places, began = order.mask_places, time.perf_counter()
    found: dict[int, str] = {}
    pieces = ((i, (order.mask.part(place),)) for i, place in enumerate(places))
    for index, each in _outcomes(order, blocks.marked, pieces):
        if isinstance(each, BaseException):
            raise each
        found[index] = each
        left = (time.perf_counter() - began) / len(found) * (len(places) - len(found))
        yield BlockProgress(step="measure", done=len(found), count=len(places), seconds_left=left)
    if len(found) < len(places):
        return None
    return hashlib.sha256("".join(found[i] for i in range(len(places))).encode()).hexdigest()


def _extremes(order: Order, noise: dict[str, Any] | None) -> Generator[BlockProgress, None, tuple[float, float] | None]:
    """The smallest and the largest known pixel of the whole array; None if there is none."""
    tiles = order.tiles
    lead = [range(n) for n in order.source.shape[: order.leading]]
    places = ((*(slice(i, i + 1) for i in at), *tile) for at in itertools.product(*lead) for tile in tiles)
    count = len(tiles) * int(np.prod([len(each) for each in lead], dtype=int))
    pieces = ((i, order.parts(place)) for i, place in enumerate(places))
    skips = Skips.of(TASKS[order.task], order.settings, order.changes)
    look = partial(blocks.extremes, skips=skips, noise=noise_from(noise) if noise else None)
    low, high, began = np.inf, -np.inf, time.perf_counter()
    flat: list[float] = []  # the values of parts that have one alone: padding, unless there is nothing else
    damage: Unreadable | None = None
    for done, (_, found) in enumerate(_outcomes(order, look, pieces), start=1):
        if isinstance(found, Unreadable):
            damage = found
        elif isinstance(found, BaseException):
            raise found
        elif found is not None and skips.padding and found[0] == found[1]:
            flat.append(found[0])
        elif found is not None:
            low, high = min(low, found[0]), max(high, found[1])
        left = (time.perf_counter() - began) / done * (count - done)
        yield BlockProgress(step="measure", done=done, count=count, seconds_left=left)
    if low > high and flat:
        low, high = min(flat), max(flat)
    if damage is not None and low > high:
        raise damage
    return (float(low), float(high)) if low <= high else None


def _run(order: Order, plan: Plan, step: str, count: int, failures: list[str]) -> Generator[BlockProgress, None, None]:
    """Do the pieces of a step that are not done yet; what fails is added to `failures`."""
    done = order.ledger.done(step)
    left = (index for index in range(count) if index not in done)
    finished, before, began = len(done), len(done), time.perf_counter()
    failed = damaged = 0
    first: BaseException | None = None

    def progress(**rest: Any) -> BlockProgress:
        tried = finished - before + failed
        rate = tried / (time.perf_counter() - began)
        seconds = (count - finished - failed) / rate if tried else float("inf")
        return BlockProgress(step=step, done=finished, count=count, failed=failed, seconds_left=seconds, **rest)

    def none_of_them(most: int = 1) -> None:
        """Raise the first error if nothing was done and so many failed: the others would fail like them."""
        if first is not None and finished == before and failed - damaged >= most:
            raise first

    def settle(index: int, error: BaseException | None) -> None:
        nonlocal finished, failed, damaged, first
        if error is None:
            finished += 1
            return
        if is_full(error):  # all that follow would be computed for nothing
            raise full(order.ledger.target) from error
        failed += 1
        if isinstance(error, Unreadable):
            damaged += 1
        else:
            first = first or error
        none_of_them(_PATIENCE)
        failures.append(f"{_named(order, plan, step, index)}: {error or type(error).__name__}")

    yield progress()
    if order.client is None:
        for index in left:
            if order.should_stop():
                return
            place = plan.read_place(step, index)
            pace: dict[str, Any] = {"should_stop": order.should_stop, "interval": order.interval}
            error = None
            try:
                for each in blocks.piece(plan, step, index, *order.parts(place), **pace):
                    yield progress(block=each, place=place)
            except Exception as caught:
                error = caught
            if order.should_stop():
                return
            settle(index, error)
            yield progress()
        none_of_them()
        return
    pieces = ((index, (step, plan, *order.parts(plan.read_place(step, index)))) for index in left)
    for index, found in _outcomes(order, blocks.whole, pieces):
        settle(index, found if isinstance(found, BaseException) else None)
        yield progress()
    none_of_them()


def _named(order: Order, plan: Plan, step: str, index: int) -> str:
    """A piece of a step, with its place in the source."""
    if step != "fit":
        return f"piece {index} of the step {step!r}"
    place = itertools.chain(*plan.block(index))
    parts = [
        f"{axis}={each.start}" + (f":{each.stop}" if each.stop > each.start + 1 else "")
        for axis, each, n in zip(order.source.calibration.axes, place, order.source.shape, strict=True)
        if (each.start, each.stop) != (0, n)
    ]
    return f"block {index}" + (f" ({', '.join(parts)})" if parts else "")


def _outcomes(
    order: Order, function: Callable[..., Any], pieces: Iterator[tuple[int, tuple[Any, ...]]]
) -> Iterator[tuple[int, Any]]:
    """Yield the index of each piece with what a function returns for it, or the exception that it ends with."""
    if order.client is not None:
        try:
            yield from compute(function, pieces, order.client, order.should_stop)
        finally:
            if order.should_stop():
                order.ledger.ask_to_stop()
        return
    for index, arguments in pieces:
        if order.should_stop():
            return
        try:
            outcome = function(index, *arguments)
        except Unreadable as error:
            outcome = error
        yield index, outcome
