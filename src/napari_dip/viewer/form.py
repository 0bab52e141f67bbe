"""The knobs of `Settings` as a form: common ones in view, advanced ones folded; nothing here names a knob but two.

`preset`, `quality` and `device` decide what the others start from: a change of theirs fills in the rows, except those
that the user has touched.
"""

from __future__ import annotations

import html
from functools import partial
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, PushButton, create_widget
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_dip.knobs import Knob
from napari_dip.settings import Settings, knobs, knobs_of, presets_for, settings_for
from napari_dip.viewer import engine

if TYPE_CHECKING:
    from napari_dip import Noise

_DECIMALS = 6  # what a float row can hold
_STARTS = ("preset", "quality", "device")  # rows that the others start from
_LABEL_WIDTH = 112  # pixels, so that the blocks of rows line up


def tip(text: str) -> str:
    """A tooltip that wraps, which Qt does with rich text only."""
    return f"<qt>{html.escape(text)}</qt>" if text else ""


class Text(QLabel):
    """Words that wrap, and that can be copied."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)


class Section(QCollapsible):
    """Rows that can be folded away, and are at first."""

    def __init__(self, title: str, *parts: QWidget) -> None:
        super().__init__(title, expandedIcon="▾", collapsedIcon="▸")
        self.setDuration(0)  # animated, it would fight with the layout around it
        self.layout().setContentsMargins(0, 0, 0, 0)
        for part in parts:
            self.addWidget(part)


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
            for part in (label, row.native):
                part.setToolTip(tip(row.tooltip or ""))
            self._layout.addRow(label, row.native)
            if isinstance(row, CheckBox):
                row.native.setText("")  # the label says it

    def show_row(self, row: Any, visible: bool) -> None:
        """Show or hide a row with its label."""
        row.native.setVisible(visible)
        self._layout.labelForField(row.native).setVisible(visible)


class SettingsForm(QWidget):
    """Rows for the knobs of one task.

    Parameters
    ----------
    task : str
    without : tuple of str
        Knobs that are asked for elsewhere.
    """

    changed = Signal()

    def __init__(self, task: str, without: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._task = task
        self._noise: Noise | None = None
        self._rows: dict[str, Any] = {}
        self._shown: dict[str, Any] = {}  # what each row held when it was filled in
        self._touched: set[str] = set()  # rows that the user has changed: they are not filled in again
        self._filled: Settings = self._start({})
        for name, knob in knobs_of(task).items():
            if name not in without:
                self._rows[name] = _row(name, knob, task)
        self.set(quality=self._filled.quality)  # preset and device start with their first choice
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._of(advanced=False))
        layout.addWidget(Section("Advanced settings", self._of(advanced=True)))
        self._fill()
        for name, row in self._rows.items():
            row.changed.connect(partial(self._on_change, name))
        if engine.loaded():
            self.offer_devices()

    def settings(self) -> Settings:
        """The settings as they stand in the form.

        Raises
        ------
        ValueError, TypeError
            If a row holds what its knob cannot be; the message names both.
        """
        return self._filled.changed(**self._changes())

    def knobs(self) -> dict[str, Any]:
        """Knobs that the user chose, by name: the preset, the device and the rows that were touched.

        With it a run fills in the rest by itself, also what it knows better then than the form does now.

        Raises
        ------
        ValueError, TypeError
            As for `settings`.
        """
        self.settings()
        return self._chosen()

    def set_noise(self, noise: Noise | None) -> None:
        """Fill in what ``preset="auto"`` takes at this noise of the image; rows that were touched stay."""
        if noise != self._noise:
            self._noise = noise
            self._refill()

    def offer_devices(self) -> None:
        """Offer the devices that there are, which takes torch to know, and fill in what is best on the first."""
        from napari_dip.machine import available

        row = self._rows["device"]
        with row.changed.blocked():
            row.choices = list(dict.fromkeys(["auto", *available(), row.value]))
        self._refill()

    @property
    def wants_guide(self) -> bool:
        """True if the code is to be a guide image."""
        return bool(self._rows["code"].value == "guide")

    @property
    def method(self) -> str:
        """The method that these settings are of, in a word."""
        return self.settings().method.name

    @property
    def why(self) -> str:
        """Reason for the method, as a sentence."""
        if self._rows["preset"].value != "auto":
            return f"The preset {self._rows['preset'].value} says how."
        if not engine.loaded():
            return ""
        from napari_dip.plan import why_here

        return f"It is {self.method}, because {why_here(self._task, image_noise=self._noise, **self._chosen())}."

    def set(self, **values: Any) -> None:
        """Write values into the rows, as if typed."""
        for name, value in values.items():
            self._rows[name].value = _to_row(value, self._rows[name])

    def take(self, chosen: dict[str, Any]) -> None:
        """Choose what another run chose, as its record has it (values by name), and nothing else."""
        start = {"preset": "auto", "quality": "balanced", "device": "auto", **chosen}
        rest = {name: start.pop(name) for name in chosen if name in self._rows and name not in _STARTS}
        self._touched.clear()
        self.set(**{name: start[name] for name in _STARTS})
        self._fill()
        self.set(**rest)
        self._touched = set(rest)  # also what would be proposed now
        self.changed.emit()

    def _of(self, advanced: bool) -> Rows:
        return Rows([row for name, row in self._rows.items() if knobs()[name].advanced == advanced])

    def _value(self, name: str) -> Any:
        kind, value = knobs()[name].kind, self._rows[name].value
        if kind in ("ints", "choices"):
            return _from_text(name, value, whole=kind == "ints")
        return value

    def _changes(self) -> dict[str, Any]:
        return {name: self._value(name) for name in sorted(self._touched)}

    def _chosen(self) -> dict[str, Any]:
        return {**{name: self._rows[name].value for name in _STARTS}, **self._changes()}

    def _start(self, chosen: dict[str, Any]) -> Settings:
        """The settings that the rows start from; on a CPU while it is not known what else there is."""
        if not engine.loaded():
            on_cpu = chosen.get("device", "auto") in ("auto", "cpu")
            return settings_for(self._task, on_cpu=on_cpu, image_noise=self._noise, **chosen)
        from napari_dip.plan import settings_here

        return settings_here(self._task, image_noise=self._noise, **chosen)

    def _on_change(self, name: str, value: Any) -> None:
        if name not in _STARTS:
            (self._touched.discard if value == self._shown[name] else self._touched.add)(name)
        self._refill()

    def _refill(self) -> None:
        """Fill in the rows again if what they start from is another now: what is chosen may ask for another method."""
        try:
            start = self._start(self._chosen())
        except (ValueError, TypeError):
            start = self._filled  # what is written makes no sense yet
        if any(getattr(start, name) != getattr(self._filled, name) for name in _STARTS):
            self._fill()
        self.changed.emit()

    def _fill(self) -> None:
        """Show the preset's values in all rows but those that the user has touched."""
        chosen = {name: self._rows[name].value for name in _STARTS}
        if chosen["preset"] == "auto" and self._touched:
            chosen["preset"] = self._start(self._chosen()).preset
        self._filled = self._start(chosen)
        for name, row in self._rows.items():
            if name in _STARTS:
                continue
            before = row.value
            with row.changed.blocked():
                row.value = _to_row(getattr(self._filled, name), row)
                self._shown[name] = row.value  # as the row rounds it
                if name in self._touched:
                    row.value = before


def _row(name: str, knob: Knob, task: str) -> Any:
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
    label = name.replace("_", " ").capitalize() + (f" ({knob.unit})" if knob.unit else "")
    row = create_widget(name=name, label=label, annotation=annotation, options=options)
    if knob.kind == "float":
        row.native.setDecimals(_DECIMALS)
    return row


def _to_row(value: Any, row: Any) -> Any:
    """A knob's value as its row holds it: several values as text, which a choice row must also offer."""
    if isinstance(value, (tuple, list)):
        value = ", ".join(map(str, value))
    elif isinstance(row.value, str):
        value = str(value)
    if hasattr(row, "choices") and value not in row.choices:
        row.choices = [*row.choices, value]
    return value


def _from_text(name: str, text: str, whole: bool) -> Any:
    """Read the text of a row: one value, or a tuple of one per scale."""
    parts = [part.strip() for part in text.split(",")]
    if not whole:
        return parts[0] if len(parts) == 1 else tuple(parts)
    try:
        numbers = tuple(int(part) for part in parts)
    except ValueError:
        raise ValueError(
            f"{name}={text!r} is not a whole number: type one, such as 32, or one per scale, such as 16, 32, 64"
        ) from None
    return numbers[0] if len(numbers) == 1 else numbers
