"""Undo the blur of the instrument, of which the image of a bead is known."""

import napari_dip
from napari_dip import pictures

image, bead = pictures.read("cells.tif").values, pictures.read("bead.tif").values
result = napari_dip.deconvolve(image, psf=bead, seed=0)
print(result)
result.save("sharp.ome.tif", like="cells.tif", overwrite=True)
