"""Impedance of generators, and what critics of the prior claim of them, held against plain baselines.

Figure 2 of the paper: PSNR against iterations on an image, on noise, on both, and on the image with shuffled pixels.
Claims of its critics: upsampling matters more than convolution; skips hurt the filling of large holes; transposed
convolutions are worse; a mesh grid as the code fills large holes. Removal of noise: white, sigma 0.1 of the range, best
iterate on the way and the one at the end, against non-local means that know sigma. Holes: a disc of radius 8, PSNR
within it, after as many iterations, against biharmonic interpolation.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage.restoration import denoise_nl_means, inpaint_biharmonic

import napari_dip
from benchmarks import images
from benchmarks.figures import Figure, table
from benchmarks.images import Array
from napari_dip import lab
from napari_dip.trust import psnr

SCENES = ("fmd/gt/Confocal_BPAE_R.png", "grey/02.png", "fmd/gt/TwoPhoton_BPAE_B.png")
ITERATIONS, SIGMA, RADIUS = 250, 0.1, 8
GENERATORS: dict[str, dict[str, Any]] = {
    "hourglass": {},
    "no skips": {"skip_channels": 0},
    "nearest": {"upsampling": "nearest"},
    "transposed": {"upsampling": "transposed"},
    "1x1 filters": {"filter_size": 1, "filter_size_up": 1},
    "decoder": {"generator": "decoder", "channels": 64},
    "unet": {"generator": "unet"},
    "resnet": {"generator": "resnet", "channels": 32},
    "mixer": {"generator": "mixer", "channels": 64},
}
FILLED: dict[str, dict[str, Any]] = {
    "no skips": {"skip_channels": 0},
    "skips 4": {},
    "skips 32": {"skip_channels": 32},
    "no skips, mesh": {"skip_channels": 0, "code": "mesh"},
    "skips 4, mesh": {"code": "mesh"},
    "no skips, transposed": {"skip_channels": 0, "upsampling": "transposed"},
    "decoder": {"generator": "decoder", "channels": 64},
}
WIDE, HIGH, COLOURS = 240, 180, ("#c1272d", "#0000a7", "#008176", "#eecc16")


def measure(data: Path, crop: int) -> Figure:
    """Curves of all generators on the first scene, removal of noise and holes on all."""
    scenes = {name: _unit(images._read(data / name, crop)) for name in SCENES}
    first = next(iter(scenes))
    curves = lab.impedance(scenes[first], GENERATORS, iterations=ITERATIONS, sigma=SIGMA, threads=1, progress=False)
    print(curves.table(), flush=True)
    rows = [{"figure": "impedance", **row} for row in curves.rows]
    removed = [_removed(name, image, curves if name == first else None) for name, image in scenes.items()]
    filled = [_filled(name, image) for name, image in scenes.items()]
    parts = [
        f"PSNR in dB after {ITERATIONS} iterations, {first}:",
        table(curves.rows),
        "Removal of noise, best iterate and the one at the end:",
        table(removed),
        f"Holes of radius {RADIUS}, PSNR within:",
        table(filled),
    ]
    return Figure(text="\n\n".join(parts), rows=[*rows, *removed, *filled], picture=_picture(curves))


def _unit(image: Any) -> Array:
    return (image - image.min()) / np.ptp(image.astype(np.float64))


def _removed(name: str, image: Array, known: lab.Impedance | None) -> dict[str, Any]:
    """Best and last PSNR of each generator where noise is added; NLM beside it."""
    noisy = lab.targets_of(image, SIGMA, 0)["image + noise"]
    row: dict[str, Any] = {"image": name, "noisy": psnr(noisy, image, data_range=1.0)}
    plain = denoise_nl_means(noisy, patch_size=5, patch_distance=6, h=0.8 * SIGMA, sigma=SIGMA)
    row["non-local means"] = psnr(plain, image, data_range=1.0)
    for label, knobs in GENERATORS.items():
        if known is None:
            run = napari_dip.iterate(
                "denoise", noisy, preset="denoise-small", runs=1, average=0.0, iterations=ITERATIONS, stop="iterations",
                skip_bad_pixels=False, interval=math.inf, snapshot_every=6, threads=1, **knobs,
            )  # fmt: skip
            found = [psnr(shown.image, image, data_range=1.0) for shown in run if shown.iteration]
        else:
            found = list(known.truth[label])
        row[label] = f"{max(found):.1f} / {found[-1]:.1f}"
    print(row, flush=True)
    return row


def _filled(name: str, image: Array) -> dict[str, Any]:
    """PSNR within a disc that is missing."""
    y, x = np.indices(image.shape) - np.reshape(image.shape, (2, 1, 1)) // 2
    hole = y**2 + x**2 <= RADIUS**2
    given = np.where(hole, 0, image)

    def within(made: Array) -> float:
        return psnr(made[hole], image[hole], data_range=1.0)

    row = {"image": name, "biharmonic": within(inpaint_biharmonic(given, hole))}
    for label, knobs in FILLED.items():
        result = napari_dip.inpaint(
            given, hole, preset="inpaint-small", iterations=ITERATIONS, refine=0, stop="iterations", threads=1,
            skip_bad_pixels=False, progress=False, **knobs,
        )  # fmt: skip
        row[label] = within(result.image)
    print(row, flush=True)
    return row


def _picture(curves: lab.Impedance) -> Image.Image:
    """The curves of each generator: PSNR from 5 to 45 dB against iterations on a logarithmic scale."""
    font, columns = ImageFont.load_default(size=12), 3
    rows = math.ceil(len(curves.fitted) / columns)
    made = Image.new("RGB", (columns * WIDE, rows * HIGH + 20), "white")
    draw = ImageDraw.Draw(made)
    steps = np.log(curves.iterations) / math.log(curves.iterations[-1])
    for i, (name, each) in enumerate(curves.fitted.items()):
        left, top = (i % columns) * WIDE + 28, (i // columns) * HIGH + 20
        wide, high = WIDE - 40, HIGH - 40
        draw.rectangle([left, top, left + wide, top + high], outline="#999999")
        draw.text((left + 4, top - 16), name, fill="black", font=font)
        for level in (10, 20, 30, 40):
            y = top + high * (1 - (level - 5) / 40)
            draw.line([left, y, left + wide, y], fill="#e4e4e4")
            draw.text((left - 18, y - 7), str(level), fill="#555555", font=font)
        for target, colour in zip(lab.TARGETS, COLOURS, strict=True):
            heights = top + high * (1 - (np.clip(each[target], 5, 45) - 5) / 40)
            draw.line([*zip(left + wide * steps, heights, strict=True)], fill=colour, width=2)
    for i, (target, colour) in enumerate(zip(lab.TARGETS, COLOURS, strict=True)):
        draw.text((28 + 110 * i, rows * HIGH + 2), target, fill=colour, font=font)
    draw.text((28 + 440, rows * HIGH + 2), f"dB, {curves.iterations[-1]} iterations", fill="black", font=font)
    return made
