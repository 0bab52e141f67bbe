"""Weights of a network from an .npz: arrays alone, of which none can run code as it is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def from_npz(file: Path) -> dict[str, Tensor]:
    """The arrays of a file by name, as float32."""
    with np.load(file, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(np.asarray(arrays[name], np.float32)) for name in arrays}
