"""Rows for knobs: what is automatic is greyed and says so, what was changed is marked and can be taken back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from magicgui.widgets import ComboBox, create_widget
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QToolButton, QWidget

from napari_dip.tables.knobs import Knob
from napari_dip.tables.settings import knobs, label_of, presets_for
from napari_dip.viewer.ownparts import PartRow
from napari_dip.viewer.rows import Rows, beside, focusable, tip

AUTOMATIC = "automatic"
_DECIMALS = 6  # what a float row can hold
_BACK = 34  # pixels of a button, for the word "auto"
_GREY = "[automatic='true'] { color: gray }"


class KnobRows(Rows):
    """Rows for knobs by name, each with a button that takes a change back; there are none until `make` is called.

    Attributes
    ----------
    names : tuple of str
    rows : dict
        Those that were made, by name.
    reset : Signal
        Carries the name of a knob that is to be automatic again.
    """

    reset = Signal(str)
    long = "preset", "stop", "channels"

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__([])
        self.names = tuple(names)
        self.rows: dict[str, Any] = {}
        self._backs: dict[str, QToolButton] = {}

    def make(self, task: str) -> dict[str, Any]:
        """Make the rows, in their place in the order of Tab."""
        self.setStyleSheet(_GREY)
        self.rows = {name: knob_row(name, knobs()[name], task) for name in self.names}
        self.add(self.rows.values())
        before = self.previousInFocusChain()
        while before.focusPolicy() == Qt.FocusPolicy.NoFocus:
            before = before.previousInFocusChain()
        for row in self.rows.values():
            for part in (*focusable(row.native), self._backs[row.name]):
                self.setTabOrder(before, part)
                before = part
        return self.rows

    def field(self, row: Any) -> QWidget:
        """The field with its button beside it."""
        back = self._backs[row.name] = QToolButton()
        back.setToolTip(tip("Automatic again."))
        back.setAccessibleName(f"{row.label}: automatic again")
        back.setAutoRaise(True)
        back.setFixedWidth(_BACK)
        back.clicked.connect(partial(self.reset.emit, row.name))
        both = beside(row.native, back)
        both.layout().setSpacing(2)
        both.layout().setStretch(0, 1)
        return both

    def mark(self, name: str, changed: bool, words: str = "") -> None:
        """Show that a row was changed; or that it is automatic, and what "auto" is in words."""
        row, back, text = self.rows[name], self._backs[name], "↺" if changed else "auto"
        if back.text() != text:
            back.setText(text)
            back.setEnabled(changed)
            self.embolden(row, changed)
            row.native.setProperty(AUTOMATIC, not changed)
            row.native.style().unpolish(row.native)
            row.native.style().polish(row.native)
        name_item(row, "" if changed else words, knobs()[name].words)


def knob_row(name: str, knob: Knob, task: str) -> Any:
    """A magicgui widget for one knob, with its label and tooltip."""
    options: dict[str, Any] = {"tooltip": knob.help}
    annotation: Any = str
    if name == "preset":
        options["choices"] = ["auto", *presets_for(task)]
    elif name == "device":
        options["choices"] = ["auto", "cpu"]
    elif knob.kind in ("choice", "choices"):
        options["choices"] = list(knob.choices)
    elif knob.kind == "bool":
        annotation = bool
    elif knob.kind == "int":
        annotation, options = int, options | {"min": int(knob.min), "max": int(knob.max), "step": int(knob.step)}
    elif knob.kind == "float":
        annotation, options = float, options | {"min": knob.min, "max": knob.max, "step": knob.step}
    label = label_of(name)
    if knob.own:
        return PartRow(*knob.choices, name=name, label=label, tooltip=knob.help)
    row = create_widget(name=name, label=label, annotation=annotation, options=options)
    if knob.kind == "float":
        row.native.setDecimals(_DECIMALS)
    return row


def to_row(value: Any, row: Any) -> Any:
    """A knob's value as its row holds it: several values as text, which a choice row must also offer."""
    if isinstance(value, (tuple, list)):
        value = ", ".join(map(str, value))
    elif isinstance(row.value, str):
        value = getattr(value, "file", "") or str(value)
    if isinstance(row, ComboBox) and value not in row.choices:
        offer(row, [*row.choices, value])
    return value


def from_text(name: str, text: str, whole: bool) -> Any:
    """Read the text of a row: one value, or a tuple of one per scale.

    Raises
    ------
    ValueError
        If it is no whole number where one is needed.
    """
    parts = [part.strip() for part in text.split(",")]
    if not whole:
        return parts[0] if len(parts) == 1 else tuple(parts)
    try:
        numbers = tuple(int(part) for part in parts)
    except ValueError:
        raise ValueError(f"{label_of(name)}: type a number, e.g. 32, or one for each scale, e.g. 16, 32, 64.") from None
    return numbers[0] if len(numbers) == 1 else numbers


def offer(row: Any, choices: list[Any]) -> None:
    """Offer other choices; the one that is chosen stays if it is among them."""
    if list(row.choices) != choices:
        name_item(row, "")  # by which magicgui knows it
        row.choices = choices


def name_item(row: Any, text: str, words: Mapping[str, str] = MappingProxyType({})) -> None:
    """Show a text in place of the choice at hand, if it is not empty, and `words` in place of others, by their name."""
    native = row.native
    if isinstance(native, QComboBox):
        for i in range(native.count()):
            name = str(native.itemData(i))
            shown = text if text and i == native.currentIndex() else words.get(name, name)
            if native.itemText(i) != shown:
                native.setItemText(i, shown)
