"""Missing pixels as similar patches expect them: what is known of a patch foretells the rest of it.

The patches that are most like one, as the image is so far, are taken for draws of one Gaussian; the patch becomes the
mean of this Gaussian, given its own known pixels. A better image makes better Gaussians, and so on: the steps of
expectation and maximisation of Yu, Sapiro, Mallat, "Solving inverse problems with piecewise linear estimators" (2012),
with a Gaussian for each patch as by Aguerrebere and others, "A Bayesian hyperprior approach for joint image denoising
and interpolation" (2017). What is added to the variances, since the image is not the truth, falls from step to step.

On one grid, with patches of one size, an image confirms its own errors. So from step to step the grid of references
moves, and the patches have another size. It is finer in the last steps, as more estimates then meet in each pixel.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dip.core import crew
from napari_dip.core.methods.groups import (
    Strip,
    batch_of,
    each_plane,
    extended,
    folded,
    laid_together,
    patches_of,
    similar,
    strip_of,
)
from napari_dip.core.pauses import between_pauses

# Chosen on three centres of `grey`, and a photograph, of benchmarks/NOTES.md, "Known pixels foretell the missing ones"
# and "Another grid and another size from step to step".
SIDES, COUNT, REACH = (5, 6, 7, 8), 60, 18  # pixels along a patch, in turn; patches in a group, pixels to the furthest
_COARSE, _FINE, _FINISH = 3, 2, 4  # pixels between references, those in the last steps, and how many these are
_FIRST, _LAST = 5e-4, 1e-5  # added to the variances in the first step and the last, over the squared range of the image
_EXACT = 1e-6  # variance of known pixels, at the least
_LEAST_VARIANCE = 1e-5  # of a pixel that counts as expected
_MATCHED = 0.25  # of the work of a step is for distances, which are taken of all patches of a strip
#: of all patches: solves are dear where most pixels of a patch are known; less for each that is missing, to this least
_SOLVED, _LEAST_SOLVED = (1.4, 1.4), 0.5
_PLANES = 4  # whose patches are counted, at the most


class Step(NamedTuple):
    """One step over an image.

    Attributes
    ----------
    added : float
        To the variances of the Gaussians.
    side : int
        Pixels along a patch.
    stride : int
        Pixels between references.
    before : tuple of int
        Rows and columns from the first reference to the image, below the stride.
    """

    added: float
    side: int = SIDES[-1]
    stride: int = _FINE
    before: tuple[int, int] = (0, 0)


def steps_of(count: int) -> Iterator[Step]:
    """So many steps, with less and less added, each on another grid."""
    for number in range(count):
        stride = _COARSE if number < count - _FINISH else _FINE
        added = _FIRST * (_LAST / _FIRST) ** (number / max(count - 1, 1))
        before = number // stride % stride, number % stride
        yield Step(added, SIDES[(number - count) % len(SIDES)], stride, before)


def expected(
    image: Tensor, known: Tensor, observation: Tensor, step: Step, variance: float = 0.0
) -> Generator[float, None, Tensor]:
    """An image with each pixel as the patches around it expect it, given the known ones.

    Parameters
    ----------
    image : float tensor (C, Y, X) or (C, Z, Y, X)
        So far, of a range of about 1. Slices along Z are estimated each on its own.
    known : bool tensor of the same shape
        True where a pixel was measured.
    observation : float tensor of the same shape
        What was measured.
    step : Step
    variance : float
        Of the noise of the observation. Without any, known pixels come out as measured, and only patches with a missing
        one are looked at: others foretell nothing.

    Yields
    ------
    float
        Share that is done, after each strip.

    Returns
    -------
    float32 tensor of the same shape
        Bit by bit the same for the same image on a CPU, on any number of threads.
    """
    return (yield from between_pauses(crew.alone, _expected(image, known, observation, step, variance)))


def _expected(
    image: Tensor, known: Tensor, observation: Tensor, step: Step, variance: float
) -> Generator[float, None, Tensor]:
    if image.ndim == 4:
        work = partial(_expected, step=step, variance=variance)
        return (yield from each_plane(work, image, known, observation))
    height, width = image.shape[1:]
    added, side, stride, before = step
    guide, told, seen = (extended(each.float(), side, stride, before) for each in (image, known, observation))
    channels, *sizes = guide.shape
    down, across = (n - side + 1 for n in sizes)
    count = min(COUNT, min(down, REACH + 1) * min(across, REACH + 1))
    strip = strip_of(across, 1, stride)  # whose patches are the most of it, not their distances
    batch = batch_of(count * channels * side**2, guide.device)
    asked = _lacking(1 - told.amin(0)[None], side, stride)[0]
    if variance:  # known pixels are denoised
        asked = torch.ones_like(asked)

    def estimate(top: int) -> Strip:
        """Strip of references from `top` on: its rows, the weighted sums of its estimates there, and the weights."""
        bottom = min(top + strip, down)
        wanted = asked[top // stride : (bottom - 1) // stride + 1]
        low, high = max(top - REACH, 0), min(bottom + REACH, down)
        near = similar(guide, top, bottom, side, count, REACH, stride, wanted) - low * across
        patches = patches_of(guide[:, low : high + side - 1], side)
        rows = slice(top, bottom + side - 1)
        own_known, own_seen = (patches_of(each[:, rows], side) for each in (told, seen))
        own = stride * (wanted.nonzero() * torch.tensor([across, 1], device=near.device)).sum(1)
        order = own_known[own].sum(1).argsort(stable=True)  # as few sizes as may be in a batch
        near, own = near[order], own[order]
        sums, weights = torch.zeros_like(own_seen), torch.zeros_like(own_seen)
        for places, self in zip(torch.split(near, batch), torch.split(own, batch), strict=True):
            mean, left = _conditional(patches[places], own_known[self], own_seen[self], added, variance)
            trust = 1 / (left + _LEAST_VARIANCE)
            sums[self], weights[self] = trust * mean, trust
        shape, space = (rows.stop - rows.start, sizes[1]), torch.empty_like(sums)
        return rows, folded(sums, shape, side, space), folded(weights, shape, side, space)

    tops = [top for top in range(0, down, strip) if asked[top // stride : (top + strip) // stride].any()]
    mean = yield from laid_together(estimate, tops, torch.zeros_like(guide), torch.zeros_like(guide))
    made = mean[:, before[0] :, before[1] :][:, :height, :width]
    return made if variance else torch.where(known, observation, made)


def share_of_work(missing: npt.NDArray[np.bool_]) -> float:
    """Work of a step without noise on images (N, C, *S) with such pixels missing, over that where half of them are."""
    planes = missing.any(1).reshape(-1, *missing.shape[-2:])
    if not planes.any():
        return 0.0
    some = planes[:: -(-len(planes) // _PLANES)]
    side, stride = SIDES[len(SIDES) // 2], _COARSE
    lacking = extended(torch.from_numpy(some).float(), side, stride)
    asked = _lacking(lacking, side, stride)
    rows, patches, hidden = (float(each.float().mean()) for each in (asked.any(2), asked, lacking))
    return _MATCHED * rows + max(_SOLVED[0] * patches - _SOLVED[1] * hidden, _LEAST_SOLVED * patches)


def _lacking(missing: Tensor, side: int, stride: int) -> Tensor:
    """References (N, rows, columns) with a missing pixel, of images (N, Y, X) that a grid of patches covers."""
    return F.max_pool2d(missing, side, stride) > 0


def _conditional(group: Tensor, known: Tensor, seen: Tensor, added: float, variance: float) -> tuple[Tensor, Tensor]:
    """Mean and variances (B, n) of patches under the Gaussians of their groups (B, k, n), given their known pixels.

    The mean of the group where rounding leaves no inverse. Without noise known pixels are as measured. Solves are as
    small as the patches with the most known pixels, and the least, allow.
    """
    least, most = (int(count) for count in known.sum(1).aminmax())
    first = 0 if variance else least  # from which pixels are asked for
    order = known.argsort(dim=1, descending=True, stable=True)
    telling, asked = order[:, :most], order[:, first:]  # the known pixels of all patches; the missing ones of all
    mean, told = group.mean(1), known.gather(1, telling)
    centred = (group - mean[:, None]).gather(2, order[:, None].expand_as(group))
    ahead, behind = centred[..., :most], centred[..., first:]
    products = (ahead.mT @ ahead / group.shape[1]).mul_(told[:, None] * told[..., None])
    products.diagonal(dim1=1, dim2=2).add_(1 + told * (added + max(variance, _EXACT) - 1))  # 1 where nothing is known
    shared = ahead.mT @ behind / group.shape[1]
    shared.diagonal(-first, dim1=1, dim2=2).add_(added)
    news = (seen - mean).gather(1, telling)
    factor, failed = torch.linalg.cholesky_ex(products)
    lost = failed[:, None, None] > 0
    factor = torch.where(lost, torch.eye(most, dtype=group.dtype, device=group.device), factor)
    both = (torch.cat([shared, news[..., None]], 2) * told[..., None]).masked_fill(lost, 0)
    solved = torch.linalg.solve_triangular(factor, both, upper=False)
    shared, news = solved[..., :-1], solved[..., -1:]
    left = behind.square().mean(1) + added - shared.square().sum(1)
    means = torch.where(known > 0, seen, mean).scatter(1, asked, mean.gather(1, asked) + (shared.mT @ news)[..., 0])
    return means, torch.zeros_like(mean).scatter(1, asked, left.clamp(min=0))
