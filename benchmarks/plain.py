"""The loop of the original deep image prior in plain torch: what the speed of ours is compared with.

The network and the step of the notebooks that came with Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior" (CVPR 2018),
layer by layer: reflection padding as a layer of its own, bilinear upsampling, batch norm with running statistics, Adam,
mean square error, the running average of the outputs. Of this package nothing is used, so that nothing of it is set.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

WIDTH, SKIP, SCALES, CODE = 128, 4, 5, 32


class Side(nn.Module):
    """Two ways side by side, their channels joined."""

    def __init__(self, one: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.one, self.other = one, other

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([self.one(features), self.other(features)], dim=1)


def conv(arriving: int, leaving: int, size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.ReflectionPad2d((size - 1) // 2), nn.Conv2d(arriving, leaving, size, stride))


def normed(arriving: int, leaving: int, size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        conv(arriving, leaving, size, stride), nn.BatchNorm2d(leaving), nn.LeakyReLU(0.2, inplace=True)
    )


def level(arriving: int, deeper: int) -> nn.Sequential:
    """One scale of the hourglass, and `deeper` more inside it."""
    way = [normed(arriving, WIDTH, 3, stride=2), normed(WIDTH, WIDTH, 3)]
    if deeper:
        way.append(level(WIDTH, deeper - 1))
    way.append(nn.Upsample(scale_factor=2, mode="bilinear"))
    join = [nn.BatchNorm2d(SKIP + WIDTH), normed(SKIP + WIDTH, WIDTH, 3), normed(WIDTH, WIDTH, 1)]
    return nn.Sequential(Side(normed(arriving, SKIP, 1), nn.Sequential(*way)), *join)


def network(channels: int) -> nn.Sequential:
    return nn.Sequential(level(CODE, SCALES - 1), conv(WIDTH, channels, 1), nn.Sigmoid())


def loop(observation: Tensor) -> Callable[[], float]:
    """One iteration of the fit of an image (1, C, H, W), where that is; H and W multiples of 32. Gives the loss."""
    net = network(observation.shape[1]).to(observation.device)
    code = torch.rand(1, CODE, *observation.shape[2:], device=observation.device) / 10
    saved, noise = code.clone(), code.clone()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    mse = nn.MSELoss()
    average: Tensor | None = None

    def step() -> float:
        nonlocal average
        optimiser.zero_grad()
        out = net(saved + noise.normal_() / 30)
        average = out.detach() if average is None else average * 0.99 + out.detach() * 0.01
        loss = mse(out, observation)
        loss.backward()
        optimiser.step()
        return loss.item()  # the notebooks print it

    return step
