"""Denoise a film, frame after frame: each fit begins with the weights of the frame before."""

import napari_dip
from napari_dip import pictures

film = pictures.read("film.tif").values
result = napari_dip.denoise(film, leading_axes=1, seed=0)
print(f"{len(film)} frames in {result.seconds:.0f} s")
result.save("film denoised.ome.tif", like="film.tif", overwrite=True)
