"""Source and result held against each other: a divider to drag, a profile, side by side, a key for the source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from napari.experimental import link_layers, unlink_layers
from qtpy.QtWidgets import QCheckBox

from napari_dip.viewer import layers
from napari_dip.viewer.geometry import geometry_of, in_layer_units
from napari_dip.viewer.restoration import METADATA
from napari_dip.viewer.rows import Section, Text, tip

KEY = "B"  # as in before; napari has no use of its own for it
_LINKED = ("contrast_limits", "gamma", "colormap")
_NEAR = 0.05  # of the width: so close to the divider it is taken hold of


def pair_of(viewer: Any) -> tuple[Any, Any] | None:
    """Source and result: of the selected layer if that was restored, else of the topmost one that was."""
    by_name = {layer.name: layer for layer in viewer.layers}
    for layer in [viewer.layers.selection.active, *reversed(list(viewer.layers))]:
        record = {} if layer is None else layer.metadata.get(METADATA, {})
        source = by_name.get(record.get("source_layer"))
        if source is not None and "map" not in record:
            return source, layer
    return None


def show_source(viewer: Any) -> Iterator[None]:
    """Show the source in place of the result while a key is held."""
    pair = pair_of(viewer)
    if pair is None:
        return
    before = [layer.visible for layer in pair]
    pair[0].visible, pair[1].visible = True, False
    yield
    pair[0].visible, pair[1].visible = before


class Divider:
    """A line across the canvas, left of which the source lies over the result.

    What is seen left of it is a layer with a view of the source's pixels, which takes no memory.
    """

    def __init__(self, viewer: Any, source: Any, result: Any) -> None:
        self._viewer, self._source = viewer, source
        self._data = source.data[0] if source.multiscale else source.data
        self._axis = source.ndim - 1
        geometry = geometry_of(source)
        self.layer = layers.show(
            viewer, self._left(0.5), geometry, f"{source.name} (left)", {METADATA: {"preview": True}}
        )
        viewer.layers.move(viewer.layers.index(self.layer), viewer.layers.index(result) + 1)
        if not source.rgb:
            link_layers([source, self.layer], _LINKED)
        source.visible = result.visible = True
        viewer.mouse_drag_callbacks.append(self._drag)

    def _left(self, share: float) -> Any:
        width = self._data.shape[self._axis]
        self.at = int(np.clip(round(share * width), 1, width))
        part = [slice(None)] * self._data.ndim
        part[self._axis] = slice(0, self.at)
        return self._data[tuple(part)]

    def move(self, share: float) -> None:
        """Place it at a share of the width of the source."""
        self.layer.data = self._left(share)

    def _share(self, event: Any) -> float:
        position = self._source.world_to_data(in_layer_units(self._viewer, self._source, event.position))
        return float((position[-1] + 0.5) / self._data.shape[self._axis])

    def _drag(self, viewer: Any, event: Any) -> Iterator[None]:
        if abs(self._share(event) - self.at / self._data.shape[self._axis]) > _NEAR:
            return
        camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera  # napari 0.9 moved it
        camera.mouse_pan = False
        yield
        while event.type == "mouse_move":
            self.move(self._share(event))
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


class Comparing(Section):
    """Switches for the ways to hold a result against its source."""

    def __init__(self, viewer: Any) -> None:
        super().__init__("Compare with the source")
        self._viewer = viewer
        self._divider: Divider | None = None
        self._hidden: list[Any] = []  # layers that side by side has hidden
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
        there = pair_of(self._viewer) is not None
        self.setVisible(there)
        if not there:
            self.end()

    def end(self) -> None:
        """Take back all that is switched on."""
        for switch in self.switches.values():
            switch.setChecked(False)

    def _divider_toggled(self, on: bool) -> None:
        pair = pair_of(self._viewer)
        if on and pair is not None:
            self.switches["side"].setChecked(False)
            self._divider = Divider(self._viewer, *pair)
        elif self._divider is not None:
            self._divider.close()
            self._divider = None

    def _side_toggled(self, on: bool) -> None:
        grid = self._viewer.canvas.grid if hasattr(self._viewer, "canvas") else self._viewer.grid
        pair = pair_of(self._viewer)
        if on and pair is not None:
            self.switches["divider"].setChecked(False)
            self._hidden = [layer for layer in self._viewer.layers if layer.visible and layer not in pair]
            for layer in self._hidden:
                layer.visible = False
            for layer in pair:
                layer.visible = True
            grid.shape, grid.stride = (1, 2), 1
        else:
            for layer in self._hidden:
                layer.visible = True
            self._hidden = []
        grid.enabled = on and pair is not None
        self._viewer.reset_view()

    def _profile_toggled(self, on: bool) -> None:
        pair = pair_of(self._viewer)
        if on and pair is not None:
            from napari_dip.viewer.profile import Profile  # imports pyqtgraph

            self._profile = Profile(self._viewer, pair)
            self.addWidget(self._profile)
        elif self._profile is not None:
            self._profile.leave()
            self.removeWidget(self._profile)
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
