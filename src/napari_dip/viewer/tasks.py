"""What each task asks for besides the image: a mask, a factor, the blur of the instrument."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import ComboBox, SpinBox

from napari_dip.inputs import read_factor
from napari_dip.instrument import KERNELS
from napari_dip.viewer.blur import PointSpread
from napari_dip.viewer.choice import Inputs
from napari_dip.viewer.form import Section


class InpaintInputs(Inputs):
    """With a mask, painted or chosen."""

    def _own_rows(self) -> list[Any]:
        return [self.mask, self.label, self.new_mask]

    def _followers(self) -> list[Any]:
        return [self.image, self.mask]

    def verb(self, layer: Any) -> str:
        mask = self.mask.value
        if mask is None and layer.dtype.kind != "f":
            raise ValueError("Choose a Labels layer that marks what is missing, or press 'New mask to paint on'.")
        if mask is None:
            return "Fill the NaN pixels (choose or add a mask for others) of"
        which = f"label {self.label.value}" if self.label.value else "every label"
        return f"Fill what {which} of '{mask.name}' marks in"


class SuperresolveInputs(Inputs):
    """With a factor, how the instrument sampled, and if it is known, how it blurred before."""

    def _build(self) -> None:
        super()._build()
        self.blur = PointSpread(self._images, sigma=0)
        self.layout().addWidget(Section("Point spread function", self.blur))

    def _own_rows(self) -> list[Any]:
        self.factor = SpinBox(
            name="factor",
            label="Factor y, x",
            value=2,
            min=1,
            max=16,
            tooltip="Fine pixels per pixel, along y and x.",
        )
        self.factor_z = SpinBox(
            name="factor_z",
            label="Factor z",
            value=1,
            min=1,
            max=16,
            tooltip="Fine planes per plane of a volume.",
        )
        self.kernel = ComboBox(
            name="kernel",
            label="Instrument blur",
            choices=list(KERNELS),
            tooltip="How the instrument blurred before it sampled: box is camera binning, lanczos2 a sharp optic.",
        )
        return [self.factor_z, self.factor, self.kernel, self.mask, self.label]

    def _watched(self) -> list[Any]:
        return [*super()._watched(), self.factor, self.factor_z, self.kernel, self.blur]

    def reset_choices(self) -> None:
        super().reset_choices()
        self.blur.reset_choices()

    def show_rows(self, guide: bool) -> None:
        super().show_rows(guide)
        self._rows.show_row(self.factor_z, self.space == 3)
        self.blur.show_rows(self.space)

    @property
    def factors(self) -> tuple[int, ...]:
        """One for each axis of space."""
        return (self.factor_z.value, self.factor.value, self.factor.value)[-self.space :]

    def problem(self) -> dict[str, Any]:
        return {"factors": self.factors, "kernel": self.kernel.value, **self.blur.problem(self.space)}

    def take_instrument(self, asked: dict[str, Any]) -> None:
        self.kernel.value = asked["kernel"]
        self.factor.value = asked["factor"][-1]
        self.factor_z.value = asked["factor"][-3] if len(asked["factor"]) == 3 else 1

    def verb(self, layer: Any) -> str:
        read_factor(self.factors, self.space)
        last = slice(-self.space, None)
        sizes = [
            f"{scale / factor:.4g} {unit:~}"
            for scale, factor, unit in zip(layer.scale[last], self.factors, layer.units[last], strict=True)
        ]
        along = {"z": self.factor_z.value if self.space == 3 else 1, "y and x": self.factor.value}
        times = " and ".join(f"{times} times along {axes}" for axes, times in along.items() if times > 1)
        blur = self.blur.describe(self.space)
        enlarge = f"Undo {blur} and enlarge" if blur else "Enlarge"
        missing = f", without what '{self.mask.value.name}' marks," if self.mask.value is not None else ","
        return f"{enlarge} {times}, to pixels of {' x '.join(sizes)}{missing}"


class DeconvolveInputs(Inputs):
    """With the blur of the instrument."""

    def _build(self) -> None:
        super()._build()
        self.blur = PointSpread(self._images, sigma=1.5)
        self.layout().insertWidget(self.layout().indexOf(self._rows), self.blur)

    def _watched(self) -> list[Any]:
        return [*super()._watched(), self.blur]

    def reset_choices(self) -> None:
        super().reset_choices()
        self.blur.reset_choices()

    def show_rows(self, guide: bool) -> None:
        super().show_rows(guide)
        self.blur.show_rows(self.space)

    def problem(self) -> dict[str, Any]:
        return self.blur.problem(self.space)

    def verb(self, layer: Any) -> str:
        blur = self.blur.describe(self.space)
        if not blur:
            raise ValueError("A sigma above 0 says how wide the blur is.")
        missing = f", without what '{self.mask.value.name}' marks," if self.mask.value is not None else ""
        return f"Undo {blur} of{missing}"
