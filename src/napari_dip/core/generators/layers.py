"""Scales and layers of the generators, with the activation, normalisation and padding they share, and their base."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from napari_dip.core.generators.recompute import through
from napari_dip.core.generators.volumes import Conv3d
from napari_dip.core.operators import Downsample
from napari_dip.tables.knobs import Prior

Shape = tuple[int, ...]
Size = tuple[float, ...]

_DARKEST = 1 / 255  # from either end of a sigmoid, where an image may begin: further out it hardly moves

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": lambda: nn.LeakyReLU(0.2, inplace=True),
    "swish": lambda: nn.SiLU(inplace=True),
    "elu": lambda: nn.ELU(inplace=True),
}
#: Layers for one, two and three axes.
BY_NDIM: dict[str, tuple[Any, ...]] = {
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


class Network(nn.Module):
    """Base of the generators: a module that makes an image (1, C, *shape) of a code (1, Z, *canvas).

    Parameters
    ----------
    shape : tuple of int
        Spatial shape of the image.
    canvas : tuple of int
        Spatial shape that the code must have.
    recompute : bool
        Compute activations a second time going backward, in place of keeping them.
    made : tuple of int, optional
        Spatial shape that is made of the code, of which the image is the middle; by default the canvas.
    """

    last: nn.Module
    output: nn.Module

    def __init__(self, shape: Shape, canvas: Shape, recompute: bool, made: Shape | None = None) -> None:
        super().__init__()
        self.shape, self.canvas, self.recompute, self.made = shape, canvas, recompute, made or canvas

    def through(self, part: Callable[..., Tensor], *given: Tensor) -> Tensor:
        """Output of one of its parts."""
        return through(part, *given, recompute=self.recompute)

    def begin_at(self, levels: Tensor) -> None:
        """Set the biases of the last layer such that a fresh image is near these intensities, one for each channel."""
        bias = cast(nn.Conv2d, self.last).bias
        assert bias is not None
        with torch.no_grad():
            levels = torch.logit(levels, _DARKEST) if isinstance(self.output, nn.Sigmoid) else levels
            bias.copy_(levels.repeat_interleave(bias.numel() // levels.numel()))

    def finish(self, features: Tensor) -> Tensor:
        """Image of the last features, cropped to its shape, by the layers `last` and `output`."""
        image: Tensor = self.output(self.last(features).float())  # near white bfloat16 has steps of 0.004
        return crop(image, self.shape)


class AsGiven(nn.Module):
    """A layer that computes in the precision of its input, where autocast would take float32 for no more accuracy."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return torch.as_tensor(self.layer(features))


class Layers:
    """Factory of the layers of one generator, with the activation, normalisation and padding that they share."""

    def __init__(self, method: Prior, ndim: int) -> None:
        self.ndim = ndim
        self.activation = ACTIVATIONS[method.activation]
        self.normalise = method.normalisation == "batch"
        self.padding = "reflect" if method.padding == "reflection" else "zeros"

        self.output = nn.Sigmoid if method.output == "sigmoid" else nn.Identity

    def of(self, kind: str) -> Any:
        return BY_NDIM[kind][self.ndim - 1]

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


def whole(factors: list[Shape], ndim: int) -> Shape:
    """Factor by which all scales together make each of `ndim` axes smaller."""
    return tuple(math.prod(f[axis] for f in factors) for axis in range(ndim))


def per_scale(value: Any, scales: int) -> tuple[Any, ...]:
    """A knob as one value for each of the first `scales` scales."""
    return value[:scales] if isinstance(value, tuple) else (value,) * scales


def crop(image: Tensor, shape: Shape) -> Tensor:
    """The middle of an image (1, C, *canvas), with the spatial shape `shape`."""
    for axis, n in enumerate(shape, start=2):
        image = image.narrow(axis, (image.shape[axis] - n) // 2, n)
    return image


def without_gaps(features: Tensor) -> Tensor:
    """The same features, whose gradient has no gaps in memory.

    That of some of the channels of a join has: ten times as slow further back.
    """
    if features.requires_grad:
        features.register_hook(_dense)  # type: ignore[no-untyped-call]
    return features


def _dense(gradient: Tensor) -> Tensor:
    layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(gradient.ndim, torch.contiguous_format)
    return gradient.contiguous(memory_format=layout)
