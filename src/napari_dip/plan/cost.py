"""Memory and time of a restoration before it begins, and what becomes of it where they are not there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any, Unpack

import numpy as np
import torch

from napari_dip.core import cost, memory
from napari_dip.core import device as devices
from napari_dip.core.cost import Cost as Cost
from napari_dip.core.cost import in_bytes as in_bytes
from napari_dip.core.cost import in_time as in_time
from napari_dip.core.cost import iterations_at_most as iterations_at_most
from napari_dip.core.forward import Work
from napari_dip.core.memory import OutOfMemory
from napari_dip.core.noise.estimate import is_guess
from napari_dip.core.noise.model import Noise
from napari_dip.core.pace import SLOWEST, share_of_processor
from napari_dip.core.setup import Setup, left_open
from napari_dip.core.telling import quietly, warn
from napari_dip.plan.chosen import settings_here
from napari_dip.plan.keywords import Knobs
from napari_dip.plan.noises import axes_of_noise
from napari_dip.plan.plan import Plan
from napari_dip.plan.request import Request, read_instrument
from napari_dip.tables.knobs import Patches, Prior, SelfGuided
from napari_dip.tables.method import asked_of_network
from napari_dip.tables.numbers import channel_from_first, check_leading, is_whole
from napari_dip.tables.settings import Settings

#: Bytes that a prior which denoises an image takes on a CPU of its own accord; a larger image is cut into tiles.
AMPLE = 4_000_000_000
LONG = 4 * 3600  # seconds: a longer wait is said before it begins, with what would shorten it
SOON = 10  # seconds: a longer wait for a first good picture is said before it begins
_SOON = 1  # seconds of a run for which it is not looked at what else the machine does
_IDLE = 1.25  # times that a run may take longer on a machine that is called idle


def estimate(
    shape: tuple[int, ...],
    settings: Settings | None = None,
    *,
    task: str = "denoise",
    factor: Any = None,
    channel_axis: int | None = None,
    leading_axes: int = 0,
    psf: Any = None,
    voxel_size: Any = None,
    image_noise: Noise | None = None,
    tiles: dict[tuple[int, ...], int] | None = None,
    **knobs: Unpack[Knobs],
) -> Cost:
    """Memory and time that a restoration will take; nothing of it is computed or allocated.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image, as it is handed in.
    settings : Settings, optional
        Settings of the run; by default the task's preset for the device.
    task, factor, channel_axis, leading_axes, psf, voxel_size
        As for `iterate`.
    image_noise : Noise, optional
        Of the image, scaled to 0..1; by default photon noise that is independent from pixel to pixel, and known unless
        the image is tiny.
    tiles : dict of tuple of int to int, optional
        Shapes of the tiles around holes that a prior is to fill, and how many there are; by default all is fitted, as
        it is not known where the holes are.
    **knobs
        Changes to the settings, by name.

    Returns
    -------
    Cost
        `memory`: bytes at the peak, beyond the image itself and what the process holds; on a GPU, bytes of the GPU.
        In tiles or with activations computed twice, as the run would be, where the whole is more than is free.
        `seconds`: if no rule ends the run before its last iteration; from the rates that this machine reaches in a
        short measurement, and right within a factor of two on a machine that has nothing else to do. Of a stack, the
        mean of what it takes where its slices are alike and where they are not.
    """
    if np.ndim(shape) > 1:
        raise TypeError(f"shape is a {type(shape).__name__} of {np.ndim(shape)} axes; give image.shape, not the image")
    axes = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    if not axes or not all(is_whole(n) and n >= 1 for n in axes):
        raise ValueError(f"shape={shape!r} must be whole numbers from 1 up, such as (512, 512); task= names a task")
    check_leading(leading_axes, len(axes))
    channel = channel_from_first(channel_axis, axes)
    space = tuple(n for axis, n in enumerate(axes) if axis >= leading_axes and axis != channel)
    if len(space) not in (2, 3):
        raise ValueError(
            f"shape={shape} with leading_axes={leading_axes} and channel_axis={channel_axis} is not that of an image "
            "(two axes of space) or a volume (three), such as (512, 512)"
        )
    if settings is not None and not isinstance(settings, Settings):
        raise TypeError(f"settings={settings!r} are no Settings; the shape comes first, the task as task='inpaint'")
    slices, channels = math.prod(axes[:leading_axes]), 1 if channel is None else axes[channel]
    known = image_noise or _typical(slices * channels, space)
    with quietly():  # the run itself says what there is to say of its arguments
        asked = read_instrument(task, len(space), factor=factor, psf=psf, voxel_size=voxel_size)
    if settings is None:
        size: dict[str, Any] = {"volume": len(space) == 3, "pixels": math.prod(asked.finer(space))}
        settings = settings_here(task, image_noise=known, **size, **knobs)
    else:
        settings = settings.changed(**knobs)
    device, sides = devices.choose(settings.device), (slices, channels, *space)
    filled = float(asked.task.fills_holes)  # the mask is not known

    def cost_with(settings: Settings, rates: Work | None = None) -> Cost:
        around = tiles if filled and settings.around and not settings.tile else None
        return _cost(asked, sides, filled, settings, known, device.name, rates, around)

    def memory_of(settings: Settings) -> int:
        return cost_with(settings, SLOWEST).memory

    whole = Setup(settings, device, space, factor=max(asked.factor or (1,)), open=left_open(settings))
    ample = replace(whole, settings=_ample(asked, whole, memory_of))
    return cost_with((_fitting(ample, memory_of, memory.free(device.name)) or ample).settings)


def _typical(planes: int, shape: tuple[int, ...]) -> Noise:
    """Noise assumed for `planes` images (*shape); it has a warning if so few pixels allow only a guess."""
    few = is_guess(planes, axes_of_noise(shape))
    return replace(cost.TYPICAL, warning="the image is small") if few else cost.TYPICAL


def fitted(plan: Plan) -> Plan:
    """The plan as it fits into the memory that is free: activations computed twice, or in tiles, where that is open.

    Raises
    ------
    OutOfMemory
        If it cannot fit; the message says what it needs, what there is, and what to do.
    """

    def memory_of(settings: Settings) -> int:
        return cost_of(replace(plan, settings=settings), SLOWEST).memory

    plan = replace(plan, settings=_ample(plan.request, plan.setup, memory_of))
    free, device = memory.free(plan.device.name), plan.device.name
    whole = plan.setup
    setup = _fitting(whole, memory_of, free)
    if setup is whole:
        return plan
    needed = memory_of(plan.settings)
    if setup is not None:
        warn(
            f"the whole image would take {in_bytes(needed)}, and {in_bytes(free)} are free on {device}: "
            f"it is fitted {setup.tried[-1]}",
            stacklevel=3,
        )
        return replace(plan, settings=setup.settings)
    smaller_tile = "a smaller tile, " if plan.settings.tile else ""
    factor = f"a smaller factor than {max(plan.request.factor)}, " if plan.request.factor else ""
    raise OutOfMemory(
        f"this would take {in_bytes(needed)} of memory, but {in_bytes(free)} are free on {device}; use "
        f"{factor}{smaller_tile}a part of the image, or fewer channels than {plan.settings.channels}"
    )


def _ample(request: Request, whole: Setup, memory_of: Callable[[Settings], int]) -> Settings:
    """Settings of a prior that takes no more than `AMPLE`, or little more, to denoise an image on a CPU.

    Tiles, if they are open, take up to 1.4 times as long. What else there is stays whole: a hole may be as large as a
    tile, light may come from beyond its edge, tiles of a volume share too much, and one self-guided fit has hardly more
    memory than its tiles.
    """
    settings, task = whole.settings, request.task
    alone = task.removes_noise and not (task.operators or task.fills_holes or request.operator) and request.ndim == 2
    if whole.device.name != "cpu" or not alone or not isinstance(settings.method, Prior):
        return settings
    needed, less = memory_of(settings), whole.only("tile").with_less_memory
    while needed > AMPLE and (cut := less()) is not None and (fewer := memory_of(cut.settings)) < needed:
        settings, needed, less = cut.settings, fewer, cut.with_less_memory
    return settings


def _fitting(setup: Setup, memory_of: Callable[[Settings], int], free: float) -> Setup | None:
    """The first of a setup and those with less memory whose memory is free; None if there is none."""
    return next((each for each in chain([setup], _with_less(setup)) if memory_of(each.settings) <= free), None)


def _with_less(setup: Setup) -> Iterator[Setup]:
    """Setups with less and less memory that cost neither digits nor the device: the first steps of a run, if open."""
    for name in ("recompute", "tile"):  # tiles without recomputation: they save far more, and take no more time
        less: Setup | None = setup.only(name)
        while (less := less and less.with_less_memory()) is not None:
            yield less


def tell_of_long_wait(plan: Plan, share: float = 1) -> None:
    """Warn of a run, or the share of it that is left, that will take many hours, with what would take less."""
    if share * cost_of(plan, SLOWEST).seconds > LONG:  # else this machine need not be measured
        seconds, device = share * cost_of(plan).seconds, plan.device.name
        how = f"about {in_time(seconds)} on {device}, if no rule ends it sooner"
        tell_if_long(seconds, how, less_time(device, plan.request.factor))


def why_not_fast(plan: Plan, changes: dict[str, Any]) -> str:
    """Words on what keeps a denoising by ``quality="fast"`` from similar patches; empty if the user does."""
    settings, noise = plan.settings, plan.noise
    network = SelfGuided in plan.request.task.methods and not isinstance(settings.method, Patches)
    if settings.quality != "fast" or not network or "preset" in changes:
        return ""
    if asked_of_network({**plan.request.own_parts, **changes}):
        return ""
    if noise is None or noise.sigma <= 0:
        return "none was found"
    return f"its estimate is uncertain ({noise.warning})" if noise.warning and not noise.limited else ""


def tell_if_not_fast(why: str, seconds: float, device: str) -> None:
    """Warn that ``quality="fast"`` fits a network, for what `why_not_fast` says, where that takes its time."""
    if why and seconds > SOON:
        warn(
            f"quality='fast' takes similar patches, which need to know the noise, and {why}: a network is fitted, for "
            f"about {in_time(seconds)} at most on {device}; say gain, offset and read noise of the camera if they are "
            "known, or allow fewer iterations",
            stacklevel=4,
        )


def tell_if_long(seconds: float, how: str, less: str) -> None:
    """Warn of a wait of many hours, said in words, with what would take less."""
    if seconds > LONG:
        warn(f"this takes {how}; {less}", stacklevel=5)


def less_time(device: str, factors: tuple[int, ...] | None = None, *, workers: bool = False) -> str:
    """Remedies that take less time, to be said of a run that takes long."""
    finer = max(factors or (1,))
    less = ["a part of it", "fewer iterations"] + [f"a smaller factor than {finer}"] * (finer > 1)
    less += ["a GPU"] * (device == "cpu") + ["more workers"] * workers
    return f"{', '.join(less[:-1])} or {less[-1]} would take less (tiles would not)"


def cost_of(plan: Plan, rates: Work | None = None) -> Cost:
    """Cost of a plan, at the rates of this machine if no others are given."""
    noise, filled = plan.scaled_noise or cost.TYPICAL, plan.slices.patches_to_fill
    how = plan.settings, noise, plan.device.name, rates
    found = _cost(plan.request, plan.slices.values.shape, filled, *how, fitted=plan.fitted)
    return found if plan.scaling is not None else replace(found, seconds=0.0)  # then there is nothing to fit


def _cost(
    request: Request,
    shape: tuple[int, ...],
    filled: float,
    settings: Settings,
    noise: Noise,
    device: str,
    rates: Work | None,
    fitted: dict[tuple[int, ...], int] | None = None,
) -> Cost:
    """Cost of a request for an image (N, C, *S); `filled` and `fitted` as `cost.estimate`."""
    slices, channels, *space = shape
    own = request.operator is not None  # behind which the image may have any shape
    return cost.estimate(
        channels,
        request.shape if own else tuple(space),
        settings,
        noise,
        device,
        filled=filled * request.foretells,
        factors=None if own else request.factor,
        margin=request.margin,
        voxel_size=request.fine_voxel_size,
        slices=slices,
        fitted=fitted,
        rates=rates,
    )


def slowed_by(seconds: float, device: str, threads: int = 0) -> float:
    """Times that a run of so many seconds takes longer on a processor, for what else this machine does now.

    0 threads are as many as torch takes.
    """
    if device != "cpu" or seconds < _SOON:
        return 1.0
    times = 1 / share_of_processor(threads or torch.get_num_threads())
    return times if times > _IDLE else 1.0


def busy(seconds: float, slowed: float) -> str:
    """Sentence on a machine that does something else too, and the time of a run of so many seconds if it did not.

    Empty where both times are the same in words. `slowed` is as by `slowed_by`.
    """
    idle = in_time(seconds)
    return "" if slowed <= 1 or in_time(slowed * seconds) == idle else f" This computer is busy now; else {idle}."


def cost_in_words(
    peak: int,
    seconds: float,
    settings: Settings,
    factors: tuple[int, ...] | None,
    each: str = "",
    what: str = "",
    slowed: float = 1.0,
    threads: int = 1,
) -> str:
    """Peak of memory and seconds of a run, with what stands in its way and what would take less.

    `slowed` is as by `slowed_by`, of a machine that does something else too, where `threads` wait for each other.
    """
    device = devices.choose(settings.device).name
    free = memory.free(device)
    short = f" Only {in_bytes(free)} are free on {device}." if peak > free and not each else ""
    less = less_time(device, factors, workers=bool(each)) if slowed * seconds > LONG else ""
    wait = f" {less[0].upper()}{less[1:]}." if less else ""
    beside = busy(seconds, slowed)
    beside += " One thread may then take less." if beside and threads > 1 else ""
    return f"about {in_bytes(peak)}{each} and {in_time(slowed * seconds)} at most{what}.{beside}{short}{wait}"


def plan_in_words(plan: Plan) -> str:
    """Memory and time of a plan, on this machine as busy as it is."""
    cost, settings = cost_of(plan), plan.settings
    threads = settings.threads or torch.get_num_threads()
    slowed = slowed_by(cost.seconds, plan.device.name, threads)
    return cost_in_words(cost.memory, cost.seconds, settings, plan.request.factor, slowed=slowed, threads=threads)
