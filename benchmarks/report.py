"""What comes out: tables in Markdown, everything as JSON, and a picture of the crops side by side."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.images import Array, Case
from napari_dip.command.info import processor
from napari_dip.core.judge.metrics import Comparison, compare

TILE = 256  # pixels at the least, of the side of an image in the picture
HEAD = 22  # pixels of the line above it


@dataclass
class Row:
    """What each method gives on one case."""

    case: Case
    figures: dict[str, Comparison] = field(default_factory=dict)
    affine: dict[str, float] = field(default_factory=dict)  # PSNR after gain and offset were fitted, dB
    images: dict[str, Array] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, label: str, image: Array, seconds: float, memory: int, notes: dict[str, Any]) -> None:
        """Take in an image that a method made."""
        case = self.case
        if image.shape == case.truth.shape:
            axis = case.arguments.get("channel_axis")
            plain, fitted = (
                compare(image, case.truth, affine=affine, channel_axis=axis, data_range=case.data_range)
                for affine in (False, True)
            )
            self.figures[label], self.affine[label] = fitted if case.affine else plain, fitted.psnr
        self.images[label], self.seconds[label], self.memory[label] = image, seconds, memory
        if notes:
            self.notes[label] = notes


def write(folder: Path, name: str, title: str, rows: list[Row], where: dict[str, str]) -> str:
    """Write `name`.md, .json and .png; returns the Markdown."""
    text = tables(rows)
    if rows[0].case.affine:
        text += "\n\nEach image was given the gain and offset closest to the truth before it was compared."
    images = [
        {
            "name": row.case.name,
            "noise": {key: getattr(row.case.noise, key) for key in ("gain", "offset", "read_noise", "sigma")},
            "methods": {
                label: {
                    **asdict(figure),
                    "psnr_affine": row.affine[label],
                    "seconds": round(row.seconds[label], 3),
                    "memory_mb": round(row.memory[label] / 2**20, 1),
                    **row.notes.get(label, {}),
                }
                for label, figure in row.figures.items()
            },
        }
        for row in rows
    ]
    text = save(folder, name, title, f"{text}\n\n![side by side]({name}.png)", {"images": images}, where)
    picture(rows).save(folder / f"{name}.png")
    return text


def save(folder: Path, name: str, title: str, text: str, figures: dict[str, Any], where: dict[str, str]) -> str:
    """Write `name`.md and .json with where it was measured; returns the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    text = f"# {title}\n\n{', '.join(f'{key} {value}' for key, value in where.items())}.\n\n{text}\n"
    (folder / f"{name}.md").write_text(text)
    (folder / f"{name}.json").write_text(json.dumps({**where, **figures}, indent=1) + "\n")
    return text


# --------------------------------------------------------------------------------------------------------------- tables


def tables(rows: list[Row]) -> str:
    """PSNR, plain and affine, and SSIM, an image a row, their mean, the best in bold; seconds and memory; our runs."""
    labels = list(dict.fromkeys(label for row in rows for label in row.figures))
    psnr = _table("PSNR, dB", labels, {r.case.name: {k: f.psnr for k, f in r.figures.items()} for r in rows}, 2)
    ssim = _table("SSIM", labels, {r.case.name: {k: f.ssim for k, f in r.figures.items()} for r in rows}, 3)
    affine = _table("affine PSNR, dB", labels, {r.case.name: r.affine for r in rows}, 2)
    cost = table(["method", "processor s, mean", "longest", "memory, MB"], [])
    for label in labels:
        seconds = [row.seconds[label] for row in rows if label in row.seconds]
        memory = max(row.memory.get(label, 0) for row in rows) / 2**20
        if max(seconds) > 0:
            cost.append(f"| {label} | {np.mean(seconds):.1f} | {max(seconds):.1f} | {memory:.0f} |")
    runs = [
        f"| {row.case.name} | {label} | " + "; ".join(f"{key}: {value}" for key, value in notes.items()) + " |"
        for row in rows
        for label, notes in row.notes.items()
    ]
    parts = [psnr, *([] if rows[0].case.affine else [affine]), ssim] + (["\n".join(cost)] if len(cost) > 2 else [])
    return "\n\n".join([*parts, "\n".join(["| image | run | |", "|---|---|---|", *runs])] if runs else parts)


def table(head: list[str], rows: list[str]) -> list[str]:
    """Lines of a table: its head, and rows that are lines already."""
    return ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *rows]


def _table(corner: str, columns: list[str], cells: dict[str, dict[str, float]], digits: int) -> str:
    means = {
        c: float(np.mean([row[c] for row in cells.values()])) for c in columns if all(c in r for r in cells.values())
    }
    lines = table([corner, *columns], [])
    for name, row in {**cells, "mean": means}.items():
        best = max(row.values(), default=0)
        texts = [f"{row[c]:.{digits}f}" if c in row else "" for c in columns]
        bold = [f"**{t}**" if t == f"{best:.{digits}f}" else t for t in texts]
        lines.append("| " + " | ".join([name, *bold]) + " |")
    return "\n".join(lines)


# -------------------------------------------------------------------------------------------------------------- picture


def picture(rows: list[Row]) -> Any:
    """The crops side by side: an image a row, the truth first, each with its method and PSNR; one grey scale a row."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=14)
    labels = list(dict.fromkeys(label for row in rows for label in row.images))
    truths = [_flat(row.case.truth) for row in rows]
    times = [max(1, round(TILE / truth.shape[1])) for truth in truths]
    sizes = [tuple(n * t for n in truth.shape[:2]) for truth, t in zip(truths, times, strict=True)]
    width = max(size[1] for size in sizes)
    sheet = Image.new("RGB", ((width + 4) * (len(labels) + 1), sum(size[0] + HEAD + 4 for size in sizes)), "white")
    draw, top = ImageDraw.Draw(sheet), 0
    for row, size in zip(rows, sizes, strict=True):
        low, high = np.percentile(row.case.truth, [0.5, 99.8])
        shown = {f"{row.case.name}: truth": row.case.truth}
        for label in labels:
            figure = row.figures.get(label)
            shown[f"{label}  {figure.psnr:.2f}" if figure else label] = row.images.get(label, np.full((1, 1), high))
            if figure:
                shown[f"{label}  {figure.psnr:.2f}"] = figure.gain * row.images[label] + figure.offset
        for column, (label, image) in enumerate(shown.items()):
            grey = (255 * np.clip((_flat(image) - low) / (high - low), 0, 1)).astype(np.uint8)
            tile = Image.fromarray(grey).resize((size[1], size[0]), Image.Resampling.NEAREST)
            draw.text((column * (width + 4) + 2, top + 2), label, fill="black", font=font)
            sheet.paste(tile, (column * (width + 4), top + HEAD))
        top += size[0] + HEAD + 4
    return sheet


def _flat(image: Array) -> Array:
    """An image as it is, a volume as its maximum along the first axis."""
    return image.max(0) if image.ndim == 3 and image.shape[-1] > 4 else image


# ---------------------------------------------------------------------------------------------------------------- where


def where(device: str = "auto") -> dict[str, str]:
    """The commit, with a plus if files differ from it, the hardware and the versions that matter."""
    import torch

    here = Path(__file__).parent
    git = ["git", "-C", str(here), "describe", "--always", "--exclude=*", "--dirty=+"]
    found = subprocess.run(git, capture_output=True, text=True, check=False) if shutil.which("git") else None
    commit = found.stdout.strip() if found else ""
    return {"commit": commit or "unknown", "on": hardware(device), "torch": torch.__version__}


def hardware(device: str = "auto") -> str:
    """The processor or the GPU, and the number of threads."""
    import torch

    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        return torch.cuda.get_device_name(0)
    return f"{processor()}, {torch.get_num_threads()} threads"
