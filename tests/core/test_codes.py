"""The code z: its shapes and ranges, and that the seed alone decides it."""

from __future__ import annotations

import itertools

import pytest
import torch

from napari_dip.core.codes import fourier_features, make_code, mesh
from napari_dip.tables.knobs import Prior
from tests.core.tiny import problem, run, tiny

SHAPES = [(8, 9), (5, 6, 7), (1, 12)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def code(shape: tuple[int, ...], seed: int = 0, guide: torch.Tensor | None = None, **knobs: object) -> torch.Tensor:
    return make_code(Prior(**knobs), shape, guide, torch.Generator().manual_seed(seed))


@every_shape
@pytest.mark.parametrize("name", ["uniform", "normal", "fourier"])
def test_a_code_has_the_channels_asked_for(name: str, shape: tuple[int, ...]) -> None:
    made = code(shape, code=name, code_channels=7)
    assert made.shape == (1, 7, *shape)
    assert made.dtype == torch.float32


def test_the_uniform_code_fills_its_height() -> None:
    made = code((40, 40), code="uniform", code_scale=0.3)
    assert 0 <= made.min() < 0.01
    assert 0.29 < made.max() <= 0.3
    assert made.mean() == pytest.approx(0.15, abs=0.005)


def test_the_normal_code_has_its_deviation() -> None:
    made = code((40, 40), code="normal", code_scale=0.3)
    assert made.std() == pytest.approx(0.3, rel=0.02)
    assert made.mean() == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("name", ["uniform", "normal"])
def test_the_seed_decides_the_code(name: str) -> None:
    assert torch.equal(code((8, 8), seed=3, code=name), code((8, 8), seed=3, code=name))
    assert not torch.equal(code((8, 8), seed=3, code=name), code((8, 8), seed=4, code=name))


@pytest.mark.parametrize("shape", [(8, 9), (5, 6, 7)], ids=str)
def test_a_mesh_runs_from_corner_to_corner(shape: tuple[int, ...]) -> None:
    grid = mesh(shape)
    assert grid.shape == (1, len(shape), *shape)
    for corner in itertools.product((0, -1), repeat=len(shape)):
        at = grid[(0, slice(None), *corner)]
        assert at.tolist() == [float(c == -1) for c in reversed(corner)]  # the last axis first


def test_a_mesh_of_one_pixel_is_zero() -> None:
    assert mesh((1, 1)).tolist() == [[[[0.0]], [[0.0]]]]


@pytest.mark.parametrize("shape", [(16, 16), (16, 24), (8, 8, 8)], ids=str)
def test_fourier_features_are_bounded_and_all_different(shape: tuple[int, ...]) -> None:
    waves = fourier_features(shape, 24)[0]
    assert waves.abs().max() <= 1
    for a, b in itertools.combinations(waves, 2):
        assert not torch.allclose(a, b, atol=1e-3)


@pytest.mark.parametrize("shape", [(32, 32), (6, 64), (6, 20, 64)], ids=str)
def test_no_fourier_feature_is_beyond_the_nyquist_limit(shape: tuple[int, ...]) -> None:
    """Sine and cosine of one wave turn by half a turn from pixel to pixel at the most, along every axis."""
    axes, frequencies = len(shape), 6
    waves = fourier_features(shape, 2 * axes * frequencies)[0].unflatten(0, (frequencies, axes, 2))
    for axis, n in enumerate(reversed(shape)):  # the mesh has the last axis first
        line = waves[:, axis].movedim(-1 - axis, -1).flatten(2, -2)[:, :, 0].double()  # (frequency, sin and cos, n)
        turns = torch.atan2(line[:, 0], line[:, 1]).diff() / (2 * torch.pi)
        fastest = ((turns + 0.5) % 1 - 0.5).abs()
        swept = fastest.sum(-1)  # turns from end to end, if no pixel was more than half a turn from the next
        assert torch.all(swept.diff() > 0), f"waves along {n} pixels fold back: {swept.tolist()}"


def test_a_guide_is_the_code() -> None:
    guide = torch.rand(1, 2, 8, 8)
    assert torch.equal(code((8, 8), guide=guide, code="guide"), guide)


def test_a_missing_guide_is_named() -> None:
    with pytest.raises(ValueError, match="guide="):
        code((8, 8), code="guide")
    with pytest.raises(ValueError, match="guide="):
        run(problem(), tiny(code="guide"))
