"""Samples of a prior: as the seed says, and what is self-similar is told from what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_dip import lab
from napari_dip.command import cli
from napari_dip.io import files
from napari_dip.tables.knobs import GENERATORS

SMALL: dict[str, Any] = {"channels": 4}


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_seed_decides_samples_and_they_differ(generator: str) -> None:
    both = lab.samples((16, 20), 2, generator=generator, seed=3, **SMALL)
    assert both.shape == (2, 16, 20)
    assert np.array_equal(both[1:], lab.samples((16, 20), 1, generator=generator, seed=4, **SMALL))
    assert not np.allclose(both[0], both[1])


def test_a_volume_has_three_axes() -> None:
    assert lab.samples((8, 9, 10), 1, **SMALL).shape == (1, 8, 9, 10)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"shape": (4, 20)}, "shape="),
        ({"count": 0}, "count="),
        ({"code": "guide"}, "code="),
        ({"iterations": 5}, "iterations=5 has no effect"),
        ({"code_noise": 0.1}, "code_noise=0.1 has no effect"),
    ],
)
def test_what_is_asked_must_be_there(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        lab.samples(**{"shape": (16, 16), **said})


def test_edges_are_alike_at_each_scale_and_a_gaussian_texture_is_not() -> None:
    y, x = np.indices((64, 64)) - 31.5
    edges = np.float64((np.hypot(y, x) < 25) ^ (np.abs(x - y) < 6))
    texture = np.random.default_rng(1).normal(size=(64, 64))
    assert lab.self_similarity(edges)[2] < 0.9
    assert lab.self_similarity(texture)[2] == pytest.approx(1, abs=0.05)
    with pytest.raises(ValueError, match="32 pixels"):
        lab.self_similarity(edges[:20])
    with pytest.raises(ValueError, match="one value"):
        lab.self_similarity(np.ones((64, 64)))


def test_the_command_writes_a_stack_and_the_figure(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out.tif")
    assert cli.main(["samples", out, "--count", "2", "--size", "32", "--generator", "decoder"]) == 0
    assert files.read(out).values.shape == (2, 32, 32)
    assert "times coarser" in capsys.readouterr().out
    assert cli.main(["samples", out]) == 1
