"""A mask with greys is told, with what was made of it; labels go on meaning that all of them are missing."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]

from napari_dip import iterate
from napari_dip.command.cli import main
from napari_dip.io import files
from napari_dip.io.picture import Picture
from napari_dip.plan.greys import read_greys
from napari_dip.plan.inputs import read_slices

HOLES = np.zeros((64, 64), bool)
HOLES[10:20, 12:22] = HOLES[40:50, 30:40] = True


def counted(mask: np.ndarray[Any, Any]) -> int:
    """How many pixels of an image the API takes for missing."""
    return int(read_slices(np.zeros((64, 64)), mask, None, 0).missing.sum())


def jpeg(path: Path, quality: int = 75) -> np.ndarray[Any, Any]:
    Image.fromarray(HOLES.astype("uint8") * 255).save(path, quality=quality)
    return np.array(Image.open(path))


def disc(radius: float, dtype: str = "uint8") -> np.ndarray[Any, Any]:
    """An antialiased disc."""
    away = np.hypot(*np.indices((64, 64)) - 31.5)
    return np.rint(np.iinfo(dtype).max * np.clip(radius - away + 0.5, 0, 1)).astype(dtype)


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_a_jpeg_as_mask_counts_the_pixels_that_were_meant(tmp_path: Path, quality: int) -> None:
    mask = jpeg(tmp_path / "m.jpg", quality)
    assert (mask != 0).sum() > 200
    with pytest.warns(UserWarning, match="mask has greys: 200 pixels above 1.. count as missing, of .* not 0"):
        assert counted(mask) == 200


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("radius", [4, 9, 20])
def test_an_antialiased_mask_ends_in_the_middle_of_its_rim(radius: float, dtype: str) -> None:
    with pytest.warns(UserWarning, match="mask has greys"):
        assert counted(disc(radius, dtype)) == pytest.approx(np.pi * radius**2, rel=0.05)


def test_a_resampled_mask_ends_in_the_middle_of_its_rim() -> None:
    small = HOLES[::2, ::2].astype("uint8") * 255
    with pytest.warns(UserWarning, match="mask has greys"):
        assert counted(ndimage.zoom(small, 2, order=1)) == pytest.approx(200, rel=0.2)


def labels(kind: str) -> np.ndarray[Any, Any]:
    parts, _ = ndimage.label(HOLES)
    blobs = np.add.outer(np.arange(64) // 8 * 8, np.arange(64) // 8)
    found: dict[str, np.ndarray[Any, Any]] = {
        "one": HOLES.astype("uint8"),
        "255": HOLES.astype("uint8") * 255,
        "bool": HOLES,
        "two": parts,
        "many": blobs,
        "spread": (blobs * 4).astype("uint8"),
        "nested": (disc(20) > 0) * 1 + (disc(9) > 0) * 2,
        "ignored": np.where(HOLES, 255, (blobs % 7 == 1) * 100).astype("uint8"),
        "random": np.random.default_rng(0).integers(0, 200, (64, 64), dtype="uint8"),
        "ids": np.where(HOLES, 70000, 0) + np.where(disc(4) > 0, 40000, 0),
    }
    return found[kind]


@pytest.mark.parametrize("kind", ["one", "255", "bool", "two", "many", "spread", "nested", "ignored", "random", "ids"])
def test_labels_are_no_greys(kind: str) -> None:
    with warnings.catch_warnings(action="error"):
        assert counted(labels(kind)) == (labels(kind) != 0).sum()


def test_fractions_are_greys_and_whole_fractions_are_not() -> None:
    assert read_greys(HOLES.astype("float32"))[1] == ""
    level, said = read_greys(disc(9).astype("float32") / 255)
    assert (level, said != "") == (0.5, True)


def test_a_mask_that_leaves_next_to_nothing_is_suspected_and_scattered_pixels_are_not() -> None:
    image, known = np.random.default_rng(0).random((64, 64)), np.zeros((64, 64), bool)
    known[30:34, 10:50] = True
    quick = {"preset": "inpaint-small", "iterations": 1, "runs": 1, "channels": 4, "scales": 2}
    with pytest.warns(UserWarning, match="mask: 96% of the pixels count as missing; if those are the known ones"):
        iterate("inpaint", image, known == 0, **quick)
    for mask in (known, image > 0.1):
        iterate("inpaint", image, mask, **quick)


@pytest.mark.parametrize("task", ["denoise", "inpaint"])
def test_a_mask_is_not_suspected_of_what_it_did_not_hide(task: str) -> None:
    image, mask = np.random.default_rng(0).random((64, 64)), np.zeros((64, 64), bool)
    if task == "denoise":  # which a mask leaves a region for
        mask[12:] = True
    else:
        image[12:], mask[0, 0] = np.nan, True
    quick = {"preset": f"{task}-small", "iterations": 1, "runs": 1, "channels": 4, "scales": 2}
    with warnings.catch_warnings(action="error"):
        iterate(task, image, mask, **quick)


@pytest.mark.parametrize("known", [(), ("--mask-is-known",)])
@pytest.mark.parametrize("name", ["m.jpg", "m.tif"])
def test_the_command_line_tells_it_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, known: tuple[str, ...]
) -> None:
    mask = jpeg(tmp_path / "m.jpg")
    if name == "m.tif":
        files.write(tmp_path / name, mask, Picture(values=mask, axes="YX"))
    np.save(tmp_path / "in.npy", np.random.default_rng(0).normal(100, 5, (64, 64)).astype("float32"))
    assert main(["noise", str(tmp_path / "in.npy"), "--mask", str(tmp_path / name), *known]) == 0
    said = capsys.readouterr().err
    assert said.count("has greys: 200 pixels above 127 count as missing") == 1
    assert said.count("\n") == 1
