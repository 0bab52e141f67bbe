"""The MLP-Mixer: no convolution between patches, but two perceptrons in turn, over the patches and over the channels.

Tolstikhin et al., "MLP-Mixer: An all-MLP Architecture for Vision" (NeurIPS 2021). What it prefers is patches that are
mixtures of the same few: there is no upsampling, and neighbouring patches know of each other by what they share alone.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from napari_dip.core.generators.layers import Layers, Network, Shape, Size, crop, halvings, per_scale, whole
from napari_dip.tables.knobs import Prior

BLOCKS = 4
HALVINGS = 3  # at the most, of a pixel's way to a patch: patches of 8x8
HIDDEN = 256  # of the perceptron over the patches, at the most


class Mixer(Network):
    """The MLP-Mixer for images of one shape.

    Parameters
    ----------
    method : Prior
        `channels` of the finest scale, `scales` (patches are 2**scales wide, at most 8), `activation`, `normalisation`
        and `output` are read.
    code_channels, channels, shape, voxel_size
        As for `Hourglass`.
    """

    def __init__(
        self, method: Prior, code_channels: int, channels: int, shape: Shape, voxel_size: Size | None = None
    ) -> None:
        ndim, width = len(shape), per_scale(method.channels, 1)[0]
        patch = whole(halvings(shape, min(method.scales, HALVINGS), 2, voxel_size), ndim)
        grid = tuple(max(2, math.ceil(n / p)) for n, p in zip(shape, patch, strict=True))
        canvas = tuple(g * p for g, p in zip(grid, patch, strict=True))
        super().__init__(shape, canvas, method.recompute == "on")
        self.patch, self.grid, self.channels = patch, grid, channels
        layers, patches = Layers(method, ndim), math.prod(grid)
        flat, hidden = Layers(method, 1), min(patches, HIDDEN)

        def perceptron(size: int, within: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv1d(size, within, 1), layers.activation(), nn.Conv1d(within, size, 1))

        self.head = layers.of("conv")(code_channels, width, patch, patch)
        self.norms = nn.ModuleList(flat.norm(width) for _ in range(2 * BLOCKS + 1))
        self.over_patches = nn.ModuleList(perceptron(patches, hidden) for _ in range(BLOCKS))
        self.over_channels = nn.ModuleList(perceptron(width, 2 * width) for _ in range(BLOCKS))
        self.last = nn.Conv1d(width, channels * math.prod(patch), 1)
        self.output = layers.output()

    def forward(self, code: Tensor) -> Tensor:
        """Image (1, C, *shape) made of a code (1, Z, *canvas)."""
        patches = self.head(code).flatten(2)  # (1, width, patches)
        for i, (mix, transform) in enumerate(zip(self.over_patches, self.over_channels, strict=True)):
            patches = patches + self.through(mix, self.norms[2 * i](patches).mT).mT
            patches = patches + self.through(transform, self.norms[2 * i + 1](patches))
        ndim, pixels = len(self.grid), self.last(self.norms[-1](patches)).float()
        blocks = pixels.reshape(1, self.channels, *self.patch, *self.grid)
        order = [0, 1, *(axis for i in range(ndim) for axis in (2 + ndim + i, 2 + i))]
        image: Tensor = self.output(blocks.permute(order).reshape(1, self.channels, *self.canvas))
        return crop(image, self.shape)
