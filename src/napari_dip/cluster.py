"""Many pieces of work, one after the other here or at the same time on the workers of a Dask cluster."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_AT_ONCE = 2  # pieces under way for each thread of the workers: one is computed, one waits for it
_LOOK = 0.5  # seconds between two questions whether to stop
_ALONE = threading.Lock()  # one fit at a time in a process: torch and a GPU serve no two better than one

Outcome = tuple[Any, Any]  # a piece, and its result or the exception that it ended with


def active_client(client: Any = None) -> Any:
    """The Dask client to compute with: the one given, else the active one; None to compute here.

    Parameters
    ----------
    client : distributed.Client, str, False or None
        An address (``"tcp://10.0.0.1:8786"``) is connected to; with False nothing is looked for.

    Raises
    ------
    ModuleNotFoundError
        If there is an address, and `distributed` is not installed.
    OSError
        If nothing answers at the address.
    """
    if client is False:
        return None
    if isinstance(client, str):
        try:
            from distributed import Client
        except ModuleNotFoundError:
            raise ModuleNotFoundError("a scheduler needs distributed: pip install 'napari-dip[cluster]'") from None
        return Client(client, set_as_default=False)  # type: ignore[no-untyped-call]
    if client is None and "distributed" in sys.modules:  # who has a client has imported it
        from distributed import get_client

        try:
            return get_client()
        except ValueError:
            return None
    return client


def compute(
    function: Callable[..., Any], pieces: Iterable[tuple[int, tuple[Any, ...]]], client: Any, stop: Callable[[], bool]
) -> Iterator[Outcome]:
    """Call ``function(index, *arguments)`` on the workers for each piece, a few ahead of them, in any order.

    A piece whose worker dies is done by another one: Dask sees to that, and gives up after a few workers. What
    `pieces` yields is asked for when it is needed. When `stop` says so, the rest is cancelled.
    """
    from distributed import wait

    rest, under_way = iter(pieces), dict[Any, int]()
    try:
        while not stop():
            room = max(1, _AT_ONCE * sum(client.nthreads().values())) - len(under_way)
            for index, arguments in itertools.islice(rest, max(0, room)):
                under_way[client.submit(_alone, function, index, *arguments, pure=False)] = index
            if not under_way:
                return
            try:
                done = wait(list(under_way), timeout=_LOOK, return_when="FIRST_COMPLETED").done  # type: ignore[no-untyped-call]
            except TimeoutError:
                continue
            for future in done:
                index = under_way.pop(future)
                error = future.exception()
                yield index, future.result() if error is None else error
    finally:
        client.cancel(list(under_way))


def _alone(function: Callable[..., Any], *arguments: Any) -> Any:
    with _ALONE:
        return function(*arguments)
