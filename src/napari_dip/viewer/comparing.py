"""Source and result held against each other: a divider to drag, a profile, side by side, a key for the source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from napari.experimental import link_layers, unlink_layers
from napari.layers import Image
from qtpy.QtWidgets import QCheckBox

from napari_dip.viewer import layers
from napari_dip.viewer.geometry import geometry_of, in_layer_units
from napari_dip.viewer.regions import window_on
from napari_dip.viewer.restoration import METADATA
from napari_dip.viewer.rows import ACCENT, Section, Text, tip

KEY = "B"  # as in before; napari has no use of its own for it
_LINKED = ("contrast_limits", "gamma", "colormap")
_NEAR = 0.05  # of the width: so close to the divider it is taken hold of


def pair_of(viewer: Any, preview: bool = False) -> tuple[Any, Any] | None:
    """Source and result, or `preview`: of the selected layer if that was restored, else of the topmost one that was."""
    by_name = {layer.name: layer for layer in viewer.layers}
    for layer in [viewer.layers.selection.active, *reversed(list(viewer.layers))]:
        record = {} if layer is None else layer.metadata.get(METADATA, {})
        source = by_name.get(record.get("source_layer"))
        if source is not None and "map" not in record and (preview or "preview" not in record):
            return source, layer
    return None


def show_source(viewer: Any) -> Iterator[None]:
    """Show the source in place of the result while a key is held."""
    pair = pair_of(viewer, preview=True)
    if pair is None:
        return
    source, result = pair
    above = [layer for layer in viewer.layers[viewer.layers.index(source) + 1 :] if isinstance(layer, Image)]
    before = {layer: layer.visible for layer in (source, result, *above)}  # an earlier image may lie over the result
    for layer in before:
        layer.visible = layer is source
    yield
    for layer, visible in before.items():
        layer.visible = visible


class Divider:
    """A line across the result, left of which its source lies over it.

    What is seen left of it is a layer with a view of the source's pixels, which takes no memory. Its frame is the line.
    """

    def __init__(self, viewer: Any, source: Any, result: Any) -> None:
        self._viewer, self._source = viewer, source
        self._data = source.data[0] if source.multiscale else source.data
        rows, columns = window_on(source, result)
        self._part = [slice(None)] * (source.ndim - 2) + [rows]
        self._low, self._high = columns.start, columns.stop
        corner = (*(0,) * (source.ndim - 2), rows.start, columns.start)
        geometry = geometry_of(source).cut(corner, (1,) * source.ndim)
        middle = self._left((self._low + self._high) / 2)
        self.layer = layers.show(viewer, middle, geometry, f"{source.name} (left)", {METADATA: {"preview": True}})
        viewer.layers.move(viewer.layers.index(self.layer), viewer.layers.index(result) + 1)
        frame = self.layer.bounding_box
        frame.points, frame.line_color, frame.line_thickness, frame.visible = False, ACCENT, 2, True
        if not source.rgb:
            link_layers([source, self.layer], _LINKED)
        source.visible = result.visible = True
        viewer.mouse_drag_callbacks.append(self._drag)

    def _left(self, column: float) -> Any:
        self.at = int(np.clip(round(column), self._low + 1, self._high))
        return self._data[(*self._part, slice(self._low, self.at))]

    def move(self, column: float) -> None:
        """Place it left of a column of the source."""
        self.layer.data = self._left(column)

    def _column(self, event: Any) -> float:
        position = self._source.world_to_data(in_layer_units(self._viewer, self._source, event.position))
        return float(position[-1] + 0.5)

    def _drag(self, viewer: Any, event: Any) -> Iterator[None]:
        if abs(self._column(event) - self.at) > _NEAR * (self._high - self._low):
            return
        camera = camera_of(viewer)
        camera.mouse_pan = False
        yield
        while event.type == "mouse_move":
            self.move(self._column(event))
            yield
        camera.mouse_pan = True

    def close(self) -> None:
        """Take it away."""
        if self._drag in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._drag)
        if self.layer in self._viewer.layers:
            if not self._source.rgb:
                unlink_layers([self._source, self.layer], _LINKED)
            self._viewer.layers.remove(self.layer)


def camera_of(viewer: Any) -> Any:
    """The camera, which napari 0.9 moved."""
    return viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera


def _fit_to(viewer: Any, layer: Any) -> None:
    """Fit the view to one layer, which napari does itself from 0.9 on."""
    if hasattr(viewer, "scene"):
        return viewer.fit_to_view(layers=[layer])
    viewer.fit_to_view()
    part, whole = (each.extent.world[:, -2:] for each in (layer, viewer.layers))
    viewer.camera.center = (*viewer.camera.center[:-2], *part.mean(axis=0))
    viewer.camera.zoom *= float((np.ptp(whole, axis=0) / np.ptp(part, axis=0)).min())
    return None


class Comparing(Section):
    """Switches for the ways to hold a result against its source."""

    def __init__(self, viewer: Any) -> None:
        super().__init__("Compare with the source")
        self._viewer = viewer
        self._divider: Divider | None = None
        self._hidden: list[Any] = []  # layers that would be in the way
        self._view_before: tuple[Any, float] | None = None  # side by side: centre and zoom
        self._fitted: tuple[Any, float] | None = None  # as it was fitted, for a window that is resized
        self._profile: Any = None  # a plot
        self._linked: tuple[Any, Any] | None = None
        words = {
            "divider": ("Divider", "Source left of a line, result right of it: drag the line in the picture."),
            "side": ("Side by side", "napari's grid, with source and result alone."),
            "profile": ("Profile", "Intensities of source (grey) and result (orange) along a line; drag its ends."),
            "linked": ("Same contrast", "Contrast limits, gamma and colormap of the two follow each other."),
        }
        self.switches = {name: QCheckBox(text) for name, (text, _) in words.items()}
        for name, switch in self.switches.items():
            switch.setToolTip(tip(words[name][1]))
            switch.toggled.connect(getattr(self, f"_{name}_toggled"))
            self.addWidget(switch)
        hint = Text("hint")
        hint.setText(f"Hold {KEY} over the picture to see the source.")
        self.addWidget(hint)
        viewer.bind_key(KEY, show_source, overwrite=True)
        self.offer()

    def offer(self) -> None:
        """Offer it where there is a result with its source."""
        pair = pair_of(self._viewer)
        self.setVisible(pair is not None)
        coloured = pair is not None and pair[0].rgb
        self.switches["linked"].setVisible(not coloured)  # colours have no contrast limits
        if coloured:
            self.switches["linked"].setChecked(False)
        if pair is None:
            self.end()

    def end(self) -> None:
        """Take back all that is switched on."""
        for switch in self.switches.values():
            switch.setChecked(False)

    def _divider_toggled(self, on: bool) -> None:
        pair = pair_of(self._viewer)
        if on and pair is not None:
            self.switches["side"].setChecked(False)
            above = list(self._viewer.layers)[self._viewer.layers.index(pair[1]) + 1 :]
            self._divider = Divider(self._viewer, *pair)
            self._hide([layer for layer in above if isinstance(layer, Image)])
        elif self._divider is not None:
            self._divider.close()
            self._divider = None
            self._show_again()

    def _hide(self, there: list[Any]) -> None:
        self._hidden = [layer for layer in there if layer.visible]
        for layer in self._hidden:
            layer.visible = False

    def _show_again(self) -> None:
        for layer in self._hidden:
            layer.visible = True
        self._hidden = []

    def _side_toggled(self, on: bool) -> None:
        grid = self._viewer.canvas.grid if hasattr(self._viewer, "canvas") else self._viewer.grid
        pair = pair_of(self._viewer)
        if on and pair is not None:
            self.switches["divider"].setChecked(False)
            line = None if self._profile is None else self._profile.line
            self._hide([layer for layer in self._viewer.layers if layer not in (*pair, line)])
            for layer in pair:
                layer.visible = True
            self._view_before = self._view()
            grid.shape, grid.stride, grid.enabled = (1, 2), 1, True
            self._fit()
            if hasattr(self._viewer, "canvas"):
                self._viewer.canvas.events.size.connect(self._on_size)
            self.reveal()
        elif self._view_before is not None:
            if hasattr(self._viewer, "canvas"):
                self._viewer.canvas.events.size.disconnect(self._on_size)
            self._show_again()
            grid.enabled = False
            camera = camera_of(self._viewer)
            camera.center, camera.zoom = self._view_before
            self._view_before = None

    def _view(self) -> tuple[Any, float]:
        camera = camera_of(self._viewer)
        return camera.center, camera.zoom

    def _fit(self) -> None:
        """Fit the view to the result, which may be a part."""
        pair = pair_of(self._viewer)
        if pair is not None:
            _fit_to(self._viewer, pair[1])
            self._fitted = self._view()

    def _on_size(self) -> None:
        """Fit it again to a canvas of another size, unless the user has zoomed or moved it."""
        if self._view() == self._fitted:
            self._fit()

    def _profile_toggled(self, on: bool) -> None:
        pair = pair_of(self._viewer)
        if on and pair is not None:
            from napari_dip.viewer.profile import Profile  # imports pyqtgraph

            self._profile = Profile(self._viewer, pair)
            self.addWidget(self._profile)
            self.reveal()
        elif self._profile is not None:
            self._profile.leave()
            self._profile.deleteLater()
            self._profile = None

    def _linked_toggled(self, on: bool) -> None:
        pair = pair_of(self._viewer)
        if on and pair is not None and not pair[0].rgb:
            for name in _LINKED:
                setattr(pair[1], name, getattr(pair[0], name))
            link_layers(pair, _LINKED)
            self._linked = pair
        elif self._linked is not None:
            unlink_layers(self._linked, _LINKED)
            self._linked = None
