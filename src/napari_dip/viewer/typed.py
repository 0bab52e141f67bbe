"""Numbers typed into a field: taken as a whole, or refused, and never read as another number."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtCore import QEvent, QLocale, QObject, QPoint, Qt, Signal
from qtpy.QtWidgets import QAbstractSpinBox, QDoubleSpinBox, QToolTip

_KEYS = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown)
_ENDS = (QEvent.Type.FocusOut, QEvent.Type.Wheel, QEvent.Type.MouseButtonPress, QEvent.Type.Close)


class Typed(QObject):
    """Numbers of the fields of rows.

    A field of Qt swallows keys that it does not know, such as a separator, and takes those after it: 1.5, 2 became
    1.52. Here all keys come to stand in it, and when it is left, the text is a number in the user's own notation,
    without separators of groups and within the bounds; or the number before stays, and a tooltip says so.

    Attributes
    ----------
    told : Signal
        `refused` is another sentence.
    refused : str
        The number that is to be written in place of what stands in a field; empty if all is well.
    """

    told = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._field: Any = None  # that is typed into
        self._before: Any = None
        self._rows: dict[QObject, Any] = {}
        self.refused = ""

    def watch(self, row: Any) -> None:
        """Watch the field of a row with a number, or that beside its slider."""
        native = row.native
        for field in [native] if isinstance(native, QAbstractSpinBox) else native.findChildren(QAbstractSpinBox):
            self._rows[field] = row
            field.setKeyboardTracking(False)  # else a number written into it takes the focus, and loses its spaces
            field.lineEdit().setValidator(None)
            field.lineEdit().textEdited.connect(partial(self._on_edited, field))
            field.installEventFilter(self)

    def eventFilter(self, field: QObject, event: QEvent) -> bool:
        """Read the text before the field itself does."""
        key = event.type() == QEvent.Type.KeyPress and event.key() in _KEYS  # type: ignore[attr-defined]
        if field is self._field and (key or event.type() in _ENDS):
            self._field = None
            self._read(field, self._rows[field])
        return False

    def _on_edited(self, field: Any, text: str) -> None:
        """Follow each key, and leave the text as it is."""
        if field is not self._field:
            self._field, self._before = field, field.value()
        number, edit = number_in(text, field), field.lineEdit()
        if number is not None:
            place = edit.cursorPosition()
            field.setValue(number)
            edit.setText(text)
            edit.setCursorPosition(place)
        row = self._rows[field]
        self._refuse(f"{row.label}: write a {_kind(field, row)}." if number is None else "")

    def _read(self, field: Any, row: Any) -> None:
        text = field.lineEdit().text()
        number = number_in(text, field)
        field.setValue(self._before if number is None else number)
        if number is None and text:
            words = f"'{text}' is no {_kind(field, row)}: {self._before:.10g} stays."
            QToolTip.showText(field.mapToGlobal(QPoint(0, field.height())), words, field)
        self._refuse("")

    def _refuse(self, words: str) -> None:
        if words != self.refused:
            self.refused = words
            self.told.emit()


def _kind(field: Any, row: Any) -> str:
    """The numbers that a row may have."""
    kind = "number" if isinstance(field, QDoubleSpinBox) else "whole number"
    return f"{kind} from {row.min:.10g} to {row.max:.10g}"


def number_in(text: str, field: Any) -> float | int | None:
    """The number that a text is in the notation of a field, within its bounds; None if it is none."""
    locale = field.locale()
    locale.setNumberOptions(QLocale.NumberOption.RejectGroupSeparator)
    number, is_one = (locale.toDouble if isinstance(field, QDoubleSpinBox) else locale.toLongLong)(text)
    return number if is_one and field.minimum() <= number <= field.maximum() else None
