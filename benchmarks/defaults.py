"""What the defaults give on real images: ``python -m benchmarks.defaults --data FOLDER``.

Per image, on 128x128 centres: the input and a classical method, the default of the task, and with ``--original`` the
preset of the original notebooks. PSNR in dB against ground truth, for intensities from 0 to 255, and seconds.

FOLDER holds ``grey/*.png``, ``inpainting/house_{GT,masked}.png`` and ``superresolution/{butterfly,bird}_GT.bmp``.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage import color, io, restoration, transform

from napari_dip import Result, denoise, inpaint, superresolve

RESULTS = Path(__file__).parent / "results"
SIZE = 128


@dataclass
class Case:
    """One image with its truth, what is done to it, and what came of it."""

    task: str
    name: str
    truth: np.ndarray
    observed: np.ndarray
    arguments: dict[str, Any]
    original: str
    classical: tuple[str, np.ndarray]
    psnr: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    iterations: dict[str, int] = field(default_factory=dict)


def centre(image: np.ndarray) -> np.ndarray:
    """The 128x128 pixels in the middle, as float64."""
    top, left = (n // 2 - SIZE // 2 for n in image.shape[:2])
    return image[top : top + SIZE, left : left + SIZE].astype(np.float64)


def psnr(truth: np.ndarray, image: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, peak 255."""
    return float(10 * np.log10(255**2 / np.mean((truth - image) ** 2)))


def cases(data: Path) -> Iterator[Case]:
    """All images of the folder: noise of sigma 25, half of the pixels missing, a quarter of the resolution."""
    for path in sorted((data / "grey").glob("*.png")):
        truth = centre(io.imread(path))
        noisy = truth + np.random.default_rng(0).normal(0, 25, truth.shape)
        means = restoration.denoise_nl_means(noisy, h=0.8 * 25, sigma=25, patch_size=5, patch_distance=10)
        yield Case("denoise", path.stem, truth, noisy, {}, "original-denoise", ("non-local means", means))
    for path in sorted((data / "inpainting").glob("*_masked.png")):
        name = path.stem.removesuffix("_masked")
        truth, masked = centre(io.imread(path.with_name(f"{name}_GT.png"))), centre(io.imread(path))
        missing = masked == 0
        filled = restoration.inpaint_biharmonic(masked, missing)
        yield Case("inpaint", name, truth, masked, {"mask": missing}, "original-inpaint-half", ("biharmonic", filled))
    for path in sorted((data / "superresolution").glob("*_GT.bmp")):
        name = path.stem.removesuffix("_GT")
        truth = centre(color.rgb2ycbcr(io.imread(path))[..., 0])
        coarse = lanczos(truth, 4)
        cubic = transform.resize(coarse, truth.shape, order=3, mode="edge")
        yield Case("superresolve", name, truth, coarse, {"factor": 4}, "original-superresolve-4", ("bicubic", cubic))


def lanczos(image: np.ndarray, factor: int) -> np.ndarray:
    """The low-resolution image as the original authors made theirs: by a Lanczos filter."""
    from napari_dip.core.operators import Downsample

    down = Downsample((factor, factor), "lanczos2")
    return down(torch.from_numpy(image).float()[None, None])[0, 0].double().numpy()


def restore(case: Case, **knobs: Any) -> Result:
    """The case's task with some settings."""
    run = {"denoise": denoise, "inpaint": inpaint, "superresolve": superresolve}[case.task]
    return run(case.observed, **case.arguments, **knobs)


def measure(case: Case, with_original: bool, **knobs: Any) -> None:
    """Fill in what each method gives."""
    name, image = case.classical
    if case.observed.shape == case.truth.shape:
        case.psnr["input"] = psnr(case.truth, case.observed)
    case.psnr[name] = psnr(case.truth, image)
    presets = {"default": "auto", **({"original": case.original} if with_original else {})}
    for label, preset in presets.items():
        result = restore(case, preset=preset, **knobs)
        case.psnr[label] = psnr(case.truth, result.image)
        case.seconds[label], case.iterations[label] = result.seconds, result.iterations


def table(rows: list[Case]) -> str:
    """Markdown: a row an image, and their mean."""
    columns, timed = list(rows[0].psnr), list(rows[0].seconds)
    head = [rows[0].task, *columns, *(f"{name}: iterations, s" for name in timed)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for case in rows:
        cells = [case.name, *(f"{case.psnr[c]:.2f}" for c in columns)]
        cells += [f"{case.iterations[c]}, {case.seconds[c]:.0f}" for c in timed]
        lines.append("| " + " | ".join(cells) + " |")
    means = [f"{np.mean([case.psnr[c] for case in rows]):.2f}" for c in columns]
    means += [f"{np.mean([case.seconds[c] for case in rows]):.0f}" for c in timed]
    return "\n".join([*lines, "| mean | " + " | ".join(means) + " |"])


def hardware(device: str) -> str:
    """The processor or the GPU, and the number of threads."""
    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        return torch.cuda.get_device_name(0)
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the images")
    parser.add_argument("--task", choices=["denoise", "inpaint", "superresolve"], help="this task alone")
    parser.add_argument("--images", nargs="+", help="these names alone, such as 02 house butterfly")
    parser.add_argument("--original", action="store_true", help="also the original preset: hours on a CPU")
    parser.add_argument("--iterations", type=int, help="so many for all presets, for a quick look: nothing is written")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    done = []
    for case in cases(options.data):
        if options.task not in (None, case.task) or (options.images and case.name not in options.images):
            continue
        knobs = {"iterations": options.iterations} if options.iterations else {}
        measure(case, options.original, device=options.device, **knobs)
        print(case.task, case.name, {k: round(v, 2) for k, v in case.psnr.items()}, case.seconds, flush=True)
        done.append(case)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    where = f"commit {commit.strip()}, {hardware(options.device)}, torch {torch.__version__}"
    RESULTS.mkdir(exist_ok=True)
    for task in dict.fromkeys(case.task for case in done):
        rows = [case for case in done if case.task == task]
        text = f"# Default of {task} on 128x128 centres\n\nPSNR in dB; {where}.\n\n{table(rows)}\n"
        print(text)
        if options.iterations:
            continue
        file = RESULTS / f"{task}{'-original' if options.original else ''}.md"
        file.write_text(text)
        keep = ("name", "psnr", "seconds", "iterations")
        plain = [{key: value for key, value in asdict(case).items() if key in keep} for case in rows]
        file.with_suffix(".json").write_text(json.dumps({"where": where, "images": plain}, indent=1) + "\n")


if __name__ == "__main__":
    main()
