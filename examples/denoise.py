"""Denoise a TIFF, and write an OME-TIFF with its calibration and the record of the run."""

import napari_dip
from napari_dip import pictures

image = pictures.read("cells.tif").values
result = napari_dip.denoise(image, seed=0)
print(result)
result.save("denoised.ome.tif", like="cells.tif", overwrite=True)
