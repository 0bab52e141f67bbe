"""Parts of forms: words that wrap, sections that fold, rows with a label."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from magicgui.widgets import CheckBox, ComboBox, FloatSlider, FloatSpinBox, PushButton, SpinBox
from qtpy.QtCore import QEvent, QObject, QPoint, Qt, QTimer, Signal
from qtpy.QtGui import QCursor, QFontMetrics, QShowEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QToolTip,
    QVBoxLayout,
    QWidget,
)

from napari_dip.viewer.typed import Typed

ACCENT = "#e07b00"  # of lines: legible on dark and light
_FINGERPRINT, _BREAK = re.compile(r"(?<=\w)(?=#[0-9a-f]{12}\b)"), "\u200b"  # of a part of the user's own
_FIGURE, _NO_BREAK = re.compile(r"\d( x \d+)+| (?=(s|min|h|kB|MB|GB|px|%)(?!\w))(?<=\d )"), "\u00a0"  # with its unit
_LONGEST = "Downsampling"  # word of a label, which cannot wrap: as wide are all, so that the blocks of rows line up
_SPARE = 5  # pixels beside the longest word: with fewer Qt takes two lines for "Instrument blur", and writes it in one
_GAP = 3  # pixels between labels and fields
_MARGIN = 4  # pixels between the text of a choice and the end of its field
_FIELD = 90  # pixels that a field has at least: with those that Qt wants a dock is wider than 300


def tip(text: str) -> str:
    """A tooltip that wraps, which Qt does with rich text only."""
    return f"<qt>{html.escape(text)}</qt>" if text else ""


class Text(QLabel):
    """Words that wrap, but not within a figure, and that can be copied.

    They do between the name and the fingerprint of a part of the user's own.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)

    def setText(self, text: str) -> None:
        super().setText(_FIGURE.sub(lambda found: found[0].replace(" ", _NO_BREAK), _FINGERPRINT.sub(_BREAK, text)))

    def text(self) -> str:
        return super().text().replace(_BREAK, "").replace(_NO_BREAK, " ")


def column(widget: QWidget, *parts: QWidget) -> QVBoxLayout:
    """Lay out parts below each other in a widget, which has no margin of its own."""
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        layout.addWidget(part)
    return layout


def scrolled(widget: QWidget, name: str) -> QScrollArea:
    """A widget that scrolls where it has too little room; `name` is for those who cannot see it."""
    scroll = QScrollArea()
    scroll.setAccessibleName(name)
    scroll.setWidget(widget)
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    return scroll


def scrolled_rows(widget: QWidget, name: str) -> QScrollArea:
    """Rows that scroll up and down, which Tab passes on to."""
    scroll = scrolled(widget, name)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
    return scroll


def beside(*parts: QWidget) -> QWidget:
    """A widget with parts beside each other."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        layout.addWidget(part)
    return row


class Section(QWidget):
    """Rows that can be folded away, and are at first.

    Attributes
    ----------
    unfolding : Signal
        Before it unfolds: the time to make what is shown only then.
    """

    unfolding = Signal()

    def __init__(self, title: str, *parts: QWidget) -> None:
        super().__init__()
        self._heading = QPushButton()
        self._heading.setCheckable(True)
        self._heading.setStyleSheet("text-align: left; border: none; outline: none;")
        self._heading.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # it widens nothing
        self._heading.toggled.connect(self._fold)
        self._heading.clicked.connect(self.reveal)
        self._folded = QWidget()
        self._parts = column(self._folded, *parts)
        self._parts.setContentsMargins(4, 0, 0, 0)
        column(self, self._heading, self._folded)
        self._folded.setVisible(False)  # Tab passes it by
        self._shower = QTimer(self)
        self._shower.setSingleShot(True)
        self._shower.timeout.connect(self._scroll_here)
        self.setText(title)

    def text(self) -> str:
        """The heading."""
        return self._heading.accessibleName()

    def setText(self, title: str) -> None:
        """Change the heading."""
        self._heading.setAccessibleName(title)
        self._heading.setText(f"{'▾' if self._heading.isChecked() else '▸'} {title}")

    def addWidget(self, part: QWidget) -> None:
        """Add a part below the others."""
        self._parts.addWidget(part)

    def expand(self) -> None:
        """Unfold it."""
        self._heading.setChecked(True)

    def reveal(self, _: bool = True) -> None:
        """Scroll to it as soon as it is laid out: to all of it, or as much as there is room for, from its heading."""
        self._shower.start(100)

    def _fold(self, unfolded: bool) -> None:
        self.setText(self.text())
        if unfolded:
            self.unfolding.emit()
        self._folded.setVisible(unfolded)

    def _scroll_here(self) -> None:
        around = self.parentWidget()
        while around is not None and not isinstance(around, QScrollArea):
            around = around.parentWidget()
        if around is None:
            return
        bar, room = around.verticalScrollBar(), around.viewport().height()
        top = self.mapTo(around.widget(), QPoint()).y()
        bar.setValue(min(top, max(bar.value(), top + self.height() - room)))


class Choice(ComboBox):
    """A row with choices, which keeps what is chosen where that has another name by now, and else takes the first.

    Parameters
    ----------
    choices : callable
        From the row to pairs of a name and a value.
    """

    def __init__(self, *, choices: Callable[[Any], list[tuple[str, Any]]], **options: Any) -> None:
        self._offered = choices
        super().__init__(choices=choices, **options)

    def reset_choices(self, *told: Any) -> None:
        """Offer the choices that there are."""
        chosen = self.value
        with self.changed.blocked():
            super().reset_choices(*told)
            if chosen in self.choices:
                self.value = chosen
            elif self.choices:
                self.value = self._first()
        if self.value != chosen:
            self.changed.emit(self.value)

    def _first(self) -> Any:
        return self._offered(self)[0][1]  # magicgui lists what came later at the end


class ChoiceOrNone(Choice):
    """A row with choices, of which one is none."""

    null_string = "(none)"  # no layer is called so by itself

    def __init__(self, **options: Any) -> None:
        super().__init__(nullable=True, **options)

    def _first(self) -> None:
        return None


class _Whole(QObject):
    """A field without room for its text shows it in its tooltip, and of words the beginning, of a name the end too."""

    def eventFilter(self, field: QObject, event: QEvent) -> bool:
        """Paint the text of a choice in place of what Qt would cut off."""
        if event.type() not in (QEvent.Type.ToolTip, QEvent.Type.Paint):  # of many: what is shown takes time to tell
            return False
        assert isinstance(field, QComboBox | QLineEdit)
        whole = field.currentText() if isinstance(field, QComboBox) else field.text()
        name = whole.rpartition(".py:")[2]  # of FILE.py:NAME
        words = isinstance(field, QComboBox) and isinstance(data := field.currentData(), str) and data != whole
        cut = Qt.TextElideMode.ElideRight if words else Qt.TextElideMode.ElideMiddle
        shown = field.fontMetrics().elidedText(name, cut, self._room(field))
        if shown == whole:
            return False
        if event.type() == QEvent.Type.ToolTip:
            QToolTip.showText(QCursor.pos(), f"<b>{html.escape(whole)}</b><br>{field.toolTip()}", field)
            return True
        if isinstance(field, QLineEdit):
            return False
        painter, option = QStylePainter(field), QStyleOptionComboBox()
        field.initStyleOption(option)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        option.currentText = shown
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()
        return True

    @staticmethod
    def _room(field: QComboBox | QLineEdit) -> int:
        if isinstance(field, QLineEdit):
            return field.contentsRect().width() - 2 * _MARGIN
        option = QStyleOptionComboBox()
        field.initStyleOption(option)
        place = QStyle.SubControl.SC_ComboBoxEditField
        rect = field.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, place, field)
        return int(rect.width()) - _MARGIN


class _Calm(QObject):
    """The wheel scrolls the panel, and changes a field only where that has been clicked before."""

    def eventFilter(self, field: QObject, event: QEvent) -> bool:
        """Leave a wheel over a field without focus to what is around it."""
        if event.type() != QEvent.Type.Wheel or field.hasFocus():  # type: ignore[attr-defined]
            return False
        event.ignore()
        return True


class Rows(QWidget):
    """magicgui widgets below each other, their labels in one column.

    Attributes
    ----------
    changed : Signal
        For the rows that `watch` was told of, and where what is typed into any is `refused` now, or no longer.
    long : tuple of str
        Names of rows with choices too long for half a line, which stand below their label.
    """

    changed = Signal()
    long: tuple[str, ...] = ()

    def __init__(self, rows: Iterable[Any]) -> None:
        super().__init__()
        self._rows: dict[str, Any] = {}
        self._lines: dict[str, tuple[QLabel, QWidget]] = {}
        self._layout = QFormLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setHorizontalSpacing(_GAP)
        self._layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._calm, self._whole, self._typed = _Calm(self), _Whole(self), Typed(self)
        self._typed.told.connect(self._tell)
        self.add(rows)

    def add(self, rows: Iterable[Any]) -> None:
        """Add rows below the others."""
        for row in rows:
            if isinstance(row.native, QComboBox):  # long names of layers must not widen the dock
                row.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
                row.native.setMinimumContentsLength(6)
                row.native.installEventFilter(self._whole)
            if isinstance(row.native, QLineEdit):
                row.native.installEventFilter(self._whole)
                row.native.cursorPositionChanged.connect(partial(_show_beginning, row.native))  # also by the same text
            if isinstance(row.native, QLineEdit | QAbstractSpinBox):
                text = row.native if isinstance(row.native, QLineEdit) else row.native.findChild(QLineEdit)
                row.native.editingFinished.connect(partial(_show_beginning, text))
            label = QLabel("" if isinstance(row, PushButton) else row.label)
            label.setWordWrap(True)
            for part in (label, row.native):
                part.setToolTip(tip(row.tooltip or ""))
            for part in focusable(row.native):
                part.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # not by the wheel
                part.installEventFilter(self._calm)
                part.setAccessibleName(part.accessibleName() or label.text())
            row.native.setAccessibleName(label.text())
            label.setBuddy(row.native)
            row.native.setMinimumWidth(_FIELD)
            if isinstance(row, SpinBox | FloatSpinBox | FloatSlider):
                self._typed.watch(row)
            field = self.field(row)
            self._rows[row.name] = row
            self._lines[row.name] = label, field
            if row.name in self.long:
                self._layout.addRow(label)
                self._layout.addRow(field)
            else:
                self._layout.addRow(label, field)
            if isinstance(row, PushButton):
                row.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            if isinstance(row, CheckBox):
                row.native.setText("")  # the label says it

    @property
    def refused(self) -> str:
        """Sentence on what is being typed and is no number for its row; empty if all is well."""
        return self._typed.refused

    def held(self) -> dict[str, Any]:
        """Values of the rows, by name; of a choice its text, which keeps no layer alive."""
        rows = {name: row for name, row in self._rows.items() if not isinstance(row, PushButton)}
        return {name: row.current_choice if isinstance(row, ComboBox) else row.value for name, row in rows.items()}

    def hold(self, values: dict[str, Any]) -> None:
        """Write into the rows what `held` returned, as far as it can be chosen now."""
        now = self.held()
        for name, row in self._rows.items():
            value = values.get(name, now.get(name))
            if value == now.get(name):
                continue
            if not isinstance(row, ComboBox):
                row.value = min(value, row.max) if isinstance(row, SpinBox) else value
            elif row.native.findText(value) >= 0:
                row.value = row.get_choice(value)

    def watch(self, *rows: Any) -> None:
        """Tell of each change of these rows."""
        for row in rows:
            row.changed.connect(self._tell)

    def _tell(self) -> None:
        self.changed.emit()

    def showEvent(self, event: QShowEvent) -> None:
        """Give all labels their room."""
        for label, _ in self._lines.values():
            label.ensurePolished()  # before, it has not the font of the window
            _give_room(label)
        super().showEvent(event)

    def embolden(self, row: Any, bold: bool) -> None:
        """Write the label of a row in bold, or not."""
        label = self.label_of(row)
        font = label.font()
        font.setBold(bold)
        label.setFont(font)
        _give_room(label)

    def field(self, row: Any) -> QWidget:
        """The part of a row beside its label."""
        return row.native

    def label_of(self, row: Any) -> QLabel:
        """The label of a row."""
        return self._lines[row.name][0]

    def show_row(self, row: Any, visible: bool) -> None:
        """Show or hide a row with its label."""
        for part in self._lines[row.name]:
            part.setVisible(visible)


def _give_room(label: QLabel) -> None:
    """Make a label as wide as the longest word in bold, and as high as its lines are in its own font."""
    bold = label.font()
    bold.setBold(True)
    width = QFontMetrics(bold).horizontalAdvance(_LONGEST) + _SPARE
    label.setFixedWidth(width)
    label.setMinimumHeight(max(0, label.heightForWidth(width)))  # a folded section asks for the height of one line


def _show_beginning(field: QLineEdit, *_: int) -> None:
    if field.window().focusWidget() != (field.focusProxy() or field):  # nobody types into it
        field.setCursorPosition(0)


def focusable(field: QWidget) -> list[QWidget]:
    """A field, or the parts of it that take the focus, such as the slider and the number beside it."""
    if field.focusPolicy() != Qt.FocusPolicy.NoFocus:
        return [field]
    parts = field.findChildren(QWidget)
    return [each for each in parts if each.focusPolicy() != Qt.FocusPolicy.NoFocus and each.focusProxy() is None]
