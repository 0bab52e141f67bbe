"""Impedance of generators: how fast each fits an image, noise, both together, and the image with its pixels shuffled.

A prior fits structure before noise: Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior" (CVPR 2018), figure 2.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.lab.iterates import Array, Outcome, draw, every, iterates, scaled, to_the_end
from napari_dip.tables.experiments import TARGETS
from napari_dip.tables.knobs import GENERATORS as _NAMED
from napari_dip.trust import psnr

#: Generators by name: those that are compared by default.
GENERATORS = tuple(_NAMED)
_RANGE = (-0.25, 1.25)  # of all targets, which is between 0 and 1 but for noise: the sigmoid reaches both ends


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of one curve.

    Attributes
    ----------
    generator, target : str
    iteration : int
    fitted : float
        PSNR of the iterate against what is fitted, in dB.
    truth : float
        PSNR against the image, in dB.
    done : float
        Share of all curves that is done, 0 to 1.
    """

    generator: str
    target: str
    iteration: int
    fitted: float
    truth: float
    done: float

    @property
    def part(self) -> str:
        """Name of the fit that is under way, and of its curve."""
        return f"{self.generator}: {self.target}"

    @property
    def curves(self) -> dict[str, float]:
        """The point by the name of its curve."""
        return {self.part: self.fitted}


@dataclass(frozen=True, kw_only=True)
class Impedance(Outcome):
    """Curves of PSNR against iterations.

    Attributes
    ----------
    iterations : int array (n,)
    fitted : dict of str to dict of str to float array (n,)
        Generator -> target -> PSNR of the iterates against what is fitted, in dB of the range of the image.
    truth : dict of str to float array (n,)
        Generator -> PSNR against the image where image + noise is fitted.
    noisy : float
        PSNR of image + noise against the image.
    knobs : dict of str to dict
        Generator -> knobs that it was run with.
    """

    iterations: npt.NDArray[np.int64]
    fitted: dict[str, dict[str, Array]]
    truth: dict[str, Array]
    noisy: float
    knobs: dict[str, dict[str, Any]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Row of the table for each generator: PSNR reached for each target, the gap, and the best on the way."""
        rows = []
        for name, curves in self.fitted.items():
            best, last = int(np.argmax(self.truth[name])), {target: float(curves[target][-1]) for target in TARGETS}
            rows.append(
                {
                    "generator": name,
                    **last,
                    "image above shuffled": last["image"] - last["shuffled"],
                    "best against the image": float(self.truth[name][best]),
                    "at iteration": int(self.iterations[best]),
                    "at the end": float(self.truth[name][-1]),
                }
            )
        return rows

    def plot(self) -> Any:
        """Curves as a figure of matplotlib, which must be installed (``napari-dip[plot]``)."""
        curves = {
            f"{name}: {target}": (self.iterations, values)
            for name, each in self.fitted.items()
            for target, values in each.items()
        }
        return draw(curves, "PSNR against what is fitted (dB)")


def iterate_impedance(
    image: npt.ArrayLike,
    generators: Sequence[str] | Mapping[str, dict[str, Any]] = GENERATORS,
    *,
    iterations: int = 400,
    sigma: float = 0.1,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    **knobs: Any,
) -> Generator[Point, None, Impedance]:
    """Fit an image, noise, image + noise and the image with its pixels shuffled by each generator, and follow the PSNR.

    Parameters
    ----------
    image : array-like, (y, x) or (z, y, x)
        Real and finite; a crop of about 100 pixels a side tells enough. It is scaled to 0..1.
    generators : sequence of str, or dict of str to dict
        Names of generators; or any labels, each with knobs, such as
        ``{"skips": {}, "no skips": {"skip_channels": 0}}``.
    iterations : int
        Of each fit; there are four for each generator.
    sigma : float
        Standard deviation of the noise that is added, relative to the range of the image. The noise that is fitted
        alone has the mean and the standard deviation of the image.
    seed : int
        Decides noise, shuffle, codes and weights.
    should_stop : callable
        Asked before every iteration; true ends the run with the generators of which all curves are there.
    **knobs
        Knobs of all generators, as for `napari_dip.denoise`; by default those of ``preset="denoise-small"``, with no
        running average.

    Yields
    ------
    Point

    Returns
    -------
    Impedance

    Raises
    ------
    ValueError, TypeError
        If the image is none, or a knob is not valid; the message says what to do.
    """
    unit, step = scaled(image).values, every(iterations)
    named = generators if isinstance(generators, Mapping) else {name: {"generator": name} for name in generators}
    if not named:
        raise ValueError("generators is empty: name at least one, such as generators=['hourglass']")
    targets = targets_of(unit, sigma, seed)
    counts = np.arange(step, iterations + 1, step)
    fitted: dict[str, dict[str, Array]] = {}
    truth: dict[str, Array] = {}
    used = {}
    for label, own in named.items():
        changes = {"average": 0.0, **knobs, **own, "seed": seed, "intensity_range": _RANGE}
        curves: dict[str, Array] = {}
        for target, values in targets.items():
            begun, points = len(fitted) * len(TARGETS) + len(curves), list[Point]()
            for at, image_then in iterates("denoise", values, None, iterations, step, should_stop, **changes):
                points.append(
                    Point(
                        generator=label,
                        target=target,
                        iteration=at,
                        fitted=psnr(image_then, values, data_range=1.0),
                        truth=psnr(image_then, unit, data_range=1.0),
                        done=(begun + at / iterations) / (len(named) * len(TARGETS)),
                    )
                )
                yield points[-1]
            if should_stop():
                break
            curves[target] = np.array([point.fitted for point in points])
            if target == "image + noise":
                truth[label] = np.array([point.truth for point in points])
        if len(curves) < len(TARGETS):
            break
        fitted[label], used[label] = curves, {**knobs, **own}
    return Impedance(
        iterations=counts,
        fitted=fitted,
        truth={label: truth[label] for label in fitted},
        noisy=psnr(targets["image + noise"], unit, data_range=1.0),
        knobs=used,
    )


impedance = to_the_end(iterate_impedance)


def targets_of(image: Array, sigma: float, seed: int) -> dict[str, Array]:
    """Targets by name, of an image between 0 and 1: all of its shape."""
    rng = np.random.default_rng(seed)
    noise = np.clip(image.mean() + image.std() * rng.standard_normal(image.shape), *_RANGE)
    noisy = np.clip(image + sigma * rng.standard_normal(image.shape), *_RANGE)
    made = (image, noise, noisy, rng.permutation(image.ravel()).reshape(image.shape))
    return dict(zip(TARGETS, made, strict=True))
