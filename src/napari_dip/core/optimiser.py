"""Optimisers in the form of torch's, but none of its own: the first of those in a process imports torch's compiler."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam


class Optimiser:
    """Base of the optimisers: groups of weights, and what is kept of each, saved in torch's form.

    The compiler, which torch's base class imports, takes 1.1 to 1.7 s and 67 to 76 MB.

    Parameters
    ----------
    *groups : dict
        Each has weights under ``"params"``, and how these move.
    """

    def __init__(self, *groups: dict[str, Any]) -> None:
        self.param_groups = list(groups)
        self.state: dict[Tensor, dict[str, Tensor]] = defaultdict(dict)
        self._weights: list[nn.Parameter] = [weight for group in groups for weight in group["params"]]

    def zero_grad(self) -> None:
        """Let go of the gradients."""
        for weight in self._weights:
            weight.grad = None

    def state_dict(self) -> dict[str, Any]:
        """A state in which weights are numbers: what is kept of each, and the groups."""
        number: dict[Tensor, int] = {weight: i for i, weight in enumerate(self._weights)}
        groups = [{**group, "params": [number[p] for p in group["params"]]} for group in self.param_groups]
        return {"state": {number[p]: kept for p, kept in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from such a state, which is no longer the caller's."""
        self.state.clear()
        self.state.update({self._weights[i]: kept for i, kept in saved["state"].items()})
        for group, given in zip(self.param_groups, saved["param_groups"], strict=True):
            group |= {**given, "params": group["params"]}

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> Tensor:
        """Move all weights that have a gradient once the closure has computed the loss."""
        with torch.enable_grad():
            loss = closure()
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if moved:
                self.move(moved, group, loss.detach())
        return loss

    def move(self, weights: list[Tensor], group: dict[str, Any], loss: Tensor) -> None:
        """Move some weights of a group along their gradients."""
        raise NotImplementedError

    def kept(
        self, name: str, weights: list[Tensor], fresh: Callable[[Tensor], Tensor] = torch.zeros_like
    ) -> list[Tensor]:
        """Tensors kept of each weight under a name: of a fresh one, zeros."""
        for weight in weights:
            if name not in self.state[weight]:
                self.state[weight][name] = fresh(weight)
        return [self.state[weight][name] for weight in weights]


class Adam(Optimiser):
    """Adam (Kingma and Ba 2015): the function of torch, whose class would import the compiler.

    Parameters
    ----------
    parameters : iterable of Parameter
    learning_rate : float
    """

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        super().__init__({"params": list(parameters), "lr": learning_rate})
        # one kernel moves all weights, and counts steps on their device, where a CUDA graph sees them;
        # without it, torch reads the counts on the host
        device = self._weights[0].device
        self._fused = device.type in ("cpu", "cuda")
        self._counts_on = device if self._fused else torch.device("cpu")

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        super().load_state_dict(saved)
        for kept in self.state.values():
            kept["step"] = kept["step"].to(self._counts_on)

    def move(self, weights: list[Tensor], group: dict[str, Any], loss: Tensor) -> None:
        adam(
            weights,
            gradients(weights),
            self.kept("exp_avg", weights),
            self.kept("exp_avg_sq", weights),
            [],
            self.kept("step", weights, lambda _: torch.zeros((), dtype=torch.float32, device=self._counts_on)),
            fused=self._fused or None,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=group["lr"],
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )


def gradients(weights: list[Tensor]) -> list[Tensor]:
    """Gradients of weights that have one."""
    return [weight.grad for weight in weights if weight.grad is not None]
