"""Tiles: their places in an image, and the blending of their images without seams.

(The prediction of a self-guided fit has other tiles: one network makes all of them and sees the pixels around each, so
that they agree and only touch. The tiles here each have a fit of their own, and agree within the noise.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np
import numpy.typing as npt

from napari_dip.tables.settings import Settings

Place = tuple[slice, ...]


@dataclass(frozen=True)
class Tiling:
    """An image (*shape) as a grid of overlapping tiles of one size, the first axis slowest.

    Attributes
    ----------
    shape, tile : tuple of int
        Of the image and of each tile.
    corners : tuple of tuple of int
        For each axis where the tiles begin, ascending, from 0 to the last that fits.
    """

    shape: tuple[int, ...]
    tile: tuple[int, ...]
    corners: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return math.prod(map(len, self.corners))

    @property
    def whole(self) -> bool:
        """True if one tile is all of the image."""
        return len(self) == 1

    def __iter__(self) -> Iterator[Place]:
        """The places of all tiles."""
        for corner in itertools.product(*self.corners):
            yield tuple(slice(c, c + n) for c, n in zip(corner, self.tile, strict=True))

    def seen_by(self, image_shape: Callable[[tuple[int, ...]], tuple[int, ...]]) -> Tiling:
        """The tiles of an image that these are the measurements of: of a size that `image_shape` tells."""
        more = image_shape((0,) * len(self.shape))
        corners = tuple(
            tuple(image_shape((c,) * len(self.shape))[axis] - more[axis] for c in each)
            for axis, each in enumerate(self.corners)
        )
        return Tiling(image_shape(self.shape), image_shape(self.tile), corners)

    def finer(self, factors: Sequence[int]) -> Tiling:
        """The same tiles on a grid that is finer by whole factors."""
        return self.seen_by(lambda shape: tuple(n * f for n, f in zip(shape, factors, strict=True)))

    def within(self, place: Place) -> Iterator[Place]:
        """The places of those tiles that have a pixel in `place`."""
        some = tuple(
            tuple(c for c in each if c < part.stop and c + n > part.start)
            for each, n, part in zip(self.corners, self.tile, place, strict=True)
        )
        return iter(Tiling(self.shape, self.tile, some))

    def index(self, place: Place) -> int:
        """Index of a tile in the order of all."""
        at = [each.index(part.start) for each, part in zip(self.corners, place, strict=True)]
        return int(np.ravel_multi_index(at, [len(each) for each in self.corners]))

    def at(self, index: int) -> Place:
        """The place of the tile that comes at an index."""
        at = np.unravel_index(index, [len(each) for each in self.corners])
        corner = [each[i] for each, i in zip(self.corners, at, strict=True)]
        return tuple(slice(c, c + n) for c, n in zip(corner, self.tile, strict=True))

    def weights(self, place: Place) -> npt.NDArray[np.float32]:
        """Weights (*tile) of the tile at `place`: over all tiles they sum to one at each pixel."""
        rows = [self._row(axis, part.start) for axis, part in enumerate(place)]
        return np.asarray(reduce(np.multiply.outer, rows), np.float32)

    def _row(self, axis: int, corner: int) -> npt.NDArray[np.float64]:
        """Weights along one axis: those of a grid are their products."""
        begins, n = self.corners[axis], self.tile[axis]
        own = self._bump(axis, begins.index(corner))
        total = np.zeros(n)
        for i, begin in enumerate(begins):
            shift = begin - corner
            if abs(shift) < n:
                here = slice(max(0, shift), n + min(0, shift))
                there = slice(max(0, -shift), n + min(0, -shift))
                total[here] += self._bump(axis, i)[there]
        return own / total

    def _bump(self, axis: int, i: int) -> npt.NDArray[np.float64]:
        """One, with half a raised cosine over what is shared with the neighbour on either side."""
        begins, n = self.corners[axis], self.tile[axis]
        bump = np.ones(n)
        if i > 0:
            shared = begins[i - 1] + n - begins[i]
            bump[:shared] *= rise(shared)
        if i + 1 < len(begins):
            shared = begins[i] + n - begins[i + 1]
            bump[n - shared :] *= rise(shared)[::-1]
        return bump


def tiling(shape: tuple[int, ...], side: int | Sequence[int], overlap: int | Sequence[int]) -> Tiling:
    """Tiles of an image, as few as there can be, evenly spread.

    Parameters
    ----------
    shape : tuple of int
        Of the image.
    side, overlap : int or sequence of int
        Pixels along a tile, and the least number of them that neighbouring tiles share; for all axes or for each. An
        axis that is not longer than a tile is not cut.

    Raises
    ------
    ValueError
        If the overlap leaves no room for a step from tile to tile.
    """
    sides = [side] * len(shape) if isinstance(side, int) else side
    overlaps = [overlap] * len(shape) if isinstance(overlap, int) else overlap
    corners: list[tuple[int, ...]] = []
    for n, s, o in zip(shape, sides, overlaps, strict=True):
        if n <= s:
            corners.append((0,))
        elif not 0 <= o < s:
            raise ValueError(f"overlap={o} must be at least 0 and less than tile={s}")
        else:
            steps = math.ceil((n - s) / (s - o))
            corners.append(tuple((n - s) * i // steps for i in range(steps + 1)))
    return Tiling(shape, tuple(map(min, shape, sides)), tuple(corners))


def tiles_of(shape: tuple[int, ...], settings: Settings) -> Tiling:
    """Tiles of an observation (*shape): by default one."""
    side = settings.tile or max(shape)
    return tiling(shape, side, settings.overlap or min(max(16, side // 8), side // 2))


def snug(length: int, side: int, overlap: int) -> int:
    """Side that makes as many tiles as `side`, with no more overlap than asked; all of `length` up to 1.5 sides."""
    if length <= 1.5 * side:
        return length
    count = 1 + math.ceil((length - side) / (side - overlap))
    return math.ceil((length + (count - 1) * overlap) / count)


def seed_at(seed: int, place: Sequence[int]) -> int:
    """A seed for what lies at a place: it depends on nothing else, so that the order of the work does not matter."""
    return int(np.random.SeedSequence([seed, *place]).generate_state(1)[0] >> 1)


class Weighted(Protocol):
    """Tiles of an image (*shape) with the weight that each has at its pixels."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def weights(self, place: Place) -> npt.NDArray[np.float32]: ...


class Blend:
    """The image that tiles make, as running sums: its memory is that of the image, whatever the number of tiles."""

    def __init__(self, tiling: Weighted, channels: int) -> None:
        self.tiling = tiling
        self._sum = np.zeros((channels, *tiling.shape), np.float32)
        self._weight = np.zeros(tiling.shape, np.float32)

    def add(self, place: Place, values: npt.ArrayLike) -> None:
        """Add what was made of the tile at a place, (C, *tile) or one value for all of it."""
        weights = self.tiling.weights(place)
        self._sum[(slice(None), *place)] += weights * np.asarray(values)
        self._weight[place] += weights

    def image(self) -> npt.NDArray[np.float32]:
        """The mean of the tiles so far, (C, *shape); NaN where there is none."""
        with np.errstate(invalid="ignore"):  # 0 / 0
            return np.asarray(self._sum / self._weight)

    def onto(self, place: Place, values: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """`image` with one more tile, which is not added."""
        image, there, weights = self.image(), (slice(None), *place), self.tiling.weights(place)
        image[there] = (self._sum[there] + weights * np.asarray(values)) / (self._weight[place] + weights)
        return image


def rise(n: int) -> npt.NDArray[np.float64]:
    """Rise from 0 to 1 at the middles of n pixels: with its mirror image it sums to one."""
    return np.asarray(np.sin(np.pi / 2 * (np.arange(n) + 0.5) / n) ** 2)
