"""A guided result says what of the guide its measurement does not support."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import napari_dip
from napari_dip.core.judge.guided import Unsupported
from napari_dip.core.noise.model import Noise
from napari_dip.guides import on_grid
from napari_dip.plan.inputs import read_slices
from napari_dip.run import doubts
from tests.bad_inputs import plain

HOW: dict[str, Any] = {"preset": "denoise-small", "iterations": 2, "runs": 1, "channels": 4, "progress": False}


def test_the_result_warns_with_the_place_and_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def judged(image: Any, measured: Any, guide: Any, noise: Any) -> Unsupported:
        asked.append((image, measured, guide.shape))
        return Unsupported(share=0.03, unconfirmed=0.2, strength=9.0, place=(4, 5))

    monkeypatch.setattr(doubts, "unsupported", judged)
    image, guide = plain().astype(np.float32), np.random.default_rng(1).random(plain().shape)
    result = napari_dip.denoise(image, guide=guide, code="guide", read_noise=5.0, **HOW)
    ((fitted, measured, shape),) = asked
    assert np.array_equal(measured, image)
    assert np.allclose(fitted, image - result.residual)
    assert shape == (1, *image.shape)
    (said,) = (each for each in result.warnings if "guide" in each)
    assert "In 3 % of the image" in said
    assert "(4, 5), 9.0 standard errors" in said
    assert "In 20 % of the image" in said
    assert not any("guide" in each for each in napari_dip.denoise(image, read_noise=5.0, **HOW).warnings)
    slices = read_slices(np.stack([image] * 2), None, None, 1)
    noise = Noise(gain=0, offset=0, read_noise=5, sigma=5)
    said = doubts.guide_sentence(slices, np.zeros_like(slices.values), guide[None], lambda _: noise)
    assert said.startswith("In 3 % of slice 0, structure of the guide")


def test_a_guide_of_other_pixels_is_looked_up_on_the_grid_of_the_image() -> None:
    y, x = np.mgrid[:24, :32].astype(float)
    ramp = 3 * y + x
    coarse = ramp.reshape(12, 2, 16, 2).mean((1, 3))
    same = on_grid(coarse, (24, 32), size=0.1, guide_size=0.2)
    assert np.allclose(same[1:-1, 1:-1], ramp[1:-1, 1:-1])
    assert np.isfinite(same).all()
    finer = on_grid(np.kron(ramp, np.ones((3, 3))), (24, 32), size=3)
    assert np.abs(finer - ramp)[2:-2, 2:-2].max() < 1e-6
    with pytest.warns(UserWarning, match="guide covers 50% of the image"):
        half = on_grid(ramp, (24, 32), offset=(0, 16))
    assert np.allclose(half[:, 16:], ramp[:, :16])
    assert np.isnan(half[:, :16]).all()
    with pytest.raises(ValueError, match="does not reach"):
        on_grid(ramp, (24, 32), offset=100)
    with pytest.raises(ValueError, match="guide_size=.*above 0"):
        on_grid(ramp, (24, 32), guide_size=0)
    with pytest.raises(ValueError, match="as many axes"):
        on_grid(ramp, (24, 32, 2))
