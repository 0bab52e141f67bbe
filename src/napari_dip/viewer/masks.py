"""Missing pixels of an image, as Labels or Shapes mark them: looked up through the world, and read where needed.

The layers may differ in scale, offset, rotation and units. Labels with fewer axes hold for all slices; of those with
more, the ones in view are taken. Outside the labels nothing is missing.
"""

from __future__ import annotations

import uuid
import warnings
import weakref
import zlib
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Shapes

from napari_dip.plan.greys import read_greys
from napari_dip.plan.sides import bright_side, has_two_sides, sample
from napari_dip.viewer.geometry import in_layer_units, in_pixels_of
from napari_dip.viewer.layers import Selection, Source, kind
from napari_dip.viewer.regions import marks_of

_CHUNK = 1024  # pixels along y and x
_TURNED = 1e-6  # share of the scale, from which on axes are not parallel
_TOLD_AT_ONCE = 2**22  # pixels: 9 ms
_LOOKED_AT: dict[int, tuple[weakref.ref[np.ndarray], int, bool]] = {}  # by the id of an array: if it is a mask


def with_mask(source: Source, labels: Any, label: int | None, viewer: Any) -> Source:
    """A source with the pixels missing that a Labels layer marks: see `align_mask`."""
    return replace(source, missing=align_mask(source, labels, label, viewer))


def align_mask(source: Source, labels: Any, label: int | None, viewer: Any) -> np.ndarray:
    """The pixels of a source that a Labels layer marks as missing: bool (*leading, *S).

    Parameters
    ----------
    label : int or None
        The label that marks missing pixels; None for every non-zero one.
    viewer : napari.Viewer
        Tells which labels are in view, where they have more axes than the image.
    """
    if isinstance(labels, Shapes):
        return np.broadcast_to(marks_of(source, labels), source.shape)
    marks = _without_greys(_marks(source, labels, label, viewer), labels.name)
    if marks.flat:
        return np.broadcast_to(marks.at(tuple(slice(0, n) for n in source.shape[-2:])), source.shape)
    return marks.at(tuple(slice(0, n) for n in source.shape))


def is_empty(labels: Any, label: int | None) -> bool:
    """True if shapes, or labels in memory, mark nothing; of lazy ones that is not looked up."""
    data = labels.data
    if isinstance(labels, Shapes):
        return not data
    if not isinstance(data, np.ndarray):
        return False
    return not (data.any() if label is None else (data == label).any())


def is_known(layer: Any) -> bool:
    """True if no pixel of an image is NaN or infinite; of a large or lazy one of fractions that is not looked up."""
    data = layer.data
    if layer.dtype.kind != "f":
        return True
    return isinstance(data, np.ndarray) and data.size <= _TOLD_AT_ONCE and bool(np.isfinite(data).all())


def size_of(labels: Any) -> tuple[int, ...]:
    """Pixels of labels along y and x, at their finest level."""
    data = labels.data[0] if labels.multiscale else labels.data
    return tuple(map(int, data.shape[-2:]))


def lie_over(selection: Selection, labels: Any) -> bool:
    """True if labels end where a selection does along y and x, to within a pixel; or are turned against it."""
    matrix = in_pixels_of(selection.geometry, labels)
    size, scale = np.array(size_of(labels)), matrix[-2:, -3:-1]
    if np.abs(scale - np.diag(np.diag(scale))).max() > _TURNED * np.abs(scale).max():
        return True
    step = np.diag(scale)
    corner = -0.5 * step + matrix[-2:, -1]
    begin, end = np.sort([corner, corner + step * selection.shape[-2:]], axis=0)  # one may be mirrored
    return bool((np.abs([begin + 0.5, end + 0.5 - size]) <= np.maximum(1, np.abs(step)) + 1e-6).all())


def has_several(labels: Any) -> bool:
    """True if labels in memory have more than one label; also where it would take long to tell."""
    data = labels.data
    if not isinstance(data, np.ndarray) or data.size > _TOLD_AT_ONCE:
        return True
    return int(data.sum(dtype=np.int64)) != int(data.max(initial=0)) * np.count_nonzero(data)  # without a copy


def is_mask(layer: Any) -> bool:
    """True if an image in memory has two values, or two colours: a mask, as a file has it.

    Each array is looked at once, until a sample of it has changed: it may be painted on in place.
    """
    if not isinstance(layer, Image) or not isinstance(layer.data, np.ndarray) or not layer.data.size:
        return False
    data, key = layer.data, id(layer.data)
    seen = zlib.crc32(np.ascontiguousarray(sample(data, layer.rgb)))
    known, before, two = _LOOKED_AT.get(key, (None, 0, False))
    if known is None or known() is not data or before != seen:
        two = has_two_sides(data, layer.rgb)
        _LOOKED_AT[key] = weakref.ref(data, lambda _: _LOOKED_AT.pop(key, None)), seen, two
    return two


def marks_in(layer: Any, bright: bool) -> np.ndarray:
    """Labels, 0 and 1, of what is bright or dark in an image that is a mask."""
    return (bright_side(layer.data, layer.rgb) == bright).astype(np.uint8)


def lazy_mask(selection: Selection, labels: Any, label: int | None, viewer: Any, blank: bool = False) -> Any:
    """The same for what is not read yet: a dask array (*leading, *S) of 0 and 1, or (Y, X) if all slices are alike.

    What is painted afterwards is of no matter to it. A `blank` one, an array, has the shape alone, and takes nothing.
    """
    if isinstance(labels, Shapes):
        return marks_of(selection, labels).astype(np.uint8)
    marks = _marks(selection, labels, label, viewer)
    if blank:
        return np.broadcast_to(np.uint8(0), selection.shape[-2:] if marks.flat else selection.shape)
    marks = _without_greys(marks, labels.name)
    if isinstance(marks.data, np.ndarray):
        marks = replace(marks, data=marks.data.copy())
    *leading, height, width = selection.shape
    chunks = ([(1,) * n for n in leading] if not marks.flat else []) + [_chunks(height), _chunks(width)]
    import dask.array  # half a second

    return dask.array.map_blocks(
        partial(_block, marks),
        name=f"missing-{uuid.uuid4().hex}",  # dask would make one from the values of all labels
        chunks=tuple(chunks),
        dtype=np.uint8,
        meta=np.empty(0, "u1"),
    )


@dataclass(frozen=True)
class _Marks:
    """Labels, and where they lie for the pixels of an image.

    Attributes
    ----------
    data : array with m axes, in memory or lazy
    label : int or None
    level : float or None
        Threshold that greys must exceed to count, where the labels are a mask with greys; None if they are none.
    matrix : array (m, n + 1)
        Affine, from pixels of the image to those of the labels.
    """

    data: Any
    label: int | None
    matrix: np.ndarray
    level: float | None = None

    @property
    def flat(self) -> bool:
        """True if the marks are the same in all slices along the axes before y and x."""
        return not self.matrix[:, :-3].any()

    def at(self, part: tuple[slice, ...]) -> np.ndarray:
        """The marks in a part of the image, or for marks that are `flat` in a part of any slice: bool."""
        shape = tuple(each.stop - each.start for each in part)
        origin = (0,) * (self.matrix.shape[1] - 1 - len(part)) + tuple(each.start for each in part)
        planes = [
            self._plane(np.add(origin, (*(0,) * (len(origin) - len(shape)), *index, 0, 0)), shape[-2:])
            for index in np.ndindex(*shape[:-2])
        ]
        return np.stack(planes).reshape(shape)

    def _plane(self, origin: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """The nearest marks for the pixels of one slice: only the labels around them are read."""
        y, x = (np.arange(n) + start for n, start in zip(shape, origin[-2:], strict=True))
        start = self.matrix[:, :-3] @ origin[:-2] + self.matrix[:, -1]
        nearest = [
            np.rint(row[-3] * y[:, None] + row[-2] * x + s).astype(int)
            for row, s in zip(self.matrix, start, strict=True)
        ]
        inside = np.ones(shape, bool)
        for position, n in zip(nearest, self.data.shape, strict=True):
            inside &= (position >= 0) & (position < n)
        found = np.zeros(shape, bool)
        if inside.any():
            places = [np.broadcast_to(position, shape)[inside] for position in nearest]
            around = tuple(slice(int(each.min()), int(each.max()) + 1) for each in places)
            values = np.asarray(self.data[around])
            values = values[tuple(each - cut.start for each, cut in zip(places, around, strict=True))]
            if self.label is not None:
                found[inside] = values == self.label
            else:
                found[inside] = values != 0 if self.level is None else values > self.level
        return found


def _marks(source: Source | Selection, labels: Any, label: int | None, viewer: Any) -> _Marks:
    if not isinstance(labels, Labels):
        raise TypeError(f"mask '{getattr(labels, 'name', '')}' is a {kind(labels)} layer; choose a labels layer")
    data = labels.data[0] if labels.multiscale else labels.data
    more = max(0, labels.ndim - len(source.shape))
    if more:
        position = labels.world_to_data(in_layer_units(viewer, labels, viewer.dims.point))
        data = data[tuple(min(max(0, round(p)), n - 1) for p, n in zip(position[:more], data.shape, strict=False))]
    return _Marks(data, label, in_pixels_of(source.geometry, labels))


def _without_greys(marks: _Marks, name: str) -> _Marks:
    """Marks that know which greys count, if the labels in memory are a mask with greys; reads all of them."""
    if marks.label is not None or not isinstance(marks.data, np.ndarray):
        return marks
    level, greys = read_greys(marks.data)
    if not greys:
        return marks
    warnings.warn(f"mask '{name}' {greys}; choose a label for another choice", stacklevel=4)
    return replace(marks, level=level)


def _chunks(n: int) -> tuple[int, ...]:
    return tuple(min(_CHUNK, n - start) for start in range(0, n, _CHUNK))


def _block(marks: _Marks, block_info: Any = None) -> np.ndarray:
    """One chunk, as `dask.array.map_blocks` asks for it."""
    return marks.at(tuple(slice(*ends) for ends in block_info[None]["array-location"])).astype(np.uint8)
