"""Deconvolution through the front door: places, sizes, units, and that it undoes a blur."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from scipy import ndimage  # type: ignore[import-untyped]

from napari_dip import deconvolve, denoise, iterate, superresolve, trust
from tests.bad_inputs import QUICK
from tests.core.tiny import noisy

FAST: dict[str, Any] = {**QUICK, "iterations": 6, "precision": "float32"}
LOPSIDED = np.array([[0, 1, 2], [1, 6, 4], [0, 2, 9.0]])


def test_light_that_spreads_far_beyond_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="psf .* along y, where the image has 16; .*in pixels of the restored image"):
        deconvolve(np.random.default_rng(0).random((16, 16)), 40.0, **FAST)


def test_light_that_spreads_over_more_than_the_image_is_told_before_and_after() -> None:
    words = "psf spreads light over .* pixels, and the image has 16 x 16"
    with pytest.warns(UserWarning, match=words):
        run = iterate("deconvolve", np.random.default_rng(0).random((16, 16)), psf=6.0, **FAST)
    for _ in run:
        pass
    assert any(re.match(words, sentence) for sentence in run.result.warnings)


def test_light_that_does_not_spread_is_told() -> None:
    result = deconvolve(np.random.default_rng(0).random((16, 16)), np.ones((1, 1)), **FAST)
    assert any("blurs nothing" in sentence for sentence in result.warnings)


def test_what_is_darker_than_all_that_was_measured_is_told_with_a_remedy_that_works() -> None:
    light, rng = np.zeros((40, 40)), np.random.default_rng(0)
    light[tuple(rng.integers(4, 36, (2, 25)))] = 2000
    image = 100 + 2.0 * rng.poisson(ndimage.gaussian_filter(light, 1.5) + 1)
    sentences = {
        len(camera): [each for each in result.warnings if "darker than all that was measured" in each]
        for camera in ({}, {"gain": 2.0, "offset": 100.0, "read_noise": 0.0})
        for result in [deconvolve(image, 1.5, quality="fast", seed=0, **camera)]
    }
    assert len(sentences[0]) == 1
    assert "gain, offset and read noise" in sentences[0][0]
    assert sentences[3] == []


@pytest.mark.parametrize("axis", [0, 1])
def test_a_line_takes_what_the_refusal_of_a_spread_across_it_advises(axis: int) -> None:
    line = np.expand_dims(np.random.default_rng(0).random(30), axis)
    remedy = f"along {'yx'[axis]}, where the image has 1; give one without spread along {'yx'[axis]}: a sigma of 0"
    with pytest.raises(ValueError, match=remedy):
        deconvolve(line, 1.5, **FAST)
    sigma = [1.5, 1.5]
    sigma[axis] = 0
    assert deconvolve(line, sigma, **FAST).image.shape == line.shape
    assert deconvolve(line, np.expand_dims(np.ones(3), axis), **FAST).image.shape == line.shape


@pytest.mark.filterwarnings("ignore:psf spreads")
@pytest.mark.parametrize(
    ("shape", "psf", "options"),
    [
        ((20, 17), 1.2, {}),
        ((20, 17), (2.0, 0.0), {}),
        ((20, 17), LOPSIDED, {"psf_centre": "maximum"}),
        ((3, 2), np.ones((9, 11)), {}),
        ((2, 12, 11), 1.0, {"leading_axes": 1}),
        ((12, 11, 3), 1.0, {"channel_axis": -1}),
        ((6, 12, 11), (2.0, 1.0, 1.0), {"voxel_size": (2, 1, 1)}),
    ],
)
def test_the_result_has_the_shape_of_the_measurement(shape: tuple[int, ...], psf: Any, options: dict[str, Any]) -> None:
    image = 100 + 50 * np.random.default_rng(0).random(shape)
    result = deconvolve(image, psf, uncertainty=True, **FAST, **options)
    assert result.image.shape == result.last.shape == result.residual.shape == shape
    assert result.uncertainty is not None
    assert result.uncertainty.shape == shape
    assert np.isfinite(result.image).all()
    assert result.record["voxel_size"] == (list(options["voxel_size"]) if "voxel_size" in options else None)


def test_the_residual_is_what_the_blurred_result_does_not_explain() -> None:
    """But for a frame of the width of the blur, where light from beyond the border comes in."""
    image = 100 + 50 * noisy(24, 26)
    result = deconvolve(image, 1.0, **FAST)
    blurred = ndimage.gaussian_filter(result.last.astype(float), 1.0)
    inside = (slice(5, -5),) * 2
    again = deconvolve(image, 1.0, stop="iterations", **FAST)
    np.testing.assert_allclose(
        (image - again.residual)[inside], ndimage.gaussian_filter(again.image, 1.0)[inside], rtol=2e-3
    )
    assert blurred.shape == image.shape


def test_a_blur_by_a_point_is_denoising() -> None:
    """But for the mean, which is measured when an image is denoised."""
    image = noisy(16, 18)
    point = np.zeros((5, 5))
    point[1, 3] = 9
    found = deconvolve(image, point, **FAST)
    plain = denoise(image, settings=found.settings)
    np.testing.assert_allclose(found.image - found.image.mean(), plain.image - plain.image.mean(), atol=1e-5)


def test_units_are_those_of_the_input() -> None:
    image = noisy(16, 18)
    first, second = (deconvolve(gain * image + offset, 1.0, **FAST).image for gain, offset in ((1, 0), (500, -3000)))
    np.testing.assert_allclose(second, 500 * first - 3000, rtol=1e-3, atol=0.5)


def test_masked_pixels_have_no_influence() -> None:
    image, mask = noisy(16, 18), np.zeros((16, 18), bool)
    mask[4:7, 5:9] = True
    changed = np.where(mask, -50, image)
    first, second = (deconvolve(each, 1.0, mask, **FAST).image for each in (image, changed))
    assert np.array_equal(first, second)


def test_superresolution_takes_a_point_spread_function_on_the_fine_grid() -> None:
    volume = np.random.default_rng(0).random((4, 12, 10))
    result = superresolve(volume, (4, 1, 1), psf=(3.0, 0.5, 0.5), kernel="box", voxel_size=(4, 1, 1), **FAST)
    assert result.image.shape == (16, 12, 10)
    assert result.residual.shape == volume.shape
    assert result.record["psf"]


def test_a_run_goes_on_with_the_same_point_spread_function_alone() -> None:
    image = noisy(16, 18)
    result = deconvolve(image, 1.0, **FAST)
    again = deconvolve(image, 1.0, resume=result, iterations=3)
    assert again.iterations == result.iterations + 3
    for other in ({"psf": 1.1}, {"psf": 1.0, "voxel_size": (2, 1)}):
        with pytest.raises(ValueError, match="is not that of the run"):
            iterate("deconvolve", image, resume=result, **other)


def test_the_noise_only_control_needs_the_same_blur() -> None:
    image = noisy(24, 24)
    result = deconvolve(image, 1.0, **FAST)
    assert trust.noise_control(result, image, psf=1.0).image.shape == image.shape
    with pytest.raises(ValueError, match="psf and psf_centre must be those"):
        trust.noise_control(result, image)
    with pytest.raises(ValueError, match="psf and psf_centre must be those"):
        trust.noise_control(denoise(image, code="uniform", generator="hourglass", **FAST), image, psf=1.0)


def test_a_point_spread_function_is_cropped_to_its_light_and_that_is_said() -> None:
    wide = np.pad(LOPSIDED, 20)
    result = deconvolve(np.random.default_rng(0).random((20, 20)), wide, psf_centre="maximum", **FAST)
    used, given = result.record["psf_size"]["used"], list(wide.shape)
    assert result.record["psf_size"]["given"] == given
    assert np.prod(used) < np.prod(given)
    told = f"centred in the {used[0]} x {used[1]} pixels that hold its light; {given[0]} x {given[1]} were given"
    assert result.choices["Point spread function"] == told
    assert "Point spread function" not in deconvolve(result.image, 1.5, **FAST).choices


def test_the_record_has_the_sigma_of_a_gaussian_and_the_centre_of_what_was_measured() -> None:
    image = noisy(16, 18)
    records = [deconvolve(image, psf, **FAST).record for psf in (2, (1.5, 0.0), LOPSIDED)]
    assert [each["psf_sigma"] for each in records] == [[2, 2], [1.5, 0], None]
    assert [each["psf_centre"] for each in records] == [None, None, "mass"]
    assert "psf_sigma" in denoise(image, code="uniform", generator="hourglass", **FAST).record
