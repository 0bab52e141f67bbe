"""Go through a tutorial as its page says, and take its picture: ``python docs/tutorials.py [NAME...]``.

A reader clicks and types in the real window, and finds what the page names by what is written on it. After each one
the screen is looked at in both themes and two sizes: no text is cut off, what can be pressed differs from what cannot,
and the canvas shows the result. Without a screen run it under ``xvfb-run -a -s "-screen 0 1400x900x24"``.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import napari
import numpy as np
import tifffile
from napari._qt.dialogs.qt_notification import NapariQtNotification
from napari._qt.utils import QImg2array
from qtpy.compat import isalive
from qtpy.QtCore import QPoint, QPointF, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QApplication,
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDockWidget,
    QFileDialog,
    QInputDialog,
    QLabel,
    QLineEdit,
    QMessageBox,
    QScrollArea,
    QSlider,
    QWidget,
)

from napari_dip.core import fit, solve
from napari_dip.plan import cost
from napari_dip.run import run
from napari_dip.viewer.comparing import camera_of
from napari_dip.viewer.samples import fluorescence
from napari_dip.viewer.saving import read_image

HERE = Path(__file__).parent
SIZES = (1400, 900), (1280, 720)
THEMES = "dark", "light"
LEFT = Qt.MouseButton.LeftButton
PATIENCE = 1800.0  # seconds


class Reader:
    """Somebody before the window, who knows what the page says and sees what is on the screen.

    Parameters
    ----------
    viewer : napari.Viewer
    hurry : dict
        Knobs, by name, that make a run short: for a test.
    """

    def __init__(self, viewer: napari.Viewer, hurry: dict[str, Any] | None = None) -> None:
        self.viewer, self.hurry = viewer, hurry or {}
        self.window: Any = viewer.window._qt_window
        self.dock: Any = None  # the one that was opened last
        self._stuck = ""  # why what is waited for cannot come about
        self.patience = 300.0 if self.hurry else PATIENCE
        self.window.resize(*SIZES[0])  # napari may remember one in which docks leave the canvas no room

    # -- menus and dialogs --------------------------------------------------------------------------------------

    def opens(self, *menu: str) -> None:
        """Choose an entry of a menu, level by level, with clicks."""
        bar = self.window.menuBar()
        before = set(self.docks())
        level: Any = bar
        for words in menu:
            there = {_plain(each.text()): each for each in level.actions()}
            entry = next((there[each] for each in there if each.startswith(words)), None)
            assert entry is not None, f"there is no {words!r} in the menu, but {[*there]}"
            if level is not bar:  # napari fills menus as they show
                self.until(level.isVisible)
            QTest.mouseClick(level, LEFT, pos=level.actionGeometry(entry).center())
            pause(0.05)
            level = entry.menu() or level
        new = [each for each in self.docks() if each not in before]
        self.dock = new[0] if new else self.dock

    def names_file(self, path: Path) -> None:
        """Type the name of a file into the dialog that the next click opens, and confirm it."""

        def type_it(tries: int = 60) -> None:
            dialog = QApplication.activeModalWidget()
            if tries:  # first, for a dialog that is not there or laid out yet sees nothing of what follows
                QTimer.singleShot(500, lambda: again(dialog if isinstance(dialog, QFileDialog) else None, tries - 1))
            elif isinstance(dialog, QDialog):
                self._stuck = f"the dialog does not take {str(path)!r}, but shows: {_texts(dialog)}"
                return dialog.reject()
            if isinstance(dialog, QMessageBox):
                return dialog.accept()
            field = dialog.findChild(QLineEdit, "fileNameEdit") if isinstance(dialog, QFileDialog) else None
            if field is None or not field.isVisible():
                return None
            field.setCompleter(None)  # its list would lie over the button
            field.setText("")
            QTest.keyClicks(field, str(path))
            if field.text() != str(path):
                return None  # keys were lost, as on a busy machine: once more
            box = dialog.findChild(QDialogButtonBox)
            button = next(b for b in box.buttons() if box.buttonRole(b) == QDialogButtonBox.ButtonRole.AcceptRole)
            return QTest.mouseClick(button, LEFT)

        def again(dialog: QWidget | None, tries: int) -> None:
            if dialog is None or (isalive(dialog) and dialog.isVisible()):
                type_it(tries)

        QTimer.singleShot(400, type_it)

    def takes_part(self, words: str, path: Path, name: str) -> None:
        """Choose a name in a Python file in the row of a part of one's own."""

        def confirm(tries: int = 120) -> None:
            dialog = QApplication.activeModalWidget()
            if not isinstance(dialog, QInputDialog):
                return QTimer.singleShot(500, lambda: confirm(tries - 1)) if tries else None
            field = dialog.findChild(QLineEdit)
            QTest.keySequence(field, "Ctrl+A")
            QTest.keyClicks(field, name)
            return QTest.keyClick(field, Qt.Key.Key_Return)

        self.names_file(path)
        QTimer.singleShot(800, confirm)
        self.chooses(words, "a Python file")
        chosen = self.finds(QComboBox, words).currentText()
        assert chosen == f"{path}:{name}", f"{words!r} is {chosen!r}"

    # -- the dock -----------------------------------------------------------------------------------------------

    def docks(self) -> list[QWidget]:
        """Docks of ours."""
        docks = self.viewer.window.dock_widgets.values()
        return [each for each in docks if type(each).__module__.startswith("napari_dip")]

    def finds(self, kind: type[QWidget], words: str) -> Any:
        """What is written or called so in the dock, brought into view."""
        there = [each for each in self.dock.findChildren(kind) if self.sees(each)]
        found = [each for each in there if _named(each, words) and (kind is QLabel or not isinstance(each, QLabel))]
        exact = [each for each in found if words == _words(each)[0]]
        if not found:
            raise LookupError(f"there is no {words!r} in the dock, but {sorted({_words(each)[0] for each in there})}")
        widget: Any = (exact or found)[0]
        around = widget.parent()
        while around is not None:
            if isinstance(around, QScrollArea):
                around.ensureWidgetVisible(widget)
            around = around.parent()
        pause(0.02)
        return widget

    def sees(self, widget: QWidget) -> bool:
        """True if a widget is on the screen, or can be scrolled to."""
        return widget.isVisibleTo(self.window)

    def presses(self, words: str) -> None:
        """Click a button that can be pressed."""
        button = self.finds(QAbstractButton, words)
        self.until(button.isEnabled)
        QTest.mouseClick(button, LEFT)
        pause(0.05)

    def ticks(self, words: str) -> None:
        """Click a box."""
        box = self.finds(QCheckBox, words)
        QTest.mouseClick(box, LEFT, pos=QPoint(8, box.height() // 2))
        pause(0.05)

    def chooses(self, words: str, choice: str) -> None:
        """Choose an entry of a row, with the keys."""
        row = self.finds(QComboBox, words)
        offered = [row.itemText(i) for i in range(row.count())]
        begins = [text for text in offered if text.startswith(choice)]
        assert begins, f"{words!r} offers no {choice!r}, but {offered}"
        steps = offered.index(choice if choice in begins else begins[0])
        row.setFocus()
        QTest.keyClick(row, Qt.Key.Key_Home)
        for _ in range(steps):
            QTest.keyClick(row, Qt.Key.Key_Down)
        QTest.keyClick(row, Qt.Key.Key_Return)  # as what makes a layer wants it
        pause(0.05)

    def types(self, words: str, text: str) -> None:
        """Type into a row, in place of what is there."""
        row = self.finds(QWidget, words)
        field = row if isinstance(row, QLineEdit) else row.findChild(QLineEdit)
        QTest.mouseClick(field, LEFT)
        QTest.keySequence(field, "Ctrl+A")
        QTest.keyClicks(field, text)
        QTest.keyClick(field, Qt.Key.Key_Return)
        pause(0.05)

    def slides(self, words: str, clicks: int) -> None:
        """Move a slider, with the keys."""
        row = self.finds(QWidget, words)
        slider = row if isinstance(row, QSlider) else row.findChild(QSlider)
        for _ in range(abs(clicks)):
            QTest.keyClick(slider, Qt.Key.Key_PageUp if clicks > 0 else Qt.Key.Key_PageDown)
        pause(0.3)

    def reads(self, words: str) -> str:
        """Find a sentence on the screen, also one that is still to come."""
        found: list[str] = []

        def there() -> bool:
            texts = [each.text() for each in self.dock.findChildren(QLabel) if self.sees(each)]
            found[:] = [each for each in texts if words in each]
            return bool(found)

        self.until(there)
        return found[0]

    def runs(self, **typed: Any) -> Any:
        """Press Run, wait until it is over, and return the newest layer that was restored.

        In a hurry the knobs that are `typed` on the page keep their values.
        """
        if self.hurry:
            self.dock.form.set(**self.hurry | typed)
        self.presses("Run")
        self.waits()
        made = [each for each in self.viewer.layers if "stop_reason" in self.record(each)]
        assert made, f"nothing was restored: {self.dock.status}"
        return made[-1]

    @staticmethod
    def record(layer: Any) -> dict[str, Any]:
        """What a layer says of how it was made."""
        return dict(layer.metadata.get("napari-dip", {}))

    def waits(self) -> None:
        """Wait until the run is over: there is nothing left to stop."""
        stop = self.finds(QAbstractButton, "Stop")
        self.until(stop.isEnabled, 60)
        self.until(lambda: not stop.isEnabled())
        pause(0.3)

    def until(self, condition: Callable[[], bool], seconds: float | None = None) -> None:
        """Wait for something."""
        end = time.monotonic() + (seconds or self.patience)
        while not condition():
            late = f"it did not come about within {seconds or self.patience:.0f} s" * (time.monotonic() > end)
            if self._stuck or late:
                raise TimeoutError(
                    f"{self._stuck or late}; layers {list(self.viewer.layers)}; the dock says: {_texts(self.dock)}"
                )
            pause(0.05)

    # -- the curve and the canvas -------------------------------------------------------------------------------

    def drags_line(self, to: float) -> None:
        """Drag the line of the curve to a share of the run, from where it is."""
        plot = self.dock.curve.plot
        self.finds(type(plot), "Curve of the run")
        row = plot._rows[-1]
        box = row.plot.getViewBox()

        def at(iteration: float) -> QPoint:
            scene = box.mapViewToScene(QPointF(iteration, np.mean(box.viewRange()[1])))
            return plot.mapFromScene(scene)

        low, high = box.viewRange()[0]
        begin, end = at(row.marker.value()), at(low + to * (high - low))
        drags(plot.viewport(), begin, end)

    def draws_rectangle(self, low: tuple[float, float], high: tuple[float, float]) -> None:
        """Drag a rectangle on the canvas, between two places (y, x) in pixels of the active layer's image."""
        canvas = self.window._qt_viewer.canvas
        places = []
        for y, x in (low, high):
            camera = camera_of(self.viewer)
            centre, zoom = np.array(camera.center[-2:]), camera.zoom
            size = np.array([canvas.native.height(), canvas.native.width()])
            at = (np.array([y, x]) - centre) * zoom + size / 2
            places.append(QPoint(round(at[1]), round(at[0])))
        drags(canvas.native, *places)

    def starts_again(self) -> None:
        """Close the window, and open another one."""
        self.viewer.close()
        self.viewer = window()
        self.window, self.dock = self.viewer.window._qt_window, None

    def picks(self, name: str) -> None:
        """Select a layer by its name."""
        self.viewer.layers.selection.active = self.viewer.layers[name]
        pause(0.05)

    # -- what is on the screen ----------------------------------------------------------------------------------

    def looks(self, picture: str) -> None:
        """Look at the screen in each theme and size; the first is the picture of the page. In a hurry look once."""
        themes, sizes = (THEMES[1:], SIZES[1:]) if self.hurry else (THEMES, SIZES)
        for theme in themes:
            self.viewer.theme = theme
            for size in sizes:
                self.window.resize(*size)
                for note in self.window.findChildren(NapariQtNotification):
                    note.close()  # it has been read
                pause(0.4)
                there = self.window.width(), self.window.height()
                assert there == size, f"the window asks for {there}, which a screen of {size} has not"
                self._check(f"{theme}, {size[0]}x{size[1]}")
                if not self.hurry:
                    first = (theme, size) == (themes[0], sizes[0])
                    name = picture if first else f"{picture}-{theme}-{size[0]}x{size[1]}"
                    folder = HERE if first else Path(tempfile.gettempdir())
                    self.viewer.screenshot(str(folder / f"{name}.png"), canvas_only=False, flash=False)
        self.viewer.theme = THEMES[0]
        self.window.resize(*SIZES[0])
        pause(0.2)

    def _check(self, where: str) -> None:
        self.window.grab()
        for area in self.dock.findChildren(QScrollArea):
            bar = area.horizontalScrollBar()
            hidden = area.horizontalScrollBarPolicy() == Qt.ScrollBarPolicy.ScrollBarAlwaysOff
            assert not (hidden and bar.maximum()), f"{where}: {area.accessibleName()!r} is {bar.maximum()} px too wide"
        cut = [*cut_off(_dock_of(self.dock), self.window)]
        assert not cut, f"{where}: cut off are {cut}"
        there = {_plain(each.text()): each for each in self.dock.findChildren(QAbstractButton)}
        able = there.get("Run") or there["Draw"]
        assert contrast(able) > 60, f"{where}: {able.text()} can hardly be read"
        if unable := there.get("Stop"):
            assert contrast(able) > 1.3 * contrast(unable), f"{where}: {able.text()} looks no better than Stop"

    def sees_difference(self, one: str, other: str) -> float:
        """Mean difference of the canvas between two layers, of 255, each shown alone."""
        before, seen = {layer: layer.visible for layer in self.viewer.layers}, []
        for name in (one, other):
            for layer in self.viewer.layers:
                layer.visible = layer.name == name
            pause(0.2)
            seen.append(self.viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(float))
            assert seen[-1].std() > 5, f"the canvas shows nothing of {name!r}"
        for layer, visible in before.items():
            layer.visible = visible
        pause(0.1)
        return float(np.abs(seen[0] - seen[1]).mean())


def window() -> napari.Viewer:
    """A new window."""
    viewer = napari.Viewer(title="napari-dip")
    viewer.window.resize(*SIZES[0])
    pause(0.5)
    return viewer


def pause(seconds: float) -> None:
    """Let the window live for a while."""
    end = time.monotonic() + seconds
    while True:
        QApplication.processEvents()
        if time.monotonic() > end:
            return
        time.sleep(0.01)


def drags(widget: QWidget, begin: QPoint, end: QPoint) -> None:
    """Press, move in steps, and let go."""
    QTest.mouseMove(widget, begin)
    QTest.mousePress(widget, LEFT, pos=begin)
    for share in np.linspace(0, 1, 12):
        QTest.mouseMove(widget, begin + (end - begin) * float(share))
        pause(0.06)
    QTest.mouseRelease(widget, LEFT, pos=end)
    pause(0.2)


def cut_off(dock: QWidget, window: QWidget) -> Iterator[str]:
    """Texts of labels and buttons that have less room than they need."""
    for widget in dock.findChildren(QWidget):
        if not isinstance(widget, (QLabel, QAbstractButton)) or not widget.isVisibleTo(window):
            continue
        text = _plain(widget.text())
        if not text or (isinstance(widget, QLabel) and "\n" in text):  # a table scrolls
            continue
        measure, room = widget.fontMetrics(), widget.contentsRect()
        if isinstance(widget, QLabel) and widget.wordWrap():
            words = [] if Qt.mightBeRichText(text) else text.split()
            longest = max((measure.horizontalAdvance(word) for word in words), default=0)
            need = longest, widget.heightForWidth(widget.width())
            if need[0] > room.width() + 1 or need[1] > widget.height() + 2:
                yield f"{text!r} ({need} in {room.width()} x {widget.height()})"
        elif (longest := max(map(measure.horizontalAdvance, text.split("\n")))) > room.width() + 1:
            yield f"{text!r} ({longest} in {room.width()})"


def contrast(widget: QWidget) -> float:
    """Difference between text and background, of 255."""
    grey = pixels(widget).mean(-1)
    return float(np.abs(grey - np.median(grey)).max())


def pixels(widget: QWidget) -> np.ndarray:
    """What a widget looks like, (y, x, 3)."""
    return np.asarray(QImg2array(widget.grab().toImage()), float)[..., :3]


def _dock_of(widget: QWidget) -> QWidget:
    """The dock around a widget, with its heading."""
    while not isinstance(widget, QDockWidget):
        widget = widget.parentWidget()
    return widget


def _texts(widget: QWidget | None) -> list[str]:
    """All that can be read in a widget."""
    there = [] if widget is None else widget.findChildren((QLabel, QLineEdit, QAbstractButton))
    return [each.text() for each in there if each.isVisible() and each.text()]


def _plain(text: str) -> str:
    return text.replace("&", "").lstrip("▸▾ ")


def _named(widget: QWidget, words: str) -> bool:
    return any(each.startswith(words) for each in _words(widget))


def _words(widget: Any) -> tuple[str, ...]:
    """What is written on a widget, and how it is called."""
    text = _plain(widget.text()) if isinstance(widget, (QLabel, QAbstractButton)) else ""
    return text or widget.accessibleName(), widget.accessibleName(), text


# -- the tutorials ----------------------------------------------------------------------------------------------


def denoise(reader: Reader, folder: Path) -> None:
    """docs/denoise.md and what docs/window.md adds, to the same image again in a new window."""
    image = next(data for data, keywords, _ in fluorescence() if keywords.get("visible", True))
    if reader.hurry:
        image = image[:48, :64]
    tifffile.imwrite(folder / "cells.tif", image)
    reader.names_file(folder / "cells.tif")
    reader.opens("File", "Open File(s)")
    reader.opens("Plugins", "napari-dip", "Denoise")
    reader.reads("Noise:")
    result = reader.runs()
    _is_restored(reader, result, "cells denoised", source="cells")
    assert reader.sees_difference("cells", "cells denoised") > 1
    _side_by_side(reader)
    reader.presses("Curve (")
    reader.presses("Curve (")
    reader.looks("denoise")
    reader.ticks("Side by side")

    reader.drags_line(0.2)  # another moment
    reader.reads("is shown in the preview")
    reader.presses("Keep this")
    (kept,) = [each for each in reader.viewer.layers if reader.record(each).get("bits") == 16]
    assert not np.array_equal(kept.data, result.data)
    reader.presses("Back to the result")

    saved = _saved(reader, result, folder)

    reader.chooses("Part", "a rectangle that I draw")
    height, width = image.shape
    reader.draws_rectangle((height / 4, width / 4), (height * 3 / 4, width * 3 / 4))
    part = reader.runs()
    assert "(part)" in part.name
    assert all(abs(n - whole / 2) <= 2 for n, whole in zip(part.data.shape, image.shape, strict=True)), part.data.shape
    reader.presses("Apply to all of 'cells'")
    reader.waits()
    again = [each for each in reader.viewer.layers if "stop_reason" in reader.record(each)][-1]
    assert np.array_equal(again.data, result.data)  # the same seed, the same image

    values = np.array(result.data)
    reader.starts_again()
    reader.names_file(saved)
    reader.opens("File", "IO Utilities", "Open image with calibration")
    opened = reader.viewer.layers[0]
    assert np.array_equal(opened.data, values)
    reader.names_file(folder / "cells.tif")
    reader.opens("File", "Open File(s)")
    reader.opens("Plugins", "napari-dip", "Denoise")
    reader.picks(opened.name)
    reader.presses("Settings as a file")
    reader.presses("As in layer")
    reader.reads("The settings are those of")
    reader.chooses("Image", "cells")
    repeated = reader.runs()
    assert repeated.data.shape == image.shape
    assert np.array_equal(repeated.data, values)


def inpaint(reader: Reader, folder: Path) -> None:
    reader.opens("File", "Open Sample", "napari-dip", "Fluorescence with holes")
    reader.opens("Plugins", "napari-dip", "Inpaint")
    reader.picks("fluorescence with holes")
    reader.chooses("Missing pixels", "holes")
    reader.chooses("Quality", "fast")
    result = reader.runs()
    _is_restored(reader, result, "fluorescence with holes inpainted", source="fluorescence with holes")
    missing = reader.viewer.layers["holes"].data > 0
    known = reader.viewer.layers["fluorescence with holes"].data[~missing]
    assert np.array_equal(result.data[~missing], known.astype(result.data.dtype))
    assert reader.sees_difference("fluorescence with holes", result.name) > 0.1
    _pictured(reader, "inpaint", view="Curve (")
    _saved(reader, result, folder)


def superresolve(reader: Reader, folder: Path) -> None:
    reader.opens("File", "Open Sample", "napari-dip", "Fluorescence, low resolution")
    reader.opens("Plugins", "napari-dip", "Super-resolve")
    source = reader.viewer.layers.selection.active
    reader.chooses("Quality", "fast")
    result = reader.runs()
    factor = np.array(result.data.shape) // source.data.shape
    assert (factor > 1).all()
    np.testing.assert_allclose(result.scale, source.scale / factor)
    corners = [layer.extent.world[0] - np.array(layer.scale) / 2 for layer in (result, source)]
    np.testing.assert_allclose(*corners, atol=1e-9)
    assert reader.sees_difference(source.name, result.name) > 1
    _pictured(reader, "superresolve", view="Enlarge by")
    _saved(reader, result, folder)


def deconvolve(reader: Reader, folder: Path) -> None:
    reader.opens("File", "Open Sample", "napari-dip", "Fluorescence, noisy")
    reader.opens("Plugins", "napari-dip", "Deconvolve")
    reader.types("Sigma y, x", "1.3")
    reader.chooses("Quality", "fast")
    result = reader.runs()
    _is_restored(reader, result, "fluorescence deconvolved", source="fluorescence")
    assert reader.sees_difference("fluorescence", result.name) > 1
    _pictured(reader, "deconvolve", view="Sigma y, x")
    _saved(reader, result, folder)


def deblock(reader: Reader, folder: Path) -> None:
    reader.opens("File", "Open Sample", "napari-dip", "Fluorescence, saved as JPEG")
    reader.opens("Plugins", "napari-dip", "Remove JPEG artefacts")
    source = reader.viewer.layers.selection.active.name
    result = reader.runs()
    assert reader.sees_difference(source, result.name) > 1
    reader.drags_line(0.5)
    reader.presses("Keep this")
    reader.presses("Back to the result")
    reader.viewer.layers.remove(reader.viewer.layers[-2])
    reader.picks(result.name)
    _pictured(reader, "deblock", view="Curve (")
    _saved(reader, result, folder)


def enhance(reader: Reader, folder: Path) -> None:
    reader.opens("File", "Open Sample", "napari-dip", "Fluorescence, faint detail")
    reader.opens("Plugins", "napari-dip", "Enhance")
    result = reader.runs()
    before = result.data.std()
    reader.slides("Boost of detail", 2)  # each a tenth of the range from -1 to 10
    np.testing.assert_allclose(reader.record(result)["boost"], 2 + 2 * 1.1, atol=1e-3)
    assert result.data.std() > before, "the enhanced layer does not follow the slider"
    source = reader.record(result)["source_layer"]
    assert reader.sees_difference(source, result.name) > 1
    for layer in reader.viewer.layers:
        layer.visible = layer is result or layer.name == source or layer.name.endswith("detail")
    _pictured(reader, "enhance", grid=3, view="Image")
    _saved(reader, result, folder)


def together(reader: Reader, folder: Path) -> None:
    """docs/together.md: three stains of the same cells."""
    truth = next(data for data, keywords, _ in fluorescence() if not keywords.get("visible", True))[:64, :64]
    stains = np.stack([truth, truth[:, ::-1], truth[::-1]]) + np.random.default_rng(0).normal(0, 40, (3, 64, 64))
    tifffile.imwrite(folder / "stains.tif", stains.astype(np.float32), photometric="minisblack")
    reader.names_file(folder / "stains.tif")
    reader.opens("File", "Open File(s)")
    reader.opens("Plugins", "napari-dip", "Denoise")
    reader.chooses("Restore", "all slices, together")
    reader.presses("Method")
    reader.chooses("Method", "prior")
    result = reader.runs()
    _is_restored(reader, result, "stains denoised", source="stains")
    assert result.data.shape == stains.shape
    assert reader.record(result)["input"]["channel_axis"] == 0
    assert reader.sees_difference("stains", result.name) > 1
    _saved(reader, result, folder)


def samples(reader: Reader, folder: Path) -> None:
    reader.opens("Plugins", "napari-dip", "Samples of the prior")
    for generator in ("hourglass", "decoder"):
        reader.chooses("Generator", generator)
        if generator == "hourglass":
            reader.types("Skip channels", "0")
        reader.presses("Draw")
        reader.until(lambda: reader.finds(QAbstractButton, "Draw").isEnabled())
    assert [layer.data.shape for layer in reader.viewer.layers] == [(8, 128, 128)] * 2
    _grid(reader, 2)
    reader.looks("samples")


def guide(reader: Reader, folder: Path) -> None:
    reader.opens("File", "Open Sample", "napari-dip", "Fluorescence, a dim and a bright channel")
    reader.opens("Plugins", "napari-dip", "Denoise")
    reader.chooses("Image", "dim channel")
    reader.presses("Method")
    reader.chooses("Method", "prior")
    reader.types("Iterations", "600")
    reader.presses("More knobs")
    reader.chooses("Code", "guide")
    reader.chooses("Guide", "bright channel")
    result = reader.runs()
    _is_restored(reader, result, "dim channel denoised", source="dim channel")
    assert any("guide" in each for each in reader.record(result)["warnings"])
    reader.presses("What happened (")  # so many warnings
    reader.reads("guide")
    assert reader.sees_difference("dim channel", result.name) > 1
    for layer in reader.viewer.layers:
        layer.visible = not layer.name.endswith("truth")
    _pictured(reader, "guide", grid=3, view="Guide")
    _saved(reader, result, folder)


def laboratory(reader: Reader, folder: Path) -> None:
    reader.opens("File", "Open Sample", "napari-dip", "Fluorescence, noisy")
    _experiments(reader, "explicit")
    reader.chooses("Truth", "fluorescence, ground truth")
    images = _tries(reader)
    assert len(images.data) > 5
    reader.viewer.dims.set_point(0, reader.record(images)["images"].index("prior"))
    reader.looks("laboratory")


def preimage(reader: Reader, folder: Path) -> None:
    reader.opens("File", "Open Sample", "napari-dip", "Fluorescence, noisy")
    _experiments(reader, "preimage")
    images = _tries(reader)
    assert not np.allclose(*images.data[:2])
    reader.viewer.dims.set_point(0, 0)  # that of the prior
    reader.looks("preimage-window")


def general(reader: Reader, folder: Path) -> None:
    """docs/general.md: the network of the page behind a prior that fills holes."""
    reader.opens("File", "Open Sample", "napari-dip", "Fluorescence with holes")
    reader.opens("Plugins", "napari-dip", "Inpaint")
    reader.chooses("Missing pixels", "holes")
    reader.chooses("Quality", "fast")
    reader.presses("Method")
    reader.chooses("Method", "prior")
    reader.presses("More knobs")
    reader.types("Refine", "2")
    reader.presses("Parts of your own")
    reader.takes_part("Denoiser", _typed("general", "trained", folder), "trained")
    result = reader.runs(refine=2)
    _is_restored(reader, result, "fluorescence with holes inpainted", source="fluorescence with holes")
    assert "trained" in reader.record(result)["own_parts"]["denoiser"]
    assert reader.record(result)["settings"]["refine"] == 2
    assert reader.sees_difference("fluorescence with holes", result.name) > 0.1
    _pictured(reader, "general-window", view="Parts of your own")
    _saved(reader, result, folder)


def own_parts(reader: Reader, folder: Path) -> None:
    """docs/own-parts.md: the regulariser of the page."""
    reader.opens("File", "Open Sample", "napari-dip", "Fluorescence, noisy")
    _denoise_by_prior(reader)
    reader.takes_part("Regulariser", _typed("own-parts", "bending", folder), "bending")
    reader.types("Regulariser weight", "0.02")
    result = reader.runs()
    _is_restored(reader, result, "fluorescence denoised", source="fluorescence")
    assert "bending" in reader.record(result)["own_parts"]["regulariser"]
    assert reader.sees_difference("fluorescence", result.name) > 1
    _saved(reader, result, folder)


def generators(reader: Reader, folder: Path) -> None:
    """docs/generators.md: what two generators fit first, and a run with one of them."""
    reader.opens("File", "Open Sample", "napari-dip", "Fluorescence, noisy")
    _experiments(reader, "impedance")
    reader.types("Iterations", "50")
    reader.reads("at most 64 x 64 px")
    reader.presses("Run")
    reader.waits()
    table = reader.reads("image above shuffled")
    assert all(name in table for name in ("hourglass", "decoder")), table
    _denoise_by_prior(reader)
    reader.chooses("Generator", "decoder")
    result = reader.runs()
    _is_restored(reader, result, "fluorescence denoised", source="fluorescence")
    assert reader.record(result)["settings"]["generator"] == "decoder"
    _saved(reader, result, folder)


def _denoise_by_prior(reader: Reader) -> None:
    """Open the dock of denoising with a prior of 100 iterations, and all of its knobs."""
    reader.opens("Plugins", "napari-dip", "Denoise")
    reader.presses("Method")
    reader.chooses("Method", "prior")
    reader.types("Iterations", "100")
    reader.presses("More knobs")


def _experiments(reader: Reader, name: str) -> None:
    """Open the laboratory, and choose an experiment and a crop of 64 x 64 pixels."""
    reader.picks("fluorescence")
    reader.opens("Plugins", "napari-dip", "Laboratory")
    reader.chooses("Experiment", name)
    reader.types("Crop (px)", "64")


def _tries(reader: Reader) -> Any:
    """Run an experiment, and return the layer of its images, shown alone."""
    reader.reads("at most 64 x 64 px")
    reader.presses("Run")
    reader.waits()
    images = reader.viewer.layers[-1]
    assert images.data.shape[1:] == (64, 64), images.data.shape
    for layer in reader.viewer.layers:
        layer.visible = layer is images
    reader.viewer.fit_to_view(layers=[images])
    return images


def _is_restored(reader: Reader, result: Any, name: str, source: str) -> None:
    """The result lies where its source lies, says how it was made, and is another image."""
    image = reader.viewer.layers[source]
    assert result.name == name, result.name
    assert result.data.shape == image.data.shape
    np.testing.assert_allclose(result.scale, image.scale)
    assert result.units == image.units
    assert reader.record(result)["source_layer"] == source
    assert reader.viewer.layers.selection.active is result
    assert np.isfinite(result.data).all()
    assert not np.array_equal(result.data, image.data)


def _typed(page: str, name: str, folder: Path) -> Path:
    """A Python file with what a page prints, up to the end of the function called `name`."""
    for block in re.findall(r"^```python\n(.*?)^```", (HERE / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL):
        for part in ast.parse(block).body:
            if isinstance(part, ast.FunctionDef) and part.name == name:
                (folder / "mine.py").write_text("\n".join(block.splitlines()[: part.end_lineno]) + "\n")
                return folder / "mine.py"
    raise LookupError(f"{page}.md prints no function {name!r}")


def _saved(reader: Reader, result: Any, folder: Path) -> Path:
    """Save the result; the file has its values, where it lies and how it was made."""
    path = folder / f"{result.name}.ome.tif"
    reader.names_file(path)
    reader.presses("Save the result...")
    reader.reads("is saved in")
    values, meta, _ = read_image(path)
    assert np.array_equal(values, result.data)
    np.testing.assert_allclose(meta["scale"], result.scale, rtol=1e-6)
    settings = meta["metadata"]["napari-dip"]["settings"]
    assert settings == json.loads(json.dumps(reader.record(result)["settings"]))  # a file has no tuples
    return path


def _grid(reader: Reader, count: int) -> None:
    grid = reader.viewer.canvas.grid if hasattr(reader.viewer, "canvas") else reader.viewer.grid  # napari 0.9 moved it
    grid.shape, grid.stride, grid.enabled = (1, count), 1, True
    reader.viewer.reset_view()


def _side_by_side(reader: Reader) -> None:
    reader.presses("Compare with the source")
    reader.ticks("Side by side")


def _pictured(reader: Reader, name: str, grid: int = 0, view: str = "") -> None:
    """Take the picture of `grid` layers, or of source and result, beside each other, with `view` in sight."""
    if grid:
        _grid(reader, grid)
    else:
        _side_by_side(reader)
    if view:
        reader.finds(QWidget, view)
    reader.until(lambda: "Takes ..." not in _texts(reader.dock))  # the next run is planned
    reader.looks(name)


_IN_ORDER = (
    denoise,
    inpaint,
    superresolve,
    deconvolve,
    deblock,
    enhance,
    guide,
    together,
    samples,
    general,
    laboratory,
    preimage,
    generators,
    own_parts,
)
TUTORIALS: dict[str, Callable[[Reader, Path], None]] = {each.__name__.replace("_", "-"): each for each in _IN_ORDER}


def _tell_times_of_a_free_computer() -> None:
    """Count the time that a run computes, and forecast it, without what else the machine does that takes a picture."""
    cost.share_of_processor = lambda threads: 1.0
    for module in (fit, solve, run):
        module.time = SimpleNamespace(perf_counter=time.thread_time)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(TUTORIALS)}; by default all")
    names = parser.parse_args().names or list(TUTORIALS)
    if unknown := [name for name in names if name not in TUTORIALS]:
        parser.error(f"{unknown[0]!r} is no tutorial: choose of {', '.join(TUTORIALS)}")
    _tell_times_of_a_free_computer()
    for name in names:
        reader = Reader(window())
        with tempfile.TemporaryDirectory() as folder:
            TUTORIALS[name](reader, Path(folder))
        reader.viewer.close()
        print(f"{name}: as the page says")
    return 0


if __name__ == "__main__":
    sys.exit(main())
