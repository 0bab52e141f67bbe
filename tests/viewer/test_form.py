"""The form: rows in view have an effect, none changes the method, and what was changed is marked and can be reset."""

import re
import threading
from contextlib import suppress

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractSpinBox, QApplication, QPushButton

from napari_dip import Noise, estimate_noise
from napari_dip.tables.tasks import TASKS
from napari_dip.viewer import masks, noise, samples
from napari_dip.viewer.form import SettingsForm
from napari_dip.viewer.knobrows import AUTOMATIC
from napari_dip.viewer.outlook import doubt_of
from napari_dip.viewer.ownparts import FROM_FILE
from napari_dip.viewer.rows import Section
from tests.viewer.docks import restored

WHITE = Noise(gain=0, offset=0, read_noise=5, sigma=5)


def in_view(form):
    """Names of the rows that the user can reach, once all is unfolded."""
    rows = {name: form.row(name) for name in form._names}
    parts = {name: (row.native, row.native.parentWidget()) for name, row in rows.items()}
    return {name for name, each in parts.items() if not any(part.isHidden() for part in each)}


def others(row):
    """Values that a user can give a row besides the one that it has."""
    if hasattr(row, "choices"):
        return [each for each in row.choices if each not in (row.value, FROM_FILE)]
    if isinstance(row.value, bool):
        return [not row.value]
    if isinstance(row.value, str):
        return ["7"]
    return [row.value + row.step if row.value < row.max else row.min]


@pytest.fixture
def form(qtbot):
    def make(task, noise=WHITE, depth=None):
        made = SettingsForm(task)
        qtbot.addWidget(made)
        made.know(noise, depth)
        return made

    return make


CASES = [("denoise", WHITE, None), ("denoise", None, None), ("inpaint", WHITE, 2.0), ("inpaint", None, 30.0)]
CASES += [("superresolve", WHITE, None), ("deconvolve", WHITE, None)]


@pytest.mark.parametrize(("task", "noise", "depth"), CASES)
def test_no_knob_changes_the_method(form, task, noise, depth):
    made = form(task, noise, depth)
    for method in made.method_row.choices:
        made.method_row.value = method
        before = made.method
        for name in sorted(in_view(made) - {"quality", "device"}):
            for value in others(made.row(name)):
                made.row(name).value = value
                with suppress(ValueError):  # as of even filters: that is said, and Run is off
                    assert made.method == before, f"{name}={value!r}"
            made.reset(name)
            made.method_row.value = method


def test_a_knob_without_effect_is_not_shown(form):
    made = form("denoise")
    made.method_row.value = "similar patches"
    assert in_view(made).isdisjoint({"iterations", "channels", "stop", "seed", "quality", "runs", "code"})
    made.method_row.value = "self-guided"
    assert {"iterations", "channels", "crop"} <= in_view(made)
    assert "skip_channels" not in in_view(made)
    made.method_row.value = "prior"
    assert "crop" not in in_view(made)
    assert "regulariser_weight" not in in_view(made)
    made.set(regulariser="tv")
    assert "regulariser_weight" in in_view(made)


def test_what_was_changed_is_marked_and_reset_singly_and_all(form):
    made = form("denoise")
    before = made.settings()
    made.set(channels="7", recorruption=0.9, seed=3)
    first, rest, _ = made._blocks
    assert first.label_of(made.row("channels")).font().bold()
    assert made.reset_button.text().startswith("3 changed")
    rest._backs["recorruption"].click()
    assert "recorruption" not in made.knobs()
    assert (made.settings().channels, made.settings().seed) == (7, 3)
    made.reset_button.click()
    assert made.settings() == before
    assert made.reset_button.isHidden()


@pytest.mark.parametrize(
    ("task", "chosen", "quality", "said"),
    [
        ("denoise", {"iterations": 120}, "fast", "Iterations was changed; fast would take similar patches."),
        ("denoise", {"iterations": 120, "crop": 32}, "fast", "Crop (px) and Iterations were changed; fast would "),
        ("denoise", {"runs": 3}, "best", "Runs was changed; best would take 2."),
        ("denoise", {"runs": 3}, "balanced", ""),
        ("denoise", {"seed": 3}, "fast", ""),
        ("inpaint", {"iterations": 900, "channels": "4"}, "fast", "Iterations was changed; fast would take 500."),
    ],
)
def test_a_row_that_keeps_the_quality_from_what_it_would_do_is_named(form, task, chosen, quality, said):
    """With iterations of one's own, fast did nothing and nothing said so."""
    made = form(task)
    made.set(**chosen)
    made.row("quality").value = quality
    assert made.note.isHidden() == made.let_button.isHidden() == (not said)
    assert said in made.note.text()
    if said:
        made.let_button.click()
        assert made.note.isHidden()
        named = [name for name in chosen if made.row(name).label in said]
        assert set(made.knobs()) == {"preset", "quality", "device", *chosen} - {*named}


def test_iterations_above_what_an_image_needs_are_told(viewer, wait, picture):
    viewer.add_image(picture)
    widget = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")[1]
    widget.form.set(preset="denoise-self")
    wait(lambda: not widget.noise.waiting)
    assert "are set" not in widget._sentence.text(), "the preset has 4000"
    widget.form.set(iterations=5000)
    (most,) = re.findall(r"at most (\d+) iterations", widget._sentence.text())
    assert widget._sentence.text().endswith(f" Of the 5000 iterations that are set, this image needs {most}.")
    widget.form.set(iterations=int(most) - 1)
    assert "are set" not in widget._sentence.text()
    assert "automatic" not in widget._sentence.text()
    widget.form.set(iterations=round(0.19 * int(most)))
    assert widget._sentence.text().endswith(f" That is 19 % of the automatic {most}, and may be too short.")
    widget.form.reset("iterations")
    widget.form.set(quality="fast")
    assert "automatic" not in widget._sentence.text()


def test_no_method_is_shown_before_the_noise_is_known(viewer, dock, wait, picture, monkeypatch):
    known = threading.Event()
    estimate = noise._estimate
    monkeypatch.setattr(noise, "_estimate", lambda *asked: (known.wait(60), estimate(*asked))[1])
    viewer.add_image(np.tile(picture, (5, 4)), name="cells")
    widget = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")[1]
    row, stop = widget.form.method_row.native, widget.form.row("stop").native
    try:
        wait(lambda: widget.noise.waiting)
        assert row.currentText() == stop.currentText() == "finding the noise..."
        assert "The method is chosen once the noise is known." in widget._sentence.text()
        widget.form.method_row.value = "prior"
        assert row.currentText() == "prior"
        widget.form.method_row.value = "automatic"
        assert row.currentText() == "finding the noise..."
    finally:
        known.set()
    wait(lambda: not widget.noise.waiting)
    assert row.currentText().startswith("auto: ")
    assert "finding" not in stop.currentText()


def test_the_wheel_changes_a_row_only_where_it_was_clicked(viewer, dock, picture):
    viewer.add_image(picture)
    widget = dock()
    row = widget.form.row("iterations")
    field, before = row.native, row.value

    def turn():
        at, down = QPointF(5, 5), QPoint(0, -120)
        buttons, keys = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
        event = QWheelEvent(at, at, down, down, buttons, keys, Qt.ScrollPhase.NoScrollPhase, False)
        QApplication.sendEvent(field, event)

    turn()
    assert row.value == before
    assert field.focusPolicy() == Qt.FocusPolicy.StrongFocus


def test_the_noise_is_not_told_where_nothing_depends_on_it(viewer, dock, wait, picture):
    viewer.add_image(picture)
    for name, matters in (("Enhance", True), ("Remove JPEG artefacts", False)):
        widget = dock(name)
        wait(lambda widget=widget: not widget.noise.waiting and widget.run_button.isEnabled())
        assert widget.noise.isHidden() != matters


def test_an_empty_mask_turns_run_off_until_something_is_painted(viewer, dock, picture):
    viewer.add_image((10 * picture).astype(np.uint16), name="cells")
    widget = dock("Inpaint")
    widget.inputs.missing.new_mask.native.click()
    assert "Paint on what is missing first" in widget._sentence.text()
    assert not widget.run_button.isEnabled()
    viewer.layers["cells mask"].paint((4, 4), 1)
    assert widget.run_button.isEnabled()


def test_an_empty_mask_turns_run_off_for_decimal_numbers_too(viewer, dock, wait, picture):
    """Pixels might have been NaN there, and Run was on, to fail."""
    viewer.add_image(picture, name="cells")
    widget = dock("Inpaint")
    widget.inputs.missing.new_mask.native.click()
    assert "Paint on what is missing first" in widget._sentence.text()  # at once, also before the noise is known
    assert not widget.run_button.isEnabled()
    mask = viewer.layers["cells mask"]
    mask.paint((4, 4), 1)
    wait(lambda: not widget.noise.waiting)
    assert widget.run_button.isEnabled()
    mask.translate = (100, 0)
    widget._on_step()
    mask.data = mask.data  # as a stroke
    wait(lambda: "Nothing is missing in 'cells', and no pixel is NaN: choose what marks" in widget._sentence.text())
    assert not widget.run_button.isEnabled()


def test_an_image_of_few_pixels_is_asked_about(viewer, dock, picture):
    """One of 2 x 2 was denoised without a word."""
    viewer.add_image(picture[:2, :2], name="tiny")
    widget = dock()
    few = "There are 2 x 2 pixels, too few to tell noise from structure."
    assert widget._sentence.text().startswith(few)
    assert widget.run_button.text() == "Run anyway"
    widget.inputs.camera.rows["read_noise"].value = "10"
    assert widget.run_button.text() == "Run"
    widget.inputs.camera.rows["read_noise"].value = ""
    widget.inputs.image.value = viewer.add_image(np.stack([picture[:16, :16]] * 9), name="many")
    assert few[-20:] in widget.inputs.doubt()
    widget.inputs.where.value = "all slices, one after the other"
    assert not widget.inputs.doubt()


@pytest.mark.parametrize("name", ["Inpaint", "Remove JPEG artefacts"])
def test_few_pixels_are_not_asked_about_where_noise_has_no_part(viewer, dock, picture, name):
    viewer.add_image(picture[:2, :2], name="tiny")
    assert "too few" not in dock(name).inputs.doubt()


@pytest.mark.parametrize(("name", "looks"), [("Denoise", False), ("Inpaint", True)])
def test_labels_are_looked_through_only_where_holes_are_filled(viewer, dock, picture, monkeypatch, name, looks):
    viewer.add_image(picture, name="cells")
    marks, looked = viewer.add_labels(np.ones(picture.shape, np.uint8), name="marks"), []
    monkeypatch.setattr(masks, "is_empty", lambda *asked: looked.append(asked))
    dock(name).inputs.mask.value = marks
    assert bool(looked) is looks


def test_labels_that_cover_a_mirrored_image_or_one_of_colours_are_not_doubted(viewer, dock, picture):
    colours = np.random.default_rng(0).integers(0, 255, (*picture.shape, 3), dtype=np.uint8)
    widget = dock("Inpaint")
    for name, data, place in (
        ("mirrored", picture, {"scale": (-1, 1), "translate": (19, 0)}),
        ("coloured", colours, {"rgb": True}),
    ):
        widget.inputs.image.value = viewer.add_image(data, name=name, **place)
        widget.inputs.mask.value = viewer.add_labels(np.tri(20, 24, dtype=np.uint8), name=f"marks of {name}")
        assert "edge on edge" not in widget.inputs.doubt()


@pytest.mark.parametrize("scale", [1, 0.5])
def test_labels_that_do_not_lie_over_the_image_are_asked_about(viewer, dock, picture, scale):
    """What they do not cover was known without a word."""
    viewer.add_image(picture, name="cells")
    small = np.ones((10, 12), np.uint8)
    small[:2] = 0
    widget = dock("Inpaint")
    widget.inputs.mask.value = viewer.add_labels(small, name="marks", scale=(scale, scale))
    assert "'marks' (10 x 12 pixels) does not lie edge on edge over 'cells' (20 x 24 pixels)" in widget.inputs.doubt()
    assert widget.run_button.text() == "Run anyway"
    widget.inputs.mask.value = viewer.add_labels(small, name="coarse", scale=(2, 2), translate=(0.5, 0.5))
    assert not widget.inputs.doubt()
    widget.inputs.mask.value = viewer.add_labels(np.ones((19, 24), np.uint8), name="one row less")
    assert not widget.inputs.doubt()


def test_a_mask_that_leaves_next_to_nothing_is_suspected(viewer, dock, wait, picture):
    viewer.add_image(picture, name="cells")
    inverted = np.ones(picture.shape, np.uint8)
    inverted[:5, :5] = 0
    widget = dock("Inpaint")
    widget.inputs.mask.value = viewer.add_labels(inverted)
    wait(lambda: not widget.noise.waiting)
    assert "95% of the pixels count as missing: if the mask shows what is known" in widget._sentence.text()
    assert widget.run_button.isEnabled()
    assert widget.run_button.text() == "Run anyway"


def test_an_image_that_shows_hardly_any_noise_is_asked_about(viewer, dock, wait):
    viewer.add_image(np.sin(np.indices((64, 64))[1] / 9).astype(np.float32))
    widget = dock()
    wait(lambda: "Hardly any noise found: denoising may only blur." in widget._sentence.text())
    assert widget.run_button.text() == "Run anyway"


@pytest.mark.parametrize("kind", ["checkerboard", "spot", "spots", "few pixels"])
def test_no_noise_is_asked_about_whatever_else_is_said_of_it(kind):
    """A warning that the noise is a guess or weaker, and a gain that slopes look like, stood against asking."""
    y, x = np.indices((192, 192))
    image = {
        "checkerboard": 200.0 * ((y // 16 + x // 16) % 2),
        "spot": 1000 * np.exp(-((y - 96) ** 2 + (x - 96) ** 2) / 800),
        "spots": samples.fluorescence()[0][0],
        "few pixels": 100.0 * (x[:12, :12] > 5),
    }[kind]
    noise = estimate_noise(image)
    assert noise.warning or noise.gain
    assert doubt_of("denoise", noise, short=False)


@pytest.mark.parametrize("kind", ["bright cells", "bright spots", "hot pixels"])
def test_noise_that_structure_hides_is_not_called_none(kind):
    rng, (y, x) = np.random.default_rng(0), np.indices((96, 96))
    if kind == "bright cells":
        cells = sum(np.exp(-((y - at) ** 2 + (x - at) ** 2) / 128) for at in (32, 72))
        image = rng.normal(rng.poisson(20.0 * (x % 12 < 2) + 20_000 * cells), 3)
    elif kind == "bright spots":
        spots = sum(np.exp(-((y - i) ** 2 + (x - j) ** 2) / 30) for i, j in ((20, 20), (20, 70), (70, 30), (60, 80)))
        image = rng.poisson(2 + 100_000 * spots).astype(float)
    else:
        image = rng.normal(100.0 * (x > 5), 0.1)
        image[rng.random(image.shape) < 0.01] = 1000
    noise = estimate_noise(image)
    assert noise.contrast > 75
    assert not doubt_of("denoise", noise, short=False)


def test_the_image_that_is_the_point_spread_function_is_not_restored(viewer, dock, picture):
    viewer.add_image(picture, name="bead")
    widget = dock("Deconvolve")
    widget.inputs.known["psf"].layer.value = viewer.layers["bead"]
    assert "choose another image" in widget._sentence.text()
    assert not widget.run_button.isEnabled()


def test_the_sentence_before_and_during_a_run_is_that_of_the_plan_that_runs(viewer, wait, hold, picture):
    held = hold("napari_dip.viewer.findings.restore", lambda progress: True)
    image = (10 * picture).astype(np.uint16)
    viewer.add_image(image, name="cells")
    shallow = np.zeros(image.shape, np.uint8)
    shallow[5:7, 5:7] = 1
    labels = viewer.add_labels(shallow, name="holes")
    widget = viewer.window.add_plugin_dock_widget("napari-dip", "Inpaint")[1]
    widget.inputs.mask.value = labels
    wait(lambda: not widget.noise.waiting)
    assert "similar patches alone" in widget._sentence.text()
    labels.data[3:19, 3:19] = 1
    labels.refresh()
    wait(lambda: not widget.noise.waiting)
    assert "a prior" in widget._sentence.text()
    widget.form.set(channels="4", iterations=5, scales=2)
    widget.run()
    wait(held.is_set)
    widget.stop()
    assert "at most 5 iterations" in widget._sentence.text()
    wait(lambda: not widget.running)
    assert restored(viewer)


def test_rows_are_made_where_they_unfold_and_hold_what_was_taken_before(form):
    made = form("denoise")
    made.prefer("cpu", 3)
    assert not made.findChildren(QAbstractSpinBox), "half of what a dock takes to open"
    made.method_row.value = "self-guided"
    made.take({"seed": 7, "stop": "iterations"})
    for section in made.findChildren(Section):
        section.expand()
    rows = {name: made.row(name).value for name in ("seed", "stop", "device", "threads", "preset")}
    assert rows == {"seed": 7, "stop": "iterations", "device": "cpu", "threads": 3, "preset": "auto"}
    assert made.reset_button.text().startswith("2 changed")
    assert made.knobs() == {"preset": "auto", "quality": "balanced", "device": "cpu", "seed": 7, "stop": "iterations"}


def test_the_focus_stays_where_a_section_unfolds_and_a_number_is_written(form, qtbot):
    made = form("denoise")
    made.show()
    made.activateWindow()
    qtbot.waitUntil(made.isActiveWindow)
    for section in made.findChildren(Section):
        heading = section.findChild(QPushButton)
        heading.setFocus()
        QTest.keyClick(heading, Qt.Key.Key_Space)
        assert made.focusWidget() is heading
        made.set(iterations=made.row("iterations").value - 1)
        assert made.focusWidget() is heading
        rows = [made.method_row, *made._rows.values()]
        first = next(row.native for row in rows if section.isAncestorOf(row.native) and row.native.isVisible())
        QTest.keyClick(heading, Qt.Key.Key_Tab)
        assert made.focusWidget() is first


@pytest.mark.parametrize("name", ["channels", "iterations"])
def test_a_row_is_reset_though_others_make_no_sense(form, name):
    made = form("denoise")
    before = made.settings()
    made.set(channels="8, 16, 24, 24", iterations=77)
    made.set(scales=3)
    with pytest.raises(ValueError, match="has 4 values for scales=3"):
        made.settings()
    made.reset(name)
    assert name not in made._touched
    made.reset("channels")
    assert (made.settings().channels, made.row("channels").value) == (before.channels[:3], "16, 32, 48")
    made.reset()
    assert made.settings() == before


@pytest.mark.parametrize("task", TASKS)
def test_each_method_of_a_task_can_be_chosen(form, task):
    made = form(task)
    for method in made.method_row.choices[1:]:
        made.method_row.value = method
        assert made.method == method
        made.method_row.value = AUTOMATIC
        assert made.automatic


def test_a_preset_lets_go_of_what_has_no_effect_with_it(form):
    made = form("denoise")
    made.set(iterations=500, tile=128)
    made.set(preset="denoise-patches")
    assert (made.settings().tile, made.settings().method.name) == (128, "similar patches")
    made.set(preset="denoise-small")
    assert (made.settings().tile, made.settings().iterations) == (128, 1500)


@pytest.mark.parametrize("key", [Qt.Key.Key_Return, Qt.Key.Key_Tab])
def test_a_number_that_is_typed_stays_and_is_marked(form, key):
    made = form("denoise")
    made.method_row.value = "self-guided"

    def follow():  # as the window does
        with suppress(ValueError):
            made.show_for(made.settings().iterations, many=False)

    made.changed.connect(follow)
    rows = {name: made.row(name) for name in made._names if name in made.settings_in_view()}
    numbers = {name: row for name, row in rows.items() if hasattr(row, "step")}
    assert {"iterations", "seed", "runs"} <= set(numbers)
    for name, row in numbers.items():
        before, value = row.value, others(row)[0]
        typed = 60 if name == "iterations" else value
        edit = row.native.lineEdit()
        edit.selectAll()
        QTest.keyClicks(edit, str(typed))
        QTest.keyClick(edit, key)
        assert row.value == pytest.approx(typed), name
        assert any(block.label_of(row).font().bold() for block in made._blocks if name in block.names), name
        made.reset(name)
        assert row.value == before, name


@pytest.mark.parametrize(("value", "why"), [(np.nan, "no known pixel"), (0.0, "All pixels of 'cells' are 0")])
def test_an_image_of_nothing_turns_run_off_until_another_slice_is_chosen(viewer, dock, wait, picture, value, why):
    viewer.add_image(np.stack([np.full_like(picture, value), picture]), name="cells")
    viewer.dims.set_point(0, 0)
    widget = dock()
    wait(lambda: why in widget._sentence.text())
    assert not widget.run_button.isEnabled()
    widget.inputs.where.value = "all slices, one after the other"
    wait(lambda: not widget.noise.waiting)
    assert widget.run_button.isEnabled()


def test_what_another_run_chose_is_taken_where_no_row_was_unfolded_yet(viewer, picture):
    viewer.add_image(picture)
    widget = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")[1]
    chosen = {"code": "uniform", "runs": 2, "channels": 16, "iterations": 5}
    widget.form.take(chosen)
    assert {name: getattr(widget.form.settings(), name) for name in chosen} == chosen


def test_rows_say_what_runs_after_a_value_that_one_of_them_refuses(form):
    """The row of the iterations showed 77, and 1500 were taken."""
    made = form("denoise")
    with suppress(ValueError):
        made.take({"preset": "denoise-small", "iterations": 77, "runs": 10**9})
    assert made.row("iterations").value == made.settings().iterations == 77
