"""Threads that share whole tasks: products in order, errors raised, threads given back."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from napari_dip.core import crew


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    assert torch.get_num_threads() == 3
    assert crew.usable() == 1
    torch.set_num_threads(before)


def in_a_new_thread() -> int:
    """Number of threads of torch that a thread takes over which begins now."""
    with ThreadPoolExecutor(1) as new:
        return new.submit(torch.get_num_threads).result()


def test_a_task_goes_to_several_threads_of_one_each_and_comes_back_in_order() -> None:
    met = threading.Barrier(3, timeout=60)

    def task(number: int) -> tuple[int, int, int]:
        if number < 3:
            met.wait()  # for the others
        return number, torch.get_num_threads(), threading.get_ident()

    with crew.alone():
        made = crew.side_by_side(task, range(9))
    assert [(number, threads) for number, threads, _ in made] == [(number, 1) for number in range(9)]
    assert len({thread for *_, thread in made[:3]}) == 3


def test_an_error_on_another_thread_is_raised_here() -> None:
    here, met = threading.get_ident(), threading.Barrier(2, timeout=60)

    def task(_: int) -> None:
        met.wait()
        if threading.get_ident() != here:
            raise MemoryError("elsewhere")

    with crew.alone(), pytest.raises(MemoryError, match="elsewhere"):
        crew.side_by_side(task, range(2))


def test_threads_that_begin_meanwhile_compute_on_as_many_as_before() -> None:
    def task(_: int) -> int:
        return in_a_new_thread()

    with crew.alone():
        assert torch.get_num_threads() == 1
        assert in_a_new_thread() == 3
        assert crew.side_by_side(task, range(2)) == [3, 3]
        assert torch.get_num_threads() == 1
    assert in_a_new_thread() == 3


def test_two_threads_that_compute_alone_in_turn_leave_the_number_of_the_process() -> None:
    begun, ended = threading.Event(), threading.Event()

    def second() -> tuple[int, int]:
        with crew.alone():
            begun.set()
            assert ended.wait(60)  # for the first
            within = crew.usable()
        return within, torch.get_num_threads()

    with ThreadPoolExecutor(1) as other:
        with crew.alone():
            made = other.submit(second)
            assert begun.wait(60)
        ended.set()
        assert made.result(60) == (3, 3)
    assert in_a_new_thread() == 3


def test_a_thread_that_outlives_the_main_one_computes_on_as_many_as_it_asks_for() -> None:
    script = """
import threading
from napari_dip.core import crew
import torch

def outlive():
    threading.main_thread().join()
    with crew.on_threads(2), crew.alone():
        print(torch.get_num_threads(), crew.usable())

threading.Thread(target=outlive).start()
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (ended.stdout, ended.stderr) == ("1 2\n", "")
