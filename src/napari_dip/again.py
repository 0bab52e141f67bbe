"""A run as the text that repeats it: Python, or a command of a shell. On a CPU both give the identical image."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_dip.plan.request import OWN, arguments
from napari_dip.tables.parts import OwnPart, only_named
from napari_dip.tables.settings import Settings, knobs_of

_ORDINARY = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".npy", ".lsm", ".zarr")


@dataclass(frozen=True, kw_only=True)
class Beside:
    """File of an image that a run had beside its own: a measured point spread function, or a guide.

    Attributes
    ----------
    file, layer : str
        Its file, and the layer that it was.
    saved, by_napari : bool
        As of `Again`.
    fingerprint : str
        Of its pixels.
    """

    file: str
    layer: str
    saved: bool
    by_napari: bool
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Again:
    """All that it takes to repeat a run.

    Attributes
    ----------
    task : str
    settings : Settings
        As the run had them, with what ``auto`` became.
    said : dict
        Arguments of the problem besides image, mask and voxel size, as they were said.
    image, mask : str
        Files of the image and the mask; empty without one.
    saved, mask_saved : bool
        False if somebody has to save the layer there first.
    layer, mask_layer : str
        What layers they were.
    by_napari : bool
        True if napari's own reader opened the image: its axes are in the order of the file.
    part : tuple of slice or None
        What was restored, along the axes without the colours; None for all.
    label : int or None
        The label that means missing; None for every other than 0.
    axes : dict
        ``leading_axes`` and ``channel_axis``.
    space : int
        Number of axes of space.
    voxel_size : tuple of float or None
    place : dict
        ``labels``, ``scale`` and ``units`` of the axes of the result, and ``rgb``, as `pictures.make` takes them.
    alpha : bool
        True if the image has transparency as its last channel, which is not restored.
    fingerprint : str
        Of the pixels that were restored.
    beside : dict
        `Beside` of each argument that was an image, by its name.
    """

    task: str
    settings: Settings
    image: str
    layer: str
    fingerprint: str
    space: int
    said: dict[str, Any] = field(default_factory=dict)
    mask: str = ""
    mask_layer: str = ""
    by_napari: bool = False
    saved: bool = True
    mask_saved: bool = True
    part: tuple[slice, ...] | None = None
    label: int | None = None
    axes: dict[str, Any] = field(default_factory=dict)
    voxel_size: tuple[float, ...] | None = None
    place: dict[str, Any] = field(default_factory=dict)
    alpha: bool = False
    beside: dict[str, Beside] = field(default_factory=dict)

    @property
    def result(self) -> str:
        """A name for the file of the result."""
        path = Path(self.image)
        name = path.name.partition(".")[0] or path.name
        return str(path.with_name(f"{name} again.ome.tif"))

    def python(self) -> str:
        """A script that restores the same pixels in the same way, and saves the result.

        Raises
        ------
        ValueError
            If the run was with an array that no layer has, such as a guide on another grid, or with a part of the
            user's own that is in no file.
        """
        self._check_parts()
        said = {name: value for name, value in self.said.items() if value is not None}
        noise = said.pop("image_noise", None)
        asked = {name: _plain(value) for name, value in said.items() if name not in self.beside}
        # not the axes that are as they are without a word
        asked |= {name: n for name, n in self.axes.items() if n is not None and (name != "leading_axes" or n)}
        if self.voxel_size is not None:
            asked["voxel_size"] = tuple(map(float, self.voxel_size))
        call = [f"    {name}={_python(name, value)}," for name, value in {**asked, **self.settings.chosen}.items()]
        call += [f"    {name}={name}," for name in self.beside]
        call += ["    image_noise=noise,"] * (noise is not None)
        lines = [
            *self._reading(),
            *([] if noise is None else _noise(noise)),
            _checked("image", self.fingerprint, "not the pixels that were restored"),
            f"result = napari_dip.{self.task}(",
            "    image,",
            *["    mask,"] * bool(self.mask),
            *call,
            ")",
            "print(result)",
            *self._saving(),
        ]
        return "\n".join(lines) + "\n"

    def _check_parts(self) -> None:
        """Refuse parts of the user's own that are in no file, of which a text has no more than the name."""
        for name, part in {**self.settings.chosen, **{name: self.said.get(name) for name in OWN}}.items():
            part = OwnPart(part) if callable(part) else part
            if isinstance(part, OwnPart) and not part.file:
                raise ValueError(only_named({name: part}))

    def _saving(self) -> list[str]:
        """Lines that save the result: with all that its file says, or, of a part, with what the layer says."""
        if self.part is None and not self.by_napari:
            return [f"result.save({self.result!r}, like={self.image!r})"]
        place = "".join(f", {name}={value!r}" for name, value in self.place.items())
        return [
            f"picture = pictures.make(result.image{place}, record=result.record)",
            f"pictures.save({self.result!r}, picture)",
        ]

    def _reading(self) -> list[str]:
        """Lines that read the image and its mask, as far as they were restored."""
        lines = [
            *["import imageio.v3 as iio"] * any([self.by_napari, *(each.by_napari for each in self.beside.values())]),
            *["import numpy as np"] * (bool(self.mask) or self.said.get("image_noise") is not None),
            "import napari_dip",
            "from napari_dip import pictures",
            "",
            *self._to_do(),
            f"image = {_read(self.image, self.by_napari)}",
        ]
        for name, each in self.beside.items():
            lines.append(f"{name} = {_read(each.file, each.by_napari)}")
            lines.append(_checked(name, each.fingerprint, f"not the {name} of the run"))
        part = [":" if each == slice(None) else f"{each.start}:{each.stop}" for each in self.part or ()]
        if self.mask:
            marked = "!= 0" if self.label is None else f"== {self.label}"
            colours = self.axes.get("channel_axis") == -1 or self.alpha
            shape = "image.shape[:-1]" if colours else "image.shape"
            lines.append(f"mask = np.broadcast_to(pictures.read({self.mask!r}).values {marked}, {shape})")
            lines += [f"mask = mask[{', '.join(part)}]"] if part else []
        part += ["..., :3"] * self.alpha
        return lines + ([f"image = image[{', '.join(part)}]"] if part else [])

    def _to_do(self) -> list[str]:
        """Comments on layers that have no file yet."""
        images = [(self.layer, self.image, self.saved)]
        images += [(each.layer, each.file, each.saved) for each in self.beside.values()]
        save = "# save layer {!r} as {!r} first: File > Save Selected Layers..."
        told = [save.format(layer, file) for layer, file, saved in images if not saved]
        if self.mask and not self.mask_saved:
            told.append(
                f"# save what layer {self.mask_layer!r} marks as {self.mask!r}, Labels on the grid of the image"
            )
        return told

    def command(self) -> str:
        """A command that restores the same file in the same way.

        Raises
        ------
        ValueError
            If a command cannot say what was restored; the message says what to do instead.
        """
        self._check_parts()
        if self.part is not None:
            raise ValueError("a command restores all of a file, and this run was of a part of it; copy it as Python")
        if self.axes.get("channel_axis") == 0:
            raise ValueError("how slices restored together are called is not known here; copy it as Python")
        words = ["napari-dip", self.task, self.image, self.result]
        words += ["--volume"] * (self.space == 3)
        if self.mask:
            words += ["--mask", self.mask, *([] if self.label is None else ["--mask-label", str(self.label)])]
        for name, value in self.said.items():
            if name in self.beside:
                words += [self._flag(name, file=True), self.beside[name].file]
            elif value is not None:
                words += [self._flag(name), _text(_plain(value))]
        options = knobs_of(self.task)
        for name, value in self.settings.chosen.items():
            flag = name.replace("_", "-")
            if name in options and options[name].kind == "bool":
                words.append(f"--{flag}" if value else f"--no-{flag}")
            elif name in options:
                words += [f"--{flag}", _text(value)]
        return "\n".join([*self._to_do(), shlex.join(words)]) + "\n"

    @staticmethod
    def _flag(name: str, file: bool = False) -> str:
        """The option of an argument that is said by numbers or names, or by a file."""
        ways = [option for option in arguments()[name].options if option.file == file]
        if not ways:
            raise ValueError(f"{name} cannot be said in a command; copy the run as Python")
        return ways[0].flag


def _plain(value: Any) -> Any:
    """A value as a script or a command can say it.

    Raises
    ------
    ValueError
        For an array.
    """
    if isinstance(value, np.ndarray) and value.ndim > 0 and value.size > 3:
        raise ValueError(
            "the run was with an image beside the image that is no layer, or a guide on another grid; repeat it in the "
            "window"
        )
    if isinstance(value, (tuple, list, np.ndarray)):
        return tuple(each.item() if isinstance(each, np.generic) else each for each in value)
    return value.item() if isinstance(value, np.generic) else value


def _read(file: str, by_napari: bool) -> str:
    return f"iio.imread({file!r})" if by_napari else f"pictures.read({file!r}).samples()"


def _checked(name: str, fingerprint: str, otherwise: str) -> str:
    return f"assert napari_dip.fingerprint({name}) == {fingerprint!r}, {otherwise!r}"


def _noise(noise: Any) -> list[str]:
    """Lines that make a noise."""
    said = {name: repr(value) for name, value in vars(noise).items() if name != "autocorrelation"}
    said |= {name: f"float({value!r})" for name, value in said.items() if value in ("inf", "nan")}  # have no literal
    said["autocorrelation"] = f"np.array({noise.autocorrelation.tolist()})"
    return ["noise = napari_dip.Noise(", *(f"    {name}={value}," for name, value in said.items()), ")"]


def _python(name: str, value: Any) -> str:
    return f"napari_dip.part_in_file({name!r}, {value.file!r})" if isinstance(value, OwnPart) else repr(value)


def _text(value: Any) -> str:
    if isinstance(value, OwnPart):
        return value.file
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def file_for(layer: str, path: Sequence[str] | str | None) -> tuple[str, bool]:
    """The file of a layer, and whether it is there; else a name for it."""
    if isinstance(path, str) and path and Path(path).suffix.lower() in _ORDINARY:
        return path, True
    return f"{as_name(layer)}.ome.tif", False


def as_name(words: str) -> str:
    """A name of a file, of the name of a layer or other words, which may have a slash."""
    return "".join(c if c.isalnum() or c in " -_.+()" else "_" for c in words)
