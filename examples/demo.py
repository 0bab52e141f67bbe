"""Denoise a sample in a napari window, and show noisy, restored and true image side by side: ``make demo``.

Writes ``demo.png``, a screenshot of the window, and prints the peak signal-to-noise ratio before and after. Without
``--close`` the window stays open.
"""

import argparse
import sys
import time

import napari
import numpy as np
from qtpy.QtWidgets import QApplication
from tqdm import tqdm


def psnr(truth: np.ndarray, image: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, the peak being the range of the true image."""
    error = truth.astype(float) - image
    return float(10 * np.log10(np.ptp(truth.astype(float)) ** 2 / np.mean(error**2)))


def run(widget) -> None:
    """Press Run, and wait with a progress bar on the terminal until the run is over."""
    widget.run_button.click()
    with tqdm(total=100, desc="Denoise", position=0, bar_format="{desc} {percentage:3.0f}% |{bar}| {postfix}") as bar:
        while widget.running:
            QApplication.processEvents()
            time.sleep(0.005)
            bar.n = 100 * widget.fraction
            bar.set_postfix_str(widget.status, refresh=False)
            bar.update(0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--close", action="store_true", help="end when it is done")
    parser.add_argument("--screenshot", default="demo.png", help="where the screenshot goes")
    options = parser.parse_args()

    viewer = napari.Viewer(title="napari-dip")
    viewer.window.resize(1380, 820)
    truth, noisy = viewer.open_sample("napari-dip", "fluorescence")
    viewer.layers.selection.active = noisy
    widget = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")[1]
    run(widget)
    restored = [layer for layer in viewer.layers if "stop_reason" in layer.metadata.get("napari-dip", {})]
    if not restored:
        print(f"demo failed: {widget.status}", file=sys.stderr)
        return 1

    truth.visible = True
    viewer.layers.move(viewer.layers.index(truth), len(viewer.layers))
    grid = viewer.canvas.grid if hasattr(viewer, "canvas") else viewer.grid  # napari 0.9 moved it
    grid.shape, grid.stride, grid.enabled = (2, 2), 1, True
    viewer.reset_view()
    for _ in range(50):
        QApplication.processEvents()
        time.sleep(0.01)
    viewer.screenshot(options.screenshot, canvas_only=False, flash=False)
    before, after = psnr(truth.data, noisy.data), psnr(truth.data, restored[0].data)
    print(f"{widget.status}\nPSNR {before:.1f} dB before, {after:.1f} dB after ({after - before:+.1f} dB)")
    print(f"noisy, restored and true image, side by side: see {options.screenshot}")
    if options.close:
        viewer.close()
    else:
        napari.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
