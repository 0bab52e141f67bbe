"""The methods at work, by their knobs: a method is one file and one line here."""

from __future__ import annotations

from typing import Any

from napari_dip.core.methods.base import Fitter
from napari_dip.core.methods.patches import PatchesFitter
from napari_dip.core.methods.prior import PriorFitter
from napari_dip.core.methods.selfguided import SelfGuidedFitter
from napari_dip.core.problem import Problem
from napari_dip.tables.knobs import Method, Patches, Prior, SelfGuided

FITTERS: dict[type[Method], Any] = {
    Prior: PriorFitter,
    Patches: PatchesFitter,
    SelfGuided: SelfGuidedFitter,
}


def fitter_of(problem: Problem, method: Method, device: str) -> Fitter:
    """The method at work on a problem, on a device; not begun yet."""
    fitter: Fitter = FITTERS[type(method)](problem, method, device)
    return fitter
