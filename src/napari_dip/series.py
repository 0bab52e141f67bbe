"""The slices of a stack: restored one after the other, or several at once, and brought together in one result."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from napari_dip import doubts
from napari_dip.core import mosaic
from napari_dip.core.batch import Turns, take_turns
from napari_dip.core.ladder import Ladder
from napari_dip.core.problem import Problem
from napari_dip.core.solve import History, OutOfMemory, Progress, Result, ran_out
from napari_dip.core.state import Event, State, has_ended
from napari_dip.core.stopping import Choice
from napari_dip.forecast import iterations_at_most
from napari_dip.run import Job, describe
from napari_dip.settings import PRESETS

_AT_ONCE = 64  # slices at the most, and of so many pixels together: more have no kernel that would fill a GPU better
_PIXELS = 2048**2
_SHARE = 0.7  # of the free memory of a GPU is planned with

States = tuple[State | None, ...]


def stream(job: Job, states: States, pace: dict[str, Any]) -> Generator[Progress, None, Result]:
    """Restore all slices; `pace` holds what `solve.iterate` is told about stopping and showing."""
    return (yield from Series(job, states, pace).stream())


class Series:
    """The restoration of all slices of a job.

    Parameters
    ----------
    job : Job
    states : tuple of State or None
        Of an earlier result that is gone on with: one for each run of each tile of each slice; empty if there is none.
    pace : dict
        What `solve.iterate` is told about stopping and showing.
    """

    def __init__(self, job: Job, states: States, pace: dict[str, Any]) -> None:
        self.job = job
        self.pace = pace
        self.count = len(job.slices.values)
        shape = (self.count, job.slices.values.shape[1], *job.shape)
        self.image = np.full(shape, job.empty, dtype=job.dtype)
        self.last = self.image.copy()
        self.residual = np.full(job.slices.values.shape, np.nan, np.float32)
        self.uncertainty = np.full(shape, np.nan, np.float32) if job.settings.uncertainty else None
        self.results: dict[int, Result] = {}
        self.events: list[Event] = []
        self.at_once = at_once(job)
        volume = job.slices.ndim == 3
        self.ladder = Ladder(job.settings, job.device, job.open, volume, lambda: len(self._under_way) > 1)
        self._earlier = states
        self._kept: dict[int, States] = {}
        self._all_kept = True
        self._due = list(range(self.count))
        self._under_way: dict[int, Problem] = {}
        self._ends: dict[int, str] = {}  # slices that came to no proper end, and why
        self._short = False  # whether a fit had fewer iterations than usual, though its rule had not ended it

    def stream(self) -> Generator[Progress, None, Result]:
        """Restore the slices."""
        began = time.perf_counter()
        threads = torch.get_num_threads()
        if self.at_once > 1 and self.job.settings.threads:  # runs that take turns would give them back out of turn
            torch.set_num_threads(self.job.settings.threads)
        turns = take_turns(self._begin, self.job.device.name)
        try:
            for index, outcome in turns:
                if isinstance(outcome, Progress):
                    yield self._shown(index, outcome)
                elif isinstance(outcome, Result) and ran_out(outcome) and len(self._under_way) > 1:
                    self._failed(index, OutOfMemory(outcome.stop_reason))
                elif isinstance(outcome, Result):
                    self._keep(index, outcome)
                else:
                    self._failed(index, outcome)
        finally:
            turns.close()
            torch.set_num_threads(threads)
        return self._result(time.perf_counter() - began)

    def _begin(self) -> tuple[int, Turns] | None:
        """The run of the next slice, or None while or because there is none to begin."""
        job = self.job
        while self._due and not self._ends and len(self._under_way) < self.at_once:
            index = self._due[0]
            trivial = job.trivial(index)
            if trivial is not None:
                self.image[index] = self.last[index] = trivial
                del self._due[0]
                continue
            neighbour = self._neighbour(index)
            if neighbour in self._under_way:
                return None
            del self._due[0]
            how = dict(self.pace)
            if self._under_way:  # one preview at a time
                how["interval"] = np.inf
            settings = job.settings if self.at_once == 1 else job.settings.changed(threads=0)
            self._under_way[index] = problem = job.problem(index)
            states, neighbours = self._states(index), self._states(neighbour)
            steps = mosaic.turns(problem, settings, ladder=self.ladder, states=states, neighbours=neighbours, **how)
            return index, steps
        return None

    @property
    def _fits(self) -> int:
        """Runs of each slice."""
        settings = self.ladder.settings
        return len(mosaic.tiles_of(self.job.slices.values.shape[2:], settings)) * settings.runs

    def _neighbour(self, index: int) -> int | None:
        """The slice whose weights another one begins with: the same of the frame before, or the one before."""
        settings, fitted = self.job.settings, sorted({*self.results, *self._under_way})
        if not settings.warm_start or not fitted or settings.code != "self" or settings.stop == "iterations":
            return None
        if self.at_once > 1:
            return fitted[0]  # the others would have to wait for each other
        frame = int(np.prod(self.job.slices.leading[1:], dtype=int))
        return index - frame if index - frame in self._kept else fitted[-1]

    def _states(self, index: int | None) -> States:
        """The states of a slice: of the earlier result, else of this run."""
        if index is None:
            return ()
        return self._earlier[index * self._fits : (index + 1) * self._fits] or self._kept.get(index, ())

    def _shown(self, index: int, progress: Progress) -> Progress:
        job = self.job
        level = job.level(self._under_way[index], progress.image)
        image = job.slices.layout_one(job.finish(index, progress.image + level))
        return replace(progress, image=image, slice=index, slices=self.count, at_once=len(self._under_way))

    def _keep(self, index: int, result: Result) -> None:
        """Put a restored slice in its place."""
        job, problem = self.job, self._under_way.pop(index)
        if not result.complete:
            self._ends[index] = result.stop_reason
        if not (result.iterations or self.count == 1):  # a slice that was not begun stays empty
            return
        level = job.level(problem, result.image)
        self.image[index] = job.finish(index, result.image + level)
        self.last[index] = job.finish(index, result.last + level)
        self.residual[index] = job.residual(index, result.residual - level)
        if self.uncertainty is not None and result.uncertainty is not None:
            self.uncertainty[index] = job.uncertainty(index, result.uncertainty)
        usual = self._usual_iterations
        self._short |= any(s is not None and s.iteration < usual and not has_ended(s) for s in result.states)
        self._keep_states(index, result.states)
        self.results[index] = replace(result, states=())
        if len(self.results) == 1 and job.settings.at_once == 0:
            self.at_once = room(job, self.at_once) if self.ladder.device == job.device else 1

    def _keep_states(self, index: int, states: States) -> None:
        """Keep what it takes to go on, and where that is too much, what the slices to come begin with."""
        self._kept[index] = states
        size = sum(mosaic.size_of(list(each)) for each in self._kept.values())
        self._all_kept = self._all_kept and bool(states) and size <= mosaic.STATES_AT_MOST
        if not self._all_kept:
            frame = int(np.prod(self.job.slices.leading[1:], dtype=int))
            first = min(self._kept) if self.at_once > 1 else -1
            self._kept = {i: s for i, s in self._kept.items() if i in (first, index) or i > index - frame}

    def _failed(self, index: int, error: Exception) -> None:
        """Go on with what there is, if there is something."""
        del self._under_way[index]
        if isinstance(error, MemoryError) and self._under_way:
            self.at_once = len(self._under_way)
            self._due.insert(0, index)
            message = f"memory ran out with {self.at_once + 1} slices at once; {self.at_once} from here on"
            self.events.append(Event(0, "out of memory", message))
        elif self.results or self._under_way:
            self._ends[index] = str(error)
        else:
            raise error

    def _result(self, seconds: float) -> Result:
        """All slices as one result."""
        job, done = self.job, [self.results[index] for index in sorted(self.results)]
        reason = done[-1].stop_reason if done else "finished at once: there was nothing to fit"
        if self._ends:
            first, last = min(self._ends), max(self._ends)
            reason = self._ends[first]
            if self.count > 1:
                which = f"slice {first + 1}" if first == last else f"slices {first + 1} to {last + 1}"
                reason += f", in {which} of {self.count}; the slices after it are empty"
        ratios = doubts.hole_ratios(job.slices, job.noise) if job.slices.missing.any() else None
        uncertainty = self.uncertainty
        if done and all(r.uncertainty is None for r in done):
            uncertainty = None
        if uncertainty is not None and ratios is not None:
            uncertainty = np.maximum(uncertainty, job.enlarged(doubts.undetermined(job.slices, ratios)))
        result = Result(
            image=job.slices.layout(self.image),
            last=job.slices.layout(self.last),
            residual=job.slices.layout(self.residual),
            uncertainty=None if uncertainty is None else job.slices.layout(uncertainty),
            noise=job.noise,
            method=job.method,
            rule=done[0].rule if done else Choice("iterations", "there was nothing to fit"),
            marks=tuple(mark for r in done for mark in r.marks),
            iterations=sum(r.iterations for r in done),
            stop_reason=reason,
            history=History(
                np.concatenate([r.history.loss for r in done] or [np.zeros(0, np.float32)]),
                (*self.events, *(event for r in done for event in r.history.events)),
            ),
            settings=self.ladder.settings,
            device=self.ladder.device,
            seconds=seconds,
            complete=not self._ends,
            verdict=doubts.judge(job.slices, self.residual, job.noise, self._why_too_smooth()),
            warnings=tuple(doubts.warnings_of(job.slices, job.noise, ratios, camera=bool(job.camera))),
            states=self._all_states(),
        )
        return replace(result, record=describe(job, result))

    def _why_too_smooth(self) -> str:
        """What is to blame first where structure is missing: that the run was short, as the user chose."""
        if self._ends:
            return "the run ended early, which is the likely cause: let it go on"
        if self._short:
            more = f"allow more than {self.job.settings.iterations} iterations, or let it go on"
            return f"the run was short, which is the likely cause: {more}"
        return ""

    @property
    def _usual_iterations(self) -> int:
        """Of a fit by the preset as it is, if no rule ends it sooner."""
        job, settings = self.job, self.job.settings
        preset = PRESETS.get(settings.preset, settings)
        usual = settings.changed(iterations=preset.iterations, stop=preset.stop)
        return iterations_at_most(usual, job.slices.values.shape[2:], job.fine_voxel_size)

    def _all_states(self) -> States:
        """One for each run of each slice, or none if they are too large."""
        if not self._kept or not self._all_kept:
            return ()
        if any(len(states) != self._fits for states in self._kept.values()):
            return ()  # not all in the same tiles, as memory ran out
        none: States = (None,) * self._fits
        return tuple(state for index in range(self.count) for state in self._kept.get(index, none))


def unfinished(job: Job, states: States) -> float:
    """The share of fits, by their states, that no rule had ended, or not begun though there is what to fit."""
    tiles, count = list(mosaic.tiles_of(job.slices.values.shape[2:], job.settings)), 0
    for number, state in enumerate(states):
        index, tile = divmod(number // job.settings.runs, len(tiles))
        count += not has_ended(state) and (state is not None or not job.holds_nothing(index, tiles[tile]))
    return count / max(1, len(states))


def at_once(job: Job) -> int:
    """How many slices to begin with: those that the user asks for; of themselves, several on a GPU alone."""
    count = len(job.slices.values)
    if job.settings.at_once:
        return min(job.settings.at_once, count)
    if not job.device.name.startswith("cuda"):
        return 1  # a slice keeps all cores of a CPU busy
    torch.cuda.reset_peak_memory_stats(job.device.name)
    return 1


def room(job: Job, now: int) -> int:
    """How many slices fit on a GPU, after the first one has shown what one takes."""
    if not job.device.name.startswith("cuda"):
        return now
    pixels = int(np.prod(job.shape))
    free, _ = torch.cuda.mem_get_info(job.device.name)
    fit = int(_SHARE * free / max(torch.cuda.max_memory_allocated(job.device.name), 1))
    return max(1, min(fit, _AT_ONCE, _PIXELS // pixels, len(job.slices.values)))
