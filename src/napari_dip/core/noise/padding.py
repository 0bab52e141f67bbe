"""Areas of one constant value that no camera gives: padding of a drift correction or a rotation, dead and hot lines.

Measured pixels have noise, so many side by side are equal only where the range ends: in a background clipped at 0, in
saturated spots. There the values beside the area come near its own, and its outline is ragged. Padding has a smooth
outline, at which values jump. In doubt an area counts as measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage  # type: ignore[import-untyped]
from skimage.morphology import convex_hull_image

from napari_dip.core.noise.levels import steps_along

Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[np.float64]
Place = tuple[slice, ...]

_VALUES, _AREAS = 8, 64  # most values and areas that are examined
_RUN = 16  # pixels of a line; fewer where the image has fewer
_LEAST, _ISLAND = 8, 64  # least pixels of an area, at the border and inside the image
_KNOWN = 0.02  # fraction of the pixels that must be left
_RINGS = 4  # pixels beside an area that it is compared with
_FULL = 0.85  # least fraction of its box that an inner area fills: noise of its value may enlarge the box
_BEYOND = 1e-3  # least fraction of the pixels on either side of a value that is no end of the range
_EVEN_NOISE = 0.5  # largest fraction of zero steps along an axis beside an area of such a value
_EQUAL = 0.8  # largest fraction of zero steps beside an area: beyond it no noise is seen, as in a drawing
_RAGGED = 0.15  # largest fraction of the outline that is ragged
_JUMP, _STEP = 2.0, 0.5  # least height beside an area, in noise standard deviations: of the median, and of nearly all
_NEARLY = 0.05  # fraction of the pixels beside an area that may be lower
_EVEN = 0.6  # times the height further away: the edge of a blurred object rises more slowly
_SHARE = 0.04  # least share of an area's value in an interpolated rim
_RIM = 0.75  # noise standard deviations by which such a rim is nearer to that value than the image behind it
_CONVEX = 0.02  # fraction of the pixels by which the outline of an interpolated image may be off
_PLANES = 8  # planes of a volume whose outlines are looked at
# corners of an upright outline; more of them by its length, at an end of the range and where noise has the value
_CORNERS, _SPURS, _FRAYED = 4, 0.15, 0.4
_CORNERED = 0.8  # least fraction of the padding in the box around a turned image that lies in its corners
_BENT = 0.1  # fraction of a corner by which its outline may be bent
_SURE = 40.0  # minus the logarithm of the probability that noise makes all of an area equal
_COMMON = 0.3  # largest share of the pixels beside such an area that have its value: beyond it noise makes whole areas
_FAINT = 16  # pixels at the least of an area that stands out less than 5 standard deviations


def padding_of(values: npt.NDArray[np.generic], missing: Mask) -> Mask:
    """Pixels of padding, and of constant lines, in an image or volume.

    Parameters
    ----------
    values : array (*S) of real numbers
        One channel of one slice.
    missing : bool array (*S)
        True where a pixel is missing anyway.

    Returns
    -------
    bool array (*S)
        True where a pixel, known so far, holds the value of an area that no camera gives, or is a mixture of that
        and the image, as interpolation makes it along an outline.
    """
    shape = tuple(n for n in values.shape if n > 1)
    found, known = np.zeros(shape, bool), ~missing.reshape(shape)
    if len(shape) < 2 or not known.any():
        return np.zeros(values.shape, bool)
    image = values.reshape(shape)
    image = np.where(known, image, image[known][0])
    areas = [(value, *area) for value in _candidates(image) for area in _areas((image == value) & known)]
    for _ in range(2):  # what is found no longer stands beside the others
        for value, place, solid in areas:
            if not found[place][solid].any():
                beside, end = known[place] & ~found[place] & ~solid, _is_end(image[known & ~found], value)
                bounds = _inner_bounds(solid, place, shape)
                with np.errstate(over="ignore", invalid="ignore"):  # at both ends of float64
                    found[place] |= _judged(image[place].astype(np.float64), value, beside, solid, bounds, end)
    if np.count_nonzero(known & ~found) < _KNOWN * found.size:
        found[:] = False
    return np.asarray((found & known).reshape(values.shape))


def _candidates(image: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """The values of most solid blocks, of 3x3 pixels, and lines."""
    found = []
    equal = [_moved(image, axis, 1) == _moved(image, axis, 0, 1) for axis in range(image.ndim)]
    for axis in range(image.ndim):
        length = min(_RUN, image.shape[axis])
        found.append(_moved(image, axis, 0, length - 1)[_shrunk(equal[axis], axis, length - 1)])
    for one, other in itertools.combinations(range(image.ndim), 2):
        if min(image.shape[one], image.shape[other]) >= 3:
            columns = _shrunk(equal[one], one, 2)
            block = _shrunk(_shrunk(equal[other], other, 2), one, 3) & _moved(columns, other, 0, 2)
            found.append(_moved(_moved(image, one, 0, 2), other, 0, 2)[block])
    levels, counts = np.unique(np.concatenate(found), return_counts=True)
    return np.asarray(levels[np.argsort(-counts, kind="stable")][:_VALUES])


def _moved(array: npt.NDArray[Any], axis: int, start: int, less: int = 0) -> npt.NDArray[Any]:
    """An array without its first pixels along an axis, and without its last ones."""
    return array[(*[slice(None)] * axis, slice(start, array.shape[axis] - less))]


def _shrunk(mask: Mask, axis: int, length: int) -> Mask:
    """True where a row of `length` pixels along an axis, from this one on, is True."""
    last = mask.shape[axis] - length + 1
    return np.logical_and.reduce([_moved(mask, axis, i, length - 1 - i) for i in range(length)]) if last > 0 else mask


def _opened(mask: Mask, size: Sequence[int]) -> Mask:
    """The pixels of a mask in boxes of a size that it holds."""
    kept = mask
    for axis, length in enumerate(size):
        kept = _shrunk(kept, axis, length)
    for axis, length in enumerate(size):
        edges = [(length - 1, length - 1) if each == axis else (0, 0) for each in range(mask.ndim)]
        kept = ~_shrunk(~np.pad(kept, edges), axis, length)
    return kept


def _areas(same: Mask) -> Iterator[tuple[Place, Mask]]:
    """Areas of pixels of one value, the largest first, without what is neither two pixels thick nor a line."""
    axes = range(same.ndim)
    padded, inside = np.pad(same, 1, mode="edge"), tuple(slice(1, -1) for _ in axes)  # goes on beyond the border
    solid = np.zeros(same.shape, bool)
    for pair in itertools.combinations(axes, 2):
        solid |= _opened(padded, [2 if axis in pair else 1 for axis in axes])[inside]
    for along in axes:
        solid |= _opened(same, [min(_RUN, same.shape[along]) if axis == along else 1 for axis in axes])
    labels, _ = ndimage.label(solid)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    objects = ndimage.find_objects(labels)
    for label in np.argsort(-sizes, kind="stable")[:_AREAS]:
        if sizes[label] >= _LEAST:
            reach = zip(objects[label - 1], same.shape, strict=True)
            place = tuple(slice(max(s.start - _RINGS, 0), min(s.stop + _RINGS, n)) for s, n in reach)
            yield place, labels[place] == label


def _is_plain(solid: Mask, bounds: list[tuple[int, int]] | None, end: bool) -> bool:
    """True if the outline of an area is straight, as of padding or a line; `bounds` if it is inside the image."""
    if bounds is not None:
        lengths = [last - first for first, last in bounds]
        full = np.count_nonzero(solid) >= _FULL * np.prod(lengths)
        return bool(full and (np.prod(lengths) >= _ISLAND or max(lengths) >= _RUN))
    planes = solid.reshape(-1, *solid.shape[-2:])
    planes = planes[planes.any(axis=(1, 2)) & ~planes.all(axis=(1, 2))]
    return all(_upright(plane, end) or _polygon(plane) for plane in planes[:: max(1, len(planes) // _PLANES)])


def _inner_bounds(solid: Mask, place: Place, shape: tuple[int, ...]) -> list[tuple[int, int]] | None:
    """First and last pixel, exclusive, of an area along each axis; None if it reaches the border."""
    bounds = [(s.start, s.stop) for s in ndimage.find_objects(solid.astype(np.int8))[0]]
    at = [(first + p.start, last + p.start) for (first, last), p in zip(bounds, place, strict=True)]
    return None if any(first == 0 or last == n for (first, last), n in zip(at, shape, strict=True)) else bounds


def _upright(area: Mask, end: bool) -> bool:
    """True if the outline of an area (Y, X) has few corners, as it has along the axes."""
    ones = area.astype(np.int8)
    corners = ones[1:, 1:] + ones[1:, :-1] + ones[:-1, 1:] + ones[:-1, :-1]
    length = sum(np.count_nonzero(np.diff(ones, axis=axis)) for axis in (0, 1))
    return bool(np.count_nonzero(corners % 2) <= _CORNERS + (_SPURS if end else _FRAYED) * length)


def _polygon(area: Mask) -> bool:
    """True if an area (Y, X) lies around a rectangle that was moved and turned: between its corners it is convex."""
    image = ~area
    if _lack(image) > _CONVEX * image.size + sum(image.shape) / 2:
        return False
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    (top, bottom), (left, right) = rows[[0, -1]], columns[[0, -1]]
    on_top, below = np.flatnonzero(image[top]), np.flatnonzero(image[bottom])
    on_left, on_right = np.flatnonzero(image[:, left]), np.flatnonzero(image[:, right])
    pieces = (
        area[top : on_left[0] + 1, left : on_top[0] + 1],
        area[top : on_right[0] + 1, on_top[-1] : right + 1],
        area[on_left[-1] : bottom + 1, left : below[0] + 1],
        area[on_right[-1] : bottom + 1, below[-1] : right + 1],
    )
    within = np.count_nonzero(area[top : bottom + 1, left : right + 1])
    if sum(map(np.count_nonzero, pieces)) < _CORNERED * within:
        return False
    return all(_lack(piece) <= _BENT * np.count_nonzero(piece) + sum(piece.shape) for piece in pieces)


def _lack(area: Mask) -> int:
    """Pixels that an area (Y, X) lacks to be convex."""
    hull: Mask = convex_hull_image(area) if area.any() else area  # type: ignore[no-untyped-call]
    return int(np.count_nonzero(hull & ~area))


def _is_end(known: npt.NDArray[Any], value: Any) -> bool:
    """True if hardly a pixel is above a value, or below it, as where values are clipped."""
    least = max(3, _BEYOND * known.size)
    return bool(min(np.count_nonzero(known > value), np.count_nonzero(known < value)) < least)


def _judged(
    image: Array, value: Any, beside: Mask, solid: Mask, bounds: list[tuple[int, int]] | None, end: bool
) -> Mask:
    """The area, with its rim, if no camera gives it; else nothing.

    Parameters
    ----------
    image : float64 array
        Around the area.
    value : number
        Of the area.
    beside : bool array
        Known pixels that are not of the area.
    solid : bool array
        The area.
    bounds : list of (int, int), or None
        Of the area, if it is inside the image.
    end : bool
        True if its value is an end of the range.
    """
    none = np.zeros(solid.shape, bool)
    if not _is_plain(solid, bounds, end):
        return none
    rings, grown = [], solid
    for _ in range(_RINGS):
        before, grown = grown, ndimage.binary_dilation(grown)
        rings.append(grown & ~before & beside)
    first, second, third, fourth = rings
    along = steps_along(image[None], (first | second | third | fourth)[None], 1)
    steps, height = np.concatenate(along), image - float(value)
    if not first.any() or not steps.any() or np.mean(steps == 0) > _EQUAL:
        return none
    noise = float(np.median(steps[steps > 0])) / 0.954  # of Gaussian noise
    crowd = ndimage.uniform_filter(solid.astype(np.float64), 3, mode="nearest")
    if np.mean(crowd[first] > 0.7) > _RAGGED:
        return none
    if not end:
        share = np.mean(height[first | second | third] == 0)
        pixels = np.count_nonzero(solid)
        sure = -pixels * np.log(max(share, 0.05)) > _SURE
        even = max(np.mean(each == 0) for each in along if each.size)
        return solid if sure and share < _COMMON and even < _EVEN_NOISE else none
    grown = solid
    if bounds is None and _is_rim(height, first, second | third, noise):
        grown, first, third = solid | first, second, fourth
    if not first.any():
        return none
    away = np.abs(height[first])
    far = np.median(np.abs(height[third])) if third.any() else 0.0
    least = _JUMP if np.count_nonzero(solid) >= _FAINT else 5.0
    jump = np.median(away) > max(least * noise, _EVEN * far) and np.quantile(away, _NEARLY) > _STEP * noise
    return grown if jump else none


def _is_rim(height: Array, first: Mask, behind: Mask, noise: float) -> bool:
    """True if the pixels at an outline lie between the area and the image behind them."""
    weight = ndimage.uniform_filter(behind.astype(np.float64), 3, mode="constant")
    mean = ndimage.uniform_filter(np.where(behind, height, 0.0), 3, mode="constant")
    pixels = first & (weight > 0.5 / 3**height.ndim)
    if not pixels.any():
        return False
    lack = np.abs(mean[pixels] / weight[pixels]) - np.abs(height[pixels])
    least = max(noise * max(_RIM, 4 / np.sqrt(lack.size)), _SHARE * np.median(np.abs(mean[pixels] / weight[pixels])))
    return bool(np.median(lack) > least)
