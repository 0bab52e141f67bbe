"""From a napari layer to arrays and back: what is read, where it lies, and a result that lies in the same place."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pint
from napari.layers import Image, Labels
from napari.utils.transforms import Affine

ALL = "all"  # every slice of the leading axes
TOGETHER = "together"  # the same, by one generator


@dataclass(frozen=True)
class Geometry:
    """Where an array lies in the world, and how it is shown: keyword arguments of ``viewer.add_image``.

    Attributes
    ----------
    scale, translate : tuple of float, one per axis (without the RGB axis)
        Size of a pixel and centre of the first one, in `units`.
    place : dict
        rotate, shear, affine, units and axis_labels.
    look : dict
        colormap, gamma, blending, opacity, interpolation, rgb, contrast limits and their range.
    """

    scale: tuple[float, ...]
    translate: tuple[float, ...]
    place: dict[str, Any]
    look: dict[str, Any]

    def cut(self, origin: tuple[float, ...], step: tuple[float, ...]) -> Geometry:
        """The geometry of an array on another grid over the same data.

        Parameters
        ----------
        origin : tuple of float
            Where the centre of its first pixel lies, in pixels of the present array.
        step : tuple of float
            How many of those its pixels are apart.
        """
        linear = Affine(scale=self.scale, rotate=self.place["rotate"], shear=self.place["shear"]).linear_matrix
        translate = np.asarray(self.translate) + linear @ np.asarray(origin)
        scale = tuple(s * t for s, t in zip(self.scale, step, strict=True))
        return replace(self, scale=scale, translate=tuple(float(t) for t in translate))

    def finer(self, factors: tuple[int, ...]) -> Geometry:
        """The geometry of an image enlarged by `factors` along its last axes: the outlines coincide."""
        each = (1,) * (len(self.scale) - len(factors)) + tuple(factors)
        return self.cut(tuple((1 / f - 1) / 2 for f in each), tuple(1 / f for f in each))

    def coloured(self, colormap: str, limits: tuple[float, float]) -> Geometry:
        """The same place for an image of another quantity, in colours of its own."""
        look = {"colormap": colormap, "contrast_limits": limits, "rgb": False, "blending": "translucent"}
        return replace(self, look=look)


@dataclass(frozen=True)
class Source:
    """What is to be restored of an image layer.

    Attributes
    ----------
    image : array (*leading, *S) or (*leading, *S, C)
        A single slice keeps its leading axes, with length one, so that it stays in its place.
    missing : bool array (*leading, *S), or None
    geometry : Geometry
    name : str
        Of the layer.
    rgb : bool
    alpha : array (*leading, *S, 1), or None
        The transparency of an RGBA layer, which is not restored.
    space : int
        How many axes S has: 2 for images, 3 for volumes.
    together : bool
        Whether one generator restores all slices along the only leading axis.
    """

    image: np.ndarray
    geometry: Geometry
    name: str
    rgb: bool
    missing: np.ndarray | None = None
    alpha: np.ndarray | None = field(default=None, repr=False)
    space: int = 2
    together: bool = False

    @property
    def leading(self) -> int:
        """The number of leading axes."""
        return int(self.image.ndim - self.space - self.rgb)

    @property
    def arguments(self) -> dict[str, Any]:
        """What `napari_dip.iterate` needs to know about the axes."""
        return {
            "image": self.image,
            "mask": self.missing,
            "leading_axes": self.leading - self.together,
            "channel_axis": -1 if self.rgb else 0 if self.together else None,
            "voxel_size": self.voxel_size,
        }

    @property
    def voxel_size(self) -> tuple[float, ...]:
        """Distances between neighbouring pixels along the axes of space, in the unit of the last."""
        units = self.geometry.place["units"][-self.space :]
        ratios = _unit_ratio(units, (units[-1],) * self.space)
        return tuple(abs(s) * r for s, r in zip(self.geometry.scale[-self.space :], ratios, strict=True))

    def slice_geometry(self, index: int) -> Geometry:
        """The geometry of one slice, counted along the flattened leading axes, with leading axes of length one."""
        if self.together:
            return self.geometry
        leading = self.image.shape[: self.leading]
        origin = (*(np.unravel_index(index, leading) if leading else ()), *(0,) * self.space)
        return self.geometry.cut(tuple(float(i) for i in origin), (1.0,) * len(origin))

    def middle(self, size: int) -> Source:
        """The pixels in the middle, at most `size` along y and x, where they lie in the world."""
        leading = self.leading + self.space - 2
        shape = self.image.shape[leading : leading + 2]
        start = [max(0, (n - size) // 2) for n in shape]
        part = (slice(None),) * leading + tuple(slice(s, s + size) for s in start)
        return replace(
            self,
            image=self.image[part],
            missing=None if self.missing is None else self.missing[part],
            alpha=None if self.alpha is None else self.alpha[part],
            geometry=self.geometry.cut((0.0,) * leading + tuple(map(float, start)), (1.0,) * (leading + 2)),
        )


def kind(layer: Any) -> str:
    """image, labels, points, ..., also of a layer behind the proxy that plugins are given."""
    return str(layer.__class__.__name__).lower()


def check_source(layer: Any) -> None:
    """Raise a `TypeError` unless a layer is an image."""
    if layer is None:
        raise TypeError("no image is chosen: open one, or take one from File > Open Sample > napari-dip")
    if not isinstance(layer, Image):
        raise TypeError(f"'{getattr(layer, 'name', 'layer')}' is a {kind(layer)} layer; choose an image layer")


def read(layer: Any, *, where: str | tuple[int, ...] = ALL, level: int = 0, space: int = 2) -> Source:
    """Read an image layer.

    Parameters
    ----------
    layer : napari.layers.Image
    where : "all", "together" or tuple of int
        All slices along the leading axes, all to be restored by one generator, or the one at this index along each.
    level : int
        Of a multiscale layer; 0 is the finest.
    space : int
        How many of the last axes are of space: 3 for volumes.
    """
    check_source(layer)
    if layer.ndim < space:
        raise ValueError(f"'{layer.name}' has {layer.ndim} axes, and a volume needs 3; restore it as an image")
    levels = layer.data if layer.multiscale else [layer.data]
    if not 0 <= level < len(levels):
        raise ValueError(f"level={level} is not one of the {len(levels)} levels of '{layer.name}', counted from 0")
    data = levels[level]
    geometry = _geometry(layer)
    shape = data.shape[: layer.ndim]
    if layer.multiscale:
        full = layer.data[0].shape[: layer.ndim]
        step = tuple(big / small for big, small in zip(full, shape, strict=True))
        geometry = geometry.cut(tuple((s - 1) / 2 for s in step), step)
    leading = layer.ndim - space
    if where == TOGETHER and (leading != 1 or layer.rgb):
        raise ValueError(
            f"slices are restored together along one axis besides those of space, but '{layer.name}' has {leading}"
            f"{' and colours' if layer.rgb else ''}; restore them one after the other, or a layer of a part of them"
        )
    if where not in (ALL, TOGETHER) and leading:
        index = tuple(where)
        if len(index) != leading or not all(0 <= i < n for i, n in zip(index, shape, strict=False)):
            raise ValueError(f"where={where} must be an index along each leading axis of shape {shape[:leading]}")
        data = data[tuple(slice(i, i + 1) for i in index)]
        geometry = geometry.cut((*(float(i) for i in index), *(0.0,) * space), (1.0,) * layer.ndim)
    image = np.asarray(data)
    alpha = image[..., 3:] if layer.rgb and image.shape[-1] == 4 else None
    return Source(
        image=image[..., :3] if layer.rgb else image,
        geometry=geometry,
        name=layer.name,
        rgb=layer.rgb,
        alpha=alpha,
        space=space,
        together=where == TOGETHER,
    )


def pixels(layer: Any) -> np.ndarray:
    """The pixels of an image layer, of the finest level if it is multiscale."""
    check_source(layer)
    return np.asarray(layer.data[0] if layer.multiscale else layer.data)


def in_view(viewer: Any, layer: Any, level: int = 0) -> tuple[int, ...]:
    """The index along each leading axis of the slice of a layer that the viewer shows, at a multiscale level."""
    position = layer.world_to_data(_in_layer_units(viewer, layer, viewer.dims.point))
    index = np.rint(position[: layer.ndim - 2])
    if layer.multiscale:
        shapes = [np.array(layer.data[k].shape[: layer.ndim - 2]) for k in (0, level)]
        index = index * shapes[1] // shapes[0]
    shape = (layer.data[level] if layer.multiscale else layer.data).shape
    return tuple(min(max(0, int(i)), n - 1) for i, n in zip(index, shape, strict=False))


def with_mask(source: Source, labels: Any, label: int | None, viewer: Any) -> Source:
    """A source with the pixels missing that a Labels layer marks: see `align_mask`."""
    if not isinstance(labels, Labels):
        raise TypeError(f"mask '{getattr(labels, 'name', '')}' is a {kind(labels)} layer; choose a labels layer")
    return replace(source, missing=align_mask(source, labels, label, viewer))


def align_mask(source: Source, labels: Any, label: int | None, viewer: Any) -> np.ndarray:
    """The pixels of a source that a Labels layer marks as missing: bool (*leading, Y, X).

    Each pixel's centre is looked up in the labels through the world, so the layers may differ in scale, offset,
    rotation and units. Labels with fewer axes hold for all slices; with more, those in view are taken. Outside the
    labels nothing is missing.

    Parameters
    ----------
    label : int or None
        The label that marks missing pixels; None for every non-zero one.
    viewer : napari.Viewer
        Tells which labels are in view, where they have more axes than the image.
    """
    data = labels.data[0] if labels.multiscale else labels.data
    more = max(0, labels.ndim - len(source.geometry.scale))
    if more:
        position = labels.world_to_data(_in_layer_units(viewer, labels, viewer.dims.point))
        data = data[tuple(min(max(0, round(p)), n - 1) for p, n in zip(position[:more], data.shape, strict=False))]
    values = np.asarray(data)
    marked = values != 0 if label is None else values == label
    to_labels = _pixels_to_labels(source.geometry, labels)
    *leading, height, width = source.image.shape[: len(source.geometry.scale)]
    if not to_labels[:, : len(leading)].any():  # one plane of labels for all slices
        return np.broadcast_to(
            _look_up(marked, to_labels, (0,) * len(leading), (height, width)), (*leading, height, width)
        )
    planes = [_look_up(marked, to_labels, index, (height, width)) for index in np.ndindex(*leading)]
    return np.stack(planes).reshape(*leading, height, width)


def _pixels_to_labels(geometry: Geometry, labels: Any) -> np.ndarray:
    """Affine matrix (m, n + 1) from pixels of an image with n axes to the last m = min(n, labels.ndim) of labels."""
    shared = min(len(geometry.scale), labels.ndim)
    points = np.vstack([np.zeros(labels.ndim), np.eye(labels.ndim)])
    images = np.array([labels.world_to_data(point) for point in points])  # of the origin and the unit vectors
    linear, offset = (images[1:] - images[0]).T[-shared:, -shared:], images[0, -shared:]
    to_world = _world_matrix(geometry)[-shared - 1 : -1]
    matrix = linear @ (to_world * np.asarray(_unit_ratio(geometry.place["units"], labels.units))[:, None])
    matrix[:, -1] += offset
    return np.asarray(matrix)


def _look_up(marked: np.ndarray, matrix: np.ndarray, index: tuple[int, ...], shape: tuple[int, int]) -> np.ndarray:
    """Nearest marks for the pixels of one slice: bool `shape`, False outside of `marked`."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    start = matrix[:, : len(index)] @ np.array(index, float) + matrix[:, -1]
    nearest = [np.rint(row[-3] * y + row[-2] * x + s).astype(int) for row, s in zip(matrix, start, strict=True)]
    inside = np.ones(shape, bool)
    for position, n in zip(nearest, marked.shape, strict=True):
        inside &= (position >= 0) & (position < n)
    found = np.zeros(shape, bool)
    found[inside] = marked[tuple(np.broadcast_to(position, shape)[inside] for position in nearest)]
    return found


def show(
    viewer: Any,
    image: np.ndarray,
    geometry: Geometry,
    name: str,
    metadata: dict[str, Any] | None = None,
    visible: bool = True,
) -> Any:
    """Add an image as a new layer; what the user had selected stays selected."""
    look = dict(geometry.look)
    limits_range = look.pop("contrast_limits_range", None)
    look["visible"] = visible
    layer = _add(viewer, viewer.add_image, image, geometry, name, metadata=copy.deepcopy(metadata or {}), **look)
    if limits_range is not None:
        layer.contrast_limits_range = limits_range
    return layer


def show_labels(viewer: Any, marks: np.ndarray, geometry: Geometry, name: str) -> Any:
    """Add a new Labels layer in the place of an image; what the user had selected stays selected."""
    return _add(viewer, viewer.add_labels, marks, geometry, name)


_showing: list[str] = []  # layers that are being added now, and so become active for a moment


def showing() -> bool:
    """Whether a layer is being added that the user did not add."""
    return bool(_showing)


def _add(viewer: Any, add: Any, data: np.ndarray, geometry: Geometry, name: str, **rest: Any) -> Any:
    active = viewer.layers.selection.active
    _showing.append(name)
    try:
        layer = add(data, name=name, scale=geometry.scale, translate=geometry.translate, **geometry.place, **rest)
        if active is not None and active in viewer.layers:
            viewer.layers.selection.active = active
    finally:
        _showing.pop()
    return layer


def with_alpha(source: Source, image: np.ndarray) -> np.ndarray:
    """A restored RGB image with the transparency of its source, if that has one."""
    if source.alpha is None:
        return image
    alpha = source.alpha
    for axis in (-3, -2):  # enlarged images: each pixel's transparency holds for its finer ones
        alpha = np.repeat(alpha, image.shape[axis] // alpha.shape[axis], axis=axis)
    return np.concatenate([image, alpha.astype(image.dtype)], axis=-1)


def _geometry(layer: Any) -> Geometry:
    look = {name: getattr(layer, name) for name in ("gamma", "blending", "opacity", "rgb", "interpolation2d")}
    if not layer.rgb:
        look |= {
            "colormap": layer.colormap,
            "contrast_limits": tuple(layer.contrast_limits),
            "contrast_limits_range": tuple(layer.contrast_limits_range),
        }
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
        look=look,
    )


def _world_matrix(geometry: Geometry) -> np.ndarray:
    """Homogeneous matrix (n + 1, n + 1) from pixels to the world, in the layer's units."""
    place = geometry.place
    inner = Affine(scale=geometry.scale, translate=geometry.translate, rotate=place["rotate"], shear=place["shear"])
    return np.asarray(place["affine"] @ inner.affine_matrix)


def _unit_ratio(units: tuple[Any, ...], of: tuple[Any, ...]) -> list[float]:
    """Factors that turn lengths in `units` into lengths in `of`, for the axes they share, counted from the last."""
    registry = pint.get_application_registry()
    ratios = []
    for a, b in zip(reversed([str(u) for u in units]), reversed([str(u) for u in of]), strict=False):
        try:
            ratios.append(float(registry.Quantity(1, a).to(b).magnitude))
        except pint.DimensionalityError:  # pixels beside micrometres: napari draws them one to one
            ratios.append(1.0)
    return ratios[::-1]


def _in_layer_units(viewer: Any, layer: Any, point: Any) -> np.ndarray:
    """A point of the viewer's world in the units of a layer."""
    shared = np.asarray(point, float)[-layer.ndim :]
    units = getattr(viewer.layers, "units", None)  # new in napari 0.9, which draws other units to scale
    if units is None or len(units) < layer.ndim:
        return shared
    return shared * _unit_ratio(tuple(units)[-layer.ndim :], layer.units)
