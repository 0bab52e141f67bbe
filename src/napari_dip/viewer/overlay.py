"""Curves of an experiment over iterations, over one another with a legend. Imported late, as is pyqtgraph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt

from napari_dip.viewer.rows import ACCENT

_COLOURS = ACCENT, "#2b8cbe", "#41a35a", "#c1272d", "#8856a7", "#999999"
_DASHES = Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine, Qt.PenStyle.DashDotLine
_DECADES = range(7)
_TICKS = [  # with words at powers of ten alone: pyqtgraph's own overlap where the plot is narrow
    [(decade, f"{10**decade}") for decade in _DECADES],
    [(decade + float(np.log10(n)), "") for decade in _DECADES for n in range(2, 10)],
]
_HEIGHT, _LINE = 190, 14  # pixels, of the plot and of a line of the legend below it


class Overlay(pg.GraphicsLayoutWidget):
    """Curves in one plot with a logarithmic axis of iterations, and their names below."""

    def __init__(self, quantity: str, text: str, background: str) -> None:
        super().__init__()
        self.setAccessibleName("Curves of the experiment")
        self.setBackground(background)
        self._plot = self.addPlot(row=0, col=0, enableMenu=False)
        self._plot.hideButtons()
        self._plot.setMouseEnabled(False, False)
        self._plot.setLogMode(x=True)
        for side in ("left", "bottom"):
            axis = self._plot.getAxis(side)
            axis.setTextPen(text)
            axis.setPen(text)
            axis.setLabel({"left": quantity, "bottom": "iteration"}[side], color=text)
        self._plot.getAxis("left").enableAutoSIPrefix(False)  # "(x0.001)" leaves no room for the quantity
        self._plot.getAxis("bottom").setTicks(_TICKS)
        self._legend = pg.LegendItem(labelTextColor=text, labelTextSize="8pt", verSpacing=-6)
        self.addItem(self._legend, row=1, col=0)
        self._curves: dict[str, Any] = {}
        self.setMinimumSize(200, _HEIGHT)

    def draw(self, points: dict[str, tuple[list[int], list[float]]]) -> None:
        """Show curves by name: iterations and values."""
        for name, (iterations, values) in points.items():
            if name not in self._curves:
                place = len(self._curves)
                colour = _COLOURS[place % len(_COLOURS)]
                pen = pg.mkPen(colour, width=2, style=_DASHES[place // len(_COLOURS) % len(_DASHES)])
                self._curves[name] = self._plot.plot(pen=pen)
                self._legend.addItem(self._curves[name], name)
                self.setFixedHeight(_HEIGHT + _LINE * (1 + len(self._curves)))
            count = min(len(iterations), len(values))  # the worker appends meanwhile
            self._curves[name].setData(np.array(iterations[:count]), np.array(values[:count]))
