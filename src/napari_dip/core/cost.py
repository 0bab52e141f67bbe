"""Memory and time of a run, predicted before it starts.

The generator makes one forward pass on meta tensors, which have a shape but no data. The bytes of its features, times a
factor that is measured for each method, dimension and precision, are the peak of a fit; its operations, at rates that
are measured on this machine, are the time of an iteration.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from napari_dip.core import device as devices
from napari_dip.core.forward import FitCost, Shape, Size, Work
from napari_dip.core.methods import FITTERS
from napari_dip.core.noise.calm import coefficients
from napari_dip.core.noise.model import Noise
from napari_dip.core.pace import rates_of
from napari_dip.core.state import STATES_AT_MOST
from napari_dip.core.tiling import tiles_of
from napari_dip.tables.knobs import Method, Patches
from napari_dip.tables.settings import Settings


@dataclass(frozen=True)
class Cost:
    """Cost of a run: peak memory in bytes, beyond what the process holds already, and duration in seconds."""

    memory: int
    seconds: float

    def __str__(self) -> str:
        return f"about {in_bytes(self.memory)} and {in_time(self.seconds)}"


#: Uncorrelated photon noise, assumed where the noise of an image is not known.
TYPICAL = Noise(gain=0.01, offset=0.0, read_noise=0.02, sigma=0.07)

# Measured (python -m benchmarks memory): torch 2.13 on processors with glibc.
LIBRARIES = 32 * 2**20  # bytes: code and buffers of libraries that a run makes when it first needs them
COMPILER = 76 * 2**20  # bytes of torch's compiler, which its L-BFGS and its checkpointing import
_MOSAIC = 48  # bytes a pixel, where tiles are blended
_NOISE = 8 * 2**20, 60  # bytes at the least, and bytes a pixel of up to 16 planes: the search for bad pixels
_PATCHED = 38, 25  # bytes per coefficient of its patches, whose number is bounded, and per pixel
_VERDICT = 142  # bytes a pixel of one channel: the verdict on the residual
_OF_GPU = 0.8, 128 * 2**20  # factor, as a GPU leaves no gaps, and bytes of the libraries; both are guesses
_SECONDS = 2e-6  # per pixel: the estimate of the noise, and the verdict
#: Time of each later slice relative to the first: 0.34 to 0.39 where a warm start helps, 1.11 to 1.25 where it does not
#: (python -m benchmarks neighbours). Which of the two it will be is not known beforehand.
_AFTER = 0.65


def estimate(
    channels: int,
    measured: Shape,
    settings: Settings,
    noise: Noise,
    device: str,
    *,
    filled: float,
    factors: Shape | None = None,
    margin: Shape | None = None,
    voxel_size: Size | None = None,
    slices: int = 1,
    fitted: dict[Shape, int] | None = None,
    rates: Work | None = None,
) -> Cost:
    """Cost of restoring a stack of slices, one after the other.

    Parameters
    ----------
    channels, measured : int, tuple of int
        Of the observation (C, *S) of a slice.
    settings : Settings
    noise : Noise
        In scaled intensities.
    device : str
    filled : float
        Share of the work on missing pixels that similar patches foretell, if nothing else is amiss; else 0.
    factors : tuple of int, optional
        Of a super-resolution.
    margin : tuple of int, optional
        Pixels by which the image, or a tile of it, exceeds the measurement at each end of the axes S, for a PSF.
    voxel_size : tuple of float, optional
        Of the restored image, along the axes S: an axis that is coarser than others is halved later.
    slices : int
    fitted : dict of tuple of int to int, optional
        Shapes of the tiles that are fitted, where not all are alike or fitted, and how many there are in all slices.
    rates : float array (4), optional
        Seconds per layer call, byte, operation and byte of features; by default measured on this machine.
    """
    ones = (1,) * len(measured)
    precision = devices.precision_of(settings, device, len(measured) == 3)
    settings = settings.decided(precision=precision, threads=settings.threads or torch.get_num_threads())
    tiles, scale = tiles_of(measured, settings), factors or ones

    def cost_of(tile: Shape) -> FitCost:
        """Cost of the fits of a tile."""
        edges = zip(tile, margin or (0,) * len(ones), scale, strict=True)
        image = channels, *((n + 2 * -(-m // f)) * f for n, m, f in edges)
        cost: Callable[..., FitCost] = FITTERS[type(settings.method)].cost
        return cost(settings.method, image, noise, voxel_size, cpu=device == "cpu", filled=filled)

    counts = {tiles.tile: slices * len(tiles)} if fitted is None else fitted
    if fitted:  # outside of them nothing is missing
        covered = sum(math.prod(tile) * count for tile, count in fitted.items())
        filled = min(filled * slices * math.prod(measured) / covered, 1.0)
    fits = [(cost_of(tile), count) for tile, count in counts.items()]
    most = max((fit.memory for fit, _ in fits), default=0)
    pixels = channels * math.prod(measured)
    fine, images = pixels * math.prod(scale), 3 + settings.uncertainty
    together = min(slices, max(settings.at_once, 1))
    states = sum(count * settings.runs * fit.state for fit, count in fits)
    states = min(states - min((fit.state for fit, _ in fits), default=0), STATES_AT_MOST)
    held = slices * (5 * pixels + 4 * (images - 1) * fine) + 4 * pixels + states
    blended = (_MOSAIC + 8 * images) * fine if {*counts} - {tuple(measured)} else 0
    ended = held + _VERDICT * math.prod(measured) + 4 * images * fine
    if device == "cpu":
        noisy = memory_of_noise(min(slices * channels, 16), measured)
        memory = code_to_load(settings.method) + max(held + blended + together * most, ended, noisy)
    else:
        memory = int(_OF_GPU[0] * together * most) + _OF_GPU[1]
    whole = 1 + (slices - 1) * (_AFTER if settings.warm_start and settings.method.begins_warm else 1)  # slices
    work = sum(((fit.once + settings.runs * fit.work) * count for fit, count in fits), np.zeros(4)) * (whole / slices)
    rates = rates_of(device, precision) if rates is None else rates
    return Cost(memory, float(work @ rates) + _SECONDS * slices * pixels)


def iterations_at_most(
    settings: Settings, shape: Shape, voxel_size: Size | None = None, noise: Noise | None = None
) -> int:
    """Iterations of a run on an image (*shape) or a tile of it, if it has this noise, and no rule ends it sooner."""
    method, tile = settings.method, tiles_of(shape, settings).tile
    return int(FITTERS[type(method)].iterations_at_most(method, tile, voxel_size, noise))


def memory_of_noise(planes: int, shape: Shape) -> int:
    """Peak bytes of the noise estimate for planes or volumes (*shape): its patches, or the search for bad pixels."""
    pixels = planes * math.prod(shape)
    cut = _PATCHED[0] * coefficients(planes, shape) + _PATCHED[1] * pixels
    return max(_NOISE[0], cut, _NOISE[1] * pixels)


def code_to_load(method: Method) -> int:
    """Bytes of code that a run has yet to load into this process."""
    compiles = not isinstance(method, Patches) and (method.optimiser == "lbfgs" or method.recompute == "on")
    return LIBRARIES + (COMPILER if compiles and "torch._dynamo" not in sys.modules else 0)


def in_bytes(size: float) -> str:
    """A size in words, such as 1.2 GB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{_two_digits(size / unit)} {name}"
    return f"{size / 1e3:.0f} kB"


def in_time(seconds: float) -> str:
    """A time in words, such as 40 s."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{_two_digits(seconds / unit)} {name}"
    return f"{seconds:.0f} s" if seconds >= 1 else f"{max(seconds, 0.1):.1g} s"


def _two_digits(number: float) -> str:
    return f"{number:.0f}" if number >= 9.95 else f"{number:.2g}"
