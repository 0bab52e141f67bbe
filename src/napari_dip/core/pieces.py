"""One image as pieces, tiles x seeds: each is fitted by a generator of its own, and one canvas adds them up.

Scaling and noise are those of the whole image, and the seed of a piece is drawn from its place and its run alone.
Tiles share their rims and are blended without seams; runs of a tile are averaged, and their spread is the uncertainty
between them. Memory is that of one fit and of the images that come out.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_dip.core import device as devices
from napari_dip.core import solve
from napari_dip.core.averaging import RunningAverage
from napari_dip.core.ladder import Ladder
from napari_dip.core.memory import OutOfMemory
from napari_dip.core.operators import Place, seen_by
from napari_dip.core.problem import Problem
from napari_dip.core.reason import Choice, End, Reason
from napari_dip.core.result import History, Image, Progress, Result
from napari_dip.core.solve import shown, step_down
from napari_dip.core.state import FAILED, SAVING, Curve, Event, State, in_words, keepable
from napari_dip.core.telling import warn
from napari_dip.core.tiling import Blend, Tiling, seed_at, tiles_of
from napari_dip.settings import Settings

_RARELY = 10  # least interval of showing the whole image, over the cost of doing so

States = tuple[State | None, ...]
Steps = Generator[Progress | None, None, Result]


def seeds(seed: int, runs: int) -> list[int]:
    """The seeds of the runs: the first is the one given, the others are drawn from it."""
    return [seed, *(int(np.random.SeedSequence([seed, run]).generate_state(1)[0] >> 1) for run in range(1, runs))]


def cut(problem: Problem, tiles: Tiling) -> Iterator[tuple[Place, Problem]]:
    """The places of the tiles and their problems; the noise is the same, its sigma that at the mean of a tile."""
    if len(tiles) == 1:
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
        part = Problem(
            observation=observation,
            operator=problem.operator.crop(place),
            known=float(here.mean()),
            guide=None if problem.guide is None else np.ascontiguousarray(problem.guide[seen]),
            noise=noise,
            voxel_size=problem.voxel_size,
        )
        yield place, part


def iterate(problem: Problem, settings: Settings, **how: Any) -> Generator[Progress, None, Result]:
    """Fit one problem, in as many tiles and runs as the settings say.

    Parameters
    ----------
    problem, settings, **how
        As for `solve.iterate`.
    states, neighbours : tuple of State or None
        Of an earlier result, and of the result of a similar image: one for each run of each tile.

    Yields
    ------
    Progress
        Its image is the whole so far: NaN where no tile is fitted yet. The current run counts by the share of its
        iterations.

    Returns
    -------
    Result
        Image, last, residual and uncertainty are blended from those of the tiles, and NaN where there was none; of a
        tile, image and last are the means of its runs, the uncertainty is the standard deviation between and within
        them. A run that was stopped or failed is left out, unless it is the first of its tile. Tiles without a known
        pixel are left out, and those of one value come back as they are. The states of what was not reached are those
        that were handed in.
    """
    return (yield from shown(steps(problem, settings, **how)))


def steps(
    problem: Problem, settings: Settings, *, ladder: Ladder | None = None, states: States = (), **how: Any
) -> Steps:
    """`iterate`, with None after each iteration that shows nothing, so that several images can run round robin.

    If memory runs out before any fit is complete, and the ladder says so, the image is fitted in smaller tiles. If
    these do not help, it is fitted whole on the CPU, from its last good state.
    """
    if ladder is None:
        return (yield from _fitted(problem, settings, states=states, **how))
    shape = problem.observation.shape[1:]
    factor = max(f // n for f, n in zip(problem.image_shape, shape, strict=True))
    events: list[Event] = []
    kept: Result | None = None  # what there was before it began again
    good: State | None = None
    while True:
        here = ladder.changed(settings)
        ladder.begin(shape, factor, fresh=not states)
        result, failure = None, None
        try:
            result = yield from _fitted(problem, here, ladder=ladder, states=states, **how)
        except OutOfMemory as error:
            failure = error.end
            events += error.events
        if result is not None and result.end.reason is Reason.OUT_OF_MEMORY:
            failure = result.end
        if failure is None or not ladder.cuts:
            break
        if result is not None:
            events += (event for event in result.history.events if event.kind == SAVING)
        kept, good = kept or result, good or ladder.good
        step = ladder.cut(shape, factor)
        if not step:
            step = ladder.to_cpu(whole=True)
            if not step:
                break
            if good is not None:
                states, how = (good, *(None,) * (settings.runs - 1)), {**how, "since": 0}
        at = good.iteration if good and states else 0
        events.append(step_down(at, failure.what, step))
    if failure and kept and (result is None or ladder.cuts or result.iterations < kept.iterations):
        others = tuple(event for event in kept.history.events if event.kind != SAVING)  # which are told already
        result = replace(
            kept,
            end=kept.end.and_(f"; {' and '.join(ladder.tried)} it ran out too"),
            history=replace(kept.history, events=others),
        )
    if result is None:
        raise OutOfMemory(str(failure), tuple(events))
    history = replace(result.history, events=(*events, *result.history.events))
    return replace(result, history=history, settings=ladder.changed(settings), device=ladder.device)


def _fitted(
    problem: Problem, settings: Settings, *, states: States = (), neighbours: States = (), **pace: Any
) -> Steps:
    """Fit in tiles of the size that the settings say."""
    tiles, runs, began = tiles_of(problem.observation.shape[1:], settings), settings.runs, time.perf_counter()
    fits = _Fits(len(tiles), runs, states)
    if len(neighbours) != fits.count:  # it was fitted in other tiles
        neighbours = ()
    canvas, empty = _Canvas(problem, tiles, settings), 0
    for tile, (place, part) in enumerate(cut(problem, tiles)):
        if len(tiles) > 1:  # who hands in one has looked
            known = part.observation[part.known_pixels()]
            if known.size == 0:
                empty += 1
                continue
            if known.min() == known.max():
                canvas.add_flat(place, float(known[0]))
                continue
        seed = settings.seed if len(tiles) == 1 else seed_at(settings.seed, [each.start for each in place])
        pile, found = _Pile(part, settings), dict[str, Tensor]()  # what any of the runs finds depends on no seed
        for run, own_seed in enumerate(seeds(seed, runs)):
            number = tile * runs + run
            fit = solve.steps(
                part,
                settings,
                seed=own_seed,
                state=states[number] if states else None,
                neighbour=neighbours[number] if neighbours else None,
                found=found,
                **pace,
            )
            try:
                where = {"tile": tile, "tiles": len(tiles), "run": run, "runs": runs}
                result = yield from _shown(fit, canvas, place, pile, where, eager=pace.get("interval") == 0)
            except MemoryError as error:  # the fits to come are as large
                found.clear()  # which an error would keep
                if not fits.done:
                    raise
                fits.end(number, Reason.NO_MEMORY.told(error=error), over=True)
                break
            except Exception as error:
                fits.failed[number] = error
                continue
            finally:
                fit.close()
            if fits.count == 1:
                return result
            counts = result.complete or not (pile.count or (fits.done and not result.iterations))
            if counts:
                pile.add(result)
            fits.settle(number, result, counts=counts)
            if fits.over or not result.complete:
                break
        found.clear()
        if pile.count:
            canvas.add(place, pile.images())
        if fits.over:
            break
    if fits.failed and not fits.done:
        raise next(iter(fits.failed.values()))
    if empty:
        warn(f"{empty} of {len(tiles)} tiles have no known pixel and stay empty", stacklevel=2)
    done = fits.done
    return Result(
        **canvas.images(),
        noise=problem.noise,
        method=Choice(settings.method.name, "chosen by the user"),
        rule=done[0].rule if done else Choice("iterations", "there was nothing to fit"),
        marks=tuple(mark for fit in done for mark in fit.marks),
        iterations=sum(fit.iterations for fit in done),
        end=fits.end_of_all,
        history=History(
            np.concatenate([fit.loss for fit in done] or [np.zeros(0, np.float32)]),
            (*(event for fit in done for event in fit.events), *fits.failures),
            tuple(curve for fit in done for curve in fit.curves),
        ),
        settings=settings,
        device=devices.choose(settings.device),
        seconds=time.perf_counter() - began,
        complete=not (fits.ending or fits.failed),
        states=tuple(fits.states or ()),
    )


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


@dataclass
class _Fits:
    """Outcome of the pieces of an image so far.

    Attributes
    ----------
    handed, states : States
        States that were handed in, and those to go on from: one for each piece; None where they take too much memory.
    ending : End or None
        Of the first fit that did not end properly, and where.
    over : bool
        True if no other piece is begun.
    """

    tiles: int
    runs: int
    handed: States
    done: list[Account] = field(default_factory=list)
    failed: dict[int, Exception] = field(default_factory=dict)
    ending: End | None = None
    over: bool = False

    def __post_init__(self) -> None:
        self.states: list[State | None] | None = list(self.handed) or [None] * self.count

    @property
    def count(self) -> int:
        return self.tiles * self.runs

    def settle(self, piece: int, result: Result, *, counts: bool) -> None:
        """Record a fit that ended; `counts` if its images do."""
        if counts:
            self.done.append(Account.of(result))
        if self.states is not None and result.states:
            self.states[piece] = result.states[0]
        if not result.states or (self.states is not None and not keepable(self.states)):
            self.states = None
        if not result.complete:
            self.end(piece, result.end, over=result.end.reason in (Reason.OUT_OF_MEMORY, Reason.STOPPED))

    def end(self, piece: int, end: End, *, over: bool) -> None:
        """Record a fit that did not end properly."""
        self.over = over
        if self.ending and not over:
            return
        self.ending = end.and_(f", in {self._name(piece)}")
        later = self.handed[(piece // self.runs + 1) * self.runs :]
        if over and piece // self.runs + 1 < self.tiles:
            self.ending = self.ending.and_(f"; the tiles after it are {'as they were' if any(later) else 'empty'}")

    @property
    def failures(self) -> list[Event]:
        """One for each piece that failed."""
        lost = "and counts for nothing" if self.tiles == 1 else "and nothing was made of it"
        return [Event(0, FAILED, f"{self._name(n)} failed, {lost}: {in_words(e)}") for n, e in self.failed.items()]

    @property
    def end_of_all(self) -> End:
        """Why the fits ended."""
        end = self.ending or Reason.NOTHING.told()
        if not self.ending and self.done:
            runs = f"averaged {len(self.done)} runs" if self.tiles == 1 else f"averaged {self.runs} runs"
            parts = [f"fitted {self.tiles} tiles"] * (self.tiles > 1) + [runs] * (self.runs > 1)
            last = self.done[-1].end
            end = replace(last, what=", the last of which ".join([*parts, last.what]))
        if failures := self.failures:
            more = f" ({len(failures) - 1} more failed too)" if len(failures) > 1 else ""
            end = end.and_(f"; {failures[0].message}{more}")
        return end

    def _name(self, piece: int) -> str:
        tile, run = divmod(piece, self.runs)
        runs, tiles = f"run {run + 1} of {self.runs}", f"tile {tile + 1} of {self.tiles}"
        return ", in ".join([runs] * (self.runs > 1) + [tiles] * (self.tiles > 1))


class _Pile:
    """Runs of one tile: their mean, and the standard deviation between and within them."""

    def __init__(self, problem: Problem, settings: Settings) -> None:
        self.count = 0
        self._problem = problem
        self._image, self._last = RunningAverage(1, spread=settings.uncertainty), RunningAverage(1)
        self._within: Image | None = None  # sum of the variances
        self._residual: Image | None = None

    def add(self, result: Result) -> None:
        """Add a run."""
        self.count += 1
        self._image.add(torch.from_numpy(result.image))
        self._last.add(torch.from_numpy(result.last))
        self._residual = result.residual if self.count == 1 else None
        if result.uncertainty is not None:
            self._within = np.square(result.uncertainty) + (0 if self._within is None else self._within)

    def with_run(self, progress: Progress) -> Image:
        """Mean with the current run, which counts by the share of its iterations."""
        mean = self._image.mean
        if mean is None:
            return progress.image
        share = progress.iteration / progress.iterations if progress.ready == 1 else 0
        return np.asarray((self.count * mean.numpy() + share * progress.image) / (self.count + share))

    def images(self) -> dict[str, Any]:
        """Images of a result; the variances between runs and within them add up, the former without bias."""
        assert self._image.mean is not None
        assert self._last.mean is not None
        image, spread = self._image.mean.numpy(), None
        if self._within is not None and self._image.variance is not None:
            between = self._image.variance.numpy() * self.count / max(self.count - 1, 1)
            spread = np.asarray(np.sqrt(between + self._within / self.count))
        residual = self._problem.residual(image) if self._residual is None else self._residual
        return {"image": image, "last": self._last.mean.numpy(), "residual": residual, "uncertainty": spread}


class _Canvas:
    """Images that the tiles are blended into."""

    def __init__(self, problem: Problem, tiles: Tiling, settings: Settings) -> None:
        self._operator, channels = problem.operator, len(problem.observation)
        fine = tiles.seen_by(problem.operator.image_shape)
        names = ("image", "last", *(["uncertainty"] if settings.uncertainty else []))
        self._fine = {name: Blend(fine, channels) for name in names}
        self._residual = Blend(tiles, channels)

    def add(self, place: Place, images: dict[str, Any]) -> None:
        """Add what was fitted to a tile."""
        for name, blend in self._fine.items():
            image = images[name]
            blend.add(seen_by(self._operator, place), np.nan if image is None else image)
        self._residual.add(place, images["residual"])

    def add_flat(self, place: Place, value: float) -> None:
        """Add a tile of one value, which nothing was fitted to."""
        flat = np.full((), value, np.float32)
        self.add(place, {"image": flat, "last": flat, "residual": np.zeros(()), "uncertainty": np.zeros(())})

    def with_tile(self, place: Place, image: Image) -> Image:
        """The image so far, with what is being fitted to one more tile."""
        return self._fine["image"].onto(seen_by(self._operator, place), image)

    def images(self) -> dict[str, Any]:
        """Images of a result."""
        fine = {name: blend.image() for name, blend in self._fine.items()}
        return {"uncertainty": None, **fine, "residual": self._residual.image()}


def _shown(steps: Steps, canvas: _Canvas, place: Place, pile: _Pile, where: dict[str, Any], *, eager: bool) -> Steps:
    """Progress of one piece as that of the whole: rarely, for it takes a copy of the image, and time to show it."""
    free = 0.0
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        began = time.perf_counter()
        if progress is not None and (began >= free or eager or progress.snapshot):
            image = pile.with_run(progress)
            if where["tiles"] > 1:
                image = canvas.with_tile(place, image)
            yield replace(progress, image=image, **where)
            now = time.perf_counter()
            free = now + _RARELY * (now - began)
        else:
            yield None
