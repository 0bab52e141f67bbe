"""A generator of the user's own, fed and cropped as ours are."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from napari_dip.core.generators.layers import Network, Shape, crop
from napari_dip.core.parts import Own, called, shape_of
from napari_dip.tables.knobs import Prior
from napari_dip.tables.parts import OwnPart

MULTIPLE = 32  # that the sides of a code are rounded up to, where the network does not take those of the image


class OwnNetwork(Network):
    """A module of the user's for images of one shape.

    Parameters
    ----------
    method : Prior
        Its `generator` is a part of the user's own: a module, of which each fit begins with a copy, or a function
        ``(code_channels, channels, shape) -> module`` that is called for each fit, its random numbers being those of
        the seed.
    code_channels, channels, shape
        As for `Hourglass`. The code is as large as the image; if the network gives no image of that size, its sides are
        the next multiples of 32, and the middle of what it gives is the image.
    voxel_size
        Not used.

    Raises
    ------
    ValueError
        If it gives no image of the code's size for either; TypeError if it is no module.
    """

    def __init__(self, method: Prior, code_channels: int, channels: int, shape: Shape, voxel_size: Any = None) -> None:
        assert isinstance(method.generator, OwnPart)
        name, part = method.generator, method.generator.part
        canvas = tuple(MULTIPLE * math.ceil(n / MULTIPLE) for n in shape)
        own = copy.deepcopy(part) if isinstance(part, nn.Module) else _made(name, part, code_channels, channels, shape)
        if not isinstance(own, nn.Module):
            kind = type(own).__name__
            raise TypeError(f"generator={name!r} must be a torch.nn.Module or make one, not a {kind}")
        if other := {weight.dtype for weight in own.parameters() if weight.is_floating_point()} - {torch.float32}:
            raise ValueError(
                f"generator={name!r} has weights of {other.pop()}, and its code is torch.float32; say .float() of it"
            )
        failed = _failure(own, code_channels, channels, shape)
        if failed and (canvas == shape or _failure(own, code_channels, channels, canvas)):
            raise ValueError(
                f"generator={name!r} must make an image {(1, channels, *shape)} of a code {(1, code_channels, *shape)}:"
                f" {failed}; set code_channels to what it takes, or give a function (code_channels, channels, shape) "
                "that makes the module"
            )
        super().__init__(shape, canvas if failed else shape, method.recompute == "on")
        self.own = Own("generator", name, own)

    def forward(self, code: Tensor) -> Tensor:
        """Image (1, C, *shape) made of a code (1, Z, *canvas)."""
        image: Tensor = self.own(code).float()
        return crop(image, self.shape)


def _made(name: str, part: Callable[..., Any], *given: Any) -> Any:
    """The module that a function of the user's makes."""
    is_class = isinstance(part, type) and issubclass(part, nn.Module)
    module = "one module of this class, made" if is_class else "a torch.nn.Module"
    fails = f"generator={name!r} fails as it is called with (code_channels, channels, shape)={given}"
    return called(part, *given, fails=fails, remedy=f"give {module}, or a function of these three that makes one")


def _failure(own: nn.Module, code_channels: int, channels: int, canvas: Shape) -> str:
    """Reason why a module makes no image of this size of a code of this size; empty if it does."""
    place = next((weight.device for weight in own.parameters()), torch.device("cpu"))
    kept = copy.deepcopy(own.state_dict())  # running statistics move
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            made = own(torch.zeros(1, code_channels, *canvas, device=place))
    except Exception as error:  # whatever it cannot do
        return " ".join(str(error).split())[:300] or type(error).__name__
    own.load_state_dict(kept)
    gives = shape_of(made)
    return "" if gives == f"{(1, channels, *canvas)}" else f"it gives {gives}"
