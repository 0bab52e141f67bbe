"""Warnings of a run, and keeping them back: in this thread alone, where `warnings` has one set of filters for all."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from contextvars import ContextVar

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


def warn(message: str, stacklevel: int = 1) -> None:
    """Warn the user, unless nobody is to be told."""
    if not _quiet.get():
        warnings.warn(message, stacklevel=stacklevel + 1)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep back what `warn` would say, in this thread."""
    before = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(before)
