"""A request: a task, an image, and what is known of the instrument that took it; every value is checked once.

An argument of the problem is one field of `Request` here, with its check, its words and its options on the command
line, a word in the rows of the tasks that take it, and a row in the form. How the problem is solved is no part of it:
that is a knob of `napari_dip.tables.settings`. Long because half of it is a table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.telling import refuse_labels, warn
from napari_dip.plan.inputs import Slices, read_slices
from napari_dip.plan.instrument import (
    CENTRES,
    KERNELS,
    background_of,
    finer,
    reach_of,
    read_kernel,
    read_psf,
    read_voxel_size,
)
from napari_dip.plan.values import read_boost, read_factor, read_guide, read_range
from napari_dip.tables import record
from napari_dip.tables.numbers import is_number, to_float
from napari_dip.tables.parts import OwnPart, read_part
from napari_dip.tables.tasks import TASKS, Task, task_named

if TYPE_CHECKING:
    from napari_dip.core.noise.model import Noise
    from napari_dip.core.operators import Operator

BEYOND = 0.02  # of the light may come from further out than the image is sought
AXES = ("channel_axis", "leading_axes")  # of the image, which are read with it
OWN = "operator", "fidelity", "denoiser"  # parts of the user's own; others are knobs
_PART = "callable or torch.nn.Module, optional"
_CAMERA = "the camera, where it is known; what is not given is estimated from IN"
_AS_WIDE = "give it as wide as the blur, in pixels of the restored image"


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of the command line."""

    flag: str
    help: str
    metavar: str | None = None
    type: Callable[[str], Any] = str
    several: str = ""  # an example of several values with commas between them, one for each axis of space
    choices: tuple[str, ...] | None = None
    file: bool = False  # an image file, whose pixels are the value
    colours: bool = True  # which it may have
    code: bool = False  # FILE.py:NAME, which is run

    @property
    def destination(self) -> str:
        """The attribute of the parsed arguments that has its value."""
        return self.flag.strip("-").replace("-", "_")


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One argument of a problem besides its image.

    Attributes
    ----------
    help : str
    kind : str
        Its type, as numpydoc has it.
    read : callable
        Checks a value; takes also the request as far as it is read.
    options : tuple of Option
        Ways to say it on the command line, of which one is taken.
    label : str
        Text beside its row in the form, where no row is made for it alone.
    group : str
        Heading of these in the help.
    beside : str
        Another argument, without which this one says nothing.
    kept : bool
        The record has its value, not a fingerprint; None if it has neither.
    """

    help: str
    kind: str
    read: Callable[[Any, Request], Any]
    options: tuple[Option, ...] = ()
    label: str = ""
    group: str = ""
    beside: str = ""
    kept: bool | None = True


def _argument(default: Any, kind: str, help: str, read: Callable[[Any, Request], Any], **rest: Any) -> Any:
    return field(default=default, metadata={"argument": Argument(help=help, kind=kind, read=read, **rest)})


def _own(name: str, help: str, brief: str) -> Any:
    """A part of the user's own; `brief` is the help of its option."""
    said = f"{brief} The file is run: docs/own-parts.md."
    option = Option(flag=f"--{name}", metavar="FILE.py:NAME", help=said, code=True)
    return _argument(None, _PART, help, lambda value, _: read_part(name, value), options=(option,), kept=False)


def _camera(name: str, label: str, help: str, brief: str = "") -> Any:
    """A figure of the camera; `brief` is the help of its option, by default the same."""

    def read(value: Any, _: Request) -> float:
        if not is_number(value):
            raise TypeError(f"{name}={value!r} is not one number; leave it out to have it estimated")
        return to_float(value)

    option = Option(flag=f"--{name.replace('_', '-')}", metavar="X", type=float, help=brief or help)
    more: dict[str, Any] = {"options": (option,), "label": label, "group": _CAMERA, "kept": None}
    return _argument(None, "float, optional", help, read, **more)


@dataclass(frozen=True, kw_only=True)
class Request:
    """A task, the image, and all that defines the problem, checked: made by `read_request` or `read_instrument`.

    Attributes
    ----------
    task : Task
    ndim : int
        Number of spatial axes, 2 or 3.
    image : Slices or None
        Image to restore, and its missing pixels; None where no pixel is at hand: for an estimate, or of an array
        that is read block by block.
    said : dict
        Arguments as they were given, by name: those of another request for a part of the same image.
    background : str
        The sentence on what is taken off the point spread function; empty if nothing is.
    """

    task: Task
    ndim: int
    image: Slices | None = None
    said: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    background: str = field(default="", repr=False, compare=False)
    factor: tuple[int, ...] | None = _argument(
        None,
        "int or sequence of int, optional",
        "Fine pixels per pixel of the input, for all spatial axes or one for each.",
        lambda value, so_far: read_factor(value, so_far.ndim),
        options=(
            Option(
                flag="--factor",
                metavar="N[,N...]",
                type=int,
                several="4 or 4,2",
                help="Fine pixels per pixel of IN: for all axes of space, or one for each: y,x, with --volume z,y,x.",
            ),
        ),
    )
    kernel: str = _argument(
        KERNELS[0],
        f"{{{', '.join(map(repr, KERNELS))}}}",
        "Blur of the instrument before it samples coarsely (super-resolution): box where a pixel is the mean over its "
        "area, as of a camera, of binning or of thick planes; lanczos2 where software made an image smaller.",
        lambda value, _: read_kernel(value),
        options=(
            Option(
                flag="--kernel",
                choices=KERNELS,
                help="Blur of the instrument before it samples: box where a pixel is the mean over its area.",
            ),
        ),
        label="Instrument blur",
        beside="factor",
    )
    psf_centre: str = _argument(
        CENTRES[0],
        f"{{{', '.join(map(repr, CENTRES))}}}",
        "Place of the point in a measured point spread function: its centre of mass, so that no light is moved on the "
        "whole; its brightest pixel; or the middle of the array.",
        lambda value, _: value,  # checked with the point spread function
        options=(
            Option(
                flag="--psf-centre", choices=CENTRES, help="Place of the point in a measured point spread function."
            ),
        ),
        label="Centre of the PSF",
        beside="psf",
        kept=None,
    )
    psf: npt.NDArray[np.float32] | None = _argument(
        None,
        "array-like with one axis for each spatial one, number, or sequence of numbers, optional",
        "The image of a point, measured or computed, in any unit and on the grid of the restored image; or the "
        "standard deviation of a Gaussian in pixels, for all spatial axes or one for each.",
        lambda value, so_far: read_psf(value, so_far.ndim, so_far.psf_centre),
        options=(
            Option(
                flag="--psf",
                metavar="FILE",
                file=True,
                colours=False,
                help="Image of a point, on the grid of OUT, in any unit.",
            ),
            Option(
                flag="--psf-sigma",
                metavar="X[,X...]",
                type=float,
                several="1.5 or 3,1,1",
                help="Or a Gaussian: standard deviation in pixels of OUT, for all axes of space, or one for each.",
            ),
        ),
        kept=False,
    )
    boost: float | None = _argument(
        None,
        "float, optional",
        "Multiple of the detail that is added to the image: 2 by default; 0 gives the image itself, -1 the coarse one.",
        lambda value, _: read_boost(value),
        options=(
            Option(
                flag="--boost",
                metavar="X",
                type=float,
                help="Multiple of the detail that is added to IN (default: 2); 0 gives IN itself, -1 the coarse image.",
            ),
        ),
        label="Boost of detail",
    )
    voxel_size: tuple[float, ...] | None = _argument(
        None,
        "sequence of float, optional",
        "Distances between neighbouring pixels along each spatial axis, in any unit. Where they differ, the generator "
        "halves a coarse axis later than a fine one. By default all are equal.",
        lambda value, so_far: read_voxel_size(value, so_far.ndim),
    )
    guide: npt.NDArray[np.float32] | None = _argument(
        None,
        "array-like, optional",
        'An image of the size of the restored one that serves as the code, with ``code="guide"``.',
        lambda value, so_far: value if so_far.image is None else so_far.widened(value),
        options=(
            Option(
                flag="--guide",
                metavar="FILE",
                file=True,
                help="An image of the size of OUT that guides the restoration (--code guide).",
            ),
        ),
        kept=False,
    )
    intensity_range: tuple[float, float] | None = _argument(
        None,
        "(float, float), optional",
        "The two intensities that become 0 and 1 for the generator; by default the smallest and largest known pixel.",
        lambda value, _: read_range(value),
    )
    gain: float | None = _camera(
        "gain",
        "Gain (counts per electron)",
        "Counts per photo-electron of the camera; 0 if the noise does not depend on the signal.",
        "Counts per photo-electron.",
    )
    offset: float | None = _camera("offset", "Offset (counts)", "Counts in the dark.")
    read_noise: float | None = _camera(
        "read_noise", "Read noise (counts)", "Standard deviation in the dark, in counts."
    )
    operator: OwnPart | None = _own(
        "operator",
        "The instrument, which light passes before that of the task: linear, of an image (1, C, *S) in the units of "
        "the measurement; its ``image_shape`` is that of the image, where it is not that of the measurement.",
        "The instrument, which light passes before that of the task.",
    )
    fidelity: OwnPart | None = _own(
        "fidelity",
        "Distance of ``(predicted, observed)``, two tensors (1, C, *S) scaled to 0..1 and zero where nothing was "
        "measured, as one number; in place of that of ``noise``.",
        "Distance of (predicted, observed).",
    )
    denoiser: OwnPart | None = _own(
        "denoiser",
        "Any function of a plane (y, x), a float array scaled to 0..1, and the standard deviation of its noise, that "
        "gives the plane without noise; in place of similar patches in the ``refine`` steps.",
        "Function of a plane and its noise, for the steps of refine.",
    )
    image_noise: Noise | None = _argument(
        None,
        "Noise, optional",
        "Noise of the image, where all of it is known, in place of these three and of an estimate.",
        lambda value, _: value,
        kept=None,
    )

    @property
    def slices(self) -> Slices:
        """The image as a row of slices."""
        assert self.image is not None
        return self.image

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape of the restored image."""
        return self.finer(self.slices.values.shape[2:])

    def finer(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial shape of what is restored of a measurement (*shape)."""
        fine = tuple(n * f for n, f in zip(shape, self.factor or (1,) * self.ndim, strict=True))
        return fine if self.operator is None else self.own_operator.image_shape(fine)

    @cached_property
    def margin(self) -> tuple[int, ...]:
        """Pixels by which the image is sought beyond the measurement, at each end of each axis of the restored grid."""
        return (0,) * self.ndim if self.psf is None else reach_of(self.psf, BEYOND)

    @property
    def psf_said(self) -> dict[str, Any]:
        """Of a Gaussian its sigma along each axis, of a measured point spread function its centre: for a record."""
        measured = np.ndim(self.said.get("psf", 0)) > 1
        gaussian = self.psf is not None and not measured
        sigma = np.broadcast_to(self.said["psf"], self.ndim).tolist() if gaussian else None
        return {"psf_sigma": sigma and list(map(float, sigma)), "psf_centre": self.psf_centre if measured else None}

    @property
    def spread(self) -> str:
        """A sentence if the light spreads over more than the image, or not at all; else an empty one."""
        if self.psf is not None and self.psf.size == 1:
            return f"psf has all light in one pixel and blurs nothing; {_AS_WIDE}"
        wider = spread_over(self.margin, self.shape)
        return f"psf {wider}; {_AS_WIDE}" if wider else ""

    @property
    def fine_voxel_size(self) -> tuple[float, ...] | None:
        """Voxel size of the restored image."""
        return finer(self.voxel_size, self.factor)

    @cached_property
    def camera(self) -> dict[str, float]:
        """Known gain, offset and read noise, by name."""
        given = {name: getattr(self.image_noise or self, name) for name in ("gain", "offset", "read_noise")}
        return {name: value for name, value in given.items() if value is not None}

    def widened(self, guide: Any) -> npt.NDArray[np.float32]:
        """A guide as a code (G, *sought), with the margin in which the image is sought too."""
        edges = [(0, 0), *((m, m) for m in self.margin)]
        return np.pad(read_guide(guide, self.slices, self.shape), edges, mode="symmetric")

    @property
    def own_operator(self) -> Operator:
        """The instrument of the user's own, which there is."""
        from napari_dip.core.operators import OwnOperator

        assert self.operator is not None
        return OwnOperator(self.operator)

    @property
    def own_parts(self) -> dict[str, OwnPart]:
        """Parts of the user's own, by name."""
        parts = {name: getattr(self, name) for name in OWN}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def foretells(self) -> bool:
        """True if similar patches foretell missing pixels: nothing else parts image and measurement."""
        return not (self.task.operators or self.operator or self.denoiser)

    def instrument(self, missing: npt.NDArray[np.bool_]) -> Operator:
        """The operator of a slice, of which pixels (C, *S) are missing."""
        import torch

        from napari_dip.core import operators

        parts = [getattr(operators, name).of(self) for name in self.task.operators]
        if self.operator is not None:
            parts.insert(0, self.own_operator)
        parts = [part for part in parts if part is not None]
        if missing.any():
            parts.append(operators.Mask(torch.from_numpy(~missing)[None]))
        return parts[0] if len(parts) == 1 else operators.Compose(*parts)

    @property
    def definition(self) -> dict[str, Any]:
        """The problem besides the image, fit for JSON: a run that goes on must have it in common with the first."""
        told = {
            name: None if argument.beside and getattr(self, argument.beside) is None else _plain(getattr(self, name))
            for name, argument in arguments().items()
            if argument.kept is not None
        }
        return {
            "task": self.task.name,
            "mask": record.fingerprint(self.image.missing) if self.image and self.image.missing.any() else None,
            **told,
            "camera": self.camera,
        }


@cache
def arguments() -> dict[str, Argument]:
    """Name -> `Argument` of every field that is one, in the order in which they are read."""
    return {each.name: each.metadata["argument"] for each in fields(Request) if "argument" in each.metadata}


def with_defaults(said: dict[str, Any]) -> dict[str, Any]:
    """Arguments that were said, with how to read them, and without how to read those that were not."""
    rest = {n: each.default for n, each in Request.__dataclass_fields__.items() if n in arguments()}
    beside = {name: argument.beside for name, argument in arguments().items() if argument.beside}
    kept = {name: value for name, value in said.items() if name not in beside or beside[name] in said}
    return {**{name: rest[name] for name, other in beside.items() if other in said}, **kept}


def unrecorded(said: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `said` whose values no record keeps, with those that say how to read them."""
    names = {name for name, argument in arguments().items() if argument.kept is False}
    return {n: v for n, v in said.items() if n in names or (n in arguments() and arguments()[n].beside in names)}


def arguments_of(task: str) -> dict[str, Argument]:
    """Arguments of one task."""
    special = {name for row in TASKS.values() for name in row.takes}
    return {n: each for n, each in arguments().items() if n not in special or n in TASKS[task].takes}


def read_request(
    task: str, image: Any, mask: Any = None, *, channel_axis: int | None = None, leading_axes: int = 0, **said: Any
) -> Request:
    """Check what is asked.

    Parameters
    ----------
    task : str
    image, mask, channel_axis, leading_axes
        As for `inputs.read_slices`.
    **said
        Fields of `Request`; None where nothing is known.

    Raises
    ------
    TypeError, ValueError
        If one of them is not fit; the message names it, its value and the remedy.
    """
    row = _check(task, said)
    refuse_labels("image", image, partial(_labelled, task, channel_axis))
    slices = read_slices(image, mask, channel_axis, leading_axes)
    request = _read(row, said, ndim=slices.ndim, image=slices)
    check_reach(request.margin, request.shape)
    tell_of_spread(request.margin, request.shape)
    return request


def _labelled(task: str, channel_axis: int | None, dims: tuple[str, ...]) -> str:
    """The call that keeps the labels of an image with these dims."""
    names, together = list(dims), ""
    if channel_axis is not None and -len(names) <= channel_axis < len(names):
        together = f", together={names.pop(channel_axis)!r}"
    call = f"napari_dip.labelled.restore({task!r}, image, space={tuple(names[-2:])}{together})"
    return f"{call} keeps them (of a volume name three dims of space), and image.data has none"


def tell_of_spread(margin: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Warn if light from a `margin` at each end spreads over more than an image (*shape)."""
    if wider := spread_over(margin, shape):
        warn(f"psf {wider}; {_AS_WIDE}", stacklevel=5)


def spread_over(margin: tuple[int, ...], shape: tuple[int, ...], of: str = "image") -> str:
    """Part of a sentence, if light from a `margin` at each end spreads over more than an image (*shape); else empty."""
    wide, sides = [2 * m + 1 for m in margin[-2:]], shape[-2:]  # a stack may well be thin
    if all(w <= n for w, n in zip(wide, sides, strict=True)):
        return ""
    light, size = (" x ".join(map(str, each)) for each in (wide, sides))
    return f"spreads light over {light} pixels, and the {of} has {size}"


def check_reach(margin: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Raise a `ValueError` if light comes from so far beyond an image (*shape) that units must have been mixed up."""
    for axis, reach, n in zip("zyx"[-len(margin) :], margin, shape, strict=True):
        if reach >= 3 * n:  # a slip of units, or a line
            remedy = "give it in pixels of the restored image"
            if n == 1:
                remedy = f"give one without spread along {axis}: a sigma of 0 there, or an array of one pixel"
            raise ValueError(f"psf spreads light over {reach} pixels along {axis}, where the image has {n}; {remedy}")


def read_instrument(task: str, ndim: int, **said: Any) -> Request:
    """Read a request without an image, for `ndim` axes of space."""
    return _read(_check(task, said), said, ndim=ndim)


def _check(task: str, said: dict[str, Any]) -> Task:
    """The row of a task, which has what it needs and nothing that is for others."""
    row = task_named(task)
    for each in fields(Request):
        value, takers = said.get(each.name), [other.name for other in TASKS.values() if each.name in other.takes]
        if value is not None and takers and task not in takers and each.default is None:
            shown = f"{each.name}={value}" if isinstance(value, (int, float, tuple)) else each.name
            raise ValueError(f"{shown} is for {' and '.join(takers)}; leave it out, or use task={takers[-1]!r}")
    for needed, remedy in row.needs.items():
        if needed != "mask" and said.get(needed) is None:
            raise ValueError(remedy)
    if said.get("image_noise") is not None:
        camera = [name for name in ("gain", "offset", "read_noise") if said.get(name) is not None]
        if camera:
            raise ValueError(f"image_noise is given, and {', '.join(camera)} too; leave out the one or the other")
    return row


def _read(row: Task, said: dict[str, Any], **image: Any) -> Request:
    """The request, argument by argument: a check may ask for those before."""
    said = {**row.defaults, **{name: value for name, value in said.items() if value is not None}}
    if background := background_of(said.get("psf")):
        warn(background, stacklevel=5)
    request = Request(task=row, said=said, background=background, **image)
    for name, argument in arguments().items():
        if name in said:
            request = replace(request, **{name: argument.read(said[name], request)})
    return request


def _plain(value: Any) -> Any:
    """A value fit for JSON: the fingerprint of an array, the list of a tuple."""
    if isinstance(value, np.ndarray):
        return record.fingerprint(value)
    if isinstance(value, OwnPart):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
