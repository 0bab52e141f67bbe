"""Figures against a truth: those of their formulas, whatever is masked out, and after a fit whatever the exposure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_dip.core.judge.errors import peak_of, psnr
from napari_dip.core.judge.metrics import compare
from tests.core.tiny import noisy, picture

SHAPES = [(20, 30), (5, 9), (3, 3), (8, 9, 10), (3, 12, 14)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_figures_are_their_formulas(shape: tuple[int, ...]) -> None:
    truth, restored = picture(*shape), noisy(*shape)
    figures = compare(restored, truth)
    error = np.mean((restored - truth) ** 2)
    assert figures.psnr == pytest.approx(10 * np.log10(np.ptp(truth) ** 2 / error))
    assert figures.nrmse == pytest.approx(np.sqrt(error / np.mean(truth**2)))
    assert -1 < figures.ssim < 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_perfect_image_has_perfect_figures(shape: tuple[int, ...]) -> None:
    figures = compare(picture(*shape), picture(*shape))
    assert (figures.psnr, figures.ssim, figures.nrmse) == (np.inf, pytest.approx(1), 0)


@pytest.mark.parametrize("shape", SHAPES)
def test_more_noise_has_worse_figures(shape: tuple[int, ...]) -> None:
    truth = picture(*shape)
    a, b = compare(noisy(*shape, sigma=0.05), truth), compare(noisy(*shape, sigma=0.1), truth)
    assert a.psnr > b.psnr
    assert a.ssim > b.ssim
    assert a.nrmse < b.nrmse


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_the_peak_of_a_whole_is_that_of_its_comparison(kind: Any) -> None:
    truth = (100 * picture(16, 16)).astype(kind)
    assert compare(truth + 1, truth).data_range == pytest.approx(peak_of(truth))
    assert peak_of(np.full((2, 2), np.nan)) == 0


def test_the_peak_is_that_of_the_type_or_the_range_or_what_is_said() -> None:
    counts = (255 * picture(16, 16)).astype(np.uint8) // 2
    assert compare(counts, counts).data_range == 255
    assert compare(counts, counts.astype(np.uint16)).data_range == np.ptp(counts)
    assert compare(counts, counts, data_range=7).data_range == 7
    assert compare(counts + 1.0, counts).psnr == pytest.approx(20 * np.log10(255))


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (0.01, 300), (5000, -2), (-1, 1)])
def test_a_fit_makes_exposure_and_offset_irrelevant(gain: float, offset: float) -> None:
    truth, restored = picture(16, 20), noisy(16, 20)
    plain, fitted = compare(restored, truth, affine=True), compare(gain * restored + offset, truth, affine=True)
    assert fitted.psnr == pytest.approx(plain.psnr)
    assert fitted.ssim == pytest.approx(plain.ssim)
    assert fitted.gain * gain == pytest.approx(plain.gain)


def test_no_gain_or_offset_comes_closer_than_the_fit() -> None:
    truth, restored = picture(16, 20), noisy(16, 20)
    best = compare(restored, truth, affine=True)
    for gain, offset in ((0.99, 0), (1.01, 0), (1, 0.01), (1, -0.01)):
        changed = gain * (best.gain * restored + best.offset) + offset
        assert compare(changed, truth).psnr < best.psnr


def test_the_fit_of_a_constant_is_the_mean_of_the_truth() -> None:
    truth = picture(16, 20)
    figures = compare(np.full(truth.shape, 3.0), truth, affine=True)
    assert (figures.gain, figures.offset) == (0, pytest.approx(truth.mean()))


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("value", [1e6, np.nan, np.inf])
def test_what_is_masked_out_cannot_change_a_figure(value: float, affine: bool) -> None:
    truth, restored = picture(16, 20), noisy(16, 20)
    mask = np.zeros(truth.shape, bool)
    mask[3:6, 4:8] = True
    expected = compare(restored, truth, mask=mask, affine=affine)
    assert compare(np.where(mask, value, restored), truth, mask=mask, affine=affine) == expected


def test_channels_are_compared_one_by_one_along_any_axis() -> None:
    truth = np.stack([picture(16, 20), 1 - picture(16, 20), picture(16, 20) ** 2], axis=-1)
    restored = truth + np.random.default_rng(0).normal(0, 0.1, truth.shape)
    last = compare(restored, truth, channel_axis=-1)
    first = compare(np.moveaxis(restored, -1, 0), np.moveaxis(truth, -1, 0), channel_axis=0)
    single = [compare(restored[..., c], truth[..., c], data_range=last.data_range).ssim for c in range(3)]
    assert first == last
    assert last.ssim == pytest.approx(np.mean(single))
    assert np.isfinite(compare(restored, truth, channel_axis=-1, mask=truth[..., 0] > 0.9).psnr)


@pytest.mark.parametrize(
    ("restored", "truth", "options", "words"),
    [
        (np.ones((4, 5)), np.ones((5, 4)), {}, r"\(4, 5\).*\(5, 4\)"),
        (np.ones((2, 9)), np.ones((2, 9)), {}, "3 pixels or more"),
        (np.ones(9), np.ones(9), {}, "two or three axes"),
        (np.ones((9, 9)), np.ones((9, 9)), {}, "say the data_range"),
        (np.ones((9, 9)), np.eye(9), {"data_range": 0}, "data_range=0"),
        (np.ones((9, 9)), np.eye(9), {"mask": np.ones((9, 9))}, "~mask"),
        (np.ones((9, 9)), np.eye(9), {"mask": np.ones((9, 8))}, r"\(9, 8\)"),
        (np.ones((9, 9)), np.eye(9), {"channel_axis": 2}, "channel_axis=2"),
        (np.full((9, 9), np.nan), np.eye(9), {}, "restored has pixels that are NaN"),
        (np.eye(9), np.full((9, 9), np.inf), {}, "truth has pixels that are NaN or inf"),
    ],
)
def test_what_cannot_be_compared_is_said(restored: Any, truth: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compare(restored, truth, **options)


def test_complex_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match="complex"):
        compare(np.ones((9, 9), complex), np.eye(9))


def test_it_reads_as_a_sentence() -> None:
    text = str(compare(noisy(16, 16), picture(16, 16), affine=True))
    assert "dB" in text
    assert "after scaling by" in text


@pytest.mark.parametrize("affine", [False, True])
def test_psnr_alone_is_that_of_the_comparison(affine: bool) -> None:
    truth = picture(20, 24)
    restored = 0.9 * noisy(20, 24) + 0.1
    restored[3, 4] = np.nan
    figures = compare(restored, truth, affine=affine, mask=np.isnan(restored))
    assert psnr(restored, truth, affine=affine, data_range=figures.data_range) == pytest.approx(figures.psnr)
    assert psnr(truth, truth) == np.inf
    assert np.isnan(psnr(np.full_like(truth, np.nan), truth))
    assert np.isnan(psnr(restored, np.ones_like(truth)))
