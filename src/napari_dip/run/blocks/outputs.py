"""The images that a run over blocks writes, and how blocks, chunks and levels of them belong together."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.intensity import to_dtype
from napari_dip.io.arrays import Place
from napari_dip.run.blocks.grid import Grid

Array = npt.NDArray[Any]
IMAGE = ""  # the name of the restored image


@dataclass(frozen=True, kw_only=True)
class Output:
    """The restored image, or a map that comes with it.

    Attributes
    ----------
    name : str
        `IMAGE`, or that of the map and of its group within the target.
    grid : Grid
        Blocks, on the grid of this image.
    dtype, real : dtype
        Of the image, and of its tiles while they are not blended yet: float32, or float64 where that does not hold it.
    chunks : tuple of int
    levels : tuple of tuple of int
        By how much each level of the pyramid is coarser, along all axes.
    """

    name: str
    grid: Grid
    dtype: np.dtype[Any]
    real: np.dtype[Any]
    chunks: tuple[int, ...]
    levels: tuple[tuple[int, ...], ...]

    @property
    def direct(self) -> bool:
        """True if a slice is one block, which nothing has to be blended with."""
        return len(self.grid.tiles) == 1

    @property
    def kept_shape(self) -> tuple[int, ...]:
        """Shape of the fitted tiles (blocks, C, *tile)."""
        return (len(self.grid), *self.grid.block)

    @property
    def steps(self) -> dict[str, int]:
        """Steps that follow the fits, in order: name -> number of chunks."""
        of = f" of {self.name}" if self.name else ""
        blend = {} if self.direct else {f"blend{of}": self.count(0)}
        return {**blend, **{f"level {i}{of}": self.count(i) for i in range(1, len(self.levels))}}

    @property
    def bytes(self) -> dict[str, int]:
        """Bytes that the fits, and the steps that follow them, write at most: compressed they are fewer."""
        levels = [math.prod(self.level_shape(i)) * self.dtype.itemsize for i in range(len(self.levels))]
        fits = levels.pop(0) if self.direct else math.prod(self.kept_shape) * self.real.itemsize
        return {"fit": fits, **dict(zip(self.steps, levels, strict=True))}

    def path(self, level: int) -> str:
        """Path of a level within the target."""
        return f"{self.name}/{level}".lstrip("/")

    @property
    def kept(self) -> str:
        """The name of the array of fitted tiles in the folder of what is only needed meanwhile."""
        return f"tiles {self.name}".strip().replace(" ", "-")

    def level_shape(self, level: int) -> tuple[int, ...]:
        return tuple(math.ceil(n / f) for n, f in zip(self.grid.shape, self.levels[level], strict=True))

    def count(self, level: int) -> int:
        """Chunks of a level."""
        return math.prod(map(len, self._starts(level)))

    def _starts(self, level: int) -> list[range]:
        return [range(0, n, c) for n, c in zip(self.level_shape(level), self.chunks, strict=True)]

    def chunk(self, level: int, index: int) -> Place:
        """The place of a chunk of a level."""
        starts = self._starts(level)
        at = np.unravel_index(index, [len(each) for each in starts])
        sizes = zip(starts, at, self.chunks, self.level_shape(level), strict=True)
        return tuple(slice(each[i], min(each[i] + c, n)) for each, i, c, n in sizes)

    def finer_place(self, level: int, index: int) -> Place:
        """The place in the level before that a chunk of a level is made of; what is beyond its end is cut."""
        ratio = self.ratio(level)
        return tuple(slice(c.start * r, c.stop * r) for c, r in zip(self.chunk(level, index), ratio, strict=True))

    def ratio(self, level: int) -> list[int]:
        """Factor along each axis by which a level is coarser than the one before."""
        return [b // a for a, b in zip(self.levels[level - 1], self.levels[level], strict=True)]

    def made_of(self, level: int, index: int) -> tuple[str, list[int]]:
        """The earlier step, and its pieces, that a chunk of a level is made of."""
        chunk = self.finer_place(level, index) if level else self.chunk(0, index)
        slice_, tiles = self.grid.slice_of(chunk), self.grid.tiles
        if self.direct and level <= 1:
            return "fit", [slice_]
        if level == 0:
            places = tiles.within(chunk[len(self.grid.lead) :])
            return "fit", [slice_ * len(tiles) + tiles.index(place) for place in places]
        starts = self._starts(level - 1)
        at = [
            range(c.start // n, -(-min(c.stop, size) // n))
            for c, n, size in zip(chunk, self.chunks, self.level_shape(level - 1), strict=True)
        ]
        counts = [len(each) for each in starts]
        before = [*self.steps][level - 1 - self.direct]
        return before, [int(np.ravel_multi_index(each, counts)) for each in itertools.product(*at)]

    def blended(self, fitted: Any, index: int) -> Array:
        """A chunk, of the tiles (blocks, C, *tile) that have a share in it and are fitted; NaN where none is."""
        chunk, grid, tiles = self.chunk(0, index), self.grid, self.grid.tiles
        slice_, channel, space = grid.slice_of(chunk), grid.channel_of(chunk), chunk[len(grid.lead) :]
        size = [each.stop - each.start for each in space]
        total, weight = np.zeros(size, self.real), np.zeros(size, self.real)
        low, high = np.full(size, np.inf, self.real), np.full(size, -np.inf, self.real)
        for place in tiles.within(space):
            shared = [slice(max(s.start, p.start), min(s.stop, p.stop)) for s, p in zip(space, place, strict=True)]
            here, there = (
                tuple(slice(c.start - p.start, c.stop - p.start) for c, p in zip(shared, origin, strict=True))
                for origin in (space, place)
            )
            values = fitted[(slice_ * len(tiles) + tiles.index(place), channel, *there)]
            weights = np.where(np.isfinite(values), tiles.weights(place)[there], 0)
            total[here] += weights * np.nan_to_num(values)
            weight[here] += weights
            low[here], high[here] = np.fmin(low[here], values), np.fmax(high[here], values)
        with np.errstate(invalid="ignore"):  # nothing is known there
            same = np.where(low == high, low, total / weight)  # padding, bit by bit
            result = to_dtype(same.astype(np.float64), self.dtype)
        return np.asarray(result.reshape([each.stop - each.start for each in chunk]))
