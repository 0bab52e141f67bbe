"""The deep decoder: 1x1 convolutions and upsampling alone, with fewer weights than the image has pixels.

code ── mix 0 ── mix 1 ── ... ── image      each mix is a 1x1 convolution, doubled in size, and normalised

Heckel, Hand, "Deep Decoder: Concise Image Representations from Untrained Non-convolutional Networks" (ICLR 2019).
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from napari_dip.core.generators.layers import Layers, Network, Shape, Size, halvings, per_scale, whole
from napari_dip.tables.knobs import Prior


class Decoder(Network):
    """The deep decoder for images of one shape. Its canvas is the coarsest scale.

    Parameters
    ----------
    method : Prior
        `channels`, `scales`, `upsampling`, `activation`, `normalisation` and `output` are read.
    code_channels, channels, shape, voxel_size
        As for `Hourglass`.
    """

    def __init__(
        self, method: Prior, code_channels: int, channels: int, shape: Shape, voxel_size: Size | None = None
    ) -> None:
        factors = halvings(shape, method.scales, 2, voxel_size)
        factor = whole(factors, len(shape))
        canvas = tuple(max(2, math.ceil(n / w)) for n, w in zip(shape, factor, strict=True))
        made = tuple(n * w for n, w in zip(canvas, factor, strict=True))
        super().__init__(shape, canvas, method.recompute == "on", made)
        widths = per_scale(method.channels, len(factors))
        upsampling, layers = per_scale(method.upsampling, len(factors)), Layers(method, len(shape))
        self.mixes, arriving = nn.ModuleList(), code_channels
        for width, growth, how in reversed(list(zip(widths, factors, upsampling, strict=True))):
            mix = layers.plain_conv(arriving, width, 1), layers.grow(width, growth, how)
            self.mixes.append(nn.Sequential(*mix, layers.activation(), layers.norm(width)))
            arriving = width
        self.mixes.append(layers.conv(arriving, arriving, 1))
        self.last = layers.of("conv")(arriving, channels, 1)
        self.output = layers.output()

    def forward(self, code: Tensor) -> Tensor:
        """Image (1, C, *shape) made of a code (1, Z, *canvas)."""
        features = code
        for mix in self.mixes:
            features = self.through(mix, features)
        return self.finish(features)
