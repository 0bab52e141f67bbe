"""Restorations on a pretended GPU: nothing is computed across devices, no step waits, and the image is the same."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from napari_dip import denoise, superresolve, trust
from napari_dip.core.methods.base import Fitter
from napari_dip.core.methods.prior import PriorFitter
from napari_dip.core.methods.selfguided import SelfGuidedFitter
from napari_dip.core.operators import Blur
from napari_dip.core.problem import Problem
from napari_dip.tables.settings import Settings
from tests.core import pretended
from tests.core.test_graph import PHOTONS, SHARED, WAYS, WHITE, case_of
from tests.core.tiny import TINY, guided, holed, noisy, nonlocal_ridge, picture, problem, run, tiny

KNOWN = {"gain": 0.0, "offset": 0.0, "read_noise": 0.1}
SELF: dict[str, Any] = {"preset": "denoise-self", "channels": 4, "scales": 2, "crop": 8, "batch": 2, "iterations": 6}
SELF |= {"precision": "float32", "similar_patches": False}
STACK = np.stack([noisy(16, 16, seed=seed) for seed in range(3)])
#: Beside those of `test_graph`: ways that need a problem of their own.
MORE: dict[str, tuple[Problem, Settings]] = {
    "volume": (problem(4, 12, 12), tiny()),
    "guide": (replace(problem(), guide=picture(12, 12).astype(np.float32)[None]), tiny(code="guide", recompute="on")),
    "blur": (problem(operator=Blur(torch.full((3, 3), 1 / 9), (1, 1))), tiny()),
    "line search": (problem(), tiny(optimiser="lbfgs")),
    "self-guided, volume": (replace(problem(4, 12, 12), noise=WHITE), guided()),
    "self-guided, a hole": (replace(holed(np.arange(144).reshape(12, 12) == 50), noise=WHITE), guided(recompute="on")),
    "self-guided, photons": (replace(problem(), noise=PHOTONS), guided(uncertainty=True)),
    "self-guided, shared noise": (replace(problem(20, 20), noise=SHARED), guided(uncertainty=True)),
}


#: The others have nothing that these have not.
LESS = {"plain", "averaged", "last alone, spread", "Tikhonov", "discrepancy", "self-guided, adam", "self-guided"}


@pytest.mark.parametrize("way", [*(way for way in WAYS if way not in LESS), *MORE])
def test_a_fit_is_that_of_the_cpu(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case, settings = MORE[way] if way in MORE else (case_of(way), WAYS[way])
    settings = settings.changed(iterations=8, precision="bfloat16" if way == "bfloat16" else "float32")
    with pretended.gpu(monkeypatch) as recorders:
        result = run(case, settings.changed(device="cuda"))
    assert result.device.name == "cuda:0"
    if way == "line search":
        assert "L-BFGS" in result.history.events[0].message
    else:
        assert not result.history.events
        assert sum(recorder.replayed for recorder in recorders) >= 2
    expected = run(case, settings)
    np.testing.assert_allclose(result.history.loss, expected.history.loss, rtol=1e-3)
    np.testing.assert_allclose(result.image, expected.image, rtol=0, atol=1e-3)


def test_the_front_door(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended.gpu(monkeypatch):
        tiled = denoise(noisy(40, 24), **{**SELF, "runs": 2}, **KNOWN, tile=32, overlap=8, device="cuda")
        finer = superresolve(noisy(12, 12), factor=2, **TINY | {"device": "cuda", "iterations": 6})
    assert tiled.device.name == finer.device.name == "cuda:0"
    assert not [event for event in (*tiled.history.events, *finer.history.events) if event.kind == "no CUDA graph"]


def test_several_slices_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    restore = partial(denoise, STACK, leading_axes=1, **SELF, **KNOWN, warm_start=False)
    with pretended.gpu(monkeypatch):
        together = restore(device="cuda", at_once=3)
    np.testing.assert_allclose(together.image, restore(device="cpu").image, atol=1e-3)


def test_going_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended.gpu(monkeypatch):
        half = denoise(noisy(16, 16), **SELF, **KNOWN, device="cuda")
        whole = denoise(noisy(16, 16), resume=half, **KNOWN, device="cuda")
    assert whole.iterations == 2 * half.iterations


@pytest.mark.parametrize("kind", [PriorFitter, SelfGuidedFitter])
def test_the_ladder_leads_to_the_cpu(kind: type[Fitter], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = kind.compare

    def compare(search: Fitter) -> Any:
        if search.device != "cpu" and search.iteration == 6:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return plain(search)

    own = TINY if kind is PriorFitter else SELF
    settings = {**own, "iterations": 12, "recompute": "on", "tile": 64, "device": "auto"}
    with pretended.gpu(monkeypatch), patch.object(kind, "compare", compare):
        monkeypatch.setattr(pretended.PretendedRecorder, "record", None)  # each step is made by the host
        result = denoise(noisy(16, 16), **settings, **KNOWN)
    assert result.device.name == "cpu"
    assert result.iterations == 12
    assert "on the CPU" in result.history.events[-1].message


def test_pure_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended.gpu(monkeypatch):
        result = denoise(noisy(16, 16), **SELF, **KNOWN, device="cuda")
        assert trust.noise_control(result, noisy(16, 16)).invention.sentence


def test_similar_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.from_numpy(noisy(24, 24)).float()[None]
    shared = np.outer([0.5, 1, 0.5], [0.5, 1, 0.5])
    with pretended.gpu(monkeypatch):
        made = [nonlocal_ridge(image.to("cuda:0"), 0.1, known).cpu() for known in (None, shared)]
    for each, known in zip(made, (None, shared), strict=True):
        torch.testing.assert_close(each, nonlocal_ridge(image, 0.1, known), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda image: image + torch.ones(image.shape), "same device"),
        (lambda image: image.sum() + torch.ones(3), "same device"),
        (lambda image: image.detach().numpy(), "numpy"),
        (lambda image: np.asarray(image.detach()), "numpy"),
        (lambda image: image.detach().normal_(generator=torch.Generator()), "generator"),
        (lambda image: image.detach().normal_(), "random numbers of the user"),
        (lambda image: float(image.sum()), "not permitted"),
        (lambda image: image[image > 0], "not permitted"),
        (lambda image: image.nonzero(), "not permitted"),
        (lambda image: image.cpu(), "not permitted"),
        (lambda image: torch.tensor([1.0], device=image.device), "not permitted"),
        (lambda image: image.detach().copy_(torch.ones(image.shape)), "not permitted"),
    ],
)
def test_what_a_gpu_would_refuse_is_found(wrong: Any, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = PriorFitter.remember

    def remember(search: Fitter) -> None:
        wrong(search.iterate)
        plain(search)

    with (
        pretended.gpu(monkeypatch),
        patch.object(PriorFitter, "remember", remember),
        pytest.raises((RuntimeError, TypeError), match=words),
    ):
        run(problem(), tiny(device="cuda"))
