"""TIFF as ImageJ, OME and others write it, with its calibration.

| written as  | when                                                          | calibration         | record      |
|-------------|---------------------------------------------------------------|---------------------|-------------|
| OME-TIFF    | the name ends in .ome.tif or .ome.tiff                        | OME-XML             | Description |
| ImageJ TIFF | ImageJ knows the type: 8 or 16 bits, float32, RGB of 8 bits   | as in ImageJ        | Info        |
| plain TIFF  | all others: float RGB, float64, 32-bit integers, transparency | tags, also as JSON  | JSON        |
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_dip.doors import remedy
from napari_dip.io import imagej, ome
from napari_dip.io.channels import SIGNED, Function, channels_in, moved
from napari_dip.io.formats import CLASSIC_BYTES, IMAGEJ_ORDER
from napari_dip.io.picture import Picture, known_in, make_picture
from napari_dip.io.units import LENGTHS, converted, unit_name

_MINISWHITE, _PALETTE = 0, 3  # photometric interpretations
_CENTIMETRE, _INCH = 3, 2  # resolution units
_RATIO = 50000  # no file that somebody wrote is smaller by more: zstd makes a frame of zeros so small
_PLANES = 10**6  # of a set of files, for which tifffile makes a list before it looks at them


def read_tiff(path: Path, series: int | None = None) -> Picture:
    """One image of a TIFF file; the first one, with a warning if there are others, unless it is named.

    Raises
    ------
    ValueError
        If the file is damaged (tifffile would return the pages before the damage), if files of its set or planes are
        missing (tifffile would return zeros), or if there is no such series.
    """
    with _complaints() as complaints:
        xml, root, shaped = _document(path)
        with tifffile.TiffFile(path, omexml=xml, **shaped) as tif:
            if not tif.series:
                raise ValueError("it holds no image")
            found = tif.series[:1] if tif.is_lsm else tif.series  # those of LSM are followed by thumbnails
            chosen = found[_choose(path, found, series)]
            _check_whole(path, chosen, root)
            _check_size(chosen)
            values, axes, page = chosen.asarray(), chosen.axes, chosen.keyframe
            known = _knowledge(tif, chosen, root)
            if page.photometric == _PALETTE and not tif.is_imagej:  # ImageJ's are measurements shown in false colours
                assert page.colormap is not None
                values, axes = np.moveaxis(page.colormap[:, values] >> 8, 0, -1).astype(np.uint8), axes + "S"
            has_alpha = "S" in axes and page.extrasamples[-1:] in ((1,), (2,))
    if complaints:
        raise ValueError(f"damaged or cut short: {complaints[0].rpartition('> ')[2]}")
    if page.photometric == _MINISWHITE:
        known["display"]["photometric"] = "miniswhite"
    picture = make_picture(values, axes, has_alpha=has_alpha, **known)
    return replace(picture, function=None) if values.dtype not in ("uint8", "uint16") else picture.shown()


def read_notes(path: Path) -> str:
    """The text that the first image of a TIFF carries: ImageJ's Info, or the description in OME."""
    xml, root, shaped = _document(path)
    with tifffile.TiffFile(path, omexml=xml, **shaped) as tif:
        return str(_knowledge(tif, tif.series[0], root).get("notes", "")) if tif.series else ""


def write_tiff(file: BinaryIO, picture: Picture, kind: str) -> None:
    """Write a picture in one of the formats above: "OME", "ImageJ" or "TIFF"."""
    if kind == "ImageJ" and "ImageJ" not in picture.display:  # most programs know one unit there
        picture = picture.in_one_unit()
    own = picture.order and set(picture.order) >= set(picture.slice_axes) and kind != "ImageJ"
    values, axes = picture.in_order(picture.order if own else IMAGEJ_ORDER)
    if kind == "OME" and not axes.removesuffix("S").endswith("YX"):
        values, axes = picture.in_order(IMAGEJ_ORDER)
    colours = picture.values.shape[-1] if "S" in picture.axes else 1
    options: dict[str, Any] = {"photometric": "rgb" if colours == 3 else "minisblack"}
    if "S" in axes:
        options["planarconfig"] = "contig" if axes[-1] == "S" else "separate"
    elif kind != "OME":
        options["photometric"] = picture.display.get("photometric", "minisblack")
    if picture.alpha is not None:
        options["extrasamples"] = ["unassalpha"]
    metadata: dict[str, Any] | None = {**picture.sheet(), "Info": picture.text()}
    if kind == "OME":
        options |= {"description": ome.write(picture, values, axes), "bigtiff": values.nbytes > CLASSIC_BYTES}
        metadata = None
    elif kind == "ImageJ":
        if values.dtype == np.int16:
            values, picture = values.view(np.uint16) ^ np.uint16(SIGNED), _unsigned(picture)
        metadata, options["colormap"] = imagej.write(picture, axes, values.shape)
    if metadata is not None:
        metadata["axes"] = axes
    resolution = _resolution(picture, is_imagej=kind == "ImageJ")
    tifffile.imwrite(file, values, ome=False, imagej=kind == "ImageJ", metadata=metadata, **options, **resolution)


def _unsigned(picture: Picture) -> Picture:
    """ImageJ's way to say that whole numbers have a sign."""
    channels = moved(picture.channels, lambda end: end + SIGNED)
    return replace(picture, function=Function(code=0, coefficients=(-SIGNED, 1.0)), channels=channels)


def _document(path: Path) -> tuple[str | None, ElementTree.Element | None, dict[str, Any]]:
    """OME-XML that replaces that of a file (None: it does not), the parsed one, and options of `tifffile.TiffFile`.

    Raises
    ------
    ValueError
        If it declares more planes than the file can hold.
    """
    with tifffile.TiffFile(path) as tif:
        text = tif.ome_metadata if tif.is_ome else None
        shaped: dict[str, Any] = {}
        try:
            _ = tif.is_shaped and tif.shaped_metadata
        except (RecursionError, ValueError):
            warnings.warn(f"{path} has a description that cannot be read, and is left out", stacklevel=5)
            shaped = {"is_shaped": False}
    if not text:
        return None, None, shaped
    try:
        root, other = ome.parse(text), None
        if name := ome.companion(root):
            try:
                other = (path.parent / Path(name).name).read_text(encoding="utf-8")
                root = ome.parse(other)
            except OSError:
                warnings.warn(
                    f"{path} has its metadata in {name}, which is not beside it: pixel size, channels and the other "
                    "planes of its set are not known; copy it there",
                    stacklevel=5,
                )
        elif ome.alone(root, path.name):
            for data in root.iter("TiffData"):
                data[:] = [each for each in data if each.tag != "UUID"]
            other = ElementTree.tostring(root, encoding="unicode")
    except ElementTree.ParseError as error:
        warnings.warn(f"{path} has OME-XML that cannot be read ({error}): calibration is not known", stacklevel=5)
        return None, None, shaped
    for pixels in root.iter("Pixels"):
        planes = math.prod(int(pixels.get(f"Size{axis}", 1)) for axis in "CZT")
        if planes > max(_PLANES, path.stat().st_size / 8):
            raise ValueError(f"it declares {planes} planes, which it cannot hold")
    return other, root, shaped


def _choose(path: Path, found: list[tifffile.TiffPageSeries], series: int | None) -> int:
    """Number of the image to read."""
    listed = "; ".join(f"{i}: {each.name or 'image'}, {each.axes} {each.shape}" for i, each in enumerate(found[:20]))
    if series is not None and not 0 <= series < len(found):
        raise ValueError(f"series {series} is not one of its {len(found)} ({listed})")
    if series is None and len(found) > 1:
        script = "pictures.read(path, series=N) reads"
        another = remedy(python=script, command="--series N reads", window=f"in a script {script}")
        warnings.warn(
            f"{path} holds {len(found)} images ({listed}); the first one is read, {another} another",
            stacklevel=4,
        )
    return series or 0


def _check_whole(path: Path, series: tifffile.TiffPageSeries, root: ElementTree.Element | None) -> None:
    """Raise a `ValueError` that names what is missing, where planes are."""
    gone = [i for i, page in enumerate(series.pages) if page is None]
    if not gone:
        return
    files = {} if root is None else ome.missing(root, path.parent)
    if files:
        named = "; ".join(f"{name} ({', '.join(planes[:4])})" for name, planes in list(files.items())[:10])
        raise ValueError(f"it is one of a set, of which {len(files)} files are missing beside it: {named}")
    listed = ", ".join(map(str, gone[:10]))
    raise ValueError(f"{len(gone)} of its {len(series.pages)} planes are missing: {listed}, counted from 0")


def _check_size(series: tifffile.TiffPageSeries) -> None:
    """Raise a `ValueError` if a file declares more pixels than its bytes can hold, before room is made for them."""
    declared, held = series.nbytes, 0
    pages = [page for page in series.pages if page is not None]
    for page in pages:
        end = page.parent.filehandle.size
        counts = [
            min(count, max(0, end - offset))
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)
            if offset
        ]
        held += sum(counts)
    first = series.keyframe
    if first.compression == 1 and series.dataoffset is not None:
        held = max(held, min(declared, first.parent.filehandle.size - series.dataoffset))
    if declared > max(2**20, held * _RATIO if first.compression != 1 or first.is_tiled else 16 * held):
        raise ValueError(f"it declares {' x '.join(map(str, series.shape))} pixels, but holds {held} bytes for them")


def _knowledge(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, root: ElementTree.Element | None
) -> dict[str, Any]:
    """Arguments of a `Picture` besides its values."""
    if root is not None:
        listed = ome.images(root)
        named = [image for image in listed if image.get("Name") == series.name]
        number = tif.series.index(series)
        image = listed[number] if len(listed) == len(tif.series) else named[0] if len(named) == 1 else None
        return ome.read(root, image)
    if tif.is_lsm:
        return _lsm(tif.lsm_metadata or {})
    meta = tif.imagej_metadata or (tif.shaped_metadata or ({},))[0]
    found = _calibration(series.keyframe, meta, is_imagej=tif.is_imagej)
    if tif.is_imagej:
        found |= imagej.read(meta, series.keyframe.colormap, series.axes, series.shape)
    return found


def _lsm(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Calibration of Zeiss' LSM, which is in metres and seconds."""
    sizes = {axis: float(meta.get(f"VoxelSize{axis}") or 0) for axis in "XYZ"}
    sizes = {axis: float(f"{converted(size, 'm', 'µm'):.12g}") for axis, size in sizes.items() if size > 0}
    if (step := float(meta.get("TimeIntervall") or 0)) > 0:  # so it is spelt
        sizes["T"] = step
    colours = meta.get("ChannelColors") or {}
    names = [str(name) for name in colours.get("ColorNames", ())]
    return {"pixel_size": sizes, "unit": "µm", "channels": channels_in([{"name": n} for n in names]), "display": {}}


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Errors that tifffile logs about a file instead of raising them."""
    found: list[str] = []

    def collect(entry: logging.LogRecord) -> bool:
        if entry.levelno >= logging.ERROR:
            found.append(entry.getMessage())
        return False

    log = logging.getLogger("tifffile")
    log.addFilter(collect)
    try:
        yield found
    finally:
        log.removeFilter(collect)


def _calibration(page: Any, meta: Mapping[str, Any], *, is_imagej: bool) -> dict[str, Any]:
    """Pixel sizes from what ImageJ wrote, or `write_tiff` in its words, else from the resolution tags."""
    tags = {
        name: getattr(page.tags.get(name), "value", None) for name in ("XResolution", "YResolution", "ResolutionUnit")
    }
    of_tags = {_CENTIMETRE: "cm", _INCH: "inch"}.get(int(tags["ResolutionUnit"] or 1), "")
    unit = unit_name(str(meta.get("unit") or "")) or of_tags
    sizes = {}
    for axis in "XY":
        pixels, per = tags[f"{axis}Resolution"] or (0, 0)
        if pixels and per and (unit or pixels != per):
            sizes[axis] = _shortest(per, pixels)
    if not is_imagej and of_tags and unit in LENGTHS:
        sizes = {axis: converted(size, of_tags, unit) for axis, size in sizes.items()}
    said, known = imagej.calibration(meta), known_in(meta)
    sizes |= said["pixel_size"] | known["pixel_size"]
    units = said["units"] | known["units"]
    return {**known, "notes": said["notes"], "pixel_size": sizes, "unit": unit, "units": units, "display": {}}


def _shortest(above: int, below: int) -> float:
    """A fraction as the shortest decimal number that it stands for: ImageJ counts in millionths."""
    exact, coarse = above / below, max(above, below)
    if coarse >= 100_000:
        for digits in range(1, 16):
            if abs((short := float(f"{exact:.{digits}g}")) - exact) <= exact / coarse:
                return short
    return exact


def _resolution(picture: Picture, *, is_imagej: bool) -> dict[str, Any]:
    """Resolution tags: pixels per unit in ImageJ's files, per centimetre or inch in others."""
    unit, sizes = picture.unit, picture.pixel_size
    if "X" not in sizes:
        return {}
    per_unit = [1 / sizes.get(axis, sizes["X"]) for axis in "XY"]
    in_cm = picture.sizes_in("cm", "XY")
    per_cm = [1 / in_cm.get(axis, in_cm.get("X", 1)) for axis in "XY"]
    if unit == "inch":
        values, name = per_unit, "INCH"
    elif unit == "cm" or (unit in LENGTHS and not is_imagej):
        values, name = per_cm, "CENTIMETER"
    else:
        values, name = per_unit, "NONE"
    most = 2**32 - 1  # the tag is a fraction of 32-bit numbers: the nearest one, where old tifffile takes one near it
    if not all(1e-9 < value < most for value in values):
        return {}
    nearest = [Fraction(value).limit_denominator(int(most / max(1, value))) for value in values]
    return {"resolution": tuple(each.as_integer_ratio() for each in nearest), "resolutionunit": name}
