"""Stabilised noise has one strength, and the way there and back has no bias."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_dip.core.noise.model import Noise
from napari_dip.core.noise.stabilise import Expected, Stabiliser

CAMERAS = [(1, 0, 0), (4.5, 100, 0), (4.5, 100, 9), (0.5, 100, 5), (20, -3, 20), (0, 10, 7)]


def stabiliser(gain: float, offset: float, read_noise: float) -> Stabiliser:
    return Stabiliser(Noise(gain=gain, offset=offset, read_noise=read_noise, sigma=read_noise))


@pytest.mark.parametrize(("gain", "offset", "read_noise"), CAMERAS[:5])
@pytest.mark.parametrize("peak", [2, 10, 100])
def test_there_and_back_keeps_the_mean_of_the_photons(gain: float, offset: float, read_noise: float, peak: int) -> None:
    random = np.random.default_rng(peak)
    light = np.linspace(0.1, peak, 32)
    frames = gain * random.poisson(light, (20000, 32)) + offset + random.normal(0, read_noise, (20000, 32))
    stabilise = stabiliser(gain, offset, read_noise)
    back = (stabilise.inverse(stabilise.forward(frames).mean(axis=0)) - offset) / gain
    # what averages of so many frames scatter by, beside the bias
    scatter = 4 * np.sqrt((light + (read_noise / gain) ** 2) / frames.size).mean()
    assert back.mean() == pytest.approx(light.mean(), rel=0.005, abs=scatter)


@pytest.mark.parametrize(("gain", "offset", "read_noise"), CAMERAS)
def test_the_noise_becomes_of_unit_variance(gain: float, offset: float, read_noise: float) -> None:
    random = np.random.default_rng(0)
    frames = gain * random.poisson(20, 100_000) + offset + random.normal(0, read_noise, 100_000)
    assert stabiliser(gain, offset, read_noise).forward(frames).std() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(("gain", "offset", "read_noise"), CAMERAS)
def test_the_inverse_undoes_the_expectation_which_rises(gain: float, offset: float, read_noise: float) -> None:
    mean = offset + np.linspace(-20, 3000, 40001)
    stabilise = stabiliser(gain, offset, read_noise)
    expected = stabilise.expected(mean)
    assert (np.diff(expected) > 0).all()
    np.testing.assert_allclose(stabilise.inverse(expected), mean, atol=1e-3 * max(gain, 1), rtol=1e-5)


def test_the_expectation_is_that_of_the_photons() -> None:
    light = np.array([0, 0.5, 3, 30, 300])
    frames = np.random.default_rng(0).poisson(light, (200_000, 5)) * 2.0
    stabilise = stabiliser(2, 0, 0)
    np.testing.assert_allclose(stabilise.expected(2 * light), stabilise.forward(frames).mean(axis=0), atol=0.01)


@pytest.mark.parametrize(("gain", "offset", "read_noise"), CAMERAS)
def test_tensors_follow_arrays_and_know_their_slope(gain: float, offset: float, read_noise: float) -> None:
    stabilise = stabiliser(gain, offset, read_noise)
    mean = torch.linspace(offset - 5, offset + 500, 999, requires_grad=True)
    expected = Expected(stabilise)(mean)
    expected.sum().backward()
    array = mean.detach().double().numpy()
    np.testing.assert_allclose(expected.detach().numpy(), stabilise.expected(array), atol=2e-4)
    slope = (stabilise.expected(array + 0.01) - stabilise.expected(array - 0.01)) / 0.02
    np.testing.assert_allclose(mean.grad[20:].numpy(), slope[20:], rtol=0.02)
