"""What is typed into a row is that number, or is refused where it can be seen: never another number."""

import numpy as np
import pytest
from magicgui.widgets import FloatSlider, FloatSpinBox, SpinBox
from qtpy.QtCore import QLocale, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLineEdit, QToolTip

from napari_dip.viewer.choice import VOLUME
from napari_dip.viewer.rows import Rows

GERMAN = QLocale(QLocale.Language.German, QLocale.Country.Germany)


@pytest.fixture
def typed(qtbot):
    """Types a text into a row that has 7, and leaves it; returns its number, its text and what is said of it."""

    def type_into(kind, text, locale=None):
        row = kind(name="n", label="N", value=7, min=0, max=100)
        rows = Rows([row])
        qtbot.addWidget(rows)
        rows.show()
        if locale is not None:
            row.native.setLocale(locale)
        field = row.native.findChild(QLineEdit)
        QToolTip.hideText()
        field.selectAll()
        QTest.keyClicks(field, text)
        QTest.keyClick(field, Qt.Key.Key_Return)
        return row.value, field.text(), QToolTip.text()

    return type_into


@pytest.mark.parametrize("kind", [SpinBox, FloatSpinBox, FloatSlider])
@pytest.mark.parametrize("text", ["1.5, 2", "1,5", "2 3", "3, 1, 1", "500", "1,000", "1_0", "-3", "x", "1.", ""])
def test_no_text_becomes_another_number(typed, kind, text):
    if text == "1." and kind is not SpinBox:
        return
    value, shown, told = typed(kind, text)
    assert value == float(shown) == 7
    assert told.startswith(f"'{text}' is no" if text else "")


@pytest.mark.parametrize("kind", [SpinBox, FloatSpinBox, FloatSlider])
def test_a_number_is_taken(typed, kind):
    number = 64 if kind is SpinBox else 1.5
    value, shown, told = typed(kind, str(number))
    assert value == float(shown) == number
    assert told == ""


@pytest.mark.parametrize("text", ["-5", "1.5", ""])
def test_run_is_off_while_a_row_holds_what_it_refuses(viewer, dock, picture, text):
    """Run took the number before, and a tooltip alone said so."""
    viewer.add_image(picture)
    widget = dock()
    row = widget.form.row("iterations")
    before, field = row.value, row.native.findChild(QLineEdit)
    field.setFocus()
    field.selectAll()
    QTest.keyClick(field, Qt.Key.Key_Delete)
    QTest.keyClicks(field, text)
    assert widget._sentence.text().startswith("Iterations: write a whole number from 1 to ")
    assert not widget.run_button.isEnabled()
    QTest.keyClick(field, Qt.Key.Key_Return)
    assert row.value == before
    assert widget.run_button.isEnabled()


def test_the_decimal_comma_of_ones_own_works_and_no_point_that_parts_groups(typed):
    assert typed(FloatSpinBox, "1,5", GERMAN)[0] == 1.5
    value, _, told = typed(FloatSpinBox, "1.5", GERMAN)
    assert value == 7
    assert "'1.5' is no number" in told
    assert typed(SpinBox, "1.5", GERMAN)[0] == 7


@pytest.mark.parametrize(
    ("text", "sigmas"),
    [
        ("1.5", (1.5, 1.5)),
        ("1.5, 2", (1.5, 2)),
        ("1.5,2", (1.5, 2)),
        ("2 3", (2, 3)),
        ("1; 0.5", (1, 0.5)),
        ("0", None),
    ],
)
def test_a_gaussian_has_one_sigma_or_two(viewer, dock, picture, text, sigmas):
    viewer.add_image(picture, name="cells")
    inputs = dock("Deconvolve").inputs
    field = inputs.known["psf"].sigma.native
    field.setFocus()
    field.selectAll()
    QTest.keyClicks(field, text)
    assert field.text() == text
    assert inputs.problem().get("psf") == sigmas


@pytest.mark.parametrize("text", ["1,5", "3, 1, 1", "500", "1,5, 2", "1,5;2", "1_0", "-1", "nan", "x"])
def test_what_is_no_sigma_turns_run_off_with_a_sentence(viewer, dock, wait, picture, text):
    viewer.add_image(picture, name="cells")
    widget = dock("Deconvolve")
    field = widget.inputs.known["psf"].sigma.native
    field.setFocus()
    field.selectAll()
    QTest.keyClick(field, Qt.Key.Key_Delete)
    QTest.keyClicks(field, text)
    wait(lambda: "Sigma y, x: " in widget._sentence.text())
    assert not widget.run_button.isEnabled()
    assert ("1.5, or 1, 5 with a space" in widget._sentence.text()) == (text == "1,5")


def test_a_blur_that_nobody_has_said_is_asked_for(viewer, dock, wait, picture):
    viewer.add_image(np.stack([picture] * 3), name="cells")
    widget = dock("Deconvolve")
    psf = widget.inputs.known["psf"]
    assert psf.sigma.value == psf.sigma_z.value == ""
    assert not widget.run_button.isEnabled()
    assert "How wide is the blur? Type Sigma y, x, such as 1.5, or" in widget._sentence.text()
    psf.sigma.value = "1.2"
    wait(widget.run_button.isEnabled)
    widget.inputs.where.value = VOLUME
    assert not widget.run_button.isEnabled()
    assert "How wide is the blur? Type Sigma z, such as 1.5, or" in widget._sentence.text()
    psf.sigma_z.value = "3"
    wait(widget.run_button.isEnabled)
    assert widget.inputs.problem()["psf"] == (3, 1.2, 1.2)
