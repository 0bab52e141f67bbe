"""Choosing what is missing in an image: a layer that marks it, a side of a mask from a file, or pixels that are bad."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import PushButton, SpinBox
from napari.layers import Labels, Shapes
from qtpy.QtCore import Signal

from napari_dip.viewer import layers, masks
from napari_dip.viewer.background import Background
from napari_dip.viewer.geometry import Geometry, geometry_of, ratio_of
from napari_dip.viewer.layers import Source
from napari_dip.viewer.passing import Passing
from napari_dip.viewer.rows import ChoiceOrNone, Rows

if TYPE_CHECKING:
    from napari_dip.viewer.choice import Inputs

_DARK, _BRIGHT = "dark", "bright"  # of a black and white image


class Missing(Rows):
    """Rows for the mask and its label, and buttons that make one.

    Parameters
    ----------
    viewer : napari.Viewer
    inputs : Inputs
        The image, which the mask is for.
    painted : bool
        A new mask is offered.

    Attributes
    ----------
    said : Signal
        A sentence for the user, and whether it is about a failure.
    strokes : int
        Changes of the mask that is followed.
    """

    said = Signal(str, bool)

    def __init__(self, viewer: Any, inputs: Inputs, painted: bool) -> None:
        self._viewer, self._inputs = viewer, inputs
        self.mask = ChoiceOrNone(
            name="mask",
            label="Missing pixels",
            choices=self._masks,
            tooltip="A Labels or Shapes layer that marks missing pixels; it may have another scale, offset or "
            "fewer axes. Where it or the image has no pixel size and both are as large, pixels lie on pixels. "
            "What is dark, or bright, in a black and white image becomes one. NaN and infinite pixels always "
            "count as missing.",
        )
        self.label = SpinBox(
            name="label",
            label="Which label (0\u00a0=\u00a0all)",
            min=0,
            max=2**31 - 1,
            tooltip="The label that means missing.",
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
        super().__init__([self.mask, self.label, *([self.new_mask] if painted else []), self.find_button])
        self.strokes = 0
        self._painted: list[Any] = []  # events of the mask that is followed
        self.passing = Passing(self, self.mask)
        self.passing.confirmed.connect(lambda: self._mark(self.mask.value))
        self._finder = Background(self, self._on_found)
        self.mask.changed.connect(self._mark)
        self.mask.changed.connect(self._watch_mask)
        self.watch(self.mask, self.label)
        self.new_mask.changed.connect(self._add_mask)
        self.find_button.changed.connect(self.find_bad_pixels)

    @property
    def marking(self) -> Any:
        """The layer that marks missing pixels; None without one, and while it is still to be made."""
        return None if isinstance(self.mask.value, tuple) else self.mask.value

    def reset_choices(self) -> None:
        """Offer the layers that there are."""
        mask = self.mask.value
        if (mask[0] if isinstance(mask, tuple) else mask) not in self._viewer.layers:
            self.mask.value = None  # else the side that it marked is chosen again
        self.mask.reset_choices()

    def show_rows(self) -> None:
        """Show the rows that matter for the mask."""
        several = isinstance(self.mask.value, Labels) and (self.label.value or masks.has_several(self.mask.value))
        self.show_row(self.label, bool(several))
        self.find_button.enabled = self._inputs.image.value is not None and not self._finder.waiting

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

    def _watch_mask(self) -> None:
        """Follow what is painted on the mask, and on no other."""
        mask = self.marking  # maybe another one by now
        for emitter in self._painted:
            emitter.disconnect(self._on_painted)
        painted = mask is not None and getattr(mask.events, "paint", mask.events.data)  # shapes are not painted
        self._painted = [painted, mask.events.set_data] if mask is not None else []
        for emitter in self._painted:
            emitter.connect(self._on_painted)

    def _on_painted(self, event: Any = None) -> None:
        self.strokes += 1
        self._tell()

    def _mark(self, chosen: Any) -> None:
        """Of a black and white image: show the Labels layer of the side that is chosen in place of the other's."""
        held = self.passing.hold(isinstance(chosen, tuple))
        if isinstance(chosen, tuple):
            return None if held else self._add_side(*chosen)
        purpose = None if chosen is None else layers.purpose(chosen)
        for layer in self._viewer.layers if isinstance(purpose, tuple) else []:
            if layers.purpose(layer) in [(purpose[0], side) for side in (_DARK, _BRIGHT)]:
                layer.visible = layer == chosen
        return None

    def _add_side(self, layer: Any, side: str) -> None:
        """A new Labels layer of what is dark or bright in a black and white image, which is hidden."""
        with self.mask.changed.blocked():
            self.mask.value = None  # until it is there
        marks = masks.marks_in(layer, side == _BRIGHT)
        others = [each for each in self._inputs.image.choices if each != layer]
        if self._inputs.image.value == layer and others:
            self._inputs.image.value = others[0]
        layer.visible = False
        purpose = layer.unique_id, side
        place = self._place(layer)
        labels = layers.show_labels(self._viewer, marks, place, f"{layer.name} {side}", purpose)
        self.mask.value = labels
        self.said.emit(
            f"What is {side} in '{layer.name}', {100 * marks.mean():.2g} % of it, is marked as missing on layer "
            f"'{labels.name}'.",
            False,
        )

    def _place(self, layer: Any) -> Geometry:
        """Where a mask is drawn: on the image if its pixels lie on those, else in its own place."""
        image = self._inputs.image.value
        if image is not None and image.ndim >= layer.ndim:
            place = geometry_of(image).last(layer.ndim)
            if ratio_of(place, layer) is not None:
                return place
        return geometry_of(layer)

    def _add_mask(self) -> None:
        """A new, empty Labels layer over the image, ready to be painted on."""
        layer = self._inputs.image.value
        if layer is None:
            return self.said.emit(self._inputs.no_image(), True)
        whole = layers.select(layer, level=self._inputs.level_of(layer))
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
            layers.check_source(self._inputs.image.value)
        except TypeError as error:
            return self.said.emit(str(error), True)
        read = self._inputs.some()
        self.said.emit(f"Looking for bad pixels in '{self._inputs.image.value.name}'...", False)
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
        if self._inputs.large and source.space == 2:  # found in one slice, for all of them
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


def _bad_pixels(read: Callable[[], Source]) -> tuple[Source, np.ndarray]:
    """A source and its bad pixels (*leading, *S) that are not marked already."""
    from napari_dip.trust import find_bad_pixels  # imports torch: seconds

    source = read()
    bad = find_bad_pixels(source.image, **source.axes)
    bad = bad.any(-1) if source.rgb else bad
    return source, bad if source.missing is None else bad & ~source.missing
