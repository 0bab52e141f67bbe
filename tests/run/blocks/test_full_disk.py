"""A full disk: known before a run where it can be, called so with figures where it is met, and the old file stays."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from napari_dip import iterate_blocks, restore_blocks
from napari_dip.command.cli import DONE, FAILED, main
from napari_dip.io import files
from napari_dip.io.disk import DiskFull
from napari_dip.io.picture import make_picture
from napari_dip.run.blocks import blocks
from tests.command.test_blockwise import TINY
from tests.run.blocks.test_large import PRIOR, finish, stack
from tests.run.blocks.test_targets import stack as flat
from tests.run.blocks.test_targets import stopped

NUMPYS = OSError("690 requested and 12 written")  # without a number
FULL = [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Disk quota exceeded"), NUMPYS]


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the disk say that so many bytes are free."""

    def say(size: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - size, size))  # type: ignore[attr-defined]

    return say


@pytest.mark.parametrize("error", FULL)
@pytest.mark.parametrize(("name", "writer"), [("a.tif", "tifffile.TiffWriter.write"), ("a.npy", "numpy.save")])
def test_a_writer_that_meets_it_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: Any, name: str, writer: str, error: OSError
) -> None:
    image = np.zeros((40, 50), np.float32)
    picture = make_picture(image, "YX")
    files.write(tmp_path / name, image, picture)
    before = (tmp_path / name).read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(writer, full)
    free(123)
    words = f"the disk is full: .*{name} takes 8 kB, and 123 bytes are free on its disk; free some, or name another"
    with pytest.raises(DiskFull, match=words):
        files.write(tmp_path / name, image + 1, picture, overwrite=True)
    assert (tmp_path / name).read_bytes() == before
    assert [each for each in tmp_path.iterdir() if each.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["out.tif", "out.npy", "out.png"])
def test_a_command_that_meets_it_fails_in_a_line_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "in.tif", stack(20, 24))

    def full(*_: Any, **__: Any) -> None:
        raise FULL[0]

    for writer in ("tifffile.TiffWriter.write", "numpy.save", "napari_dip.io.files.write_png"):
        monkeypatch.setattr(writer, full)
    monkeypatch.setattr("napari_dip.terminal.Stop.begin", pytest.fail)  # just before the first iteration
    assert main(["denoise", str(tmp_path / "in.tif"), str(tmp_path / name), "--quiet", *TINY]) == FAILED
    said = capsys.readouterr().err
    assert said.startswith(f"napari-dip: error: the disk is full: {tmp_path / name} takes ")
    assert said.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["in.tif"]


def test_all_that_a_command_writes_must_have_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "in.tif", stack(64, 64))
    words = ["denoise", str(tmp_path / "in.tif"), str(tmp_path / "out.tif"), "--quiet", *TINY]
    free(25_000)  # an image takes 16 kB and what it says of itself
    assert main(words) == DONE
    with monkeypatch.context() as patched:
        patched.setattr("napari_dip.terminal.Stop.begin", pytest.fail)
        assert main([*words, "--overwrite", "--residual", "--uncertainty"]) == FAILED
    said = capsys.readouterr().err
    assert f"error: the disk is too full: {tmp_path / 'out.tif'} takes 5" in said
    assert "kB, and 25 kB are free on its disk; free some, or name another folder" in said


def _after(count: int, error: OSError) -> Any:
    """Blocks that meet a full disk once so many are done."""
    plain, done = blocks.Blocks._piece, list[int]()

    def until_full(self: Any, index: int, *arguments: Any, **pace: Any) -> Any:
        if len(done) == count:
            raise error
        done.append(index)
        return plain(self, index, *arguments, **pace)

    return until_full


@pytest.mark.parametrize("error", FULL)
def test_a_run_over_blocks_ends_at_it_and_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, capsys: pytest.CaptureFixture[str]
) -> None:
    values, target = flat(6, 16, 20), tmp_path / "out.zarr"
    tifffile.imwrite(tmp_path / "in.tif", values, imagej=True)
    words = ["denoise", str(tmp_path / "in.tif"), str(target), "--quiet", *TINY]
    with monkeypatch.context() as patched:
        patched.setattr("napari_dip.run.blocks.blocks.Blocks._piece", _after(2, error))
        assert main(words) == FAILED
    said = capsys.readouterr().out
    assert f"{target}: the disk of {target} is full, with " in said
    assert " free; free some, and the same call goes on, with 2 of 6 blocks done." in said
    assert main(words) == DONE
    np.testing.assert_array_equal(zarr.open_array(target / "0", mode="r")[:], values)


def test_where_no_block_is_done_it_is_an_error_and_the_old_image_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: Any
) -> None:
    values, target = flat(3, 16, 20), tmp_path / "out.zarr"
    restore_blocks("denoise", values, target, **PRIOR)
    with monkeypatch.context() as patched:
        patched.setattr("napari_dip.run.blocks.blocks.Blocks._piece", _after(0, FULL[0]))
        free(3000)
        with (
            pytest.raises(DiskFull, match="the disk of .*/out.zarr is full, with 3 kB free; free some"),
            pytest.warns(UserWarning, match=r"^\S*/out.zarr takes 3\.84 kB, and 3 kB are free"),
        ):
            restore_blocks("denoise", values + 1, target, overwrite=True, **PRIOR)
    np.testing.assert_array_equal(zarr.open_array(target / "0", mode="r")[:], values)


def test_a_run_over_blocks_tells_of_it_before_and_counts_what_is_left(tmp_path: Path, free: Any) -> None:
    values, target = flat(4, 16, 20), tmp_path / "out.zarr"
    free(2000)
    with pytest.warns(UserWarning, match=r"out.zarr takes 5\.12 kB, and 2 kB are free on its disk; free some"):
        stopped(values, target, done=2)
    free(2600)  # for half of it
    assert finish(iterate_blocks("denoise", values, target, **PRIOR))[1].complete
