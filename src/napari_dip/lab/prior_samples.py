"""Samples of a prior: images that a generator makes before it is fitted to anything, and how self-similar they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage, spatial  # type: ignore[import-untyped]

from napari_dip.core.codes import make_code
from napari_dip.core.generators import fresh_generator
from napari_dip.tables.knobs import GENERATORS, Prior
from napari_dip.tables.method import settings_for
from napari_dip.tables.numbers import is_whole

Array = npt.NDArray[Any]
SMALLEST = 32  # pixels a side of an image whose self-similarity is told
_PRESET = "denoise-small"
_TOLD = "preset", "generator", "code", "code_channels", "code_scale"  # knobs that count for each generator
_PATCH, _COMPARED, _AMONG = 5, 400, 4000  # pixels a side of a patch; patches that are looked for, and among which


def samples(
    shape: Sequence[int] = (128, 128), count: int = 8, *, seed: int = 0, **knobs: Any
) -> npt.NDArray[np.float32]:
    """Draw images from a prior: f(z) for a fixed code z and random weights, each fitted to nothing.

    Parameters
    ----------
    shape : sequence of two or three int
        Of each image or volume, in pixels.
    count : int
        Number of images.
    seed : int
        Decides the weights and the code: image `i` has the seed ``seed + i``.
    **knobs
        Of the prior, by name: ``generator="decoder"``, ``upsampling="nearest"``, ``code="mesh"``, ...

    Returns
    -------
    float32 array (count, *shape)
        As the generator makes them, from 0 to 1 where its output is a sigmoid.

    Raises
    ------
    TypeError, ValueError
        If the shape, the count or a knob is not fit.

    Notes
    -----
    What they have in common is the prior: Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior" (2018).
    """
    size = tuple(shape)
    if len(size) not in (2, 3) or not all(is_whole(n) and n >= 8 for n in size):
        raise ValueError(f"shape={shape} must be two or three whole numbers from 8 up, such as (128, 128)")
    if not is_whole(count) or not 1 <= count <= 1000:
        raise ValueError(f"count={count!r} must be a whole number from 1 to 1000")
    method = settings_for("denoise", on_cpu=True, **{"preset": _PRESET, "seed": seed, **knobs}).method
    if not isinstance(method, Prior) or method.code == "guide":
        raise ValueError(f"code={knobs.get('code', '')!r} is an image; choose uniform, normal, mesh or fourier")
    if idle := sorted(knobs.keys() - {*_TOLD, *GENERATORS.get(method.generator, ())}):
        raise ValueError(
            f"{idle[0]}={knobs[idle[0]]!r} has no effect on a network that is fitted to nothing; leave it out"
        )
    channels = {"mesh": len(size)}.get(method.code, method.code_channels)
    drawn = []
    for number in range(count):
        rng = torch.Generator().manual_seed(seed + number)
        generator = fresh_generator(method, channels, 1, size, rng)
        with torch.no_grad():
            drawn.append(generator(make_code(method, generator.canvas, None, rng))[0, 0].numpy())
    return np.stack(drawn).astype(np.float32)


def self_similarity(image: npt.ArrayLike, *, factors: Sequence[int] = (2, 4), seed: int = 0) -> dict[int, float]:
    """Likeness of an image to coarser versions of itself, beyond what its power spectrum explains.

    Patches of 5x5 pixels of the image, made coarser by a factor, are looked for in the image itself, each with its mean
    taken away and its contrast set to 1. Their distance to the most alike is compared with the same distance in images
    of the same spectrum and random phases.

    Parameters
    ----------
    image : array-like (Y, X)
        At least 32 pixels a side.
    factors : sequence of int
        By which it is made coarser.
    seed : int
        Of the phases, and of the 400 patches that are looked for.

    Returns
    -------
    dict of int to float
        Factor -> distance over that of random phases: 1 for a Gaussian texture, less for an image whose edges look
        alike at each scale.

    Raises
    ------
    ValueError
        If the image has other than two axes, is too small, or has a single value.

    Notes
    -----
    After Glasner, Bagon, Irani, "Super-resolution from a single image" (2009).
    """
    values = np.asarray(image, np.float64)
    if values.ndim != 2 or min(values.shape) < SMALLEST:
        raise ValueError(f"image of shape {values.shape} must have two axes of at least {SMALLEST} pixels")
    if not np.ptp(values) > 0:
        raise ValueError("image has one value, or no finite ones: nothing in it can be alike")
    rng = np.random.default_rng(seed)
    phases = np.angle(np.fft.fft2(rng.normal(size=values.shape)))
    random = np.fft.ifft2(np.abs(np.fft.fft2(values)) * np.exp(1j * phases)).real
    return {factor: _distance(values, factor, seed) / _distance(random, factor, seed) for factor in factors}


def similarity_in_words(drawn: Array) -> str:
    """Mean self-similarity of a stack of images, in a sentence."""
    found = [self_similarity(image) for image in drawn]
    means = {factor: float(np.mean([each[factor] for each in found])) for factor in found[0]}
    parts = ", ".join(f"{mean:.2f} for images {factor} times coarser" for factor, mean in means.items())
    return f"distance to the most alike patch {parts}; 1 for a texture of the same spectrum, less is more self-similar"


def _distance(image: Array, factor: int, seed: int) -> float:
    """Median distance of patches of a coarser image to the most alike of the image itself."""
    coarse = ndimage.gaussian_filter(image, factor / 2, mode="wrap")[::factor, ::factor]
    tree = spatial.cKDTree(_patches(image, _AMONG, seed))
    return float(np.median(tree.query(_patches(coarse, _COMPARED, seed))[0]))


def _patches(image: Array, most: int, seed: int) -> Array:
    """Patches (N, 25) of the more structured half of an image, of mean 0 and norm 1."""
    found = np.lib.stride_tricks.sliding_window_view(image, (_PATCH, _PATCH)).reshape(-1, _PATCH**2)
    found = found - found.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(found, axis=1)
    kept = np.flatnonzero(norm >= np.median(norm))
    kept = kept[norm[kept] > 0]
    chosen = np.random.default_rng(seed).permutation(kept)[:most]
    return np.asarray(found[chosen] / norm[chosen, None])
