"""Orthogonalised momentum: an optimiser that moves all directions of a filter bank alike."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Muon:
    """Muon (Jordan et al. 2024) for filter banks, Adam (Kingma and Ba 2015) for all else.

    A filter bank is a weight of more than two axes seen as a matrix, one row an output channel. Its momentum is brought
    near the closest orthogonal matrix by a Newton-Schulz iteration; matrices of one shape go through it together.

    It is used as an optimiser of torch, and its state has their form, but is none: the first of those in a process
    imports torch's compiler, which takes 1.5 s and 76 MB.

    Parameters
    ----------
    parameters : iterable of Parameter
    learning_rate : float
        Length of a step of the filter banks, as a spectral norm.
    adam_learning_rate : float
        Of all else: about a twentieth of the other.
    """

    MOMENTUM = 0.95
    BETAS = (0.9, 0.999)
    FLOOR = 1e-8
    QUINTIC = (3.4445, -4.7750, 2.0315)  # a x + b x^3 + c x^5, five times over, takes 0.01..1 to about 0.7..1.2

    def __init__(
        self, parameters: Iterable[nn.Parameter], learning_rate: float, adam_learning_rate: float = 1e-3
    ) -> None:
        parameters = list(parameters)
        banks = [p for p in parameters if _is_bank(p)]
        rest = [p for p in parameters if not _is_bank(p)]
        # numbers that change are tensors, so that a CUDA graph of the step sees them change
        self.pace = torch.ones((), device=parameters[0].device)  # factor on all steps
        self.param_groups: list[dict[str, Any]] = [
            {"params": some, "lr": rate, "count": torch.zeros_like(self.pace)}
            for some, rate in ((banks, learning_rate), (rest, adam_learning_rate))
            if some
        ]
        self._weights = banks + rest
        self.state: dict[Tensor, dict[str, Tensor]] = defaultdict(dict)

    def zero_grad(self) -> None:
        """Let go of the gradients."""
        for weight in self._weights:
            weight.grad = None

    def state_dict(self) -> dict[str, Any]:
        """A state in which weights are numbers: moments of each, and counts."""
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
        with torch.enable_grad():
            loss = closure()
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if moved and _is_bank(moved[0]):
                self._move_banks(moved, group["lr"])
            elif moved:
                self._move_rest(moved, group["lr"], group["count"].add_(1))
        return loss

    # lists go through a kernel together: a GPU takes longer to start one than to run it on a bias

    def _move_banks(self, weights: list[Tensor], rate: float) -> None:
        gradients = _gradients(weights)
        momenta = self._kept("momentum", weights)
        torch._foreach_lerp_(momenta, gradients, 1 - self.MOMENTUM)
        alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
        for weight, step in zip(weights, torch._foreach_lerp(gradients, momenta, self.MOMENTUM), strict=True):
            rows = step.movedim(1, -1)  # channels last, as they lie in memory: the order of columns changes nothing
            alike.setdefault(rows.shape, []).append((weight, rows.flatten(1)))  # the step is Nesterov's
        for shape, bank in alike.items():
            tall = max(1.0, shape[0] / shape[1:].numel()) ** 0.5
            moves = self._orthogonal(torch.stack([step for _, step in bank])) * (self.pace * (-rate * tall))
            for (weight, _), move in zip(bank, moves, strict=True):
                weight.add_(move.view(shape).movedim(-1, 1))

    def _move_rest(self, weights: list[Tensor], rate: float, count: Tensor) -> None:
        gradients = _gradients(weights)
        means, squares = self._kept("mean", weights), self._kept("square", weights)
        torch._foreach_lerp_(means, gradients, 1 - self.BETAS[0])
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1 - self.BETAS[1])
        known = [-torch.expm1(count * math.log(beta)) for beta in self.BETAS]  # 1 - beta^count, to all digits
        slowness = torch._foreach_div(squares, known[1])
        torch._foreach_sqrt_(slowness)
        torch._foreach_add_(slowness, self.FLOOR)
        torch._foreach_addcdiv_(weights, torch._foreach_mul(means, self.pace * -rate / known[0]), slowness)

    def _kept(self, name: str, weights: list[Tensor]) -> list[Tensor]:
        """Tensors kept for each weight under a name; zeros in the beginning."""
        for weight in weights:
            if name not in self.state[weight]:
                self.state[weight][name] = torch.zeros_like(weight)
        return [self.state[weight][name] for weight in weights]

    def _orthogonal(self, matrices: Tensor) -> Tensor:  # (B, m, n)
        x: Tensor = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
        tall = x.shape[1] > x.shape[2]
        x = x.mT if tall else x
        # five times x becomes p x with p a polynomial of x x^T, so that only these small squares are multiplied
        square = x @ x.mT
        one = torch.eye(square.shape[1], dtype=square.dtype, device=square.device)
        factor = p = self._polynomial(square, one)
        for _ in range(4):
            square = p @ square @ p
            p = self._polynomial(square, one)
            factor = p @ factor
        x = factor @ x
        return x.mT if tall else x

    def _polynomial(self, square: Tensor, one: Tensor) -> Tensor:
        a, b, c = self.QUINTIC
        return a * one + square @ (b * one + c * square)


def _gradients(weights: list[Tensor]) -> list[Tensor]:
    return [weight.grad for weight in weights if weight.grad is not None]


def _is_bank(weight: Tensor) -> bool:
    """True for a filter bank between several channels: there is nothing to orthogonalise in one row."""
    return weight.ndim > 2 and min(weight.shape[:2]) > 1
