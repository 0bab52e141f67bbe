"""The instrument as a user describes it, checked: its point spread function, and the size of its voxels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage  # type: ignore[import-untyped]

from napari_dip.core.noise.levels import differences
from napari_dip.core.telling import refuse_name
from napari_dip.doors import remedy
from napari_dip.tables.numbers import is_number, to_float

CENTRES = ("mass", "maximum", "middle")
KERNELS = ("lanczos2", "lanczos3", "bicubic", "gaussian", "box")  # those of core.operators, which imports torch
_REACH = 4  # standard deviations of a Gaussian, beyond which it is cut off
_TAIL = 1e-3  # of the light: what is further out along an axis is cut off
_BOX = 32**2  # pixels of a plane, beyond which what is the same all over is no blur by a box, but no image of a point
_ENOUGH, _MANY = 49, 121  # pixels of a plane, from which the far ones show a background, and a small one
_RINGS = (0.8, 0.9)  # quantiles of the distance from the brightest pixel, from which two groups of pixels are compared
_COVERED = 0.75  # share of a plane at most that the point covers, down to a tenth of its height
_LEAST, _LEAST_OF_FEW = 0.01, 0.25  # share of the sum, below which a background does no harm, or cannot be told
_WITHIN = 3  # standard deviations of its noise, within which nothing is left of it
_BELOW_ZERO = 0.01  # of the light: more of it is no rounding
_OTHER_AXES = {  # axes of a point spread function and of the image -> remedy
    (2, 3): "psf[None] blurs each plane alone",
    (3, 2): "restore planes as a volume ({}), or give its plane that is in focus",
}


def read_psf(psf: Any, ndim: int, centre: str = "mass") -> npt.NDArray[np.float32]:
    """A point spread function with odd sizes, its centre in the middle, and sum one.

    Parameters
    ----------
    psf : array-like with `ndim` axes, number, or sequence of `ndim` numbers
        As measured or computed, in any unit, on the grid of the restored image; or the standard deviation of a Gaussian
        in pixels of it, for all axes or one for each (0 for none).
    ndim : int
        Number of spatial axes.
    centre : {"mass", "maximum", "middle"}
        Place of the imaged point in it. The centre of mass may lie between pixels: no light is moved on the whole, and
        the result lies where the measurement lies. The middle of an even size is the pixel after it, as for
        ``numpy.fft.fftshift``.

    Raises
    ------
    TypeError, ValueError
        If it is no such thing; the message says why and what to do.
    """
    refuse_name("psf", psf)
    try:
        array = np.asarray(psf, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError("psf must be an array of numbers, or the standard deviation of a Gaussian in pixels") from None
    if centre not in CENTRES:
        raise ValueError(f"psf_centre={centre!r} is not known: choose one of {', '.join(CENTRES)}")
    if array.ndim == 0 or array.shape == (ndim,):
        return _gaussian(np.broadcast_to(array, (ndim,)))
    if array.ndim == 1:
        raise ValueError(
            f"psf has {len(array)} standard deviations for {ndim} axes of space; give one number for all, or {ndim}"
        )
    if array.ndim != ndim:
        way = _OTHER_AXES.get((array.ndim, ndim), f"give one number for each pixel of {ndim} axes")
        if ndim == 2 and array.ndim == 3 and array.shape[-1] in (3, 4) and array.shape[0] > 4:
            way = "save it grey, or give one of its colours, psf[..., 0]"
        volume = remedy(python="no leading_axes", command="--volume", window="under Restore")
        said = f"psf has shape {array.shape}, but the image has {ndim} spatial axes"
        raise ValueError(f"{said}; {way.format(volume)}")
    if not array.size:
        raise ValueError(f"psf has shape {array.shape}, without a pixel; give an array with the light of a point in it")
    if not np.isfinite(array).all():
        raise ValueError("psf must have finite values only; replace those that are NaN or infinite")
    below = -array[array < 0].sum()
    if array.sum() <= 0 or below > _BELOW_ZERO * array.sum():
        raise ValueError(
            f"psf has {'negative values' if below else 'no light'} (sum {array.sum():.3g}); subtract its background "
            "and set what is below zero to 0"
        )
    if array.ndim > 1 and math.prod(array.shape[-2:]) > _BOX and np.ptp(array) == 0:
        size = " x ".join(map(str, array.shape))
        raise ValueError(
            f"psf is {array.flat[0]:.4g} in all of its {size} pixels: there is no point in it; give the image of a "
            "point with the dark around it (for a blur that is a box, the box with zeros around it)"
        )
    array, _ = without_background(array)
    return _trimmed(_centred(np.maximum(array, 0), centre)).astype(np.float32)


def read_kernel(kernel: Any) -> str:
    """The name of a low-pass kernel, which must be one of `KERNELS`."""
    if kernel not in KERNELS:
        raise ValueError(f"kernel={kernel!r} is not known: choose one of {', '.join(KERNELS)}")
    return str(kernel)


def background_of(psf: Any) -> str:
    """The sentence on the background that `read_psf` takes off; empty where there is none."""
    try:
        said = without_background(np.asarray(psf, dtype=np.float64))[1]
    except (TypeError, ValueError):
        return ""
    return f"psf {said}" if said else ""


def without_background(array: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], str]:
    """A point spread function less what its camera counts without light, and a sentence about it; empty if it has none.

    The light of a point falls faster than 1 / r far from it, or its sum would not be finite. What falls more slowly is
    a background, if it is nowhere near 0 there; the rings of an Airy disc have zeros between them.
    """
    if array.ndim < 2 or not np.isfinite(array).all() or array.sum() <= 0:
        return array, ""
    *z, y, x = np.unravel_index(int(array.argmax()), array.shape)
    plane = array[tuple(z)]  # in focus, where the light falls fastest
    distance = np.hypot(*(i - p for i, p in zip(np.indices(plane.shape), (y, x), strict=True)))
    ends = np.quantile(distance, _RINGS)
    inner, outer = (distance >= ends[0]) & (distance < ends[1]), distance >= ends[1]
    if plane.size < _ENOUGH or not inner.any():
        return array, ""
    level, noise = float(np.median(plane[outer])), _roughness(plane, outer)
    steeper = float(np.mean(distance[outer]) / np.mean(distance[inner]))
    doubt = noise * math.sqrt(math.pi / 2 * (1 / inner.sum() + 1 / outer.sum()))
    share = level * array.size / array.sum()
    if (
        share < (_LEAST if plane.size >= _MANY else _LEAST_OF_FEW)
        or np.quantile(plane[outer], 0.05) < level / 2
        or float(np.median(plane[inner])) > level * steeper + doubt
        or not 0 < np.mean(plane > level + 0.1 * (plane.max() - level)) < _COVERED
    ):
        return array, ""
    rest = array - level
    rest[rest <= _WITHIN * noise] = 0
    what = f"a background of {level:.4g}, {min(share, 1):.0%} of its sum"
    return rest, f"has {what}: it is taken off, with what is within its noise"


def _roughness(array: npt.NDArray[np.float64], where: npt.NDArray[np.bool_]) -> float:
    """Standard deviation of the noise in a part, by the differences of its neighbours."""
    steps = differences(array[None], where[None], 1)
    return float(np.median(np.append(0, steps))) / 0.954  # of a normal distribution, times the root of 2


def read_voxel_size(voxel_size: Any, ndim: int) -> tuple[float, ...] | None:
    """The distances between neighbouring pixels along each spatial axis, in any unit; None if they are not known.

    Raises
    ------
    TypeError, ValueError
        If they are not positive and finite, or not one for each axis.
    """
    if voxel_size is None:
        return None
    sizes = tuple(voxel_size) if np.iterable(voxel_size) else (None,)
    if not all(map(is_number, sizes)):
        raise TypeError(f"voxel_size={voxel_size!r} must be one number for each spatial axis, such as (2, 1, 1)")
    each = tuple(map(to_float, sizes))
    if len(each) != ndim:
        raise ValueError(f"voxel_size={voxel_size} must be one number for each of the {ndim} spatial axes")
    if not all(math.isfinite(size) and size > 0 for size in each):
        raise ValueError(f"voxel_size={voxel_size} must be finite and above 0 along each axis")
    return each


def finer(voxel_size: tuple[float, ...] | None, factors: tuple[int, ...] | None) -> tuple[float, ...] | None:
    """The voxel size of a grid that is finer by a factor along each axis; None if it is not known."""
    if voxel_size is None or factors is None:
        return voxel_size
    return tuple(size / factor for size, factor in zip(voxel_size, factors, strict=True))


def _gaussian(sigmas: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    if not np.isfinite(sigmas).all() or (sigmas < 0).any() or not sigmas.any():
        raise ValueError(
            f"psf={sigmas.tolist()} must be standard deviations in pixels: finite, not negative, and not all 0"
        )
    kernel = np.ones((1,) * len(sigmas))
    for axis, sigma in enumerate(sigmas):
        reach = math.ceil(_REACH * sigma)
        profile = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (sigma or 1)) ** 2)
        kernel = kernel * np.expand_dims(profile, [i for i in range(len(sigmas)) if i != axis])
    return np.asarray(kernel / kernel.sum(), np.float32)


def _centred(array: npt.NDArray[np.float64], centre: str) -> npt.NDArray[np.float64]:
    """The same on odd sizes, with its centre in the middle."""
    at: Sequence[float] = [n // 2 for n in array.shape]
    if centre == "mass":
        at = ndimage.center_of_mass(array)
    elif centre == "maximum":
        at = [int(i) for i in np.unravel_index(int(array.argmax()), array.shape)]
    # cubic splines keep a peak of two pixels sharp, which linear interpolation would blur once more; but they ring
    order, room = (0, 0) if np.allclose(at, np.rint(at), atol=1e-6) else (3, 8)
    reach = [math.ceil(max(c, n - 1 - c)) + room for c, n in zip(at, array.shape, strict=True)]
    roomy = np.pad(array, [(room, 2 * r + 1 - n - room) for r, n in zip(reach, array.shape, strict=True)])
    shift = [r - c - room for r, c in zip(reach, at, strict=True)]
    return np.asarray(np.maximum(ndimage.shift(roomy, shift, order=order, mode="grid-constant"), 0))


def _trimmed(array: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cut off the outer part of a PSF along each axis that holds next to no light, and scale it to sum one."""
    for axis, reach in enumerate(reach_of(array, _TAIL)):
        array = array.take(range(array.shape[axis] // 2 - reach, array.shape[axis] // 2 + reach + 1), axis)
    return np.asarray(array / array.sum())


def reach_of(psf: npt.NDArray[Any], share: float) -> tuple[int, ...]:
    """Distance from the middle of a PSF along each axis, in pixels, beyond which at most a share of the light lies."""
    reaches = []
    for axis, n in enumerate(psf.shape):
        profile = psf.sum(axis=tuple(i for i in range(psf.ndim) if i != axis), dtype=np.float64)
        folded = profile[n // 2 :].copy()
        folded[1:] += profile[: n // 2][::-1]
        outside = profile.sum() - np.cumsum(folded)
        reaches.append(int(np.argmax(outside <= share * profile.sum() + 1e-12)))
    return tuple(reaches)
