"""Threads of a CPU that share whole tasks: the same numbers, bit by bit, however many there are.

Torch shares each operation among its threads, so that the order of sums depends on their number.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import torch

Given = TypeVar("Given")
Made = TypeVar("Made")
_MOST = 64  # threads beside those that runs are on; none begins before there is work for it
_here = threading.local()
_setting = threading.RLock()  # reentrant, as garbage may be an abandoned run, which gives its threads back


@contextmanager
def on_threads(count: int) -> Iterator[int]:
    """Meanwhile torch computes on so many threads for the calling one; 0 leaves it as it is. Yields the number before.

    Threads that begin meanwhile compute on as many as they would have.
    """
    here, before = threading.current_thread(), _set(count)
    try:
        yield before
    finally:
        if threading.current_thread() is here:  # else an abandoned run ends as garbage, on any thread
            _set(before)


def _set(count: int) -> int:
    """Set the number of threads of the calling one alone, and return that before.

    A thread takes over the number of the process when it first asks, and keeps it. ``torch.set_num_threads`` sets both
    the caller's and that of the process, so another thread reads the latter first, and puts it back.
    """
    with _setting:
        before = torch.get_num_threads()
        if count not in (0, before) and not sys.is_finalizing():  # from then on no thread can begin
            of_process = _anew(torch.get_num_threads)
            torch.set_num_threads(count)
            _anew(lambda: torch.set_num_threads(of_process))
    return before


def _anew(ask: Callable[[], Made]) -> Made:
    """Answer of a new thread. A pool would refuse one as soon as the main thread has ended, when others may go on."""
    made: list[Made] = []
    thread = threading.Thread(target=lambda: made.append(ask()))
    thread.start()
    thread.join()
    return made[0]


@contextmanager
def alone() -> Iterator[None]:
    """Meanwhile torch computes on the calling thread alone; its other threads are for `side_by_side`."""
    if hasattr(_here, "threads"):
        yield
        return
    with on_threads(1) as _here.threads:
        try:
            yield
        finally:
            del _here.threads


def usable() -> int:
    """Number of threads that tasks may go to: within `alone` those of torch, else the calling one."""
    return getattr(_here, "threads", 1)


def side_by_side(task: Callable[[Given], Made], given: Sequence[Given]) -> list[Made]:
    """Products of a task for all things given, in order, made on the threads that are `usable`."""
    left, made = deque(enumerate(given)), dict[int, Made]()

    def work() -> None:
        while left:
            try:
                place, one = left.popleft()
            except IndexError:  # another thread took the last
                return
            made[place] = task(one)

    others = [_pool().submit(_elsewhere, work) for _ in range(min(usable(), len(given)) - 1)]
    try:
        work()
    finally:
        left.clear()
        _end(others)
    return [made[place] for place in range(len(given))]


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_MOST, thread_name_prefix="napari-dip")


def _elsewhere(work: Callable[[], None]) -> None:
    """Work on a thread of the pool."""
    _set(1)  # for good
    work()


def _end(others: list[Future[None]]) -> None:
    """Wait for what has begun, and raise what it failed with."""
    begun = [other for other in others if not other.cancel()]
    wait(begun)
    for other in begun:
        other.result()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_setting.acquire, after_in_parent=_setting.release, after_in_child=_setting.release)
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not come along
