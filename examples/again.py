"""Restore another image with the settings of an earlier result, which are in its record."""

import napari_dip
from napari_dip import Settings, pictures

first = napari_dip.denoise(pictures.read("cells.tif").values, seed=3)
first.save("first.ome.tif", like="cells.tif", overwrite=True)
settings = Settings.from_json("first.ome.tif")
frame = pictures.read("film.tif").values[0]
second = napari_dip.denoise(frame, **settings.chosen)
print(second.settings == first.settings)
