"""One file for each figure of the paper: `measure(data, crop)` returns a `Figure`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks import report
from benchmarks.images import Array

TILE, HEAD = 192, 20  # pixels: least side of an image in a picture, and height of the line above it
COLUMNS = 7  # of a picture: more would be too small on a page


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Outcome of a figure: Markdown, a dict for each row of its table, and a picture."""

    text: str
    rows: list[dict[str, Any]]
    picture: Image.Image


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown of rows that have the same keys."""
    lines = ["| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in rows]
    return "\n".join(report.table(list(rows[0]), lines))


def _cell(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def sheet(rows: list[dict[str, Array]]) -> Image.Image:
    """Images side by side with their names above; each row has the grey scale of its first image, and wraps."""
    font = ImageFont.load_default(size=12)
    lines = [math.ceil(len(row) / COLUMNS) for row in rows]
    columns = min(COLUMNS, max(map(len, rows)))
    made = Image.new("L", (columns * (TILE + 4), sum(lines) * (TILE + HEAD + 4)), 255)
    draw = ImageDraw.Draw(made)
    for above, row in enumerate(rows):
        low, high = np.percentile(next(iter(row.values())), [0.5, 99.8])
        for i, (name, image) in enumerate(row.items()):
            x, y = i % COLUMNS, sum(lines[:above]) + i // COLUMNS
            place = x * (TILE + 4), y * (TILE + HEAD + 4)
            grey = (255 * np.clip((image - low) / (high - low), 0, 1)).astype(np.uint8)
            draw.text((place[0] + 2, place[1] + 2), name, fill=0, font=font)
            made.paste(
                Image.fromarray(grey).resize((TILE, TILE), Image.Resampling.NEAREST), (place[0], place[1] + HEAD)
            )
    return made
