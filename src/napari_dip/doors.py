"""The words of a remedy for whoever asked: a keyword in Python, an option on the command line, a row in the window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Door = Literal["python", "command", "window"]
_door: ContextVar[Door] = ContextVar("door", default="python")


@contextmanager
def asked_from(door: Door) -> Iterator[None]:
    """Speak to those who came in by a door, in this thread."""
    before = _door.set(door)
    try:
        yield
    finally:
        _door.reset(before)


def overwriting() -> str:
    """The rest of a sentence on a file that is there: the way to replace it."""
    return remedy(
        python="or overwrite it (overwrite=True)",
        command="or overwrite it (--overwrite)",
        window="or delete it first",
    )


def remedy(*, python: str, command: str, window: str) -> str:
    """The words for the door that was taken."""
    return {"python": python, "command": command, "window": window}[_door.get()]
