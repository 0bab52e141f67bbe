"""The slice of a source that the viewer shows, and the way to another one."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_dip.viewer.geometry import in_units, world_matrix
from napari_dip.viewer.layers import Source

_COLOURS = "red", "green", "blue"


def slice_in_view(viewer: Any, source: Source) -> int | None:
    """Number of the slice in view, counted along the flattened leading axes; None beside them."""
    if source.together or not source.leading:
        return 0
    units = source.geometry.place["units"]
    point = in_units(viewer, units, viewer.dims.point)
    if len(point) < len(units):  # its layer is gone
        return None
    inside = np.linalg.solve(world_matrix(source.geometry), [*point, 1.0])
    index = np.rint(inside[: source.leading]).astype(int)
    leading = source.image.shape[: source.leading]
    if (index < 0).any() or (index >= leading).any():
        return None
    return int(np.ravel_multi_index(tuple(index), leading))


def show_slice(viewer: Any, source: Source, number: int) -> None:
    """Move the sliders to a slice."""
    axes, leading = len(source.geometry.scale), source.leading
    index = np.unravel_index(number, source.image.shape[:leading])
    world = world_matrix(source.geometry) @ [*index, *(0.0,) * (axes - leading), 1.0]
    ratios = in_units(viewer, source.geometry.place["units"], np.ones(viewer.dims.ndim))
    for axis in range(leading):
        viewer.dims.set_point(viewer.dims.ndim - axes + axis, world[axis] / ratios[axis])


def slice_name(source: Source, number: int) -> str:
    """A slice as the sliders name it: "t=3", or "slice 3" along an axis without a name."""
    if source.together or not source.leading:
        return ""
    index = np.unravel_index(number, source.image.shape[: source.leading])
    return index_name(source.geometry.place["axis_labels"], index)


def with_names(source: Source, sentence: str) -> str:
    """A sentence with its slices and channels, which it has by their numbers, as the window names them."""
    if source.rgb:
        sentence = re.sub(r"\bchannel ([012])\b", lambda found: f"the {_COLOURS[int(found[1])]} channel", sentence)
    labels = source.geometry.place["axis_labels"]
    if source.together:  # its slices are channels of one image
        return re.sub(r"\bchannel (\d+)\b", lambda found: index_name(labels, [found[1]]), sentence)
    if not source.leading:
        return sentence

    count = math.prod(source.image.shape[: source.leading])

    def named(found: re.Match[str]) -> str:
        numbers = [int(number) for number in found[1].split(", ")]
        return ", ".join(slice_name(source, n) for n in numbers) if max(numbers) < count else found[0]

    return re.sub(r"\bslices? (\d+(?:, \d+)*)", named, sentence, flags=re.IGNORECASE)


def index_name(labels: Sequence[str], index: Sequence[Any]) -> str:
    """An index along the first axes with these labels, in the same words."""
    named = [*zip(map(str, labels), index, strict=False)]
    if any(label.lstrip("-").isdigit() for label, _ in named):  # as napari names them by itself
        return f"slice {', '.join(map(str, index))}"
    return ", ".join(f"{label}={place}" for label, place in named)
