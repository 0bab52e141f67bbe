"""A restoration under way."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from napari_dip.core.cost import Cost
from napari_dip.core.result import Progress, Result
from napari_dip.core.solve import telling_of_memory
from napari_dip.plan import Plan


class Run:
    """A restoration under way: an iterator of `Progress`, and the `Result` when it is exhausted.

    Attributes
    ----------
    plan : Plan
        What was decided before, and why.
    """

    def __init__(self, plan: Plan, stream: Generator[Progress, None, Result], estimate: Callable[[], Cost]) -> None:
        self.plan = plan
        self._stream = stream
        self._estimate = estimate
        self._result: Result | None = None

    def __iter__(self) -> Iterator[Progress]:
        return self

    def __next__(self) -> Progress:
        try:
            with telling_of_memory():
                return next(self._stream)
        except StopIteration as end:
            self._result = end.value or self._result
            raise StopIteration from None

    @property
    def cost(self) -> Cost:
        """What it takes of memory and time if it goes to its last iteration, from `napari_dip.estimate`."""
        return self._estimate()

    @property
    def result(self) -> Result:
        """The result.

        Raises
        ------
        RuntimeError
            If the run is not exhausted yet.
        """
        if self._result is None:
            raise RuntimeError("the run has no result yet: exhaust it first, as in `for progress in run: ...`")
        return self._result

    def close(self) -> None:
        """Abandon the run and give its memory back."""
        self._stream.close()
