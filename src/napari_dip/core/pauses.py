"""Long work with pauses: a generator that yields the share done, so that others can run, and returns its product."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, TypeVar

Made = TypeVar("Made")
Shown = TypeVar("Shown")


def without_pauses(work: Generator[Any, None, Made], tell: Callable[[Any], object] = lambda _: None) -> Made:
    """Do the work and return its end; `tell` gets each thing that it yields until then."""
    while True:
        try:
            tell(next(work))
        except StopIteration as end:
            made: Made = end.value
            return made


def each(
    work: Generator[Any, None, Made],
    make: Callable[[Any], Shown],
    pause: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Generator[Shown, None, Made]:
    """Do the work, yielding what `make` makes of each thing that it yields, in a pause, and return its end."""
    while True:
        try:
            shown = next(work)
        except StopIteration as end:
            made: Made = end.value
            return made
        with pause():
            yield make(shown)


def part(work: Generator[float, None, Made], index: int, count: int) -> Generator[float, None, Made]:
    """One of several equal parts of a work, yielding the share done of all of them."""
    return each(work, lambda share: (index + share) / count)


@contextmanager
def leaving(
    context: Callable[[], AbstractContextManager[object]],
) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Be in a context that ``with pause(): yield ...`` is outside of; ``with leaving(context) as pause``."""
    with ExitStack() as held:
        held.enter_context(context())

        @contextmanager
        def pause() -> Iterator[None]:
            held.close()
            yield
            held.enter_context(context())

        yield pause


def between_pauses(
    context: Callable[[], AbstractContextManager[object]], work: Generator[Any, None, Made]
) -> Generator[Any, None, Made]:
    """Do the work in a context that its pauses are outside of."""
    with leaving(context) as pause:
        return (yield from each(work, lambda shown: shown, pause))
