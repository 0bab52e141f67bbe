"""The pace of this machine: seconds for a layer, a byte, a floating point operation and a byte of features."""

from __future__ import annotations

import functools
import hashlib
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F

from napari_dip.core import pages
from napari_dip.core.forward import OF_PRIOR, Work, passed
from napari_dip.core.generators import fresh_generator
from napari_dip.tables.knobs import Prior

#: Seconds that no machine exceeds.
SLOWEST = np.array([5e-4, 2e-9, 1e-10, 1.24e-8])
_LOOK = 0.2  # seconds for which the share of the processor is measured
_TEXT = bytes(2**20)
_FINE = 1e-6  # seconds that a clock must tell apart
_WAYS = 6.2  # times that an iteration of a prior reads or writes its features, on a GPU
_SIDES = 16, 64  # pixels: in the one image a generator's calls take the time, in the other its features


def share_of_processor(threads: int) -> float:
    """Share of the time, 0 to 1, that each of so many threads computes now, beside whatever else this machine does."""

    def of_one(_: int) -> float:
        began, before = time.perf_counter(), time.thread_time()
        while (passed := time.perf_counter() - began) < _LOOK:
            hashlib.sha256(_TEXT)  # leaves the other threads of this process their turn
        return (time.thread_time() - before) / passed

    with ThreadPoolExecutor(threads) as pool:
        shares = list(pool.map(of_one, range(threads)))
    return min(1.0, max(sum(shares) / threads, 0.01))


@functools.lru_cache(maxsize=8)
def rates_of(device: str, precision: str) -> Work:
    """Seconds that this machine takes for `Work`: a layer is forward and backward.

    Measured once, in some tens of milliseconds.
    """
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    if device != "cpu":
        return _measured(device, dtype)
    pages.keep(_measured)  # as a run does; and what this allocates must not stay
    try:
        return _measured(device, dtype)
    finally:
        pages.release(_measured)


def _measured(device: str, dtype: torch.dtype) -> Work:
    own = device == "cpu" and time.get_clock_info("thread_time").resolution < _FINE
    clock = time.thread_time if own else time.perf_counter  # else what other programs take counts too

    def seconds(compute: Callable[[], object]) -> float:
        compute()
        best = math.inf
        for _ in range(3):
            began = clock()
            compute()
            if device.startswith("cuda"):
                torch.cuda.current_stream(device).synchronize()  # of the whole device it would break a recording
            best = min(best, clock() - began)
        return best

    one, many = torch.zeros(1, device=device), torch.zeros(2**22, device=device)
    call = seconds(lambda: [one.add(1) for _ in range(20)]) / 20
    byte = max(seconds(lambda: many.add(1)) - call, 0) / (2 * many.numel() * many.element_size())
    side = 128 if device == "cpu" else 512
    image = torch.zeros(1, 32, side, side, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    filters = torch.zeros(32, 32, 3, 3, device=device, dtype=dtype, requires_grad=True)
    image.requires_grad_()
    with torch.enable_grad():
        flop = seconds(lambda: F.conv2d(image, filters, padding=1).sum().backward())  # type: ignore[no-untyped-call]
    flop /= 6 * 9 * 32 * 32 * side**2  # forward and backward
    if device != "cpu":
        return np.array([4 * call, byte, flop, _WAYS * byte])  # a GPU replays recorded graphs
    method, works, rest = Prior(channels=16, scales=2, code_channels=16), [], []
    for side in _SIDES:
        work = passed(method, 16, 1, (side, side)).work("bfloat16" if dtype == torch.bfloat16 else "float32")
        works.append(work[[0, 3]])
        rest.append(seconds(_fitted(method, side, dtype)) - OF_PRIOR[2] * work[2] * flop)
    of_layer, of_feature = np.linalg.solve(works, rest)
    return np.array([max(4 * call, of_layer), byte, flop, max(byte, of_feature)])


def _fitted(method: Prior, side: int, dtype: torch.dtype) -> Callable[[], object]:
    """A generator of `method`, forward and backward on a CPU, for an image of side x side pixels."""
    generator = fresh_generator(method, method.code_channels, 1, (side, side), torch.Generator())
    generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    code = torch.zeros(1, method.code_channels, side, side).to(memory_format=torch.channels_last)

    @torch.enable_grad()
    def compute() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
            image = generator(code)
        image.float().sum().backward()

    return compute
