"""Write the samples that the other examples read into this folder: python examples/make_samples.py [SIZE]"""

import sys

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_dip import pictures

size = int(sys.argv[1]) if len(sys.argv) > 1 else 128
rng = np.random.default_rng(0)


def spots(*shape: int) -> np.ndarray:
    """Blurred spots of some brightness, in photons."""
    points = (rng.random(shape) > 0.98) * rng.random(shape)
    return 20 + 4000 * gaussian_filter(points, 1.5)


def write(name: str, photons: np.ndarray, labels: str) -> None:
    """Photograph it, and write it with a pixel size."""
    counts = np.uint16(100 + 2 * rng.poisson(photons) + rng.normal(0, 3, photons.shape))
    scale = [{"z": 0.6, "t": 5.0}.get(each, 0.2) for each in labels]
    units = ["s" if each == "t" else "µm" for each in labels]
    pictures.save(name, pictures.make(counts, labels=labels, scale=scale, units=units), overwrite=True)


write("cells.tif", spots(size, size), "yx")
write("film.tif", np.stack([spots(size, size)] * 3), "tyx")
write("volume.tif", spots(max(8, size // 8), size // 2, size // 2), "zyx")
holes = np.zeros((size, size), np.uint8)
holes[size // 3 : size // 3 + 4, size // 4 : size // 2] = 255
pictures.save("holes.tif", pictures.make(holes), overwrite=True)
spectra = np.array([[1, 0.6, 0.2, 0.1], [0.1, 0.3, 0.8, 1]])  # dyes, bands
overlap = np.array([[0.8, 0.2, 0, 0], [0.1, 0.8, 0.1, 0], [0, 0.1, 0.8, 0.1], [0, 0, 0.2, 0.8]])  # filters, bands
seen = np.einsum("fb,db,dyx->fyx", overlap, spectra, np.stack([spots(size, size) for _ in range(2)]))
write("mosaic.tif", np.choose(2 * (np.indices((size, size))[0] % 2) + np.indices((size, size))[1] % 2, seen), "yx")
bead = np.exp(-((np.indices((9, 9)) - 4.0) ** 2) / 4).prod(0).astype(np.float32)
pictures.save("bead.tif", pictures.make(bead), overwrite=True)
