"""What `auto` chooses, and why."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from napari_dip import denoise
from napari_dip.core.noise.model import Noise
from napari_dip.plan.chosen import settings_here
from napari_dip.plan.holes import depth_of
from napari_dip.plan.own import check_method
from napari_dip.plan.request import read_request
from napari_dip.tables.knobs import RunKnobs
from napari_dip.tables.method import auto_preset
from napari_dip.tables.parts import OwnPart
from napari_dip.tables.presets import QUALITIES
from napari_dip.tables.settings import DEFAULTS, PRESETS, knobs_of
from napari_dip.tables.tasks import TASKS

WHITE = Noise(gain=0, offset=0, read_noise=10, sigma=10)
SHARED = replace(WHITE, correlation=0.6)
IMAGE = np.random.default_rng(0).random((16, 20))
LINE = np.array([0.14, 0.6, 1, 0.6, 0.14])  # of a wide-field camera
FAR = replace(SHARED, autocorrelation=np.outer(LINE, LINE))
NEAR = replace(SHARED, autocorrelation=np.outer(LINE, LINE)[1:-1, 1:-1])


@pytest.mark.parametrize(
    ("noise", "changes", "name", "words"),
    [
        (None, {}, "denoise-small", "not known"),
        (WHITE, {}, "denoise-self", "independent"),
        (WHITE, {"iterations": 10, "channels": 8, "seed": 3, "runs": 2}, "denoise-self", "independent"),
        (replace(WHITE, contrast=0.2), {}, "denoise-patches", "outweighs"),
        (replace(WHITE, contrast=0.2), {"quality": "best"}, "denoise-patches", "outweighs"),
        (replace(WHITE, contrast=0.2), {"runs": 3}, "denoise-self", "runs=3 needs a network"),
        (replace(WHITE, contrast=0.2, warning="it is clipped", limited=True), {}, "denoise-patches", "outweighs"),
        (replace(WHITE, contrast=0.2, warning="it is a guess"), {}, "denoise-small", "outweighs"),
        (replace(WHITE, contrast=0.2, autocorrelation=np.ones((1, 1, 1))), {}, "denoise-small", "outweighs"),
        (SHARED, {}, "denoise-self", "correlated between neighbouring pixels (0.6)"),
        (replace(SHARED, warning="it is clipped"), {}, "denoise-self", "correlated between neighbouring pixels (0.6)"),
        (replace(SHARED, contrast=0.8), {}, "denoise-small", "outweighs"),
        (
            replace(FAR, contrast=1.3),
            {},
            "denoise-patches",
            "(0.14 at two) and nearly outweighs the structure, and there si",
        ),
        (replace(FAR, contrast=1.3), {"quality": "fast"}, "denoise-patches", "means of squares"),
        (replace(FAR, contrast=1.3), {"quality": "best"}, "denoise-patches", "(0.14 at two) and nearly outweighs"),
        (replace(FAR, contrast=1.3), {"uncertainty": True}, "denoise-self", "training of means of squares"),
        (replace(FAR, contrast=1.3), {"code_channels": 8}, "denoise-small", "code_channels=8"),
        (replace(FAR, contrast=1.3, autocorrelation=FAR.autocorrelation[None]), {}, "denoise-small", "correlated over"),
        (replace(FAR, contrast=1.3, warning="it is a guess"), {}, "denoise-small", "correlated over"),
        (replace(FAR, contrast=1.3, warning="it is clipped", limited=True), {}, "denoise-patches", "correlated over"),
        (replace(FAR, contrast=1.6), {}, "denoise-self", "correlated between neighbouring pixels (0.6)"),
        (replace(NEAR, contrast=1.3), {}, "denoise-self", "correlated between neighbouring pixels (0.6)"),
        (replace(WHITE, warning="it is clipped"), {}, "denoise-small", "it is clipped"),
        (
            replace(WHITE, warning="it is clipped", limited=True),
            {},
            "denoise-self",
            "where the range does not limit it",
        ),
        (replace(WHITE, sigma=0.0, warning="it is too small"), {}, "denoise-small", "it is too small"),
        (WHITE, {"code": "mesh"}, "denoise-small", "code='mesh'"),
        (WHITE, {"optimiser": "sgld"}, "denoise-small", "optimiser='sgld'"),
        (WHITE, {"stop": "discrepancy"}, "denoise-small", "stop='discrepancy'"),
        (WHITE, {"skip_channels": 8}, "denoise-small", "skip_channels=8"),
        (WHITE, {"noise": "impulse"}, "denoise-small", "noise='impulse'"),
        (SHARED, {"code": "self", "generator": "unet"}, "denoise-self", "code='self'"),
        (None, {"crop": 32}, "denoise-self", "crop=32"),
    ],
)
def test_the_method_follows_the_noise_and_the_users_wishes(
    noise: Noise | None, changes: dict[str, Any], name: str, words: str
) -> None:
    chosen, reason = auto_preset("denoise", on_cpu=True, noise=noise, changes=changes)
    assert chosen == name
    assert words in reason
    settings = settings_here("denoise", image_noise=noise, device="cpu", **changes)
    assert settings.preset == name
    assert all(getattr(settings, key) == value for key, value in changes.items())


@pytest.mark.parametrize(
    ("noise", "quality", "pixels", "name"),
    [
        (replace(WHITE, contrast=0.2), "fast", 192**2, "denoise-patches"),
        (replace(WHITE, contrast=0.2), "balanced", 192**2, "denoise-self"),
        (replace(WHITE, contrast=0.2), "best", 192**2, "denoise-self"),
        (replace(WHITE, contrast=0.2), "balanced", 128**2, "denoise-patches"),
        (replace(FAR, contrast=1.3), "balanced", 192**2, "denoise-patches"),
        (replace(FAR, contrast=1.3), "best", 192**2, "denoise-self"),
        (replace(WHITE, contrast=0.2, warning="it is a guess"), "balanced", 192**2, "denoise-small"),
    ],
)
def test_a_large_faint_image_is_learnt_from(noise: Noise, quality: str, pixels: int, name: str) -> None:
    known: dict[str, Any] = {"noise": noise, "pixels": pixels, "changes": {"quality": quality}}
    assert auto_preset("denoise", on_cpu=True, **known)[0] == name
    settings = settings_here("denoise", image_noise=noise, pixels=pixels, quality=quality, device="cpu")
    assert settings.preset == name


def test_what_keeps_a_fast_run_from_similar_patches_is_named() -> None:
    asked = {"quality": "fast", "iterations": 50}
    name, reason = auto_preset("denoise", on_cpu=True, noise=WHITE, changes=asked)
    assert (name, reason[:38]) == ("denoise-self", "iterations=50 needs a network, and the")
    for task in ("superresolve", "deconvolve"):
        assert auto_preset(task, on_cpu=True, noise=WHITE, changes=asked) == (f"{task}-small", "iterations=50 needs it")
    assert "iterations" not in auto_preset("denoise", on_cpu=True, noise=WHITE, changes={"iterations": 50})[1]


def distance(predicted: Any, observed: Any) -> Any:
    return (predicted - observed).abs().mean()


PARTS: dict[str, dict[str, Any]] = {
    "generator": {"generator": distance},
    "regulariser": {"regulariser": distance, "regulariser_weight": 0.1},
    "fidelity": {},
    "operator": {},
    "denoiser": {},
}


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("task", TASKS)
def test_what_the_user_did_not_choose_is_never_refused(task: str, quality: str) -> None:
    needed: dict[str, Any] = {"superresolve": {"factor": 2}, "deconvolve": {"psf": 1.0}}.get(task, {})
    other: dict[str, Any] = {"runs": 2, "tile": 64, "overlap": 8, "at_once": 2, "output_dtype": "input"}
    for noise in (None, WHITE, replace(WHITE, contrast=4.0), replace(WHITE, contrast=30.0)):
        known: dict[str, Any] = {"image_noise": noise, "device": "cpu", "quality": quality}
        known["depth"] = 2.0 if TASKS[task].fills_holes else None
        for name in {each.name for each in fields(RunKnobs)} & {*knobs_of(task)} - {"preset", "quality", "device"}:
            value = other.get(name, not getattr(DEFAULTS, name))
            assert getattr(settings_here(task, **known, **{name: value}), name) == value
        for name, with_it in PARTS.items():
            if name == "operator" and TASKS[task].adds_detail:  # which has none
                continue
            parts = {} if name in with_it else {name: distance}
            request = read_request(task, IMAGE, IMAGE > 0.98, **needed, **parts)
            refine = {"refine": 8} if name == "denoiser" and not PRESETS[f"{task}-small"].refine else {}
            settings = settings_here(task, **known, parts=request.own_parts, **with_it, **refine)
            check_method(request, settings)


def test_a_part_of_the_users_is_named_in_the_reason_as_in_the_record() -> None:
    _, reason = auto_preset("denoise", on_cpu=True, noise=WHITE, changes={"generator": settings_here})
    assert reason == f"generator={str(OwnPart(settings_here))!r} needs it"


def test_other_tasks_keep_their_prior() -> None:
    for task in ("inpaint", "superresolve"):
        assert auto_preset(task, on_cpu=True, noise=WHITE, changes={})[0] == f"{task}-small"
        assert auto_preset(task, on_cpu=False, noise=WHITE, changes={})[0] == f"{task}-large"


def test_a_result_says_what_was_chosen_and_why() -> None:
    rows, columns = np.mgrid[:96, :96] / 96
    truth = 100 + 50 * np.sin(5 * rows) * np.cos(4 * columns)
    white = truth + np.random.default_rng(0).normal(0, 10, truth.shape)
    cheap: dict[str, Any] = {"iterations": 3, "channels": 4, "device": "cpu"}
    result = denoise(white, **cheap)
    assert result.method.name == "self-guided"
    assert result.choices["Method"] == f"self-guided, because {result.method.reason}"
    assert result.record["method"] == {"name": "self-guided", "reason": result.method.reason}
    kept = denoise(white, preset="denoise-small", **cheap)
    assert (kept.method.name, kept.method.reason) == ("prior", "of the preset 'denoise-small'")
    again = denoise(white, settings=kept.settings.changed(stop="iterations"))
    assert again.method.reason == "of the preset 'denoise-small'"
    assert again.rule.reason == "chosen by the user"


def test_a_slice_that_cannot_be_filled_is_no_deep_hole() -> None:
    missing = np.zeros((3, 12, 12), bool)
    missing[:, 4:6, 4:6] = True
    missing[1] = True
    stack = np.random.default_rng(0).random(missing.shape)
    assert depth_of(read_request("inpaint", stack, missing, leading_axes=1)) == 1


def test_holes_of_colours_are_as_deep_as_pixels_known_in_all_channels_are_far() -> None:
    column = np.arange(12)
    image = np.random.default_rng(0).random((12, 12, 2))
    one, other = np.broadcast_to(column % 2 == 0, (12, 12)), np.broadcast_to(column % 2 == 1, (12, 12))
    assert depth_of(read_request("inpaint", image, np.stack([one, one], -1), channel_axis=-1)) == 1
    assert depth_of(read_request("inpaint", image, np.stack([one, other], -1), channel_axis=-1)) == np.inf
