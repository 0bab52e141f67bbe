"""What a run will take, known before it: its peak of memory, and its time.

The very code of a run makes two iterations and the final image, with ghosts in place of tensors
(`napari_dip.core.ghost`): what they would allocate, move and compute is counted. What is done by numpy and within the
libraries is added from measurements.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from napari_dip.core import device as devices
from napari_dip.core import pages
from napari_dip.core.correlation import autocorrelation_of, plane_of
from napari_dip.core.coverage import Grid, crop_of, grid_of, largest_tile, whole_fit
from napari_dip.core.generators import fresh_generator, make_generator
from napari_dip.core.generators.unet import multiples
from napari_dip.core.ghost import Ghosts, Ledger
from napari_dip.core.methods import fitter_of, nlridge
from napari_dip.core.methods.base import Fitter
from napari_dip.core.methods.selfguided import SelfGuidedFitter, share_is_sought
from napari_dip.core.noise import Noise
from napari_dip.core.operators import Downsample, Identity, Operator
from napari_dip.core.patches import coefficients
from napari_dip.core.pauses import without_pauses
from napari_dip.core.pieces import STATES_AT_MOST, tiles_of
from napari_dip.core.problem import Problem
from napari_dip.core.stabilise import Stabiliser
from napari_dip.knobs import Method, Prior, SelfGuided
from napari_dip.settings import Settings

Shape = tuple[int, ...]
Size = tuple[float, ...]


@dataclass(frozen=True)
class Cost:
    """What a run takes: bytes at its peak beyond what the process holds before, and seconds in all."""

    memory: int
    seconds: float

    def __str__(self) -> str:
        return f"about {in_bytes(self.memory)} and {in_time(self.seconds)}"


@dataclass(frozen=True)
class Work:
    """What is computed: operations, bytes that they read and write, and floating point operations."""

    calls: float = 0
    moved: float = 0
    flops: float = 0

    def __sub__(self, other: Work) -> Work:
        return Work(self.calls - other.calls, self.moved - other.moved, self.flops - other.flops)

    def __mul__(self, times: float) -> Work:
        return Work(self.calls * times, self.moved * times, self.flops * times)

    def __add__(self, other: Work) -> Work:
        return Work(self.calls + other.calls, self.moved + other.moved, self.flops + other.flops)


#: Photon noise, independent from pixel to pixel: what is taken where the noise of an image is not known.
TYPICAL = Noise(gain=0.01, offset=0.0, read_noise=0.02, sigma=0.07)

# What is measured (python -m benchmarks memory): torch 2.13 on a processor with glibc.
LIBRARY = 14 * 2**20  # bytes: code that is loaded and made when first needed
_HEAP = {1: 1.28, 2: 1.28, 3: 1.62}  # times the heap that the tensors need: its gaps, what convolutions take within
_AGAIN = {1: 1.35, 2: 1.35, 3: 1.15}  # the same once more where activations are computed twice: more gaps
_PATCHES = 1.15  # the same of similar patches, whose large buffers are made once
_APART = 1.1  # times the tensors of a prediction, whose large buffers leave no gaps
_LEFT = 24 * 2**20  # bytes: gaps and code that a fit leaves to what comes after it
_MOSAIC = 48  # bytes a pixel, where tiles are blended
_NOISE = 8 * 2**20, 60  # bytes at the least, and bytes a pixel of up to 16 planes: the search for bad pixels
_PATCHED = 38, 25  # bytes a coefficient of its patches, of which there are not more in a larger image; and a pixel
_VERDICT = 142  # bytes a pixel of one channel: the verdict on the residual
_UNDONE = 90  # bytes a pixel: numpy brings back what was stabilised, in float64
_SECONDS = 2e-6  # a pixel: the estimate of the noise, and the verdict
#: Of the time of the first slice, what those after it take: 0.34 to 0.39 where the weights of a neighbour help, 1.11 to
#: 1.25 where they do not (python -m benchmarks neighbours). Which it will be cannot be known.
_AFTER = 0.65
_OF_GPU = 1.05, 64 * 2**20  # times what tensors take, and bytes of the libraries: unmeasured


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
) -> Cost:
    """What restoring a stack of slices takes, one after the other.

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
        Pixels of the restored image beyond each end of the axes S, or of a tile of it: of a point spread function.
    voxel_size : tuple of float, optional
        Of the restored image, along the axes S: an axis that is coarser than others is halved later.
    slices : int
    """
    volume = len(measured) == 3
    precision, threads = devices.precision_of(settings, device, volume), settings.threads or torch.get_num_threads()
    settings = settings.changed(precision=precision, threads=threads, seed=0, device="cpu")
    tiles = tiles_of(measured, settings)
    scale, none = factors or (1,) * len(measured), (0,) * len(measured)
    tile = tuple(n + 2 * -(-m // f) for n, m, f in zip(tiles.tile, margin or none, scale, strict=True))
    place = "cpu" if device == "cpu" else "meta"
    run = _of_one_run(channels, tile, factors, voxel_size, settings.method, noise, place)
    image = tuple(n * f for n, f in zip(measured, scale, strict=True))
    pixels, fine = channels * math.prod(measured), channels * math.prod(image)
    images = 3 + settings.uncertainty
    together = min(slices, max(settings.at_once, 1))
    states = min((slices * len(tiles) * settings.runs - 1) * run.state, STATES_AT_MOST)
    held = slices * (5 * pixels + 4 * (images - 1) * fine) + 4 * pixels + states
    blended = (_MOSAIC + 8 * images) * fine if len(tiles) > 1 else 0
    ended = held + _VERDICT * math.prod(measured) + 4 * images * fine
    noisy = memory_of_noise(min(slices * channels, 16), measured)
    whole = 1 + (slices - 1) * (_AFTER if settings.warm_start and settings.method.begins_warm else 1)  # slices
    work = (run.once + run.work * settings.runs) * (len(tiles) * whole)
    rates = rates_of(device, settings.precision)
    seconds = work.calls * rates.call + work.moved * rates.byte + work.flops * rates.flop + _SECONDS * slices * pixels
    if device == "cpu":
        memory = LIBRARY + max(held + blended + together * run.memory, ended, noisy)
    else:
        memory = int(_OF_GPU[0] * together * run.tensors) + _OF_GPU[1]
    return Cost(int(memory), seconds)


def iterations_at_most(settings: Settings, shape: Shape, voxel_size: Size | None = None) -> int:
    """Iterations of a run on an image (*shape) or a tile of it, if no rule ends it sooner."""
    return _at_most(settings.method, tiles_of(shape, settings).tile, voxel_size)


def _at_most(method: Method, shape: Shape, voxel_size: Size | None) -> int:
    if not isinstance(method, SelfGuided) or method.stop == "iterations":
        return method.iterations
    return min(method.iterations, whole_fit(shape, method, voxel_size))


def memory_of_noise(planes: int, shape: Shape) -> int:
    """Bytes that the estimate of the noise takes, of planes or volumes of a shape: for its patches, or bad pixels."""
    pixels = planes * math.prod(shape)
    cut = _PATCHED[0] * coefficients(planes, shape) + _PATCHED[1] * pixels
    return max(_NOISE[0], cut, _NOISE[1] * pixels)


@dataclass(frozen=True)
class _Run:
    """One run: bytes of its tensors at the peak, those on a heap with all else, its work, and bytes of its state.

    `once` is work that is done once for all runs of a problem.
    """

    tensors: int
    memory: int
    work: Work
    state: int = 0
    once: Work = Work()


@functools.lru_cache(maxsize=64)
def _of_one_run(
    channels: int,
    measured: Shape,
    factors: Shape | None,
    voxel_size: Size | None,
    method: Method,
    noise: Noise,
    device: str,
) -> _Run:
    simulated = _SelfGuided if isinstance(method, SelfGuided) else _Prior
    with Ghosts(threads=method.threads) as ledger:
        operator = Downsample(factors) if factors else Identity()
        one = simulated(channels, measured, operator, voxel_size, method, noise, ledger)
        work = one.work_in_all()
    return one.run(work, device)


class _Prior:
    """One run, of which each part happens once."""

    def __init__(
        self,
        channels: int,
        measured: Shape,
        operator: Operator,
        voxel_size: Size | None,
        method: Method,
        noise: Noise,
        ledger: Ledger,
    ) -> None:
        self.channels, self.measured, self.method, self.ledger = channels, measured, method, ledger
        self.noise, self.voxel_size, self.state, self.live = noise, voxel_size, 0, 0
        shape = (channels, *self.seen())
        empty = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), shape, (0,) * len(shape))
        guide = None
        if isinstance(method, Prior) and method.code == "guide":
            shape = (channels, *operator.image_shape(shape[1:]))
            guide = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), shape, (0,) * len(shape))
        self.problem = Problem(observation=empty, operator=operator, noise=noise, guide=guide, voxel_size=voxel_size)

    def seen(self) -> Shape:
        """Size of the observation that is fitted."""
        return self.measured

    def work_in_all(self) -> Work:
        """Fit, and make the images."""
        search = self.search()
        try:
            search.begin()
            good = search.state()
            search.step()
            good = search.state()  # the guard keeps one, and makes the next before it lets go of that
            before = self.work()
            search.step()
            each = self.work() - before
            del good
            self.live = self.ledger.live
            good = search.state()
            self.state = self.ledger.live - self.live
            work = each * _at_most(self.method, self.measured, self.voxel_size) + self.finish(search)
            del good
        finally:
            search.close()
        return work

    def run(self, work: Work, device: str) -> _Run:
        """All that the run takes, when its work in all is known."""
        ndim = len(self.measured)
        again = _AGAIN[ndim] if self.method.recompute == "on" else 1
        return _Run(self.ledger.peak, int(_HEAP[ndim] * again * self.ledger.heap.top), work, self.state)

    def search(self) -> Fitter:
        return fitter_of(self.problem, self.method, "cpu")

    def finish(self, search: Fitter) -> Work:
        """The images at the end: that of the rule, the last one, and the state on the host."""
        before = self.work()
        kept = search.mark(), search.mark(), search.state()
        work = self.work() - before
        del kept
        return work

    def work(self) -> Work:
        return Work(self.ledger.calls, self.ledger.moved, self.ledger.flops)


class _SelfGuided(_Prior):
    """The same for fits on crops: these do not depend on the size of the image, its prediction does."""

    method: SelfGuided

    def seen(self) -> Shape:
        """Just so large that the generator is that of the whole image: numpy looks at this one."""
        least = 2 ** (self.method.scales + 2)
        grid = self.grid()
        crop = crop_of(grid.shape, self.method, grid.voxel_size)
        sizes = zip(self.measured, crop, grid.strides, strict=True)
        return tuple(min(n, stride * max(2 * c, least)) for n, c, stride in sizes)

    def grid(self) -> Grid:
        return grid_of(self.noise, self.measured, self.voxel_size)

    def finish(self, search: Fitter) -> Work:
        """The prediction of the whole image, over all turns."""
        assert isinstance(search, SelfGuidedFitter)
        grid, ledger, way = self.grid(), self.ledger, search.ways[-1]
        canvas = make_generator(self.method, self.channels, self.channels, grid.shape, grid.voxel_size).canvas
        some = largest_tile(canvas, max(multiples(self.method, grid.shape, grid.voxel_size)))
        part, whole = (self.channels * math.prod(grid.strides) * math.prod(size) for size in (some, canvas))  # pixels
        seen = torch.empty(self.channels, *(n * stride for n, stride in zip(some, grid.strides, strict=True)))
        self.fitted, peak, before = ledger.heap.top, ledger.peak, self.work()
        ledger.peak = ledger.live
        kept = torch.empty(self.images() * whole + 2 * (whole - part))  # turned, and what is made of it
        way.undo(search.predict(way.do(seen)))
        del kept
        self.predicted, ledger.peak = ledger.peak, max(peak, ledger.peak)
        again = 1 + share_is_sought(self.method, self.noise)  # nudged, for the share of similar patches
        return (self.work() - before) * (again * len(search.ways) * whole / part)

    def images(self) -> int:
        """Images of the size of the whole that are kept while similar patches and the generator are asked at last.

        The measurement, its mask and the sum over turns; what similar patches agree on; for their share eight more.
        """
        return 3 + self.asks() + 8 * share_is_sought(self.method, self.noise)

    def asks(self) -> bool:
        """Whether similar patches are asked."""
        return self.method.similar_patches or self.method.uncertainty

    def run(self, work: Work, device: str) -> _Run:
        pixels, sought = self.channels * math.prod(self.measured), share_is_sought(self.method, self.noise)
        tensors = self.ledger.peak
        memory = max(_HEAP[len(self.measured)] * self.fitted, _LEFT + _APART * self.predicted)
        if not self.asks():
            return _Run(tensors, int(memory), work, self.state)
        patches = similar_patches(self.channels, self.measured, self.method, self.noise, device)
        seen = self.live + sought * _LEFT + 4 * pixels * (self.images() + 1)  # of which one is stabilised
        memory = max(memory, seen + max(patches.memory, _UNDONE * pixels))
        return _Run(max(tensors, patches.tensors), int(memory), work + patches.work * sought, self.state, patches.work)


def similar_patches(channels: int, shape: Shape, method: Method, noise: Noise, device: str) -> _Run:
    """What similar patches make of an image (C, *S), one of its planes after the other: of some strips, then of all."""
    *planes, height, width = shape
    seen = float(np.ptp(Stabiliser(noise).forward(np.array([0.0, 1.0]))))  # the range of the image, in sigma
    first, second = next(sizes for most, *sizes in nlridge.SIZES if 1 / seen <= most)
    strip = nlridge.strip_of(width, channels)
    rows = min(height, 2 * (strip + nlridge.REACH))  # one strip at the border, one within
    with Ghosts(truth=seen > nlridge.CONTRAST, device=device) as ledger:
        guide = image = torch.empty(channels, rows, width)
        # threads would compute without ghosts: one strip after the other
        for step, groups in enumerate((first, second, second)):
            guide = without_pauses(nlridge.in_step(image, guide, groups, known=step > 0, workers=1))
        if not noise.independent:
            shared = torch.from_numpy(plane_of(autocorrelation_of(noise, shape))).float().to(device)
            last = nlridge.in_step(image, guide, nlridge.ON_ALL_PIXELS, known=True, shared=shared, workers=1)
            guide = without_pauses(last)
    others = (height - rows) * width * 4 * (6 * channels + 1)  # of images that do not belong to a strip
    workers = min(method.threads, nlridge.WORKERS, -(-height // strip))
    heap = workers * _PATCHES * ledger.heap.top + others
    work = Work(ledger.calls, ledger.moved, ledger.flops) * (math.prod(planes) * height / rows)
    return _Run(ledger.peak + others, int(heap), work)


@dataclass(frozen=True)
class _Rates:
    """Seconds for an operation, for a byte that it reads or writes, and for a floating point operation."""

    call: float
    byte: float
    flop: float


@functools.lru_cache(maxsize=8)
def rates_of(device: str, precision: str) -> _Rates:
    """What this machine reaches, measured once: some tens of milliseconds.

    A GPU is measured when it has gone through its queue.
    """
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    if device != "cpu":
        return _measured(device, dtype)
    pages.keep(_measured)  # as a run does; and what this allocates must not stay
    try:
        return _measured(device, dtype)
    finally:
        pages.release(_measured)


def _measured(device: str, dtype: torch.dtype) -> _Rates:
    def seconds(compute: Callable[[], object]) -> float:
        compute()
        best = math.inf
        for _ in range(3):
            began = time.perf_counter()
            compute()
            if device.startswith("cuda"):
                torch.cuda.current_stream(device).synchronize()  # of the whole device it would break a recording
            best = min(best, time.perf_counter() - began)
        return best

    one, many = torch.zeros(1, device=device), torch.zeros(2**22, device=device)
    call = 2 * seconds(lambda: [one.add(1) for _ in range(20)]) / 20
    byte = max(seconds(lambda: many.add(1)) - call / 2, 0) / (2 * many.numel() * many.element_size())
    side = 128 if device == "cpu" else 512
    image = torch.zeros(1, 32, side, side, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    filters = torch.zeros(32, 32, 3, 3, device=device, dtype=dtype, requires_grad=True)
    image.requires_grad_()
    convolve = torch.nn.functional.conv2d
    with torch.enable_grad():
        flop = seconds(lambda: convolve(image, filters, padding=1).sum().backward())  # type: ignore[no-untyped-call]
    flop /= 6 * 9 * 32 * 32 * side**2  # there and back
    if device == "cpu":  # a GPU replays recorded graphs
        some = _small(dtype)
        with Ledger() as ledger:
            some()
        call = max(call, (seconds(some) - ledger.moved * byte - ledger.flops * flop) / ledger.calls)
    return _Rates(call, byte, flop)


def _small(dtype: torch.dtype) -> Callable[[], None]:
    """A generator, there and back, of so few pixels that it is the calls that take the time."""
    generator = fresh_generator(Prior(channels=16, scales=2, code_channels=16), 16, 1, (16, 16), torch.Generator())
    generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    code = torch.zeros(1, 16, 16, 16).to(memory_format=torch.channels_last)

    @torch.enable_grad()
    def compute() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
            image = generator(code)
        image.float().sum().backward()

    return compute


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
