"""A real window, a picture and a dock widget with settings that run in no time."""

import gc
import importlib
import inspect
import threading
import time
import traceback

import napari
import numpy as np
import pytest
from napari._qt.qt_viewer import QtViewer
from qtpy.QtWidgets import QWidget

from napari_dip.viewer import background, engine, tabs
from napari_dip.viewer.background import Background
from napari_dip.viewer.job import Job
from napari_dip.viewer.restoration import Asked, Forecast, Planned
from tests.viewer.docks import QUICK

SLOW_MACHINE = 240_000  # ms, that nothing but a fault takes
TIME_TO_SAY_SO = 20  # s, for the window to show what failed and go on


@pytest.fixture(scope="session", autouse=True)
def _engine():
    """What computes is there, as it is seconds after the first dock was opened."""
    engine.load()


@pytest.fixture(scope="session", autouse=True)
def _nobody_types():
    """What waits until nobody types any more is computed at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(background, "_DELAY", 0)
        yield


@pytest.fixture(autouse=True)
def no_forecast(request, monkeypatch):
    """What a run will take is asked for anew with every choice, which costs a second: only where it matters."""
    if "forecast" not in request.fixturenames:
        for name in ("restoration.Asked", "stream.Stream"):
            monkeypatch.setattr(f"napari_dip.viewer.{name}.forecast", lambda *_: Forecast(""))
        monkeypatch.setattr(Asked, "planned", lambda _, plan: Planned(plan, Forecast("")))


@pytest.fixture
def forecast():
    """The real one."""


@pytest.fixture(scope="session")
def window(qapp):
    """The one window of a process: to open one takes longer than most tests of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari._qt.threads.status_checker.StatusChecker.start", lambda *_: None)
        viewer = napari.Viewer(show=False)
        qapp.removeEventFilter(viewer.window._qt_window)  # sees each event of each widget, for a menu bar that hides
        QtViewer._instances.clear()  # `make_napari_viewer` takes those that there are for leaks of an earlier test
        gc.collect()
        gc.freeze()  # each layer that goes collects garbage
        yield viewer
        viewer.close()


@pytest.fixture
def viewer(window, qtbot):
    """The window, empty; what a test puts into it goes with the test."""
    yield window
    docks = [each for each in window.window.dock_widgets.values() if isinstance(each, QWidget)]
    window.window.remove_dock_widget("all")
    tabs._closed.clear()  # what was chosen in them
    qtbot.waitUntil(lambda: Job._current is None or not Job._current.running, timeout=SLOW_MACHINE)
    for each in docks:
        each.deleteLater()  # else it follows the layers of all tests to come, as long as anything knows it
    del docks
    qtbot.wait(1)  # lets Qt delete what was closed: what is deleted looks at no layer that goes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gc.collect", int)  # of all the process: napari collects with each layer, once is enough
        window.layers.clear()
    window.dims.reset()
    gc.collect()
    gc.freeze()


@pytest.fixture
def picture():
    return np.random.default_rng(0).normal(100, 10, (20, 24)).astype(np.float32)


@pytest.fixture
def dock(viewer, qtbot):
    """Opens a widget by its name, as a script does, with settings that run in no time."""

    def open_widget(name="Denoise", **knobs):
        widget = viewer.window.add_plugin_dock_widget("napari-dip", name)[1]
        widget.form.set(**(QUICK | knobs))
        return widget

    return open_widget


@pytest.fixture
def hold(monkeypatch):
    """Holds the first run of a generator function that comes to a certain `Progress`, there, until it is to stop.

    Returns an event that is set then: so that a test need not be faster than the run.
    """

    def hold(name, when):
        module, function = name.rsplit(".", 1)
        begin, reached = getattr(importlib.import_module(module), function), threading.Event()

        def steps(run, should_stop):
            while True:
                try:
                    progress = next(run)
                except StopIteration as end:
                    return end.value
                yield progress
                if not reached.is_set() and not isinstance(progress, Planned) and when(progress):
                    reached.set()
                    while not should_stop():
                        yield progress  # again, as the window may have had no time for the first
                        time.sleep(0.01)

        def held(*args, **options):
            should_stop = inspect.signature(begin).bind(*args, **options).arguments["should_stop"]
            return steps(begin(*args, **options | {"interval": 0}), should_stop)

        monkeypatch.setattr(name, held)
        return reached

    return hold


@pytest.fixture
def wait(qtbot, monkeypatch):
    """Waits for a condition; in vain once something beside the window failed and the window had time to say so."""
    failed, ask = [], Background.ask

    def asked(self, question):
        def watched():
            try:
                return question()
            except (ValueError, TypeError):
                raise  # an answer, which the window says
            except Exception:
                failed.append((time.monotonic() + TIME_TO_SAY_SO, traceback.format_exc()))
                raise

        ask(self, watched)

    monkeypatch.setattr(Background, "ask", asked)

    def until(condition):
        before = len(failed)

        def met():
            if condition():
                return True
            for late, text in failed[before:]:
                if time.monotonic() > late:
                    pytest.fail(f"this never comes, as a computation beside the window failed:\n{text}")
            return False

        qtbot.waitUntil(met, timeout=SLOW_MACHINE)

    return until
