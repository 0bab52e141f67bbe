"""The distance D between what the instrument would see of the restored image and what it saw."""

from __future__ import annotations

from torch import Tensor, nn


class Gaussian(nn.Module):
    """Mean square error over the measured pixels: minus the log-likelihood of white Gaussian noise, up to constants.

    Parameters
    ----------
    known : float
        Fraction of the pixels that were measured, in (0, 1]. The others are zero in both images, so they add nothing
        to the sum; dividing by the fraction makes it a mean over the measured ones.
    """

    def __init__(self, known: float = 1.0) -> None:
        super().__init__()
        self.known = known

    def forward(self, predicted: Tensor, observed: Tensor) -> Tensor:
        return (predicted - observed).square().mean() / self.known
