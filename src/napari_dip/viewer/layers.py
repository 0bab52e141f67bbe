"""From a napari layer to arrays and back: what is read of it, and layers that are shown in its place.

Long because a third of it says what the fields of a selection and of a source mean.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
from napari.layers import Image, Shapes

from napari_dip.plan.inputs import read_part
from napari_dip.viewer.geometry import Geometry, geometry_of, in_layer_units

ALL = "all"  # every slice of the leading axes
TOGETHER = "together"  # the same, by one generator
DRAWING = "drawing"  # purpose of shapes that a part or a profile is drawn with
_PURPOSE = "napari-dip purpose"  # key in ``layer.metadata`` of what was added to serve a form
_ONE_BLOCK = {2: 1536**2, 3: 192**3}  # pixels of a lazy slice or volume that are read at once


@dataclass(frozen=True)
class Source:
    """Pixels of an image layer that are to be restored.

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
        Number of axes of S: 2 for images, 3 for volumes.
    together : bool
        True if one generator restores all slices along the only leading axis.
    layer : UUID, optional
        Unique id of the layer, whose name may change.
    """

    image: np.ndarray
    geometry: Geometry
    name: str
    rgb: bool
    missing: np.ndarray | None = None
    alpha: np.ndarray | None = field(default=None, repr=False)
    space: int = 2
    together: bool = False
    layer: UUID | None = None

    @property
    def leading(self) -> int:
        """The number of leading axes."""
        return int(self.image.ndim - self.space - self.rgb)

    @property
    def axes(self) -> dict[str, Any]:
        """Axes, as restorations and the functions of `napari_dip.trust` name them."""
        channel = -1 if self.rgb else 0 if self.together else None
        return {"leading_axes": self.leading - self.together, "channel_axis": channel}

    @property
    def arguments(self) -> dict[str, Any]:
        """Image, mask and axes, as the same functions name them."""
        return {"image": self.image, "mask": self.missing, **self.axes}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the image, (*leading, *S)."""
        return self.image.shape[: len(self.geometry.scale)]

    @property
    def voxel_size(self) -> tuple[float, ...]:
        """Distances between neighbouring pixels along the axes of space, in the unit of the last."""
        return self.geometry.pixel_size(self.space)

    def slice_geometry(self, index: int) -> Geometry:
        """The geometry of one slice, counted along the flattened leading axes, with leading axes of length one."""
        if self.together:
            return self.geometry
        leading = self.image.shape[: self.leading]
        origin = (*(np.unravel_index(index, leading) if leading else ()), *(0,) * self.space)
        return self.geometry.cut(tuple(float(i) for i in origin), (1.0,) * len(origin))


def kind(layer: Any) -> str:
    """image, labels, points, ..., also of a layer behind the proxy that plugins are given."""
    return str(layer.__class__.__name__).lower()


def check_source(layer: Any) -> None:
    """Raise a `TypeError` unless a layer is an image."""
    if layer is None:
        raise TypeError("no image is chosen: open one, or take one from File > Open Sample > napari-dip")
    if not isinstance(layer, Image):
        raise TypeError(f"'{getattr(layer, 'name', 'layer')}' is a {kind(layer)} layer; choose an image layer")


@dataclass(frozen=True)
class Selection:
    """Part of an image layer, not read yet.

    Attributes
    ----------
    data : array (*leading, *S) or (*leading, *S, C)
        All of the layer, at one of its levels: in memory, or lazy (dask, zarr, ...).
    part : tuple of slice
        Chosen part, along the axes (*leading, *S); a single slice keeps its leading axes, with length one.
    geometry : Geometry
        Of that part.
    name : str
        Of the layer.
    rgb : bool
    space : int
        Number of axes of S: 2 for images, 3 for volumes.
    together : bool
        True if one generator restores all slices, for which they are read at once.
    layer : UUID, optional
        Unique id of the layer, whose name may change.
    """

    data: Any
    part: tuple[slice, ...]
    geometry: Geometry
    name: str
    rgb: bool
    space: int = 2
    together: bool = False
    layer: UUID | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the chosen part, (*leading, *S)."""
        return tuple(each.stop - each.start for each in self.part)

    @property
    def large(self) -> bool:
        """True if it is lazy and never read as a whole: several slices, or one of more pixels than fit in a block."""
        if not is_lazy(self.data):
            return False
        if self.together:
            return math.prod(self.shape) > _ONE_BLOCK[3]
        slices, pixels = math.prod(self.shape[: -self.space]), math.prod(self.shape[-self.space :])
        return slices > 1 or pixels > _ONE_BLOCK[self.space]

    @property
    def array(self) -> Any:
        """The chosen part, as lazy as the layer."""
        if all(each == slice(0, n) for each, n in zip(self.part, self.data.shape, strict=False)):
            return self.data
        data = self.data
        if is_lazy(data) and not hasattr(data, "dask"):
            import dask.array  # half a second

            data = dask.array.from_array(data, chunks=getattr(data, "chunks", None) or "auto")
        return data[self.part]

    def read(self) -> Source:
        """The pixels.

        Raises
        ------
        ValueError
            If it is `large`.
        OSError
            If it cannot be read; the message names the file, as far as it is known.
        """
        if self.large:
            raise ValueError(
                f"'{self.name}' is not in memory, and {' x '.join(map(str, self.shape))} pixels are too many to load "
                "at once; choose a slice, or write the result block by block"
            )
        image = read_part(self.data, self.part)
        return Source(
            image=image[..., :3] if self.rgb else image,
            geometry=self.geometry,
            name=self.name,
            rgb=self.rgb,
            alpha=image[..., 3:] if self.rgb and image.shape[-1] == 4 else None,
            space=self.space,
            together=self.together,
            layer=self.layer,
        )


def is_lazy(data: Any) -> bool:
    """True if an array is read, or computed, part by part."""
    return not isinstance(data, np.ndarray)


def select(
    layer: Any,
    *,
    where: str | tuple[int, ...] = ALL,
    level: int = 0,
    space: int = 2,
    window: tuple[slice, slice] | None = None,
    size: int | None = None,
) -> Selection:
    """Select a part of an image layer, without reading it.

    Parameters
    ----------
    layer : napari.layers.Image
    where : "all", "together" or tuple of int
        All slices along the leading axes, all to be restored by one generator, or the one at this index along each.
    level : int
        Of a multiscale layer; 0 is the finest.
    space : int
        Number of the last axes that are space: 3 for volumes.
    window : tuple of slice, optional
        Only these pixels along y and x.
    size : int, optional
        Only so many pixels along y and x, in the middle of these.
    """
    check_source(layer)
    if layer.ndim < space:
        raise ValueError(f"'{layer.name}' has {layer.ndim} axes, and a volume needs 3; restore it as an image")
    levels = layer.data if layer.multiscale else [layer.data]
    if not 0 <= level < len(levels):
        raise ValueError(f"level={level} is not one of the {len(levels)} levels of '{layer.name}', counted from 0")
    data = levels[level]
    geometry = geometry_of(layer)
    shape = tuple(map(int, data.shape[: layer.ndim]))
    if layer.multiscale:
        full = layer.data[0].shape[: layer.ndim]
        step = tuple(big / small for big, small in zip(full, shape, strict=True))
        geometry = geometry.cut(tuple((s - 1) / 2 for s in step), step)
    part = [slice(0, n) for n in shape]
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
        part[:leading] = [slice(int(i), int(i) + 1) for i in index]
    if window is not None:
        part[-2:] = window
    if size is not None:
        starts = [max(each.start, (each.start + each.stop - size) // 2) for each in part[-2:]]
        part[-2:] = [slice(s, min(each.stop, s + size)) for s, each in zip(starts, part[-2:], strict=True)]
    geometry = geometry.cut(tuple(float(each.start) for each in part), (1.0,) * layer.ndim)
    return Selection(data, tuple(part), geometry, layer.name, layer.rgb, space, where == TOGETHER, layer.unique_id)


def read(layer: Any, **chosen: Any) -> Source:
    """Read an image layer, or what is chosen of it: see `select`."""
    return select(layer, **chosen).read()


def pixels(layer: Any) -> np.ndarray:
    """The pixels of an image layer, of the finest level if it is multiscale."""
    check_source(layer)
    data = layer.data[0] if layer.multiscale else layer.data
    if is_lazy(data) and math.prod(data.shape) > _ONE_BLOCK[3]:
        raise ValueError(f"'{layer.name}' is not in memory and too large to load at once; choose a smaller layer")
    return np.asarray(data)


def in_view(viewer: Any, layer: Any, level: int = 0) -> tuple[int, ...]:
    """The index along each leading axis of the slice of a layer that the viewer shows, at a multiscale level."""
    if layer.ndim == 2:
        return ()
    position = layer.world_to_data(in_layer_units(viewer, layer, viewer.dims.point))
    index = np.rint(position[: layer.ndim - 2])
    if layer.multiscale:
        shapes = [np.array(layer.data[k].shape[: layer.ndim - 2]) for k in (0, level)]
        index = index * shapes[1] // shapes[0]
    shape = (layer.data[level] if layer.multiscale else layer.data).shape
    return tuple(min(max(0, int(i)), n - 1) for i, n in zip(index, shape, strict=False))


def show(
    viewer: Any,
    image: np.ndarray,
    geometry: Geometry,
    name: str,
    metadata: dict[str, Any] | None = None,
    visible: bool = True,
) -> Any:
    """Add an image as a new layer, below shapes that lie on top; what the user had selected stays selected."""
    look = dict(geometry.look)
    limits_range = look.pop("contrast_limits_range", None)
    look["visible"] = visible
    layer = _add(viewer, viewer.add_image, image, geometry, name, metadata=copy.deepcopy(metadata or {}), **look)
    if limits_range is not None:
        layer.contrast_limits_range = limits_range
    there = list(viewer.layers)
    shapes = next((i for i, each in enumerate(reversed(there[:-1])) if not isinstance(each, Shapes)), len(there) - 1)
    if shapes:
        viewer.layers.move(len(there) - 1, len(there) - 1 - shapes)
    return layer


def turn(layer: Any, image: np.ndarray, geometry: Geometry, name: str, metadata: dict[str, Any]) -> Any:
    """Make an image layer that is there another one, with the look that it has."""
    layer.data, layer.translate, layer.visible = image, geometry.translate, True
    layer.metadata = copy.deepcopy(metadata)
    layer.name = name  # last: those who hear of it look at the rest
    return layer


def show_labels(viewer: Any, marks: np.ndarray, geometry: Geometry, name: str, purpose: Any = None) -> Any:
    """Add a new Labels layer in the place of an image; what the user had selected stays selected."""
    return _add(viewer, viewer.add_labels, marks, geometry, name, metadata={_PURPOSE: purpose})


def show_shapes(viewer: Any, geometry: Geometry, name: str) -> Any:
    """Add a new, empty Shapes layer in the place of an image; what the user had selected stays selected."""
    look = {"face_color": "transparent", "edge_color": "yellow", "ndim": len(geometry.scale)}
    return _add(viewer, viewer.add_shapes, None, geometry, name, metadata={_PURPOSE: DRAWING}, **look)


def purpose(layer: Any) -> Any:
    """The purpose for which a form has added a layer; None of other layers."""
    return layer.metadata.get(_PURPOSE)


_showing: list[str] = []  # layers that are being added now, and so become active for a moment


def showing() -> bool:
    """True while a layer is being added that the user did not add."""
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
