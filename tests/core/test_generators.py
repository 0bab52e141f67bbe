"""Every generator by name: the image that is asked for, weights that all learn, decided by the seed, in every task."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from napari_dip import iterate
from napari_dip.core.forward import passed
from napari_dip.core.generators import GENERATORS, fresh_generator
from napari_dip.core.methods.prior import PriorFitter
from napari_dip.tables.knobs import GENERATORS as NAMED
from napari_dip.tables.knobs import Prior
from napari_dip.tables.settings import PRESETS, Settings
from tests.core.test_solve import equal, state_of
from tests.core.tiny import noisy, picture, problem, run

SHAPES = [(7, 12), (1, 1), (33, 17), (1, 40), (5, 12, 20), (1, 9, 9)]
each_generator = pytest.mark.parametrize("name", GENERATORS)


def small(name: str, **changes: Any) -> Settings:
    return Settings(
        generator=name, channels=4, code_channels=2, iterations=12, device="cpu", stop="iterations"
    ).changed(precision="float32", **changes)


def made(name: str, shape: tuple[int, ...], seed: int = 0, channels: int = 1, **changes: Any) -> Any:
    method = small(name, **changes).method
    assert isinstance(method, Prior)
    return fresh_generator(method, 2, channels, shape, torch.Generator().manual_seed(seed))


def code_of(generator: Any) -> torch.Tensor:
    return torch.rand(1, 2, *generator.canvas, generator=torch.Generator().manual_seed(1))


def test_knobs_name_the_generators_that_there_are() -> None:
    assert list(GENERATORS) == list(NAMED)


@each_generator
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_image_has_the_size_asked_for_and_every_weight_learns(name: str, shape: tuple[int, ...]) -> None:
    generator = made(name, shape, channels=3)
    image = generator(code_of(generator))
    assert image.shape == (1, 3, *shape)
    (image * torch.rand_like(image)).sum().backward()
    assert all(w.grad is not None and w.grad.isfinite().all() for w in generator.parameters())


@each_generator
def test_recomputing_changes_no_gradient(name: str) -> None:
    gradients = []
    for recompute in ("off", "on"):
        generator = made(name, (10, 13), recompute=recompute)
        generator(code_of(generator)).square().sum().backward()
        gradients.append([w.grad for w in generator.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


@each_generator
def test_the_seed_alone_decides_all_weights(name: str) -> None:
    before, first = torch.random.get_rng_state(), made(name, (10, 13))
    assert torch.equal(before, torch.random.get_rng_state())  # nothing is drawn from what all programs share
    torch.rand(3)
    second = made(name, (10, 13))
    assert all(torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(next(made(name, (10, 13), seed=1).parameters()), next(first.parameters()))


@each_generator
@pytest.mark.parametrize("task", ["denoise", "inpaint", "superresolve", "deconvolve"])
def test_every_task_takes_it(task: str, name: str) -> None:
    image, argument = noisy(16, 16), {"superresolve": {"factor": 2}, "deconvolve": {"psf": 1.0}}.get(task, {})
    mask = picture(16, 16) > 0.9 if task == "inpaint" else None
    changes = small(name, iterations=3).chosen
    stream = iterate(task, image, mask, **argument, **{**changes, "preset": f"{task}-small", "refine": 0})
    for _ in stream:
        pass
    assert stream.result.settings.generator == name
    assert np.isfinite(stream.result.image).all()


def test_a_decoder_has_fewer_weights_than_its_image_has_pixels() -> None:
    method = PRESETS["denoise-large"].changed(generator="decoder").method
    assert passed(method, 32, 3, (256, 256)).weights / 4 < 3 * 256 * 256 / 2  # type: ignore[arg-type]


def test_architecture_that_a_generator_does_not_have_is_refused_unless_a_preset_says_it() -> None:
    with pytest.raises(ValueError, match=r"skip_channels=8 has no effect with generator='decoder'; leave it out, or"):
        Settings(generator="decoder", skip_channels=8)
    kept = PRESETS["original-inpaint-hole"].changed(generator="decoder")
    assert Settings.from_json(kept.to_json()) == kept


def test_a_coarse_code_takes_a_guide_where_it_lies() -> None:
    """The guide of a decoder is what the image is, averaged: a square in the middle stays there."""
    guide = np.zeros((1, 20, 20), np.float32)
    guide[:, 8:12, 8:12] = 1
    fitter = PriorFitter(replace(problem(20, 20), guide=guide), small("decoder", code="guide").method, "cpu")  # type: ignore[arg-type]
    fitter.begin()
    code, made = fitter._code, fitter._generator.made
    assert code.shape[2:] == fitter._generator.canvas < made
    assert torch.allclose(code, code.flip(2, 3), atol=1e-6)
    assert float(code.mean() * made[0] * made[1]) == pytest.approx(16)


def test_a_learned_code_moves_and_goes_on_as_if_never_stopped() -> None:
    learning = small("decoder", code_learned=True)
    fitter = PriorFitter(problem(16, 16), learning.method, "cpu")  # type: ignore[arg-type]
    fitter.begin()
    before = fitter._code.detach().clone()
    fitter.step()
    assert not torch.equal(before, fitter._code)
    whole = run(problem(16, 16), learning)
    half = run(problem(16, 16), learning.changed(iterations=6))
    rest = run(problem(16, 16), learning.changed(iterations=6), state=state_of(half))
    assert np.array_equal(rest.image, whole.image)
    assert equal(state_of(rest).weights, state_of(whole).weights)
