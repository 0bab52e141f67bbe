"""Tiles around holes: each hole lies in one with what surrounds it, and the whole is fitted where that is no more."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dip.core.around import MARGIN, Around, around, tiles_for
from napari_dip.core.tiling import Blend
from tests.core.tiny import tiny


def holes(shape: tuple[int, ...], *boxes: tuple[slice, ...]) -> np.ndarray:
    wanted = np.zeros(shape, bool)
    for box in boxes:
        wanted[box] = True
    return wanted


def found(wanted: np.ndarray) -> Around:
    tiles = around(wanted)
    assert tiles is not None
    return tiles


def test_each_hole_lies_in_a_tile_with_what_surrounds_it() -> None:
    wanted = holes((256, 300), np.s_[60:76, 50:66], np.s_[200:221, 200:210], np.s_[0:3, 297:300])
    tiles = found(wanted)
    assert [(s.start, s.stop) for s in tiles.holes[0]] == [(0, 3), (297, 300)]
    assert len(tiles) == len(tiles.holes) == 3
    covered = np.zeros(wanted.shape, bool)
    for place, hole in zip(tiles, tiles.holes, strict=True):
        covered[hole] = True
        for tile, box, n in zip(place, hole, wanted.shape, strict=True):
            assert (tile.stop - tile.start) % 32 == 0
            assert tile.start <= max(box.start - MARGIN, 0)
            assert tile.stop >= min(box.stop + MARGIN, n)
    assert covered[wanted].all()


def test_holes_share_a_tile_where_that_has_fewer_pixels() -> None:
    near = found(holes((256, 256), np.s_[100:116, 80:96], np.s_[100:116, 120:136]))
    assert [[(s.start, s.stop) for s in place] for place in near.holes] == [[(100, 116), (80, 136)]]
    far = found(holes((256, 256), np.s_[20:36, 20:36], np.s_[220:236, 220:236]))
    assert len(far) == 2
    same = found(np.roll(holes((256, 256), np.s_[20:36, 20:36]), 3, 0))
    assert [s.stop - s.start for s in same.places[0]] == [96, 96]


def test_a_large_hole_has_as_much_around_it_as_it_is_wide() -> None:
    square = found(holes((400, 400), np.s_[180:240, 180:240]))
    assert [s.stop - s.start for s in square.places[0]] == [192, 192]
    scratch = found(holes((400, 400), np.s_[180:188, 100:300]))
    assert [s.stop - s.start for s in scratch.places[0]] == [96, 288]


@pytest.mark.parametrize("share", [0.5, 0.9, 0.02])
def test_what_is_missing_everywhere_is_fitted_whole(share: float) -> None:
    assert around(np.random.default_rng(0).random((128, 128)) < share) is None


def test_an_image_that_is_hardly_larger_than_a_tile_is_fitted_whole() -> None:
    assert around(holes((128, 128), np.s_[50:66, 50:66])) is None
    assert around(np.zeros((300, 300), bool)) is None
    assert around(None) is None


def test_a_tile_that_the_user_names_is_taken() -> None:
    tiles = found(holes((256, 256), np.s_[20:36, 20:36]))
    assert tiles_for((256, 256), tiny(), tiles) is tiles
    assert len(tiles_for((256, 256), tiny(tile=256), tiles)) == 1
    assert tiles_for((256, 256), tiny(tile=256), tiles).whole


def test_many_specks_far_apart_are_as_many_tiles() -> None:
    wanted = np.zeros((3000, 3000), bool)
    wanted[100::200, 100::200] = True
    assert len(found(wanted)) == 225


def test_volumes_are_cut_along_all_axes() -> None:
    tiles = found(holes((20, 200, 200), np.s_[5:8, 90:100, 90:100]))
    assert [(s.start, s.stop) for s in tiles.places[0]] == [(0, 20), (47, 143), (47, 143)]


def test_weights_are_one_in_a_hole_and_fall_to_nothing_at_the_rim() -> None:
    tiles = found(holes((256, 256), np.s_[100:116, 0:16], np.s_[200:210, 200:210]))
    for place, hole in zip(tiles, tiles.holes, strict=True):
        weights = tiles.weights(place)
        inside = tuple(slice(h.start - p.start, h.stop - p.start) for h, p in zip(hole, place, strict=True))
        assert (weights[inside] == 1).all()
        assert (weights > 0).all()
        assert weights[:, -1].max() < 0.01
    image, blend = np.random.default_rng(0).normal(size=(1, 256, 256)).astype(np.float32), Blend(tiles, 1)
    for place in tiles:
        blend.add(place, image[(slice(None), *place)])
    made = blend.image()
    np.testing.assert_allclose(made[np.isfinite(made)], image[np.isfinite(made)], atol=1e-5)
    assert np.isfinite(made).mean() == sum(tiles.weights(place).size for place in tiles) / image.size
