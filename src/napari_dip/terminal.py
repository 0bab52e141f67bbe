"""Progress bars of commands and scripts, warnings in a line, and the end of a command by Ctrl-C."""

from __future__ import annotations

import functools
import inspect
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

from napari_dip.core.telling import one_line

if TYPE_CHECKING:
    from napari_dip.core.result import Progress
    from napari_dip.run.blocks.result import BlockProgress

Made = TypeVar("Made")
_ALL_BUT = 0.99  # of the bar until all is done: patches are compared and results judged after the last iteration
_OF_ITERATIONS = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


def best_tqdm() -> type[tqdm[Any]]:
    """The progress bar for where this runs: a widget in a notebook that has widgets, else text."""
    if find_spec("ipywidgets") is None:  # which tqdm.auto would warn of in every notebook
        return tqdm
    from tqdm import auto

    best: type[tqdm[Any]] = auto.tqdm
    return best


def _interval(*, quiet: bool, tty: bool) -> float:
    """Least seconds between the steps of a bar: each of them costs a run the preview of an image."""
    return float("inf") if quiet else 0.25 if tty else 5


class Bar:
    """A progress bar over all slices, tiles and runs; without a stderr it is quiet."""

    def __init__(self, *, quiet: bool, tty: bool, tqdm: type[tqdm[Any]] = tqdm) -> None:
        self._tqdm = tqdm
        self._step = ""  # of a run over blocks; a bar that is disabled keeps no description
        self._options: dict[str, Any] = {
            "disable": quiet or sys.stderr is None,
            "dynamic_ncols": tty,
            "mininterval": 0.1 if tty else 5,
        }

    def __enter__(self) -> Bar:
        self._bar = self._tqdm(file=sys.stderr, total=1, bar_format=_OF_ITERATIONS, smoothing=0.1, **self._options)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, progress: Progress, what: str = "") -> None:
        """Move to where a run is, by its share: not all slices take as many iterations."""
        if where := progress.where or what:
            self._bar.set_description(where, refresh=False)
        self._tell(progress)
        self._bar.update(min(progress.fraction, _ALL_BUT) - self._bar.n)

    def show_blocks(self, progress: BlockProgress) -> None:
        """Move to where a run over blocks is: the bar begins anew with each step."""
        if (progress.step, progress.count) != (self._step, self._bar.total):
            self._step = progress.step
            self._bar.unit, self._bar.bar_format = "block", None
            self._bar.reset(progress.count)
            self._bar.set_description(progress.step, refresh=False)
        if progress.block is not None:
            self._tell(progress.block)
        self._bar.update(progress.done + progress.failed - self._bar.n)

    def _tell(self, progress: Progress) -> None:
        at = f"iteration {progress.iteration} of at most {progress.iterations}, loss={progress.loss:.3g}"
        patches = f"comparing similar patches: {progress.ready:.0%}"
        self._bar.set_postfix_str(at if progress.ready == 1 else patches, refresh=False)

    def show_share(self, done: float, what: str) -> None:
        """Move to a share that is done, 0 to 1, of work that is described in words."""
        self._bar.set_description(what, refresh=False)
        self._bar.update(min(done, _ALL_BUT) - self._bar.n)

    def fill(self) -> None:
        """Fill the bar to its end."""
        self._bar.update((self._bar.total or 1) - self._bar.n)


def script_bar(show: bool) -> Bar:
    """The bar of a function that a script or a notebook calls."""
    return Bar(quiet=not show, tty=_live(), tqdm=best_tqdm())


def paced(options: Any, show: bool) -> Any:
    """Options of a run with the interval of that bar: nobody looks at the images between."""
    return {"interval": _interval(quiet=not show, tty=_live()), **options}


def _live() -> bool:
    return "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())


def to_the_end(
    steps: Callable[..., Generator[Any, None, Made]], show: Callable[[Bar, Any], object] = Bar.show
) -> Callable[..., Made]:
    """The function that does all steps of ``iterate_NAME`` under a bar: NAME, with its arguments and its words.

    In place of `should_stop` it takes `progress`, whether to show the bar; `show` moves that by what a step yields.
    """

    @functools.wraps(steps)
    def do(*given: Any, progress: bool = True, **options: Any) -> Made:
        from napari_dip.core.pauses import without_pauses

        with script_bar(progress) as bar:
            made = without_pauses(steps(*given, **options), functools.partial(show, bar))
            bar.fill()
        return made

    signature = inspect.signature(steps)
    bar = inspect.Parameter("progress", inspect.Parameter.KEYWORD_ONLY, default=True, annotation="bool")
    taken = [bar if each.name == "should_stop" else each for each in signature.parameters.values()]
    made = str(signature.return_annotation).rpartition("[")[2].rpartition(" ")[2].strip("]")  # of a generator
    words = re.sub(r"(?m)^ *Yields\n.*\n(?s:.*?)\n\n", "", steps.__doc__ or "")
    told = r"\1progress : bool\n\1    Show a progress bar, as `napari_dip.denoise` does.\n"
    do.__doc__ = re.sub(r"(?m)^( *)should_stop : callable\n(?:\1 +.*\n)+", told, words)
    do.__name__ = do.__qualname__ = steps.__name__.removeprefix("iterate_")
    vars(do)["__signature__"] = signature.replace(parameters=taken, return_annotation=made)
    return do


class Stop:
    """Ctrl-C (or SIGTERM) as a wish: the first one ends the run with what there is, the second aborts at once.

    Before `begin` there is nothing to keep, and the first one aborts.
    """

    def __init__(self) -> None:
        self._begun = self._asked = False
        self.aborted = False
        self._before: dict[int, Any] = {}

    def asked(self) -> bool:
        """True once the run shall end."""
        return self._asked

    def pace(self, *, quiet: bool, tty: bool) -> dict[str, Any]:
        """Options of a run that this ends: `should_stop`, and `interval`, seconds between the steps of a bar."""
        return {"should_stop": self.asked, "interval": _interval(quiet=quiet, tty=tty)}

    def begin(self) -> None:
        """Wish for a result from now on."""
        if self.aborted:  # some code, such as an import that gives up, has caught what `_handle` raised
            raise KeyboardInterrupt
        self._begun = True

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked or not self._begun:
            self.aborted = True
            raise KeyboardInterrupt
        self._asked = True
        # straight to the terminal: the bar may be in the middle of a print, which Python does not let us enter again
        os.write(2, b"\nnapari-dip: stopping after this iteration; once more aborts without a result\n")


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Warnings as a line on stderr, above the bar."""
    if threading.current_thread() is not threading.main_thread():  # no other may change what all threads share
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_, **__: tqdm.write(
            f"napari-dip: warning: {one_line(message)}", file=sys.stderr
        )
        yield
