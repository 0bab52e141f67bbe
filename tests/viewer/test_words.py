"""Sentences of the form, and its automatic values, as somebody at a microscope reads them."""

import pytest
from magicgui.widgets import ComboBox

from napari_dip.core.reason import Choice
from napari_dip.tables.tasks import TASKS
from napari_dip.viewer.account import in_window
from napari_dip.viewer.form import SettingsForm
from napari_dip.viewer.rows import Section


def test_text_in_place_of_a_number_is_told_by_the_label_of_its_row(viewer, dock, picture):
    viewer.add_image(picture)
    widget = dock()
    widget.form.method_row.value = "self-guided"
    widget.form.set(channels="abc")
    assert widget._sentence.text() == "Channels: type a number, e.g. 32, or one for each scale, e.g. 16, 32, 64."
    widget.form.reset("channels")
    assert "type a number" not in widget._sentence.text()


def test_a_factor_of_one_is_told_in_words(viewer, dock, picture):
    viewer.add_image(picture)
    widget = dock("Super-resolve")
    row = widget.inputs.known["factor"].yx
    assert row.label == "Enlarge by"
    row.value = 1
    assert widget._sentence.text() == "Choose a factor of 2 or more."


def test_the_type_of_the_result_is_told_in_words_and_kept_by_name(viewer, dock, picture):
    viewer.add_image(picture)
    widget = dock()
    row = widget.form.row("output_dtype")
    shown = [row.native.itemText(i) for i in range(row.native.count())]
    assert (row.label, shown) == ("Save as", ["decimal numbers", "same type as the input"])
    row.value = "input"
    assert widget.form.knobs()["output_dtype"] == "input"
    widget.form.reset("output_dtype")
    assert row.native.currentText() == "decimal numbers"


@pytest.mark.parametrize("task", TASKS)
def test_a_row_has_more_than_one_value_and_says_what_is_automatic(qtbot, task):
    made = SettingsForm(task)
    qtbot.addWidget(made)
    for method in made._presets_by_method():
        made.method_row.value = method
        for section in made.findChildren(Section):
            section.expand()
        for name, row in made._rows.items():
            if (
                not isinstance(row, ComboBox)
                or row.native.parentWidget().isHidden()
                or name in ("device", "quality", "preset")
            ):
                continue
            values = {*row.choices} - {"auto"}
            assert len(values) > 1, (method, name)
            assert row.value != "auto" or row.native.currentText() != "auto", (method, name)
        if method == "self-guided":
            assert made.row("noise").native.parentWidget().isHidden()


def test_a_choice_is_said_in_the_words_of_its_row():
    assert str(in_window(Choice("passes", "it is slow"))) == "enough rounds, because it is slow"
    assert str(in_window(Choice("held-out", "it is so"))) == "held-out, because it is so"
