"""Computing without numbers: what is counted is what real tensors would take."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from napari_dip.core.ghost import Ghosts, Heap, Ledger
from napari_dip.core.methods import fitter_of
from napari_dip.core.noise import Noise
from napari_dip.core.operators import Downsample, Identity, Operator
from napari_dip.core.problem import Problem
from napari_dip.settings import PRESETS
from tests.core.tiny import tiny

SELF = PRESETS["denoise-self"].as_dict() | {"channels": 8, "scales": 2, "crop": 16, "iterations": 20, "device": "cpu"}


def fit(ledger: Ledger, shape: tuple[int, ...], operator: Operator, knobs: dict) -> Ledger:
    """Two iterations, a state and an image."""
    observation = np.random.default_rng(0).random((1, *shape), np.float32)
    noise = Noise(gain=0.0, offset=0.0, read_noise=0.1, sigma=0.1)
    settings = tiny(**knobs)
    search = fitter_of(Problem(observation=observation, operator=operator, noise=noise), settings.method, "cpu")
    search.begin()
    search.step()
    state = search.state()
    search.step()
    if settings.code != "self":
        search.mark()
    del state
    return ledger


@pytest.mark.parametrize(
    ("shape", "knobs"),
    [
        ((40, 33), {}),
        ((40, 33), {"precision": "bfloat16"}),
        ((40, 33), {"uncertainty": True, "average": 0.9, "weight_noise": 0.1}),
        (
            (40, 33),
            {"regulariser": "tv", "regulariser_weight": 0.1, "upsampling": "nearest", "downsampling": "average"},
        ),
        ((8, 12, 16), {}),
        ((8, 12, 16), {"precision": "bfloat16", "padding": "zero"}),
        ((40, 33), SELF),
        ((40, 33), {**SELF, "precision": "bfloat16", "optimiser": "adam"}),
    ],
    ids=str,
)
def test_ghosts_take_what_real_tensors_take(shape: tuple[int, ...], knobs: dict) -> None:
    with Ledger() as real:
        fit(real, shape, Identity(), knobs)
    with Ghosts() as ghosts:
        fit(ghosts, shape, Identity(), knobs)
    observation = 4 * np.prod(shape)  # which real tensors share with numpy
    assert abs(ghosts.peak - real.peak) <= observation + 64
    assert ghosts.flops == real.flops > 0
    assert ghosts.moved == pytest.approx(real.moved, rel=0.04)


def test_the_same_behind_an_operator() -> None:
    operator = Downsample((2, 2))
    with Ledger() as real:
        fit(real, (12, 10), operator, {})
    with Ghosts() as ghosts:
        fit(ghosts, (12, 10), Downsample((2, 2)), {})
    assert abs(ghosts.peak - real.peak) <= 4 * 120 + 64


def test_ghosts_take_no_memory() -> None:
    with Ghosts() as ledger:
        image = torch.ones(10**6, 10**6)
        assert (image * 2).sum().item() == 1.0
    assert ledger.peak == 2 * 4 * 10**12 + 4


def test_nothing_of_it_is_left() -> None:
    with Ghosts() as ledger:
        fit(ledger, (12, 12), Identity(), {})
    gc.collect()
    assert not torch.ones(1).is_meta
    assert torch.ones(2).tolist() == [1.0, 1.0]
    assert ledger.live < ledger.peak / 10


def test_a_heap_holds_what_was_taken() -> None:
    heap, random, taken = Heap(), np.random.default_rng(0), {}
    for step in range(2000):
        if taken and random.random() < 0.5:
            place = list(taken)[random.integers(len(taken))]
            heap.give(place)
            del taken[place]
        else:
            size = int(random.integers(1, 10**5))
            place = heap.take(size)
            assert place % 64 == 0
            assert all(place >= other + s or place + size <= other for other, s in taken.items()), step
            taken[place] = size
        assert heap.top >= sum(taken.values())


def test_a_heap_uses_what_was_given_back() -> None:
    heap = Heap()
    for _ in range(100):
        heap.give(heap.take(1000))
    assert heap.top < 1100
