"""Pixels that are bad beyond doubt are told from the smallest spots that an instrument can image."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, special  # type: ignore[import-untyped]

from napari_dip.core.noise.impulses import clusters, defective, isolated
from napari_dip.core.noise.model import Noise

NOISE = Noise(gain=0.0, offset=0.0, read_noise=1.0, sigma=1.0)
PLACES = np.arange(64)


def bad_pixels(clean: np.ndarray, seed: int) -> np.ndarray:
    found: np.ndarray = defective((clean + np.random.default_rng(seed).normal(size=clean.shape))[None], NOISE)[0]
    return found


def spots(blur: float, height: float, count: int, seed: int) -> np.ndarray:
    """Points anywhere between the pixels, whose light each pixel adds up; as high as one in the middle of a pixel."""
    rng, image = np.random.default_rng(seed), np.zeros((64, 64))
    for y, x in rng.uniform(4, 59, (count, 2)):
        rows, columns = (
            special.erf((PLACES + 0.5 - at) / blur / 2**0.5) - special.erf((PLACES - 0.5 - at) / blur / 2**0.5)
            for at in (y, x)
        )
        image += height * np.outer(rows, columns) / (2 * special.erf(0.5 / blur / 2**0.5)) ** 2
    return image


@pytest.mark.parametrize("sign", [1, -1])
def test_pixels_of_8_deviations_are_found_alone(sign: int) -> None:
    hits = bad = 0
    for seed in range(10):
        where = np.zeros((64, 64), bool)
        where.flat[np.random.default_rng(seed).choice(where.size, 20, replace=False)] = True
        marked = bad_pixels(8.0 * sign * where, seed)
        assert not (marked & ~where).any()
        hits, bad = hits + (marked & where).sum(), bad + where.sum()
    assert hits > 2 / 3 * bad


@pytest.mark.parametrize("count", [1, 3, 20])
@pytest.mark.parametrize("blur", [0.5, 0.7, 1.0])
def test_spots_however_small_and_few_are_none(blur: float, count: int) -> None:
    heights, seeds = (6, 8, 12, 20, 60), range(max(2, 12 // count))
    marked = sum(bad_pixels(spots(blur, height, count, seed), seed).sum() for height in heights for seed in seeds)
    assert marked <= 1 + 0.005 * count * len(heights) * len(seeds)


def test_fine_structure_is_none() -> None:
    thread = ndimage.gaussian_filter(np.eye(64) + np.eye(64)[::-1], 0.8)
    edges = np.zeros((64, 64))
    edges[10:30, 20:50] = edges[36:37, 8:40] = edges[40:60:4, 10:12] = 1
    for clean in (thread / thread.max(), edges, np.zeros((64, 64))):
        assert not any(bad_pixels(height * clean, seed).any() for height in (6, 10, 20) for seed in range(4))


def test_counted_photons_on_nothing_are_none() -> None:
    counter = Noise(gain=1.0, offset=0.0, read_noise=0.0, sigma=0.3)
    photons = np.random.default_rng(0).poisson(spots(1.0, 20, 9, 0)).astype(float)
    assert not defective(photons[None], counter).any()


@pytest.mark.parametrize(("dark", "is_dead"), [(122, False), (105, True)])
def test_a_dark_pixel_is_judged_by_the_noise_of_its_surroundings(dark: float, is_dead: bool) -> None:
    photons = Noise(gain=0.95, offset=96.0, read_noise=0.2, sigma=4.0)
    image = np.full((20, 20), 157.0)  # of a deviation of 7.6: 122 is 4.6 of them below, and 5.6 after stabilising
    image[:, :8], image[10, 14] = 100, dark
    assert isolated(image[None], photons)[0, 10, 14]
    assert isolated(image[None], photons, surely=True)[0, 10, 14] == is_dead


def in_clusters(clean: np.ndarray, seed: int = 0) -> np.ndarray:
    found: np.ndarray = clusters(clean + np.random.default_rng(seed).normal(size=clean.shape), NOISE)
    return found


def bar(width: float, length: float, blur: float) -> np.ndarray:
    """A bar along the rows, its outline on the outlines of pixels, as an instrument of a blur images it; 0..1."""
    fine = (np.arange(64 * 16) + 0.5) / 16
    first, second = (
        (special.erf((fine - start) / blur / 2**0.5) - special.erf((fine - start - n) / blur / 2**0.5))
        .reshape(64, 16)
        .mean(1)
        / 2
        for start, n in ((20, width), (12, length))
    )
    return np.outer(first, second)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (5, 5), (4, 5), (1, 9), (14, 1), (1, 40)])
def test_clusters_and_pieces_of_lines_are_found_to_the_pixel(shape: tuple[int, int], sign: int) -> None:
    cells = spots(6.0, 20, 3, 0)
    for seed, (y, x) in enumerate([(9, 12), (40, 20), (3, 8)]):
        where = np.zeros((64, 64), bool)
        where[y : y + shape[0], x : x + shape[1]] = where[60, 50:52] = True
        uneven = 60 + 3 * np.random.default_rng(seed).normal(size=where.shape)
        assert (in_clusters(np.where(where, sign * uneven, cells), seed) == where).all()


@pytest.mark.parametrize("top", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("blur", [0.5, 0.7, 1.0, 2.0, 3.0])
def test_spots_however_saturated_are_no_clusters(blur: float, top: float) -> None:
    for count in (1, 5):
        for height in (20, 60, 400):
            seen = np.minimum(spots(blur, height, count, height), top * height)
            assert not in_clusters(seen, height).any()


@pytest.mark.parametrize("blur", [0.4, 0.6, 1.0])
@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_bars_that_an_instrument_images_are_no_clusters(width: int, blur: float) -> None:
    for length in (5, 12, 30):
        for height in (20, 60, 200):
            image = height * bar(width, length, blur)
            assert not in_clusters(image + image[::-1, ::-1].T).any()


def test_sharp_drawings_have_no_clusters() -> None:
    y, x = np.mgrid[:64, :64]
    dots = {f"dots of {n}": (y % 15 < n) & (x % 15 < n) for n in (3, 5)}
    boxes = ((y % 30 < 9) & (x % 30 < 9)) | ((y % 30 > 20) & (y % 30 < 25) & (x > 20) & (x < 25))
    edges = {"edge": x < 30, "corner": (x < 30) & (y < 30), "boxes": boxes, "checks": (y // 2 + x // 2) % 2 > 0}
    for name, drawn in {**dots, **edges}.items():
        assert not any(in_clusters(height * drawn).any() for height in (15, 40, 200)), name
