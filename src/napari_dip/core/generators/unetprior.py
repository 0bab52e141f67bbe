"""The U-Net as a prior: two filters at each scale, whose features are all handed to the way up.

code ── filters ──┬──────────────────── join ── filters ── image      each down halves the image,
                  └─ down ── ... ── up ──┘                            each up doubles it

Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation" (MICCAI 2015), with
padding and normalisation, so that image and code are of one size. (The U-Net of self-guided fits is another one.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from napari_dip.core.generators.layers import Layers, Network, Shape, Size, halvings, per_scale, whole, without_gaps
from napari_dip.tables.knobs import Prior


class PriorUNet(Network):
    """The U-Net for images of one shape.

    Parameters
    ----------
    method : Prior
        `channels`, `scales`, `filter_size`, `upsampling`, `downsampling`, `padding`, `activation`, `normalisation` and
        `output` are read.
    code_channels, channels, shape, voxel_size
        As for `Hourglass`.
    """

    def __init__(
        self, method: Prior, code_channels: int, channels: int, shape: Shape, voxel_size: Size | None = None
    ) -> None:
        sizes = per_scale(method.filter_size, method.scales)
        smallest = max(2, max(sizes) // 2 + 1)  # a filter of width w reflects w // 2 pixels, and norms need two
        factors = halvings(shape, method.scales, smallest, voxel_size)
        canvas = (w * max(smallest, math.ceil(n / w)) for n, w in zip(shape, whole(factors, len(shape)), strict=True))
        super().__init__(shape, tuple(canvas), method.recompute == "on")
        scales, layers = len(factors), Layers(method, len(shape))
        widths = per_scale(method.channels, scales)
        upsampling, downsampling = per_scale(method.upsampling, scales), per_scale(method.downsampling, scales)
        deeper = (*widths[1:], widths[-1])  # the coarsest scale is as wide as the one above

        def filters(arriving: int, i: int) -> nn.Sequential:
            return nn.Sequential(
                layers.conv(arriving, widths[i], sizes[i]), layers.conv(widths[i], widths[i], sizes[i])
            )

        self.before = nn.ModuleList(filters((code_channels, *widths)[i], i) for i in range(scales))
        self.downs = nn.ModuleList(
            layers.shrink(widths[i], deeper[i] if i + 1 == scales else widths[i], sizes[i], factors[i], downsampling[i])
            for i in range(scales)
        )
        self.ups = nn.ModuleList(layers.grow(deeper[i], factors[i], upsampling[i]) for i in range(scales))
        self.after = nn.ModuleList(filters(widths[i] + deeper[i], i) for i in range(scales))
        self.last = layers.of("conv")(widths[0], channels, 1)
        self.output = layers.output()

    def forward(self, code: Tensor) -> Tensor:
        """Image (1, C, *shape) made of a code (1, Z, *canvas)."""
        features, kept = code, list[Tensor]()
        for before, down in zip(self.before, self.downs, strict=True):
            kept.append(self.through(before, features))
            features = self.through(down, kept[-1])
        for up, after, skipped in reversed(list(zip(self.ups, self.after, kept, strict=True))):
            grown = without_gaps(up(features))
            features = self.through(after, torch.cat([skipped, grown], dim=1))
        return self.finish(features)
