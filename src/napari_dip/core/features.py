"""Features of an image: what a layer of a trained network makes of it, and losses that compare or raise them.

In ``D(A f(z), y)`` they are a fidelity: it holds the features of two images against each other, not their pixels.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from napari_dip.core.parts import called, shape_of

Prepare = Callable[[Tensor], Tensor]
_SIZE = (
    "give an image of the size that it takes, with the channels first, or prepare=, which makes of it what the model "
    "takes"
)


class _Reached(BaseException):
    """The layer is reached: what comes behind is not computed. No Exception, which torch.fx would report."""

    def __init__(self, made: Any) -> None:
        super().__init__()
        self.made = made


class Features(nn.Module):
    """Output of one layer of a network for an image (1, C, *S) between 0 and 1; its weights are fixed.

    Parameters
    ----------
    model : torch.nn.Module or torch.export.ExportedProgram
        A copy is used, as in inference (`eval`).
    layer : str
        Name of a module, as in ``dict(model.named_modules())``; empty for the output of the whole.
    limits : (float, float)
        Values of the image, in the units that the model takes, that 0 and 1 stand for.
    prepare : callable, optional
        Applied to the image in those units, (1, C, *S), first: to normalise it, or to make three channels of one.

    Raises
    ------
    TypeError
        If the model is neither.
    ValueError
        If there is no such layer.
    """

    def __init__(self, model: Any, layer: str, limits: tuple[float, float], prepare: Prepare | None = None) -> None:
        super().__init__()
        self.model, self.layer, self.limits, self.prepare = as_module(model), layer, limits, prepare
        if layer and isinstance(self.model, fx.GraphModule):
            calls = (str(node.target) for node in self.model.graph.nodes if node.op == "call_module")
            if not layer.startswith(tuple(calls)):
                raise ValueError(
                    f"layer={layer!r} is not in the model, a graph whose layers are dissolved, as .module() of an "
                    "exported program is: give the program, which torch.export.load returns"
                )
        names = [name for name, _ in self.model.named_modules()]
        if layer not in names:
            known = ", ".join(filter(None, names)) or "'', its output"
            raise ValueError(f"layer={layer!r} is not in the model; choose one of {known}")

    def forward(self, image: Tensor) -> Tensor:
        low, high = self.limits
        shown = low + (high - low) * image
        size = tuple(image.shape)
        if self.prepare is not None:
            fails = f"prepare= fails on an image {size}"
            shown = called(self.prepare, shown, fails=fails, remedy="it gets a tensor (1, C, y, x)")
            if not isinstance(shown, Tensor):
                raise ValueError(f"prepare= must give a tensor that the model takes, not {shape_of(shown)}; return it")
        hook = self.model.get_submodule(self.layer).register_forward_hook(_leave)
        try:
            called(self.model, shown, fails=f"model fails on an image {size}", remedy=_SIZE)
        except _Reached as reached:
            made = reached.made
        else:
            raise ValueError(f"layer={self.layer!r} has no part in the output of the model: choose another one")
        finally:
            hook.remove()
        if not isinstance(made, Tensor):
            kind = type(made).__name__
            raise ValueError(f"layer={self.layer!r} gives a {kind}, not a tensor: choose a layer within it")
        return made


class SameFeatures(nn.Module):
    """Fidelity: squared distance of the features of two images over the squared size of those of the observed one."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features = features
        self._known: tuple[Tensor, Tensor] | None = None

    def forward(self, predicted: Tensor, observed: Tensor) -> Tensor:
        if self._known is None or self._known[0] is not observed:
            with torch.no_grad():
                self._known = observed, self.features(observed)
        wanted = self._known[1]
        error: Tensor = (self.features(predicted) - wanted).square().sum() / wanted.square().sum().clamp_min(1e-12)
        return error


class Activation(nn.Module):
    """Mean activation of one unit of a layer."""

    def __init__(self, features: Features, unit: int) -> None:
        super().__init__()
        self.features, self.unit = features, unit

    def forward(self, image: Tensor) -> Tensor:
        mean: Tensor = self.features(image)[:, self.unit].mean()
        return mean


class Excited(nn.Module):
    """Fidelity that falls with an activation a in units of `scale`: sqrt(1 + a^2) - a, which is positive for each a.

    The guard of a fit compares losses by their ratio, so none may be negative.
    """

    def __init__(self, activation: Activation, scale: float) -> None:
        super().__init__()
        self.activation, self.scale = activation, scale

    def forward(self, predicted: Tensor, observed: Tensor) -> Tensor:
        a = self.activation(predicted) / self.scale
        return torch.where(a > 0, 1 / ((1 + a.square()).sqrt() + a), (1 + a.square()).sqrt() - a)


def _leave(_: nn.Module, __: Any, made: Any) -> None:
    raise _Reached(made)


def is_program(model: Any) -> bool:
    """True for what torch.export makes or loads, told by name, as the import takes seconds."""
    return type(model).__name__ == "ExportedProgram"


def as_module(model: Any) -> nn.Module:
    """A copy of a module, or an exported program as one with the layers that it had: nothing in it learns."""
    if not isinstance(model, nn.Module):
        if not is_program(model):
            raise TypeError(f"model of type {type(model).__name__} must be a torch.nn.Module or an ExportedProgram")
        from torch.export import unflatten

        model = unflatten(model)
        for part in model.modules():
            for node in getattr(getattr(part, "graph", None), "nodes", ()):
                node.meta.clear()  # tensors without data, which no copy can be made of
    own: nn.Module = copy.deepcopy(model)
    with contextlib.suppress(NotImplementedError):  # an exported program was exported as it is to be used
        own.eval()
    return own.requires_grad_(False)
