"""One restoration of a lazy layer: block by block into an OME-Zarr, which becomes a lazy layer in the same place.

At no time is all of the layer in memory. A run that was stopped, or killed, goes on where it was, with the same target.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import napari_dip
from napari_dip.viewer import account, layers
from napari_dip.viewer.geometry import Geometry
from napari_dip.viewer.layers import Selection
from napari_dip.viewer.restoration import METADATA, Asked, Forecast
from napari_dip.viewer.runfiles import ledger_of, what_is_there
from napari_dip.zarrs import AXES, Calibration, plain

if TYPE_CHECKING:
    from napari_dip import Noise, Progress
    from napari_dip.run.blocks.cost import BlocksCost
    from napari_dip.run.blocks.restore import BlockProgress, Restored
    from napari_dip.tables.settings import Settings
    from napari_dip.trust import Control
    from napari_dip.viewer.restoration import Watch

CONTINUE = "Continue a run..."
_INPUTS = {  # of a run, that its settings do not name
    "source": "another image or other slices",
    "leading_axes": "other axes of space",
    "mask": "another mask",
    "guide": "another guide",
    "channel_axis": "other slices restored together",
    "psf": "another point spread function",
    "voxel_size": "another pixel size",
}


@dataclass(frozen=True, kw_only=True)
class Stream(Asked):
    """A task on what is chosen of a lazy layer, ready to run.

    Attributes
    ----------
    source : Selection
    target : Path
        Of the OME-Zarr.
    residual : bool
        True if what is removed is written too.
    mask : array, or None
        Not zero where a pixel is missing: lazy, of the shape of the source or its last axes.
    """

    lazy: ClassVar[bool] = True
    nothing: ClassVar[str] = "Stopped before the first block was restored; there is nothing to show."
    source: Selection
    target: Path
    residual: bool = False
    mask: Any = None

    def destination(self) -> str:
        """The sentence that says where the result will be, and what becomes of what is there.

        Raises
        ------
        ValueError
            If the run cannot be written there; the message says why, and what to do. No pixel is read for it.
        """
        from napari_dip.run.blocks.record import AnotherRun  # imports torch: seconds

        check(self.source)
        before = what_is_there(self.target)
        if before:
            try:
                self._steps(lambda: True, 0).close()
            except AnotherRun as error:
                raise ValueError(f"'{self.target}' holds a run with {_unlike(error.differences)}") from None
        return f"{before or 'It is written block by block into'} '{self.target}'. The result is a new, lazy layer."

    def steps(
        self, watch: Watch, should_stop: Callable[[], bool], interval: float, snapshot_every: int = 0
    ) -> Generator[BlockProgress, None, Restored]:
        """The run, step by step; of blocks there are neither moments nor snapshots."""
        check(self.source)
        what_is_there(self.target)
        return (yield from self._steps(should_stop, interval))

    def decides_cost(self, settings: Settings, noise: Noise | None) -> tuple[Any, ...]:
        """All that the forecast depends on."""
        return (*super().decides_cost(settings, noise), self.finished, self.done)

    def forecast(self, settings: Settings, noise: Noise | None) -> Forecast:
        """Memory and time of the blocks that are left; an empty sentence if all are done."""
        cost = self.cost(settings)
        each = f" on each of {cost.workers} workers" if cost.workers > 1 else ""
        several = cost.blocks > 1
        left = f"the {cost.blocks} blocks that are left" if several else "the last block"
        what = left if self.done else f"{cost.blocks} blocks" if several else "1 block"
        return self.told(cost, settings, each, f", for {what}") if cost.blocks else Forecast("")

    def cost(self, settings: Settings) -> BlocksCost:
        """Memory and time of the blocks that are left, with these settings; reads no pixel."""
        from napari_dip.run.blocks.cost import estimate_blocks

        cost = estimate_blocks(self.task, self.source.array, self.mask, settings=settings, **self._problem)
        return replace(cost, blocks=0 if self.finished else cost.blocks - self.done)

    @property
    def fitted(self) -> tuple[int, ...]:
        """Size of the blocks, along the axes of space."""
        from napari_dip.run.blocks.order import read_order

        order = read_order(self.task, self.source.array, self.mask, **self._problem, **self.knobs_here)
        return order.grid.tiles.tile

    @property
    def finished(self) -> bool:
        """True if there is nothing left to do."""
        found = ledger_of(self.target).record()
        return found is not None and bool(found["finished"])

    @property
    def done(self) -> int:
        """Number of blocks of an unfinished run that are restored already."""
        return len(ledger_of(self.target).done("fit")) if self.target.exists() else 0

    @property
    def _problem(self) -> dict[str, Any]:
        """Axes, calibration, guide and instrument of the image, as arguments of `iterate_blocks`."""
        return {
            "leading_axes": len(self.source.shape) - self.source.space,
            "channel_axis": 0 if self.source.together else None,
            "guide": self.guide,
            "residual": self.residual,
            "calibration": _calibration(self.source.geometry),
            "voxel_size": self.source.geometry.pixel_size(self.source.space),
            **self.said,
        }

    def _steps(self, should_stop: Callable[[], bool], interval: float) -> Generator[BlockProgress, None, Restored]:
        from napari_dip.run.blocks.restore import iterate_blocks

        return iterate_blocks(
            self.task,
            self.source.array,
            self.target,
            self.mask,
            should_stop=should_stop,
            interval=interval,
            **self._problem,
            **self.knobs_here,
        )

    def show_preview(self, viewer: Any, progress: BlockProgress, layer: Any | None) -> Any:
        """Show the block at hand in the preview layer, which is added if there is none."""
        if progress.block is None or progress.place is None:
            return layer
        return self.preview(viewer, self.one_slice(progress.block.image), self._geometry_of(progress.place), layer)

    def _geometry_of(self, block: tuple[slice, ...]) -> Geometry:
        """Geometry of the restored image of a block, by its place in the source."""
        origin = tuple(float(each.start) for each in block)
        return self.place(self.source.geometry.cut(origin, (1.0,) * len(origin)))

    def control(self, restored: Restored, **pace: Any) -> Generator[Progress, None, Control]:
        """Restore pure noise in place of one of the blocks, step by step."""
        return napari_dip.trust.iterate_noise_control(restored, **pace)

    def control_geometry(self, restored: Restored) -> Geometry:
        """Geometry of the control, which is one block."""
        assert restored.order is not None
        return self._geometry_of(restored.order.grid.place(restored.record["first_fit"]))

    def headline(self, name: str, restored: Restored) -> tuple[str, bool]:
        """The sentence on a run that made the layer called `name`, and whether it is about a failure."""
        if restored.complete or restored.blocks is None:
            return f"'{name}': {restored.stop_reason}.", False
        failed = bool(restored.record.get("failed")) or not restored.stopped
        why = restored.stop_reason if failed else "stopped by the user"
        done, count = _done_blocks(restored), len(restored.blocks.target.grid)
        blocks = f"{done} of {count} blocks are restored, and shown in '{name}'"
        return f"{why[0].upper()}{why[1:]}: {blocks}. Run goes on with the rest.", failed

    def details(self, restored: Restored) -> list[tuple[str, str]]:
        """Headings and sentences on what happened."""
        return account.details_of_blocks(restored)

    def show_result(self, viewer: Any, restored: Restored, figures: dict[str, Any], preview: Any = None) -> Any:
        """Add the image as a lazy layer, as far as it is done; what showed the same file before goes; None if empty."""
        if not restored.complete and (restored.blocks is None or not _done_blocks(restored)):
            return None
        store = str(restored.path)
        for other in list(viewer.layers):
            found = other.metadata.get(METADATA, {})
            if found.get("store") == store and not found.get("complete", True):
                viewer.layers.remove(other)
        record = {
            **restored.record,
            "source_layer": self.source.name,
            "mask_layer": self.mask_name,
            "store": store,
            "complete": restored.complete,
            "stop_reason": restored.stop_reason,
            **({"trust": figures} if figures else {}),
        }
        levels = lazy_levels(restored)
        data = levels if len(levels) > 1 else levels[0]
        return layers.show(viewer, data, self.place(self.source.geometry), self.name, {METADATA: record})


def check(selection: Selection) -> None:
    """Raise a `ValueError` for what is not restored block by block."""
    if selection.rgb:
        raise ValueError(
            f"'{selection.name}' has colours, which are not restored block by block; choose one slice, or split its "
            "channels into layers."
        )


def lazy_levels(restored: Restored, name: str = "") -> list[Any]:
    """The levels of the image, or a map, the finest first, not read; of an image that is not blended yet, one level."""
    import dask.array

    target = None if restored.blocks is None else restored.blocks.target
    if restored.complete:
        import zarr

        group = zarr.open_group(restored.path / name, mode="r")
        arrays = [group[str(i)] for i in range(len([name for name, _ in group.arrays()]))]
        return [_lazy(array) for array in arrays]
    if target is None or target.image.direct or not (target.ledger.work / target.image.kept).exists():
        return [_lazy(restored.array)]
    image = target.image
    chunks = tuple(
        tuple(min(size, n - start) for start in range(0, n, size))
        for n, size in zip(image.grid.shape, image.chunks, strict=True)
    )

    def blended(block_info: Any = None) -> np.ndarray:
        at = block_info[None]["chunk-location"]
        return image.blended(target.fitted(image), int(np.ravel_multi_index(at, [len(each) for each in chunks])))

    return [dask.array.map_blocks(blended, chunks=chunks, dtype=image.dtype, meta=np.empty(0, image.dtype))]


def _unlike(differences: dict[str, tuple[Any, Any]]) -> str:
    """Differences from another run, and the remedy, in a sentence."""
    from napari_dip.run.blocks.record import said

    told = []
    for name, values in differences.items():
        then, now = (said(name, value, "left as proposed") for value in values)
        told.append(_INPUTS.get(name) or f"{name.replace('_', ' ')} {then} (now {now})")
    again = (
        "Choose it again" if not differences.keys().isdisjoint(_INPUTS) else f"Press '{CONTINUE}' to choose it again"
    )
    return f"{' and '.join(told)}. {again}, or name another file under 'Write to'."


def _done_blocks(restored: Restored) -> int:
    """Number of restored blocks of a run that is not complete."""
    return len(ledger_of(restored.path, restored.record.get("run", "")).done("fit"))


def _lazy(array: Any) -> Any:
    import dask.array

    # without a name of its own napari's cache would show what another run has read of it before
    return dask.array.from_array(array, chunks=array.chunks, name=False)


def _calibration(geometry: Geometry) -> Calibration:
    """The part of a geometry that an OME-Zarr can hold: not rotation, shear and affine, which the layer has."""
    axes = "".join(geometry.place["axis_labels"]).lower()
    if (
        len(axes) != len(geometry.scale)
        or not set(axes) <= set(AXES)
        or list(axes) != sorted(set(axes), key=AXES.index)
    ):
        axes = plain(len(geometry.scale)).axes
    units = tuple("" if unit in ("pixel", "dimensionless") else unit for unit in geometry.place["units"])
    return Calibration(axes=axes, scale=geometry.scale, translation=geometry.translate, units=units)
