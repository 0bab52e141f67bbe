"""Results leave a script: as files, figures, labelled arrays, and through functions for other plugins."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage import io

import napari_dip
from napari_dip import Result, labelled, pictures
from napari_dip.io import files
from napari_dip.io.picture import make_picture
from napari_dip.tables.tasks import TASKS
from napari_dip.viewer import functions

TINY: dict[str, Any] = {"iterations": 3, "runs": 1, "channels": 4, "scales": 2, "refine": 0, "progress": False}
IMAGE = 100 + 50 * np.random.default_rng(0).random((16, 20), np.float32)


@pytest.fixture(scope="module")
def fine() -> Result:
    return napari_dip.superresolve(IMAGE, factor=2, voxel_size=(3, 3), preset="superresolve-small", **TINY)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.zarr", "a.png", "a.npy"])
def test_a_result_is_saved_with_its_record(name: str, fine: Result, tmp_path: Path) -> None:
    if name == "a.png":
        with pytest.warns(UserWarning, match="a.png"):
            fine.save(tmp_path / name)
    else:
        fine.save(str(tmp_path / name))
    again = pictures.read(tmp_path / name)
    assert again.record["settings"] == json.loads(json.dumps(fine.record["settings"]))
    if name != "a.png":  # whole numbers
        assert np.array_equal(again.values, fine.image)
        assert again.pixel_size == {"Y": 1.5, "X": 1.5}
    with pytest.raises(FileExistsError):
        fine.save(tmp_path / name)


def test_it_takes_the_calibration_of_the_file_that_it_came_from(fine: Result, tmp_path: Path) -> None:
    files.put(tmp_path / "cells.tif", make_picture(IMAGE, "YX", pixel_size={"Y": 0.4, "X": 0.4}, unit="µm"))
    fine.save(tmp_path / "out.ome.zarr", like=tmp_path / "cells.tif")
    again = pictures.read(tmp_path / "out.ome.zarr")
    assert (again.pixel_size, again.unit) == ({"Y": 0.2, "X": 0.2}, "µm")
    files.put(tmp_path / "other.tif", make_picture(IMAGE[:8], "YX"))
    with pytest.raises(ValueError, match=r"image of shape \(16, 40\), and the result has \(32, 40\); give the image"):
        fine.save(tmp_path / "no.tif", like=tmp_path / "other.tif")
    with pytest.raises(ValueError, match=r"no ends in none of .*\.zarr"):
        fine.save(tmp_path / "no")


@pytest.mark.parametrize(
    ("shape", "axes", "options"),
    [
        ((2, 12, 12), "ZYX", {"leading_axes": 1}),
        ((12, 12, 3), "YXS", {"channel_axis": -1}),
        ((2, 12, 12), "CYX", {"channel_axis": 0}),
        ((4, 12, 12), "ZYX", {}),
    ],
)
def test_axes_of_an_array_are_those_that_were_said(
    shape: tuple[int, ...], axes: str, options: dict[str, int], tmp_path: Path
) -> None:
    image = np.random.default_rng(1).random(shape, np.float32)
    result = napari_dip.denoise(image, preset="denoise-small", **TINY, **options)
    result.save(tmp_path / "a.tif")
    again = pictures.read(tmp_path / "a.tif")
    assert again.axes == axes
    assert np.array_equal(again.values, result.image)


def test_a_figure_shows_a_run(fine: Result, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = fine.plot()
    figure.savefig(tmp_path / "run.png")
    assert io.imread(tmp_path / "run.png")[..., :3].std() > 10
    assert [place.get_title() for place in figure.axes[:3]] == ["before", "after", "removed"]
    assert figure.axes[3].lines[0].get_xdata()[-1] <= fine.iterations


def test_a_figure_of_similar_patches_has_no_course() -> None:
    pytest.importorskip("matplotlib")
    image = np.random.default_rng(1).normal(100, 10, (64, 64))
    titles = [place.get_title() for place in napari_dip.denoise(image, quality="fast").plot().axes]
    assert [title for title in titles if title] == ["before", "after", "removed"]


def test_without_matplotlib_it_says_what_to_install(fine: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "napari-dip\[plot\]"'):
        fine.plot()


def test_functions_for_workflows_are_those_of_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def restored(image: Any, **options: Any) -> Any:
        seen.append(options)
        return type("Result", (), {"image": image + 1})

    assert {f"{task}_image" for task in TASKS} == set(functions.__all__)
    for task in TASKS:
        monkeypatch.setattr(napari_dip, task, restored, raising=False)
    stack = np.zeros((2, 4, 5, 6, 3))
    assert np.array_equal(functions.denoise_image(stack, volume=True, rgb=True), stack + 1)
    functions.inpaint_image(stack[0, 0, ..., 0], np.eye(5, 6, dtype=int))
    functions.superresolve_image(stack[0, ..., 0], factor=3)
    functions.deconvolve_image(stack[0, 0, ..., 0], sigma=2.0)
    functions.deblock_image(stack[0, 0], rgb=True)
    functions.enhance_image(stack[0, 0, ..., 0], boost=3.0)
    assert [each["leading_axes"] for each in seen] == [1, 0, 1, 0, 0, 0]
    assert [each["channel_axis"] for each in seen] == [-1, None, None, None, -1, None]
    assert seen[1]["mask"].dtype == bool
    assert (seen[2]["factor"], seen[3]["psf"], seen[5]["boost"]) == (3, 2.0, 3.0)


def test_their_types_are_naparis_for_magicgui() -> None:
    from magicgui.signature import magic_signature

    hints = magic_signature(functions.inpaint_image)
    assert "napari.types.ImageData" in str(hints.parameters["image"].annotation)
    assert "napari.types.LabelsData" in str(hints.parameters["mask"].annotation)
    assert hints.return_annotation == "napari.types.ImageData"


def test_labels_of_axes_survive() -> None:
    xarray = pytest.importorskip("xarray")
    image = xarray.DataArray(
        np.stack([IMAGE[:12, :12]] * 2, axis=1),
        dims=("y", "t", "x"),
        coords={
            "y": 3 + 0.5 * np.arange(12),
            "t": [1.0, 4.0],
            "x": 0.5 * np.arange(12),
            "exposure": 7,
            "row": ("y", range(12)),
        },
        attrs={"sample": "cells"},
        name="intensity",
    )
    made = labelled.restore("denoise", image, preset="denoise-small", **TINY)
    plain = napari_dip.denoise(
        image.values.transpose(1, 0, 2), leading_axes=1, voxel_size=(0.5, 0.5), preset="denoise-small", **TINY
    )
    assert np.array_equal(made.values, plain.image.transpose(1, 0, 2))
    assert made.dims == image.dims
    assert made.name == "intensity"
    assert set(made.coords) == set(image.coords)
    assert made.attrs.pop(labelled.RECORD)
    assert made.attrs == image.attrs
    mask = xarray.DataArray(np.eye(12, dtype=bool), dims=("y", "x"))
    filled = labelled.restore("superresolve", image, mask, factor=2, preset="superresolve-small", **TINY)
    assert filled.shape == (24, 2, 24)
    assert filled.coords["y"].values[:2] == pytest.approx([2.875, 3.125])
    assert "row" not in filled.coords
    assert json.loads(filled.attrs[labelled.RECORD])["missing_pixels"] == 24
    with pytest.raises(ValueError, match="'z' is not one of the dims"):
        labelled.restore("denoise", image, space=("z", "y", "x"))
    with pytest.raises(TypeError, match=r"image=ndarray has no dims; hand in xarray\.DataArray"):
        labelled.restore("denoise", image.values)


@pytest.mark.parametrize("task", TASKS)
def test_the_front_door_refuses_to_lose_labels_and_its_remedy_works(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(napari_dip, "labelled")  # as if nobody had imported it
    xarray = pytest.importorskip("xarray")
    needs = {"superresolve": {"factor": 2}, "deconvolve": {"psf": 1.5}}.get(task, {})
    values = np.stack([IMAGE[:12, :12]] * 3, axis=-1)
    if task == "inpaint":
        values[3, 4] = np.nan
    image = xarray.DataArray(values, dims=("row", "x", "c"), coords={"x": 0.5 * np.arange(12)})
    with pytest.raises(TypeError, match="its dims") as refused:
        getattr(napari_dip, task)(image, channel_axis=-1, **needs, **TINY)
    call = re.search(r"(napari_dip\.labelled\.restore\(.*)\) keeps", str(refused.value))
    assert call is not None
    made = eval(f"{call[1]}, **needs, **TINY)")
    assert made.dims == image.dims
    with pytest.raises(TypeError, match=r"source is a DataArray.*source\.data"):
        napari_dip.restore_blocks("denoise", image, tmp_path / "out.zarr")
    with pytest.raises(TypeError, match=r"channel_axis=-1 .* together="):
        labelled.restore(task, image, space=("row", "x"), channel_axis=-1)
