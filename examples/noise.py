"""The noise of an image and its bad pixels, which no run is needed for."""

import napari_dip
from napari_dip import pictures

image = pictures.read("cells.tif").values
noise = napari_dip.estimate_noise(image)
print(noise)
print(f"gain {noise.gain:.2f} counts per electron, offset {noise.offset:.0f}, read noise {noise.read_noise:.1f}")
print(f"{napari_dip.find_bad_pixels(image, noise=noise).sum()} pixels are hot, dead or saturated")
print(f"a run would take {napari_dip.estimate(image.shape)}")
