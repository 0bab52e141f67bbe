"""Structure that a restoration makes out of noise: the control, a measurement of nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_dip.core.noise.correlation import autocorrelation_of, power_of
from napari_dip.core.noise.model import INDEPENDENT, Noise

Array = npt.NDArray[np.float64]


def unit_noise(noise: Noise, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Gaussian noise of variance 1 with a noise's autocorrelation, which wraps round at the border."""
    white, shared = rng.normal(size=shape), autocorrelation_of(noise, shape)
    if shared.size == 1:
        return white
    return np.asarray(np.fft.ifftn(np.fft.fftn(white) * np.sqrt(power_of(shared, shape))).real)


def noise_only_observation(noise: Noise, shape: tuple[int, ...], level: float, rng: np.random.Generator) -> Array:
    """A measurement of nothing: an even level with this noise.

    Restored with the same settings as the image, it shows what the prior makes out of noise: see `invented`.

    Parameters
    ----------
    noise : Noise
        Its variance at `level` and its autocorrelation are kept. Independent noise is photons and read noise;
        correlated noise is Gaussian.
    shape : tuple of int
        Of the image.
    level : float
        In counts, such as the median of the image.
    rng : numpy.random.Generator

    Returns
    -------
    float64 array of `shape`
        In counts, not rounded and not clipped.
    """
    if noise.gain > 0 and abs(noise.correlation) < INDEPENDENT:
        photons = rng.poisson(max(level - noise.offset, 0) / noise.gain, shape)
        return noise.gain * photons + min(level, noise.offset) + rng.normal(0, noise.read_noise, shape)
    return level + np.sqrt(noise.variance(level)) * unit_noise(noise, shape, rng)


@dataclass(frozen=True, kw_only=True)
class Invention:
    """Structure that a restoration makes out of noise alone.

    Attributes
    ----------
    strength : float
        Standard deviation of what should be even, relative to that of the noise.
    counts : float
        The same in counts.
    sentence : str
        For a reader.
    """

    strength: float
    counts: float
    sentence: str


def invented(restored_control: npt.ArrayLike, noise: Noise) -> Invention:
    """The structure that a restoration made out of pure noise.

    Parameters
    ----------
    restored_control : array-like
        A restored `noise_only_observation`; the truth is even, so all that varies was made up. A good restoration
        of n pixels has little more than the noise's standard deviation over sqrt(n), in its mean, which does not count.
    noise : Noise
        Of the observation.
    """
    image = np.asarray(restored_control, np.float64)
    counts = float(np.nanstd(image))
    strength = counts / float(np.sqrt(noise.variance(float(np.nanmean(image)))))
    sentence = (
        f"Out of noise alone these settings make structure of {strength:.2f} times its standard deviation: "
        f"what differs from its surroundings by less than {3 * counts:.3g} counts may be made up"
    )
    return Invention(strength=strength, counts=counts, sentence=sentence)
