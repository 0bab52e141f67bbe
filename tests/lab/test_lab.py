"""The laboratory: structure is fitted before noise, points are those of the curves, and a stop keeps what is whole."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_dip import lab, pictures
from napari_dip.command import cli
from napari_dip.core.cost import Cost
from napari_dip.io import files
from napari_dip.tables.method import settings_for
from napari_dip.trust import psnr
from tests.core.tiny import picture

TINY: dict[str, Any] = {"channels": 8, "scales": 3, "code_channels": 8, "device": "cpu"}


def test_an_image_is_fitted_before_its_shuffled_pixels_and_the_noise_comes_last() -> None:
    made = lab.impedance(
        picture(24, 24), {"skips": {}, "none": {"skip_channels": 0}}, iterations=50, progress=False, **TINY
    )
    assert list(made.fitted) == ["skips", "none"]
    for name in made.fitted:
        assert made.fitted[name]["image"][-1] > made.fitted[name]["shuffled"][-1] + 3
        assert made.truth[name].max() > made.noisy
        assert all(len(curve) == len(made.iterations) for curve in made.fitted[name].values())
    assert made.table().splitlines()[0].startswith("| generator | image | noise | image + noise | shuffled |")
    assert len(made.table().splitlines()) == 4


@pytest.mark.parametrize(("share", "said"), [(1.0, "8 s."), (0.1, "80 s. This computer is busy now; else 8 s.")])
def test_the_time_of_an_experiment_follows_what_else_the_machine_does(
    monkeypatch: pytest.MonkeyPatch, share: float, said: str
) -> None:
    monkeypatch.setattr("napari_dip.lab.experiments.estimate", lambda *_, **__: Cost(0, 4.0))
    monkeypatch.setattr("napari_dip.lab.experiments.choose", lambda _: SimpleNamespace(name="cpu"))
    monkeypatch.setattr("napari_dip.plan.cost.share_of_processor", lambda threads: share)
    assert lab.duration("preimage", (32, 32), iterations=50) == f"2 fits of 50 iterations, about {said}"


def test_points_come_one_by_one_and_a_stop_keeps_the_generators_that_are_whole() -> None:
    seen: list[lab.Point] = []
    narrow = {"iterations": 4, "device": "cpu", "channels": 4}
    work = lab.iterate_impedance(picture(16, 16), ["decoder", "resnet"], should_stop=lambda: len(seen) >= 18, **narrow)
    made = _end(work, seen)
    assert list(made.fitted) == ["decoder"]
    assert [point.iteration for point in seen[:4]] == list(made.iterations) == [1, 2, 3, 4]
    assert [point.fitted for point in seen[:4]] == list(made.fitted["decoder"]["image"])
    assert [point.done for point in seen] == sorted(point.done for point in seen)


def test_the_same_seed_makes_the_same_targets_and_shuffling_keeps_the_pixels() -> None:
    image = picture(12, 12)
    first, again = (lab.targets_of(image, 0.1, 3) for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in lab.TARGETS)
    assert np.array_equal(np.sort(first["shuffled"].ravel()), np.sort(image.ravel()))


@pytest.mark.parametrize("image", [np.ones((8, 8)), np.full((8, 8), np.nan), np.zeros(5), np.zeros((8, 8), complex)])
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises((TypeError, ValueError), match="image"):
        lab.impedance(image, progress=False)


def test_values_of_an_ablation_are_compared_from_the_same_seeds_against_the_truth() -> None:
    truth = 100 + 50 * picture(24, 24)
    image = truth + 5 * np.random.default_rng(0).normal(size=truth.shape)
    said: dict[str, Any] = {"truth": truth, "iterations": 30, "progress": False, **TINY}
    made = lab.ablation(image, "skip_channels", [4, 0], seeds=[3, 5], **said)
    assert list(made.curves) == ["4", "0"]
    assert made.curves["0"].shape == (2, 30)
    assert made.measure == "the truth"
    for label, row in zip(made.images, made.rows, strict=True):
        of_first_seed = made.curves[label][0].max()
        assert psnr(made.images[label], truth) == pytest.approx(of_first_seed, abs=1e-4)
        assert row["best"] == pytest.approx(made.curves[label].max(axis=1).mean())
    assert made.stack.shape == (2, 24, 24)
    one = lab.ablation(image, "skip_channels", [4], seeds=[5], **said)
    assert np.array_equal(one.curves["4"][0], made.curves["4"][1])


def test_without_a_truth_an_ablation_holds_pixels_out_and_a_stop_keeps_the_values_that_are_whole() -> None:
    seen: list[lab.Step] = []
    work = lab.iterate_ablation(
        picture(16, 16), "code noise", iterations=4, should_stop=lambda: len(seen) >= 6, device="cpu", channels=4
    )
    made = _end(work, seen)
    assert list(made.curves) == ["none"]
    assert [step.values["the pixels held out"] for step in seen[:4]] == list(made.curves["none"][0])
    assert [step.done for step in seen] == sorted(step.done for step in seen)


def test_an_ablation_is_a_figure_of_its_curves_and_images() -> None:
    pytest.importorskip("matplotlib")
    made = lab.ablation(picture(16, 16), "code noise", iterations=2, progress=False, device="cpu", channels=4)
    figure = made.plot()
    assert len(figure.axes[0].lines) == 3
    assert len(figure.axes) == 5


@pytest.mark.parametrize("question", lab.QUESTIONS)
def test_every_question_has_values_that_a_run_takes(question: str) -> None:
    for knobs in lab.QUESTIONS[question].values():
        settings_for("denoise", on_cpu=True, **{"preset": "denoise-small", **_without_range(knobs)})


def _without_range(knobs: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in knobs.items() if name not in ("intensity_range", "each_plane", "channel_axis")
    }


def test_several_images_are_made_by_a_generator_each_or_by_one_for_all() -> None:
    truth = np.stack([picture(16, 20), picture(16, 20)[::-1]])
    said: dict[str, Any] = {"truth": truth, "iterations": 4, "progress": False, **TINY}
    made = lab.ablation(truth + 0.1, "one image or several", **said)
    assert list(made.images) == ["one each", "together"]
    assert all(image.shape == truth.shape for image in made.images.values())
    alone = lab.ablation(truth[0] + 0.1, "code", {"a": {}}, **{**said, "truth": truth[0]})
    assert np.isfinite(alone.curves["a"]).all()
    with pytest.raises(ValueError, match="is of a stack"):
        lab.ablation(truth[0], "one image or several", progress=False)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"question": "colour"}, "question='colour' needs values"),
        ({"question": "colour", "values": [1]}, "question='colour' is no knob"),
        ({"question": "skips", "truth": np.zeros((3, 3))}, "truth has the shape"),
        ({"question": "skips", "task": "superresolve"}, "task='superresolve' must be one of"),
        ({"question": "skips", "iterations": 0}, "iterations=0 must be"),
    ],
)
def test_what_an_ablation_cannot_do_is_said(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        lab.ablation(picture(16, 16), progress=False, **said)


def test_fitted_pixels_are_followed_beyond_where_held_out_ones_are_best() -> None:
    truth = 10 * picture(24, 24)
    image = truth + np.random.default_rng(0).normal(size=truth.shape)
    made = lab.held_out(image, truth=truth, iterations=200, average=0.0, progress=False, **TINY)
    fitted, held = made.errors["fitted"], made.errors["held out"]
    assert np.argmin(fitted) > np.argmin(held)
    assert fitted[-1] < 1 < held[-1]  # the noise
    assert 0 < made.held.mean() < 0.06
    at = int(np.argmin(held))
    where = made.held
    assert np.sqrt(np.mean((made.images["held out"] - image)[where] ** 2)) == pytest.approx(held[at], rel=1e-4)
    assert [row["error of"] for row in made.rows] == ["fitted", "held out", "truth"]
    assert made.table().count("\n") == 4


def test_low_frequencies_are_fitted_first_and_the_stack_has_the_iterates() -> None:
    seen: list[lab.Step] = []
    work = lab.iterate_trajectory(5 + picture(32, 32), bands=3, frames=4, iterations=100, **TINY)
    made = _end(work, seen)
    assert made.shares[0, 20] > made.shares[2, 20] + 0.2
    assert made.power.sum() == pytest.approx(1)
    assert made.power[0] > made.power[2]
    images = {step.iteration: step.image for step in seen}
    assert all(np.array_equal(image, images[at]) for at, image in zip(made.shown, made.stack, strict=True))
    assert made.shown[0] == 1
    assert made.shown[-1] == 100
    assert made.rows[0]["half fitted at"] < 20


@pytest.mark.parametrize("name", lab.EXPLICIT)
def test_an_explicit_method_removes_noise_and_leaves_the_image_alone_without_strength(name: str) -> None:
    method, strengths = lab.EXPLICIT[name]
    truth = picture(21, 32)
    image = truth + 0.1 * np.random.default_rng(0).normal(size=truth.shape)
    assert np.allclose(method(image, 1e-6, 1e-3), image, atol=1e-3)
    scores = [psnr(method(image, float(strength), 0.1), truth) for strength in strengths]
    assert max(scores) > psnr(image, truth) + 2
    assert max(scores) not in (scores[0], scores[-1])


def test_explicit_methods_stand_beside_the_prior_each_at_its_best() -> None:
    truth = 10 * picture(20, 20)
    image = truth + np.random.default_rng(0).normal(size=truth.shape)
    made = lab.explicit(image, truth, weights=[0.01], iterations=30, progress=False, **TINY)
    assert [row["method"] for row in made.rows] == [*made.images][:-1], "the slider goes through them as the table does"
    general = ["trained network", "prior", "prior + trained network"]
    assert set(made.psnr) == {"measured", *lab.EXPLICIT, *general, "prior + total variation 0.01"}
    for name, found in made.psnr.items():
        assert psnr(made.images[name], truth) == pytest.approx(found, abs=1e-4)
    assert made.psnr["prior"] == made.curves["prior"].max()
    assert made.sigma == pytest.approx(1, abs=0.1)
    scores = [row["PSNR"] for row in made.rows]
    assert scores == sorted(scores, reverse=True)
    assert np.allclose(made.stack[-1], truth)
    assert made.psnr["trained network"] > made.psnr["measured"] + 3
    none = lab.explicit(image, truth, weights=[], denoiser=None, iterations=2, progress=False, **TINY)
    assert set(none.psnr) == {"measured", *lab.EXPLICIT, "prior"}
    stopped = _end(lab.iterate_explicit(image, should_stop=lambda: True), [])
    assert list(stopped.psnr) == ["measured"]
    assert stopped.psnr["measured"] == pytest.approx(20, abs=1)


@pytest.mark.parametrize(("denoiser", "words"), [(lambda plane, sigma: plane[1:], "keep the shape"), (object, "class")])
def test_a_denoiser_of_ones_own_is_checked(denoiser: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"denoiser=.*{words}"):
        lab.explicit(picture(20, 20), denoiser=denoiser, progress=False)


def test_an_experiment_that_is_stopped_at_once_says_so() -> None:
    for work in (lab.iterate_held_out, lab.iterate_trajectory):
        with pytest.raises(ValueError, match="stopped before"):
            _end(work(picture(16, 16), should_stop=lambda: True, **TINY), [])
    for bands in (9, 2.5):
        with pytest.raises(ValueError, match=f"bands={bands} must be a whole number from 1 to 8"):
            lab.trajectory(picture(16, 16), bands=bands, progress=False)


def test_the_command_prints_a_table_and_writes_the_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = str(tmp_path / "in.ome.tif"), str(tmp_path / "out.tif")
    pictures.save(source, pictures.make(picture(30, 40), scale=(0.25, 0.5), units=("um", "um")))
    words = ["--question", "code noise", "--crop", "16", "--iterations", "2", "--images", out]
    assert cli.main(["lab", "ablation", source, *words]) == 0
    told = capsys.readouterr()
    assert "3 fits of 2 iterations, about" in told.err
    assert "| code noise | best | worst seed |" in told.out
    written = files.read(out)
    assert written.values.shape == (3, 16, 16)
    assert (written.pixel_size, written.unit) == ({"Y": 0.25, "X": 0.5}, "µm")
    assert cli.main(["lab", "alchemy", source]) == 1
    assert "experiment 'alchemy' must be one of impedance, ablation" in capsys.readouterr().err


def _end(work: Any, seen: list[Any]) -> Any:
    while True:
        try:
            seen.append(next(work))
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize(
    "name", ["ablation", "explicit", "held_out", "impedance", "maximise", "preimage", "trajectory"]
)
def test_a_function_says_what_its_steps_say_with_a_bar_in_place_of_a_stop(name: str) -> None:
    whole, steps = getattr(lab, name), getattr(lab, f"iterate_{name}")
    taken = dict(inspect.signature(steps).parameters)
    del taken["should_stop"]
    assert {**inspect.signature(whole).parameters}.keys() == {*taken, "progress"}
    assert inspect.signature(whole).return_annotation in inspect.signature(steps).return_annotation
    assert "progress : bool\n        Show a progress bar" in whole.__doc__
    assert "should_stop : callable" in steps.__doc__
    assert "should_stop" not in whole.__doc__
    assert "Yields" not in whole.__doc__
    assert whole.__name__ == name
