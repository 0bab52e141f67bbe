"""Docks of this package as tabs of each other, so that a second one leaves the first its height."""

from __future__ import annotations

from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QLabel, QMainWindow, QTabBar, QWidget


class Tabbed(QWidget):
    """A widget whose dock becomes a tab beside the docks of this class that are there."""

    def __init__(self) -> None:
        super().__init__()
        self._raiser = QTimer(self)
        self._raiser.setSingleShot(True)
        self._raiser.timeout.connect(self._show_tab)

    def event(self, event: QEvent) -> bool:
        """Join the others where napari places the dock, before the window grows for it."""
        handled: bool = super().event(event)
        if event.type() == QEvent.Type.ParentChange and (dock := _above(self, QDockWidget)) is not None:
            dock.dockLocationChanged.connect(self._join)
        return handled

    def _join(self) -> None:
        own, window = _above(self, QDockWidget), _above(self, QMainWindow)
        if own is None or window is None:
            return
        own.dockLocationChanged.disconnect(self._join)  # once: afterwards the user moves it where he likes
        _shorten(own)
        area = window.dockWidgetArea(own)
        docks = [dock for each in window.findChildren(Tabbed) if (dock := _above(each, QDockWidget)) is not None]
        beside = [each for each in docks if each is not own and window.dockWidgetArea(each) == area]
        beside = [each for each in beside if not each.isFloating()]
        if beside:
            window.tabifyDockWidget(beside[0], own)
            self._raiser.start(0)

    def _show_tab(self) -> None:
        dock, window = _above(self, QDockWidget), _above(self, QMainWindow)
        if dock is None or window is None:
            return
        dock.show()
        dock.raise_()
        for bar in window.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly):
            if dock.windowTitle() in [bar.tabText(i) for i in range(bar.count())]:
                bar.setElideMode(Qt.TextElideMode.ElideNone)  # it scrolls instead


def _above(widget: QWidget, kind: type[QWidget]) -> QWidget | None:
    """The nearest widget of a kind that a widget is in."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, kind):
        parent = parent.parentWidget()
    return parent


def _shorten(dock: QDockWidget) -> None:
    """Leave out of a heading and a tab which package a dock is of; the menu, with entries of all packages, says it."""
    whole = dock.windowTitle()
    short = whole.removesuffix(" (napari-dip)")
    dock.setWindowTitle(short)
    bar = dock.titleBarWidget()
    for heading in [] if bar is None else bar.findChildren(QLabel):
        heading.setText(short)
    dock.toggleViewAction().setText(whole)
