"""Take the pictures of the pages from the running plug-in: ``python docs/screenshots.py [NAME...]``.

Each opens a window with a sample that the package makes, presses what the page says, waits, and saves the window.
Without a screen run it under ``xvfb-run -a -s "-screen 0 1400x900x24"``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from napari.layers import Image, Labels
from qtpy.QtWidgets import QApplication

HERE = Path(__file__).parent
SIZE = 1380, 820


def events(seconds: float) -> None:
    """Let the window live for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.02)


class Page:
    """A window with one widget, as a reader of a page has it before him."""

    def __init__(self, sample: str, widget: str) -> None:
        self.viewer = napari.Viewer(title="napari-dip")
        self.viewer.window.resize(*SIZE)
        self.viewer.open_sample("napari-dip", sample)
        self.source = next(layer for layer in self.viewer.layers if layer.visible and isinstance(layer, Image))
        self.viewer.layers.selection.active = self.source
        self.widget: Any = self.viewer.window.add_plugin_dock_widget("napari-dip", widget)[1]

    def choose_mask(self) -> None:
        """Choose the Labels layer of the sample."""
        self.widget.inputs.mask.value = next(layer for layer in self.viewer.layers if isinstance(layer, Labels))

    def type_sigma(self) -> None:
        """Type the width of the blur that the sample has."""
        self.widget.inputs.known["psf"].sigma.value = 1.3

    def run(self) -> None:
        """Press Run once the noise is known, and wait for the end."""
        self._wait(lambda: self.widget.run_button.isEnabled() and not self.widget.noise.waiting)
        self.widget.run_button.click()
        self._wait(lambda: not self.widget.running)
        if not any("stop_reason" in layer.metadata.get("napari-dip", {}) for layer in self.viewer.layers):
            raise RuntimeError(f"nothing was restored: {self.widget.status}")

    def side_by_side(self) -> None:
        """Show the visible layers beside each other."""
        grid = self.viewer.canvas.grid if hasattr(self.viewer, "canvas") else self.viewer.grid  # napari 0.9 moved it
        shown = sum(layer.visible for layer in self.viewer.layers)
        grid.shape, grid.stride, grid.enabled = (1, shown), 1, True
        self.viewer.reset_view()

    def save(self, name: str) -> None:
        """Save the window."""
        events(1)
        self.viewer.screenshot(str(HERE / f"{name}.png"), canvas_only=False, flash=False)
        self.viewer.close()

    @staticmethod
    def _wait(until: Callable[[], bool], seconds: float = 1200) -> None:
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                raise TimeoutError("the window did not come to an end")
            events(0.05)


def _restored(sample: str, widget: str, name: str, choose: Callable[[Page], None] = lambda page: None) -> None:
    page = Page(sample, widget)
    choose(page)
    if widget != "Denoise":  # minutes by a prior
        page.widget.form.set(quality="fast")
    page.run()
    for layer in page.viewer.layers:  # ground truth and mask would stand in the grid too
        layer.visible = layer is page.source or "napari-dip" in layer.metadata
    page.side_by_side()
    page.save(name)


def _guided() -> None:
    page = Page("two_channels", "Denoise")
    page.widget.form.set(preset="denoise-small", quality="fast", iterations=600, code="guide")
    page.widget.inputs.guide.value = page.viewer.layers["bright channel"]
    page.run()
    for layer in page.viewer.layers:
        layer.visible = not layer.name.endswith("truth")
    page.side_by_side()
    page.save("guide")


def _samples() -> None:
    viewer = napari.Viewer(title="napari-dip")
    viewer.window.resize(*SIZE)
    widget: Any = viewer.window.add_plugin_dock_widget("napari-dip", "Samples of the prior")[1]
    for generator in ("hourglass", "decoder"):
        widget.generator.value, widget.skips.value = generator, 0
        widget.draw_button.click()
        Page._wait(widget.draw_button.isEnabled)
    grid = viewer.canvas.grid if hasattr(viewer, "canvas") else viewer.grid
    grid.shape, grid.stride, grid.enabled = (1, 2), 1, True
    viewer.reset_view()
    events(1)
    viewer.screenshot(str(HERE / "samples.png"), canvas_only=False, flash=False)
    viewer.close()


def _laboratory() -> None:
    page = Page("fluorescence", "Laboratory")
    truth = next(layer.name for layer in page.viewer.layers if layer.name.endswith("truth"))
    page.widget.experiment.value, page.widget.truth.value = "explicit", truth
    page.widget.crop.value, page.widget.iterations.value = 64, 600
    page.widget.run_button.click()
    Page._wait(lambda: not page.widget.running and page.widget.run_button.isEnabled())
    for layer in page.viewer.layers:
        layer.visible = layer is page.viewer.layers[-1]
    page.viewer.dims.set_point(0, 5)  # the prior
    page.viewer.reset_view()
    page.save("laboratory")


def _preimage() -> None:
    page = Page("fluorescence", "Laboratory")
    page.widget.experiment.value, page.widget.crop.value = "preimage", 64
    page.widget.run_button.click()
    Page._wait(lambda: not page.widget.running and page.widget.run_button.isEnabled())
    for layer in page.viewer.layers:
        layer.visible = layer is page.viewer.layers[-1]
    page.viewer.dims.set_point(0, 0)  # that of the prior
    page.viewer.reset_view()
    page.save("preimage-window")


def _enhanced() -> None:
    page = Page("faint", "Enhance")
    page.run()
    for layer in page.viewer.layers:
        layer.visible = layer is page.source or layer.name.endswith(("enhanced", "detail"))
    page.side_by_side()
    page.widget._scroll.verticalScrollBar().setValue(0)  # where the boost is
    page.save("enhance")


PICTURES: dict[str, Callable[[], None]] = {
    "denoise": lambda: _restored("fluorescence", "Denoise", "denoise"),
    "inpaint": lambda: _restored("holes", "Inpaint", "inpaint", Page.choose_mask),
    "superresolve": lambda: _restored("low_resolution", "Super-resolve", "superresolve"),
    "deconvolve": lambda: _restored("fluorescence", "Deconvolve", "deconvolve", Page.type_sigma),
    "deblock": lambda: _restored("compressed", "Remove compression artefacts", "deblock"),
    "enhance": _enhanced,
    "guide": _guided,
    "samples": _samples,
    "laboratory": _laboratory,
    "preimage-window": _preimage,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(PICTURES)}; by default all")
    names = parser.parse_args().names or list(PICTURES)
    if unknown := [name for name in names if name not in PICTURES]:
        parser.error(f"{unknown[0]!r} is no picture: choose of {', '.join(PICTURES)}")
    for name in names:
        PICTURES[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
