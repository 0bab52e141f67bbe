"""The images of the benchmark: truth, observation, and what a tuned classical method may know of the noise.

FOLDER holds the sets as folders. Those whose files are missing are left out.

| set | files | the observation |
|---|---|---|
| `grey-15`, `-25`, `-50` | `grey/*.png` | the image with white Gaussian noise of that sigma, seed 0 |
| `clip-25`, `-50` | `grey/*.png` | the same, clipped at 0 and 255 and rounded to 8 bits |
| `shared-25` | `grey/*.png` | the same, of noise that was blurred by 0.7 pixels: neighbours share 0.6 of it |
| `fmd` | `fmd/{raw,gt}/*.png` | one frame; the truth is the mean of fifty |
| `w2s` | `w2s/{raw,clean}_*.tif` | one frame; compared after an affine fit |
| `biosr` | `biosr/*_{raw,clean}.tiff` | one frame at low light; compared after an affine fit |
| `colour` | `colour/*_{noisy,GT}.png` | sigma 25, 8 bits |
| `inpainting` | `inpainting/*_{masked,GT}.png` | half of the pixels missing (zero), and what others published |
| `half`, `sparse` | `grey/*.png` | 50 or 90 % of the pixels missing, seed 1 |
| `text`, `holes` | `grey/*.png` | lines of text missing, or a hole of 16x16 in each square of 64x64 |
| `blur`, `-100`, `-30` | `grey/*.png` | Gaussian blur of 1.5 pixels; 100 or 30 photons at the most, or no noise |
| `cells`, `-100`, `-30` | `fmd/gt/*.png` | the same |
| `volume` | `volume/{data,kernel,actual}.tif` | as it is, and with the same noises; compared after an affine fit |
| `superresolution`, `-10` | `superresolution/*_GT.bmp` | luminance, a quarter (Lanczos), no noise or sigma 10 |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.holes import MISSING, ORIGINAL, published
from napari_dip.core.noise.model import Noise

Array = npt.NDArray[np.float64]
SETS = {
    "denoise": ("grey-15", "grey-25", "grey-50", "clip-25", "clip-50", "shared-25", "fmd", "w2s", "biosr", "colour"),
    "inpaint": ("inpainting", "half", "sparse", "text", "holes"),
    "superresolve": ("superresolution", "superresolution-10"),
    "deconvolve": ("blur", "blur-100", "blur-30", "cells", "cells-100", "cells-30", "volume"),
}
FACTOR = 4
SIGMA = 1.5  # pixels, of the blur
SHARED = 0.7  # pixels, of the blur of the noise


@dataclass
class Case:
    """One image: what is known of it, and what is to be made of it.

    Attributes
    ----------
    truth, observed : arrays, (H, W) or (H, W, 3), or volumes
        In counts; `observed` as it would be read from its file, so that 8 bits stay 8 bits.
    noise : Noise
        The true one, for the methods that must be told.
    arguments : dict
        Of the task: the mask, the factor, the point spread function, the channel axis.
    affine : bool
        Whether gain and offset are fitted before a comparison.
    data_range : float
        The peak of PSNR and SSIM.
    original : str
        The preset of the original notebooks.
    published : dict of str to array
        What others made of the same observation, by the name of their method, with known pixels put back.
    """

    group: str
    name: str
    task: str
    truth: Array
    observed: npt.NDArray[Any]
    noise: Noise
    original: str
    arguments: dict[str, Any] = field(default_factory=dict)
    affine: bool = False
    data_range: float = 255.0
    published: dict[str, Array] = field(default_factory=dict)

    def score(self, image: Array) -> float:
        """PSNR of an image, in dB."""
        from napari_dip.core.judge.metrics import compare

        axis = self.arguments.get("channel_axis")
        return compare(image, self.truth, affine=self.affine, channel_axis=axis, data_range=self.data_range).psnr


def cases(folder: Path, task: str | None = None, wanted: tuple[str, ...] = (), crop: int = 0) -> Iterator[Case]:
    """The images of a folder.

    Parameters
    ----------
    folder : Path
        With the sets.
    task : {"denoise", "inpaint", "superresolve", "deconvolve"}, optional
        This one alone.
    wanted : tuple of str
        Sets, images or `set/image`, with wildcards: those alone. Empty for all.
    crop : int
        So many pixels a side from the middle; 0 for whole images.
    """
    for kind, groups in SETS.items():
        if task not in (None, kind):
            continue
        for group in groups:
            for case in _READERS[group.split("-")[0]](folder, group, crop):
                names = (group, case.name, f"{group}/{case.name}")
                if not wanted or any(fnmatch(name, pattern) for name in names for pattern in wanted):
                    yield case


def _read(path: Path, crop: int) -> npt.NDArray[Any]:
    """The middle of an image, in its own type."""
    from skimage import io

    image = np.squeeze(io.imread(path))
    if not crop:
        return image
    top, left = (max(n // 2 - crop // 2, 0) for n in image.shape[:2])
    return np.ascontiguousarray(image[top : top + crop, left : left + crop])


def _white(sigma: float) -> Noise:
    return Noise(gain=0, offset=0, read_noise=sigma, sigma=sigma)


def _grey(folder: Path, group: str, crop: int) -> Iterator[Case]:
    sigma = float(group.split("-")[1])
    for path in sorted((folder / "grey").glob("*.png")):
        truth = _read(path, crop).astype(np.float64)
        observed = truth + np.random.default_rng(0).normal(0, sigma, truth.shape)
        original = "original-denoise-strong" if sigma > 25 else "original-denoise"
        yield Case(group, path.stem, "denoise", truth, observed, _white(sigma), original)


def _clip(folder: Path, group: str, crop: int) -> Iterator[Case]:
    for case in _grey(folder, group, crop):
        yield replace(case, observed=case.observed.round().clip(0, 255).astype(np.uint8))


def _shared(folder: Path, group: str, crop: int) -> Iterator[Case]:
    from scipy import ndimage

    for case in _grey(folder, group, crop):
        noise = ndimage.gaussian_filter(case.observed - case.truth, SHARED, mode="wrap")
        noise *= case.noise.sigma / noise.std()
        line = np.exp(-(np.arange(-4, 5) ** 2) / (4 * SHARED**2))  # the filter with itself
        known = replace(case.noise, correlation=float(line[5]), autocorrelation=np.outer(line, line))
        yield replace(case, observed=case.truth + noise, noise=known)


def _pairs(folder: Path, group: str, crop: int) -> Iterator[Case]:
    """Real measurements with a better one of the same field."""
    if group == "fmd":
        pairs = [(path.stem, path, folder / "fmd/gt" / path.name) for path in (folder / "fmd/raw").glob("*.png")]
    else:
        raws = list((folder / group).glob("*raw*.tif*"))
        names = [path.stem.replace("raw", "").strip("_") for path in raws]
        pairs = [
            (name, raw, raw.with_name(raw.name.replace("raw", "clean"))) for name, raw in zip(names, raws, strict=True)
        ]
    for name, raw, clean in sorted(pairs):
        observed, known = _read(raw, crop), _read(clean, crop)
        truth, affine = known.astype(np.float64), group != "fmd"
        yield Case(
            group,
            name,
            "denoise",
            truth,
            observed,
            fit_noise(observed, truth, affine),
            "original-denoise",
            affine=affine,
            data_range=255.0 if known.dtype == np.uint8 else float(np.ptp(truth)),
        )


def _colour(folder: Path, group: str, crop: int) -> Iterator[Case]:
    for path in sorted((folder / "colour").glob("*_noisy.png")):
        name = path.stem.removesuffix("_noisy")
        truth = _read(path.with_name(f"{name}_GT.png"), crop).astype(np.float64)
        observed = _read(path, crop)
        yield Case(
            group, name, "denoise", truth, observed, _white(25), "original-denoise", arguments={"channel_axis": -1}
        )


def _inpainting(folder: Path, group: str, crop: int) -> Iterator[Case]:
    for path in sorted((folder / "inpainting").glob("*_masked.png")):
        name = path.stem.removesuffix("_masked")
        truth = _read(path.with_name(f"{name}_GT.png"), crop).astype(np.float64)
        observed = _read(path, crop)
        mask, theirs = {"mask": observed == 0}, published(path, observed, partial(_read, crop=crop))
        preset = "original-inpaint-half"
        yield Case(group, name, "inpaint", truth, observed, _white(0), preset, mask, published=theirs)


def _holed(folder: Path, group: str, crop: int) -> Iterator[Case]:
    for path in sorted((folder / "grey").glob("*.png")):
        truth = _read(path, crop)
        missing = MISSING[group](truth.shape)
        observed = np.where(missing, 0, truth).astype(truth.dtype)
        mask, known = {"mask": missing}, truth.astype(np.float64)
        preset = ORIGINAL[group]
        yield Case(group, path.stem, "inpaint", known, observed, _white(0), preset, arguments=mask)


def _superresolution(folder: Path, group: str, crop: int) -> Iterator[Case]:
    import torch
    from skimage import color

    from napari_dip.core.operators import Downsample

    sigma = float(group.partition("-")[2] or 0)
    for path in sorted((folder / "superresolution").glob("*_GT.bmp")):
        truth = color.rgb2ycbcr(_read(path, crop))[..., 0]
        truth = truth[: truth.shape[0] // FACTOR * FACTOR, : truth.shape[1] // FACTOR * FACTOR]
        down = Downsample((FACTOR, FACTOR), "lanczos2")
        coarse = down(torch.from_numpy(truth).float()[None, None])[0, 0].double().numpy()
        coarse = coarse + np.random.default_rng(0).normal(0, sigma, coarse.shape)
        name, factor = path.stem.removesuffix("_GT"), {"factor": FACTOR}
        preset = "original-superresolve-4"
        yield Case(group, name, "superresolve", truth, coarse, _white(sigma), preset, arguments=factor)


def _photons(image: Array, peak: float) -> Array:
    """An image with the noise of so many photons at its brightest pixel; 0 for none."""
    gain = image.max() / peak if peak else 0
    return gain * np.random.default_rng(0).poisson(np.maximum(image, 0) / gain) if gain else image


def _photon_noise(image: Array, peak: float) -> Noise:
    gain = float(image.max() / peak) if peak else 0.0
    return Noise(gain=gain, offset=0, read_noise=0, sigma=float(np.sqrt(gain * max(image.mean(), 0))))


def _blur(folder: Path, group: str, crop: int) -> Iterator[Case]:
    from scipy.signal import fftconvolve

    from napari_dip.plan.instrument import read_psf

    peak, psf = float(group.partition("-")[2] or 0), read_psf(SIGMA, 2).astype(np.float64)
    reach = len(psf) // 2
    for path in sorted((folder / ("fmd/gt" if group.startswith("cells") else "grey")).glob("*.png")):
        sharp = _read(path, crop + 2 * reach if crop else 0).astype(np.float64)
        blurred, truth = fftconvolve(sharp, psf, "valid"), sharp[reach:-reach, reach:-reach]
        seen = _photons(blurred, peak)
        noise = _photon_noise(blurred, peak)
        yield Case(group, path.stem, "deconvolve", truth, seen, noise, "original-denoise", arguments={"psf": psf})


def _volume(folder: Path, group: str, crop: int) -> Iterator[Case]:
    from skimage import io

    files = [folder / "volume" / f"{name}.tif" for name in ("data", "kernel", "actual")]
    if not all(file.exists() for file in files):
        return
    data, kernel, truth = (io.imread(file).astype(np.float64) for file in files)
    for peak in (0, 100, 30):
        yield Case(
            group,
            f"bars-{peak}" if peak else "bars",
            "deconvolve",
            truth,
            _photons(data, peak),
            _photon_noise(data, peak),
            "original-denoise",
            arguments={"psf": kernel},
            affine=True,
            data_range=float(truth.max()),
        )


_READERS = {
    "blur": _blur,
    "cells": _blur,
    "volume": _volume,
    "grey": _grey,
    "clip": _clip,
    "shared": _shared,
    "fmd": _pairs,
    "w2s": _pairs,
    "biosr": _pairs,
    "colour": _colour,
    "inpainting": _inpainting,
    **dict.fromkeys(MISSING, _holed),
    "superresolution": _superresolution,
}


def fit_noise(observed: npt.NDArray[Any], truth: Array, affine: bool) -> Noise:
    """The noise of a measurement whose truth is known: its variance as a line over the mean.

    Squared errors are fitted against the truth by least squares, weighted by the variance that the last fit gave;
    saturated pixels are left out. With `affine` the truth is first given the gain and offset of the measurement. What
    the line leaves at the darkest pixel counts as read noise, so that the offset is that pixel's.
    """
    counts, mean = observed.astype(np.float64).ravel(), truth.ravel()
    fair = counts < np.iinfo(observed.dtype).max if observed.dtype.kind in "ui" else np.ones(counts.shape, bool)
    if affine:
        slope, intercept = np.polyfit(mean[fair], counts[fair], 1)
        mean = slope * mean + intercept
    squares, mean = (counts - mean)[fair] ** 2, mean[fair]
    variance = np.full(mean.shape, squares.mean())
    floor = 0.01 * squares.mean()
    for _ in range(10):
        gain, constant = np.polyfit(mean, squares, 1, w=1 / variance)
        variance = np.maximum(gain * mean + constant, floor)
    gain, dark = max(float(gain), 0.0), float(mean.min())
    read = float(np.sqrt(max(gain * dark + constant, floor))) if gain else float(np.sqrt(squares.mean()))
    return Noise(gain=gain, offset=dark, read_noise=read, sigma=float(np.sqrt(squares.mean())))
