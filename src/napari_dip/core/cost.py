"""Memory and time of a run, predicted before it starts.

The generator makes one forward pass on meta tensors, which have a shape but no data. The bytes of its features, times a
factor that is measured for each method, dimension and precision, are the peak of a fit; its operations, at rates that
are measured on this machine, are the time of an iteration.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np
import torch

from napari_dip.core import device as devices
from napari_dip.core.coverage import crop_of, grid_of, largest_tile, whole_fit
from napari_dip.core.forward import Pass, Shape, Size, Work, passed
from napari_dip.core.generators.unet import multiples
from napari_dip.core.methods import nlridge
from napari_dip.core.methods.selfguided import share_is_sought
from napari_dip.core.noise.calm import coefficients
from napari_dip.core.noise.model import Noise
from napari_dip.core.pace import OF_PRIOR, rates_of
from napari_dip.core.state import STATES_AT_MOST
from napari_dip.core.tiling import tiles_of
from napari_dip.knobs import Method, Prior, SelfGuided
from napari_dip.settings import Settings


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
#: Bytes at the peak of a fit for each byte of features that a forward pass makes, by method, axes and precision.
_PEAK = {
    ("prior", 2): {"float32": 1.47, "bfloat16": 0.9},
    ("prior", 3): {"float32": 1.7, "bfloat16": 1.0},
    ("self-guided", 2): {"float32": 1.0, "bfloat16": 0.6},
    ("self-guided", 3): {"float32": 1.1, "bfloat16": 0.7},
}
_TWICE = {2: 0.85, 3: 0.9}  # factor on that where activations are recomputed
_THREAD = 0.075  # more of it in bfloat16 for each thread beyond the first: buffers of oneDNN
_WEIGHTS = 8  # times the weights: these, gradients, moments, and a copy of the last good state
_PREDICTED = {"float32": 0.3, "bfloat16": 0.155}  # as `_PEAK`, for a prediction: no backward pass
_PATCHES = 1.25  # factor on the buffers of NL-Ridge
_LEFT = 24 * 2**20  # bytes: gaps that a fit leaves to what comes after it
LIBRARIES = 32 * 2**20  # bytes: code and buffers of libraries that a run makes when it first needs them
COMPILER = 76 * 2**20  # bytes of torch's compiler, which its optimisers import
_MOSAIC = 48  # bytes a pixel, where tiles are blended
_NOISE = 8 * 2**20, 60  # bytes at the least, and bytes a pixel of up to 16 planes: the search for bad pixels
_PATCHED = 38, 25  # bytes per coefficient of its patches, whose number is bounded, and per pixel
_VERDICT = 142  # bytes a pixel of one channel: the verdict on the residual
_UNDONE = 90  # bytes a pixel: the inverse of the stabilising transform, in float64
_OF_GPU = 0.8, 128 * 2**20  # factor, as a GPU leaves no gaps, and bytes of the libraries; both are guesses
#: Calls, bytes of features and operations of an iteration, and of a prediction, relative to a forward pass.
_ITERATION = {"prior": OF_PRIOR, "self-guided": np.array([4, 7.7, 3])}
_PREDICTION = np.array([0.5, 3, 1])
_COMPARED = np.array([0.08, 4e5, 3.2e5])  # calls, bytes and operations of NL-Ridge per pixel
_NEARER = 0.45  # factor on that where patches are compared only so near as behind a prior
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
    factors: Shape | None = None,
    margin: Shape | None = None,
    voxel_size: Size | None = None,
    slices: int = 1,
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
    factors : tuple of int, optional
        Of a super-resolution.
    margin : tuple of int, optional
        Pixels by which the image, or a tile of it, exceeds the measurement at each end of the axes S, for a PSF.
    voxel_size : tuple of float, optional
        Of the restored image, along the axes S: an axis that is coarser than others is halved later.
    slices : int
    rates : float array (3), optional
        Seconds per layer call, byte and operation; by default measured on this machine.
    """
    ones = (1,) * len(measured)
    precision = devices.precision_of(settings, device, len(measured) == 3)
    settings = settings.decided(precision=precision, threads=settings.threads or torch.get_num_threads())
    tiles, scale = tiles_of(measured, settings), factors or ones
    tile = tuple(n + 2 * -(-m // f) for n, m, f in zip(tiles.tile, margin or (0,) * len(ones), scale, strict=True))
    if isinstance(settings.method, SelfGuided):
        fit = _self_guided(channels, tile, settings.method, noise, voxel_size, cpu=device == "cpu")
    else:
        fit = _prior(channels, tuple(n * f for n, f in zip(tile, scale, strict=True)), settings.method, voxel_size)
    pixels = channels * math.prod(measured)
    fine, images = pixels * math.prod(scale), 3 + settings.uncertainty
    together = min(slices, max(settings.at_once, 1))
    states = min((slices * len(tiles) * settings.runs - 1) * fit.state, STATES_AT_MOST)
    held = slices * (5 * pixels + 4 * (images - 1) * fine) + 4 * pixels + states
    blended = (_MOSAIC + 8 * images) * fine if len(tiles) > 1 else 0
    ended = held + _VERDICT * math.prod(measured) + 4 * images * fine
    if device == "cpu":
        noisy = memory_of_noise(min(slices * channels, 16), measured)
        memory = code_to_load() + max(held + blended + together * fit.memory, ended, noisy)
    else:
        memory = int(_OF_GPU[0] * together * fit.memory) + _OF_GPU[1]
    whole = 1 + (slices - 1) * (_AFTER if settings.warm_start and settings.method.begins_warm else 1)  # slices
    work = (fit.once + settings.runs * fit.work) * (len(tiles) * whole)
    rates = rates_of(device, precision) if rates is None else rates
    return Cost(memory, float(work @ rates) + _SECONDS * slices * pixels)


def iterations_at_most(settings: Settings, shape: Shape, voxel_size: Size | None = None) -> int:
    """Iterations of a run on an image (*shape) or a tile of it, if no rule ends it sooner."""
    return _at_most(settings.method, tiles_of(shape, settings).tile, voxel_size)


def _at_most(method: Method, shape: Shape, voxel_size: Size | None) -> int:
    if not isinstance(method, SelfGuided) or method.stop == "iterations":
        return method.iterations
    return min(method.iterations, whole_fit(shape, method, voxel_size))


def memory_of_noise(planes: int, shape: Shape) -> int:
    """Peak bytes of the noise estimate for planes or volumes (*shape): its patches, or the search for bad pixels."""
    pixels = planes * math.prod(shape)
    cut = _PATCHED[0] * coefficients(planes, shape) + _PATCHED[1] * pixels
    return max(_NOISE[0], cut, _NOISE[1] * pixels)


def code_to_load() -> int:
    """Bytes of code that a run has yet to load into this process."""
    return LIBRARIES + (0 if "torch._dynamo" in sys.modules else COMPILER)


@dataclass(frozen=True)
class _Fit:
    """Cost of one fit: bytes at its peak and of its state, its work, and work done once for all runs of a problem."""

    memory: int
    state: int
    work: Work
    once: Work


def _prior(channels: int, image: Shape, method: Prior, voxel_size: Size | None) -> _Fit:
    """The fit of an image (C, *image) by a generator that is fed one code."""
    code = {"mesh": len(image), "guide": channels}.get(method.code, method.code_channels)
    forward = passed(method, code, channels, image, voxel_size)
    memory, state = _memory(forward, method, len(image)), 3 * forward.weights + 4 * channels * math.prod(image)
    behind = method.refine * channels * math.prod(image) * _NEARER * _COMPARED
    return _Fit(memory, state, method.iterations * _work(forward, method) + behind, np.zeros(3))


def _self_guided(
    channels: int, measured: Shape, method: SelfGuided, noise: Noise, voxel_size: Size | None, *, cpu: bool
) -> _Fit:
    """Self-guided fit on crops, NL-Ridge on the image (C, *measured), and the prediction with D4 augmentation."""
    grid = grid_of(noise, measured, voxel_size)
    multiple = multiples(method, grid.shape, grid.voxel_size)
    canvas = tuple(m * math.ceil(n / m) for m, n in zip(multiple, grid.shape, strict=True))
    generator = method, channels, channels, grid.shape, grid.voxel_size
    crops = passed(*generator, crop_of(grid.shape, method, grid.voxel_size), 2 * method.batch)
    seen = largest_tile(canvas, max(multiple))
    predicted = passed(*generator, seen)
    pixels, asked = channels * math.prod(measured), method.similar_patches or method.uncertainty
    sought = share_is_sought(method, noise)
    images = 3 + asked + 8 * sought  # measurement, mask, D4 sum; NL-Ridge; the search for its share
    after = _PREDICTED[method.precision] * predicted.made
    if asked:
        after = max(after, _of_patches(channels, measured, method, noise, cpu), _UNDONE * pixels)
    whole = 4 * channels * math.prod(canvas) * math.prod(grid.strides)  # bytes of an image
    fit = _memory(crops, method, len(measured))
    memory = max(fit, (_LEFT if cpu else 0) + _WEIGHTS * crops.weights + images * whole + int(after))
    turned = len(set(multiple[-2:])) == len(set(grid.strides[-2:])) == 1
    ways = 2 ** len(measured) * (1 + turned) * (1 + sought)
    scanned = math.prod(canvas) * math.prod(grid.strides) / math.prod(seen) * ways
    work = _at_most(method, measured, voxel_size) * _work(crops, method)
    work = work + scanned * _PREDICTION * predicted.work(method.precision)
    return _Fit(memory, 3 * crops.weights, work + sought * asked * pixels * _COMPARED, asked * pixels * _COMPARED)


def _of_patches(channels: int, shape: Shape, method: SelfGuided, noise: Noise, cpu: bool) -> float:
    """Bytes of the buffers of NL-Ridge for an image (C, *shape), which it goes through strip by strip."""
    height, width = shape[-2:]
    side = (nlridge.SIZES[-1][2] if noise.independent else nlridge.ON_ALL_PIXELS).side
    strip = nlridge.strip_of(width, channels)
    rows = min(strip + 2 * nlridge.REACH, height)
    buffers = 3 * 4 * rows * width * channels * side**2  # patches, guides, sums: float32
    distances = 2 * 4 * (min(strip, height) * width / 16) * (2 * nlridge.REACH + 1) ** 2
    workers = min(method.threads, nlridge.WORKERS, -(-height // strip)) if cpu else 1
    return workers * _PATCHES * (buffers + distances) + 4 * (6 * channels + 1) * height * width


def _memory(forward: Pass, method: Method, ndim: int) -> int:
    """Bytes at the peak of a fit: forward and backward pass, weights, optimiser."""
    kept = _PEAK.get((method.name, ndim), _PEAK[Prior.name, ndim])[method.precision]  # of a new method: a guess
    if method.recompute == "on":
        kept *= _TWICE[ndim]
    if method.precision == "bfloat16":
        kept += _THREAD * (method.threads - 1)
    return int(kept * forward.made + _WEIGHTS * forward.weights)


def _work(forward: Pass, method: Method) -> Work:
    """Work of an iteration."""
    often = 4 / 3 if method.recompute == "on" else 1
    each = _ITERATION.get(method.name, _ITERATION[Prior.name])
    return often * each * forward.work(method.precision)


def in_bytes(size: float) -> str:
    """A size in words, such as 1.2 GB."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.2g} {name}" if size < 100 * unit else f"{size / unit:.0f} {name}"
    return f"{size / 1e3:.0f} kB"


def in_time(seconds: float) -> str:
    """A time in words, such as 40 s."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.2g} {name}" if seconds < 100 * unit else f"{seconds / unit:.0f} {name}"
    return f"{max(seconds, 1):.0f} s" if seconds >= 10 else f"{max(seconds, 0.1):.1g} s"
