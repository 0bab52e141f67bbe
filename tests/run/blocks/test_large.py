"""Arrays of any size, block by block: the same image whatever happens on the way, in the memory of a block."""

from __future__ import annotations

import errno
import itertools
import json
import pickle
import shutil
import signal
import subprocess
import sys
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from filelock import FileLock

from napari_dip import Settings, denoise, estimate_noise, iterate_blocks, restore_blocks
from napari_dip.command.options import parse
from napari_dip.core.tiling import Tiling, seed_at
from napari_dip.io.arrays import open_source
from napari_dip.io.ngff import Calibration
from napari_dip.plan.plan import Plan
from napari_dip.plan.request import read_request
from napari_dip.run.blocks import blocks
from napari_dip.run.blocks.ledger import KEY, Ledger
from napari_dip.run.blocks.order import read_order
from napari_dip.run.blocks.record import AnotherRun
from napari_dip.run.blocks.restore import BlockProgress, Restored
from napari_dip.run.fits import Unfitted
from napari_dip.tables.method import settings_for
from napari_dip.trust import noise_control
from tests.bad_inputs import QUICK
from tests.core.tiny import noisy

PRIOR: dict[str, Any] = {**QUICK, "preset": "denoise-small", "client": False}


def stack(*shape: int) -> np.ndarray:
    *lead, height, width = shape
    count = int(np.prod(lead, dtype=int))
    slices = [100 + 50 * noisy(height, width, seed=i) for i in range(count)]
    return np.rint(slices).astype(np.uint16).reshape(shape)


def saved(values: np.ndarray, path: Path) -> str:
    chunks = (*[1] * (values.ndim - 2), *values.shape[-2:])
    zarr.create_array(path, shape=values.shape, dtype=values.dtype, chunks=chunks)[:] = values
    return str(path)


def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans of the blocks that are fitted from now on."""
    seen, plain = list[Plan](), blocks.Fit
    monkeypatch.setattr(blocks, "Fit", lambda plan, *rest, **how: seen.append(plan) or plain(plan, *rest, **how))
    return seen


def finish(steps: Any) -> tuple[list[BlockProgress], Restored]:
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return seen, end.value


# ------------------------------------------------------------------------------------------------------- what comes out


def test_a_block_is_a_fit_with_the_scaling_and_noise_of_the_whole_and_a_seed_of_its_place(tmp_path: Path) -> None:
    values = stack(2, 3, 20, 24)
    restored = restore_blocks("denoise", saved(values, tmp_path / "in.zarr"), tmp_path / "out.zarr", **PRIOR)
    assert restored.complete
    limits = (float(values.min()), float(values.max()))
    assert restored.record["intensity_range"] == list(limits)
    knobs = {name: value for name, value in PRIOR.items() if name != "client"}
    single = denoise(values[1, 2], intensity_range=limits, seed=seed_at(0, (1, 2, 0, 0)), **knobs)
    np.testing.assert_array_equal(restored.array[1, 2], single.image)


def test_the_maps_of_a_block_are_those_of_its_fit(tmp_path: Path) -> None:
    values, asked = stack(2, 20, 24), {"uncertainty": True, "residual": True}
    restored = restore_blocks("denoise", values, tmp_path / "out.zarr", **PRIOR, **asked)
    limits, knobs = restored.record["intensity_range"], {k: v for k, v in PRIOR.items() if k != "client"}
    single = denoise(values[1], intensity_range=limits, seed=seed_at(0, (1, 0, 0)), uncertainty=True, **knobs)
    np.testing.assert_array_equal(restored.uncertainty[1], single.uncertainty)
    np.testing.assert_array_equal(restored.residual[1], single.residual)
    opened = open_source(tmp_path / "out.zarr" / "uncertainty")
    assert (opened.shape, opened.calibration.axes) == ((2, 20, 24), open_source(tmp_path / "out.zarr").calibration.axes)
    plain = restore_blocks("denoise", values, tmp_path / "plain.zarr", **PRIOR)
    np.testing.assert_array_equal(plain.array[:], restored.array[:])
    assert plain.uncertainty is plain.residual is None
    again = restore_blocks("denoise", values, tmp_path / "out.zarr", **PRIOR, overwrite=True)
    assert again.residual is None


def test_maps_are_blended_have_levels_and_go_on_after_a_stop(tmp_path: Path) -> None:
    image, mask = 100 + 50 * noisy(70, 72), np.zeros((70, 72), np.uint8)
    image[5:9, 30:40], mask[40:44, 4:20] = np.nan, 1
    knobs = {**PRIOR, "tile": 40, "overlap": 8, "uncertainty": True, "residual": True, "runs": 2}
    whole = restore_blocks("denoise", image, tmp_path / "whole.zarr", mask, **knobs)
    asked = iter([False] * 30 + [True] * 1000)
    broken = "denoise", image, tmp_path / "broken.zarr", mask
    assert not restore_blocks(*broken, should_stop=lambda: next(asked), **knobs).complete
    again = restore_blocks(*broken, **knobs)
    assert again.complete
    for name in ("array", "uncertainty", "residual"):
        np.testing.assert_array_equal(getattr(whole, name)[:], getattr(again, name)[:])
    missing = np.isnan(image) | (mask > 0)
    np.testing.assert_array_equal(np.isnan(whole.residual[:]), missing)
    np.testing.assert_allclose((image - whole.array[:])[~missing], whole.residual[:][~missing], atol=20)
    assert (whole.uncertainty[:] > 0).all()


@pytest.mark.parametrize("axis", [1, -4])
def test_channels_are_restored_together_along_any_leading_axis(tmp_path: Path, axis: int) -> None:
    values, asked = stack(2, 3, 2, 20, 24), {"uncertainty": True, "residual": True, "channel_axis": axis}
    mask = np.random.default_rng(0).random((2, 2, 20, 24)) < 0.1  # lacks the channels
    restored = restore_blocks(
        "denoise", saved(values, tmp_path / "in.zarr"), tmp_path / "a.zarr", mask, **PRIOR, **asked
    )
    knobs = {name: value for name, value in PRIOR.items() if name != "client"} | {"uncertainty": True}
    knobs |= {"intensity_range": restored.record["intensity_range"], "seed": seed_at(0, (1, 0, 1, 0, 0))}
    single = denoise(values[1, :, 1], mask[1, 1], channel_axis=0, **knobs)
    assert restored.record["blocks"] == 4
    np.testing.assert_array_equal(restored.array[1, :, 1], single.image)
    np.testing.assert_array_equal(restored.uncertainty[1, :, 1], single.uncertainty)
    np.testing.assert_array_equal(restored.residual[1, :, 1], single.residual)
    with pytest.raises(AnotherRun, match="channel_axis: 1 -> left out, the mask: given -> left out"):
        restore_blocks("denoise", tmp_path / "in.zarr", tmp_path / "a.zarr", **{**PRIOR, **asked, "channel_axis": None})


def test_tiles_of_channels_are_blended_and_go_on_after_a_stop(tmp_path: Path) -> None:
    values, knobs = stack(2, 40, 44), {**PRIOR, "channel_axis": 0, "tile": 24, "overlap": 8}
    asked = iter([False] * 12 + [True] * 1000)
    broken = "denoise", values, tmp_path / "broken.zarr"
    assert not restore_blocks(*broken, should_stop=lambda: next(asked), **knobs).complete
    again, whole = (
        restore_blocks("denoise", values, tmp_path / f"{name}.zarr", **knobs) for name in ("broken", "whole")
    )
    np.testing.assert_array_equal(again.array[:], whole.array[:])
    knobs = {name: value for name, value in PRIOR.items() if name != "client"}
    alone = denoise(
        values[:, :24, :24],
        channel_axis=0,
        intensity_range=whole.record["intensity_range"],
        seed=seed_at(0, (0, 0, 0)),
        **knobs,
    ).image
    np.testing.assert_allclose(whole.array[:, :16, :10], alone[:, :16, :10], rtol=1e-5)  # no other tile has a share


@pytest.mark.parametrize("kind", ["memory", "zarr", "dask"])
def test_a_guide_is_scaled_as_a_whole_and_cut_with_the_margin_of_each_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    seen = plans(monkeypatch)
    values, guide = stack(20, 44), np.random.default_rng(1).random((40, 88))
    guide[3, 5], guide[9, 9] = np.nan, 7
    given = {
        "memory": guide,
        "zarr": saved(guide, tmp_path / "guide.zarr"),
        "dask": da.from_array(guide, chunks=(7, 9)),
    }
    knobs = {**PRIOR, "preset": "auto", "code": "guide", "tile": 16, "overlap": 4, "factor": 2, "psf": 1.0}
    restored = restore_blocks("superresolve", values, tmp_path / "out.zarr", guide=given[kind], **knobs)
    request = read_request("superresolve", values, guide=guide, factor=2, psf=1.0)
    assert max(request.margin) > 1
    assert request.guide is not None
    parts = [plan.request.guide for plan in seen]
    assert len(parts) == 8
    corners = tuple(map(tuple, restored.record["tiles"]["corners"]))
    for tile, part in zip(Tiling((20, 44), (16, 16), corners), parts, strict=True):
        place = tuple(slice(2 * s.start, 2 * s.stop + 2 * m) for s, m in zip(tile, request.margin, strict=True))
        np.testing.assert_allclose(part, request.guide[:, *place], rtol=1e-6)
    again = restore_blocks("superresolve", values, tmp_path / "out.zarr", guide=given[kind], **knobs)
    assert again.stop_reason == "was finished before"
    with pytest.raises(AnotherRun, match="the guide: another one"):
        restore_blocks("superresolve", values, tmp_path / "out.zarr", guide=guide + 1, **knobs)


def test_each_slice_may_have_a_guide_of_its_own(tmp_path: Path) -> None:
    values, guide = stack(2, 20, 24), np.random.default_rng(1).random((2, 20, 24))
    guide[0].flat[:2], guide[1].flat[:2] = (0, 1), (0, 1)
    restored = restore_blocks("denoise", values, tmp_path / "out.zarr", guide=guide, code="guide", **PRIOR)
    knobs = {name: value for name, value in PRIOR.items() if name != "client"} | {"code": "guide", "guide": guide[1]}
    knobs |= {"intensity_range": restored.record["intensity_range"], "seed": seed_at(0, (1, 0, 0))}
    np.testing.assert_array_equal(restored.array[1], denoise(values[1], **knobs).image)
    with pytest.raises(ValueError, match="guide shows nothing"):
        restore_blocks("denoise", values, tmp_path / "flat.zarr", guide=guide * 0, code="guide", **PRIOR)


def test_a_residual_is_on_the_grid_of_the_measurement(tmp_path: Path) -> None:
    knobs = {**PRIOR, "preset": "auto", "factor": 2, "tile": 16, "overlap": 4, "uncertainty": True, "residual": True}
    restored = restore_blocks("superresolve", stack(1, 20, 24)[0], tmp_path / "out.zarr", **knobs)
    assert (restored.array.shape, restored.uncertainty.shape) == ((40, 48), (40, 48))
    assert restored.residual.shape == (20, 24)
    scales = [open_source(tmp_path / "out.zarr" / name).calibration.scale for name in ("", "uncertainty", "residual")]
    assert scales == [(0.5, 0.5), (0.5, 0.5), (1, 1)]


def test_a_block_without_a_verdict_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> Any:
        raise RuntimeError("on purpose")

    monkeypatch.setattr("napari_dip.run.doubts.judge", none)
    restored = restore_blocks("denoise", stack(20, 24), tmp_path / "out.zarr", **PRIOR)
    assert restored.complete
    assert (restored.record["blocks"], restored.record["residuals_judged"]) == (1, 0)
    assert not restored.verdicts


@pytest.mark.parametrize(
    ("task", "words"),
    [("denoise", "Structure of the sample was removed"), ("inpaint", "The fits that fill the holes lack structure")],
)
def test_of_pixels_that_are_kept_no_verdict_says_that_they_were_removed(task: str, words: str, tmp_path: Path) -> None:
    mask = np.zeros((2, 20, 24), np.uint8)
    mask[:, 4:9, 4:9] = 1
    restored = restore_blocks(task, stack(2, 20, 24), tmp_path / "out.zarr", mask, **PRIOR)
    assert restored.verdicts == f"{words} in {restored.record['residuals_with_structure']} of 2 blocks."


def test_blocks_at_once_are_those_of_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values, seen = stack(4, 20, 24), plans(monkeypatch)
    values[1] = 100
    begun = list[int]()
    for progress in iterate_blocks("denoise", values, tmp_path / "three.zarr", **PRIOR, at_once=3):
        begun += [len(seen)] * (progress.step == "fit" and progress.done == 2)  # one of one value, and the first fit
    assert begun[0] == 3
    alone = restore_blocks("denoise", values, tmp_path / "alone.zarr", **PRIOR)
    again = restore_blocks("denoise", values, tmp_path / "three.zarr", **PRIOR)
    assert again.stop_reason == "was finished before"  # by a call that had it otherwise
    np.testing.assert_array_equal(again.array[:], alone.array[:])


@pytest.mark.parametrize("kind", ["path", "zarr", "dask", "memory"])
def test_all_kinds_of_arrays_give_the_same(tmp_path: Path, kind: str) -> None:
    values = stack(3, 20, 24)
    path = saved(values, tmp_path / "in.zarr")
    sources = {
        "path": path,
        "zarr": zarr.open_array(path, mode="r"),
        "dask": da.from_array(values, chunks=(2, 11, 13)),
        "memory": values,
    }
    expected = restore_blocks("denoise", path, tmp_path / "expected.zarr", **PRIOR).array[:]
    restored = restore_blocks("denoise", sources[kind], tmp_path / "out.zarr", **PRIOR)
    np.testing.assert_array_equal(restored.array[:], expected)


def test_tiles_are_blended_and_the_pyramid_is_the_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_dip.io.zarrwriter._SMALLEST", 16)
    monkeypatch.setattr("napari_dip.io.zarrwriter._CHUNK", {2: (16, 32), 3: (8, 16, 16)})
    values = stack(2, 40, 50)
    restored = restore_blocks(
        "denoise", saved(values, tmp_path / "in.zarr"), tmp_path / "out.zarr", tile=24, overlap=8, **PRIOR
    )
    image = restored.array[:]
    assert np.isfinite(image).all()
    limits, knobs = tuple(restored.record["intensity_range"]), {k: v for k, v in PRIOR.items() if k != "client"}
    alone = denoise(values[1, :24, :24], intensity_range=limits, seed=seed_at(0, (1, 0, 0)), **knobs).image
    np.testing.assert_allclose(image[1, :16, :13], alone[:16, :13], rtol=1e-5)  # where no other tile has a share
    group = zarr.open_group(tmp_path / "out.zarr", mode="r")
    assert sorted(group.keys()) == ["0", "1"]
    np.testing.assert_allclose(group["1"][:], image.reshape(2, 20, 2, 25, 2).mean((2, 4)), rtol=1e-5)


def test_volumes_are_blocks_in_three_dimensions(tmp_path: Path) -> None:
    values = stack(2, 5, 20, 36)
    restored = restore_blocks(
        "denoise",
        saved(values, tmp_path / "in.zarr"),
        tmp_path / "out.zarr",
        leading_axes=1,
        tile=20,
        overlap=4,
        **{**PRIOR, "scales": 1},
    )
    assert restored.array.shape == (2, 5, 20, 36)
    assert np.isfinite(restored.array[:]).all()
    assert restored.record["blocks"] == 4


def test_holes_are_filled_and_known_pixels_kept_bit_by_bit(tmp_path: Path) -> None:
    values, mask = stack(2, 20, 44), np.zeros((20, 44), bool)
    mask[4:8, 20:26] = True
    restored = restore_blocks(
        "inpaint",
        saved(values, tmp_path / "in.zarr"),
        tmp_path / "out.zarr",
        mask,
        tile=24,
        overlap=8,
        output_dtype="input",
        **QUICK,
        client=False,
    )
    image = restored.array[:]
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image[:, ~mask], values[:, ~mask])
    assert (image[:, mask] != values[:, mask]).any()


def test_what_is_not_known_at_all_stays_empty(tmp_path: Path) -> None:
    values = stack(3, 20, 24).astype(np.float32)
    values[1] = np.nan
    restored = restore_blocks("denoise", values, tmp_path / "out.zarr", **PRIOR)
    assert np.isfinite(restored.array[::2]).all()
    assert np.isnan(restored.array[1]).all()


def test_free_memory_has_no_say_in_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is one fit where there is room is not fitted in tiles where there is little: a run may go on there."""
    seen = plans(monkeypatch)
    restore_blocks("denoise", stack(20, 24), tmp_path / "out.zarr", **PRIOR)
    assert [plan.settings.tile for plan in seen] == [24]


def test_the_control_of_blocks_is_a_fit_of_noise_in_place_of_one(tmp_path: Path) -> None:
    values = stack(2, 20, 24)
    values[0] = 100  # one value: nothing is fitted
    restored = restore_blocks("denoise", values, tmp_path / "out.zarr", **PRIOR)
    control = noise_control(restored, progress=False)
    found = restored.record["noise"]
    assert control.image.shape == control.observation.shape == (20, 24)
    assert control.observation.std() == pytest.approx(found["sigma"], rel=0.2)
    assert control.observation.mean() == pytest.approx(restored.record["level"], rel=0.05)
    assert control.invention.strength > 0
    again = restore_blocks("denoise", values, tmp_path / "out.zarr", **PRIOR)
    assert again.stop_reason == "was finished before"
    np.testing.assert_array_equal(noise_control(again, progress=False).image, control.image)
    stopped = restore_blocks("denoise", values, tmp_path / "none.zarr", should_stop=lambda: True, **PRIOR)
    with pytest.raises(ValueError, match="not complete"):
        noise_control(stopped)
    with pytest.raises(TypeError, match="ndarray"):
        noise_control(values)  # type: ignore[arg-type]


def test_the_control_of_filled_holes_looks_into_them_alone(tmp_path: Path) -> None:
    values, mask = stack(2, 20, 24), np.zeros((2, 20, 24), np.uint8)
    mask[1, 4:9, 4:9] = 1
    restored = restore_blocks("inpaint", values, tmp_path / "out.zarr", mask, **{**PRIOR, "preset": "auto"})
    control = noise_control(restored, progress=False)
    assert control.invention.counts == pytest.approx(control.image[4:9, 4:9].std())


# -------------------------------------------------------------------------------------------------------- calibration


def ome_zarr(values: np.ndarray, path: Path, form: int) -> Path:
    axes = [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    steps = [{"type": "scale", "scale": [2.0, 0.5, 0.25]}, {"type": "translation", "translation": [0.0, 10.0, 20.0]}]
    image = {"axes": axes, "datasets": [{"path": "full", "coordinateTransformations": steps}]}
    omero = {"channels": [{"label": "GFP", "color": "00FF00", "window": {"start": 0, "end": 9, "min": 0, "max": 9}}]}
    ome = {"version": "0.5", "multiscales": [image], "omero": omero}
    attributes = {"ome": ome} if form == 3 else {"multiscales": [{"version": "0.4", **image}], "omero": omero}
    group = zarr.create_group(path, zarr_format=form, attributes=attributes)
    group.create_array("full", shape=values.shape, dtype=values.dtype)[:] = values
    return path


@pytest.mark.parametrize("form", [2, 3])
def test_calibration_carries_over_and_superresolution_refines_it(tmp_path: Path, form: int) -> None:
    path = ome_zarr(stack(2, 16, 20), tmp_path / "in.zarr", form)
    restored = restore_blocks("superresolve", path, tmp_path / "out.zarr", factor=(2, 4), client=False, **QUICK)
    assert restored.array.shape == (2, 32, 80)
    assert restored.array.metadata.zarr_format == form
    found = open_source(tmp_path / "out.zarr").calibration
    assert (found.axes, found.units) == ("tyx", ("second", "micrometer", "micrometer"))
    assert found.scale == (2.0, 0.25, 0.0625)
    assert found.translation == (0.0, 10 - 0.5 / 4, 20 - 0.25 * 3 / 8)
    assert found.omero["channels"][0]["label"] == "GFP"
    attributes = dict(zarr.open_group(tmp_path / "out.zarr", mode="r").attrs)
    ome = attributes["ome"] if form == 3 else attributes
    (image,) = ome["multiscales"]
    assert (ome if form == 3 else image)["version"] == {2: "0.4", 3: "0.5"}[form]
    assert all(len(d["coordinateTransformations"]) == 2 for d in image["datasets"])
    if form == 3:
        assert restored.array.metadata.dimension_names == ("t", "y", "x")


def test_each_level_has_the_outline_of_the_finest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_dip.io.zarrwriter._SMALLEST", 8)
    calibration = Calibration(axes="yx", scale=(0.5, 0.5), translation=(3.0, 4.0), units=("micrometer",) * 2)
    restored = restore_blocks("denoise", stack(32, 40), tmp_path / "out.zarr", calibration=calibration, **PRIOR)
    (image,) = zarr.open_group(restored.path, mode="r").attrs["ome"]["multiscales"]
    outlines = []
    for dataset in image["datasets"]:
        scale, translation = (np.array(list(step.values())[1]) for step in dataset["coordinateTransformations"])
        outlines.append(translation - scale / 2)
    assert len(outlines) == 3
    np.testing.assert_allclose(outlines, [outlines[0]] * 3)


# ------------------------------------------------------------------------------------------------ stopping, going on

#: Stays where three pieces of a step are done, and in the middle of a fourth if it can, until it is killed.
SCRIPT = """
import sys, json, torch
from napari_dip import iterate_blocks
torch.set_num_threads(1)
source, target, step, knobs = sys.argv[1:]
for progress in iterate_blocks("denoise", source, target, interval=0, **json.loads(knobs)):
    if progress.step == step and progress.done >= 3 and (progress.block or step != "fit"):
        print("is there", flush=True)
        sys.stdin.read()
"""


def start(*arguments: Any) -> subprocess.Popen[bytes]:
    """A process that has come there."""
    words = [sys.executable, "-c", SCRIPT, *map(str, arguments[:3]), json.dumps(arguments[3])]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline(), "ended before it could be killed"
    return process


TILES = {**PRIOR, "tile": 24, "overlap": 8, "optimiser": "muon"}  # which a new process fits by without a compiler


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """Path of four slices, and their restoration by `TILES` in one go."""
    folder = tmp_path_factory.mktemp("unbroken")
    source = saved(stack(4, 24, 40), folder / "in.zarr")
    return source, restore_blocks("denoise", source, folder / "out.zarr", **TILES)


@pytest.mark.parametrize("step", ["fit", "blend"])
def test_a_killed_run_goes_on_and_ends_with_the_same_image(
    tmp_path: Path, step: str, unbroken: tuple[str, Any]
) -> None:
    (source, whole), target, knobs = unbroken, tmp_path / "out.zarr", TILES
    process, ledger = start(source, target, step, knobs), Ledger(target)
    with pytest.raises(BlockingIOError, match="being written"):
        restore_blocks("denoise", source, target, **knobs)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = ledger.done(step)
    seen, restored = finish(iterate_blocks("denoise", source, target, **knobs))  # the lock ended with the process
    first = next(progress for progress in seen if progress.step == step)
    assert 3 <= first.done == len(done) < first.count
    assert restored.complete
    np.testing.assert_array_equal(restored.array[:], whole.array[:])
    assert not (target / KEY).exists()
    assert restored.record["iterations"] == whole.record["iterations"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("step", ["measure", "fit"])
def test_two_calls_never_write_one_target(tmp_path: Path, step: str, overwrite: bool) -> None:
    values, target = stack(3, 20, 24), tmp_path / "out.zarr"
    steps = iterate_blocks("denoise", values, target, **PRIOR)
    while next(steps).step != step:
        pass
    with pytest.raises(BlockingIOError, match=r"target=.*out.zarr is being written by another run: wait.*name another"):
        restore_blocks("denoise", values, target, overwrite=overwrite, **PRIOR)
    with ThreadPoolExecutor(1) as other:  # as a window does: another thread than that which began it
        other.submit(steps.close).result()
    assert restore_blocks("denoise", values, target, overwrite=overwrite, **PRIOR).complete
    assert [each.name for each in tmp_path.iterdir()] == ["out.zarr"]


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(lock: FileLock) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with pytest.warns(UserWarning, match="No locks available.*no other run"):
        assert restore_blocks("denoise", stack(2, 20, 24), tmp_path / "out.zarr", **PRIOR).complete


def test_a_stop_keeps_the_blocks_that_are_done(tmp_path: Path) -> None:
    values, seen = stack(4, 20, 24), list[BlockProgress]()
    steps = iterate_blocks(
        "denoise", values, tmp_path / "out.zarr", should_stop=lambda: seen[-1:] != [] and seen[-1].done == 2, **PRIOR
    )
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            stopped = end.value
            break
        if progress.step == "fit":
            seen.append(progress)
    assert not stopped.complete
    assert "stopped by the user, with 2 of 4 pieces of the step 'fit' left" in stopped.stop_reason
    assert np.isfinite(stopped.array[:2]).all()
    assert np.isnan(stopped.array[2:]).all()
    restored = restore_blocks("denoise", values, tmp_path / "out.zarr", **PRIOR)
    whole = restore_blocks("denoise", values, tmp_path / "whole.zarr", **PRIOR)
    np.testing.assert_array_equal(restored.array[:], whole.array[:])


@pytest.mark.parametrize(
    ("which", "error"), [(2, MemoryError), (1, RuntimeError), (1, ValueError)], ids=["memory", "first", "value"]
)
def test_a_block_that_fails_is_left_out_and_tried_again(
    which: int, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, plain, calls = stack(4, 20, 24), blocks.Fit, []

    def fit(*args: Any, **how: Any) -> Any:
        calls.append(args)
        if len(calls) == which:
            raise error("on purpose")
        return plain(*args, **how)

    monkeypatch.setattr(blocks, "Fit", fit)
    failed, at = restore_blocks("denoise", values, tmp_path / "out.zarr", **PRIOR), which - 1
    assert f"restored 3 of 4 blocks; failed in 1: block {at} (z={at}): on purpose; the same" in failed.stop_reason
    assert [np.isfinite(failed.array[i]).all() for i in range(4)] == [i != at for i in range(4)]
    assert restore_blocks("denoise", values, tmp_path / "out.zarr", **PRIOR).complete
    assert len(calls) == 5


def test_the_refusal_of_another_run_names_what_differs_and_nothing_else(tmp_path: Path) -> None:
    values, target = stack(2, 20, 24), tmp_path / "out.zarr"
    knobs = {name: value for name, value in PRIOR.items() if name != "client"}
    settings = settings_for("denoise", on_cpu=True, **knobs)
    restore_blocks("denoise", values, target, client=False, settings=settings)

    def refusal(values: np.ndarray = values, **asked: Any) -> str:
        with pytest.raises(AnotherRun) as refused:
            restore_blocks("denoise", values, target, client=False, **asked)
        before, _, after = str(refused.value).partition(" (")
        assert before == f"{target} holds another run"
        told, _, remedy = after.partition("): ")
        assert remedy == "ask for the same again to go on with it, name another target, or overwrite it to begin anew"
        return told

    assert refusal(settings=settings.changed(iterations=4, seed=2)) == "iterations: 3 -> 4, seed: 0 -> 2"
    assert refusal(settings=settings, gain=2.5) == "gain: left out -> 2.5"
    assert refusal(**knobs).endswith("settings: given as a whole -> left out")
    assert refusal(values[:, :10], settings=settings) == "the source: (2, 20, 24) -> (2, 10, 24)"
    assert refusal(values.astype("f4"), settings=settings) == "the source: uint16 -> float32"
    assert refusal(values, mask=values > 150, settings=settings) == "the mask: left out -> given"
    assert refusal(voxel_size=(1, 2), settings=settings) == "voxel_size: left out -> given"


def test_what_fails_at_once_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: Any, **__: Any) -> Any:
        raise MemoryError("on purpose")

    monkeypatch.setattr(blocks, "Fit", fit)
    with pytest.raises(MemoryError, match="on purpose"):
        restore_blocks("denoise", stack(4, 20, 24), tmp_path / "out.zarr", **PRIOR)


def test_another_run_is_refused_and_a_finished_one_is_left(tmp_path: Path) -> None:
    values, target = stack(2, 20, 24), tmp_path / "out.zarr"
    first = restore_blocks("denoise", values, target, **PRIOR)
    assert restore_blocks("denoise", values, target, **PRIOR).stop_reason == "was finished before"
    with pytest.raises(ValueError, match=r"holds another run \(iterations: 3 -> 4\): .*overwrite"):
        restore_blocks("denoise", values, target, **{**PRIOR, "iterations": 4})
    with pytest.raises(AnotherRun) as refused:  # before anything is read
        iterate_blocks("denoise", da.from_array(values)[:, :10], target, gain=2, **PRIOR)
    assert list(refused.value.differences) == ["gain", "source"]
    with pytest.raises(ValueError, match="the source: another one"):
        restore_blocks("denoise", values + 1, target, **PRIOR)
    np.testing.assert_array_equal(zarr.open_array(target / "0", mode="r")[:], first.array[:])
    assert restore_blocks("denoise", values + 1, target, overwrite=True, **PRIOR).complete


def test_nothing_else_is_ever_overwritten(tmp_path: Path) -> None:
    values = stack(2, 20, 24)
    other = saved(values, tmp_path / "other.zarr")
    with pytest.raises(FileExistsError, match=r"other.zarr exists, and is no run"):
        restore_blocks("denoise", values, other, **PRIOR)
    with pytest.raises(ValueError, match="is the source"):
        restore_blocks("denoise", other, other, overwrite=True, **PRIOR)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "thesis.txt").write_text("all of it")
    with pytest.raises(FileExistsError, match="folder is no zarr, and is not replaced"):
        restore_blocks("denoise", values, folder, overwrite=True, **PRIOR)
    assert (folder / "thesis.txt").read_text() == "all of it"
    np.testing.assert_array_equal(zarr.open_array(other, mode="r")[:], values)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"factor": 2}, "factor=2 is for superresolve; leave it out"),
        ({"leading_axes": 2}, "leaves 1 of 3 axes for space"),
        ({"leading_axes": 1.0}, "leading_axes=1.0 must be a whole number"),
        ({"interval": -1}, "interval=-1 must be a number of seconds"),
        ({"leading_axes": 5}, "leading_axes=5 must be a whole number from 0 to 1"),
        ({"axes": "tyx"}, "calibration=.*leading_axes="),
        ({"channel_axis": -1}, "channel_axis=-1 is one of the 2 axes of space"),
        ({"channel_axis": 3}, "channel_axis=3 is not an axis"),
        ({"guide": np.zeros((20, 24))}, "guide is not used with code='uniform'"),
        ({"guide": np.zeros((20, 25)), "code": "guide"}, "guide has the shape"),
        ({"overlap": 600}, "overlap=600 is more than half of a tile of 1024"),
        ({"code": "guide"}, "code='guide' needs a guide image"),
        ({"intensity_range": (2, 1)}, "intensity_range"),
        ({"iteratons": 2}, "did you mean 'iterations'"),
        ({"calibration": Calibration(axes="yx", scale=(1, 1), translation=(0, 0), units=("", ""))}, "axes 'yx'"),
        ({"mask": np.zeros((20, 25), bool)}, "mask has the shape"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_first_block(tmp_path: Path, changes: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        iterate_blocks("denoise", stack(3, 20, 24), tmp_path / "out.zarr", **{**PRIOR, **changes})
    assert list(tmp_path.iterdir()) == []


def _without_reading(path: Path) -> dict[str, Any]:
    """Ways to hand in what lies in a zarr group, whose array is "0"."""
    array = zarr.open_group(path, mode="r")["0"]
    return {
        "zarr": array,
        "dask": da.from_zarr(array),
        "dask by its path": da.from_zarr(f"{path}/0"),
        "computed": da.from_zarr(array).astype(np.float32)[::-1] + 1,
        "closure": da.map_blocks(lambda: np.asarray(array[:]), chunks=((2,), (20,), (24,)), dtype=array.dtype),
    }


@pytest.mark.parametrize("kind", ["zarr", "dask", "dask by its path", "computed", "closure"])
@pytest.mark.parametrize("role", ["source", "mask"])
def test_a_target_around_the_source_or_the_mask_is_refused(tmp_path: Path, kind: str, role: str) -> None:
    values, path = stack(2, 20, 24), tmp_path / "img.zarr"
    zarr.create_group(path).create_array("0", shape=values.shape, dtype=values.dtype)[:] = values
    given = _without_reading(path)[kind]
    source, mask = (given, None) if role == "source" else (values, given)
    with pytest.raises(ValueError, match=f"img.zarr contains the {role}, which is never changed"):
        restore_blocks("denoise", source, path, mask, overwrite=True, **PRIOR)
    np.testing.assert_array_equal(zarr.open_array(path / "0", mode="r")[:], values)
    with pytest.raises(ValueError, match=f"lies in the {role}"):
        restore_blocks("denoise", source, path / "0" / "out.zarr", mask, **PRIOR)


def test_another_mask_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_dip.run.blocks.order._SAMPLES", {2: (1, (4, 4))})  # which do not meet the mask
    values, mask = stack(2, 20, 24), np.zeros((20, 24), np.uint8)
    mask[3:5, 3:5] = 1
    other = np.roll(mask, 4)
    for name, kind in {"memory": np.asarray, "dask": lambda a: da.from_array(a, chunks=(7, 9))}.items():
        target = tmp_path / name
        restore_blocks("denoise", values, target, kind(mask), **PRIOR)
        same = restore_blocks("denoise", values, target, kind(mask), **PRIOR)
        assert same.stop_reason == "was finished before"
        with pytest.raises(ValueError, match="the mask: another one"):
            restore_blocks("denoise", values, target, kind(other), **PRIOR)


def test_precision_and_recomputing_are_settled_before_the_first_block(tmp_path: Path) -> None:
    found = restore_blocks("denoise", stack(20, 24), tmp_path / "out.zarr", **PRIOR).record["settings"]
    assert found["precision"] in ("float32", "bfloat16")
    assert found["recompute"] == "off"
    chosen = restore_blocks("denoise", stack(20, 24), tmp_path / "chosen.zarr", **PRIOR, recompute="on")
    assert chosen.record["settings"]["recompute"] == "on"


def test_a_blur_that_is_wider_than_the_whole_is_told_and_one_wider_than_a_tile_is_not() -> None:
    with pytest.warns(UserWarning, match="psf spreads light over 29 x 29 pixels, and the image has 20 x 24; give it"):
        read_order("deconvolve", stack(2, 20, 24), psf=6.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_order("deconvolve", stack(2, 20, 60), psf=4.0, tile=16)
        read_order("superresolve", stack(2, 20, 24), psf=6.0, factor=2)


def test_a_mask_that_hides_nearly_all_of_the_samples_is_suspected_once(tmp_path: Path) -> None:
    values, mask = stack(2, 64, 64), np.ones((64, 64), bool)
    mask[:8] = False
    knobs = {**PRIOR, "preset": "inpaint-small", "refine": 0}
    with pytest.warns(UserWarning, match="mask: 88% of the pixels count as missing; if those are the known ones"):
        restore_blocks("inpaint", values, tmp_path / "out.zarr", mask, **knobs)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        restore_blocks("inpaint", values, tmp_path / "out.zarr", mask, **knobs)
        restore_blocks("inpaint", values, tmp_path / "inverted.zarr", ~mask, **knobs)


def test_settings_and_problem_of_a_run_are_read_as_they_were_asked_for(tmp_path: Path) -> None:
    target, knobs = tmp_path / "out.zarr", {**PRIOR, "preset": "enhance-small", "recompute": "on", "device": "auto"}
    record = restore_blocks("enhance", stack(20, 24), target, boost=3.0, gain=2.0, read_noise=1.5, **knobs).record
    again = Settings.from_json(target)
    assert (again.device, again.precision, again.recompute) == ("auto", "auto", "on")
    assert Settings.from_json(target, precision="float32").precision == "float32"
    args, changes = parse(["enhance", "in.tif", str(tmp_path / "out.tif"), "--settings", str(target)])
    assert (args.gain, args.offset, args.read_noise, args.boost) == (2.0, None, 1.5, 3.0)
    assert changes["iterations"] == 3
    assert "device" not in changes
    assert set(record["device"]) == {"name", "reason"}
    said = restore_blocks("enhance", stack(20, 24), tmp_path / "cpu.zarr", **{**knobs, "device": "cpu"}).record
    assert Settings.of_record(said).device == "cpu"
    with pytest.raises(AnotherRun, match=r"\(boost: 3.0 -> 2.5\)"):
        restore_blocks("enhance", stack(20, 24), target, boost=2.5, gain=2.0, read_noise=1.5, **knobs)


@pytest.mark.parametrize("tile", [0, 16])
def test_what_is_late_of_a_run_never_writes_into_that_which_replaced_it(tmp_path: Path, tile: int) -> None:
    knobs = {**PRIOR, **({"tile": tile, "overlap": 4} if tile else {})}
    target, old, new = tmp_path / "out.zarr", stack(3, 16, 20), stack(3, 16, 20) + 7

    def stopped(values: np.ndarray) -> Restored:
        steps = iterate_blocks("denoise", values, target, should_stop=lambda: stop[0], **knobs)
        stop = [False]
        while True:
            try:
                stop[0] = (progress := next(steps)).step == "fit" and progress.done == 1
            except StopIteration as end:
                return end.value

    late = stopped(old).blocks
    between = restore_blocks("denoise", new, target, overwrite=True, **knobs)
    assert late is not None
    before = between.array[:]
    for step in late.target.steps:
        if step == "fit":
            late.target.put(2, Unfitted(old[2]))
        else:
            late.target.compose(step, 2)
    np.testing.assert_array_equal(between.array[:], before)
    assert not (target / KEY).exists()
    shutil.rmtree(target)
    stopped(new)
    steps = iterate_blocks("denoise", new, target, **knobs)
    next(each for each in steps if each.step != "sample")
    shutil.rmtree(target)  # by hand, for it is locked
    _, replaced = finish(steps)
    assert not replaced.complete
    assert "replaced" in replaced.stop_reason
    assert not target.exists()


def test_what_is_known_of_the_camera_counts_where_no_sample_has_a_known_pixel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = plans(monkeypatch)
    monkeypatch.setattr("napari_dip.run.blocks.order._SAMPLES", {2: (1, (4, 4))})
    values = stack(20, 24).astype(np.float32)
    values[6:14, 8:16] = np.nan
    restore_blocks("denoise", values, tmp_path / "out.zarr", gain=2.0, offset=90.0, **PRIOR)
    assert seen[0].noise is not None
    assert (seen[0].noise.gain, seen[0].noise.offset) == (2.0, 90.0)


def test_a_noise_that_is_known_is_that_of_all_blocks(tmp_path: Path) -> None:
    values, known = stack(2, 20, 24), replace(estimate_noise(stack(40, 48)), sigma=7.0)
    restored = restore_blocks("denoise", values, tmp_path / "out.zarr", image_noise=known, **PRIOR)
    assert restored.record["noise"]["sigma"] == 7
    again = restore_blocks("denoise", values, tmp_path / "out.zarr", image_noise=known, **PRIOR)
    assert again.stop_reason == "was finished before"
    with pytest.raises(AnotherRun, match="image_noise: given -> left out"):
        restore_blocks("denoise", values, tmp_path / "out.zarr", **PRIOR)


def test_empty_blocks_are_told_and_an_array_without_a_known_pixel_is_refused(tmp_path: Path) -> None:
    values = stack(3, 20, 24).astype(np.float32)
    values[1] = np.nan
    restored = restore_blocks("denoise", values, tmp_path / "out.zarr", **PRIOR)
    assert restored.record["empty"] == 1
    assert "1 of them have no known pixel and stay empty" in restored.stop_reason
    for limits in (None, (0, 1)):
        with pytest.raises(ValueError, match="source has no finite pixel"):
            restore_blocks("denoise", values * np.nan, tmp_path / "none.zarr", intensity_range=limits, **PRIOR)
    assert not (tmp_path / "none.zarr").exists()


def test_the_warnings_of_the_caller_are_heard_between_two_steps(tmp_path: Path) -> None:
    runs = [iterate_blocks("denoise", stack(2, 20, 24), tmp_path / f"{i}.zarr", interval=0, **PRIOR) for i in range(2)]
    before = list(warnings.filters)
    for steps in runs:
        while next(steps).block is None:
            pass
        with pytest.warns(UserWarning, match="of the caller"):
            warnings.warn("of the caller", stacklevel=1)
    for steps in runs:
        finish(steps)
    assert warnings.filters == before


def test_a_run_of_another_version_is_refused_with_the_remedy(tmp_path: Path) -> None:
    values, target, asked = stack(2, 16, 16), tmp_path / "out.zarr", itertools.count()
    half = restore_blocks("denoise", values, target, should_stop=lambda: next(asked) > 3, **PRIOR)
    assert not half.complete
    group = zarr.open_group(target, mode="r+")
    found = dict(group.attrs[KEY])
    group.attrs[KEY] = {**found, "settings": {**found["settings"], "nonlocal_share": 0.5}}
    with pytest.raises(ValueError, match="another version.*nonlocal_share.*overwrite"):
        restore_blocks("denoise", values, target, **PRIOR)


def test_what_appears_at_the_target_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "out.zarr"
    steps = iterate_blocks("denoise", stack(3, 16, 16), target, **PRIOR)
    next(each for each in steps if each.step != "sample")  # the range of the image is being read
    zarr.create_array(target, shape=(4,), dtype="f4")[:] = 7
    with pytest.raises(FileExistsError):
        finish(steps)
    assert np.array_equal(zarr.open_array(target, mode="r")[:], [7, 7, 7, 7])


def test_a_stop_before_there_is_a_target_is_no_error(tmp_path: Path) -> None:
    Ledger(tmp_path / "none.zarr").ask_to_stop()
    assert list(tmp_path.iterdir()) == []


def test_no_task_takes_all_of_a_mask_along() -> None:
    mask = open_source(np.zeros((64, 64), np.uint8))
    assert len(pickle.dumps(mask.part((slice(0, 8), slice(0, 8))))) < 1000


# -------------------------------------------------------------------------------------------------------------- memory


def peaks(source: str, target: Path) -> np.ndarray:
    """Bytes of arrays and objects at the most, before the first block of a series and then."""
    found = []
    tracemalloc.start()
    try:
        for progress in iterate_blocks("denoise", source, target, **PRIOR, intensity_range=(0, 200)):
            if progress.step == "fit" and not found:
                found.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.reset_peak()
        return np.array([*found, tracemalloc.get_traced_memory()[1]])
    finally:
        tracemalloc.stop()


def test_peak_memory_does_not_depend_on_the_length_of_the_series(tmp_path: Path) -> None:
    """The first and the last slice are fitted, the others are of one value and come back as they are: that is quick."""
    found = []
    restore_blocks("denoise", stack(1, 16, 16), tmp_path / "imports.zarr", **PRIOR)
    for count in (16, 40):  # of more than the noise is read from
        values = np.repeat(np.arange(count, dtype=np.float32), 96 * 96).reshape(count, 96, 96)
        values[[0, -1]] = 100 + 5 * np.random.default_rng(0).normal(size=(96, 96))
        found.append(peaks(saved(values, tmp_path / f"{count}.zarr"), tmp_path / f"{count}-out.zarr"))
    assert (found[1] - found[0] < 2**18).all()  # 24 slices more are 864 KiB, and their results as much
