"""Pixels that the benchmark takes away from an image that is whole."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt


def _scattered(share: float, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """So many pixels, drawn by chance."""
    return np.random.default_rng(1).random(shape) < share


def _text(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Lines of text, 14 pixels high and 24 apart."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("1", (shape[1], shape[0]))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for line, top in enumerate(range(4, shape[0], 24)):
        draw.text((-7 * line, top), "What is written over an image is missing in it. " * (shape[1] // 100), 1, font)
    return np.asarray(page)


def _squares(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """A hole of 16x16 in the middle of each square of 64x64."""
    rows, columns = (abs(np.arange(n) % 64 - 31.5) < 8 for n in shape)
    return np.outer(rows, columns)


#: set -> the missing pixels of an image of a shape
MISSING: dict[str, Callable[[tuple[int, ...]], npt.NDArray[np.bool_]]] = {
    "half": partial(_scattered, 0.5),
    "sparse": partial(_scattered, 0.9),
    "text": _text,
    "holes": _squares,
}
