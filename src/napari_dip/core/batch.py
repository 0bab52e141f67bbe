"""Several runs at once on one device: round robin, iteration by iteration, each on a CUDA stream of its own.

One small image leaves most of a GPU idle: its kernels are short, and each waits for the one before. Independent runs
need no such order: on a stream each, their kernels run side by side. Runs share nothing, so each gives the same result
as alone.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch

from napari_dip.core.pauses import leaving
from napari_dip.core.result import Progress, Result, Steps

Known = TypeVar("Known")


def round_robin(
    begin: Callable[[], tuple[int, Steps | Known] | None],
    device: str,
    within: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Generator[tuple[int, Progress | Result | Exception | Known], None, None]:
    """Drive several runs round robin until none is left.

    Parameters
    ----------
    begin : callable
        Gives the number of the next run and its steps, or what is known without any; None if none can begin now.
    device : str
        Where they compute.
    within : callable
        Makes the context of all that is done between two yields.

    Yields
    ------
    tuple
        The number of a run with what it shows, with its result at its end, with the error that ended it, or with what
        `begin` gave in their place.
    """
    queues: list[Any] = []  # free streams
    running: dict[int, tuple[Steps, Any]] = {}
    try:
        with leaving(within) as pause:
            while True:
                while (following := begin()) is not None:
                    number, steps = following
                    if not isinstance(steps, Generator):
                        with pause():
                            yield number, steps
                        continue
                    if not queues:  # the first run uses the current stream
                        own = device.startswith("cuda") and running
                        queues.append(torch.cuda.Stream(device) if own else None)  # type: ignore[no-untyped-call]
                    running[number] = steps, queues.pop()
                if not running:
                    return
                for number, (steps, queue) in list(running.items()):
                    shown: Progress | Result | Exception | None
                    try:
                        with torch.cuda.stream(queue):
                            shown = next(steps)
                    except StopIteration as end:
                        shown = end.value
                    except Exception as error:
                        traceback.clear_frames(error.__traceback__)  # their variables would keep every tensor alive
                        shown = error
                    if isinstance(shown, (Result, Exception)):
                        queues.append(running.pop(number)[1])
                    if shown is not None:
                        with pause():
                            yield number, shown
    finally:
        for steps, queue in running.values():
            with torch.cuda.stream(queue):
                steps.close()
