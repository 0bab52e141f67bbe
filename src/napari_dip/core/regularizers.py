"""The penalty R on the restored image (1, C, *S), in units of the scaled intensities."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from napari_dip.core.parts import Own
from napari_dip.tables.parts import OwnPart


def none(image: Tensor) -> Tensor:
    """No penalty."""
    return image.new_zeros(())


def total_variation(image: Tensor) -> Tensor:
    """Mean absolute difference between neighbours, summed over the axes (Rudin, Osher, Fatemi 1992; anisotropic)."""
    return torch.stack([_step(image, axis).abs().mean() for axis in _long_axes(image)] or [none(image)]).sum()


def tikhonov(image: Tensor) -> Tensor:
    """Mean squared difference between neighbours, summed over the axes (Tikhonov 1963, first order)."""
    return torch.stack([_step(image, axis).square().mean() for axis in _long_axes(image)] or [none(image)]).sum()


REGULARISERS: dict[str, Callable[[Tensor], Tensor]] = {"none": none, "tv": total_variation, "tikhonov": tikhonov}


def regulariser_of(name: str) -> Callable[[Tensor], Tensor]:
    """The regulariser of this name, or a copy of the user's own."""
    if isinstance(name, OwnPart):
        return Own("regulariser", name, copy.deepcopy(name.part))
    return REGULARISERS[name]


def _long_axes(image: Tensor) -> list[int]:
    return [axis for axis in range(2, image.ndim) if image.shape[axis] > 1]


def _step(image: Tensor, axis: int) -> Tensor:
    return image.narrow(axis, 1, image.shape[axis] - 1) - image.narrow(axis, 0, image.shape[axis] - 1)
