"""Several images in one command, settings from a file, and what a report of a fault says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import napari_dip
from napari_dip.command import several
from napari_dip.command.cli import main
from napari_dip.io import files
from napari_dip.io.picture import Picture
from napari_dip.tables.settings import PRESETS
from tests.command.test_cli import QUICK

Values = np.ndarray[Any, Any]


def save(name: str, seed: int = 0) -> Values:
    values = np.random.default_rng(seed).integers(0, 200, (16, 16), dtype="uint8")
    Path(name).parent.mkdir(exist_ok=True)
    files.write(name, values, Picture(values=values, axes="YX", pixel_size={"Y": 0.2, "X": 0.1}, unit="µm"))
    return values


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_and_folders_are_restored_each_as_by_a_command_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    for seed, name in enumerate(("a.tif", "b.png", "more/c.tif", "more/d.tif")):
        save(name, seed)
    Path("more/notes.txt").write_text("no image")
    assert main(["denoise", "a.tif", *QUICK, "b.png", "more", "--output-folder", "out/deep"]) == 0
    assert sorted(path.name for path in Path("out/deep").iterdir()) == ["a.tif", "b.png", "c.tif", "d.tif"]
    assert main(["denoise", "more/c.tif", "alone.tif", *QUICK]) == 0
    alone, with_others = files.read("alone.tif"), files.read("out/deep/c.tif")
    assert np.array_equal(alone.values, with_others.values)
    assert with_others.pixel_size == alone.pixel_size
    assert files.read("out/deep/b.png").values.dtype == np.uint8
    assert "out/deep/c.tif is written" in capsys.readouterr().out


def test_one_that_fails_costs_none_of_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    save("a.tif")
    save("c.tif")
    Path("b.tif").write_text("broken")
    np.save("nan.npy", np.full((16, 16), np.nan))
    assert main(["denoise", "a.tif", "b.tif", "missing.tif", "nan.npy", "c.tif", "--output-folder", "out", *QUICK]) == 1
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.tif", "c.tif"]
    said = capsys.readouterr().err
    assert "b.tif cannot be read" in said
    assert "missing.tif is not there" in said
    assert "error: nan.npy: image has no finite pixel" in said
    assert said.splitlines()[-1] == "napari-dip: 3 of 5 images failed, as said above: b.tif, missing.tif, nan.npy"


def test_folders_in_a_folder_are_left_out_and_that_is_said() -> None:
    for name in ("in/a.tif", "in/deep/b.tif", "in/c.zarr/d.tif"):
        Path("in").mkdir(exist_ok=True)
        save(name)
    with pytest.warns(UserWarning, match=r"^folders in in are left out \(in/deep\): name them too$"):
        assert [source for source, _ in several.jobs(["in"], "out")] == ["in/a.tif", "in/c.zarr"]


def test_what_is_there_already_stays(capsys: pytest.CaptureFixture[str]) -> None:
    save("a.tif")
    assert main(["denoise", "a.tif", "--output-folder", ".", *QUICK]) == 1
    told = capsys.readouterr().err
    assert "a.tif is the same file as IN (a.tif), which would be lost; name another folder" in told  # no --overwrite
    assert np.array_equal(files.read("a.tif").values, save("again.tif"))


def test_a_second_run_does_only_what_is_not_there_yet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("in/a.tif", "in/b.tif", "in/c.npy", "out/a.tif", "out/c.npy"):
        save(name)
    Path("out/c.npy.json").write_text("{}")
    done: list[str] = []
    monkeypatch.setattr("napari_dip.command.single.restore", lambda args, *_: done.append(args.target) or True)
    again = ["denoise", "in", "--output-folder", "out", *QUICK]
    assert main(again) == 0
    assert done == ["out/b.tif"]
    remedies = "--overwrite makes anew what is there, another --output-folder keeps both"
    told = capsys.readouterr().err
    assert "2 of 3 images are in out already and stay as they are" in told
    assert remedies in told
    save("out/b.tif")
    assert main(again) == 0
    assert done == ["out/b.tif"]
    told = capsys.readouterr().err
    assert told == f"napari-dip: 3 of 3 images are in out already, so nothing is left to do; {remedies}\n"
    assert main([*again, "--overwrite"]) == 0
    assert len(done) == 4
    assert main([*again[:3], "another", *QUICK]) == 0
    assert len(done) == 7


@pytest.mark.parametrize("name", ["b.tif", "b.png", "b.npy"])
def test_an_output_that_cannot_be_read_is_not_done(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As a copy that was cut off leaves it; it is the user's, so that it is not replaced unasked."""
    save("in/a.tif")
    save(f"in/{name}")
    command = ["denoise", "in", "--output-folder", "out", *QUICK]
    assert main(command) == 0
    damaged = Path("out", name)
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    capsys.readouterr()
    assert main(command) == 1
    told = capsys.readouterr().err
    assert "1 of 2 images are in out already" in told
    assert told.count(f"out/{name} cannot be read") == 1
    assert "--overwrite)" not in told
    remove = re.search(r"to have it made anew remove (.*)", told)
    assert remove
    for file in remove[1].split(", "):
        Path(file).unlink()
    assert main(command) == 0
    assert files.read(damaged).values.size


def test_what_is_there_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("in/a.tif", "in/b.tif", "out/a.tif", "out/b.tif"):
        save(name)
    damaged, read = Path("out/b.tif"), list[str]()
    damaged.write_bytes(damaged.read_bytes()[:40])
    plain = files.read
    monkeypatch.setattr(files, "read", lambda path: (read.append(str(path)), plain(path))[1])
    assert main(["denoise", "in", "--output-folder", "out", *QUICK]) == 1
    assert read == ["out/a.tif", "out/b.tif"]


@pytest.mark.parametrize(
    ("more", "beside"),
    [
        (["--residual"], ["a-residual.tif"]),
        (["--uncertainty"], ["a-uncertainty.tif"]),
        (["--uncertainty", "--residual"], ["a-residual.tif", "a-uncertainty.tif"]),
    ],
)
def test_an_image_is_done_with_all_that_is_written_beside_it(
    more: list[str], beside: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    save("a.tif")
    command = ["denoise", "a.tif", "--output-folder", "out", *QUICK]
    assert main(command) == 0
    capsys.readouterr()
    assert main([*command, *more]) == 1
    assert "out/a.tif exists; name another folder, or overwrite it (--overwrite)" in capsys.readouterr().err
    assert main([*command, *more, "--overwrite"]) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(["a.tif", *beside])
    assert main([*command, *more]) == 0
    assert main(command) == 0
    Path("out", beside[0]).unlink()
    assert main([*command, *more]) == 1


def test_the_record_beside_a_file_that_holds_none_is_part_of_it() -> None:
    save("a.npy")
    command = ["denoise", "a.npy", "--output-folder", "out", *QUICK]
    assert main(command) == main(command) == 0
    Path("out/a.npy.json").unlink()
    assert main(command) == 1


def test_an_estimate_leaves_nothing_out_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.tif", "b.tif", "out/a.tif"):
        save(name)
    before = Path("out/a.tif").read_bytes()
    for folder in ("out", "new"):
        assert main(["denoise", "a.tif", "b.tif", "--output-folder", folder, "--estimate", *QUICK]) == 0
        told = capsys.readouterr()
        assert re.findall(r"^(\S+) would take", told.out, re.MULTILINE) == ["a.tif", "b.tif"]
        assert not told.err
    assert Path("out/a.tif").read_bytes() == before
    assert not Path("new").exists()
    assert main(["denoise", "a.tif", "out/a.tif", "--estimate", *QUICK]) == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["a/x.tif", "b/x.tif"], "a/x.tif and b/x.tif would both be written to out/x.tif"),
        (["empty"], "empty is a folder without an image"),
        (["none*.tif"], "none*.tif matches no file"),
    ],
)
def test_images_that_cannot_be_told_apart_are_refused_before_the_first(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    for name in ("a/x.tif", "b/x.tif"):
        save(name)
    assert main(["denoise", *words, "--output-folder", "out", *QUICK]) == 1
    assert complaint in capsys.readouterr().err
    assert not Path("out").exists()


def test_patterns_that_the_shell_leaves_alone_are_read() -> None:
    for name in ("in/b.tif", "in/a.tif", "in/c.npy"):
        save(name)
    assert several.jobs(["in/*.tif", "in/b.tif"], "out") == [("in/a.tif", "out/a.tif"), ("in/b.tif", "out/b.tif")]


def test_an_option_that_is_unknown_is_no_image(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["denoise", "a.tif", "b.tif", "c.tif", "--output-folder", "out", "--itertions", "5"])
    assert stopped.value.code == 2
    assert "did you mean --iterations?" in capsys.readouterr().err


def test_settings_come_from_a_file_and_options_count_more() -> None:
    save("a.tif")
    quick = PRESETS["denoise-small"].changed(
        channels=4, scales=2, runs=1, iterations=3, seed=7, device="cpu", threads=1
    )
    Path("quick.json").write_text(quick.to_json())
    assert main(["denoise", "a.tif", "b.npy", "--settings", "quick.json", "--quiet"]) == 0
    record = json.loads(Path("b.npy.json").read_text())["napari-dip"]
    assert (record["settings"]["seed"], record["settings"]["iterations"]) == (7, 3)
    assert main(["denoise", "a.tif", "c.npy", "--settings", "b.npy.json", "--quiet"]) == 0
    assert np.array_equal(np.load("b.npy"), np.load("c.npy"))  # run again like this
    assert main(["denoise", "a.tif", "d.npy", "--settings", "b.npy.json", "--seed", "8", "--quiet"]) == 0
    assert not np.array_equal(np.load("b.npy"), np.load("d.npy"))


def test_settings_of_a_record_bring_what_is_known_of_the_instrument_too() -> None:
    save("a.tif")
    known = ["--gain", "2", "--offset", "3", "--kernel", "box"]
    assert main(["superresolve", "a.tif", "b.tif", "--factor", "2", *known, *QUICK]) == 0
    for more, camera in (([], {"gain": 2.0, "offset": 3.0}), (["--gain", "4"], {"gain": 4.0, "offset": 3.0})):
        again = ["superresolve", "a.tif", "c.tif", "--factor", "2", "--settings", "b.tif", "--overwrite", *more]
        assert main([*again, "--quiet"]) == 0
        record = files.read_record("c.tif")
        assert (record["camera"], record["kernel"]) == (camera, "box")
    assert main(["denoise", "a.tif", "d.tif", "--settings", "b.tif", "--iterations", "3", "--quiet"]) == 0
    assert "kernel" not in files.read_record("d.tif") or files.read_record("d.tif")["kernel"] is None


def test_a_png_is_rounded_and_says_so_but_its_settings_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    save("a.tif")
    quick = PRESETS["denoise-small"].changed(channels=4, scales=2, runs=1, iterations=3, device="cpu", threads=1)
    Path("quick.json").write_text(quick.to_json())
    assert main(["denoise", "a.tif", "b.png", "--settings", "quick.json", "--quiet"]) == 0
    assert re.search(r"Rounded: b.png holds whole numbers, \d+ levels? here; a TIFF", capsys.readouterr().out)
    assert main(["denoise", "a.tif", "c.tif", "--settings", "b.png", "--quiet"]) == 0
    exact = files.read("c.tif").values
    assert exact.dtype == np.float32
    assert np.array_equal(np.rint(exact), files.read("b.png").values)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--settings", "missing.json"], "missing.json"),
        (["--settings", "broken.json"], "'broken.json' is not JSON"),
        (["--settings", "wrong.json"], "iterations=-1"),
        (["--settings", "fine.json", "--preset", "denoise-self"], "leave out --preset"),
    ],
)
def test_settings_that_are_wrong_are_status_2(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("broken", "{"), ("wrong", '{"iterations": -1}'), ("fine", "{}")):
        Path(f"{name}.json").write_text(text)
    with pytest.raises(SystemExit) as stopped:
        main(["denoise", "a.tif", "b.tif", *words])
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err


def test_info_says_versions_devices_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    for words in (f"napari-dip {napari_dip.__version__}", f"torch {torch.__version__}", "Memory: ", "Device: cpu"):
        assert words in said
    with pytest.raises(SystemExit):
        main(["info", "more"])
