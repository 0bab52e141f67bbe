"""Trajectory: the iterates of one fit, and how fast each band of frequencies is fitted.

Low frequencies come first, which is why stopping early removes noise: Shi, Mettes, Maji, Snoek, "On measuring and
controlling the spectral bias of the deep image prior" (2021).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft  # type: ignore[import-untyped]

from napari_dip.lab.iterates import Array, Outcome, Step, Steps, draw, every, iterates, scaled, to_the_end
from napari_dip.tables.numbers import is_whole

FITTED = 0.5  # share of a band from which it counts as fitted
_POINTS = 200


@dataclass(frozen=True, kw_only=True)
class Trajectory(Outcome):
    """Iterates, and the share of each band of frequencies that they have.

    Attributes
    ----------
    iterations : int array (n,)
        Of the curves.
    edges : float array (bands + 1,)
        Between bands, in cycles per pixel.
    shares : float array (bands, n)
        Regression of the iterate on the image, frequency by frequency of a band: 0 where it has nothing of it, 1 where
        all is fitted, above where it has too much.
    power : float array (bands,)
        Share of the variance of the image in each band.
    shown : int array (k,)
        Iterations of the images, evenly spaced in their logarithm.
    images : dict of str to array
        Iteration -> its iterate, in the units of the image.
    """

    iterations: npt.NDArray[np.int64]
    edges: Array
    shares: Array
    power: Array
    shown: npt.NDArray[np.int64]
    images: dict[str, Array] = field(repr=False)

    @property
    def names(self) -> list[str]:
        """Names of the bands, in cycles per pixel."""
        return [f"{low:.2f} to {high:.2f}" for low, high in zip(self.edges, self.edges[1:], strict=False)]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Row of the table for each band: its power, the iteration where half of it is fitted, the share at the end."""
        rows = []
        for name, share, power in zip(self.names, self.shares, self.power, strict=True):
            there = np.flatnonzero(share >= FITTED)
            rows.append(
                {
                    "cycles per pixel": name,
                    "power": f"{power:.2%}",
                    "half fitted at": int(self.iterations[there[0]]) if there.size else "never",
                    "fitted at the end": f"{share[-1]:.2f}",
                }
            )
        return rows

    def plot(self) -> Any:
        """Curves and iterates as a figure of matplotlib, which must be installed (``napari-dip[plot]``)."""
        curves = {name: (self.iterations, share) for name, share in zip(self.names, self.shares, strict=True)}
        return draw(curves, "share of the band that is fitted", dict(list(self.images.items())[::-1]))


def iterate_trajectory(
    image: npt.ArrayLike,
    *,
    task: str = "denoise",
    bands: int = 5,
    frames: int = 12,
    iterations: int = 1000,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    **knobs: Any,
) -> Steps[Trajectory]:
    """Follow a fit through its iterates, and measure how fast each band of frequencies is fitted.

    Parameters
    ----------
    image : array-like, (y, x) or (z, y, x)
        Real and finite.
    task : {"denoise", "deblock"}
    bands : int
        Rings of equal width from 0 to 0.5 cycles per pixel.
    frames : int
        Iterates that are kept, evenly spaced in the logarithm of the iteration.
    iterations, seed : int
    should_stop : callable
        Asked before every iteration; true ends the run with the iterates so far, or a `ValueError` before the first.
    **knobs
        As for `napari_dip.denoise`; by default there is no running average, which would lag behind.

    Yields
    ------
    Step

    Returns
    -------
    Trajectory

    Raises
    ------
    ValueError, TypeError
        If the image or a knob is not fit; the message says what to do.
    """
    unit, step = scaled(image), every(iterations, _POINTS)
    for name, count, most in (("bands", bands, min(unit.values.shape) // 2), ("frames", frames, 1000)):
        if not is_whole(count) or not 1 <= count <= most:
            raise ValueError(f"{name}={count} must be a whole number from 1 to {most}")
    rings, edges = _rings(unit.values.shape, bands)
    aim = fft.fftn(unit.values)
    energy = _sums(np.abs(aim) ** 2, rings, bands)
    wanted = set(np.unique(np.geomspace(1, iterations // step, frames).astype(int) * step))
    counts, shown = list[int](), list[int]()
    shares, images = list[Array](), dict[str, Array]()
    changes = {"average": 0.0, "seed": seed, **knobs}
    for at, made in iterates(task, unit.values, None, iterations, step, should_stop, **changes):
        share = _sums((fft.fftn(made) * aim.conj()).real, rings, bands) / np.maximum(energy, 1e-30)
        counts.append(at)
        shares.append(share)
        if at in wanted:
            shown.append(at)
            images[str(at)] = unit.back(made)
        values = {f"{high:.2f}": float(each) for high, each in zip(edges[1:], share, strict=True)}
        yield Step(part="fit", iteration=at, values=values, done=at / iterations, image=unit.back(made))
    if not counts:
        raise ValueError("stopped before there was an iterate")
    return Trajectory(
        iterations=np.array(counts),
        edges=edges,
        shares=np.array(shares).T,
        power=energy / energy.sum(),
        shown=np.array(shown),
        images=images,
    )


trajectory = to_the_end(iterate_trajectory)


def _rings(shape: tuple[int, ...], bands: int) -> tuple[npt.NDArray[np.int64], Array]:
    """Band of each frequency, -1 for the mean and for the corners beyond 0.5 cycles per pixel; and their edges."""
    radius = np.sqrt(sum(f**2 for f in np.meshgrid(*map(fft.fftfreq, shape), indexing="ij")))
    rings = np.ceil(radius * 2 * bands - 1e-9).astype(np.int64) - 1
    rings[rings >= bands] = -1
    return rings, np.linspace(0, 0.5, bands + 1)


def _sums(values: Array, rings: npt.NDArray[np.int64], bands: int) -> Array:
    return np.asarray(np.bincount(rings.ravel() + 1, values.ravel(), bands + 1)[1:], np.float64)
