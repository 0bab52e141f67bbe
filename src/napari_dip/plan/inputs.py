"""Images and masks, checked and brought to one shape: slices (N, C, *S).

Every refusal names the argument, its value and the remedy. What is odd but valid passes: any real number type, byte
order and memory layout, NaN and infinite pixels (they count as missing).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.around import Around, around
from napari_dip.core.telling import refuse_name, warn
from napari_dip.doors import remedy
from napari_dip.plan.greys import read_greys
from napari_dip.tables.numbers import channel_from_first, check_leading

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Slices:
    """An image as a row of slices that are restored one by one.

    Attributes
    ----------
    values : array (N, C, *S)
        In the type of the input; a view where numpy can make one.
    missing : bool array (N, C, *S)
        True where a pixel is masked, NaN or infinite.
    leading : tuple of int
        The leading axes that N stands for.
    channel_axis : int or None
        Where the channels stood in the input, counted from its first axis.
    padding : bool array (N, C, *S) or None
        True where a missing pixel is padding, which comes back as it is.
    bad : bool array (N, C, *S) or None
        True where a missing pixel was found to be hot or dead, and is restored.
    unread : dict of str
        Slices that could not be read, all of which is missing -> why.
    """

    values: Array
    missing: npt.NDArray[np.bool_]
    leading: tuple[int, ...]
    channel_axis: int | None
    padding: npt.NDArray[np.bool_] | None = None
    bad: npt.NDArray[np.bool_] | None = None
    unread: dict[int, str] = field(default_factory=dict)

    @property
    def holes(self) -> npt.NDArray[np.bool_]:
        """Missing pixels that are restored, (N, C, *S)."""
        holes = self.missing.copy() if self.padding is None else self.missing & ~self.padding
        holes[list(self.unread)] = False
        return holes

    @functools.cached_property
    def around(self) -> list[Around | None]:
        """Tiles around the holes of each slice; None where it is fitted whole, as where one has nothing known."""
        each = ((missing, around(self.wanted(index))) for index, missing in enumerate(self.missing))
        return [
            None if tiles is None or any(missing[:, *place].all() for place in tiles) else tiles
            for missing, tiles in each
        ]

    def wanted(self, index: int) -> npt.NDArray[np.bool_]:
        """Pixels (*S) of a slice that are restored in some channel."""
        return np.asarray(self.one(index).holes[0].any(0))

    @functools.cached_property
    def patches_to_fill(self) -> float:
        """Work on the patches with a missing pixel, over that where half of the pixels are missing."""
        from napari_dip.core.methods.expected import share_of_work  # imports torch: seconds

        return share_of_work(self.missing)

    @property
    def ndim(self) -> int:
        """Number of spatial axes of a slice."""
        return self.values.ndim - 2

    def one(self, index: int) -> Slices:
        """One slice, as all that there is."""
        here = slice(index, index + 1)
        padding, bad = (None if each is None else each[here] for each in (self.padding, self.bad))
        unread = {0: self.unread[index]} if index in self.unread else {}
        return Slices(self.values[here], self.missing[here], (), self.channel_axis_in_slice, padding, bad, unread)

    def layout(self, values: Array) -> Array:
        """Values (N, C, *any) in the axes of the input."""
        values = values.reshape(self.leading + values.shape[1:])
        channels = len(self.leading)
        if self.channel_axis is None:
            return values.squeeze(channels)
        return np.moveaxis(values, channels, self.channel_axis)

    def cut(self, values: Array) -> Array:
        """Values in the axes of the input as slices (N, C, *any): the inverse of `layout`."""
        channels, count = len(self.leading), len(self.values)
        if self.channel_axis is None:
            values = np.expand_dims(values, channels)
        else:
            values = np.moveaxis(values, self.channel_axis, channels)
        return values.reshape((count, *values.shape[channels:]))

    def layout_one(self, values: Array) -> Array:
        """Lay out one slice (C, *any) in the axes of the input, without the leading ones."""
        if self.channel_axis_in_slice is None:
            first: Array = values[0]
            return first
        return np.moveaxis(values, 0, self.channel_axis_in_slice)

    @property
    def channel_axis_in_slice(self) -> int | None:
        """Axis of the channels among those of the input without the leading ones."""
        return None if self.channel_axis is None else max(0, self.channel_axis - len(self.leading))


def read_slices(image: Any, mask: Any, channel_axis: int | None, leading_axes: int) -> Slices:
    """Check an image and its mask and cut them into slices.

    Parameters
    ----------
    image : array-like
        Real numbers; leading axes first, then the spatial ones, with the channels anywhere.
    mask : array-like of bool or integers, or None
        True or non-zero where a pixel is missing (as is what numpy.ma masks). In the shape of the image, of the image
        without its channels, or of one slice without channels.
    channel_axis : int or None
        Axis of the channels, which are restored together.
    leading_axes : int
        Number of leading axes that are not spatial, not counting that of the channels: each of their slices is
        restored on its own.

    Raises
    ------
    TypeError, ValueError
        If the image or the mask cannot be restored; the message says why and what to do.
    OSError
        If no slice of it can be read.
    """
    refuse_name("image", image)
    array, unread = _in_memory(image, channel_axis, leading_axes)
    if array.ndim == 0 and np.issubdtype(array.dtype, np.number):
        raise ValueError("image is a single number; it must have two spatial axes (an image) or three (a volume)")
    if array.dtype == bool:
        raise TypeError(
            "image is boolean, which has nothing to restore; if it is a measurement, use image.astype('uint8')"
        )
    if np.issubdtype(array.dtype, np.complexfloating):
        raise TypeError(f"image is complex ({array.dtype}); restore np.abs(image), or its parts one by one")
    if not np.issubdtype(array.dtype, np.number) or array.dtype.kind == "m":
        raise TypeError(f"image must be an array of numbers, not of {array.dtype} ({type(image).__name__})")
    if array.size == 0:
        raise ValueError(f"image is empty (shape {array.shape}); there must be at least one pixel")
    channel_axis = _channel_axis(array, channel_axis, leading_axes)
    spatial = array.ndim - leading_axes - (channel_axis is not None)
    if spatial not in (2, 3):
        raise ValueError(
            f"image of shape {array.shape} with leading_axes={leading_axes} and channel_axis={channel_axis} has "
            f"{max(spatial, 0)} spatial axes; it must have two (an image) or three (a volume)"
            + (": say how many axes of a stack come first (leading_axes), or which has channels" if spatial > 3 else "")
        )
    if channel_axis is None and spatial == 3 and array.shape[-1] <= 4:
        raise ValueError(
            f"image of shape {array.shape} looks like colour; say channel_axis=-1 (as a volume it would be "
            f"{array.shape[-1]} pixels wide)"
        )
    channels_first = array if channel_axis is None else np.moveaxis(array, channel_axis, leading_axes)
    if channel_axis is None:
        channels_first = np.expand_dims(array, leading_axes)
    leading, (channels, *shape) = channels_first.shape[:leading_axes], channels_first.shape[leading_axes:]
    if channels > math.prod(shape):
        raise ValueError(
            f"channel_axis={channel_axis} gives {channels} channels of {math.prod(shape)} pixels; "
            f"that is more channels than pixels, so name another axis of shape {array.shape}"
        )
    values = channels_first.reshape(math.prod(leading), channels, *shape)
    missing = ~np.isfinite(values)
    if isinstance(image, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(image)
        missing |= (masked if channel_axis is None else np.moveaxis(masked, channel_axis, leading_axes)).reshape(
            values.shape
        )
    if mask is not None:
        missing |= _mask(mask, array.shape, leading, shape, channel_axis).reshape(math.prod(leading), -1, *shape)
    if missing.all():
        if mask is not None:
            raise ValueError(f"mask marks every pixel that has a value as missing; {inverted()}")
        raise ValueError("image has no finite pixel; NaN and infinite pixels count as missing")
    missing[list(unread)] = True
    return Slices(values, missing, leading, channel_axis, unread=unread)


def inverted() -> str:
    """The remedy for a mask that may show what is known."""
    way = remedy(python="mask == 0", command="add --mask-is-known, or leave that out", window="mark all others")
    return f"if those are the known ones, invert it ({way})"


def marked() -> str:
    """The way in which a mask is given."""
    return remedy(python="mask=...", command="--mask FILE", window="a layer under Missing pixels")


def _in_memory(image: Any, channel_axis: int | None, leading_axes: int) -> tuple[Array, dict[int, str]]:
    """The image as an array, and the slices of a lazy one that cannot be read, with the reason: they are 0."""
    try:
        return np.asarray(image), {}
    except MemoryError:
        raise
    except Exception as error:  # codecs and what a user put into a dask graph raise anything
        if not hasattr(image, "chunks"):
            raise ValueError(f"image is no array: {error}") from error
    from napari_dip.io.arrays import Source  # imports zarr
    from napari_dip.io.ngff import plain

    channel_axis = _channel_axis(image, channel_axis, leading_axes)
    along = [axis for axis in range(image.ndim) if axis != channel_axis][:leading_axes]
    return Source(image, plain(image.ndim)).load(along)


def read_part(data: Any, part: tuple[slice, ...]) -> Array:
    """Pixels of a part of an array, lazy or not; an error names the file of a damaged chunk."""
    from napari_dip.io.arrays import Source  # imports zarr
    from napari_dip.io.ngff import plain

    return Source(data, plain(data.ndim)).part(part).read()


def _channel_axis(array: Array, axis: int | None, leading_axes: int) -> int | None:
    check_leading(leading_axes, array.ndim)
    return channel_from_first(axis, array.shape)


def _mask(
    mask: Any, image_shape: tuple[int, ...], leading: tuple[int, ...], shape: Sequence[int], channel_axis: int | None
) -> npt.NDArray[np.bool_]:
    """Mask as bool (*leading, C or 1, *shape)."""
    refuse_name("mask", mask)
    array = np.asarray(mask)
    if array.dtype != bool and not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"mask must be boolean or integer (non-zero = missing), not {array.dtype}; use mask > 0")
    level, greys = read_greys(array)
    if greys:
        warn(f"mask {greys}; hand in mask > 0 to count all of them", stacklevel=6)
    array = array > level if greys else array != 0
    slices_shape = leading + tuple(shape)
    if array.shape == slices_shape:
        return np.expand_dims(array, len(leading))
    if array.shape == tuple(shape):
        return np.broadcast_to(array, (*leading, 1, *shape))
    if array.shape == image_shape and channel_axis is not None:
        return np.moveaxis(array, channel_axis, len(leading))
    accepted = {slices_shape: None, tuple(shape): None, image_shape: None}
    raise ValueError(f"mask has shape {array.shape}, but the image needs {' or '.join(map(str, accepted))}")
