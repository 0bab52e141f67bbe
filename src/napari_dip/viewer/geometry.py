"""Place of an array in the world, and its look: that of a layer, and of parts, enlarged images and stacks of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pint
from napari.layers import Image, Labels
from napari.utils.transforms import Affine


@dataclass(frozen=True)
class Geometry:
    """Place of an array in the world, and its look: keyword arguments of ``viewer.add_image``.

    Attributes
    ----------
    scale, translate : tuple of float, one per axis (without the RGB axis)
        Size of a pixel and centre of the first one, in `units`.
    place : dict
        rotate, shear, affine, units and axis_labels.
    look : dict
        colormap, gamma, blending, opacity, interpolation, rgb, contrast limits and their range.
    size : tuple of int
        Pixels of the whole layer along each axis, at its finest level.
    whole : Geometry or None
        That of the whole layer, for an array on another grid over it.
    """

    scale: tuple[float, ...]
    translate: tuple[float, ...]
    place: dict[str, Any]
    look: dict[str, Any]
    size: tuple[int, ...]
    whole: Geometry | None = None

    @property
    def sized(self) -> bool:
        """True if pixels have a size: a unit, or a scale other than 1."""
        return any(s != 1 for s in self.scale) or any(unit != "pixel" for unit in self.place["units"])

    @property
    def bare(self) -> bool:
        """True if pixels have neither a size nor a place, as those of an uncalibrated file."""
        return not self.sized and np.array_equal(world_matrix(self), np.eye(len(self.scale) + 1))

    def cut(self, origin: tuple[float, ...], step: tuple[float, ...]) -> Geometry:
        """The geometry of an array on another grid over the same data.

        Parameters
        ----------
        origin : tuple of float
            Where the centre of its first pixel lies, in pixels of the present array.
        step : tuple of float
            Distance between its pixels, in pixels of the present array.
        """
        if not any(origin) and all(s == 1 for s in step):
            return self  # as it is of each image that is seen whole, many times for each choice in a form
        linear = Affine(scale=self.scale, rotate=self.place["rotate"], shear=self.place["shear"]).linear_matrix
        translate = np.asarray(self.translate) + linear @ np.asarray(origin)
        scale = tuple(s * t for s, t in zip(self.scale, step, strict=True))
        translate = tuple(float(t) for t in translate)
        return replace(self, scale=scale, translate=translate, whole=self.whole or self)

    def pixel_size(self, axes: int) -> tuple[float, ...]:
        """Distances between neighbouring pixels along the last axes, in the unit of the last."""
        units = self.place["units"][-axes:]
        ratios = unit_ratio(units, (units[-1],) * axes)
        return tuple(abs(s) * r for s, r in zip(self.scale[-axes:], ratios, strict=True))

    def finer(self, factors: tuple[int, ...]) -> Geometry:
        """The geometry of an image enlarged by `factors` along its last axes: the outlines coincide."""
        each = (1,) * (len(self.scale) - len(factors)) + tuple(factors)
        return self.cut(tuple((1 / f - 1) / 2 for f in each), tuple(1 / f for f in each))

    def last(self, axes: int) -> Geometry:
        """The geometry along the last axes alone."""
        place = dict(self.place)
        for name in ("rotate", "shear"):
            place[name] = shear_matrix(np.asarray(place[name]))[-axes:, -axes:]
        place["affine"] = place["affine"][-axes - 1 :, -axes - 1 :]
        for name in ("units", "axis_labels"):
            place[name] = place[name][-axes:]
        whole = self.whole and self.whole.last(axes)
        scale, translate, size = (each[-axes:] for each in (self.scale, self.translate, self.size))
        return replace(self, scale=scale, translate=translate, place=place, size=size, whole=whole)

    def coloured(self, colormap: str, limits: tuple[float, float]) -> Geometry:
        """The same place for an image of another quantity, in colours of its own."""
        look = {"colormap": colormap, "contrast_limits": limits, "rgb": False, "blending": "translucent"}
        return replace(self, look=look)


def stacked(geometry: Geometry, label: str, step: float = 1.0, first: float = 0.0) -> Geometry:
    """The geometry with one axis more in front: its name, the distance between its planes, and where it begins."""
    place = dict(geometry.place)
    place["rotate"], place["shear"] = _lead(place["rotate"]), _lead(np.asarray(shear_matrix(place["shear"])))
    place["affine"] = _lead(place["affine"])
    place["units"], place["axis_labels"] = ("pixel", *place["units"]), (label, *place["axis_labels"])
    scale, translate = (step, *geometry.scale), (first, *geometry.translate)
    return Geometry(scale=scale, translate=translate, place=place, look=geometry.look, size=(1, *geometry.size))


def _lead(matrix: np.ndarray) -> np.ndarray:
    """A square matrix with one axis more in front, which it leaves alone."""
    n = len(matrix)
    led = np.eye(n + 1)
    led[1:, 1:] = matrix
    return led


def geometry_of(layer: Any) -> Geometry:
    """Place of a whole image layer in the world, and its look."""
    look = {name: getattr(layer, name) for name in ("gamma", "blending", "opacity", "rgb", "interpolation2d")}
    if not layer.rgb:
        look |= {
            "colormap": layer.colormap,
            "contrast_limits": tuple(layer.contrast_limits),
            "contrast_limits_range": tuple(layer.contrast_limits_range),
        }
    return replace(place_of(layer), look=look)


def place_of(layer: Any) -> Geometry:
    """Place of a whole image or labels layer in the world, without a look."""
    shape = (layer.data[0] if layer.multiscale else layer.data).shape
    return Geometry(
        scale=tuple(float(s) for s in layer.scale),
        translate=tuple(float(t) for t in layer.translate),
        place={
            "rotate": np.array(layer.rotate),
            "shear": np.array(layer.shear),
            "affine": np.array(layer.affine.affine_matrix),
            "units": tuple(str(u) for u in layer.units),
            "axis_labels": tuple(layer.axis_labels),
        },
        look={},
        size=tuple(map(int, shape[: layer.ndim])),
    )


def world_matrix(geometry: Geometry) -> np.ndarray:
    """Homogeneous matrix (n + 1, n + 1) from pixels to the world, in the layer's units."""
    place = geometry.place
    inner = Affine(scale=geometry.scale, translate=geometry.translate, rotate=place["rotate"], shear=place["shear"])
    return np.asarray(place["affine"] @ inner.affine_matrix)


def in_pixels_of(geometry: Geometry, other: Any) -> np.ndarray:
    """Affine matrix (m, n + 1) from pixels of an image with n axes to the last m = min(n, axes) of another layer.

    Through the world, unless one of the two has no calibration and `ratio_of` finds the other layer as large.
    """
    shared = min(len(geometry.scale), other.ndim)
    ratio = ratio_of(geometry, other)
    if ratio is not None:
        to_whole = np.linalg.solve(world_matrix(geometry.whole or geometry), world_matrix(geometry))
        matrix = to_whole[-shared - 1 : -1] * ratio[:, None]
        matrix[:, -1] += (ratio - 1) / 2  # pixels count from their centres
        return np.round(matrix, 9)
    points = np.vstack([np.zeros(other.ndim), np.eye(other.ndim)])
    images = np.array([other.world_to_data(point) for point in points])  # of the origin and the unit vectors
    linear, offset = (images[1:] - images[0]).T[-shared:, -shared:], images[0, -shared:]
    to_world = world_matrix(geometry)[-shared - 1 : -1]
    matrix = linear @ (to_world * np.asarray(unit_ratio(geometry.place["units"], other.units))[:, None])
    matrix[:, -1] += offset
    return np.asarray(matrix)


def ratio_of(geometry: Geometry, other: Any) -> np.ndarray | None:
    """Pixels of another layer for each pixel of the whole image, along shared axes, if pixels lie on pixels.

    They do where a layer without calibration is as large as the image, on its own grid or that of the `geometry`, or
    the image has none itself. None where the two lie in the world, as shapes and all that is moved by hand do.
    """
    if not isinstance(other, (Image, Labels)):
        return None
    shared = min(len(geometry.scale), other.ndim)
    grid, whole, there = (each.last(shared) for each in (geometry, geometry.whole or geometry, place_of(other)))
    if not ((whole.bare and there.bare) or (whole.bare and there.sized) or (whole.sized and there.bare)):
        return None
    ratio = np.divide(there.size, whole.size)
    finer = np.divide(whole.scale, grid.scale)
    return ratio if any(np.allclose(ratio, each) for each in (1, finer)) else None


def shear_matrix(shear: np.ndarray) -> np.ndarray:
    """napari's shear, a vector of the upper triangle or a matrix, as a matrix."""
    if shear.ndim == 2:
        return shear
    n = int((1 + np.sqrt(1 + 8 * len(shear))) / 2)
    matrix = np.eye(n)
    matrix[np.triu_indices(n, k=1)] = shear
    return matrix


def unit_ratio(units: tuple[Any, ...], of: tuple[Any, ...]) -> list[float]:
    """Factors that turn lengths in `units` into lengths in `of`, for the axes they share, counted from the last."""
    registry = pint.get_application_registry()
    ratios = []
    for a, b in zip(reversed([str(u) for u in units]), reversed([str(u) for u in of]), strict=False):
        try:
            ratios.append(1.0 if a == b else float(registry.Quantity(1, a).to(b).magnitude))
        except pint.DimensionalityError:  # pixels beside micrometres: napari draws them one to one
            ratios.append(1.0)
    return ratios[::-1]


def in_layer_units(viewer: Any, layer: Any, point: Any) -> np.ndarray:
    """A point of the viewer's world in the units of a layer."""
    return in_units(viewer, layer.units, point)


def in_units(viewer: Any, units: tuple[Any, ...], point: Any) -> np.ndarray:
    """A point of the viewer's world along its last axes, in the units of these."""
    shared = np.asarray(point, float)[-len(units) :]
    of_viewer = getattr(viewer.layers, "units", None)  # new in napari 0.9, which draws other units to scale
    if of_viewer is None or len(of_viewer) < len(units):
        return shared
    return shared * unit_ratio(tuple(of_viewer)[-len(units) :], units)
