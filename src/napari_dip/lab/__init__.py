"""Experiments on an image of one's own: what an untrained generator, or a trained network, takes for structure."""

from __future__ import annotations

from napari_dip.lab.ablation import Ablation, ablation, iterate_ablation
from napari_dip.lab.denoiser import denoising_network, trained_denoiser
from napari_dip.lab.experiments import begin, duration
from napari_dip.lab.explicit import EXPLICIT, Explicit, explicit, iterate_explicit
from napari_dip.lab.held_out import HeldOut, held_out, iterate_held_out
from napari_dip.lab.impedance import GENERATORS, Impedance, Point, impedance, iterate_impedance, targets_of
from napari_dip.lab.iterates import Step
from napari_dip.lab.networks import load_network
from napari_dip.lab.preimage import iterate_maximise, iterate_preimage, maximise, preimage
from napari_dip.lab.prior_samples import samples, self_similarity
from napari_dip.lab.sought import Preimage, Sought
from napari_dip.lab.textures import TEXTURES, texture, texture_network
from napari_dip.lab.trajectory import Trajectory, iterate_trajectory, trajectory
from napari_dip.tables.experiments import EXPERIMENTS, QUESTIONS, TARGETS, Experiment

__all__ = [
    "EXPERIMENTS",
    "EXPLICIT",
    "GENERATORS",
    "QUESTIONS",
    "TARGETS",
    "TEXTURES",
    "Ablation",
    "Experiment",
    "Explicit",
    "HeldOut",
    "Impedance",
    "Point",
    "Preimage",
    "Sought",
    "Step",
    "Trajectory",
    "ablation",
    "begin",
    "denoising_network",
    "duration",
    "explicit",
    "held_out",
    "impedance",
    "iterate_ablation",
    "iterate_explicit",
    "iterate_held_out",
    "iterate_impedance",
    "iterate_maximise",
    "iterate_preimage",
    "iterate_trajectory",
    "load_network",
    "maximise",
    "preimage",
    "samples",
    "self_similarity",
    "targets_of",
    "texture",
    "texture_network",
    "trained_denoiser",
    "trajectory",
]
