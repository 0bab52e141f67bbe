"""A mosaic of four spectral filters that overlap: each pixel measures one of four bands, and some of the others."""

import numpy as np
import torch

import napari_dip
from napari_dip import pictures

# Rows: filters; columns: bands. Measure yours with light of one band at a time.
OVERLAP = torch.tensor([[0.8, 0.2, 0, 0], [0.1, 0.8, 0.1, 0], [0, 0.1, 0.8, 0.1], [0, 0, 0.2, 0.8]])


def filters(image: torch.Tensor) -> torch.Tensor:
    """What each filter lets pass of an image (1, 4, y, x) of four bands."""
    return torch.einsum("fb,nbyx->nfyx", OVERLAP.to(image), image)


raw = pictures.read("mosaic.tif").values.astype(np.float32)
measured = np.full((4, *raw.shape), np.nan, np.float32)  # a pixel measures nothing of the other filters
for band, (y, x) in enumerate(np.ndindex(2, 2)):
    measured[band, y::2, x::2] = raw[y::2, x::2]
result = napari_dip.inpaint(measured, operator=filters, channel_axis=0, seed=0)
print(f"{result.image.shape[0]} bands by the operator {result.record['operator']}")
pictures.save("bands.ome.tif", pictures.make(result.image, labels="cyx", record=result.record), overwrite=True)
