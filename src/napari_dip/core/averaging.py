"""The running average of the iterates: worth more than any single iterate, and flatter around the best one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class RunningAverage:
    """Exponential average of a sequence of images, without the bias of its start.

    The average after n images is ``sum_k d^(n-k) x_k / sum_k d^(n-k)`` with decay d: d = 0 is the last image alone,
    d = 1 the plain mean. The variance about it has the same weights (Welford 1962, West 1979). One image of memory,
    two with the variance, whatever the length.

    Parameters
    ----------
    decay : float
        Weight of the past, 0 to 1.
    spread : bool
        Whether to keep the variance too.
    """

    def __init__(self, decay: float, spread: bool = False) -> None:
        self.decay = decay
        self.keeps_spread = spread
        self.mean: Tensor | None = None
        self.variance: Tensor | None = None
        self.weight = 0.0

    def add(self, image: Tensor) -> None:
        """Take in the next image (any shape, the same each time)."""
        self.weight = self.decay * self.weight + 1
        if self.mean is None or self.decay == 0:
            self.mean = image.clone()
            self.variance = torch.zeros_like(image) if self.keeps_spread else None
            return
        share = 1 / self.weight
        if self.variance is not None:
            step = image - self.mean
            self.variance.addcmul_(step, step, value=share).mul_(1 - share)
        self.mean.lerp_(image, share)  # a sum would outgrow the digits of float32

    def spread(self) -> Tensor | None:
        """The standard deviation about the average, if it is kept."""
        return None if self.variance is None else self.variance.sqrt()

    def state(self) -> dict[str, Any]:
        """All there is to know of it."""
        return {"mean": self.mean, "variance": self.variance, "weight": self.weight}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.mean, self.variance, self.weight = state["mean"], state["variance"], state["weight"]
