"""Moments of a run: its image at many iterations, in 16 bits and within a bound of memory, and the figures beside them.

Where the bound is a few images, others lie in a temporary file.

The worker's thread adds them while the window reads; a lock keeps the two apart, and nobody holds it for long.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dip.viewer.moment import Moment, Overflow

if TYPE_CHECKING:
    from napari_dip import Progress
    from napari_dip.run.run import Run

DECIBELS = "PSNR (dB)"
_FEW = 24  # images of a slice, which memory may be too small for: then some of them are on disk


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
    latest: Progress | None = None  # without its image
    psnr: dict[int, float] = field(default_factory=dict)  # by iteration
    moments: list[Moment] = field(default_factory=list)
    gap: int = 0  # least iterations between two moments

    def rows(self) -> Iterator[Row]:
        """Figures by iteration: PSNR, what the rule looks at, the loss."""
        if self.psnr:
            yield Row(DECIBELS, np.array([*self.psnr], float), np.array([*self.psnr.values()]))
        for curve in self.curves:
            if np.isfinite(curve.values).any():  # not where there is no noise to compare with
                yield Row(curve.quantity, curve.iterations.astype(float), curve.values, curve.bound)
        yield Row("loss", np.arange(1.0, len(self.loss) + 1), self.loss)

    def give_way(self) -> None:
        """Let go of the newest moment, which another is to follow, if it is too close to its own predecessor."""
        at = [kept.about.iteration for kept in self.moments[-2:]]
        if len(at) == 2 and at[1] - at[0] < self.gap:
            self.moments.pop()

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
    lengths : tuple of int
        Iterations that each fit has made so far, of so many tiles times runs.
    latest : Progress or None
        The latest one, without its image.
    mark : int or None
        The one whose image the rule has marked.
    moments : tuple of (int, Moment)
        In the order of their iterations, counted as the curves count them.
    """

    rows: tuple[Row, ...] = ()
    lengths: tuple[int, ...] = ()
    latest: Progress | None = None
    mark: int | None = None
    moments: tuple[tuple[int, Moment], ...] = ()

    @property
    def length(self) -> int:
        """Iterations made so far, by all fits."""
        return sum(self.lengths)

    def length_at(self, iteration: int) -> int:
        """Iterations of the fit that made one, counted as the curves count them."""
        return self.lengths[int(np.searchsorted(np.cumsum(self.lengths), iteration))]

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
        Bytes that the images may take. Where these are fewer than 24 images of a slice, further ones go to disk; 0 for
        no images.
    folder : Path, optional
        For the file on disk; by default the temporary folder of the system.

    Attributes
    ----------
    lack : str
        Sentence on why there are fewer images than there might be; empty if there is no reason.
    """

    def __init__(self, memory: float, folder: Path | None = None) -> None:
        self.memory, self.lack = memory, ""
        self._folder = folder
        self._overflow: Overflow | None = None  # made with the first image that goes to disk
        self.record: dict[str, Any] = {}  # what is known of the run before its first iteration
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
        self.record = run.record
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
            fit.latest = moment.about
            if np.isfinite(decibels):
                fit.psnr[progress.iteration] = decibels
            fit.give_way()
        if self._make_room(moment):
            with self._lock:
                fit.moments.append(moment)

    def _make_room(self, moment: Moment) -> bool:
        """Let go of moments, or write some to disk, until there is memory for one more; False if there never is.

        The lock is not held while images are written: nobody but this thread changes which moments there are.
        """
        while self.bytes + _bytes_of([moment]) > self.memory:
            with self._lock:
                fits = list(self._fits.items())
            everything = [each for _, fit in fits for each in fit.moments]
            counts = Counter(each.about.slice for each in everything)
            fullest = max(counts, key=counts.__getitem__, default=0)
            few = self.memory and counts[fullest] < _FEW
            if few and self._write(next((each for each in everything if not each.on_disk), moment)):
                continue
            if everything:
                of_slice = [fit for place, fit in fits if place[0] == fullest]
                with self._lock:
                    max(of_slice, key=lambda each: len(each.moments)).thin()
            else:
                return False
        return True

    def _write(self, moment: Moment) -> bool:
        """Move the image of a moment to disk; where that fails, keep why, and return False."""
        try:
            self._overflow = self._overflow or Overflow(self._folder)
            moment.codes = self._overflow.put(np.asarray(moment.codes))
        except OSError as error:
            where = f"'{self._folder}'" if self._folder else "the temporary folder"
            self.lack = f"Fewer images are kept, as no more can be written to {where}: {error.strerror}."
            return False
        return True

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

    # -- in the window's thread ---------------------------------------------------------------------------------------

    def let_go(self) -> None:
        """Let go of all images, and of those to come: nobody looks at them any more."""
        with self._lock:
            self.memory, self._overflow = 0, None
            self._fits.clear()

    @property
    def bytes(self) -> int:
        """Memory that the images take."""
        with self._lock:
            return sum(_bytes_of(fit.moments) for fit in self._fits.values())

    @property
    def bytes_on_disk(self) -> int:
        """Room on disk that the images take."""
        with self._lock:
            return sum(_bytes_of(fit.moments, on_disk=True) for fit in self._fits.values())

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
                lengths=tuple(len(fit.loss) for fit in fits),
                latest=fits[-1].latest if fits else None,
                mark=None if not fits or fits[-1].mark is None else begins[-2] + fits[-1].mark,
                moments=tuple(
                    (begin + moment.about.iteration, moment)
                    for begin, fit in zip(begins, fits, strict=False)
                    for moment in fit.moments
                ),
            )


def _bytes_of(moments: list[Moment], on_disk: bool = False) -> int:
    """Memory, or room on disk, of the images of moments."""
    return sum(each.codes.nbytes for each in moments if each.on_disk == on_disk)


def _joined(parts: list[Row]) -> Row:
    """The same quantity of several fits as one, NaN between them."""
    gap = Row("", np.full(1, np.nan), np.full(1, np.nan))
    pieces = [each for part in parts for each in (part, gap)][:-1]
    iterations, values = (np.concatenate([getattr(each, name) for each in pieces]) for name in ("iterations", "values"))
    return replace(parts[0], iterations=iterations, values=values)
