"""One restoration of a layer: how it is computed, and the layers that come of it. The widgets and scripts share it.

Long, as half of it says what its fields and layers mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import napari_dip
from napari_dip.plan.inputs import read_slices
from napari_dip.plan.request import unrecorded
from napari_dip.tables.record import fingerprint, now
from napari_dip.tables.tasks import TASKS
from napari_dip.viewer import account, layers
from napari_dip.viewer.geometry import Geometry, stacked
from napari_dip.viewer.layers import Source
from napari_dip.viewer.noise import known_in, level_of
from napari_dip.viewer.position import slice_name, with_names
from napari_dip.viewer.preferences import preferred_threads

if TYPE_CHECKING:
    from napari_dip import Noise, Progress, Result
    from napari_dip.plan.plan import Plan
    from napari_dip.run.run import Run
    from napari_dip.tables.settings import Settings
    from napari_dip.trust import Control

    Watch = Callable[[Run], Iterable[Progress]]

_WORTH = 1.2  # times by which a wait is longer or shorter that is told anew
LONGER = 600  # seconds of a run from which on it is said what takes less
METADATA = "napari-dip"  # the key of the record in ``layer.metadata``
LAST = "last iterate"
_CAMERA = ("gain", "offset", "read_noise")


@dataclass(frozen=True)
class Forecast:
    """Memory and time of a run, in a sentence.

    Attributes
    ----------
    sentence : str
    short : bool
        There is less memory than that.
    seconds : float
        As the sentence tells; NaN if it tells none.
    paced : bool
        By the pace of the run itself.
    iterating : float
        Share of the seconds that the iterations take; the rest is what comes before and after them.
    """

    sentence: str
    short: bool = False
    seconds: float = math.nan
    paced: bool = False
    iterating: float = 1.0

    def like(self, other: Forecast) -> bool:
        """True if the times differ by less than a fifth, and nothing else is told."""
        few, many = sorted((self.seconds, other.seconds))
        return many < _WORTH * few and (self.short, self.paced) == (other.short, other.paced)


@dataclass(frozen=True)
class Planned:
    """Plan of a run that is about to begin, and what it takes."""

    plan: Plan
    forecast: Forecast


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Task, source and arguments, read or not: what it takes to say what a run would do.

    `Restoration` and `Stream` are what can be run: the one in memory, the other block by block into a file.

    Attributes
    ----------
    lazy : bool
        True if the result is written block by block, and never in memory.
    nothing : str
        Sentence on a run that was stopped too early.
    source : Source or Selection
    guide : array, lazy or not, or None
        The code for ``code="guide"``, of the size of the result, or of a slice of it.
    where : "all", "together" or tuple of int
        The slices of the layer that the source is.
    window : tuple of slice, or None
        Part of these along y and x that the source is; None for all of it.
    resume : Result or None
        To go on from; a run over blocks goes on in its file.
    tiles : dict of tuple of int to int, or None
        Shapes of the tiles around its holes, and how many there are, where that is known; for the forecast.
    knobs : dict
        Those of `Settings` that were chosen; the others follow from the preset, the device and the noise.
    said : dict
        Arguments of the problem besides the image and its voxels, by name, as for `iterate`.
    mask_name : str or None
        Of the Labels layer that the mask came from; for the record.
    unlike : str
        Sentence on what differs from a run that it repeats; empty if nothing is known to.
    """

    lazy: ClassVar[bool] = False
    nothing: ClassVar[str] = "Stopped before the first iteration; there is nothing to show."
    task: str
    source: Any
    knobs: dict[str, Any]
    said: dict[str, Any] = field(default_factory=dict)
    mask_name: str | None = None
    unlike: str = ""
    guide: Any = None
    where: str | tuple[int, ...] = layers.ALL
    window: tuple[slice, slice] | None = None
    resume: Result | None = None
    tiles: dict[tuple[int, ...], int] | None = None

    @property
    def factor(self) -> tuple[int, ...] | None:
        """Factor by which the result is finer along each axis of space; None for no super-resolution."""
        return self.said.get("factor")

    @property
    def name(self) -> str:
        """Name of the restored layer."""
        return f"{self.source.name} {TASKS[self.task].done}" + (" (part)" if self.window else "")

    @property
    def knobs_here(self) -> dict[str, Any]:
        """The knobs beside a window, with its threads."""
        return {**self.knobs, "threads": self.knobs.get("threads") or preferred_threads()}

    @property
    def fitted(self) -> tuple[int, ...]:
        """Size of what is fitted at once, along the axes of space."""
        return tuple(self.source.shape[len(self.source.shape) - self.source.space :])

    def destination(self) -> str:
        """The sentence that says where the result will be, if not in a new layer."""
        return ""

    def decides_cost(self, settings: Settings, noise: Noise | None) -> tuple[Any, ...]:
        """All that the forecast depends on."""
        source, psf = self.source, self.said.get("psf")
        kind = source.rgb, source.space, source.together, source.geometry.pixel_size(source.space)
        blur = "" if psf is None else fingerprint(np.asarray(psf, np.float64))
        around = tuple(sorted((self.tiles or {}).items()))
        return self.task, source.shape, kind, settings, noise, self.factor, blur, around

    def forecast(self, settings: Settings, noise: Noise | None) -> Forecast:
        """Memory and time of the run with these settings, on an image with this noise; reads no pixel."""
        from napari_dip.plan.cost import estimate  # imports torch: seconds

        source, axes = self.source, len(self.source.shape)
        cost = estimate(
            (*source.shape, 3) if source.rgb else source.shape,
            settings,
            task=self.task,
            factor=self.factor,
            channel_axis=axes if source.rgb else 0 if source.together else None,
            leading_axes=axes - source.space - source.together,
            psf=self.said.get("psf"),
            voxel_size=source.geometry.pixel_size(source.space),
            image_noise=noise,
            tiles=self.tiles,
        )
        return self.told(cost, settings)

    def planned(self, plan: Plan) -> Planned:
        """A plan of it with memory and time, on this machine as busy as it is now."""
        from napari_dip.plan.cost import cost_of

        cost, once = (cost_of(each) for each in (plan, replace(plan, settings=plan.settings.decided(iterations=1))))
        told = replace(self.told(cost, plan.settings), iterating=1 - once.seconds / cost.seconds)
        return Planned(plan, told)

    def told(self, cost: Any, settings: Settings, each: str = "", what: str = "") -> Forecast:
        """A cost in a sentence, with what would be faster where it is long."""
        from napari_dip.machine import choose, free
        from napari_dip.plan.cost import LONG, cost_in_words, slowed_by

        device = choose(settings.device).name
        threads = self.knobs_here["threads"]
        slowed = slowed_by(cost.seconds, device, threads)
        less = self._faster(settings) if LONGER < slowed * cost.seconds <= LONG else ""
        short = not each and cost.memory > free(device)
        told = cost_in_words(cost.memory, cost.seconds, settings, self.factor, each, what, slowed, threads)
        return Forecast(f"Takes {told}{less}", short, slowed * cost.seconds)

    def _faster(self, settings: Settings) -> str:
        """Sentence on what takes less time than a run with these settings."""
        quality = (
            ["quality 'fast'"] if settings.quality != "fast" and self.knobs.get("preset", "auto") == "auto" else []
        )
        slices = ["one slice"] if self.source.shape[: -self.source.space] and self.where == layers.ALL else []
        return f" Faster: {' or '.join([*quality, *slices, 'a part of the image'])}."

    def one_slice(self, image: np.ndarray) -> np.ndarray:
        """The image of one slice with the leading axes of the source, of length one."""
        return image.reshape((1,) * (len(self.source.shape) - self.source.space - self.source.together) + image.shape)

    def place(self, geometry: Geometry) -> Geometry:
        """Geometry of the restored image, from that of the measurement."""
        return geometry.finer(self.factor) if self.factor else geometry

    def preview(self, viewer: Any, image: np.ndarray, geometry: Geometry, layer: Any | None) -> Any:
        """Show an image in the preview layer, which is added if there is none."""
        if layer is None:
            record = {"preview": True, "source_layer": self.source.name}
            return layers.show(viewer, image, geometry, f"{self.name} (preview)", {METADATA: record})
        layer.data = image
        layer.translate = geometry.translate
        return layer


@dataclass(frozen=True, kw_only=True)
class Restoration(Asked):
    """A task on a source in memory, ready to run.

    Attributes
    ----------
    source : Source
    noise : Noise or None
        That of all of the image, where a part is restored; None to have it estimated.
    """

    source: Source
    noise: Noise | None = None

    def with_noise(self, noise: Noise, level: float) -> Restoration:
        """The same with the noise of all of the image, at its mean `level`: so a part shows what a run on all gives."""
        if not known_in(self.source).any():
            return self
        return replace(self, noise=noise.moved(level, level_of(self.source)))

    def like(self, record: dict[str, Any], name: str) -> Restoration:
        """The same, which repeats the run that made the layer of a record, called `name`."""
        slices, made = read_slices(**self.source.arguments), record["input"]
        same = record.get("mask") == (fingerprint(slices.missing) if slices.missing.any() else None)
        unlike = [] if same else [f"The mask is not that of '{name}'."]
        if self.source.name == record["source_layer"] and fingerprint(slices.values) != made["sha256"]:
            unlike.append(f"The pixels of '{self.source.name}' are not those that '{name}' was made of.")
        return replace(self, unlike=" ".join(unlike))

    def replaced(self, layer: Any) -> str:
        """Sentence on a source whose layer has other pixels by now than were restored; empty if it has the same."""
        if layer.multiscale or layers.is_lazy(layer.data):
            return ""
        try:
            now = layers.read(layer, where=self.where, window=self.window, space=self.source.space).image
        except (ValueError, TypeError, IndexError):  # of another shape
            now = None
        if now is not None and np.array_equal(now, self.source.image, equal_nan=now.dtype.kind in "fc"):
            return ""
        return (
            f"The pixels of '{layer.name}' were replaced meanwhile: what compares with it compares with the new ones."
        )

    @property
    def problem(self) -> dict[str, Any]:
        """Arguments of the problem, with the noise in place of the camera where a part is restored."""
        if self.noise is None:
            return self.said
        return {name: value for name, value in self.said.items() if name not in _CAMERA} | {"image_noise": self.noise}

    def start(self, should_stop: Callable[[], bool], interval: float, snapshot_every: int = 0) -> Run:
        """Check the arguments and make the run."""
        from napari_dip.run.restore import iterate  # imports torch: seconds

        knobs = self.knobs_here
        if self.source.rgb and np.issubdtype(self.source.image.dtype, np.integer):
            knobs["output_dtype"] = "input"  # napari shows float colours from 0 to 1 only
        return iterate(
            self.task,
            **self.source.arguments,
            voxel_size=self.source.voxel_size,
            guide=self.guide,
            **self.problem,
            resume=self.resume,
            should_stop=should_stop,
            interval=interval,
            snapshot_every=snapshot_every,
            **knobs,
        )

    def steps(
        self, watch: Watch, should_stop: Callable[[], bool], interval: float, snapshot_every: int = 0
    ) -> Generator[Planned | Progress, None, Result]:
        """The plan, then the run, step by step, which `watch` lets pass."""
        run = self.start(should_stop, interval, snapshot_every)
        yield self.planned(run.plan)  # before the run itself is what keeps the machine busy
        yield from watch(run)
        return run.result

    def control(self, result: Result, **pace: Any) -> Generator[Progress, None, Control]:
        """Restore pure noise in the same way as a result, step by step."""
        same = {"guide": self.guide, **unrecorded(self.said)}
        return napari_dip.trust.iterate_noise_control(result, self.source.image, **same, **pace)

    def control_geometry(self, result: Result) -> Geometry:
        """Geometry of the control, which is one slice."""
        return self.place(self.source.slice_geometry(0))

    def continued(self, result: Result, iterations: int) -> Restoration:
        """The restoration that goes on from a result of this one."""
        return replace(self, resume=result, knobs={"iterations": iterations, "threads": result.settings.threads})

    def headline(self, name: str, result: Result) -> tuple[str, bool]:
        """The sentence on a run that made the layer called `name`, and whether it is about a failure."""
        failed = not result.complete and bool(result.history.setbacks)
        told = account.headline(name, result, partial(with_names, self.source))
        return f"{told} {self.unlike}".rstrip(), failed

    def details(self, result: Result) -> list[tuple[str, str]]:
        """Headings and sentences on what happened."""
        return [(heading, with_names(self.source, sentence)) for heading, sentence in account.details(result)]

    def show_result(self, viewer: Any, result: Result, figures: dict[str, Any], preview: Any = None) -> Any:
        """Add the restored layer, with its record and the figures that were found out; None if there is no image.

        A preview of the same pixels becomes that layer: to take it away and to add another would hold the window.
        """
        if not result.made:
            return None
        record = {**result.record, **self._layers}
        if figures:
            record["trust"] = figures
        image, place = layers.with_alpha(self.source, result.image), self.place(self.source.geometry)
        if preview is not None and (preview.data.shape, preview.data.dtype) == (image.shape, image.dtype):
            return layers.turn(preview, image, place, self.name, {METADATA: record})
        return layers.show(viewer, image, place, self.name, {METADATA: record})

    def show_last(self, viewer: Any, result: Result, name: str) -> Any:
        """Add the image at the end of the run that made the layer called `name`, hidden."""
        image = layers.with_alpha(self.source, result.last)
        record = {"map": LAST, "of": name, "iterations": result.iterations, "source_layer": self.source.name}
        place = self.place(self.source.geometry)
        return layers.show(viewer, image, place, f"{name}, {LAST}", {METADATA: record}, visible=False)

    def show_preview(self, viewer: Any, progress: Progress, layer: Any | None) -> Any:
        """Add the preview layer, or show the progress in it."""
        return self.preview(viewer, *self._slice(progress), layer)

    def show_snapshot(self, viewer: Any, progress: Progress, record: dict[str, Any]) -> Any:
        """Add the progress as a layer of its own; `record` is what is known of its run and image besides."""
        image, geometry = self._slice(progress)
        told = {**record, **self._moment_record(progress)}
        name = f"{self.name}, {self._slice_name(progress)}{told['moment']}"
        return self._beneath(viewer, layers.show(viewer, image, geometry, name, {METADATA: told}))

    def show_in_stack(
        self, viewer: Any, progress: Progress, layer: Any | None, every: int, record: dict[str, Any]
    ) -> Any:
        """Add the progress to a layer with a leading axis of iterations, or make that layer, with such a record."""
        image, geometry = self._slice(progress)
        if layer is not None:
            layer.data = np.concatenate([layer.data, image[None]])
            return layer
        place = stacked(geometry, "iteration", float(every), float(progress.iteration))
        told = {**record, **self._moment_record(progress)}
        told["moment"] = f"{account.moment(progress, each=False)}s, from {progress.iteration} on, every {every}"
        name = f"{self.name}, {self._slice_name(progress)}{account.moment(progress, each=False)}s"
        return self._beneath(viewer, layers.show(viewer, image[None], place, name, {METADATA: told}))

    def _beneath(self, viewer: Any, layer: Any) -> Any:
        """Move a kept image right below results and preview, which it would hide: above those that were kept before."""
        records = [each.metadata.get(METADATA, {}) for each in viewer.layers]
        above = [
            place
            for place, record in enumerate(records)
            if record.get("source_layer") == self.source.name and {"map", "iteration"}.isdisjoint(record)
        ]
        if above:
            viewer.layers.move(viewer.layers.index(layer), above[0])
        return layer

    def _slice(self, progress: Progress) -> tuple[np.ndarray, Geometry]:
        """The image of a progress in the axes of the source, and where it lies."""
        return self.one_slice(progress.image), self.place(self.source.slice_geometry(progress.slice))

    def _slice_name(self, progress: Progress) -> str:
        return f"{slice_name(self.source, progress.slice)}, " if progress.slices > 1 else ""

    @property
    def _layers(self) -> dict[str, Any]:
        """The part of a record that is about layers, and the noise of all of one where a part of it is restored."""
        record: dict[str, Any] = {"source_layer": self.source.name, "mask_layer": self.mask_name}
        if self.noise is not None:
            record["camera"] = {name: value for name, value in self.said.items() if name in _CAMERA}
            record["noise_of"] = f"all of '{self.source.name}'"
        return record

    def _moment_record(self, progress: Progress) -> dict[str, Any]:
        """The part of the record of a moment that says which one it is, and when it was kept."""
        numbers = {"iteration": progress.iteration, "slice": progress.slice}
        if progress.tiles > 1:
            numbers |= {"tile": progress.tile + 1, "tiles": progress.tiles}
        numbers |= {"run": progress.run + 1, "runs": progress.runs}
        return {"moment": account.moment(progress), **numbers, **self._layers, "kept": now()}


def is_by_product(layer: Any) -> bool:
    """True for the preview of a run, or a map that came with a result: nothing to restore."""
    return not {"preview", "map"}.isdisjoint(layer.metadata.get(METADATA, {}))
