"""Errors in a line; warnings, kept back in this thread alone, where `warnings` has one set of filters for all."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

FORESEEN = OSError, ValueError, TypeError, MemoryError, ArithmeticError, ImportError
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


def refuse_name(what: str, value: object) -> None:
    """Raise a `TypeError` with the remedy where a file is named in place of its pixels."""
    if isinstance(value, (str, os.PathLike)):
        name = os.fspath(value)
        raise TypeError(
            f"{what}={name!r} names a file where its pixels are needed: read it first, by "
            f"napari_dip.pictures.read({name!r}).values"
        )


def refuse_labels(what: str, value: Any, remedy: Callable[[tuple[str, ...]], str]) -> None:
    """Raise a `TypeError` where an `xarray.DataArray` would lose its labels; the remedy is one for its dims."""
    if all(hasattr(value, name) for name in ("dims", "coords", "dtype")):
        raise TypeError(
            f"{what} is a {type(value).__name__}, and its dims {value.dims}, coordinates and attributes would be lost: "
            f"{remedy(value.dims)}"
        )


def counted(count: object, thing: str) -> str:
    """A number of things, in the plural but for one."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def one_line(message: object) -> str:
    """A message without line breaks."""
    return " ".join(str(message).split())


def error_in_words(error: BaseException) -> str:
    """Error in a line, with its name where it was not foreseen."""
    words = one_line(error)
    if isinstance(error, MemoryError):
        return words or "memory ran out"
    return words if isinstance(error, FORESEEN) and words else f"{type(error).__name__}{': ' * bool(words)}{words}"
