"""Laws that parts of the user's own must obey, as ours do; an error says which is broken, by how much, and the remedy.

Each law is tried on random numbers of the size of the problem, once, before the first iteration.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_dip.core.parts import called, shape_of

Shape = tuple[int, ...]
_NEAR = 1e-3  # relative difference up to which two results of float32 count as the same
_UNITS = 0.2, 5.0  # mean that an image of ones may have behind an operator
_FAR = 0.2  # what a fidelity must notice, of measurements that are scaled to 0..1
_FAINT = 0.02  # noise of the trial of a denoiser, of which the image has a contrast of about 0.2
_KEPT = 0.1  # root mean square up to which a denoiser may change that image: half of its contrast


def check_generator(name: str, network: Any, code_channels: int, channels: int) -> None:
    """Raise unless a network makes the image that is asked for, of a code, the same each time, and can be fitted.

    Raises
    ------
    ValueError
        If it does not.
    """
    code = torch.rand(1, code_channels, *network.canvas, generator=_random())
    wanted = (1, channels, *network.shape)
    if not any(weight.requires_grad for weight in network.parameters()):
        raise ValueError(f"generator={name!r} has no weight to fit: give a module with parameters that learn")
    with torch.random.fork_rng(devices=[]):
        image = network(code)
        with torch.no_grad():
            again = network(code)
    if tuple(image.shape) != wanted:
        gives = f"of a code {shape_of(code)}, not {shape_of(image)}"
        raise ValueError(f"generator={name!r} must make an image {wanted} {gives}")
    _finite("generator", name, image)
    if not image.requires_grad:
        raise ValueError(f"generator={name!r} must be differentiable: its image does not depend on a weight by torch")
    if (left := _difference(image, again)) > _NEAR:
        raise ValueError(
            f"generator={name!r} must give the same image for the same code: two differ by {left:.2g} of their size; "
            "take out what draws random numbers, such as dropout"
        )


def check_operator(name: str, operator: Callable[[Tensor], Tensor], image: Shape, measured: Shape) -> bool:
    """Raise unless an operator is linear, differentiable, and of about unit gain; true if it keeps a flat image.

    Raises
    ------
    ValueError
        If it does not obey one of these laws.
    """
    x, y = torch.rand(image, generator=_random(1)), torch.rand(image, generator=_random(2))
    size = f"its image_shape must give the shape of the image for a measurement {measured}"
    first = _called("operator", name, operator, x, remedy=f"it gets one tensor, and {size}")
    if not isinstance(first, Tensor):
        raise ValueError(
            f"operator={name!r} must give a measurement as a tensor of torch, not {shape_of(first)}; return it, and "
            "compute it by torch, without .detach or numpy"
        )
    if tuple(first.shape) != measured:
        raise ValueError(
            f"operator={name!r} must make a measurement {measured} of an image {image}, not {shape_of(first)}; where "
            "they differ in shape, let its image_shape give that of the image"
        )
    _finite("operator", name, first)
    mixed, other = operator(2 * x - 3 * y), operator(y)
    if (left := _difference(mixed, 2 * first - 3 * other)) > _NEAR:
        raise ValueError(
            f"operator={name!r} must be linear: A(2x - 3y) and 2A(x) - 3A(y) differ by {left:.2g} of their size; take "
            "out offsets, clipping and whatever else is no weighted sum"
        )
    place = x.clone().requires_grad_()
    differentiable = "must be differentiable: compute it by torch, without .detach or numpy"
    seen = _called("operator", name, operator, place, remedy=f"it {differentiable}")
    if not seen.requires_grad:
        raise ValueError(f"operator={name!r} {differentiable}")
    direction = torch.rand(measured, generator=_random(3))
    (back,) = torch.autograd.grad(seen, place, direction)
    there, here = float((other * direction).sum()), float((y * back).sum())
    if (left := abs(there - here) / max(abs(there), abs(here), 1e-12)) > _NEAR:
        raise ValueError(
            f"operator={name!r} must have its adjoint as gradient: <A y, d> = {there:.6g} and <y, A* d> = {here:.6g}, "
            f"which differ by {left:.2g}; mend its backward, or leave it to torch"
        )
    ones = operator(torch.ones(image))
    mean = float(ones.mean())
    if not mean:
        raise ValueError(
            f"operator={name!r} must keep the scale: an image of ones has the mean 0 behind it, which must be from "
            f"{_UNITS[0]} to {_UNITS[1]}; let some light pass, and none of it be negative"
        )
    if not _UNITS[0] <= mean <= _UNITS[1]:
        raise ValueError(
            f"operator={name!r} must keep the scale: an image of ones has the mean {mean:.4g} behind it, which must be "
            f"from {_UNITS[0]} to {_UNITS[1]}; divide the operator and the measurement by {mean:.4g}"
        )
    return float((ones - 1).abs().max()) <= _NEAR


def check_scalar(what: str, name: str, function: Callable[..., Tensor], *others: Tensor, shape: Shape) -> None:
    """Raise unless a regulariser or a fidelity gives a finite, differentiable number of an image (and a measurement).

    Raises
    ------
    ValueError
        If it does not.
    """
    image = torch.rand(shape, generator=_random(1)).requires_grad_()
    arguments = "(predicted, observed)" if others else "the image alone"
    remedy = f"it is called with {arguments}, computed by torch"
    value = _called(what, name, function, image + 0, *others, remedy=remedy)  # no leaf, which torch lets nobody change
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise ValueError(
            f"{what}={name!r} must give one number as a tensor of torch, not {shape_of(value)}; return it, and of an "
            "image take its mean"
        )
    _finite(what, name, value)
    if not value.requires_grad:
        raise ValueError(f"{what}={name!r} must be differentiable: compute it by torch, without .detach or .item")
    (slope,) = torch.autograd.grad(value.sum(), image)
    _finite(f"the gradient of {what}", name, slope)


def check_fidelity(name: str, function: Callable[[Tensor, Tensor], Tensor], shape: Shape) -> None:
    """Raise unless a fidelity is such a number, and least where nothing differs.

    It is tried on two measurements, each in place of the other: no function of one argument alone is less for both.

    Raises
    ------
    ValueError
        If it does not obey one of these laws.
    """
    low = 0.3 + 0.4 * torch.rand(shape, generator=_random(2))
    high = low + _FAR
    check_scalar("fidelity", name, function, low, shape=shape)
    for change, predicted, observed in (("added", high, low), ("subtracted", low, high)):
        best, worse = float(function(observed, observed)), float(function(predicted, observed))
        if not best < worse:
            raise ValueError(
                f"fidelity={name!r} must grow with the distance: it is {best:.4g} between a measurement and itself, "
                f"and {worse:.4g} where {_FAR} is {change}; its arguments are (predicted, observed), it must compare "
                "them, and it is minimised"
            )


def check_denoiser(name: str, function: Callable[..., Any], plane: Shape) -> None:
    """Raise unless a denoiser about keeps a smooth image with little noise: its shape, scale and contrast.

    Raises
    ------
    ValueError
        If it does not.
    """
    y, x = (np.cos(np.linspace(0, np.pi, n)) for n in plane)
    noise = _FAINT * np.random.default_rng(0).standard_normal(plane)
    image = (0.5 + 0.2 * np.add.outer(y, x) + noise).astype(np.float32)
    made = denoised(name, function, image.copy(), _FAINT)
    if (left := float(np.sqrt(np.square(made - image).mean()))) > _KEPT:
        raise ValueError(
            f"denoiser={name!r} must keep the scale: of a smooth image with mean {image.mean():.3g}, contrast "
            f"{image.std():.3g} and sigma={_FAINT} it makes one with mean {made.mean():.3g} and contrast "
            f"{made.std():.3g}, {left:.3g} away, where {_KEPT} is allowed; return the image without its noise, on the "
            "scale of the plane that it gets, 0..1"
        )


def denoised(name: str, function: Callable[..., Any], image: npt.NDArray[Any], sigma: float) -> npt.NDArray[np.float32]:
    """A plane (y, x) as a denoiser of the user's gives it back, checked."""
    remedy = f"it is called with (plane, sigma), here a {image.dtype} array scaled to 0..1 and {sigma:.3g}"
    made: npt.NDArray[Any] = _called(
        "denoiser", name, lambda *given: np.asarray(function(*given)), image, sigma, remedy=remedy
    )
    if made.shape != image.shape:
        came = made.shape or shape_of(made.item())
        raise ValueError(
            f"denoiser={name!r} must keep the shape: of an image {image.shape} it makes {came}; return an array "
            "of that shape"
        )
    if made.dtype.kind != "f":
        raise ValueError(
            f"denoiser={name!r} must make floating point numbers on the scale of the plane that it gets, 0..1, not "
            f"{made.dtype}; undo its own scaling, and return out.astype(float)"
        )
    if not np.isfinite(made).all():
        raise ValueError(f"denoiser={name!r} must make finite numbers of an image {image.shape}, not NaN or infinity")
    return made.astype(np.float32)


def on_host(part: Any) -> Any:
    """A part, or a copy of it on the CPU if it is a module."""
    return copy.deepcopy(part).cpu() if isinstance(part, nn.Module) else part


def _called(what: str, name: str, function: Callable[..., Any], *given: Any, remedy: str) -> Any:
    """Result of a part for these arguments, which it must leave as they are."""
    before = [value._version for value in given if isinstance(value, Tensor)]
    made = called(function, *given, fails=f"{what}={name!r} fails on an image {tuple(given[0].shape)}", remedy=remedy)
    if before != [value._version for value in given if isinstance(value, Tensor)]:
        raise ValueError(
            f"{what}={name!r} must leave what it gets as it is, but changes it in place; make a new tensor, as by "
            "x = x * 2 in place of x *= 2"
        )
    return made


def _random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _difference(one: Tensor, other: Tensor) -> float:
    one, other = one.detach(), other.detach()
    return float((one - other).norm() / max(float(other.norm()), 1e-12))


def _finite(what: str, name: str, values: Tensor) -> None:
    if not bool(values.isfinite().all()):
        raise ValueError(
            f"{what}={name!r} must be finite: of random numbers from 0 to 1 it makes NaN or infinity; take out what "
            "does, such as a division by zero, or the logarithm or root of zero"
        )
