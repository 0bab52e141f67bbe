"""Structure that a restoration removed: a verdict on its residual."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage  # type: ignore[import-untyped]

from napari_dip.core.judge.control import unit_noise
from napari_dip.core.noise.correlation import autocorrelation_of, power_of
from napari_dip.core.noise.model import Noise

Array = npt.NDArray[np.float64]

# Thresholds of the verdict, calibrated on structure that was removed on purpose: benchmarks/NOTES.md.
_SCALES = (0.0, 1.0, 2.0, 4.0, 8.0)  # pixels: the bands of structure lie between neighbours
_LOST = (0.25, 0.15, 0.08, 0.05)  # of the contrast of each band: less of the finest is what any denoising costs
_COST = 1.3  # times what the best linear filter loses at a signal-to-noise ratio: a denoising may lose as much
_SURE = 5.0  # standard deviations of what noise alone gives
_KNOWN = 0.06  # of the energy of the noise in a band: what its estimate may be wrong by
_LEAST = 0.3  # standard deviation of the noise at any pixel, over that of the whole image: what is known of the dark
_EXCESS = 2.0  # times the largest local energy of noise alone; real noise is rarely as regular as its model
_CLIP = 3.5  # standard deviations: a hot pixel is no structure
_BALANCE = 0.3  # by which the variance of the residual may be off
_KEPT = 0.1  # of the variance of the noise: with less of it in the residual, the image is the measurement
_PLACE = (1.0, 6.0)  # pixels: structure is smoothed by the first, its energy averaged over the second
_FIELDS = 16  # of noise alone, that the places are compared with
_LARGEST = {2: 256, 3: 64}  # pixels a side of such a field


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A judgement of a residual, with its figures.

    Attributes
    ----------
    sentence : str
        For a reader.
    ok : bool
        True if no structure is seen in the residual.
    lost : float
        Fraction of the contrast that is missing in the band of sizes where that is worst; 0 if it is in none.
    size : float
        Of that structure, in pixels; 0 for none.
    excess : float
        The largest energy of smooth structure anywhere in the residual, over the largest in noise alone; about 1.
    place : tuple of int
        The pixel where that is.
    balance : float
        Variance of the residual over that of the noise: 1 is right, less is noise that stayed in the image.
    correlation : float
        Of direct neighbours in the residual, less that in the noise: above 0 for structure, below for noise that
        stayed.
    """

    sentence: str
    ok: bool
    lost: float
    size: float
    excess: float
    place: tuple[int, ...]
    balance: float
    correlation: float


def residual_verdict(
    observation: npt.ArrayLike,
    restored: npt.ArrayLike,
    noise: Noise,
    *,
    mask: npt.ArrayLike | None = None,
    kept: bool = False,
) -> Verdict:
    """Judge whether what a restoration removed is noise.

    Parameters
    ----------
    observation : array-like, (Y, X) or (Z, Y, X)
        As measured. Pixels that are not finite or, of an integer type, saturated are left out.
    restored : array-like of the same shape
        In the same units.
    noise : Noise
        Of the observation. With a wrong one every verdict is wrong.
    mask : array-like of bool, optional
        True for pixels to leave out.
    kept : bool
        True if the result has these pixels as measured, and `restored` is a fit of which it takes the others: nothing
        was removed then, and the sentence is about the fit.

    Raises
    ------
    ValueError
        If the shapes differ, or no pixel remains.

    Notes
    -----
    The residual over the standard deviation of the noise should be noise and nothing else. It is held against

    * the restored structure, in four bands of sizes (1 to 13 pixels): what a blur or a loss of contrast took away is
      in the residual in proportion to what it left. How far noise alone correlates follows from its autocorrelation.
      Noise that stayed in the image correlates with the residual too; it is told by its missing energy;
    * the energy of its smooth part from place to place, against fields of noise with the same autocorrelation: what was
      removed altogether is nowhere else.

    Every denoising costs some of the finest detail: up to a quarter of the contrast at 2 pixels, 15 % at 3, 8 % at 7
    and 5 % at 13 passes as ok; and at any size 1.3 times what the best linear filter loses there, N / (S + N) of
    structure of energy S in noise of energy N (Wiener). It cannot see structure fainter than the noise over its extent
    (a line of twice the noise's standard deviation is seen in white noise, not in correlated noise), nor anything that
    was added to the image where the noise hides it: for that there is `noise_only_observation`. `restored` must be of
    this very measurement: against another one, whatever bleached or moved in between counts as removed.
    """
    measured, image = np.asarray(observation), np.asarray(restored, np.float64)
    if measured.shape != image.shape or image.ndim not in (2, 3):
        raise ValueError(
            f"observation has shape {measured.shape} and restored {image.shape}: both must be the same, of 2 or 3 axes"
        )
    fair = np.isfinite(measured) & np.isfinite(image)
    if measured.dtype.kind in "ui":
        fair &= measured < np.iinfo(measured.dtype.name).max
    if mask is not None:
        fair &= ~np.broadcast_to(np.asarray(mask, bool), image.shape)
    if not fair.any():
        raise ValueError("no pixel is left to judge: mask marks what to leave out as True; did you mean ~mask?")
    image = np.where(fair, image, image[fair].mean())
    # an estimate may leave no noise at all in the dark; an integer has at least that of its rounding
    least = max((_LEAST * noise.sigma) ** 2, 1 / 12 if measured.dtype.kind in "ui" else np.finfo(np.float64).tiny)
    deviation = np.sqrt(np.maximum(noise.variance(image), least))
    residual = np.where(fair, (measured - image) / deviation, 0.0).astype(np.float64)  # of long doubles too
    spectrum = power_of(autocorrelation_of(noise, image.shape), image.shape)
    lost, size = _missing_contrast(residual, image, deviation, spectrum * fair.mean())
    excess, place = _brightest(residual, noise)
    # a ratio of sums: in the dark the variance may be nearly 0, and is not known as closely as that
    balance = float(np.sum((residual * deviation)[fair] ** 2) / np.sum(deviation[fair] ** 2))
    correlation = _neighbours(residual, fair) - noise.correlation
    ok = lost == 0 and excess < _EXCESS and balance < 1 + _BALANCE
    told = _of_fit if kept else _of_result
    return Verdict(
        sentence=told(ok, lost, size, excess, place, balance),
        ok=ok,
        lost=lost,
        size=size,
        excess=excess,
        place=place,
        balance=balance,
        correlation=correlation,
    )


def _of_result(ok: bool, lost: float, size: float, excess: float, place: tuple[int, ...], balance: float) -> str:
    """The sentence where the result is the restored image."""
    if lost:
        return f"Structure was removed: details about {size:.0f} pixels wide lost {lost:.0%} of their contrast"
    if excess >= _EXCESS:
        return f"Structure was removed: the residual around {place} has {excess:.1f} times the energy of noise"
    if not ok:
        return (
            f"The residual has {balance:.1f} times the variance of the noise: structure was removed, or the noise is "
            "stronger than estimated"
        )
    if balance < _KEPT:
        return f"Hardly anything was removed, {balance:.0%} of the variance of the noise: the measurement was kept"
    if balance < 1 - _BALANCE:
        return (
            f"What was removed looks like noise, but has only {balance:.0%} of its variance: the rest may be left in "
            "the image"
        )
    return f"What was removed looks like pure noise: {balance:.0%} of the noise that was expected"


def _of_fit(ok: bool, lost: float, size: float, excess: float, place: tuple[int, ...], balance: float) -> str:
    """The sentence where known pixels are kept, and only the holes are filled from the fit."""
    kept = "Known pixels are kept. The fit that fills the holes"
    if lost:
        return f"{kept} lacks structure: details about {size:.0f} pixels wide lost {lost:.0%} of their contrast"
    if excess >= _EXCESS:
        return f"{kept} lacks structure: its residual around {place} has {excess:.1f} times the energy of noise"
    if not ok:
        return (
            f"{kept} is off them by {balance:.1f} times the variance of the noise: it lacks structure, or the noise is "
            "stronger than estimated"
        )
    if balance < 1 - _BALANCE:
        return (
            f"{kept} lacks no structure, but is off them by only {balance:.0%} of the variance of the noise: the rest "
            "may be in the fillings"
        )
    return f"{kept} is off them by pure noise: {balance:.0%} of the noise that was expected"


def bands(shape: tuple[int, ...]) -> Iterator[tuple[float, float, float, Array]]:
    """Bands of sizes: what may be lost of each, its finer and coarser blur in pixels, its gain by frequency."""
    squared = sum(np.ix_(*((2 * np.pi * np.fft.fftfreq(n)) ** 2 for n in shape)), np.zeros(()))
    for allowed, (fine, coarse) in zip(_LOST, pairwise(_SCALES), strict=True):
        yield allowed, fine, coarse, np.exp(-(fine**2) * squared / 2) - np.exp(-(coarse**2) * squared / 2)


def _missing_contrast(residual: Array, image: Array, deviation: Array, spectrum: Array) -> tuple[float, float]:
    """Fraction of the contrast of the image's structure that is in the residual, where it is worst, and its size."""
    waves = np.fft.fftn(residual)
    worst, lost, size = 1.0, 0.0, 0.0
    for allowed, fine, coarse, band in bands(image.shape):
        left = ndimage.gaussian_filter(image, fine) - ndimage.gaussian_filter(image, coarse)
        structure = np.fft.fftn(left / deviation)
        energy = np.sum(np.abs(structure) ** 2)
        if energy == 0:
            continue
        expected = np.sum(band**2 * spectrum) * image.size  # energy of noise alone, and how far chance moves it
        chance = np.sqrt(2 * np.sum((band**2 * spectrum) ** 2)) * image.size
        kept = max(1 - np.sqrt(np.sum(np.abs(band * waves) ** 2) / expected), 0)  # amplitude of the noise that stayed
        shared = np.sum((band * waves * np.conj(structure)).real) - kept * (1 - kept) * expected
        sure = shared / np.hypot(np.sqrt(np.sum((band * np.abs(structure)) ** 2 * spectrum) * image.size), chance / 2)
        part = shared / (energy + max(shared, 0))  # of the contrast that was there
        before = (energy + max(shared, 0)) ** 2 / energy
        allowed = max(allowed, _COST * expected / (expected + before))
        if sure > _SURE and shared > _KNOWN * expected and part > worst * allowed:
            worst, lost, size = part / allowed, float(part), 2.355 * float(np.sqrt(max(fine, 0.5) * coarse))
    return lost, size


def _brightest(residual: Array, noise: Noise) -> tuple[float, tuple[int, ...]]:
    """The largest local energy of smooth structure over the largest in noise alone, and its place."""

    def energy(field: Array) -> Array:
        smooth = ndimage.gaussian_filter(np.clip(field, -_CLIP, _CLIP), _PLACE[0])
        return np.asarray(ndimage.gaussian_filter(smooth**2, _PLACE[1]))

    rng = np.random.default_rng(0)
    shape = tuple(min(n, _LARGEST[residual.ndim]) for n in residual.shape)
    highest = np.mean([energy(unit_noise(noise, shape, rng)).max() for _ in range(_FIELDS)])
    here = energy(residual)
    place = np.unravel_index(int(here.argmax()), here.shape)
    return float(here.max() / highest), tuple(int(p) for p in place)


def _neighbours(residual: Array, fair: npt.NDArray[np.bool_]) -> float:
    """Correlation of direct neighbours, averaged over the axes."""
    found = []
    for axis in range(residual.ndim):
        first, second = (np.delete(residual, end, axis) for end in (-1, 0))
        both = np.delete(fair, -1, axis) & np.delete(fair, 0, axis)
        power = np.sqrt(np.sum(first[both] ** 2) * np.sum(second[both] ** 2))
        if power > 0:
            found.append(np.sum(first[both] * second[both]) / power)
    return float(np.mean(found)) if found else 0.0
