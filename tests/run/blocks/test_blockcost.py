"""What a run over blocks will take, known before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_dip import BlocksCost, Cost, Settings, estimate, estimate_blocks, iterate_blocks, restore_blocks
from napari_dip.command.cli import DONE, main
from napari_dip.core.cost import code_to_load, memory_of_noise
from napari_dip.core.intensity import Scaling
from napari_dip.io.arrays import Part
from napari_dip.run.blocks.record import noise_from
from tests.command.test_blockwise import TINY
from tests.run.blocks.test_large import PRIOR, saved, stack


def test_it_is_the_cost_of_the_blocks_that_a_run_makes(tmp_path: Path) -> None:
    source = saved(stack(3, 40, 60), tmp_path / "in.zarr")
    knobs = {**PRIOR, "tile": 32, "overlap": 8, "channels": 48, "iterations": 1}
    record = restore_blocks("denoise", source, tmp_path / "out.zarr", **knobs).record
    said = estimate_blocks("denoise", source, **knobs)
    assert said.blocks == record["blocks"] == 3 * 2 * 3
    noise = noise_from(record["noise"]).scaled(Scaling(*record["intensity_range"]))
    settings = Settings(**record["settings"])
    block = estimate((32, 32), settings, image_noise=noise)
    noisy = code_to_load(settings.method) + memory_of_noise(16, (32, 32))  # of 16 samples at once
    assert said.memory == max(block.memory, noisy)
    assert said.seconds == pytest.approx(18 * block.seconds)


def test_the_length_of_a_series_takes_time_and_no_memory(tmp_path: Path) -> None:
    short, long = (saved(np.repeat(stack(1, 32, 32), n, 0), tmp_path / f"{n}.zarr") for n in (20, 200))
    few, many = (estimate_blocks("denoise", each, **PRIOR) for each in (short, long))
    assert few.memory == many.memory
    assert many.seconds == pytest.approx(10 * few.seconds)


@pytest.mark.parametrize(
    ("task", "shape", "more"),
    [
        ("superresolve", (2, 20, 24), {"factor": 2}),
        ("deconvolve", (2, 20, 24), {"psf": 1.5}),
        ("inpaint", (2, 20, 24), {"mask": np.eye(20, 24)}),
        ("denoise", (2, 6, 20, 24), {"leading_axes": 1, "voxel_size": (3, 1, 1)}),
        ("denoise", (20, 24), {"preset": "denoise-self", "intensity_range": (0, 500), "gain": 1.5}),
    ],
)
def test_whatever_can_be_restored_can_be_estimated(task: str, shape: tuple[int, ...], more: dict[str, Any]) -> None:
    knobs = {"client": False, "device": "cpu", "channels": 4, "iterations": 2, **more}
    assert estimate_blocks(task, stack(*shape), **knobs).seconds > 0


def test_samples_alone_are_read_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, read, parts = saved(stack(40, 20, 24), tmp_path / "in.zarr"), Part.read, []
    monkeypatch.setattr(Part, "read", lambda part: parts.append(part) or read(part))
    monkeypatch.chdir(tmp_path)
    estimate_blocks("denoise", source, **PRIOR)
    assert len(parts) == 16
    assert [each.name for each in tmp_path.iterdir()] == ["in.zarr"]


def test_with_settings_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Part, "read")
    settings = Settings(channels=256, scales=2, iterations=3, device="cpu")
    said = estimate_blocks("denoise", stack(40, 20, 24), settings=settings, iterations=6)
    block = estimate((20, 24), settings, iterations=6, recompute="off")
    assert said == BlocksCost(block=block, blocks=40)


def test_what_is_not_known_at_all_is_estimated_too() -> None:
    assert estimate_blocks("denoise", np.full((2, 20, 24), np.nan), **PRIOR).blocks == 2


def test_what_a_run_refuses_is_refused() -> None:
    with pytest.raises(TypeError, match="did you mean 'iterations'"):
        estimate_blocks("denoise", stack(2, 20, 24), iteratons=2)


def test_workers_share_the_blocks() -> None:
    one, four = (BlocksCost(block=Cost(5_000_000, 60), blocks=9, workers=workers) for workers in (1, 4))
    assert (one.seconds, four.seconds) == (540, 180)
    assert str(one) == "about 5 MB and 9 min: 9 blocks of 60 s"
    assert str(four) == "about 5 MB on each of 4 workers and 3 min: 9 blocks of 60 s"


def test_a_wait_of_many_hours_is_said_before_it(tmp_path: Path) -> None:
    knobs = {**PRIOR, "iterations": 1_000_000, "runs": 1000}
    steps = iterate_blocks("denoise", stack(3, 20, 24), tmp_path / "out.zarr", **knobs)
    with pytest.warns(UserWarning, match=r"this takes about .* days: 3 blocks of .*would take less"):
        next(step for step in steps if step.step == "fit")
    steps.close()


@pytest.mark.parametrize("more", [(), ("out.zarr",)])
def test_the_command_says_it_and_writes_nothing(
    tmp_path: Path, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(stack(3, 20, 24), tmp_path / "in.zarr")
    monkeypatch.chdir(tmp_path)
    assert main(["denoise", "in.zarr", *more, "--estimate", *TINY]) == DONE
    said = capsys.readouterr()
    assert said.out.startswith("in.zarr would take about ")
    assert "3 blocks" in said.out
    assert said.err == ""
    assert [each.name for each in tmp_path.iterdir()] == ["in.zarr"]
