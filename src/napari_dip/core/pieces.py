"""One image as pieces, tiles x runs: each is fitted by a generator of its own, and what comes of them is added up.

Scaling and noise are those of the whole image, and the seed of a piece is drawn from its place and its run alone.
Tiles share their rims and are blended without seams; runs of a tile are averaged, and their spread is the uncertainty
between them. Memory is that of one fit and of the images that come out. Where only holes are wanted, tiles lie around
these, or those of a grid that have none are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from torch import Tensor

from napari_dip.core.around import Around, Tiles, tiles_for
from napari_dip.core.canvas import Canvas, Pile
from napari_dip.core.operators import Place, seen_by
from napari_dip.core.problem import Problem
from napari_dip.core.reason import Choice, End, Reason
from napari_dip.core.result import History, Progress, Result
from napari_dip.core.setup import Setup
from napari_dip.core.state import FAILED, Curve, Event, Outcome, State, keepable
from napari_dip.core.telling import counted, error_in_words, warn
from napari_dip.core.tiling import seed_at
from napari_dip.tables.knobs import Patches
from napari_dip.tables.settings import Settings

States = tuple[State | None, ...]


def seeds(seed: int, runs: int) -> list[int]:
    """The seeds of the runs: the first is the one given, the others are drawn from it."""
    return [seed, *(int(np.random.SeedSequence([seed, run]).generate_state(1)[0] >> 1) for run in range(1, runs))]


def cut(problem: Problem, tiles: Tiles) -> Iterator[tuple[Place, Problem]]:
    """The places of the tiles and their problems; the noise is the same, its sigma that at the mean of a tile.

    A prior around a hole begins at the mean of what is known there: in a dark tile little would draw it down.
    """
    if tiles.whole:
        yield next(iter(tiles)), problem
        return
    known = problem.known_pixels()
    mean = float(problem.observation[known].mean())
    for place in tiles:
        there, seen = (slice(None), *place), (slice(None), *seen_by(problem.operator, place))
        observation, here = np.ascontiguousarray(problem.observation[there]), known[there]
        noise = problem.noise
        if noise is not None and here.any():
            noise = noise.moved(mean, observation[here].mean())
        part = replace(
            problem,
            observation=observation,
            operator=problem.operator.crop(place),
            known=float(here.mean()),
            guide=None if problem.guide is None else np.ascontiguousarray(problem.guide[seen]),
            noise=noise,
            begin=_means(observation, here) if isinstance(tiles, Around) else problem.begin,
            wanted=None if problem.wanted is None else problem.wanted[place],
            around=None,
        )
        yield place, part


def _means(observation: npt.NDArray[np.float32], known: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Mean of the known pixels of each channel (C, *S), of all channels where there are none."""
    mean = observation[known].mean() if known.any() else np.float32(0.5)
    each = zip(observation, known, strict=True)
    return np.array([values[there].mean() if there.any() else mean for values, there in each], np.float32)


@dataclass(frozen=True)
class Piece:
    """One run of one tile: its number among all pieces, its problem, its seed, what it may begin with, and its log.

    `found` holds costly results about the problem that depend on no seed: each run adds its own.
    """

    number: int
    problem: Problem
    seed: int
    state: State | None
    neighbour: State | None
    found: dict[str, Tensor]
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True)
class Account:
    """Contribution of a fit to a result, besides images."""

    rule: Choice
    marks: tuple[int, ...]
    iterations: int
    end: End
    loss: npt.NDArray[np.float32]
    curves: tuple[Curve, ...] = ()
    events: tuple[Event, ...] = ()

    @classmethod
    def of(cls, result: Result) -> Account:
        return cls(result.rule, result.marks, result.iterations, result.end, **vars(result.history))


class Pieces:
    """The pieces of an image, in the tiles and runs of its settings, and what has come of them.

    Parameters
    ----------
    problem : Problem
    settings : Settings
    states, neighbours : tuple of State or None
        Of an earlier result, and of the result of a similar image: one for each run of each tile.

    Attributes
    ----------
    done : list of Account
        Fits that count.
    """

    def __init__(self, problem: Problem, settings: Settings, states: States = (), neighbours: States = ()) -> None:
        self._problem, self._settings, self._runs = problem, settings, settings.runs
        self._tiles = tiles_for(problem.observation.shape[1:], settings, problem.around)
        self._handed = states
        self._states: list[State | None] | None = list(states) or [None] * self.count
        self._neighbours = neighbours if len(neighbours) == self.count else ()  # else it was fitted in other tiles
        parts = not self._tiles.whole
        self._canvas = Canvas(problem, self._tiles, uncertainty=settings.uncertainty) if parts else None
        self.done: list[Account] = []
        self._events: list[Event] = []
        self._failed: dict[int, Exception] = {}
        self._ending: End | None = None  # of the first fit that did not end properly, and where
        self._over = False  # whether no other piece is begun
        self._left = False  # whether no other run of this tile is

    @property
    def count(self) -> int:
        """Number of pieces."""
        return len(self._tiles) * self._runs

    def __iter__(self) -> Iterator[Piece]:
        """Each piece, once the one before is settled, as long as others are to follow."""
        empty = 0
        for tile, (place, part) in enumerate(cut(self._problem, self._tiles)):
            if self._canvas is not None:  # who hands in one tile has looked
                if part.wanted is not None and not part.wanted.any():
                    continue
                known = part.observation[part.known_pixels()]
                if known.size == 0:
                    empty += 1
                    continue
                if known.min() == known.max():
                    self._canvas.add_flat(place, known[0])
                    continue
            self._place, self._pile = place, Pile(part, uncertainty=self._settings.uncertainty)
            yield from self._runs_of(tile, part)
            if self._canvas is not None and self._pile.count:
                self._canvas.add(place, self._pile.images(self._events))
            if self._over:
                break
        if empty:
            warn(f"{empty} of {len(self._tiles)} tiles have no known pixel and stay empty", stacklevel=2)

    def _runs_of(self, tile: int, part: Problem) -> Iterator[Piece]:
        """Each run of a tile, until one does not come to its proper end."""
        seed, found = self._settings.seed, dict[str, Tensor]()
        if self._canvas is not None:
            seed = seed_at(seed, [each.start for each in self._place])
        for number, own in enumerate(seeds(seed, self._runs), tile * self._runs):
            self._number, self._left = number, False
            state, neighbour = (each[number] if each else None for each in (self._handed, self._neighbours))
            yield Piece(number, part, own, state, neighbour, found)
            if self._left:
                break
        found.clear()  # which an error would keep

    def whole(self, progress: Progress) -> Progress:
        """Progress of the current piece as that of the whole image."""
        image = self._pile.with_run(progress)
        if self._canvas is not None:
            image = self._canvas.with_tile(self._place, image)
        tile, run = divmod(self._number, self._runs)
        return replace(progress, image=image, tile=tile, tiles=len(self._tiles), run=run, runs=self._runs)

    def settle(self, rule: Choice, fit: Outcome, end: End) -> None:
        """Take in the current piece, which came to an end. If that is not a proper one, its tile is left.

        A run that was stopped, or had no memory, counts only if it is the first of its tile.
        """
        if end.reason.complete or not (self._pile.count or (self.done and not fit.iteration)):
            self._pile.add(fit)
            losses = np.array(fit.losses, np.float32)
            self.done.append(Account(rule, (fit.mark,), fit.iteration, end, losses, fit.curves))
        if self._states is not None and fit.state is not None:
            self._states[self._number] = fit.state
        if fit.state is None or (self._states is not None and not keepable(self._states)):
            self._states = None
        if not end.reason.complete:
            self.leave(end, over=end.reason in (Reason.OUT_OF_MEMORY, Reason.STOPPED))

    def leave(self, end: End, *, over: bool) -> None:
        """Leave the current tile for want of a proper end; if `over`, the whole image."""
        self._left, self._over = True, over
        if self._ending and not over:
            return
        self._ending = end.and_(f", in {name}") if (name := self._name(self._number)) else end
        tile = self._number // self._runs
        if over and tile + 1 < len(self._tiles):
            later = any(self._handed[(tile + 1) * self._runs :])
            self._ending = self._ending.and_(f"; the tiles after it are {'as they were' if later else 'empty'}")

    def fail(self, error: Exception) -> None:
        """Take note of an error that ended the current piece."""
        self._failed[self._number] = error

    def result(self, setup: Setup, events: list[Event], seconds: float) -> Result:
        """Images of all pieces, how they were made, and why they ended.

        Raises
        ------
        Exception
            Any that ended a piece, if nothing came of the others.
        """
        if self._failed and not self.done:
            raise next(iter(self._failed.values()))
        method = setup.settings.method
        begins = isinstance(method, Patches) and method.refine > 0  # with the smoothest image
        done, losses = self.done, [fit.loss for fit in self.done] or [np.zeros(0, np.float32)]
        images = self._pile.images(self._events) if self._canvas is None else self._canvas.images()
        return Result(
            **images,
            noise=self._problem.noise,
            method=Choice(setup.settings.method.name, "chosen by the user"),
            rule=done[0].rule if done else Choice("iterations", "there was nothing to fit"),
            marks=tuple(mark for fit in done for mark in fit.marks),
            iterations=sum(fit.iterations for fit in done),
            end=self._end,
            history=History(
                np.concatenate(losses),
                (*events, *self._events, *self._failures),
                tuple(curve for fit in done for curve in fit.curves),
            ),
            settings=setup.settings,
            device=setup.device,
            seconds=seconds,
            complete=not (self._ending or self._failed),
            made=not self._ending or any(fit.iterations or fit.end.reason.complete or begins for fit in done),
            states=tuple(self._states or ()),
        )

    @property
    def _failures(self) -> list[Event]:
        """One for each piece that failed."""
        lost = "and nothing was made of it" if self._canvas else "and counts for nothing"
        why = {self._name(n): error_in_words(error) for n, error in self._failed.items()}
        return [Event(0, FAILED, f"{name} failed, {lost}: {words}") for name, words in why.items()]

    @property
    def _end(self) -> End:
        """Why the fits ended."""
        end = self._ending or Reason.NOTHING.told()
        if not self._ending and self.done:
            tiles = len(self._tiles)
            runs = f"averaged {len(self.done) if tiles == 1 else self._runs} runs"
            where = " around holes" if isinstance(self._tiles, Around) else ""
            fitted = f"fitted {counted(tiles, 'tile')}{where}"
            parts = [fitted] * (not self._tiles.whole) + [runs] * (self._runs > 1)
            last = self.done[-1].end
            of_them = ", which " if len(self.done) == 1 else ", the last of which "
            end = replace(last, what=of_them.join([*parts, last.what]))
        if failures := self._failures:
            more = f" ({len(failures) - 1} more failed too)" if len(failures) > 1 else ""
            end = end.and_(f"; {failures[0].message}{more}")
        return end

    def _name(self, piece: int) -> str:
        """Name of a piece; empty for the only one."""
        tile, run = divmod(piece, self._runs)
        runs, tiles = f"run {run + 1} of {self._runs}", f"tile {tile + 1} of {len(self._tiles)}"
        return ", in ".join([runs] * (self._runs > 1) + [tiles] * (len(self._tiles) > 1))
