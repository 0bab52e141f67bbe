"""What is asked of CUDA while a step is recorded, by stand-ins that write it down: order, devices, and failures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from napari_dip.core import batch, graph, memory, pace
from napari_dip.core import device as devices
from napari_dip.core.methods.prior import PriorFitter
from tests.core.tape import Taping
from tests.core.tiny import problem, tiny

SYNC, ENDED = "operation not permitted when stream is capturing", "operation failed due to a previous error"


class CUDA:
    """Two GPUs without numbers: `told` is what is asked of them, `refuses` whether a recording cannot be ended."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.device, self.queue = "cuda:0", self.stream("default")
        self.refuses = self.counted = False
        self.names = iter(["beside", "second", "third"])

    def stream(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(
            name=name,
            wait_stream=lambda other: self.told.append(f"{name} waits for {other.name}"),
            synchronize=lambda: self.told.append(f"the host waits for {name}"),
        )

    @contextmanager
    def with_device(self, device: str) -> Iterator[None]:
        before, self.device = self.device, device
        try:
            yield
        finally:
            self.device = before

    @contextmanager
    def with_stream(self, stream: Any) -> Iterator[None]:
        before, self.queue = self.queue, stream or self.queue
        try:
            yield
        finally:
            self.queue = before

    @contextmanager
    def recording(self, graph: Any, pool: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        assert (pool, capture_error_mode) == ((0, 7), "thread_local")
        self.told.append(f"records on {stream.name}")
        try:
            yield
        finally:
            self.told.append("ends")
            if self.refuses:
                self.counted = True
                raise RuntimeError(ENDED)

    def graph(self) -> SimpleNamespace:
        return SimpleNamespace(
            register_generator_state=lambda random: self.told.append(f"seeds on {self.device}"),
            replay=lambda: self.told.append("replays"),
        )

    def end(self, device: int, pool: Any) -> None:
        if not self.counted:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.counted = False
        self.told.append(f"stops counting on {device}")

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stand_ins = {
            "Stream": lambda device: self.stream(next(self.names)),
            "stream": self.with_stream,
            "device": self.with_device,
            "current_stream": lambda device: self.queue,
            "current_device": lambda: int(self.device[-1]),
            "CUDAGraph": self.graph,
            "graph": self.recording,
            "graph_pool_handle": lambda: (0, 7),
            "empty_cache": lambda: self.told.append("empties"),
            "is_bf16_supported": lambda including_emulation=True: self.device == "cuda:1",
            "mem_get_info": lambda device: (60, 100),
            "memory_reserved": lambda device: 20,
            "memory_allocated": lambda device: 10,
        }
        for name, stand_in in stand_ins.items():
            monkeypatch.setattr(torch.cuda, name, stand_in)
        monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None, raising=False)
        monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", self.end, raising=False)
        release = lambda device, pool: self.told.append(f"lets go of {pool}")  # noqa: E731
        monkeypatch.setattr(torch._C, "_cuda_releasePool", release, raising=False)
        monkeypatch.setattr(graph, "_beside", lambda device: self.stream("beside"))


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> CUDA:
    made = CUDA()
    made.patch(monkeypatch)
    return made


@pytest.fixture
def random() -> Any:
    """A random generator that knows in which state it is."""
    made = SimpleNamespace(state="fresh", clone_state=lambda: "before")
    made.graphsafe_set_state = lambda state: setattr(made, "state", state)
    return made


def replayed(step: graph.Step, random: Any, failures: list[str]) -> graph.Replayed:
    return graph.Replayed(step, graph.CUDA("cuda:1", random), failures.append)


def failing_at(count: int, error: Exception) -> Callable[[], None]:
    made = []

    def step() -> None:
        made.append(1)
        if len(made) == count:
            raise error

    return step


def test_a_step_is_recorded_once_beside_and_on_its_device(cuda: CUDA, random: Any) -> None:
    failures: list[str] = []
    recorded = replayed(lambda: cuda.told.append("steps"), random, failures)
    for _ in range(graph.WARM_UP + 2):
        recorded.step()
    beside = ["beside waits for default", "steps", "default waits for beside"]
    recording = ["seeds on cuda:1", "beside waits for default", "records on beside", "steps", "ends"]
    assert cuda.told == [*beside * graph.WARM_UP, *recording, "default waits for beside", "replays", "replays"]
    assert (cuda.device, failures, random.state) == ("cuda:0", [], "fresh")


def others_may_record() -> bool:
    """Whether another thread would not have to wait."""
    free: list[bool] = []

    def look() -> None:
        free.append(devices.ONE_AT_A_TIME.acquire(blocking=False))
        if free[0]:
            devices.ONE_AT_A_TIME.release()

    other = threading.Thread(target=look)
    other.start()
    other.join()
    return free[0]


def test_a_recording_that_cuda_refuses_to_end_is_over_nevertheless(cuda: CUDA, random: Any) -> None:
    """torch up to 2.11 would count it for ever, and fail where memory is next handed back."""
    failures: list[str] = []
    recorded = replayed(failing_at(graph.WARM_UP + 1, RuntimeError(f"CUDA error: {SYNC}\nmore")), random, failures)
    for _ in range(graph.WARM_UP):
        recorded.step()
    cuda.refuses = True
    recorded.step()
    assert failures == [f"CUDA error: {SYNC}"]  # the cause, not what it led to
    assert cuda.told.count("stops counting on 1") == cuda.told.count("lets go of (0, 7)") == 1
    assert cuda.told[-4:-2] == ["ends", "default waits for beside"]
    assert random.state == "before"
    assert others_may_record()
    assert not cuda.counted


def test_what_cuda_did_end_is_left_to_torch(cuda: CUDA, random: Any) -> None:
    failures: list[str] = []
    recorded = replayed(failing_at(graph.WARM_UP + 1, ValueError("on purpose")), random, failures)
    for _ in range(graph.WARM_UP + 1):
        recorded.step()
    assert failures == ["on purpose"]
    assert not any(word in sentence for sentence in cuda.told for word in ("counting", "lets go"))


def test_a_step_that_fails_beside_is_waited_for(cuda: CUDA, random: Any) -> None:
    recorded = replayed(failing_at(1, ValueError("on purpose")), random, [])
    with pytest.raises(ValueError, match="on purpose"):
        recorded.step()
    assert cuda.told[-1] == "default waits for beside"
    assert others_may_record()


def test_no_memory_is_handed_back_while_a_graph_is_recorded(cuda: CUDA) -> None:
    with devices.ONE_AT_A_TIME:
        other = threading.Thread(target=devices.give_back, args=("cuda:0",))
        other.start()
        other.join(0.05)
        assert other.is_alive()
        assert not cuda.told
    other.join()
    assert cuda.told == ["empties"]


def test_each_gpu_is_asked_for_itself(cuda: CUDA) -> None:
    assert [devices.has_bfloat16(name) for name in ("cuda:0", "cuda:1")] == [False, True]
    assert [devices.can_bfloat16(tiny(), name) for name in ("cuda:0", "cuda:1")] == [False, True]
    assert cuda.device == "cuda:0"


def test_a_measurement_waits_for_its_own_work_alone(cuda: CUDA, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *shape, device, **how: zeros(*shape, **how))
    pace._measured("cuda:0", torch.float32)
    assert set(cuda.told) == {"the host waits for default"}  # of the whole device it would break a recording


def test_free_memory_is_within_the_share_of_the_process(cuda: CUDA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 0.5, raising=False)
    assert memory.free("cuda:0") == 40
    monkeypatch.delattr(torch.cuda, "get_per_process_memory_fraction")  # which torch 2.5 does not have
    assert memory.free("cuda:0") == 70


def test_runs_at_once_end_in_their_own_queues(cuda: CUDA) -> None:
    ended: list[str] = []

    def work(name: str) -> Generator[None, None, Any]:
        try:
            while True:
                yield None
        finally:
            ended.append(f"{name} in {cuda.queue.name}")

    waiting = [(0, work("first")), (1, work("other"))]
    shown = batch.round_robin(lambda: waiting.pop(0) if waiting else None, "cuda:0")

    def failing() -> Generator[None, None, Any]:
        raise MemoryError("on purpose")
        yield

    waiting.append((2, failing()))
    assert next(shown)[0] == 2
    shown.close()
    assert ended == ["first in default", "other in beside"]


def test_a_search_that_ends_early_has_others_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Taping] = []

    def recorder_for(device: str, random: torch.Generator) -> Taping:
        made.append(Taping(device, random))
        return made[-1]

    monkeypatch.setattr(graph, "recorder_for", recorder_for)
    search = PriorFitter(problem(), tiny().method, "cpu")
    search.begin()
    for _ in range(graph.WARM_UP + 1):
        search.step()
    search.close()
    assert made[0].forgotten == 1
    assert not hasattr(search, "_replayed")
