"""Photons: the intensities in which a self-guided fit adds noise, and the stabilised ones that its generator sees."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_dip.core.noise.model import Noise


class Stabilised:
    """Intensities as photons, and photons as what the generator sees: noise of unit variance.

    Without photon noise the photons are intensities in units of sigma.
    """

    def __init__(self, noise: Noise, observation: npt.NDArray[np.float32]) -> None:
        span = float(np.ptp(observation))
        # a gain that hardly changes the variance over the image would only cost digits
        self.lit = noise.gain * span > 0.05 * noise.read_noise**2 and noise.gain > 0
        self.unit = noise.gain if self.lit else max(noise.sigma, 1e-6)
        self.offset = noise.offset if self.lit else 0.0
        self.read_variance = (noise.read_noise / self.unit) ** 2 if self.lit else 1.0
        #: Variance below which no pixel counts for more.
        self.dimmest = self.read_variance + 0.5 if self.lit else 1.0

    def photons(self, intensities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray((intensities - self.offset) / self.unit)

    def intensities(self, photons: Tensor) -> Tensor:
        return photons * self.unit + self.offset

    def variance(self, photons: Tensor) -> Tensor:
        return (photons + self.read_variance).clamp(min=0) if self.lit else torch.ones_like(photons)

    def skewness(self, photons: Tensor) -> Tensor:
        """Skewness of the noise: that of a Poisson distribution of half a photon or more, with the read noise added."""
        if not self.lit:
            return torch.zeros_like(photons)
        some = photons.clamp(min=0.5)  # an estimate of none may be of a few, and is no sign of Gaussian noise
        return some / self.variance(some) ** 1.5

    def stabilise(self, photons: Tensor) -> Tensor:
        if not self.lit:
            return photons
        return 2 * (photons + 3 / 8 + self.read_variance).clamp(min=0.01).sqrt()

    def undo(self, stabilised: Tensor) -> Tensor:
        """The algebraic inverse: the loss is taken in photons, so that nothing needs to be unbiased here."""
        if not self.lit:
            return stabilised
        return stabilised.clamp(min=0.05).square() / 4 - 3 / 8 - self.read_variance
