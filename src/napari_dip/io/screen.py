"""PNG and JPEG: whole numbers of 8 or 16 bits, one image, made for the screen."""

from __future__ import annotations

import contextlib
import struct
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from PIL import Image, ImageOps

from napari_dip.io.channels import Array
from napari_dip.io.picture import Picture, make_picture
from napari_dip.io.units import LENGTHS

_JPEG_SIDE = 65500
KEYWORD = "napari-dip"  # of the text in a PNG that is the record
#: Pixels of a sample that a byte can stand for: zlib's best, and a bit for 64 of them.
_MOST = {"PNG": 1040, "JPEG": 600}
_AFTER_HEADER = 33  # bytes of a PNG, where chunks may follow


def read_screen(path: Path) -> Picture:
    """A PNG or JPEG, upright, with palettes as colours.

    Raises
    ------
    ValueError
        If it declares more pixels than its bytes can hold, before room is made for them.
    """
    # which looks at the size alone; the filters of warnings are those of all threads
    alone = threading.current_thread() is threading.main_thread()
    quiet = warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning)
    with quiet if alone else contextlib.nullcontext():
        opened = Image.open(path)
    with opened:
        width, height = opened.size
        most = _MOST.get(opened.format or "", _MOST["PNG"]) * path.stat().st_size
        if width * height * (1 if opened.mode == "1" else 8) // 8 > most:
            raise ValueError(f"it declares {width} x {height} pixels, but has {path.stat().st_size} bytes for them")
        ppi = opened.info.get("dpi", (0, 0)) if opened.format == "PNG" else (0, 0)
        text = getattr(opened, "text", {}).get(KEYWORD, "")
        values = _read_deep(path) if opened.format == "PNG" else None
        if values is None:
            image = ImageOps.exif_transpose(opened)
            if image.mode in ("P", "PA") or "transparency" in image.info:
                image = image.convert("LA" if image.mode == "L" else "RGBA")
            elif image.mode not in ("L", "LA", "RGB", "RGBA") and not image.mode.startswith("I"):
                image = image.convert("L" if image.mode == "1" else "RGB")
            values = np.array(image)
    if values.dtype == np.int32:  # how some versions of Pillow hand out 16-bit grey
        values = values.astype(np.uint16)
    sizes = {axis: 0.0254 / LENGTHS["µm"] / float(n) for axis, n in zip("XY", ppi, strict=True) if n}
    axes, has_alpha = ("YX", False) if values.ndim == 2 else ("YXS", values.shape[-1] in (2, 4))
    return make_picture(values, axes, has_alpha=has_alpha, pixel_size=sizes, unit="µm" if sizes else "", notes=text)


def _read_deep(path: Path) -> Array | None:
    """A PNG with more than one sample of 16 bits, of which Pillow keeps the high bytes only; None for others."""
    data = path.read_bytes()
    bits, colour_type = data[24:26]
    return np.asarray(imagecodecs.png_decode(data)) if bits == 16 and colour_type else None


def write_png(file: BinaryIO, picture: Picture) -> None:
    """Write 8 or 16 bits, grey or colour, with or without alpha: Pillow has no 16-bit colour."""
    values = _one_image(picture, "PNG")
    if picture.alpha is not None:
        alpha = _alpha(picture.alpha, values.dtype)
        values = np.concatenate([np.atleast_3d(values), alpha[..., None]], axis=-1)
    encoded = imagecodecs.png_encode(values)
    file.write(encoded[:_AFTER_HEADER])
    per_metre = [1 / (picture.pixel_size.get(axis, 0) * LENGTHS.get(picture.unit, 0) or np.inf) for axis in "XY"]
    if all(1 <= n < 2**32 - 1 for n in per_metre):
        file.write(_chunk(b"pHYs", struct.pack(">IIB", *(round(n) for n in per_metre), 1)))
    if picture.text():
        file.write(_chunk(b"iTXt", KEYWORD.encode() + bytes(5) + picture.text().encode()))
    file.write(encoded[_AFTER_HEADER:])


def write_jpeg(file: BinaryIO, picture: Picture) -> None:
    """Write 8 bits, grey or colour, without chroma subsampling."""
    values = _one_image(picture, "JPEG")
    if max(values.shape) > _JPEG_SIDE:
        raise ValueError(f"a JPEG has at most {_JPEG_SIDE} pixels along a side, not {max(values.shape)}")
    Image.fromarray(values).save(file, format="JPEG", quality=95, subsampling=0)


def for_screen(values: Array, source: np.dtype[Any], held: tuple[str, ...], name: str) -> Array:
    """Values in a type that a format holds: rounded and clipped to that of the source, or else stretched."""
    if values.dtype in held:
        return values
    if source in held:
        rounded = _rounded(values, source)
        off = np.abs(rounded - values.astype(np.float64))
        if (most := float(np.nanmax(off, initial=0))) > 0:
            limits = np.iinfo(source)
            warnings.warn(
                f"{name} holds whole numbers from 0 to {limits.max}: values are changed by up to {most:.3g}; "
                ".tif keeps values",
                stacklevel=3,
            )
        return rounded
    target = np.dtype(held[-1])
    top = np.iinfo(target).max
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    warnings.warn(
        f"{name} holds whole numbers from 0 to {top}: {low:g} is written as 0 and {high:g} as {top}; .tif keeps values",
        stacklevel=3,
    )
    if low == high:
        return np.zeros(values.shape, target)
    return _rounded((values.astype(np.float64) - low) / (high - low) * top, target)


def _rounded(values: Array, dtype: np.dtype[Any]) -> Array:
    """Values as whole numbers of 8 or 16 bits, clipped to them; NaN as 0."""
    limits = np.iinfo(dtype)
    return np.asarray(np.clip(np.rint(np.nan_to_num(values)), limits.min, limits.max), dtype)


def _one_image(picture: Picture, name: str) -> Array:
    samples = picture.values.shape[-1] if "S" in picture.axes else 1
    if picture.slice_axes != "YX":
        raise ValueError(f"a {name} is one image, not a stack with axes {picture.axes}")
    if samples not in (1, 3):
        raise ValueError(f"a {name} is grey or RGB; it has no {samples} colours")
    return np.ascontiguousarray(picture.values)


def _alpha(alpha: Array, dtype: np.dtype[Any]) -> Array:
    """Opacity from one type's full range to another's; floats are from 0 to 1."""
    if alpha.dtype == dtype:
        return alpha
    top = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
    return _rounded(alpha.astype(np.float64) / top * np.iinfo(dtype).max, dtype)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
