"""A step on a GPU, recorded once as a CUDA graph: replaying it costs one launch, not one for each of its kernels.

A graph repeats the same kernels on the same memory with the same numbers. So a step that is recorded reads nothing back
to the host, keeps what outlives it in tensors that stay where they are, and takes numbers that change from tensors that
are set before. What cannot be recorded runs as it is (`torch.cuda.graphs`).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from typing import Any, Protocol

import torch

from napari_dip.core.device import ONE_AT_A_TIME

Step = Callable[[], None]

#: Steps before the recording. In them libraries choose their algorithms, and an optimiser allocates its state.
WARM_UP = 3


class Recorder(Protocol):
    """Recorder of a step: CUDA, or a stand-in of the tests, which need no GPU."""

    def aside(self) -> AbstractContextManager[None]:
        """Context in which steps run before the recording."""

    def record(self, step: Step) -> Step:
        """Record a step without executing it; returns the function that executes it. May fail in any way."""

    def forget(self) -> None:
        """Prepare for the replacement of tensors that a recorded step uses."""


class CUDA:
    """Recorder on a stream beside that of the runs: one for each device, as libraries keep memory for each stream.

    Parameters
    ----------
    device : str
        A CUDA device.
    random : torch.Generator
        On that device: the source of the step's random numbers. A replay moves it on as the step would.
    """

    def __init__(self, device: str, random: torch.Generator) -> None:
        self._random = random
        self._device = device
        self._stream = _beside(device)

    @contextmanager
    def aside(self) -> Iterator[None]:
        here = torch.cuda.current_stream(self._device)
        # what another thread runs where a graph is recorded would become a part of it
        with ONE_AT_A_TIME:
            self._stream.wait_stream(here)
            try:
                with torch.cuda.stream(self._stream):
                    yield
            finally:
                here.wait_stream(self._stream)

    def record(self, step: Step) -> Step:
        with torch.cuda.device(self._device):  # where a graph keeps the seeds of its random numbers
            graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
            graph.register_generator_state(self._random)
            before = self._random.clone_state()
            # other threads go on using the GPU meanwhile: a recording of the whole process would break on that
            recording = torch.cuda.graph(graph, pool, stream=self._stream, capture_error_mode="thread_local")
            try:
                with self.aside(), _own_workspace(), recording:
                    step()
            except Exception:
                self._random.graphsafe_set_state(before)  # a recording that broke off leaves it unusable
                _close_books(torch.cuda.current_device(), pool)
                raise
        return graph.replay

    def forget(self) -> None:
        # their memory is used again beside, perhaps by another run, while the last replays are under way
        self._stream.wait_stream(torch.cuda.current_stream(self._device))


@cache
def _beside(device: str) -> Any:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _close_books(device: int, pool: Any) -> None:
    """Tell the allocator that a recording which CUDA refused to end is over.

    Up to torch 2.11 it goes on counting it, and fails where memory is next handed back (pytorch pull request 180395).
    """
    with suppress(RuntimeError):  # it was told
        torch._C._cuda_endAllocateToPool(device, pool)
        torch._C._cuda_releasePool(device, pool)


@contextmanager
def _own_workspace() -> Iterator[None]:
    """Matrix products have a workspace per stream; two graphs that share one must not be replayed side by side."""
    torch._C._cuda_clearCublasWorkspaces()
    try:
        yield
    finally:
        torch._C._cuda_clearCublasWorkspaces()


def recorder_for(device: str, random: torch.Generator) -> Recorder | None:
    """Recorder for a device; None if it has none."""
    return CUDA(device, random) if device.startswith("cuda") else None


class Replayed:
    """A step that is made `WARM_UP` times, recorded, and from there on replayed.

    Parameters
    ----------
    step : callable
        Reads nothing back from the device.
    recorder : Recorder, optional
        Without one the step is made as it is.
    on_failure : callable
        Told once why the recording failed, in which case the step is made as it is.

    Attributes
    ----------
    step : callable
        Makes one step.
    """

    step: Step

    def __init__(self, step: Step, recorder: Recorder | None, on_failure: Callable[[str], None]) -> None:
        self._plain = step
        self._recorder = recorder
        self._on_failure = on_failure
        self._recorded = False
        self.forget()

    def forget(self) -> None:
        """Drop the recording, before a tensor that the step uses is replaced."""
        if self._recorder is not None and self._recorded:
            self._recorder.forget()
        self._recorded, self._made = False, 0
        self.step = self._plain if self._recorder is None else self._prepare

    def _prepare(self) -> None:
        """One step before the recording, or the first that is replayed."""
        assert self._recorder is not None
        if self._made == WARM_UP:
            self.step = self._record(self._recorder)
            self.step()
        else:
            with self._recorder.aside():
                self._plain()
            self._made += 1

    def _record(self, recorder: Recorder) -> Step:
        try:
            replay = recorder.record(self._plain)
            self._recorded = True
            return replay
        except Exception as error:  # whatever it was: if it was the step, it will say so itself
            traceback.clear_frames(error.__traceback__)  # their variables would keep the memory of the recording
            cause: BaseException = error
            while cause.__context__ is not None:  # ending a recording that broke off fails again, and says less
                cause = cause.__context__
                traceback.clear_frames(cause.__traceback__)
            failure = str(cause).split("\n")[0] or type(cause).__name__
        self._recorder = None
        self._on_failure(failure)
        return self._plain
