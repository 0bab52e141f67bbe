"""Does the window stay alive? ``python -m benchmarks.window``

Opens napari and a dock, and times its first paint; then denoises the sample with the defaults and a live preview for 30
seconds, and records the gaps between turns of the event loop: what a user feels. Needs a screen (xvfb-run has one) and
a quiet machine: each line says how much of a processor other processes took meanwhile.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

import napari
import numpy as np
import psutil
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QApplication

from benchmarks.report import hardware
from napari_dip.viewer.samples import fluorescence


class FirstPaint(QObject):
    """Waits until a dock of ours has been painted."""

    def __init__(self) -> None:
        super().__init__()
        self.painted = False

    def eventFilter(self, painted: QObject, event: QEvent) -> bool:
        """Take note of a paint event of a dock widget."""
        ours = type(painted).__module__.startswith("napari_dip")
        self.painted |= ours and event.type() == QEvent.Type.Paint
        return False


def opening(viewer: napari.Viewer, name: str) -> tuple[Any, str]:
    """Open a dock, and say how long it takes from asking for it to its first paint."""
    first, app, others = FirstPaint(), QApplication.instance(), Others()
    app.installEventFilter(first)
    start, spent = time.perf_counter(), time.thread_time()
    widget = viewer.window.add_plugin_dock_widget("napari-dip", name)[1]
    while not first.painted:
        app.processEvents()
    seconds, spent = time.perf_counter() - start, time.thread_time() - spent
    app.removeEventFilter(first)
    return widget, f"{seconds:.2f} s to the first paint, of them {spent:.2f} s of the processor; {others}"


class Others:
    """Processors that other processes take on average, from now until it is printed."""

    def __init__(self) -> None:
        self._start, self._then = time.perf_counter(), self._spent()

    @staticmethod
    def _spent() -> float:
        """Seconds of processors that all other processes have spent."""
        machine, own = psutil.cpu_times(), psutil.Process().cpu_times()
        return float(machine.user + machine.system + getattr(machine, "nice", 0.0) - own.user - own.system)

    def __str__(self) -> str:
        taken = (self._spent() - self._then) / (time.perf_counter() - self._start)
        return f"others took {max(0.0, taken):.2f} processors"


def gaps(seconds: float) -> np.ndarray:
    """Milliseconds between turns of the event loop, for so many seconds; a timer asks for a turn each 2 ms."""
    turns: list[float] = []
    timer = QTimer()
    timer.setInterval(2)
    timer.timeout.connect(lambda: turns.append(time.perf_counter()))
    timer.start()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.0005)
    timer.stop()
    return 1000 * np.diff(turns)


def describe(name: str, seconds: float) -> str:
    others = Others()
    milliseconds = gaps(seconds)
    p50, p99 = np.percentile(milliseconds, [50, 99])
    # a long gap holds up more than a short one: the share of the time that lies in gaps over 50 ms
    held = milliseconds[milliseconds > 50].sum() / milliseconds.sum()
    longest = milliseconds.max()
    figures = f"median {p50:.1f} ms, p99 {p99:.1f} ms, longest {longest:.0f} ms"
    return f"{name}: {figures}, {held:.1%} in gaps over 50 ms; {others}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--threads", type=int, default=0, help="of the run; 0 as users have it")
    options = parser.parse_args()
    viewer = napari.Viewer()
    data, keywords, _ = next(entry for entry in fluorescence() if entry[1].get("visible", True))
    keywords.pop("metadata", None)
    viewer.add_image(data, **keywords)
    gaps(3)
    print(f"{hardware('cpu')}, {os.cpu_count()} processors, image {data.shape}")
    widget, first = opening(viewer, "Denoise")
    print(f"first dock: {first}")
    gaps(8)  # torch is loaded, and the noise estimated
    print(f"another dock: {opening(viewer, 'Inpaint')[1]}")
    widget.form.set(runs=8, threads=options.threads)  # more than there is time for
    gaps(3)
    print(describe("idle", 10))
    widget.run()
    gaps(2)
    print(describe("running", options.seconds))
    print(widget.status)
    widget.stop()
    while widget.running:
        gaps(0.1)
    viewer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
