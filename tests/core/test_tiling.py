"""Tiles cover an image with one size, their weights sum to one, and their blend is the image again."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from napari_dip.core.tiling import Blend, seed_at, snug, tiling

CASES = [
    ((40, 31), 16, 4),
    ((24, 18), 16, 13),
    ((17, 33), 16, 0),
    ((16, 100), 32, 8),
    ((9, 20, 21), 8, 3),
    ((12, 12), 64, 8),
]


@pytest.mark.parametrize(("shape", "side", "overlap"), CASES)
def test_tiles_are_of_one_size_overlap_enough_and_cover_every_pixel(
    shape: tuple[int, ...], side: int, overlap: int
) -> None:
    tiles = tiling(shape, side, overlap)
    counted = np.zeros(shape, int)
    for place in tiles:
        assert counted[place].shape == tuple(min(side, n) for n in shape)
        counted[place] += 1
    assert counted.min() >= 1
    assert [tiles.index(place) for place in tiles] == list(range(len(tiles)))
    assert [tiles.at(i) for i in range(len(tiles))] == list(tiles)
    for corners, n in zip(tiles.corners, tiles.tile, strict=True):
        assert all(b + overlap <= a + n for a, b in itertools.pairwise(corners))


@pytest.mark.parametrize(("shape", "side", "overlap"), CASES)
@pytest.mark.parametrize(("factor", "border"), [(1, 0), (3, 0), (2, 5)])
def test_weights_are_positive_sum_to_one_and_blend_an_image_into_itself(
    shape: tuple[int, ...], side: int, overlap: int, factor: int, border: int
) -> None:
    tiles = tiling(shape, side, overlap).seen_by(lambda size: tuple(2 * border + factor * n for n in size))
    image = np.random.default_rng(0).normal(size=(2, *tiles.shape)).astype(np.float32)
    total, blend = np.zeros(tiles.shape), Blend(tiles, 2)
    for place in tiles:
        weights = tiles.weights(place)
        assert (weights > 0).all()
        total[place] += weights
        shown = blend.onto(place, image[(slice(None), *place)])
        blend.add(place, image[(slice(None), *place)])
        np.testing.assert_array_equal(shown, blend.image())
    np.testing.assert_allclose(total, 1, atol=1e-6)
    np.testing.assert_allclose(blend.image(), image, atol=1e-5)


def test_weights_fall_to_nothing_at_the_rim_inside_an_image_and_not_at_its_border() -> None:
    tiles = tiling((64, 24), 32, 16)
    first, *_ = tiles
    weights = tiles.weights(first)
    assert weights[0].min() == weights[15].min() == 1
    assert weights[-1].max() < 0.01
    assert (np.diff(weights[16:, 0]) < 0).all()


def test_what_no_tile_has_covered_yet_is_not_a_number() -> None:
    tiles = tiling((40, 10), 16, 4)
    first, *_ = tiles
    blend = Blend(tiles, 1)
    blend.add(first, 5.0)
    image = blend.image()[0]
    assert (image[:16] == 5).all()
    assert np.isnan(image[16:]).all()


def test_tiles_within_a_place_are_those_that_have_a_pixel_in_it() -> None:
    tiles = tiling((40, 31), 16, 4)
    for place in [(slice(0, 1), slice(0, 31)), (slice(13, 14), slice(15, 17)), (slice(39, 40), slice(30, 31))]:
        marked = np.zeros((40, 31), bool)
        marked[place] = True
        assert list(tiles.within(place)) == [tile for tile in tiles if marked[tile].any()]


def test_tiles_must_leave_room_for_a_step() -> None:
    with pytest.raises(ValueError, match="overlap=16 must be at least 0 and less than tile=16"):
        tiling((40, 40), 16, 16)


def test_seeds_depend_on_the_place_and_on_nothing_else() -> None:
    places = [(0, 0), (0, 64), (64, 0), (1, 0, 0), (0, 1, 0)]
    assert len({seed_at(seed, place) for seed in (0, 1) for place in places}) == 10
    assert seed_at(3, (0, 64)) == seed_at(3, (0, 64))
    assert all(0 <= seed_at(2**31 - 1, (i, 0)) < 2**31 for i in range(50))


@pytest.mark.parametrize("length", [1536, 1537, 2000, 2048, 5000, 100_003])
def test_snug_tiles_are_as_few_and_share_no_more_than_they_must(length: int) -> None:
    side = snug(length, 1024, 128)
    tiles, plain = tiling((length,), side, 128), tiling((length,), 1024, 128)
    assert len(tiles) == (1 if length == 1536 else len(plain))
    assert len(tiles) * side < length + (len(tiles) - 1) * 128 + len(tiles)
