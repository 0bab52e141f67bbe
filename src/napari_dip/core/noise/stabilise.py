"""Stabilisation of photon noise to unit variance, and its exact unbiased inverse."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import gammaln, xlogy  # type: ignore[import-untyped]
from torch import Tensor, nn

if TYPE_CHECKING:
    from napari_dip.core.noise.model import Noise

Array = npt.NDArray[np.float64]

_NODES = 2048
#: Beyond this many photons (plus variance of the read noise) moments give the expectation to 1e-5.
_MANY = 100.0


class Stabiliser:
    """The generalised Anscombe transform for one kind of noise; division by sigma if the noise ignores the signal.

    In photons, for a read noise of r photons, it is ``2 sqrt(max(y + 3/8 + r**2, 0))`` (Starck, Murtagh and Bijaoui
    1998). Its expectation for a pixel of mean x is ``2 root + correction(1 / root)`` with ``root = sqrt(x + 3/8 +
    r**2)``: the correction vanishes for bright pixels, and for dim ones is tabulated from the distribution of the
    photons. Its inverse is the exact unbiased inverse (Mäkitalo and Foi 2011, 2013).

    Parameters
    ----------
    noise : Noise
        In the units of the image. All methods take and give float64 arrays of any shape.
    """

    def __init__(self, noise: Noise) -> None:
        self.offset = noise.offset
        self.signal_dependent = noise.gain > 0
        #: Counts per photon, or per standard deviation if the noise does not depend on the signal.
        self.unit = noise.gain if self.signal_dependent else (noise.read_noise or noise.sigma or 1.0)
        read_variance = (noise.read_noise / self.unit) ** 2
        #: Square of the root at no light.
        self.dark = 3 / 8 + read_variance
        self.step = 1 / np.sqrt(self.dark) / (_NODES - 1)
        self.correction, self.slope_in_the_dark = np.zeros(_NODES), 1.0
        if self.signal_dependent:
            self.correction, self.slope_in_the_dark = _table(read_variance)

    def forward(self, y: npt.ArrayLike) -> Array:
        """A measurement, stabilised: the noise has a variance of about 1."""
        photons = (np.asarray(y, np.float64) - self.offset) / self.unit
        if not self.signal_dependent:
            return np.asarray(photons)
        return 2 * np.sqrt(np.maximum(photons + self.dark, 0))

    def expected(self, x: npt.ArrayLike) -> Array:
        """Mean of the stabilised measurements of a pixel of mean x; a straight line below the offset."""
        photons = (np.asarray(x, np.float64) - self.offset) / self.unit
        if not self.signal_dependent:
            return np.asarray(photons)
        lit = np.maximum(photons, 0)
        root = np.sqrt(lit + self.dark)
        return 2 * root + self._corrected(root) + self.slope_in_the_dark * (photons - lit)

    def inverse(self, d: npt.ArrayLike) -> Array:
        """The mean of a pixel whose stabilised measurements have the mean d: undoes `expected`."""
        d = np.asarray(d, np.float64)
        if not self.signal_dependent:
            return np.asarray(d * self.unit + self.offset)
        dark = float(self.expected(self.offset))
        lit = np.maximum(d, dark)
        root = np.sqrt(np.square(lit / 2) + 1 / 4)
        for _ in range(40):  # Newton's method; few steps are needed
            slope = 2 + (self._corrected(root * 1.0001) - self._corrected(root / 1.0001)) / (root * 2e-4)
            step = (2 * root + self._corrected(root) - lit) / slope
            root = np.maximum(root - step, np.sqrt(self.dark))
            if np.abs(step).max(initial=0) < 1e-9:
                break
        photons = np.square(root) - self.dark
        return np.asarray((photons + (d - lit) / self.slope_in_the_dark) * self.unit + self.offset)

    def _corrected(self, root: Array) -> Array:
        return np.asarray(np.interp(1 / root / self.step, np.arange(_NODES), self.correction))


class Expected(nn.Module):
    """`Stabiliser.expected` for tensors of any shape, with gradients; costs a look-up in a table."""

    correction: Tensor

    def __init__(self, stabiliser: Stabiliser) -> None:
        super().__init__()
        self.stabiliser = stabiliser
        self.register_buffer("correction", torch.tensor(stabiliser.correction, dtype=torch.float32), persistent=False)

    def stabilised(self, y: Tensor) -> Tensor:
        """`Stabiliser.forward` for tensors."""
        table = self.stabiliser
        photons = (y - table.offset) / table.unit
        return 2 * (photons + table.dark).clamp(min=0).sqrt() if table.signal_dependent else photons

    def forward(self, x: Tensor) -> Tensor:
        table = self.stabiliser
        photons: Tensor = (x - table.offset) / table.unit
        if not table.signal_dependent:
            return photons
        lit = photons.clamp(min=0)
        root = (lit + table.dark).sqrt()
        place = root.reciprocal() / table.step
        before = place.detach().nan_to_num().clamp(0, _NODES - 2).long()  # a diverged run must not break a GPU
        low, high = self.correction[before], self.correction[before + 1]
        corrected = low + (high - low) * (place - before)
        expected: Tensor = 2 * root + corrected + table.slope_in_the_dark * (photons - lit)
        return expected


@lru_cache(maxsize=16)
def _table(read_variance: float) -> tuple[Array, float]:
    """The correction at each node of ``1 / root``, which is not to be written to, and the slope at no light."""
    dark, first = 3 / 8 + read_variance, 1e-3
    root = 1 / (1 / np.sqrt(dark) / (_NODES - 1) * np.arange(1, _NODES))
    photons = np.maximum(np.square(root) - dark, 0)
    correction = np.concatenate([[0.0], _expected(photons, read_variance) - 2 * root])
    correction.flags.writeable = False
    here, there = _expected(np.array([0, first]), read_variance)
    return correction, float(there - here) / first


def _expected(photons: Array, read_variance: float) -> Array:
    """Mean of ``2 sqrt(max(y + 3/8 + v, 0))`` where y has Poisson photons and Gaussian read noise of variance v."""
    square = photons + 3 / 8 + read_variance
    variance = photons + read_variance
    # Taylor's series about the mean, to the fourth central moment
    expected = 2 * np.sqrt(square) - variance / 4 * square**-1.5 + photons / 8 * square**-2.5
    expected -= 5 / 64 * (photons + 3 * variance**2) * square**-3.5
    few = square < _MANY
    if few.any():
        counts = np.arange(int(_MANY + 12 * np.sqrt(_MANY)) + 1)
        normal, step = np.linspace(-8, 8, 801, retstep=True)
        density = np.exp(-(normal**2) / 2) * step / np.sqrt(2 * np.pi)
        values = counts[:, None] + np.sqrt(read_variance) * normal + 3 / 8 + read_variance
        by_count = 2 * np.sqrt(np.maximum(values, 0)) @ density
        light = photons[few, None]
        expected[few] = np.exp(xlogy(counts, light) - light - gammaln(counts + 1)) @ by_count
    return np.asarray(expected)
