"""One block of a large array, in whatever process: read, restored or blended, written, marked as done.

A block is one slice of the leading axes (time, channel, z) and one tile of space. Where a slice is one tile, the result
goes straight into the image. Elsewhere fitted tiles are kept apart and blended chunk by chunk in a second pass. The
levels of the pyramid are made of each other in the end. Nothing depends on the order of the blocks.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from napari_dip import record
from napari_dip.core.intensity import mean_of
from napari_dip.core.noise.model import Noise
from napari_dip.core.result import Progress, Result
from napari_dip.core.telling import quietly
from napari_dip.core.tiling import Tiling, seed_at
from napari_dip.defects import Skips
from napari_dip.inputs import Slices
from napari_dip.io.arrays import Part, Place
from napari_dip.io.omezarr import coarser
from napari_dip.ledger import RESIDUAL, UNCERTAINTY, Ledger
from napari_dip.outputs import IMAGE, Output
from napari_dip.restore import iterate
from napari_dip.settings import Settings
from napari_dip.tasks import TASKS

Array = npt.NDArray[Any]
Work = Generator[Progress, None, None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Plan that all blocks of a run share.

    Attributes
    ----------
    target : str
        Path of the OME-Zarr that is written.
    run : str
        The name of the run, which tells it from another one that took its place.
    task, instrument, settings
        As `restore.iterate` takes them; the instrument is what it is told of kernel and point spread function.
    camera : dict
        Gain, offset and read noise that the user knows, as `restore.iterate` takes them; blocks use them if the samples
        had no known pixel.
    intensity_range, noise, level
        Values of the whole array: scaling (None if all known pixels are equal), noise (None if no sample had a known
        pixel), and the mean that its sigma is at.
    tiles : Tiling
        Tiles of a slice, on the grid of the source.
    factors : tuple of int
        Factors by which the result is finer along the axes of space.
    outputs : tuple of Output
        Images that are written: the restored one first.
    """

    target: str
    run: str
    task: str
    instrument: dict[str, Any]
    camera: dict[str, float]
    settings: Settings
    intensity_range: tuple[float, float] | None
    noise: Noise | None
    level: float
    tiles: Tiling
    factors: tuple[int, ...]
    outputs: tuple[Output, ...]

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.target, self.run)

    @property
    def image(self) -> Output:
        """The restored image."""
        return self.outputs[0]

    @property
    def lead(self) -> tuple[int, ...]:
        """Lengths of the leading axes."""
        return self.image.lead

    @property
    def blocks(self) -> int:
        return self.image.blocks

    @property
    def steps(self) -> dict[str, int]:
        """Steps of the run, in order: name -> number of pieces."""
        return {"fit": self.blocks, **{step: n for output in self.outputs for step, n in output.steps.items()}}

    def output_of(self, step: str) -> tuple[Output, int]:
        """Output and level of the pyramid that a step writes: of "blend of residual", of "level 2"."""
        what, _, name = step.partition(" of ")
        output = next(each for each in self.outputs if each.name == name)
        return output, int(what.partition(" ")[2] or 0)

    def block(self, index: int) -> tuple[Place, Place]:
        """A block in the leading axes and in space."""
        slice_, tile = divmod(index, len(self.tiles))
        lead = tuple(slice(int(i), int(i) + 1) for i in np.unravel_index(slice_, self.lead)) if self.lead else ()
        return lead, self.tiles.at(tile)

    def read_place(self, step: str, index: int) -> Place | None:
        """The part of the source that a piece of a step needs; None if it needs none."""
        if step == "fit":
            return tuple(itertools.chain(*self.block(index)))
        return self.image.chunk(0, index) if step == "blend" and self.keeps_known else None

    @property
    def keeps_known(self) -> bool:
        return TASKS[self.task].fills_holes and self.settings.keep_known

    def level_array(self, output: Output, level: int) -> Any:
        return zarr.open_array(f"{self.target}/{output.path(level)}", mode="r+")

    def tile_array(self, output: Output) -> Any:
        """The fitted tiles (blocks, *tile), while they are not blended yet."""
        return zarr.open_array(self.ledger.work / output.kept, mode="r+")

    def check(self) -> None:
        """Raise a `ValueError` if the arrays that it writes are not there, or others."""
        for output in self.outputs:
            for i in range(len(output.levels)):
                check_array(self.target, output.path(i), output.level_shape(i), output.dtype)
            if not output.direct:
                name = (self.ledger.work / output.kept).relative_to(self.target).as_posix()
                check_array(self.target, name, (self.blocks, *output.tiles.tile), output.real)


def check_array(target: str | os.PathLike[str], name: str, *wanted: Any) -> None:
    """Raise a `ValueError` if an array of a target is not there, or not of the shape and type that are wanted."""
    try:
        array = zarr.open_array(f"{os.fspath(target)}/{name}", mode="r")
        what = f"has shape and type {(array.shape, array.dtype)}"
        if not wanted or (array.shape, array.dtype) == wanted:
            return
    except Exception:  # zarr raises anything for a damaged one
        what = "is missing or damaged"
    raise ValueError(
        f"{os.fspath(target)} is damaged: its array {name} {what}; overwrite it to begin anew, or name another target"
    )


def fit(
    plan: Plan,
    index: int,
    part: Part,
    mask: Part | None,
    *,
    should_stop: Callable[[], bool] | None = None,
    interval: float = np.inf,
) -> Work:
    """Restore a block."""
    ledger = plan.ledger
    if not ledger.alive:
        return
    should_stop = should_stop or ledger.stopping()
    values, missing = known(part, mask)
    values, missing = (each.reshape(plan.tiles.tile) for each in (values, missing))
    made: dict[str, Array | None] = {}
    entry: dict[str, Any] = {"empty": True}
    if not missing.all():
        entry = {}
        if plan.keeps_known and not missing.any():
            made = {IMAGE: values}
        else:
            result = yield from _restored(plan, index, values, missing, should_stop, interval)
            if not result.complete and should_stop():
                return
            entry = _entry(result)
            made = {IMAGE: result.image, UNCERTAINTY: result.uncertainty, RESIDUAL: result.residual}
    if not ledger.alive:  # another run has taken its place meanwhile
        return
    for output in plan.outputs:
        if (image := made.get(output.name)) is None:
            continue
        if output.direct:
            lead, _ = plan.block(index)
            plan.level_array(output, 0)[lead] = image.astype(output.dtype).reshape([1] * len(lead) + [*image.shape])
        else:
            plan.tile_array(output)[index] = image.astype(output.real)
    ledger.mark("fit", index, entry)


def compose(plan: Plan, step: str, index: int, part: Part | None = None, mask: Part | None = None) -> None:
    """Make a chunk of a level of an output: of the fitted tiles, or of the level before."""
    if not plan.ledger.alive:
        return
    output, level = plan.output_of(step)
    if level:
        values = coarser(plan.level_array(output, level - 1)[output.finer_place(level, index)], output.ratio(level))
    else:
        values = output.blended(plan.tile_array(output), index)
    if part is not None:
        measured, missing = known(part, mask)
        values = np.where(missing, values, measured.astype(output.dtype))
    if not plan.ledger.alive:
        return
    plan.level_array(output, level)[output.chunk(level, index)] = values
    before, indices = output.made_of(level, index)
    if all(plan.ledger.has(before, each) for each in indices):  # else one of them has failed: made again after that
        plan.ledger.mark(step, index, {})


def extremes(
    index: int, part: Part, mask: Part | None, skips: Skips, noise: Noise | None
) -> tuple[float, float] | None:
    """The smallest and the largest known pixel of a part, a slice of space, without what is left out."""
    values, missing = known(part, mask)
    slices = skips.pixels(skips.areas(Slices(values[None, None], missing[None, None], (), None)), noise)
    some = slices.values[~slices.missing]
    return (float(some.min()), float(some.max())) if some.size else None


def marked(index: int, mask: Part) -> str:
    """A fingerprint of which pixels of a part are missing."""
    return record.fingerprint(mask.read() != 0)


def whole(index: int, step: str, plan: Plan, part: Part | None, mask: Part | None) -> None:
    """Do a piece of a step to its end."""
    for _ in piece(plan, step, index, part, mask):
        pass


def piece(plan: Plan, step: str, index: int, part: Part | None, mask: Part | None, **pace: Any) -> Work:
    """A piece of a step."""
    if step == "fit":
        assert part is not None
        yield from fit(plan, index, part, mask, **pace)
    else:
        compose(plan, step, index, part, mask)


def _restored(
    plan: Plan, index: int, values: Array, missing: Array, should_stop: Callable[[], bool], interval: float
) -> Generator[Progress, None, Result]:
    """The result of a block by itself, with the scaling and the noise of the whole and a seed of its own."""
    lead, place = plan.block(index)
    noise, task = plan.noise, plan.task
    if noise is not None:
        noise = noise.moved(plan.level, mean_of(values[~missing]))
    settings = plan.settings.changed(
        seed=seed_at(plan.settings.seed, [each.start for each in (*lead, *place)]),
        tile=max(16, *plan.tiles.tile),  # said, so that free memory has no say in it: a block is one fit
        overlap=0,
        output_dtype=plan.settings.output_dtype if plan.image.direct else "float32",
    )
    if not missing.any():  # of which all is restored, as the user wishes
        task = TASKS[task].where_whole or task
    camera: dict[str, Any] = {} if noise else dict(plan.camera)
    with quietly():  # a thousand blocks would say the same a thousand times
        run = iterate(
            task,
            values,
            missing,
            intensity_range=plan.intensity_range,
            image_noise=noise,
            settings=settings,
            should_stop=should_stop,
            interval=interval,
            factor=plan.factors if "factor" in TASKS[task].takes else None,
            **plan.instrument,
            **camera,
        )
    with contextlib.closing(run):
        while True:
            with quietly():  # not across a yield
                progress = next(run, None)
            if progress is None:
                break
            yield progress
    if any(event.kind == "out of memory" for event in run.result.history.events):
        raise MemoryError(run.result.stop_reason)
    return run.result


def _entry(result: Result) -> dict[str, Any]:
    """Entry of the ledger for a fitted block, fit for JSON."""
    return {
        "iterations": result.iterations,
        "seconds": round(result.seconds, 3),
        "complete": result.complete,
        "stop_reason": result.stop_reason,
        "padding_pixels": result.record.get("padding_pixels", 0),
        "bad_pixels": result.record.get("bad_pixels", 0),
        "verdict": None if result.verdict is None else result.verdict.ok,
    }


def known(part: Part, mask: Part | None) -> tuple[Array, Array]:
    """The values of a part, and True where they are not known."""
    values = part.read()
    missing = ~np.isfinite(values)
    if mask is not None:
        missing = missing | np.broadcast_to(mask.read() != 0, values.shape)
    return values, missing
