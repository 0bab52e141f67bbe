"""The queue: restorations that are done, running, waiting or failed, of all docks together, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_dip.viewer.controls import button
from napari_dip.viewer.job import Job
from napari_dip.viewer.rows import Section, Text

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
_KEPT = 20  # of those that are over
_RETRY = 300  # ms until it is seen whether a run of a script is over


@dataclass(eq=False)
class Entry:
    """A restoration in the queue.

    Attributes
    ----------
    owner : QWidget or None
        The dock that runs it; None once that is closed.
    name : str
        Of the layer that is restored.
    begin : callable
        Begins it, and returns whether it could.
    state : str
    reason : str
        Why it failed.
    """

    owner: QWidget | None
    name: str
    begin: Callable[[], bool]
    state: str = WAITING
    reason: str = ""


class Queue(QObject):
    """Begins what waits, first come first served."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []
        self._retry = QTimer(self)
        self._retry.setSingleShot(True)
        self._retry.setInterval(_RETRY)
        self._retry.timeout.connect(self._next)

    def of(self, *states: str) -> list[Entry]:
        """Entries in one of these states."""
        return [each for each in self.entries if each.state in states]

    def add(self, entry: Entry) -> None:
        """Begin it, now or when what is before it is over."""
        over = self.of(DONE, FAILED)
        for each in over[: max(0, len(over) - _KEPT)]:
            self.entries.remove(each)
        self.entries.append(entry)
        self._next()

    def ended(self, owner: QWidget, failed: bool, reason: str = "") -> None:
        """Take note of the end of the run of a dock, and begin the next one."""
        for each in self.of(RUNNING):
            if each.owner is owner:
                each.state, each.reason = FAILED if failed else DONE, reason
        self.changed.emit()
        QTimer.singleShot(0, self._next)

    def empty(self) -> None:
        """Forget all but what runs."""
        self.entries = self.of(RUNNING)
        self.changed.emit()

    def leave(self, owner: QWidget) -> None:
        """Forget what a dock that is closed was to do or does, and the dock."""
        over = self.of(DONE, FAILED)
        self.entries = [each for each in self.entries if each.owner is not owner or each in over]
        for each in over:
            if each.owner is owner:
                each.owner, each.begin = None, lambda: False
        self.changed.emit()
        QTimer.singleShot(0, self._next)

    def _next(self) -> None:
        waiting = self.of(WAITING)
        if not waiting or self.of(RUNNING):
            return self.changed.emit()
        if Job.busy():  # with the run of a script, or a noise-only control
            self._retry.start()
            return self.changed.emit()
        waiting[0].state = RUNNING
        if not waiting[0].begin():
            waiting[0].state = FAILED
            QTimer.singleShot(0, self._next)
        return self.changed.emit()


@cache
def queue() -> Queue:
    """The one queue of the process."""
    return Queue()


class QueuePanel(Section):
    """Entries of the queue, where that is more than the run of this dock."""

    def __init__(self) -> None:
        super().__init__("Queue")
        self._text = Text("queue")
        self.empty_button = button("Empty the queue", queue().empty, "What waits is not begun. What runs goes on.")
        for part in (self._text, self.empty_button):
            self.addWidget(part)
        queue().changed.connect(self._show)
        self._tell()
        if not self._matters:
            self.hide()  # and is not shown before it lies in its dock: it would be a window

    @property
    def told(self) -> str:
        """A line for each entry."""
        return self._text.text()

    @property
    def _matters(self) -> bool:
        return len(queue().entries) > 1

    def _show(self) -> None:
        self._tell()
        self.setVisible(self._matters)

    def _tell(self) -> None:
        entries, waiting = queue().entries, len(queue().of(WAITING))
        self.setText(f"Queue ({waiting} waiting)" if waiting else "Queue")
        told = [f"{each.state}: {each.name}" + f" ({each.reason})" * bool(each.reason) for each in entries]
        self._text.setText("\n".join(told))


def waiting_for(entry: Any) -> str:
    """Sentence on an entry that waits; empty once it has begun."""
    if entry.state != WAITING:
        return ""
    running, waiting = queue().of(RUNNING), queue().of(WAITING)
    first = f"'{running[0].name}'" if running else "another run"
    return f"Waiting for {first} to finish ({len(waiting)} in the queue)."
