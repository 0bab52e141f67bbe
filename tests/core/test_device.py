"""Where a run is computed: what may be asked for, and the reason that is given."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from napari_dip.core import device
from napari_dip.core.memory import is_out_of_memory
from tests.core.tiny import problem, run, tiny


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Pretend that there are so many GPUs, and no other accelerator."""

    def gpus(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda which: f"Model {str(which)[-1]}")
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    return gpus


@pytest.mark.parametrize(
    ("count", "wanted", "name", "why"),
    [
        (0, "auto", "cpu", "no graphics card with CUDA"),
        (0, "cpu", "cpu", "as device='cpu' says"),
        (2, "auto", "cuda:0", "Model 0.*first of 2"),
        (2, "cuda", "cuda:0", "Model 0.*as device='cuda' says"),
        (2, "cuda:1", "cuda:1", "Model 1.*as device='cuda:1' says"),
        (2, "cpu", "cpu", "as device='cpu' says"),
    ],
)
def test_the_device_comes_with_its_reason(
    gpus: Callable[[int], None], count: int, wanted: str, name: str, why: str
) -> None:
    gpus(count)
    chosen = device.choose(wanted)
    assert str(chosen) == chosen.name == name
    assert re.search(why, chosen.reason)


@pytest.mark.parametrize(
    ("count", "wanted", "words"),
    [
        (0, "cuda", "no CUDA GPU.*device='auto'"),
        (2, "cuda:2", "2 CUDA GPUs.*device='auto'"),
        (1, "cuda:99", "1 CUDA GPU;.*device='auto'"),
        (0, "mps", "Apple"),
        (1, "gpu", "cuda:1"),
        (1, "cuda:", "cuda:1"),
        (1, "cuda:-1", "cuda:1"),
        (1, "cuda0", "cuda:1"),
        (1, "CPU", "cpu"),
        (1, "", "cpu"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_a_remedy(
    gpus: Callable[[int], None], count: int, wanted: str, words: str
) -> None:
    gpus(count)
    with pytest.raises(ValueError, match=f"^device={wanted!r}.*{words}"):
        device.choose(wanted)


def test_the_result_says_where_it_was_computed() -> None:
    result = run(problem(), tiny(iterations=1, device="cpu"))
    assert result.device == device.Device("cpu", "as device='cpu' says")


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"), True),
        (RuntimeError("GET was unable to find an engine to execute this computation"), True),
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("could not create a memory object"), True),
        (RuntimeError("could not execute a primitive"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("bad allocation"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8589934592 bytes."), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("MKL FFT error: Intel oneMKL DFTI ERROR: Memory allocation failed"), True),
        (np._core._exceptions._ArrayMemoryError((2**40,), np.dtype(float)), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOENT, "No such file"), False),
        (RuntimeError("could not create a primitive descriptor for a convolution forward propagation"), False),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
    ],
    ids=repr,
)
def test_out_of_memory_is_told_from_other_errors(error: Exception, is_it: bool) -> None:
    assert is_out_of_memory(error) is is_it


@pytest.mark.parametrize(
    ("maker", "avx512", "amx", "faster"),
    [
        ("AMD EPYC", False, False, False),
        ("AMD EPYC", True, False, True),
        ("Intel Xeon", True, True, True),
        ("Intel Xeon", True, False, False),  # as virtual machines that hide its matrix units
    ],
)
@pytest.mark.parametrize("code", [{}, {"code": "self", "generator": "unet", "skip_channels": 4, "code_channels": 32}])
def test_the_precision_is_that_of_the_user_else_the_faster_of_the_processor(
    maker: str, avx512: bool, amx: bool, faster: bool, code: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": maker}, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    for chosen in ("float32", "bfloat16"):
        assert device.precision_of(tiny(**code, precision=chosen), "cpu") == chosen
        assert device.precision_of(tiny(**code, precision=chosen), "cpu", volume=True) == chosen
    automatic = tiny(**code, precision="auto")
    assert device.precision_of(automatic, "cpu") == ("bfloat16" if faster else "float32")
    assert device.precision_of(automatic, "cpu", volume=True) == "float32", "torch gets it wrong"


@pytest.mark.parametrize("optimiser", ["lbfgs", "sgld"])
def test_what_reads_the_loss_keeps_its_digits(optimiser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "has_bfloat16", lambda *_: True)
    assert device.precision_of(tiny(precision="auto", optimiser=optimiser), "cpu") == "float32"


def test_a_thread_that_records_and_lets_go_of_another_run_does_not_wait_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A recording begins with a collection of garbage, and an abandoned run may be among that."""
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    done = threading.Event()

    def record() -> None:
        with device.ONE_AT_A_TIME:
            device.give_back("cuda:0")
        done.set()

    threading.Thread(target=record, daemon=True).start()
    assert done.wait(60)


@pytest.mark.parametrize(
    ("told", "then"),
    [
        ({}, ["PASSIVE", "3000"]),
        ({"GOMP_SPINCOUNT": "7"}, ["PASSIVE", "7"]),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ["ACTIVE", "None"]),
    ],
)
def test_threads_spin_for_a_moment_and_then_sleep_unless_the_user_says_otherwise(
    told: dict[str, str], then: list[str]
) -> None:
    code = "import os, napari_dip.core; print(*map(os.environ.get, ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')))"
    rest = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=rest | told)
    assert done.stdout.split() == then
