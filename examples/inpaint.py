"""Fill the pixels that a mask marks; all others are denoised, or kept with keep_known=True."""

import napari_dip
from napari_dip import pictures

image, mask = pictures.read("cells.tif").values, pictures.read("holes.tif").values > 0
result = napari_dip.inpaint(image, mask, keep_known=True, seed=0)
print(f"{mask.sum()} pixels are filled: {result.stop_reason}")
result.save("filled.ome.tif", like="cells.tif", overwrite=True)
