"""Does the window stay alive? ``python -m benchmarks.window``

Opens napari, denoises the sample with the defaults and a live preview for 30 seconds, and records the gaps between
turns of the event loop: what a user feels. Needs a screen, such as xvfb-run's.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import napari
import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from benchmarks.report import hardware
from napari_dip.viewer.samples import fluorescence


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


def describe(name: str, milliseconds: np.ndarray) -> str:
    p50, p99 = np.percentile(milliseconds, [50, 99])
    # a long gap holds up more than a short one: the share of the time that lies in gaps over 50 ms
    held = milliseconds[milliseconds > 50].sum() / milliseconds.sum()
    longest = milliseconds.max()
    return f"{name}: median {p50:.1f} ms, p99 {p99:.1f} ms, longest {longest:.0f} ms, {held:.1%} in gaps over 50 ms"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--threads", type=int, default=0, help="of the run; 0 as users have it")
    options = parser.parse_args()
    viewer = napari.Viewer()
    data, keywords, _ = next(entry for entry in fluorescence() if entry[1].get("visible", True))
    keywords.pop("metadata", None)
    viewer.add_image(data, **keywords)
    widget = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")[1]
    widget._form.set(iterations=100_000, threads=options.threads)
    gaps(2)
    print(f"{hardware('cpu')}, {os.cpu_count()} processors, image {data.shape}")
    print(describe("idle", gaps(10)))
    widget.run()
    gaps(2)
    print(describe("running", gaps(options.seconds)))
    print(widget.status)
    widget.stop()
    while widget.running:
        gaps(0.1)
    viewer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
