"""Residual blocks at one scale, each of which adds a correction of two filters: no upsampling, so the weakest prior.

The ResNet of the code that came with Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior" (CVPR 2018).
"""

from __future__ import annotations

from torch import Tensor, nn

from napari_dip.core.generators.layers import Layers, Network, Shape, Size, per_scale
from napari_dip.tables.knobs import Prior

BLOCKS = 8  # as in that code


class ResNet(Network):
    """Residual blocks for images of one shape.

    Parameters
    ----------
    method : Prior
        `channels` and `filter_size` of the finest scale, `padding`, `activation`, `normalisation` and `output` are
        read.
    code_channels, channels, shape, voxel_size
        As for `Hourglass`.
    """

    def __init__(
        self, method: Prior, code_channels: int, channels: int, shape: Shape, voxel_size: Size | None = None
    ) -> None:
        width, size = per_scale(method.channels, 1)[0], per_scale(method.filter_size, 1)[0]
        smallest = max(2, size // 2 + 1)  # a filter of width w reflects w // 2 pixels, and norms need two
        super().__init__(shape, tuple(max(n, smallest) for n in shape), method.recompute == "on")
        layers = Layers(method, len(shape))
        self.head = layers.conv(code_channels, width, size)
        self.blocks = nn.ModuleList(
            nn.Sequential(layers.conv(width, width, size), layers.plain_conv(width, width, size), layers.norm(width))
            for _ in range(BLOCKS)
        )
        self.last = layers.of("conv")(width, channels, 1)
        self.output = layers.output()

    def forward(self, code: Tensor) -> Tensor:
        """Image (1, C, *shape) made of a code (1, Z, *canvas)."""
        features = self.through(self.head, code)
        for block in self.blocks:
            features = features + self.through(block, features)
        return self.finish(features)
