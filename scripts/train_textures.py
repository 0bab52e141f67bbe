"""Train the small network of the laboratory on textures made by `texture`, and write its weights as an .npz.

``python scripts/train_textures.py``: some minutes on one processor core. The weights are stored in half precision.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from napari_dip.lab.textures import TEXTURES, WEIGHTS, texture, texture_network

SIDE, BATCH, EACH, EPOCHS = 32, 64, 500, 12  # pixels; images; images of each texture; times that all are seen


def drawn(first: int, each: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, 1, y, x) and their labels."""
    images = [texture(name, (SIDE, SIDE), first + i) for i in range(each) for name in TEXTURES]
    return torch.from_numpy(np.stack(images))[:, None], torch.arange(len(TEXTURES)).repeat(each)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    out = parser.parse_args().out
    torch.manual_seed(0)
    network = texture_network(None).train()
    (images, labels), (unseen, truth) = drawn(0, EACH), drawn(10**6, 100)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, EPOCHS * (len(images) // BATCH))
    for epoch in range(EPOCHS):
        for chosen in torch.randperm(len(images)).split(BATCH)[: len(images) // BATCH]:
            optimiser.zero_grad()
            functional.cross_entropy(network(images[chosen]), labels[chosen]).backward()
            optimiser.step()
            schedule.step()
        with torch.no_grad():
            right = (network(unseen).argmax(1) == truth).float().mean()
        print(f"epoch {epoch + 1}: {float(right):.1%} of {len(unseen)} unseen images told right", flush=True)
    np.savez_compressed(out, **{name: each.numpy().astype(np.float16) for name, each in network.state_dict().items()})


if __name__ == "__main__":
    main()
