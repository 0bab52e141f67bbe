"""Targets of runs over blocks: nothing that was there is lost, nothing outside is written, damage is said."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_dip import iterate_blocks, restore_blocks
from napari_dip.command.cli import DONE, FAILED, main
from napari_dip.run.blocks import blocks
from napari_dip.run.blocks.ledger import KEY, Ledger
from napari_dip.run.blocks.restore import Restored
from tests.command.test_blockwise import TINY
from tests.run.blocks.test_large import PRIOR, finish, saved


def stack(count: int, *size: int) -> np.ndarray:
    """Slices of one value each, which come back as they are, in a moment."""
    return np.broadcast_to(np.arange(100, 100 + count, dtype=np.uint16)[:, None, None], (count, *size)).copy()


def stopped(values: np.ndarray, target: Path, done: int = 1, **rest: Any) -> Restored:
    """A run that ended when so many blocks were done."""
    stop = [False]
    steps = iterate_blocks("denoise", values, target, should_stop=lambda: stop[0], **{**PRIOR, **rest})
    while True:
        try:
            progress = next(steps)
            stop[0] = progress.step == "fit" and progress.done == done
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def killed(*arguments: Any, **rest: Any) -> None:
    """The same, and the process ends there."""
    steps = iterate_blocks("denoise", *arguments, **{**PRIOR, **rest})
    while True:
        progress = next(steps)
        if progress.step == "fit" and progress.done == 1:
            return steps.close()


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def amended(target: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """The record of a run, changed by hand."""
    group = zarr.open_group(target, mode="r+")
    record: Any = json.loads(json.dumps(group.attrs[KEY]))
    change(record)
    group.attrs[KEY] = record


# ---------------------------------------------------------------------------------------------------------- overwriting


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("end", [stopped, killed])
def test_the_old_image_stays_until_the_new_one_is_whole(tmp_path: Path, end: Callable[..., Any], again: bool) -> None:
    old, new, target = stack(3, 16, 20), stack(3, 16, 20) + 9, tmp_path / "out.zarr"
    restore_blocks("denoise", old, target, **PRIOR)
    before = files(target)
    end(new, target, overwrite=True)
    assert files(target) == before
    seen, restored = finish(iterate_blocks("denoise", new, target, overwrite=again, **PRIOR))
    assert next(each for each in seen if each.step == "fit").done == 1  # it goes on
    assert (restored.complete, restored.path) == (True, target)
    np.testing.assert_array_equal(restored.array[:], new)
    assert [each.name for each in tmp_path.iterdir()] == ["out.zarr"]
    assert zarr.open_group(target).attrs["ome"]["multiscales"][0]["name"] == "out"


def test_an_image_that_was_to_be_replaced_stays_where_the_new_run_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.zarr"
    restore_blocks("denoise", stack(2, 16, 20), target, **PRIOR)
    before = files(target)
    with monkeypatch.context() as patched:
        patched.setattr(blocks, "read_known", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            restore_blocks("denoise", stack(2, 16, 20) + 9, target, overwrite=True, **PRIOR)
    assert files(target) == before
    stopped(stack(2, 16, 20) + 8, target, overwrite=True)  # another one sweeps what is left of that
    assert restore_blocks("denoise", stack(2, 16, 20) + 7, target, overwrite=True, **PRIOR).complete
    assert [each.name for each in tmp_path.iterdir()] == ["out.zarr"]


def test_the_same_command_with_overwrite_goes_on_where_nothing_was_there(tmp_path: Path) -> None:
    values, target = stack(3, 16, 20), tmp_path / "out.zarr"
    killed(values, target, overwrite=True)
    seen, restored = finish(iterate_blocks("denoise", values, target, overwrite=True, **PRIOR))
    assert next(each for each in seen if each.step == "fit").done == 1
    assert restored.complete


@pytest.mark.parametrize("step", [1, 2])
def test_a_kill_while_images_change_places_loses_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    old, new, target = stack(2, 16, 20), stack(2, 16, 20) + 9, tmp_path / "out.zarr"
    restore_blocks("denoise", old, target, **PRIOR)
    plain, calls = os.rename, []

    def rename(before: Path, after: Path) -> None:
        if "making" not in str(before):
            calls.append(before)
            if len(calls) >= step:
                raise KeyboardInterrupt
        plain(before, after)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            restore_blocks("denoise", new, target, overwrite=True, **PRIOR)
    assert target.exists() == (step == 1)
    if target.exists():
        np.testing.assert_array_equal(zarr.open_array(target / "0", mode="r")[:], old)
    restored = restore_blocks("denoise", new, target, overwrite=True, **PRIOR)
    assert restored.stop_reason == "was finished before"
    np.testing.assert_array_equal(restored.array[:], new)
    assert [each.name for each in tmp_path.iterdir()] == ["out.zarr"]


FOREIGN = ["thesis.txt", "0/notes.md", "0/c/0/note", "labels/cells/zarr.json", "1/zarr.json", "link"]


@pytest.mark.parametrize("foreign", FOREIGN)
def test_an_image_that_something_else_lies_in_is_not_replaced(
    tmp_path: Path, foreign: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = saved(stack(2, 16, 20), tmp_path / "in.zarr"), tmp_path / "out.zarr"
    assert main(["denoise", source, str(target), *TINY]) == DONE
    capsys.readouterr()
    path = target / foreign
    if foreign == "link":
        path.symlink_to(tmp_path / "in.zarr", target_is_directory=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"zarr_format": 3, "node_type": "group"}')
    before = files(tmp_path)
    assert main(["denoise", source, str(target), *TINY, "--seed", "1", "--overwrite"]) == FAILED
    said = capsys.readouterr().err.strip()
    assert "which is not of its image and would be lost: move that away" in said
    assert "\n" not in said
    assert files(tmp_path) == before
    held = target / said.partition(" holds ")[2].partition(",")[0]
    held.rename(tmp_path / "elsewhere")  # as it says
    assert main(["denoise", source, str(target), *TINY, "--seed", "1", "--overwrite"]) == DONE


@pytest.mark.parametrize("form", [2, 3])
@pytest.mark.parametrize("kind", ["array", "image", "empty"])
def test_zarr_of_others_is_replaced_on_request_alone(tmp_path: Path, kind: str, form: int) -> None:
    values, target = stack(2, 16, 20), tmp_path / "out.zarr"
    if kind == "array":
        zarr.create_array(target, shape=(9, 9), chunks=(3, 3), dtype="f4", zarr_format=form)[:] = 1
    elif kind == "image":
        image = {"datasets": [{"path": "deep/0"}]}
        group = zarr.create_group(target, zarr_format=form, attributes={"multiscales": [image]})
        group.create_array("deep/0", shape=(9, 9), chunks=(3, 3), dtype="f4")[:] = 1
        (target / "Thumbs.db").touch()
    else:
        target.mkdir()
    with pytest.raises(FileExistsError, match="name another target, or overwrite it"):
        restore_blocks("denoise", values, target, **PRIOR)
    assert restore_blocks("denoise", values, target, overwrite=True, **PRIOR).complete
    assert [each.name for each in tmp_path.iterdir()] == ["out.zarr"]


def test_a_link_for_a_target_stays_and_what_it_names_is_written(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    target, real = tmp_path / "out.zarr", tmp_path / "disk" / "big.zarr"
    target.symlink_to(real, target_is_directory=True)
    for values in (stack(1, 16, 20), stack(1, 16, 20) + 9):
        assert restore_blocks("denoise", values, target, overwrite=True, **PRIOR).complete
        assert target.is_symlink()
    assert [each.name for each in real.parent.iterdir()] == ["big.zarr"]


# ---------------------------------------------------------------------------------------------------- what is left over


def test_what_killed_runs_leave_is_swept(tmp_path: Path) -> None:
    values, target = stack(2, 16, 20), tmp_path / "out.zarr"
    making = tmp_path / ".out.zarr.napari-dip-making"
    (making / "0").mkdir(parents=True)
    foreign = [tmp_path / ".other.zarr.napari-dip-making", tmp_path / ".out.zarr.keep"]
    for each in foreign:
        each.mkdir()
    killed(values, target)
    part = target / "0" / "c" / "1" / f"0.{'0f' * 16}.partial"  # zarr, before a chunk is whole
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(b"half")
    assert restore_blocks("denoise", values, target, **PRIOR).complete
    assert not making.exists()
    assert not part.exists()
    assert all(each.exists() for each in foreign)


@pytest.mark.parametrize("name", ["Thumbs.db", ".DS_Store", "desktop.ini", "._0", "0 (copy)"])
def test_foreign_files_in_a_ledger_do_no_harm(tmp_path: Path, name: str) -> None:
    values, target = stack(3, 16, 20), tmp_path / "out.zarr"
    stopped(values, target)
    work = Ledger(target).work
    for folder in (target, target / "0", target / KEY, work, work / "fit", work / "fit" / "0"):
        (folder / name).write_text("x")
    seen, restored = finish(iterate_blocks("denoise", values, target, **PRIOR))
    assert next(each for each in seen if each.step == "fit").done == 1
    assert restored.complete
    assert restored.record["blocks"] == 3


@pytest.mark.parametrize("text", ["", '{"iterations": ', "[]", "\0\0\0", "[" * 100_000])
def test_a_block_whose_marker_is_half_written_is_done_again(tmp_path: Path, text: str) -> None:
    values, target = stack(3, 16, 20), tmp_path / "out.zarr"
    stopped(values, target, done=2)
    (Ledger(target).work / "fit" / "0" / "1").write_text(text)
    seen, restored = finish(iterate_blocks("denoise", values, target, **PRIOR))
    assert next(each for each in seen if each.step == "fit").done == 1
    assert restored.complete
    assert restored.record["blocks"] == 3


# ----------------------------------------------------------------------------------------------------- damaged records

RECORDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "run": lambda record: record.pop("run"),
    "run ": lambda record: record.update(run="../../outside"),
    "run  ": lambda record: record.update(run=""),
    "run   ": lambda record: record.update(run=["a"]),
    "settings": lambda record: record.update(settings=None),
    "request": lambda record: record.update(request="x"),
    "request.source": lambda record: record["request"].pop("source"),
    "request.camera": lambda record: record["request"].update(camera=[]),
    "tiles": lambda record: record.pop("tiles"),
    "tile": lambda record: record["tiles"].pop("tile"),
    "tiles are others": lambda record: record["tiles"].update(corners=[[0], [0], [0]]),
    "sigma": lambda record: record["noise"].pop("sigma"),
    "intensity_range": lambda record: record.update(intensity_range=3),
    "software": lambda record: record.pop("software"),
    "finished": lambda record: record.update(finished=[1]),
}


@pytest.mark.parametrize("case", RECORDS)
def test_a_damaged_record_is_said_and_nothing_written(tmp_path: Path, case: str) -> None:
    values, target, outside = stack(2, 16, 20), tmp_path / "out.zarr", tmp_path / "outside"
    outside.mkdir()
    (outside / "0").write_text("mine")
    stopped(values, target)
    amended(target, RECORDS[case])
    before = files(tmp_path)
    with pytest.raises((ValueError, FileExistsError), match="out.zarr.*damaged.*name another target") as refused:
        restore_blocks("denoise", values, target, **PRIOR)
    assert case.strip() in str(refused.value)
    assert files(tmp_path) == before
    assert restore_blocks("denoise", values, target, overwrite=True, **PRIOR).complete  # as it says
    assert files(outside) == {"0": b"mine"}


@pytest.mark.parametrize("run", ["../../outside", "..", "/", "{outside}", "a/../../../outside"])
def test_the_name_of_a_run_leads_nowhere(tmp_path: Path, run: str) -> None:
    values, target, outside = stack(2, 16, 20), tmp_path / "out.zarr", tmp_path / "outside"
    (outside / "fit" / "0").mkdir(parents=True)
    (outside / "fit" / "0" / "0").write_text("{}")
    stopped(values, target)
    amended(target, lambda record: record.update(run=run.format(outside=outside)))
    assert Ledger(target).record() is None
    assert Ledger(target).done("fit") == set()
    Ledger(target).ask_to_stop()
    with pytest.raises(FileExistsError, match=r"out.zarr is damaged: napari-dip.run is"):
        restore_blocks("denoise", values, target, **PRIOR)
    assert files(outside) == {"fit/0/0": b"{}"}


@pytest.mark.parametrize("name", ["0", KEY, f"{KEY}/RUN", f"{KEY}/RUN/fit", f"{KEY}/RUN/fit/0"])
def test_nothing_is_written_through_a_link_in_a_target(tmp_path: Path, name: str) -> None:
    values, target, outside = stack(3, 16, 20), tmp_path / "out.zarr", tmp_path / "outside"
    stopped(values, target)
    path = target / name.replace("RUN", Ledger(target).work.name)
    shutil.move(path, outside)
    path.symlink_to(outside, target_is_directory=True)
    before = files(outside)
    with pytest.raises(ValueError, match="is a link, and nothing is written through it; name another target"):
        restore_blocks("denoise", values, target, **PRIOR)
    with contextlib.suppress(FileExistsError):
        assert restore_blocks("denoise", values, target, overwrite=True, **PRIOR).complete
    assert files(outside) == before


@pytest.mark.parametrize("gone", ["zarr.json", "0/zarr.json", "0", f"{KEY}/RUN/tiles", f"{KEY}/RUN/fit", KEY])
def test_a_half_written_target_goes_on_or_is_said(tmp_path: Path, gone: str) -> None:
    values, target = stack(2, 16, 40), tmp_path / "out.zarr"
    knobs = {**PRIOR, "tile": 24, "overlap": 8}
    stopped(values, target, **knobs)
    path = target / gone.replace("RUN", Ledger(target).work.name)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    try:
        assert restore_blocks("denoise", values, target, **knobs).complete
    except (ValueError, OSError) as error:
        said = str(error)
        assert "\n" not in said
        assert str(target) in said
        if "overwrite" in said:
            assert restore_blocks("denoise", values, target, overwrite=True, **knobs).complete
        else:
            assert "name another target" in said


def test_a_finished_target_without_its_pixels_is_said(tmp_path: Path) -> None:
    values, target = stack(1, 16, 20), tmp_path / "out.zarr"
    restore_blocks("denoise", values, target, **PRIOR)
    shutil.rmtree(target / "0")
    with pytest.raises(ValueError, match=r"out.zarr is damaged: its array 0 is missing"):
        restore_blocks("denoise", values, target, **PRIOR)
    assert restore_blocks("denoise", values, target, overwrite=True, **PRIOR).complete


# ------------------------------------------------------------------------------------------------------ inputs, outputs


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("in.zarr", "in.zarr", "is the source"),
        ("in.zarr", "in.zarr/out.zarr", "lies in the source"),
        ("in.zarr/0", "in.zarr/0", "is the same file as IN"),
        ("box/in.zarr", "box/../box/in.zarr", "is the source"),
        ("box.zarr/in.zarr", "box.zarr", "contains the source"),
        ("in.zarr", "link.zarr", "is the source"),
    ],
)
def test_in_and_out_are_two(
    tmp_path: Path, source: str, target: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
    saved(stack(1, 16, 20), tmp_path / source)
    (tmp_path / "link.zarr").symlink_to(tmp_path / "in.zarr", target_is_directory=True)
    before = files(tmp_path)
    command = ["denoise", f"{tmp_path}/{source}", f"{tmp_path}/{target}", "--overwrite", *TINY]
    command[2] += "" if command[2].endswith(".zarr") else ".zarr" if source != target else ""
    assert main(command) == FAILED
    assert words in capsys.readouterr().err
    assert files(tmp_path) == before
