"""The record of the selected layer, to be read: what was done, with which settings, on which machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QTreeWidget, QTreeWidgetItem, QWidget

from napari_dip.viewer.controls import button
from napari_dip.viewer.restoration import METADATA
from napari_dip.viewer.rows import Rows, Text, column

_HEIGHT = 220  # pixels
_FIRST = ("task", "moment", "stop_reason", "method", "noise", "residual_verdict", "warnings", "settings")


class RecordPanel(QWidget):
    """A tree of names and values.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    images : callable
        The layers to choose from, as magicgui asks for them.

    Attributes
    ----------
    again : Signal
        Carries an image layer that is to be restored as the selected one was, the record of that, and its name.
    """

    again = Signal(object, dict, str)

    def __init__(self, viewer: Any, images: Callable[[Any], list[tuple[str, Any]]]) -> None:
        super().__init__()
        self._viewer = viewer
        self.image = ComboBox(
            name="again", label="On", choices=images, tooltip="The image to restore as the selected layer was restored."
        )
        self._row = Rows([self.image])
        self.again_button = button(
            "Run again like this",
            self._ask,
            "Takes over the settings of the selected layer, and runs them on the image above.",
        )
        self.title = Text("record of")
        self.tree = QTreeWidget()
        self.tree.setHeaderLabels(["", ""])
        self.tree.setHeaderHidden(True)
        self.tree.setAccessibleName("Record")
        self.tree.setFixedHeight(_HEIGHT)
        column(self, self.title, self.tree, self._row, self.again_button)
        self.refresh()

    def refresh(self, event: Any = None) -> None:
        """Show the record of the layer that is selected now."""
        layer = self._viewer.layers.selection.active
        record = {} if layer is None else layer.metadata.get(METADATA) or {}
        self.tree.clear()
        self.tree.setVisible(bool(record))
        self._offer(record)
        if not record:
            return self.title.setText(
                "Select a layer that was restored, or opened with its record: Save the result... writes it, napari's "
                "own writers do not."
            )
        moment = ", a moment of a run: Run again like this makes the whole run." if "moment" in record else ""
        self.title.setText(f"Record of '{layer.name}'{moment}")
        order = [*(name for name in _FIRST if name in record), *(name for name in record if name not in _FIRST)]
        self.tree.addTopLevelItems([_item(name, record[name]) for name in order])
        return self.tree.resizeColumnToContents(0)

    def _offer(self, record: dict[str, Any]) -> None:
        """Offer to run again like a layer with this record: at first on the image that it was made of."""
        self.image.reset_choices()
        source = next((each for each in self.image.choices if each.name == record.get("source_layer")), None)
        if source is not None:
            self.image.value = source
        offered = {"settings", "task"} <= record.keys() and len(self.image.choices) > 0
        for part in (self._row, self.again_button):
            part.setVisible(offered)

    def _ask(self) -> None:
        layer = self._viewer.layers.selection.active
        if layer is not None and self.image.value is not None:
            self.again.emit(self.image.value, layer.metadata.get(METADATA) or {}, layer.name)


def _item(name: str, value: Any) -> QTreeWidgetItem:
    """A name and its value; what is within it lies below."""
    within = value.items() if isinstance(value, dict) else enumerate(value) if _is_long(value) else ()
    text = "" if within else "none" if value is None or value in ([], {}, ()) else _text(value)
    item = QTreeWidgetItem([str(name).replace("_", " "), text])
    item.setToolTip(1, text)
    for inner, each in within:
        item.addChild(_item(str(inner), each))
    return item


def _is_long(value: Any) -> bool:
    """True for a list of more than a few numbers or words."""
    return isinstance(value, (list, tuple)) and any(isinstance(each, (dict, list, tuple)) for each in value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(_text, value)) if isinstance(value, (list, tuple)) else str(value)
