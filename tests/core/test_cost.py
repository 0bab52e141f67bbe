"""What a run will take, known before it."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import napari_dip
from napari_dip.core import cost, memory, pace
from napari_dip.core.cost import Cost, in_bytes, in_time, memory_of_noise
from napari_dip.core.device import Device
from napari_dip.core.forward import passed
from napari_dip.core.methods import FITTERS, coverage
from napari_dip.core.noise.estimate import estimate_noise
from napari_dip.core.setup import Setup
from napari_dip.core.tiling import tiles_of
from napari_dip.plan import cost as costs
from napari_dip.plan.chosen import settings_here
from napari_dip.tables.knobs import Patches, Prior
from tests.core.tiny import TINY, picture

SMALL = {**TINY, "preset": "denoise-small", "runs": 1}
SELF = {"preset": "denoise-self", "channels": 8, "device": "cpu"}


def bytes_of(*shape: int, **knobs: Any) -> int:
    return napari_dip.estimate(shape, **{**SMALL, **knobs}).memory


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({}, {"channels": 16}),
        ({}, {"code_channels": 32}),
        ({"precision": "bfloat16"}, {"precision": "float32"}),
        ({"tile": 128}, {}),
        ({}, {"uncertainty": True}),
    ],
    ids=str,
)
def test_it_knows_what_takes_memory(less: dict, more: dict) -> None:
    assert bytes_of(512, 512, **less) < bytes_of(512, 512, **more)


def test_threads_take_memory_of_their_own() -> None:
    """For strips of similar patches that are compared side by side, and for images that are transposed in bfloat16."""

    def more(shape: tuple[int, ...], knobs: dict) -> int:
        one, two = (napari_dip.estimate(shape, **{**knobs, "threads": threads}).memory for threads in (1, 2))
        return two - one

    assert more((256, 256), SELF) > 20e6
    assert more((24, 256), SELF) == 0  # a single strip
    assert more((512, 512), {**SMALL, "precision": "bfloat16"}) > 2 * 8 * 512 * 512
    assert more((512, 512), {**SMALL, "precision": "float32"}) == 0


def test_memory_of_a_prior_is_proportional_to_its_pixels() -> None:
    once, twice, four = (bytes_of(512, n) for n in (512, 1024, 2048))
    assert (four - twice) == pytest.approx(2 * (twice - once), rel=0.05)


def test_one_tile_with_what_a_blur_spreads_beyond_it_is_the_whole_image() -> None:
    knobs = {**SMALL, "preset": "deconvolve-small"}
    whole, tile = (napari_dip.estimate((96, 96), task="deconvolve", psf=3.0, **knobs, tile=side) for side in (0, 96))
    assert whole == tile


def test_time_is_proportional_to_iterations_runs_and_slices() -> None:
    long = dict(SMALL, iterations=2000)  # so that what is done once for an image is little
    once = napari_dip.estimate((64, 64), **long).seconds
    assert napari_dip.estimate((64, 64), **{**long, "runs": 3}).seconds == pytest.approx(3 * once, rel=0.1)
    assert napari_dip.estimate((3, 64, 64), leading_axes=1, **long).seconds == pytest.approx(3 * once, rel=0.1)
    assert napari_dip.estimate((64, 64), **dict(long, iterations=6000)).seconds == pytest.approx(3 * once, rel=0.1)


def test_slices_after_the_first_take_less_time_where_they_begin_with_its_weights() -> None:
    def seconds(*shape: int, **knobs: Any) -> float:
        return napari_dip.estimate(
            shape, preset="denoise-self", device="cpu", leading_axes=len(shape) - 2, **knobs
        ).seconds

    once = seconds(64, 64)
    assert seconds(9, 64, 64, warm_start=False) == pytest.approx(9 * once, rel=0.01)
    assert 0.5 * 9 * once < seconds(9, 64, 64) < 0.8 * 9 * once


@pytest.mark.parametrize(
    ("shape", "method"),
    [((1, 20), "prior"), ((1, 90), "self"), ((16, 16), "prior"), ((20, 1), "prior"), ((2, 1, 40), "self")],
)
def test_the_method_that_is_estimated_is_that_of_the_run(
    shape: tuple[int, ...], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is tiny has a noise that is a guess, and a prior."""
    taken: list[str] = []
    plain = cost.estimate
    monkeypatch.setattr(
        cost,
        "estimate",
        lambda c, m, settings, *rest, **how: taken.append(settings.code) or plain(c, m, settings, *rest, **how),
    )
    image = np.random.default_rng(0).normal(100 + 50 * np.sin(np.arange(np.prod(shape)).reshape(shape) / 9), 5)
    run = napari_dip.iterate("denoise", image, device="cpu", leading_axes=len(shape) - 2)
    assert run.cost.seconds > 0
    napari_dip.estimate(shape, device="cpu", leading_axes=len(shape) - 2)
    assert {code == "self" for code in taken} == {method == "self"}


def test_the_states_that_a_result_keeps_of_each_slice_count_up_to_the_most_that_it_keeps() -> None:
    knobs = {**SMALL, "channels": 32, "leading_axes": 1}
    few, some, many = (napari_dip.estimate((n, 16, 16), **knobs).memory for n in (100, 200, 10**6))
    image = 20 * 16 * 16  # bytes
    assert some - few > 100 * (image + 4 * 32 * 32 * 9)  # with a convolution
    assert many < 10**6 * image + 2**31


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are those of one processor, of 2025, whatever this one reaches now."""
    monkeypatch.setattr(cost, "rates_of", lambda *_: np.array([2e-5, 2e-10, 2e-11, 1.2e-9]))


@pytest.mark.usefixtures("rates")
def test_a_fast_run_that_fits_a_network_is_announced() -> None:
    fast: dict[str, Any] = {"quality": "fast", "device": "cpu"}
    image = np.add.outer(np.arange(96.0), np.arange(96.0)) % 50 // 25
    for noise, why in ({}, "none was found"), ({"image_noise": replace(cost.TYPICAL, warning="few")}, r".*n \(few\)"):
        words = rf"quality='fast' .* and {why}: a network is fitted, for about \d+ s at most"
        with pytest.warns(UserWarning, match=words):
            napari_dip.iterate("denoise", image, **noise, **fast)
    for asked in ({"iterations": 3000}, {"channels": 128}, {"runs": 3}, {"generator": "unet"}):  # of a network
        napari_dip.iterate("denoise", image, image_noise=replace(cost.TYPICAL, warning="few"), **asked, **fast)
    napari_dip.iterate("denoise", image, iterations=30, **fast)
    napari_dip.iterate("denoise", image, code="uniform", **fast)
    napari_dip.iterate("denoise", image, device="cpu")
    napari_dip.iterate("denoise", 0 * image, **fast)


def test_two_sizes_of_a_generator_tell_the_pace_of_its_calls_from_that_of_its_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Features were held to cost what memory does: priors in float32 took up to twice as long as was said."""
    now, of_layer, of_feature = [0.0], 3e-5, 2e-9

    def fitted(method: Any, side: int, dtype: Any) -> Any:
        def compute() -> None:
            work = passed(method, method.code_channels, 1, (side, side)).work("float32")
            now[0] += of_layer * work[0] + of_feature * work[3]

        return compute

    monkeypatch.setattr(pace, "_fitted", fitted)
    clock: dict[str, Any] = {name: lambda: now[0] for name in ("thread_time", "perf_counter")}
    clock["get_clock_info"] = lambda _: SimpleNamespace(resolution=1e-9)
    monkeypatch.setattr(pace, "time", SimpleNamespace(**clock))
    assert pace._measured("cpu", torch.float32) == pytest.approx([of_layer, 0, 0, of_feature])


def test_a_short_run_takes_longer_on_a_busy_machine_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prior of 64x64 pixels was said to take 2 s with seven busy processes, and took 48."""
    monkeypatch.setattr(costs, "share_of_processor", lambda threads: 0.1)
    assert [costs.slowed_by(seconds, "cpu", 1) for seconds in (0.5, 2.0, 60.0)] == pytest.approx([1, 10, 10])
    assert costs.slowed_by(60.0, "cuda:0", 1) == 1


@pytest.mark.usefixtures("rates")
def test_similar_patches_are_compared_once_for_all_runs() -> None:
    def seconds(runs: int) -> float:
        return napari_dip.estimate((128, 128), preset="denoise-self", device="cpu", iterations=1, runs=runs).seconds

    one, two, three = (seconds(runs) for runs in (1, 2, 3))
    assert three - two == pytest.approx(two - one, rel=1e-6)
    assert two - one < 0.8 * one


def test_a_self_guided_fit_takes_less_than_a_prior_of_a_large_image() -> None:
    assert napari_dip.estimate((4096, 4096), **SELF).memory < bytes_of(4096, 4096, channels=16)


@pytest.mark.parametrize("knobs", [SMALL, SELF], ids=["prior", "self-guided"])
def test_an_estimate_takes_no_memory_itself(knobs: dict) -> None:
    napari_dip.estimate((64, 64), **knobs)
    tracemalloc.start()
    cost = napari_dip.estimate((20_000, 20_000), **knobs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**26 < cost.memory


@pytest.mark.parametrize(
    ("planes", "shape"), [(1, (96, 96)), (3, (160, 160)), (1, (512, 512)), (1, (12, 40, 48)), (3, (12, 40, 48))]
)
def test_the_memory_of_the_estimate_of_noise_is_that_of_its_patches_or_pixels(
    planes: int, shape: tuple[int, ...]
) -> None:
    image = np.random.default_rng(0).poisson(20 + np.indices((planes, *shape)).sum(axis=0) % 9).astype(np.float32)
    estimate_noise(image, channel_axis=0)
    tracemalloc.start()
    estimate_noise(image, channel_axis=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert memory_of_noise(planes, shape) == pytest.approx(peak, rel=0.2)


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [
        ((32, 48), {"task": "superresolve", "factor": 2, "preset": "superresolve-small"}),
        ((32, 48, 3), {"channel_axis": -1}),
        ((8, 32, 48), {}),
        ((2, 32, 48, 3), {"channel_axis": -1, "leading_axes": 1}),
        ((32, 48), {"task": "inpaint", "preset": "original-inpaint-hole"}),
    ],
    ids=str,
)
def test_whatever_can_be_restored_can_be_estimated(shape: tuple[int, ...], arguments: dict) -> None:
    cost = napari_dip.estimate(shape, **{**SMALL, **arguments})
    assert cost.memory > 0
    assert cost.seconds > 0


@pytest.mark.parametrize(
    "knobs", [dict(SMALL, scales=3, channels=32), dict(SELF, channels=32)], ids=["prior", "self-guided"]
)
def test_axes_that_are_coarser_are_halved_later(knobs: dict) -> None:
    def cost_of(*voxel_size: float) -> Cost:
        return napari_dip.estimate((24, 32, 32), **knobs, voxel_size=voxel_size)

    assert cost_of(1, 1, 1) == napari_dip.estimate((24, 32, 32), **knobs)
    assert cost_of(4, 1, 1).memory != cost_of(1, 1, 1).memory
    assert cost_of(4, 1, 1) == cost_of(2, 0.5, 0.5)
    run = napari_dip.iterate("denoise", picture(24, 32, 32), **knobs, voxel_size=(4, 1, 1))
    assert run.cost.memory == pytest.approx(cost_of(4, 1, 1).memory, rel=0.1)  # of other noise


def test_the_voxels_of_the_result_count() -> None:
    knobs = {**SMALL, "task": "superresolve", "factor": (4, 1, 1), "preset": "superresolve-small", "channels": 32}
    whole = napari_dip.estimate((6, 32, 32), **knobs)
    assert napari_dip.estimate((6, 32, 32), **knobs, voxel_size=(4, 1, 1)) == whole
    assert napari_dip.estimate((6, 32, 32), **knobs, voxel_size=(1, 1, 1)) != whole


def test_voxels_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="voxel_size=.*each of the 2 spatial axes"):
        napari_dip.estimate((64, 64), voxel_size=(1, 1, 1))


RECORDED = json.loads((Path(__file__).parents[2] / "benchmarks/results/memory.json").read_text())["runs"]


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: f"{row['shape']} {row['asked']}")
def test_the_estimate_is_what_was_measured(row: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """In processes that had restored nothing, when every optimiser imported the compiler."""
    monkeypatch.setattr(cost, "code_to_load", lambda method: cost.LIBRARIES + cost.COMPILER)
    assert napari_dip.estimate(row["shape"], **row["asked"]).memory == pytest.approx(row["measured"], rel=0.15)


_MEASURE = """
import numpy as np
from napari_dip import iterate
def resident(line):
    return int(next(l for l in open("/proc/self/status") if l.startswith(line)).split()[1]) * 1024
image = np.random.default_rng(0).poisson(20 + 10 * np.sin(np.indices((160, 160)).sum(0) / 7)).astype(np.float32)
before = resident("VmRSS")
for _ in iterate("denoise", image, **{0}): pass
print(resident("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_the_estimate_is_what_a_process_takes() -> None:
    """A process in thirty takes far more than the others, of the same: one of three counts, and mostly one is all."""
    knobs = {"preset": "denoise-small", "device": "cpu", "iterations": 2, "threads": 1}
    said = napari_dip.estimate((160, 160), **knobs).memory
    command = [sys.executable, "-c", _MEASURE.replace("{0}", repr(knobs))]
    taken: list[int] = []
    for _ in range(3):
        taken.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
        if said == pytest.approx(taken[-1], rel=0.2):
            return
    pytest.fail(f"{said} bytes are said, {taken} were taken")


def test_neither_an_estimate_nor_a_run_by_our_optimisers_imports_a_compiler() -> None:
    """That takes seconds, and with it would come triton, whose LLVM a window does not survive."""
    code = (
        "import sys, numpy as np, napari_dip\n"
        "from napari_dip import PRESETS, Settings\n"
        "from napari_dip.core import cost\n"
        "def compiler(): return [name for name in ('torch._dynamo', 'sympy', 'triton') if name in sys.modules]\n"
        "for shape in ((64, 64), (8, 32, 32)):\n"
        "    for preset in PRESETS: napari_dip.estimate(shape, PRESETS[preset], device='cpu')\n"
        "print(compiler())\n"
        "tiny = dict(iterations=2, stop='iterations', channels=4, scales=2, runs=1, device='cpu', progress=False)\n"
        "image = np.random.default_rng(0).normal(100, 5, (32, 32)).astype(np.float32)\n"
        "napari_dip.denoise(image, preset='denoise-self', crop=16, **tiny)\n"
        "for optimiser in ('adam', 'sgld'):\n"
        "    napari_dip.denoise(image, preset='denoise-small', optimiser=optimiser, **tiny)\n"
        "napari_dip.superresolve(image, 2, preset='denoise-small', refine=2, **tiny)\n"
        "print(compiler())\n"
        "for knobs in ({'optimiser': 'muon'}, {}, {'optimiser': 'lbfgs'}, {'recompute': 'on'}):\n"
        "    print((cost.code_to_load(Settings(**knobs).method) - cost.LIBRARIES) // cost.COMPILER)"
    )
    made = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout == "[]\n[]\n0\n0\n1\n1\n"


# ------------------------------------------------------------------------------------------------------- what is free


def test_some_memory_is_free() -> None:
    assert memory.free("cpu") > 2**20


@pytest.mark.parametrize(
    ("line", "folder", "names"),
    [
        ("0::/job", "job", ("memory.max", "memory.current", "inactive_file")),
        ("0::/job/step", "job", ("memory.max", "memory.current", "inactive_file")),
        ("4:memory:/job", "memory/job", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")),
    ],
)
def test_the_limit_of_a_control_group_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, folder: str, names: tuple[str, str, str]
) -> None:
    group = tmp_path / "fs" / folder
    group.mkdir(parents=True)
    (group / names[0]).write_text("1000000\n")
    (group / names[1]).write_text("700000\n")
    (group / "memory.stat").write_text(f"anon 5\n{names[2]} 100000\n")
    (tmp_path / "groups").write_text(f"3:cpu:/other\n{line}\n")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "_MOUNT", tmp_path / "fs")
    assert memory.free("cpu") == 400000


def test_a_group_without_a_limit_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = memory.free("cpu")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "groups").write_text("0::/\n")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "_MOUNT", tmp_path)
    assert memory.free("cpu") > before / 2


# ------------------------------------------------------------------------------------------------------------- in words


@pytest.mark.parametrize(
    ("size", "words"), [(1.23e9, "1.2 GB"), (345e6, "345 MB"), (12e3, "12 kB"), (99.6e9, "100 GB"), (5.5e6, "5.5 MB")]
)
def test_a_size_in_words(size: float, words: str) -> None:
    assert in_bytes(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.1 s"), (4.2, "4 s"), (9.7, "10 s"), (42.2, "42 s"), (170, "2.8 min"), (598, "10 min"), (8000, "2.2 h")],
)
def test_a_time_in_words(seconds: float, words: str) -> None:
    assert in_time(seconds) == words


def test_a_cost_is_a_sentence() -> None:
    assert str(Cost(1_200_000_000, 40)) == "about 1.2 GB and 40 s"


# ------------------------------------------------------------------------------------------------------ what cannot fit


def test_what_cannot_fit_is_refused_with_a_remedy() -> None:
    with pytest.raises(MemoryError, match="factor.*fewer channels"):
        napari_dip.iterate("superresolve", picture(64, 64), factor=1000, device="cpu", tile=64)


def test_what_does_not_fit_whole_is_fitted_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, tiles = bytes_of(300, 300), bytes_of(300, 300, tile=128)
    assert tiles < whole
    monkeypatch.setattr(memory, "free", lambda device: (whole + tiles) / 2)
    with pytest.warns(UserWarning, match="tile="):
        run = napari_dip.iterate("denoise", picture(300, 300), **{**SMALL, "iterations": 1}, recompute="off")
    for _ in run:
        pass
    assert 128 <= run.result.settings.tile < 300
    assert bytes_of(300, 300) == bytes_of(300, 300, tile=run.result.settings.tile)
    monkeypatch.setattr(memory, "free", lambda device: 1)
    assert bytes_of(300, 300) == whole  # nothing fits


def test_tiles_for_want_of_memory_share_little() -> None:
    """Two fifths of the image at the most, whatever its shape: nine tiles of 1024 would be 2.25 times 2048x2048."""
    for shape in ((300, 300), (2048, 2048), (2048, 1100), (3840, 2160), (2500, 100), (40, 256, 256)):
        setup: Setup | None = Setup(napari_dip.Settings(), Device("cpu", ""), shape, open=frozenset({"tile"}))
        while setup := setup.with_less_memory():
            tiles = tiles_of(shape, setup.settings)
            assert len(tiles) * math.prod(tiles.tile) < 1.4 * math.prod(shape)


def test_a_large_image_that_a_prior_denoises_is_cut_where_it_would_take_more_than_is_ample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, tiles, hole = (
        bytes_of(300, 300),
        bytes_of(300, 300, tile=160),
        {"preset": "inpaint-small", "task": "inpaint"},
    )
    filled = bytes_of(300, 300, **hole)
    monkeypatch.setattr(costs, "AMPLE", (whole + tiles) / 2)
    assert bytes_of(300, 300) == tiles
    assert bytes_of(300, 300, tile=300) == whole  # as it was asked for
    assert bytes_of(300, 300, **hole) == filled  # a hole may be as large as a tile
    monkeypatch.setattr(costs, "AMPLE", 1)
    assert bytes_of(300, 300) == tiles  # the least that there is
    monkeypatch.setattr(costs, "AMPLE", (whole + tiles) / 2)
    run = napari_dip.iterate("denoise", picture(300, 300), **{**SMALL, "iterations": 1})
    for _ in run:
        pass
    assert run.result.settings.tile == 160
    assert not any("fitted" in warning for warning in run.result.warnings)


def test_tiles_that_the_user_chose_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = bytes_of(600, 600, tile=256)
    monkeypatch.setattr(memory, "free", lambda device: tiles / 2)
    with pytest.raises(MemoryError, match="a smaller tile"):
        napari_dip.iterate("denoise", picture(600, 600), **SMALL, tile=256)


@pytest.mark.parametrize(
    ("task", "more", "less"), [("denoise", {}, ""), ("superresolve", {"factor": 2}, "factor than 2")]
)
def test_a_wait_of_many_hours_is_said_before_it_with_what_would_shorten_it(task: str, more: dict, less: str) -> None:
    knobs = {**SMALL, **more, "channels": 16, "iterations": 1_000_000, "runs": 1000}
    with pytest.warns(UserWarning, match=rf"this takes about \d+ days on cpu.*{less}.* a GPU would take less"):
        run = napari_dip.iterate(task, picture(32, 32), **knobs)
    assert run.cost.seconds > costs.LONG


def test_who_goes_on_is_told_how_long_what_is_left_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "EPOCHS", (4, 4, 4))
    stack, shown = np.random.default_rng(0).normal(size=(4, 16, 16)), [0]
    knobs = {**SELF, "channels": 4, "scales": 2, "crop": 16, "batch": 2, "leading_axes": 1, "read_noise": 1, "gain": 0}
    run = napari_dip.iterate("denoise", stack, **knobs, interval=0, should_stop=lambda: shown[-1] == 3)
    shown.extend(progress.slice for progress in run)
    monkeypatch.setattr(costs, "LONG", run.cost.seconds / 2)
    with pytest.warns(UserWarning, match="this takes about"):
        napari_dip.iterate("denoise", stack, **knobs)
    napari_dip.iterate("denoise", stack, **knobs, resume=run.result)  # the last of its slices


@pytest.mark.parametrize(
    ("image", "knobs"),
    [
        (picture(20, 24), {**SMALL, "iterations": 7}),
        (picture(20, 24), {**SELF, "iterations": 4000}),
        (picture(20, 24), {**SELF, "iterations": 7}),
        (picture(20, 24), {**SELF, "iterations": 4000, "stop": "iterations"}),
        (picture(120, 120), {**SELF, "iterations": 4000, "crop": 16, "tile": 80}),
        (picture(6, 20, 24), {**SELF, "iterations": 4000}),
    ],
)
def test_the_most_iterations_are_those_that_a_run_may_take(image: np.ndarray, knobs: dict) -> None:
    rng, camera = np.random.default_rng(0), {"gain": 0.0, "offset": 0.0, "read_noise": 0.1}
    with contextlib.closing(
        napari_dip.iterate("denoise", image + 0.1 * rng.normal(size=image.shape), interval=0, **camera, **knobs)
    ) as run:
        said = next(run).iterations
    settings = settings_here("denoise", **knobs)
    assert costs.iterations_at_most(settings, image.shape) == said


@pytest.mark.usefixtures("rates")
def test_what_shines_beyond_the_border_counts() -> None:
    far, near = (napari_dip.estimate((64, 64), psf=psf, **SMALL, task="deconvolve") for psf in (8.0, 0.5))
    assert far.seconds > 1.1 * near.seconds
    far, near = (napari_dip.estimate((640, 640), psf=psf, **SMALL, task="deconvolve", tile=320) for psf in (8.0, 0.5))
    assert far.memory > near.memory


@pytest.mark.parametrize("shape", [(96,), (0, 96), 512, (4, 4, 4, 4), (96.5, 96), "denoise"])
def test_a_shape_that_is_none_is_refused(shape: Any) -> None:
    with pytest.raises(ValueError, match="shape="):
        napari_dip.estimate(shape)


@pytest.mark.parametrize("leading_axes", [-1, 3, 1.0, True, "t"])
def test_leading_axes_that_are_none_are_refused(leading_axes: Any) -> None:
    with pytest.raises(ValueError, match=f"leading_axes={leading_axes} must be a whole number from 0 to 1"):
        napari_dip.estimate((3, 64, 64), leading_axes=leading_axes)


def test_an_image_in_place_of_its_shape_is_refused_in_a_line() -> None:
    with pytest.raises(TypeError, match=r"^shape is a ndarray of 2 axes; give image\.shape, not the image$"):
        napari_dip.estimate(np.zeros((64, 64)))  # type: ignore[arg-type]


def test_channels_lie_along_an_axis_that_the_image_has() -> None:
    with pytest.raises(ValueError, match=r"^channel_axis=5 is not an axis of an image of shape \(3, 64, 64\)$"):
        napari_dip.estimate((3, 64, 64), channel_axis=5)


def test_the_task_is_no_setting() -> None:
    with pytest.raises(TypeError, match="task='inpaint'"):
        napari_dip.estimate((64, 64), "superresolve")  # type: ignore[arg-type]


def test_the_knob_noise_is_no_noise() -> None:
    assert napari_dip.estimate((64, 64), **SMALL, noise="impulse").memory > 0


def test_missing_pixels_that_patches_foretell_take_time_behind_a_prior_and_less_alone() -> None:
    work = {}
    for method in (Prior(iterations=0, refine=8, precision="float32"), Patches(refine=8)):
        for filled in (False, True):
            fit = FITTERS[type(method)].cost(method, (1, 64, 64), cost.TYPICAL, None, cpu=True, filled=filled)
            work[type(method), filled] = (fit.work + fit.once)[2]  # operations
    assert 1.3 < work[Prior, True] / work[Prior, False] < 1.8
    assert 0.4 < work[Patches, True] / work[Patches, False] < 0.8


def test_a_plan_knows_of_missing_pixels() -> None:
    image, holes = picture(32, 32), np.zeros((32, 32), bool)
    holes[4:8, 4:8] = True

    def operations(task: str, mask: np.ndarray | None, **more: Any) -> float:
        knobs = {**TINY, "code": "uniform", "refine": 8, "stop": "iterations"}
        knobs = more if "code" in more else {**knobs, **more}
        return costs.cost_of(napari_dip.iterate(task, image, mask, **knobs).plan, np.array([0, 0, 1.0, 0])).seconds

    assert operations("denoise", holes) > 1.01 * operations("denoise", None)
    everywhere = np.indices(image.shape).sum(0) % 2 > 0
    assert operations("denoise", everywhere) > 1.1 * operations("denoise", holes)
    assert operations("inpaint", everywhere, code="patches") > 2 * operations("inpaint", holes, code="patches")
    assert operations("superresolve", holes, factor=2) == operations("superresolve", None, factor=2)
