"""What a restoration will take, before it begins: `estimate`."""

from __future__ import annotations

import math
from typing import Any

from napari_dip.core import cost
from napari_dip.core import device as devices
from napari_dip.core.cost import Cost
from napari_dip.core.noise import Noise
from napari_dip.inputs import read_factor
from napari_dip.restore import settings_here
from napari_dip.settings import Settings

__all__ = ["Cost", "estimate"]


def estimate(
    shape: tuple[int, ...],
    settings: Settings | None = None,
    *,
    task: str = "denoise",
    factor: Any = None,
    channel_axis: int | None = None,
    leading_axes: int = 0,
    noise: Noise | None = None,
    **knobs: Any,
) -> Cost:
    """What a restoration will take of memory and time, without computing or allocating any of it.

    Parameters
    ----------
    shape : tuple of int
        Of the image, as it is handed in.
    settings : Settings, optional
        Those of the run; by default the task's preset for the device.
    task, factor, channel_axis, leading_axes
        As for `iterate`.
    noise : Noise, optional
        Of the image, scaled to 0..1; by default photon noise that is independent from pixel to pixel, and known.
    **knobs
        Changes to the settings, by name.

    Returns
    -------
    Cost
        `memory`: bytes at the peak, beyond the image itself and what the process holds; on a GPU, bytes of the GPU.
        `seconds`: if no rule ends the run before its last iteration; from the rates that this machine reaches in a
        short measurement, and right within a factor of two on a machine that has nothing else to do.
    """
    known = noise or cost.TYPICAL
    settings = settings_here(task, image_noise=known, **knobs) if settings is None else settings.changed(**knobs)
    channel = None if channel_axis is None else channel_axis % len(shape)
    space = tuple(n for axis, n in enumerate(shape) if axis >= leading_axes and axis != channel)
    return cost.estimate(
        1 if channel is None else shape[channel],
        space,
        settings,
        known,
        devices.choose(settings.device).name,
        factors=None if factor is None else read_factor(factor, len(space)),
        slices=math.prod(shape[:leading_axes]),
    )
