"""One job in a worker thread: start, pause, stop; what it sends to the window, and when it is over."""

from __future__ import annotations

import atexit
import gc
import logging
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from napari.qt.threading import create_worker
from qtpy.QtCore import QObject, QThreadPool, Signal

from napari_dip.doors import asked_from
from napari_dip.viewer import engine
from napari_dip.viewer.restoration import Planned

if TYPE_CHECKING:
    from napari_dip import Progress

INTERVAL = 0.3  # seconds between two looks at the image: each costs the window a redraw
_PATIENCE = 60_000  # ms for a run to end with the process
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """End of a job: a value, or the sentence that says why there is none; neither, if it was stopped as it began."""

    value: Any
    error: str = ""


class Job(QObject):
    """Exhausts what `steps` makes, in a worker of napari's.

    `planned` carries the `Planned` of a run that is about to begin.

    `progressed` carries a `Progress` or `BlockProgress`; its receiver calls `taken` when it is done with it, and none
    is sent before that: a preview that comes too early is skipped, a snapshot waits. `ended` carries the `Outcome`,
    always, once.

    Parameters
    ----------
    name : str
        Name of the job in napari's question whether to close the window all the same.
    steps : callable
        From a ``should_stop`` to a generator of `Progress` that returns the value of the outcome; called in the worker.
    """

    planned = Signal(object)
    progressed = Signal(object)
    ended = Signal(object)
    _current: ClassVar[Job | None] = None  # one at a time: two would share the processor, the memory and the warnings

    def __init__(self, name: str, steps: Callable[[Callable[[], bool]], Generator[Progress, None, Any]]) -> None:
        super().__init__()
        self._name = name
        self._steps = steps
        self._stopped = threading.Event()
        self._may_run = threading.Event()
        self._may_run.set()
        self._over = threading.Event()
        self._free = threading.Event()
        self._free.set()
        self._worker: Any = None

    @staticmethod
    def busy() -> bool:
        """True if a run is under way."""
        return Job._current is not None and Job._current.running

    @staticmethod
    def check_free() -> None:
        """Raise a `RuntimeError` if another run is under way."""
        if Job.busy():
            raise RuntimeError("another restoration is running; stop it, or wait until it is done")

    def start(self) -> None:
        """Start the worker.

        Raises
        ------
        RuntimeError
            If another run is under way.
        """
        self.check_free()
        Job._current = self  # also keeps it alive if its widget is closed
        self._worker = create_worker(self, _start_thread=False)
        self._worker.returned.connect(self._on_returned)
        self._worker.start()

    @property
    def running(self) -> bool:
        """True while the run is under way, from `start` on, also while it is paused."""
        return self._worker is not None and not self._over.is_set()

    def _on_returned(self, outcome: Outcome) -> None:
        if Job._current is self:
            Job._current = None
        self.ended.emit(outcome)

    @property
    def paused(self) -> bool:
        """True while the run waits for `resume`."""
        return not self._may_run.is_set()

    def pause(self) -> None:
        """Wait before the next iteration."""
        self._may_run.clear()

    def resume(self) -> None:
        """Go on after a pause."""
        self._may_run.set()

    def stop(self) -> None:
        """End the run before the next iteration, also if it is paused, with what there is."""
        self._stopped.set()
        self._may_run.set()
        self._free.set()

    def taken(self) -> None:
        """Tell that the last `Progress` is dealt with."""
        self._free.set()

    def _should_stop(self) -> bool:
        while not self._may_run.wait(0.1) and not self._worker.abort_requested:
            pass
        return self._stopped.is_set() or self._worker.abort_requested

    def __repr__(self) -> str:
        return self._name

    def __call__(self) -> Outcome:
        """Work through the steps, in the worker's thread."""
        try:
            with asked_from("window"):
                return self._outcome()
        finally:
            self._over.set()

    def _outcome(self) -> Outcome:
        """The outcome of the job; raises nothing, for napari would swallow a RuntimeError without a word."""
        error = ""
        try:
            return Outcome(self._consume())
        except MemoryError as problem:
            error = str(problem) or "memory ran out"
        except (ValueError, TypeError, ArithmeticError, BlockingIOError) as problem:
            error = str(problem)
        except Exception as problem:
            _log.exception("a restoration failed")
            error = f"{type(problem).__name__}: {problem}"
        # outside the except block, so that the traceback and the tensors it holds are gone
        gc.collect()
        return Outcome(None, error)

    def _consume(self) -> Any:
        engine.load(self._stopped.is_set)
        if self._stopped.is_set():
            return None
        from napari_dip import Progress

        steps = self._steps(self._should_stop)
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                return end.value
            if isinstance(progress, Planned):
                self.planned.emit(progress)
                continue
            if isinstance(progress, Progress) and progress.snapshot:
                while not self._free.wait(0.1) and not self._worker.abort_requested:
                    pass
            if self._free.is_set() and not self._stopped.is_set():
                self._free.clear()
                self.progressed.emit(progress)


@atexit.register
def _end() -> None:
    """End the run before the process: it would keep it from ending, and tell of itself to what Qt has taken away."""
    if (job := Job._current) is not None:
        job.stop()
        QThreadPool.globalInstance().waitForDone(_PATIENCE)
