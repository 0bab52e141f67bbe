"""The model of noise: what a camera adds to the photons that a sample sends, in its physical quantities."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from napari_dip.core.intensity import Scaling

#: Below this correlation between direct neighbours, noise counts as independent from pixel to pixel.
INDEPENDENT = 0.1
#: Contrast above which hardly any noise is there: up to 60 with noise of a camera or added, 5 to 82 in averages of many
#: frames, 79 to 6000 in ramps, hills and clean photographs without any.
_HARD = 75
#: Contrast up to which a few bright cells may hide the photon noise of the rest: 95 and 219 were found where they did.
#: Slopes of a smooth spot look like photons too: 520 was found there, without noise.
_BRIGHT = 300


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Noise whose variance is a linear function of the mean: ``gain * (mean - offset) + read_noise**2``.

    Attributes
    ----------
    gain : float
        Counts per photo-electron; 0 if the noise does not depend on the signal.
    offset : float
        Counts at no light, as far as the image tells; of no meaning if the noise does not depend on the signal.
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
    contrast : float
        SNR: standard deviation of the structure over that of the noise; infinite if it is not known.
    fine : float
        Power of structure that means of 2x2 pixels lose, over the variance of the noise, at the most; infinite if it
        is not known.
    counting : bool
        True for an image from a photon counter: whole multiples of the gain, and its lowest value at no light, so that
        photons are all the noise.
    limited : bool
        True if much of the image is at a limit of its range, and all that makes the figures doubtful is that they are
        those of the rest.
    detail : float
        Sigma by the finest detail of a small image, where that is alike everywhere and the figures are a guess; else 0.
    given : bool
        True if the camera says gain, offset and read noise, and nothing in the image speaks against them.
    warning : str
        Sentence that says why not to rely on the figures; empty if they can be relied on.
    caution : str
        Sentence on what the figures may be besides noise; empty if there is none. The choice of a method relies on
        them all the same.
    """

    gain: float
    offset: float
    read_noise: float
    sigma: float
    correlation: float = 0.0
    autocorrelation: npt.NDArray[np.float64] = field(default_factory=lambda: np.ones((1, 1)), compare=False)
    impulses: float = 0.0
    contrast: float = np.inf
    fine: float = np.inf
    counting: bool = False
    limited: bool = False
    detail: float = 0.0
    given: bool = False
    warning: str = ""
    caution: str = ""

    @property
    def independent(self) -> bool:
        """True if the noise of neighbouring pixels counts as independent.

        The correlation must be below 0.1 on average over the axes, and below 0.2 along each: along a single one, fine
        stripes of the sample are easily taken for noise.
        """
        return self.correlation < INDEPENDENT and self._shared < 2 * INDEPENDENT

    @property
    def _shared(self) -> float:
        """Largest correlation between direct neighbours along an axis; `correlation` if it is not known by axis."""
        beside = between_neighbours(self.autocorrelation)
        return max(beside) if beside else self.correlation

    @property
    def far(self) -> float:
        """Correlation of pixels two apart, averaged over the axes; 0 if it is not known."""
        return float(np.mean(between_neighbours(self.autocorrelation, 2) or 0.0))

    @property
    def hardly_any(self) -> bool:
        """True if the noise is known to be so weak that it may be slopes, fine detail or rounding."""
        return _HARD < self.contrast < np.inf

    @property
    def detected(self) -> bool:
        """True if the noise is more than slopes, detail or rounding may be, or may come from a few photons."""
        return self.sigma > 0 and self.contrast <= (_BRIGHT if self.gain > 0 else _HARD)

    def variance(self, mean: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Variance of the noise where the mean is as given, counts squared."""
        photons = np.maximum(np.asarray(mean, np.float64) - self.offset, 0)
        return np.asarray(self.gain * photons + self.read_noise**2)

    def moved(self, mean: float, to: float) -> Noise:
        """The same noise, with the sigma of an image of mean `to` instead of `mean`."""
        before = float(self.variance(mean))
        return replace(self, sigma=self.sigma * (float(self.variance(to)) / before) ** 0.5) if before > 0 else self

    def scaled(self, scaling: Scaling) -> Noise:
        """The same noise for intensities that a scaling has been applied to."""
        step = scaling.high - scaling.low
        return replace(
            self,
            gain=self.gain / step,
            offset=(self.offset - scaling.low) / step,
            read_noise=self.read_noise / step,
            sigma=self.sigma / step,
            detail=self.detail / step,
        )

    def __str__(self) -> str:
        """One sentence for a window."""
        photons = "noise of counted photons" if self.counting else "photon noise"
        strength = f"{photons}, gain {self.gain:.3g}" if self.gain > 0 else f"noise of sigma {self.sigma:.3g}"
        shared = f"correlated between neighbouring pixels ({self._shared:.1f})"
        found = [strength, "neighbours independent" if self.independent else shared]
        words = found if self.sigma > 0 else ["none found"]
        if self.impulses:
            words.append(f"{100 * self.impulses:.2g} % of the pixels hot or dead")
        return "; ".join([", ".join(words), *filter(None, (self.warning, self.caution))])


def between_neighbours(autocorrelation: npt.NDArray[np.float64], apart: int = 1) -> list[float]:
    """Correlation of pixels so many apart along each axis that has any."""
    return [along(autocorrelation, axis, apart) for axis, n in enumerate(autocorrelation.shape) if n // 2 >= apart]


def along(autocorrelation: npt.NDArray[np.float64], axis: int, apart: int) -> float:
    """Correlation of pixels so many apart along an axis; 0 beyond what is known of it."""
    middle = [n // 2 for n in autocorrelation.shape]
    middle[axis] += apart
    return float(autocorrelation[tuple(middle)]) if middle[axis] < autocorrelation.shape[axis] else 0.0
