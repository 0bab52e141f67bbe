"""How time and memory grow with the image: ``python -m benchmarks scale``.

Whole runs of squares with photon noise, each in a process of its own, beside what `napari_dip.estimate` says before
them; written into ``benchmarks/results/`` and drawn into ``docs/performance.png``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks import memory, report

RESULTS = Path(__file__).parent / "results"
PICTURE = Path(__file__).parent.parent / "docs" / "performance.png"
PRESETS = ("denoise-self", "denoise-small")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sides", nargs="+", type=int, default=(64, 128, 256, 512), metavar="N", help="pixels")
    parser.add_argument("--presets", nargs="+", default=PRESETS, metavar="NAME", help=f"default: {' '.join(PRESETS)}")
    parser.add_argument("--device", default="auto", help="where to compute (default: auto)")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the table goes")
    parser.add_argument("--picture", type=Path, default=PICTURE, metavar="PNG", help="where the plot goes")


def main(options: argparse.Namespace) -> int:
    """Measure all runs; write a table, a JSON and a plot."""
    where = report.where(options.device)
    rows: list[dict[str, Any]] = []
    for preset in options.presets:
        for side in options.sides:
            knobs = {"preset": preset, "device": options.device}
            rows.append(memory.measured((side, side), knobs))
            print(rows[-1], flush=True)
    lines = ["| preset | pixels | s | estimate, s | MB | estimate, MB |", "|---" * 6 + "|"]
    lines += [
        f"| {row['knobs']['preset']} | {row['shape'][0]} x {row['shape'][1]} | {row['seconds']:.0f} | "
        f"{row['seconds_estimate']:.0f} | {row['measured'] / 1e6:.0f} | {row['estimate'] / 1e6:.0f} |"
        for row in rows
    ]
    name = "scale" + ("-gpu" if rows[0]["gpu"] else "")
    print(report.save(options.results, name, "Whole runs", "\n".join(lines), {"runs": rows}, where))
    draw(rows, where, options.picture)
    return 0


def draw(rows: list[dict[str, Any]], where: dict[str, str], path: Path) -> None:
    """Seconds and memory against pixels: measured as dots, estimated as lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    kinds = (("seconds", "seconds_estimate", "s", 1), ("measured", "estimate", "memory, GB", 1e9))
    for panel, (measured, estimated, label, unit) in zip(panels, kinds, strict=True):
        for colour, preset in enumerate(dict.fromkeys(row["asked"]["preset"] for row in rows)):
            own = [row for row in rows if row["asked"]["preset"] == preset]
            pixels = [row["shape"][0] * row["shape"][1] for row in own]
            panel.loglog(pixels, [row[measured] / unit for row in own], "o", color=f"C{colour}", label=preset)
            panel.loglog(pixels, [row[estimated] / unit for row in own], "-", color=f"C{colour}", label="estimate")
        panel.set(xlabel="pixels", ylabel=label)
        panel.grid(which="both", alpha=0.2)
    panels[0].legend()
    figure.suptitle(where["on"], fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
