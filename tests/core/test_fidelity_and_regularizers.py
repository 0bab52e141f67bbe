"""The distance D sees measured pixels alone; the penalty R sees roughness alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from napari_dip.core.fidelity import Gaussian, make_fidelity
from napari_dip.core.noise.model import Noise
from napari_dip.core.operators import Compose, Downsample, Mask, Operator
from napari_dip.core.regularizers import REGULARISERS, tikhonov, total_variation
from tests.core.tiny import problem, run, tiny

MISSING = torch.zeros(1, 1, 4, 6, dtype=torch.bool)
MISSING[..., 1:3, 2:5] = True


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def loss_and_gradient(image: torch.Tensor, operator: Operator, known: float) -> tuple[torch.Tensor, torch.Tensor]:
    image = image.clone().requires_grad_()
    observed = random(1, 1, 4, 6, seed=1) * ~MISSING
    loss = Gaussian(known)(operator(image), observed)
    loss.backward()
    return loss.detach(), image.grad


def test_masked_pixels_influence_neither_loss_nor_gradient() -> None:
    image, known = random(1, 1, 4, 6), 1 - float(MISSING.float().mean())
    loss, gradient = loss_and_gradient(image, Mask(~MISSING), known)
    loss_else, gradient_else = loss_and_gradient(torch.where(MISSING, 9.0, image), Mask(~MISSING), known)
    assert torch.equal(loss, loss_else)
    assert torch.equal(gradient, gradient_else)
    assert not gradient[MISSING].any()
    assert gradient[~MISSING].all()


def test_what_only_masked_pixels_see_has_no_gradient() -> None:
    operator = Compose(Downsample((2, 2), "box"), Mask(~MISSING))
    _, gradient = loss_and_gradient(random(1, 1, 8, 12), operator, 0.75)
    fine = MISSING.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert not gradient[fine].any()
    assert gradient[~fine].all()


def test_the_loss_is_the_mean_over_known_pixels() -> None:
    image, observed = random(1, 1, 4, 6), random(1, 1, 4, 6, seed=1)
    known = ~MISSING
    loss = Gaussian(float(known.float().mean()))(image * known, observed * known)
    expected = np.mean((image - observed)[known].numpy() ** 2)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(Gaussian()(image, image)) == 0


PHOTONS = Noise(gain=0.02, offset=-0.1, read_noise=0.01, sigma=0.1)
KINDS = ["gaussian", "poisson-gaussian", "impulse"]


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_pixels_add_nothing_to_any_fidelity(kind: str) -> None:
    image, observed, known = random(1, 1, 4, 6), random(1, 1, 4, 6, seed=1), ~MISSING
    masked = image.clone().requires_grad_()
    loss = make_fidelity(kind, PHOTONS, float(known.float().mean()))(masked * known, observed * known)
    loss.backward()
    alone = make_fidelity(kind, PHOTONS)(image[known], observed[known])
    assert float(loss.detach()) == pytest.approx(float(alone), rel=1e-5)
    assert not masked.grad[MISSING].any()
    assert masked.grad[known].all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_true_image_costs_about_the_variance_of_the_noise(kind: str) -> None:
    light = torch.from_numpy(np.random.default_rng(0).uniform(0, 1, (1, 1, 200, 200)))
    noise = Noise(gain=0.02, offset=0, read_noise=0.02, sigma=float(np.sqrt(0.02 * 0.5 + 0.02**2)))
    photons = 0.02 * torch.poisson(light / 0.02, generator=torch.Generator().manual_seed(0))
    read = torch.randn(light.shape, generator=torch.Generator().manual_seed(1)) * 0.02
    loss = float(make_fidelity(kind, noise)(light, photons + read))
    assert 0.6 * noise.sigma**2 < loss < 1.1 * noise.sigma**2


@pytest.mark.parametrize("peak", [2, 10, 100])
@pytest.mark.parametrize("read_noise", [0, 0.01])
def test_the_photon_fidelity_is_least_at_the_mean_of_the_photons(peak: int, read_noise: float) -> None:
    random = np.random.default_rng(0)
    frames = torch.from_numpy(0.01 * random.poisson(peak, (500, 500)) + random.normal(0, read_noise, (500, 500)))
    fidelity = make_fidelity("poisson-gaussian", Noise(gain=0.01, offset=0, read_noise=read_noise, sigma=0.1))

    def slope(level: float) -> float:
        image = torch.full_like(frames, level, requires_grad=True)
        fidelity(image, frames).backward()
        return float(image.grad.sum())

    assert slope(0.995 * float(frames.mean())) < 0 < slope(1.005 * float(frames.mean()))


def test_a_diverged_image_has_no_finite_loss_and_no_error() -> None:
    for kind in KINDS:
        assert not torch.isfinite(make_fidelity(kind, PHOTONS)(torch.full((4, 4), torch.nan), torch.ones(4, 4)))


def test_impulses_pull_a_robust_fit_less() -> None:
    observed = 0.5 + 0.02 * torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    observed[:1000] = 1.0
    noise = Noise(gain=0, offset=0, read_noise=0.02, sigma=0.02)
    levels = torch.linspace(0.45, 0.6, 301)
    best = {}
    for kind in ("gaussian", "impulse"):
        losses = [float(make_fidelity(kind, noise)(level.expand_as(observed), observed)) for level in levels]
        best[kind] = float(levels[int(np.argmin(losses))])
    assert best["gaussian"] == pytest.approx(0.55, abs=0.002)
    assert best["impulse"] == pytest.approx(0.5, abs=0.005)


def test_a_fidelity_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(ValueError, match="kind='cauchy'"):
        make_fidelity("cauchy")
    with pytest.raises(ValueError, match="needs the noise"):
        make_fidelity("impulse")


@pytest.mark.parametrize("shape", [(4, 5), (1, 7), (1, 1), (2, 3, 4)])
@pytest.mark.parametrize("regulariser", REGULARISERS.values(), ids=REGULARISERS)
def test_a_flat_image_costs_nothing(regulariser: Callable[..., torch.Tensor], shape: tuple[int, ...]) -> None:
    assert float(regulariser(torch.full((1, 2, *shape), 3.0))) == 0


@pytest.mark.parametrize(("regulariser", "price"), [(total_variation, 0.5), (tikhonov, 0.25)])
@pytest.mark.parametrize("axis", [2, 3, 4])
def test_a_ramp_costs_its_slope(regulariser: Callable[..., torch.Tensor], price: float, axis: int) -> None:
    shape = [1, 1, 1, 1, 1]
    shape[axis] = -1
    ramp = (0.5 * torch.arange(6.0)).reshape(shape).expand(1, 2, *(6 if a == axis else 3 for a in (2, 3, 4)))
    assert float(regulariser(ramp)) == pytest.approx(price)


@pytest.mark.parametrize(("name", "weights"), [("tv", (0, 0.1, 10)), ("tikhonov", (0, 1, 100))])
def test_more_weight_makes_a_smoother_image(name: str, weights: tuple[float, ...]) -> None:
    roughness = []
    for weight in weights:
        settings = tiny(iterations=60, regulariser=name, regulariser_weight=weight, average=0.5)
        roughness.append(float(REGULARISERS[name](torch.from_numpy(run(problem(), settings).image)[None])))
    assert roughness[0] > roughness[1] > roughness[2]
