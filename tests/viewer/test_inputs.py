"""Before a run: the noise of what is in view, what is known of the camera, and bad pixels."""

import gc
import re
import threading
from dataclasses import replace

import dask.array
import numpy as np
import pytest
from magicgui.widgets import ComboBox
from napari._qt.utils import QImg2array
from napari.layers import Labels
from qtpy.QtCore import QEvent, QObject, QPoint, Qt
from qtpy.QtGui import QFocusEvent, QHelpEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QLineEdit, QToolTip
from scipy.ndimage import gaussian_filter

from napari_dip.core.noise.model import Noise
from napari_dip.tables.method import settings_for
from napari_dip.tables.tasks import TASKS
from napari_dip.viewer import masks, regions
from napari_dip.viewer.background import Background
from napari_dip.viewer.choice import ALL_SLICES, TOGETHER, Inputs
from napari_dip.viewer.form import SettingsForm
from napari_dip.viewer.noise import noise_in_words
from napari_dip.viewer.restoration import METADATA
from napari_dip.viewer.rows import Rows
from tests.viewer.docks import restored

WHITE = Noise(gain=0, offset=0, read_noise=5, sigma=5)
SHARED = Noise(gain=0, offset=0, read_noise=5, sigma=5, correlation=0.5)


def flat(sigma, shape=(64, 64), seed=0):
    return np.random.default_rng(seed).normal(200, sigma, shape).astype(np.float32)


def words(widget):
    return widget.noise.text()


def known(widget):
    return words(widget).startswith("Noise:") and "estimated" not in words(widget)


def sigma_of(widget):
    """The sigma that the tooltip of the sentence says."""
    return float(re.search("standard deviation over the image ([^,]+),", widget.noise.toolTip())[1])


# ----------------------------------------------------------------------------------------------- beside the window


def test_only_the_answer_to_the_last_question_counts_and_one_is_computed_at_a_time(qtbot, wait):
    background, other = Background(), Background()
    answers, busy, most, hold = [], [], [], threading.Event()

    def question(answer):
        busy.append(1)
        most.append(len(busy))
        hold.wait()
        busy.pop()
        return answer

    for each in (background, other):
        each.answered.connect(answers.append)
    background.ask(lambda: question("first"))
    wait(lambda: bool(busy))  # it is under way
    background.ask(lambda: question("second"))
    background.ask(lambda: question("third"))
    other.ask(lambda: question("else"))
    wait(lambda: other._under_way > 0)
    hold.set()
    wait(lambda: not background.waiting and not other.waiting)
    assert sorted(answers) == ["else", "third"]
    assert max(most) == 1


def test_a_failure_beside_the_window_is_an_answer_and_nothing_comes_when_it_is_forgotten(qtbot, wait):
    background, answers = Background(), []
    background.answered.connect(answers.append)
    background.ask(lambda: 1 / 0)
    wait(lambda: bool(answers))
    assert isinstance(answers[0], ZeroDivisionError)
    background.ask(lambda: "unwanted")
    background.forget()
    wait(lambda: not background.waiting)
    assert len(answers) == 1


def test_an_answer_for_a_window_that_is_gone_harms_nothing(qtbot, wait):
    hold, parent = threading.Event(), QObject()
    background = Background()
    background.setParent(parent)
    background.ask(lambda: hold.wait(30))
    wait(lambda: background._under_way > 0)
    parent.deleteLater()
    qtbot.wait(20)
    gc.collect()
    hold.set()
    qtbot.wait(20)


# ----------------------------------------------------------------------------------------------------------- noise


def test_the_noise_is_told_before_the_run_and_follows_the_slice_in_view(viewer, dock, wait):
    viewer.add_image(np.stack([flat(5), flat(50)]), name="stack")
    viewer.dims.set_point(0, 0)
    widget = dock()
    wait(lambda: known(widget))
    assert sigma_of(widget) == pytest.approx(5, rel=0.1)
    viewer.dims.set_point(0, 1)
    assert "being estimated" in words(widget)
    wait(lambda: known(widget))
    assert sigma_of(widget) == pytest.approx(50, rel=0.1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gain": 2.0, "read_noise": 3}, ["Noise: mostly photon noise; each pixel on its own"]),
        ({"gain": 2.0, "read_noise": 9}, ["Noise: partly photon noise; each pixel on its own"]),
        ({"correlation": 0.6}, ["Noise: alike in dark and bright; neighbouring pixels share some of it"]),
        ({"sigma": 0.0, "warning": "it is flat"}, ["No noise found", "It is flat"]),
        (
            {"impulses": 0.01},
            ["Noise: alike in dark and bright; each pixel on its own", "1 % of the pixels are hot or"],
        ),
        ({"contrast": 80.0, "impulses": 0.001}, ["Noise: weak beside the structure; it may be fine detail"]),
        (
            {"gain": 2.0, "correlation": 0.6, "impulses": 0.001, "warning": "it may be weaker"},
            ["Noise: partly photon noise", "It may be weaker"],
        ),
        ({"correlation": 0.6, "warning": "the image is small"}, ["The image is small"]),
    ],
)
def test_the_noise_is_said_without_figures(changes, words):
    noise = Noise(**{"gain": 0.0, "offset": 0.0, "read_noise": 10.0, "sigma": 10.0} | changes)
    assert all(said.startswith(each) for said, each in zip(noise_in_words(noise), words, strict=True))


def test_the_noise_leaves_out_what_the_mask_marks(viewer, dock, wait):
    image, marks = flat(5, (64, 128)), np.zeros((64, 128), int)
    image[:, 64:], marks[:, 64:] = flat(50, seed=1), 1
    viewer.add_image(image)
    widget = dock()
    wait(lambda: known(widget))
    widget.inputs.mask.value = viewer.add_labels(marks)
    wait(lambda: known(widget))
    assert sigma_of(widget) == pytest.approx(5, rel=0.1)


def test_the_noise_says_in_its_tooltip_how_much_padding_it_leaves_out(viewer, dock, wait):
    image = flat(5, (64, 64))
    image[:, :3] = 0
    viewer.add_image(image)
    widget = dock()
    wait(lambda: known(widget))
    assert "192 pixels (4.69 %) are padding" in widget.noise.toolTip()
    assert "padding" not in words(widget)


def test_the_noise_of_a_clean_photograph_is_one_line(viewer, dock, wait):
    """It took five, on hot pixels, lines and doubts, as if there was a fault; the tooltip has them."""
    rng = np.random.default_rng(0)
    image = gaussian_filter(rng.normal(0, 640, (128, 128)), 6) + rng.normal(128, 0.1, (128, 128))
    image[rng.random(image.shape) < 0.003] = 255
    viewer.add_image(image.astype(np.float32))
    widget = dock()
    wait(lambda: known(widget))
    assert words(widget) == "Noise: weak beside the structure; it may be fine detail."
    assert "% of the pixels are hot or dead" in widget.noise.toolTip()


def test_the_noise_of_a_lazy_stack_reads_nothing_but_the_slice_in_view(viewer, dock, wait):
    read = set()

    def plane(block, block_info=None):
        if block_info is not None and block_info[0]:
            read.add(block_info[0]["chunk-location"][0])
        return block

    stack = dask.array.from_array(flat(5, (6, 64, 64)), chunks=(1, 64, 64)).map_blocks(plane, dtype=np.float32)
    viewer.add_image(stack, contrast_limits=(0, 400), multiscale=False)
    viewer.dims.set_point(0, 2)
    read.clear()
    widget = dock()
    wait(lambda: known(widget))
    assert read <= {2}


def test_what_cannot_be_restored_has_no_noise(viewer, dock, wait):
    viewer.add_image(flat(5) > 200)
    widget = dock()
    wait(lambda: not widget.noise.waiting)
    assert words(widget) == ""


def test_the_window_is_not_held_up_by_the_noise(viewer, dock, wait, qtbot, monkeypatch):
    hold = threading.Event()
    monkeypatch.setattr("napari_dip.trust.estimate_noise", lambda *_, **__: hold.wait(30) and WHITE)
    viewer.add_image(flat(5), name="cells")
    widget = dock()
    wait(lambda: widget.noise._background._under_way > 0)
    assert widget.run_button.isEnabled()
    viewer.add_image(flat(5), name="others")  # asked for, while the first is still under way
    hold.set()
    wait(lambda: known(widget))


def test_a_noise_that_comes_during_a_run_is_in_the_form_after_it(viewer, dock, wait, monkeypatch):
    hold = threading.Event()
    monkeypatch.setattr("napari_dip.trust.estimate_noise", lambda *_, **__: hold.wait(30) and WHITE)
    viewer.add_image(flat(5), name="cells")
    widget = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")[1]
    widget.form.set(iterations=2, channels="4", stop="iterations")
    widget.run()
    hold.set()
    wait(lambda: not widget.running and known(widget))
    assert widget.form.method == "self-guided"


# ---------------------------------------------------------------------------------------------------------- camera


def test_what_is_known_of_the_camera_overrides_the_estimate_and_is_recorded(viewer, dock, wait):
    photons = np.random.default_rng(0).poisson(np.linspace(20, 200, 64) * np.ones((64, 1)))
    viewer.add_image((4 * photons).astype(np.float32))
    widget = dock()
    wait(lambda: known(widget))
    widget.inputs.camera.rows["gain"].value = "3"
    wait(lambda: "gain 3 counts" in widget.noise.toolTip())
    widget.inputs.camera.rows["offset"].value = "10"
    widget.run()
    wait(lambda: not widget.running)
    assert restored(viewer)[0].metadata[METADATA]["camera"] == {"gain": 3.0, "offset": 10.0}


@pytest.mark.parametrize("text", ["four", "-1", "nan"])
def test_a_camera_value_that_is_none_is_said_before_the_run(viewer, dock, picture, text):
    viewer.add_image(picture)
    widget = dock()
    widget.inputs.camera.rows["read_noise"].value = text
    assert widget._sentence.text() == "Read noise: type a number from 0 up, or leave it empty."
    assert not widget.run_button.isEnabled()
    widget.inputs.camera.rows["read_noise"].value = ""
    assert widget.run_button.isEnabled()


# --------------------------------------------------------------------------------------------------------- the form


@pytest.mark.parametrize("task", TASKS)
def test_a_fresh_form_is_balanced_as_a_script_is(qtbot, task):
    form = SettingsForm(task)
    qtbot.addWidget(form)
    assert form.settings() == settings_for(task, on_cpu=True)


def test_the_form_fills_in_what_suits_the_noise_but_not_what_was_touched(qtbot):
    form = SettingsForm("denoise")
    qtbot.addWidget(form)
    form.set(seed=7)
    form.know(WHITE, None)
    assert form.method == "self-guided"
    assert "independent" in form.why
    form.know(SHARED, None)
    assert form.method == "self-guided"
    assert "correlated between neighbouring pixels" in form.why
    form.know(replace(SHARED, contrast=0.5), None)
    assert form.method == "prior"
    assert "outweighs" in form.why
    assert form.settings().seed == 7
    assert form.knobs() == {"preset": "auto", "quality": "balanced", "device": "auto", "seed": 7}


def test_a_choice_that_only_one_method_has_decides_and_stays(qtbot):
    form = SettingsForm("denoise")
    qtbot.addWidget(form)
    form.know(WHITE, None)
    form.set(code="uniform")
    assert form.method == "prior"
    form.set(seed=3)  # another change does not bring the other method back
    assert form.method == "prior"
    assert form.knobs()["code"] == "uniform"
    assert form.settings().generator == "hourglass"


def test_long_tooltips_wrap(qtbot):
    form = SettingsForm("denoise")
    qtbot.addWidget(form)
    for name in form._names:
        assert form.row(name).native.toolTip().startswith("<qt>")


# ------------------------------------------------------------------------------------------------------- bad pixels


@pytest.mark.parametrize("name", ["Denoise", "Inpaint", "Super-resolve"])
def test_bad_pixels_become_a_labels_layer_that_is_chosen(viewer, dock, wait, name):
    image, hot = flat(5), [(10, 12), (40, 7), (50, 50)]
    for place in hot:
        image[place] = 900
    source = viewer.add_image(image, name="cells", scale=(0.2, 0.3), translate=(5, 6), units=("um", "um"))
    widget = dock(name)
    widget.inputs.missing.find_button.native.click()
    assert "Looking" in widget.status
    wait(lambda: "found" in widget.status)
    labels = widget.inputs.mask.value
    assert [tuple(place) for place in np.argwhere(labels.data)] == hot
    assert "3 bad pixels" in widget.status
    assert np.allclose(labels.data_to_world((3, 4)), source.data_to_world((3, 4)))
    assert labels.units == source.units
    assert widget.inputs.image.value is source


def test_no_bad_pixel_is_said_and_makes_no_layer(viewer, dock, wait):
    viewer.add_image(flat(5))
    widget = dock()
    widget.inputs.missing.find_button.native.click()
    wait(lambda: "No hot, dead or saturated pixel" in widget.status)
    assert len(viewer.layers) == 1


def test_bad_pixels_join_the_mask_that_there_is(viewer, dock, wait):
    image, marks = flat(5), np.zeros((64, 64), int)
    image[10, 12], marks[30:34, 30:34] = 900, 1
    viewer.add_image(image)
    widget = dock()
    widget.inputs.mask.value = holes = viewer.add_labels(marks, name="holes")
    widget.inputs.missing.find_button.native.click()
    wait(lambda: "found" in widget.status)
    assert widget.inputs.mask.value is not holes
    assert widget.inputs.mask.value.data.sum() == 17
    assert "1 bad pixel " in widget.status
    assert holes.data.sum() == 16


def test_bad_pixels_of_all_slices_or_of_the_one_in_view(viewer, dock, wait):
    stack = np.stack([flat(5, seed=seed) for seed in range(3)])
    stack[:, 9, 9] = 900
    viewer.add_image(stack, name="stack")
    viewer.dims.set_point(0, 1)
    widget = dock()
    for where, shape in (("the slice in view", (1, 64, 64)), ("all slices, one after the other", (3, 64, 64))):
        widget.inputs.mask.value, widget.inputs.where.value = None, where
        widget.inputs.missing.find_button.native.click()
        wait(lambda: "found" in widget.status and widget.inputs.mask.value is not None)
        labels = widget.inputs.mask.value
        assert labels.data.shape == shape
        assert labels.data[:, 9, 9].all()
    viewer.layers.clear()
    widget.inputs.missing.find_bad_pixels()
    assert "no image" in widget.status


_CELLS = "'cells' (64 x 64 pixels of float32)"
_FINER = "2 times along y and x, to pixels of 0.25 x 0.25 µm"
SENTENCES = {
    "denoise": f"Denoise {_CELLS} and fill what 'scratch' marks in it",
    "inpaint": f"Fill what 'scratch' marks in {_CELLS}",
    "superresolve": f"Enlarge {_CELLS} {_FINER}, without what 'scratch' marks",
    "deconvolve": f"Undo a Gaussian blur in {_CELLS}, without what 'scratch' marks",
    "deblock": f"Remove JPEG artefacts from {_CELLS} and fill what 'scratch' marks in it",
    "enhance": f"Enhance {_CELLS} and fill what 'scratch' marks in it",
}


@pytest.mark.parametrize("task", TASKS)
def test_a_sentence_says_what_a_run_does_to_an_image_and_its_mask(viewer, qtbot, task):
    place = {"scale": (0.5, 0.5), "units": ("um", "um")}
    viewer.add_image(flat(5), name="cells", **place)
    mask = viewer.add_labels(np.eye(64, dtype=np.uint8), name="scratch", **place)
    inputs = Inputs(viewer, task)
    qtbot.addWidget(inputs)
    inputs.reset_choices()
    inputs.mask.value = None
    if task == "deconvolve":
        inputs.known["psf"].sigma.value = "1.5"
    if task != "inpaint":
        assert inputs.sentence() == SENTENCES[task].split(" and fill")[0].split(", without")[0]
    inputs.mask.value = mask
    assert inputs.sentence() == SENTENCES[task]


def test_gain_or_loss_of_slices_together_is_said_before_the_run(viewer, dock, wait):
    a, b = np.random.default_rng(0).normal(0, 1, (2, 48, 48)).repeat(4, 1).repeat(4, 2)
    layer = viewer.add_image(np.stack([a, 2 * a]).astype(np.float32))
    widget = dock()
    assert widget.together.text() == ""
    widget.inputs.where.value = TOGETHER
    wait(lambda: "edges correlate by 1.00: expect a gain" in widget.together.text())
    layer.data = np.stack([a, b]).astype(np.float32)
    widget.reset_choices()
    wait(lambda: "expect a loss" in widget.together.text() or "expect little" in widget.together.text())
    widget.inputs.where.value = ALL_SLICES
    assert widget.together.text() == ""


@pytest.mark.parametrize("rgb", [False, True])
def test_a_black_and_white_image_says_what_is_missing(viewer, dock, rgb):
    cells = viewer.add_image(flat(5).astype(np.uint8), name="cells")
    text = np.full((64, 64), 255, np.uint8)
    text[30:33, 10:50] = 0
    file = viewer.add_image(np.stack([text] * 3, -1) if rgb else text, name="text", rgb=rgb)
    widget = dock("Inpaint")
    assert widget.inputs.image.value is cells, "the mask, which was opened last, is taken for what is to be restored"
    assert "black and white image" in widget._sentence.text()
    sides = dict(widget.inputs.missing._masks())
    assert list(sides) == ["where 'text' is dark", "where 'text' is bright"]
    for side, marked in (("dark", text == 0), ("bright", text > 0)):
        widget.inputs.mask.value = sides[f"where 'text' is {side}"]
        labels = widget.inputs.mask.value
        assert np.array_equal(labels.data, marked)
        assert f"What is {side} in 'text'" in widget.status
        assert f"'{labels.name}' marks in 'cells'" in widget._sentence.text()
    assert cells.visible
    assert not file.visible


@pytest.mark.parametrize("sized", ["cells", "holes"])
def test_a_mask_from_a_file_fills_its_holes_alone(viewer, dock, wait, sized):
    """Of an image of 0.065 um pixels and a mask without a size, 44 of 1755 holes were filled."""
    holes = np.zeros((64, 64), np.uint8)
    holes[30:33, 10:50] = 255
    place = {"scale": (0.065, 0.065), "units": ("um", "um")}
    cells = viewer.add_image(flat(5).astype(np.uint8), name="cells", **(place if sized == "cells" else {}))
    viewer.add_image(holes, name="holes", **(place if sized == "holes" else {}))
    widget = dock("Inpaint")
    widget.inputs.mask.value = dict(widget.inputs.missing._masks())["where 'holes' is bright"]
    assert widget.inputs.image.value is cells
    labels = widget.inputs.mask.value
    assert np.array_equal(labels.scale, cells.scale)
    assert labels.units == cells.units
    assert not widget.inputs.doubt()
    widget.run_button.click()
    wait(lambda: not widget.running)
    (filled,) = restored(viewer)
    assert np.array_equal(filled.data[holes == 0], cells.data[holes == 0])
    assert filled.metadata[METADATA]["missing_pixels"] == 120


def test_the_sentence_says_that_pixels_lie_on_pixels_and_where_layers_disagree(viewer, dock):
    place = {"scale": (0.065, 0.065), "units": ("um", "um")}
    viewer.add_image(flat(5), name="cells", **place)
    marks = viewer.add_labels(np.eye(64, dtype=np.uint8), name="marks")
    widget = dock("Inpaint")
    widget.inputs.mask.value = marks
    assert "Fill what 'marks' marks pixel on pixel in 'cells' (64 x 64" in widget._sentence.text()
    marks.scale, marks.units = (0.1, 0.1), ("um", "um")
    widget.reset_choices()
    assert "'marks' (64 x 64 pixels) does not lie edge on edge over 'cells'" in widget._sentence.text()
    assert widget.run_button.text() == "Run anyway"


def test_the_keys_pass_over_both_sides_of_a_mask_and_one_layer_is_made_of_each(viewer, dock):
    text = np.full((64, 64), 255, np.uint8)
    text[30:33, 10:50] = 0
    viewer.add_image(flat(5), name="cells")
    viewer.add_image(text, name="text")
    widget, other = dock("Inpaint"), dock("Denoise")
    row, seen = widget.inputs.mask, []
    row.changed.connect(lambda mask: seen.append(mask) if isinstance(mask, Labels) else None)
    for key in ("Home", "Down", "Return", "Down", "Return", "Down", "Up", "Up"):
        QTest.keyClick(row.native, getattr(Qt.Key, f"Key_{key}"))
    dark, bright = (layer for layer in viewer.layers if isinstance(layer, Labels))
    assert seen == [dark, bright, dark]
    assert row.value is None
    row.value = bright
    assert (dark.visible, bright.visible) == (False, True)
    assert list(row.choices) == [None, dark, bright]
    assert list(other.inputs.mask.choices) == [None, dark, bright]
    viewer.layers.remove(dark)
    assert list(other.inputs.mask.choices)[2] is bright
    assert row.native.itemText(1) == "where 'text' is dark"


@pytest.mark.parametrize("end", ["Return", "left", "list"])
def test_keys_that_pass_what_would_make_a_layer_make_none(viewer, dock, qtbot, end):
    """However slowly: what is passed waits to be confirmed, and Run says so."""
    text = np.full((64, 64), 255, np.uint8)
    text[30:33, 10:50] = 0
    viewer.add_image(flat(5), name="cells")
    viewer.add_image(text, name="text")
    widget = dock("Inpaint")
    row, part = widget.inputs.mask, widget.inputs.part
    keys(row, "Down", "Down")
    qtbot.wait(600)
    assert [layer.name for layer in viewer.layers] == ["cells", "text"]
    assert widget._sentence.text() == "Press Return to confirm Missing pixels: where 'text' is bright."
    assert not widget.run_button.isEnabled()
    keys(row, "Up", "Up")
    assert row.value is None
    assert "Press" not in widget._sentence.text()
    keys(row, "Down")
    if end == "list":  # a click into the list that is open is no key that passes
        qtbot.wait(1)
        row.value = dict(widget.inputs.missing._masks())["where 'text' is bright"]
    else:
        _confirm(row, end)
    marks = "text bright" if end == "list" else "text dark"
    assert [layer.name for layer in viewer.layers] == ["cells", "text", marks]
    keys(part, "Down", "Down")
    assert part.value == regions.DRAW
    assert widget._sentence.text() == "Press Return to confirm Part: a rectangle that I draw."
    keys(part, "Up", "Down", "Up", "Up")
    assert (part.value, len(viewer.layers)) == (regions.WHOLE, 3)
    assert widget.run_button.isEnabled()
    keys(part, "Down", "Down")
    _confirm(part, end)
    assert [layer.name for layer in viewer.layers][3:] == ["cells part"]


def keys(row, *names):
    for name in names:
        QTest.keyClick(row.native, getattr(Qt.Key, f"Key_{name}"))


def _confirm(row, end):
    if end == "left":
        QApplication.sendEvent(row.native, QFocusEvent(QEvent.Type.FocusOut, Qt.FocusReason.TabFocusReason))
    else:
        keys(row, "Return")


def test_which_label_is_asked_for_where_there_are_several(viewer, dock):
    viewer.add_image(flat(5), name="cells")
    holes = np.zeros((64, 64), np.uint8)
    labels = viewer.add_labels(holes, name="holes")
    widget = dock("Inpaint")
    shown = widget.inputs.label.native.isVisibleTo

    def mark(rows, label):
        labels.data_setitem((np.arange(rows, rows + 3), np.arange(3)), label)
        return shown(widget)

    assert [mark(0, 2), mark(9, 2), mark(20, 5)] == [False, False, True]
    widget.inputs.label.value = 5
    assert mark(20, 0)  # else nobody sees why the mask counts as empty
    widget.inputs.label.value = 0
    assert not shown(widget)
    assert masks.has_several(Labels(dask.array.from_array(holes)))


def test_a_mask_of_few_marks_is_one_and_a_few_greys_are_none(viewer):
    marks = np.zeros((1024, 1024), np.uint8)
    marks[333, 777] = 255
    greys = marks.copy()
    greys[334, 778] = 7
    stack = np.zeros((2, 512, 512), np.uint8)
    stack[1, 100:200, 300] = 1
    for image, two in ((marks, True), (greys, False), (stack, True), (np.stack([marks] * 3, -1), True)):
        assert masks.is_mask(viewer.add_image(image, rgb=image.shape[-1] == 3)) is two


def test_an_image_is_looked_at_once_for_being_a_mask(viewer, monkeypatch):
    looks = []
    monkeypatch.setattr(masks, "has_two_sides", lambda data, rgb: looks.append(data.shape) or True)
    layer = viewer.add_image(np.stack([np.eye(400)] * 2))
    masks.is_mask(layer), masks.is_mask(layer)
    assert looks == [(2, 400, 400)]
    viewer.dims.set_point(0, 1)
    masks.is_mask(layer)
    assert looks == [(2, 400, 400)]
    layer.data = np.eye(500)
    masks.is_mask(layer)
    assert looks == [(2, 400, 400), (500, 500)]


def test_an_array_that_is_changed_in_place_is_looked_at_again(viewer):
    layer = viewer.add_image(np.eye(40))
    assert masks.is_mask(layer)
    layer.data[3, 5] = 0.5
    layer.refresh()
    assert not masks.is_mask(layer)
    layer.data[3, 5] = 1
    layer.refresh()
    assert masks.is_mask(layer)


@pytest.mark.parametrize(
    ("paper", "ink"), [((0, 0, 0), (255, 0, 0)), ((0, 0, 200), (200, 0, 0)), ((9, 8, 7), (7, 8, 9))]
)
def test_a_mask_may_differ_from_its_paper_by_colour_alone(viewer, paper, ink):
    marked = np.zeros((20, 24), bool)
    marked[4:6, 3:20] = True
    layer = viewer.add_image(np.where(marked[..., None], ink, paper).astype(np.uint8), rgb=True)
    assert masks.is_mask(layer)
    brighter = np.dot(ink, (299, 587, 114)) > np.dot(paper, (299, 587, 114))
    assert np.array_equal(masks.marks_in(layer, bright=brighter), marked)
    layer.data[0, 0] = 0, 255, 0
    layer.refresh()
    assert not masks.is_mask(layer), "three colours"


def test_only_what_has_two_values_is_a_mask(viewer, picture):
    for image, two in ((picture, False), (picture > 100, True), (np.zeros((4, 4)), False), (np.eye(4) * 7, True)):
        assert masks.is_mask(viewer.add_image(image)) is two
    assert not masks.is_mask(viewer.add_labels(np.eye(4, dtype=np.uint8)))


def test_a_long_list_of_numbers_shows_its_beginning_and_all_of_it_in_the_tooltip(qtbot):
    form = SettingsForm("inpaint")
    qtbot.addWidget(form)
    field, long = form.row("channels").native, "16, 32, 64, 128, 256, 512"
    form.set(channels="128")
    field.setFixedWidth(90)
    form.show()
    QApplication.sendEvent(field, QHelpEvent(QEvent.Type.ToolTip, QPoint(), QPoint()))
    assert "<b>" not in QToolTip.text(), "all of it can be read"
    field.clear()
    QTest.keyClicks(field, long)
    field.editingFinished.emit()  # without the focus, as after Tab
    assert field.cursorPosition() == 0
    for _ in range(2):  # the same text moves the cursor, too
        form.set(channels=long)
        assert field.cursorPosition() == 0
    QApplication.sendEvent(field, QHelpEvent(QEvent.Type.ToolTip, QPoint(), QPoint()))
    assert QToolTip.text().startswith(f"<b>{long}</b>")
    QToolTip.hideText()
    number = form.row("regulariser_weight").native
    number.setFixedWidth(70)
    for each, text in ((number.findChild(QLineEdit), "0.0123"), (field, "16, 32")):
        each.setFocus()
        each.selectAll()
        QTest.keyClicks(each, text)
        assert each.text() == text, "typed in this order, whether or not the window is the active one"
        form.row("threads").native.setFocus()
        (each.focusProxy() or each).editingFinished.emit()
        assert each.cursorPosition() == 0


def test_what_is_chosen_stays_so_under_another_name(viewer, dock):
    cells, other = viewer.add_image(flat(5), name="cells"), viewer.add_image(flat(5), name="other")
    marks = viewer.add_labels(np.eye(64, dtype=np.uint8), name="scratch")
    part = viewer.add_shapes([np.array([[2, 2], [2, 40], [40, 40], [40, 2]])], name="part")
    inputs = dock("Inpaint").inputs
    inputs.image.value, inputs.mask.value, inputs.part.value, inputs.guide.value = cells, marks, part, other
    told = []
    inputs.mask.changed.connect(told.append)
    for layer in (cells, other, marks, part):
        layer.name += " of today"
    chosen = [row.value for row in (inputs.image, inputs.mask, inputs.part, inputs.guide)]
    assert chosen == [cells, marks, part, other]
    assert not told
    viewer.layers.remove(marks)
    assert told == [None]


def test_a_layer_of_any_name_can_be_chosen(viewer, dock):
    viewer.add_image(flat(5), name="cells")
    none = viewer.add_labels(np.eye(64, dtype=np.uint8), name="none")
    row = dock("Inpaint").inputs.mask
    assert row.native.count() == 2
    for text, chosen in (("none", none), (row.null_string, None)):
        row.native.setCurrentIndex(row.native.findText(text))
        assert row.value is chosen


def test_a_long_name_shows_its_beginning_and_its_end(qtbot):
    names = [f"a name of a layer that is too long for a field, channel {i}" for i in (1, 2)]
    rows = Rows([row := ComboBox(name="image", label="Image", choices=names, tooltip="The image.")])
    qtbot.addWidget(rows)
    rows.resize(260, 40)
    rows.show()
    seen = []
    for name in names:
        row.value = name
        seen.append(QImg2array(row.native.grab().toImage()).astype(float))
    end = slice(seen[0].shape[1] * 2 // 3, None)
    assert np.abs(seen[0] - seen[1])[:, end].max() > 60, "the two names look alike"
    QApplication.sendEvent(row.native, QHelpEvent(QEvent.Type.ToolTip, QPoint(), QPoint()))
    assert names[1] in QToolTip.text()
    assert "The image." in QToolTip.text()
    QToolTip.hideText()


def test_a_result_becomes_the_input_by_hand_alone(viewer, dock, picture):
    result = viewer.add_image(picture, name="cells denoised", metadata={METADATA: {"task": "denoise"}})
    widget = dock()
    assert widget.inputs.image.value is None
    assert not widget.run_button.isEnabled()
    assert "All images here are results: choose one under Image" in widget._sentence.text()
    source = viewer.add_image(picture, name="cells")
    assert widget.inputs.image.value is source
    viewer.layers.remove(source)
    assert widget.inputs.image.value is None
    assert not widget.run_button.isEnabled()
    widget.inputs.image.value = result
    assert widget.run_button.isEnabled()
    widget.reset_choices()
    assert widget.inputs.image.value is result


def test_where_the_chosen_image_goes_no_result_takes_its_place(viewer, dock, picture):
    first = viewer.add_image(picture, name="first")
    second = viewer.add_image(np.flip(picture), name="second")
    viewer.add_image(picture, name="second denoised", metadata={METADATA: {"task": "denoise"}})
    widget = dock()
    widget.inputs.image.value = second
    viewer.layers.remove(second)
    assert widget.inputs.image.value is first


def test_a_mask_that_is_chosen_as_the_image_is_asked_about(viewer, dock, wait):
    """A checkerboard of small fields has noise of a sigma of 63 by the estimate, and had a plain Run."""
    y, x = np.indices((64, 64))
    viewer.add_image(200.0 * ((y // 8 + x // 8) % 2), name="fields")
    widget = dock()
    wait(lambda: not widget.noise.waiting)
    assert "'fields' has two values, as a mask: is it the image?" in widget._sentence.text()
    assert widget.run_button.text() == "Run anyway"
    widget = dock("Inpaint")
    assert "two values" not in widget._sentence.text()
