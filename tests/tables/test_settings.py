"""Every knob is checked by what it says of itself, and every preset is the row of the table that it is named after."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_dip.core.noise.model import Noise
from napari_dip.io import files
from napari_dip.io.picture import make_picture
from napari_dip.plan.chosen import chosen
from napari_dip.tables import presets, record
from napari_dip.tables.knobs import Knob, SelfGuided, own
from napari_dip.tables.method import choose, settings_for
from napari_dip.tables.settings import PRESETS, Settings, check_names, knobs, presets_for
from napari_dip.tables.tasks import TASKS

KNOBS = knobs()
NUMBERS = {name: knob for name, knob in KNOBS.items() if knob.kind in ("int", "ints", "float")}
WHOLE = {name: knob for name, knob in NUMBERS.items() if knob.kind != "float"}
CHOICES = {name: knob for name, knob in KNOBS.items() if knob.kind in ("choice", "choices")}
PER_SCALE = [name for name, knob in KNOBS.items() if knob.kind in ("ints", "choices")]

each_number = pytest.mark.parametrize(("name", "knob"), NUMBERS.items(), ids=NUMBERS)
each_whole = pytest.mark.parametrize(("name", "knob"), WHOLE.items(), ids=WHOLE)
each_choice = pytest.mark.parametrize(("name", "knob"), CHOICES.items(), ids=CHOICES)
each_knob = pytest.mark.parametrize(("name", "knob"), KNOBS.items(), ids=KNOBS)


def with_knob(name: str, value: Any) -> Settings:
    """Settings with one knob changed, of a method that reads it."""
    return replace(PRESETS[presets.SELF] if name in own(SelfGuided) else Settings(), **{name: value})


@each_knob
def test_a_knob_says_what_it_is(name: str, knob: Knob) -> None:
    assert knob.help.endswith((".", ")"))
    default = getattr(Settings(), name)
    if name in NUMBERS:
        assert math.isfinite(knob.min)
        assert math.isfinite(knob.max)
        assert knob.min <= default <= knob.max
    if name in CHOICES:
        assert default in knob.choices


@each_number
def test_bounds_are_included(name: str, knob: Knob) -> None:
    for bound in (knob.min, knob.max):
        bound -= name.startswith("filter_size") and bound % 2 == 0
        assert getattr(with_knob(name, int(bound) if name in WHOLE else bound), name) == bound


@each_number
def test_what_is_out_of_bounds_is_refused_by_name(name: str, knob: Knob) -> None:
    beyond = [math.floor(knob.min) - 1, math.ceil(knob.max) + 1]
    for value in beyond if name in WHOLE else [*beyond, math.nan, math.inf, -math.inf]:
        with pytest.raises(ValueError, match=f"^{name}="):
            Settings(**{name: value})


def test_what_no_float_can_hold_is_out_of_bounds_too() -> None:
    with pytest.raises(ValueError, match="^learning_rate="):
        Settings(learning_rate=10**400)


@each_number
@pytest.mark.parametrize("value", [True, "3", None, 1j, {}])
def test_what_is_no_number_is_refused_by_name(name: str, knob: Knob, value: object) -> None:
    with pytest.raises(TypeError, match=f"^{name}="):
        Settings(**{name: value})


@each_whole
def test_whole_numbers_are_whole(name: str, knob: Knob) -> None:
    with pytest.raises(TypeError, match=f"^{name}=.*whole number"):
        Settings(**{name: knob.min + 0.5})


def test_a_whole_number_beyond_64_bits_is_out_of_range() -> None:
    with pytest.raises(ValueError, match="^seed=1000.* from 0 to"):
        Settings(seed=10**30)


@each_number
def test_numpy_numbers_become_plain_ones(name: str, knob: Knob) -> None:
    default = getattr(Settings(), name)
    for kind in (np.int16, np.int64, np.uint32) if name in WHOLE else (np.float32, np.float64):
        value = getattr(with_knob(name, kind(default)), name)
        assert value == kind(default)
        assert type(value) is (int if name in WHOLE else float)


@each_choice
def test_an_unknown_choice_is_refused_with_a_suggestion(name: str, knob: Knob) -> None:
    with pytest.raises(ValueError, match=f"^{name}=.*did you mean {knob.choices[-1]!r}"):
        Settings(**{name: knob.choices[-1] + "x"})
    with pytest.raises(ValueError, match=f"^{name}=.*choose one of.*{knob.choices[-1]}"):
        Settings(**{name: "?"})
    with pytest.raises(ValueError, match=f"^{name}="):
        Settings(**{name: 3})


@pytest.mark.parametrize("name", [name for name, knob in KNOBS.items() if knob.kind == "bool"])
def test_a_switch_takes_true_and_false_alone(name: str) -> None:
    plain = PRESETS["denoise-self"] if name in own(SelfGuided) else Settings()
    assert getattr(plain.changed(**{name: np.bool_(False)}), name) is False
    for value in (0, 1, "yes", None):
        with pytest.raises(TypeError, match=f"^{name}="):
            plain.changed(**{name: value})


def test_a_text_is_a_text() -> None:
    with pytest.raises(TypeError, match="^device="):
        Settings(device=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PER_SCALE)
@pytest.mark.parametrize("count", [0, 1, 4, 6])
def test_a_value_per_scale_needs_one_for_each(name: str, count: int) -> None:
    value = getattr(Settings(), name)
    with pytest.raises(ValueError, match=f"^{name}=.*{count} values for scales=5"):
        Settings(**{name: (value,) * count})
    assert getattr(Settings(**{name: [value] * 5}), name) == (value,) * 5
    assert getattr(Settings(**{name: [value] * max(count, 1)}, scales=max(count, 1)), name) == (value,) * max(count, 1)


def test_fewer_scales_take_the_first_values_of_a_preset():
    few = settings_for("denoise", on_cpu=True, preset="denoise-self", scales=3)
    assert few.channels == PRESETS["denoise-self"].changed(scales=3).channels == (16, 32, 48)
    assert few.changed(scales=2).channels == (16, 32)
    with pytest.raises(ValueError, match="^channels=.*4 values for scales=3"):
        settings_for("denoise", on_cpu=True, preset="denoise-self", scales=3, channels=(8, 16, 24, 24))
    with pytest.raises(TypeError, match="^scales='3' must be"):
        settings_for("denoise", on_cpu=True, preset="denoise-self", scales="3")


@pytest.mark.parametrize("name", PER_SCALE)
def test_each_value_per_scale_is_checked(name: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{name}="):
        Settings(**{name: (getattr(Settings(), name),) * 4 + (-1,)})


@pytest.mark.parametrize("name", ["filter_size", "filter_size_up", "filter_size_skip"])
def test_filters_are_odd(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}=4 must be odd"):
        Settings(**{name: 4})
    assert getattr(Settings(**{name: 5}), name) == 5


def test_filters_are_odd_at_each_scale() -> None:
    with pytest.raises(ValueError, match="filter_size=2 must be odd"):
        Settings(filter_size=(3, 3, 3, 3, 2))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("iteratons", "iterations"),
        ("lr_rate", "learning_rate"),
        ("chanels", "channels"),
        ("normalization", "normalisation"),
    ],
)
def test_a_misspelt_knob_suggests_the_right_one(wrong: str, right: str) -> None:
    for refuse in (check_names, lambda d: Settings().changed(**d), lambda d: settings_for("denoise", on_cpu=True, **d)):
        with pytest.raises(TypeError, match=f"{wrong}.*did you mean '{right}'"):
            refuse({wrong: 1})


def test_a_name_like_no_knob_gets_the_list() -> None:
    with pytest.raises(TypeError, match="xyzzy.*iterations, stop, noise, learning_rate"):
        check_names({"xyzzy": 1})


def test_changing_makes_a_checked_copy() -> None:
    settings = Settings()
    assert settings.changed(iterations=5).iterations == 5
    assert settings.iterations == 2000
    with pytest.raises(ValueError, match="^iterations="):
        settings.changed(iterations=0)


@pytest.mark.parametrize("name", PRESETS)
def test_settings_survive_json(name: str) -> None:
    assert Settings(**json.loads(json.dumps(PRESETS[name].as_dict()))) == PRESETS[name]


# ---------------------------------------------------------------------------------------------------------- presets

#: What the original notebooks have in common ("Figures to beat, and settings to start from").
COMMON: dict[str, Any] = {
    "optimiser": "adam",
    "padding": "reflection",
    "normalisation": "batch",
    "activation": "leaky_relu",
    "output": "sigmoid",
    "code": "uniform",
    "code_channels": 32,
    "code_scale": 0.1,
    "scales": 5,
    "channels": 128,
    "channels_up": 0,
    "skip_channels": 4,
    "filter_size": 3,
    "filter_size_up": 3,
    "filter_size_skip": 1,
    "pointwise_up": True,
    "upsampling": "bilinear",
    "downsampling": "stride",
    "learning_rate": 0.01,
    "weight_noise": 0,
    "regulariser": "none",
    "average": 0,
}
#: A row of that table each: name -> (task, what differs).
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "original-denoise": ("denoise", {"iterations": 3000, "code_noise": 1 / 30, "average": 0.99}),
    "original-denoise-strong": ("denoise", {"iterations": 3000, "code_noise": 1 / 20, "average": 0.99}),
    "original-jpeg": (
        "denoise",
        {
            "iterations": 2400,
            "code_noise": 1 / 30,
            "channels": (8, 16, 32, 64, 128),
            "skip_channels": (0, 0, 0, 4, 4),
            "code_channels": 3,
            "average": 0.99,  # it shares the notebook, and so the average, with denoising
        },
    ),
    "original-superresolve-4": ("superresolve", {"iterations": 2000, "code_noise": 0.03}),
    "original-superresolve-8": ("superresolve", {"iterations": 4000, "code_noise": 0.05}),
    "original-inpaint-text": (
        "inpaint",
        {"iterations": 6000, "code_noise": 0.03, "skip_channels": 128, "upsampling": "nearest"},
    ),
    "original-inpaint-hole": (
        "inpaint",
        {"iterations": 5000, "code_noise": 0.03, "skip_channels": 0, "upsampling": "nearest", "code": "mesh"},
    ),
    "original-inpaint-region": (
        "inpaint",
        {
            "iterations": 3000,
            "code_noise": 0,
            "scales": 6,
            "channels": (16, 32, 64, 128, 128, 128),
            "skip_channels": 0,
            "filter_size": 5,
            "pointwise_up": False,  # need1x1_up=False in inpainting.ipynb
            "upsampling": "nearest",
            "code_channels": 1,
            "weight_noise": 1 / 50,
        },
    ),
    "original-inpaint-half": ("inpaint", {"iterations": 11000, "code_noise": 0.03, "learning_rate": 0.001}),
    "original-inpaint-sparse": (
        "inpaint",
        {
            "iterations": 1000,
            "code_noise": 0,
            "channels": (16, 32, 64, 128, 128),
            "skip_channels": 0,
            "downsampling": "average",
        },
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_preset_has_the_published_values(name: str) -> None:
    task, differing = ROWS[name]
    settings = PRESETS[name].as_dict()
    assert {knob: settings[knob] for knob in {**COMMON, **differing}} == {**COMMON, **differing}
    assert name in presets_for(task)


def test_every_published_row_is_a_preset() -> None:
    assert {name for name in PRESETS if name.startswith("original-")} == set(ROWS)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_for_a_task(name: str) -> None:
    tasks = [task for task in TASKS if name in presets_for(task)]
    assert tasks
    for task in tasks:
        assert settings_for(task, on_cpu=True, preset=name) == PRESETS[name]


@pytest.mark.parametrize("task", TASKS)
def test_auto_is_a_preset_of_the_task_and_differs_for_cpu_and_gpu(task: str) -> None:
    cpu, gpu = (settings_for(task, on_cpu=on_cpu) for on_cpu in (True, False))
    assert cpu != gpu
    assert {cpu.preset, gpu.preset} == {*TASKS[task].presets[:2]}
    assert settings_for(task, on_cpu=True, preset="auto") == cpu


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["nonsense", 3, ["auto"]])
def test_an_unknown_preset_is_answered_with_those_of_the_task(task: str, name: Any) -> None:
    with pytest.raises(ValueError, match="is not known") as refused:
        settings_for(task, on_cpu=True, preset=name)
    with pytest.raises(ValueError, match="is not known"):
        chosen(task, Settings(), None, {"preset": name})
    others = set(PRESETS) - set(presets_for(task))
    assert not others & set(re.findall(r"[\w-]+", str(refused.value)))


def test_changes_go_on_top_of_the_preset() -> None:
    settings = settings_for("denoise", on_cpu=True, preset="original-denoise-strong", iterations=7)
    assert settings == PRESETS["original-denoise-strong"].changed(iterations=7)
    assert settings.preset == "original-denoise-strong"


def test_changing_the_preset_changes_its_values() -> None:
    """The record of a result names the preset, so the name must not be a mere label."""
    assert Settings().changed(preset="original-denoise-strong").code_noise == 1 / 20
    assert Settings().changed(preset="original-denoise-strong", code_noise=0.5).code_noise == 0.5


@pytest.mark.parametrize("task", [name for name, row in TASKS.items() if row.patches])
def test_each_task_has_three_qualities(task: str) -> None:
    noise = Noise(gain=0.0, offset=0.0, read_noise=0.1, sigma=0.1)
    fast, balanced, best = (
        settings_for(task, on_cpu=True, image_noise=noise, depth=1.0, quality=quality)
        for quality in ("fast", "balanced", "best")
    )
    assert fast.method.name == "similar patches" == settings_for(task, on_cpu=True, code="patches").method.name
    assert balanced == settings_for(task, on_cpu=True, image_noise=noise, depth=1.0)
    assert best.runs > 1
    assert best.changed(quality="balanced").runs < best.runs
    assert settings_for(task, on_cpu=True, image_noise=noise, quality="best", runs=3).runs == 3


def test_patches_come_behind_a_deconvolution_where_there_is_noise_that_it_sharpens() -> None:
    def steps(contrast: float, sigma: float = 0.1, **changes: Any) -> int:
        noise = Noise(gain=0, offset=0, read_noise=sigma, sigma=sigma, contrast=contrast)
        return settings_for("deconvolve", on_cpu=True, image_noise=noise, **changes).refine

    assert steps(4) == settings_for("deconvolve", on_cpu=True).refine == 8
    assert steps(30) == steps(np.inf, 0) == 0
    assert steps(30, refine=3) == 3
    assert steps(30, preset="deconvolve-small") == 8
    assert steps(30, quality="fast") == 12  # which they make alone


def test_a_deconvolution_is_short_where_the_noise_is_known_and_strong() -> None:
    def iterations(contrast: float, warning: str = "", **changes: Any) -> int:
        noise = Noise(gain=0, offset=0, read_noise=0.1, sigma=0.1, contrast=contrast, warning=warning)
        return settings_for("deconvolve", on_cpu=True, image_noise=noise, **changes).iterations

    whole = settings_for("deconvolve", on_cpu=True).iterations
    assert iterations(4) < whole / 3
    assert iterations(6) == iterations(30) == iterations(np.inf) == iterations(4, "it is a guess") == whole
    assert iterations(4, preset="deconvolve-small") == whole
    assert iterations(4, volume=True) == iterations(4, quality="best") == whole
    assert iterations(4, uncertainty=True) == iterations(4)  # which looks at the fit, and does not change it
    assert iterations(4, iterations=50) == 50
    assert iterations(4, refine=0) == iterations(4, optimiser="adam") == whole
    assert iterations(4, seed=3, runs=2) < whole / 3


def test_super_resolution_is_shorter_where_the_image_is_small() -> None:
    def iterations(side: int, **changes: Any) -> int:
        return settings_for("superresolve", on_cpu=True, pixels=side**2, **changes).iterations

    assert iterations(256) == iterations(2000) == settings_for("superresolve", on_cpu=True).iterations
    assert 1.5 * iterations(128) == 1.5 * iterations(20) == iterations(256)
    assert iterations(128) < iterations(192) < iterations(256)
    assert iterations(128, seed=3, preset="superresolve-small") == iterations(128)
    assert iterations(128, iterations=50) == 50


def test_super_resolution_fits_known_noise_more_slowly() -> None:
    def noise_of_code(contrast: float, warning: str = "", **changes: Any) -> float:
        noise = Noise(gain=0, offset=0, read_noise=0.1, sigma=0.1, contrast=contrast, warning=warning)
        return settings_for("superresolve", on_cpu=True, image_noise=noise, **changes).code_noise

    assert noise_of_code(4) > 2 * noise_of_code(30)
    assert noise_of_code(4, "it is a guess") == noise_of_code(30)
    assert noise_of_code(4, code_noise=0.1) == 0.1


def test_what_a_fast_method_lacks_asks_for_another() -> None:
    noise = Noise(gain=0.0, offset=0.0, read_noise=0.1, sigma=0.1)
    asked = settings_for("denoise", on_cpu=True, image_noise=noise, quality="fast", skip_channels=8)
    assert (asked.method.name, asked.runs) == ("prior", 1)
    assert settings_for("denoise", on_cpu=True, quality="fast").method.name == "prior"  # the noise is not known


def test_shallow_holes_are_for_similar_patches_unless_a_network_is_asked_for() -> None:
    def name(depth: float, **changes: Any) -> str:
        return settings_for("inpaint", on_cpu=True, depth=depth, **changes).method.name

    assert name(2.0) == name(3.9, seed=1, threads=1) == "similar patches"
    assert name(4.2) == name(2.0, iterations=100) == name(2.0, uncertainty=True) == name(2.0, refine=4) == "prior"
    assert name(2.0, quality="best") == name(2.0, preset="inpaint-small") == name(2.0, keep_known=False) == "prior"


def test_the_reason_for_a_prior_before_holes_is_what_decided_it() -> None:
    def why(depth: float | None, **changes: Any) -> str:
        return choose("inpaint", on_cpu=True, depth=depth, **changes)[1]

    far = "a missing pixel is 9.0 pixels away from a known one, too far for similar patches alone"
    assert why(9.0) == why(9.0, quality="fast") == why(9.0, iterations=50) == far
    assert why(math.inf) == "no pixel is known in all channels, and similar patches alone need some"
    assert why(2.0, iterations=50) == "iterations=50 needs it"
    assert why(2.0, channels=8) == "channels=8 needs it"
    assert why(2.0, keep_known=False) == "keep_known=False needs it"
    assert why(2.0, quality="best") == "quality='best' needs it"
    assert why(9.0, code="patches") == "code='patches' needs it"
    assert why(None) == "it is the default for this task on a CPU"


def test_a_fast_run_fits_deep_holes_and_what_a_fit_is_asked_for() -> None:
    deep = settings_for("inpaint", on_cpu=True, depth=10.0, quality="fast")
    assert deep.method.name == settings_for("inpaint", on_cpu=True, quality="fast").method.name == "prior"
    assert deep.iterations < settings_for("inpaint", on_cpu=True, depth=10.0).iterations
    noise = Noise(gain=0.0, offset=0.0, read_noise=0.1, sigma=0.1)
    for task in TASKS:
        asked = settings_for(task, on_cpu=True, image_noise=noise, quality="fast", iterations=20)
        assert asked.method.name != "similar patches"
        assert asked.iterations == 20


def test_a_preset_that_has_one_length_has_no_quality() -> None:
    with pytest.raises(ValueError, match="quality='best' is not there with preset='original-denoise'"):
        settings_for("denoise", on_cpu=True, preset="original-denoise", quality="best")
    with pytest.raises(ValueError, match="^quality='bets'.*did you mean 'best'"):
        settings_for("denoise", on_cpu=True, quality="bets")


@pytest.mark.parametrize(
    ("preset", "idle"),
    [("denoise-small", {"recorruption": 0.5}), ("inpaint-small", {"crop": 32}), ("denoise-self", {"skip_channels": 8})],
)
def test_a_knob_without_effect_is_refused(preset: str, idle: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(idle))}=.* has no effect"):
        Settings().changed(preset=preset, **idle)


# ---------------------------------------------------------------------------------------------------------------- JSON


def test_a_device_that_was_found_is_no_choice_and_one_that_was_said_is() -> None:
    for reason, device in (("no graphics card with CUDA was found", "auto"), ("as device='cpu' says", "cpu")):
        found = {"settings": {"device": "cpu", "seed": 3}, "device": {"name": "cpu", "reason": reason}}
        assert Settings.of_record(found) == Settings(device=device, seed=3)
    assert Settings.of_record({"device": "cpu"}).device == "cpu"
    assert Settings.of_record(found, device="mps").device == "mps"


@pytest.mark.parametrize(
    ("kept", "name"),
    [
        ({"preset": "denoise-patches", "iterations": 500}, "iterations"),
        ({"preset": "inpaint-small", "generator": "decoder", "skip_channels": 8}, "skip_channels"),
        ({"preset": "denoise-small", "crop": 32}, "crop"),
    ],
)
def test_what_has_no_effect_is_left_out_of_settings_that_were_kept_and_refused_where_it_is_asked_for(kept, name):
    rest = {knob: value for knob, value in kept.items() if knob != name}
    with pytest.warns(UserWarning, match=f"^{name}={kept[name]} .*has no effect with .*; it is left out$"):
        assert Settings.of_record({"settings": kept}) == Settings().changed(**rest)
    with pytest.raises(ValueError, match=f"^{name}={kept[name]} .*has no effect with .*; leave it out, or "):
        Settings.of_record({"settings": rest}, **{name: kept[name]})


@pytest.mark.parametrize("preset", PRESETS)
def test_settings_come_back_from_json(preset: str, tmp_path: Path) -> None:
    settings = PRESETS[preset].changed(tile=128, overlap=24)
    assert Settings.from_json(settings.to_json()) == settings
    file = tmp_path / "settings.json"
    file.write_text(settings.to_json())
    assert Settings.from_json(file) == Settings.from_json(str(file)) == settings
    file.write_text(json.dumps({"task": "denoise", "settings": settings.as_dict()}))  # a record
    assert Settings.from_json(file) == settings
    assert settings.chosen == {"preset": preset, "tile": 128, "overlap": 24}
    assert Settings().changed(**settings.chosen) == settings


def test_values_per_scale_survive_json() -> None:
    settings = Settings(channels=(8, 16, 32, 32, 32))
    assert Settings.from_json(settings.to_json()) == settings


def test_json_may_leave_knobs_out() -> None:
    assert Settings.from_json('{"iterations": 7}') == Settings(iterations=7)
    assert Settings.from_json('{"preset": "denoise-self", "seed": 3}') == PRESETS["denoise-self"].changed(seed=3)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("{", ValueError, "the text is not JSON"),
        ("[1, 2]", ValueError, "not an object with settings"),
        ('{"settings": 3}', ValueError, "not an object with settings"),
        ('{"itterations": 3}', TypeError, "did you mean 'iterations'"),
        ('{"iterations": "many"}', TypeError, "iterations='many' must be a whole number"),
        ('{"a":' * 100_000, ValueError, "the text is not JSON"),
        ("missing.json", OSError, "missing.json"),
    ],
)
def test_json_that_is_wrong_is_refused_with_a_sentence(text: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Settings.from_json(text)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    for name, words in {"settings.dat": "settings.dat' is not JSON", "image.tif": "image.tif cannot be read"}.items():
        (tmp_path / name).write_bytes(b"II*\0\xda\xff")
        with pytest.raises((ValueError, OSError), match=words):
            Settings.from_json(tmp_path / name)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.png", "a.jpg", "a.npy", "a.ome.zarr"])
def test_a_written_image_has_the_settings_that_made_it(name: str, tmp_path: Path) -> None:
    settings = PRESETS[presets.SELF].changed(seed=7)
    image = make_picture(np.arange(48, dtype=np.uint8).reshape(6, 8), "YX")
    made = replace(image, record={"task": "denoise", "settings": settings.as_dict()})
    files.put(tmp_path / name, made)
    assert Settings.from_json(tmp_path / name) == settings
    files.put(tmp_path / f"none-{name}", image)
    with pytest.raises(ValueError, match="not an image that napari-dip restored"):
        Settings.from_json(tmp_path / f"none-{name}")


def test_what_cannot_be_written_leaves_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    record.write(file, "{}")
    with pytest.raises(ValueError, match="surrogates"):
        record.write(file, "\ud800")
    assert [each.name for each in tmp_path.iterdir()] == ["mine.json"]
    assert file.read_text() == "{}\n"


def test_a_kind_of_hole_says_nothing_of_what_a_generator_lacks() -> None:
    for generator, skips in (("hourglass", 0), ("unet", 4), ("decoder", 4)):
        settings = settings_for("inpaint", on_cpu=True, preset="hole", generator=generator)
        assert (settings.generator, settings.skip_channels) == (generator, skips)
