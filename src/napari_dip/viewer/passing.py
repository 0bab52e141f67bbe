"""Choices that make something: keys and the wheel pass them by, and they are made once they are confirmed."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal

_CONFIRM = Qt.Key.Key_Return, Qt.Key.Key_Enter
_ELSEWHERE = Qt.FocusReason.PopupFocusReason, Qt.FocusReason.ActiveWindowFocusReason  # and back again


class Passing(QObject):
    """Watches how a row with choices comes to one of them.

    Parameters
    ----------
    row : Choice

    Attributes
    ----------
    held : bool
        A choice waits for Return, or for the row to be left.
    confirmed : Signal
        That has come.
    """

    confirmed = Signal()

    def __init__(self, parent: QObject, row: Any) -> None:
        super().__init__(parent)
        self._row, self._going = row, False
        self.held = False
        row.native.installEventFilter(self)

    @property
    def advice(self) -> str:
        """Sentence on what to do while a choice waits."""
        return f"Press Return to confirm {self._row.label}: {self._row.native.currentText()}."

    def hold(self, makes: bool) -> bool:
        """Let the choice at hand wait if it `makes` something and a key or the wheel has come to it; True if so."""
        self.held = makes and self._going
        return self.held

    def eventFilter(self, field: QObject, event: QEvent) -> bool:
        """See keys and the wheel before the field itself does; a list that is open has its own."""
        kind = event.type()
        confirms = kind == QEvent.Type.KeyPress and event.key() in _CONFIRM  # type: ignore[attr-defined]
        left = kind == QEvent.Type.FocusOut and event.reason() not in _ELSEWHERE  # type: ignore[attr-defined]
        if self.held and (confirms or left):
            self.held = self._going = False
            self.confirmed.emit()
        elif kind in (QEvent.Type.KeyPress, QEvent.Type.Wheel):
            self._going = True
            QTimer.singleShot(0, self._stop)
        return False

    def _stop(self) -> None:
        self._going = False
