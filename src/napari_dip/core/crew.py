"""Threads of a CPU that share whole tasks: the same numbers, bit by bit, however many there are.

Torch shares each operation among its threads, so that the order of sums depends on their number.
"""

from __future__ import annotations

import functools
import os
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


@contextmanager
def alone() -> Iterator[None]:
    """Meanwhile torch computes on the calling thread alone; its other threads are for `side_by_side`."""
    if hasattr(_here, "threads"):
        yield
        return
    threads = _here.threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        del _here.threads
        torch.set_num_threads(threads)


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
    torch.get_num_threads()  # a thread takes over the number of the process when it first asks, not when it begins
    torch.set_num_threads(1)
    work()


def _end(others: list[Future[None]]) -> None:
    """Wait for what has begun, and raise what it failed with."""
    begun = [other for other in others if not other.cancel()]
    wait(begun)
    for other in begun:
        other.result()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not come along
