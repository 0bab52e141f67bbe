"""Convolutions of small volumes: those of torch, by another kernel."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_dip.core.generators.volumes import Conv3d

_KINDS = [
    {"padding": 1},
    {"padding": 1, "padding_mode": "reflect"},
    {"stride": (1, 2, 2)},
    {"padding": (0, 1, 0), "stride": 2},
]


def _both(shape: tuple[int, ...], how: dict[str, Any]) -> list[tuple[Tensor, ...]]:
    """What comes out, and the gradients of volume and weights: of torch, and of ours."""
    found = []
    for kind in (nn.Conv3d, Conv3d):
        torch.manual_seed(0)
        convolve = kind(5, 4, 3, **how)
        volume = torch.randn(1, 5, *shape).to(memory_format=torch.channels_last_3d).requires_grad_()
        made = convolve(volume)
        made.square().sum().backward()
        found.append((made.detach(), volume.grad, convolve.weight.grad, convolve.bias.grad))
    return found


@pytest.mark.parametrize("how", _KINDS, ids=str)
@pytest.mark.parametrize("shape", [(4, 12, 10), (5, 9, 7), (3, 3, 40), (8, 4, 3)], ids=str)
def test_they_are_those_of_torch(shape: tuple[int, ...], how: dict[str, Any]) -> None:
    for theirs, ours in zip(*_both(shape, how), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no other kernel here")
@pytest.mark.filterwarnings("ignore:.*Profiler clears events")  # of torch 2.11
@pytest.mark.parametrize("how", _KINDS, ids=str)
def test_the_slow_kernel_is_never_taken(how: dict[str, Any]) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        _both((4, 12, 10), how)
    theirs = [event.name for event in profile.events() if "slow_conv" in event.name]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        Conv3d(5, 4, 3, **how)(torch.randn(1, 5, 4, 12, 10, requires_grad=True)).sum().backward()
    ours = [event.name for event in profile.events() if "slow_conv" in event.name]
    assert theirs
    assert not ours
