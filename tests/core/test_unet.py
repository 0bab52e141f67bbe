"""The U-Net: its way up is the transposed convolution that it is written as."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_dip.core.generators import unet

UPS = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


@pytest.mark.parametrize("factor", [(2,), (2, 2), (1, 2), (2, 2, 2), (1, 2, 2)], ids=str)
def test_growing_is_the_transposed_convolution(factor: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    up = UPS[len(factor)](3, 5, factor, factor)
    features = torch.randn(2, 3, *range(4, 4 + len(factor)), requires_grad=True)
    grown, expected = unet._grown(up, features), up(features)
    torch.testing.assert_close(grown, expected)
    weights = torch.randn_like(expected)
    wanted = (features, up.weight, up.bias)
    mine, right = (torch.autograd.grad((image * weights).sum(), wanted) for image in (grown, expected))
    torch.testing.assert_close(mine, right)
