"""The pace of this machine: seconds for a layer, a byte and a floating point operation."""

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
SLOWEST = np.array([5e-4, 2e-9, 1e-10])
_LOOK = 0.2  # seconds for which the share of the processor is measured
_TEXT = bytes(2**20)
_FINE = 1e-6  # seconds that a clock must tell apart


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
    """Seconds that this machine takes for a layer (forward and backward), a byte and a floating point operation.

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
        return np.array([4 * call, byte, flop])  # a GPU replays recorded graphs
    # a generator, forward and backward, of so few pixels that it is the calls that take the time
    method = Prior(channels=16, scales=2, code_channels=16)
    generator = fresh_generator(method, 16, 1, (16, 16), torch.Generator())
    generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    code = torch.zeros(1, 16, 16, 16).to(memory_format=torch.channels_last)

    @torch.enable_grad()
    def compute() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
            image = generator(code)
        image.float().sum().backward()

    forward = passed(method, 16, 1, (16, 16))
    moved, flops = (OF_PRIOR * forward.work("float32"))[1:]
    return np.array([max(4 * call, (seconds(compute) - moved * byte - flops * flop) / forward.calls), byte, flop])
