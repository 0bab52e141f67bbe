"""Images with axes, calibration, colours and record, to and from files: for layers, and for results of scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.io import files
from napari_dip.io.channels import Channel
from napari_dip.io.formats import ENDINGS as WRITTEN
from napari_dip.io.formats import READABLE, ending_of, format_of
from napari_dip.io.imagej import look, table_of
from napari_dip.io.ngff import ENDING, is_zarr
from napari_dip.io.picture import Picture, make_picture
from napari_dip.io.units import NAMES, unit_name

__all__ = ["ENDINGS", "Picture", "channel", "in_folder", "make", "read", "save", "table_of", "units_of"]

Array = npt.NDArray[Any]

#: Of files that are written with all that is known of an image.
ENDINGS = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".ome.zarr", ".zarr")

read = files.read

_LETTERS = {
    **dict.fromkeys(("t", "time", "frame", "frames"), "T"),
    **dict.fromkeys(("c", "channel", "channels", "ch"), "C"),
    **dict.fromkeys(("z", "plane", "planes", "slice", "depth"), "Z"),
}
_KEPT = ("contrast limits", "lookup tables", "its place in space")  # where they are in the record too


def in_folder(folder: Path) -> list[Path]:
    """Image files and OME-Zarrs of a folder by name, but not those of folders in it."""
    return [each for each in sorted(folder.iterdir()) if is_zarr(each) or each.suffix.lower() in READABLE]


def channel(table: Array, name: str = "", limits: tuple[float, float] | None = None) -> Channel:
    """A channel that is shown by a lookup table (3, 256) of bytes."""
    return Channel(name=name, limits=limits, **look(np.asarray(table, np.uint8)))


def make(
    values: Array,
    *,
    labels: Sequence[str] = (),
    scale: Sequence[float] = (),
    units: Sequence[str] = (),
    rgb: bool = False,
    shown: Channel | None = None,
    record: dict[str, Any] | None = None,
) -> Picture:
    """Describe an array as a picture.

    Parameters
    ----------
    values : array (*leading, Y, X) or (*leading, Y, X, C)
        With red, green, blue, and maybe alpha, as its last axis if `rgb` is set.
    labels, scale, units : sequence, optional
        Names, distances and units of the axes without the colours. The last two axes are y and x whatever their names;
        others go by their names, or else are z, then time. A distance of 1 pixel says nothing.
    rgb : bool
    shown : Channel, optional
        How it is shown; of several channels in one array all are shown so.
    record : dict, optional
        Of the restoration that made it.
    """
    ndim = values.ndim - rgb
    named = [_LETTERS.get(str(label).lower(), "Q") for label in labels][: ndim - 2] or ["Q"] * (ndim - 2)
    named = ["Q" if named.count(letter) > 1 else letter for letter in named]
    picture = make_picture(
        values, "".join(named) + "YX" + "S" * rgb, has_alpha=rgb and values.shape[-1] == 4, record=record or {}
    )
    letters = picture.order.replace("S", "")
    sizes, spelt = dict[str, float](), dict[str, str]()
    for axis, size, unit in zip(letters, scale, [*units, *[""] * ndim], strict=False):
        unit = unit_name(str(unit))
        if axis in "TZYX" and (unit or abs(size) != 1):
            sizes[axis], spelt[axis] = abs(float(size)), unit
    unit = spelt.get("X", "")
    others = {axis: each for axis, each in spelt.items() if each != ("s" if axis == "T" else unit)}
    count = values.shape[letters.index("C")] if "C" in letters else 1
    return Picture(
        **{name: getattr(picture, name) for name in ("values", "axes", "alpha", "order", "record")},
        pixel_size=sizes,
        unit=unit,
        units=others,
        channels=() if shown is None else (shown,) * count,
    )


def save(path: str | Path, picture: Picture, *, overwrite: bool = False, place: Sequence[float] | None = None) -> None:
    """Write a picture: see `files.put`. Types that OME lacks become the next that holds their values."""
    path, values = Path(path), picture.values
    if path.suffix.lower() == ENDING or format_of(path, picture) == "OME":
        values = _for_ome(values)
    made = Picture(**{**vars(picture), "values": values})
    files.put(path, made, overwrite=overwrite, kept=_KEPT if "layer" in picture.record else (), place=place)


def save_result(
    path: str | Path, image: Array, record: dict[str, Any], like: str | Path | Picture | None, *, overwrite: bool
) -> None:
    """Write the image of a result, with its record: see `Result.save`."""
    picture = _bare(record) if like is None else like if isinstance(like, Picture) else read(like)
    space = _space(record)
    factors = dict(zip(space, record["factor"] or (1,) * len(space), strict=True))
    wanted = tuple(n * factors.get(axis, 1) for axis, n in zip(picture.axes, picture.values.shape, strict=True))
    if wanted != image.shape:
        said = f"like of shape {picture.values.shape}" if isinstance(like, Picture) else f"like={like!r}"
        raise ValueError(
            f"{said} makes an image of shape {wanted}, and the result has {image.shape}; give the image that was "
            "restored, or one of its shape and axes, or leave like out"
        )
    if ending_of(Path(path), (*WRITTEN, ENDING)) != ENDING:
        files.write(path, image, picture, factors=factors, record=record, overwrite=overwrite)
    else:
        files.put(path, picture.restored(image, factors, record), overwrite=overwrite)


def _space(record: dict[str, Any]) -> str:
    """The axes of space of what was restored."""
    given = record["input"]
    return "ZYX"[-(len(given["shape"]) - given["leading_axes"] - (given["channel_axis"] is not None)) :]


def _bare(record: dict[str, Any]) -> Picture:
    """All that a result knows of the array that it was made of; the unit of a voxel size is not known."""
    given, space = record["input"], _space(record)
    axes = ["Q"] * given["leading_axes"] + list(space)
    if (channel := given["channel_axis"]) is not None:
        channel %= len(given["shape"])
        last = channel == len(axes) and given["shape"][channel] in (3, 4)
        axes.insert(channel, "S" if last else "C")
    sizes = dict(zip(space, record["voxel_size"] or (), strict=False))
    return make_picture(np.empty(given["shape"], given["dtype"]), "".join(axes), pixel_size=sizes)


def units_of(picture: Picture) -> list[str]:
    """Units of the axes without the colours, as OME-Zarr and pint spell them; "pixel" where there is none."""
    known = [picture.unit_of(axis) if axis in picture.pixel_size else "" for axis in picture.slice_axes]
    return [NAMES.get(unit, unit) or "pixel" for unit in known]


def _for_ome(values: Array) -> Array:
    """The same values in a type that OME knows, where there is one."""
    kind = values.dtype
    if kind.kind == "b":
        return values.astype(np.uint8)
    if kind == np.float16:
        return values.astype(np.float32)
    if kind.kind in "iu" and kind.itemsize == 8 and values.size:
        small = np.dtype(f"{kind.kind}4")
        if np.iinfo(small).min <= values.min() and values.max() <= np.iinfo(small).max:
            return values.astype(small)
    return values
