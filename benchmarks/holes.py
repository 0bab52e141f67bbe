"""Missing pixels: which the benchmark takes away, how the original fills them, and what others published of theirs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def scattered(share: float, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """So many pixels, drawn by chance."""
    return np.random.default_rng(1).random(shape) < share


def _text(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Lines of text, 14 pixels high and 24 apart."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("1", (shape[1], shape[0]))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for line, top in enumerate(range(4, shape[0], 24)):
        draw.text((-7 * line, top), "What is written over an image is missing in it. " * (shape[1] // 100), 1, font)
    return np.array(page)  # a copy: scikit-image refuses masks that are read-only


def _squares(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """A hole of 16x16 in the middle of each square of 64x64."""
    rows, columns = (abs(np.arange(n) % 64 - 31.5) < 8 for n in shape)
    return np.outer(rows, columns)


#: set -> the missing pixels of an image of a shape
MISSING: dict[str, Callable[[tuple[int, ...]], npt.NDArray[np.bool_]]] = {
    "half": partial(scattered, 0.5),
    "sparse": partial(scattered, 0.9),
    "text": _text,
    "holes": _squares,
}

#: set -> the preset of the original notebooks
ORIGINAL = {
    "half": "original-inpaint-half",
    "sparse": "original-inpaint-sparse",
    "text": "original-inpaint-text",
    "holes": "original-inpaint-hole",
}

#: method -> how the file with what its authors published of it ends
PUBLISHED = {"original, published": "deep_prior", "sparse coding, published": "papyan"}


def published(
    masked: Path, observed: npt.NDArray[Any], read: Callable[[Path], npt.NDArray[Any]]
) -> dict[str, npt.NDArray[np.float64]]:
    """Images by others of what is masked (zero) in a file, known pixels put back, of those that lie beside it."""
    files = {name: masked.with_name(masked.name.replace("_masked", f"_{end}")) for name, end in PUBLISHED.items()}
    found = {name: read(file) for name, file in files.items() if file.exists()}
    return {name: np.where(observed == 0, image, observed).astype(np.float64) for name, image in found.items()}
