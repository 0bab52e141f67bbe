"""xarray in, xarray out: axes by their names, pixel sizes by coordinates; dims, coordinates and attributes are kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from xarray import DataArray  # type: ignore[import-not-found, unused-ignore]

RECORD = "napari-dip"  # the attribute with the record, as JSON


def restore(
    task: str,
    image: DataArray,
    mask: DataArray | None = None,
    *,
    space: tuple[str, ...] = ("y", "x"),
    together: str | None = None,
    **options: Any,
) -> DataArray:
    """Restore an `xarray.DataArray`.

    Parameters
    ----------
    task : {"denoise", "inpaint", "superresolve", "deconvolve", "deblock", "enhance"}
    image : DataArray
        With any dims. Those that are neither `space` nor `together` are slices, restored one after the other.
    mask : DataArray, optional
        True where a pixel is missing; it may lack dims of the image.
    space : tuple of str
        Dims of space, ("z", "y", "x") for volumes.
    together : str, optional
        A dim whose entries one generator restores together, such as that of colours.
    **options
        As for `napari_dip.iterate`. The voxel size is that of the coordinates where they are evenly spaced.

    Returns
    -------
    DataArray
        With the dims in their order, name, attributes and coordinates of the image; of a super-resolution finer ones
        along `space`. ``attrs["napari-dip"]`` is the record, as JSON.

    Raises
    ------
    TypeError
        If the image has no dims, or an axis is told by its number.
    ValueError
        If a dim is not there.
    """
    import napari_dip

    if not hasattr(image, "dims"):
        raise TypeError(
            f"image={type(image).__name__} has no dims; hand in xarray.DataArray(image, dims=('y', 'x')), or call "
            f"napari_dip.{task}(image)"
        )
    for name, instead in (("channel_axis", "together"), ("leading_axes", "space")):
        if name in options:
            raise TypeError(f"{name}={options[name]!r} numbers axes, which have names here; say {instead}= instead")
    for dim in (*space, *([together] if together else [])):
        if dim not in image.dims:
            raise ValueError(f"{dim!r} is not one of the dims {image.dims}; say space=('row', 'column'), or rename it")
    leading = [dim for dim in image.dims if dim not in space and dim != together]
    order = [*leading, *([together] if together else []), *space]
    sorted_ = image.transpose(*order)
    sizes = [_step(image, dim) for dim in space]
    if all(sizes):
        options.setdefault("voxel_size", tuple(map(abs, sizes)))
    missing = None
    if mask is not None:
        laid = mask.broadcast_like(sorted_.isel({together: 0}) if together else sorted_)
        missing = laid.transpose(*leading, *space).values.astype(bool)
    axes = {"leading_axes": len(leading), "channel_axis": len(leading) if together else None}
    result = getattr(napari_dip, task)(sorted_.values, mask=missing, **axes, **options)
    factors = dict(zip(space, result.record["factor"] or (1,) * len(space), strict=True))
    finer = {dim for dim, factor in factors.items() if factor > 1}
    coords = {name: each for name, each in sorted_.coords.items() if not finer & set(each.dims)}
    coords |= {dim: _finer(sorted_, dim, factors[dim]) for dim in finer if _step(image, dim)}
    attrs = {**image.attrs, RECORD: json.dumps(result.record)}
    made = type(image)(result.image, dims=order, coords=coords, name=image.name, attrs=attrs)
    return made.transpose(*image.dims)


def _step(image: Any, dim: str) -> float:
    """Distance of neighbouring coordinates along a dim; 0 where there are none, or they are not evenly spaced."""
    values = image.coords[dim].values if dim in image.coords else np.empty(0)
    if len(values) < 2 or values.dtype.kind not in "iuf":
        return 0.0
    steps = np.diff(values.astype(float))
    return float(steps[0]) if steps[0] and np.allclose(steps, steps[0], rtol=1e-3) else 0.0


def _finer(image: Any, dim: str, factor: int) -> tuple[str, Any, dict[str, Any]]:
    """Coordinates of a grid that is finer by a factor and has the same outline."""
    step, old = _step(image, dim), image.coords[dim]
    first = float(old.values[0]) + step * (1 / factor - 1) / 2
    return dim, first + step / factor * np.arange(factor * old.size), dict(old.attrs)
