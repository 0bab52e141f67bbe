"""The dock widget that draws samples of a prior: what its network makes before it is fitted to anything."""

from __future__ import annotations

from typing import Any

import napari.viewer
import numpy as np
from magicgui.widgets import ComboBox, SpinBox
from qtpy.QtWidgets import QVBoxLayout

from napari_dip.tables.knobs import GENERATORS
from napari_dip.viewer.background import Background
from napari_dip.viewer.controls import button
from napari_dip.viewer.restoration import METADATA
from napari_dip.viewer.rows import Rows, Text
from napari_dip.viewer.tabs import Tabbed


class SamplesWidget(Tabbed):
    """Dock widget for samples of the prior."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.generator = ComboBox(
            name="generator",
            label="Generator",
            choices=list(GENERATORS),
            tooltip="Another network is another prior: its images look different before any fit.",
        )
        self.skips = SpinBox(
            name="skips",
            label="Skip channels",
            value=4,
            min=0,
            max=128,
            tooltip="They let the noise of the code into the image. 0: none.",
        )
        self.count = SpinBox(
            name="count", label="Images", value=8, min=1, max=100, tooltip="Each has weights of its own."
        )
        self.size = SpinBox(
            name="size", label="Side (px)", value=128, min=32, max=1024, step=32, tooltip="Of each image."
        )
        self.seed = SpinBox(name="seed", label="Seed", min=0, max=2**30, tooltip="The same seed gives the same images.")
        self.rows = Rows([self.generator, self.skips, self.count, self.size, self.seed])
        self.generator.changed.connect(self._show_skips)
        self.draw_button = button("Draw", self.draw, "Adds a stack of images, one for each set of random weights.")
        self._text = Text("samples")
        self._drawer = Background(self, self._on_drawn)
        layout = QVBoxLayout(self)
        for part in (self.rows, self.draw_button, self._text):
            layout.addWidget(part)
        layout.addStretch()
        self.setMinimumWidth(300)

    @property
    def told(self) -> str:
        """Sentence on the last images."""
        return self._text.text()

    @property
    def _has_skips(self) -> bool:
        return "skip_channels" in GENERATORS[self.generator.value]

    def _show_skips(self) -> None:
        self.rows.show_row(self.skips, self._has_skips)

    def draw(self) -> None:
        """Draw in the background, and add the stack when it is done."""
        knobs = {"generator": self.generator.value, "seed": self.seed.value}
        if self._has_skips:
            knobs["skip_channels"] = self.skips.value
        side, count = self.size.value, self.count.value
        self.draw_button.setEnabled(False)
        self._text.setText("Drawing...")
        self._drawer.ask(lambda: _drawn((side, side), count, knobs))

    def _on_drawn(self, answer: Any) -> None:
        self.draw_button.setEnabled(True)
        if isinstance(answer, Exception):
            return self._text.setText(str(answer))
        drawn, sentence, knobs = answer
        self._viewer.add_image(
            drawn,
            name=f"samples of {knobs['generator']}",
            axis_labels=("sample", "y", "x"),
            rgb=False,
            metadata={METADATA: {"samples": knobs, "self_similarity": sentence}},
        )
        return self._text.setText(f"{sentence[0].upper()}{sentence[1:]}.")


def _drawn(shape: tuple[int, int], count: int, knobs: dict[str, Any]) -> tuple[np.ndarray, str, dict[str, Any]]:
    from napari_dip.lab import prior_samples as lab  # imports torch: seconds

    drawn = lab.samples(shape, count, **knobs)
    return drawn, lab.similarity_in_words(drawn), knobs
