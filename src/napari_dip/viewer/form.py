"""The knobs of `Settings` as a form: common ones in view, advanced ones folded; nothing here names a knob but two.

`preset` and `device` decide what the others start from, so a change of theirs fills in the rows again, except those
that the user has touched.
"""

from __future__ import annotations

from typing import Any

from magicgui.widgets import CheckBox, PushButton, create_widget
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_dip.core.device import available
from napari_dip.restore import settings_here
from napari_dip.settings import Knob, Settings, knobs, presets_for

_DECIMALS = 6  # what a float row can hold
_LABEL_WIDTH = 112  # pixels, so that the blocks of rows line up


class Rows(QWidget):
    """magicgui widgets below each other, their labels in one column."""

    def __init__(self, rows: list[Any]) -> None:
        super().__init__()
        self._layout = QFormLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for row in rows:
            if isinstance(row.native, QComboBox):  # long names of layers must not widen the dock
                row.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
                row.native.setMinimumContentsLength(6)
            label = QLabel("" if isinstance(row, PushButton) else row.label)
            label.setMinimumWidth(_LABEL_WIDTH)
            label.setToolTip(row.tooltip or "")
            self._layout.addRow(label, row.native)
            if isinstance(row, CheckBox):
                row.native.setText("")  # the label says it

    def show_row(self, row: Any, visible: bool) -> None:
        """Show or hide a row with its label."""
        row.native.setVisible(visible)
        self._layout.labelForField(row.native).setVisible(visible)


class SettingsForm(QWidget):
    """Rows for all knobs of one task.

    Parameters
    ----------
    task : str
    """

    changed = Signal()

    def __init__(self, task: str) -> None:
        super().__init__()
        self._task = task
        self._rows: dict[str, Any] = {}
        self._shown: dict[str, Any] = {}  # what each row held when it was filled in
        self._filled: Settings = settings_here(task)
        for name, knob in knobs().items():
            if task in knob.tasks:
                self._rows[name] = _row(name, knob, task)
        folded = QCollapsible("Advanced settings")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._of(advanced=False))
        folded.addWidget(self._of(advanced=True))
        layout.addWidget(folded)
        self._fill(keep=False)
        for name, row in self._rows.items():
            row.changed.connect(self._refill if name in ("preset", "device") else self._tell)

    def settings(self) -> Settings:
        """The settings as they stand in the form.

        Raises
        ------
        ValueError, TypeError
            If a row holds what its knob cannot be; the message names both.
        """
        changes = {name: self._value(name) for name in self._touched()}
        return self._filled.changed(**changes)

    @property
    def wants_guide(self) -> bool:
        """Whether the code is to be a guide image."""
        return bool(self._rows["code"].value == "guide")

    def set(self, **values: Any) -> None:
        """Write values into the rows, as if typed."""
        for name, value in values.items():
            self._rows[name].value = _to_row(value, self._rows[name])

    def _of(self, advanced: bool) -> Rows:
        return Rows([row for name, row in self._rows.items() if knobs()[name].advanced == advanced])

    def _touched(self) -> list[str]:
        starts = ("preset",)
        return [name for name, row in self._rows.items() if name not in starts and row.value != self._shown[name]]

    def _value(self, name: str) -> Any:
        kind, value = knobs()[name].kind, self._rows[name].value
        if kind in ("ints", "choices"):
            return _from_text(name, value, whole=kind == "ints")
        return value

    def _refill(self) -> None:
        self._fill(keep=True)
        self._tell()

    def _fill(self, keep: bool) -> None:
        """Show the preset's values in all rows, but (with `keep`) those that the user has touched."""
        touched = set(self._touched()) if keep else set()
        self._filled = settings_here(self._task, preset=self._rows["preset"].value, device=self._rows["device"].value)
        for name, row in self._rows.items():
            if name in ("preset", "device"):
                self._shown[name] = row.value
                continue
            value = getattr(self._filled, name)
            before = row.value
            with row.changed.blocked():
                row.value = _to_row(value, row)
                self._shown[name] = row.value  # as the row rounds it
                if name in touched:
                    row.value = before

    def _tell(self) -> None:
        self.changed.emit()


def _row(name: str, knob: Knob, task: str) -> Any:
    """A magicgui widget for one knob, with its label and tooltip."""
    options: dict[str, Any] = {"tooltip": knob.help}
    annotation: Any = str
    if name == "preset":
        options["choices"] = ["auto", *presets_for(task)]
    elif name == "device":
        options["choices"] = ["auto", *available()]
    elif knob.kind in ("choice", "choices"):
        options["choices"] = list(knob.choices)
    elif knob.kind == "bool":
        annotation = bool
    elif knob.kind == "int":
        annotation, options = int, options | {"min": int(knob.min), "max": int(knob.max), "step": int(knob.step)}
    elif knob.kind == "float":
        annotation, options = float, options | {"min": knob.min, "max": knob.max, "step": knob.step}
    label = name.replace("_", " ").capitalize() + (f" ({knob.unit})" if knob.unit else "")
    row = create_widget(name=name, label=label, annotation=annotation, options=options)
    if knob.kind == "float":
        row.native.setDecimals(_DECIMALS)
    return row


def _to_row(value: Any, row: Any) -> Any:
    """A knob's value as its row holds it: several values as text, which a choice row must also offer."""
    if isinstance(value, tuple):
        value = ", ".join(map(str, value))
    elif isinstance(row.value, str):
        value = str(value)
    if hasattr(row, "choices") and value not in row.choices:
        row.choices = [*row.choices, value]
    return value


def _from_text(name: str, text: str, whole: bool) -> Any:
    """One value, or the tuple of one per scale, from what is written in a row."""
    parts = [part.strip() for part in text.split(",")]
    if not whole:
        return parts[0] if len(parts) == 1 else tuple(parts)
    try:
        numbers = tuple(int(part) for part in parts)
    except ValueError:
        raise ValueError(f"{name}={text!r} must be a whole number, or one per scale: 16, 32, 64") from None
    return numbers[0] if len(numbers) == 1 else numbers
