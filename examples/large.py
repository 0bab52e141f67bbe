"""Restore block by block from one OME-Zarr into another: the image is never in memory as a whole."""

import napari_dip
from napari_dip import pictures

pictures.save("film.ome.zarr", pictures.read("film.tif"))
restored = napari_dip.restore_blocks("denoise", "film.ome.zarr", "film denoised.ome.zarr", seed=0)
print(restored.stop_reason)
print(f"{restored.path}: {restored.array.shape}, a run that was killed goes on with the same call")
