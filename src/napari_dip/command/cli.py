"""The command line: ``napari-dip denoise IN OUT``; see `napari_dip.command.options` for what it takes.

Exit status: 0 if the result is written and was finished, or stopped by the user when all of the image had a value; 1
if it failed or had to give up, or if slices or tiles, or blocks of an OUT.zarr (where the same command goes on), are
missing, also if the user stopped it; 2 for a command that makes no sense; 130 if Ctrl-C broke it off: a second one, or
the first before the run began.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dip.command import blockwise, report, several
from napari_dip.command.options import check_volume, files_said, parse, said
from napari_dip.io import files
from napari_dip.io.disk import check_room
from napari_dip.io.formats import SCREEN
from napari_dip.io.picture import Picture
from napari_dip.plan.inputs import Array
from napari_dip.plan.request import Request, read_instrument, unrecorded
from napari_dip.tables.method import settings_for
from napari_dip.tables.tasks import TASKS
from napari_dip.terminal import Bar, Stop, one_line, one_line_warnings

if TYPE_CHECKING:
    from napari_dip.core.result import Result

DONE, FAILED, ABORTED = 0, 1, 130
FORESEEN = OSError, ValueError, TypeError, MemoryError, ArithmeticError, ImportError
TRACEBACK = "NAPARI_DIP_TRACEBACK"  # the variable of the environment that asks for one

_AXES = {"T": "time", "C": "channel", "Z": "z"}  # what may be restored together

Factors = dict[str, int] | None  # axis -> factor of a super-resolution


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
    stop = Stop()
    try:
        with one_line_warnings(), stop:
            if args.task == "info":
                return _info()
            if args.task == "samples":
                return _samples(args)
            if args.task == "lab":
                return _lab(args, stop)
            if args.task == "noise":
                return _noise(args)
            if args.output_folder is not None:
                return several.run(args, lambda one: _guarded(one, changes, stop), stop)
            return _one(args, changes, stop)
    except KeyboardInterrupt:
        return _aborted(args)
    except Exception as error:
        if stop.aborted:  # an import that was broken off may say so in its own words
            return _aborted(args)
        return _failed(error)


def _failed(error: Exception, source: str = "") -> int:
    """Say why a command failed, on an image of several."""
    where = "" if isinstance(error, FORESEEN) else f"; {TRACEBACK}=1 napari-dip ... shows where it came from"
    words = _in_words(error)
    of = f"{source}: " if source and source not in words else ""
    print(f"napari-dip: error: {of}{words}{where}", file=sys.stderr)
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    return FAILED


def _guarded(args: Namespace, changes: dict[str, Any], stop: Stop) -> int:
    """Restore one image of several: a failure is said, and costs it alone."""
    try:
        return _one(args, dict(changes), stop)
    except Exception as error:
        if stop.aborted:
            raise
        return _failed(error, args.source)


def _one(args: Namespace, changes: dict[str, Any], stop: Stop) -> int:
    """Restore one image."""
    if blockwise.wanted(args):
        return DONE if blockwise.restore(args, changes, stop) else FAILED
    if args.scheduler:
        raise ValueError(f"--scheduler is for OUT.zarr, which is written block by block, not for {args.target}")
    return _restore(args, changes, stop)


def _aborted(args: Namespace) -> int:
    kept = (
        "; the same command goes on with the blocks that are missing"
        if args.task in TASKS and blockwise.wanted(args)
        else "; nothing is written"
    )
    print(f"napari-dip: aborted{kept}", file=sys.stderr)
    return ABORTED


def _info() -> int:
    from napari_dip.command.info import about  # imports torch: seconds

    print(*about(), sep="\n")
    return DONE


def _samples(args: Namespace) -> int:
    """Write samples of a prior, and say how self-similar they are."""
    files.check(args.target, overwrite=args.overwrite)
    from napari_dip.lab import prior_samples as lab  # imports torch: seconds

    drawn = lab.samples((args.size, args.size), args.count, generator=args.generator, seed=args.seed)
    axes = Picture(values=drawn, axes="QYX")
    files.write(args.target, drawn, axes, overwrite=args.overwrite)
    print(f"{args.target} is written: {args.count} images by an unfitted {args.generator}.")
    if args.size >= lab.SMALLEST:
        print(f"Self-similarity: {lab.in_words(drawn)}.")
    return DONE


def _lab(args: Namespace, stop: Stop) -> int:
    """Run an experiment, print its table, and write its images."""
    if args.images is not None:
        files.check(args.images, overwrite=args.overwrite)
        files.refuse_inputs([args.images], {"IN": args.source, "--truth": args.truth})
    image = _middle(files.read(args.source).values, args.crop)
    truth = None if args.truth is None else _middle(files.read(args.truth).values, args.crop)
    from napari_dip import lab  # imports torch: seconds
    from napari_dip.core.pauses import without_pauses

    given = {"question": args.question, "generators": lab.GENERATORS, "truth": truth, "iterations": args.iterations}
    steps = lab.begin(args.experiment, image, seed=args.seed, should_stop=stop.asked, **given)
    print(f"napari-dip: {lab.duration(args.experiment, image.shape, **given)}", file=sys.stderr)
    stop.begin()
    with Bar(quiet=False, tty=sys.stderr.isatty()) as bar:
        made = without_pauses(steps, lambda at: bar.show_share(at.done, at.part))
    print(made.table())
    if args.images is not None and made.stack is not None:
        axes = "QZYX" if made.stack.ndim == 4 else "QYX"
        files.write(args.images, made.stack, Picture(values=made.stack, axes=axes), overwrite=args.overwrite)
        print(f"{args.images} is written.")
    return DONE


def _middle(values: Array, side: int) -> Array:
    """The middle of an image along y and x."""
    starts = [max(0, (n - side) // 2) for n in values.shape[-2:]]
    return values[..., starts[0] : starts[0] + side, starts[1] : starts[1] + side]


def _noise(args: Namespace) -> int:
    """Say what the noise of an image is; write its bad pixels."""
    if args.bad_pixels is not None:
        files.check(args.bad_pixels, overwrite=args.overwrite)
        files.refuse_inputs([args.bad_pixels], _inputs(args))
    picture = files.read(args.source, args.series, partly=not args.volume)
    mask = _missing(args, picture)
    axes = _axes(picture, _spatial_axes(picture, args))
    from napari_dip import trust  # imports torch: seconds

    noise = trust.estimate_noise(picture.values, mask, **said(args), **axes)
    print(*report.describe(noise), sep="\n")
    if sentence := trust.left_out(picture.values, mask, **axes):
        print(f"Warning: {sentence}.")
    if args.bad_pixels is not None:
        bad = trust.find_bad_pixels(picture.values, noise=noise, **axes)
        bad = np.asarray(bad.any(axis=-1)) if "S" in picture.axes else bad
        marked = replace(picture.measurement(), values=np.uint8(255) * bad, axes=picture.slice_axes, function=None)
        files.write(args.bad_pixels, marked.values, marked, overwrite=args.overwrite)
        print(f"{args.bad_pixels} is written: {bad.sum()} bad pixels ({bad.mean():.2%}).")
    return DONE


def _restore(args: Namespace, changes: dict[str, Any], stop: Stop) -> int:
    """Read, restore, write; all that can fail without computing comes first."""
    if args.target is not None:
        files.check(args.target, overwrite=args.overwrite)
        files.refuse_inputs([args.target], _inputs(args))
    picture = files.read(args.source, args.series, partly=not args.volume)
    mask = _missing(args, picture)
    spatial = _spatial_axes(picture, args)
    asked = _asked(args, picture, spatial)
    if Path(args.target or "").suffix.lower() in SCREEN and picture.values.dtype.kind in "iu":
        changes.setdefault("output_dtype", "input")
    settings = settings_for(args.task, on_cpu=True, **changes)
    factors: Factors = dict(zip(spatial, asked.factor, strict=True)) if asked.factor else None
    extras: dict[str, Factors] = {"uncertainty": factors} if settings.uncertainty else {}  # name -> those of its grid
    extras |= {"residual": None} if args.residual else {}
    axes, together = _axes(picture, spatial), _axes(picture, spatial, args.together, args.source)
    measures = report.Measures(
        picture=picture,
        axes=axes,
        factors=factors or {},
        task=args.task,
        missing=np.zeros(picture.slice_shape, bool) if mask is None else mask,
        truth=None if args.truth is None else files.read(args.truth).values,
        affine=args.affine,
        resolution=args.resolution,
    )
    before = measures.before()
    if args.together is not None:
        print(f"Together: {report.sharing(picture.values, together)}.")
    from napari_dip.run.restore import iterate  # imports torch: seconds

    tty = sys.stderr.isatty()
    interval = float("inf") if args.quiet else 0.25 if tty else 5
    run = iterate(
        args.task,
        picture.values,
        mask,
        **asked.said,
        **together,
        should_stop=stop.asked,
        interval=interval,
        **changes,
    )
    if args.estimate:
        print(f"{args.source} would take {run.cost}.")
        return DONE
    kind = picture.values.dtype if settings.output_dtype == "input" else np.dtype(np.float32)
    room = files.rehearse(args.target, picture, kind, factors=factors, overwrite=args.overwrite)
    for name, finer in extras.items():
        path, opaque = report.beside(args.target, name), picture.measurement()
        files.refuse_inputs([path], _inputs(args))
        room += files.rehearse(path, opaque, np.float32, factors=finer, overwrite=args.overwrite)
    check_room(args.target, room)
    if tty and not args.quiet:
        print(f"napari-dip: {run.cost}", file=sys.stderr)
    stop.begin()
    with Bar(quiet=args.quiet, tty=tty) as bar:
        for progress in run:
            bar.show(progress)
        result = run.result
        if result.complete:
            bar.fill()
    if result.iterations == 0 and not result.complete:
        print(f"napari-dip: {result.stop_reason}, before there was a result; nothing is written", file=sys.stderr)
        return FAILED
    if not _write(args, result, picture, factors, extras):
        return FAILED
    print(*report.account(result), *before, *measures.after(result.image), sep="\n")
    if args.noise_control:
        same, bar = unrecorded(asked.said), Bar(quiet=args.quiet, tty=tty)
        report.tell_control(result, picture.values, bar, should_stop=stop.asked, interval=interval, **same)
    return DONE if picture.unread is None and (result.complete or (stop.asked() and result.whole)) else FAILED


def _inputs(args: Namespace) -> dict[str, str | None]:
    """The files that are read: option -> name."""
    named = {name: getattr(args, name, None) for name in ("mask", "truth", *files_said())}
    return {"IN": args.source, **{f"--{name}": path for name, path in named.items()}}


def _write(args: Namespace, result: Result, picture: Picture, factors: Factors, extras: dict[str, Factors]) -> bool:
    """Write the restored image, and the images beside it; returns whether that could be done."""
    given = {name: getattr(args, name, None) for name in ("source", "mask", "truth", *files_said())}
    record = {**result.record, "files": {name: Path(path).name for name, path in given.items() if path is not None}}
    record |= {} if picture.unread is None else {"unread_pixels": int(picture.unread.sum())}
    images = {"": (result.image, picture, factors)}
    images |= {name: (getattr(result, name), picture.measurement(), finer) for name, finer in extras.items()}
    kept = True
    for name, (image, like, finer) in images.items():
        path = report.beside(args.target, name) if name else args.target
        if image is None:
            print(f"{path} is not written: the run was stopped before this was computed.")
            continue
        shown = {**record, "shows": name} if name else record
        try:
            files.write(path, image, like, factors=finer, record=shown, overwrite=args.overwrite)
        except Exception as error:  # all was well before the run: never lose hours for what happened since
            print(f"napari-dip: error: {_in_words(error)}; {_spared(name, image)}", file=sys.stderr)
            kept = False
            continue
        took = (
            f": {result.stop_reason}. It took {result.seconds:.1f} s for {result.iterations} iterations on "
            f"{result.device.name} ({result.device.reason})"
        )
        print(f"{path} is written{'' if name else took}.")
    return kept


def _spared(name: str, image: Array) -> str:
    """Save an image that could not be written elsewhere, and return a sentence that names the file."""
    what = f"the {name or 'result'}"
    try:
        number, spare = tempfile.mkstemp(".npy", "napari-dip-")
    except OSError as error:
        return f"{what} could not be kept elsewhere either ({_in_words(error)})"
    try:
        with open(number, "wb") as file:
            np.save(file, image)
    except Exception as error:
        Path(spare).unlink()
        return f"{what} could not be kept in {spare} either ({_in_words(error)})"
    return f"{what} is kept in {spare}"


def _in_words(error: Exception) -> str:
    """An error in a line; with its name where it was not foreseen."""
    words = one_line(error)
    if isinstance(error, MemoryError):
        return words or "memory ran out"
    return words if isinstance(error, FORESEEN) and words else f"{type(error).__name__}{': ' * bool(words)}{words}"


def _axes(picture: Picture, spatial: str, together: str | None = None, name: str = "") -> dict[str, Any]:
    """Axes of a picture as the API names them, one of which may be restored together."""
    if together is not None:
        free = picture.slice_axes[: -len(spatial)]
        if "S" in picture.axes:
            raise ValueError(
                f"--together {together}: the colours of {name} are restored together already; leave it out"
            )
        if together in spatial:
            raise ValueError(f"--together {together}: --volume restores the z planes together already; leave it out")
        if together not in free:
            raise ValueError(f"--together {together}: {name} has no {_AXES[together]} axis, only {picture.axes}")
        return {"channel_axis": picture.axes.index(together), "leading_axes": len(free) - 1}
    return {
        "channel_axis": -1 if "S" in picture.axes else None,
        "leading_axes": len(picture.slice_axes) - len(spatial),
    }


def _asked(args: Namespace, picture: Picture, spatial: str) -> Request:
    """The request, checked before torch is imported, with the voxel size that the file knows."""
    sizes = picture.sizes_in(picture.unit_of("X"), spatial)
    known = all(sizes.get(axis, 0) > 0 for axis in spatial)
    voxel_size = tuple(sizes[axis] for axis in spatial) if known else None
    return read_instrument(args.task, len(spatial), voxel_size=voxel_size, **said(args))


def _spatial_axes(picture: Picture, args: Namespace) -> str:
    """The axes that one generator spans."""
    check_volume(args, picture.axes)
    return "ZYX" if args.volume else "YX"


def _missing(args: Namespace, picture: Picture) -> Array | None:
    """Pixels missing by mask or damage, in the shape of the image without its colours; None if there are none."""
    if args.mask is None:
        return picture.unread
    mask = _read_mask(args, picture)
    return mask if picture.unread is None else mask | picture.unread


def _read_mask(args: Namespace, picture: Picture) -> Array:
    """Missing pixels of a mask, in the shape of the image without its colours."""
    mask = files.read(args.mask, sparse=True)
    marked = blockwise.marked(args, mask)
    if "S" in mask.axes:
        marked = np.asarray(marked.all(axis=-1) if args.mask_is_known else marked.any(axis=-1))
    if marked.shape == picture.slice_shape:
        return marked
    wanted = dict(zip(picture.slice_axes, picture.slice_shape, strict=True))
    given = dict(zip(mask.slice_axes, marked.shape, strict=True))
    if not given.items() <= wanted.items():
        raise ValueError(f"{args.mask} has the size {given}, but {args.source} has {wanted}; a mask may only lack axes")
    absent = [i for i, axis in enumerate(picture.slice_axes) if axis not in given]
    return np.broadcast_to(np.expand_dims(marked, absent), picture.slice_shape)
