"""Train the small denoising network of the laboratory, and write its weights as an .npz.

``python scripts/train_denoiser.py``: three minutes on one processor core. It learns from the images that
scikit-image ships, and from these at half their size; the weights are stored in half precision.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage
import torch
from skimage import color, io, transform

from napari_dip.lab.denoiser import WEIGHTS, denoising_network

NAMES = (
    "astronaut", "brick", "camera", "cell", "chelsea", "coffee", "coins", "grass", "gravel", "hubble_deep_field", "ihc",
    "moon", "motorcycle_left", "page", "retina", "rocket", "text",
)  # fmt: skip
SIDE, BATCH, STEPS, MOST = 48, 24, 2000, 0.25  # pixels; patches; steps; deviation of the noise
LARGEST = 0.1  # norm of a gradient: beyond it a step of the fast middle of the schedule undoes what was learnt


def images() -> list[np.ndarray]:
    """The images, grey and from 0 to 1, as they are and at half their size."""
    folder, found = Path(skimage.__file__).parent / "data", []
    for name in NAMES:
        file = next(folder.glob(f"{name}.*"))
        image = skimage.img_as_float32(io.imread(file))
        image = color.rgb2gray(image[..., :3]) if image.ndim == 3 else image
        found += [image, transform.rescale(image, 0.5, anti_aliasing=True)]
    return [image.astype(np.float32) for image in found if min(image.shape) >= SIDE]


def drawn(found: list[np.ndarray], rng: np.random.Generator) -> torch.Tensor:
    """Patches (BATCH, 1, SIDE, SIDE), turned, flipped, and of other contrast."""
    patches = []
    for _ in range(BATCH):
        image = found[rng.integers(len(found))]
        y, x = (rng.integers(n - SIDE + 1) for n in image.shape)
        patch = np.rot90(image[y : y + SIDE, x : x + SIDE], rng.integers(4))
        patch = patch.T if rng.random() < 0.5 else patch
        span = max(float(np.ptp(patch)), 0.05)
        scale = rng.uniform(0.5, min(1 / span, 4))
        patches.append(np.clip((patch - patch.min()) * scale + rng.uniform(0, max(0, 1 - scale * span)), 0, 1))
    return torch.from_numpy(np.stack(patches).astype(np.float32))[:, None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    out = parser.parse_args().out
    torch.manual_seed(0)
    rng, found = np.random.default_rng(0), images()
    network = denoising_network(None).train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, STEPS)
    left = 0.0
    for step in range(1, STEPS + 1):
        clean = drawn(found, rng)
        sigma = MOST * torch.rand(BATCH)
        noisy = clean + sigma.view(-1, 1, 1, 1) * torch.randn_like(clean)
        optimiser.zero_grad()
        loss = (network(noisy, sigma) - clean).abs().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST)
        optimiser.step()
        schedule.step()
        left = 0.99 * left + 0.01 * float(loss.detach()) if step > 1 else float(loss.detach())
        if step % 200 == 0:
            print(f"step {step}: mean error {left:.4f}", flush=True)
    np.savez_compressed(out, **{name: each.numpy().astype(np.float16) for name, each in network.state_dict().items()})


if __name__ == "__main__":
    main()
