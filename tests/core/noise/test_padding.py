"""Padding is told from what a camera measures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from napari_dip.core.noise.padding import padding_of


def scene(*shape: int, offset: float = 100.0, seed: int = 0) -> np.ndarray:
    """Blurred spots of up to 200 photons on a camera's offset, with the noise of both."""
    rng = np.random.default_rng(seed)
    spots = ndimage.gaussian_filter((np.random.default_rng(9).random(shape) > 0.99).astype(float), 2)
    return offset + rng.poisson(200 * spots / spots.max()) + 2 * rng.normal(size=shape)


def found(image: np.ndarray) -> np.ndarray:
    return padding_of(image, ~np.isfinite(image))


def turned(degrees: float) -> np.ndarray:
    return ndimage.rotate(np.ones((48, 48)), degrees, reshape=False, order=0) < 0.5


def drawn(*places: Any) -> np.ndarray:
    where = np.zeros((48, 48), bool)
    for place in places:
        where[place] = True
    return where


s = np.s_
PADDED = {
    "columns": drawn(s[:, :3]),
    "one column": drawn(s[:, :1]),
    "rows": drawn(s[-5:]),
    "corner": drawn(s[:12, :12]),
    "frame": ~ndimage.binary_erosion(np.ones((48, 48)), iterations=5),
    "most of it": drawn(s[:, :30]),
    "mosaic": drawn(s[:20, :20], s[30:, 25:]),
    "turned by 5": turned(5),
    "turned by 30": turned(30),
    "turned and moved": turned(20) | drawn(s[:4]),
    "dead column": drawn(s[:, 30]),
    "lines": drawn(s[7], s[21], s[:, 40:42]),
    "hole": drawn(s[14:26, 20:33]),
}


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
@pytest.mark.parametrize("name", PADDED)
def test_padding_is_found_whatever_its_outline_and_value(name: str, dtype: type) -> None:
    where = PADDED[name]
    for value in (0, 98, 130, 65535, *((-1, np.float32(99.5)) if dtype == np.float32 else (255,))):
        image = scene(48, 48).astype(dtype)
        image[where] = value
        extra = found(image) & ~where
        assert (found(image) >= where).all(), value
        assert extra.mean() < 0.01  # neighbours that have the same value by chance
        assert dtype == np.uint16 or not extra.any() or "turned" in name
        assert (image[extra] == value).all() or not 90 < value < 200


@pytest.mark.parametrize("name", ["columns", "corner", "turned by 30", "lines"])
def test_it_does_not_depend_on_offset_gain_place_or_value(name: str) -> None:
    image = np.rint(scene(48, 48))
    image[PADDED[name]] = 0
    first = found(image)
    assert (first == PADDED[name]).all()
    assert (found(3 * image - 1000) == first).all()
    assert (found(-image) == first).all()
    assert (found(np.where(first, -777, image)) == first).all()
    for turn in (1, 2, 3):
        assert (found(np.rot90(image, turn)) == np.rot90(first, turn)).all()
    assert (found(image.astype(np.uint8 if image.max() < 256 else np.uint16)) == first).all()
    assert not found(np.where(first, np.nan, image)).any()  # what is missing anyway is not found again


def test_a_rim_that_interpolation_makes_goes_with_it() -> None:
    whole = ndimage.rotate(np.ones((64, 64)), 8, reshape=False, order=1)
    image = ndimage.rotate(scene(64, 64), 8, reshape=False, order=1)
    marks = found(image)
    assert (marks >= (whole < 0.99)).all()
    assert (marks & (whole > 0.999)).mean() < 0.01
    moved = ndimage.shift(scene(64, 64), (0, 2.5), order=1, mode="grid-constant")
    assert found(moved)[:, :3].all()
    assert not found(moved)[:, 3:].any()


def test_a_sheared_volume() -> None:
    image = scene(12, 32, 40)
    where = np.zeros(image.shape, bool)
    for plane in range(12):
        where[plane, :, : 2 * plane] = True
        where[plane, :, 40 - 2 * (11 - plane) :] = True
    image[where] = 0
    assert (found(image) == where).all()
    image = scene(6, 32, 32)
    image[-2:] = 0
    assert (found(image) == (image == 0)).all()


def disc(radius: float, centre: tuple[int, int], blur: float) -> np.ndarray:
    y, x = np.mgrid[:64, :64]
    inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2
    return ndimage.gaussian_filter(inside.astype(float), blur)


def measured() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    spots = scene(64, 64)
    cell = 300 * disc(18, (8, 30), 1.5)
    line = np.zeros((64, 64))
    line[30, 10:54] = 800
    drawing = np.where(disc(15, (30, 30), 0) > 0, 1.0, 0.0)
    return {
        **{f"photons {rate}": rng.poisson(np.maximum(spots - 105, 0) + rate) for rate in (0, 0.02, 0.1, 0.5, 2)},
        **{f"clipped {at}": np.clip(np.rint(spots - at), 0, None) for at in (95, 98, 100, 103, 110)},
        **{f"8 bits, clipped {at}": np.clip(np.rint(spots - at), 0, 255).astype(np.uint8) for at in (98, 103)},
        **{f"saturated at {top}": np.minimum(np.rint(spots), top) for top in (110, 130, 160)},
        "saturated cell": np.minimum(rng.poisson(cell + 20), 255),
        "cell on black": rng.poisson(cell),
        "drawing": drawing,
        "blurred line without noise": ndimage.gaussian_filter(line + 100 * disc(8, (50, 40), 0), 1.5).astype(
            np.float32
        ),
        "steps": np.repeat(np.arange(8.0), 8)[:, None] + np.zeros(64),
        "few greys": np.rint(spots / 60) * 60,
        "constant": np.full((64, 64), 7),
        "noise": rng.normal(size=(64, 64)),
        "black frame": np.zeros((64, 64), np.uint16),
        "tiny": rng.poisson(5, (8, 8)),
        "a line": np.zeros((1, 64)),
        "two lines": rng.poisson(0.3, (2, 64)),
    }


@pytest.mark.parametrize("name", measured())
def test_what_was_measured_is_no_padding(name: str) -> None:
    assert not found(measured()[name]).any()


def test_something_is_left() -> None:
    image = np.zeros((32, 32))
    image[3, 5:9] = 100, 101, 99, 100
    assert not found(image).any()


@pytest.mark.parametrize(("photons", "seed"), [(0.3, 15), (0.5, 10)])
def test_dark_background_that_mostly_has_one_value_is_measured(photons: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = 3 + rng.poisson(photons, (96, 96))
    image[rng.random(image.shape) < 0.01] = 2  # so that it is no end of the range
    assert not padding_of(image, np.zeros(image.shape, bool)).any()
