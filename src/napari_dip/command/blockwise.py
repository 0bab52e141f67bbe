"""The commands on OME-Zarr: ``napari-dip denoise IN.zarr OUT.zarr``, block by block, here or on a cluster."""

from __future__ import annotations

import sys
import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dip.command import report
from napari_dip.command.options import check_volume, said
from napari_dip.core.telling import counted
from napari_dip.io import files
from napari_dip.io.formats import tell_lost
from napari_dip.io.ngff import ENDING, is_zarr
from napari_dip.io.picture import Picture
from napari_dip.plan.greys import read_greys
from napari_dip.plan.inputs import Array
from napari_dip.plan.sides import bright_side, has_two_sides
from napari_dip.plan.values import read_factor
from napari_dip.terminal import Bar, Stop

if TYPE_CHECKING:
    from napari_dip.run.blocks.cost import BlocksCost
    from napari_dip.run.blocks.restore import Restored


def wanted(args: Namespace) -> bool:
    """True if a command writes an OME-Zarr, or estimates what one takes."""
    return is_zarr(args.source) if args.target is None else Path(args.target).suffix.lower() == ENDING


def restore(args: Namespace, changes: dict[str, Any], stop: Stop) -> bool:
    """Restore block by block, or estimate what that takes; returns whether all is done.

    Raises
    ------
    ValueError
        For options that do not go with blocks.
    """
    if args.resolution:
        raise ValueError(
            "--resolution is not available for an OUT.zarr, as Fourier ring correlation takes whole slices in memory; "
            "leave it out, or restore one slice into a .tif"
        )
    from napari_dip.io.omezarr import calibration_of, numbered

    source, calibration = args.source, None
    if is_zarr(args.source):
        source = source if args.series is None else numbered(source, args.series)
    else:
        picture = files.read(args.source, args.series)
        source, calibration = picture.values, calibration_of(picture, args.source)
        if args.target is not None:
            tell_lost(args.target, picture)
    from napari_dip.core.pauses import without_pauses
    from napari_dip.io.arrays import open_source
    from napari_dip.run.blocks.cluster import connected  # torch, zarr and dask: seconds
    from napari_dip.run.blocks.cost import estimate_blocks
    from napari_dip.run.blocks.restore import iterate_blocks

    opened = open_source(source, calibration)
    axes = opened.calibration.axes
    check_volume(args, axes)
    if args.volume and axes[-3:] != "zyx":
        raise ValueError(f"--volume needs z beside y and x, but {args.source} has the axes {axes}; leave it out")
    tty = sys.stderr.isatty()
    leading = len(axes) - (3 if args.volume else 2)
    guide, args.guide = args.guide, None  # which an OME-Zarr is too large for to be read at once
    asked = {
        "guide": None if guide is None else _array(guide),
        "channel_axis": _together(args, axes[:leading]),
        "mask": None if args.mask is None else _mask(args),
        "leading_axes": leading,
        "calibration": calibration,
        "residual": args.residual,
        **said(args),
        **changes,
    }
    truth = None if args.truth is None else open_source(_array(args.truth)).array
    if truth is not None and not args.estimate:
        factors = read_factor(args.factor, len(axes) - leading) if getattr(args, "factor", None) else (1,) * len(axes)
        wanted = (*opened.shape[:leading], *(n * f for n, f in zip(opened.shape[leading:], factors, strict=False)))
        if tuple(truth.shape) != wanted:
            raise ValueError(f"--truth has the shape {truth.shape}, but the result will have {wanted}")
    with connected(args.scheduler or False) as client:
        asked["client"] = client or False
        if args.estimate:
            if tty and not args.quiet:
                print(f"napari-dip: reading samples of {args.source} (takes seconds)", file=sys.stderr)
            cost = estimate_blocks(args.task, source, **asked)
            print(f"{args.source} would take {f'{cost}.' if client else _here(cost, **changes)}")
            return True
        stop.begin()
        pace = stop.pace(quiet=args.quiet, tty=tty)
        steps = iterate_blocks(args.task, source, args.target, overwrite=args.overwrite, **pace, **asked)
        with Bar(quiet=args.quiet, tty=tty) as bar, closing(steps):
            done = without_pauses(steps, bar.show_blocks)
    print(f"{args.target}: {done.stop_reason}.")
    for sentence in _account(done):
        print(sentence)
    if truth is not None and done.complete:
        from napari_dip import trust

        try:
            for when, found in trust.before_and_after(done, truth, affine=args.affine).items():
                print(f"{when}: {report.compared(found)}")
        except ValueError as error:  # the result is written; it alone counts
            print(f"Not compared with the truth: {error}.")
    if args.noise_control:
        report.tell_control(done, None, Bar(quiet=args.quiet, tty=tty), **pace)
    return bool(done.complete)


def _here(cost: BlocksCost, device: str = "auto", threads: int = 0, **_: Any) -> str:
    """Cost of a run over blocks on this machine, as busy as it is."""
    from napari_dip.core.device import choose
    from napari_dip.plan.cost import busy, slowed_by

    slowed = slowed_by(cost.seconds, choose(device).name, threads)
    now = replace(cost, block=replace(cost.block, seconds=slowed * cost.block.seconds))
    return f"{now}.{busy(cost.seconds, slowed)}"


def _array(name: str) -> str | Array:
    """An array in a file: the path of an OME-Zarr, which is read part by part, else its values."""
    return name if is_zarr(name) else files.read(name).values


def _together(args: Namespace, leading: str) -> int | None:
    """The leading axis along which all is restored together; None if there is none."""
    if args.together is None:
        return None
    if args.together.lower() not in leading:
        raise ValueError(
            f"--together {args.together}: {args.source} has no such axis beside space, only "
            f"{', '.join(leading.upper()) or 'space'}"
        )
    return leading.index(args.together.lower())


def _account(done: Restored) -> Iterator[str]:
    """Yield the findings and choices of a run over blocks, with their reasons, and its totals."""
    from napari_dip.core.reason import Choice
    from napari_dip.run.blocks.record import noise_from
    from napari_dip.tables.settings import Settings

    record = done.record
    if record.get("psf_background"):
        yield f"Warning: {record['psf_background']}."
    if record.get("noise") is not None:
        yield f"Noise: {noise_from(record['noise'])}."  # with its warning
    if "settings" in record:
        yield f"Method: {Choice(Settings(**record['settings']).method.name, record['method_reason'])}."
    if fits := record.get("blocks", 0) - record.get("empty", 0):
        yield f"Fits: {counted(record['iterations'], 'iteration')} in {counted(fits, 'block')}."
        if told := done.verdicts:
            yield f"Residual: {told[0].lower()}{told[1:]}"
    yield from (f"Warning: the fit of a block failed: {reason}." for reason in record.get("gave_up", ()))


def _mask(args: Namespace) -> str | Array:
    """Mask of missing pixels: an array, or the path of one that is read part by part."""
    if is_zarr(args.mask) and args.mask_label is None and not args.mask_is_known:
        return str(args.mask)
    return marked(args, files.read(args.mask, sparse=True))


def marked(args: Namespace, mask: Picture) -> Array:
    """Pixels that a mask marks as missing, in its own shape: of one in two colours, the bright ones."""
    values, coloured = mask.values, "S" in mask.axes and mask.values.shape[-1] == 3
    if args.mask_label is not None:
        found = np.asarray(values == args.mask_label)
        if not found.any():
            labels = ", ".join(f"{label:g}" for label in np.unique(values)[:10])
            raise ValueError(f"--mask-label {args.mask_label} is not in {args.mask}, which begins with {labels}")
    elif coloured and has_two_sides(values, colours=True):
        found = np.broadcast_to(bright_side(values, colours=True)[..., None], values.shape)
    else:
        level, greys = read_greys(values, lossy=Path(args.mask).suffix.lower() in (".jpg", ".jpeg"))
        found = np.asarray((values > level) | ~np.isfinite(values) if greys else values != 0)
        if greys:
            warnings.warn(
                f"{args.mask} {greys}; a .png or .tif that is 0 where a pixel is known says it exactly", stacklevel=2
            )
    return ~found if args.mask_is_known else found
