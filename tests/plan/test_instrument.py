"""What users say of their instrument: point spread functions of any kind, and the size of voxels."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from scipy import ndimage, special  # type: ignore[import-untyped]

import napari_dip
from napari_dip.plan.instrument import CENTRES, background_of, reach_of, read_psf, read_voxel_size
from napari_dip.plan.values import read_factor


def spot(shape: tuple[int, ...], at: tuple[float, ...], sigma: float = 1.2) -> np.ndarray:
    """The image of a point at a place, in counts."""
    away = sum((i - c) ** 2 for i, c in zip(np.indices(shape), at, strict=True))
    return 300 * np.exp(-away / (2 * sigma**2))


@pytest.mark.parametrize("shape", [(15, 16), (16, 15), (15, 16, 17)])
@pytest.mark.parametrize("offset", [0.0, 0.4, -1.0])
@pytest.mark.parametrize("centre", CENTRES)
def test_what_is_read_has_odd_sizes_and_sum_one(shape: tuple[int, ...], offset: float, centre: str) -> None:
    psf = read_psf(spot(shape, tuple(n // 2 + offset for n in shape)), len(shape), centre)
    assert all(n % 2 for n in psf.shape)
    assert psf.sum() == pytest.approx(1, abs=1e-5)
    assert psf.dtype == np.float32


@pytest.mark.parametrize("at", [(7.0, 8.0), (7.5, 8.5), (6.3, 9.1)])
def test_a_spot_is_centred_by_its_mass_wherever_it_lies(at: tuple[float, float]) -> None:
    psf = read_psf(spot((16, 18), at), 2)
    np.testing.assert_allclose(ndimage.center_of_mass(psf), [n // 2 for n in psf.shape], atol=0.02)
    expected = spot(psf.shape, tuple(n // 2 for n in psf.shape))
    np.testing.assert_allclose(psf, expected / expected.sum(), rtol=0.05, atol=1e-4)


def test_where_a_spot_lies_in_its_array_makes_no_difference() -> None:
    lopsided = np.array([[0, 1, 2], [1, 6, 4], [0, 2, 9.0]])
    placed = np.zeros((15, 17))
    placed[2:5, 9:12] = lopsided
    for centre in ("mass", "maximum"):
        np.testing.assert_allclose(read_psf(lopsided, 2, centre), read_psf(placed, 2, centre), atol=1e-5)


def test_the_middle_of_an_even_size_is_the_pixel_after_it() -> None:
    point = np.zeros((6, 7))
    point[3, 3] = 5
    assert np.array_equal(read_psf(point, 2, "middle"), [[1]])


@pytest.mark.parametrize("centre", ["mass", "maximum"])
def test_a_point_anywhere_is_no_blur(centre: str) -> None:
    point = np.zeros((9, 12))
    point[1, 7] = 40
    np.testing.assert_allclose(read_psf(point, 2, centre), [[1]], atol=1e-6)


def test_the_brightest_pixel_is_the_middle_of_a_lopsided_one() -> None:
    comet = np.zeros((7, 7))
    comet[3, 1:5] = [8, 4, 2, 1]
    assert np.array_equal(15 * read_psf(comet, 2, "maximum"), [[0, 0, 0, 8, 4, 2, 1]])


def test_a_number_is_the_standard_deviation_of_a_gaussian() -> None:
    psf = read_psf((2.0, 0, 1.0), 3)
    assert psf.shape == (17, 1, 9)
    for axis, sigma in ((0, 2.0), (2, 1.0)):
        at = np.arange(psf.shape[axis]) - psf.shape[axis] // 2
        profile = psf.sum(axis=tuple(i for i in range(3) if i != axis))
        assert (profile * at**2).sum() == pytest.approx(sigma**2, rel=0.01)
    assert np.array_equal(read_psf(1.5, 2), read_psf((1.5, 1.5), 2))


def test_what_holds_next_to_no_light_is_cut_off() -> None:
    wide = np.zeros((41, 61))
    wide[15:26, 25:36] = spot((11, 11), (5, 5), sigma=1)
    assert max(read_psf(wide, 2).shape) <= 11


def test_reach_is_where_all_but_a_share_of_the_light_is() -> None:
    psf = read_psf((3.0, 1.0), 2)
    assert reach_of(psf, 0.05) == (6, 2)  # two standard deviations
    assert reach_of(psf, 0.0) == (12, 4)
    assert reach_of(psf, 1.0) == (0, 0)


@pytest.mark.parametrize(
    ("psf", "ndim", "error", "words"),
    [
        ("spot", 2, TypeError, "psf='spot' names a file"),
        (np.ones((3, 3)), 3, ValueError, r"\(3, 3\).*3 spatial axes.*psf\[None\]"),
        (
            np.ones((3, 3, 3)),
            2,
            ValueError,
            r"2 spatial axes; restore planes as a volume \(no leading_axes\), or give its plane",
        ),
        (np.ones((5, 5, 3)), 2, ValueError, r"2 spatial axes; save it grey, or .*psf\[\.\.\., 0\]"),
        (np.ones((2, 3, 3, 3)), 3, ValueError, r"3 spatial axes; give one number for each pixel of 3 axes"),
        (np.ones(4), 2, ValueError, "4 standard deviations for 2 axes"),
        (np.zeros((3, 3)), 2, ValueError, "no light"),
        (np.array([[1.0, np.nan]]), 2, ValueError, "finite"),
        (np.array([[5.0, -1.0]]), 2, ValueError, "negative.*background"),
        (np.zeros((0, 3)), 2, ValueError, r"psf has shape \(0, 3\), without a pixel; give an array"),
        (
            np.full((64, 64), 7),
            2,
            ValueError,
            "psf is 7 in all of its 64 x 64 pixels: there is no point in it; give the",
        ),
        (np.ones((3, 40, 41)), 3, ValueError, "psf is 1 in all of its 3 x 40 x 41 pixels: there is no point in it"),
        (0, 2, ValueError, "not all 0"),
        (-1.5, 2, ValueError, "not negative"),
        ((1.0, np.inf), 2, ValueError, "finite"),
    ],
)
def test_what_is_no_point_spread_function_is_refused(psf: Any, ndim: int, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        read_psf(psf, ndim)


@pytest.mark.parametrize("box", [np.ones((3, 3)), np.ones((1, 15)), np.pad(np.ones((9, 9)), 1)])
def test_a_blur_that_is_a_box_is_taken(box: np.ndarray[Any, Any]) -> None:
    blur = read_psf(box, 2)
    assert np.ptp(blur[blur > 1e-6]) < 1e-6


def test_an_unknown_centre_is_refused() -> None:
    with pytest.raises(ValueError, match="psf_centre='centre'.*mass, maximum, middle"):
        read_psf(1.5, 2, "centre")


def test_a_voxel_size_is_one_positive_number_for_each_axis() -> None:
    assert read_voxel_size(None, 3) is None
    assert read_voxel_size(np.array([2, 1, 1]), 3) == (2.0, 1.0, 1.0)
    for bad in ((1, 1), (0, 1, 1), (-1, 1, 1), (np.nan, 1, 1), (np.inf, 1, 1)):
        with pytest.raises(ValueError, match="voxel_size"):
            read_voxel_size(bad, 3)
    for worse in (2.0, "zyx", ("a", 1, 1)):
        with pytest.raises(TypeError, match="voxel_size"):
            read_voxel_size(worse, 3)


def gaussian(size: int, sigma: float) -> np.ndarray[Any, Any]:
    return np.exp(-0.5 * np.add.outer(*2 * [((np.arange(size) - size // 2) / sigma) ** 2]))


def airy(size: int, step: float) -> np.ndarray[Any, Any]:
    r = step * np.hypot(*np.indices((size, size)) - size // 2) + 1e-9
    return np.asarray((2 * special.j1(r) / r) ** 2)


def cone(planes: int, size: int, slope: float) -> np.ndarray[Any, Any]:
    width = 1.5 + slope * np.abs(np.arange(planes) - planes // 2)
    return np.stack([gaussian(size, w) / w**2 for w in width])


CLEAN = {
    **{f"gaussian-{n}-{s}": gaussian(n, s) for n in (3, 7, 9, 15, 31) for s in (0.5, 1, 2, 4, 12)},
    **{f"airy-{n}-{step}": airy(n, step) for n in (9, 17, 33, 65) for step in (0.3, 0.6, 1.0, 1.5)},
    **{f"cone-{n}-{s}": cone(n, size, s) for n, size in ((7, 9), (21, 9), (13, 33)) for s in (0.2, 0.5, 1.0)},
    "tails": 1 / (1 + np.hypot(*np.indices((65, 65)) - 32) ** 2),
    "box": np.ones((9, 9)),
    "disc": (np.hypot(*np.indices((41, 41)) - 20) < 15) * 1.0,
    "line": np.pad(np.ones((1, 15)), ((7, 7), (0, 0))),
    "motion": np.eye(15),
    "planes": np.ones((1, 1, 15)) * gaussian(15, 2),
}


@pytest.mark.parametrize("name", CLEAN)
def test_a_psf_without_a_background_is_not_touched(name: str) -> None:
    assert background_of(CLEAN[name]) == ""


@pytest.mark.parametrize("offset", [10, 100, 1000])
@pytest.mark.parametrize("shape", [(15, 1.5), (15, 2), (31, 3), (9, 21, 2)])
def test_a_background_of_a_psf_is_taken_off_and_told(shape: tuple[Any, ...], offset: float) -> None:
    *planes, size, sigma = shape
    clean = 1000 * (gaussian(size, sigma) if not planes else cone(planes[0], size, 0.2))
    assert background_of(clean + offset).startswith(f"psf has a background of {offset}")
    np.testing.assert_allclose(read_psf(clean + offset, clean.ndim), read_psf(clean, clean.ndim), atol=2e-4)


def test_a_bead_on_a_cameras_offset_gives_the_blur_of_the_bead() -> None:
    rng = np.random.default_rng(0)
    clean = 2000 * gaussian(17, 2)
    bead = rng.poisson(clean) + rng.normal(100, 2, clean.shape)
    assert re.match(r"psf has a background of (99|100|101)", background_of(bead))
    found = read_psf(bead, 2)
    middle = [each[tuple(slice(n // 2 - 3, n // 2 + 4) for n in each.shape)] for each in (found, read_psf(clean, 2))]
    np.testing.assert_allclose(middle[0], middle[1], atol=0.05 * middle[1].max())


@pytest.mark.parametrize("value", ["a", "3", b"3", True, np.True_, 3j, [3], [[1], [1, 2]]])
@pytest.mark.parametrize("name", ["gain", "offset", "read_noise"])
def test_what_is_no_number_is_named(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name}={re.escape(repr(value))} is not one number; leave it out"):
        napari_dip.iterate("denoise", np.zeros((16, 16)), **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("gain", 10**400, "inf is not a number"),
        ("offset", -(10**400), "-inf is not a number"),
        ("intensity_range", (0, 10**400), "must be two finite numbers"),
        ("voxel_size", (1, 10**400), "must be finite"),
    ],
    ids=["gain", "offset", "intensity_range", "voxel_size"],
)
def test_what_no_float_holds_is_named(name: str, value: Any, words: str) -> None:
    """It was an OverflowError without a name."""
    with pytest.raises(ValueError, match=f"^{name}=.*{words}"):
        napari_dip.denoise(np.eye(16), **{name: value}, device="cpu", iterations=1)


@pytest.mark.parametrize("value", [True, "3", 3j])
@pytest.mark.parametrize(
    ("task", "name", "others"),
    [
        ("superresolve", "factor", (2,)),
        ("denoise", "voxel_size", (1.0,)),
        ("denoise", "intensity_range", (5000,)),
        ("enhance", "boost", None),
    ],
)
def test_none_of_several_numbers_is_a_text_or_a_truth_value(task: Any, name: str, others: Any, value: Any) -> None:
    given = value if others is None else (value, *others)
    with pytest.raises((TypeError, ValueError), match=f"^{name}={re.escape(repr(given))}"):
        napari_dip.iterate(task, np.arange(256.0).reshape(16, 16), **{name: given})


def test_a_number_may_be_an_array_without_axes() -> None:
    assert read_factor(np.array(2), 2) == (2, 2)
    assert read_voxel_size((np.array(2.0), np.float32(3)), 2) == (2.0, 3.0)
    assert read_voxel_size(map(float, "23"), 2) == (2.0, 3.0)
