"""The command line: what can be said, what comes of it, and what a failure leaves behind."""

from __future__ import annotations

import itertools
import json
import os
import pkgutil
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from napari_dip.command import options, single
from napari_dip.command.cli import main
from napari_dip.core import memory
from napari_dip.core.cost import Cost
from napari_dip.core.operators import KERNELS
from napari_dip.io import files
from napari_dip.io.picture import Picture
from napari_dip.plan import instrument
from napari_dip.tables.settings import Settings, kinds_for, knobs, knobs_of, presets_for
from napari_dip.tables.tasks import TASKS
from napari_dip.terminal import Stop
from tests import bad_inputs
from tests.bad_inputs import Case, bad, odd

SOURCE = str(Path(files.__file__).resolve().parents[2])  # before a test changes the folder
QUICK = (
    "--iterations",
    "3",
    "--runs",
    "1",
    "--channels",
    "4",
    "--scales",
    "2",
    "--refine",
    "0",
    "--threads",
    "1",
    "--device",
    "cpu",
    "--quiet",
)
ENDLESS = ("--iterations", "1000000", "--stop", "iterations")
NEEDS = {
    "denoise": (),
    "inpaint": ("--mask", "m.png"),
    "superresolve": ("--factor", "2"),
    "deconvolve": ("--psf-sigma", "1"),
    "deblock": (),
    "enhance": ("--boost", "2"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where each test works, with an image in.tif and a mask m.png of its size."""
    monkeypatch.chdir(tmp_path)
    save("in.tif", noise(16, 16), "YX", pixel_size={"Y": 0.2, "X": 0.1}, unit="µm")
    mask = np.zeros((16, 16), "uint8")
    mask[3:6, 3:6], mask[9:12, 9:12] = 1, 2
    save("m.png", mask, "YX")
    return tmp_path


def noise(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 200, shape, dtype="uint8")


def save(name: str, values: np.ndarray[Any, Any], axes: str, **rest: Any) -> None:
    files.write(name, values, Picture(values=values, axes=axes, **rest))


def start(*words: str) -> subprocess.Popen[str]:
    """A Python of its own, which imports the same package."""
    return subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": SOURCE},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("task", TASKS)
def test_every_knob_is_an_option_of_its_tasks(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name, knob in knobs().items():
        default = getattr(Settings(), name)
        option = f"--{name.replace('_', '-')}"
        words = [f"--no{option[1:]}"] if knob.kind == "bool" else [option, str(default)]
        if name == "code":
            words[1] = "mesh"
        command = [task, "a.tif", "b.tif", *NEEDS[task], *words]
        if name in knobs_of(task):
            _, changes = options.parse(command)
            assert changes == {name: {"code": "mesh"}.get(name, False if knob.kind == "bool" else default)}
        else:
            with pytest.raises(SystemExit, match="2"):
                options.parse(command)
    with pytest.raises(SystemExit, match="0"):
        options.parse([task, "--help"])
    listed = "".join(capsys.readouterr().out.split()).partition("oneofauto,")[2].partition(";")[0]
    assert listed.split(",") == [name.replace(" ", "") for name in (*kinds_for(task), *presets_for(task))]


def test_the_series_that_a_warning_lists_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    detail = {"Name": "detail", "axes": "ZYX", "PhysicalSizeX": 0.1}
    with tifffile.TiffWriter("two.ome.tif", ome=True) as writer:
        writer.write(noise(16, 16), metadata={"Name": "overview"})
        writer.write(noise(2, 16, 18), photometric="minisblack", metadata=detail)
    assert main(["noise", "two.ome.tif"]) == 0
    assert "0: overview, YX (16, 16); 1: detail, ZYX (2, 16, 18)" in capsys.readouterr().err
    assert main(["denoise", "two.ome.tif", "b.tif", *QUICK, "--series", "1", "--together", "z"]) == 0
    assert capsys.readouterr().err == ""
    assert files.read("b.tif").values.shape == (2, 16, 18)
    assert files.read("b.tif").pixel_size["X"] == 0.1


def test_only_what_was_said_is_passed_on() -> None:
    _, changes = options.parse(["denoise", "a", "b"])
    assert changes == {}
    words = ["--channels", "4,8", "--scales", "2", "--upsampling", "nearest,bilinear", "--no-pointwise-up"]
    _, changes = options.parse(["denoise", "a", "b", *words])
    assert changes == {"channels": (4, 8), "scales": 2, "upsampling": ("nearest", "bilinear"), "pointwise_up": False}


def test_the_kernels_are_those_of_the_operator() -> None:
    assert tuple(KERNELS) == instrument.KERNELS


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "TASK"),
        (["sharpen", "in.tif", "out.tif"], "sharpen"),
        (["denoise", "in.tif"], "OUT"),
        (["denoise", "in.tif", "out.tif", "--itertions", "5"], "did you mean --iterations?"),
        (["denoise", "in.tif", "out.tif", "--itertions=5"], "did you mean --iterations?"),
        (["denoise", "in.tif", "out.tif", "--psf=5"], "--psf is not for denoise, but for superresolve and deconvolve"),
        (["denoise", "in.tif", "out.tif", "another.tif"], "one word too many"),
        (["denoise", "in.tif", "out.tif", "--iterations", "-5"], "iterations=-5"),
        (["denoise", "in.tif", "out.tif", "--learning-rate", "nan"], "learning_rate=nan"),
        (["denoise", "in.tif", "out.tif", "--channels", "4,x"], "16,32,64"),
        (["denoise", "in.tif", "out.tif", "--channels", "4,8"], "scales=5"),
        (["denoise", "in.tif", "out.tif", "--preset", "photo"], "did you mean 'photograph'?"),
        (["denoise", "in.tif", "out.tif", "--preset", "original-denoice"], "did you mean 'original-denoise'?"),
        (["denoise", "in.tif", "out.tif", "--code", "guide"], "--guide FILE"),
        (["denoise", "", "out.tif"], "IN is empty"),
        (["noise", ""], "IN is empty"),
        (["denoise", ".", "out2"], ". is a folder; name one for the results of its images: --output-folder OUT"),
        (["denoise", "in.tif", "out.tif", "--mask-label", "1"], "--mask"),
        (["denoise", "in.tif", "out.tif", "--factor", "2"], "--factor"),
        (["denoise", "in.tif", "out.tif", "--affine"], "--truth"),
        (["noise", "in.tif", "--mask-is-known"], "--mask"),
        (["noise", "in.tif", "out.tif"], "one word too many"),
        (["superresolve", "in.tif", "out.tif"], "--factor"),
        (["superresolve", "in.tif", "out.tif", "--factor", "1"], "enlarges nothing"),
        (["deconvolve", "in.tif", "out.tif"], "--psf --psf-sigma is required"),
        (["deconvolve", "in.tif", "out.tif", "--psf-sigma", "a"], "1.5 or 3,1,1"),
        (["deconvolve", "in.tif", "out.tif", "--psf-sigma", "1", "--psf", "p.tif"], "not allowed with"),
        (["denoise", "in.tif", "out.tif", "--psf-sigma", "1"], "--psf-sigma"),
        (["superresolve", "in.tif", "out.tif", "--factor", "2,0"], "at least 1"),
        (["superresolve", "in.tif", "out.tif", "--factor", "2", "--kernel", "lanczos9"], "lanczos9"),
    ],
)
def test_a_command_that_makes_no_sense_is_status_2(
    words: list[str], complaint: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    said = capsys.readouterr()
    assert stopped.value.code == 2
    assert said.out == ""
    assert complaint in said.err.splitlines()[-1]
    assert not (folder / "out.tif").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["explict"], "experiment 'explict' must be one of impedance"),
        (["ablation", "--question", "skip"], "question 'skip' must be one of skips"),
        (["preimage", "--network", "vgg16"], "network 'vgg16' must be textures"),
    ],
)
def test_a_wrong_name_in_the_laboratory_is_said_before_anything_is_read(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lab", words[0], "missing.tif", *words[1:]]) == 1
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["denoise", "missing.tif", "out.tif"], "missing.tif is not there"),
        (["denoise", "text.tif", "out.tif"], "text.tif cannot be read"),
        (["denoise", "in.tif", "out.gif"], "out.gif ends in none of .tif, .tiff, .png, .jpg, .jpeg, .npy, .zarr"),
        (["denoise", "in.tif", "nowhere/out.tif"], "nowhere is not a folder"),
        (["denoise", "in.tif", "text.tif/out.tif"], "text.tif is not a folder"),
        (["denoise", "in.tif", "in.tif"], "in.tif is the same file as IN (in.tif)"),
        (["denoise", "in.tif", "in.tif", "--overwrite"], "in.tif is the same file as IN (in.tif)"),
        (["denoise", "in.tif", "link.tif", "--overwrite"], "link.tif is the same file as IN (in.tif)"),
        (["inpaint", "in.tif", "m.png", "--mask", "m.png", "--overwrite"], "m.png is the same file as --mask (m.png)"),
        (
            ["denoise", "in.tif", "a.tif", "--mask", "a-residual.tif", "--residual", "--overwrite"],
            "a-residual.tif is the same file as --mask",
        ),
        (["denoise", "in.tif", "out.tif", "--series", "1"], "series 1 is not one of its 1"),
        (["denoise", "stack.npy", "out.tif", "--series", "1"], "it holds one image"),
        (["denoise", "cells.nd2", "out.tif"], "read it in a script with nd2"),
        (["denoise", "in.tif", "text.tif"], "text.tif exists"),
        (["denoise", "stack.npy", "out.png"], "not a stack"),
        (["denoise", "bool.npy", "out.tif"], "image is boolean"),
        (["denoise", "in.tif", "out.tif", "--volume"], "--volume needs a z axis"),
        (["denoise", "in.tif", "out.tif", "--together", "T"], "--together T: in.tif has no time axis, only YX"),
        (
            ["denoise", "zyx.tif", "out.tif", "--volume", "--together", "z"],
            "--together Z: --volume restores the z planes",
        ),
        (["denoise", "rgb.tif", "out.tif", "--together", "C"], "--together C: the colours of rgb.tif are"),
        (["denoise", "in.tif", "out.tif", "--device", "abacus"], "device='abacus'"),
        (["denoise", "in.tif", "out.tif", "--guide", "stack.npy"], "guide has shape (2, 16, 16)"),
        (["inpaint", "in.tif", "out.tif"], "mark the missing pixels with True or 1 (--mask FILE)"),
        (["inpaint", "in.tif", "out.tif", "--mask", "m.png", "--mask-label", "7"], "--mask-label 7 is not in m.png"),
        (["inpaint", "in.tif", "out.tif", "--mask", "stack.npy"], "give a mask of the same pixels"),
        (["superresolve", "in.tif", "out.tif", "--factor", "2,2,2"], "factor=(2, 2, 2)"),
        (["superresolve", "zyx.tif", "out.tif", "--factor", "4,1,1"], "--factor 4,1,1 is for z, y and x: say --volume"),
        (["deconvolve", "zyx.tif", "out.tif", "--psf-sigma", "3,1,1"], "--psf-sigma 3.0,1.0,1.0 is for z, y and x"),
        (["deconvolve", "in.tif", "out.tif", "--psf-sigma", "3,1,1"], "3 standard deviations for 2 axes of space"),
        (["deconvolve", "in.tif", "out.tif", "--psf-sigma", "0"], "not all 0"),
        (["deconvolve", "in.tif", "out.tif", "--psf", "stack.npy"], "psf has shape (2, 16, 16)"),
        (["deconvolve", "in.tif", "out.tif", "--psf", "missing.tif"], "missing.tif is not there"),
    ],
)
def test_an_expected_failure_is_status_1_and_one_line(
    words: list[str], complaint: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "text.tif").write_text("no image")
    (folder / "link.tif").symlink_to(folder / "in.tif")
    save("a-residual.tif", np.eye(16, dtype="uint8"), "YX")
    np.save("stack.npy", noise(2, 16, 16))
    save("zyx.tif", noise(4, 16, 16), "ZYX")
    save("rgb.tif", noise(16, 16, 3), "YXS")
    np.save("bool.npy", noise(16, 16) > 9)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert main([*words[:3], *QUICK, *words[3:]]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("napari-dip: error: ")
    assert said.err.count("\n") == 1
    assert complaint in said.err
    assert said.out == ""
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("error", [MemoryError(), ArithmeticError("the loss was\nnever finite"), OSError("disk full")])
def test_a_failure_of_the_run_is_status_1_and_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("napari_dip.run.restore.iterate", fail)
    assert main(["denoise", "in.tif", "out.tif", *QUICK]) == 1
    assert capsys.readouterr().err in (
        "napari-dip: error: memory ran out\n",
        "napari-dip: error: the loss was never finite\n",
        "napari-dip: error: disk full\n",
    )


def test_denoise_keeps_calibration_and_tells_how_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["denoise", "in.tif", "out.tif", "--seed", "7", *QUICK]) == 0
    after = files.read("out.tif")
    assert after.pixel_size == pytest.approx({"Y": 0.2, "X": 0.1})
    assert after.unit == "µm"
    assert after.values.dtype == np.float32
    assert after.record["task"] == "denoise"
    assert after.record["settings"]["seed"] == 7
    assert after.record["settings"]["channels"] == 4
    assert after.record["files"] == {"source": "in.tif"}
    said = capsys.readouterr()
    for word in ("out.tif", "finished all 3 iterations", "cpu (as device='cpu' says)", " s "):
        assert word in said.out
    assert said.err == ""


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ((), lambda mask: mask != 0),
        (("--mask-label", "2"), lambda mask: mask == 2),
        (("--mask-is-known",), lambda mask: mask == 0),
        (("--mask-label", "1", "--mask-is-known"), lambda mask: mask != 1),
    ],
)
def test_inpaint_changes_what_the_mask_says(words: tuple[str, ...], missing: Any) -> None:
    assert main(["inpaint", "in.tif", "out.tif", "--mask", "m.png", *words, "--output-dtype", "input", *QUICK]) == 0
    hole = missing(files.read("m.png").values)
    before, after = files.read("in.tif").values, files.read("out.tif")
    np.testing.assert_array_equal(after.values[~hole], before[~hole])
    assert (after.values[hole] != before[hole]).mean() > 0.8
    assert after.record["missing_pixels"] == hole.sum()


def test_inpaint_takes_nan_for_a_hole() -> None:
    image = noise(16, 16).astype("float32")
    image[4:7, 4:7] = np.nan
    save("nan.tif", image, "YX")
    assert main(["inpaint", "nan.tif", "out.tif", *QUICK]) == 0
    assert np.isfinite(files.read("out.tif").values).all()


def test_superresolve_divides_the_pixel_size() -> None:
    assert main(["superresolve", "in.tif", "out.tif", "--factor", "2,3", "--kernel", "box", *QUICK]) == 0
    after = files.read("out.tif")
    assert after.values.shape == (32, 48)
    assert after.pixel_size == pytest.approx({"Y": 0.1, "X": 0.1 / 3})
    assert (after.record["factor"], after.record["kernel"]) == ([2, 3], "box")


def test_a_volume_is_enlarged_and_its_blur_undone_along_z_alone() -> None:
    """The pixel size along z is divided, and the generator knows how coarse the voxels are."""
    save("zyx.tif", noise(4, 12, 10), "ZYX", pixel_size={"Z": 2.0, "Y": 0.5, "X": 0.5}, unit="µm")
    words = ["zyx.tif", "out.tif", "--volume", "--factor", "4,1,1", "--kernel", "box", "--psf-sigma", "2,1,1", *QUICK]
    assert main(["superresolve", *words]) == 0
    after = files.read("out.tif")
    assert after.values.shape == (16, 12, 10)
    assert after.pixel_size == pytest.approx({"Z": 0.5, "Y": 0.5, "X": 0.5})
    assert (after.record["factor"], after.record["voxel_size"]) == ([4, 1, 1], pytest.approx([2, 0.5, 0.5]))


def test_deconvolve_reads_the_point_spread_function_from_a_file() -> None:
    save("psf.tif", noise(5, 6), "YX")
    words = ["in.tif", "out.tif", "--psf", "psf.tif", "--psf-centre", "maximum", "--noise-control", *QUICK]
    assert main(["deconvolve", *words]) == 0
    after = files.read("out.tif")
    assert after.values.shape == (16, 16)
    assert after.pixel_size == pytest.approx({"Y": 0.2, "X": 0.1})
    assert after.record["files"]["psf"] == "psf.tif"
    assert after.record["psf"]


@pytest.mark.parametrize("planes", [3, 4, 5])
def test_a_point_spread_function_of_few_planes_has_no_colours(planes: int) -> None:
    psf = np.ones((planes, 7, 5), np.uint8)
    colours: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate"} if planes < 5 else {}
    tifffile.imwrite("psf.tif", psf, **colours)  # as it does of itself
    args, _ = options.parse(["deconvolve", "in.tif", "out.tif", "--volume", "--psf", "psf.tif"])
    np.testing.assert_array_equal(options.said(args)["psf"], psf)


def test_a_mask_whose_colours_differ_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    rng, mask = np.random.default_rng(0), np.zeros((16, 16, 3), "uint8")
    for colour in range(3):
        mask[3:5, 3 + colour : 5 + colour, colour] = 255
    save("rgb.tif", rng.integers(0, 200, (16, 16, 3), dtype="uint8"), "YXS")
    save("colours.tif", mask, "YXS")
    assert main(["inpaint", "rgb.tif", "out.tif", "--mask", "colours.tif", *QUICK]) == 0
    assert (
        "the colours of colours.tif differ: what is missing in one counts as missing in all" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("paper", "ink"), [((0, 0, 200), (255, 0, 0)), ((0, 0, 0), (255, 0, 0)), ((255, 0, 0), (255, 255, 255))]
)
@pytest.mark.parametrize("known", [False, True])
def test_the_bright_one_of_two_colours_is_what_a_mask_marks(
    paper: tuple[int, ...], ink: tuple[int, ...], known: bool
) -> None:
    hole = np.zeros((16, 16), bool)
    hole[3:5, 3:9] = True
    marked = hole != known
    save("colours.tif", np.where(marked[..., None], np.uint8(ink), np.uint8(paper)), "YXS")
    args, _ = options.parse(["inpaint", "in.tif", "out.tif", "--mask", "colours.tif", *["--mask-is-known"] * known])
    with warnings.catch_warnings(action="error"):
        found = single.missing(args, files.read("in.tif"))
    assert np.array_equal(found, hole)


def test_each_slice_of_a_stack_is_restored_on_its_own_with_the_same_mask() -> None:
    stack = noise(2, 16, 16)
    save("zyx.tif", stack, "ZYX", pixel_size={"Z": 0.3, "Y": 0.2, "X": 0.1}, unit="µm")
    assert main(["inpaint", "zyx.tif", "out.tif", "--mask", "m.png", *QUICK]) == 0
    after = files.read("out.tif")
    assert after.axes == "ZYX"
    assert after.pixel_size == pytest.approx({"Z": 0.3, "Y": 0.2, "X": 0.1})
    assert after.record["input"]["leading_axes"] == 1
    hole = files.read("m.png").values != 0
    np.testing.assert_array_equal(after.values[:, ~hole], stack[:, ~hole])


def test_a_volume_is_restored_as_one_for_each_time_and_channel() -> None:
    save("tzcyx.tif", noise(2, 2, 8, 9, 10), "TCZYX")
    assert (
        main(["superresolve", "tzcyx.tif", "out.tif", "--volume", "--factor", "2,1,1", *QUICK, "--iterations", "1"])
        == 0
    )
    after = files.read("out.tif")
    assert (after.axes, after.values.shape) == ("TCZYX", (2, 2, 16, 9, 10))
    assert after.record["input"]["leading_axes"] == 2


def test_one_axis_is_restored_together_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    save("tzcyx.tif", noise(2, 3, 2, 9, 10), "TCZYX")
    assert main(["denoise", "tzcyx.tif", "out.tif", "--together", "c", *QUICK, "--iterations", "1"]) == 0
    assert capsys.readouterr().out.startswith("Together: edges correlate by ")
    after = files.read("out.tif")
    assert (after.axes, after.values.shape) == ("TCZYX", (2, 3, 2, 9, 10))
    assert (after.record["input"]["leading_axes"], after.record["input"]["channel_axis"]) == (2, 1)
    assert after.record["iterations"] == 4


def test_colours_are_restored_together_and_transparency_is_kept() -> None:
    alpha = noise(16, 16)
    save("rgba.png", noise(16, 16, 3), "YXS", alpha=alpha)
    assert main(["denoise", "rgba.png", "out.png", *QUICK]) == 0
    after = files.read("out.png")
    assert (after.axes, after.values.dtype) == ("YXS", np.uint8)
    assert after.record["input"]["channel_axis"] == 2
    np.testing.assert_array_equal(after.alpha, alpha)


def test_an_odd_order_of_axes_is_understood() -> None:
    tifffile.imwrite("syx.tif", noise(3, 16, 16), photometric="rgb", planarconfig="separate")
    assert main(["denoise", "syx.tif", "out.tif", *QUICK]) == 0
    after = files.read("out.tif")
    assert (after.axes, after.values.shape) == ("YXS", (16, 16, 3))


@pytest.mark.parametrize("ending", ["png", "jpg", "npy", "ome.tif"])
def test_other_formats_go_in_and_out(ending: str) -> None:
    deep = noise(16, 16).astype("uint16" if ending != "jpg" else "uint8")
    deep *= 1 if ending == "jpg" else 300
    save(f"a.{ending}", deep, "YX")
    assert main(["denoise", f"a.{ending}", f"out.{ending}", *QUICK]) == 0
    after = files.read(f"out.{ending}")
    assert after.values.dtype == (deep.dtype if ending in ("png", "jpg") else np.float32)
    assert after.values.max() > deep.max() / 4
    assert after.record["task"] == "denoise"


def test_a_float_image_becomes_a_png_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    save("float.tif", noise(16, 16).astype("float32"), "YX")
    assert main(["denoise", "float.tif", "out.png", *QUICK]) == 0
    assert files.read("out.png").values.max() == 65535
    said = capsys.readouterr().err
    assert said.startswith("napari-dip: warning: out.png holds whole numbers")
    assert said.count("\n") == 1


def test_a_guide_guides(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["denoise", "in.tif", "out.tif", "--guide", "m.png", *QUICK]) == 0
    after = files.read("out.tif")
    assert after.record["settings"]["code"] == "guide"
    assert after.record["files"]["guide"] == "m.png"
    save("coarse.tif", noise(8, 8), "YX", pixel_size={"Y": 400, "X": 200}, unit="nm")
    assert main(["denoise", "in.tif", "out.tif", "--overwrite", "--guide", "coarse.tif", *QUICK]) == 0
    save("unknown.tif", noise(8, 8), "YX")
    assert main(["denoise", "in.tif", "out.tif", "--overwrite", "--guide", "unknown.tif", *QUICK]) == 1
    capsys.readouterr()
    dark = np.zeros((9, 9), np.uint8)
    dark[6:] = 1
    save("far.tif", dark, "YX", pixel_size={"Y": 900, "X": 900}, unit=files.read("in.tif").unit_of("X"))
    assert main(["denoise", "in.tif", "out.tif", "--overwrite", "--guide", "far.tif", *QUICK]) == 1
    assert re.search(r"far.tif shows nothing where in.tif is: .* 900 x 900 .*mend those", capsys.readouterr().err)


def test_an_image_of_one_value_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    save("flat.tif", np.full((16, 16), 9, "uint8"), "YX")
    assert main(["denoise", "flat.tif", "out.tif", *QUICK]) == 0
    assert (files.read("out.tif").values == 9).all()
    assert capsys.readouterr().err.splitlines() == [
        "napari-dip: warning: the image has one value only and comes back as it is"
    ]


def test_an_image_of_one_value_takes_no_time_and_no_figures_of_a_camera(capsys: pytest.CaptureFixture[str]) -> None:
    save("flat.tif", np.full((96, 96), 9, "uint8"), "YX")
    assert main(["denoise", "flat.tif", "--estimate"]) == 0
    assert re.search(r"and 0\.1 s at most\.", capsys.readouterr().out)
    assert main(["denoise", "flat.tif", "out.tif"]) == 0
    told = capsys.readouterr().out
    assert "gain" not in told
    assert "because" not in told
    assert "there was nothing to fit" in told


def test_figures_of_the_noise_are_those_of_noise_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype("float32")
    for name, image in (("ramp", ramp), ("flat", 0 * ramp), ("noisy", noise(64, 64))):
        save(f"{name}.tif", image, "YX")
        assert main(["noise", f"{name}.tif"]) == 0
        told = capsys.readouterr().out
        assert ("read noise" in told) is (name == "noisy")
        assert ("none found" in told) is (name == "flat")
        assert ("sigma" in told) is (name != "flat")


def test_overwriting_is_on_request_only() -> None:
    before = Path("in.tif").read_bytes()
    Path("out.tif").write_bytes(before)
    assert main(["denoise", "in.tif", "out.tif", *QUICK]) == 1
    assert Path("out.tif").read_bytes() == before
    assert main(["denoise", "in.tif", "out.tif", "--overwrite", *QUICK]) == 0
    assert files.read("out.tif").record["task"] == "denoise"
    assert Path("in.tif").read_bytes() == before


def test_the_bar_counts_over_all_slices(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import napari_dip.run.restore

    iterate = napari_dip.run.restore.iterate
    monkeypatch.setattr(
        "napari_dip.run.restore.iterate", lambda *args, **rest: iterate(*args, **{**rest, "interval": 0})
    )
    np.save("stack.npy", noise(2, 16, 16))
    assert main(["denoise", "stack.npy", "out.tif", *QUICK[:-1]]) == 0
    bar = capsys.readouterr().err
    assert "100%" in bar
    assert "slice 1 of 0-1: " in bar
    assert "iteration 3 of at most 3, loss=" in bar


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_and_keeps_the_result(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    asked, times = Stop.asked, itertools.count()

    def interrupt(stop: Stop) -> bool:
        if next(times) == 3:
            signal.raise_signal(number)
        return asked(stop)

    monkeypatch.setattr(Stop, "asked", interrupt)
    assert main(["denoise", "in.tif", "out.tif", *QUICK, *ENDLESS]) == 0
    record = files.read("out.tif").record
    assert 0 < record["iterations"] < 1000000
    assert "stopped by the user after" in capsys.readouterr().out
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_stopped_stack_with_empty_slices_is_not_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite("stack.tif", np.random.default_rng(0).normal(100, 9, (5, 16, 16)).astype(np.float32))
    times = itertools.count()
    monkeypatch.setattr(Stop, "asked", lambda stop: next(times) > 3)
    assert main(["denoise", "stack.tif", "out.tif", *QUICK, *ENDLESS]) == 1
    assert "Warning: Slices 1 to 4 are NaN" in capsys.readouterr().out
    assert np.isfinite(tifffile.imread("out.tif")[0]).all()


def test_a_result_that_memory_cannot_hold_is_refused_before_a_file_is_tried(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("napari_dip.io.files.rehearse", lambda *args, **options: pytest.fail("9 GB would be written"))
    tifffile.imwrite("tiny.tif", np.arange(256, dtype=np.float32).reshape(16, 16))
    assert main(["superresolve", "tiny.tif", "out.tif", "--factor", "3000"]) == 1
    assert "memory" in capsys.readouterr().err


@pytest.mark.parametrize(("where", "status"), [("io.files.rehearse", 130), ("terminal.Stop.begin", 1)])
def test_a_signal_before_the_first_iteration_writes_nothing(
    where: str, status: int, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT)
    step = pkgutil.resolve_name(f"napari_dip.{where}")

    def interrupted(*args: Any, **options: Any) -> Any:
        done = step(*args, **options)
        signal.raise_signal(signal.SIGINT)
        return done

    monkeypatch.setattr(f"napari_dip.{where}", interrupted)
    assert main(["denoise", "in.tif", "out.tif", *QUICK]) == status
    assert "nothing is written" in capsys.readouterr().err
    assert {path.name for path in folder.iterdir()} == {"in.tif", "m.png"}
    assert signal.getsignal(signal.SIGINT) is before


INTERRUPTED = """
import signal, sys
module = sys.argv.pop(1)
class Import:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            signal.raise_signal(signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where these tests run in the background
sys.meta_path.insert(0, Import())
from napari_dip.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    "module", ["napari_dip.command.cli", "numpy", "napari_dip.command.options", "tifffile", "torch", "torch.nn"]
)
def test_ctrl_c_during_an_import_is_one_line_and_status_130(module: str, folder: Path) -> None:
    with start("-c", INTERRUPTED, module, "denoise", "in.tif", "out.tif", *QUICK) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    assert re.fullmatch(r"napari-dip: aborted.*\n", err)
    assert not (folder / "out.tif").exists()


def test_ctrl_c_in_a_process_of_its_own_keeps_the_result(folder: Path) -> None:
    words = ["denoise", "in.tif", "out.tif", *QUICK[:-1], *ENDLESS]
    with start("-m", "napari_dip", *words) as process:
        assert process.stderr is not None
        said = ""
        while "loss=" not in said:
            letter = process.stderr.read(1)
            assert letter, said
            said += letter
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert "stopped by the user after" in out
    assert "Traceback" not in err
    assert files.read("out.tif").record["stop_reason"].startswith("stopped by the user")
    assert {path.name for path in folder.iterdir()} == {"in.tif", "m.png", "out.tif"}


# ------------------------------------------------------------------------------------------------ how far to trust it


def test_the_noise_of_an_image_is_said_in_a_sentence_and_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["noise", "in.tif", "--read-noise", "2.5", "--offset", "3"]) == 0
    first, *figures = capsys.readouterr().out.splitlines()
    assert first.startswith("Noise: ")
    assert dict(line.split("  ", 1) for line in figures).keys() == {
        "gain",
        "offset",
        "read noise",
        "sigma",
        "correlation",
        "impulses",
    }
    assert "offset       3 counts" in figures[1]
    assert "read noise   2.5 counts" in figures[2]


def test_bad_pixels_are_written_as_a_mask_to_inpaint_by(capsys: pytest.CaptureFixture[str]) -> None:
    image = np.random.default_rng(0).normal(100, 2, (2, 24, 24))
    image[1, 5, 7] = 300
    save("hot.tif", image.astype("float32"), "ZYX", pixel_size={"Y": 0.2, "X": 0.2}, unit="µm")
    assert main(["noise", "hot.tif", "--bad-pixels", "bad.tif"]) == 0
    bad = files.read("bad.tif")
    assert np.argwhere(bad.values).tolist() == [[1, 5, 7]]
    said = capsys.readouterr().out
    assert "0.00%" not in said  # beside the pixel that is marked
    assert "fewer than 0.10%, which may be chance, of the pixels" in said
    assert "bad.tif is written: 1 of 1152 pixels hot, dead, saturated or NaN" in said
    assert (bad.axes, bad.pixel_size) == ("ZYX", pytest.approx({"Y": 0.2, "X": 0.2}))
    assert main(["inpaint", "hot.tif", "out.tif", "--mask", "bad.tif", *QUICK]) == 0
    assert main(["noise", "hot.tif", "--bad-pixels", "bad.tif"]) == 1
    assert "bad.tif exists" in capsys.readouterr().err
    assert main(["noise", "hot.tif", "--bad-pixels", "bad.tif", "--overwrite"]) == 0


def test_the_camera_reaches_the_run() -> None:
    assert main(["denoise", "in.tif", "out.tif", "--gain", "0.5", "--offset", "-2", "--read-noise", "1", *QUICK]) == 0
    assert files.read("out.tif").record["camera"] == {"gain": 0.5, "offset": -2, "read_noise": 1}


@pytest.mark.parametrize(
    ("target", "uncertainty", "residual"),
    [
        ("out.tif", "out-uncertainty.tif", "out-residual.tif"),
        ("out.ome.tif", "out-uncertainty.ome.tif", "out-residual.ome.tif"),
        ("out.png", "out-uncertainty.tif", "out-residual.tif"),
        ("out.npy", "out-uncertainty.npy", "out-residual.npy"),
    ],
)
def test_uncertainty_and_residual_lie_beside_the_result(target: str, uncertainty: str, residual: str) -> None:
    words = ["superresolve", "in.tif", target, "--factor", "2", "--uncertainty", "--residual", *QUICK]
    assert main(words) == 0
    fine, coarse = files.read(uncertainty), files.read(residual)
    assert (fine.values.shape, coarse.values.shape) == ((32, 32), (16, 16))
    assert fine.pixel_size == pytest.approx({"Y": 0.1, "X": 0.05})
    assert coarse.pixel_size == pytest.approx({"Y": 0.2, "X": 0.1})
    assert (fine.values >= 0).all()
    assert (coarse.values < 0).any()
    assert (fine.record["shows"], coarse.record["shows"]) == ("uncertainty", "residual")


@pytest.mark.parametrize("word", ["--uncertainty", "--residual"])
def test_what_lies_beside_the_result_is_not_overwritten(
    word: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / f"out-{word[2:]}.tif").write_text("mine")
    assert main(["denoise", "in.tif", "out.tif", word, *QUICK]) == 1
    assert f"out-{word[2:]}.tif exists" in capsys.readouterr().err
    assert not (folder / "out.tif").exists()
    assert main(["denoise", "in.tif", "out.tif", word, "--overwrite", *QUICK]) == 0


def test_a_run_tells_its_noise_its_choices_and_its_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["denoise", "in.tif", "out.tif", "--stop", "iterations", *QUICK]) == 0
    record = files.read("out.tif").record
    said = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in said[1:5]] == ["Noise", "Method", "Stopping rule", "Residual"]
    assert said[4] == f"Residual: {record['residual_verdict']['sentence']}."
    assert [line.removeprefix("Warning: ").rstrip(".") for line in said[5:]] == record["warnings"]


def test_a_hole_that_nothing_determines_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    image = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(48, 48)), 1).astype("float32")
    mask = np.zeros((48, 48), "uint8")
    mask[14:34, 14:34] = 1
    save("fine.tif", image, "YX")
    save("large.png", mask, "YX")
    assert main(["inpaint", "fine.tif", "out.tif", "--mask", "large.png", *QUICK]) == 0
    assert "Warning: The hole around" in capsys.readouterr().out


def test_the_truth_and_the_resolution_are_measured_before_and_after(capsys: pytest.CaptureFixture[str]) -> None:
    save("large.tif", noise(40, 40), "YX", pixel_size={"Y": 0.2, "X": 0.2}, unit="µm")
    save("truth.tif", noise(40, 40) + np.uint8(3), "YX")
    assert main(["denoise", "large.tif", "out.tif", "--truth", "truth.tif", "--resolution", *QUICK]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("Before", "After"))]
    assert [line.split()[0] for line in said] == ["Before:", "Before:", "After:", "After:"]
    assert "PSNR 38.59 dB" in said[0]
    assert "Fourier correlation at 1/7" in said[1]
    assert "PSNR" in said[2]
    assert "cannot tell structure from invention" in said[3]
    assert main(["denoise", "large.tif", "affine.tif", "--truth", "truth.tif", "--affine", *QUICK]) == 0
    assert "PSNR inf dB, SSIM 1.000, NRMSE 0.000, after scaling by 1 and adding 3" in capsys.readouterr().out


def test_pixels_that_are_missing_are_not_compared(capsys: pytest.CaptureFixture[str]) -> None:
    stack = noise(2, 40, 40)
    save("truth.tif", stack, "ZYX")
    mask = np.zeros((40, 40), "uint8")
    mask[4:8, 4:8] = 1
    stack[:, mask != 0] = 255
    save("stack.tif", stack, "ZYX")
    save("mask.tif", mask, "YX")
    words = ["--mask", "mask.tif", "--truth", "truth.tif", "--resolution"]
    assert main(["denoise", "stack.tif", "out.tif", *words, *QUICK]) == 0
    assert "Before: PSNR inf dB" in capsys.readouterr().out


def test_nan_is_not_compared_and_a_truth_of_something_else_is_asked_about(capsys: pytest.CaptureFixture[str]) -> None:
    truth = noise(16, 16).astype("float32")
    image = truth.copy()
    image[3, 4] = np.nan
    save("nan.tif", image, "YX")
    save("truth.tif", truth, "YX")
    save("other.tif", truth / 100, "YX")
    assert main(["denoise", "nan.tif", "out.tif", "--truth", "truth.tif", *QUICK]) == 0
    said = capsys.readouterr().out
    assert "Before: PSNR inf dB" in said
    assert "Is this the truth" not in said
    assert main(["denoise", "in.tif", "out2.tif", "--truth", "other.tif", *QUICK]) == 0
    assert "Is this the truth of this image?" in capsys.readouterr().out


def test_the_resolution_of_a_volume_of_few_planes_is_that_of_its_planes(capsys: pytest.CaptureFixture[str]) -> None:
    save("volume.tif", noise(4, 32, 32), "ZYX")
    assert main(["denoise", "volume.tif", "out.tif", "--volume", "--resolution", *QUICK]) == 0
    said = capsys.readouterr().out
    assert "Before: no detail above the noise (Fourier correlation at 1/7, plane by plane" in said


def test_an_image_of_one_value_has_no_resolution_and_no_control(capsys: pytest.CaptureFixture[str]) -> None:
    save("flat.tif", np.full((40, 40), 7.3, "float32"), "YX")
    assert main(["denoise", "flat.tif", "out.tif", "--resolution", "--noise-control", *QUICK]) == 0
    said = capsys.readouterr().out
    assert "Before: no detail above the noise" in said
    assert "Noise-only control: left out; result has no fit" in said


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["denoise", "in.tif", "out.tif", "--truth", "small.png"], "--truth has the shape (8, 8)"),
        (["superresolve", "in.tif", "out.tif", "--factor", "2", "--truth", "in.tif"], "will have (32, 32)"),
        (["denoise", "in.tif", "out.tif", "--resolution"], "--resolution: image has shape (16, 16)"),
        (["denoise", "in.tif", "out.tif", "--gain", "-1"], "gain=-1"),
        (["noise", "in.tif", "--gain", "nan"], "gain=nan"),
    ],
)
def test_what_cannot_be_measured_fails_before_the_run(
    words: list[str], complaint: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save("small.png", noise(8, 8), "YX")
    assert main([*words, *(QUICK if words[0] != "noise" else ())]) == 1
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.out == ""
    assert not (folder / "out.tif").exists()


def test_the_noise_control_says_what_is_made_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["denoise", "in.tif", "out.tif", "--noise-control", *QUICK]) == 0
    assert "Noise-only control: Out of noise alone" in capsys.readouterr().out.splitlines()[-1]


# ------------------------------------------------------------------------------------------------------- the program


@pytest.mark.parametrize(
    "words",
    [("--help",), ("--version",), ("denoise", "--help"), ("noise", "--help"), ("denoise", "a", "b", "--seed", "x")],
)
def test_help_and_usage_errors_come_without_torch(words: tuple[str, ...]) -> None:
    script = (
        "import sys\nfrom napari_dip.command.cli import main\n"
        f"try: main({words!r})\nexcept SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    with start("-W", "error", "-c", script) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.splitlines()[-1] == "False"
    assert "napari-dip" in out + err


def test_the_package_is_a_program() -> None:
    with start("-m", "napari_dip", "--version") as process:
        out, _ = process.communicate()
    assert (process.returncode, out.split()[0]) == (0, "napari-dip")


def run_case(case: Case) -> int:
    """Save what a case hands in, and run its command; the exit status."""
    np.save("case.npy", case.image())
    words = [case.task, "case.npy", "out.npy", "--quiet"]
    mask = case.mask()
    if mask is not None:
        np.save("case-mask.npy", mask)
        words += ["--mask", "case-mask.npy"]
    for name, value in {**bad_inputs.QUICK, "threads": 1, **case.options}.items():
        text = ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
        words += [f"--{name.replace('_', '-')}", text]
    try:
        return main(words)
    except SystemExit as end:
        return int(end.code or 0)


@pytest.mark.parametrize("case", bad("cli"), ids=str)
def test_bad_input_is_one_clear_line_and_no_file(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_case(case) in (1, 2)
    said = capsys.readouterr().err
    error = next(line for line in said.splitlines() if "error" in line)
    assert all(word in error for word in (case.cli_words or case.words)), error
    assert "Traceback" not in said
    assert not Path("out.npy").exists()


@pytest.mark.parametrize("case", odd("cli"), ids=str)
def test_odd_but_valid_input_works(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_case(case) == 0
    assert case.warning in capsys.readouterr().err
    assert np.isfinite(np.load("out.npy")).all()


def test_an_estimate_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["denoise", "in.tif", "out.tif", "--estimate", *QUICK]) == 0
    assert re.fullmatch(r"in.tif would take about \d+ [kMG]B and .+\.\n", capsys.readouterr().out)
    assert not Path("out.tif").exists()


@pytest.mark.parametrize(("share", "busy"), [(1.0, ""), (0.1, " This computer is busy now; else {}.")])
def test_an_estimate_is_for_the_machine_as_busy_as_it_is(
    share: float, busy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("napari_dip.core.cost.estimate", lambda *_, **__: Cost(10**6, 60.0))
    monkeypatch.setattr("napari_dip.plan.cost.share_of_processor", lambda threads: share)
    assert main(["denoise", "in.tif", "--estimate", "--threads", "1", *QUICK]) == 0
    said = f"in.tif would take about 1 MB and {60 / share:.0f} s at most.{busy.format('60 s')}\n"
    assert capsys.readouterr().out == said.replace("600 s", "10 min")


@pytest.mark.parametrize("more", [(), ("--uncertainty", "--residual")])
def test_an_estimate_needs_no_name_to_write_to(more: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["denoise", "in.tif", "--estimate", *more, *QUICK]) == 0
    assert capsys.readouterr().out.startswith("in.tif would take about ")


def test_the_name_to_write_to_may_stand_after_options(capsys: pytest.CaptureFixture[str]) -> None:
    args, _ = options.parse(["denoise", "in.tif", "--overwrite", "out.tif", "--quiet"])
    assert (args.source, args.target) == ("in.tif", "out.tif")
    with pytest.raises(SystemExit, match="2"):
        options.parse(["denoise", "in.tif", "--overwrite", "out.tif", "another.tif"])
    assert "'another.tif' is one word too many" in capsys.readouterr().err


def test_what_cannot_fit_is_an_error_with_a_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free", lambda device: 2**24)
    assert main(["superresolve", "in.tif", "out.tif", "--factor", "30", "--tile", "16", *QUICK]) == 1
    assert "a smaller factor than 30," in capsys.readouterr().err


@pytest.mark.parametrize("word", ["1.5", "1.5,2"])
def test_a_gaussian_is_undone_again_with_the_settings_of_its_result(word: str) -> None:
    assert main(["deconvolve", "in.tif", "out.tif", "--psf-sigma", word, *QUICK]) == 0
    first = files.read("out.tif")
    assert first.record["psf_sigma"] == [1.5, 2 if "," in word else 1.5]
    assert main(["deconvolve", "in.tif", "again.tif", "--settings", "out.tif"]) == 0
    again = files.read("again.tif")
    np.testing.assert_array_equal(again.values, first.values)
    assert again.record["psf"] == first.record["psf"]
    assert main(["deconvolve", "in.tif", "other.tif", "--settings", "out.tif", "--psf-sigma", "1"]) == 0
    assert files.read("other.tif").record["psf_sigma"] == [1, 1]


def test_a_record_without_a_point_spread_function_asks_for_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deconvolve", "in.tif", "out.tif", "--psf-sigma", "1.5", *QUICK]) == 0
    record = {**files.read("out.tif").record, "psf_sigma": None}
    Path("old.json").write_text(json.dumps(record))
    for more in (["--settings", "old.json"], []):
        with pytest.raises(SystemExit):
            main(["deconvolve", "in.tif", "again.tif", *more])
        assert "one of the arguments --psf --psf-sigma is required" in capsys.readouterr().err


def test_the_factor_comes_with_the_settings_of_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["superresolve", "in.tif", "out.tif", "--factor", "2", *QUICK]) == 0
    assert main(["superresolve", "in.tif", "again.tif", "--settings", "out.tif"]) == 0
    np.testing.assert_array_equal(files.read("again.tif").values, files.read("out.tif").values)
    with pytest.raises(SystemExit):
        main(["superresolve", "in.tif", "third.tif"])
    assert "the following arguments are required: --factor" in capsys.readouterr().err
