"""Versions, devices and memory, for a report of a fault: ``napari-dip info`` prints them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch

from napari_dip import machine
from napari_dip.tables.record import software

_BESIDE = (
    "napari",
    "magicgui",
    "pyqtgraph",
    "PyQt6",
    "PySide6",
    "scikit-image",
    "zarr",
    "dask",
    "distributed",
    "tifffile",
)


def about() -> list[str]:
    """Lines of words and figures, fit to be pasted."""
    versions = software()
    python, system = versions.pop("python"), versions.pop("platform")
    versions |= {name: version for name in _BESIDE if (version := _version(name))}
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = psutil.virtual_memory()
    return [
        *(f"{name} {version}" for name, version in versions.items()),
        f"Python {python}, {system}, {platform.release()}",
        f"Processor: {processor()}, {usable} of {os.cpu_count()} cores may be used",
        f"Memory: {memory.total / 1e9:.1f} GB, of which a run may take {machine.free('cpu') / 1e9:.1f} GB now",
        *_devices(),
    ]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def processor() -> str:
    """Name of the processor, by the system."""
    name, cpuinfo = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return name


def _devices() -> list[str]:
    """The device that ``auto`` takes, and the GPUs that there are."""
    best = machine.choose("auto")
    half = "bfloat16" if machine.has_bfloat16(best.name) else "float32"
    lines = [f"Device: {best} ({best.reason}), in {half}. Available: {', '.join(machine.available())}"]
    for name in machine.available():
        if name.startswith("cuda"):
            gpu = torch.cuda.get_device_properties(name)
            sizes = f"{gpu.total_memory / 1e9:.1f} GB, {machine.free(name) / 1e9:.1f} GB free"
            lines.append(f"{name}: {gpu.name}, {sizes}, compute {gpu.major}.{gpu.minor}, CUDA {torch.version.cuda}")
    return lines
