"""The keywords of the front door as types, so that a type checker finds a misspelt one, and as text for `help`.

`Knobs` repeats the fields of `Settings`, and `Options` the arguments of `iterate`, because a type checker runs nothing;
a test holds them together.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from napari_dip.plan.request import arguments
from napari_dip.tables.knobs import IntPerScale, NamePerScale
from napari_dip.tables.settings import Settings, knobs
from napari_dip.tables.tasks import TASKS, tasks_with_knob

if TYPE_CHECKING:
    from napari_dip.core.noise.model import Noise
    from napari_dip.core.result import Result
    from napari_dip.io.ngff import Calibration

Described = TypeVar("Described", bound=Callable[..., Any])


class Knobs(TypedDict, total=False):
    """Changes to the settings, by name: the fields of `Settings`."""

    preset: str
    quality: str
    iterations: int
    stop: str
    noise: str
    learning_rate: float
    channels: IntPerScale
    scales: int
    skip_channels: IntPerScale
    average: float
    tail: float
    runs: int
    tile: int
    overlap: int
    warm_start: bool
    at_once: int
    uncertainty: bool
    seed: int
    device: str
    generator: str | Callable[..., Any]
    blocks: int
    channels_up: IntPerScale
    filter_size: IntPerScale
    filter_size_up: IntPerScale
    filter_size_skip: int
    pointwise_up: bool
    upsampling: NamePerScale
    downsampling: NamePerScale
    padding: str
    activation: str
    normalisation: str
    output: str
    code: str
    code_channels: int
    code_learned: bool
    code_scale: float
    code_noise: float
    recorruption: float
    refine: int
    crop: int
    batch: int
    similar_patches: bool
    weight_noise: float
    regulariser: str | Callable[..., Any]
    regulariser_weight: float
    optimiser: str
    keep_known: bool
    skip_padding: bool
    skip_bad_pixels: bool
    output_dtype: str
    precision: str
    recompute: str
    threads: int


class OfProblem(Knobs, total=False):
    """Arguments of the problem that every task accepts: fields of `Request`."""

    kernel: str
    psf_centre: str
    voxel_size: Any
    intensity_range: tuple[float, float] | None
    gain: float | None
    offset: float | None
    read_noise: float | None
    fidelity: Callable[..., Any] | None
    denoiser: Callable[..., Any] | None
    image_noise: Noise | None


class Arguments(OfProblem, total=False):
    """Those of an image in memory, and its axes."""

    guide: Any
    operator: Callable[..., Any] | None
    channel_axis: int | None
    leading_axes: int


class Options(Arguments, total=False):
    """Keyword arguments of `denoise` and `inpaint`: those of `iterate`."""

    resume: Result | None
    should_stop: Callable[[], bool]
    interval: float
    snapshot_every: int
    settings: Settings | None


class FineOptions(Options, total=False):
    """Keyword arguments of `superresolve`."""

    psf: Any


class OfArray(OfProblem, total=False):
    """Keyword arguments of `iterate_blocks` that it hands on."""

    boost: float | None
    factor: Any
    psf: Any


class OfBlocks(OfArray, total=False):
    """Keyword arguments of `estimate_blocks`."""

    leading_axes: int | None
    channel_axis: int | None
    guide: Any
    calibration: Calibration | None
    client: Any
    settings: Settings | None
    residual: bool


class BlockOptions(OfBlocks, total=False):
    """Keyword arguments of `restore_blocks`: those of `iterate_blocks`."""

    overwrite: bool
    should_stop: Callable[[], bool]
    interval: float


def with_knobs(function: Described) -> Described:
    """Add the arguments of a problem and the knobs to a docstring, as numpydoc's *Other Parameters*."""
    document, kinds = inspect.cleandoc(function.__doc__ or ""), {each.name: str(each.type) for each in fields(Settings)}
    listed = []
    for name, argument in arguments().items():
        if not re.search(rf"^[\w, ]*\b{name}\b[\w, *]*( :|$)", document, re.MULTILINE):
            listed += _entry(name, argument.kind, argument.help)
    for name, knob in knobs().items():
        kind = f"{{{', '.join(map(repr, knob.choices))}}}" if knob.choices else kinds[name]
        kind = kind.replace("IntPerScale", str(IntPerScale)).replace("NamePerScale", str(NamePerScale))
        tasks = tasks_with_knob(name)
        only = "" if len(tasks) == len(TASKS) else f" For {' and '.join(tasks)} alone."
        listed += _entry(name, kind, knob.help + only)
    title = "Other Parameters"
    section = [title, "-" * len(title), *listed]
    function.__doc__ = "\n".join([document, "", *section])
    return function


def _entry(name: str, kind: str, help: str) -> list[str]:
    return [f"{name} : {kind}", textwrap.fill(help, 110, initial_indent="    ", subsequent_indent="    ")]
