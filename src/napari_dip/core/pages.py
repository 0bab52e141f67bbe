"""Keeping the memory of freed tensors from one iteration to the next of a run on a CPU.

The allocator of glibc hands large buffers back to the system as soon as they are freed, and is given them anew, zeroed
page by page: a quarter of the time of an iteration (benchmarks/NOTES.md). While a run lasts it keeps them; after the
last run all that is free goes back. What is computed but a few times, on a large image, is done apart: there each large
buffer goes back as soon as it is freed, and leaves no gap that is too small for the next. On other systems nothing
happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

# names and numbers of <malloc.h>
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8
_NEVER = 2**31 - 1
_MAPPINGS = 65536  # at the most, by default
# Bytes: what the defaults rise to by themselves once large buffers were freed; not any more once they were set.
_TRIM, _MAPPED = 2**26, 2**25
#: Bytes of the buffers that go back at once, where work is done apart.
LARGE = 2**20
_CHOSEN = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")

_runs: weakref.WeakSet[object] = weakref.WeakSet()
_apart = 0  # number of parts of runs under way in `apart`
_lock = threading.Lock()


def share_one_heap() -> None:
    """Let threads that begin from now on allocate where the main thread does, for good.

    By default each gets a heap of its own, which ends at 64 MB and keeps nothing: runs in a window have such a thread.
    """
    libc = _glibc()
    if libc is not None and "MALLOC_ARENA_MAX" not in os.environ:
        libc.mallopt(_ARENA_MAX, 1)


def keep(run: object) -> None:
    """Keep what is freed until `release` is called for this run, and for every other that asked for it."""
    with _lock:
        _runs.add(run)
        _tell()


def release(run: object) -> None:
    """Hand what is free back to the system, and, if no other run needs it, keep nothing from now on."""
    with _lock:
        _runs.discard(run)
        _tell()
    trim()


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Meanwhile large buffers are mapped one by one, and go back when freed, of whatever run they are.

    Costs the zeroing of their pages.
    """
    global _apart
    with _lock:
        _apart += 1
        _tell()
    try:
        yield
    finally:
        with _lock:
            _apart -= 1
            _tell()


def _tell() -> None:
    """Tell the allocator what the runs, and their parts that are done apart, ask for."""
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_MMAP_MAX, 0 if _runs and not _apart else _MAPPINGS)
        libc.mallopt(_MMAP_THRESHOLD, LARGE if _apart else _MAPPED)
        libc.mallopt(_TRIM_THRESHOLD, _NEVER if _runs else _TRIM)


def trim() -> None:
    """Hand what is free back to the system: what one part of a run leaves in pieces, the next cannot use as a whole."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The allocator of glibc; None if there is another, or if the user has configured it."""
    if platform.libc_ver()[0] != "glibc" or _configured():
        return None
    return ctypes.CDLL(None)


@functools.cache
def _configured() -> bool:
    """True if the environment that this process began with configures the allocator, which reads it but then.

    Dask, for one, writes such a variable into that of a process which opens a cluster, for the workers.
    """
    try:
        began = dict(
            each.partition("=")[::2] for each in Path("/proc/self/environ").read_text(errors="replace").split("\0")
        )
    except OSError:
        began = dict(os.environ)
    return "glibc.malloc" in began.get("GLIBC_TUNABLES", "") or any(name in began for name in _CHOSEN)
