"""Many pieces of work, one after the other here or at the same time on the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import itertools
import queue
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_AT_ONCE = 2  # pieces under way for each thread of the workers: one is computed, one waits for it
_LOOK = 0.5  # seconds between two questions whether to stop
PATIENCE = 15  # seconds until a scheduler must have answered
_ADDRESS = re.compile(r"((tcp|tls)://)?([^\s:/]+|\[[0-9a-fA-F:.]+\]):\d{1,5}")  # a name or number, or one of IPv6
_ALONE = threading.Lock()  # one fit at a time in a process: torch and a GPU serve no two better than one

Outcome = tuple[Any, Any]  # a piece, and its result or the exception that it ended with


def active_client(client: Any = None) -> Any:
    """The Dask client to compute with: the one given, else the active one; None to compute here.

    Parameters
    ----------
    client : distributed.Client, str, False or None
        An address (``"tcp://10.0.0.1:8786"``, ``"tls://..."`` or ``"HOST:PORT"``) is connected to; with False nothing
        is looked for.

    Raises
    ------
    ModuleNotFoundError
        If there is an address, and `distributed` is not installed.
    ValueError
        If it is no such address.
    OSError
        If nothing answers there.
    """
    if client is False:
        return None
    if isinstance(client, str):
        if not _ADDRESS.fullmatch(client):
            raise ValueError(f"scheduler {client!r} must be like tcp://HOST:PORT, tls://HOST:PORT or HOST:PORT")
        try:
            from distributed import Client
        except ModuleNotFoundError:
            raise ModuleNotFoundError("a scheduler needs distributed: pip install 'napari-dip[cluster]'") from None
        try:
            return Client(client, set_as_default=False, timeout=PATIENCE)  # type: ignore[no-untyped-call]
        except OSError:
            raise OSError(
                f"no scheduler answers at {client} (in {PATIENCE} s); check the address, and that it runs"
            ) from None
    if client is None and "distributed" in sys.modules:  # who has a client has imported it
        from distributed import get_client

        try:
            return get_client()
        except ValueError:
            return None
    return client


@contextlib.contextmanager
def connected(client: Any) -> Iterator[Any]:
    """Yield the client that `active_client` finds; close it in the end if it was opened here, for an address."""
    found = active_client(client)
    try:
        yield found
    finally:
        if isinstance(client, str):
            found.close()


def check_sendable(parts: dict[str, Any]) -> None:
    """Raise a `ValueError` for a part of the user's own that cannot be sent to workers.

    Parameters
    ----------
    parts : dict of str to OwnPart
        By the names of the arguments.
    """
    from distributed.protocol.pickle import dumps

    for name, part in parts.items():
        try:
            dumps(part.part)  # type: ignore[no-untyped-call]
        except Exception as error:  # whatever it holds on to
            raise ValueError(
                f"{name}={part!r} cannot be sent to the workers: {error}; take out what it holds open (files, locks, "
                "windows), or compute here with client=False"
            ) from error


def once(client: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function where pieces will be computed."""
    if client is None:
        return function(*arguments)
    return client.submit(function, *arguments, pure=False).result()


def outcomes(
    function: Callable[..., Any], pieces: Iterable[tuple[int, tuple[Any, ...]]], client: Any, stop: Callable[[], bool]
) -> Iterator[Outcome]:
    """Call ``function(index, *arguments)`` for each piece, on the workers or here, until `stop` says so."""
    if client is not None:
        yield from compute(function, pieces, client, stop)
        return
    for index, arguments in pieces:
        if stop():
            return
        outcome = None
        try:
            outcome = function(index, *arguments)
        except Exception as error:
            outcome = error
        yield index, outcome


def compute(
    function: Callable[..., Any], pieces: Iterable[tuple[int, tuple[Any, ...]]], client: Any, stop: Callable[[], bool]
) -> Iterator[Outcome]:
    """Call ``function(index, *arguments)`` on the workers for each piece, a few ahead of them, in any order.

    A piece whose worker dies is done by another one: Dask sees to that, and gives up after a few workers. What
    `pieces` yields is asked for when it is needed. When `stop` says so, the rest is cancelled.
    """
    rest, under_way = iter(pieces), dict[Any, int]()
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()  # distributed.wait knows the default client's futures alone
    try:
        while not stop():
            room = max(1, _AT_ONCE * sum(client.nthreads().values())) - len(under_way)
            for index, arguments in itertools.islice(rest, max(0, room)):
                future = client.submit(_alone, function, index, *arguments, pure=False)
                under_way[future] = index
                future.add_done_callback(ended.put)
            if not under_way:
                return
            try:
                future = ended.get(timeout=_LOOK)
            except queue.Empty:
                continue
            index = under_way.pop(future)
            error = future.exception()
            yield index, future.result() if error is None else error
    finally:
        client.cancel(list(under_way))


def _alone(function: Callable[..., Any], *arguments: Any) -> Any:
    with _ALONE:
        return function(*arguments)
