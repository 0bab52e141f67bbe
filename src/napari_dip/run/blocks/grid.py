"""Blocks of an array: each is one slice of its leading axes, with all channels, and one tile of space."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from napari_dip.core.tiling import Tiling
from napari_dip.io.arrays import Place

Edges = list[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The blocks of an array (*lead, *S), in order.

    Attributes
    ----------
    lead : tuple of int
        Lengths of the leading axes.
    channel_axis : int or None
        One of these, of which a block has all.
    tiles : Tiling
        Tiles of a slice.
    """

    lead: tuple[int, ...]
    tiles: Tiling
    channel_axis: int | None = None

    def __len__(self) -> int:
        return math.prod(self._slices) * len(self.tiles)

    @property
    def _slices(self) -> tuple[int, ...]:
        """Slices along each leading axis."""
        return tuple(1 if axis == self.channel_axis else n for axis, n in enumerate(self.lead))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return (*self.lead, *self.tiles.shape)

    @property
    def channels(self) -> int:
        return 1 if self.channel_axis is None else self.lead[self.channel_axis]

    @property
    def block(self) -> tuple[int, ...]:
        """Shape of a block, (C, *tile)."""
        return (self.channels, *self.tiles.tile)

    def place(self, index: int) -> Place:
        """The place of a block."""
        slice_, tile = divmod(index, len(self.tiles))
        at = np.unravel_index(slice_, self._slices) if self.lead else ()
        lead = [slice(int(i), int(i) + 1) for i in at]
        if self.channel_axis is not None:
            lead[self.channel_axis] = slice(0, self.channels)
        return (*lead, *self.tiles.at(tile))

    def slice_of(self, place: Place) -> int:
        """The number of the slice that a place is in."""
        starts = [0 if axis == self.channel_axis else each.start for axis, each in enumerate(place[: len(self.lead)])]
        return int(np.ravel_multi_index(starts, self._slices)) if self.lead else 0

    def channel_of(self, place: Place) -> int:
        """The channel that a place begins in."""
        return 0 if self.channel_axis is None else int(place[self.channel_axis].start)

    def finer(self, factors: tuple[int, ...]) -> Grid:
        """The same blocks on a grid that is finer by whole factors along the axes of space."""
        return replace(self, tiles=self.tiles.finer(factors))

    def with_margin(self, place: Place, margin: tuple[int, ...]) -> tuple[Place, Edges]:
        """A place with a margin in space as far as the array goes, and the pixels that it lacks at both ends."""
        lead, space = place[: len(self.lead)], place[len(self.lead) :]
        wanted = [(p.start - m, p.stop + m) for p, m in zip(space, margin, strict=True)]
        found = [(max(a, 0), min(b, n)) for (a, b), n in zip(wanted, self.tiles.shape, strict=True)]
        edges = [(low - a, b - high) for (a, b), (low, high) in zip(wanted, found, strict=True)]
        return (*lead, *(slice(*each) for each in found)), edges
