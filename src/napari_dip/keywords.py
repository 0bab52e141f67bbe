"""The keywords of the front door as types, so that a type checker finds a misspelt one, and as text for `help`.

`Knobs` repeats the fields of `Settings`, and `Options` the arguments of `iterate`, because a type checker runs nothing;
a test holds them together.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from napari_dip.settings import TASKS, IntPerScale, NamePerScale, Settings, knobs

if TYPE_CHECKING:
    from napari_dip.core.noise import Noise
    from napari_dip.core.solve import Result
    from napari_dip.io.ngff import Calibration

Described = TypeVar("Described", bound=Callable[..., Any])


class Knobs(TypedDict, total=False):
    """Changes to the settings, by name: the fields of `Settings`."""

    preset: str
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
    generator: str
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
    code_scale: float
    code_noise: float
    recorruption: float
    crop: int
    batch: int
    similar_patches: bool
    weight_noise: float
    regulariser: str
    regulariser_weight: float
    optimiser: str
    keep_known: bool
    skip_padding: bool
    skip_bad_pixels: bool
    output_dtype: str
    precision: str
    recompute: str
    threads: int


class Options(Knobs, total=False):
    """Keyword arguments of `denoise` and `inpaint`: those of `iterate`."""

    kernel: str
    psf_centre: str
    voxel_size: Any
    guide: Any
    channel_axis: int | None
    leading_axes: int
    intensity_range: tuple[float, float] | None
    gain: float | None
    offset: float | None
    read_noise: float | None
    image_noise: Noise | None
    resume: Result | None
    should_stop: Callable[[], bool]
    interval: float
    snapshot_every: int
    settings: Settings | None


class FineOptions(Options, total=False):
    """Keyword arguments of `superresolve`."""

    psf: Any


class Instrument(Knobs, total=False):
    """Keyword arguments of `iterate_blocks` that it hands on."""

    kernel: str
    psf: Any
    psf_centre: str
    voxel_size: Any


class OfBlocks(Instrument, total=False):
    """Keyword arguments of `estimate_blocks`."""

    factor: Any
    leading_axes: int | None
    calibration: Calibration | None
    intensity_range: tuple[float, float] | None
    gain: float | None
    offset: float | None
    read_noise: float | None
    client: Any
    settings: Settings | None


class BlockOptions(OfBlocks, total=False):
    """Keyword arguments of `restore_blocks`: those of `iterate_blocks`."""

    overwrite: bool
    should_stop: Callable[[], bool]
    interval: float


def with_knobs(function: Described) -> Described:
    """Add the knobs and what they mean to a docstring, as numpydoc's *Other Parameters*."""
    kinds, listed = {field.name: str(field.type) for field in fields(Settings)}, []
    for name, knob in knobs().items():
        kind = f"{{{', '.join(map(repr, knob.choices))}}}" if knob.choices else kinds[name]
        kind = kind.replace("IntPerScale", str(IntPerScale)).replace("NamePerScale", str(NamePerScale))
        only = "" if knob.tasks == TASKS else f" For {' and '.join(knob.tasks)} alone."
        listed += [
            f"{name} : {kind}",
            textwrap.fill(knob.help + only, 110, initial_indent="    ", subsequent_indent="    "),
        ]
    title = "Other Parameters"
    section = [title, "-" * len(title), *listed]
    function.__doc__ = "\n".join([inspect.cleandoc(function.__doc__ or ""), "", *section])
    return function
