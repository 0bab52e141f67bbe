"""The command line: ``napari-dip denoise IN OUT``; see `napari_dip.options` for what it takes.

Exit status: 0 if the result is written and was finished or stopped by the user, 1 if it failed or had to give up, 2
for a command that makes no sense, 130 if a second Ctrl-C broke it off.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import warnings
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

from napari_dip import files
from napari_dip.inputs import Array, read_factor
from napari_dip.options import parse
from napari_dip.picture import Picture
from napari_dip.settings import settings_for

if TYPE_CHECKING:
    from napari_dip.core.solve import Result
    from napari_dip.restore import Run

DONE, FAILED, ABORTED = 0, 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after the program's name; by default those that it was started with.

    Returns
    -------
    int
        The exit status.

    Raises
    ------
    SystemExit
        With status 2 for a usage error, and 0 after ``--help`` and ``--version``.
    """
    args, changes = parse(argv)
    try:
        with _one_line_warnings(), _Stop() as stop:
            return _restore(args, changes, stop)
    except KeyboardInterrupt:
        print("napari-dip: aborted; nothing is written", file=sys.stderr)
        return ABORTED
    except (OSError, ValueError, TypeError, MemoryError, ArithmeticError) as error:
        print(f"napari-dip: error: {_one_line(error) or 'memory ran out'}", file=sys.stderr)
        return FAILED


def _restore(args: Namespace, changes: dict[str, Any], stop: _Stop) -> int:
    """Read, restore, write; all that can fail without computing comes first."""
    files.check(args.target, overwrite=args.overwrite)
    picture = files.read(args.source)
    mask = None if args.mask is None else _read_mask(args, picture)
    guide = None if args.guide is None else files.read(args.guide).values
    spatial = _spatial_axes(picture, args)
    if Path(args.target).suffix.lower() in files.SCREEN and picture.values.dtype.kind in "iu":
        changes.setdefault("output_dtype", "input")
    keeps_type = settings_for(args.task, on_cpu=True, **changes).output_dtype == "input"
    factors = None
    if args.task == "superresolve":
        factors = dict(zip(spatial, read_factor(args.factor, len(spatial)), strict=True))
    files.rehearse(
        args.target,
        picture,
        picture.values.dtype if keeps_type else np.float32,
        factors=factors,
        overwrite=args.overwrite,
    )
    from napari_dip.restore import iterate  # imports torch: seconds

    tty = sys.stderr.isatty()
    run = iterate(
        args.task,
        picture.values,
        mask,
        **({"factor": args.factor, "kernel": args.kernel} if factors else {}),
        guide=guide,
        channel_axis=-1 if "S" in picture.axes else None,
        leading_axes=len(picture.slice_axes) - len(spatial),
        should_stop=stop.asked,
        interval=float("inf") if args.quiet else 0.25 if tty else 5,
        **changes,
    )
    result = _follow(run, quiet=args.quiet, tty=tty)
    if result.iterations == 0 and not result.complete:
        print(f"napari-dip: {result.stop_reason}, before there was a result; nothing is written", file=sys.stderr)
        return FAILED
    names = {name: Path(path).name for name in ("source", "mask", "guide") if (path := getattr(args, name)) is not None}
    record = {**result.record, "files": names}
    try:
        files.write(args.target, result.image, picture, factors=factors, record=record, overwrite=args.overwrite)
    except OSError as error:  # all was well before the run: never lose hours for what happened since
        with tempfile.NamedTemporaryFile(prefix="napari-dip-", suffix=".npy", delete=False) as spare:
            np.save(spare, result.image)
        print(f"napari-dip: error: {_one_line(error)}; the result is kept in {spare.name}", file=sys.stderr)
        return FAILED
    print(
        f"{args.target} is written: {result.stop_reason}. It took {result.seconds:.1f} s for {result.iterations} "
        f"iterations on {result.device.name} ({result.device.reason})."
    )
    return DONE if result.complete or stop.asked() else FAILED


def _spatial_axes(picture: Picture, args: Namespace) -> str:
    """The axes that one generator spans."""
    if not args.volume:
        return "YX"
    if "Z" not in picture.axes:
        raise ValueError(f"--volume needs a z axis, but {args.source} has the axes {picture.axes}; leave it out")
    return "ZYX"


def _read_mask(args: Namespace, picture: Picture) -> Array:
    """Where pixels are missing, in the shape of the image without its colours."""
    mask = files.read(args.mask)
    if args.mask_label is None:
        marked = np.asarray(mask.values != 0)
    else:
        marked = np.asarray(mask.values == args.mask_label)
        if not marked.any():
            labels = ", ".join(f"{label:g}" for label in np.unique(mask.values)[:10])
            raise ValueError(f"--mask-label {args.mask_label} is not in {args.mask}, which begins with {labels}")
    if "S" in mask.axes:
        marked = np.asarray(marked.any(axis=-1))
    if args.mask_is_known:
        marked = ~marked
    if marked.shape == picture.slice_shape:
        return marked
    wanted = dict(zip(picture.slice_axes, picture.slice_shape, strict=True))
    given = dict(zip(mask.slice_axes, marked.shape, strict=True))
    if not given.items() <= wanted.items():
        raise ValueError(f"{args.mask} has the size {given}, but {args.source} has {wanted}; a mask may only lack axes")
    absent = [i for i, axis in enumerate(picture.slice_axes) if axis not in given]
    return np.broadcast_to(np.expand_dims(marked, absent), picture.slice_shape)


def _follow(run: Run, *, quiet: bool, tty: bool) -> Result:
    """Exhaust a run behind a progress bar."""
    with tqdm(
        disable=quiet, file=sys.stderr, unit="it", dynamic_ncols=tty, mininterval=0.1 if tty else 5, smoothing=0.1
    ) as bar:
        for progress in run:
            bar.total = progress.iterations * progress.slices
            if progress.slices > 1:
                bar.set_description(f"slice {progress.slice + 1} of {progress.slices}", refresh=False)
            bar.set_postfix(loss=f"{progress.loss:.3g}", refresh=False)
            bar.update(progress.slice * progress.iterations + progress.iteration - bar.n)
        if run.result.complete:
            bar.total = bar.total or run.result.iterations
            bar.update(bar.total - bar.n)
    return run.result


class _Stop:
    """Ctrl-C (or SIGTERM) as a wish: the first one ends the run with what there is, the second aborts at once."""

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[int, Any] = {}

    def asked(self) -> bool:
        """Whether the run shall end."""
        return self._asked

    def __enter__(self) -> _Stop:
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        # straight to the terminal: the bar may be in the middle of a print, which Python does not let us enter again
        os.write(2, b"\nnapari-dip: stopping after this iteration; once more aborts without a result\n")


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Warnings as a line on stderr, above the bar."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_, **__: tqdm.write(
            f"napari-dip: warning: {_one_line(message)}", file=sys.stderr
        )
        yield


def _one_line(message: object) -> str:
    return " ".join(str(message).split())
