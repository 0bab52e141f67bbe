"""Memory and work of one fit, by a forward pass of its generator on meta tensors, which have a shape but no data.

Features, operations and weights are counted; what is its own, each method says itself.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from napari_dip.core.generators import make_generator
from napari_dip.tables.knobs import Method, Prior, SelfGuided
from napari_dip.tables.parts import OwnPart

Shape = tuple[int, ...]
Size = tuple[float, ...]
#: Layers called, bytes read and written, floating point operations, and bytes of features of a prior, all of whose
#: ways through them are in its rate; or the seconds that each of these takes.
Work = npt.NDArray[np.float64]
#: An iteration of a prior relative to a forward pass.
OF_PRIOR = np.array([1, 0, 3, 1])
_BRIEF = {"float32": 1.0, "bfloat16": 0.56}  # bytes of features relative to float32, as far as they cost time
# Measured (python -m benchmarks memory): torch 2.13 on processors with glibc.
_TWICE = {2: 0.85, 3: 0.9}  # factor on the peak where activations are recomputed
_THREAD = 0.075  # more of it in bfloat16 for each thread beyond the first: buffers of oneDNN
WEIGHTS = 8  # times the weights: these, gradients, moments, and a copy of the last good state
#: Bytes at the peak of a fit for each byte of features that a forward pass makes, by axes and precision.
Peak = dict[int, dict[str, float]]


@dataclass(frozen=True)
class Pass:
    """A forward pass: layers called, bytes of their features, floating point operations, bytes of weights and code."""

    calls: int
    made: int
    flops: int
    weights: int
    code: int

    def work(self, precision: str) -> Work:
        """The calls, bytes, operations, and the bytes as those of a prior."""
        made = _BRIEF[precision] * self.made
        return np.array([self.calls, made, self.flops, made])


def passed(
    method: Prior | SelfGuided,
    code_channels: int,
    channels: int,
    shape: Shape,
    voxel_size: Size | None = None,
    fed: Shape | None = None,
    batch: int = 1,
) -> Pass:
    """Forward pass of the generator for images (*shape); `fed` is the size of its code, by default its canvas."""
    own = isinstance(getattr(method, "generator", None), OwnPart)  # of which two may have one name
    return (_of_own if own else _passed)(method, code_channels, channels, shape, voxel_size, fed, batch)


@functools.lru_cache(maxsize=256)
def _passed(
    method: Prior | SelfGuided,
    code_channels: int,
    channels: int,
    shape: Shape,
    voxel_size: Size | None,
    fed: Shape | None,
    batch: int,
) -> Pass:
    with torch.device("meta"):
        generator = make_generator(replace(method, recompute="off"), code_channels, channels, shape, voxel_size)
        code = torch.empty(batch, code_channels, *(fed or generator.canvas))
    return _tallied(generator, code)


def _of_own(method: Prior | SelfGuided, code_channels: int, channels: int, shape: Shape, *_: Any) -> Pass:
    """Pass of a generator of the user's own, with real numbers where it takes no meta tensors."""
    with torch.random.fork_rng(devices=[]):
        generator = make_generator(method, code_channels, channels, shape)
    code = torch.zeros(1, code_channels, *generator.canvas)
    try:
        return _tallied(copy.deepcopy(generator).to("meta"), code.to("meta"), ours=False)
    except Exception:  # whatever it computes in its own way
        with torch.no_grad():
            return _tallied(generator, code, ours=False)


def _tallied(generator: nn.Module, code: Tensor, *, ours: bool = True) -> Pass:
    weights = sum(each.numel() * each.element_size() for each in generator.parameters())
    with _Tally(ours) as tally:
        generator(code)
    return Pass(tally.calls, tally.made, tally.flops, weights, code.numel() * code.element_size())


class _Tally(TorchFunctionMode):
    """Counter of calls, bytes and operations of layers on meta tensors, which say that they are on a CPU.

    Output shapes of common layers of `ours` are computed here: torch would import its compiler for them, which takes
    seconds, and triton. Those of others may be called in any way.
    """

    def __init__(self, ours: bool) -> None:
        super().__init__()
        self.ours = ours
        self.calls = self.made = self.flops = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func == Tensor.device.__get__:
            return torch.device("cpu")
        shape = _shape_of(func.__name__, args, kwargs) if self.ours else None
        if shape is not None:
            result = args[0][0].new_empty(shape) if func is torch.cat else args[0].new_empty(shape)
        else:
            result = func(*args, **kwargs)
            if not isinstance(result, Tensor) or result._is_view() or any(result is each for each in args):
                return result
        self.calls += 1
        self.made += result.numel() * result.element_size() * (not kwargs.get("inplace"))
        if func.__name__.startswith("conv"):
            few = result if "transpose" not in func.__name__ else args[0]
            self.flops += 2 * few.numel() * (args[1] if len(args) > 1 else kwargs["weight"])[0].numel()
        elif func.__name__ in ("matmul", "__matmul__"):
            self.flops += 2 * result.numel() * args[0].shape[-1]
        return result


def _shape_of(name: str, args: Any, kwargs: Any) -> list[int] | None:
    """Output shape of a common layer, called as our modules call it; None for any other."""
    match name:
        case "conv1d" | "conv2d" | "conv3d" if len(args) > 4:
            image, weight, _, stride, padding, *_ = args
            along = zip(image.shape[2:], weight.shape[2:], stride, padding, strict=True)
            return [len(image), len(weight), *((n + 2 * p - k) // s + 1 for n, k, s, p in along)]
        case "batch_norm" | "leaky_relu" | "silu" | "elu" | "sigmoid":
            return list(args[0].shape)
        case "add" | "sub" | "__add__" | "__sub__":
            return list(np.broadcast_shapes(*(each.shape for each in args if isinstance(each, Tensor))))
        case "avg_pool2d" | "avg_pool3d" | "max_pool2d" | "max_pool3d":
            return [*args[0].shape[:2], *(n // f for n, f in zip(args[0].shape[2:], args[1], strict=True))]
        case "cat":
            dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
            shape = list(args[0][0].shape)
            shape[dim] = sum(each.shape[dim] for each in args[0])
            return shape
        case "pad":
            shape = list(args[0].shape)
            for axis, (before, after) in enumerate(zip(args[1][::2], args[1][1::2], strict=True), 1):
                shape[-axis] += before + after
            return shape
        case "interpolate":
            image, factors = args[0], kwargs["scale_factor"]
            return [*image.shape[:2], *(int(n * f) for n, f in zip(image.shape[2:], factors, strict=True))]
        case "matmul" | "__matmul__":
            return [*args[0].shape[:-1], args[1].shape[-1]]
    return None


@dataclass(frozen=True)
class FitCost:
    """Cost of one fit: bytes at its peak and of its state, its work, and work done once for all runs of a problem."""

    memory: int
    state: int
    work: Work
    once: Work


def memory_of(forward: Pass, method: Method, ndim: int, peak: Peak) -> int:
    """Bytes at the peak of a fit: forward and backward pass, weights, optimiser."""
    kept = peak[ndim][method.precision]
    if method.recompute == "on":
        kept *= _TWICE[ndim]
    if method.precision == "bfloat16":
        kept += _THREAD * (method.threads - 1)
    return int(kept * forward.made + WEIGHTS * forward.weights)


def work_of(forward: Pass, method: Method, each: Work) -> Work:
    """Work of an iteration; `each` is relative to a forward pass."""
    often = 4 / 3 if method.recompute == "on" else 1
    return often * each * forward.work(method.precision)
