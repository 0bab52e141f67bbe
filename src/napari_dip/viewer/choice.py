"""Choosing what to restore: the image and which of its slices, what is missing in it, what is known of its camera.

Long, as the rows for image, slices, part and mask depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from magicgui.widgets import ComboBox, PushButton, SpinBox
from napari.layers import Image, Labels, Layer, Shapes
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_dip.plan.request import check_reach, spread_over, with_defaults
from napari_dip.tables.tasks import TASKS
from napari_dip.viewer import guides, layers, masks, regions
from napari_dip.viewer.arguments import Camera, known_of
from napari_dip.viewer.background import Background
from napari_dip.viewer.geometry import geometry_of
from napari_dip.viewer.layers import Selection, Source
from napari_dip.viewer.ownparts import OwnParts
from napari_dip.viewer.position import index_name
from napari_dip.viewer.restoration import METADATA, is_by_product
from napari_dip.viewer.rows import Choice, ChoiceOrNone, Rows, Section, column
from napari_dip.viewer.target import Target

IN_VIEW, ALL_SLICES = "the slice in view", "all slices, one after the other"
VOLUME, ALL_VOLUMES = "the volume", "all volumes, one after the other"
TOGETHER = "all slices, together"
_DARK, _BRIGHT = "dark", "bright"  # of a black and white image
_PASSED = 400  # ms for which keys stay at what they pass
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
        self._painted: list[Any] = []  # events of the mask that is followed
        self._drawn: list[Any] = []  # and those of the part
        self._strokes = 0
        self._settling = QTimer(self, singleShot=True, interval=_PASSED)
        self._settling.timeout.connect(self._settle)
        self.mask.changed.connect(self._mark)
        self.mask.changed.connect(self._watch_mask)
        self._finder = Background(self, self._on_found)
        self._what.watch(self.image, self.level, self.where, self.part)
        self._rows.watch(self.mask, self.label, self.guide)
        self._told: tuple[Rows, ...]
        self._told = (self._what, self._rows, self.target, self.camera, self.own, *self.known.values())
        for part in self._told:
            part.changed.connect(self._tell)
        psf = self.known.get("psf")
        for row in [self.image, *([psf.layer] if psf is not None else [])]:
            row.changed.connect(self._follow_psf)
        self.new_mask.changed.connect(self._add_mask)
        self.part.changed.connect(self._draw_part)
        self.part.changed.connect(self._watch_part)
        self.find_button.changed.connect(self.find_bad_pixels)
        self.target.continued.connect(self._on_continued)
        self.target.said.connect(self.said)

    def _build(self) -> None:
        self.image = Choice(name="image", label="Image", choices=self.images, tooltip="The image to restore.")
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
        self.mask = ChoiceOrNone(
            name="mask",
            label="Missing pixels",
            choices=self._masks,
            tooltip="A Labels or Shapes layer that marks missing pixels; it may have another scale, offset or "
            "fewer axes. What is dark, or bright, in a black and white image becomes one. NaN and infinite pixels "
            "always count as missing.",
        )
        self.label = SpinBox(
            name="label", label="Which label (0 = all)", min=0, max=2**31 - 1, tooltip="The label that means missing."
        )
        self.new_mask = PushButton(
            name="new_mask",
            text="Paint a new mask",
            tooltip="Adds an empty Labels layer over the image.",
        )
        self.find_button = PushButton(
            name="find_bad_pixels",
            text="Find bad pixels",
            tooltip="Looks for hot, dead and saturated pixels and marks them as missing, in a new Labels layer that "
            "you can correct. Single pixels only: what is two pixels wide counts as structure.",
        )
        self.guide = ChoiceOrNone(
            name="guide",
            label="Guide",
            choices=self.images,
            tooltip="The image that serves as the code. Its scale and offset may differ: they say where it lies. As "
            "large as the result and without units it lies pixel on pixel.",
        )
        self._what = Rows([self.image, self.level, self.where, self.part])
        painted = [self.new_mask] if self._row.fills_holes else []
        self._rows = Rows([self.mask, self.label, *painted, self.find_button, self.guide])
        self.camera, self.own = Camera(), OwnParts()
        self.known = known_of(self._task, self.images)
        needed = [each for name, each in self.known.items() if name in (*self._row.needs, *self._row.defaults)]
        others = [each for each in self.known.values() if each not in needed]
        folded = [Section(part.title, part) for part in others]
        column(self, self._what, self.target, *needed, self._rows, *folded)

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

    def _watch_mask(self) -> None:
        """Follow what is painted on the mask, and on no other."""
        mask = self.marking  # maybe another one by now
        for emitter in self._painted:
            emitter.disconnect(self._on_painted)
        painted = mask is not None and getattr(mask.events, "paint", mask.events.data)  # shapes are not painted
        self._painted = [painted, mask.events.set_data] if mask is not None else []
        for emitter in self._painted:
            emitter.connect(self._on_painted)

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

    def _on_painted(self, event: Any = None) -> None:
        self._strokes += 1
        self._tell()

    # -- the layers that there are ------------------------------------------------------------------------------

    def reset_choices(self) -> None:
        """Offer the layers that there are."""
        mask = self.mask.value
        if (mask[0] if isinstance(mask, tuple) else mask) not in self._viewer.layers:
            self.mask.value = None  # else the side that it marked is chosen again
        for row in (self.image, self.part, self.mask, self.guide):
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

    def _wheres(self, _: Any = None) -> list[str]:
        layer = self.image.value
        axes = 2 if layer is None else layer.ndim
        volumes = [*([VOLUME] if axes > 2 else []), *([ALL_VOLUMES] if axes > 3 else [])]
        return [IN_VIEW, ALL_SLICES, *([TOGETHER] if axes == 3 and not layer.rgb else []), *volumes]

    def _masks(self, _: Any = None) -> list[tuple[str, Any]]:
        there = [layer for layer in self._viewer.layers if isinstance(layer, (Labels, Shapes))]
        made = {layers.purpose(layer): layer for layer in there}
        sides = [
            (f"where '{layer.name}' is {side}", made.get((layer.unique_id, side), (layer, side)))
            for layer in self._viewer.layers
            if masks.is_mask(layer)
            for side in (_DARK, _BRIGHT)
        ]
        of_sides = [each for _, each in sides]
        return [*((layer.name, layer) for layer in there if layer not in of_sides), *sides]

    def _parts(self, _: Any = None) -> list[tuple[str, Any]]:
        shapes = [layer for layer in self._viewer.layers if isinstance(layer, Shapes)]
        drawn = [(f"rectangle on '{layer.name}'", layer) for layer in shapes]
        return [*((each, each) for each in (regions.WHOLE, regions.IN_VIEW, regions.DRAW)), *drawn]

    def no_image(self) -> str:
        """Advice while none is chosen."""
        active = self._viewer.layers.selection.active
        if active is not None and not isinstance(active, Image):
            return f"'{active.name}' is a {layers.kind(active)} layer; choose or open an image."
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
        several = isinstance(self.mask.value, Labels) and (self.label.value or masks.has_several(self.mask.value))
        self._rows.show_row(self.label, bool(several))
        self._rows.show_row(self.guide, guide)
        self.find_button.enabled = layer is not None and not self._finder.waiting
        for known in self.known.values():
            known.show_rows(self.space)

    # -- what is chosen -----------------------------------------------------------------------------------------

    def index_in_view(self) -> tuple[int, ...]:
        """The index of the slice in view, along each leading axis of the chosen image."""
        return layers.in_view(self._viewer, self.image.value, self._level_of(self.image.value))

    @property
    def marking(self) -> Any:
        """The layer that marks missing pixels; None without one, and while it is still to be made."""
        return None if isinstance(self.mask.value, tuple) else self.mask.value

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
        chosen = {"where": self.place(), "level": self._level_of(layer), "space": self.space}
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
        level = self._level_of(layer)
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
        return f"all of '{layer.name}'" + (f" ({slices} slices)" if slices > 1 else "")

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

    def _on_continued(self, asked: dict[str, Any]) -> None:
        """Choose what the run that is to go on was asked for."""
        self.take(asked)
        self.continued.emit({**asked["changes"], "residual": asked.get("residual", False)})

    def check(self) -> None:
        """Raise a `ValueError` that says what to do first, where nothing would come of a run."""
        self._part_drawn()
        layer, mask = self.image.value, self.marking
        integer = layer.dtype.kind != "f"  # else NaN pixels are missing too
        if self._row.fills_holes and integer and mask is not None and masks.is_empty(mask, self.label.value or None):
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
        if not any(reach := self._reach()):
            return ""
        if wider := spread_over(reach, self._size(None)):
            return f"The blur {wider}: is it given in pixels?"
        wider = spread_over(reach, self._size(self.window()), "part")
        return f"The blur {wider}: take a larger one." if wider else ""

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
        return id(layer), id(layer.data), self._level_of(layer), self.where.value, part

    def look(self) -> tuple[Any, Callable[[], Source]]:
        """A key of the slice in view, its mask included, and a function that reads it: all of it, also for a part."""
        layer, mask = self.image.value, self.marking
        layers.check_source(layer)
        index = self.index_in_view()
        key = (id(layer), id(layer.data), self._level_of(layer), index, id(mask), mask is not None and self.label.value)
        window = self.window() if self._row.fills_holes else None  # which the depth of the holes depends on
        key = (*key, self._strokes, window and [(each.start, each.stop) for each in window])
        return (*key, self.where.value), self._reader(index, size=_LOOKED_AT, whole=True)

    def chosen(self) -> Callable[[], Source] | None:
        """A function that reads all that is chosen, where that can be read at once."""
        return None if self.large else self._reader(self.place(), self.space)

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
        if self._settling.isActive():
            raise ValueError("Marking the pixels that are missing...")
        layer, mask, image = self.image.value, self.marking, self._described()
        if self._row.fills_holes:
            return f"{self._filling(layer)} {image}"
        done = [known.words(layer, self.space) for known in list(self.known.values())[::-1]]
        first, *others = list(filter(None, done)) or [f"{self._row.acts} {{}}"]
        what = " and ".join([first.replace("{}", image), *(each.replace("{}", "it") for each in others)])
        if mask is not None:
            what += f", without what '{mask.name}' marks" if any(done) else f" and fill what '{mask.name}' marks in it"
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
        return f"Fill what {which}'{mask.name}' marks in"

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

    def _level_of(self, layer: Any) -> int:
        return self.level.value if layer.multiscale else 0

    def _reader(self, where: Any, space: int = 2, size: int | None = None, whole: bool = False) -> Callable[[], Source]:
        layer = self.image.value
        part = {"window": None if whole else self.window(), "size": size}
        selection = layers.select(layer, where=where, level=self._level_of(layer), space=space, **part)
        return partial(_read, selection, self.marking, self.label.value or None, self._viewer)

    # -- masks --------------------------------------------------------------------------------------------------

    def _draw_part(self, part: Any) -> None:
        """A new Shapes layer to draw the part on, where the user wants to draw one."""
        if part != regions.DRAW:
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

    def _mark(self, chosen: Any) -> None:
        """Of a black and white image: show the Labels layer of the side that is chosen in place of the other's."""
        self._settling.stop()
        if isinstance(chosen, tuple):  # by keys maybe on the way to another one
            return self._settling.start() if self.mask.native.hasFocus() else self._add_side(*chosen)
        purpose = None if chosen is None else layers.purpose(chosen)
        for layer in self._viewer.layers if isinstance(purpose, tuple) else []:
            if layers.purpose(layer) in [(purpose[0], side) for side in (_DARK, _BRIGHT)]:
                layer.visible = layer == chosen
        return None

    def _settle(self) -> None:
        """The side that the keys have stayed at."""
        if isinstance(self.mask.value, tuple):
            self._add_side(*self.mask.value)

    def _add_side(self, layer: Any, side: str) -> None:
        """A new Labels layer of what is dark or bright in a black and white image, which is hidden."""
        with self.mask.changed.blocked():
            self.mask.value = None  # until it is there
        marks = masks.marks_in(layer, side == _BRIGHT)
        others = [each for each in self.image.choices if each != layer]
        if self.image.value == layer and others:
            self.image.value = others[0]
        layer.visible = False
        purpose = layer.unique_id, side
        labels = layers.show_labels(self._viewer, marks, geometry_of(layer), f"{layer.name} {side}", purpose)
        self.mask.value = labels
        self.said.emit(
            f"What is {side} in '{layer.name}', {100 * marks.mean():.2g} % of it, is marked as missing on layer "
            f"'{labels.name}'.",
            False,
        )

    def _add_mask(self) -> None:
        """A new, empty Labels layer over the image, ready to be painted on."""
        layer = self.image.value
        if layer is None:
            return self.said.emit(self.no_image(), True)
        whole = layers.select(layer, level=self._level_of(layer))
        shape, geometry, where = whole.shape, whole.geometry, ""
        if whole.large:  # as large a mask would not fit into memory
            shape, geometry, where = shape[-2:], geometry.last(2), " It holds for all slices."
        labels = layers.show_labels(self._viewer, np.zeros(shape, np.uint8), geometry, f"{layer.name} mask")
        labels.mode = "paint"
        self._viewer.layers.selection.active = labels
        self.mask.value = labels
        self.said.emit(f"Paint over what is missing in '{layer.name}', on layer '{labels.name}'.{where}", False)
        return None

    def find_bad_pixels(self) -> None:
        """Look for hot, dead and saturated pixels; what is found becomes a Labels layer, chosen as the mask."""
        try:
            layers.check_source(self.image.value)
        except TypeError as error:
            return self.said.emit(str(error), True)
        read = self._reader(self.index_in_view()) if self.large else self._reader(self.place(), self.space)
        self.said.emit(f"Looking for bad pixels in '{self.image.value.name}'...", False)
        self._finder.ask(lambda: _bad_pixels(read))
        self.find_button.enabled = False
        return None

    def _on_found(self, answer: Any) -> None:
        self.find_button.enabled = True
        if isinstance(answer, Exception):
            return self.said.emit(str(answer), True)
        source, bad = answer
        count = int(bad.sum())
        if not count:
            return self.said.emit(f"No hot, dead or saturated pixel found in '{source.name}'.", False)
        marks, also = bad, ""
        if source.missing is not None and source.missing.any():
            marks = bad | source.missing
            also = f", and with them the {int(source.missing.sum())} that the mask had"
        geometry = source.geometry
        if self.large and source.space == 2:  # found in one slice, for all of them
            marks, geometry = marks.reshape(marks.shape[-2:]), geometry.last(2)
            also += ", for all slices"
        labels = layers.show_labels(self._viewer, marks.astype(np.uint8), geometry, f"{source.name} bad pixels")
        self.mask.value = labels
        what = "1 bad pixel" if count == 1 else f"{count} bad pixels"
        return self.said.emit(
            f"{what} found in '{source.name}' ({100 * count / bad.size:.2g} % of all): "
            f"marked as missing on layer '{labels.name}'{also}. Erase those that are structure.",
            False,
        )


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


def _bad_pixels(read: Callable[[], Source]) -> tuple[Source, np.ndarray]:
    """A source and its bad pixels (*leading, *S) that are not marked already."""
    from napari_dip.trust import find_bad_pixels  # imports torch: seconds

    source = read()
    axes = {name: value for name, value in source.arguments.items() if name in ("channel_axis", "leading_axes")}
    bad = find_bad_pixels(source.image, **axes)
    bad = bad.any(-1) if source.rgb else bad
    return source, bad if source.missing is None else bad & ~source.missing
