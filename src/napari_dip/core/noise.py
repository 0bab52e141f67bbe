"""The noise of one image, in physical words: what a camera adds to the photons that a sample sends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from napari_dip.core.intensity import Scaling

#: Below this correlation between direct neighbours, noise counts as independent from pixel to pixel.
INDEPENDENT = 0.1


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Noise whose variance is a linear function of the mean: ``gain * (mean - offset) + read_noise**2``.

    Attributes
    ----------
    gain : float
        Counts per photo-electron; 0 if the noise does not depend on the signal.
    offset : float
        Counts at no light.
    read_noise : float
        Standard deviation at no light, in counts.
    sigma : float
        Standard deviation over the whole image (root of the mean variance), in counts.
    correlation : float
        Between direct neighbours, averaged over the axes: 0 if they are independent.
    autocorrelation : float array, one axis per spatial axis of the image, all of odd length
        Correlation of the noise at two pixels by their distance; 1 in the middle.
    impulses : float
        Fraction of hot, dead, salt and pepper pixels, which the figures above leave out.
    warning : str
        Why the figures are not to be relied on, as a sentence; empty if they are.
    """

    gain: float
    offset: float
    read_noise: float
    sigma: float
    correlation: float = 0.0
    autocorrelation: npt.NDArray[np.float64] = field(default_factory=lambda: np.ones((1, 1)), compare=False)
    impulses: float = 0.0
    warning: str = ""

    def variance(self, mean: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Variance of the noise where the mean is as given, counts squared."""
        photons = np.maximum(np.asarray(mean, np.float64) - self.offset, 0)
        return np.asarray(self.gain * photons + self.read_noise**2)

    def scaled(self, scaling: Scaling) -> Noise:
        """The same noise for intensities that a scaling has been applied to."""
        step = scaling.high - scaling.low
        return replace(
            self,
            gain=self.gain / step,
            offset=(self.offset - scaling.low) / step,
            read_noise=self.read_noise / step,
            sigma=self.sigma / step,
        )
