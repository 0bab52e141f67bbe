"""The instrument A: linear, faithful to its kernels, and aligned with the image by outlines."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import signal  # type: ignore[import-untyped]

from napari_dip.core.operators import KERNELS, Blur, Compose, Downsample, Identity, Mask, Operator, seen_by, taps

FACTORS = (1, 2, 3, 4, 5)
KNOWN = torch.rand(1, 1, 4, 3, generator=torch.Generator().manual_seed(1)) > 0.4


def psf_of(*shape: int, seed: int = 2) -> torch.Tensor:
    """Any point spread function: neither symmetric nor separable, with sum one."""
    weights = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return weights / weights.sum()


OPERATORS: dict[str, tuple[Operator, tuple[int, ...]]] = {
    "identity": (Identity(), (4, 3)),
    "mask": (Mask(KNOWN), (4, 3)),
    "downsample": (Downsample((2, 3)), (4, 3)),
    "box": (Downsample((3, 2), "box"), (4, 3)),
    "one axis": (Downsample((1, 4), "gaussian"), (4, 3)),
    "3-D": (Downsample((1, 2, 3), "bicubic"), (2, 4, 3)),
    "masked": (Compose(Downsample((2, 5), "lanczos3"), Mask(KNOWN)), (4, 3)),
    "blur": (Blur(psf_of(3, 5), (1, 1)), (4, 3)),
    "blur larger than the image": (Blur(psf_of(9, 7), (2, 0)), (4, 3)),
    "3-D blur": (Blur(psf_of(3, 1, 5), (0, 0, 2)), (2, 4, 3)),
    "blurred and coarse": (Compose(Blur(psf_of(5, 5), (2, 1)), Downsample((2, 3)), Mask(KNOWN)), (4, 3)),
    "twice": (Compose(Downsample((2, 1)), Downsample((3, 2), "box")), (4, 3)),
}
every_operator = pytest.mark.parametrize(("operator", "measured"), OPERATORS.values(), ids=OPERATORS)
every_kernel = pytest.mark.parametrize("kernel", KERNELS)
every_factor = pytest.mark.parametrize("factor", FACTORS)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense_lanczos2(coarse: int, factor: int) -> np.ndarray:
    """The matrix (coarse, fine) of the Lanczos-2 downsampler with its edges continued, from its definition."""
    fine = coarse * factor
    matrix = np.zeros((coarse, fine))
    for j in range(coarse):
        centre = (j + 0.5) * factor - 0.5
        reach = np.arange(np.floor(centre - 2 * factor), np.ceil(centre + 2 * factor) + 1)
        x = (reach - centre) / factor
        weights = np.where(abs(x) < 2, np.sinc(x) * np.sinc(x / 2), 0)
        for i, weight in zip(reach.astype(int), weights / weights.sum(), strict=True):
            matrix[j, np.clip(i, 0, fine - 1)] += weight
    return matrix


@every_operator
def test_operators_are_linear(operator: Operator, measured: tuple[int, ...]) -> None:
    shape = (1, 2, *operator.image_shape(measured))
    x, y = random(*shape), random(*shape, seed=1)
    torch.testing.assert_close(operator(2 * x - 3 * y), 2 * operator(x) - 3 * operator(y))


@every_operator
def test_the_gradient_is_the_adjoint(operator: Operator, measured: tuple[int, ...]) -> None:
    x, y = random(1, 2, *operator.image_shape(measured)), random(1, 2, *measured, seed=1)
    predicted, adjoint = torch.autograd.functional.vjp(operator, x, y)
    torch.testing.assert_close((predicted * y).sum(), (x * adjoint).sum())


@every_operator
def test_image_shape_is_the_inverse_of_measuring(operator: Operator, measured: tuple[int, ...]) -> None:
    assert operator(random(1, 2, *operator.image_shape(measured))).shape == (1, 2, *measured)


@every_kernel
@every_factor
def test_a_flat_image_keeps_its_value(kernel: str, factor: int) -> None:
    assert float(taps(kernel, factor).double().sum()) == pytest.approx(1, abs=1e-6)
    assert len(taps(kernel, factor)) % 2 == factor % 2
    flat = torch.full((1, 1, 6 * factor, 5 * factor), 7.0)
    torch.testing.assert_close(Downsample((factor, factor), kernel)(flat), torch.full((1, 1, 6, 5), 7.0))


@every_kernel
@every_factor
def test_a_kernel_is_symmetric(kernel: str, factor: int) -> None:
    torch.testing.assert_close(taps(kernel, factor), taps(kernel, factor).flip(0))


@every_factor
def test_box_is_the_block_mean(factor: int) -> None:
    image = random(1, 1, 4 * factor, 3 * factor)
    blocks = image.numpy().reshape(4, factor, 3, factor).mean((1, 3))
    np.testing.assert_allclose(Downsample((factor, factor), "box")(image)[0, 0].numpy(), blocks, atol=1e-6)


@every_factor
def test_lanczos2_is_its_definition(factor: int) -> None:
    image = random(1, 1, 6 * factor, 5 * factor)
    expected = dense_lanczos2(6, factor) @ image[0, 0].numpy() @ dense_lanczos2(5, factor).T
    np.testing.assert_allclose(Downsample((factor, factor))(image)[0, 0].numpy(), expected, atol=1e-6)


@every_kernel
@every_factor
def test_outlines_coincide(kernel: str, factor: int) -> None:
    """A coarse pixel of a ramp reads the mean position of the fine pixels that it covers."""
    positions = torch.arange(16.0 * factor, dtype=torch.float64)
    ramp = positions.reshape(1, 1, 1, -1).expand(1, 1, 2 * factor, -1)
    centres = positions.numpy().reshape(16, factor).mean(1)
    measured = Downsample((factor, factor), kernel)(ramp)[0, 0].numpy()
    np.testing.assert_allclose(measured[:, 4:-4], np.tile(centres[4:-4], (2, 1)), rtol=1e-5)


@every_kernel
@every_factor
def test_a_shift_by_the_factor_is_a_shift_by_one_pixel(kernel: str, factor: int) -> None:
    image, operator = random(1, 1, 14 * factor, 2 * factor), Downsample((factor, factor), kernel)
    shifted = operator(image.roll(factor, 2))
    torch.testing.assert_close(shifted[:, :, 5:-4], operator(image)[:, :, 4:-5])


@every_kernel
def test_axes_are_filtered_each_by_its_own_factor(kernel: str) -> None:
    image = random(1, 2, 4, 6, 10)
    axis_by_axis = image
    for factor in ((2, 1, 1), (1, 3, 1), (1, 1, 5)):
        axis_by_axis = Downsample(factor, kernel)(axis_by_axis)
    torch.testing.assert_close(Downsample((2, 3, 5), kernel)(image), axis_by_axis)
    assert torch.equal(Downsample((1, 1, 1), kernel)(image), image)


@pytest.mark.parametrize("margin", [(0, 0), (1, 2), (2, 3)])
def test_a_blur_is_its_definition(margin: tuple[int, int]) -> None:
    """Each point becomes the point spread function; beyond the image its edge values continue."""
    image, psf = random(1, 2, 9, 10), psf_of(5, 7)
    wide = np.pad(image.numpy(), [(0, 0), (0, 0), (2 - margin[0],) * 2, (3 - margin[1],) * 2], mode="edge")
    expected = np.stack([signal.convolve2d(channel, psf.numpy(), "valid") for channel in wide[0]])
    np.testing.assert_allclose(Blur(psf, margin)(image)[0].numpy(), expected, atol=1e-12)


def test_a_blur_by_a_point_keeps_what_is_within_the_margin() -> None:
    point = torch.zeros(5, 7)
    point[2, 3] = 1
    image = random(1, 1, 8, 9)
    torch.testing.assert_close(Blur(point, (1, 2))(image), image[..., 1:-1, 2:-2])
    torch.testing.assert_close(Blur(torch.ones(1, 1), (4, 4))(image), image)


def test_blurring_a_shifted_image_shifts_the_blurred_one() -> None:
    image, blur = random(1, 1, 20, 21), Blur(psf_of(5, 3), (0, 0))
    torch.testing.assert_close(blur(image.roll(3, 2))[..., 6:-6, :], blur(image)[..., 3:-9, :])


def test_blurs_follow_each_other_as_one() -> None:
    """The order does not matter, and Gaussians add their variances."""
    image = random(1, 1, 30, 24)
    first, second = psf_of(5, 3), psf_of(3, 5, seed=3)
    here, there = Blur(first, (2, 1)), Blur(second, (1, 2))
    torch.testing.assert_close(here(there(image)), there(here(image)))
    both = torch.from_numpy(signal.convolve2d(first.numpy(), second.numpy()))
    torch.testing.assert_close(Blur(both, (3, 3))(image), here(there(image)))


def test_a_flat_image_stays_flat_through_any_blur() -> None:
    flat = torch.full((1, 1, 12, 11), 7.0, dtype=torch.float64)
    for margin in ((0, 0), (3, 2)):
        blurred = Blur(psf_of(9, 5), margin)(flat)
        torch.testing.assert_close(blurred, torch.full_like(blurred, 7.0))


def test_a_blur_takes_images_of_any_size_one_after_the_other() -> None:
    """A tile of the image is blurred like the whole."""
    image, blur = random(1, 1, 24, 20), Blur(psf_of(5, 5), (2, 2))
    whole = blur(image)
    torch.testing.assert_close(blur(image[..., 4:18, 3:17]), whole[..., 4:14, 3:13])
    torch.testing.assert_close(blur(image), whole)


@pytest.mark.parametrize("psf", [torch.full((2, 3), 1 / 6), torch.ones(3, 3)])
def test_a_point_spread_function_has_a_middle_and_the_sum_one(psf: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="odd sizes and sum 1"):
        Blur(psf, (0, 0))


def test_channels_are_measured_apart() -> None:
    image, operator = random(1, 3, 8, 8), Downsample((2, 2))
    apart = torch.cat([operator(image[:, c : c + 1]) for c in range(3)], 1)
    torch.testing.assert_close(operator(image), apart)


def test_a_mask_is_idempotent_and_reads_zero() -> None:
    mask, image = Mask(KNOWN), random(1, 2, 4, 3)
    assert torch.equal(mask(mask(image)), mask(image))
    assert torch.equal(mask(image)[:, :1][~KNOWN], torch.zeros(int((~KNOWN).sum()), dtype=torch.float64))


def test_a_mask_reads_zero_where_the_image_is_not_finite() -> None:
    image = torch.where(KNOWN, 1.0, float("inf"))
    assert torch.equal(Mask(KNOWN)(image), KNOWN.float())


@pytest.mark.parametrize("factor", [(0, 2), (-1, 2), (2, 1.5)])
def test_factors_are_whole_and_positive(factor: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="factor.*whole numbers of at least 1"):
        Downsample(factor)  # type: ignore[arg-type]


def test_an_unknown_kernel_is_refused_with_the_choices() -> None:
    for factor in itertools.product((1, 2), repeat=2):
        with pytest.raises(ValueError, match="kernel='lanczos'.*lanczos2"):
            Downsample(factor, "lanczos")


def test_a_part_of_the_measurement_is_seen_by_the_cropped_instrument() -> None:
    """Away from its border, where the edge value continues instead of the image."""
    known = torch.rand(1, 1, 12, 16, generator=torch.Generator().manual_seed(0)) > 0.3
    image = torch.rand(1, 2, 24, 48, generator=torch.Generator().manual_seed(1))
    for operator in (Compose(Downsample((2, 3)), Mask(known)), Downsample((2, 3))):
        place = (slice(2, 10), slice(4, 15))
        there = seen_by(operator, place)
        assert there == (slice(4, 20), slice(12, 45))
        part = operator.crop(place)(image[(..., *there)])
        whole = operator(image)[(..., *place)]
        assert part.shape == whole.shape
        torch.testing.assert_close(part[..., 2:-2, 2:-2], whole[..., 2:-2, 2:-2])


def test_a_part_of_a_blurred_measurement_is_of_more_than_that_part() -> None:
    known = torch.rand(1, 1, 12, 16, generator=torch.Generator().manual_seed(0)) > 0.3
    image, place = random(1, 2, 28, 38), (slice(2, 10), slice(4, 15))
    for operator in (Compose(Blur(psf_of(5, 7), (2, 3)), Downsample((2, 2), "box"), Mask(known)),):
        there = seen_by(operator, place)
        assert there == (slice(4, 24), slice(8, 36))
        torch.testing.assert_close(operator.crop(place)(image[(..., *there)]), operator(image)[(..., *place)])
