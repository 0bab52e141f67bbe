"""Running average of the iterates: closer to the truth than any of them, and less sensitive to the stopping time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class RunningAverage:
    """Exponential average of a sequence of images, without the bias of its start.

    The average after n images is ``sum_k d^(n-k) x_k / sum_k d^(n-k)`` with decay d: d = 0 is the last image alone,
    d = 1 the plain mean. The variance about it has the same weights (Welford 1962, West 1979). It takes the
    memory of one image, two with the variance, however long the sequence. Its tensors keep their addresses until
    `restore`, and after `weigh` each `take` does the same work, so a CUDA graph can record it.

    Parameters
    ----------
    decay : float
        Weight of the past, 0 to 1.
    spread : bool
        True to keep the variance too.
    """

    def __init__(self, decay: float, spread: bool = False) -> None:
        self.decay = decay
        self.keeps_spread = spread
        self.mean: Tensor | None = None
        self.variance: Tensor | None = None
        self.weight = 0.0
        self._share: Tensor | None = None  # weight of the next image, on the device of the mean

    def add(self, image: Tensor) -> None:
        """Take in the next image (any shape, the same each time)."""
        self.weigh()
        self.take(image)

    def weigh(self) -> None:
        """Set the share of the next image."""
        self.weight = self.decay * self.weight + 1
        if self._share is not None:
            self._share.fill_(1 / self.weight)

    def take(self, image: Tensor) -> None:
        """Take in an image with the share that was set for it."""
        if self.mean is None or self._share is None:
            self.mean = image.clone()
            self.variance = torch.zeros_like(image) if self.keeps_spread else None
            self._share = image.new_ones(())
            return
        if self.decay == 0:
            self.mean.copy_(image)
            return
        if self.variance is not None:
            step = image - self.mean
            self.variance.addcmul_(step * self._share, step).mul_(1 - self._share)
        self.mean.lerp_(image, self._share)  # a sum would outgrow the digits of float32

    def spread(self) -> Tensor | None:
        """The standard deviation about the average, if it is kept."""
        return None if self.variance is None else self.variance.sqrt()

    def state(self) -> dict[str, Any]:
        """Mean, variance and weight, to go on from."""
        return {"mean": self.mean, "variance": self.variance, "weight": self.weight}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.mean, self.variance, self.weight = state["mean"], state["variance"], state["weight"]
        self._share = None if self.mean is None else self.mean.new_ones(())
