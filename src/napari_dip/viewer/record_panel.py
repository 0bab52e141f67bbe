"""The record of the selected layer, to be read: what was done, with which settings, on which machine."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

from napari_dip.viewer.restoration import METADATA
from napari_dip.viewer.rows import Text

_HEIGHT = 220  # pixels
_FIRST = ("task", "stop_reason", "method", "noise", "residual_verdict", "warnings", "settings")


class RecordPanel(QWidget):
    """A tree of names and values.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self.title = Text("record of")
        self.tree = QTreeWidget()
        self.tree.setHeaderLabels(["", ""])
        self.tree.setHeaderHidden(True)
        self.tree.setFixedHeight(_HEIGHT)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.title)
        layout.addWidget(self.tree)
        self.refresh()

    def refresh(self, event: Any = None) -> None:
        """Show the record of the layer that is selected now."""
        layer = self._viewer.layers.selection.active
        record = {} if layer is None else layer.metadata.get(METADATA) or {}
        self.tree.clear()
        self.tree.setVisible(bool(record))
        if not record:
            return self.title.setText("Select a layer that was restored, or opened with its record.")
        self.title.setText(f"Record of '{layer.name}'")
        order = [*(name for name in _FIRST if name in record), *(name for name in record if name not in _FIRST)]
        self.tree.addTopLevelItems([_item(name, record[name]) for name in order])
        return self.tree.resizeColumnToContents(0)


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
