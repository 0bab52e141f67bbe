"""What a type checker finds in a call: `make lint` fails if one of these lines has no such error. Never run."""

from pathlib import Path

import numpy as np

import napari_dip

image, mask, target = np.zeros((20, 20)), np.zeros((20, 20), bool), Path("out.zarr")

napari_dip.denoise(image, mask, iterations=3, channels=(4, 8), seed=0, gain=2, progress=False)
napari_dip.denoise(image, iteratons=3)  # type: ignore[call-arg]
napari_dip.denoise(image, iterations="3")  # type: ignore[arg-type]
napari_dip.denoise(image, factor=2)  # type: ignore[call-arg]
napari_dip.denoise(image, progress="no")  # type: ignore[arg-type]
napari_dip.inpaint(image, mask, keep_know=False)  # type: ignore[call-arg]
napari_dip.deconvolve(image, 2.0, psf_center="mass")  # type: ignore[call-arg]
napari_dip.superresolve(image, 2, psf=image, kernel="box")
napari_dip.superresolve(image, 2, kernal="box")  # type: ignore[call-arg]
napari_dip.iterate("denoise", image, intervall=0)  # type: ignore[call-arg]
napari_dip.restore_blocks("denoise", "in.zarr", target, leading_axes=1, tile=64, overwrite=True, progress=False)
napari_dip.restore_blocks("denoise", "in.zarr", target, overwite=True)  # type: ignore[call-arg]
napari_dip.iterate_blocks("denoise", "in.zarr", target, iteratons=3)  # type: ignore[call-arg]
napari_dip.estimate_blocks("denoise", "in.zarr", iteratons=3)  # type: ignore[call-arg]
napari_dip.estimate((20, 20), iteratons=3)  # type: ignore[call-arg]
