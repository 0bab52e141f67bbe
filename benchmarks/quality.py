"""How good the restored images are: ``python -m benchmarks quality --data FOLDER``.

Per image: the input, classical methods told the true noise, similar patches alone, Zero-Shot Noise2Noise, ours with
everything on auto and, if asked for, the best iterate of our run by the truth and the preset of the original notebooks.
PSNR is told plain and after gain and offset were fitted, as frames differ in brightness from the mean of fifty. Seconds
are those of the processor. Written into ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import pickle
import sys
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks import classical, images, methods, report, zeroshot
from napari_dip.tables.presets import QUALITIES

RESULTS = Path(__file__).parent / "results"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with the sets of images; see benchmarks/images.py"
    )
    parser.add_argument("--task", choices=list(images.SETS), help="this task alone")
    parser.add_argument(
        "--images", nargs="+", default=(), metavar="NAME", help="these sets or images alone: fmd 02 grey-25/0*"
    )
    parser.add_argument("--crop", type=int, default=0, metavar="N", help="NxN pixels in the middle; 0 for whole images")
    parser.add_argument("--device", default="auto", help="of our runs: auto, cpu, cuda")
    parser.add_argument("--original", action="store_true", help="also the preset of the original: hours on a CPU")
    parser.add_argument("--oracle", action="store_true", help="also the best iterate of our run, by the truth")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["*"],
        metavar="NAME",
        help="wildcards of methods, a part of a table, written nowhere unless --results is given: ours BM3D* NLM",
    )
    parser.add_argument("--quality", choices=QUALITIES, default="balanced", help="of our runs")
    parser.add_argument(
        "--iterations", type=int, help="so many in neural runs: a quick look, written nowhere unless --results is given"
    )
    parser.add_argument(
        "--results", type=Path, metavar="FOLDER", help="where tables and pictures go, by default beside this file"
    )
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="keeps what the classical methods gave, for next time"
    )


def main(options: argparse.Namespace) -> int:
    """Measure what was asked for; write a table, a JSON and a picture for each set of images."""
    knobs: dict[str, Any] = {"device": options.device}
    if options.iterations:
        knobs["iterations"] = options.iterations
    ours = {**knobs, "quality": options.quality, "oracle": options.oracle}
    missing: set[str] = set()
    rows: dict[str, list[report.Row]] = {}
    for case in images.cases(options.data, options.task, tuple(options.images), options.crop):
        row = report.Row(case)
        runs: dict[str, dict[str, Any]] = {**{name: {} for name in classical.names(case)}, "ours": ours}
        if options.original:
            runs["original"] = knobs
        runs = {name: runs[name] for name in runs if any(fnmatch(name, pattern) for pattern in options.methods)}
        for name, arguments in runs.items():
            try:
                outcome = measured(name, case, options.cache, arguments)
            except classical.Missing as error:
                missing.add(str(error))
                continue
            for label, image in outcome.images.items():
                row.add(label, image, outcome.seconds, outcome.memory, outcome.notes if label == name else {})
        for label, image in case.published.items():
            row.add(label, image, 0.0, 0, {})
        print(case.group, case.name, {k: round(f.psnr, 2) for k, f in row.figures.items()}, flush=True)
        rows.setdefault(case.group, []).append(row)
    if not rows:
        print(f"no image of {options.data} was asked for: see the table in benchmarks/images.py", file=sys.stderr)
        return 1
    where = report.where(options.device)
    size = f"{options.crop}x{options.crop} centres" if options.crop else "whole images"
    other = [] if options.quality == "balanced" else [options.quality]
    whole = not options.iterations and options.methods == ["*"]
    for group, done in rows.items():
        name = "-".join(["quality", group, *([str(options.crop)] if options.crop else []), *other])
        title = f"Quality of {done[0].case.task}: {', '.join([group, size, *other])}"
        folder = options.results or (RESULTS if whole else None)
        print(report.write(folder, name, title, done, where) if folder else f"# {title}\n\n{report.tables(done)}\n")
    for sentence in sorted(missing):
        print("left out:", sentence, file=sys.stderr)
    return 0


def measured(name: str, case: images.Case, cache: Path | None, arguments: dict[str, Any]) -> methods.Outcome:
    """What a method gives; of a classical one, what the cache remembers for this very image, noise and machine."""
    if cache is None or name in methods.BEST or "patches" in name:
        return methods.measure(name, case, **arguments)
    versions = [_version(package) for package in ("scikit-image", "bm3d", "numpy", "opencv-python-headless")]
    key = hashlib.sha256(repr((name, case.noise, versions, report.hardware("cpu"))).encode())
    stabilised = [importlib.import_module("napari_dip.core.noise.stabilise")] if "VST" in name else []
    for module in (classical, zeroshot, *stabilised):
        key.update(Path(str(module.__file__)).read_bytes())
    for array in (case.observed, case.arguments.get("mask"), case.arguments.get("psf"), case.truth):
        if array is not None:
            key.update(repr((array.shape, array.dtype)).encode() + array.tobytes())
    file = cache / f"{key.hexdigest()}.pickle"
    if file.exists():
        return pickle.loads(file.read_bytes())
    outcome = methods.measure(name, case, **arguments)
    cache.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps(outcome))
    return outcome


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
