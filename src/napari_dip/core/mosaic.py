"""An image too large for one fit, as overlapping tiles: one generator for each, blended into one image without seams.

Scaling and noise are those of the whole image, and the seed of a tile is drawn from its place alone. Memory is that of
one fit and of the images that come out; the time is proportional to the pixels.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from napari_dip.core import device as devices
from napari_dip.core import ensemble
from napari_dip.core.ladder import Ladder
from napari_dip.core.operators import Place, seen_by
from napari_dip.core.problem import Problem
from napari_dip.core.solve import (
    History,
    Image,
    OutOfMemory,
    Progress,
    Result,
    ran_out,
    shown,
    step_down,
    was_stopped,
)
from napari_dip.core.state import FAILED, SAVING, Event, State, in_words
from napari_dip.core.stopping import Choice
from napari_dip.core.telling import warn
from napari_dip.core.tiling import Blend, Tiling, seed_at, tiling
from napari_dip.method import method_of
from napari_dip.settings import Settings

STATES_AT_MOST = 2**30  # bytes of states that a result keeps for going on
_RARELY = 10  # times what showing the whole image costs pass before the next time


def tiles_of(shape: tuple[int, ...], settings: Settings) -> Tiling:
    """The tiles of an observation (*shape): by default one."""
    side = settings.tile or max(shape)
    return tiling(shape, side, settings.overlap or min(max(16, side // 8), side // 2))


def cut(problem: Problem, tiles: Tiling) -> Iterator[tuple[Place, Problem]]:
    """The places of the tiles and their problems; the noise is the same, its sigma that at the mean of a tile."""
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
    """Fit one problem, in tiles as large as the settings say.

    Parameters
    ----------
    problem, settings, **how
        As for `solve.iterate`.
    states, neighbours : tuple of State or None
        Of an earlier result, and of the result of a similar image: one for each run of each tile.

    Yields
    ------
    Progress
        Its image is what there is of the whole: NaN where no tile is fitted yet.

    Returns
    -------
    Result
        Image, last, residual and uncertainty are blended from those of the tiles, and NaN where there was none. Tiles
        without a known pixel are left out, and those of one value come back as they are. The states of tiles that were
        not reached are those that were handed in.
    """
    return (yield from shown(turns(problem, settings, **how)))


def turns(
    problem: Problem,
    settings: Settings,
    *,
    ladder: Ladder | None = None,
    states: tuple[State | None, ...] = (),
    **how: Any,
) -> Generator[Progress | None, None, Result]:
    """As `iterate`, with None after each iteration that shows nothing, so that several runs can take turns.

    Where memory runs out before any fit is complete, and the ladder says so, the image is fitted in smaller tiles, and
    when these do not help, on the CPU from where it came whole.
    """
    if ladder is None:
        return (yield from _turns(problem, settings, states=states, **how))
    shape = problem.observation.shape[1:]
    factor = max(f // n for f, n in zip(problem.image_shape, shape, strict=True))
    events: list[Event] = []
    kept: Result | None = None  # what there was before it began again
    good: State | None = None
    while True:
        here = settings.changed(tile=ladder.settings.tile)
        ladder.begin(shape, factor, fresh=not states)
        result, failure = None, ""
        try:
            result = yield from _turns(problem, ladder.applied(here), ladder=ladder, states=states, **how)
        except OutOfMemory as error:
            failure = str(error)
            events += error.events
        failure = result.stop_reason if result and ran_out(result) else failure
        if not failure or not ladder.cuts:
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
        events.append(step_down(at, failure.partition(";")[0], step))
    if failure and kept and (result is None or ladder.cuts or result.iterations < kept.iterations):
        others = tuple(event for event in kept.history.events if event.kind != SAVING)  # which are told already
        result = replace(
            kept,
            stop_reason=f"{kept.stop_reason}; {' and '.join(ladder.tried)} it ran out too",
            history=replace(kept.history, events=others),
        )
    if result is None:
        raise OutOfMemory(failure, tuple(events))
    history = replace(result.history, events=(*events, *result.history.events))
    final = ladder.applied(settings.changed(tile=ladder.settings.tile))
    return replace(result, history=history, settings=final, device=ladder.device)


def _turns(
    problem: Problem,
    settings: Settings,
    *,
    states: tuple[State | None, ...] = (),
    neighbours: tuple[State | None, ...] = (),
    **pace: Any,
) -> Generator[Progress | None, None, Result]:
    """In tiles of the size that the settings say."""
    tiles = tiles_of(problem.observation.shape[1:], settings)
    if len(neighbours) != len(tiles) * settings.runs:  # it was fitted in other tiles
        neighbours = ()
    if len(tiles) == 1:
        return (yield from ensemble.turns(problem, settings, states=states, neighbours=neighbours, **pace))
    runs, mosaic, began = settings.runs, _Mosaic(problem, tiles, settings), time.perf_counter()
    done: list[Result] = []
    kept: list[State | None] | None = list(states) or [None] * (len(tiles) * runs)
    failed: dict[int, Exception] = {}
    ending, ended_in, empty, after = "", 0, 0, 0
    for tile, (place, part) in enumerate(cut(problem, tiles)):
        known = part.observation[part.known_pixels()]
        if known.size == 0:
            empty += 1
            continue
        if known.min() == known.max():
            mosaic.add_flat(tile, float(known[0]))
            continue
        own = slice(tile * runs, (tile + 1) * runs)
        seed = seed_at(settings.seed, [each.start for each in place])
        own_settings = settings.changed(seed=seed, tile=0)
        steps = ensemble.turns(part, own_settings, states=states[own], neighbours=neighbours[own], **pace)
        try:
            result = yield from _shown(steps, mosaic, tile, eager=pace.get("interval") == 0)
        except MemoryError as error:  # the tiles to come are as large
            if not done:
                raise
            ending, ended_in, after = str(error), tile, len(tiles) - tile - 1
            break
        except Exception as error:
            failed[tile] = error
            continue
        finally:
            steps.close()
        if result.iterations or not done:
            mosaic.add(tile, result)
            done.append(result)
            if not result.states:
                kept = None
            if kept is not None:
                kept[own] = result.states
                kept = kept if size_of(kept) <= STATES_AT_MOST else None
        if not result.complete and not ending:
            ending, ended_in = result.stop_reason, tile
        if ran_out(result) or was_stopped(result):
            ending, ended_in, after = result.stop_reason, tile, len(tiles) - tile - 1
            break
    if empty:
        warn(f"{empty} of {len(tiles)} tiles have no known pixel and stay empty", stacklevel=2)
    if failed and not done:
        raise next(iter(failed.values()))
    reason = "finished at once: there was nothing to fit"
    if done:
        reason = f"fitted {len(tiles)} tiles, the last of which {done[-1].stop_reason}"
    if ending:
        reason = f"{ending}, in tile {ended_in + 1} of {len(tiles)}"
        if after:
            reason += f"; the tiles after it are {'as they were' if any(states[-after * runs :]) else 'empty'}"
    events = [
        Event(0, FAILED, f"tile {tile + 1} of {len(tiles)} failed, and nothing was made of it: {in_words(error)}")
        for tile, error in failed.items()
    ]
    if events:
        more = f" ({len(events) - 1} more failed too)" if len(events) > 1 else ""
        reason += f"; {events[0].message}{more}"
    return Result(
        **mosaic.images(),
        noise=problem.noise,
        method=Choice(method_of(settings), "chosen by the user"),
        rule=done[0].rule if done else Choice("iterations", "there was nothing to fit"),
        marks=tuple(mark for r in done for mark in r.marks),
        iterations=sum(r.iterations for r in done),
        stop_reason=reason,
        history=History(
            np.concatenate([r.history.loss for r in done] or [np.zeros(0, np.float32)]),
            (*(event for r in done for event in r.history.events), *events),
        ),
        settings=settings,
        device=devices.choose(settings.device),
        seconds=time.perf_counter() - began,
        complete=not (ending or failed),
        states=tuple(kept or ()),
    )


def size_of(states: list[State | None]) -> int:
    """Bytes of all weights and what the optimiser keeps for them."""
    return sum(4 * w.numel() * w.element_size() for s in states if s is not None for w in s.weights.values())


class _Mosaic:
    """The images that the tiles make."""

    def __init__(self, problem: Problem, tiles: Tiling, settings: Settings) -> None:
        self.tiles, self._operator = list(tiles), problem.operator
        fine, channels = tiles.seen_by(problem.operator.image_shape), len(problem.observation)
        self._image, self._last = Blend(fine, channels), Blend(fine, channels)
        self._residual = Blend(tiles, channels)
        self._uncertainty = Blend(fine, channels) if settings.uncertainty else None

    def add(self, tile: int, result: Result) -> None:
        """Add what was fitted to a tile."""
        there = self._there(tile)
        self._image.add(there, result.image)
        self._last.add(there, result.last)
        self._residual.add(self.tiles[tile], result.residual)
        if self._uncertainty is not None:
            self._uncertainty.add(there, np.nan if result.uncertainty is None else result.uncertainty)

    def add_flat(self, tile: int, value: float) -> None:
        """Add a tile of one value, which nothing was fitted to."""
        there = self._there(tile)
        self._image.add(there, value)
        self._last.add(there, value)
        self._residual.add(self.tiles[tile], 0)
        if self._uncertainty is not None:
            self._uncertainty.add(there, 0)

    def with_tile(self, tile: int, image: Image) -> Image:
        """The image so far, with what is being fitted to one more tile."""
        return self._image.onto(self._there(tile), image)

    def images(self) -> dict[str, Any]:
        """Those of a result."""
        return {
            "image": self._image.image(),
            "last": self._last.image(),
            "residual": self._residual.image(),
            "uncertainty": None if self._uncertainty is None else self._uncertainty.image(),
        }

    def _there(self, tile: int) -> Place:
        return seen_by(self._operator, self.tiles[tile])


def _shown(
    steps: Generator[Progress | None, None, Result], mosaic: _Mosaic, tile: int, *, eager: bool
) -> Generator[Progress | None, None, Result]:
    """The progress of one tile as that of the whole: rarely, for it takes a copy of the image, and a look at it."""
    free = 0.0
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        began = time.perf_counter()
        if progress is not None and (began >= free or eager or progress.snapshot):
            image = mosaic.with_tile(tile, progress.image)
            yield replace(progress, image=image, tile=tile, tiles=len(mosaic.tiles))
            now = time.perf_counter()
            free = now + _RARELY * (now - began)
        else:
            yield None
