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
        self.total: Tensor | None = None
        self.weight = 0.0

    def add(self, image: Tensor) -> None:
        """Take in the next image (any shape, the same each time)."""
        if self.total is None:
            self.total = image.clone()
        else:
            self.total.mul_(self.decay).add_(image)
        self.weight = self.decay * self.weight + 1

    def value(self) -> Tensor:
        """The average so far.

        Raises
        ------
        ValueError
            If nothing was added yet.
        """
        if self.total is None:
            raise ValueError("the average of no images is not defined: add one first")
        return self.total / self.weight
