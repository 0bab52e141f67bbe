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
    """NL-Ridge estimate of an image (C, *S) in scaled intensities, made where the noise is stabilised.

    Of means of squares, where noise outweighs the structure.
    """
    side, shape = bins.side_of(noise, image.shape[1:]), image.shape[1:]
    if side > 1:
        image, noise = bins.means(image, side), bins.noise_of(noise, side, shape)
    pages.trim()
    stabiliser = Stabiliser(noise)
    shared = None if noise.independent else plane_of(autocorrelation_of(noise, image.shape[1:]))
    with pages.apart():
        stable = torch.from_numpy(stabiliser.forward(image.astype(np.float64))).float().to(device)
    agreed = yield from by_strips(stable, 1.0, shared)
    pages.trim()
    with pages.apart():
        made = stabiliser.inverse(agreed.double().cpu().numpy()).astype(np.float32)
        return made if side == 1 else bins.enlarged(made, side, shape)
