"""Progress of a run, and its result."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.device import Device
from napari_dip.core.judge.residual import Verdict
from napari_dip.core.noise.model import Noise
from napari_dip.core.reason import Choice, End, Reason
from napari_dip.core.state import NO_STATE, SAVING, SLOWER, Curve, Event, Image, State
from napari_dip.core.telling import counted
from napari_dip.tables.settings import Settings


@dataclass(frozen=True)
class History:
    """Log of a run.

    Attributes
    ----------
    loss : float32 array (N,)
        Of every iteration, in the scaled intensities of the generator; one fit after the other.
    events : tuple of Event
    curves : tuple of Curve
        What the stopping rules looked at: one for each fit whose rule looks at a number.
    """

    loss: npt.NDArray[np.float32]
    events: tuple[Event, ...] = ()
    curves: tuple[Curve, ...] = ()

    @property
    def setbacks(self) -> tuple[Event, ...]:
        """Events that cost more than time or digits."""
        return tuple(event for event in self.events if event.kind not in (SLOWER, SAVING, NO_STATE))


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a run.

    Attributes
    ----------
    image : array
        Restored image so far, of the current slice, in the units and axes of the input. Before the first iteration,
        the measurement.
    iteration, iterations : int
        Steps made and steps at the most, of this run.
    slice, slices : int
        Index of the current slice and the number of slices (0 and 1 for a single image).
    tile, tiles : int
        Index of the current tile and the number of tiles of each slice.
    run, runs : int
        Index of the current run and the number of runs of each tile.
    loss : float
        Of the latest iterate, in the scaled intensities of the generator.
    rate : float
        Iterations a second, over the last half minute or so of this run.
    snapshot : bool
        True for those that ``snapshot_every`` asks for.
    at_once : int
        Slices that are under way together.
    ready : float
        Share done of the work before the first iteration or after the last, 1 in between. A self-guided fit compares
        similar patches there.
    history : History or None
        Log of the current fit so far; None before its first iteration and after its last.
    mark : int or None
        The iteration of the best image so far, of the current fit, if its rule has marked one.
    """

    image: Image
    iteration: int
    iterations: int
    loss: float
    rate: float
    slice: int = 0
    slices: int = 1
    tile: int = 0
    tiles: int = 1
    run: int = 0
    runs: int = 1
    snapshot: bool = False
    at_once: int = 1
    ready: float = 1.0
    history: History | None = field(default=None, repr=False)
    mark: int | None = None

    @property
    def where(self) -> str:
        """Slice by its index in the array, and which of the tiles and runs it is, where there are several."""
        return self.where_in(f"slice {self.slice} of 0-{self.slices - 1}")

    def where_in(self, slice_name: str) -> str:
        """The same with another name of the slice."""
        slices = [slice_name] * (self.slices > 1)
        tiles = [f"tile {self.tile + 1} of {self.tiles}"] * (self.tiles > 1)
        return ", ".join([*slices, *tiles, *[f"run {self.run + 1} of {self.runs}"] * (self.runs > 1)])

    @property
    def fraction(self) -> float:
        """Share of the whole run that is done, 0 to 1."""
        run = self.run + (self.iteration / self.iterations if self.iterations else self.ready)
        tile = self.tile + run / self.runs
        return (self.slice + tile / self.tiles * min(self.at_once, self.slices - self.slice)) / self.slices

    @property
    def seconds_left(self) -> float:
        """Time left if all goes on as it has, in seconds."""
        later = (((self.slices - self.slice) * self.tiles - self.tile) * self.runs - self.run - 1) * self.iterations
        left = self.iterations - self.iteration + later / self.at_once
        return left / self.rate if self.rate else float("inf")


@dataclass(frozen=True, kw_only=True)
class Result:
    """The restored image and how it came about.

    Attributes
    ----------
    image : array
        In the units and axes of the input: what the stopping rule marked, else the image at the end; refined
        by similar patches if the settings say so (`refine`).
    last : array
        The image at the end of the run, like `image`, never refined. So are previews, and the state to go on from.
    residual : array
        Observation minus what the instrument would see of the fitted image, in the units and axes of the input; NaN
        where that is not known. Also of known pixels that `image` keeps as measured, which nothing was removed from;
        NaN where these needed no fit.
    uncertainty : array or None
        Standard deviation at each pixel, like `image`, if the settings ask for it: of the iterates about their
        average, weighted as they are in it, which are samples of the posterior with ``optimiser="sgld"``; of a
        self-guided fit, the error that its disagreement with similar patches lets expect; and that between the runs if
        there are several. NaN where a known pixel is kept; at least the spread around a hole that nothing determines.
    noise : Noise or None
        Of the observation, in the units of the input; None if it is not known.
    method : Choice
        "self-guided" or "prior" (the generator is fed something fixed), and why.
    rule : Choice
        The stopping rule and why it was taken (of the first slice that was fitted).
    marks : tuple of int
        The iteration that `image` is of, for each slice that was fitted, each of its tiles and each of their runs.
    iterations : int
        Steps made in all (summed over the slices of a stack, and over the runs that it continues).
    end : End
        Why the run ended: a `reason`, which is a member of an enum, and its sentence, which is `stop_reason` too.
    history : History
        Losses, what the stopping rules looked at, and events.
    settings : Settings
        All knobs, with what ``auto`` became.
    device : Device
        Where it was computed, and why there.
    seconds : float
        Wall-clock time.
    complete : bool
        False if the run was stopped, gave up or ran out of memory before its last iteration or its stopping rule
        ended it.
    made : bool
        False if nothing came of it: it was stopped before the first iteration, or before similar patches alone, which
        have none, began to refine the smoothest image.
    whole : bool
        False if slices or tiles were not reached, and are NaN in the image, or 0 in one of whole numbers.
    verdict : Verdict or None
        On the residual, the worst of all slices and channels; None if nothing was fitted, no noise is known, or
        the task removes none.
    warnings : tuple of str
        Sentences that say what not to rely on: the estimate of the noise, and holes that nothing determines.
    record : dict
        Provenance, fit for JSON: all of the above and the versions of the software.
    glance : (array, array) or None
        Small pictures of one slice before and after, for a notebook.

    Notes
    -----
    ``np.asarray(result)`` is its image. A notebook shows the image before and after, and the verdict.
    """

    image: Image
    last: Image
    residual: Image
    uncertainty: Image | None = None
    noise: Noise | None = None
    method: Choice
    rule: Choice
    marks: tuple[int, ...]
    iterations: int
    end: End
    history: History
    settings: Settings
    device: Device
    seconds: float
    complete: bool
    made: bool = True
    whole: bool = True
    verdict: Verdict | None = None
    warnings: tuple[str, ...] = ()
    states: tuple[State | None, ...] = field(default=(), repr=False)
    record: dict[str, Any] = field(default_factory=dict, repr=False)
    glance: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]] | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        """Shape, type, method, end and verdict, in a few lines."""
        count = len(self.warnings)
        more = [f"{counted(count, 'warning')}, see .warnings"] if count else []
        return "\n".join([f"Result: {self._headline}", *self._sentences, *more])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Image:
        """The image, for numpy and all that takes an array."""
        return np.array(self.image, dtype=dtype, copy=copy)  # type: ignore[arg-type, unused-ignore]  # numpy 1: a bool

    def _repr_html_(self) -> str:
        """The page that a notebook shows."""
        from napari_dip.glance import page  # presentation, which numerics do without

        pictures = zip(("before", "after"), self.glance or (), strict=False)
        return page(pictures, [self._headline, *self._sentences], self.warnings)

    def save(self, path: str | Path, like: str | Path | None = None, *, overwrite: bool = False) -> None:
        """Write the image with its record.

        Parameters
        ----------
        path : path
            Ends in .tif (as ImageJ reads it), .ome.tif, .zarr (OME-Zarr), .png, .jpg or .npy.
        like : path, optional
            The file that the image came from: its pixel size, units, channels and colours are written too, and the axes
            have to be as `napari_dip.pictures.read` has them. By default only a `voxel_size` that was given.
        overwrite : bool
            Replace a file that is there, once the new one is whole; an OME-Zarr is never replaced.

        Raises
        ------
        FileExistsError
            If the file is there.
        ValueError
            For an unknown ending, or a `like` of another shape.
        OSError
            If it cannot be written.
        """
        from napari_dip.pictures import save_result  # files, which numerics do without

        save_result(path, self.image, self.record, like, overwrite=overwrite)

    def plot(self) -> Any:
        """Draw a slice before and after, what was removed from it, and the course of the run.

        Returns
        -------
        matplotlib.figure.Figure
            A notebook shows it; ``figure.savefig("run.png")`` writes it.

        Raises
        ------
        ImportError
            If matplotlib is not installed, which is up to the user: ``pip install "napari-dip[plot]"``.
        """
        from napari_dip.figures import plot  # presentation, which numerics do without

        return plot(self)

    @property
    def stop_reason(self) -> str:
        """The sentence that says why the run ended."""
        return str(self.end)

    @property
    def _headline(self) -> str:
        shape = " x ".join(map(str, self.image.shape))
        return f"{self.record.get('task', 'image')}, {shape}, {self.image.dtype}, {self.method.name}"

    @property
    def _sentences(self) -> list[str]:
        return [self.stop_reason, *([self.verdict.sentence] if self.verdict else [])]

    @property
    def choices(self) -> dict[str, str]:
        """Choices and their reasons: headings and sentences; none where there was nothing to fit."""
        if self.end.reason is Reason.NOTHING:
            return {}
        told = {"Method": str(self.method), "Stopping rule": str(self.rule)}
        size = self.record.get("psf_size")
        if size and any(used < given for used, given in zip(size["used"], size["given"], strict=True)):
            given, used = (" x ".join(map(str, size[name])) for name in ("given", "used"))
            told["Point spread function"] = f"centred in the {used} pixels that hold its light; {given} were given"
        return told


#: A run: Progress, or None after an iteration that shows nothing, so that several can go round robin.
Steps = Generator[Progress | None, None, Result]
