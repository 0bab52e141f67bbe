"""Restorations as functions of plain arrays, in napari's types: for workflows and for magicgui in other plugins.

napari is not imported: its types are names only, which magicgui and npe2 resolve. Each returns the ``.image`` of what
`napari_dip.denoise` and the others return.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import napari.types  # type: ignore[import-untyped, unused-ignore]

__all__ = [
    "deblock_image",
    "deconvolve_image",
    "denoise_image",
    "enhance_image",
    "inpaint_image",
    "superresolve_image",
]


def denoise_image(
    image: napari.types.ImageData,
    quality: str = "balanced",
    volume: bool = False,
    rgb: bool = False,
    seed: int = 0,
) -> napari.types.ImageData:
    """Denoise an image.

    Parameters
    ----------
    image : array (*leading, Y, X) or (*leading, Y, X, 3)
    quality : {"fast", "balanced", "best"}
    volume : bool
        True if the last three axes are space; else slices along all but the last two are restored one by one.
    rgb : bool
        True if the last axis are colours.
    seed : int

    Returns
    -------
    array, like `image`
    """
    return _restored("denoise", image, None, quality, volume, rgb, seed)


def inpaint_image(
    image: napari.types.ImageData,
    mask: napari.types.LabelsData,
    quality: str = "balanced",
    volume: bool = False,
    rgb: bool = False,
    seed: int = 0,
) -> napari.types.ImageData:
    """Fill the pixels of an image where `mask` (*leading, Y, X) is not zero; for the rest see `denoise_image`."""
    return _restored("inpaint", image, np.asarray(mask) != 0, quality, volume, rgb, seed)


def superresolve_image(
    image: napari.types.ImageData,
    factor: int = 2,
    quality: str = "balanced",
    volume: bool = False,
    rgb: bool = False,
    seed: int = 0,
) -> napari.types.ImageData:
    """Enlarge an image by `factor` along its axes of space; for the rest see `denoise_image`."""
    return _restored("superresolve", image, None, quality, volume, rgb, seed, factor=factor)


def deconvolve_image(
    image: napari.types.ImageData,
    sigma: float,
    quality: str = "balanced",
    volume: bool = False,
    rgb: bool = False,
    seed: int = 0,
) -> napari.types.ImageData:
    """Undo a Gaussian blur of standard deviation `sigma`, in pixels; for the rest see `denoise_image`."""
    return _restored("deconvolve", image, None, quality, volume, rgb, seed, psf=sigma)


def deblock_image(
    image: napari.types.ImageData,
    quality: str = "balanced",
    volume: bool = False,
    rgb: bool = False,
    seed: int = 0,
) -> napari.types.ImageData:
    """Remove blocks and ringing that JPEG left in an image; for the rest see `denoise_image`."""
    return _restored("deblock", image, None, quality, volume, rgb, seed)


def enhance_image(
    image: napari.types.ImageData,
    boost: float = 2.0,
    quality: str = "balanced",
    volume: bool = False,
    rgb: bool = False,
    seed: int = 0,
) -> napari.types.ImageData:
    """Add `boost` times the fine detail of an image to it; for the rest see `denoise_image`."""
    return _restored("enhance", image, None, quality, volume, rgb, seed, boost=boost)


def _restored(task: str, image: Any, mask: Any, quality: str, volume: bool, rgb: bool, seed: int, **said: Any) -> Any:
    import napari_dip

    axes = {"leading_axes": image.ndim - rgb - (3 if volume else 2), "channel_axis": -1 if rgb else None}
    return getattr(napari_dip, task)(np.asarray(image), mask=mask, quality=quality, seed=seed, **axes, **said).image
