"""The methods to be held against: classical ones, told the true noise, and ones that learn from the image alone.

Their weights come from it or, where there is no rule (total variation), from scikit-image's calibration on the noisy
image itself (Batson and Royer, "Noise2Self", 2019).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.images import FACTOR, Array, Case


class Missing(RuntimeError):
    """A package that a method needs is not installed."""


def input_itself(case: Case) -> Array:
    return case.observed.astype(np.float64)


def non_local_means(case: Case) -> Array:
    from skimage.restoration import denoise_nl_means

    sigma, axis = case.noise.sigma, case.arguments.get("channel_axis")
    image = case.observed.astype(np.float64)
    return denoise_nl_means(image, h=0.8 * sigma, sigma=sigma, patch_size=5, patch_distance=10, channel_axis=axis)


def wavelet(case: Case) -> Array:
    from skimage.restoration import denoise_wavelet

    _package("pywt")
    image, axis = case.observed.astype(np.float64), case.arguments.get("channel_axis")
    return denoise_wavelet(image, sigma=case.noise.sigma, method="BayesShrink", channel_axis=axis)


def total_variation(case: Case) -> Array:
    from skimage.restoration import calibrate_denoiser, denoise_tv_chambolle

    axis = case.arguments.get("channel_axis")
    image = case.observed.astype(np.float64) / case.noise.sigma
    choices = {"weight": np.geomspace(0.3, 4, 8), "channel_axis": [axis]}
    tried, losses = calibrate_denoiser(image, denoise_tv_chambolle, choices, extra_output=True)[1]
    best = tried[int(np.argmin(losses))]  # the calibrated function itself leaves the pattern of its masks
    return denoise_tv_chambolle(image, **best) * case.noise.sigma


def bm3d(case: Case, times: float = 1) -> Array:
    return _bm3d(case.observed.astype(np.float64), times * case.noise.sigma)


def bm3d_doubled(case: Case) -> Array:
    """For noise that neighbours share, which BM3D takes for structure."""
    return bm3d(case, 2)


def bm3d_stabilised(case: Case) -> Array:
    """BM3D on counts transformed to unit variance, and the unbiased way back (Makitalo and Foi 2013)."""
    _package("bm3d")
    from napari_dip.core.noise.stabilise import Stabiliser

    there_and_back = Stabiliser(case.noise)
    stable = np.asarray(there_and_back.forward(case.observed.astype(np.float64)))
    return np.asarray(there_and_back.inverse(_bm3d(stable, 1.0)))


def bm3d_spectrum(case: Case) -> Array:
    """BM3D told the power spectrum of the noise, from what the observation differs by from the truth."""
    from scipy import fft

    noise = _noise_itself(case)
    line = np.minimum(_apart(noise.shape[0]), REACH + 1)[:, None], np.minimum(_apart(noise.shape[1]), REACH + 1)
    near = (line[0] <= REACH) & (line[1] <= REACH)
    covariance = fft.ifft2(np.abs(fft.fft2(noise)) ** 2).real / noise.size
    spectrum = np.maximum(fft.fft2(np.where(near, covariance, 0)).real, 1e-3 * noise.var())
    return _bm3d(case.observed.astype(np.float64), case.noise.sigma, spectrum * noise.size)


def _apart(size: int) -> Array:
    """Pixels from the first one of a ring of so many."""
    return np.minimum(np.arange(size), size - np.arange(size))


def _noise_itself(case: Case) -> Array:
    """What the observation differs by from the truth, of mean zero."""
    gain, offset = np.polyfit(case.truth.ravel(), case.observed.ravel(), 1) if case.affine else (1, 0)
    noise = case.observed - (gain * case.truth + offset)
    return noise - noise.mean()


def shares_noise(case: Case) -> bool:
    """True if neighbouring pixels of a grey image share more than a fifth of their noise."""
    noise = _noise_itself(case)
    return noise.ndim == 2 and float((noise[:, 1:] * noise[:, :-1]).mean()) > 0.2 * float(noise.var())


def patches_stabilised(case: Case) -> Array:
    """Our similar patches alone, on counts transformed to unit variance."""
    from napari_dip.core.methods.stable import denoised
    from napari_dip.core.pauses import without_pauses

    axis, image = case.arguments.get("channel_axis"), case.observed.astype(np.float32)
    channels = image[None] if axis is None else np.moveaxis(image, axis, 0)
    made = without_pauses(denoised(channels, case.noise, "cpu")).astype(np.float64)
    return made[0] if axis is None else np.moveaxis(made, 0, axis)


def patches(case: Case) -> Array:
    """Our similar patches alone, which are told nothing."""
    import napari_dip

    restore = getattr(napari_dip, case.task)
    preset = f"{case.task}-patches"
    return restore(case.observed, **case.arguments, preset=preset, device="cpu", progress=False).image.astype(float)


def zs_n2n(case: Case) -> Array:
    """Zero-Shot Noise2Noise, a quarter as long as published, which is told nothing."""
    from benchmarks.zeroshot import zero_shot_n2n

    axis, image = case.arguments.get("channel_axis"), case.observed.astype(np.float64)
    made = zero_shot_n2n(image[None] if axis is None else np.moveaxis(image, axis, 0))
    return made[0] if axis is None else np.moveaxis(made, 0, axis)


def _bm3d(image: Array, sigma: float, spectrum: Array | None = None) -> Array:
    """BM3D (Dabov et al. 2007), with intensities from 0 to 1, which is what its thresholds were made for."""
    package = _package("bm3d")
    low, span = image.min(), np.ptp(image)
    run = package.bm3d_rgb if image.ndim == 3 else package.bm3d
    told = sigma / span if spectrum is None else spectrum / span**2
    vars(np).setdefault("trapz", np.trapezoid)  # bm4d 4.2.5 calls it, and numpy 2.4 has it no more
    return np.asarray(run((image - low) / span, told)) * span + low


def _package(name: str) -> Any:
    """A package that only the benchmark needs."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(f"what needs the package {PACKAGES[name]}: pip install --group bench") from error


def biharmonic(case: Case) -> Array:
    from skimage.restoration import inpaint_biharmonic

    return inpaint_biharmonic(case.observed.astype(np.float64), case.arguments["mask"])


def navier_stokes(case: Case) -> Array:
    """OpenCV's inpainting by Navier-Stokes (Bertalmio et al. 2001)."""
    return _opencv(case, "INPAINT_NS")


def telea(case: Case) -> Array:
    """OpenCV's inpainting by fast marching (Telea 2004)."""
    return _opencv(case, "INPAINT_TELEA")


def _opencv(case: Case, method: str) -> Array:
    package = _package("cv2")
    mask = case.arguments["mask"].astype(np.uint8)
    return package.inpaint(case.observed.astype(np.float32), mask, RADIUS, getattr(package, method)).astype(np.float64)


def bicubic(case: Case) -> Array:
    return _enlarged(case.observed.astype(np.float64))


def _enlarged(image: Array) -> Array:
    from skimage.transform import resize

    return resize(image, tuple(FACTOR * n for n in image.shape), order=3, mode="edge")


def lanczos(case: Case) -> Array:
    from PIL import Image

    image = Image.fromarray(case.observed.astype(np.float32))
    size = tuple(FACTOR * n for n in reversed(case.observed.shape))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS), np.float64)


def back_projection(case: Case) -> Array:
    """Iterated back projection (Irani and Peleg 1991), at its best count by the truth, through the true filter."""
    import torch

    from napari_dip.core.operators import Downsample

    down = Downsample((FACTOR, FACTOR), "lanczos2")
    image = best = bicubic(case)
    for count in range(1, max(BACK_PROJECTIONS) + 1):
        seen = down(torch.from_numpy(image).float()[None, None])[0, 0].double().numpy()
        image = image + _enlarged(case.observed - seen)
        if count in BACK_PROJECTIONS:
            best = max(best, image, key=case.score)
    return best


def richardson_lucy(case: Case) -> Array:
    """At its best count of iterations by the truth, the border as it is or continued by reflection."""
    from skimage.restoration import richardson_lucy

    psf = case.arguments["psf"] / case.arguments["psf"].sum()
    scale = case.observed.max()
    found = []
    for margin in (0, 8):
        image = np.pad(case.observed / scale, margin, mode="reflect")
        inside = tuple(slice(margin, n - margin) for n in image.shape)
        for count in RICHARDSON_LUCY:
            found.append(scale * richardson_lucy(image, psf, num_iter=count, clip=False)[inside])
    return max(found, key=case.score)


def richardson_lucy_tv(case: Case) -> Array:
    """Richardson-Lucy with total variation (Dey et al. 2006), at its best count and weight by the truth."""
    from scipy.signal import fftconvolve

    psf, image = _padded(case)
    mirrored = psf[tuple(slice(None, None, -1) for _ in psf.shape)]
    axes, best = tuple(range(image.ndim)), case.observed.astype(np.float64)
    for weight in VARIATION:
        estimate = np.full_like(image, image.mean())
        for count in range(1, max(RICHARDSON_LUCY) + 1):
            ratio = image / np.maximum(fftconvolve(estimate, psf, mode="same"), 1e-6 * image.max())
            slopes = np.array(np.gradient(estimate))
            slopes /= np.sqrt((slopes**2).sum(0)) + 1e-3 * image.max()
            curvature = sum(np.gradient(slopes[axis], axis=axis) for axis in axes)
            estimate = estimate * np.maximum(fftconvolve(ratio, mirrored, mode="same"), 0) / (1 - weight * curvature)
            if count in RICHARDSON_LUCY:
                best = max(best, _inside(estimate, case), key=case.score)
    return best


def wiener(case: Case) -> Array:
    """Wiener's filter for a spectrum that falls with the square of the frequency, at its best weight by the truth."""
    from scipy import fft

    psf, image = _padded(case)
    centred = np.zeros_like(image)
    centred[tuple(slice(n) for n in psf.shape)] = psf
    passed = fft.fftn(np.roll(centred, [-(n // 2) for n in psf.shape], tuple(range(psf.ndim))))
    squared = sum(np.square(f) for f in np.meshgrid(*map(fft.fftfreq, image.shape), indexing="ij"))
    found = []
    for weight in np.geomspace(1e-4, 1e3, 22):
        shares = passed.conj() / (np.abs(passed) ** 2 + weight * squared)
        shares.flat[0] = 1
        found.append(_inside(fft.ifftn(fft.fftn(image) * shares).real, case))
    return max(found, key=case.score)


_MARGIN = 8  # pixels by which an image is continued by reflection


def _padded(case: Case) -> tuple[Array, Array]:
    """The point spread function, of sum one, and the image with a margin."""
    psf = case.arguments["psf"] / case.arguments["psf"].sum()
    return psf, np.pad(case.observed.astype(np.float64), _MARGIN, mode="reflect")


def _inside(image: Array, case: Case) -> Array:
    """An image without that margin."""
    return image[tuple(slice(_MARGIN, _MARGIN + n) for n in case.observed.shape)]


#: Iterations of Richardson-Lucy of which the best is taken.
RICHARDSON_LUCY = (5, 10, 15, 20, 30, 50, 100, 200)
#: Weights of total variation in it of which the best is taken.
VARIATION = (0.002, 0.005, 0.01, 0.02, 0.05)
#: Pixels up to which noise is correlated.
REACH = 4
#: Back projections of which the best count is taken.
BACK_PROJECTIONS = (1, 2, 5, 10, 20, 50)
#: Pixels around a missing one that OpenCV's inpaintings look at.
RADIUS = 3

#: task -> name -> classical method
METHODS: dict[str, dict[str, Callable[[Case], Array]]] = {
    "denoise": {
        "noisy": input_itself,
        "NLM": non_local_means,
        "wavelet": wavelet,
        "TV": total_variation,
        "BM3D": bm3d,
        "BM3D, 2 sigma": bm3d_doubled,
        "BM3D, spectrum": bm3d_spectrum,
        "VST + BM3D": bm3d_stabilised,
        "VST + patches": patches_stabilised,
        "ZS-N2N, short": zs_n2n,
    },
    "inpaint": {
        "masked": input_itself,
        "biharmonic": biharmonic,
        "Navier-Stokes": navier_stokes,
        "Telea": telea,
        "patches": patches,
    },
    "superresolve": {
        "bicubic": bicubic,
        "Lanczos": lanczos,
        "back projection, best": back_projection,
        "patches": patches,
    },
    "deconvolve": {
        "blurred": input_itself,
        "RL, best": richardson_lucy,
        "RL-TV, best": richardson_lucy_tv,
        "Wiener, best": wiener,
        "patches": patches,
    },
}
#: what they need besides scikit-image: name of the module -> of the package
PACKAGES = {"bm3d": "bm3d", "cv2": "opencv-python-headless", "pywt": "pywavelets"}
#: those that make a difference only where noise depends on the signal, or neighbours share it
REAL_NOISE = ("BM3D, 2 sigma", "BM3D, spectrum", "VST + BM3D")


def names(case: Case) -> list[str]:
    """The names of the methods that a case is compared with."""
    white = case.noise.gain == 0 and case.noise.independent
    left = REAL_NOISE if white else () if case.task == "denoise" and shares_noise(case) else ("BM3D, spectrum",)
    return [name for name in METHODS[case.task] if name not in left]
