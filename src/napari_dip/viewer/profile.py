"""Intensities of source and result along a line that is drawn over them. Imported late, as is pyqtgraph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from napari.utils.theme import get_theme
from scipy import ndimage  # type: ignore[import-untyped]

from napari_dip.viewer import layers
from napari_dip.viewer.geometry import geometry_of
from napari_dip.viewer.regions import in_pixels, window_on
from napari_dip.viewer.rows import ACCENT

_HEIGHT, _ABOVE = 110, 8  # pixels
_COLOURS = "#8a8a8a", ACCENT  # of the source and the result: legible on dark and light
_POINTS = 400  # along a line, at the most


class Profile(pg.PlotWidget):
    """A plot that follows the first line of a Shapes layer over source and result.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    pair : (Image, Image)
        Source and result.
    """

    def __init__(self, viewer: Any, pair: tuple[Any, Any]) -> None:
        super().__init__()
        self.setAccessibleName("Profile of source and result")
        self.setFixedHeight(_HEIGHT)
        self.setMinimumWidth(200)
        self.getPlotItem().setContentsMargins(0, _ABOVE, 0, 0)  # else the uppermost figure loses its head
        self._viewer, self._pair = viewer, pair
        self.curves = [self.plot(pen=pg.mkPen(colour, width=1.5), connect="finite") for colour in _COLOURS]
        rows, columns = window_on(*pair)
        middle, centre = ((each.start + each.stop - 1) / 2 for each in (rows, columns))
        quarter = (columns.stop - columns.start) / 4
        line = np.array([[middle, centre - quarter], [middle, centre + quarter]])
        self.line = layers.show_shapes(viewer, geometry_of(pair[0]).last(2), f"{pair[0].name} profile")
        self.line.add_lines(line, edge_color=_COLOURS[1])
        self._events = [
            (self.line.events.set_data, self.draw),
            (viewer.dims.events.current_step, self.draw),
            (viewer.events.theme, self.colour),
        ]
        for emitter, call in self._events:
            emitter.connect(call)
        self.colour()
        self.draw()

    def colour(self, event: Any = None) -> None:
        """Take the colours of the window's theme."""
        theme = get_theme(self._viewer.theme)
        self.setBackground(theme.background.as_hex())
        for side in ("left", "bottom"):
            self.getAxis(side).setPen(theme.text.as_hex())
            self.getAxis(side).setTextPen(theme.text.as_hex())

    def draw(self, event: Any = None) -> None:
        """Read both along the line, in the slice in view."""
        if self.line not in self._viewer.layers or not self.line.data:
            return
        for layer, curve in zip(self._pair, self.curves, strict=True):
            if layer in self._viewer.layers:
                curve.setData(*along(self._viewer, layer, self.line))

    def leave(self) -> None:
        """Take the line away."""
        for emitter, call in self._events:
            emitter.disconnect(call)
        if self.line in self._viewer.layers:
            self._viewer.layers.remove(self.line)


def along(viewer: Any, layer: Any, line: Any) -> tuple[np.ndarray, np.ndarray]:
    """Distance from the start of a line, in units of its layer, and the mean of the colours of a layer there."""
    data = layer.data[0] if layer.multiscale else layer.data
    image = np.asarray(data[layers.in_view(viewer, layer)], float)
    image = image.mean(-1) if layer.rgb else image
    ends = in_pixels(geometry_of(layer).last(2), line)[0][[0, -1], -2:]
    count = int(np.clip(2 * np.abs(ends[1] - ends[0]).max(), 2, _POINTS))
    places = np.linspace(*ends, count)
    values = ndimage.map_coordinates(image, places.T, order=1, mode="nearest")  # to the border, half a pixel on
    values[((places < -0.5) | (places > np.array(image.shape) - 0.5)).any(1)] = np.nan  # there is nothing beyond
    length = np.linalg.norm((line.data[0][-1] - line.data[0][0])[-2:] * line.scale[-2:])
    return np.linspace(0, length, count), values
