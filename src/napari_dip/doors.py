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


def off(knob: str) -> str:
    """The way to switch a knob off."""
    words = knob.replace("_", " ")
    return remedy(python=f"{knob}=False", command=f"--no-{words.replace(' ', '-')}", window=f"{words.capitalize()} off")


def overwriting() -> str:
    """The way to replace a file that is there."""
    return remedy(python="overwrite=True", command="--overwrite", window="delete it first")


def remedy(*, python: str, command: str, window: str) -> str:
    """The words for the door that was taken."""
    return {"python": python, "command": command, "window": window}[_door.get()]
