"""Moments of a run: its image at many iterations, in 16 bits and within a bound of memory, and the figures beside them.

The worker's thread adds them while the window reads; a lock keeps the two apart, and nobody holds it for long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari_dip import Progress
    from napari_dip.run.run import Run

DECIBELS = "PSNR (dB)"
_CODES = 2**16 - 2  # steps from the lowest to the highest value; the code 0 is NaN


@dataclass(frozen=True)
class Moment:
    """Image of a run at one iteration.

    Attributes
    ----------
    about : Progress
        All but its image and its log.
    codes : array
        The image, in at most 16 bits.
    low, high : float
        Values of the first and the last code, where it is not the image itself.
    kind : dtype
        Of the image.
    """

    about: Progress
    codes: np.ndarray
    low: float
    high: float
    kind: Any

    @classmethod
    def of(cls, progress: Progress) -> Moment:
        """Keep what a progress shows: as it is if that takes no more than 16 bits, else to 1/65534 of its range."""
        image, about = progress.image, replace(progress, image=np.empty(0), history=None)
        if image.dtype.itemsize <= 2:
            return cls(about, image.copy(), 0.0, 0.0, image.dtype)
        known = np.isfinite(image)
        low, high = (float(end(image[known])) if known.any() else 0.0 for end in (np.min, np.max))
        steps = (image - low) * (_CODES / (high - low) if high > low else 0.0)
        codes = np.where(known, np.rint(steps) + 1, 0).astype(np.uint16)
        return cls(about, codes, low, high, image.dtype)

    @property
    def progress(self) -> Progress:
        """The progress with its image."""
        if self.codes.dtype == self.kind:
            return replace(self.about, image=self.codes)
        exact = self.kind if self.kind.kind == "f" else np.dtype(np.float64)
        values = (self.codes.astype(exact) - 1) * ((self.high - self.low) / _CODES) + self.low
        image = np.where(self.codes > 0, values, np.nan) if self.kind.kind == "f" else np.rint(values)
        return replace(self.about, image=image.astype(self.kind))


@dataclass(frozen=True)
class Row:
    """One quantity by iteration, NaN between two fits; `bound` is the value that ends the run."""

    quantity: str
    iterations: np.ndarray
    values: np.ndarray
    bound: float | None = None


@dataclass
class _Fit:
    """Figures and moments of one fit: one tile and run of a slice."""

    loss: np.ndarray
    curves: tuple[Any, ...] = ()
    mark: int | None = None
    psnr: dict[int, float] = field(default_factory=dict)  # by iteration
    moments: list[Moment] = field(default_factory=list)
    gap: int = 0  # least iterations between two moments

    def rows(self) -> Iterator[Row]:
        """Figures by iteration: PSNR, what the rule looks at, the loss."""
        if self.psnr:
            yield Row(DECIBELS, np.array([*self.psnr], float), np.array([*self.psnr.values()]))
        for curve in self.curves:
            yield Row(curve.quantity, curve.iterations.astype(float), curve.values, curve.bound)
        yield Row("loss", np.arange(1.0, len(self.loss) + 1), self.loss)

    def take(self, moment: Moment) -> None:
        """Add the newest moment, which replaces the one before if that is too close to its own predecessor."""
        at = [kept.about.iteration for kept in self.moments[-2:]]
        if len(at) == 2 and at[1] - at[0] < self.gap:
            self.moments.pop()
        self.moments.append(moment)

    def thin(self) -> None:
        """Let go of every other moment, from the newest back."""
        self.moments = self.moments[::-2][::-1] if len(self.moments) > 1 else []
        if len(self.moments) > 1:
            span = self.moments[-1].about.iteration - self.moments[0].about.iteration
            self.gap = span // (len(self.moments) - 1)


@dataclass(frozen=True)
class Chart:
    """Curves of one slice, its fits one after the other.

    Attributes
    ----------
    rows : tuple of Row
    length, fits : int
        Iterations made so far, and fits that they are of: tiles times runs.
    mark : int or None
        The one whose image the rule has marked.
    moments : tuple of (int, Moment)
        In the order of their iterations, counted as the curves count them.
    """

    rows: tuple[Row, ...] = ()
    length: int = 0
    fits: int = 0
    mark: int | None = None
    moments: tuple[tuple[int, Moment], ...] = ()

    def nearest(self, iteration: float) -> Moment | None:
        """The moment next to an iteration."""
        nearest = min(self.moments, key=lambda each: abs(each[0] - iteration), default=None)
        return nearest and nearest[1]

    def place(self, moment: Moment | None) -> int | None:
        """Iteration of a moment, counted as the curves count them."""
        return next((at for at, each in self.moments if each is moment), None)


class Moments:
    """Those of a run, and of the runs that it goes on from.

    Parameters
    ----------
    memory : float
        Bytes that the images may take.
    """

    def __init__(self, memory: float) -> None:
        self.memory = memory
        self.record: dict[str, Any] = {}  # what was asked, as a result's record has it
        self._fits: dict[tuple[int, int, int], _Fit] = {}  # of each slice, tile and run
        self._lock = threading.Lock()

    # -- in the worker's thread -------------------------------------------------------------------------------------

    def watch(self, run: Run, psnr: Callable[[Progress], float] | None = None) -> Iterator[Progress]:
        """Let a run pass and keep what it shows.

        Parameters
        ----------
        run : Run
        psnr : callable, optional
            Of a progress against the truth, in dB.
        """
        self.record = {**run.plan.definition, "settings": run.plan.settings.as_dict()}
        ended: set[int] = set()
        for progress in run:
            self._add_ends(run, ended, psnr)
            if progress.history is not None:
                self.add(progress, psnr)
            yield progress
        self._add_ends(run, ended, psnr)

    def add(self, progress: Progress, psnr: Callable[[Progress], float] | None = None) -> None:
        """Keep one image and the figures so far."""
        assert progress.history is not None
        moment, decibels = Moment.of(progress), psnr(progress) if psnr else np.nan
        with self._lock:
            place = (progress.slice, progress.tile, progress.run)
            fit = self._fits.get(place)
            if fit is None or (fit.moments and fit.moments[-1].about.iteration >= progress.iteration):
                for other in [each for each in self._fits if each[0] == progress.slice and each >= place]:
                    del self._fits[other]  # it began again
                fit = self._fits[place] = _Fit(progress.history.loss)
            fit.loss, fit.curves, fit.mark = progress.history.loss, progress.history.curves, progress.mark
            if np.isfinite(decibels):
                fit.psnr[progress.iteration] = decibels
            fit.take(moment)
            while self._bytes() > self.memory:
                max(self._fits.values(), key=lambda each: len(each.moments)).thin()

    def _add_ends(self, run: Run, ended: set[int], psnr: Callable[[Progress], float] | None) -> None:
        """Add the image at the end of each slice, in place of its preview, which is made with less care."""
        for index in sorted(run.ends.keys() - ended):
            ended.add(index)
            end = run.ends[index]
            with self._lock:
                fit = self._fits.get((index, 0, 0))
                if fit is not None and fit.moments and fit.moments[-1].about.iteration == end.iteration:
                    fit.moments.pop()
            self.add(end, psnr)

    def _bytes(self) -> int:
        return sum(moment.codes.nbytes for fit in self._fits.values() for moment in fit.moments)

    # -- in the window's thread ---------------------------------------------------------------------------------------

    @property
    def bytes(self) -> int:
        """Memory that the images take."""
        with self._lock:
            return self._bytes()

    @property
    def count(self) -> int:
        """Number of moments, of all slices."""
        with self._lock:
            return sum(len(fit.moments) for fit in self._fits.values())

    @property
    def slices(self) -> list[int]:
        """Slices that there are curves of."""
        with self._lock:
            return sorted({place[0] for place in self._fits})

    def chart(self, index: int) -> Chart:
        """Curves and moments of a slice."""
        with self._lock:
            fits = [fit for place, fit in sorted(self._fits.items()) if place[0] == index]
            begins = np.cumsum([0, *(len(fit.loss) for fit in fits)]).tolist()
            parts: dict[str, list[Row]] = {}
            for begin, fit in zip(begins, fits, strict=False):
                for row in fit.rows():
                    parts.setdefault(row.quantity, []).append(replace(row, iterations=row.iterations + begin))
            return Chart(
                rows=tuple(map(_joined, parts.values())),
                length=begins[-1],
                fits=len(fits),
                mark=None if not fits or fits[-1].mark is None else begins[-2] + fits[-1].mark,
                moments=tuple(
                    (begin + moment.about.iteration, moment)
                    for begin, fit in zip(begins, fits, strict=False)
                    for moment in fit.moments
                ),
            )


def _joined(parts: list[Row]) -> Row:
    """The same quantity of several fits as one, NaN between them."""
    gap = Row("", np.full(1, np.nan), np.full(1, np.nan))
    pieces = [each for part in parts for each in (part, gap)][:-1]
    iterations, values = (np.concatenate([getattr(each, name) for each in pieces]) for name in ("iterations", "values"))
    return replace(parts[0], iterations=iterations, values=values)
