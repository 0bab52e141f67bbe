"""Docks open without torch, which is imported beside them, and a process ends with them, whatever they do."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

OPEN = """
import sys, threading, time
import numpy as np
from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication

torch_may_come = threading.Event()
class Torch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            assert threading.current_thread() is not threading.main_thread(), "the window would be held up"
            if "broken" in sys.argv:
                raise ImportError("libtorch is damaged")
sys.meta_path.insert(0, Torch())

from napari_dip.viewer import engine
load = engine.load
engine.load = lambda *_: torch_may_come.wait(60) and load()  # not within an import, which would hold up others

from napari_dip.tables.tasks import TASKS
from napari_dip.viewer import widget
from napari_dip.viewer.laboratory import LaboratoryWidget
from napari_dip.viewer.prior_samples import SamplesWidget

app = QApplication([])
viewer = ViewerModel()
viewer.add_image(np.random.default_rng(0).normal(100, 10, (20, 24)).astype(np.float32), name="picture")

def until(condition):
    end = time.monotonic() + 120
    while not condition():
        app.processEvents()
        time.sleep(0.01)
        assert time.monotonic() < end

docks = [getattr(widget, f"{task.capitalize()}Widget")(viewer) for task in TASKS]
laboratory, samples = LaboratoryWidget(viewer), SamplesWidget(viewer)
dock = docks[0]
for _ in range(20):
    app.processEvents()
    time.sleep(0.01)
slow = {"torch", "zarr", "filelock", "napari_dip.pictures"}  # to import: the first dock would be painted later
assert not slow & set(sys.modules)
assert "PyTorch is being loaded" in dock._sentence.text() and "'picture'" in dock._sentence.text()
assert dock.form.settings().iterations > 0
"""
RUN = """
dock.form.set(channels="4", scales=2, code_channels=8, iterations=5, stop="iterations", runs=1)
dock.run()  # at once, as an impatient user does
assert dock.running and "torch" not in sys.modules
torch_may_come.set()
until(lambda: not dock.running)
assert "finished" in dock.status, dock.status
until(lambda: all("torch is" not in each._sentence.text() for each in docks))
from napari_dip.core.device import available, choose
assert "on the processor" in dock._sentence.text() or choose("auto").name in dock._sentence.text()
assert [*dock.form.row("device").choices] == ["auto", *available()]

# the process ends midway
laboratory.crop.value = 32
laboratory.run()
until(lambda: "iteration" in laboratory.told)
dock.run()  # waits
samples.draw()
until(lambda: samples._drawer._under_way)
"""
BROKEN = """
torch_may_come.set()
until(lambda: "libtorch is damaged" in dock._sentence.text())
assert not dock.run_button.isEnabled()
"""


@pytest.mark.parametrize(("then", "torch"), [(RUN, "well"), (BROKEN, "broken")], ids=["well", "broken"])
def test_docks_open_without_torch_wait_for_it_beside_and_end_with_the_process(then: str, torch: str) -> None:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", OPEN + then, torch]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr[-3000:]
    assert not re.search("Traceback|Error|QObject|QThread|QTimer", run.stderr), run.stderr[-3000:]
