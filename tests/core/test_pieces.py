"""A fit in tiles: one image without seams, whatever the order, in memory and time that a tile and the pixels decide."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from napari_dip.core import pieces
from napari_dip.core.attempt import Attempt
from napari_dip.core.guard import Diverged
from napari_dip.core.noise.model import Noise
from napari_dip.core.operators import Blur, Compose, Downsample, Mask, Operator
from napari_dip.core.problem import Problem
from napari_dip.core.result import Result
from napari_dip.core.tiling import Blend, seed_at, tiles_of
from tests.core.tiny import holed, iterate, noisy, picture, problem, run, tiny

WHITE = Noise(gain=0.0, offset=0.0, read_noise=0.1, sigma=0.1)


def tiled(case: Problem, **rest: Any) -> Result:
    pace = {name: rest.pop(name) for name in list(rest) if name in ("states", "should_stop", "interval")}
    return run(case, tiny(**{"tile": 16, "overlap": 6, **rest}), **pace)


# ---------------------------------------------------------------------------------------------------------- the image


def test_the_result_is_the_blend_of_a_fit_of_each_tile() -> None:
    case, settings = problem(16, 26), tiny(tile=16, overlap=6, uncertainty=True)
    tiles = tiles_of((16, 26), settings)
    assert len(tiles) == 2
    result = run(case, settings)
    expected, spread = np.zeros((1, 16, 26)), np.zeros((1, 16, 26))
    for place, part in pieces.cut(case, tiles):
        single = run(part, settings.changed(tile=0, seed=seed_at(0, [p.start for p in place])))
        expected[:, *place] += tiles.weights(place) * single.image
        spread[:, *place] += tiles.weights(place) * single.uncertainty
    np.testing.assert_allclose(result.image, expected, atol=1e-5)
    np.testing.assert_allclose(result.uncertainty, spread, atol=1e-5)
    np.testing.assert_allclose(result.residual, case.observation - result.image, atol=1e-5)
    assert (result.iterations, result.marks, len(result.history.loss)) == (40, (20, 20), 40)
    assert result.complete
    assert result.stop_reason == "fitted 2 tiles, the last of which finished all 20 iterations"


def test_an_image_of_one_tile_is_a_plain_run() -> None:
    case = problem()
    assert np.array_equal(tiled(case, tile=16).image, run(case, tiny()).image)
    assert np.array_equal(tiled(case, tile=0).image, run(case, tiny()).image)


def steps_across(image: np.ndarray, seams: list[int]) -> tuple[float, float]:
    """Root mean square gradient along x, across the seams and elsewhere."""
    gradient = np.sqrt(np.mean(np.diff(image, axis=1) ** 2, axis=0))
    at = np.zeros(gradient.shape, bool)
    at[[s - 1 for s in seams]] = True
    return float(gradient[at].mean()), float(gradient[~at].mean())


def test_seams_are_invisible() -> None:
    """The gradient of the error across the rims of the tiles is no larger than elsewhere; of tiles pasted it is."""
    y, x = np.mgrid[:24, :96]
    truth = 0.5 + 0.3 * np.sin(x / 5) * np.cos(y / 7)
    observation = (truth + 0.1 * np.random.default_rng(0).normal(size=truth.shape)).astype(np.float32)[None]
    settings = tiny(tile=24, overlap=8, iterations=70)
    tiles = tiles_of((24, 96), settings)
    rims = sorted({edge for place in tiles for edge in (place[1].start, place[1].stop)} - {0, 96})
    blend, pasted, joints = Blend(tiles, 1), np.zeros((24, 96)), []
    for place, part in pieces.cut(Problem(observation=observation, operator=Operator()), tiles):
        single = run(part, settings.changed(tile=0, seed=seed_at(0, [p.start for p in place])))
        blend.add(place, single.image)
        begin = place[1].start
        joint = begin + 4 if begin else 0
        pasted[:, joint : place[1].stop] = single.image[0, :, joint - begin :]
        joints += [joint] if joint else []
    across, elsewhere = steps_across(blend.image()[0] - truth, rims)
    assert across < 1.15 * elsewhere
    across, elsewhere = steps_across(pasted - truth, joints)
    assert across > 1.5 * elsewhere


@pytest.mark.parametrize("factor", [(2, 2), (1, 3)])
def test_superresolution_in_tiles_has_the_finer_grid(factor: tuple[int, int]) -> None:
    missing = np.zeros((20, 40), bool)
    missing[5:9, 18:22] = True
    observed = np.where(missing, 0, picture(20, 40)).astype(np.float32)[None]
    operator = Compose(Downsample(factor), Mask(torch.from_numpy(~missing)[None, None]))
    result = tiled(Problem(observation=observed, operator=operator, known=1 - missing.mean()), iterations=40)
    assert result.image.shape == (1, 20 * factor[0], 40 * factor[1])
    assert np.isfinite(result.image).all()
    assert (result.residual[0][missing] == 0).all()
    coarse = result.image.reshape(20, factor[0], 40, factor[1]).mean((1, 3))
    assert np.corrcoef(coarse[~missing], observed[0][~missing])[0, 1] > 0.9


def test_a_blurred_image_is_sought_beyond_the_border_of_each_tile() -> None:
    observed = picture(20, 40).astype(np.float32)[None]
    blur = Blur(torch.full((5, 3), 1 / 15), (2, 1))
    result = tiled(Problem(observation=observed, operator=blur), iterations=30)
    assert result.image.shape == (1, 24, 42)
    assert result.residual.shape == observed.shape
    assert np.isfinite(result.image).all()
    assert np.corrcoef(result.image[0, 2:-2, 1:-1].ravel(), observed[0].ravel())[0, 1] > 0.8


def test_holes_and_guides_are_cut_with_the_tiles() -> None:
    missing = np.zeros((16, 40), bool)
    missing[4:8, 14:20] = True
    guide = picture(16, 40).astype(np.float32)[None]
    case = replace(holed(missing), guide=guide)
    for place, part in pieces.cut(case, tiles_of((16, 40), tiny(tile=16, overlap=6))):
        np.testing.assert_array_equal(part.known_pixels()[0], ~missing[place])
        np.testing.assert_array_equal(part.guide, guide[:, *place])
        assert part.known == pytest.approx(1 - missing[place].mean())
    assert np.isfinite(tiled(case, code="guide").image).all()


def test_volumes_are_tiled_along_all_axes() -> None:
    case = problem(6, 20, 20)
    result = tiled(case, tile=16, overlap=4, scales=1, iterations=4, interval=0)
    assert result.image.shape == (1, 6, 20, 20)
    assert len(result.marks) == 4
    assert np.isfinite(result.image).all()


def test_each_tile_has_the_noise_at_its_mean() -> None:
    photons = Noise(gain=0.01, offset=0.0, read_noise=0.0, sigma=0.06)
    ramp = np.linspace(0.1, 0.9, 64, dtype=np.float32).repeat(16).reshape(64, 16).T[None]
    case = Problem(observation=np.ascontiguousarray(ramp), operator=Operator(), noise=photons)
    sigmas = [part.noise.sigma for _, part in pieces.cut(case, tiles_of((16, 64), tiny(tile=16)))]
    assert sigmas == sorted(sigmas)
    means = [part.observation.mean() for _, part in pieces.cut(case, tiles_of((16, 64), tiny(tile=16)))]
    np.testing.assert_allclose(np.square(sigmas), 0.06**2 * np.array(means) / ramp.mean(), rtol=1e-5)


def test_the_work_is_proportional_to_the_pixels() -> None:
    counts = [len(tiles_of((n, n), tiny(tile=64))) for n in (1000, 2000, 4000)]
    assert counts[1] / counts[0] == pytest.approx(4, rel=0.15)
    assert counts[2] / counts[1] == pytest.approx(4, rel=0.15)


# --------------------------------------------------------------------------------------- what is empty, stopped, failed


def test_a_tile_without_known_pixels_stays_empty_and_one_of_one_value_as_it_is() -> None:
    observed = noisy(16, 56).astype(np.float32)
    missing = np.zeros((16, 56), bool)
    missing[:, :20] = True
    observed[:, :20], observed[:, 40:] = 0, 0.25
    operator = Mask(torch.from_numpy(~missing)[None, None])
    case = Problem(observation=observed[None], operator=operator, known=1 - missing.mean())
    with pytest.warns(UserWarning, match="1 of 5 tiles have no known pixel and stay empty"):
        result = tiled(case)
    assert np.isnan(result.image[0, :, :9]).all()
    assert np.isfinite(result.image[0, :, 20:]).all()
    assert (result.image[0, :, 52:] == 0.25).all()
    assert len(result.marks) == 3


def test_progress_is_over_all_tiles_and_shows_what_there_is() -> None:
    case = problem(16, 36)
    shown = list(iterate(case, tiny(tile=16, overlap=6, runs=2), interval=0))
    assert [(p.tile, p.run, p.iteration) for p in shown] == [
        (t, r, i) for t in range(3) for r in range(2) for i in range(1, 21)
    ]
    fractions = [p.fraction for p in shown]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert shown[-1].seconds_left == 0
    assert np.isnan(shown[0].image[0, :, 16:]).all()
    np.testing.assert_allclose(shown[-1].image, tiled(case, runs=2).image, atol=1e-5)


def test_a_stop_keeps_the_tiles_that_are_done_and_going_on_fits_the_others() -> None:
    case, asked = problem(16, 36), iter([False] * 27 + [True])
    stopped, whole = tiled(case, should_stop=lambda: next(asked)), tiled(case)
    assert not stopped.complete
    assert "stopped by the user" in stopped.stop_reason
    assert "in tile 2 of 3; the tiles after it are empty" in stopped.stop_reason
    np.testing.assert_array_equal(stopped.image[..., :10], whole.image[..., :10])
    assert np.isnan(stopped.image[..., 26:]).all()
    assert np.isnan(stopped.residual[..., 26:]).all()
    resumed = tiled(case, states=stopped.states)
    assert np.isfinite(resumed.image).all()
    np.testing.assert_array_equal(resumed.image[..., 26:], whole.image[..., 26:])


def test_going_on_goes_on_with_every_tile() -> None:
    case = problem(16, 26)
    both = tiled(case, iterations=8, states=tiled(case, iterations=12).states)
    np.testing.assert_allclose(both.image, tiled(case).image, atol=1e-6)


def test_states_that_take_too_much_memory_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_dip.core.state.STATES_AT_MOST", 1)
    assert tiled(problem(16, 26)).states == ()


def test_a_tile_that_fails_keeps_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, begun = Attempt.begin, list[Attempt]()

    def begin(attempt: Attempt) -> None:
        begun.append(attempt)
        if len(begun) == 2:
            raise Diverged("on purpose")
        plain(attempt)

    monkeypatch.setattr(Attempt, "begin", begin)
    result = tiled(problem(16, 36))
    assert np.isfinite(result.image[..., :16]).all()
    assert np.isnan(result.image[..., 16:20]).all()
    assert np.isfinite(result.image[..., 20:]).all()
    assert "tile 2 of 3 failed, and nothing was made of it: on purpose" in result.stop_reason
    assert not result.complete
