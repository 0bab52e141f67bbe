"""Zero-Shot Noise2Noise (Mansour and Heckel, CVPR 2023), written anew from the paper: a rival without training data.

A noisy image is cut into two of half the size, the means of either diagonal of each 2x2 pixels, whose noise is
independent where that of pixels is. A network of three layers learns to predict one from the other, and to give the
same whether an image is cut before or after it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.images import Array

WIDTH, EPOCHS = 48, 500  # the paper has 2000


def zero_shot_n2n(image: Array) -> Array:
    """Denoised image (C, H, W), by the settings of the paper but for the epochs.

    An image of an odd size is continued by its last pixels.
    """
    low, span = image.min(), np.ptp(image)
    height, width = image.shape[1:]
    scaled = np.pad((image - low) / span, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    noisy = torch.from_numpy(scaled).float()[None]
    torch.manual_seed(0)
    channels = len(image)
    noise = nn.Sequential(
        nn.Conv2d(channels, WIDTH, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(WIDTH, channels, 1),
    )
    optimiser = torch.optim.Adam(noise.parameters(), lr=0.001)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, EPOCHS // 2, 0.5)
    halves = _halves(noisy)
    for _ in range(EPOCHS):
        optimiser.zero_grad()
        clean = [half - noise(half) for half in halves]
        whole = _halves(noisy - noise(noisy))
        across = _error(halves[0], clean[1]) + _error(halves[1], clean[0])
        (across + _error(clean[0], whole[0]) + _error(clean[1], whole[1])).backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        made = (noisy - noise(noisy)).clamp(0, 1)[0, :, :height, :width]
    return made.double().numpy() * span + low


def _halves(image: Tensor) -> tuple[Tensor, Tensor]:
    """Means of the pixels on either diagonal of each 2x2."""
    one = (image[..., ::2, 1::2] + image[..., 1::2, ::2]) / 2
    return one, (image[..., ::2, ::2] + image[..., 1::2, 1::2]) / 2


def _error(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).square().mean() / 2
