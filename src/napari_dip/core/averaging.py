"""The running average of the iterates: worth more than any single iterate, and flatter around the best one."""

from __future__ import annotations

from torch import Tensor


class RunningAverage:
    """Exponential average of a sequence of images, without the bias of its start.

    The average after n images is ``sum_k d^(n-k) x_k / sum_k d^(n-k)`` with decay d; d = 0 is the last image alone.
    One image and one number of memory, whatever the length.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.mean: Tensor | None = None
        self.weight = 0.0

    def add(self, image: Tensor) -> None:
        """Take in the next image (any shape, the same each time)."""
        self.weight = self.decay * self.weight + 1
        if self.mean is None or self.decay == 0:
            self.mean = image.clone()
        else:
            self.mean.lerp_(image, 1 / self.weight)  # a sum would outgrow the digits of float32

    def value(self) -> Tensor:
        """The average so far.

        Raises
        ------
        ValueError
            If nothing was added yet.
        """
        if self.mean is None:
            raise ValueError("the average of no images is not defined: add one first")
        return self.mean.clone()
