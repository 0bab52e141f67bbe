"""Curves of a run over its iterations, one below the other, with a marker to drag. Imported late, as is pyqtgraph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QSize, Qt, Signal

from napari_dip.viewer.moments import DECIBELS, Chart, Row
from napari_dip.viewer.rows import ACCENT, tip

_ROW, _AXIS, _LEFT = 58, 20, 46  # pixels: height of a row, of the axis below all, width of the axes beside them
_TICK = 16  # pixels between two ticks of a row, at the least
_ABOUT = (
    "Drag the line, or click, to see an earlier image of the run. Dashed: the iterate that the stopping rule has "
    "marked, and the value that ends the run."
)
_DASHED = Qt.PenStyle.DashLine


class CurvePlot(pg.GraphicsLayoutWidget):
    """Rows of curves that share the axis of iterations.

    Attributes
    ----------
    moved : Signal
        The user drags the marker, or clicks: carries the iteration, a float.
    """

    moved = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Curve of the run")
        self.setToolTip(tip(_ABOUT))
        self.ci.layout.setContentsMargins(0, 2, 4, 0)
        self.ci.layout.setSpacing(2)
        self._rows: list[_Drawn] = []
        self._text, self._background = "w", "k"
        self._marker: float | None = None
        self.scene().sigMouseClicked.connect(self._on_click)

    def minimumSizeHint(self) -> QSize:
        """As narrow as the dock may be."""
        return QSize(200, 0)

    def colour(self, text: str, background: str) -> None:
        """Take the colours of the window's theme."""
        if text != self._text:
            self._text, self._background = text, background
            self.setBackground(background)
            self._forget()

    def draw(self, chart: Chart) -> None:
        """Show a chart."""
        if [row.quantity for row in self._rows] != [row.quantity for row in chart.rows]:
            self._forget()
            for row in chart.rows:
                self._rows.append(_Drawn(self, row, len(self._rows), self._text, self._background))
            for above in self._rows[:-1]:
                above.plot.setXLink(self._rows[-1].plot)
                above.plot.getAxis("bottom").setStyle(showValues=False)
            self.setFixedHeight(len(self._rows) * _ROW + _AXIS)
            self.place(self._marker)
        for drawn, row in zip(self._rows, chart.rows, strict=True):
            drawn.draw(row, chart.mark)
        if self._rows:
            self._rows[-1].plot.setXRange(0, max(chart.length, 2), padding=0.02)

    def place(self, iteration: float | None) -> None:
        """Put the marker at an iteration, or hide it."""
        self._marker = iteration
        for drawn in self._rows:
            drawn.marker.setVisible(iteration is not None)
            if iteration is not None:
                drawn.marker.setValue(iteration)

    def _forget(self) -> None:
        self.clear()
        self._rows = []

    def _on_drag(self, line: Any) -> None:
        self.place(line.value())
        self.moved.emit(float(line.value()))

    def _on_click(self, event: Any) -> None:
        for drawn in self._rows:
            box = drawn.plot.getViewBox()
            if box.sceneBoundingRect().contains(event.scenePos()):
                at = box.mapSceneToView(event.scenePos()).x()
                self.place(at)
                self.moved.emit(float(at))


class _Values(pg.AxisItem):
    """Axis of the values: few ticks, and on a logarithmic one at 1, 2 and 5 only."""

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[Any, list[float]]]:
        room = max(2, int(size // _TICK))
        if self.logMode:
            decades = range(int(np.floor(low)), int(np.ceil(high)) + 1)
            ticks = np.log10([m * 10.0**n for n in decades for m in (1, 2, 5)])
        else:
            step = 10 ** np.floor(np.log10(max(high - low, 1e-300)))
            steps = [step * m for m in (0.1, 0.2, 0.5, 1, 2, 5)]
            step = next((each for each in steps if (high - low) / each <= room), steps[-1])
            ticks = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
        inside = [float(tick) for tick in ticks if low <= tick <= high]
        return [(None, inside[:: max(1, -(-len(inside) // room))])]

    def tickStrings(self, values: list[float], scale: float, spacing: Any) -> list[str]:
        return [f"{10**value if self.logMode else value:.5g}" for value in values]


class _Drawn:
    """One row on the screen: its curve, its bound, the marked iterate and the marker."""

    def __init__(self, parent: CurvePlot, row: Row, place: int, text: str, background: str) -> None:
        self.quantity = row.quantity
        self.plot = parent.addPlot(row=place, col=0, enableMenu=False, axisItems={"left": _Values("left")})
        self.plot.hideButtons()
        self.plot.setMouseEnabled(False, False)
        small = parent.font()
        small.setPointSize(7)
        for side in ("left", "bottom"):
            axis = self.plot.getAxis(side)
            axis.setTextPen(text)
            axis.setPen(text)
            axis.setStyle(tickFont=small, tickTextOffset=2, maxTickLevel=0, tickLength=-3)
        self.plot.getAxis("left").setWidth(_LEFT)
        self.curve = self.plot.plot(pen=pg.mkPen(text, width=1), connect="finite")
        self.curve.setDownsampling(auto=True, method="mean")
        self._bound = pg.InfiniteLine(angle=0, pen=pg.mkPen(text, style=_DASHED))
        self._mark = pg.InfiniteLine(pen=pg.mkPen(ACCENT, style=_DASHED))
        self.marker = pg.InfiniteLine(
            movable=True, pen=pg.mkPen(ACCENT, width=3), hoverPen=pg.mkPen(ACCENT, width=5), bounds=(0, None)
        )
        self.marker.sigDragged.connect(parent._on_drag)
        for line in (self._bound, self._mark, self.marker):
            line.setVisible(False)
            self.plot.addItem(line, ignoreBounds=True)
        on = f"<span style='background-color: {background}'>{row.quantity}</span>"  # no line crosses it
        self._name = pg.LabelItem(on, color=text, size="8pt")
        self._name.setZValue(1)
        self._name.setParentItem(self.plot.getViewBox())

    def draw(self, row: Row, mark: int | None) -> None:
        known = row.values[np.isfinite(row.values)]
        log = row.quantity != DECIBELS and bool(known.size) and bool((known > 0).all())
        if log != self.plot.getAxis("left").logMode:
            self.plot.setLogMode(y=log)
        self.curve.setData(row.iterations, row.values)
        below = bool(known.size) and 2 * known[-1] > known.min() + known.max()  # where the curve does not end
        self._name.anchor(itemPos=(1, below), parentPos=(1, below), offset=(-4, 2 if below else -2))
        for line, value in ((self._bound, row.bound), (self._mark, mark)):
            line.setVisible(value is not None)
        if row.bound is not None:
            self._bound.setValue(np.log10(row.bound) if log else row.bound)
        if mark is not None:
            self._mark.setValue(mark)
