"""The command line: ``napari-dip denoise IN OUT``; see `napari_dip.command.options` for what it takes.

Exit status: 0 if the result is written and was finished, or stopped by the user when all of the image had a value; 1
if it failed or had to give up, or if slices or tiles, or blocks of an OUT.zarr (where the same command goes on), are
missing, also if the user stopped it; 2 for a command that makes no sense; 130 if Ctrl-C broke it off: a second one, or
the first before the run began.
"""

from __future__ import annotations

import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_dip.command import blockwise, report, several, single
from napari_dip.command.options import parse, said
from napari_dip.command.single import axes_of, inputs, missing, spatial_axes
from napari_dip.core.telling import FORESEEN, error_in_words
from napari_dip.doors import asked_from
from napari_dip.io import files
from napari_dip.io.picture import Picture
from napari_dip.plan.inputs import Array
from napari_dip.tables.experiments import row_of
from napari_dip.tables.tasks import TASKS
from napari_dip.terminal import Bar, Stop, one_line_warnings

DONE, FAILED, ABORTED = 0, 1, 130
TRACEBACK = "NAPARI_DIP_TRACEBACK"  # the variable of the environment that asks for one


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
        with one_line_warnings(), asked_from("command"), stop:
            if args.task == "info":
                return _info()
            if args.task == "samples":
                return _samples(args)
            if args.task == "lab":
                return _lab(args, stop)
            if args.task == "noise":
                return _noise(args)
            if args.output_folder is not None:
                return several.run(
                    args, lambda one: _guarded(one, changes, stop), lambda one: single.written(one, changes), stop
                )
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
    words = error_in_words(error)
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
    return DONE if single.restore(args, changes, stop) else FAILED


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
        print(f"Self-similarity: {lab.similarity_in_words(drawn)}.")
    return DONE


def _lab(args: Namespace, stop: Stop) -> int:
    """Run an experiment, print its table, and write its images."""
    row_of(args.experiment, vars(args))  # first: what makes no sense is said without reading, or torch
    if args.images is not None:
        files.check(args.images, overwrite=args.overwrite)
        files.refuse_inputs([args.images], {"IN": args.source, "--truth": args.truth})
    source = files.read(args.source)
    image = _middle(source.values, args.crop)
    truth = None if args.truth is None else _middle(files.read(args.truth).values, args.crop)
    from napari_dip import lab  # imports torch: seconds
    from napari_dip.core.pauses import without_pauses

    given = {"question": args.question, "generators": lab.GENERATORS, "truth": truth, "iterations": args.iterations}
    given |= {name: getattr(args, name) for name in ("network", "weights", "layer", "unit")}
    steps = lab.begin(args.experiment, image, seed=args.seed, should_stop=stop.asked, **given)
    print(f"napari-dip: {lab.duration(args.experiment, image.shape, **given)}", file=sys.stderr)
    stop.begin()
    with Bar(quiet=False, tty=sys.stderr.isatty()) as bar:
        made = without_pauses(steps, lambda at: bar.show_share(at.done, at.part))
        if not stop.asked():
            bar.fill()
    print(made.table())
    if args.images is not None and made.stack is not None:
        axes = "QZYX" if made.stack.ndim == 4 else "QYX"
        same = made.stack.shape[-2:] == image.shape[-2:]  # pixels; a network may take images of its own size
        sizes = {axis: size for axis, size in source.pixel_size.items() if same and axis in axes}
        units = {axis: unit for axis, unit in source.units.items() if axis in sizes}
        images = Picture(values=made.stack, axes=axes, pixel_size=sizes, unit=source.unit if sizes else "", units=units)
        files.write(args.images, made.stack, images, overwrite=args.overwrite)
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
        files.refuse_inputs([args.bad_pixels], inputs(args))
    picture = files.read(args.source, args.series, partly=not args.volume)
    mask = missing(args, picture)
    axes = axes_of(picture, spatial_axes(picture, args))
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
        what = f"{bad.sum()} of {bad.size} pixels hot, dead, saturated or NaN"
        print(f"{args.bad_pixels} is written: {what}.")
    return DONE
