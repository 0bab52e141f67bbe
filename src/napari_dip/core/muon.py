"""Orthogonalised momentum: an optimiser that moves all directions of a filter bank alike."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from napari_dip.core.optimiser import Optimiser, gradients


class Muon(Optimiser):
    """Muon (Jordan et al. 2024) for filter banks, Adam (Kingma and Ba 2015) for all else.

    A filter bank is a weight of more than two axes seen as a matrix, one row an output channel. Its momentum is brought
    near the closest orthogonal matrix by a Newton-Schulz iteration; matrices of one shape go through it together.

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
        super().__init__(
            *(
                {"params": some, "lr": rate, "count": torch.zeros_like(self.pace)}
                for some, rate in ((banks, learning_rate), (rest, adam_learning_rate))
                if some
            )
        )

    def move(self, weights: list[Tensor], group: dict[str, Any], loss: Tensor) -> None:
        if _is_bank(weights[0]):
            self._move_banks(weights, group["lr"])
        else:
            self._move_rest(weights, group["lr"], group["count"].add_(1))

    # lists go through a kernel together: a GPU takes longer to start one than to run it on a bias

    def _move_banks(self, weights: list[Tensor], rate: float) -> None:
        slopes = gradients(weights)
        momenta = self.kept("momentum", weights)
        torch._foreach_lerp_(momenta, slopes, 1 - self.MOMENTUM)
        alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
        for weight, step in zip(weights, torch._foreach_lerp(slopes, momenta, self.MOMENTUM), strict=True):
            rows = step.movedim(1, -1)  # channels last, as they lie in memory: the order of columns changes nothing
            alike.setdefault(rows.shape, []).append((weight, rows.flatten(1)))  # the step is Nesterov's
        for shape, bank in alike.items():
            tall = max(1.0, shape[0] / shape[1:].numel()) ** 0.5
            moves = self._orthogonal(torch.stack([step for _, step in bank])) * (self.pace * (-rate * tall))
            for (weight, _), move in zip(bank, moves, strict=True):
                weight.add_(move.view(shape).movedim(-1, 1))

    def _move_rest(self, weights: list[Tensor], rate: float, count: Tensor) -> None:
        slopes = gradients(weights)
        means, squares = self.kept("mean", weights), self.kept("square", weights)
        torch._foreach_lerp_(means, slopes, 1 - self.BETAS[0])
        torch._foreach_lerp_(squares, torch._foreach_mul(slopes, slopes), 1 - self.BETAS[1])
        known = [-torch.expm1(count * math.log(beta)) for beta in self.BETAS]  # 1 - beta^count, to all digits
        slowness = torch._foreach_div(squares, known[1])
        torch._foreach_sqrt_(slowness)
        torch._foreach_add_(slowness, self.FLOOR)
        torch._foreach_addcdiv_(weights, torch._foreach_mul(means, self.pace * -rate / known[0]), slowness)

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


def _is_bank(weight: Tensor) -> bool:
    """True for a filter bank between several channels: there is nothing to orthogonalise in one row."""
    return weight.ndim > 2 and min(weight.shape[:2]) > 1
