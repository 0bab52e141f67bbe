"""Compute devices: which one to use and why, its precision and threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from napari_dip.core.crew import on_threads
from napari_dip.core.telling import counted
from napari_dip.tables.knobs import FitKnobs

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
        return Device("cpu", "no graphics card with CUDA was found")
    said = f"as device={wanted!r} says"  # by the user, or in settings of an earlier result, which name no "auto"
    if wanted == "cpu":
        return Device("cpu", said)
    if wanted == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError("device='mps' is not there: this needs a Mac with Apple silicon; use device='auto'")
        return Device("mps", said)
    kind, _, number = wanted.partition(":")
    if kind != "cuda" or (":" in wanted and not number.isdecimal()):
        raise ValueError(f"device={wanted!r} is not known: use auto, cpu, cuda, cuda:1 or mps")
    if int(number or 0) >= gpus:
        found = counted(gpus, "CUDA GPU") if gpus else "no CUDA GPU"
        raise ValueError(f"device={wanted!r} is not there: torch {torch.__version__} found {found}; use device='auto'")
    name = f"cuda:{int(number or 0)}"
    return Device(name, f"GPU {torch.cuda.get_device_name(name)}, {said}")


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
    if device != "cpu":
        return False
    # AVX-512 of Intel is not faster: a Xeon whose matrix units a virtual machine hid took half of the time in float32.
    avx = _is_there("_is_avx512_bf16_supported") and not _maker().startswith("Intel")
    return avx or _is_there("_is_amx_tile_supported")


def _is_there(ask: str) -> bool:
    """The answer of torch to a question about the processor; false if this version does not know it."""
    return bool(getattr(torch.cpu, ask, bool)())


def _maker() -> str:
    """The name of the processor, its maker first; empty if this version of torch does not tell."""
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return str(known.get("cpu_name", ""))


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


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Meanwhile torch computes on so many CPU threads for the calling one; 0 leaves it as it is.

    A process forked from one that computed with several keeps to one: the OpenMP threads of its parent are not there,
    and it would wait for them for ever.
    """
    global _worked
    with on_threads(0 if _forked else count):
        _worked |= torch.get_num_threads() > 1
        yield


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
