"""Small computations beside the window: only the newest counts, and only one is under way at a time."""

from __future__ import annotations

import atexit
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_dip.doors import asked_from
from napari_dip.viewer.rows import Text

_log = logging.getLogger(__name__)
_DELAY = 400  # ms: while a number is typed, or a slider moves, nothing is computed
_POLL = 20  # ms; a signal out of the thread would crash where the window is gone by then
_one = threading.Lock()  # of all widgets together: each would take a core from the window
# a process that ends within a computation of torch is aborted: wait for it, and begin no other
atexit.register(_one.acquire, timeout=60)


class Background(QObject):
    """Computes what it is asked for in a thread and hands the answer to the window.

    What is asked meanwhile replaces what waits, and the answer to anything but the last question is dropped. A
    thread of its own, and not a worker of napari's, because those hold the warnings of the whole process.

    Parameters
    ----------
    parent : QObject, optional
    slot : callable, optional
        Takes the answers.
    delay : int
        Milliseconds to wait for a newer question before it starts.

    Attributes
    ----------
    answered : Signal
        Carries the answer, or the exception that came instead.
    """

    answered = Signal(object)

    def __init__(
        self, parent: QObject | None = None, slot: Callable[[Any], object] | None = None, delay: int = 0
    ) -> None:
        super().__init__(parent)
        if slot is not None:
            self.answered.connect(slot)
        self._question: Callable[[], Any] | None = None
        self._count = 0  # of questions
        self._under_way = 0  # the number of the question that is being answered; 0 for none
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._wait = _timer(self, delay, self._begin)
        self._wait.setSingleShot(True)
        self._poll = _timer(self, _POLL, self._collect)

    @property
    def waiting(self) -> bool:
        """True while an answer is still to come."""
        return self._wait.isActive() or self._under_way > 0

    def ask(self, question: Callable[[], Any]) -> None:
        """Have something computed, in place of what was asked before."""
        self._count += 1
        self._question = question
        self._wait.start()

    def forget(self) -> None:
        """Want no answer any more."""
        self._count += 1
        self._question = None
        self._wait.stop()

    def _begin(self) -> None:
        if self._under_way or self._question is None:
            return
        question, self._question, self._under_way = self._question, None, self._count
        threading.Thread(target=_work, args=(question, self._answers), daemon=True).start()
        self._poll.start()

    def _collect(self) -> None:
        if self._answers.empty():
            return
        self._poll.stop()
        answer, of, self._under_way = self._answers.get(), self._under_way, 0
        if of == self._count:
            self.answered.emit(answer)
        elif not self._wait.isActive():
            self._begin()


def _timer(parent: QObject, interval: int, slot: Callable[[], None]) -> QTimer:
    timer = QTimer(parent)
    timer.setInterval(interval)
    timer.timeout.connect(slot)
    return timer


def _work(question: Callable[[], Any], answers: queue.SimpleQueue[Any]) -> None:
    with _one, asked_from("window"):
        try:
            answer = question()
        except Exception as error:
            _log.debug("a computation beside the window failed", exc_info=True)
            answer = error.with_traceback(None)  # which would keep its arrays alive
        answers.put(answer)


class Sentence(Text):
    """A line of text that says what is computed beside the window, and keeps up with what is chosen.

    A subclass takes the answers in `_on_answer`, and knows by `_key` what it has asked for.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._key: Any = None
        self._background = Background(self, self._on_answer, _DELAY)
        self.setVisible(False)

    @property
    def waiting(self) -> bool:
        """True while an answer is under way."""
        return self._background.waiting

    def _on_answer(self, answer: Any) -> None:
        raise NotImplementedError

    def _say(self, text: str) -> None:
        self.setText(text)
        self.setVisible(bool(text))
