"""An image with what its file knows about it: axes, pixel size, transparency, and the record of its restoration."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from napari_dip.io.channels import SIGNED, Array, Channel, Function, channels_in, moved, plain
from napari_dip.io.units import converted, same_kind

#: The order of the axes of every `Picture`; letters that are not in it come first.
ORDER = "TCZYXS"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image as read from a file.

    Attributes
    ----------
    values : array
        Without the alpha channel; in native byte order.
    axes : str
        One letter for each axis, in the order of `ORDER`: time, channel, z, y, x, and S for the samples of a colour.
        Pages that the file does not name are z, then time.
    alpha : array or None
        Opacity, with the axes of `values` but S.
    order : str
        The axes, with S for colours or alpha, in the order in which the file has them; empty for that of `axes`.
    pixel_size : dict of float
        Axis -> distance between two pixels, as far as it is known, in the unit that `unit_of` gives.
    unit : str
        Of the distances along Z, Y and X, such as "µm"; empty for pixels.
    units : dict of str
        Axis -> unit, of those that have another one than `unit`, and of T than "s".
    channels : tuple of Channel
        One for each along C, or a single one if there is no such axis; empty if nothing is known of them.
    labels : tuple of str
        Of the slices, in the order t, z, c; empty if there are none.
    function : Function or None
        From `values` to those that are shown, where they are others.
    enlarged : dict of int
        Axis -> factor by which the grid is finer than that of the file.
    notes : str
        The text that the file carried: ImageJ's Info, or the description in OME.
    record : dict
        Of the restoration that made the image; empty if none did.
    display : dict
        Metadata that only its own file format can hold, in the words of that format.
    unread : bool array or None
        True where the file is damaged, with the axes of `values` but S; None where it is not.
    """

    values: Array
    axes: str
    alpha: Array | None = None
    order: str = ""
    pixel_size: dict[str, float] = field(default_factory=dict)
    unit: str = ""
    units: dict[str, str] = field(default_factory=dict)
    channels: tuple[Channel, ...] = ()
    labels: tuple[str, ...] = ()
    function: Function | None = None
    enlarged: dict[str, int] = field(default_factory=dict)
    notes: str = ""
    record: dict[str, Any] = field(default_factory=dict)
    display: dict[str, Any] = field(default_factory=dict)
    unread: Array | None = None

    @property
    def slice_axes(self) -> str:
        """The axes without that of the colours."""
        return self.axes.replace("S", "")

    @property
    def slice_shape(self) -> tuple[int, ...]:
        """The shape without the colours."""
        return self.values.shape[: len(self.slice_axes)]

    def unit_of(self, axis: str) -> str:
        """Unit of the pixel size along an axis."""
        return self.units.get(axis, "s" if axis == "T" else "" if axis in "CS" else self.unit)

    def sizes_in(self, unit: str, axes: str) -> dict[str, float]:
        """Pixel sizes along some axes in one unit, as far as they are known and can be converted."""
        return {
            axis: converted(self.pixel_size[axis], self.unit_of(axis), unit)
            for axis in axes
            if axis in self.pixel_size and same_kind(self.unit_of(axis), unit)
        }

    def in_one_unit(self) -> Picture:
        """This picture with all lengths in the unit of X and times in s, where they can be converted."""
        sizes = self.pixel_size | self.sizes_in(self.unit, "XYZ") | self.sizes_in("s", "T")
        brought = {*self.sizes_in(self.unit, "XYZ"), *self.sizes_in("s", "T")}
        units = {axis: unit for axis, unit in self.units.items() if axis not in brought}
        return replace(self, pixel_size=sizes, units=units)

    def restored(self, values: Array, factors: Mapping[str, int], record: dict[str, Any]) -> Picture:
        """This picture with other values, on a grid that is finer by `factors` (axis -> factor)."""
        alpha = self.alpha
        if alpha is not None:
            for axis, factor in factors.items():
                alpha = alpha.repeat(factor, self.slice_axes.index(axis))
        sizes = {axis: size / factors.get(axis, 1) for axis, size in self.pixel_size.items()}
        finer = {axis: factor for axis, factor in factors.items() if factor > 1}
        labels = () if set(finer) - set("YX") else self.labels
        return replace(
            self, values=values, alpha=alpha, pixel_size=sizes, labels=labels, enlarged=finer, record=record
        ).shown()

    def shown(self) -> Picture:
        """This picture with its function applied, where that is possible: to fractions and signed whole numbers."""
        function, values = self.function, self.values
        if function is None or not function.known:
            return self
        if values.dtype.kind == "f":
            values = np.asarray(function(values.astype(np.float64)), values.dtype)
        elif values.dtype == np.uint16 and function.code == 0 and function.coefficients[:2] == (-SIGNED, 1):
            values = (values ^ SIGNED).view(np.int16)
        else:
            return self
        return replace(self, values=values, function=None, channels=moved(self.channels, function))

    def measurement(self) -> Picture:
        """A picture for values of another kind, such as a residual: in the same place, without how values are shown."""
        channels = tuple(Channel(name=each.name) for each in self.channels)
        slope = None
        if self.function is not None and self.function.code == 0 and self.function.known:
            slope = replace(self.function, coefficients=(0.0, self.function.coefficients[1]))
        return replace(self, alpha=None, channels=channels, labels=(), function=slope, display={})

    @property
    def sample_axes(self) -> str:
        """The axes of `samples`."""
        return self.axes if self.alpha is None else self.slice_axes + "S"

    def samples(self) -> Array:
        """The values with the alpha channel as their last sample."""
        if self.alpha is None:
            return self.values
        colours = self.values if "S" in self.axes else self.values[..., None]
        return np.concatenate([colours, self.alpha[..., None].astype(colours.dtype)], axis=-1)

    def in_order(self, order: str) -> tuple[Array, str]:
        """The samples with their axes in this order, and their axes; S is last where it is not named."""
        values, axes = self.samples(), self.sample_axes
        place = {letter: len(order) if letter == "S" and "S" not in order else order.find(letter) for letter in axes}
        by = sorted(range(len(axes)), key=lambda i: place[axes[i]])
        return np.ascontiguousarray(values.transpose(by)), "".join(axes[i] for i in by)

    def sheet(self) -> dict[str, Any]:
        """Axes, pixel sizes and channels, fit for JSON."""
        units = {"units": self.units} if self.units else {}
        channels = {"channels": [plain(each) for each in self.channels]} if self.channels else {}
        labels = {"labels": list(self.labels)} if self.labels else {}
        about = {"axes": self.sample_axes, "pixel_size": self.pixel_size, "unit": self.unit}
        return about | units | channels | labels

    def text(self) -> str:
        """The record as JSON, followed by the notes of the file that the image came from."""
        head = json.dumps({"napari-dip": self.record}, indent=1) if self.record else ""
        return "\n".join(filter(None, (head, self.notes)))


def known_in(sheet: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a `Picture` that `Picture.sheet` wrote down."""
    return {
        "pixel_size": dict(sheet.get("pixel_size", {})),
        "unit": str(sheet.get("unit", "")),
        "units": dict(sheet.get("units", {})),
        "channels": channels_in(sheet.get("channels")),
        "labels": tuple(sheet.get("labels", ())),
    }


def make_picture(values: Array, axes: str, *, has_alpha: bool = False, **rest: Any) -> Picture:
    """Make a `Picture` of values as a file holds them: name and order their axes, and split off alpha.

    Raises
    ------
    ValueError
        If it is no image.
    """
    if values.size == 0:
        raise ValueError(f"it is empty, of shape {values.shape}")
    axes = _named(axes)
    if not {"Y", "X"} <= set(axes):
        raise ValueError(f"an image has at least two axes, y and x, but this has shape {values.shape}")
    order = sorted(range(len(axes)), key=lambda i: ORDER.find(axes[i]))
    rest.setdefault("order", axes)
    values = np.transpose(values, order).astype(values.dtype.newbyteorder("="), copy=False)
    axes = "".join(axes[i] for i in order)
    alpha = None
    if has_alpha:
        values, alpha = values[..., :-1], values[..., -1]
    if axes.endswith("S") and values.shape[-1] == 1:
        values, axes = values[..., 0], axes[:-1]
    if "notes" in rest:
        rest["record"] = record_in(rest["notes"])
    return Picture(values=values, axes=axes, alpha=alpha, **rest)


def guess_axes(shape: tuple[int, ...]) -> str:
    """Axes of an array that names none: at most four values along the last of three or more axes are colours."""
    colours = "S" if len(shape) > 2 and shape[-1] <= 4 else ""
    return "YX"[-len(shape) :].rjust(len(shape) - len(colours), "Q") + colours


def _named(axes: str) -> str:
    """The axes with a name for those (I, Q) that the file leaves open."""
    unknown = axes.count("Q") + axes.count("I")
    free = [letter for letter in "TCZ" if letter not in axes]
    if free == ["T", "C", "Z"] and unknown < 3:
        free.remove("C")
    names = iter(["Q"] * (unknown - len(free)) + free[max(0, len(free) - unknown) :])
    return "".join(next(names) if letter in "QI" else letter for letter in axes)


def record_in(text: str) -> dict[str, Any]:
    """The record that a text begins with, or an empty one."""
    try:
        found, _ = json.JSONDecoder().raw_decode(text)
        return dict(found["napari-dip"])
    except RecursionError:
        warnings.warn("the record in the file is nested too deep to be read, and is left out", stacklevel=2)
    except (ValueError, KeyError, TypeError):
        pass
    return {}
