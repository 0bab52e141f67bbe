"""Survey of a whole array before its first block: the range of its pixels, and what lies beside it.

Each part is read once, here or on the workers, in any order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from napari_dip.core.intensity import Scaling
from napari_dip.core.noise.model import Noise
from napari_dip.io.arrays import Part, Unreadable, read_known
from napari_dip.plan.defects import Skips
from napari_dip.plan.inputs import Slices
from napari_dip.plan.plan import Plan
from napari_dip.plan.values import BLANK
from napari_dip.run.blocks.cluster import outcomes
from napari_dip.run.blocks.order import Order
from napari_dip.run.blocks.result import BlockProgress, Step
from napari_dip.tables import record

Pieces = Iterator[tuple[int, tuple[Any, ...]]]


@dataclass(frozen=True)
class Survey:
    """The survey of the array of an order, which ends early if the user stops it."""

    order: Order
    client: Any
    should_stop: Callable[[], bool]

    def scaling(self, plan: Plan) -> Generator[BlockProgress, None, Scaling | None]:
        """The scaling of the whole array, which is read for it unless the user has said a range."""
        limits = self.order.request.intensity_range
        if limits is not None and plan.noise is not None:  # else no sample has a known pixel, and perhaps none has
            return Scaling(*limits)
        measured = yield from self._extremes(plan.noise)
        if measured is None and not self.should_stop():
            raise ValueError("source has no finite pixel; NaN, infinite and masked pixels count as missing")
        low, high = limits or measured or (0.0, 0.0)
        return Scaling(low, high) if low < high else None

    def beside(self, name: str) -> Generator[BlockProgress, None, list[Any]]:
        """Fingerprints, and more, of all parts of an array beside the source, in order; fewer if the user stops."""
        parts, found = self.order.parts_of(name), dict[int, Any]()

        def settle(index: int, outcome: Any) -> None:
            if isinstance(outcome, Unreadable):
                raise outcome
            found[index] = outcome

        look = {"mask": _marked, "guide": _guided}[name]
        yield from self._measure(look, ((i, (part,)) for i, part in enumerate(parts)), len(parts), settle)
        return [found[i] for i in sorted(found)]

    def _extremes(self, noise: Noise | None) -> Generator[BlockProgress, None, tuple[float, float] | None]:
        """The smallest and the largest known pixel of the whole array; None if there is none."""
        order = self.order
        skips = Skips.of(order.request.task, order.settings, order.changes)
        found, flat, damage = list[float](), list[float](), list[Unreadable]()

        def settle(_: int, limits: Any) -> None:
            if isinstance(limits, Unreadable):
                damage.append(limits)
            elif limits is not None:  # a part of one value alone is padding, unless there is nothing else
                (flat if skips.padding and limits[0] == limits[1] else found).extend(limits)

        grid = order.grid
        pieces = ((i, (*order.parts(grid.place(i)), grid.block)) for i in range(len(grid)))
        yield from self._measure(partial(_extremes, skips=skips, noise=noise), pieces, len(grid), settle)
        known = found or flat
        if damage and not known:
            raise damage[-1]
        return (min(known), max(known)) if known else None

    def _measure(
        self, function: Callable[..., Any], pieces: Pieces, count: int, settle: Callable[[int, Any], None]
    ) -> Generator[BlockProgress, None, None]:
        """Call a function for all pieces, in any order; `settle` gets what it returns, or why a piece is unreadable."""
        step = Step("measure", count)
        for index, found in outcomes(function, pieces, self.client, self.should_stop):
            if isinstance(found, BaseException) and not isinstance(found, Unreadable):
                raise found
            settle(index, found)
            step.done += 1
            yield step.progress()


def joined(found: list[Any]) -> str:
    """One fingerprint of those of all parts."""
    return hashlib.sha256("".join(each[0] for each in found).encode()).hexdigest()


def range_of(found: list[Any]) -> tuple[float, float, float]:
    """Smallest and largest value of a guide, and its mean, by those of its parts."""
    _, low, high, total, count = zip(*found, strict=True)
    if min(low) >= max(high):
        raise ValueError(BLANK)
    return min(low), max(high), sum(total) / sum(count)


def _extremes(
    index: int, part: Part, mask: Part | None, block: tuple[int, ...], skips: Skips, noise: Noise | None
) -> tuple[float, float] | None:
    """The smallest and the largest known pixel of a block (C, *tile), without what is left out."""
    values, missing = (each.reshape(1, *block) for each in read_known(part, mask))
    slices = skips.pixels(skips.areas(Slices(values, missing, (), 0)), noise)
    some = slices.values[~slices.missing]
    return (float(some.min()), float(some.max())) if some.size else None


def _marked(index: int, mask: Part) -> tuple[str]:
    """A fingerprint of which pixels of a part are missing."""
    return (record.fingerprint(mask.read() != 0),)


def _guided(index: int, guide: Part) -> tuple[str, float, float, float, int]:
    """A fingerprint of a part of a guide; its smallest and largest finite value, their sum and their number."""
    values = guide.read()
    finite = values[np.isfinite(values)].astype(np.float64)
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (np.inf, -np.inf)
    return record.fingerprint(values), low, high, float(finite.sum()), finite.size
