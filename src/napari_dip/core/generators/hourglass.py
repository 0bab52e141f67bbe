"""The hourglass with skips: the generator of Ulyanov, Vedaldi, Lempitsky (2018), in 2-D and 3-D.

code ──┬────────── down 0 ──┬────────── down 1 ── ...      each down halves the image,
       └─ skip 0 ──┐        └─ skip 1 ──┐                  each up doubles it and
image ── up 0 ─────┴──────── up 1 ──────┴─────── ...       joins the skip of its scale
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from napari_dip.core.generators.layers import Layers, Network, Shape, Size, halvings, per_scale, whole, without_gaps
from napari_dip.tables.knobs import Prior


class Hourglass(Network):
    """The hourglass for images of one shape.

    Parameters
    ----------
    method : Prior
        `channels`, `channels_up`, `scales`, `skip_channels`, the filter sizes, `pointwise_up`, `upsampling`,
        `downsampling`, `padding`, `activation`, `normalisation` and `output` are read.
    code_channels, channels : int
        Of the code and of the image.
    shape : tuple of int
        Spatial shape of the image. `canvas` is the shape its code must have: each axis rounded up so that it can be
        halved all the way down, and wide enough for reflection at the coarsest scale. The output is cropped back.
    voxel_size : tuple of float, optional
        Along each axis; coarse axes are halved later, see `halvings`.
    """

    def __init__(
        self, method: Prior, code_channels: int, channels: int, shape: Shape, voxel_size: Size | None = None
    ) -> None:
        widths = [method.filter_size_skip]
        for sizes in (method.filter_size, method.filter_size_up):
            widths += per_scale(sizes, method.scales)
        smallest = max(2, max(widths) // 2 + 1)  # a filter of width w reflects w // 2 pixels, and norms need two
        factors = halvings(shape, method.scales, smallest, voxel_size)
        scales = len(factors)
        canvas = (w * max(smallest, math.ceil(n / w)) for n, w in zip(shape, whole(factors, len(shape)), strict=True))
        super().__init__(shape, tuple(canvas), method.recompute == "on")

        down = per_scale(method.channels, scales)
        up = tuple(u or d for u, d in zip(per_scale(method.channels_up, scales), down, strict=True))
        skip = per_scale(method.skip_channels, scales)
        filter_down = per_scale(method.filter_size, scales)
        filter_up = per_scale(method.filter_size_up, scales)
        upsampling = per_scale(method.upsampling, scales)
        downsampling = per_scale(method.downsampling, scales)
        layers = Layers(method, len(shape))

        self.downs = nn.ModuleList()
        self.skips = nn.ModuleList()
        self.ups = nn.ModuleList()
        self.joins = nn.ModuleList()
        arriving = code_channels
        for i in range(scales):
            self.skips.append(layers.conv(arriving, skip[i], method.filter_size_skip) if skip[i] else nn.Module())
            self.downs.append(
                nn.Sequential(
                    layers.shrink(arriving, down[i], filter_down[i], factors[i], downsampling[i]),
                    layers.conv(down[i], down[i], filter_down[i]),
                )
            )
            arriving = down[i]
            deeper = up[i + 1] if i + 1 < scales else down[i]
            self.ups.append(layers.grow(deeper, factors[i], upsampling[i]))
            join = [layers.norm(skip[i] + deeper), layers.conv(skip[i] + deeper, up[i], filter_up[i])]
            if method.pointwise_up:
                join.append(layers.conv(up[i], up[i], 1))
            self.joins.append(nn.Sequential(*join))
        self.last = layers.of("conv")(up[0], channels, 1)
        self.output = layers.output()

    def forward(self, code: Tensor) -> Tensor:
        """Image (1, C, *shape) made of a code (1, Z, *canvas)."""
        features = code
        skipped: list[Tensor | None] = []
        for down, skip in zip(self.downs, self.skips, strict=True):
            skipped.append(self.through(skip, features) if isinstance(skip, nn.Sequential) else None)
            for layers in down.children():
                features = self.through(layers, features)
        for up, join, bypass in zip(reversed(self.ups), reversed(self.joins), reversed(skipped), strict=True):
            given = () if bypass is None else (bypass,)
            norm, *others = join.children()
            features = self.through(partial(_joined, up, norm), features, *given)
            for layers in others:
                features = self.through(layers, features)
        return self.finish(features)


def _joined(up: nn.Module, norm: nn.Module, features: Tensor, bypass: Tensor | None = None) -> Tensor:
    """Features of the next finer scale, joined with those of its skip."""
    features = up(features)
    if bypass is not None:
        features = torch.cat([bypass, without_gaps(features)], dim=1)
    return torch.as_tensor(norm(features))
