"""The residual U-Net: the generator of self-guided fits, from a noisy image to a cleaner one, in 2-D and 3-D.

image ── head ── block ──┬─────────────────── + ── block ── tail ──(-)── image      each down halves the image,
                         └─ down ── ... ── up ┘              what is taken away     each up doubles it

It has no normalisation, as the statistics of a crop are not those of the image.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from napari_dip.core.generators.layers import ACTIVATIONS, BY_NDIM, Network, Shape, Size, halvings, per_scale, whole
from napari_dip.tables.knobs import SelfGuided


def halved(method: SelfGuided, shape: Shape, voxel_size: Size | None = None) -> list[Shape]:
    """Halving factors (1 or 2 per axis) of each step down."""
    return halvings(shape, method.scales - 1, 4, voxel_size) if method.scales > 1 else []


def multiples(method: SelfGuided, shape: Shape, voxel_size: Size | None = None) -> Shape:
    """Number that the size of an image must be a multiple of, along each axis."""
    return whole(halved(method, shape, voxel_size), len(shape))


class UNet(Network):
    """A U-Net of residual blocks for images of any size that is a multiple of `multiple` along each axis.

    Parameters
    ----------
    method : SelfGuided
        `channels`, `scales` (with the finest), `blocks`, `filter_size`, `padding` and `activation` are read.
    code_channels, channels : int
        Of what it is fed, whose first channels are the image, and of the image.
    shape : tuple of int
        Spatial shape of the whole image: axes that are too short for it are not halved.
    voxel_size : tuple of float, optional
        Along each axis; coarse axes are halved later, see `halvings`.
    """

    def __init__(
        self, method: SelfGuided, code_channels: int, channels: int, shape: Shape, voxel_size: Size | None = None
    ) -> None:
        factors, multiple = halved(method, shape, voxel_size), multiples(method, shape, voxel_size)
        canvas = tuple(m * math.ceil(n / m) for m, n in zip(multiple, shape, strict=True))
        super().__init__(shape, canvas, method.recompute == "on")
        widths = per_scale(method.channels, len(factors) + 1)
        sizes = per_scale(method.filter_size, len(factors) + 1)
        self.channels, self.multiple = channels, multiple
        conv, transposed = (BY_NDIM[kind][len(shape) - 1] for kind in ("conv", "transposed"))
        mode = "reflect" if method.padding == "reflection" else "zeros"

        def same(arriving: int, leaving: int, size: int, gain: float = 1) -> nn.Module:
            layer: nn.Module = conv(arriving, leaving, size, padding=size // 2, padding_mode=mode)
            layer.gain = gain  # type: ignore[assignment]
            return layer

        def blocks(i: int) -> nn.Sequential:
            return nn.Sequential(*(_Block(method, same, widths[i], sizes[i]) for _ in range(method.blocks)))

        self.head = same(code_channels, widths[0], sizes[0])
        self.before = nn.ModuleList(blocks(i) for i in range(len(factors)))
        self.downs = nn.ModuleList(conv(widths[i], widths[i + 1], f, f) for i, f in enumerate(factors))
        self.middle = blocks(len(factors))
        self.ups = nn.ModuleList(transposed(widths[i + 1], widths[i], f, f) for i, f in enumerate(factors))
        self.after = nn.ModuleList(blocks(i) for i in range(len(factors)))
        self.tail = same(widths[0], channels, sizes[0], gain=0.1)  # begins near the identity

    def forward(self, code: Tensor) -> Tensor:  # (N, Z, *S) -> (N, C, *S)
        features = self.head(code)
        kept = []
        for before, down in zip(self.before, self.downs, strict=True):
            kept.append(self.through(before, features))
            features = down(kept[-1])
        features = self.through(self.middle, features)
        for up, skipped, after in reversed(list(zip(self.ups, kept, self.after, strict=True))):
            features = self.through(after, _grown(up, features) + skipped)
        image: Tensor = code[:, : self.channels] - self.tail(features)
        return image


def _grown(up: Any, features: Tensor) -> Tensor:
    """A transposed convolution whose filters touch but do not overlap, as the matrix product that it is.

    Half the time of the general one on a CPU.
    """
    factor, ndim = up.stride, len(up.stride)
    pixels = features.movedim(1, -1) @ up.weight.movedim(1, -1).flatten(1)  # (N, *S, factors * channels)
    blocks = pixels.unflatten(-1, (*factor, up.out_channels))
    order = [0, *(axis for i in range(ndim) for axis in (1 + i, 1 + ndim + i)), 1 + 2 * ndim]
    size = [n * f for n, f in zip(features.shape[2:], factor, strict=True)]
    image = blocks.permute(order).reshape(len(features), *size, up.out_channels)
    return torch.as_tensor(image + up.bias.to(image.dtype)).movedim(-1, 1)


class _Block(nn.Module):
    """Adds a correction of two filters to its input."""

    def __init__(self, method: SelfGuided, same: Any, width: int, size: int) -> None:
        super().__init__()
        self.correction = nn.Sequential(
            same(width, width, size), ACTIVATIONS[method.activation](), same(width, width, size, gain=0.3)
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.add(features, self.correction(features))
