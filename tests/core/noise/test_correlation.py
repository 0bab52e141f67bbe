"""Noise that neighbours share is made as told, and split into grids that together are the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_dip.core.noise.correlation import (
    autocorrelation_of,
    coloured,
    every,
    phases,
    plane_of,
    spectrum,
    strides_of,
)
from napari_dip.core.noise.model import Noise

LINE = np.array([0.2, 0.6, 1, 0.6, 0.2])
SHARED = Noise(gain=0, offset=0, read_noise=1, sigma=1, correlation=0.6, autocorrelation=np.outer(LINE, LINE))


def test_noise_of_a_known_autocorrelation_has_it() -> None:
    factor = spectrum(SHARED.autocorrelation, (64, 64))
    white = torch.randn(50, 64, 64, generator=torch.Generator().manual_seed(0))
    noise = coloured(white, factor, 2)
    assert noise.std().item() == pytest.approx(1, abs=0.03)
    assert (noise * noise.roll(1, -1)).mean().item() == pytest.approx(0.6, abs=0.04)
    assert torch.equal(coloured(white, spectrum(np.ones((1, 1)), (64, 64)), 2), white)


@pytest.mark.parametrize(
    ("lines", "shape", "strides"),
    [
        ([[1], [1]], (30, 30), (1, 1)),
        ([LINE, LINE], (30, 30), (2, 2)),
        ([[0.05, 1, 0.05], [0.6, 1, 0.6]], (30, 30), (1, 2)),  # shared along the rows alone
        ([[-0.4, 0.2, 1, 0.2, -0.4], [0.3, 0.6, 1, 0.6, 0.3]], (30, 30), (1, 3)),  # the same, as badly as it is seen
        ([[0.5, 0.8, 1, 0.8, 0.5], LINE], (30, 30), (3, 2)),  # beyond what is known of it
        ([LINE, LINE], (1, 30), (1, 2)),
        ([[1], LINE, LINE], (5, 30, 30), (1, 2, 2)),
    ],
)
def test_strides_lead_to_noise_that_is_nearly_independent(
    lines: list[list[float]], shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    autocorrelation = np.asarray(np.einsum(*[x for i, line in enumerate(lines) for x in (np.array(line, float), [i])]))
    assert strides_of(autocorrelation, shape) == strides
    left = every(autocorrelation, strides)
    assert left[tuple(n // 2 for n in left.shape)] == 1
    assert all(n % 2 for n in left.shape)


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (2, 3), (1, 2, 2)])
def test_grids_are_the_image(strides: tuple[int, ...]) -> None:
    seen = np.zeros((2, *(7, 8, 9)[: len(strides)]), int)
    for grid in phases(strides):
        seen[grid] += 1
    assert (seen == 1).all()


def test_an_autocorrelation_has_the_axes_of_its_image() -> None:
    assert autocorrelation_of(SHARED, (9, 9)) is SHARED.autocorrelation
    assert autocorrelation_of(SHARED, (1, 9, 9)).shape == (1, 5, 5)
    by_hand = replace(SHARED, autocorrelation=np.ones((1, 1)))
    assert autocorrelation_of(by_hand, (1, 9, 9)).shape == (1, 3, 3)
    assert autocorrelation_of(by_hand, (9, 9))[1].tolist() == [0.6, 1, 0.6]
    white = Noise(gain=0, offset=0, read_noise=1, sigma=1)
    assert autocorrelation_of(white, (4, 9, 9)).shape == (1, 1, 1)
    assert np.array_equal(plane_of(autocorrelation_of(SHARED, (1, 9, 9))), SHARED.autocorrelation)


def test_an_autocorrelation_of_other_axes_is_refused_unless_noise_is_independent() -> None:
    with pytest.raises(ValueError, match="2 axes and the image 3"):
        autocorrelation_of(SHARED, (9, 9, 9))
    alone = np.zeros((3, 3))
    alone[1, 1] = 1
    white = Noise(gain=0, offset=0, read_noise=1, sigma=1, autocorrelation=alone)
    assert autocorrelation_of(white, (9, 9, 9)).shape == (1, 1, 1)
