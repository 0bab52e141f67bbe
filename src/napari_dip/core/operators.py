"""The instrument A, which makes the measurement of the image that is sought.

An operator is a `torch.nn.Module` that maps an image (1, C, *S) to what would be measured, and knows the shape an
image must have (`image_shape`) for a given shape of the measurement. All are linear; autograd gives the adjoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from scipy.fft import next_fast_len  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional as F

from napari_dip.core.parts import Own
from napari_dip.tables.numbers import is_whole
from napari_dip.tables.parts import OwnPart, said_of

Shape = tuple[int, ...]
Place = tuple[slice, ...]


class Operator(nn.Module):
    """Base of the operators; on its own the identity: the image is measured as it is (denoising)."""

    def forward(self, image: Tensor) -> Tensor:
        return image

    @classmethod
    def of(cls, request: Any) -> Operator | None:
        """The operator that a `Request` asks for; None if it does not ask for one of this kind."""
        return cls()

    def image_shape(self, measured: Shape) -> Shape:
        """Spatial shape of the image whose measurement has the spatial shape `measured`."""
        return measured

    def crop(self, measured: Place) -> Operator:
        """The instrument of a part of the measurement: itself, if it does the same everywhere."""
        return self


Identity = Operator


class Mask(Operator):
    """Only some pixels are measured; the others read zero.

    Parameters
    ----------
    known : Tensor of bool, (1, C or 1, *S)
        True where a pixel is measured.
    """

    known: Tensor

    def __init__(self, known: Tensor) -> None:
        super().__init__()
        self.register_buffer("known", known)

    def forward(self, image: Tensor) -> Tensor:
        return torch.where(self.known, image, 0)

    def crop(self, measured: Place) -> Operator:
        return Mask(self.known[(slice(None), slice(None), *measured)])


class Downsample(Operator):
    """A coarser grid: each axis is low-pass filtered and sampled at every `factor`-th position.

    The grids share their outline: a coarse pixel covers `factor` fine ones and its filter is centred on them. Beyond
    the border the edge value continues. Filters sum to one, so the mean of a flat image is kept.

    Parameters
    ----------
    factor : sequence of int
        Fine pixels per coarse pixel, one per spatial axis; 1 leaves an axis as it is.
    kernel : {"lanczos2", "lanczos3", "bicubic", "gaussian", "box"}
        Lanczos (Duchon 1979) with two or three lobes; Keys' cubic (1981, a = -0.5), both stretched by the factor;
        a Gaussian whose standard deviation is half a coarse pixel; the mean over the coarse pixel (camera binning).
    """

    def __init__(self, factor: Sequence[int], kernel: str = "lanczos2") -> None:
        super().__init__()
        if any(int(f) != f or f < 1 for f in factor):
            raise ValueError(f"factor={tuple(factor)} must be whole numbers of at least 1")
        self.factor = tuple(int(f) for f in factor)
        self.kernel = kernel
        for axis, f in enumerate(self.factor):
            self.register_buffer(f"taps{axis}", taps(kernel, f))

    @classmethod
    def of(cls, request: Any) -> Operator | None:
        return cls(request.factor, request.kernel) if request.factor else None

    def forward(self, image: Tensor) -> Tensor:
        ndim = len(self.factor)
        convolve = _CONVOLVE[ndim]
        channels = image.shape[1]
        for axis, f in enumerate(self.factor):
            if f == 1:
                continue
            weights: Tensor = getattr(self, f"taps{axis}")
            n = len(weights)
            border = (n - f) // 2
            along = [1] * ndim
            along[axis] = n
            stride = [1] * ndim
            stride[axis] = f
            edges = [0, 0] * ndim
            edges[2 * (ndim - 1 - axis)] = edges[2 * (ndim - 1 - axis) + 1] = border  # F.pad counts from the last axis
            image = F.pad(image, edges, mode="replicate") if border else image
            filters = weights.to(image).reshape(1, 1, *along).expand(channels, 1, *along)
            image = convolve(image, filters, stride=stride, groups=channels)
        return image

    def image_shape(self, measured: Shape) -> Shape:
        return tuple(n * f for n, f in zip(measured, self.factor, strict=True))


class Blur(Operator):
    """A convolution with the point spread function (PSF) of the instrument, by fast Fourier transforms.

    Light from beyond the border of the measurement is in it too. It is not known, so it is sought: the image is larger
    than the measurement by `margin` on each side, and further out its edge values continue.

    Parameters
    ----------
    psf : Tensor (*K)
        Its centre is its middle, so all sizes are odd, and its sum is one, so that a flat image keeps its value. On the
        grid of the image.
    margin : sequence of int
        Pixels by which the image is larger than what is measured, at each end of each axis; see `margin_of`.
    """

    psf: Tensor

    def __init__(self, psf: Tensor, margin: Sequence[int]) -> None:
        super().__init__()
        if any(n % 2 == 0 for n in psf.shape) or not abs(float(psf.sum()) - 1) < 1e-3:
            raise ValueError(
                f"psf of shape {tuple(psf.shape)} and sum {float(psf.sum())} must have odd sizes and sum 1"
            )
        self.margin = tuple(min(int(m), n // 2) for m, n in zip(margin, psf.shape, strict=True))
        self.register_buffer("psf", psf)
        self._transfer: tuple[tuple[object, ...], Tensor] | None = None

    @classmethod
    def of(cls, request: Any) -> Operator | None:
        return None if request.psf is None else cls(torch.from_numpy(request.psf), request.margin)

    def forward(self, image: Tensor) -> Tensor:
        axes = tuple(range(2, image.ndim))
        beyond = [n // 2 - m for n, m in zip(self.psf.shape, self.margin, strict=True)]
        measured = [n - 2 * m for n, m in zip(image.shape[2:], self.margin, strict=True)]
        if any(beyond):
            edges = [side for reach in reversed(beyond) for side in (reach, reach)]  # F.pad counts from the last axis
            image = F.pad(image, edges, mode="replicate")
        # what wraps around falls on places that are not measured
        sizes = [next_fast_len(n, real=True) for n in image.shape[2:]]
        spectrum = torch.fft.rfftn(image, sizes, axes) * self._transfer_on(sizes, image)
        blurred: Tensor = torch.fft.irfftn(spectrum, sizes, axes)
        for axis, (n, size) in enumerate(zip(measured, self.psf.shape, strict=True), start=2):
            blurred = blurred.narrow(axis, size - 1, n)
        return blurred

    def _transfer_on(self, sizes: list[int], image: Tensor) -> Tensor:
        """Fourier transform of the PSF on a canvas; computed once for each."""
        key = (*sizes, image.dtype, image.device)
        if self._transfer is None or self._transfer[0] != key:
            self._transfer = (key, torch.fft.rfftn(self.psf.to(image), sizes))
        return self._transfer[1]

    def image_shape(self, measured: Shape) -> Shape:
        return tuple(n + 2 * m for n, m in zip(measured, self.margin, strict=True))


class OwnOperator(Operator):
    """An instrument of the user's own: any linear function of torch of an image (1, C, *image).

    Parameters
    ----------
    name : OwnPart
        Its attribute `image_shape`, if it has one, is the spatial shape of the image, or a function that gives it for
        that of the measurement; else the two are the same.
    """

    def __init__(self, name: OwnPart) -> None:
        super().__init__()
        self.own = Own("operator", name, name.part)

    @classmethod
    def of(cls, request: Any) -> Operator | None:
        return None if request.operator is None else cls(request.operator)

    def forward(self, image: Tensor) -> Tensor:
        measured: Tensor = self.own(image)
        return measured

    def image_shape(self, measured: Shape) -> Shape:
        said = getattr(self.own.part, "image_shape", measured)
        must = f"{self.own}: its image_shape must give {len(measured)} whole numbers from 1 on"
        try:
            shape = said(measured) if callable(said) else said
            sides = tuple(shape)
        except Exception as error:
            raise ValueError(f"{must} for a measurement {measured}, and fails: {said_of(error)}") from error
        whole = all(map(is_whole, sides))
        # a measurement of no pixels is asked for what lies around each
        if not whole or len(sides) != len(measured) or (all(measured) and min(sides) < 1):
            raise ValueError(f"{must} for a measurement {measured}, not {shape!r}")
        return tuple(map(int, sides))


class Compose(Operator):
    """Several operators, the first one applied first: ``Compose(Downsample(...), Mask(...))``."""

    def __init__(self, *operators: Operator) -> None:
        super().__init__()
        self.operators = nn.ModuleList(operators)

    def forward(self, image: Tensor) -> Tensor:
        for operator in self.operators:
            image = operator(image)
        return image

    def image_shape(self, measured: Shape) -> Shape:
        for operator in reversed(self.operators):
            measured = operator.image_shape(measured)  # type: ignore[operator]
        return measured

    def crop(self, measured: Place) -> Operator:
        cropped: list[Operator] = []
        for operator in reversed(self.operators):
            assert isinstance(operator, Operator)
            cropped.insert(0, operator.crop(measured))
            measured = seen_by(operator, measured)
        return Compose(*cropped)


def blurs(operator: nn.Module) -> bool:
    """True if a point spread function is a part of the operator."""
    return any(isinstance(part, Blur) for part in operator.modules())


def refines_grid(operator: nn.Module) -> bool:
    """True if the image that is sought is on a finer grid than the measurement."""
    return any(isinstance(part, Downsample) for part in operator.modules())


def seen_by(operator: Operator, measured: Place) -> Place:
    """Part of the image that a part of the measurement shows."""
    more = operator.image_shape((0,) * len(measured))  # around any part: light comes in from there
    starts = operator.image_shape(tuple(part.start for part in measured))
    stops = operator.image_shape(tuple(part.stop for part in measured))
    return tuple(slice(start - m, stop) for start, m, stop in zip(starts, more, stops, strict=True))


_CONVOLVE: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def _lanczos(lobes: int) -> Callable[[float], float]:
    def sinc(x: float) -> float:
        return math.sin(math.pi * x) / (math.pi * x) if x else 1.0

    return lambda x: sinc(x) * sinc(x / lobes) if abs(x) < lobes else 0.0


def _cubic(x: float) -> float:
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


#: name -> (profile over the distance in coarse pixels, half its width in coarse pixels)
KERNELS: dict[str, tuple[Callable[[float], float], float]] = {
    "lanczos2": (_lanczos(2), 2),
    "lanczos3": (_lanczos(3), 3),
    "bicubic": (_cubic, 2),
    "gaussian": (lambda x: math.exp(-2 * x * x), 2),
    "box": (lambda x: 1.0, 0.5),
}


def taps(kernel: str, factor: int) -> Tensor:
    """Weights of a low-pass kernel on the fine grid, centred on a coarse pixel, with sum one.

    Their number has the parity of the factor: a coarse pixel is centred on a fine one where the factor is odd, between
    two where it is even.

    Raises
    ------
    ValueError
        If the kernel is not known.
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel={kernel!r} is not known: choose one of {', '.join(KERNELS)}")
    profile, half_width = KERNELS[kernel]
    count = 2 * math.ceil(half_width * factor - factor / 2) + factor
    weights = torch.tensor([profile((i - (count - 1) / 2) / factor) for i in range(count)], dtype=torch.float64)
    return (weights / weights.sum()).float()
