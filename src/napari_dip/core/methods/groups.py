"""Groups of similar patches of an image: found strip by strip, several at a time, and laid back where they lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dip.core import crew
from napari_dip.core.pauses import part

STEP = 4  # pixels from one reference patch to the next, by default
_REFERENCES = 1024  # reference patches matched at a time, over the channels; 1024 of them take 6 MB of distances
WORKERS = 8  # strips at a time on a CPU, at the most
_VALUES = {"cpu": 2**18}  # pixels of groups in one batch of solves: 1 MB an array, which a cache holds
_MANY_VALUES = 2**22  # the same elsewhere: a GPU is to be kept busy

Strip = tuple[slice, Tensor, Tensor]


def batch_of(values: int, device: torch.device) -> int:
    """Groups of so many pixels that are solved in one batch."""
    return max(1, _VALUES.get(device.type, _MANY_VALUES) // values)


def strip_of(width: int, channels: int, step: int = STEP) -> int:
    """Rows of references, `step` pixels apart, that are matched at a time."""
    return step * max(1, _REFERENCES * step // (width * channels))


def each_plane(
    work: Callable[..., Generator[float, None, Tensor]], *volumes: Tensor | None
) -> Generator[float, None, Tensor]:
    """Do the work on one plane of volumes (C, Z, Y, X) after the other; where there is no volume, it gets None."""
    count = next(len(each[0]) for each in volumes if each is not None)
    planes = []
    for z in range(count):
        plane = (None if each is None else each[:, z] for each in volumes)
        planes.append((yield from part(work(*plane), z, count)))
    return torch.stack(planes, dim=1)


def laid_together(
    estimate: Callable[[int], Strip], tops: Sequence[int], total: Tensor, weight: Tensor, workers: int = WORKERS
) -> Generator[float, None, Tensor]:
    """The weighted mean of the estimates of all strips, summed into `total` and `weight`; yields the share done."""
    for done, (rows, some, trust) in enumerate(_side_by_side(estimate, tops, total.device, workers), 1):
        total[:, rows] += some
        weight[:, rows] += trust
        yield done / len(tops)
    return total / weight


def _side_by_side(
    estimate: Callable[[int], Strip], tops: Sequence[int], device: torch.device, workers: int
) -> Iterator[Strip]:
    """Estimate strips, in order; on a CPU several at a time, each by one thread: solves this small use only one."""
    workers = min(crew.usable(), workers) if device.type == "cpu" else 1
    for first in range(0, len(tops), workers):  # no more results than workers wait in memory
        yield from crew.side_by_side(estimate, tops[first : first + workers])


def extended(image: Tensor, side: int, step: int = STEP, before: tuple[int, int] = (0, 0)) -> Tensor:
    """(C, H, W), mirrored before it, by so many rows and columns, and behind it until a grid of patches covers it."""
    for axis, first in zip((1, 2), before, strict=True):
        size = image.shape[axis]
        whole = max(first + size, side)
        places = torch.arange(-first, whole + (side - whole) % step - first, device=image.device)
        image = image.index_select(axis, size - 1 - (places % (2 * size) - size + 0.5).abs().sub(0.5).long())
    return image


def patches_of(image: Tensor, side: int, made: Tensor | None = None) -> Tensor:
    """All patches of (C, H, W) in the order of their places: (places, C * side * side), within `made` if given."""
    windows = image.unfold(1, side, 1).unfold(2, side, 1).permute(1, 2, 0, 3, 4)
    if made is None:
        return windows.reshape(-1, len(image) * side**2)
    made.view(windows.shape).copy_(windows)
    return made


def folded(patches: Tensor, shape: tuple[int, int], side: int, space: Tensor) -> Tensor:
    """The sums (C, *shape) of all patches (places, C * side * side) where they lie, within a space for these.

    The result of `torch.nn.functional.fold` would hold memory as large as its patches.
    """
    columns = space.view(-1)[: patches.numel()].view(patches.T.shape).copy_(patches.T)
    sums = patches.new_empty(patches.shape[1] // side**2, *shape)
    fold: Tensor = torch.ops.aten.col2im.out(columns, shape, [side] * 2, [1, 1], [0, 0], [1, 1], out=sums)
    return fold


def similar(
    guide: Tensor,
    top: int,
    bottom: int,
    side: int,
    count: int,
    reach: int,
    step: int = STEP,
    wanted: Tensor | None = None,
) -> Tensor:
    """Places (references, count) of the patches most like each reference patch between two rows of the grid.

    Of these references, (rows, columns) of the grid, only those that are wanted, if it is said.
    """
    span = 2 * reach + 1
    across = guide.shape[2] - side + 1
    here = guide[:, top : bottom - (bottom - 1 - top) % step + side - 1, :, None]
    beyond = F.pad(guide, [reach] * 4, value=float("inf"))  # a patch that leaves the image is like no other
    grid = [(n - side) // step + 1 for n in here.shape[1:3]]
    distance = guide.new_empty(*grid, span, span)  # rows and columns of the grid, shifts down and right
    difference = guide.new_empty(*here.shape[:3], span)  # C, rows, columns, shifts along the row
    square = difference[0] if len(guide) == 1 else torch.empty_like(difference[0])
    for y in range(span):
        there = beyond[:, top + y : top + y + here.shape[1]].unfold(2, span, 1)
        torch.sub(there, here, out=difference).square_()
        if len(guide) > 1:
            torch.sum(difference, 0, out=square)
        distance[:, :, y] = _sums(_sums(square, 0, side, grid[0], step), 1, side, grid[1], step)
    distance[:, :, reach, reach] = -1  # itself comes first, even where all are alike: so every pixel has an estimate
    distance, own = distance.view(-1, span**2), torch.arange(math.prod(grid), device=guide.device)
    if wanted is not None:
        own = wanted.flatten().nonzero()[:, 0]
        distance = distance[own]
    nearest = distance.topk(count, largest=False, sorted=False).indices
    rows, columns = top + own // grid[1] * step, own % grid[1] * step
    down, right = nearest // span - reach, nearest % span - reach
    return (rows[:, None] + down) * across + columns[:, None] + right


def _sums(values: Tensor, axis: int, side: int, count: int, step: int) -> Tensor:
    """Sums over `side` places along an axis, `count` of them, `step` places apart: a tenth of the time of pooling."""
    ends = (count - 1) * step + 1
    moved = values.movedim(axis, 0)
    total = moved[:ends:step].clone()
    for place in range(1, side):
        total += moved[place : place + ends : step]
    return total.movedim(0, axis)
