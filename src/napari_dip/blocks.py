"""What becomes of one block of a large array, in whatever process: read, restored or blended, written, marked as done.

A block is one slice of the leading axes (time, channel, z) and one tile of space. Where a slice is one tile, the result
goes straight into the image. Elsewhere fitted tiles are kept apart and blended chunk by chunk in a second pass. The
levels of the pyramid are made of each other in the end. Nothing depends on the order of the blocks.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from napari_dip import record
from napari_dip.core.intensity import mean_of, to_dtype
from napari_dip.core.noise import Noise
from napari_dip.core.padding import padding_of
from napari_dip.core.solve import Progress, Result
from napari_dip.core.telling import quietly
from napari_dip.core.tiling import Tiling, seed_at
from napari_dip.io.arrays import Part, Place
from napari_dip.io.omezarr import coarser
from napari_dip.ledger import Ledger
from napari_dip.restore import iterate
from napari_dip.settings import Settings
from napari_dip.tasks import TASKS

Array = npt.NDArray[Any]
Work = Generator[Progress, None, None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is the same for all blocks.

    Attributes
    ----------
    target : str
        Path of the OME-Zarr that is written.
    run : str
        The name of the run, which tells it from another one that took its place.
    task, instrument, settings
        As `restore.iterate` takes them; the instrument is what it is told of kernel and point spread function.
    camera : dict
        What the user knows of it, as `restore.iterate` takes it: for blocks if the samples had no known pixel.
    intensity_range, noise, level
        Of the whole array: scaling (None if all known pixels are equal), noise (None if no sample had a known pixel),
        and the mean that its sigma is at.
    lead : tuple of int
        Lengths of the leading axes.
    tiles : Tiling
        Of a slice, on the grid of the source.
    factors : tuple of int
        By which the result is finer along the axes of space.
    dtype, real : dtype
        Of the result, and of what is computed with: float32, or float64 where that does not hold it.
    chunks : tuple of int
        Of the result.
    levels : tuple of tuple of int
        By how much each level of the pyramid is coarser, along all axes.
    """

    target: str
    run: str
    task: str
    instrument: dict[str, Any]
    camera: dict[str, float]
    settings: Settings
    intensity_range: tuple[float, float] | None
    noise: Noise | None
    level: float
    lead: tuple[int, ...]
    tiles: Tiling
    factors: tuple[int, ...]
    dtype: np.dtype[Any]
    real: np.dtype[Any]
    chunks: tuple[int, ...]
    levels: tuple[tuple[int, ...], ...]

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.target, self.run)

    @property
    def finer(self) -> Tiling:
        """The tiles on the grid of the result."""
        return self.tiles.finer(self.factors)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result."""
        return (*self.lead, *self.finer.shape)

    @property
    def direct(self) -> bool:
        """Whether a slice is one block, which nothing has to be blended with."""
        return len(self.tiles) == 1

    @property
    def steps(self) -> dict[str, int]:
        """What is done in turn: name -> number of pieces."""
        levels = {f"level {i}": self._chunks(i) for i in range(1, len(self.levels))}
        return {"fit": self.blocks, **({} if self.direct else {"blend": self._chunks(0)}), **levels}

    @property
    def blocks(self) -> int:
        return math.prod(self.lead) * len(self.tiles)

    def block(self, index: int) -> tuple[Place, Place]:
        """A block in the leading axes and in space."""
        slice_, tile = divmod(index, len(self.tiles))
        lead = tuple(slice(int(i), int(i) + 1) for i in np.unravel_index(slice_, self.lead)) if self.lead else ()
        return lead, self.tiles.at(tile)

    def level_shape(self, level: int) -> tuple[int, ...]:
        return tuple(math.ceil(n / f) for n, f in zip(self.shape, self.levels[level], strict=True))

    def _chunks(self, level: int) -> int:
        return math.prod(map(len, self._chunk_starts(level)))

    def _chunk_starts(self, level: int) -> list[range]:
        return [range(0, n, c) for n, c in zip(self.level_shape(level), self.chunks, strict=True)]

    def chunk(self, level: int, index: int) -> Place:
        """The place of a chunk of a level."""
        starts = self._chunk_starts(level)
        at = np.unravel_index(index, [len(each) for each in starts])
        sizes = zip(starts, at, self.chunks, self.level_shape(level), strict=True)
        return tuple(slice(each[i], min(each[i] + c, n)) for each, i, c, n in sizes)

    def read_place(self, step: str, index: int) -> Place | None:
        """The part of the source that a piece of a step needs; None if it needs none."""
        if step == "fit":
            return tuple(itertools.chain(*self.block(index)))
        if step == "blend" and self.keeps_known:
            return self.chunk(0, index)
        return None

    def made_of(self, step: str, index: int) -> tuple[str, list[int]]:
        """The earlier step, and its pieces, that a piece of a step is made of."""
        if step == "blend":
            chunk = self.chunk(0, index)
            slice_ = self.slice_of(chunk)
            tiles = self.finer.within(chunk[len(self.lead) :])
            return "fit", [slice_ * len(self.tiles) + self.finer.index(place) for place in tiles]
        level = int(step.partition(" ")[2])
        chunk = self.finer_place(level, index)
        if level == 1 and self.direct:
            return "fit", [self.slice_of(chunk)]
        starts = self._chunk_starts(level - 1)
        at = [
            range(c.start // n, -(-min(c.stop, size) // n))
            for c, n, size in zip(chunk, self.chunks, self.level_shape(level - 1), strict=True)
        ]
        counts = [len(each) for each in starts]
        before = "blend" if level == 1 else f"level {level - 1}"
        return before, [int(np.ravel_multi_index(each, counts)) for each in itertools.product(*at)]

    def finer_place(self, level: int, index: int) -> Place:
        """The place in the level before that a chunk of a level is made of; what is beyond its end is cut."""
        ratio = [b // a for a, b in zip(self.levels[level - 1], self.levels[level], strict=True)]
        return tuple(slice(c.start * r, c.stop * r) for c, r in zip(self.chunk(level, index), ratio, strict=True))

    def slice_of(self, chunk: Place) -> int:
        """The number of the slice that a chunk is in."""
        return int(np.ravel_multi_index([c.start for c in chunk[: len(self.lead)]], self.lead)) if self.lead else 0

    @property
    def keeps_known(self) -> bool:
        return TASKS[self.task].fills_holes and self.settings.keep_known

    def level_array(self, level: int) -> Any:
        return zarr.open_array(f"{self.target}/{level}", mode="r+")

    def check(self) -> None:
        """Raise a `ValueError` if the arrays that it writes are not there, or others."""
        for i in range(len(self.levels)):
            check_array(self.target, str(i), self.level_shape(i), self.dtype)
        if not self.direct:
            name = (self.ledger.work / "tiles").relative_to(self.target).as_posix()
            check_array(self.target, name, (self.blocks, *self.finer.tile), self.real)

    @property
    def tile_array(self) -> Any:
        """The fitted tiles (blocks, *tile), while they are not blended yet."""
        return zarr.open_array(self.ledger.work / "tiles", mode="r+")


def check_array(target: str | os.PathLike[str], name: str, *wanted: Any) -> None:
    """Raise a `ValueError` if an array of a target is not there, or not of the shape and type that are wanted."""
    try:
        array = zarr.open_array(f"{os.fspath(target)}/{name}", mode="r")
        what = f"has shape and type {(array.shape, array.dtype)}"
        if not wanted or (array.shape, array.dtype) == wanted:
            return
    except Exception:  # zarr raises anything for a damaged one
        what = "is missing or damaged"
    raise ValueError(
        f"{os.fspath(target)} is damaged: its array {name} {what}; overwrite it to begin anew, or name another target"
    )


def fit(
    plan: Plan,
    index: int,
    part: Part,
    mask: Part | None,
    *,
    should_stop: Callable[[], bool] | None = None,
    interval: float = np.inf,
) -> Work:
    """Restore a block."""
    ledger = plan.ledger
    if not ledger.alive:
        return
    should_stop = should_stop or ledger.stopping()
    lead, _ = plan.block(index)
    values, missing = known(part, mask)
    values, missing = (each.reshape(plan.tiles.tile) for each in (values, missing))
    restored: Array | None = None
    entry: dict[str, Any] = {"empty": True}
    if not missing.all():
        entry = {}
        if plan.keeps_known and not missing.any():
            restored = values.astype(plan.dtype if plan.direct else plan.real)
        else:
            result = yield from _restored(plan, index, values, missing, should_stop, interval)
            if not result.complete and should_stop():
                return
            restored, entry = result.image, _entry(result)
    if not ledger.alive:  # another run has taken its place meanwhile
        return
    if restored is not None:
        if plan.direct:
            plan.level_array(0)[lead] = restored.reshape([1] * len(lead) + list(restored.shape))
        else:
            plan.tile_array[index] = restored
    ledger.mark("fit", index, entry)


def blend(plan: Plan, index: int, part: Part | None = None, mask: Part | None = None, **_: Any) -> Work:
    """Put together a chunk of the result."""
    yield from ()
    if not plan.ledger.alive:
        return
    result = blended(plan, index)
    if part is not None:
        values, missing = known(part, mask)
        result = np.where(missing, result, values.astype(plan.dtype))
    if not plan.ledger.alive:
        return
    plan.level_array(0)[plan.chunk(0, index)] = result
    _mark(plan, "blend", index)


def blended(plan: Plan, index: int) -> Array:
    """A chunk of the result, of the tiles that have a share in it and are fitted so far; NaN where none is."""
    chunk, tiles, fitted = plan.chunk(0, index), plan.finer, plan.tile_array
    slice_, space = plan.slice_of(chunk), chunk[len(plan.lead) :]
    size = [each.stop - each.start for each in space]
    total, weight = np.zeros(size, plan.real), np.zeros(size, plan.real)
    low, high = np.full(size, np.inf, plan.real), np.full(size, -np.inf, plan.real)
    for place in tiles.within(space):
        shared = [slice(max(s.start, p.start), min(s.stop, p.stop)) for s, p in zip(space, place, strict=True)]
        here, there = (
            tuple(slice(c.start - p.start, c.stop - p.start) for c, p in zip(shared, origin, strict=True))
            for origin in (space, place)
        )
        values = fitted[(slice_ * len(tiles) + tiles.index(place), *there)]
        weights = np.where(np.isfinite(values), tiles.weights(place)[there], 0)
        total[here] += weights * np.nan_to_num(values)
        weight[here] += weights
        low[here], high[here] = np.fmin(low[here], values), np.fmax(high[here], values)
    with np.errstate(invalid="ignore"):  # nothing is known there
        same = np.where(low == high, low, total / weight)  # padding, bit by bit
        result = to_dtype(same.astype(np.float64), plan.dtype)
    return np.asarray(result.reshape([each.stop - each.start for each in chunk]))


def halve(plan: Plan, index: int, *_: None, level: int = 0, **__: Any) -> Work:
    """Make a chunk of a level of the pyramid of the level before."""
    yield from ()
    if not plan.ledger.alive:
        return
    chunk = plan.chunk(level, index)
    ratio = [b // a for a, b in zip(plan.levels[level - 1], plan.levels[level], strict=True)]
    values = coarser(plan.level_array(level - 1)[plan.finer_place(level, index)], ratio)
    if not plan.ledger.alive:
        return
    plan.level_array(level)[chunk] = values
    _mark(plan, f"level {level}", index)


def _mark(plan: Plan, step: str, index: int) -> None:
    """Mark a piece as done, unless one that it is made of has failed: then it is made again after that."""
    before, indices = plan.made_of(step, index)
    if all(plan.ledger.has(before, each) for each in indices):
        plan.ledger.mark(step, index, {})


def extremes(index: int, part: Part, mask: Part | None, skip_padding: bool = False) -> tuple[float, float] | None:
    """The smallest and the largest known pixel of a part, a slice of space."""
    values, missing = known(part, mask)
    if skip_padding:
        missing = missing | padding_of(values, missing)
    some = values[~missing]
    return (float(some.min()), float(some.max())) if some.size else None


def marked(index: int, mask: Part) -> str:
    """A fingerprint of which pixels of a part are missing."""
    return record.fingerprint(mask.read() != 0)


def whole(index: int, step: str, plan: Plan, part: Part | None, mask: Part | None) -> None:
    """Do a piece of a step to its end."""
    for _ in piece(plan, step, index, part, mask):
        pass


def piece(plan: Plan, step: str, index: int, part: Part | None, mask: Part | None, **pace: Any) -> Work:
    """A piece of a step."""
    name, _, level = step.partition(" ")
    which: dict[str, Callable[..., Work]] = {"fit": fit, "blend": blend, "level": halve}
    return which[name](plan, index, part, mask, **pace, **({"level": int(level)} if level else {}))


def _restored(
    plan: Plan, index: int, values: Array, missing: Array, should_stop: Callable[[], bool], interval: float
) -> Generator[Progress, None, Result]:
    """The result of a block by itself, with the scaling and the noise of the whole and a seed of its own."""
    lead, place = plan.block(index)
    noise, task = plan.noise, plan.task
    if noise is not None:
        noise = noise.moved(plan.level, mean_of(values[~missing]))
    settings = plan.settings.changed(
        seed=seed_at(plan.settings.seed, [each.start for each in (*lead, *place)]),
        tile=max(16, *plan.tiles.tile),  # said, so that free memory has no say in it: a block is one fit
        overlap=0,
        output_dtype=plan.settings.output_dtype if plan.direct else "float32",
    )
    if not missing.any():  # of which all is restored, as the user wishes
        task = TASKS[task].where_whole or task
    camera: dict[str, Any] = {} if noise else dict(plan.camera)
    with quietly():  # a thousand blocks would say the same a thousand times
        run = iterate(
            task,
            values,
            missing,
            intensity_range=plan.intensity_range,
            image_noise=noise,
            settings=settings,
            should_stop=should_stop,
            interval=interval,
            factor=plan.factors if "factor" in TASKS[task].takes else None,
            **plan.instrument,
            **camera,
        )
    with contextlib.closing(run):
        while True:
            with quietly():  # not across a yield
                progress = next(run, None)
            if progress is None:
                break
            yield progress
    if any(event.kind == "out of memory" for event in run.result.history.events):
        raise MemoryError(run.result.stop_reason)
    return run.result


def _entry(result: Result) -> dict[str, Any]:
    """What is written down of the fit of a block."""
    return {
        "iterations": result.iterations,
        "seconds": round(result.seconds, 3),
        "complete": result.complete,
        "stop_reason": result.stop_reason,
        "padding_pixels": result.record["padding_pixels"],
        "bad_pixels": result.record["bad_pixels"],
        "verdict": None if result.verdict is None else result.verdict.ok,
    }


def known(part: Part, mask: Part | None) -> tuple[Array, Array]:
    """The values of a part, and True where they are not known."""
    values = part.read()
    missing = ~np.isfinite(values)
    if mask is not None:
        missing = missing | np.broadcast_to(mask.read() != 0, values.shape)
    return values, missing
