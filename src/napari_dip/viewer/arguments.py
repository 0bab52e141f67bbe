"""Rows for what is known of the problem besides its image: an argument of `Request` each, with those beside it.

An argument of a kind that no class here is for gets a plain row, made of what its field says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from magicgui.widgets import ComboBox, FloatSlider, FloatSpinBox, LineEdit, SpinBox
from qtpy.QtWidgets import QSlider

from napari_dip.plan.instrument import reach_of, read_psf
from napari_dip.plan.request import BEYOND, Request, arguments, arguments_of
from napari_dip.plan.values import read_factor
from napari_dip.tables.record import fingerprint
from napari_dip.tables.tasks import TASKS
from napari_dip.viewer import layers
from napari_dip.viewer.rows import ChoiceOrNone, Rows

_LOOKED_AT = 2**18  # pixels of a measured PSF at the most, that is looked at before a run: a tenth of a second
_WIDEST = 100  # pixels of a standard deviation
_NUMBER, _APART = re.compile(r"\d+\.?\d*|\.\d+"), re.compile(r"\s*[,;]\s*|\s+")
_EITHER = re.compile(r"(\d+),(\d+)")  # with a decimal comma, or two whole ones


class Known(Rows):
    """Rows for an argument, and for those that say how to read it.

    Parameters
    ----------
    name : str
        Of the argument.
    needed : bool
        A task does nothing without it.
    images : callable
        The layers to choose from, as magicgui asks for them.
    """

    title = ""  # of the section that it is folded into where it is not needed

    def __init__(self, name: str, needed: bool, images: Callable[[Any], list[tuple[str, Any]]]) -> None:
        self.name = name
        own = self._own(needed, images)
        self.beside = {other: _plain(other) for other, each in arguments().items() if each.beside == name}
        super().__init__([*own, *self.beside.values()])
        self.watch(*own, *self.beside.values())

    def _own(self, needed: bool, images: Callable[[Any], list[tuple[str, Any]]]) -> list[Any]:
        self.row = _plain(self.name)
        return [self.row]

    def reset_choices(self) -> None:
        """Offer the layers that there are."""

    def show_rows(self, space: int) -> None:
        """Show the rows that matter for so many axes of space."""

    def value(self, space: int) -> Any:
        """The argument; None if nothing is said of it."""
        return self.row.value

    def said(self, space: int) -> dict[str, Any]:
        """Argument -> value."""
        value = self.value(space)
        return {} if value is None else {self.name: value, **{n: row.value for n, row in self.beside.items()}}

    def words(self, layer: Any, space: int) -> str:
        """Part of the argument in the sentence on a run, with "{}" for the layer; empty if that goes without saying.

        Raises
        ------
        ValueError
            If it is not fit.
        """
        return ""

    def check(self, layer: Any) -> None:
        """Raise a `ValueError` that says what to do where the argument makes no sense for a layer."""

    def take(self, asked: dict[str, Any]) -> None:
        """Choose what another run was asked for, as far as its record has it."""
        for name, row in self.beside.items():
            if asked.get(name) is not None:
                row.value = asked[name]

    def lacking(self, asked: dict[str, Any]) -> str:
        """Sentence on what another run was asked for and no record has; empty if nothing is."""
        return ""


class Factor(Known):
    """The factor of a super-resolution, and how the instrument sampled."""

    def _own(self, needed: bool, images: Any) -> list[Any]:
        self.z, self.yx = (
            SpinBox(name=name, label=label, value=value, min=1, max=16, tooltip=tooltip)
            for name, label, value, tooltip in (
                ("factor_z", "Enlarge z by", 1, "Fine planes per plane of a volume."),
                ("factor", "Enlarge by", 2, "Fine pixels per pixel, along y and x."),
            )
        )
        return [self.z, self.yx]

    def show_rows(self, space: int) -> None:
        self.show_row(self.z, space == 3)

    def value(self, space: int) -> Any:
        return (self.z.value, self.yx.value, self.yx.value)[-space:]

    def words(self, layer: Any, space: int) -> str:
        if max(self.value(space)) == 1:
            raise ValueError("Choose a factor of 2 or more.")
        factor = read_factor(self.value(space), space)
        along = {"z": factor[0] if space == 3 else 1, "y and x": factor[-1]}
        times = " and ".join(f"{times} times along {axes}" for axes, times in along.items() if times > 1)
        sizes, units = layer.scale[-space:] / factor, {f"{unit:~}" for unit in layer.units[-space:]}
        measured = len(units) == 1 and units != {"pixel"}  # else there is no size to speak of
        pixels = f", to pixels of {' x '.join(f'{each:.4g}' for each in sizes)} {units.pop()}" if measured else ""
        return f"enlarge {{}} {times}{pixels}"

    def take(self, asked: dict[str, Any]) -> None:
        super().take(asked)
        self.yx.value = asked["factor"][-1]
        self.z.value = asked["factor"][-3] if len(asked["factor"]) == 3 else 1


class PointSpread(Known):
    """The blur of the instrument: a layer that shows its point spread function, or the width of a Gaussian."""

    title = "Point spread function"

    def _own(self, needed: bool, images: Callable[[Any], list[tuple[str, Any]]]) -> list[Any]:
        self.layer = ChoiceOrNone(
            name="psf",
            label="Point spread",
            choices=images,
            tooltip="An image layer that shows a point as the instrument sees it, with pixels as large as those of the "
            "result. None: a Gaussian.",
        )
        width = "standard deviation of the Gaussian, in pixels of the result: its full width at half maximum over 2.35."
        first = "" if needed else "0"  # no width is a guess of ours
        self.sigma_z = LineEdit(
            name="sigma_z", label="Sigma z (px)", value=first, tooltip=f"Along z: {width} 0: no blur."
        )
        self.sigma = LineEdit(
            name="sigma",
            label="Sigma y, x (px)",
            value=first,
            tooltip=f"One number, such as 1.5, or one for y and one for x: 1.5, 2. It is the {width} 0: no blur.",
        )
        for row in (self.sigma_z, self.sigma):
            row.native.setPlaceholderText("not said")
        self._needed, self._images = needed, images
        self._sized: tuple[Any, Any] = None, None
        return [self.layer, self.sigma_z, self.sigma]

    @property
    def centre(self) -> Any:
        """Row for the place of the point in the layer of a PSF."""
        return self.beside["psf_centre"]

    def reset_choices(self) -> None:
        self.layer.reset_choices()

    def show_rows(self, space: int) -> None:
        measured = self.layer.value is not None
        self.show_row(self.centre, measured)
        self.show_row(self.sigma, not measured)
        self.show_row(self.sigma_z, not measured and space == 3)

    def value(self, space: int) -> Any:
        if self.layer.value is not None:
            return layers.pixels(self.layer.value)
        if self._unsaid(space):
            return None
        along_z = _sigmas(self.sigma_z.value, "z")[:1] if space == 3 else ()
        sigmas = (*along_z, *_sigmas(self.sigma.value, "y, x"))
        return sigmas if any(sigmas) else None

    def _unsaid(self, space: int) -> list[str]:
        """Labels of the widths that are needed and not said."""
        rows = (self.sigma_z, self.sigma)[3 - space :] if self._needed else ()
        return [row.label.removesuffix(" (px)") for row in rows if not row.value.strip()]

    def check(self, layer: Any) -> None:
        if self.layer.value is layer:
            raise ValueError(f"'{layer.name}' is chosen as the point spread function; choose another image to restore.")

    def words(self, layer: Any, space: int) -> str:
        psf = self.layer.value
        if psf is not None and psf.ndim != space:
            raise ValueError(
                f"'{psf.name}' has {psf.ndim} axes, but what is restored has {space}: choose another point spread "
                "function, or another row under Restore."
            )
        if psf is not None:
            return f"undo the blur of '{psf.name}'{self._size(psf, space)} in {{}}"
        if unsaid := self._unsaid(space):
            which = " and ".join(unsaid)
            raise ValueError(
                f"How wide is the blur? Type {which}, such as 1.5, or choose an image of a point as Point spread."
            )
        if self.value(space) is None and self._needed:
            raise ValueError("A sigma above 0 says how wide the blur is.")
        return "undo a Gaussian blur in {}" if self.value(space) else ""

    def _size(self, psf: Any, space: int) -> str:
        """Part of a measured PSF that holds its light, in words; empty for all of it, and for a large one."""
        given, used = psf.data.shape, self._looked_at(psf, space)[0]
        cropped = math.prod(used) < math.prod(given)
        words = (" x ".join(map(str, each)) for each in (used, given))
        return " (its light is in {} of its {} pixels)".format(*words) if cropped else ""

    def take(self, asked: dict[str, Any]) -> None:
        super().take(asked)
        sigmas = asked.get("psf_sigma")
        if sigmas is None and isinstance(asked["psf"], int | float):  # of a run over blocks
            sigmas = [asked["psf"]] * 3
        if sigmas is None:
            there = (layer for _, layer in self._images(self.layer) if self._is_of(asked, layer))
            self.layer.value = next(there, self.layer.value)
            return
        self.layer.value = None
        *z, y, x = (np.format_float_positional(each, trim="-") for each in sigmas)
        self.sigma_z.value = z[0] if z else self.sigma_z.value
        self.sigma.value = y if y == x else f"{y}, {x}"

    def lacking(self, asked: dict[str, Any]) -> str:
        measured = isinstance(asked.get("psf"), str) and not asked.get("psf_sigma")
        return "Choose its point spread function." if measured and not self._is_of(asked, self.layer.value) else ""

    def _is_of(self, asked: dict[str, Any], psf: Any) -> bool:
        """True if a layer is the measured point spread function of another run."""
        size = asked.get("psf_size")
        if psf is None or not size or list(psf.data.shape) != size["given"]:
            return False
        return asked["psf"] == fingerprint(read_psf(layers.pixels(psf), psf.ndim, self.centre.value))

    def reach(self, space: int) -> tuple[int, ...]:
        """Pixels from beyond which hardly any light comes, along each axis; 0 where that is not known."""
        if self.layer.value is not None:
            return self._looked_at(self.layer.value, space)[1]
        return tuple(reach_of(read_psf(sigma, 1), BEYOND)[0] if sigma else 0 for sigma in self.value(space) or ())

    def _looked_at(self, psf: Any, space: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Size of the part of a measured PSF that holds its light, and its reach; a large one is not looked at."""
        key = id(psf), id(psf.data), self.centre.value
        if math.prod(psf.data.shape) > _LOOKED_AT:
            return psf.data.shape, (0,) * space
        if key != self._sized[0]:
            read = read_psf(layers.pixels(psf), space, self.centre.value)
            self._sized = key, (read.shape, reach_of(read, BEYOND))
        return self._sized[1]


def _sigmas(text: str, axes: str) -> tuple[float, float]:
    """Two numbers, for y and x, of a text with one or two; for z of a text with one.

    Raises
    ------
    ValueError
        If it is neither, or may be the one or the other.
    """
    two_may_be = axes != "z"
    if two_may_be and (found := _EITHER.fullmatch(text.strip())):
        one, two = ".".join(found.groups()), ", ".join(found.groups())
        raise ValueError(f"Sigma y, x: '{text}' may be one number or two; type {one}, or {two} with a space.")
    parts = [part for part in _APART.split(text.strip()) if part]
    numbers = [float(part) if _NUMBER.fullmatch(part) else math.nan for part in parts]
    if len(numbers) not in (1, 1 + two_may_be) or not all(0 <= each <= _WIDEST for each in numbers):
        two = ", or two, for y and x: 1.5, 2" if two_may_be else ""
        raise ValueError(f"Sigma {axes}: type one number from 0 to {_WIDEST}, such as 1.5{two}.")
    return numbers[0], numbers[-1]


class Boost(Known):
    """A slider for the multiple of detail, which the last result follows at once."""

    def _own(self, needed: bool, images: Callable[[Any], list[tuple[str, Any]]]) -> list[Any]:
        argument = arguments()["boost"]
        self.row = FloatSlider(
            name="boost", label=argument.label, tooltip=argument.help, value=2, min=-1, max=10, step=0.1
        )
        self._forget = lambda: None
        for slider in self.row.native.findChildren(QSlider):  # one for the keys, not its readout
            whole = slider.maximum() - slider.minimum()
            slider.setSingleStep(whole // 100)
            slider.setPageStep(whole // 10)
        return [self.row]

    def take(self, asked: dict[str, Any]) -> None:
        super().take(asked)
        self.row.value = asked["boost"]

    def lead(self, follow: Callable[[float], None]) -> None:
        """Let `follow` have each new value, in place of what followed before."""
        self._forget()
        self.row.changed.connect(follow)
        self._forget = lambda: self.row.changed.disconnect(follow)


class Camera(Rows):
    """Rows for what is known of the camera; what is left empty is estimated from the image."""

    def __init__(self) -> None:
        self.rows = {
            name: LineEdit(name=name, label=each.label, tooltip=f"{each.help} Empty: estimated from the image.")
            for name, each in arguments().items()
            if each.group
        }
        super().__init__(list(self.rows.values()))
        for row in self.rows.values():
            row.native.setPlaceholderText("estimated")
        self.watch(*self.rows.values())

    def values(self) -> dict[str, float]:
        """Argument -> value, for the rows that are filled in.

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
                found[name] = np.nan
            if text and not (np.isfinite(found[name]) and (found[name] >= 0 or name == "offset")):
                least = "" if name == "offset" else " from 0 up"
                label = self.rows[name].label.partition(" (")[0]
                raise ValueError(f"{label}: type a number{least}, or leave it empty.")
        return found

    def take(self, values: dict[str, float]) -> None:
        """Fill in these values, and leave the other rows empty."""
        for name, row in self.rows.items():
            row.value = str(values.get(name, ""))


_KINDS: dict[str, type[Known]] = {"factor": Factor, "psf": PointSpread, "boost": Boost}


def known_of(task: str, images: Callable[[Any], list[tuple[str, Any]]]) -> dict[str, Known]:
    """The rows of a task: argument -> rows."""
    row = TASKS[task]
    own = [name for name, each in arguments_of(task).items() if name in row.takes and not each.beside]
    return {name: _KINDS.get(name, Known)(name, name in row.needs, images) for name in own}


def _plain(name: str) -> Any:
    """A row for an argument that is one of several choices, or a number."""
    argument, default = arguments()[name], Request.__dataclass_fields__[name].default
    option = argument.options[0]
    words = {"name": name, "label": argument.label, "tooltip": argument.help}
    if option.choices:
        return ComboBox(**words, choices=list(option.choices), value=default)
    return FloatSpinBox(**words, value=default or 0, min=0, max=1e9, step=0.1)
