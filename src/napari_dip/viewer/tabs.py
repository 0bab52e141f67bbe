"""Docks of this package: tabs of each other, so that a second one leaves the first its height; opened again as closed.

The × of a dock takes its widget away, and napari makes another one when the dock is opened again: what was chosen in
the one is kept with the window for the other.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QAbstractButton, QDockWidget, QLabel, QMainWindow, QTabBar, QWidget

from napari_dip.viewer.rows import Rows

_closed: WeakKeyDictionary[QMainWindow, dict[type[Tabbed], dict[str, Any]]] = WeakKeyDictionary()


class Tabbed(QWidget):
    """A widget whose dock becomes a tab beside the docks of this class that are there.

    Attributes
    ----------
    rows : Rows
        All that can be chosen; a subclass that has more says so in `held` and `hold`.
    """

    rows: Rows

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[type[Tabbed], dict[str, Any]] = {}  # of the docks that were closed in its window
        self._raiser = QTimer(self)
        self._raiser.setSingleShot(True)
        self._raiser.timeout.connect(self._show_tab)

    def event(self, event: QEvent) -> bool:
        """Join the others where napari places the dock, before the window grows; keep what is chosen as it closes."""
        handled: bool = super().event(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._kept[type(self)] = self.held()
            self.leave()
        if event.type() == QEvent.Type.ParentChange and (dock := _above(self, QDockWidget)) is not None:
            dock.dockLocationChanged.connect(self._join)
        return handled

    def leave(self) -> None:
        """End what is under way, as the dock is closed: napari does not ask before, so it is to be said."""

    def hand_over(self, **more: Any) -> None:
        """Keep more than the rows for the widget that takes the place of this one, whose dock is closed."""
        if type(self) in self._kept:  # else that is there already
            self._kept[type(self)] |= more

    def keep_while_there(self, name: str, removed: Any, layer: Any) -> None:
        """Let go of what is kept by a name once a layer is removed, as the emitter `removed` tells."""
        kept, layer_id = self._kept.get(type(self), {}), layer.unique_id

        def forget(event: Any) -> None:
            if event.value.unique_id == layer_id:
                kept.pop(name, None)
                removed.disconnect(forget)

        removed.connect(forget)

    def held(self) -> dict[str, Any]:
        """Values of the rows."""
        return self.rows.held()

    def hold(self, held: dict[str, Any]) -> None:
        """Choose what `held` returned of a widget like this one."""
        self.rows.hold(held)

    def _join(self) -> None:
        own, window = _above(self, QDockWidget), _above(self, QMainWindow)
        if own is None or window is None:
            return
        own.dockLocationChanged.disconnect(self._join)  # once: afterwards the user moves it where he likes
        whole = own.windowTitle()
        own.setWindowTitle(whole.removesuffix(" (napari-dip)"))
        own.toggleViewAction().setText(whole)  # in a menu, with entries of all packages
        for moved in (own.dockLocationChanged, own.topLevelChanged):  # for which napari makes another title bar
            moved.connect(self._head)
        self._head()
        self._kept = _closed.setdefault(window, {})
        held = self._kept.pop(type(self), None)
        if held is not None and held != self.held():
            self.hold(held)
        area = window.dockWidgetArea(own)
        docks = [dock for each in window.findChildren(Tabbed) if (dock := _above(each, QDockWidget)) is not None]
        beside = [each for each in docks if each is not own and window.dockWidgetArea(each) == area]
        beside = [each for each in beside if not each.isFloating()]
        if beside:
            window.tabifyDockWidget(beside[0], own)
            self._raiser.start(0)

    def _head(self) -> None:
        """Leave out of the heading which package the dock is of, and name the buttons for those who cannot see them."""
        dock = _above(self, QDockWidget)
        bar = None if dock is None else dock.titleBarWidget()
        if dock is None or bar is None:
            return
        for heading in bar.findChildren(QLabel):
            heading.setText(dock.windowTitle())
        for part in bar.findChildren(QAbstractButton):
            part.setAccessibleName(f"{dock.windowTitle()}: {part.toolTip()}")  # such as: close this panel

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
