"""NL-Ridge, a kind of non-local means: similar patches of one image denoise each other, without a network.

A group of k similar patches of n pixels, the columns of Y, is replaced by linear combinations of its members, Y Theta.
The weights that minimise the squared error follow from the products of the clean patches, which are not known: the
first step puts an unbiased estimate in their place (Stein's), the second those of the first step's result. For white
noise of variance s^2 both are ``Theta = I - n s^2 A^-1``, with A the products of the noisy patches in the first step,
and those of the first result plus ``n s^2 I`` in the second; here with columns of Theta that sum to one, so that
a constant brightness passes as it is. This is NL-Ridge (Herbreteau and Kervrann, ICIP 2022), but for a third step: the
second once more, from its own result, which gains 0.1 to 0.4 dB in fluorescence images of few photons.

Where noise is correlated, so is that of patches that overlap, or nearly: by the correlation R of the noise at their
distance. R takes the place of I in the second step, in both places. The first step would have to know the products of
the clean patches better than overlapping noisy ones tell. So all three steps are made on sub-grids of every second (or
third) pixel, in which noise is nearly independent; their result is the guide of one more second step on all pixels.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dip.core import crew
from napari_dip.core.methods.groups import (
    WORKERS,
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
from napari_dip.core.noise.correlation import phases, strides_of
from napari_dip.core.pauses import between_pauses, part

Array = npt.NDArray[np.float64]
REACH = 18  # pixels from a reference patch to the furthest of its group, along each axis, by default
COMPARED = np.array([0.08, 4e5, 3.2e5, 0])  # work per pixel: calls, bytes, operations, bytes of features
CONTRAST = 50  # range of an image in sigma up to which float32 is enough: its rounding grows with the square
_ROUNDING = {torch.float32: 1e-6, torch.float64: 1e-14}  # relative to the largest product
_LEAST = {
    torch.float32: 1e-6,
    torch.float64: 1e-3,
}  # least power of the noise, relative to sigma squared
_LEAST_VARIANCE = 1e-3  # least variance of an estimate, relative to the noise: far below what so many patches leave


@dataclass(frozen=True)
class _Groups:
    """Pixels along a patch, and patches in a group."""

    side: int
    count: int


#: Groups of the first step and of the others, up to a sigma relative to the image's range: chosen by measurement.
SIZES = (
    (15 / 255, _Groups(7, 18), _Groups(7, 55)),
    (35 / 255, _Groups(9, 18), _Groups(9, 90)),
    (float("inf"), _Groups(11, 20), _Groups(9, 90)),
)
#: Groups of the last step under correlated noise: as much noise is in fewer independent values.
ON_ALL_PIXELS = _Groups(13, 90)


def by_strips(
    image: Tensor, sigma: float, shared: Array | None = None, *, reach: int = REACH, guide: Tensor | None = None
) -> Generator[float, None, Tensor]:
    """Denoise an image by non-local ridge regression, strip by strip.

    Parameters
    ----------
    image : float tensor (C, Y, X) or (C, Z, Y, X)
        In any units, on any device. Channels share one choice of similar patches and of weights; slices along Z are
        estimated each on its own.
    sigma : float
        Standard deviation of the noise in these units, the same for all pixels and channels; 0 gives the image back.
    shared : float array (odd, odd), optional
        Autocorrelation of the noise along Y and X, 1 in the middle; noise is white without it.

    reach : int
        Distance in pixels of the patches that are compared.
    guide : float tensor, optional
        An estimate of the image, where noise is white: the last step alone is made, from it, in a third of the time.

    Yields
    ------
    float
        Share that is done, after each strip.

    Returns
    -------
    float32 tensor of the same shape
        Bit by bit the same for the same image on a CPU, on any number of threads. On a GPU sums are taken in any order,
        so the last digits differ from run to run.

    Raises
    ------
    ValueError
        If the image has not two or three spatial axes, or sigma is negative or not a number.

    References
    ----------
    S. Herbreteau, C. Kervrann, "Towards a unified view of unsupervised non-local methods for image denoising: the
    NL-Ridge approach", ICIP 2022.
    """
    return (yield from between_pauses(crew.alone, _by_strips(image, guide, sigma, shared, reach)))


def _by_strips(
    image: Tensor, guide: Tensor | None, sigma: float, shared: Array | None, reach: int
) -> Generator[float, None, Tensor]:
    if image.ndim not in (3, 4):
        raise ValueError(f"image has the shape {tuple(image.shape)}; give it channels and two or three spatial axes")
    if not 0 <= sigma < float("inf"):
        raise ValueError(f"sigma={sigma} is not a standard deviation; give a number of 0 or more")
    if image.ndim == 4:
        work = partial(_by_strips, sigma=sigma, shared=shared, reach=reach)
        return (yield from each_plane(work, image, guide))
    noisy = image.detach().float()
    if sigma == 0 or not noisy.numel():
        return noisy
    level = noisy.mean()
    noisy = (noisy - level) / sigma
    if guide is not None:
        last = in_step(noisy, (guide.float() - level) / sigma, _sizes(noisy)[1], known=True, reach=reach)
        estimate = yield from last
        return estimate * sigma + level
    strides = (1, 1) if shared is None else strides_of(shared, tuple(noisy.shape[1:]))
    if shared is None or max(strides) == 1:
        estimate = yield from _in_steps(noisy, reach)
        return estimate * sigma + level
    rough, grids = torch.empty_like(noisy), phases(strides)
    for i, grid in enumerate(grids):
        rough[grid] = yield from part(_in_steps(noisy[grid], reach), i, len(grids) + 1)
    last = in_step(noisy, rough, ON_ALL_PIXELS, known=True, shared=torch.from_numpy(shared).to(noisy), reach=reach)
    estimate = yield from part(last, len(grids), len(grids) + 1)
    return estimate * sigma + level


def _in_steps(noisy: Tensor, reach: int = REACH) -> Generator[float, None, Tensor]:
    """All three steps for an image (C, H, W) with white noise of unit variance."""
    first, second = _sizes(noisy)
    estimate = noisy
    for step, groups in enumerate((first, second, second)):
        estimate = yield from part(in_step(noisy, estimate, groups, known=step > 0, reach=reach), step, 3)
    return estimate


def _sizes(noisy: Tensor) -> tuple[_Groups, _Groups]:
    """Group sizes of the first step and of the others for an image (C, H, W) with noise of unit variance."""
    smooth = F.avg_pool2d(noisy, [min(8, n) for n in noisy.shape[1:]])
    ratio = 1 / float(smooth.amax() - smooth.amin()) if smooth.amax() > smooth.amin() else float("inf")
    return next((first, second) for most, first, second in SIZES if ratio <= most)


def in_step(
    noisy: Tensor,
    guide: Tensor,
    groups: _Groups,
    *,
    known: bool,
    shared: Tensor | None = None,
    workers: int = WORKERS,
    reach: int = REACH,
) -> Generator[float, None, Tensor]:
    """One step for images (C, H, W) with unit noise variance: groups and weights from the guide, pixels from `noisy`.

    `shared` is the autocorrelation of correlated noise, for a guide that is `known`.
    """
    height, width = noisy.shape[1:]
    side = groups.side
    steep = guide.amax() - guide.amin() > CONTRAST and guide.device.type != "mps"  # which has no float64
    precision = torch.float64 if steep else torch.float32
    noisy, guide = extended(noisy, side), extended(guide, side)
    channels, *sizes = noisy.shape
    down, across = (n - side + 1 for n in sizes)  # places of a patch; a multiple of the step, plus one
    count = min(groups.count, min(down, reach + 1) * min(across, reach + 1))
    strip = strip_of(across, channels)
    batch = batch_of(count * channels * side**2, noisy.device)
    most = min(strip + 2 * reach, down)
    local = threading.local()

    def estimate(top: int) -> Strip:
        """Strip of references from `top` on: its rows, the weighted sums of its estimates there, and the weights."""
        bottom = min(top + strip, down)
        low, high = max(top - reach, 0), min(bottom + reach, down)
        if not hasattr(local, "space"):
            local.space = _Workspace(noisy, side, most * across, known=known)
        space, places_here = local.space, (high - low) * across
        near = similar(guide, top, bottom, side, count, reach) - low * across
        rows = slice(low, high + side - 1)
        patches = patches_of(noisy[:, rows], side, space.patches[:places_here])
        guides = patches_of(guide[:, rows], side, space.guides[:places_here]) if known else patches
        sums, weights = space.sums[:places_here].zero_(), space.weights[:places_here].zero_()
        for places in torch.split(near, batch):
            common = None if shared is None else _common(places, across, shared.to(precision))
            theta = _weights(guides[places].to(precision), common, known=known).to(noisy.dtype)
            mixed = theta if common is None else theta @ common.to(noisy.dtype)
            variance = (mixed * theta).sum(-1, keepdim=True)  # of what comes out
            trust = 1 / variance.clamp(min=_LEAST_VARIANCE)
            sums.index_add_(0, places.flatten(), (trust * (theta @ patches[places])).flatten(0, 1))
            weights.index_add_(0, places.flatten(), trust.flatten(0, 1))
        shape = (rows.stop - low, sizes[1])
        some, trust = (folded(each, shape, side, space.patches) for each in (sums, weights.expand(-1, side**2)))
        return rows, some, trust

    total, weight = torch.zeros_like(noisy), torch.zeros_like(noisy[:1])
    mean = yield from laid_together(estimate, range(0, down, strip), total, weight, workers)
    return mean[:, :height, :width]


class _Workspace:
    """Buffers that strips use in turn: large ones that are freed leave gaps that the next do not fit.

    Parameters
    ----------
    image : Tensor
        (C, H, W), of which the buffers have type and device.
    side : int
        Pixels along a patch.
    places : int
        Of patches, at the most.
    known : bool
        True if there are guides beside the patches.
    """

    def __init__(self, image: Tensor, side: int, places: int, *, known: bool) -> None:
        values = len(image) * side**2
        self.patches, self.sums = image.new_empty(places, values), image.new_empty(places, values)
        self.guides = image.new_empty(places, values) if known else self.patches
        self.weights = image.new_empty(places, 1)


def _common(places: Tensor, across: int, shared: Tensor) -> Tensor:
    """Noise correlations (B, k, k) between patches at places (B, k) of a grid with `across` places in a row."""
    rows, columns = places // across, places % across
    inside, index = [], []
    for place, size in zip((rows, columns), shared.shape, strict=True):
        shift = place[:, :, None] - place[:, None]
        inside.append(shift.abs() <= size // 2)
        index.append((shift + size // 2).clamp(0, size - 1))
    return shared[index[0], index[1]] * (inside[0] & inside[1])


def _weights(patches: Tensor, common: Tensor | None, *, known: bool) -> Tensor:
    """Weights (B, k, k), of rows that sum to one, for groups of patches (B, k, n) with noise of such correlations.

    The identity where rounding leaves no inverse.
    """
    pixels = patches.shape[2]
    patches = patches - patches.mean((1, 2), keepdim=True)  # changes nothing but rounding
    products = patches @ patches.mT
    diagonal = products.diagonal(dim1=1, dim2=2)
    least = _ROUNDING[patches.dtype] * diagonal.amax(1, keepdim=True) + _LEAST[patches.dtype] * pixels
    diagonal += (pixels if known and common is None else 0) + least
    if common is not None:
        products += pixels * common
    factor, failed = torch.linalg.cholesky_ex(products)
    failed = failed[:, None, None] > 0
    shrinkage = _inverses(factor, failed)
    sums = shrinkage.sum(2, keepdim=True)
    total = sums.sum(1, keepdim=True)
    failed |= ~(total > 0)  # as that of an inverse is
    shrinkage.baddbmm_(sums, sums.mT / total, alpha=-1)
    if common is not None:
        shrinkage = common @ shrinkage
    theta = shrinkage.mul_(-pixels).masked_fill_(failed, 0)
    theta.diagonal(dim1=1, dim2=2).add_(1)
    return theta


def _inverses(factors: Tensor, failed: Tensor) -> Tensor:
    """The inverses (B, k, k) of matrices by their Cholesky factors; the identity for those that `failed` (B, 1, 1)."""
    one = torch.eye(factors.shape[-1], dtype=factors.dtype, device=factors.device)
    if factors.device.type != "cuda":
        return torch.cholesky_inverse(torch.where(failed, one, factors) if failed.any() else factors)
    # torch up to 2.11 inverts one after the other, 45 us each, but solves for all together (its pull request 175898)
    factors = torch.where(failed, one, factors)  # asking would wait for the GPU
    roots = torch.linalg.solve_triangular(factors, one.expand_as(factors), upper=False)
    return torch.as_tensor(roots.mT @ roots)
