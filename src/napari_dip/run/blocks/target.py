"""The target on disk: an OME-Zarr that blocks are put into, blended, and made coarser, in any order and process.

Where a slice is one block, that goes straight into the image. Elsewhere fitted tiles are kept apart and blended chunk
by chunk in a second pass. The levels of the pyramid are made of each other in the end. What is done is marked in a
`Ledger`.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from napari_dip.core.intensity import float_for
from napari_dip.core.pieces import States
from napari_dip.core.reason import Reason
from napari_dip.core.result import Result
from napari_dip.core.state import OUT_OF_MEMORY
from napari_dip.io.arrays import Source
from napari_dip.io.ngff import Calibration, besides, merged
from napari_dip.io.omezarr import VERSIONS
from napari_dip.io.zarrwriter import chunks_of, coarser, create_level, pyramid
from napari_dip.plan.inputs import Slices
from napari_dip.plan.plan import Plan
from napari_dip.run.blocks.grid import Grid
from napari_dip.run.blocks.ledger import KEY, RESIDUAL, UNCERTAINTY, Ledger
from napari_dip.run.blocks.outputs import IMAGE, Output
from napari_dip.run.fits import Extras, Fit, Unfitted

Array = npt.NDArray[Any]
FIT = "fit"  # the first step


@dataclass(frozen=True, kw_only=True)
class ZarrTarget:
    """The images that a run over blocks writes, and where.

    Attributes
    ----------
    path : str
    run : str
        The name of the run, which tells it from another one that took its place.
    grid : Grid
        Blocks, on the grid of the source.
    outputs : tuple of Output
        The restored image first.
    """

    path: str
    run: str
    grid: Grid
    outputs: tuple[Output, ...]

    @classmethod
    def of(cls, plan: Plan, source: Source, grid: Grid, ledger: Ledger, *, residual: bool) -> ZarrTarget:
        """The target of a plan for a source in these blocks; with its residual if asked for."""
        low, high = (plan.scaling.low, plan.scaling.high) if plan.scaling else (0.0, 0.0)
        real = float_for(low, high, plan.noise.sigma if plan.noise else 0.0)
        dtype = np.dtype(source.array.dtype) if plan.settings.output_dtype == "input" else real
        spatial, between = plan.request.ndim, float_for(0.0, high - low)

        def output(name: str, grid: Grid, dtype: np.dtype[Any], real: np.dtype[Any]) -> Output:
            chunks, levels = chunks_of(grid.shape, spatial), tuple(pyramid(grid.shape, spatial))
            return Output(name=name, grid=grid, dtype=dtype, real=real, chunks=chunks, levels=levels)

        fine = grid.finer(plan.request.factor or (1,) * spatial)
        outputs = [output(IMAGE, fine, dtype.newbyteorder("="), real)]
        if plan.settings.uncertainty:
            outputs.append(output(UNCERTAINTY, fine, between, between))
        if residual:
            outputs.append(output(RESIDUAL, grid, between, between))
        path = str(ledger.path.absolute())
        return cls(path=path, run=ledger.run or "", grid=grid, outputs=tuple(outputs))

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.path, self.run)

    @property
    def image(self) -> Output:
        """The restored image."""
        return self.outputs[0]

    @property
    def steps(self) -> dict[str, int]:
        """Steps of the run, in order: name -> number of pieces."""
        return {FIT: len(self.grid), **{step: n for output in self.outputs for step, n in output.steps.items()}}

    @property
    def warm(self) -> Collection[int]:
        """No block begins with the weights of another one: nothing depends on their order."""
        return ()

    def states(self, index: int | None) -> States:
        return ()

    def put(self, index: int, slice_: Unfitted) -> None:
        """Put a block that nothing was fitted to in its place."""
        entry = {"empty": True} if slice_.image is None else _left_out(slice_.slices)
        self._write(index, {IMAGE: slice_.image}, entry)

    def keep(self, index: int, fit: Fit, result: Result, ahead: set[int]) -> None:
        """Put a restored block in its place; one that was stopped is begun again by the next call.

        Raises
        ------
        MemoryError
            If memory ran out over it: with more of it, it will come out better.
        """
        if any(event.kind == OUT_OF_MEMORY for event in result.history.events):
            raise MemoryError(result.stop_reason)
        if result.end.reason is Reason.STOPPED:
            return
        made = fit.images(result, Extras())
        images = {IMAGE: made.image, UNCERTAINTY: made.uncertainty, RESIDUAL: made.residual}
        verdict = Extras().make("the verdict", lambda: fit.verdict(made.residual), None)
        entry = {
            "iterations": result.iterations,
            "seconds": round(result.seconds, 3),
            "complete": result.complete,
            "stop_reason": result.stop_reason,
            **_left_out(fit.plan.slices),
            "verdict": None if verdict is None else verdict.ok,
        }
        self._write(index, images, entry)

    def _write(self, index: int, images: dict[str, Array | None], entry: dict[str, Any]) -> None:
        """Write the images of a block, by the names of outputs, and mark it as done."""
        if not self.ledger.alive:  # another run has taken its place meanwhile
            return
        for output in self.outputs:
            if (image := images.get(output.name)) is None:
                continue
            if output.direct:
                place = output.grid.place(index)
                shape = [each.stop - each.start for each in place]
                self.array(output, 0)[place] = image.astype(output.dtype).reshape(shape)
            else:
                self.fitted(output)[index] = image.astype(output.real).reshape(output.grid.block)
        self.ledger.mark(FIT, index, entry)

    def compose(self, step: str, index: int, measured: tuple[Array, npt.NDArray[np.bool_]] | None = None) -> None:
        """Make a chunk of a level: of the fitted tiles, or of the level before; what is known may be as measured."""
        if not self.ledger.alive:
            return
        output, level = self._output_of(step)
        if level:
            values = coarser(self.array(output, level - 1)[output.finer_place(level, index)], output.ratio(level))
        else:
            values = output.blended(self.fitted(output), index)
        if measured is not None:
            known, missing = measured
            values = np.where(missing, values, known.astype(output.dtype))
        if not self.ledger.alive:
            return
        self.array(output, level)[output.chunk(level, index)] = values
        before, indices = output.made_of(level, index)
        if all(self.ledger.has(before, each) for each in indices):  # else one of them has failed: made again after that
            self.ledger.mark(step, index, {})

    def _output_of(self, step: str) -> tuple[Output, int]:
        """Output and level of the pyramid that a step writes: of "blend of residual", of "level 2"."""
        what, _, name = step.partition(" of ")
        output = next(each for each in self.outputs if each.name == name)
        return output, int(what.partition(" ")[2] or 0)

    def array(self, output: Output, level: int) -> Any:
        return zarr.open_array(f"{self.path}/{output.path(level)}", mode="r+")

    def fitted(self, output: Output) -> Any:
        """The fitted tiles (blocks, C, *tile), while they are not blended yet."""
        return zarr.open_array(self.ledger.work / output.kept, mode="r+")

    def check(self) -> None:
        """Raise a `ValueError` if the arrays that it writes are not there, or others."""
        for output in self.outputs:
            for i in range(len(output.levels)):
                check_array(self.path, output.path(i), output.level_shape(i), output.dtype)
            if not output.direct:
                name = (self.ledger.work / output.kept).relative_to(self.path).as_posix()
                check_array(self.path, name, output.kept_shape, output.real)

    def create(self, ledger: Ledger, source: Source, found: dict[str, Any]) -> None:
        """Make it, empty, with the calibration of its source and the record of its run."""
        form, calibration = source.zarr_format, source.calibration
        fine = calibration.finer([n // m for n, m in zip(self.image.grid.shape, self.grid.shape, strict=True)])
        version, of_source = {"version": VERSIONS[form]}, dict(source.of_array)

        def described(output: Output, calibration: Calibration, name: str) -> dict[str, Any]:
            """The multiscale image that an output is."""
            paths = [str(i) for i in range(len(output.levels))]
            return calibration.metadata(name, paths, [[1 / f for f in level] for level in output.levels])

        def marked(image: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
            """The attributes of a group that holds it, and what else belongs beside it."""
            if form == 2:
                return {**rest, "multiscales": [{**image, **version}]}
            return {"ome": {**rest, **version, "multiscales": [image]}}

        name, image = ledger.target.stem, self.image
        besides_it, in_ome = besides(source.attributes)
        besides_it |= calibration.besides
        in_ome |= {"omero": calibration.omero} if calibration.omero else {}
        attributes = {**besides_it, **marked(merged(described(image, fine, name), source.ome), in_ome), KEY: found}
        work = ledger.work.relative_to(ledger.path)

        def make(path: Path) -> None:
            group = zarr.create_group(path, zarr_format=form, attributes=attributes)  # type: ignore[arg-type]
            (path / work).mkdir(parents=True)
            for output in self.outputs:
                if output is not image:
                    grid = calibration if output.name == RESIDUAL else fine
                    own = marked(described(output, grid, f"{name}, {output.name}"), {})
                    group.create_group(output.name, attributes={**own, KEY: {"map": output.name, "of": name}})
                for i in range(len(output.levels)):
                    level = output.level_shape(i)
                    array = create_level(group, output.path(i), level, output.dtype, output.chunks, calibration.axes)
                    own = {k: v for k, v in of_source.items() if i == 0 or k == "_ARRAY_DIMENSIONS"}
                    array.attrs.update(own if output is image else {})
                if not output.direct:
                    shape, kept = output.kept_shape, f"{work.as_posix()}/{output.kept}"
                    chunks = (1, 1, *shape[2:])
                    group.create_array(kept, shape=shape, chunks=chunks, dtype=output.real, fill_value=np.nan)

        ledger.create(make)


def _left_out(slices: Slices | None) -> dict[str, int]:
    """Numbers of pixels that were found to be no measurement."""
    counts = {} if slices is None else {"padding_pixels": slices.padding, "bad_pixels": slices.bad}
    return {name: 0 if pixels is None else int(pixels.sum()) for name, pixels in counts.items()}


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
