"""One block of a large array, in whatever process: read, restored or blended, written, marked as done.

A block is one slice of the leading axes (time, channel, z) and one tile of space, of all channels where these are
restored together. Nothing depends on the order of the blocks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip import record
from napari_dip.core.noise.model import Noise
from napari_dip.core.result import Progress, Result
from napari_dip.core.state import OUT_OF_MEMORY
from napari_dip.core.telling import quietly
from napari_dip.core.tiling import seed_at
from napari_dip.cost import fitted
from napari_dip.defects import Skips
from napari_dip.inputs import Slices, as_code
from napari_dip.io.arrays import Part, Place, read_known
from napari_dip.plan import Plan
from napari_dip.run import Run
from napari_dip.zarrtarget import ZarrTarget

Array = npt.NDArray[Any]
Work = Generator[Progress, None, None]


@dataclass(frozen=True)
class Blocks:
    """The blocks of a run, which share a plan, the range and the mean of a guide, and a target."""

    plan: Plan
    target: ZarrTarget
    guide_range: tuple[float, float, float] | None = None

    def read_place(self, step: str, index: int) -> Place | None:
        """The part of the source that a piece of a step needs; None if it needs none."""
        if step == "fit":
            return self.target.grid.place(index)
        return self.target.image.chunk(0, index) if step == "blend" and self.plan.units.keeps_known else None

    def work(
        self, index: int, step: str, part: Part | None, mask: Part | None, guide: Part | None, **pace: Any
    ) -> Work:
        """Do a piece of a step; `pace` holds what `fit` is told about stopping and showing."""
        if step == "fit":
            assert part is not None
            yield from self.fit(index, part, mask, guide, **pace)
        else:
            self.target.compose(step, index, None if part is None else read_known(part, mask))

    def finish(self, index: int, *piece: Any) -> None:
        """`work` to its end, on a worker."""
        for _ in self.work(index, *piece):
            pass

    def fit(
        self,
        index: int,
        part: Part,
        mask: Part | None,
        guide: Part | None,
        *,
        should_stop: Callable[[], bool] | None = None,
        interval: float = np.inf,
    ) -> Work:
        """Restore a block."""
        target = self.target
        if not target.ledger.alive:
            return
        should_stop = should_stop or target.ledger.stopping()
        values, missing = (each.reshape(target.grid.block) for each in read_known(part, mask))
        if missing.all():
            target.put(index, None)
        elif self.plan.units.keeps_known and not missing.any():
            target.put(index, values)
        else:
            result = yield from self._restored(index, values, missing, guide, should_stop, interval)
            if result.complete or not should_stop():
                target.keep(index, result)

    def _restored(
        self,
        index: int,
        values: Array,
        missing: Array,
        guide: Part | None,
        should_stop: Callable[[], bool],
        interval: float,
    ) -> Generator[Progress, None, Result]:
        """The result of a block by itself, with a seed of its own."""
        pace = {"should_stop": should_stop, "interval": interval, "snapshot_every": 0, "finish": False}
        kind = self.plan.settings.output_dtype if self.target.image.direct else "float32"
        plan = self.plan_of(index, values, missing, guide, output_dtype=kind)
        with quietly():  # a thousand blocks would say the same a thousand times
            run = Run(fitted(plan), None, pace)
        with contextlib.closing(run):
            while True:
                with quietly():  # not across a yield
                    progress = next(run, None)
                if progress is None:
                    break
                yield progress
        if any(event.kind == OUT_OF_MEMORY for event in run.result.history.events):
            raise MemoryError(run.result.stop_reason)
        return run.result

    def plan_of(self, index: int, values: Array, missing: Array, guide: Part | None, **changes: Any) -> Plan:
        """Plan of a block (C, *tile), with changes to its settings."""
        grid = self.target.grid
        return self.plan.of_block(
            values,
            missing,
            None if guide is None else self._code(index, guide),
            seed=seed_at(self.plan.settings.seed, [each.start for each in grid.place(index)]),
            tile=max(16, *grid.tiles.tile),  # a block is one fit
            overlap=0,
            **changes,
        )

    def _code(self, index: int, guide: Part) -> npt.NDArray[np.float32]:
        """The guide of a block (G, *sought); beyond the border of the array it is mirrored."""
        assert self.guide_range is not None
        grid = self.target.image.grid
        place, edges = grid.with_margin(grid.place(index), self.plan.request.margin)
        shape = [each.stop - each.start for each in place[len(grid.lead) :]]
        code = as_code(guide.read().reshape(-1, *shape), *self.guide_range)
        return np.pad(code, [(0, 0), *edges], mode="symmetric")


def extremes(
    index: int, part: Part, mask: Part | None, block: tuple[int, ...], skips: Skips, noise: Noise | None
) -> tuple[float, float] | None:
    """The smallest and the largest known pixel of a block (C, *tile), without what is left out."""
    values, missing = (each.reshape(1, *block) for each in read_known(part, mask))
    slices = skips.pixels(skips.areas(Slices(values, missing, (), 0)), noise)
    some = slices.values[~slices.missing]
    return (float(some.min()), float(some.max())) if some.size else None


def marked(index: int, mask: Part) -> tuple[str]:
    """A fingerprint of which pixels of a part are missing."""
    return (record.fingerprint(mask.read() != 0),)


def guided(index: int, guide: Part) -> tuple[str, float, float, float, int]:
    """A fingerprint of a part of a guide; its smallest and largest finite value, their sum and their number."""
    values = guide.read()
    finite = values[np.isfinite(values)].astype(np.float64)
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (np.inf, -np.inf)
    return record.fingerprint(values), low, high, float(finite.sum()), finite.size
