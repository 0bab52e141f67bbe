"""What is known of the camera: its gain, offset and read noise."""

from __future__ import annotations

import numpy as np
from magicgui.widgets import LineEdit
from qtpy.QtCore import Signal

from napari_dip.viewer.form import Rows

_WRONG = "{name}={text!r} must be a number, or empty to have it estimated from the image"


class Camera(Rows):
    """Rows for what is known of the camera; what is left empty is estimated from the image."""

    changed = Signal()

    def __init__(self) -> None:
        rows = {
            "gain": ("Gain (counts per electron)", "0 if the noise does not depend on the signal."),
            "offset": ("Offset (counts)", "What the camera reads at no light."),
            "read_noise": ("Read noise (counts)", "Standard deviation of what the camera reads at no light."),
        }
        self.rows = {
            name: LineEdit(name=name, label=label, tooltip=f"{help} Empty: estimated from the image.")
            for name, (label, help) in rows.items()
        }
        super().__init__(list(self.rows.values()))
        for row in self.rows.values():
            row.native.setPlaceholderText("estimated")
            row.changed.connect(self._tell)

    def values(self) -> dict[str, float]:
        """Argument of `napari_dip.iterate` -> value, for the rows that are filled in.

        Raises
        ------
        ValueError
            If one is not a number, or cannot be.
        """
        written = {name: row.value.strip() for name, row in self.rows.items()}
        found = {}
        for name, text in written.items():
            try:
                if text:
                    found[name] = float(text)
            except ValueError:
                raise ValueError(_WRONG.format(name=name, text=text)) from None
            if text and (not np.isfinite(found[name]) or (found[name] < 0 and name != "offset")):
                raise ValueError(_WRONG.format(name=name, text=text).replace("a number", "a number from 0 up"))
        return found

    def take(self, values: dict[str, float]) -> None:
        """Fill in these values, and leave the other rows empty."""
        for name, row in self.rows.items():
            row.value = str(values.get(name, ""))

    def _tell(self) -> None:
        self.changed.emit()
