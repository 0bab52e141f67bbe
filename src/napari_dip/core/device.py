"""Compute devices: which one to use and why, its precision and threads, and its memory."""

from __future__ import annotations

import errno
import os
import re
import threading
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

import torch

from napari_dip.tables.knobs import FitKnobs

Made = TypeVar("Made")
#: Held while a CUDA graph is recorded, and by what would break the recording. Reentrant, as a recording begins with a
#: garbage collection, in which an abandoned run may free its memory.
ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True)
class Device:
    """A compute device (`name`, as torch spells it) and the sentence that says why it was taken (`reason`)."""

    name: str
    reason: str

    def __str__(self) -> str:
        return self.name


def choose(wanted: str) -> Device:
    """The device for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises
    ------
    ValueError
        If it is not spelt so, or is not there.
    """
    gpus = torch.cuda.device_count()
    if wanted == "auto":
        if gpus:
            return Device("cuda:0", f"GPU {torch.cuda.get_device_name(0)}, the first of {gpus}")
        if torch.backends.mps.is_available():
            return Device("mps", "the GPU of this Mac; there is no CUDA GPU")
        return Device("cpu", "no CUDA GPU was found")
    if wanted == "cpu":
        return Device("cpu", "chosen by the user")
    if wanted == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError("device='mps' is not there: this needs a Mac with Apple silicon; use device='auto'")
        return Device("mps", "chosen by the user")
    kind, _, number = wanted.partition(":")
    if kind != "cuda" or (":" in wanted and not number.isdecimal()):
        raise ValueError(f"device={wanted!r} is not known: use auto, cpu, cuda, cuda:1 or mps")
    if int(number or 0) >= gpus:
        found = f"{gpus} CUDA GPU{'s' if gpus > 1 else ''}" if gpus else "no CUDA GPU"
        raise ValueError(f"device={wanted!r} is not there: torch {torch.__version__} found {found}; use device='auto'")
    name = f"cuda:{int(number or 0)}"
    return Device(name, f"GPU {torch.cuda.get_device_name(name)}, chosen by the user")


def available() -> list[str]:
    """The names of the devices that are there."""
    names = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    return [*names, "mps"] if torch.backends.mps.is_available() else names


def has_bfloat16(device: str, volume: bool = False) -> bool:
    """True if a device computes convolutions in bfloat16 correctly, and faster than in float32.

    On a CPU torch 2.13 computes those of volumes wrongly: it reads memory that nothing was written to.
    """
    if volume and device == "cpu":
        return False
    if device.startswith("cuda"):
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    asks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return device == "cpu" and any(bool(ask()) for ask in asks if ask is not None)


def precision_of(knobs: FitKnobs, device: str, volume: bool = False) -> str:
    """``float32`` or ``bfloat16``: the choice of the user, else the faster of the two where it is as good.

    Line searches and posterior sampling need the digits of the loss. Weights, norms and losses are float32 anyway.
    """
    if knobs.precision != "auto":
        return knobs.precision
    return "bfloat16" if _steady(knobs) and has_bfloat16(device, volume) else "float32"


def can_bfloat16(knobs: FitKnobs, device: str, volume: bool = False) -> bool:
    """True if a device computes a fit in bfloat16 correctly, even if slower than in float32: it takes less memory."""
    if not _steady(knobs):
        return False
    if device.startswith("cuda"):
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported())
    return device == "cpu" and not volume and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _steady(knobs: FitKnobs) -> bool:
    return knobs.optimiser in ("adam", "muon")


def use_threads(count: int) -> None:
    """Set the number of CPU threads of torch; 0 leaves it as it is.

    A process forked from one that computed with several keeps to one: the OpenMP threads of its parent are not there,
    and it would wait for them for ever.
    """
    global _worked
    if count and not _forked:
        torch.set_num_threads(count)
    _worked |= torch.get_num_threads() > 1


def _after_fork() -> None:
    global _forked
    _forked |= _worked
    if _forked:
        torch.set_num_threads(1)


_worked = False  # True once several threads have computed in this process
_forked = False  # True if it was forked from such a process
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


def give_back(device: str) -> None:
    """Hand cached memory of a GPU back to its other users."""
    if device.startswith("cuda"):
        with ONE_AT_A_TIME:  # torch refuses to while any thread records
            torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """True if an error means that memory ran out: torch says so in several ways, one for each allocator."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None


def shortage(error: Exception) -> str:
    """First line of an error that means that memory ran out, of whose frames it keeps no variable; empty for others."""
    if not is_out_of_memory(error):
        return ""
    traceback.clear_frames(error.__traceback__)  # their variables would keep every tensor alive
    return str(error).split("\n")[0] or type(error).__name__


def if_memory_allows(make: Callable[[], Made]) -> tuple[Made | None, str]:
    """Make something. Returns it and no failure, or None and the message if memory ran out over it."""
    try:
        return make(), ""
    except Exception as error:
        if not (failure := shortage(error)):
            raise
        return None, failure


def work_if_memory_allows(work: Generator[float, None, Made]) -> Generator[float, None, tuple[Made | None, str]]:
    """Do work with pauses. Returns what it makes and no failure, or None and the message if memory ran out over it."""
    try:
        return (yield from work), ""
    except Exception as error:
        if not (failure := shortage(error)):
            raise
        return None, failure


def in_two_tries(make: Callable[[], Made], make_room: Callable[[], object]) -> Made:
    """Make something; if memory runs out, make room and try once more."""
    try:
        return make()
    except Exception as error:
        if not shortage(error):
            raise
    make_room()
    return make()


#: Messages of libraries: the allocators of CUDA, of a Mac and of the CPU (on Linux, then Windows), C++, cuBLAS, cuFFT,
#: cuDNN, oneDNN, MKL. If none of its algorithms has the memory it takes, torch says that cuDNN has found no engine.
_NO_MEMORY = re.compile(
    r"out of memory|(can't|cannot|could not|unable to|failed to) allocate|not enough memory|insufficient memory"
    r"|memory allocation|bad_?alloc|bad allocation|alloc_failed|memoryallocation"
    r"|could not (create|execute) a primitive(?! descriptor)|could not create a memory"
    r"|unable to find an engine|unable to find a valid cudnn",
    re.IGNORECASE,
)
