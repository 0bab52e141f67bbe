"""A real window, a picture and a dock widget with settings that run in no time."""

import numpy as np
import pytest

from tests.viewer.docks import QUICK

SLOW_MACHINE = 60_000  # ms


@pytest.fixture(autouse=True)
def no_forecast(request, monkeypatch):
    """What a run will take is asked for anew with every choice, which costs a second: only where it matters."""
    if "forecast" not in request.fixturenames:
        for name in ("forecast", "forecast_of_blocks"):
            monkeypatch.setattr(f"napari_dip.viewer.cost.{name}", lambda *_: "")


@pytest.fixture
def forecast():
    """The real one."""


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


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
def wait(qtbot):
    def until(condition):
        qtbot.waitUntil(condition, timeout=SLOW_MACHINE)

    return until
