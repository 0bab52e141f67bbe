"""The blocks of a large array, in whatever process: each is read, restored, written, and marked as done.

A block is one slice of the leading axes (time, channel, z) and one tile of space, of all channels where these are
restored together. Nothing depends on the order of the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.result import Progress
from napari_dip.core.telling import quietly
from napari_dip.core.tiling import seed_at
from napari_dip.io.arrays import Part, Place, read_known
from napari_dip.plan.cost import fitted
from napari_dip.plan.plan import Plan
from napari_dip.plan.values import as_code
from napari_dip.run.blocks.target import FIT, ZarrTarget
from napari_dip.run.fits import Fit, Unfitted
from napari_dip.run.loop import Loop

Array = npt.NDArray[Any]
Parts = tuple[Any, ...]  # of source, mask and guide, where there are any


@dataclass(frozen=True)
class Blocks:
    """The blocks of a run, which share a plan, the range and the mean of a guide, and a target."""

    plan: Plan
    target: ZarrTarget
    guide_range: tuple[float, float, float] | None = None

    def loop(self, parts: Callable[[int], Parts], due: Iterable[int], **pace: Any) -> Loop:
        """The loop over blocks, of which `parts` tells what they read."""
        return Loop(
            lambda index, **how: self._piece(index, *parts(index), **how),
            due,
            self.target,
            self.plan.settings,
            self.plan.device.name,
            count=len(self.target.grid),
            **pace,
        )

    def restore(self, index: int, *parts: Part | None) -> None:
        """Restore a block, on a worker."""
        pace = {"should_stop": self.target.ledger.stopping(), "interval": np.inf}
        loop = self.loop(lambda _: parts, [index], **pace)
        with quietly(), loop as outcomes:
            for _, outcome in outcomes:
                if not isinstance(outcome, Progress) and (error := loop.settle(index, outcome)):
                    raise error

    def compose(self, step: str, index: int, part: Part | None, mask: Part | None) -> None:
        """Make a chunk of the image, in one of the steps that follow the fits."""
        self.target.compose(step, index, None if part is None else read_known(part, mask))

    def read_place(self, step: str, index: int) -> Place | None:
        """The part of the source that a piece of a step needs; None if it needs none."""
        if step == FIT:
            return self.target.grid.place(index)
        return self.target.image.chunk(0, index) if step == "blend" and self.plan.units.keeps_known else None

    def _piece(self, index: int, part: Part, mask: Part | None, guide: Part | None, **how: Any) -> Fit | Unfitted:
        """The fit of a block by itself, or the block where there is nothing to fit."""
        if not self.target.ledger.alive:  # nothing is written any more
            return Unfitted(None)
        values, missing = (each.reshape(self.target.grid.block) for each in read_known(part, mask))
        if missing.all():
            return Unfitted(None)
        if self.plan.units.keeps_known and not missing.any():
            return Unfitted(values)
        kind = self.plan.settings.output_dtype if self.target.image.direct else "float32"
        plan = fitted(self.plan_of(index, values, missing, guide, output_dtype=kind))
        trivial = plan.units.trivial(0)
        return Fit(plan, 0, **how) if trivial is None else Unfitted(trivial, plan.slices)

    def plan_of(self, index: int, values: Array, missing: Array, guide: Part | None, **changes: Any) -> Plan:
        """Plan of a block (C, *tile), with changes to its settings."""
        grid, around = self.target.grid, self.plan.fills_alone and not self.plan.settings.tile
        return self.plan.of_block(
            values,
            missing,
            None if guide is None else self._code(index, guide),
            seed=seed_at(self.plan.settings.seed, [each.start for each in grid.place(index)]),
            tile=0 if around else max(16, *grid.tiles.tile),  # a block is one fit, if not of what surrounds its holes
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
