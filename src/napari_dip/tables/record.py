"""Provenance: what made this image, as plain values that JSON can hold."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_dip.tables.parts import OwnPart

if TYPE_CHECKING:
    from napari_dip.core.noise.model import Noise
    from napari_dip.core.result import Result
    from napari_dip.plan.plan import Plan
    from napari_dip.tables.settings import Settings


def fingerprint(values: npt.NDArray[Any]) -> str:
    """SHA-256 of an array's values in C order, little-endian, with its type and shape."""
    if values.dtype.kind == "f" and values.dtype.itemsize > 8:  # long doubles have undefined bytes
        values = values.astype(np.float64)
    plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{plain.dtype.str}{plain.shape}".encode())
    digest.update(plain.data if plain.size else b"")
    return digest.hexdigest()


def software() -> dict[str, str]:
    """Versions of what took part, and the machine's architecture."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        **{name: _version(name) for name in ("napari-dip", "torch", "numpy")},
    }


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from a source tree
        return "not installed"


def describe(plan: Plan, result: Result) -> dict[str, Any]:
    """The record of how a result came about, fit for JSON."""
    return {
        **plan.definition,
        "missing_pixels": int(plan.slices.missing.sum()),
        "bad_pixels": 0 if plan.slices.bad is None else int(plan.slices.bad.sum()),
        "padding_pixels": 0 if plan.slices.padding is None else int(plan.slices.padding.sum()),
        "input": {
            "shape": list(plan.slices.layout(plan.slices.values).shape),
            "dtype": str(plan.slices.values.dtype),
            "channel_axis": plan.slices.channel_axis,
            "leading_axes": len(plan.slices.leading),
            "sha256": fingerprint(plan.slices.values),
        },
        "settings": result.settings.as_dict(),
        "device": {"name": result.device.name, "reason": result.device.reason},
        "iterations": result.iterations,
        "seconds": round(result.seconds, 3),
        "stop_reason": result.stop_reason,
        "ended": result.end.reason.name,
        "method": {"name": result.method.name, "reason": result.method.reason},
        "stop_rule": {"name": result.rule.name, "reason": result.rule.reason},
        "marks": list(result.marks),
        "noise": None if result.noise is None else _plain(result.noise),
        "residual_verdict": None if result.verdict is None else asdict(result.verdict),
        "own_parts": {name: part.account for name, part in _own_parts(plan).items()},
        "warnings": list(result.warnings),
        "uncertainty": None if result.uncertainty is None else _source(result.settings),
        "events": [{"iteration": e.iteration, "kind": e.kind, "message": e.message} for e in result.history.events],
        "software": software(),
        "finished": now(),
    }


def _own_parts(plan: Plan) -> dict[str, OwnPart]:
    """Parts of the user's own, by name: of the method and of the problem."""
    named = {name: getattr(plan.settings, name) for name in ("generator", "regulariser")}
    return {name: part for name, part in named.items() if isinstance(part, OwnPart)} | plan.request.own_parts


def _source(settings: Settings) -> str:
    """Source of the uncertainty: runs, iterates, samples or disagreement."""
    own = settings.method.uncertainty_from
    return f"runs and {own}" if settings.runs > 1 else own


def _plain(noise: Noise) -> dict[str, Any]:
    values = {name: value for name, value in vars(noise).items() if name != "autocorrelation"}
    return {**values, "contrast": noise.contrast if np.isfinite(noise.contrast) else None}


def read(source: str | Path) -> dict[str, Any]:
    """The record of a restoration, or settings by name: of the text, the file or the image that `source` is.

    Raises
    ------
    OSError, ValueError
        As `Settings.from_json` does.
    """
    from napari_dip.io import files  # imports tifffile and Pillow, which most settings do without

    given = isinstance(source, str) and source.lstrip().startswith(("{", "["))
    if not given and files.is_image(source):
        found = files.read_record(source)
        if not isinstance(found.get("settings"), dict):
            raise ValueError(f"'{source}' has no settings in it: it is not an image that napari-dip restored and wrote")
        return found
    name = "the text" if given else f"'{source}'"
    try:
        found = json.loads(str(source) if given else Path(source).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # bytes that are no text are a ValueError too
        raise ValueError(f"{name} is not JSON: {error}") from None
    found = found.get("napari-dip", found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not isinstance(found.get("settings", {}), dict):
        raise ValueError(f"{name} is not an object with settings by name, as Settings.to_json() writes it")
    return found
