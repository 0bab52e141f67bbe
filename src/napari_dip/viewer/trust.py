"""Trust in a result: switches for what is to be found out about it, and what was."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QWidget

from napari_dip.tables.tasks import TASKS
from napari_dip.viewer import layers
from napari_dip.viewer.choice import images_in
from napari_dip.viewer.controls import button, paragraphs
from napari_dip.viewer.maps import Findings, Wanted
from napari_dip.viewer.restoration import Asked
from napari_dip.viewer.rows import ChoiceOrNone, Rows, Section, Text, column, tip

_SWITCHES = {  # name -> what stands beside it, and what it can and cannot tell
    "residual": (
        "Residual layer",
        (
            "What the restoration took away: the measurement minus the result. It should be noise and nothing "
            "else; what looks like your sample in it was removed. The verdict sees neither what is fainter than "
            "the noise over its extent, nor what was added."
        ),
    ),
    "uncertainty": (
        "Uncertainty layer",
        (
            "Standard deviation at each pixel, in the units of the image: of the iterates about their average, and "
            "between the runs if there are several. To be switched on before the run. Large means that the fit "
            "wavers there. Small does not mean right: what all iterates get wrong alike does not show."
        ),
    ),
    "control": (
        "Noise-only control",
        (
            "A second run with the same settings on pure noise of the estimated strength, for one slice: all it "
            "shows is made up. It takes as long as the first. Beside real structure more may be made up than "
            "here."
        ),
    ),
    "holes": (
        "Hole map",
        (
            "How far each missing pixel lies from what is known, over the distance at which structure is alike "
            "there. Below 1 the surroundings determine most of it; above 1 it is invented. It cannot tell whether "
            "what was invented is right."
        ),
    ),
    "resolution": (
        "Resolution before and after",
        (
            "Fourier ring correlation of two halves of the image, in the units of the layer: to which detail it "
            "repeats itself. It cannot tell structure from invention, so a finer figure after a restoration is no "
            "proof."
        ),
    ),
}
_WHOLE = {"holes", "resolution"}  # take whole slices in memory
_WHY_OFF = (
    "What is switched off needs whole slices in memory, but the result is written block by block. Restore one slice. "
    "Residual and uncertainty are written too: switch them on before the run."
)
_AFFINE = (
    "Multiplies and shifts the intensities to fit the ground truth before they are compared: for a truth taken "
    "with another exposure. It hides an error in the scale of the intensities."
)
_TRUTH = (
    "An image layer of the same field without noise. Gives PSNR, SSIM and NRMSE before and after: how close the "
    "images are on the whole. They tell nothing of single structures."
)


class TrustPanel(Section):
    """A folded section of the widgets.

    Attributes
    ----------
    asked : Signal
        The user wants to know about the last result what is switched on now.
    """

    asked = Signal()

    def __init__(self, viewer: Any, task: str) -> None:
        super().__init__("How far to trust it (checks)")
        self._viewer = viewer
        inside = QWidget()
        self._why_off = Text("why_off")
        self._why_off.setVisible(False)
        self.switches: dict[str, QCheckBox] = {}
        self._off: set[str] = set()  # those that are not offered
        for name, words in _SWITCHES.items():
            if name == ("holes" if "resolution" in TASKS[task].before else "resolution"):
                continue  # an image with holes has no whole halves to correlate
            self.switches[name] = _switch(*words)
        self.truth = ChoiceOrNone(name="truth", label="Ground truth", choices=self._truths, tooltip=_TRUTH)
        self._rows = Rows([self.truth])
        self.affine = _switch("Fit gain and offset first", _AFFINE)
        self.look_button = button(
            "Check the last result now",
            self.asked,
            "Makes the checks that are switched on, of the last result. The next run makes them by itself.",
        )
        self._boxes = {**self.switches, "affine": self.affine}
        self._text = Text("trust")
        below = self._rows, self.affine, self.look_button, self._text
        column(inside, self._why_off, *self.switches.values(), *below)
        self.addWidget(inside)
        self.truth.changed.connect(self._show_affine)
        self._show_affine()
        self.show_state(can_look=False)
        self.tell(Findings())

    @property
    def told(self) -> str:
        """Sentences about the last result."""
        return self._text.text()

    @property
    def uncertainty(self) -> bool:
        """True if the run is to keep count of the uncertainty."""
        return self.switches["uncertainty"].isChecked()

    @property
    def residual(self) -> bool:
        """True if the residual is to be shown."""
        return self.switches["residual"].isChecked()

    @property
    def wants_control(self) -> bool:
        """True if a noise-only control is to follow."""
        return self.switches["control"].isChecked()

    def wanted(self, restoration: Asked) -> Wanted:
        """Findings that are switched on, for a restoration.

        Raises
        ------
        ValueError
            If the ground truth has no such slice.
        """
        truth = self.truth.value
        return Wanted(
            **{n: each.isChecked() and n not in self._off for n, each in self.switches.items() if n != "control"},
            truth=None if truth is None else truth_for(restoration, truth),
            truth_name="" if truth is None else truth.name,
            affine=self.affine.isChecked(),
        )

    def held(self) -> dict[str, Any]:
        """The switches, and the ground truth."""
        return {**{name: each.isChecked() for name, each in self._boxes.items()}, **self._rows.held()}

    def hold(self, values: dict[str, Any]) -> None:
        """Switch on what `held` returned."""
        self._rows.hold(values)
        for name, each in self._boxes.items():
            each.setChecked(values[name])

    def take(self, chosen: dict[str, Any]) -> None:
        """Switch on what a run that goes on in its file writes."""
        for name in ("residual", "uncertainty"):
            self.switches[name].setChecked(bool(chosen.get(name)))

    def reset_choices(self) -> None:
        """Offer the layers that there are."""
        self.truth.reset_choices()

    def offer(self, blocks: bool) -> None:
        """Offer what can be found out about the next run: of one over blocks nothing that needs whole slices."""
        self._off = _WHOLE & self.switches.keys() if blocks else set()
        self._why_off.setText(_WHY_OFF if self._off else "")
        self._why_off.setVisible(bool(self._off))
        for name, switch in self.switches.items():
            switch.setEnabled(name not in self._off)

    def show_state(self, can_look: bool, running: bool = False) -> None:
        """Enable what can be done now."""
        for name, switch in self.switches.items():
            switch.setEnabled(not running and name not in self._off)
        for part in (self._rows, self.affine):
            part.setEnabled(not running)
        self.look_button.setEnabled(can_look and not running)

    def tell(self, findings: Findings) -> None:
        """Show what was found out."""
        words = list(findings.sentences)
        if findings.maps:
            kinds = ", ".join(found.kind for found in findings.maps)
            words.append(("New layers", f"{kinds}: above the result and hidden; click the eye to see one."))
        self._text.setText(paragraphs(words))
        self._text.setVisible(bool(words))

    def _truths(self, _: Any = None) -> list[tuple[str, Any]]:
        return images_in(self._viewer)

    def _show_affine(self) -> None:
        self.affine.setVisible(self.truth.value is not None)


def truth_for(restoration: Asked, truth: Any) -> Any:
    """The pixels of a ground-truth layer in the axes of a restoration, read unless that goes block by block.

    Raises
    ------
    ValueError
        If it has no such slice.
    """
    source = restoration.source
    axes = len(source.geometry.scale)
    where = restoration.where if truth.ndim == axes else layers.ALL
    chosen = layers.select(truth, where=where, space=min(source.space, truth.ndim), window=_fine(restoration))
    if restoration.lazy:
        return chosen.array
    image = chosen.read().image
    if truth.ndim < axes:  # one plane for the slice that was restored
        image = image.reshape((1,) * (axes - truth.ndim) + image.shape)
    return np.asarray(image)


def _fine(restoration: Asked) -> tuple[slice, ...] | None:
    """The part of a truth, on the grid of the result, that a restoration is of."""
    factors = (restoration.factor or (1, 1))[-2:]
    window = restoration.window
    return window and tuple(slice(f * each.start, f * each.stop) for f, each in zip(factors, window, strict=True))


def _switch(text: str, tooltip: str) -> QCheckBox:
    switch = QCheckBox(text)
    switch.setToolTip(tip(tooltip))
    return switch
