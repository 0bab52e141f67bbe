"""Choosing what to restore: the image, which of its slices and which part, and what is known of its camera.

Long, as what is read, said and checked of it depends on all of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from magicgui.widgets import ComboBox, SpinBox
from napari.layers import Image, Labels, Layer, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_dip.plan.noises import too_few
from napari_dip.plan.request import check_reach, spread_over, with_defaults
from napari_dip.tables.tasks import TASKS
from napari_dip.viewer import account, guides, layers, masks, regions
from napari_dip.viewer.arguments import Camera, known_of
from napari_dip.viewer.geometry import geometry_of, place_of, ratio_of
from napari_dip.viewer.layers import Selection, Source
from napari_dip.viewer.missing import Missing
from napari_dip.viewer.ownparts import OwnParts
from napari_dip.viewer.passing import Passing
from napari_dip.viewer.position import index_name
from napari_dip.viewer.restoration import METADATA, is_by_product
from napari_dip.viewer.rows import Choice, ChoiceOrNone, Rows, Section, column
from napari_dip.viewer.target import Target

IN_VIEW, ALL_SLICES = "the slice in view", "all slices, one after the other"
VOLUME, ALL_VOLUMES = "the volume", "all volumes, one after the other"
TOGETHER = "all slices, together"
_LOOKED_AT = 1024  # pixels a side, in the middle: 2 s of one core


class Inputs(QWidget):
    """The image, what is missing in it, and the arguments that the row of a task names.

    Attributes
    ----------
    changed : Signal
        Something else is chosen now.
    continued : Signal
        A run that was begun in a file is to go on: carries the settings that it was begun with, values by name, and
        whether it writes the "residual".
    said : Signal
        A sentence for the user, and whether it is about a failure.
    """

    changed = Signal()
    continued = Signal(dict)
    said = Signal(str, bool)

    def __init__(self, viewer: Any, task: str) -> None:
        super().__init__()
        self._viewer = viewer
        self._task = task
        self._row = TASKS[task]
        self._build()
        self._drawn: list[Any] = []  # events of the part that is followed
        self._passing = Passing(self, self.part)
        self._passing.confirmed.connect(lambda: self._draw_part(self.part.value))
        self.part.changed.connect(self._draw_part)  # first: what is said depends on whether it waits
        self._what.watch(self.image, self.level, self.where, self.part)
        self._guided.watch(self.guide)
        self._told: tuple[Rows, ...]
        self._told = (self._what, self.missing, self._guided, self.target, self.camera, self.own, *self.known.values())
        for part in self._told:
            part.changed.connect(self._tell)
        psf = self.known.get("psf")
        for row in [self.image, *([psf.layer] if psf is not None else [])]:
            row.changed.connect(self._follow_psf)
        self.part.changed.connect(self._watch_part)
        self.target.continued.connect(self._on_continued)
        self.target.said.connect(self.said)
        self.missing.said.connect(self.said)

    def _build(self) -> None:
        self.image = Choice(name="image", label="Image", choices=self._images, tooltip="The image to restore.")
        self.level = SpinBox(name="level", label="Resolution level", min=0, tooltip="0 is the finest level.")
        self.where = ComboBox(
            name="slices",
            label="Restore",
            choices=self._wheres,
            tooltip="All slices share one intensity scaling. One after the other, each has a generator of its own, "
            "which may begin with what the one before has learnt. Together, one generator makes all of them: for a few "
            "channels or frames that have their structure in common. A volume is restored as one: its last three axes "
            "are space, and the scale of the layer says how coarse they are.",
        )
        self.part = Choice(
            name="part",
            label="Part",
            choices=self._parts,
            tooltip="Try on a part first: what is in view, or a rectangle on a Shapes layer. The result is a "
            "small layer in its place; Apply to all restores the rest.",
        )
        self.target = Target(self._task)
        self.guide = ChoiceOrNone(
            name="guide",
            label="Guide",
            choices=self.images,
            tooltip="The image that serves as the code. Its scale and offset may differ: they say where it lies. As "
            "large as the result and without units it lies pixel on pixel.",
        )
        self._what = Rows([self.image, self.level, self.where, self.part])
        self.missing = Missing(self._viewer, self, painted=self._row.fills_holes)
        self.mask, self.label = self.missing.mask, self.missing.label
        self._guided = Rows([self.guide])
        self.camera, self.own = Camera(), OwnParts()
        self.known = known_of(self._task, self.images)
        needed = [each for name, each in self.known.items() if name in (*self._row.needs, *self._row.defaults)]
        others = [each for each in self.known.values() if each not in needed]
        folded = [Section(part.title, part) for part in others]
        column(self, self._what, self.target, *needed, self.missing, self._guided, *folded)

    def _tell(self) -> None:
        self.changed.emit()

    def _follow_psf(self, _: Any = None) -> None:
        """Choose volumes for a point spread function of three axes, and slices for one of two."""
        layer, known = self.image.value, self.known.get("psf")
        psf = None if known is None else known.layer.value
        if layer is None or psf is None or psf is layer or psf.ndim == self.space:
            return
        self.where.reset_choices()
        one, of_all = (VOLUME, ALL_VOLUMES) if psf.ndim == 3 else (IN_VIEW, ALL_SLICES)
        wanted = of_all if self.where.value in (ALL_SLICES, ALL_VOLUMES) else one
        wanted = wanted if wanted in self.where.choices else one
        if wanted in self.where.choices and wanted != self.where.value:
            self.where.value = wanted
            self.said.emit(f"'{psf.name}' has {psf.ndim} axes, so 'Restore' is {wanted}.", False)

    def _watch_part(self) -> None:
        """Follow what is drawn on the Shapes layer of the part, and on no other."""
        part = self.part.value  # maybe another one by now
        for emitter in self._drawn:
            emitter.disconnect(self._on_drawn)
        self._drawn = [] if isinstance(part, str) or part is None else [part.events.data, part.events.highlight]
        for emitter in self._drawn:
            emitter.connect(self._on_drawn)

    def _on_drawn(self, event: Any = None) -> None:
        self._tell()

    # -- the layers that there are ------------------------------------------------------------------------------

    def reset_choices(self) -> None:
        """Offer the layers that there are."""
        for row in (self.missing, self.image, self.part, self.guide):
            row.reset_choices()
        for known in self.known.values():
            known.reset_choices()

    def follow_active(self) -> None:
        """Choose the layer that the user selects; the layers that runs add are not selected by the user."""
        active = self._viewer.layers.selection.active
        if active is None or layers.showing():
            return
        drawn = active == self.part.value or layers.purpose(active) == layers.DRAWING
        rows = [self.mask] if self._row.fills_holes and not drawn else []
        by_hand = METADATA in active.metadata or (masks.is_mask(active) and len(self.image.choices) > 1)
        if not by_hand:  # neither what was restored nor a mask from a file
            rows.append(self.image)
        for row in rows:
            if active in row.choices:
                row.value = active

    def images(self, _: Any = None) -> list[tuple[str, Any]]:
        """The layers that can be restored, by name, as magicgui asks for them."""
        return images_in(self._viewer)

    def _images(self, _: Any = None) -> list[tuple[str, Any]]:
        """The same; before what was restored none, so that it is chosen by hand alone."""
        images = self.images()
        only_results = images and all(METADATA in layer.metadata for _, layer in images)
        return [(ChoiceOrNone.null_string, None), *images] if only_results else images

    def _wheres(self, _: Any = None) -> list[str]:
        layer = self.image.value
        axes = 2 if layer is None else layer.ndim
        volumes = [*([VOLUME] if axes > 2 else []), *([ALL_VOLUMES] if axes > 3 else [])]
        return [IN_VIEW, ALL_SLICES, *([TOGETHER] if axes == 3 and not layer.rgb else []), *volumes]

    def _parts(self, _: Any = None) -> list[tuple[str, Any]]:
        shapes = [layer for layer in self._viewer.layers if isinstance(layer, Shapes)]
        drawn = [(f"rectangle on '{layer.name}'", layer) for layer in shapes]
        return [*((each, each) for each in (regions.WHOLE, regions.IN_VIEW, regions.DRAW)), *drawn]

    def no_image(self) -> str:
        """Advice while none is chosen."""
        active = self._viewer.layers.selection.active
        if active is not None and not isinstance(active, Image):
            return f"'{active.name}' is a {layers.kind(active)} layer; choose or open an image."
        if self.image.choices:
            return "All images here are results: choose one under Image to restore it once more, or open another image."
        return "Open an image, or take one from File > Open Sample > napari-dip."

    def show_rows(self, guide: bool) -> None:
        """Show the rows that matter for what is chosen."""
        layer = self.image.value
        many = layer is not None and layer.multiscale
        if many:
            self.level.max = len(layer.data) - 1
        if list(self.where.choices) != self._wheres():
            self.where.reset_choices()
        self._what.show_row(self.level, many)
        self._what.show_row(self.where, layer is not None and layer.ndim > 2)
        self.target.setVisible(self.large)
        if self.large:
            self.target.propose(layer, self.selection())
        self.missing.show_rows()
        self._guided.show_row(self.guide, guide)
        for known in self.known.values():
            known.show_rows(self.space)

    # -- what is chosen -----------------------------------------------------------------------------------------

    def index_in_view(self) -> tuple[int, ...]:
        """The index of the slice in view, along each leading axis of the chosen image."""
        return layers.in_view(self._viewer, self.image.value, self.level_of(self.image.value))

    @property
    def marking(self) -> Any:
        """The layer that marks missing pixels; None without one, and while it is still to be made."""
        return self.missing.marking

    @property
    def space(self) -> int:
        """Number of axes of space of a restored slice: 2, or 3 for volumes."""
        layer = self.image.value
        return 3 if layer is not None and layer.ndim > 2 and self.where.value in (VOLUME, ALL_VOLUMES) else 2

    def place(self) -> str | tuple[int, ...]:
        """Slices to restore, in the form that `layers.read` takes."""
        if self.where.value in (ALL_SLICES, ALL_VOLUMES):
            return layers.ALL
        if self.where.value == TOGETHER:
            return layers.TOGETHER
        return self.index_in_view()[: self.image.value.ndim - self.space]

    def selection(self) -> Selection:
        """The chosen slices, not read yet."""
        return self._select(self.window())

    def _select(self, window: tuple[slice, slice] | None) -> Selection:
        layer = self.image.value
        layers.check_source(layer)
        chosen = {"where": self.place(), "level": self.level_of(layer), "space": self.space}
        return layers.select(layer, **chosen, window=window)

    def window(self) -> tuple[slice, slice] | None:
        """The part to restore, along y and x; None for all of it, and where none is drawn yet."""
        try:
            return self._part_drawn()
        except ValueError:  # which `check` raises too
            return None

    def _part_drawn(self) -> tuple[slice, slice] | None:
        layer, part = self.image.value, self.part.value
        if part in (regions.WHOLE, regions.DRAW) or layer is None:
            return None
        level = self.level_of(layer)
        if part == regions.IN_VIEW:
            return regions.window_in_view(layer, level)
        return regions.window_of(layers.select(layer, level=level), part)

    def choose_all(self) -> None:
        """Choose every slice, and all of each."""
        self.part.value = regions.WHOLE
        if self.where.value == IN_VIEW and self.image.value.ndim > 2:
            self.where.value = ALL_SLICES
        if self.where.value == VOLUME and self.image.value.ndim > 3:
            self.where.value = ALL_VOLUMES

    def asked(self, whole: bool) -> list[tuple[Any, Any]]:
        """Rows beside the image, each with what is chosen in it, for a run that waits: maybe of all of each slice."""
        part = regions.WHOLE if whole else self.part.value
        return [*((row, row.value) for row in (self.level, self.where, self.mask, self.label)), (self.part, part)]

    def choose(self, asked: list[tuple[Any, Any]]) -> None:
        """Choose in each row what a run was asked for with, as far as the image has it.

        Raises
        ------
        ValueError
            If a layer was removed since then.
        """
        for row, value in asked:
            if isinstance(row, SpinBox):
                row.value = min(value, row.max)
            elif value in row.choices:
                row.value = value
            elif isinstance(value, Layer):
                raise ValueError(f"'{value.name}' was removed before its turn.")

    def held(self) -> dict[str, Any]:
        """Values of the rows, but for the image, which follows the layer that is selected."""
        held = {name: value for part in self._told for name, value in part.held().items()}
        return {name: value for name, value in held.items() if name != self.image.name}

    def hold(self, values: dict[str, Any]) -> None:
        """Choose what `held` returned, as far as the image has it."""
        for part in self._told:
            part.hold(values)

    def beyond(self) -> str:
        """Words on what there is besides what is chosen; empty if nothing is."""
        layer = self.image.value
        selected = [each for each in self._viewer.layers.selection if each in self.image.choices]
        if len(selected) > 1 and layer in selected:
            return f"the {len(selected)} selected layers"
        whole = None if layer is None else layers.select(layer, space=self.space).shape
        if layer is None or (self.window() is None and self.selection().shape == whole):
            return ""
        slices = math.prod(layer.data.shape[: layer.ndim - self.space]) if not layer.multiscale else 1
        return account.all_of(layer.name, slices)

    def all_layers(self) -> list[Any]:
        """The selected images, if the one that is chosen is among them; else that one."""
        chosen = [layer for layer in self._viewer.layers if layer in self._viewer.layers.selection]
        images = [layer for layer in chosen if layer in self.image.choices]
        return images if self.image.value in images else [self.image.value]

    @property
    def large(self) -> bool:
        """True if the chosen slices are lazy and too large to be read at once."""
        layer = self.image.value
        lazy = layer is not None and (layer.multiscale or layers.is_lazy(layer.data))
        return lazy and self.selection().large

    def read(self) -> Source:
        """The chosen slices, with the pixels missing that the mask marks."""
        layers.check_source(self.image.value)
        return self._reader(self.place(), self.space)()

    def masked(self, source: Source) -> Source:
        """A source from elsewhere, with the pixels missing that the mask marks."""
        mask = self.marking
        return source if mask is None else masks.with_mask(source, mask, self.label.value or None, self._viewer)

    def lazy_mask(self, blank: bool) -> Any:
        """The pixels of what is chosen that the mask marks, not read yet, as `masks.lazy_mask`; None without a mask."""
        mask = self.marking
        if mask is None:
            return None
        return masks.lazy_mask(self.selection(), mask, self.label.value or None, self._viewer, blank)

    def guide_pixels(self, read: bool) -> Any:
        """The guide on the grid of the result: not read for a lazy image, or only to say what a run would do."""
        guide = self.guide.value
        if guide is None or self.large:
            return None if guide is None else layers.select(guide).array
        return guides.aligned(guide, self.selection(), self.problem().get("factor")) if read else None

    def take(self, record: dict[str, Any]) -> None:
        """Choose the camera, the factor and so on of a restoration, as far as its record has them."""
        self.camera.take(record.get("camera") or {})
        self.own.take(record)
        for name, known in self.known.items():
            if record.get(name) is not None:
                known.take(record)

    def lacking(self, record: dict[str, Any]) -> str:
        """Sentence on what has to be chosen by hand for the restoration of a record; empty if nothing has."""
        return " ".join(filter(None, (known.lacking(record) for known in self.known.values())))

    def _on_continued(self, asked: dict[str, Any]) -> None:
        """Choose what the run that is to go on was asked for."""
        self.take(asked)
        self.continued.emit({**asked["changes"], "residual": asked.get("residual", False)})

    def check(self) -> None:
        """Raise a `ValueError` that says what to do first, where nothing would come of a run."""
        self._part_drawn()
        layer, mask = self.image.value, self.marking
        fills = self._row.fills_holes and mask is not None
        if fills and masks.is_empty(mask, self.label.value or None) and masks.is_known(layer):
            raise ValueError(f"Paint on what is missing first: the mask '{mask.name}' is empty.")
        for known in self.known.values():
            known.check(layer)
        if not any(reach := self._reach()):
            return
        check_reach(reach, self._size(None))
        try:
            check_reach(reach, self._size(self.window()))
        except ValueError:
            raise ValueError("The blur is far wider than the part: take a larger one.") from None

    def doubt(self) -> str:
        """Sentence that speaks against what is chosen; empty if nothing does."""
        if self._row.keeps_mean and self._row.removes_noise and masks.is_mask(self.image.value):
            return f"'{self.image.value.name}' has two values, as a mask: is it the image?"
        return self._other_size() or self._too_wide() or self._too_few()

    def _too_wide(self) -> str:
        """Sentence on a blur that is wider than the image or the part; empty if there is none."""
        if not any(reach := self._reach()):
            return ""
        if wider := spread_over(reach, self._size(None)):
            return f"The blur {wider}: is it given in pixels?"
        wider = spread_over(reach, self._size(self.window()), "part")
        return f"The blur {wider}: take a larger one." if wider else ""

    def _too_few(self) -> str:
        """Sentence on an image of so few pixels that its noise is a guess, of a part all of it; empty elsewhere."""
        if self._row.fills_holes or not (self._row.removes_noise or self._row.adds_detail):
            return ""  # the noise has no part in it
        shape = self._select(None).shape
        planes = math.prod(shape[: -self.space]) * (3 if self.image.value.rgb else 1)
        few = too_few(planes, shape[-self.space :])
        return f"There are {few}." if few and not self.camera.values() else ""

    def _other_size(self) -> str:
        """Sentence on labels that lie over a part of the image alone, or beyond it; empty where they do neither."""
        layer, labels = self.image.value, self.marking
        if not isinstance(labels, Labels):
            return ""
        whole = layers.select(layer, level=self.level_of(layer))
        if masks.lie_over(whole, labels):
            return ""
        sizes = (" x ".join(map(str, shape)) for shape in (masks.size_of(labels), whole.shape[-2:]))
        marks, image = (f"'{each.name}' ({size} pixels)" for each, size in zip((labels, layer), sizes, strict=True))
        return f"{marks} does not lie edge on edge over {image}: what it does not cover counts as known."

    def _reach(self) -> tuple[int, ...]:
        """Reach of the blur in pixels of the result, along y, x, or z, y, x; 0 where there is none."""
        psf = self.known.get("psf")
        reach = () if psf is None or "psf" not in self.problem() else psf.reach(self.space)
        return reach or (0,) * self.space

    def _size(self, window: tuple[slice, slice] | None) -> tuple[int, ...]:
        """Pixels of the result of a part, or of all of the image, along the same axes."""
        shape = self._select(window).shape[-self.space :]
        return tuple(np.multiply(shape, self.problem().get("factor", 1)).tolist())

    @property
    def key(self) -> tuple[Any, ...]:
        """All that decides the pixels of what is chosen, whichever slice is in view."""
        layer, window = self.image.value, self.window()
        part = window and [(each.start, each.stop) for each in window]
        return id(layer), id(layer.data), self.level_of(layer), self.where.value, part

    def look(self) -> tuple[Any, Callable[[], Source]]:
        """A key of the slice in view, its mask included, and a function that reads it: all of it, also for a part."""
        layer, mask = self.image.value, self.marking
        layers.check_source(layer)
        index = self.index_in_view()
        key = (id(layer), id(layer.data), self.level_of(layer), index, id(mask), mask is not None and self.label.value)
        window = self.window() if self._row.fills_holes else None  # which the depth of the holes depends on
        key = (*key, self.missing.strokes, window and [(each.start, each.stop) for each in window])
        return (*key, self.where.value), self._reader(index, size=_LOOKED_AT, whole=True)

    def chosen(self) -> Callable[[], Source] | None:
        """A function that reads all that is chosen, where that can be read at once."""
        return None if self.large else self._reader(self.place(), self.space)

    def some(self) -> Callable[[], Source]:
        """A function that reads all that is chosen; the slice in view, where that is too large."""
        return self._reader(self.index_in_view()) if self.large else self._reader(self.place(), self.space)

    def holes(self) -> Callable[[], Source] | None:
        """A function that reads all that is chosen, where the method depends on the depth of its holes."""
        return self.chosen() if self._row.fills_holes else None

    def problem(self) -> dict[str, Any]:
        """Arguments of the problem besides the image: name -> value."""
        said = {name: value for each in self.known.values() for name, value in each.said(self.space).items()}
        return {**with_defaults(said), **self.camera.values(), **self.own.values()}

    def sentence(self) -> str:
        """The beginning of the sentence that says what a run will do to the chosen layer.

        Raises
        ------
        ValueError
            If something has to be chosen first.
        """
        for passing in (self.missing.passing, self._passing):
            if passing.held:
                raise ValueError(passing.advice)
        layer, mask, image = self.image.value, self.marking, self._described()
        if layer.dtype == bool:
            raise ValueError(
                f"'{layer.name}' is boolean, as a mask: there is nothing to restore. Choose another image."
            )
        if self._row.fills_holes:
            return f"{self._filling(layer)} {image}"
        done = [known.words(layer, self.space) for known in list(self.known.values())[::-1]]
        first, *others = list(filter(None, done)) or [f"{self._row.acts} {{}}"]
        what = " and ".join([first.replace("{}", image), *(each.replace("{}", "it") for each in others)])
        if mask is not None:
            what += f", without what {self._marks()}" if any(done) else f" and fill what {self._marks()} in it"
        return f"{what[0].upper()}{what[1:]}"

    def _filling(self, layer: Any) -> str:
        mask = self.marking
        if mask is None and layer.dtype.kind != "f":
            raise ValueError(
                "Choose what is missing: a Labels or Shapes layer, or a black and white image; or press 'Paint a new "
                "mask'."
            )
        if mask is None:
            return "Fill the NaN pixels (choose or add a mask for others) of"
        which = f"label {self.label.value} of " if self.label.value and isinstance(mask, Labels) else ""
        return f"Fill what {which}{self._marks()} in"

    def _marks(self) -> str:
        """The mask as a subject with its verb, and where it lies if not in the world."""
        layer, mask = self.image.value, self.marking
        sizes = {place_of(each).last(2).sized for each in (layer, mask)} if isinstance(mask, Labels) else set()
        apart = len(sizes) == 2 and ratio_of(place_of(layer), mask) is not None
        return f"'{mask.name}' marks{' pixel on pixel' if apart else ''}"

    def _described(self) -> str:
        """The chosen layer, its slice and its pixels, in words."""
        layer = self.image.value
        where = ""
        if layer.ndim > 2:
            seen = self.where.value == IN_VIEW
            where = f"{index_name(layer.axis_labels, self.index_in_view()) if seen else self.where.value}; "
        shape = self.selection().shape
        shape = shape if self.where.value in (ALL_SLICES, ALL_VOLUMES, TOGETHER) else shape[-self.space :]
        part = "a part of " if self.window() else ""
        return f"{part}'{layer.name}' ({where}{' x '.join(map(str, shape))} pixels of {layer.dtype})"

    def level_of(self, layer: Any) -> int:
        """Resolution level of a layer that is chosen."""
        return self.level.value if layer.multiscale else 0

    def _reader(self, where: Any, space: int = 2, size: int | None = None, whole: bool = False) -> Callable[[], Source]:
        layer = self.image.value
        part = {"window": None if whole else self.window(), "size": size}
        selection = layers.select(layer, where=where, level=self.level_of(layer), space=space, **part)
        return partial(_read, selection, self.marking, self.label.value or None, self._viewer)

    def _draw_part(self, part: Any) -> None:
        """A new Shapes layer to draw the part on, where the user wants to draw one."""
        drawn = part == regions.DRAW
        if self._passing.hold(drawn) or not drawn:
            return
        layer = self.image.value
        if layer is None:
            self.part.value = regions.WHOLE
            return self.said.emit(self.no_image(), True)
        place = geometry_of(layer).last(2)
        shapes = layers.show_shapes(self._viewer, place, f"{layer.name} part")
        shapes.mode = "add_rectangle"
        self.part.value = shapes
        self._viewer.layers.selection.active = shapes
        return None


def images_in(viewer: Any) -> list[tuple[str, Any]]:
    """Layers that can be restored, by name: the topmost first, results, hidden ones (as a truth) and masks last."""
    top_down = list(viewer.layers)[::-1]
    images = [layer for layer in top_down if isinstance(layer, Image) and not is_by_product(layer)]
    return [(layer.name, layer) for layer in sorted(images, key=_is_unlikely)]


def _is_unlikely(layer: Any) -> bool:
    return METADATA in layer.metadata or not layer.visible or masks.is_mask(layer)


def _read(selection: Selection, mask: Any, label: int | None, viewer: Any) -> Source:
    source = selection.read()
    return source if mask is None else masks.with_mask(source, mask, label, viewer)
