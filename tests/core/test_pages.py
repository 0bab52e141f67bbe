"""Freed memory is kept while a run lasts, goes back after the last one, and changes no result."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_dip.core import pages
from tests.core.tiny import problem, run, tiny

needs_glibc = pytest.mark.skipif(pages._glibc() is None, reason="needs the allocator of glibc, left as it is")
LARGE = 2**27  # bytes
#: An environment for processes of their own that tells the allocator nothing, also after tests of a Dask cluster.
UNTOLD = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}


class Run:
    pass


@pytest.fixture(autouse=True)
def released() -> None:
    gc.collect()  # of searches that other tests began
    assert not pages._runs


def held() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def touch_and_free() -> None:
    tensor = torch.ones(LARGE // 4)
    del tensor


def here(task: Callable[[], None]) -> None:
    task()


def elsewhere(task: Callable[[], None]) -> None:
    thread = threading.Thread(target=task)
    thread.start()
    thread.join()


@needs_glibc
def test_what_is_free_goes_back_between_the_parts_of_a_run() -> None:
    one = Run()
    pages.keep(one)
    try:
        touch_and_free()
        kept = held()
        pages.trim()
        assert held() < kept - LARGE / 2
    finally:
        pages.release(one)


@needs_glibc
def test_freed_memory_is_kept_until_the_last_run_ends() -> None:
    """In a process of its own: threads that came before leave arenas, which hold no buffer of this size."""
    code = "from tests.core.test_pages import *; keep_and_release(here); keep_and_release(elsewhere)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2], env=UNTOLD)


def keep_and_release(where: Callable[[Callable[[], None]], None]) -> None:
    one, other = Run(), Run()
    gc.collect()
    pages.release(one)  # what earlier tests left free
    before = held()

    def keep_touch_and_free() -> None:
        pages.keep(one)
        pages.keep(other)
        touch_and_free()

    where(keep_touch_and_free)
    assert held() - before > 0.7 * LARGE
    pages.release(one)
    touch_and_free()
    assert held() - before > 0.7 * LARGE, "the other run still needs it"
    pages.release(other)
    assert held() - before < 0.3 * LARGE
    touch_and_free()
    pages.release(other)
    assert held() - before < 0.3 * LARGE


@needs_glibc
def test_buffers_of_some_megabytes_are_kept_after_a_run_as_before_it() -> None:
    """In a process of its own: the thresholds of the allocator rise by themselves until they are set."""
    code = """
import resource, torch
from napari_dip.core import pages
class Run: pass
def faults():
    for _ in range(20): torch.ones(2**19)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20): torch.ones(2**19)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
before = faults()
run = Run(); pages.keep(run); pages.release(run)
assert faults() <= before + 512, (before, faults())
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=UNTOLD)


@needs_glibc
@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_user_told_the_allocator_stands(name: str) -> None:
    told = {**os.environ, name: "131072" if name.startswith("M") else "glibc.malloc.trim_threshold=131072"}
    code = "from napari_dip.core import pages; assert pages._glibc() is None"
    subprocess.run([sys.executable, "-c", code], check=True, env=told)


@needs_glibc
def test_what_a_library_tells_the_processes_to_come_is_not_meant_for_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pages._configured.cache_clear()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")  # as Dask does for its workers
    assert pages._glibc() is not None


@needs_glibc
def test_large_buffers_of_what_is_done_apart_go_back_at_once_and_those_after_it_are_kept() -> None:
    one = Run()
    pages.keep(one)
    try:
        pages.trim()
        before = held()
        with pages.apart(), pages.apart():
            touch_and_free()
            assert held() - before < 0.3 * LARGE
        touch_and_free()
        assert held() - before > 0.7 * LARGE
    finally:
        pages.release(one)


def test_a_run_that_is_forgotten_holds_nothing() -> None:
    one = Run()
    pages.keep(one)
    del one
    gc.collect()
    assert not pages._runs


def test_the_result_does_not_depend_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = run(problem(), tiny())
    assert not pages._runs
    monkeypatch.setattr(pages, "_glibc", lambda: None)
    np.testing.assert_array_equal(run(problem(), tiny()).image, kept.image)
