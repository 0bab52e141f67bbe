"""The fidelity D: distance between the measurement predicted from the restored image and the actual one.

All take ``(predicted, observed)`` and give the mean over the measured pixels, of the order of the variance of the noise
where the fit is good. Pixels that were not measured are zero in both images, so they add nothing to the sum; dividing
by the fraction that is `known` makes it a mean over the measured ones.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from napari_dip.core.noise.model import Noise
from napari_dip.core.noise.stabilise import Expected, Stabiliser


class Gaussian(nn.Module):
    """Mean square error: minus the log-likelihood of white Gaussian noise, up to constants.

    Parameters
    ----------
    known : float
        Fraction of the pixels that were measured, in (0, 1].
    """

    def __init__(self, known: float = 1.0) -> None:
        super().__init__()
        self.known = known

    def forward(self, predicted: Tensor, observed: Tensor) -> Tensor:
        return (predicted - observed).square().mean() / self.known


class PoissonGaussian(nn.Module):
    """Mean square error between the stabilised measurement and its expectation for the predicted image.

    No inverse transform is needed, so there is no bias, behind any operator. It is multiplied by the mean variance of
    the noise.

    Parameters
    ----------
    noise : Noise
        In the units of the two images.
    known : float
        Fraction of the pixels that were measured, in (0, 1].
    """

    def __init__(self, noise: Noise, known: float = 1.0) -> None:
        super().__init__()
        self.known = known
        self.variance = noise.sigma**2 or 1.0
        self.expected = Expected(Stabiliser(noise))

    def forward(self, predicted: Tensor, observed: Tensor) -> Tensor:
        error = self.expected(predicted) - self.expected.stabilised(observed)
        measured = (predicted != 0) | (observed != 0)  # at zero the transform and its expectation differ
        loss: Tensor = (error * measured).square().mean() * (self.variance / self.known)
        return loss


class Impulse(nn.Module):
    """Huber loss: quadratic up to a threshold, and linear beyond, where hot and dead pixels are.

    P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964.

    Parameters
    ----------
    threshold : float
        In the units of the two images, above 0.
    known : float
        Fraction of the pixels that were measured, in (0, 1].
    """

    def __init__(self, threshold: float, known: float = 1.0) -> None:
        super().__init__()
        self.known = known
        self.threshold = threshold

    def forward(self, predicted: Tensor, observed: Tensor) -> Tensor:
        return 2 * functional.huber_loss(predicted, observed, delta=self.threshold) / self.known


#: Standard deviations of the noise beyond which an error is taken for an impulse (95 % efficient on Gaussian noise).
_HUBER = 1.345
#: The least threshold, in the generator's range of 0 to 1.
_LEAST = 0.01


def make_fidelity(kind: str, noise: Noise | None = None, known: float = 1.0) -> nn.Module:
    """Fidelity for a kind of noise.

    Parameters
    ----------
    kind : {"gaussian", "poisson-gaussian", "impulse"}
        Model of the noise.
    noise : Noise
        In the units of the two images (`Noise.scaled`); "gaussian" needs none.
    known : float
        Fraction of the pixels that were measured, in (0, 1].

    Raises
    ------
    ValueError
        If the kind is none of these, or needs a noise.
    """
    if kind == "gaussian":
        return Gaussian(known)
    if kind not in ("poisson-gaussian", "impulse"):
        raise ValueError(f"kind={kind!r} is no fidelity; choose gaussian, poisson-gaussian or impulse")
    if noise is None:
        raise ValueError(f"kind={kind!r} needs the noise; estimate it, or choose gaussian")
    if kind == "impulse":
        return Impulse(max(_HUBER * noise.sigma, _LEAST), known)
    return PoissonGaussian(noise, known) if noise.gain > 0 else Gaussian(known)
