"""Samples under File > Open Sample, made on the spot: nothing is downloaded, and each is the same every time.

Each function returns layers as napari's layer data tuples. The ground truth comes first and hidden, so that what is to
be restored lies above it and is the selected layer.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
from skimage import data
from skimage.filters import gaussian

Image = npt.NDArray[Any]
LayerData = tuple[Image, dict[str, Any], str]

_PIXEL = 0.1  # micrometres
_BACKGROUND = 2.0  # photons
_OFFSET, _GAIN, _READ_NOISE = 100.0, 2.0, 1.5  # of the camera: counts, counts per photon, photons


def fluorescence() -> list[LayerData]:
    """A cell with stained filaments, vesicles and nucleus, photographed with little light."""
    photons = _cell((192, 192), peak=45)
    noisy = _expose(photons, seed=1)
    place = _place(_PIXEL, _PIXEL)
    return _pair("fluorescence", noisy, _counts(photons), place, made=_camera(exposure=1))


def holes() -> list[LayerData]:
    """The same cell, exposed longer, with dead pixels, dead columns and dust: they read dark, and a mask has them."""
    exposure = 16
    photons = _cell((192, 192), peak=45) * exposure
    mask = _defects(photons.shape)
    noisy = _expose(np.where(mask, 0, photons), seed=2)
    place = _place(_PIXEL, _PIXEL)
    labels = {"name": "holes", "opacity": 0.5, "metadata": {"labels": "1 dead pixels, 2 dead columns, 3 dust"}}
    return [
        *_pair("fluorescence with holes", noisy, _counts(photons), place, made=_camera(exposure)),
        (mask, {**labels, **place}, "labels"),
    ]


def faint() -> list[LayerData]:
    """Faint filaments beside bright nuclei and membranes, exposed long: there is fine detail, of little contrast."""
    exposure = 400
    photons = (0.9 * _tissue((192, 192), peak=45) + 0.2 * _cell((192, 192), peak=45)) * exposure
    place = _place(_PIXEL, _PIXEL)
    return _pair("faint detail", _expose(photons, seed=8), _counts(photons), place, made=_camera(exposure))


def compressed() -> list[LayerData]:
    """Cells of a tissue, scaled to 8 bits and saved as JPEG of quality 10: blocks of 8 pixels, and ringing."""
    photons = (0.9 * _tissue((192, 192), peak=45) + 0.2 * _cell((192, 192), peak=45))[32:160, 32:160]
    truth = np.rint(255 * photons / photons.max()).astype(np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(truth).save(file, "JPEG", quality=10)
    saved = np.array(PIL.Image.open(file))
    return _pair("saved as JPEG", saved, truth, _place(_PIXEL, _PIXEL), made={"noise": "none", "JPEG quality": 10})


def two_channels() -> list[LayerData]:
    """A dim channel of part of a cell, and a bright channel of the whole cell that can guide it."""
    photons = _cell((192, 192), peak=45)
    field = (slice(48, 144), slice(48, 144))
    dim = 0.15 * photons[field]
    corner = {"translate": (48 * _PIXEL, 48 * _PIXEL)}
    place = _place(_PIXEL, _PIXEL)
    bright = _expose(16 * np.sqrt(photons * photons.max()), seed=9)
    shown = {"name": "bright channel", "colormap": "gray", "visible": False, "rgb": False, **place}
    truth, image = _pair("dim channel", _expose(dim, seed=10), _counts(dim), {**place, **corner}, made=_camera(0.15))
    return [(bright, shown, "image"), truth, image]


def low_resolution() -> list[LayerData]:
    """Cells of a tissue through a camera whose pixels are four times too large."""
    factor, exposure = 4, 40
    photons = _tissue((192, 192), peak=45) * exposure
    coarse = _expose(_downsample(_downsample(photons, factor).T, factor).T, seed=3)
    pixel = _PIXEL * factor
    corner = pixel * (1 / factor - 1) / 2  # of the fine grid whose outline is that of the coarse one
    made = {**_camera(exposure), "downsampling": f"Lanczos-2, factor {factor}"}
    return _pair(
        "low resolution",
        coarse,
        _counts(photons),
        _place(pixel, pixel),
        made=made,
        truth_place={**_place(_PIXEL, _PIXEL), "translate": (corner, corner)},
    )


def stack() -> list[LayerData]:
    """A small confocal stack of vesicles and filaments, whose voxels are five times as high as wide."""
    photons = _cell((8, 96, 96), peak=40)
    noisy = _expose(photons, seed=4)
    return _pair("stack", noisy, _counts(photons), _place(5 * _PIXEL, _PIXEL, _PIXEL), made=_camera(exposure=1))


def photograph() -> list[LayerData]:
    """A photograph in colour (Chelsea the cat, S. van der Walt, CC0) with Gaussian noise."""
    sigma = 22
    truth = data.chelsea()[40:232, 110:302]  # (192, 192, 3)
    noise = np.random.default_rng(5).normal(0, sigma, truth.shape)
    noisy = np.clip(np.rint(truth + noise), 0, 255).astype(np.uint8)
    place = {"units": ("pixel", "pixel"), "axis_labels": ("y", "x")}
    return _pair("photograph", noisy, truth, place, made={"noise": "Gaussian", "sigma": sigma}, rgb=True)


def _pair(
    name: str,
    noisy: Image,
    truth: Image,
    place: dict[str, Any],
    *,
    made: dict[str, Any],
    truth_place: dict[str, Any] | None = None,
    rgb: bool = False,
) -> list[LayerData]:
    """The hidden ground truth and the image above it, shown with the same contrast."""
    look: dict[str, Any] = {"rgb": rgb}
    if not rgb:
        low, high = np.percentile(noisy, (0.1, 99.9))
        look |= {"colormap": "gray", "contrast_limits": (float(low), float(high))}
    hidden = {"name": f"{name}, ground truth", "visible": False, **look, **(truth_place or place)}
    return [
        (truth, hidden, "image"),
        (noisy, {"name": name, "metadata": {"sample": made}, **look, **place}, "image"),
    ]


def _place(*scale: float) -> dict[str, Any]:
    ndim = len(scale)
    return {"scale": scale, "units": ("um",) * ndim, "axis_labels": ("z", "y", "x")[-ndim:]}


def _camera(exposure: float) -> dict[str, Any]:
    return {
        "noise": "Poisson-Gaussian",
        "exposure": exposure,
        "gain": _GAIN,  # counts per photon
        "offset": _OFFSET,  # counts
        "read_noise": _GAIN * _READ_NOISE,  # counts
    }


def _counts(photons: Image) -> Image:
    """Counts of a camera without noise."""
    return (_OFFSET + _GAIN * photons).astype(np.float32)


def _expose(photons: Image, seed: int) -> Image:
    """Counts of the camera: photon noise, read noise and offset, whole numbers."""
    rng = np.random.default_rng(seed)
    seen = rng.poisson(np.maximum(photons, 0)) + rng.normal(0, _READ_NOISE, photons.shape)
    return np.clip(np.rint(_OFFSET + _GAIN * seen), 0, 65535).astype(np.uint16)


def _downsample(image: Image, factor: int) -> Image:
    """A coarser grid along the last axis: low-pass by Lanczos with two lobes, every `factor`-th position."""
    count = 4 * factor
    at = (np.arange(count) - (count - 1) / 2) / factor
    weights = np.sinc(at) * np.sinc(at / 2)
    border = (count - factor) // 2
    padded = np.pad(image, [(0, 0), (border, border)], mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, count, axis=-1)[:, ::factor]
    return windows @ (weights / weights.sum())


def _defects(shape: tuple[int, ...]) -> Image:
    """Labels of what a camera misses: 1 dead pixels, 2 dead columns, 3 dust."""
    rng = np.random.default_rng(6)
    y, x = np.indices(shape)
    mask = (rng.random(shape) < 0.08).astype(np.uint8)
    mask[:, rng.choice(shape[1], 4, replace=False)] = 2
    for _ in range(8):
        centre, radius = rng.uniform(0.1, 0.9, 2) * shape, rng.uniform(2.5, 6)
        mask[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2] = 3
    return mask


def _tissue(shape: tuple[int, int], peak: float) -> Image:
    """Expected photons (Y, X) from a sheet of cells with sharp membranes and nuclei."""
    rng = np.random.default_rng(7)
    pitch = shape[-1] / 5
    rows = np.stack(np.meshgrid(*2 * [np.arange(-0.5, 6)], indexing="ij")).reshape(2, -1)
    centres = pitch * (rows + rng.uniform(-0.3, 0.3, rows.shape))  # (2, cells)
    away = np.indices(shape)[:, None] - centres[:, :, None, None]  # (2, cells, Y, X)
    nearest, second = np.sort(np.hypot(*away), axis=0)[:2]
    membranes = _inside((5 + nearest - second) / 2)
    turn = np.exp(1j * rng.uniform(0, math.pi, (len(centres[0]), 1, 1)))
    along = (away[0] + 1j * away[1]) * turn
    long, short = pitch * rng.uniform(0.2, 0.3, (2, len(turn), 1, 1))
    nuclei = _inside(2 * short * (1 - np.hypot(along.real / long, along.imag / short)))
    brightness = rng.uniform(0.35, 1, turn.shape)
    return _BACKGROUND + peak * np.maximum(0.1 + 0.6 * membranes, (brightness * nuclei).max(axis=0))


def _inside(depth: Image) -> Image:
    """Ramp from 0 outside to 1 inside of an edge; the depth is in pixels."""
    return 0.5 + 0.5 * np.tanh(depth)


def _cell(shape: tuple[int, ...], peak: float) -> Image:
    """Expected photons (Y, X) or (Z, Y, X) from a cell: filaments from its centre, vesicles, a nucleus and haze."""
    rng = np.random.default_rng(0)
    blur = 1.3  # of the microscope, standard deviation in pixels
    size = np.array(shape)
    width = shape[-1]
    centre = size * np.array([0.5, 0.56, 0.46])[-len(shape) :]
    filaments = _draw(_walks(rng, centre, size, count=width // 4), shape, blur)
    at = centre + rng.normal(0, 0.27, (width // 2, len(shape))) * size
    vesicles = _draw(at, shape, 1.4 * blur, weights=rng.uniform(0.3, 1, len(at)))
    nucleus = _nucleus(rng, centre, shape)
    haze = gaussian(filaments, 0.07 * width)
    total = 0.9 * filaments / filaments.max() + vesicles / vesicles.max() + 0.35 * nucleus + 0.3 * haze / haze.max()
    return _BACKGROUND + peak * total / total.max()


def _walks(rng: np.random.Generator, centre: Image, size: Image, count: int) -> Image:
    """Points (N, ndim) along curves that lead outward and hold their direction for a while."""
    step, steps = 0.25, 3 * size[-1]
    angle = rng.uniform(0, 2 * math.pi, (count, 1)) + np.cumsum(rng.normal(0, 0.03, (count, steps)), axis=1)
    along = np.stack([np.sin(angle), np.cos(angle)], axis=-1)  # (count, steps, 2)
    start = centre[-2:] + 0.12 * size[-1] * along[:, :1]
    points = start + step * np.cumsum(along, axis=1)
    if len(size) == 3:
        rise = np.linspace(0, 1, steps)[:, None] * rng.uniform(-0.5, 0.5, (count, 1, 1)) * size[0]
        points = np.concatenate([centre[0] + rise, points], axis=-1)
    return points.reshape(-1, len(size))


def _draw(points: Image, shape: tuple[int, ...], blur: float, weights: Image | None = None) -> Image:
    """Points of light as the microscope shows them."""
    edges = [np.arange(n + 1) - 0.5 for n in shape]
    return gaussian(np.histogramdd(points, edges, weights=weights)[0], blur)


def _nucleus(rng: np.random.Generator, centre: Image, shape: tuple[int, ...]) -> Image:
    """A mottled ellipsoid with a soft edge."""
    radius = np.array([0.4, 0.13, 0.16])[-len(shape) :] * shape
    away = [(i - c) / r for i, c, r in zip(np.indices(shape), centre, radius, strict=True)]
    mottle = gaussian(rng.normal(size=shape), 2.5)
    return _inside(5 - 5 * np.sqrt(sum(a**2 for a in away))) * (1 + 0.25 * mottle / mottle.std())
