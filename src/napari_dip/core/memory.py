"""Memory of a device: what is free, within the limits of containers and batch systems; what to do if it runs out."""

from __future__ import annotations

import errno
import importlib
import math
import re
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch

Made = TypeVar("Made")
RAN_OUT = "memory ran out"
SMALLER = "use fewer channels, a smaller image, or device='cpu'"

_MEMINFO = Path("/proc/meminfo")
_CGROUPS = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")
#: For each version of control groups: where they are mounted, the limit, what is used, and what of that can be dropped.
_FILES = {
    2: ("", "memory.max", "memory.current", "inactive_file"),
    1: ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


class OutOfMemory(MemoryError):
    """Memory ran out before the first iteration was made; with a remedy."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what}; {remedy}" if remedy else what)


@contextmanager
def telling_of_memory() -> Iterator[None]:
    """Say in one way, with a remedy, that memory ran out, whatever library it was that said so."""
    try:
        yield
        return
    except OutOfMemory:
        raise
    except Exception as error:
        if not (words := shortage(error)):
            raise
    raise OutOfMemory(f"{RAN_OUT} ({words})", SMALLER)


def free(device: str) -> float:
    """Bytes that a run on a device may take: infinite where that cannot be found out.

    On a CPU that is what the system can give without swapping, within the limits of the control groups (of containers
    and batch systems). On a GPU it is what no process holds and what torch holds in reserve, within the share of this
    process (`torch.cuda.set_per_process_memory_fraction`).
    """
    if device.startswith("cuda"):
        unused, total = torch.cuda.mem_get_info(device)
        share = getattr(torch.cuda, "get_per_process_memory_fraction", lambda _: 1.0)  # new in torch 2.7
        allowed = share(device) * total
        return float(min(unused + torch.cuda.memory_reserved(device), allowed) - torch.cuda.memory_allocated(device))
    if device != "cpu":
        return math.inf
    return min(_available(), *_within_groups())


def _available() -> float:
    if _MEMINFO.exists():
        lines = dict(line.split(":") for line in _MEMINFO.read_text().splitlines() if ":" in line)
        kilobytes = lines.get("MemAvailable", lines.get("MemFree", "")).split()
        return 1024 * float(kilobytes[0]) if kilobytes else math.inf
    try:
        psutil = importlib.import_module("psutil")  # napari brings it
    except ImportError:
        return math.inf
    return float(psutil.virtual_memory().available)


def _within_groups() -> list[float]:
    """Bytes that each limit leaves, of the control groups of this process and those around them."""
    left = [math.inf]
    for line in _CGROUPS.read_text().splitlines() if _CGROUPS.exists() else []:
        _, controllers, path = line.split(":", 2)
        version = 1 if "memory" in controllers.split(",") else 2
        if controllers and version == 2:
            continue  # of something else than memory
        folder, limit, usage, dropped = _FILES[version]
        group = _MOUNT / folder / path.lstrip("/")
        for place in (group, *group.parents):
            if not place.is_relative_to(_MOUNT / folder):
                break
            most, used = _number(place / limit), _number(place / usage)
            if used is not None and most is not None:
                left.append(max(0.0, most - used + _statistics(place).get(dropped, 0)))
    return left


def _number(file: Path) -> float | None:
    """Number in a file; None if it cannot be read, or sets no limit."""
    try:
        return float(file.read_text())
    except (OSError, ValueError):  # "max"
        return None


def _statistics(group: Path) -> dict[str, float]:
    try:
        lines = (group / "memory.stat").read_text().splitlines()
    except OSError:
        return {}
    return {name: float(value) for name, value in map(str.split, lines)}


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
