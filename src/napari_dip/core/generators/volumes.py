"""Convolutions of small volumes, which torch leaves to a slow kernel on a CPU.

That kernel copies every voxel once for each tap of the filters, 27 times the volume, and multiplies matrices; oneDNN
takes a fifth of the time. For a single volume torch chooses by channels x planes x rows, whatever the columns
(`use_mkldnn` in ATen/native/Convolution.cpp); several go to oneDNN. So a small volume is passed as two, its halves.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SMALL = 20480  # channels x planes x rows up to which torch takes its own kernel


class Conv3d(nn.Conv3d):
    """`torch.nn.Conv3d` with zero or reflection padding, fast for small volumes too."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # (N, C, D, H, W)
        kernel, stride = self.kernel_size, self.stride
        rows = (input.shape[3] + 2 * int(self.padding[1]) - kernel[1]) // stride[1] + 1  # that come out
        if not _slow(input, kernel) or rows < 2 or max(self.dilation) > 1:
            made: Tensor = super()._conv_forward(input, weight, bias)
            return made
        deep, high, wide = map(int, self.padding)
        if self.padding_mode == "zeros":
            input = F.pad(input, (0, 0, high, high))
        else:
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            deep = wide = 0
        half = -(-rows // 2)
        size, second = (half - 1) * stride[1] + kernel[1], (rows - half) * stride[1]
        halves = torch.cat([input[:, :, :, :size], input[:, :, :, second : second + size]])
        made = F.conv3d(halves, weight, bias, stride, (deep, 0, wide))
        return torch.cat([made[:1], made[1:, :, :, 2 * half - rows :]], dim=3)


def _slow(volume: Tensor, kernel: tuple[int, ...]) -> bool:
    """True if torch would take its own, slow kernel."""
    small = volume.shape[0] == 1 and volume.shape[1:4].numel() <= _SMALL and not min(kernel[1:]) > 3
    return small and max(kernel) > 1 and volume.device.type == "cpu" and volume.dtype == torch.float32
