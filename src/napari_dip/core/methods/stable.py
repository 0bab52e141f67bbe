"""Similar patches of a measurement whose noise depends on the signal: NL-Ridge where that noise is stabilised."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import numpy.typing as npt
import torch

from napari_dip.core import pages
from napari_dip.core.methods import bins
from napari_dip.core.methods.nlridge import by_strips
from napari_dip.core.noise.correlation import autocorrelation_of, plane_of
from napari_dip.core.noise.model import Noise
from napari_dip.core.noise.stabilise import Stabiliser


def denoised(
    image: npt.NDArray[np.float32], noise: Noise, device: str
) -> Generator[float, None, npt.NDArray[np.float32]]:
    """NL-Ridge estimate of an image (C, *S) in scaled intensities; of means of squares where noise asks for them."""
    shape = image.shape[1:]
    side = bins.side_of(noise, shape)
    if side == 1:
        return (yield from of_pixels(image, noise, device))
    made = yield from of_pixels(bins.means(image, side), bins.noise_of(noise, side, shape), device)
    with pages.apart():
        return bins.enlarged(made, side, shape)


def of_pixels(
    image: npt.NDArray[np.float32], noise: Noise, device: str
) -> Generator[float, None, npt.NDArray[np.float32]]:
    """NL-Ridge estimate of an image (C, *S) in scaled intensities, made where the noise is stabilised."""
    pages.trim()
    stabiliser = Stabiliser(noise)
    shared = None if noise.independent else plane_of(autocorrelation_of(noise, image.shape[1:]))
    with pages.apart():
        stable = torch.from_numpy(stabiliser.forward(image.astype(np.float64))).float().to(device)
    agreed = yield from by_strips(stable, 1.0, shared)
    pages.trim()
    with pages.apart():
        return stabiliser.inverse(agreed.double().cpu().numpy()).astype(np.float32)
