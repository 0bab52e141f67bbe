"""A result at a glance: measurement and restored image side by side in a notebook, with the verdict below."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]  # (y, x), or (y, x, 3) in colour

_SIDE = 256  # pixels, at the most, that a glance keeps of each axis
_CLIPPED = (0.2, 99.8)  # percentiles of an image, beyond which it may be shown black and white


def glance(
    measured: npt.NDArray[Any], missing: npt.NDArray[np.bool_], restored: npt.NDArray[Any]
) -> tuple[Pixels, Pixels]:
    """Small pictures of one slice before and after, in the same grey values.

    Pixels are left out, not averaged: an average would hide the noise.

    Parameters
    ----------
    measured, missing : array (C, *S)
        What is missing is shown black, as is NaN in `restored`. Of a volume the middle plane is shown; three or four
        channels are colours, of another number the first one is shown.
    restored : array (C, *T)
    """
    before, after = np.where(_plane(missing), np.nan, _plane(measured)), _plane(restored)
    known = [each[np.isfinite(each)] for each in (before, after) if np.isfinite(each).any()]
    with np.errstate(over="ignore", invalid="ignore"):  # values of any size
        ends = [np.percentile(each, _CLIPPED) for each in known]
        low, high = min((each[0] for each in ends), default=0), max((each[1] for each in ends), default=0)
        before, after = ((each - low) / (high - low or 1) for each in (before, after))
    return _grey(before), _grey(after)


def _plane(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The middle plane (y, x) or (y, x, 3) of a slice (C, *S), at most `_SIDE` pixels wide."""
    values = values[:3] if len(values) in (3, 4) else values[:1]
    while values.ndim > 3:
        values = values[:, values.shape[1] // 2]
    values = values.reshape(len(values), -1, values.shape[-1])  # a line is a picture of one row
    step = -(-max(values.shape[1:]) // _SIDE)
    small = values[:, ::step, ::step].astype(np.float64)
    return np.moveaxis(small, 0, -1) if len(small) == 3 else small[0]


def _grey(values: npt.NDArray[np.float64]) -> Pixels:
    """Values from 0 to 1 as bytes."""
    return (255 * np.nan_to_num(np.clip(values, 0, 1))).astype(np.uint8)


def page(pictures: Iterable[tuple[str, Pixels]], sentences: Iterable[str], warnings: Iterable[str]) -> str:
    """HTML that needs no other file: pictures with their titles side by side, sentences and warnings below."""
    cells = "".join(
        f'<figure style="margin:0 1em 0 0"><figcaption>{html.escape(title)}</figcaption>'
        f'<img alt="{html.escape(title)}" src="data:image/png;base64,{_png(pixels)}" '
        f'style="width:{_SIDE}px;height:{_SIDE}px;object-fit:contain;image-rendering:pixelated"></figure>'
        for title, pixels in pictures
    )
    said = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)
    told = "".join(f"<li>{html.escape(warning)}</li>" for warning in warnings)
    return f'<div><div style="display:flex">{cells}</div>{said}{f"<ul>{told}</ul>" if told else ""}</div>'


def _png(pixels: Pixels) -> str:
    """A PNG in base 64."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()
