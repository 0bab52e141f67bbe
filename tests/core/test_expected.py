"""Missing pixels as similar patches expect them: laws of one patch, of one step, and of the runs that have it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import napari_dip
from napari_dip.core.methods import expected as steps_of_gaussians
from napari_dip.core.methods import groups
from napari_dip.core.methods.expected import SIDES, Step, _conditional, expected, steps_of
from napari_dip.core.methods.patches import smoothest
from napari_dip.core.methods.refine import refined
from napari_dip.core.noise.model import Noise
from napari_dip.core.operators import Compose, Mask, Operator
from napari_dip.core.pauses import without_pauses
from napari_dip.core.problem import Problem
from tests.core.tiny import noisy, picture

FIRST, *_, LAST = steps_of(12)
HALF: dict[str, Any] = {"preset": "inpaint-patches", "threads": 1, "progress": False}


def waves(*shape: int) -> np.ndarray:
    """A texture finer than the holes that half of the pixels leave: patches that repeat, and no smooth image."""
    y, x = np.indices(shape)
    return (0.5 + 0.3 * np.sin(2.1 * x + 0.6 * y)).astype(np.float32)


def holed(image: np.ndarray, share: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Known pixels and the observation, (1, Y, X)."""
    known = torch.from_numpy(np.random.default_rng(0).random(image.shape) >= share)[None]
    return known, torch.where(known, torch.from_numpy(image)[None], 0)


def step(
    image: torch.Tensor, known: torch.Tensor, seen: torch.Tensor, how: Step = LAST, variance: float = 0.0
) -> torch.Tensor:
    return without_pauses(expected(image, known, seen, how, variance))


@pytest.mark.parametrize("variance", [0.0, 0.01])
def test_patches_become_the_means_of_their_gaussians_given_their_known_pixels(variance: float) -> None:
    draw = torch.Generator().manual_seed(0)
    groups_of, seen = torch.randn(3, 50, 9, generator=draw), torch.randn(3, 9, generator=draw)
    known = (torch.arange(9) % torch.tensor([[2], [3], [4]])).clamp(max=1).float()
    means, variances = _conditional(groups_of, known, known * seen, 0.1, variance)
    for group, some, values, mean, left in zip(groups_of.double(), known.bool(), seen, means, variances, strict=True):
        told, middle = some.numpy(), group.mean(0).numpy()
        spread = np.cov(group.T.numpy(), bias=True) + 0.1 * np.eye(9)
        shares = spread[:, told] @ np.linalg.inv(spread[np.ix_(told, told)] + variance * np.eye(told.sum()))
        np.testing.assert_allclose(mean, middle + shares @ (values.double().numpy() - middle)[told], atol=1e-4)
        np.testing.assert_allclose(left, np.diag(spread - shares @ spread[told]), atol=1e-4)


@pytest.mark.parametrize("told", [0.0, 1.0])
def test_a_patch_that_is_known_stays_and_one_without_a_known_pixel_is_the_mean(told: float) -> None:
    draw = torch.Generator().manual_seed(0)
    group, seen = torch.randn(1, 50, 9, generator=draw), torch.randn(1, 9, generator=draw)
    mean, left = _conditional(group, torch.full((1, 9), told), told * seen, 1e-3, 0.0)
    assert torch.allclose(mean, seen if told else group.mean(1), atol=1e-4)
    assert torch.allclose(left, group.var(1, unbiased=False) * (1 - told) + 1e-3 * (1 - told), atol=1e-4)


def test_texture_comes_back_where_the_smoothest_image_has_none() -> None:
    truth = waves(48, 48)
    known, seen = holed(truth)
    start = smoothest(Mask(known[None]), seen[None], truth.shape, 0.0)
    problem = Problem(observation=seen.numpy(), operator=Mask(known[None]), known=0.5)
    made, smooth = (without_pauses(refined(problem, start, steps, anew=True))[0, 0].numpy() for steps in (6, 0))
    assert np.square(made - truth).mean() < 0.05 * np.square(smooth - truth).mean()


def test_behind_a_prior_both_kinds_of_similar_patches_have_a_half() -> None:
    truth = waves(32, 32)
    known, seen = holed(truth, 0.8)
    prior = 0.5 + 0.5 * torch.from_numpy(truth - 0.5)[None, None]  # texture that is there, but faint
    both = Problem(observation=seen.numpy(), operator=Mask(known[None]), known=0.2)
    one = replace(both, operator=Compose(Operator(), both.operator))  # no mask by itself, which is what they need

    def error(problem: Problem) -> float:
        return float(np.square(without_pauses(refined(problem, prior, 4))[0, 0].numpy() - truth).mean())

    assert error(both) < 0.9 * error(one)


def test_strips_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = picture(64, 50)
    mask = np.random.default_rng(0).random(truth.shape) < 0.5
    monkeypatch.setattr(groups, "_REFERENCES", 32)
    one, two = (napari_dip.inpaint(truth, mask, **{**HALF, "threads": n}, refine=2).image for n in (1, 2))
    assert np.array_equal(one, two)
    monkeypatch.undo()
    np.testing.assert_allclose(napari_dip.inpaint(truth, mask, **HALF, refine=2).image, one, atol=1e-3)


def test_slices_are_estimated_each_on_its_own() -> None:
    known, seen = holed(picture(32, 40).astype(np.float32))
    volume = step(*(torch.stack([each, each.flip(1)], 1) for each in (seen, known, seen)), FIRST)
    for plane, slices in enumerate(((seen, known, seen), tuple(each.flip(1) for each in (seen, known, seen)))):
        assert torch.equal(volume[:, plane], step(*slices, FIRST))


def test_without_noise_only_patches_with_a_missing_pixel_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, seen_by = torch.from_numpy(picture(40, 44).astype(np.float32)).expand(2, -1, -1), []
    known = torch.ones_like(truth, dtype=torch.bool)
    known[0, 21, 10:13] = known[1, 3, 40] = False
    seen = torch.where(known, truth, 0)

    def conditional(*given: Any) -> Any:
        seen_by.append(given[1])
        return _conditional(*given)

    monkeypatch.setattr(steps_of_gaussians, "_conditional", conditional)
    every = step(truth, known, seen, variance=1e-12)  # less than known pixels are trusted with
    patches, few = sum(map(len, seen_by)), step(truth, known, seen)
    lacking = torch.cat(seen_by)[patches:]
    assert torch.equal(few[known], truth[known])
    torch.testing.assert_close(few[~known], every[~known], rtol=0, atol=1e-6)
    assert (lacking.amin(1) == 0).all()
    assert len(lacking) < 0.1 * patches
    assert torch.equal(step(truth, known | True, truth), truth)


def test_steps_end_fine_and_visit_every_grid_with_every_side() -> None:
    steps = list(steps_of(12))
    for stride, least in ((3, 8), (2, 4)):
        grids = {each.before for each in steps if each.stride == stride}
        assert len(grids) == least
        assert all(0 <= place < stride for grid in grids for place in grid)
    assert {each.side for each in steps if each.stride == 3} == {each.side for each in steps[-4:]} == set(SIDES)
    assert [each.added for each in steps] == sorted({each.added for each in steps}, reverse=True)
    assert next(steps_of(1))[1:3] == steps[-1][1:3]


def test_a_grid_that_is_moved_is_that_of_an_image_with_a_mirrored_border() -> None:
    image = torch.from_numpy(picture(30, 33).astype(np.float32))[None]
    known, seen = holed(image[0].numpy())
    wider = [torch.cat([each[:, :1], each], 1) for each in (image, known, seen)]
    wider = [torch.cat([each[:, :, :2].flip(2), each], 2) for each in wider]
    moved = step(image, known, seen, FIRST._replace(before=(1, 2)))
    assert torch.equal(moved, step(*wider, FIRST._replace(before=(0, 0)))[:, 1:, 2:])


@pytest.mark.parametrize("how", [FIRST._replace(before=(2, 1)), LAST])
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (7, 6)])
def test_the_smallest_images_and_colours_are_filled(shape: tuple[int, int], how: Step) -> None:
    image = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    known = torch.rand(1, *shape, generator=torch.Generator().manual_seed(1)).expand(3, -1, -1) > 0.3
    made = step(image, known, torch.where(known, image, 0), how)
    assert made.shape == image.shape
    assert torch.isfinite(made).all()


def test_noise_that_is_told_does_not_end_up_in_the_holes() -> None:
    truth, sigma = picture(48, 48), 0.1
    known, seen = holed(noisy(48, 48, sigma=sigma).astype(np.float32))
    noise = Noise(gain=0, offset=0, read_noise=sigma, sigma=sigma, contrast=3.0)
    start = smoothest(Mask(known[None]), seen[None], truth.shape, 0.0)

    def error(noise: Noise | None) -> float:
        problem = Problem(observation=seen.numpy(), operator=Mask(known[None]), known=0.5, noise=noise)
        made = without_pauses(refined(problem, start, 4, anew=True))[0].numpy()
        return float(np.square(made - truth)[~known.numpy()].mean())

    assert error(noise) < 0.8 * error(None)
    assert error(replace(noise, contrast=20.0)) == error(None)  # a guess that fine structure may have made


def test_inpainting_by_patches_is_nearer_than_biharmonic() -> None:
    from skimage.restoration import inpaint_biharmonic

    truth = 100 + 200 * waves(40, 40)
    mask = np.random.default_rng(1).random(truth.shape) < 0.5
    result = napari_dip.inpaint(np.where(mask, 0, truth), mask, **HALF)
    smooth = inpaint_biharmonic(np.where(mask, 0, truth), mask)
    assert np.square(result.image - truth)[mask].mean() < 0.2 * np.square(smooth - truth)[mask].mean()
    assert np.array_equal(result.image[~mask], truth[~mask].astype(np.float32))
