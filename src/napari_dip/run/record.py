"""The record of a result: how it came about, as plain values that JSON can hold."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from napari_dip.core.noise.model import Noise
from napari_dip.core.result import Result
from napari_dip.plan.plan import Plan
from napari_dip.plan.request import Request
from napari_dip.tables.parts import OwnPart
from napari_dip.tables.record import now, software
from napari_dip.tables.settings import Settings


def known(plan: Plan) -> dict[str, Any]:
    """The part of a record that is known before the first iteration."""
    return {
        **plan.definition,
        "psf_size": _psf_size(plan.request),
        **plan.request.psf_said,
        "missing_pixels": int(plan.slices.missing.sum()),
        "bad_pixels": 0 if plan.slices.bad is None else int(plan.slices.bad.sum()),
        "padding_pixels": 0 if plan.slices.padding is None else int(plan.slices.padding.sum()),
        "input": {
            "shape": list(plan.slices.layout(plan.slices.values).shape),
            "dtype": str(plan.slices.values.dtype),
            "channel_axis": plan.slices.channel_axis,
            "leading_axes": len(plan.slices.leading),
            "sha256": plan.fingerprint,
        },
        "settings": plan.settings.as_dict(),
        "device": {"name": plan.device.name, "reason": plan.device.reason},
        "method": {"name": plan.method.name, "reason": plan.method.reason},
        "noise": None if plan.noise is None else noise_as_dict(plan.noise),
        "own_parts": {name: part.account for name, part in _own_parts(plan).items()},
        "software": software(),
    }


def describe(plan: Plan, result: Result) -> dict[str, Any]:
    """The record of a result of a plan."""
    return {
        **known(plan),
        "settings": result.settings.as_dict(),
        "device": {"name": result.device.name, "reason": result.device.reason},
        "iterations": result.iterations,
        "seconds": round(result.seconds, 3),
        "stop_reason": result.stop_reason,
        "ended": result.end.reason.name,
        "stop_rule": {"name": result.rule.name, "reason": result.rule.reason},
        "marks": list(result.marks),
        "residual_verdict": None if result.verdict is None else asdict(result.verdict),
        "warnings": list(result.warnings),
        "uncertainty": None if result.uncertainty is None else _source(result.settings),
        "events": [{"iteration": e.iteration, "kind": e.kind, "message": e.message} for e in result.history.events],
        "finished": now(),
    }


def _psf_size(request: Request) -> dict[str, list[int]] | None:
    """Pixels of a measured point spread function as it was given, and of the part that holds its light."""
    given = np.shape(request.said.get("psf", ()))
    if request.psf is None or len(given) < 2:
        return None
    return {"given": list(given), "used": list(request.psf.shape)}


def _own_parts(plan: Plan) -> dict[str, OwnPart]:
    """Parts of the user's own, by name: of the method and of the problem."""
    named = {name: getattr(plan.settings, name) for name in ("generator", "regulariser")}
    return {name: part for name, part in named.items() if isinstance(part, OwnPart)} | plan.request.own_parts


def _source(settings: Settings) -> str:
    """Source of the uncertainty: runs, iterates, samples or disagreement."""
    own = settings.method.uncertainty_from
    return f"runs and {own}" if settings.runs > 1 else own


def noise_as_dict(noise: Noise) -> dict[str, Any]:
    """Figures of the noise but for its autocorrelation; None where one is not known."""
    values = {name: value for name, value in vars(noise).items() if name != "autocorrelation"}
    return {name: None if value == np.inf else value for name, value in values.items()}
