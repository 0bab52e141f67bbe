"""Coverage of an image by a self-guided fit, and its cost: sub-grids, crops, epochs, and tiles in the end."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from napari_dip.core.forward import WEIGHTS, FitCost, Peak, Shape, Size, memory_of, passed, work_of
from napari_dip.core.generators.unet import multiples
from napari_dip.core.methods import bins, nlridge
from napari_dip.core.methods.groups import WORKERS, strip_of
from napari_dip.core.methods.nlridge import COMPARED
from napari_dip.core.noise.correlation import autocorrelation_of, strides_of
from napari_dip.core.noise.model import Noise
from napari_dip.tables.knobs import FitKnobs, SelfGuided

EPOCHS = 32, 65, 250  # epochs for large, small and tiny images
_ENOUGH = 420, 520  # iterations that tiny and small images are raised to, within these epochs
_ENOUGH_SHARED = 130, 520  # of correlated noise, which is not quite independent on the sub-grids
_TILE = {2: 1024, 3: 64}  # pixels along a tile that is predicted at a time
_HALO = {2: 64, 3: 48}  # pixels around it that its prediction looks at
# Measured (python -m benchmarks memory): torch 2.13 on processors with glibc.
_PEAK: Peak = {2: {"float32": 1.0, "bfloat16": 0.6}, 3: {"float32": 1.1, "bfloat16": 0.7}}
_PREDICTED = {"float32": 0.3, "bfloat16": 0.155}  # as `_PEAK`, for a prediction: no backward pass
_PATCHES = 1.25  # factor on the buffers of NL-Ridge
_LEFT = 24 * 2**20  # bytes: gaps that a fit leaves to what comes after it
UNDONE = 90  # bytes a pixel: the inverse of the stabilising transform, in float64
#: Work of an iteration, and of a prediction, relative to a forward pass.
_ITERATION, _PREDICTION = np.array([4, 7.7, 3, 0]), np.array([0.5, 3, 1, 0])


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


def whole_fit(shape: Shape, method: SelfGuided, voxel_size: Size | None = None, noise: Noise | None = None) -> int:
    """Iterations of a whole fit: as many epochs as the size of an image (*shape) asks for, and its noise bears."""
    one, (large, small, most) = one_epoch(shape, method, voxel_size), EPOCHS
    few, many = _ENOUGH if noise is None or noise.independent else _ENOUGH_SHARED
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


def iterations_at_most(method: SelfGuided, shape: Shape, voxel_size: Size | None, noise: Noise | None = None) -> int:
    """Iterations of a fit of an image (*shape): a whole fit, unless all that were asked for are to be made."""
    if method.stop == "iterations":
        return method.iterations
    if noise is not None:
        shape, noise = bins.binned(shape, noise)
    return min(method.iterations, whole_fit(shape, method, voxel_size, noise))


def share_is_sought(method: SelfGuided, noise: Noise) -> bool:
    """True if the share of NL-Ridge is estimated, rather than a half: where the noise is no mere guess."""
    return method.similar_patches and not noise.warning


def cost_of(
    method: SelfGuided, image: Shape, noise: Noise, voxel_size: Size | None, *, cpu: bool, filled: float
) -> FitCost:
    """Cost of the fit on crops, NL-Ridge on the image (C, *measured), and the prediction with D4 augmentation."""
    channels, *along = image
    iterations = iterations_at_most(method, tuple(along), voxel_size, noise)
    measured, noise = bins.binned(tuple(along), noise)
    grid = grid_of(noise, measured, voxel_size)
    multiple = multiples(method, grid.shape, grid.voxel_size)
    canvas = tuple(m * math.ceil(n / m) for m, n in zip(multiple, grid.shape, strict=True))
    generator = method, channels, channels, grid.shape, grid.voxel_size
    crops = passed(*generator, crop_of(grid.shape, method, grid.voxel_size), 2 * method.batch)
    seen = largest_tile(canvas, max(multiple))
    predicted = passed(*generator, seen)
    pixels, asked = channels * math.prod(measured), method.similar_patches or method.uncertainty
    sought = share_is_sought(method, noise)
    images = 3 + asked + 8 * sought  # measurement, mask, D4 sum; NL-Ridge; the search for its share
    after = _PREDICTED[method.precision] * predicted.made
    if asked:
        after = max(after, of_patches(channels, measured, method, noise, cpu), UNDONE * pixels)
    whole = 4 * channels * math.prod(canvas) * math.prod(grid.strides)  # bytes of an image
    fit = memory_of(crops, method, len(measured), _PEAK)
    memory = max(fit, (_LEFT if cpu else 0) + WEIGHTS * crops.weights + images * whole + int(after))
    turned = len(set(multiple[-2:])) == len(set(grid.strides[-2:])) == 1
    ways = 2 ** len(measured) * (1 + turned) * (1 + sought)
    scanned = math.prod(canvas) * math.prod(grid.strides) / math.prod(seen) * ways
    work = iterations * work_of(crops, method, _ITERATION)
    work = work + scanned * _PREDICTION * predicted.work(method.precision)
    return FitCost(memory, 3 * crops.weights, work + sought * asked * pixels * COMPARED, asked * pixels * COMPARED)


def of_patches(channels: int, shape: Shape, method: FitKnobs, noise: Noise, cpu: bool) -> float:
    """Bytes of the buffers of NL-Ridge for an image (C, *shape), which it goes through strip by strip."""
    height, width = shape[-2:]
    side = (nlridge.SIZES[-1][2] if noise.independent else nlridge.ON_ALL_PIXELS).side
    strip = strip_of(width, channels)
    rows = min(strip + 2 * nlridge.REACH, height)
    buffers = 3 * 4 * rows * width * channels * side**2  # patches, guides, sums: float32
    distances = 2 * 4 * (min(strip, height) * width / 16) * (2 * nlridge.REACH + 1) ** 2
    workers = min(method.threads, WORKERS, -(-height // strip)) if cpu else 1
    return workers * _PATCHES * (buffers + distances) + 4 * (6 * channels + 1) * height * width
