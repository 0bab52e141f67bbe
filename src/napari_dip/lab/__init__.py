"""Experiments on an image of one's own: what an untrained generator takes for structure, and how fast."""

from __future__ import annotations

from napari_dip.lab.ablation import QUESTIONS, Ablation, ablation, iterate_ablation
from napari_dip.lab.impedance import GENERATORS, TARGETS, Impedance, Point, impedance, iterate_impedance, targets_of
from napari_dip.lab.iterates import Step
from napari_dip.lab.prior_samples import samples, self_similarity

__all__ = [
    "GENERATORS",
    "QUESTIONS",
    "TARGETS",
    "Ablation",
    "Impedance",
    "Point",
    "Step",
    "ablation",
    "impedance",
    "iterate_ablation",
    "iterate_impedance",
    "samples",
    "self_similarity",
    "targets_of",
]
