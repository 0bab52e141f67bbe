"""The hourglass with skips: the generator of Ulyanov, Vedaldi, Lempitsky (2018), in 2-D and 3-D.

code ──┬────────── down 0 ──┬────────── down 1 ── ...      each down halves the image,
       └─ skip 0 ──┐        └─ skip 1 ──┐                  each up doubles it and
image ── up 0 ─────┴──────── up 1 ──────┴─────── ...       joins the skip of its scale
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from napari_dip.core.generators.recompute import through
from napari_dip.core.generators.volumes import Conv3d
from napari_dip.core.operators import Downsample
from napari_dip.knobs import Prior

Shape = tuple[int, ...]
Size = tuple[float, ...]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(0.2, inplace=True),
    "swish": lambda: nn.SiLU(inplace=True),
    "elu": lambda: nn.ELU(inplace=True),
}
_BY_NDIM: dict[str, tuple[Any, ...]] = {
    "conv": (nn.Conv1d, nn.Conv2d, Conv3d),
    "transposed": (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    "reflect": (nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
    "norm": (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
    "average": (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    "maximum": (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    "linear": ("linear", "bilinear", "trilinear"),
}


def halvings(shape: Shape, scales: int, smallest: int = 2, voxel_size: Size | None = None) -> list[Shape]:
    """Halving factors (1 or 2 per axis) of each scale, the finest first.

    An axis is halved as long as both halves keep at least `smallest` pixels; where no axis can be halved any more the
    hourglass ends, so a small image gets fewer scales, and a thin one is halved along its length alone. Given the
    voxel size, an axis k times as coarse as the finest is not halved for log2 k scales, until voxels are cubes.
    """
    size, voxel = list(shape), list(voxel_size or (1.0,) * len(shape))
    factors: list[Shape] = []
    for _ in range(scales):
        finest = min((v for v, n in zip(voxel, size, strict=True) if n >= 2 * smallest), default=0.0)
        coarsest = math.sqrt(2) * finest * (1 + 1e-6)  # halved, it is as far from a cube on the other side
        factor = tuple(2 if n >= 2 * smallest and v <= coarsest else 1 for v, n in zip(voxel, size, strict=True))
        if max(factor) == 1 and factors:
            break
        factors.append(factor)
        size = [math.ceil(n / f) for n, f in zip(size, factor, strict=True)]
        voxel = [v * f for v, f in zip(voxel, factor, strict=True)]
    return factors


class Hourglass(nn.Module):
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
        super().__init__()
        widths = [method.filter_size_skip]
        for sizes in (method.filter_size, method.filter_size_up):
            widths += per_scale(sizes, method.scales)
        smallest = max(2, max(widths) // 2 + 1)  # a filter of width w reflects w // 2 pixels, and norms need two
        factors = halvings(shape, method.scales, smallest, voxel_size)
        scales = len(factors)
        whole = [math.prod(f[axis] for f in factors) for axis in range(len(shape))]
        self.shape, self.recompute = shape, method.recompute == "on"
        self.canvas = tuple(w * max(smallest, math.ceil(n / w)) for n, w in zip(shape, whole, strict=True))

        down = per_scale(method.channels, scales)
        up = tuple(u or d for u, d in zip(per_scale(method.channels_up, scales), down, strict=True))
        skip = per_scale(method.skip_channels, scales)
        filter_down = per_scale(method.filter_size, scales)
        filter_up = per_scale(method.filter_size_up, scales)
        upsampling = per_scale(method.upsampling, scales)
        downsampling = per_scale(method.downsampling, scales)
        layers = _Layers(method, len(shape))

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
        self.last = _BY_NDIM["conv"][len(shape) - 1](up[0], channels, 1)
        self.output = nn.Sigmoid() if method.output == "sigmoid" else nn.Identity()

    def forward(self, code: Tensor) -> Tensor:
        """Image (1, C, *shape) made of a code (1, Z, *canvas)."""
        features = code
        skipped: list[Tensor | None] = []
        for down, skip in zip(self.downs, self.skips, strict=True):
            skipped.append(self._through(skip, features) if isinstance(skip, nn.Sequential) else None)
            for layers in down.children():
                features = self._through(layers, features)
        for up, join, bypass in zip(reversed(self.ups), reversed(self.joins), reversed(skipped), strict=True):
            given = () if bypass is None else (bypass,)
            norm, *others = join.children()
            features = self._through(partial(_joined, up, norm), features, *given)
            for layers in others:
                features = self._through(layers, features)
        image: Tensor = self.output(self.last(features).float())  # near white bfloat16 has steps of 0.004
        return crop(image, self.shape)

    def _through(self, part: Callable[..., Tensor], *given: Tensor) -> Tensor:
        return through(part, *given, recompute=self.recompute)


def _joined(up: nn.Module, norm: nn.Module, features: Tensor, bypass: Tensor | None = None) -> Tensor:
    """Features of the next finer scale, joined with those of its skip."""
    features = up(features)
    if bypass is not None:
        if features.requires_grad:  # a slice of the channels has gaps in memory: ten times as slow further back
            features.register_hook(_without_gaps)  # type: ignore[no-untyped-call]
        features = torch.cat([bypass, features], dim=1)
    return torch.as_tensor(norm(features))


def _without_gaps(gradient: Tensor) -> Tensor:
    layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(gradient.ndim, torch.contiguous_format)
    return gradient.contiguous(memory_format=layout)


class AsGiven(nn.Module):
    """A layer that computes in the precision of its input, where autocast would take float32 for no more accuracy."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return torch.as_tensor(self.layer(features))


class _Layers:
    """Factory of the layers of one hourglass, with the activation, normalisation and padding that they share."""

    def __init__(self, method: Prior, ndim: int) -> None:
        self.ndim = ndim
        self.activation = ACTIVATIONS[method.activation]
        self.normalise = method.normalisation == "batch"
        self.padding = "reflect" if method.padding == "reflection" else "zeros"

    def of(self, kind: str) -> Any:
        return _BY_NDIM[kind][self.ndim - 1]

    def norm(self, channels: int) -> nn.Module:
        # always the statistics of the image at hand, also at the end: there is no other image
        return self.of("norm")(channels, track_running_stats=False) if self.normalise else nn.Identity()

    def plain_conv(self, arriving: int, leaving: int, size: int, stride: Shape | int = 1) -> nn.Module:
        if self.padding == "zeros" or size == 1:
            return self.of("conv")(arriving, leaving, size, stride, padding=size // 2)  # type: ignore[no-any-return]
        return nn.Sequential(AsGiven(self.of("reflect")(size // 2)), self.of("conv")(arriving, leaving, size, stride))

    def conv(self, arriving: int, leaving: int, size: int) -> nn.Sequential:
        return nn.Sequential(self.plain_conv(arriving, leaving, size), self.norm(leaving), self.activation())

    def shrink(self, arriving: int, leaving: int, size: int, factor: Shape, how: str) -> nn.Sequential:
        if how == "stride":
            steps = [self.plain_conv(arriving, leaving, size, factor)]
        elif how in ("average", "maximum"):
            steps = [self.plain_conv(arriving, leaving, size), self.of(how)(factor, factor)]
        else:
            steps = [self.plain_conv(arriving, leaving, size), Downsample(factor, how)]
        return nn.Sequential(*steps, self.norm(leaving), self.activation())

    def grow(self, channels: int, factor: Shape, how: str) -> nn.Module:
        if max(factor) == 1:
            return nn.Identity()
        if how == "transposed":
            width = tuple(f + 2 for f in factor)  # with one pixel cut from each side this gives f times the size
            return self.of("transposed")(channels, channels, width, factor, padding=1)  # type: ignore[no-any-return]
        mode = "nearest" if how == "nearest" else self.of("linear")
        return AsGiven(nn.Upsample(scale_factor=tuple(float(f) for f in factor), mode=mode))


def per_scale(value: Any, scales: int) -> tuple[Any, ...]:
    """A knob as one value for each of the first `scales` scales."""
    return value[:scales] if isinstance(value, tuple) else (value,) * scales


def crop(image: Tensor, shape: Shape) -> Tensor:
    """The middle of an image (1, C, *canvas), with the spatial shape `shape`."""
    for axis, n in enumerate(shape, start=2):
        image = image.narrow(axis, (image.shape[axis] - n) // 2, n)
    return image
