"""The running average keeps to its formula; the scaling is undone exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_dip.core.averaging import RunningAverage
from napari_dip.core.intensity import Scaling, to_dtype

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
FLOATS = ("float16", "float32", "float64")


def averaged(images: torch.Tensor, decay: float) -> torch.Tensor:
    average = RunningAverage(decay)
    for image in images:
        average.add(image)
    assert average.mean is not None
    return average.mean


@pytest.mark.parametrize("decay", [0, 0.5, 0.9, 0.99999, 1])
@pytest.mark.parametrize("count", [1, 2, 30])
def test_the_average_is_its_formula(decay: float, count: int) -> None:
    images = torch.rand(count, 3, 4, generator=torch.Generator().manual_seed(0))
    weights = decay ** np.arange(count - 1, -1, -1.0)
    expected = np.tensordot(weights, images.double().numpy(), 1) / weights.sum()
    np.testing.assert_allclose(averaged(images, decay).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("decay", [0.5, 0.99, 1.0])
@pytest.mark.parametrize("count", [1, 2, 30])
def test_the_spread_is_its_formula(decay: float, count: int) -> None:
    images = 5 + torch.rand(count, 3, 4, generator=torch.Generator().manual_seed(0))
    average = RunningAverage(decay, spread=True)
    for image in images:
        average.add(image)
    weights = decay ** np.arange(count - 1, -1, -1.0)
    many = images.double().numpy()
    mean = np.average(many, 0, weights)
    expected = np.sqrt(np.average((many - mean) ** 2, 0, weights))
    spread = average.spread()
    assert spread is not None
    np.testing.assert_allclose(spread.numpy(), expected, atol=1e-6)


def test_decay_zero_is_the_last_image_whatever_was_before() -> None:
    images = torch.rand(5, 3, 4)
    assert torch.equal(averaged(images, 0), images[-1])
    images[2] = torch.nan
    assert torch.equal(averaged(images, 0), images[-1])


@pytest.mark.parametrize(("decay", "count"), [(0.9, 1000), (0.99, 10_000), (0.9999, 60_000)])
def test_a_constant_sequence_has_no_bias_that_16_bits_would_show(decay: float, count: int) -> None:
    image, average = torch.linspace(0.1, 1, 101), RunningAverage(decay)
    for _ in range(count):
        average.add(image)
    assert average.mean is not None
    torch.testing.assert_close(average.mean, image, rtol=0, atol=2.0**-17)


@pytest.mark.parametrize("decay", [0, 0.5])
def test_adding_leaves_the_image_alone(decay: float) -> None:
    image, average = torch.ones(3), RunningAverage(decay)
    average.add(image)
    average.add(torch.zeros(3))
    assert image.tolist() == [1, 1, 1]


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
def test_scaling_is_undone_to_float_precision(dtype: str) -> None:
    limits = np.iinfo(dtype) if dtype in INTEGERS else np.finfo("float16")
    values = np.linspace(float(limits.min), float(limits.max), 41)[1:-1].astype(dtype)
    scaling = Scaling(float(values.min()), float(values.max()))
    scaled = scaling.apply(values)
    assert scaled.dtype == np.float32
    assert (scaled.min(), scaled.max()) == (0, 1)
    span = float(values.max()) - float(values.min())
    np.testing.assert_allclose(scaling.undo(scaled), values.astype(np.float64), rtol=0, atol=2.0**-23 * span)


def test_scaling_works_far_from_zero() -> None:
    values = 1e6 + np.linspace(-1, 1, 21)
    scaling = Scaling(values.min(), values.max())
    np.testing.assert_allclose(scaling.undo(scaling.apply(values)), values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_rounded_and_clipped(dtype: str) -> None:
    limits = np.iinfo(dtype)
    out = to_dtype(np.array([1.49, 1.51, 99.7, -1e30, 1e30, -np.inf, np.inf, np.nan]), np.dtype(dtype))
    assert out.dtype == dtype
    assert out[:3].tolist() == [1, 2, 100]
    assert out[3] == out[5] == limits.min
    assert out[4] == out[6]
    assert limits.max - int(out[4]) < 2**11  # the largest float64 below 2**64 is 2047 short of it
    assert out[7] == 0


@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_are_cast_and_clipped(dtype: str) -> None:
    out = to_dtype(np.array([0.1, 1e300, -1e300]), np.dtype(dtype))
    assert out.dtype == dtype
    assert out[0] == np.dtype(dtype).type(0.1)
    assert np.isfinite(out).all()


def test_casting_makes_a_new_array() -> None:
    values = np.array([0.4, np.nan, 3.6])
    for dtype in (np.dtype("uint8"), np.dtype("float64")):
        out = to_dtype(values, dtype)
        out[:] = 0
    np.testing.assert_array_equal(values, [0.4, np.nan, 3.6])
