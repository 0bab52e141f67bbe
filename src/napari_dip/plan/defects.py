"""Padding, hot and dead lines, and bad pixels of an image: found, and counted among what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.noise.impulses import clusters, defective, filled, lines
from napari_dip.core.noise.model import Noise
from napari_dip.core.noise.padding import padding_of
from napari_dip.plan.inputs import Slices
from napari_dip.tables.settings import Settings
from napari_dip.tables.tasks import Task


@dataclass(frozen=True)
class Skips:
    """Padding and bad pixels to leave out; found before the noise, and so before there are settings."""

    padding: bool
    bad_pixels: bool

    @classmethod
    def of(cls, task: Task, settings: Settings | None, changes: dict[str, Any]) -> Skips:
        """Skips of a task, by its settings and the changes of the user."""

        def said(name: str) -> bool:
            return bool(changes.get(name, getattr(settings, name, True)))

        return cls(*(name in task.knobs and said(name) for name in ("skip_padding", "skip_bad_pixels")))

    def areas(self, slices: Slices) -> Slices:
        """Slices with padding and lines among what is missing."""
        slices = without_padding(slices) if self.padding else slices
        return without_lines(slices) if self.bad_pixels else slices

    def pixels(self, slices: Slices, noise: Noise | None) -> Slices:
        """Slices with single bad pixels among what is missing."""
        return without_bad_pixels(slices, noise) if self.bad_pixels and noise else slices


def without_padding(slices: Slices) -> Slices:
    """Slices with areas of one constant value that no camera gives among what is missing."""
    padding = np.zeros(slices.missing.shape, bool)
    for place in np.ndindex(*slices.values.shape[:2]):
        padding[place] = padding_of(slices.values[place], slices.missing[place])
    return replace(slices, missing=slices.missing | padding, padding=padding) if padding.any() else slices


def without_lines(slices: Slices) -> Slices:
    """Slices with hot and dead lines, of which the values vary, among what is missing."""
    return _without(slices, lines)


def without_bad_pixels(slices: Slices, noise: Noise) -> Slices:
    """Slices with pixels that are hot or dead beyond doubt among what is missing."""
    if noise.sigma <= 0 or noise.warning:
        return slices
    return _without(slices, lambda values, known: clusters(values, noise) | defective(values, noise))


Find = Callable[[npt.NDArray[np.float64], npt.NDArray[np.bool_]], npt.NDArray[np.bool_]]


def _without(slices: Slices, find: Find) -> Slices:
    """Slices with the bad pixels that are found in images (..., Y, X), partly known, among what is missing."""
    shape = tuple(n for n in slices.values.shape[2:] if n > 1)
    bad = np.zeros(slices.missing.shape, bool)
    if len(shape) < 2 or min(shape[-2:]) < 5:
        return slices
    for place in np.ndindex(*slices.values.shape[:2]):
        missing = slices.missing[place].reshape(shape)
        if not missing.all():
            values = filled(slices.values[place].reshape(shape).astype(np.float64), missing)
            bad[place] = find(np.nan_to_num(values), ~missing).reshape(slices.values.shape[2:])
    bad &= ~slices.missing
    if not bad.any():
        return slices
    return replace(slices, missing=slices.missing | bad, bad=bad if slices.bad is None else slices.bad | bad)
