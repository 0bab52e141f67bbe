"""The benchmark, end to end, on a folder of tiny images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import distance_transform_edt

from napari_dip.core.noise.model import Noise
from napari_dip.tables.method import NEAR
from tests.core.tiny import picture

benchmarks = pytest.importorskip("benchmarks", reason="needs a checkout")

from benchmarks import classical, images, methods, report, zeroshot  # noqa: E402
from benchmarks.__main__ import main  # noqa: E402
from benchmarks.holes import MISSING  # noqa: E402

SIZE = 40


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image of each kind."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    truth = 20 + 200 * picture(SIZE, SIZE)
    photons = 4.0 * rng.poisson(truth / 4)
    colours = np.stack([truth, 240 - truth, truth], axis=-1)
    save(folder / "grey/a.png", truth)
    save(folder / "grey/b.png", truth.T)
    save(folder / "fmd/gt/cell.png", truth)
    save(folder / "fmd/raw/cell.png", photons)
    save(folder / "w2s/clean_1.tif", truth)
    save(folder / "w2s/raw_1.tif", 0.5 * photons + 10)
    save(folder / "colour/hat_GT.png", colours)
    save(folder / "colour/hat_noisy.png", colours + rng.normal(0, 25, colours.shape))
    save(folder / "inpainting/house_GT.png", truth)
    save(folder / "inpainting/house_masked.png", truth * (rng.random(truth.shape) < 0.5))
    save(folder / "inpainting/house_deep_prior.png", truth + 4)
    save(folder / "superresolution/bird_GT.bmp", colours)
    for name, volume in (
        ("data", 40 + picture(8, 12, 11)),
        ("kernel", np.ones((3, 3, 3))),
        ("actual", picture(8, 12, 11)),
    ):
        (folder / "volume").mkdir(exist_ok=True)
        tifffile.imwrite(folder / f"volume/{name}.tif", volume.astype(np.float32), photometric="minisblack")
    return folder


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process for each method takes seconds to start."""
    monkeypatch.setattr(methods, "measure", methods.run)
    monkeypatch.setattr(classical, "RICHARDSON_LUCY", (2, 4))
    monkeypatch.setattr(classical, "VARIATION", (0.01,))
    monkeypatch.setattr(classical, "BACK_PROJECTIONS", (1, 3))
    monkeypatch.setattr(zeroshot, "EPOCHS", 2)
    for package in classical.PACKAGES:  # whether installed or not, and they are slow
        monkeypatch.setitem(sys.modules, package, None)


def quality(data: Path, results: Path, *options: str) -> int:
    few = ("--iterations", "2", "--device", "cpu", "--results", str(results))
    return main(["quality", "--data", str(data), *few, *options])


def found(results: Path, name: str) -> dict[str, Any]:
    """What each method gave on the first image."""
    text = json.loads((results / f"{name}.json").read_text())
    assert {"commit", "on", "torch"} <= set(text)
    return text["images"][0]["methods"]


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("group", "methods"),
    [
        ("fmd", {"noisy", "NLM", "TV", "VST + patches", "ZS-N2N, short", "ours"}),
        ("w2s", {"noisy", "NLM", "TV", "VST + patches", "ZS-N2N, short", "ours"}),
        ("colour", {"noisy", "NLM", "TV", "VST + patches", "ZS-N2N, short", "ours"}),
        ("clip-25", {"noisy", "NLM", "TV", "VST + patches", "ZS-N2N, short", "ours"}),
        ("inpainting", {"masked", "biharmonic", "patches", "ours", "original, published"}),
        ("half", {"masked", "biharmonic", "patches", "ours"}),
        ("superresolution", {"bicubic", "Lanczos", "back projection, best", "patches", "ours"}),
        ("superresolution-10", {"bicubic", "Lanczos", "back projection, best", "patches", "ours"}),
        ("blur-30", {"blurred", "RL, best", "RL-TV, best", "Wiener, best", "patches", "ours"}),
        ("cells-100", {"blurred", "RL, best", "RL-TV, best", "Wiener, best", "patches", "ours"}),
        ("volume", {"blurred", "RL, best", "RL-TV, best", "Wiener, best", "patches", "ours"}),
    ],
)
def test_each_set_has_a_table_figures_and_a_picture(
    data: Path, tmp_path: Path, group: str, methods: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert quality(data, tmp_path, "--images", group) == 0
    figures = found(tmp_path, f"quality-{group}")
    assert set(figures) == methods
    assert all(figure["psnr_affine"] > figure["psnr"] - 1e-6 for figure in figures.values())
    assert all(np.isfinite(figure["psnr"]) and 0 < figure["ssim"] <= 1 for figure in figures.values())
    for name in ("RL-TV, best", "Wiener, best") if group == "blur-30" else ():
        assert figures[name]["psnr"] > figures["blurred"]["psnr"]
    if group == "superresolution":
        assert figures["back projection, best"]["psnr"] > figures["Lanczos"]["psnr"] > 20
    assert figures["ours"]["iterations"] == 2
    assert figures["ours"]["stop"]
    table = (tmp_path / f"quality-{group}.md").read_text()
    assert "| mean |" in table
    assert ("affine PSNR" in table) == (group not in ("w2s", "volume"))
    assert table.split("\n\n![")[0] in capsys.readouterr().out
    with Image.open(tmp_path / f"quality-{group}.png") as sheet:
        assert sheet.width > len(figures) * SIZE


@pytest.mark.usefixtures("in_this_process")
def test_the_best_iterate_is_at_least_as_good_as_the_last(data: Path, tmp_path: Path) -> None:
    quality(data, tmp_path, "--images", "grey-25/a", "--crop", "32", "--oracle", "--original", "--iterations", "21")
    figures = found(tmp_path, "quality-grey-25-32")
    assert figures["original, best"]["psnr"] >= figures["original"]["psnr"]
    assert figures["ours"]["gap to it, dB"] >= 0
    for name in ("ours", "original"):
        assert figures[name]["best iteration"] in (10, 20, 21)


def test_our_time_is_told_beside_that_of_the_original(data: Path, tmp_path: Path) -> None:
    few = ("--iterations", "20", "--device", "cpu", "--results", str(tmp_path))
    assert main(["pace", "--data", str(data), "--images", "grey-25/a", "--crop", "32", *few]) == 0
    found = json.loads((tmp_path / "pace-32.json").read_text())["images"][0]
    assert found["original_iteration"] in (10, 20)
    assert found["ours"] > found["noisy"]
    assert found["share"] == pytest.approx(found["as_good_seconds"] / found["original_seconds"])
    assert f"| grey-25/a | {found['noisy']:.2f} |" in (tmp_path / "pace-32.md").read_text()


def test_images_are_chosen_by_set_name_and_pattern(data: Path) -> None:
    def names(*wanted: str, task: str | None = None) -> list[str]:
        return [f"{case.group}/{case.name}" for case in images.cases(data, task, wanted)]

    greys = [f"grey-{sigma}/{name}" for sigma in (15, 25, 50) for name in "ab"]
    others = [f"{group}/{name}" for group in ("clip-25", "clip-50", "shared-25") for name in "ab"]
    assert names(task="denoise") == [*greys, *others, "fmd/cell", "w2s/1", "colour/hat"]
    assert names("grey-25") == ["grey-25/a", "grey-25/b"]
    assert names("a", task="denoise") == ["grey-15/a", "grey-25/a", "grey-50/a", *others[::2]]
    assert names("grey-15/a", "house") == ["grey-15/a", "inpainting/house"]
    assert names("grey-*/b", task="denoise") == ["grey-15/b", "grey-25/b", "grey-50/b"]
    assert names("b", task="inpaint") == ["half/b", "sparse/b", "text/b", "holes/b"]
    assert names("b", task="superresolve") == []


@pytest.mark.parametrize(
    ("group", "least", "most", "deepest"),
    [("half", 0.45, 0.55, 4), ("sparse", 0.88, 0.92, 12), ("text", 0.05, 0.2, NEAR), ("holes", 1 / 16, 1 / 16, 8)],
)
def test_pixels_are_missing_as_the_sets_say(group: str, least: float, most: float, deepest: float) -> None:
    missing = MISSING[group]((128, 192))
    assert least <= missing.mean() <= most
    assert 1 <= distance_transform_edt(missing).max() <= deepest


def test_neighbours_share_noise_as_the_methods_are_told(data: Path) -> None:
    case = next(images.cases(data, "denoise", ("shared-25/a",)))
    noise = case.observed - case.truth
    assert np.std(noise) == pytest.approx(25)
    for axis in (0, 1):
        seen = np.mean(noise * np.roll(noise, 1, axis)) / noise.var()
        assert seen == pytest.approx(case.noise.correlation, abs=0.05)
    assert "BM3D, 2 sigma" in classical.names(case)


def test_noise_is_white_and_the_same_each_time(data: Path) -> None:
    first, again = (next(images.cases(data, "denoise", ("grey-50/a",))) for _ in range(2))
    assert np.array_equal(first.observed, again.observed)
    assert np.std(first.observed - first.truth) == pytest.approx(50, rel=0.05)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize(("gain", "read"), [(4, 3), (0.5, 10), (0, 20)])
def test_the_true_noise_is_fitted(gain: float, read: float, affine: bool) -> None:
    rng, truth = np.random.default_rng(0), 50 + 400 * picture(192, 192)
    photons = gain * rng.poisson(truth / gain) if gain else truth
    noise = images.fit_noise(photons + rng.normal(0, read, truth.shape), 3 * truth - 7 if affine else truth, affine)
    assert noise.gain == pytest.approx(gain, rel=0.1, abs=0.2)
    assert noise.sigma == pytest.approx(np.sqrt(gain * truth.mean() + read**2), rel=0.03)
    np.testing.assert_allclose(noise.variance([100, 400]), gain * np.array([100, 400]) + read**2, rtol=0.1)


def test_the_best_of_a_row_is_bold_and_the_mean_needs_all() -> None:
    noise = Noise(gain=0, offset=0, read_noise=25, sigma=25)
    cases = [images.Case("grey-25", name, "denoise", np.eye(9), np.eye(9), noise, "original-denoise") for name in "ab"]
    rows = [report.Row(case) for case in cases]
    rows[0].add("good", 0.95 * np.eye(9), 1.0, 2**20, {})
    rows[0].add("bad", -300.0 * np.eye(9), 2.0, 2**21, {"stop": "at once"})
    rows[1].add("good", 0.9 * np.eye(9), 3.0, 0, {})
    psnr, ssim, *_ = (table.splitlines() for table in report.tables(rows).split("\n\n"))
    for lines in (psnr, ssim):
        assert [line.count("**") // 2 for line in lines] == [0, 0, 1, 1, 1]
        assert all(line.split(" | ")[1].startswith("**") for line in lines[2:])
        assert lines[4].split(" | ")[2] == " |"
    table = report.tables(rows)
    assert "| good | 2.0 | 3.0 | 1 |" in table
    assert "stop: at once" in table


def test_a_method_runs_in_a_process_of_its_own_which_is_watched(data: Path) -> None:
    case = next(images.cases(data, "denoise", ("grey-25/a",)))
    outcome = methods.measure("NLM", case)
    assert outcome.images["NLM"].shape == case.truth.shape
    assert outcome.seconds > 0
    assert outcome.memory >= 0
    with pytest.raises(RuntimeError, match="KeyError"):
        methods.measure("no such method", case)


def test_what_classical_methods_gave_is_kept(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def measure(name: str, case: images.Case, **options: Any) -> methods.Outcome:
        asked.append(name)
        return methods.run(name, case, **options)

    monkeypatch.setattr(methods, "measure", measure)
    for _ in range(2):
        quality(data, tmp_path, "--images", "superresolution", "--cache", str(tmp_path / "cache"))
    assert asked == ["bicubic", "Lanczos", "back projection, best", "patches", "ours", "patches", "ours"]


@pytest.mark.usefixtures("in_this_process")
def test_a_method_whose_package_is_missing_is_left_out_and_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quality(data, tmp_path, "--images", "grey-15/a", "--methods", "[!o]*") == 0
    left_out = capsys.readouterr().err
    assert "bm3d: pip install --group bench" in left_out
    assert "pywavelets: pip install --group bench" in left_out
    assert set(found(tmp_path, "quality-grey-15")) == {"noisy", "NLM", "TV", "VST + patches", "ZS-N2N, short"}


@pytest.mark.usefixtures("in_this_process")
def test_methods_and_the_quality_of_ours_can_be_chosen(data: Path, tmp_path: Path) -> None:
    assert quality(data, tmp_path, "--images", "half/a", "--methods", "bi*", "ours", "--quality", "best") == 0
    figures = found(tmp_path, "quality-half-best")
    assert set(figures) == {"biharmonic", "ours"}
    assert figures["ours"]["preset"] == "inpaint-small"


@pytest.mark.usefixtures("in_this_process")
def test_opencv_is_named_where_it_is_missing(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quality(data, tmp_path, "--images", "inpainting", "--methods", "[!o]*") == 0
    assert "opencv-python-headless: pip install --group bench" in capsys.readouterr().err
    figures = found(tmp_path, "quality-inpainting")
    assert set(figures) == {"masked", "biharmonic", "patches", "original, published"}
    error = 10 * np.log10(255**2 / (0.5 * 4**2))  # of the missing half: known pixels are put back
    assert figures["original, published"]["psnr"] == pytest.approx(error, abs=0.5)


def test_the_spectrum_of_the_noise_is_told_where_neighbours_share_it(data: Path) -> None:
    shared, white = (next(images.cases(data, "denoise", (f"{group}/a",))) for group in ("shared-25", "grey-25"))
    assert "BM3D, spectrum" in classical.names(shared)
    assert "BM3D, spectrum" not in classical.names(white)


def test_the_rival_without_training_data_removes_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zeroshot, "EPOCHS", 200)
    truth = 20 + 200 * picture(33, 40)
    noisy = truth + np.random.default_rng(0).normal(0, 25, truth.shape)
    made = zeroshot.zero_shot_n2n(noisy[None])[0]
    assert made.shape == truth.shape
    assert np.square(made - truth).mean() < 0.5 * np.square(noisy - truth).mean()


def test_a_folder_without_images_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quality(tmp_path, tmp_path) == 1
    assert "benchmarks/images.py" in capsys.readouterr().err


def test_a_stack_from_neighbours_is_compared_with_each_slice_from_nothing(tmp_path: Path) -> None:
    for name in ("02", "07"):
        save(tmp_path / f"grey/{name}.png", 20 + 200 * picture(SIZE, SIZE))
    small = ["--data", str(tmp_path), "--size", "32", "--iterations", "1", "--stacks", "07 moved, s*", "02, 07*"]
    assert main(["neighbours", *small, "--results", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "neighbours-32.json").read_text())["stacks"]
    assert [row["stack"] for row in rows] == ["07 moved, sigma 25", "02, 07; sigma 25"]
    assert all(len(row["gains"]) == len(row["learnt"]) == len(row["fresh"]) - 1 for row in rows)


def test_a_stack_is_timed_one_after_the_other_and_several_at_once(tmp_path: Path) -> None:
    small = ["--device", "cpu", "--slices", "2", "--size", "16", "--rounds", "1", "--iterations", "1"]
    assert main(["series", *small, "--results", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "series-cpu.json").read_text())["series"]
    assert [row["at_once"] for row in rows] == [1, 2, 1, 2, 1, 1]
    assert all(row.get("difference", 0) == 0 for row in rows)


def test_a_machine_without_git_is_measured_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert report.where("cpu")["commit"] == "unknown"
