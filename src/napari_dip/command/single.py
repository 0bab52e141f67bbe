"""One image restored in memory, from a file into a file: ``napari-dip denoise IN OUT``."""

from __future__ import annotations

import sys
import tempfile
import warnings
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dip.command import blockwise, report
from napari_dip.command.options import check_volume, files_said, said
from napari_dip.core.telling import counted, error_in_words, quietly
from napari_dip.guides import on_grid
from napari_dip.io import files
from napari_dip.io.disk import check_room
from napari_dip.io.formats import SCREEN
from napari_dip.io.picture import Picture
from napari_dip.plan.inputs import Array
from napari_dip.plan.request import Request, read_instrument, unrecorded
from napari_dip.plan.values import read_factor
from napari_dip.tables.method import settings_for
from napari_dip.tables.settings import DEFAULTS, Settings
from napari_dip.terminal import Bar, Stop

if TYPE_CHECKING:
    from napari_dip.core.result import Result

_AXES = {"T": "time", "C": "channel", "Z": "z"}  # what may be restored together

Factors = dict[str, int] | None  # axis -> factor of a super-resolution


def restore(args: Namespace, changes: dict[str, Any], stop: Stop) -> bool:
    """Read, restore, write; all that can fail without computing comes first. Returns whether the image is all there."""
    other = "file" if args.output_folder is None else "folder"
    if args.target is not None and not args.estimate:
        files.refuse_inputs([args.target], inputs(args), other=other)  # first: no --overwrite is a remedy for that
        files.check(args.target, overwrite=args.overwrite, other=other)
    picture = files.read(args.source, args.series, partly=not args.volume)
    mask = missing(args, picture)
    spatial = spatial_axes(picture, args)
    asked = _asked(args, picture, spatial)
    whole = Path(args.target or "").suffix.lower() in SCREEN and picture.values.dtype.kind in "iu"
    if rounded := whole and "output_dtype" not in changes:
        changes["output_dtype"] = "input"
    settings = settings_for(args.task, on_cpu=True, **changes)
    factors: Factors = dict(zip(spatial, asked.factor, strict=True)) if asked.factor else None
    extras: dict[str, Factors] = {  # name -> those of its grid
        name: factors if name == "uncertainty" else None for name in _beside(args, settings)
    }
    axes, together = axes_of(picture, spatial), axes_of(picture, spatial, args.together, args.source)
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
        from napari_dip.trust import sharing

        print(f"Together: {sharing(picture.values, **together)}.")
    from napari_dip.plan.cost import plan_in_words
    from napari_dip.run.restore import iterate  # imports torch: seconds

    tty = sys.stderr.isatty()
    pace = stop.pace(quiet=args.quiet, tty=tty)
    run = iterate(args.task, picture.values, mask, **asked.said, **together, **pace, **changes)
    if args.estimate:
        print(f"{args.source} would take {plan_in_words(run.plan)}")
        return True
    kind = picture.values.dtype if settings.output_dtype == "input" else np.dtype(np.float32)
    room = files.rehearse(args.target, picture, kind, factors=factors, overwrite=args.overwrite)
    for name, finer in extras.items():
        path, opaque = report.beside(args.target, name), picture.measurement()
        files.refuse_inputs([path], inputs(args))
        room += files.rehearse(path, opaque, np.float32, factors=finer, overwrite=args.overwrite)
    check_room(args.target, room)
    if tty and not args.quiet:
        print(f"napari-dip: {plan_in_words(run.plan)}", file=sys.stderr)
    stop.begin()
    with Bar(quiet=args.quiet, tty=tty) as bar:
        for progress in run:
            bar.show(progress)
        result = run.result
        if result.complete:
            bar.fill()
    if not result.made:
        print(f"napari-dip: {result.stop_reason}, before there was a result; nothing is written", file=sys.stderr)
        return False
    if rounded:  # by the format, and nobody's choice: a run with the settings of this file has the digits again
        asked_for = {**result.record["settings"], "output_dtype": DEFAULTS.output_dtype}
        result = replace(result, record={**result.record, "settings": asked_for})
    if not _write(args, result, picture, factors, extras):
        return False
    if rounded:
        levels = counted(len(np.unique(result.image)), "level")
        print(f"Rounded: {args.target} holds whole numbers, {levels} here; a TIFF holds decimals.")
    print(*report.account(result), *before, *measures.after(result.image), sep="\n")
    if args.noise_control:
        bar = Bar(quiet=args.quiet, tty=tty)
        report.tell_control(result, picture.values, bar, **pace, **unrecorded(asked.said))
    return picture.unread is None and (result.complete or (stop.asked() and result.whole))


def written(args: Namespace, changes: dict[str, Any]) -> list[Path]:
    """The files that a command writes: OUT, the images beside it, and what lies beside these."""
    names = _beside(args, settings_for(args.task, on_cpu=True, **changes))
    images = [Path(args.target), *(report.beside(args.target, name) for name in names)]
    return [file for image in images for file in files.written(image)]


def _beside(args: Namespace, settings: Settings) -> list[str]:
    """Names of the images that are written beside OUT."""
    return [*(["uncertainty"] if settings.uncertainty else []), *(["residual"] if args.residual else [])]


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
            print(f"napari-dip: error: {error_in_words(error)}; {_spared(name, image)}", file=sys.stderr)
            kept = False
            continue
        took = (
            f": {result.stop_reason}. It took {result.seconds:.1f} s for {counted(result.iterations, 'iteration')} on "
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
        return f"{what} could not be kept elsewhere either ({error_in_words(error)})"
    try:
        with open(number, "wb") as file:
            np.save(file, image)
    except Exception as error:
        Path(spare).unlink()
        return f"{what} could not be kept in {spare} either ({error_in_words(error)})"
    return f"{what} is kept in {spare}"


def inputs(args: Namespace) -> dict[str, str | None]:
    """The files that are read: option -> name."""
    named = {name: getattr(args, name, None) for name in ("mask", "truth", *files_said())}
    return {"IN": args.source, **{f"--{name}": path for name, path in named.items()}}


def axes_of(picture: Picture, spatial: str, together: str | None = None, name: str = "") -> dict[str, Any]:
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
    given = said(args)
    if getattr(args, "guide", None) is not None:
        given["guide"] = _aligned(args, picture, spatial, given.get("factor"))
    with quietly():  # the run warns of it
        return read_instrument(args.task, len(spatial), voxel_size=voxel_size, **given)


def _aligned(args: Namespace, picture: Picture, spatial: str, factor: Any) -> Array:
    """The guide; on the grid of OUT where it has other pixels, and both files know their sizes."""
    guide = files.read(args.guide)
    fine = read_factor(factor, len(spatial)) if factor else (1,) * len(spatial)
    there = dict(zip(picture.slice_axes, picture.slice_shape, strict=True))
    shape = tuple(int(there[axis] * n) for axis, n in zip(spatial, fine, strict=True))
    unit = picture.unit_of("X")
    sizes, own = picture.sizes_in(unit, spatial), guide.sizes_in(unit, spatial)
    known = all(each.get(axis, 0) > 0 for each in (sizes, own) for axis in spatial)
    if guide.axes != spatial or guide.values.shape == shape or not known:
        return guide.values
    size = [sizes[axis] / n for axis, n in zip(spatial, fine, strict=True)]
    guide_size = [own[axis] for axis in spatial]
    made = on_grid(guide.values, shape, size=size, guide_size=guide_size)
    if np.nanmin(made) == np.nanmax(made):
        said = " and ".join(" x ".join(f"{each:g}" for each in sizes) for sizes in (guide_size, size))
        raise ValueError(
            f"{args.guide} shows nothing where {args.source} is: by their pixel sizes, {said} {unit}, that part of it "
            "has one value; mend those, or take another guide"
        )
    return made


def spatial_axes(picture: Picture, args: Namespace) -> str:
    """The axes that one generator spans."""
    check_volume(args, picture.axes)
    return "ZYX" if args.volume else "YX"


def missing(args: Namespace, picture: Picture) -> Array | None:
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
        marks = marked != args.mask_is_known
        apart = (marks != marks[..., :1]).any() and marks.any(axis=tuple(range(marks.ndim - 1))).all()
        if apart and "S" in picture.axes:
            counts = "known" if args.mask_is_known else "missing"
            warnings.warn(
                f"the colours of {args.mask} differ: what is {counts} in one counts as {counts} in all; a script takes "
                "a mask for each, inpaint(image, mask, channel_axis=-1)",
                stacklevel=2,
            )
        marked = np.asarray(marked.all(axis=-1) if args.mask_is_known else marked.any(axis=-1))
    if marked.shape == picture.slice_shape:
        return marked
    wanted = dict(zip(picture.slice_axes, picture.slice_shape, strict=True))
    given = dict(zip(mask.slice_axes, marked.shape, strict=True))
    if not given.items() <= wanted.items():
        has, needs = (" x ".join(f"{axis} {n}" for axis, n in sizes.items()) for sizes in (given, wanted))
        raise ValueError(
            f"{args.mask} has {has} pixels, but {args.source} has {needs}; give a mask of the same pixels (along an "
            "axis that it lacks, such as T, all are masked alike)"
        )
    absent = [i for i, axis in enumerate(picture.slice_axes) if axis not in given]
    return np.broadcast_to(np.expand_dims(marked, absent), picture.slice_shape)
