"""What is known of the blur of the instrument: a layer that shows its point spread function, or a Gaussian's width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import ComboBox, FloatSpinBox
from qtpy.QtCore import Signal

from napari_dip.instrument import CENTRES
from napari_dip.viewer import layers
from napari_dip.viewer.form import Rows


class PointSpread(Rows):
    """Rows for a point spread function.

    Parameters
    ----------
    images : callable
        The layers to choose from, as magicgui asks for them.
    sigma : float
        Of the Gaussian that is proposed; 0 for none.
    """

    changed = Signal()

    def __init__(self, images: Callable[[Any], list[tuple[str, Any]]], sigma: float) -> None:
        self.layer = ComboBox(
            name="psf",
            label="Point spread",
            choices=images,
            nullable=True,
            tooltip="An image layer that shows a point as the instrument sees it, with pixels as large as those of the "
            "result. None: a Gaussian.",
        )
        self.centre = ComboBox(
            name="psf_centre",
            label="Its centre",
            choices=list(CENTRES),
            tooltip="What of it is the place of the point: with the centre of mass no light is moved on the whole.",
        )
        self.sigma_z, self.sigma = (
            FloatSpinBox(
                name=name,
                label=f"Sigma {axes} (px)",
                value=sigma,
                min=0,
                max=100,
                step=0.1,
                tooltip="Standard deviation of the Gaussian, in pixels of the result: its full width at half maximum "
                "over 2.35. 0: no blur.",
            )
            for name, axes in (("sigma_z", "z"), ("sigma", "y, x"))
        )
        rows = [self.layer, self.centre, self.sigma_z, self.sigma]
        super().__init__(rows)
        for row in rows:
            row.changed.connect(self._tell)

    def reset_choices(self) -> None:
        """Offer the layers that there are."""
        self.layer.reset_choices()

    def show_rows(self, space: int) -> None:
        """Show the rows that matter for so many axes of space."""
        measured = self.layer.value is not None
        self.show_row(self.centre, measured)
        self.show_row(self.sigma, not measured)
        self.show_row(self.sigma_z, not measured and space == 3)

    def problem(self, space: int) -> dict[str, Any]:
        """Arguments of `Restoration`; none if there is no blur."""
        sigmas = (self.sigma_z.value, self.sigma.value, self.sigma.value)[-space:]
        if self.layer.value is None:
            return {"psf": sigmas} if any(sigmas) else {}
        return {"psf": layers.pixels(self.layer.value), "psf_centre": self.centre.value}

    def describe(self, space: int) -> str:
        """The blur in words; nothing if there is none.

        Raises
        ------
        ValueError
            If the layer has not so many axes.
        """
        psf = self.layer.value
        if psf is not None and psf.ndim != space:
            raise ValueError(
                f"'{psf.name}' has {psf.ndim} axes, but what is restored has {space}: choose another point spread "
                "function, or another row under Restore."
            )
        if psf is None:
            return "a Gaussian blur" if self.problem(space) else ""
        return f"the blur of '{psf.name}'"

    def _tell(self) -> None:
        self.changed.emit()
