"""Similar patches take the noise out of each other, whatever the units, the place and the size of the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_dip.core.methods import groups, nlridge
from napari_dip.core.noise.correlation import coloured, spectrum
from napari_dip.core.pauses import without_pauses
from tests.core.tiny import nonlocal_ridge, picture


def white(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def clean(*shape: int) -> Tensor:
    """A picture (1, *shape) of 20 times the noise."""
    return 20 * torch.from_numpy(picture(*shape)).float()[None]


def test_the_noise_in_a_flat_image_all_but_vanishes() -> None:
    estimate = nonlocal_ridge(500 + white(1, 48, 48), 1)
    assert (estimate - 500).std() < 0.2
    assert estimate.mean() == pytest.approx(500, abs=0.1)


def test_noise_goes_and_the_picture_stays() -> None:
    truth = clean(48, 48)
    estimate = nonlocal_ridge(truth + white(1, 48, 48), 1)
    assert (estimate - truth).square().mean() < 0.25


def test_a_guide_that_is_the_truth_takes_more_noise_out_in_one_step_and_slice_by_slice() -> None:
    truth = torch.stack([clean(48, 48), clean(48, 48).flip(2)], 1)
    noisy = truth + white(1, 2, 48, 48)

    def error(guide: Tensor | None) -> float:
        found = without_pauses(nlridge.by_strips(noisy, 1.0, guide=guide))
        return float((found - truth).square().mean())

    assert error(truth) < 0.9 * error(None)
    assert error(truth) < error(truth.flip(1))


@pytest.mark.parametrize(("scale", "offset"), [(0.001, 0.0), (300.0, 0.0), (1.0, 200.0), (40.0, -700.0)])
def test_units_do_not_matter(scale: float, offset: float) -> None:
    noisy = clean(32, 40) + white(1, 32, 40)
    expected = scale * nonlocal_ridge(noisy, 1) + offset
    torch.testing.assert_close(nonlocal_ridge(scale * noisy + offset, scale), expected, rtol=1e-3, atol=0.02 * scale)


def test_a_shifted_image_gives_a_shifted_estimate() -> None:
    noisy = clean(104, 112) + white(1, 104, 112)
    whole = nonlocal_ridge(noisy, 1)
    part = nonlocal_ridge(noisy[:, 4:, 8:], 1)
    inner = slice(48, 56)  # two steps see pixels up to 2 * (18 + patch) away, and a pixel belongs to patches of others
    torch.testing.assert_close(part[:, inner, inner], whole[:, 52:60, 56:64], rtol=0, atol=0.05)


def test_channels_help_each_other_choose() -> None:
    truth = clean(48, 48)
    faint, strong = 0.1 * truth, truth
    noise = white(2, 48, 48)
    alone = nonlocal_ridge(faint + noise[:1], 1)
    together = nonlocal_ridge(torch.cat([faint, strong]) + noise, 1)
    assert together.shape == (2, 48, 48)
    assert (together[:1] - faint).square().mean() < 1.5 * (alone - faint).square().mean()
    assert (together[1:] - strong).square().mean() < 0.25


def test_a_volume_is_estimated_slice_by_slice() -> None:
    volume = torch.stack([clean(20, 24) + white(1, 20, 24, seed=z) for z in range(3)], dim=1)
    estimate = nonlocal_ridge(volume, 1)
    assert estimate.shape == volume.shape
    for z in range(3):
        torch.testing.assert_close(estimate[:, z], nonlocal_ridge(volume[:, z], 1))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3), (7, 7), (6, 30), (11, 10), (8, 12)])
@pytest.mark.parametrize("sigma", [0.1, 3.0])
def test_images_smaller_than_a_patch_or_window_stay_near(shape: tuple[int, int], sigma: float) -> None:
    truth = 1 + clean(*shape)
    noise = sigma * white(1, *shape)
    estimate = nonlocal_ridge(truth + noise, sigma)
    assert estimate.shape == truth.shape
    assert (estimate - truth).square().mean() < 2 * noise.square().mean()


@pytest.mark.parametrize("sigma", [0.0, 1e-3, 1.0])
def test_what_has_no_noise_stays(sigma: float) -> None:
    flat = torch.full((2, 20, 24), 7.5)
    torch.testing.assert_close(nonlocal_ridge(flat, sigma), flat, rtol=0, atol=1e-4)
    strong = 1e4 * clean(24, 24)
    torch.testing.assert_close(nonlocal_ridge(strong, sigma), strong, rtol=0, atol=3 * sigma + 1)


@pytest.mark.parametrize("contrast", [4e3, 2e5, 2e6])
def test_faint_noise_in_a_strong_picture_goes_too(contrast: float) -> None:
    """The products of patches outgrow float32, which has left their matrix singular."""
    truth = torch.from_numpy(picture(48, 48)).float()[None]
    truth = contrast * truth / (truth.amax() - truth.amin())
    estimate = nonlocal_ridge(truth + white(1, 48, 48), 1)
    assert (estimate - truth).square().mean() < 0.35


def test_it_is_repeatable() -> None:
    noisy = clean(32, 32) + white(1, 32, 32)
    before = noisy.clone()
    assert torch.equal(nonlocal_ridge(noisy, 1), nonlocal_ridge(noisy, 1))
    assert torch.equal(noisy, before)


@pytest.mark.cuda
def test_a_gpu_agrees() -> None:
    noisy = clean(48, 48) + white(1, 48, 48)
    torch.testing.assert_close(nonlocal_ridge(noisy.cuda(), 1).cpu(), nonlocal_ridge(noisy, 1), rtol=0, atol=0.05)


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match="two or three spatial axes"):
        nonlocal_ridge(torch.zeros(8, 8), 1)
    with pytest.raises(ValueError, match="sigma=-1"):
        nonlocal_ridge(torch.zeros(1, 8, 8), -1)


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "_REFERENCES", 32)  # several strips
    image = torch.from_numpy(picture(48, 64)).float()[None]
    image += 0.1 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = nonlocal_ridge(image, 0.1)
        torch.set_num_threads(3)
        assert torch.equal(alone, nonlocal_ridge(image, 0.1))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_strips_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is computed in the workspace of the one before, which may be larger."""
    noisy = torch.cat([clean(93, 64), 0.5 * clean(93, 64)]) + white(2, 93, 64)
    whole = nonlocal_ridge(noisy, 1)
    monkeypatch.setattr(groups, "_REFERENCES", 64)
    torch.testing.assert_close(nonlocal_ridge(noisy, 1), whole, rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", [(48, 48), (41, 50), (2, 40, 40)])
def test_noise_that_neighbours_share_goes_where_it_is_known(shape: tuple[int, ...]) -> None:
    line = torch.tensor([0.1, 0.6, 1, 0.6, 0.1]).double()
    shared = torch.outer(line, line).numpy()
    truth = clean(*shape)
    noise = coloured(white(1, *shape), spectrum(shared, tuple(shape[-2:])), 2)
    estimate = nonlocal_ridge(truth + noise, 1, shared)
    assert estimate.shape == truth.shape
    error = (estimate - truth).square().mean()
    assert error < 0.45
    assert error < 0.7 * (nonlocal_ridge(truth + noise, 1) - truth).square().mean()


def test_an_autocorrelation_of_white_noise_changes_nothing() -> None:
    noisy = clean(40, 40) + white(1, 40, 40)
    alone = np.zeros((3, 3))
    alone[1, 1] = 1
    assert torch.equal(nonlocal_ridge(noisy, 1, alone), nonlocal_ridge(noisy, 1))


def test_the_last_step_with_white_noise_is_the_second() -> None:
    noisy, guide = clean(40, 40) + white(1, 40, 40), clean(40, 40)
    alone = torch.zeros(3, 3)
    alone[1, 1] = 1
    groups = nlridge.ON_ALL_PIXELS
    steps = (nlridge.in_step(noisy, guide, groups, known=True, shared=each) for each in (None, alone))
    plain, told = map(without_pauses, steps)
    torch.testing.assert_close(told, plain, rtol=1e-3, atol=1e-3)
