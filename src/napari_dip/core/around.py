"""Tiles around the holes of an image: where all else comes back as measured, nothing else needs a fit.

What fills a hole is found within some tens of pixels around it, and the time of a fit is proportional to its pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt
from scipy import ndimage  # type: ignore[import-untyped]

from napari_dip.core.tiling import Place, Tiling, rise, tiles_of
from napari_dip.tables.settings import Settings

# Measured at 256x256: benchmarks/NOTES.md, "Tiles around holes".
MARGIN = 32  # pixels around a hole, or as many as it is wide: similar patches are looked for within 24
_MULTIPLE = 32  # pixels that the sides of a tile are a multiple of: five scales compute so many anyway
_TOGETHER = 8  # pixels from a missing pixel to where it meets the reach of another one, and both are one hole
_MOST = 0.5  # share of the image that tiles around holes may have: else it is fitted whole

_Boxes = npt.NDArray[np.int64]  # (n, 3, axes): first pixel, the one behind the last, and pixels around these


@dataclass(frozen=True)
class Around:
    """An image (*shape) of which only tiles around its holes are fitted, each of a size of its own.

    Attributes
    ----------
    shape : tuple of int
    places : tuple of Place
        Of the tiles, which may overlap.
    holes : tuple of Place
        What each is to fill: the box around its holes.
    """

    shape: tuple[int, ...]
    places: tuple[Place, ...]
    holes: tuple[Place, ...]
    whole = False

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Place]:
        return iter(self.places)

    def seen_by(self, image_shape: Callable[[tuple[int, ...]], tuple[int, ...]]) -> Around:
        """Itself: what is missing of an image is on its own grid."""
        return self

    def weights(self, place: Place) -> npt.NDArray[np.float32]:
        """Weights (*tile) of the tile at `place`: one in the box around its holes, next to nothing at its rim."""
        rows = []
        for tile, hole in zip(place, self.holes[self.places.index(place)], strict=True):
            before, after = hole.start - tile.start, tile.stop - hole.stop
            rows.append(np.concatenate([rise(before), np.ones(hole.stop - hole.start), rise(after)[::-1]]))
        return np.asarray(reduce(np.multiply.outer, rows), np.float32)


Tiles = Tiling | Around


def tiles_for(shape: tuple[int, ...], settings: Settings, holes: Around | None) -> Tiles:
    """Tiles of an observation (*shape): those around its holes, if there are such and the user names none."""
    return tiles_of(shape, settings) if settings.tile or holes is None else holes


def around(wanted: npt.NDArray[np.bool_] | None) -> Around | None:
    """Tiles around the pixels that are wanted; None where they would be most of the image, or nothing is wanted.

    Holes share a tile where that has no more pixels than two would.
    """
    if wanted is None or np.count_nonzero(wanted) > _MOST * wanted.size:
        return None
    near = ndimage.maximum_filter(wanted, 2 * _TOGETHER + 1)
    labels, _ = ndimage.label(near, np.ones((3,) * wanted.ndim))
    found = ndimage.find_objects(np.where(wanted, labels, 0))
    if not found:
        return None
    shape = wanted.shape
    low, high = (np.array([[getattr(part, end) for part in box] for box in found]) for end in ("start", "stop"))
    margins = np.maximum(MARGIN, (high - low).min(1, keepdims=True))
    boxes = np.stack([low, high, np.broadcast_to(margins, low.shape)], 1)
    covered = np.zeros(shape, bool)
    for place in _places(*_corners(boxes, shape)):
        covered[place] = True
    if np.count_nonzero(covered) > _MOST * wanted.size:  # which a merger makes no less
        return None
    boxes = _merged(boxes, shape)
    corners, sides = _corners(boxes, shape)
    if sides.prod(1).sum() > _MOST * wanted.size:
        return None
    return Around(shape, tuple(_places(corners, sides)), tuple(_places(boxes[:, 0], boxes[:, 1] - boxes[:, 0])))


def _merged(boxes: _Boxes, shape: tuple[int, ...]) -> _Boxes:
    """Boxes of holes, those in one that share a tile."""
    pixels, index = _pixels(boxes, shape), 0
    while index < len(boxes):
        low, most = np.minimum(boxes[:, :1], boxes[index, :1]), np.maximum(boxes[:, 1:], boxes[index, 1:])
        both = np.concatenate([low, most], 1)
        saved = pixels + pixels[index] - _pixels(both, shape)
        saved[index] = -1
        other = int(saved.argmax())
        if saved[other] < 0:
            index += 1
            continue
        boxes = np.concatenate([np.delete(boxes, [index, other], 0), both[other : other + 1]])
        pixels, index = _pixels(boxes, shape), 0
    return boxes[np.lexsort(boxes[:, 0].T[::-1])]


def _corners(boxes: _Boxes, shape: tuple[int, ...]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First pixels and sides, (n, axes) each, of the tiles around boxes."""
    low, high = np.maximum(boxes[:, 0] - boxes[:, 2], 0), np.minimum(boxes[:, 1] + boxes[:, 2], shape)
    sides = np.minimum(-(-(high - low) // _MULTIPLE) * _MULTIPLE, shape)
    return np.clip(low - (sides - (high - low)) // 2, 0, shape - sides), sides


def _pixels(boxes: _Boxes, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Number of pixels of the tiles around boxes."""
    return np.asarray(_corners(boxes, shape)[1].prod(1))


def _places(corners: npt.NDArray[np.int64], sides: npt.NDArray[np.int64]) -> Iterator[Place]:
    for first, side in zip(corners.tolist(), sides.tolist(), strict=True):
        yield tuple(slice(a, a + n) for a, n in zip(first, side, strict=True))
