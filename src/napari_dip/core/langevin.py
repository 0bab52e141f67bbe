"""Posterior sampling: an optimiser with just so much noise in its steps that it draws from the posterior."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from napari_dip.core.optimiser import Optimiser, gradients


class Langevin(Optimiser):
    """Stochastic gradient Langevin dynamics (Welling, Teh 2011) for a deep image prior (Cheng et al. 2019).

    Draws weights with probability ``exp(-loss / temperature)``. The steps are preconditioned by the root mean square
    of the gradients as in Li et al., "Preconditioned Stochastic Gradient Langevin Dynamics" (2016), without the term
    for the change of the preconditioner, as there.

    Parameters
    ----------
    parameters : iterable of Parameter
        The weights to sample.
    step_length : float
        Of the drift, in units of the preconditioned gradient.
    temperature : callable
        Returns the temperature for the current loss. For a mean square error over n pixels with noise of variance v it
        is ``2 v / n``.
    random : torch.Generator
        On the device of the weights.
    """

    FORGETS = 0.99  # weight of the past in the mean square of the gradients
    FLOOR = 1e-5  # of the root mean square: bounds the noise where the gradient vanishes

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        step_length: float,
        temperature: Callable[[Tensor], Tensor | float],
        random: torch.Generator,
    ) -> None:
        super().__init__({"params": list(parameters), "step_length": step_length})
        self._temperature = temperature
        self._random = random

    def move(self, weights: list[Tensor], group: dict[str, Any], loss: Tensor) -> None:
        length, temperature = group["step_length"], self._temperature(loss)
        slopes = dict(zip(weights, gradients(weights), strict=True))
        squares = self.kept("square", weights, lambda weight: slopes[weight].square())
        for (weight, slope), square in zip(slopes.items(), squares, strict=True):
            square.lerp_(slope.square(), 1 - self.FORGETS)
            slowness = square.sqrt().add_(self.FLOOR)
            noise = torch.empty_like(weight).normal_(generator=self._random)
            weight.addcdiv_(slope, slowness, value=-length)
            weight.add_(noise * (2 * length * temperature / slowness).sqrt())
