"""Shapes over an image: the part of it that is tried first, or what is missing in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Shapes

from napari_dip.viewer.geometry import Geometry, geometry_of, in_pixels_of
from napari_dip.viewer.layers import Selection, Source, select

WHOLE, IN_VIEW, DRAW = "all of it", "what is in view", "a rectangle that I draw"
_LEAST = 16  # pixels a side of a part


def window_in_view(layer: Any, level: int = 0) -> tuple[slice, slice]:
    """The pixels of a layer, at a multiscale level, that the canvas shows, along y and x."""
    corners = np.asarray(layer.corner_pixels, float)[:, -2:]
    shape = np.asarray((layer.data[level] if layer.multiscale else layer.data).shape[: layer.ndim])[-2:]
    if layer.multiscale:
        shown = np.asarray(layer.data[layer.data_level].shape[: layer.ndim])[-2:]
        corners = corners * shape / shown
    return _window(corners[0], corners[1] + 1, shape)


def window_of(selection: Selection, shapes: Any) -> tuple[slice, slice]:
    """The smallest upright rectangle around shapes: the selected ones, or all of them, along y and x.

    Raises
    ------
    ValueError
        If there is none, or none over the image.
    """
    vertices = in_pixels(selection.geometry, shapes)
    chosen = [vertices[i] for i in sorted(shapes.selected_data)] or vertices
    if not chosen:
        raise ValueError(f"Draw a rectangle on layer '{shapes.name}' around what is to be tried.")
    points = np.concatenate(chosen)[:, -2:]
    return _window(points.min(0), points.max(0), np.asarray(selection.shape[-2:]), shapes.name)


def window_on(source: Any, result: Any) -> tuple[slice, slice]:
    """The pixels of a source, along y and x, that a result of it covers: those of a part; all where it lies beside."""
    shape, size = (np.asarray(select(layer).shape[-2:], float) for layer in (source, result))
    to_source = in_pixels_of(geometry_of(result).last(2), source)
    ends = [to_source[:, :-1] @ corner + to_source[:, -1] for corner in (np.full(2, -0.5), size - 0.5)]
    low, high = np.clip(np.rint(np.sort(ends, axis=0) + 0.5), 0, shape).astype(int)
    if (low >= high).any():
        low, high = np.zeros_like(low), shape.astype(int)
    return slice(low[0], high[0]), slice(low[1], high[1])


def marks_of(source: Source | Selection, shapes: Any) -> np.ndarray:
    """The pixels of a source that lie in shapes: bool (*leading, *S), or (Y, X) of shapes with two axes."""
    shape = source.shape[-min(len(source.shape), shapes.ndim) :]
    vertices = in_pixels(source.geometry, shapes)
    if not vertices:
        return np.zeros(shape, bool)
    upright = Shapes(vertices, shape_type=list(shapes.shape_type), ndim=len(shape))
    return np.asarray(upright.to_labels(shape)) > 0


def in_pixels(geometry: Geometry, shapes: Any) -> list[np.ndarray]:
    """Vertices of shapes, each (n, axes), in pixels of an image with this geometry."""
    to_shapes = in_pixels_of(geometry, shapes)
    axes = len(to_shapes)
    linear, offset = to_shapes[:, -axes - 1 : -1], to_shapes[:, -1]
    return [np.linalg.solve(linear, (each[:, -axes:] - offset).T).T for each in shapes.data]


def _window(low: np.ndarray, high: np.ndarray, shape: np.ndarray, name: str = "") -> tuple[slice, slice]:
    """Whole pixels from `low` to `high`, at least some, within an image."""
    if (high <= 0).any() or (low >= shape).any():
        where = f"The rectangle on layer '{name}'" if name else "What is in view"
        raise ValueError(f"{where} is beside the image: move it over what is to be tried.")
    parts = []
    for a, b, n in zip(np.floor(low), np.ceil(high), shape, strict=True):
        begin = max(0, min(int(a), int(n) - _LEAST))
        parts.append(slice(begin, int(min(n, max(b, begin + _LEAST)))))
    return parts[0], parts[1]
