"""What stands in a dock can be read at 300 pixels, reached with Tab in the order of the eye, and has a name."""

import sys
from itertools import pairwise
from pathlib import Path

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QAbstractButton, QDockWidget, QLabel, QScrollArea, QTabBar, QWidget

from napari_dip.viewer import account
from napari_dip.viewer.rows import Rows, Section, Text, _Whole, column, scrolled_rows

DOCS = Path(__file__).parents[2] / "docs"
TASKS = ["Denoise", "Inpaint", "Super-resolve", "Deconvolve", "Remove JPEG artefacts", "Enhance"]
OTHERS = ["Samples of the prior", "Laboratory"]


@pytest.fixture
def narrow(viewer, qtbot):
    """Opens a dock in a window that is shown, all of it unfolded, 300 pixels wide."""
    window = viewer.window._qt_window
    size = window.size()
    viewer.window.show()

    def open_widget(name):
        widget = viewer.window.add_plugin_dock_widget("napari-dip", name)[1]
        for section in widget.findChildren(Section):
            section.expand()
        window.resize(1280, 900)
        window.resizeDocks([_dock(widget)], [300], Qt.Orientation.Horizontal)
        qtbot.waitUntil(lambda: widget.width() == 300)
        return widget

    yield open_widget
    window.resize(size)
    window.hide()


def _dock(widget):
    while not isinstance(widget, QDockWidget):
        widget = widget.parentWidget()
    return widget


def _reached(widget):
    """What Tab comes to, in its order."""
    part, found = widget.nextInFocusChain(), []
    while part is not widget:
        tab = part.focusPolicy() & Qt.FocusPolicy.TabFocus and part.focusProxy() is None
        if tab and widget.isAncestorOf(part) and part.isVisibleTo(widget.window()):
            found.append(part)
        part = part.nextInFocusChain()
    return found


@pytest.mark.skipif(not DOCS.exists(), reason="needs a checkout")
@pytest.mark.parametrize("name", TASKS + OTHERS)
def test_all_of_a_dock_can_be_read_and_reached(narrow, qtbot, name, monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    import tutorials

    widget = narrow(name)
    for rows in widget.findChildren(Rows):
        for label, field in rows._lines.values():  # all that there are, as they look once they were changed
            label.show()
            field.show()
            font = label.font()
            font.setBold(True)
            label.setFont(font)

    def nothing_is_cut_off():
        if name in TASKS:
            widget.controls.offer_more("Fluorescence with MMMM gaps inpainted", "12345 more, about 12:59 min")
            widget.controls.offer_all(account.all_of("Fluorescence with MMMM gaps", 1234))
        assert not list(tutorials.cut_off(_dock(widget), widget.window()))
        for area in widget.findChildren(QScrollArea):
            if area.isVisibleTo(widget):
                assert area.widget().width() <= area.viewport().width(), "the scroll bar lies over the end of rows"

    qtbot.waitUntil(nothing_is_cut_off, timeout=5000)  # layouts take some events
    sys.modules.pop("tutorials")

    reached = _reached(widget)
    assert len(reached) > 3
    for one, part in pairwise(reached):
        before, after = (each.mapTo(widget, QPoint()) for each in (one, part))
        if _scrolls(widget, one) and not _scrolls(widget, part):
            continue  # to what stands below the settings
        beside = abs(after.y() - before.y()) < 12 and after.x() > before.x()
        assert beside or after.y() > before.y(), f"Tab jumps to {_called(part)!r}"
    assert all(_called(part) for part in reached), [type(part) for part in reached if not _called(part)]
    by_wheel = [_called(part) for part in reached if part.focusPolicy() == Qt.FocusPolicy.WheelFocus]
    assert not by_wheel, "the wheel would change them in passing"


@pytest.mark.parametrize("task", ["Denoise", "Super-resolve"])
def test_presets_and_stopping_rules_are_read_in_full(narrow, qtbot, task):
    """At 300 pixels "denoise-small" was "den...all", as the button beside it left no more room."""
    form = narrow(task).form
    fields = [form.row(name).native for name in ("preset", "stop")]
    for field in fields:
        field.show()

    def all_are():
        for field in fields:
            longest = max(field.fontMetrics().horizontalAdvance(field.itemText(i)) for i in range(field.count()))
            assert longest <= _Whole._room(field)

    qtbot.waitUntil(all_are)


def test_tabs_of_docks_are_read_in_full(viewer, narrow):
    for name in TASKS[2:5]:
        widget = narrow(name)
    bars = widget.window().findChildren(QTabBar)
    (bar,) = [each for each in bars if TASKS[4] in [each.tabText(i) for i in range(each.count())]]
    assert [bar.tabText(i) for i in range(bar.count())] == TASKS[2:5]
    for i in range(bar.count()):
        assert bar.tabRect(i).width() > bar.fontMetrics().horizontalAdvance(bar.tabText(i))
    assert _dock(widget).toggleViewAction().text() == f"{TASKS[4]} (napari-dip)"


def _scrolls(widget, part):
    return any(area.widget().isAncestorOf(part) for area in widget.findChildren(QScrollArea))


def _called(part):
    """The name by which a screen reader calls it."""
    return part.accessibleName() or (isinstance(part, QAbstractButton) and part.text())


def test_all_that_a_section_unfolds_is_seen(qtbot):
    words = Text("words")
    words.setText("a sentence of some length " * 8)
    high = QWidget()
    high.setFixedHeight(80)
    sections = [Section(str(i), QLabel("row"), QLabel("row")) for i in range(9)]
    panel = QWidget()
    column(panel, *sections, last := Section("last", high, words))
    scroll = scrolled_rows(panel, "sections")
    qtbot.addWidget(scroll)
    scroll.resize(300, 260)
    scroll.show()
    (heading,) = [each for each in last.findChildren(QAbstractButton) if each.accessibleName() == "last"]
    qtbot.mouseClick(heading, Qt.MouseButton.LeftButton)

    def nothing_is_cut_off():
        assert words.height() >= words.heightForWidth(words.width())
        assert words.y() >= high.geometry().bottom(), "one lies over the other"
        below = words.mapTo(scroll.viewport(), QPoint(0, words.height())).y()
        assert below <= scroll.viewport().height(), "what was unfolded is out of sight"

    qtbot.waitUntil(nothing_is_cut_off, timeout=5000)
    words.setText("a sentence of some length " * 80)
    last.reveal()
    qtbot.waitUntil(lambda: heading.mapTo(scroll.viewport(), QPoint()).y() == 0, timeout=5000)


@pytest.mark.parametrize("task", ["Super-resolve", "Denoise"])
def test_a_row_is_no_higher_than_what_stands_in_it(narrow, task):
    """Words that just fit into a line had the room of two, and stood below their field."""
    widget = narrow(task)
    lines = {
        label.text(): label.minimumHeight() // label.fontMetrics().lineSpacing()
        for rows in widget.findChildren(Rows)
        for label, _ in rows._lines.values()
    }
    one = ["Instrument blur"] if task == "Super-resolve" else ["Hide the source", "Similar patches", "Skip bad pixels"]
    assert [lines[name] for name in one] == [1] * len(one)
    assert lines["Memory for moments (MB)"] == 2


def test_a_figure_is_not_parted_from_its_unit(qtbot):
    words = Text("words")
    qtbot.addWidget(words)
    said = "takes 101 MB and 4.6 min for 128 x 128 pixels of 5 seconds, 7 % of it"
    words.setText(said)
    assert words.text() == said
    shown = QLabel.text(words)
    assert [each for each in shown.split(" ") if "\u00a0" in each] == [
        "101\u00a0MB", "4.6\u00a0min", "128\u00a0x\u00a0128", "7\u00a0%"
    ]  # fmt: skip
