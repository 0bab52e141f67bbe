"""The untrained generators f, by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from napari_dip.core.generators.decoder import Decoder
from napari_dip.core.generators.hourglass import Hourglass
from napari_dip.core.generators.layers import Network
from napari_dip.core.generators.mixer import Mixer
from napari_dip.core.generators.own import OwnNetwork
from napari_dip.core.generators.resnet import ResNet
from napari_dip.core.generators.unet import UNet
from napari_dip.core.generators.unetprior import PriorUNet
from napari_dip.tables.knobs import Prior, SelfGuided
from napari_dip.tables.parts import OwnPart

#: Those of priors, by name; a self-guided fit has a U-Net of its own.
GENERATORS: dict[str, Callable[..., Network]] = {
    "hourglass": Hourglass,
    "decoder": Decoder,
    "unet": PriorUNet,
    "resnet": ResNet,
    "mixer": Mixer,
}


def make_generator(
    method: Prior | SelfGuided,
    code_channels: int,
    channels: int,
    shape: tuple[int, ...],
    voxel_size: tuple[float, ...] | None = None,
) -> Network:
    """A generator for images (1, channels, *shape) with freshly made, not yet drawn weights."""
    return kind_of(method)(method, code_channels, channels, shape, voxel_size)


def kind_of(method: Prior | SelfGuided) -> Callable[..., Network]:
    """Class of the generator of a method."""
    if isinstance(method, SelfGuided):
        return UNet
    return OwnNetwork if isinstance(method.generator, OwnPart) else GENERATORS[method.generator]


def fresh_generator(
    method: Prior | SelfGuided,
    code_channels: int,
    channels: int,
    shape: tuple[int, ...],
    rng: torch.Generator,
    voxel_size: tuple[float, ...] | None = None,
) -> Network:
    """A generator for images (1, channels, *shape), its weights drawn from `rng`, on the CPU."""
    own = kind_of(method) is OwnNetwork
    with torch.random.fork_rng(devices=[]):  # layers draw weights as they are made; ours are drawn below
        if own:
            torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=rng)))
        generator = make_generator(method, code_channels, channels, shape, voxel_size)
    if not own:
        draw_weights(generator, rng)
    return generator


def draw_weights(generator: nn.Module, rng: torch.Generator) -> None:
    """Draw all weights as torch does by default (He et al. 2015), but from `rng`, so that a seed decides them.

    The bound is multiplied by the `gain` of a layer that has one.
    """
    for layer in generator.modules():
        weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
        if isinstance(weight, nn.Parameter) and weight.ndim > 2:
            bound = getattr(layer, "gain", 1) * weight[0].numel() ** -0.5  # 1 / sqrt(fan in)
            nn.init.uniform_(weight, -bound, bound, generator=rng)
            if isinstance(bias, nn.Parameter):
                nn.init.uniform_(bias, -bound, bound, generator=rng)
