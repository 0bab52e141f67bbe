"""What fails costs what failed: a slice, a tile, an extra; the rest stands, and it is said."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]

from napari_dip import Result, deconvolve, denoise, inpaint, iterate, restore_blocks, superresolve, trust
from napari_dip.command.cli import main
from napari_dip.core.guard import Diverged
from napari_dip.core.methods import coverage
from napari_dip.core.methods.base import Fitter
from napari_dip.core.methods.selfguided import SelfGuidedFitter
from napari_dip.io import files
from napari_dip.io.arrays import open_source
from napari_dip.plan.request import read_instrument
from napari_dip.run.blocks.order import look
from napari_dip.terminal import one_line_warnings
from tests.bad_inputs import QUICK
from tests.core.tiny import picture

GUIDED = dict(preset="denoise-self", channels=4, scales=2, crop=16, batch=2, device="cpu")
PRIOR = {**QUICK, "preset": "denoise-small", "iterations": 4, "precision": "float32"}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole self-guided fits of a few iterations."""
    monkeypatch.setattr(coverage, "EPOCHS", (4, 4, 4))


@cache
def whole() -> Result:
    """The stack restored without a failure."""
    return denoise(stack(), leading_axes=1, **PRIOR)


def stack(count: int = 4, size: int = 16, sigma: float = 5) -> np.ndarray:
    """Frames (count, size, size) of 100 to 160 counts."""
    noise = np.random.default_rng(0).normal(0, sigma, (count, size, size))
    return np.asarray(100 + 60 * picture(size, size) + noise)


def registered(image: np.ndarray) -> np.ndarray:
    """A frame that was enlarged and interpolated: neighbours share their noise."""
    half = len(image) // 2
    return np.asarray(ndimage.zoom(image[:half, :half], 2, order=1))


class Failing:
    """Has the fits of some frames fail in an iteration; counts the fits that were begun.

    Frames are told apart by their brightest pixel.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, image: np.ndarray, *, step: int = 0, **errors: Exception
    ) -> None:
        self.errors = {int(name[1:]): error for name, error in errors.items()}
        self.begun: list[int] = []
        low, high = image.min(), image.max()
        levels = [(frame.max() - low) / (high - low) for frame in image]
        plain = Fitter.step

        def instead(search: Fitter) -> None:
            index = int(np.argmin([abs(float(search.problem.observation.max()) - level) for level in levels]))
            if search.iteration == step:
                self.begun.append(index)
                if index in self.errors:
                    raise self.errors[index]
            plain(search)

        monkeypatch.setattr(Fitter, "step", instead)


# ------------------------------------------------------------------------------------------ slices that differ in kind


@pytest.mark.parametrize(("odd", "at_once"), [(0, 1), (1, 3)])
def test_weights_go_over_only_where_the_networks_are_the_same(
    quick: None, monkeypatch: pytest.MonkeyPatch, odd: int, at_once: int
) -> None:
    """A frame whose neighbours share their noise is fitted in grids, by a smaller network."""
    image = np.random.default_rng(0).normal(100, 5, (3, 64, 64))
    image[odd] = registered(image[odd]) * 3
    monkeypatch.setattr("napari_dip.core.methods.bins.side_of", lambda *_: 1)  # else by means, in no grids
    plain, sizes = SelfGuidedFitter.lay_out, []

    def lay_out(search: SelfGuidedFitter, rng: Any) -> None:
        plain(search, rng)
        sizes.append(len(search._generator.state_dict()))

    monkeypatch.setattr(SelfGuidedFitter, "lay_out", lay_out)
    how = dict(
        leading_axes=1, at_once=at_once, **{**GUIDED, "scales": 5, "crop": 32, "batch": 4, "similar_patches": False}
    )
    result = denoise(image, **how)
    assert len(set(sizes)) == 2  # else this is no such stack
    assert result.complete
    assert np.isfinite(result.image).all()
    stop: list[bool] = []
    steps = iterate("denoise", image, **how, interval=0, should_stop=lambda: bool(stop))
    for progress in steps:
        if progress.slice == odd:
            stop.append(True)
    gone_on = denoise(image, leading_axes=1, resume=steps.result, at_once=at_once)
    assert gone_on.complete
    if at_once == 1:
        assert np.array_equal(gone_on.image, result.image)


@pytest.mark.parametrize("blank", [0.0, 5000.0, np.nan], ids=str)
@pytest.mark.filterwarnings("ignore:slice .* stays empty", "ignore:slice .* comes back as it is")
def test_blank_slices_tell_nothing_of_a_stack(blank: float) -> None:
    """Neither of its noise nor of its mean: in arrays, and in blocks."""
    photons = np.random.default_rng(0).poisson(100 + 60 * picture(32, 32), (4, 32, 32)).astype(float)
    blanked = np.insert(photons, [1, 4], blank, axis=0)
    full, holed = (denoise(each, leading_axes=1, **PRIOR) for each in (photons, blanked))
    assert holed.noise == full.noise
    assert holed.record["intensity_range"] == full.record["intensity_range"]
    assert not any("noise" in warning for warning in holed.warnings)
    assert np.array_equal(holed.image[[1, 5]], blanked[[1, 5]].astype(np.float32), equal_nan=True)
    noises = [trust.estimate_noise(each, leading_axes=1) for each in (photons, blanked)]
    assert noises[0] == noises[1]
    plans = []
    for each in (photons, blanked):
        samples = [(open_source(frame).part((slice(None), slice(None))), None) for frame in each]
        plans.append(look(read_instrument("denoise", 2), samples, None, dict(PRIOR))[0])
    assert plans[0].noise == plans[1].noise
    assert plans[0].level == plans[1].level


# ------------------------------------------------------------------------------------------------ slices, tiles, runs


ERRORS = [
    RuntimeError("split_with_sizes expects split_sizes to sum exactly to 6793"),
    ValueError("noise is not known"),
    Diverged("gave up; lower learning_rate"),
    KeyError("weights"),
    MemoryError("no more"),
]


@pytest.mark.parametrize(
    ("error", "which", "at_once"), list(zip(ERRORS, (1, 0, 3, 1, 0), (1, 4, 1, 4, 1), strict=True)), ids=str
)
def test_a_slice_that_fails_costs_that_slice(
    monkeypatch: pytest.MonkeyPatch, error: Exception, which: int, at_once: int
) -> None:
    image = stack()
    with monkeypatch.context() as patch:
        Failing(patch, image, **{f"_{which}": error})
        result = denoise(image, leading_axes=1, at_once=at_once, **PRIOR)
    others = [index for index in range(4) if index != which]
    assert np.array_equal(result.image[others], whole().image[others])
    for images in (result.image, result.last, result.residual):
        assert np.isnan(images[which]).all()
    assert not result.complete
    told = result.stop_reason, *result.warnings, *(event["message"] for event in result.record["events"])
    assert sum(str(error.args[0]) in sentence for sentence in told) >= 3
    assert f"slice {which} failed" in result.stop_reason
    assert f"Slice {which} " in result.warnings[0]
    assert result.record["warnings"] == list(result.warnings)
    gone_on = denoise(image, leading_axes=1, resume=result, iterations=4)
    assert np.array_equal(gone_on.image[which], whole().image[which])
    assert gone_on.complete


def test_a_failed_slice_of_whole_numbers_is_0_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    image = stack().astype(np.uint16)
    Failing(monkeypatch, image, _2=ERRORS[0])
    result = denoise(image, leading_axes=1, output_dtype="input", **PRIOR)
    assert not result.image[2].any()
    assert result.image[[0, 1, 3]].all()
    assert "the empty parts are 0, as integers have no NaN" in result.stop_reason


@pytest.mark.parametrize("axes", [{"leading_axes": 1}, {"leading_axes": 0, "channel_axis": 0}], ids=["slices", "one"])
def test_where_all_fail_the_error_is_raised(monkeypatch: pytest.MonkeyPatch, axes: dict[str, int]) -> None:
    image = stack()
    failing = Failing(monkeypatch, image, **{f"_{index}": ERRORS[0] for index in range(4)})
    with pytest.raises(RuntimeError, match="split_with_sizes"):
        denoise(image, **axes, **PRIOR)
    assert len(failing.begun) == (4 if axes["leading_axes"] else 1)


def test_a_slice_that_fails_again_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    image = stack()
    done = whole()
    Failing(monkeypatch, image, step=4, _1=ERRORS[0])
    more = denoise(image, leading_axes=1, resume=done, iterations=3)
    assert np.array_equal(more.image[1], done.image[1])
    assert not any(np.array_equal(more.image[index], done.image[index]) for index in (0, 2, 3))
    assert "as it was" in more.stop_reason
    assert [state.iteration for state in more.states] == [7, 4, 7, 7]  # type: ignore[union-attr]


def test_out_of_memory_in_two_slices_in_a_row_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    image = stack(6)
    shortage = {f"_{index}": MemoryError("no more") for index in (1, 3, 4)}
    failing = Failing(monkeypatch, image, **shortage)
    result = denoise(image, leading_axes=1, recompute="off", tile=16, **PRIOR)
    assert failing.begun == [0, 1, 2, 3, 4]
    assert [bool(np.isfinite(each).all()) for each in result.image] == [True, False, True, False, False, False]
    assert "the slices after it are empty" in result.stop_reason


@pytest.mark.parametrize("error", [ERRORS[0], ERRORS[2]], ids=lambda error: type(error).__name__)
def test_a_tile_or_a_run_that_fails_costs_no_other(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    plain, made = Fitter.begin, [0]

    def begin(search: Fitter, *rest: Any) -> None:
        made[0] += 1
        if made[0] == 2:
            raise error
        plain(search, *rest)

    monkeypatch.setattr(Fitter, "begin", begin)
    image = stack(1, 40)[0]
    tiles = denoise(image, tile=16, overlap=2, **PRIOR)
    assert made[0] == 9
    assert np.isnan(tiles.image[:10, 18:22]).all()
    assert np.isfinite(tiles.image[16:]).all()
    assert "tile 2 of 9 failed" in tiles.stop_reason
    made[0] = 0
    runs = denoise(image, **{**PRIOR, "runs": 3})
    assert made[0] == 3
    assert np.isfinite(runs.image).all()
    assert "run 2 of 3 failed" in runs.stop_reason
    assert str(error.args[0]) in tiles.stop_reason
    assert not tiles.complete
    assert not runs.complete


# ---------------------------------------------------------------------------------------------- on the command line

CLI = ("--iterations", "3", "--runs", "1", "--channels", "4", "--scales", "2", "--device", "cpu", "--quiet")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder at hand, with a stack in.tif."""
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("in.tif", stack(3).astype(np.uint16), imagej=True, metadata={"axes": "TYX"})
    return tmp_path


@pytest.mark.parametrize("error", [RuntimeError("on purpose"), KeyError("on purpose"), RecursionError("on purpose")])
def test_no_error_reaches_a_terminal_as_a_traceback(
    folder: Path, error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Fitter, "step", Mock(side_effect=error))
    assert main(["denoise", "in.tif", "out.tif", *CLI]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert type(error).__name__ in told
    assert "on purpose" in told
    monkeypatch.setenv("NAPARI_DIP_TRACEBACK", "1")  # as it says
    assert "NAPARI_DIP_TRACEBACK=1" in told
    assert main(["denoise", "in.tif", "out.tif", *CLI]) == 1
    assert "Traceback" in capsys.readouterr().err
    assert not (folder / "out.tif").exists()


def test_a_failed_slice_is_told_on_the_command_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Failing(monkeypatch, tifffile.imread("in.tif").astype(float), _1=RuntimeError("on purpose"))
    assert main(["denoise", "in.tif", "out.tif", *CLI]) == 1
    told = capsys.readouterr().out
    assert "slice 1 failed and is empty: RuntimeError: on purpose" in told
    assert "Warning: Slice 1 could not be restored" in told
    assert [bool(np.isfinite(each).all()) for each in tifffile.imread("out.tif")] == [True, False, True]


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (("residual",), OSError(28, "No space left on device")),
        (("",), MemoryError()),
        (("uncertainty", "residual"), RuntimeError("on purpose")),
        (("", "uncertainty", "residual"), OSError(28, "No space left on device")),
    ],
)
def test_what_cannot_be_written_is_kept_elsewhere(
    folder: Path,
    names: tuple[str, ...],
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The result and what comes with it alike; the others are written where they belong."""
    plain, spare = files.write, folder / "spare"
    spare.mkdir()

    def write(path: Any, *rest: Any, **named: Any) -> None:
        if Path(path).name in [f"out-{name}.tif" if name else "out.tif" for name in names]:
            raise error
        plain(path, *rest, **named)

    monkeypatch.setattr(files, "write", write)
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    assert main(["denoise", "in.tif", "out.tif", "--uncertainty", "--residual", *CLI]) == 1
    told = capsys.readouterr()
    kept = [str(path) for path in spare.iterdir()]
    assert len(kept) == len(names)
    assert all(path in told.err and np.load(path).shape == (3, 16, 16) for path in kept)
    assert "Traceback" not in told.err
    written = {"", "uncertainty", "residual"} - {*names}
    assert {path.name for path in folder.glob("out*")} == {f"out-{n}.tif" if n else "out.tif" for n in written}


# ------------------------------------------------------------------------------------- what all of a process share


@pytest.mark.filterwarnings("ignore:.*known pixel", "ignore:.*one value")
def test_blocks_in_threads_leave_the_filters_of_warnings_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """There is one set for the whole process: what one thread gives back, another has taken away."""
    entered = []
    enter = warnings.catch_warnings.__enter__

    def recording(catching: warnings.catch_warnings) -> Any:
        caller = sys._getframe(1)
        if threading.current_thread() is not threading.main_thread() and "napari_dip" in caller.f_code.co_filename:
            entered.append((caller.f_code.co_filename, caller.f_lineno))
        return enter(catching)

    image = stack(2)
    image[1] = 7  # which is warned of
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "in.png")

    def work(number: int) -> None:
        restore_blocks("denoise", image, tmp_path / f"{number}.zarr", leading_axes=1, client=False, **PRIOR)
        files.read(tmp_path / "in.png")
        with one_line_warnings():
            pass

    monkeypatch.setattr(warnings.catch_warnings, "__enter__", recording)
    work(9)  # what is imported on the way has filters of its own
    before = list(warnings.filters)
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, range(3)))
    assert list(warnings.filters) == before
    assert not entered


@pytest.mark.parametrize(
    "what",
    [
        lambda image: denoise(image, **PRIOR),
        lambda image: denoise(image, **GUIDED, iterations=2, uncertainty=True),
        lambda image: inpaint(image, image > 150, **{**QUICK, "iterations": 2}),
        lambda image: superresolve(image, 2, **{**QUICK, "iterations": 2}),
        lambda image: deconvolve(image, 1.0, **{**QUICK, "iterations": 2}),
        trust.estimate_noise,
        trust.find_bad_pixels,
        lambda image: trust.resolution(np.tile(image, (4, 4))),
        lambda image: trust.noise_control(denoise(image, **PRIOR), image),
    ],
    ids=[
        "prior",
        "self-guided",
        "inpaint",
        "superresolve",
        "deconvolve",
        "noise",
        "bad pixels",
        "resolution",
        "control",
    ],
)
def test_random_numbers_of_the_user_are_left_alone(what: Callable[[np.ndarray], Any]) -> None:
    image = stack(1, 32)[0]
    before = _random()
    what(image)
    assert _random() == before


def _random() -> list[str]:
    """The state of all generators that a process shares."""
    numbers = np.random.get_state(legacy=False)["state"]  # type: ignore[call-overload]  # noqa: NPY002
    return [str(random.getstate()), str(numbers["key"].tolist()), str(torch.get_rng_state().tolist())]


FORKED = """
import os, signal, sys, time
import numpy as np
import napari_dip

how = dict(preset=sys.argv[1], threads=2, iterations=3, device="cpu", similar_patches=False, progress=False)
image = np.random.default_rng(0).normal(100, 5, (64, 64))
napari_dip.denoise(image, **how)
if (child := os.fork()) == 0:
    os._exit(napari_dip.denoise(image, **how).iterations)
for _ in range(600):
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        sys.exit(os.waitstatus_to_exitcode(status))
    time.sleep(0.1)
os.kill(child, signal.SIGKILL)
sys.exit("the child hangs")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
def test_a_process_that_is_forked_after_a_fit_fits_too() -> None:
    """OpenMP's threads do not come along, and to wait for them would take for ever."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "2"}
    ended = subprocess.run(
        [sys.executable, "-c", FORKED, "denoise-self"], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 3, ended.stderr  # iterations
