"""How far to trust a result: its uncertainty, its resolution, and what becomes of pure noise."""

import napari_dip
from napari_dip import pictures, trust

image = pictures.read("cells.tif").values
result = napari_dip.denoise(image, uncertainty=True, seed=0)
print(trust.verdict(result))
print(f"median uncertainty: {float(sorted(result.uncertainty.ravel())[image.size // 2]):.2f} counts")
print(trust.resolution(result.image))
control = trust.noise_control(result, image)
print(control)
