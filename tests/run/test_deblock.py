"""Compression artefacts: a task that takes areas of one value for measured, and ends where the iterates vary least."""

from __future__ import annotations

import numpy as np

import napari_dip
from napari_dip.command.report import account


def test_areas_of_one_value_are_what_a_compression_leaves_and_no_padding() -> None:
    image = np.random.default_rng(0).normal(100, 10, (40, 48)).astype(np.uint8)
    image[:, 24:] = 0
    denoised, deblocked = (
        getattr(napari_dip, task)(image, progress=False, channels=4, iterations=2, runs=1)
        for task in ("denoise", "deblock")
    )
    assert denoised.record["padding_pixels"] == 40 * 24
    assert deblocked.record["padding_pixels"] == 0
    assert np.ptp(deblocked.image[:, 30:]) > 0


def test_the_run_ends_by_the_variance_of_its_iterates_and_judges_no_noise() -> None:
    image = np.random.default_rng(0).integers(0, 255, (24, 24), np.uint8)
    result = napari_dip.deblock(image, progress=False, channels=4, iterations=2, preset="deblock-small")
    assert str(result.rule) == "variance, because of the preset 'deblock-small'"
    assert result.verdict is None
    assert not [line for line in account(result) if line.startswith(("Noise", "Residual", "Warning"))]
    assert napari_dip.PRESETS["deblock-small"].stop == napari_dip.PRESETS["deblock-large"].stop == "variance"
