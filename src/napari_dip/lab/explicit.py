"""Explicit against implicit: noise removed by penalties, by a trained network and by the prior, each at its best."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft  # type: ignore[import-untyped]
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from napari_dip.core import pauses
from napari_dip.lab.denoiser import trained_denoiser
from napari_dip.lab.iterates import Array, Outcome, Scaled, Step, Steps, draw, every, iterates, like, scaled, to_the_end
from napari_dip.tables.experiments import WEIGHTS
from napari_dip.tables.parts import read_part
from napari_dip.trust import peak_of, psnr

_LEVELS = 3  # scales of the wavelets
_STEPS = 8  # of a denoiser behind the prior
#: Strengths that a denoiser is tried with, times the deviation of the noise.
_STRENGTHS = np.geomspace(0.5, 2, 7)


def tikhonov(image: Array, strength: float, sigma: float) -> Array:
    """Least squares with a penalty on the squared gradient, in closed form by cosine transforms."""
    waves = [2 - 2 * np.cos(np.pi * np.arange(n) / n) for n in image.shape]
    curbed = 1 + strength * sum(np.meshgrid(*waves, indexing="ij"))
    return np.asarray(fft.idctn(fft.dctn(image, norm="ortho") / curbed, norm="ortho"))


def wavelets(image: Array, strength: float, sigma: float) -> Array:
    """Soft thresholds on Haar wavelets, averaged over all shifts (Coifman, Donoho 1995)."""
    margin = 2**_LEVELS
    found = _shrunk(np.pad(image, margin, mode="symmetric"), strength * sigma, 0)
    return found[(slice(margin, -margin),) * image.ndim]


def _shrunk(image: Array, threshold: float, level: int) -> Array:
    """One scale of the undecimated transform, and all coarser ones within it."""
    if level == _LEVELS:
        return image
    distance, axes = 2**level, range(image.ndim)
    parts = [image]
    for axis in axes:
        ahead = [np.roll(part, -distance, axis) for part in parts]
        parts = [half for p, q in zip(parts, ahead, strict=True) for half in ((p + q) / 2, (p - q) / 2)]
    threshold /= 2 ** (image.ndim / 2)  # noise of a mean of 2 x 2 pixels
    details = [np.sign(part) * np.maximum(np.abs(part) - threshold, 0) for part in parts[1:]]
    parts = [_shrunk(parts[0], threshold, level + 1), *details]
    for axis in reversed(axes):
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [(low + high + np.roll(low - high, distance, axis)) / 2 for low, high in pairs]
    return parts[0]


def total_variation(image: Array, strength: float, sigma: float) -> Array:
    """Rudin, Osher, Fatemi (1992), isotropic."""
    return np.asarray(denoise_tv_chambolle(image, weight=strength * sigma))  # type: ignore[no-untyped-call, unused-ignore]


def non_local_means(image: Array, strength: float, sigma: float) -> Array:
    """Buades, Coll, Morel (2005)."""
    return np.asarray(denoise_nl_means(image, h=strength * sigma, sigma=sigma, patch_size=5, patch_distance=6))


Denoiser = Callable[[Any, float], Any]


def _by_plane(denoiser: Denoiser) -> Callable[[Array, float, float], Array]:
    """A denoiser of planes as a method for images and volumes."""
    name = read_part("denoiser", denoiser)

    def method(image: Array, strength: float, sigma: float) -> Array:
        from napari_dip.core.laws import denoised  # imports torch

        planes = image.astype(np.float32).reshape(-1, *image.shape[-2:])
        made = [denoised(name, denoiser, plane, strength * sigma) for plane in planes]
        return np.stack(made).astype(np.float64).reshape(image.shape)

    return method


#: Name -> function of an image, a strength and the deviation of its noise, and the strengths that are tried.
EXPLICIT: dict[str, tuple[Callable[[Array, float, float], Array], Array]] = {
    "Tikhonov": (tikhonov, np.geomspace(0.05, 50, 13)),
    "total variation": (total_variation, np.geomspace(0.2, 8, 13)),
    "wavelets": (wavelets, np.geomspace(0.3, 6, 13)),
    "non-local means": (non_local_means, np.geomspace(0.2, 2, 7)),
}


@dataclass(frozen=True, kw_only=True)
class Explicit(Outcome):
    """Outcome of each method at its best: the truth has chosen strength and iteration.

    Attributes
    ----------
    psnr : dict of str to float
        Method -> PSNR against the truth, in dB of its range, the best first; "measured" is the image itself.
    at : dict of str to str
        Method -> strength or iteration of its best.
    images : dict of str to array
        Method -> its best, in the units of the image, in the same order; "truth" comes last.
    iterations : int array (n,)
    curves : dict of str to float array (n,)
        Fits of the prior -> PSNR of their iterates.
    sigma : float
        Standard deviation of image minus truth.
    """

    psnr: dict[str, float]
    at: dict[str, str]
    images: dict[str, Array] = field(repr=False)
    iterations: npt.NDArray[np.int64]
    curves: dict[str, Array]
    sigma: float

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Row of the table for each method."""
        return [{"method": name, "PSNR": value, "best at": self.at[name]} for name, value in self.psnr.items()]

    def plot(self) -> Any:
        """Curves and images as a figure of matplotlib, which must be installed (``napari-dip[plot]``)."""
        curves = {name: (self.iterations, values) for name, values in self.curves.items()}
        return draw(curves, "PSNR against the truth (dB)", self.images)


def iterate_explicit(
    image: npt.ArrayLike,
    truth: npt.ArrayLike | None = None,
    *,
    sigma: float = 0.1,
    weights: Sequence[float] = WEIGHTS,
    denoiser: Denoiser | None = trained_denoiser,
    iterations: int = 1500,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    **knobs: Any,
) -> Steps[Explicit]:
    """Remove noise by Tikhonov, total variation, wavelets, non-local means, a trained network, the prior, and by pairs.

    Each is at its best: of several strengths, or of all iterates, the one that is closest to the truth. So the table
    says what each could reach, not what it reaches without a truth.

    Parameters
    ----------
    image : array-like, (y, x) or (z, y, x)
        Real and finite.
    truth : array-like, optional
        Like `image`. Without it `image` counts as the truth, and white noise is added.
    sigma : float
        Of the noise that is added without a truth, relative to the range of the image.
    weights : sequence of float
        Of total variation behind the prior, each a fit of its own.
    denoiser : callable, optional
        Function of a plane (y, x) and the deviation of its noise, such as a network of your own: a general prior, tried
        alone, and in steps behind the best iterate of the prior. By default `trained_denoiser`; None for neither.
    iterations, seed : int
        Of the fits.
    should_stop : callable
        Asked before every iteration and every strength; true ends the run with the methods that are whole.
    **knobs
        Knobs of the fits, as for `napari_dip.denoise`.

    Yields
    ------
    Step

    Returns
    -------
    Explicit

    Raises
    ------
    ValueError, TypeError
        If the image or a knob is not fit; the message says what to do.
    """
    unit, step = scaled(image), every(iterations)
    aim, values = unit.values, unit.values
    known = like("truth", truth, aim.shape)
    if known is not None:
        aim = unit.forward(known)
        sigma, peak = float((values - aim).std()), peak_of(known) / unit.span
        if sigma == 0:
            raise ValueError("truth is the image itself: leave it out, and noise is added")
    else:
        if not 0 < sigma < np.inf:
            raise ValueError(f"sigma={sigma} must be above 0, relative to the range of the image")
        values, peak = aim + sigma * np.random.default_rng(seed).standard_normal(aim.shape), 1.0
    best = {"measured": psnr(values, aim, data_range=peak)}
    at, images, curves = {"measured": ""}, {"measured": unit.back(values)}, dict[str, Array]()
    fits: dict[str, dict[str, Any]] = {"prior": {}} | {
        f"prior + total variation {weight:g}": {"regulariser": "tv", "regulariser_weight": weight} for weight in weights
    }
    methods, general = dict(EXPLICIT), ""
    if denoiser is not None:
        general = "trained network" if denoiser is trained_denoiser else getattr(denoiser, "__name__", "denoiser")
        methods[general] = _by_plane(denoiser), _STRENGTHS
    whole, done = len(methods) + 10 * (len(fits) + bool(general)), 0.0  # a fit takes far longer

    def result() -> Explicit:
        psnr = dict(sorted(best.items(), key=lambda of: -of[1]))
        return Explicit(
            psnr=psnr,
            at=at,
            images={name: images[name] for name in psnr} | {"truth": unit.back(aim)},
            iterations=np.arange(step, iterations + 1, step),
            curves=curves,
            sigma=sigma * unit.span,
        )

    for name, (method, strengths) in methods.items():
        made = []
        for strength in strengths:
            if should_stop():
                return result()
            made.append(method(values, float(strength), sigma))
            share = (done + len(made) / len(strengths)) / whole
            yield Step(part=name, iteration=len(made), values={}, done=share, image=unit.back(made[-1]))
        scores = [psnr(each, aim, data_range=peak) for each in made]
        first = int(np.argmax(scores))
        best[name], at[name], images[name] = scores[first], f"strength {strengths[first]:.2g}", unit.back(made[first])
        done += 1
    for name, own in fits.items():
        points, most = list[float](), -np.inf
        changes = {"seed": seed, **knobs, **own}
        for count, iterate in iterates("denoise", values, None, iterations, step, should_stop, **changes):
            points.append(psnr(iterate, aim, data_range=peak))
            if points[-1] > most:
                most, where, images[name] = points[-1], count, unit.back(iterate)
            share = (done + 10 * count / iterations) / whole
            yield Step(part=name, iteration=count, values={"PSNR": points[-1]}, done=share, image=unit.back(iterate))
        if should_stop():
            break
        best[name], at[name], curves[name] = most, f"iteration {where}", np.array(points)
        done += 10
        if name == "prior" and general:
            behind = {"seed": seed, **knobs, "denoiser": denoiser, "refine": _STEPS}
            pair = iterates("denoise", values, None, where, step, should_stop, **behind)
            name = f"prior + {general}"
            made_of_both = yield from _shown(pair, name, unit, done / whole, 10 / iterations / whole)
            if made_of_both is None:
                break
            best[name], at[name] = psnr(made_of_both, aim, data_range=peak), f"{_STEPS} steps behind iteration {where}"
            images[name] = unit.back(made_of_both)
            done += 10
    return result()


explicit = to_the_end(iterate_explicit)


def _shown(
    fit: Generator[tuple[int, Any], None, Array | None], part: str, unit: Scaled, begun: float, each: float
) -> Generator[Step, None, Array | None]:
    """A fit without a curve; the image that it ends with."""

    def step(shown: tuple[int, Array]) -> Step:
        count, made = shown
        return Step(part=part, iteration=count, values={}, done=begun + each * count, image=unit.back(made))

    return pauses.each(fit, step)
