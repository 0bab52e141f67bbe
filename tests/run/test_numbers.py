"""Numbers that float32 does not hold, images that hold hardly anything, and no warning of numpy."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_dip import Result, denoise, estimate_noise, find_bad_pixels, inpaint, restore_blocks, superresolve, trust
from tests.core.tiny import noisy

QUICK: dict[str, Any] = {"channels": 4, "scales": 2, "iterations": 2, "runs": 1, "device": "cpu"}
#: Without the similar patches, which take most of the time.
PLAIN: dict[str, Any] = {**QUICK, "refine": 0}
#: Images whose holes are filled with similar patches, and which are enlarged in their own type; of others it is the
#: other way round.
SWAPPED = ("half NaN", "uint64")
Image = npt.NDArray[Any]


def counts(size: int = 24) -> Image:
    """A noisy picture of whole numbers, 0 to about 250."""
    return np.rint(200 * noisy(size, size, sigma=0.05)).astype(np.int64) + 50


@pytest.fixture(scope="module")
def plain() -> Result:
    """Of numbers that float32 holds."""
    return denoise(counts(), uncertainty=True, **QUICK)


@pytest.mark.parametrize(
    ("image", "scale", "added"),
    [
        (counts() + 4 * 10**9, 1.0, 4e9),
        ((counts() + 10**9).astype(np.uint32), 1.0, 1e9),
        (counts() + 2e7, 1.0, 2e7),
        (counts() * 1e40, 1e40, 0.0),
        (counts() * 1e-46, 1e-46, 0.0),
        (counts() * 1e60, 1e60, 0.0),
    ],
    ids=["4e9", "1e9", "2e7", "1e40", "1e-46", "1e60"],
)
def test_the_result_holds_what_float32_does_not(plain: Result, image: Image, scale: float, added: float) -> None:
    other = denoise(image, uncertainty=True, **QUICK)
    assert (plain.image.dtype, plain.residual.dtype, plain.uncertainty.dtype) == (np.float32,) * 3
    assert other.image.dtype == np.float64
    close = {"rtol": 0, "atol": 0.02 + float(np.spacing(added)) / scale}
    np.testing.assert_allclose((other.image - added) / scale, plain.image, **close)
    np.testing.assert_allclose(other.residual.astype(float) / scale, plain.residual, **close)
    np.testing.assert_allclose(other.uncertainty.astype(float) / scale, plain.uncertainty, **close)
    assert other.noise is not None
    assert other.noise.sigma / scale == pytest.approx(estimate_noise(counts()).sigma, rel=1e-3)


@pytest.mark.parametrize("value", [1e300, -1e300, 1e-300, 4e9 + 1, 0.0, 7.0])
def test_one_value_comes_back_as_it_is(value: float) -> None:
    with pytest.warns(UserWarning, match="comes back as it is"):
        assert (denoise(np.full((16, 16), value), **QUICK).image == value).all()


@pytest.mark.parametrize("restore", [denoise, estimate_noise, find_bad_pixels, inpaint])
@pytest.mark.parametrize("size", [1.7e308, 1e200, 1e-200, 1e-320])
def test_a_range_that_nothing_holds_is_refused(restore: Callable[..., Any], size: float) -> None:
    image = size * np.linspace(-1, 1, 400).reshape(20, 20)
    image[3, 3] = np.nan
    with pytest.raises(ValueError, match=r"image has values from -.* to .*, and float64 cannot hold .* divide") as said:
        restore(image)
    image = image / float(str(said.value).rpartition(" ")[2])  # as the message says
    restore(image, **(QUICK if restore in (denoise, inpaint) else {}))


def test_integers_that_float64_does_not_hold_are_told() -> None:
    image = (2**63 + 4096 * counts()[:16, :16].astype(np.uint64) // 64).astype(np.uint64)
    assert f"subtract {image.min()} from the image" in " ".join(denoise(image, **QUICK).warnings)
    said = " ".join(denoise((image - 2**63).astype(np.int64) * 10**15, **QUICK).warnings)
    assert "float64, which does not hold all from" in said  # also after subtracting
    assert "from the image, and add it" not in said


def odd() -> dict[str, Image]:
    """Images that hold next to nothing, or too much."""
    image, empty = counts(16).astype(np.float64), np.full((16, 16), np.nan)
    holed, infinite = image.copy(), image.copy()
    holed[::2] = np.nan
    infinite[3:5, 3:5] = np.inf, -np.inf
    mostly = empty.copy()
    mostly[4:6, 4:6] = 1, 2
    return {
        "zeros": np.zeros((16, 16)),
        "constant": np.full((16, 16), 1e300),
        "mostly NaN": mostly,
        "half NaN": holed,
        "infinite": infinite,
        "tiny": image[:2, :2],
        "a pixel": image[:1, :1],
        "a line": image[:1],
        "a column": image[:, :1],
        "negative": -image,
        "huge": 1e60 * image,
        "minute": 1e-60 * image,
        "subnormal in float32": (1e-42 * image).astype(np.float32),
        "float16": (250 * image).astype(np.float16),
        "float32, huge": (1e36 * image).astype(np.float32),
        "one bright pixel": np.where(np.arange(256).reshape(16, 16) == 40, 1e30, image),
        "with a mask": np.ma.MaskedArray(np.where(image > 200, 1e60, image), image > 200),
        "long doubles": image.astype(np.longdouble) * np.longdouble(1e-50),
        "big endian": image.astype(">f4"),
        "uint64": image.astype(np.uint64) + 2**63,
        "two values": (image > 100).astype(np.uint8),
    }


@pytest.mark.parametrize("name", odd())
def test_no_warning_of_numpy_reaches_a_user(name: str) -> None:
    image = odd()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)
        if image.size > 1:
            estimate_noise(image)
        find_bad_pixels(image)
        result = denoise(image, uncertainty=True, **QUICK)
        for task in (denoise, inpaint, superresolve):
            hole = np.zeros(image.shape, bool)
            hole[image.shape[0] // 2, image.shape[1] // 3 :] = image.size > 1
            if task is inpaint and not hole.any():
                continue
            more = {"factor": 2} if task is superresolve else {}
            knobs = QUICK if (task is superresolve) != (name in SWAPPED) else {**PLAIN, "output_dtype": "input"}
            task(image, mask=hole, uncertainty=True, **more, **knobs)
        trust.hole_map(image, np.isnan(np.asarray(image, float)))
        with np.errstate(all="warn"):
            str(result.verdict)
        if (
            np.isfinite(np.asarray(image, float)).all()
            and min(image.shape) > 2
            and name not in ("constant", "zeros", "uint64")
        ):
            trust.compare(result.image, np.asarray(image, float), affine=True)
        whole = np.tile(np.nan_to_num(np.asarray(image, float), posinf=0, neginf=0), (4, 4))
        if min(whole.shape) >= 32:
            trust.resolution(whole)
        if result.noise is not None and result.noise.sigma and np.isfinite(result.residual).any():
            trust.noise_control(result, image)


@pytest.mark.parametrize("tile", [24, 16])
def test_blocks_hold_what_float32_does_not(tile: int, tmp_path: Path) -> None:
    image = np.tile(counts(), (1, 2))
    plain = np.asarray(restore_blocks("denoise", image, tmp_path / "a.zarr", tile=tile, **PLAIN).array)
    other = np.asarray(restore_blocks("denoise", image + 4 * 10**9, tmp_path / "b.zarr", tile=tile, **PLAIN).array)
    assert (plain.dtype, other.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(other - 4e9, plain, rtol=0, atol=0.02)


def test_no_warning_of_numpy_is_given_in_a_thread() -> None:
    images = odd()

    def work(name: str) -> Image:
        return np.asarray(denoise(images[name], uncertainty=True, **PLAIN).image)

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # for all threads
        warnings.simplefilter("ignore", UserWarning)
        with ThreadPoolExecutor(2) as threads:
            results = list(threads.map(work, images))
    assert [each.shape for each in results] == [each.shape for each in images.values()]
