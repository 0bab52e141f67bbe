"""The self-guided fit: what it is fed and aims at, what comes out, and that it goes on, stops and repeats like any."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from napari_dip.core.augmentation import augmentations
from napari_dip.core.cost import iterations_at_most
from napari_dip.core.methods import bins, coverage, stable
from napari_dip.core.methods.coverage import tiles, whole_fit
from napari_dip.core.methods.selfguided import LEAST, SelfGuidedFitter, pace_at
from napari_dip.core.noise.correlation import coloured, spectrum
from napari_dip.core.noise.model import Noise
from napari_dip.core.noise.photons import Stabilised
from napari_dip.core.operators import Downsample, Identity, Mask
from napari_dip.core.pauses import without_pauses
from napari_dip.core.problem import Problem
from napari_dip.core.state import SAVING
from napari_dip.tables.settings import PRESETS, Settings
from tests.core.tiny import holed, iterate, noisy, picture, psnr, run

WHITE = Noise(gain=0, offset=0, read_noise=0.1, sigma=0.1)
PHOTONS = Noise(gain=0.02, offset=0.1, read_noise=0.02, sigma=0.1)
SHARED = replace(WHITE, correlation=0.6, autocorrelation=np.outer([0.1, 0.6, 1, 0.6, 0.1], [0.1, 0.6, 1, 0.6, 0.1]))


def small(**changes: Any) -> Settings:
    return PRESETS["denoise-self"].changed(
        **{"channels": 8, "scales": 3, "crop": 16, "batch": 2, "iterations": 20, "device": "cpu", **changes}
    )


def case(*shape: int, noise: Noise | None = WHITE) -> Problem:
    observation = noisy(*(shape or (24, 24)), sigma=0.1).astype(np.float32)[None]
    return Problem(observation=observation, operator=Identity(), noise=noise)


def sharing(*shape: int) -> Problem:
    """A picture with correlated noise in its planes."""
    line = SHARED.autocorrelation if len(shape) == 2 else SHARED.autocorrelation[None]
    white = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    noise = 0.1 * coloured(white, spectrum(line, shape), len(shape)).numpy()
    observation = (picture(*shape) + noise).astype(np.float32)[None]
    return Problem(observation=observation, operator=Identity(), noise=replace(SHARED, autocorrelation=line))


def begun(problem: Problem, **changes: Any) -> SelfGuidedFitter:
    search = SelfGuidedFitter(problem, small(**changes).method, "cpu")
    search.begin()
    return search


@pytest.mark.parametrize("shape", [(24, 24), (17, 30), (5, 40), (9, 12, 14)])
def test_noise_is_removed_whatever_the_shape(shape: tuple[int, ...]) -> None:
    problem, truth = case(*shape), picture(*shape)
    result = run(problem, small(iterations=80, stop="iterations"))
    assert result.image.shape == (1, *shape)
    assert psnr(result.image[0], truth) > psnr(problem.observation[0], truth) + 2


@pytest.mark.parametrize(("shape", "patches"), [((32, 32), True), ((23, 42), False), ((5, 24, 24), True)])
def test_noise_that_neighbours_share_is_removed(shape: tuple[int, ...], patches: bool) -> None:
    problem, truth = sharing(*shape), picture(*shape)
    before, taken_for_white = psnr(problem.observation[0], truth), replace(problem, noise=WHITE)
    settings = small(iterations=70, stop="iterations", similar_patches=patches)
    result = run(problem, settings)
    assert result.image.shape == (1, *shape)
    assert psnr(result.image[0], truth) > before + 1.5
    assert psnr(result.image[0], truth) > psnr(run(taken_for_white, settings).image[0], truth) + 1


def test_a_crop_has_every_second_pixel_where_neighbours_share_noise() -> None:
    search = begun(sharing(32, 32))
    search.prepare()
    corner, turn = search._drawn
    rows, columns = np.divmod((search._from_corner[search._turned[turn]] + corner[:, None]).numpy(), 32)
    for places in (*rows, *columns):
        assert len(set(places % 2)) == 1
        assert np.ptp(places) == 2 * (search._crop[0] - 1)
    assert max(rows.max(), columns.max()) < 32


def test_what_is_uncertain_of_the_noise_does_not_choose_the_share() -> None:
    problem = sharing(24, 24)
    for warning, asked in (("", True), ("it is a guess", False)):
        search = begun(replace(problem, noise=replace(SHARED, warning=warning)))
        without_pauses(search.prepare())
        search.step()
        without_pauses(search.finish())
        assert search._final is not None
        assert (search._final[2] != search._usual_share) is asked


def test_photon_noise_is_removed_and_the_mean_stays() -> None:
    truth = 5 + 40 * picture(48, 48)
    counts = np.random.default_rng(0).poisson(truth).astype(np.float32)
    noise = Noise(gain=1, offset=0, read_noise=0.1, sigma=float(np.sqrt(truth.mean())))
    problem = Problem(observation=counts[None], operator=Identity(), noise=noise)
    image = run(problem, small(iterations=100, stop="iterations", channels=16)).image[0]
    assert psnr(image, truth) > psnr(counts, truth) + 5
    assert image.mean() == pytest.approx(counts.mean(), rel=0.02)


def test_codes_and_targets_are_noisy_independently_of_each_other() -> None:
    flat = np.full((1, 64, 64), 0.5, np.float32)
    measured = flat + 0.1 * np.random.default_rng(0).normal(size=flat.shape).astype(np.float32)
    search = begun(replace(case(64, 64), observation=measured), crop=64, batch=1)
    together = []
    for _ in range(20):
        search.prepare()
        search.feed()
        code, target = search._fed.flatten(1), (search._targets - search._middle).flatten(1)
        together.append((code * target).mean().item() / (code.std() * target.std()).item())
        search.iteration += 1
    assert abs(np.mean(together)) < 0.03  # the measurement alone would give 0.37


def test_codes_come_in_pairs_whose_mean_is_the_measurement() -> None:
    search = begun(case(noise=PHOTONS), crop=24, batch=3)
    search.prepare()
    search.feed()
    with_noise, against = search._targets.chunk(2)
    middle = ((with_noise + against) / 2).flatten(1).sort().values
    photons = search._photons[:, :24, :24].flatten().sort().values
    assert torch.allclose(middle, photons.expand_as(middle), atol=1e-4)


@pytest.mark.parametrize("noise", [WHITE, PHOTONS])
def test_the_way_to_the_generator_and_back_changes_nothing(noise: Noise) -> None:
    values = np.linspace(0.1, 3, 50, dtype=np.float32)[None]
    model = Stabilised(noise, values)
    photons = torch.from_numpy(model.photons(values)).float()
    assert torch.allclose(model.undo(model.stabilise(photons)), photons, atol=1e-4)
    assert torch.allclose(model.intensities(photons), torch.from_numpy(values), atol=1e-5)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("swap", [True, False])
def test_augmentations_are_all_different_and_undone(ndim: int, swap: bool) -> None:
    image = torch.arange(4**ndim).reshape(1, *(4,) * ndim)
    every = list(augmentations(ndim, swap))
    assert len({tuple(turn.apply(image).flatten().tolist()) for turn in every}) == len(every) == 2**ndim * (1 + swap)
    for turn in every:
        assert torch.equal(turn.undo(turn.apply(image)), image)


def test_tiles_cover_each_pixel_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "_TILE", {2: 32})
    seen = np.zeros((72, 104), int)
    for inner, outer, within in tiles(seen.shape, 8):
        seen[inner] += 1
        assert np.array_equal(
            np.arange(seen.size).reshape(seen.shape)[outer][within], np.arange(seen.size).reshape(seen.shape)[inner]
        )
        assert all((part.stop - part.start) % 8 == 0 for part in outer)
    assert (seen == 1).all()


def test_a_large_image_is_predicted_in_tiles_without_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    search = begun(case(160, 168), precision="float32")
    whole = search.predict(search._photons)
    monkeypatch.setattr(coverage, "_TILE", {2: 64})
    assert torch.allclose(search.predict(search._photons), whole, atol=1e-4)


def test_missing_pixels_do_not_matter() -> None:
    missing = np.random.default_rng(3).random((24, 24)) < 0.1
    problem = replace(holed(missing), noise=WHITE)
    spoilt = replace(problem, observation=np.where(missing, np.float32(0.7), problem.observation))
    settings = small(iterations=5, stop="iterations")
    assert np.array_equal(run(problem, settings).image, run(spoilt, settings).image)


def test_same_seed_same_image_another_seed_another() -> None:
    settings = small(stop="iterations", similar_patches=False)  # which do not depend on a seed
    one, same, other = (run(case(), s).image for s in (settings, settings, settings.changed(seed=1)))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_run_goes_on_as_if_it_had_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "EPOCHS", (20, 20, 20))
    asked = iter(range(1000))
    half = run(case(), small(iterations=4000), should_stop=lambda: next(asked) == 13)  # three before the first
    assert half.iterations == 10
    whole = run(case(), small(iterations=4000), state=half.states[0])
    assert np.array_equal(whole.image, run(case(), small(iterations=4000)).image)


def test_the_step_length_falls_to_the_end_and_stays_there() -> None:
    paces = [pace_at(share) for share in np.linspace(0, 1.5, 16)]
    assert paces[0] == 1
    assert paces == sorted(paces, reverse=True)
    assert paces[10:] == [LEAST] * 6


def ready(problem: Problem, **changes: Any) -> SelfGuidedFitter:
    """Begun, with its teacher."""
    search = begun(problem, **changes)
    for _ in search.prepare():
        pass
    return search


def test_half_of_the_crops_are_of_what_similar_patches_agree_on() -> None:
    search = ready(case(48, 48), batch=4)
    search._generator = torch.nn.Identity()  # type: ignore[assignment]
    search.schedule()
    search.feed()
    teacher = search._teacher
    assert teacher is not None
    (one, other), weight = search._targets.unflatten(0, (2, 4)), search._where.unflatten(0, (2, 4))
    assert torch.equal(one[1::2], other[1::2])  # a crop of the teacher is its own target, whatever the noise
    assert not torch.equal(one[::2], other[::2])
    assert set(one[1::2].flatten().tolist()) <= set(teacher.flatten().tolist())
    assert float(weight[:, 1::2].min()) > float(weight[:, ::2].max()) == 1
    fed = search._fed.unflatten(0, (2, 4)) + search._middle
    assert (fed[0, 1::2] - one[1::2]).std() == pytest.approx(1, rel=0.1)  # standard deviation of the noise
    torch.testing.assert_close((fed[0] + fed[1]) / 2, (one + other) / 2)  # n and -n


def test_single_crops_are_of_one_and_of_the_other_in_turns() -> None:
    search = ready(case(), batch=1)
    taught = []
    for _ in range(4):
        search.step()
        one, other = search._targets
        taught.append(torch.equal(one, other))
    assert taught == [False, True, False, True]


def test_what_stands_in_for_missing_pixels_follows_a_nudge_too() -> None:
    missing = np.random.default_rng(0).random((24, 24)) < 0.7
    search = begun(replace(holed(missing), noise=WHITE))
    photons = search.model.photons(np.random.default_rng(1).random((1, 24, 24)).astype(np.float32))
    assert np.isin(search._on_canvas(photons).numpy(), photons[:, ~missing]).all()


def test_the_result_is_a_mixture_of_the_generator_and_similar_patches() -> None:
    search = ready(case(48, 48))
    for _ in range(3):
        search.step()
    assert search._teacher is not None
    averaged = without_pauses(search._augmented(search._photons))
    generator, patches = (search._scaled(each) for each in (averaged, search._teacher))
    image = search.mark().image
    share = float(((image - generator) * (patches - generator)).sum() / (patches - generator).square().sum())
    assert 0.5 < share <= 1  # three iterations teach little
    torch.testing.assert_close(image, generator.lerp(patches, share))


@pytest.mark.parametrize("follows", [0.0, 0.3, 0.7, 1.0])
def test_the_share_is_that_of_the_least_squared_error(monkeypatch: pytest.MonkeyPatch, follows: float) -> None:
    """Two estimates move from a bias towards the measurement, one by as much as the other is left behind."""
    search = begun(case(144, 144))
    truth = torch.from_numpy(search.model.photons(picture(144, 144).astype(np.float32)))[None]
    bias = torch.where(torch.arange(144) % 2 == 0, 0.3, -0.3)  # in standard deviations of the noise

    def nearer(photons: torch.Tensor, by: float) -> torch.Tensor:
        return (truth + bias).lerp(photons, by)

    def moved(by: float, photons: torch.Tensor) -> Any:
        yield 1.0
        return nearer(photons, by)

    monkeypatch.setattr(search, "_augmented", partial(moved, follows))
    monkeypatch.setattr(search, "_of_similar_patches", partial(moved, 1 - follows))
    one, other = (nearer(search._photons, by) for by in (follows, 1 - follows))
    errors = {s: float((one.lerp(other, s) - truth).square().mean()) for s in np.linspace(0, 1, 101)}
    share = float(without_pauses(search._share(one, other)))
    assert share == pytest.approx(min(errors, key=lambda s: errors[s]), abs=0.1)


@pytest.mark.parametrize(("photons", "asked"), [(2, 1), (400, 2)])
def test_few_photons_do_not_choose_the_share(monkeypatch: pytest.MonkeyPatch, photons: float, asked: int) -> None:
    """Their noise is skewed, that of the dark around them too, and Stein's estimate is for Gaussian noise."""
    light = photons * np.maximum(picture(24, 24) - 0.5, 0)
    counts = np.random.default_rng(0).poisson(light + photons / 4 * (photons > 2)).astype(np.float32)
    noise = Noise(gain=1, offset=0, read_noise=0.1, sigma=1)
    search = begun(Problem(observation=counts[None], operator=Identity(), noise=noise), stop="iterations")
    compared = []
    each = search._of_similar_patches
    monkeypatch.setattr(search, "_of_similar_patches", lambda image: compared.append(image) or each(image))
    without_pauses(search.prepare())
    search.step()
    without_pauses(search.finish())
    assert search._final is not None
    assert len(compared) == asked
    assert (search._final[2] == pytest.approx(1 - 0.5 / 20)) is (asked == 1)  # that of the preview, one step of twenty


def test_without_similar_patches_none_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    taught = run(case(), small(stop="iterations")).image
    monkeypatch.setattr(stable, "by_strips", None)
    alone = run(case(), small(stop="iterations", similar_patches=False)).image
    assert not np.allclose(alone, taught, atol=0.01)


def test_comparing_patches_is_shown_before_the_first_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_dip.core.fit._RARELY", 0)  # however long a preview takes
    volume = case(4, 16, 16)
    before = list(itertools.takewhile(lambda p: p.ready < 1, iterate(volume, small(), interval=1e-9)))
    assert [p.ready for p in before] == pytest.approx(np.arange(1, 12) / 12)  # three steps of four planes
    assert {p.iteration for p in before} == {0}
    assert np.array_equal(before[-1].image, volume.observation)


def test_the_first_picture_is_that_of_similar_patches_and_comes_with_the_first_iteration() -> None:
    search = ready(case(48, 48), stop="iterations")
    assert search._teacher is not None
    patches = search._scaled(search._teacher)
    steps = iterate(case(48, 48), small(stop="iterations"), interval=1e6)
    first = next(each for each in steps if each.ready == 1)
    assert first.iteration == 1
    generator = torch.from_numpy(run(case(48, 48), small(iterations=1, similar_patches=False)).last)
    assert np.abs(first.image - patches[0].numpy()).max() < 0.1 * (generator - patches[0]).abs().max()
    assert next(steps, None) is None  # the next one only after the interval


def test_an_interval_without_end_shows_nothing() -> None:
    assert list(iterate(case(), small(), interval=np.inf)) == []


def test_half_of_what_is_shown_at_the_end_is_of_similar_patches() -> None:
    search = ready(case(48, 48), stop="iterations", iterations=4)
    assert search._teacher is not None
    for share in (0.875, 0.75, 0.625, 0.5):
        search.step()
        generator = search.predict(search._photons)
        torch.testing.assert_close(search.average, search._scaled(generator.lerp(search._teacher, share)))


@pytest.mark.parametrize("at", [0, 1, 6])
def test_a_run_that_the_user_stops_does_not_wait(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Before, among and after the pauses that similar patches make."""
    monkeypatch.setattr(SelfGuidedFitter, "_share", None)
    asked = iter(range(1000))
    stopped = run(case(), small(iterations=4000), should_stop=lambda: next(asked) == at)
    assert next(asked) == at + 1
    assert stopped.stop_reason.startswith("stopped by the user")
    assert np.isfinite(stopped.image).all()


def test_it_stops_when_each_pixel_was_fitted_often_enough() -> None:
    result = run(case(16, 18), small(iterations=4000))
    assert result.rule.name == "passes"
    assert result.complete
    assert result.iterations == math.ceil(250 * 16 * 18 / (2 * 16 * 16))
    assert "251 times" in result.stop_reason


@pytest.mark.parametrize(
    ("side", "passes"),
    [(512, 32), (270, 520 * 2 * 64**2 / 270**2), (256, 65), (150, 420 * 2 * 64**2 / 150**2), (64, 250)],
)
def test_small_images_need_more_passes_and_bear_no_more_than_some(side: int, passes: float) -> None:
    whole = whole_fit((side, side), PRESETS["denoise-self"])
    assert whole == math.ceil(passes * side**2 / (2 * 64 * 64))


@pytest.mark.parametrize(("side", "iterations"), [(512, 1024), (256, 520), (192, 293), (128, 130), (64, 125)])
def test_a_fit_of_a_small_image_is_shorter_where_noise_is_correlated(side: int, iterations: int) -> None:
    shared = replace(WHITE, correlation=0.6)
    assert whole_fit((side, side), PRESETS["denoise-self"], noise=shared) == iterations


@pytest.mark.parametrize("shape", [(3, 40, 40), (32, 200), (24, 24)])
def test_fewer_iterations_are_called_what_they_are(shape: tuple[int, ...]) -> None:
    whole = whole_fit(shape, small())
    cut = run(case(*shape), small(iterations=3))
    assert cut.iterations == 3
    assert f"{3 / whole:.0%} of the {whole} that this image needs" in cut.stop_reason
    more = run(case(*shape), small(iterations=2), state=cut.states[0])
    assert more.iterations == 5


def test_what_it_has_no_use_for_is_refused() -> None:
    for knob, value in {"tail": 0.5, "code_noise": 0.2, "regulariser": "tv", "noise": "impulse"}.items():
        with pytest.raises(ValueError, match=f"{knob}=.*(leave|use)"):
            small(**{knob: value})
    for stop in ("discrepancy", "held-out", "variance"):
        with pytest.raises(ValueError, match="stop="):
            run(case(), small(stop=stop))


@pytest.mark.parametrize(("shape", "patches"), [((1, 64, 64), True), ((2, 64, 64), True), ((32, 32, 32), False)])
def test_volumes_are_finite_whatever_the_memory_held_before(shape: tuple[int, ...], patches: bool) -> None:
    spoilt = [torch.full((n,), torch.nan) for n in (2**12, 2**14, 2**16, 2**18) for _ in range(20)]
    del spoilt
    settings = small(iterations=2, crop=64, scales=4, similar_patches=patches)
    assert np.isfinite(run(case(*shape), settings).image).all()


@pytest.mark.parametrize(
    ("where", "name", "kind"), [(stable, "by_strips", SAVING), (SelfGuidedFitter, "_share", "out of memory")]
)
def test_memory_that_runs_out_over_similar_patches_costs_them_not_the_run(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, kind: str
) -> None:
    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("on purpose")

    monkeypatch.setattr(where, name, fail)
    result = run(case(), small())
    assert result.complete
    assert np.isfinite(result.image).all()
    assert [event.kind for event in result.history.events] == [kind]


def test_the_uncertainty_is_about_the_error() -> None:
    problem, truth = case(48, 48), picture(48, 48)
    result = run(problem, small(iterations=100, uncertainty=True, stop="iterations"))
    assert result.uncertainty is not None
    error = np.sqrt(np.mean((result.image[0] - truth) ** 2))
    assert 0.4 < np.sqrt(np.mean(result.uncertainty**2)) / error < 5  # too large where the patches do all


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(ValueError, match="noise.*code='uniform'"):
        run(case(noise=None), small())
    with pytest.raises(ValueError, match="enlarge.*code='uniform'"):
        run(replace(case(), operator=Downsample((2, 2))), small())
    with pytest.raises(ValueError, match="generator='hourglass'.*use 'unet'"):
        Settings(code="self")


def faint(*shape: int, channels: int = 1) -> Problem:
    """A picture whose noise is five times as strong as its structure."""
    truth = picture(*shape)
    sigma = 5 * float(truth.std())
    observation = truth + sigma * np.random.default_rng(0).normal(size=(channels, *shape))
    noise = Noise(gain=0, offset=0, read_noise=sigma, sigma=sigma, contrast=0.2)
    return Problem(observation=observation.astype(np.float32), operator=Identity(), noise=noise)


@pytest.mark.parametrize(("shape", "channels"), [((41, 56), 1), ((40, 40), 2)])
def test_faint_structure_is_learnt_from_means_of_squares(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], channels: int
) -> None:
    problem, settings = faint(*shape, channels=channels), small(iterations=30, stop="iterations", uncertainty=True)
    squares = run(problem, settings)
    assert squares.image.shape == problem.observation.shape
    assert squares.uncertainty is not None
    assert squares.uncertainty.shape == problem.observation.shape
    assert squares.uncertainty.min() >= 0
    monkeypatch.setattr(bins, "side_of", lambda *_: 1)
    pixels = run(problem, settings)
    error = [np.square(made.image - picture(*shape)).mean() for made in (squares, pixels)]
    assert error[0] < 0.9 * error[1]


def test_what_teaches_a_fit_of_means_sees_these_means(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = faint(72, 72)
    assert problem.noise is not None
    fitter = begun(replace(problem, noise=replace(problem.noise, contrast=0.07)))  # of which means are faint too
    without_pauses(fitter.prepare())
    taught = fitter._scaled(fitter._agreed)[0].numpy()
    assert taught.shape == (1, 24, 24)
    monkeypatch.setattr(bins, "side_of", lambda *_: 1)
    expected = without_pauses(stable.denoised(fitter._seen.observation, fitter._noise, "cpu"))
    assert np.allclose(taught, expected, atol=1e-5)


def test_a_fit_of_means_is_as_long_as_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "EPOCHS", (20, 20, 20))
    problem = faint(40, 44)
    assert problem.noise is not None
    settings = small(iterations=4000)
    said = iterations_at_most(settings, (40, 44), noise=problem.noise)
    assert said == whole_fit((20, 22), settings)
    assert run(problem, settings.changed(similar_patches=False, channels=2)).iterations == said


def test_a_fit_of_means_costs_what_it_has_of_iterations() -> None:
    """Means of squares, which have half of the noise, are not means of squares once more."""
    problem, settings = faint(40, 44), small(iterations=4000, precision="float32", threads=1)
    assert problem.noise is not None
    noises = [replace(problem.noise, contrast=contrast, fine=0.001) for contrast in (0.2, 0.32, 0.5)]
    costs = [SelfGuidedFitter.cost(settings.method, (1, 40, 44), n, None, cpu=True, filled=False) for n in noises]
    assert (costs[0].work == costs[1].work).all()
    assert (costs[1].work == costs[2].work).all()


def test_of_a_square_the_known_pixels_count() -> None:
    image = np.arange(48, dtype=np.float32).reshape(1, 6, 8)
    known = np.ones((6, 8), bool)
    known[0, 1] = known[0, 2] = known[1, 2] = known[1, 3] = False  # one of a square, and three of another
    known[4:, :2] = False
    problem = Problem(observation=np.where(known, image, 0), operator=Mask(torch.from_numpy(known)[None, None]))
    seen = bins.problem_of(problem, replace(WHITE, contrast=0.2), 2)
    assert np.argwhere(~seen.known_pixels()[0]).tolist() == [[0, 1], [2, 0]]
    assert seen.observation[0, 0, 0] == image[0, [0, 1, 1], [0, 0, 1]].mean()
    assert seen.observation[0, 1, 1] == image[0, 2:4, 2:4].mean()
    assert (seen.observation[~seen.known_pixels()] == 0).all()
    assert seen.known == 10 / 12
    sparse = np.zeros_like(known)
    sparse[::2, ::2] = True  # a quarter of each square
    few = bins.problem_of(replace(problem, operator=Mask(torch.from_numpy(sparse)[None, None])), WHITE, 2)
    assert few.known_pixels().all()


def test_missing_pixels_of_a_faint_image_do_not_matter() -> None:
    problem, missing = faint(24, 24), np.random.default_rng(3).random((24, 24)) < 0.3
    masked = replace(problem, operator=Mask(torch.from_numpy(~missing)[None, None]))
    spoilt = replace(masked, observation=np.where(missing, np.float32(0.7), masked.observation))
    settings = small(iterations=5, stop="iterations", similar_patches=False)
    assert np.array_equal(run(masked, settings).image, run(spoilt, settings).image)


def test_a_fit_of_means_goes_on_as_if_it_had_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "EPOCHS", (20, 20, 20))
    problem, settings = faint(32, 32), small(iterations=200, similar_patches=False)
    asked = iter(range(1000))
    half = run(problem, settings, should_stop=lambda: next(asked) == 13)
    assert 0 < half.iterations < 20
    assert np.array_equal(run(problem, settings, state=half.states[0]).image, run(problem, settings).image)
