"""Connections of a widget to what outlives it, such as the viewer: undone when the widget is destroyed."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtWidgets import QWidget


def connect_for_life(widget: QWidget, connections: list[tuple[Any, Any]]) -> None:
    """Connect each emitter to its slot until the widget is destroyed."""
    for emitter, slot in connections:
        emitter.connect(slot)
    widget.destroyed.connect(partial(_disconnect, connections))


def _disconnect(connections: list[tuple[Any, Any]]) -> None:
    for emitter, slot in connections:
        emitter.disconnect(slot)
    connections.clear()
