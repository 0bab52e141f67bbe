"""A small network that removes noise, trained on a score of images, to try a general prior beside the internal one.

87 000 weights, in the package. `scripts/train_denoiser.py` trains it, in minutes, on images that scikit-image ships.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_dip.lab.weights import from_npz

WEIGHTS = Path(__file__).with_name("denoiser.npz")
_WIDE, _DEEP = 48, 6  # channels and convolutions


class DenoisingNetwork(nn.Module):
    """FFDNet (Zhang, Zuo, Zhang 2018), small: convolutions on 2x2 pixels as channels, and the noise as one more."""

    def __init__(self) -> None:
        super().__init__()
        widths = [5, *[_WIDE] * (_DEEP - 1), 4]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, padding=1, padding_mode="replicate"), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, image: Tensor, sigma: Tensor) -> Tensor:
        """Image (N, 1, y, x) from 0 to 1 without its white noise of deviation sigma (N,)."""
        y, x = image.shape[-2:]
        even = F.pad(image, (0, x % 2, 0, y % 2), mode="replicate")
        folded = F.pixel_unshuffle(even, 2)
        level = sigma.to(folded).view(-1, 1, 1, 1).expand(-1, 1, *folded.shape[-2:])
        noise = F.pixel_shuffle(self.layers(torch.cat([folded, level], 1)), 2)
        return image - noise[..., :y, :x]


def denoising_network(weights: Path | None = WEIGHTS) -> DenoisingNetwork:
    """The network.

    Parameters
    ----------
    weights : path of an .npz, or None
        By default those in the package; None for untrained ones. An .npz holds arrays alone, and runs no code.

    Returns
    -------
    DenoisingNetwork
        Takes an image (N, 1, y, x) from 0 to 1 and the standard deviation (N,) of its noise.
    """
    network = DenoisingNetwork()
    if weights is not None:
        network.load_state_dict(from_npz(weights))
    return network.eval()


def trained_denoiser(plane: npt.ArrayLike, sigma: float) -> npt.NDArray[np.float32]:
    """Remove white noise by a small trained network: a general prior, as ``denoiser=`` of a restoration takes one.

    Parameters
    ----------
    plane : array-like (y, x)
        Scaled to 0..1.
    sigma : float
        Standard deviation of its noise on that scale; trained from 0 to 0.25.

    Returns
    -------
    float32 array (y, x)
    """
    image = torch.from_numpy(np.asarray(plane, np.float32).copy())[None, None]
    with torch.no_grad():
        return np.asarray(_network()(image, torch.tensor([float(sigma)]))[0, 0].numpy())


@cache
def _network() -> DenoisingNetwork:
    return denoising_network()
