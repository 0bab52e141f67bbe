"""Compression artefacts removed blindly: where the run stops by itself, and what going on costs.

Each scene is saved as JPEG and read again. The micrograph has 12 bits, as a camera gives: it is scaled to the 8 that a
JPEG commonly has, and saved as a JPEG of 12 bits too. PSNR is that against the scene before it was saved, in dB of the
range of 8 bits, or of the micrograph. Total variation and non-local means have the strength that is best by the truth.
The last scene goes on to 50 000 iterations, 620 s of a processor core, as the picture in the paper does. Of it and of
the paper's photograph there are also the PSNR against the JPEG, and the mean step between pixels of two blocks over
that inside blocks. Prediction before 10 000: 1 dB below the best at the most, and no more than 0.5 dB above the JPEG;
before what follows: at 50 000 30.0 dB, and nine tenths of the JPEG's excess of steps.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

import napari_dip
from benchmarks import images
from benchmarks.figures import Figure, sheet, table
from benchmarks.images import Array
from napari_dip.core.judge.errors import psnr

PAPER = "jpeg/snail.jpg"  # its photograph, of which there is no original
QUALITY, TWELVE = 10, 1  # of 8 bits; of 12 bits, for a file of as many bytes
MICROGRAPH = "biosr/ccps10_clean.tiff"
AT = (100, 600, 1200, 2400)  # iterations; the paper shows 100, 2400 and 50 000
LATE = (4000, 10_000, 20_000, 30_000, 50_000)  # of the last scene, besides


def measure(data: Path, crop: int) -> Figure:
    """PSNR of each scene by iteration, at the stop, and of two other methods; blocks in the last and in the paper's."""
    rows, shown, blocks = [], [], []
    scenes = _scenes(data, crop)
    for name, truth, saved, peak in scenes:
        at = (*AT, *LATE) if name == scenes[-1][0] else AT
        others = _others(saved, truth, peak)
        stopped, iterates = _restored(saved, at)
        parts = {"JPEG": saved, **others, **iterates}
        scores = {key: psnr(image, truth, data_range=peak) for key, image in parts.items()}
        row = {"image": name} | {key: scores[key] for key in ("JPEG", *others)}
        row |= {"stops at": stopped, "there": scores[next(iter(iterates))]}
        rows.append(row | {f"at {n}": scores[str(n)] for n in AT})
        shown.append({"before": truth, **{f"{key}  {scores[key]:.2f}": image for key, image in parts.items()}})
        print(rows[-1], flush=True)
        if name == scenes[-1][0]:
            blocks += _blocks_of(name, {"before it was saved": truth, **parts}, scores)
    saved = _of_paper(data, crop)
    parts = {"JPEG": saved, **_restored(saved, AT, channel_axis=-1)[1]}
    blocks += _blocks_of(PAPER, parts, {})
    shown.append({key: image.mean(axis=-1) for key, image in parts.items()})
    return Figure(text=f"{table(rows)}\n\n{table(blocks)}", rows=[*rows, *blocks], picture=sheet(shown))


def _restored(saved: npt.NDArray[np.generic], at: tuple[int, ...], **how: Any) -> tuple[int, dict[str, Array]]:
    """Iteration at which a run stops by itself, its image, and the iterates at others, by name."""
    result = napari_dip.deblock(saved, progress=False, **how)
    run = napari_dip.iterate(
        "deblock", saved, iterations=at[-1], stop="iterations", snapshot_every=AT[0], interval=float("inf"), **how
    )
    found = {str(shot.iteration): shot.image for shot in run if shot.iteration in at}
    return result.marks[0], {f"stops, {result.marks[0]}": result.image, **found}


def _blocks_of(name: str, parts: dict[str, Array], scores: dict[str, float]) -> list[dict[str, Any]]:
    """Rows on the blocks of 8x8 in images; PSNR against the truth where there is one, and against the JPEG."""
    return [
        {"image": name, "at": key, "PSNR": scores.get(key, ""), "steps at edges of blocks": _blocks(image)}
        | {"against the JPEG": "" if key == "JPEG" else psnr(image, parts["JPEG"], data_range=255.0)}
        for key, image in parts.items()
    ]


def _of_paper(data: Path, crop: int) -> npt.NDArray[np.uint8]:
    """The middle of the paper's photograph, from the edge of a block on: (crop, crop, 3)."""
    whole = np.asarray(Image.open(data / PAPER))
    top, left = ((n - crop) // 2 // 8 * 8 for n in whole.shape[:2])
    return whole[top : top + crop, left : left + crop]


def _scenes(data: Path, crop: int) -> list[tuple[str, Array, npt.NDArray[np.generic], float]]:
    """Name, truth, what the JPEG holds, in the units of the truth, and the range of these."""
    counts = images._read(data / MICROGRAPH, crop) >> 4  # 12 bits
    low, span = int(counts.min()), float(np.ptp(counts))
    eight = as_jpeg(np.rint(255 * ((counts - low) / span)).astype(np.uint8))  # by the contrast limits of a viewer
    twelve = imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(counts, level=TWELVE, bitspersample=12))
    made = [
        (f"{MICROGRAPH}, 12 bits scaled to 8", counts, low + span / 255 * eight, span),
        (f"{MICROGRAPH}, JPEG of 12 bits", counts, twelve, span),
    ]
    for name in ("grey/07.png", "grey/02.png"):
        truth = images._read(data / name, crop)
        made.append((name, truth, as_jpeg(truth), 255.0))
    return [(name, np.asarray(truth, np.float64), saved, peak) for name, truth, saved, peak in made]


def as_jpeg(image: npt.NDArray[np.uint8], quality: int = QUALITY) -> npt.NDArray[np.uint8]:
    """An image of 8 bits saved as JPEG and read again."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _blocks(image: npt.NDArray[Any]) -> float:
    """Mean step between pixels of two blocks, relative to that inside blocks of 8x8; (y, x) or (y, x, C)."""
    edges, inside = [], []
    for axis in (0, 1):
        steps = np.abs(np.diff(np.moveaxis(np.asarray(image, float), axis, 0), axis=0))
        at_edge = np.arange(1, len(steps) + 1) % 8 == 0
        edges.append(steps[at_edge].mean())
        inside.append(steps[~at_edge].mean())
    return float(np.sum(edges) / np.sum(inside))


def _others(saved: npt.NDArray[np.generic], truth: Array, peak: float) -> dict[str, Array]:
    """Total variation and non-local means, at the strength that is best by the truth."""
    seen = np.asarray(saved, float)
    strengths = np.array([1, 2, 4, 8, 12, 16, 24]) * peak / 255
    made = {
        "total variation": [denoise_tv_chambolle(seen, weight=each) for each in strengths],
        "non-local means": [denoise_nl_means(seen, 5, 7, h=each) for each in strengths],
    }
    return {name: max(each, key=lambda image: psnr(image, truth, data_range=peak)) for name, each in made.items()}
