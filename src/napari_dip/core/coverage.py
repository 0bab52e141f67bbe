"""Coverage of an image by a self-guided fit: sub-grids of independent noise, crops, epochs, and tiles in the end."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from napari_dip.core.generators.unet import multiples
from napari_dip.core.noise.correlation import autocorrelation_of, strides_of
from napari_dip.core.noise.model import Noise
from napari_dip.knobs import SelfGuided

EPOCHS = 80, 110, 250  # epochs for large, small and tiny images
_ENOUGH = 250, 440  # iterations that tiny and small images are raised to, within these epochs
_TILE = {2: 1024, 3: 64}  # pixels along a tile that is predicted at a time
_HALO = {2: 64, 3: 48}  # pixels around it that its prediction looks at


class Grid(NamedTuple):
    """Sub-grid of an image: its stride along each axis, its number of pixels, and the voxel size that results."""

    strides: tuple[int, ...]
    shape: tuple[int, ...]
    voxel_size: tuple[float, ...] | None


def grid_of(noise: Noise, shape: tuple[int, ...], voxel_size: tuple[float, ...] | None = None) -> Grid:
    """Grid of an image (*shape) that the generator is fed: all pixels, or every n-th of them if noise is correlated."""
    if noise.independent:
        return Grid((1,) * len(shape), shape, voxel_size)
    strides = strides_of(autocorrelation_of(noise, shape), shape)
    coarse = tuple(math.ceil(n / stride) for n, stride in zip(shape, strides, strict=True))
    size = tuple(v * stride for v, stride in zip(voxel_size or (1.0,) * len(shape), strides, strict=True))
    return Grid(strides, coarse, size)


def crop_of(shape: tuple[int, ...], method: SelfGuided, voxel_size: tuple[float, ...] | None = None) -> tuple[int, ...]:
    """Shape of the crops of an image (*shape): as many pixels in a volume as in an image, none beyond its canvas."""
    side = round(method.crop ** (2 / len(shape)))
    whole = multiples(method, shape, voxel_size)
    return tuple(min(math.ceil(n / m) * m, max(m, side // m * m)) for n, m in zip(shape, whole, strict=True))


def one_epoch(shape: tuple[int, ...], method: SelfGuided, voxel_size: tuple[float, ...] | None = None) -> float:
    """Iterations of one epoch: each pixel of an image (*shape) has been in one crop, on average."""
    return math.prod(shape) / (method.batch * math.prod(crop_of(shape, method, voxel_size)))


def whole_fit(shape: tuple[int, ...], method: SelfGuided, voxel_size: tuple[float, ...] | None = None) -> int:
    """Iterations of a whole fit: as many epochs as the size of an image (*shape) asks for."""
    one, (large, small, most) = one_epoch(shape, method, voxel_size), EPOCHS
    few, many = _ENOUGH
    return math.ceil(one * min(most, max(few / one, min(small, max(large, many / one)))))


def tiles(shape: tuple[int, ...], multiple: int) -> Iterator[tuple[tuple[slice, ...], ...]]:
    """Cut an image into tiles: the place predicted, the place it is predicted from, and the first within the second."""
    side, halo = _side_and_halo(len(shape), multiple)
    for corner in itertools.product(*(range(0, n, side) for n in shape)):
        inner = tuple(slice(c, min(c + side, n)) for c, n in zip(corner, shape, strict=True))
        outer = tuple(slice(max(0, i.start - halo), min(n, i.stop + halo)) for i, n in zip(inner, shape, strict=True))
        within = tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))
        yield inner, outer, within


def largest_tile(shape: tuple[int, ...], multiple: int) -> tuple[int, ...]:
    """Shape of the largest tile of an image (*shape) that is predicted at a time, with the pixels around it."""
    side, halo = _side_and_halo(len(shape), multiple)
    return tuple(min(n, side + 2 * halo) for n in shape)


def _side_and_halo(ndim: int, multiple: int) -> tuple[int, int]:
    side, halo = (max(1, round(n[ndim] / multiple)) * multiple for n in (_TILE, _HALO))
    return side, halo
