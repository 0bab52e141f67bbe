"""Denoise a volume whose planes are further apart than its pixels."""

import napari_dip
from napari_dip import pictures

volume = pictures.read("volume.tif")
size = [volume.pixel_size[axis] for axis in "ZYX"]
result = napari_dip.denoise(volume.values, voxel_size=size, seed=0)
print(f"voxels of {size} {volume.unit}: {result.stop_reason}")
result.save("volume denoised.ome.tif", like="volume.tif", overwrite=True)
