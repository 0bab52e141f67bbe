"""Layers as files and back: nothing that a layer says is lost, and no file either."""

import json

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from qtpy.QtWidgets import QFileDialog
from yaozarrs import validate_zarr_store

from napari_dip.io import tiff
from napari_dip.viewer.opening import FILE, add_image
from napari_dip.viewer.restoration import METADATA
from napari_dip.viewer.saving import read_image, write_image
from tests.viewer.docks import restored

RNG = np.random.default_rng(0)
UM = "micrometer"
LAYERS = {
    "plane": dict(
        data=RNG.random((6, 8), np.float32),
        **dict(scale=(0.1, 0.2), units=(UM, UM), translate=(3, 4), rotate=10, gamma=0.5),
        **dict(colormap="viridis", contrast_limits=(0.1, 0.8), metadata={METADATA: {"task": "denoise", "seed": 3}}),
    ),
    "volume": dict(
        data=RNG.integers(0, 60000, (3, 6, 8)).astype(np.uint16),
        **dict(scale=(2, 0.1, 0.1), units=(UM,) * 3, axis_labels=("z", "y", "x")),
        **dict(colormap="green", contrast_limits=(10, 5000)),
    ),
    "all axes": dict(
        data=RNG.integers(0, 255, (2, 3, 2, 6, 8)).astype(np.uint8),
        **dict(scale=(5, 1, 2, 0.1, 0.1), units=("second", "pixel", UM, UM, UM), axis_labels=("t", "c", "z", "y", "x")),
    ),
    "colours": dict(data=RNG.integers(0, 255, (6, 8, 4)).astype(np.uint8), rgb=True, scale=(2, 2), units=("nm", "nm")),
    "mask": dict(data=RNG.random((6, 8)) > 0.5),
}


@pytest.fixture(scope="module", autouse=True)
def _plugins(window):
    """Plugins are known once there is a window; made known twice, they refuse one."""


def saved(kind, path, **more):
    layer = Image(**LAYERS[kind], name=kind)
    assert layer.save(str(path), **more) == [str(path)]
    return layer


@pytest.mark.parametrize("ending", [".ome.tif", ".tif", ".ome.zarr"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_comes_back_as_it_was(kind, ending, tmp_path):
    if kind == "colours" and ending == ".ome.zarr":
        pytest.skip("has channels instead")
    path = tmp_path / f"out{ending}"
    layer = saved(kind, path, plugin="napari-dip" if ending == ".tif" else None)
    data, meta, _ = read_image(path)
    again = Image(data, **meta)
    assert np.array_equal(again.data, layer.data)
    for name in ("scale", "translate", "rotate", "contrast_limits"):
        assert np.allclose(getattr(again, name), getattr(layer, name)), name
    for name in ("units", "axis_labels", "colormap", "gamma", "metadata", "name", "rgb"):
        assert getattr(again, name) == getattr(layer, name), name


def test_other_programs_find_what_they_know(tmp_path):
    saved("volume", tmp_path / "a.tif", plugin="napari-dip")
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        meta, tags = tif.imagej_metadata, tif.pages[0].tags
        assert (meta["unit"], meta["spacing"], meta["min"], meta["max"]) == ("micron", 2.0, 10.0, 5000.0)
        assert tags["XResolution"].value == (10, 1)
        assert np.array_equal(tif.pages[0].colormap[:, -1] > 0, [False, True, False])
    layer = saved("volume", tmp_path / "a.ome.tif")
    assert np.array_equal(tifffile.imread(tmp_path / "a.ome.tif"), layer.data)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        assert 'PhysicalSizeZ="2.0"' in tif.ome_metadata
        assert tif.series[0].axes == "ZYX"
    for kind in ("volume", "all axes"):
        saved(kind, tmp_path / f"{kind}.ome.zarr")
        validate_zarr_store(tmp_path / f"{kind}.ome.zarr")
    with pytest.warns(UserWarning, match="cannot hold transparency"):
        saved("colours", tmp_path / "rgb.ome.zarr")
    validate_zarr_store(tmp_path / "rgb.ome.zarr")


@pytest.mark.parametrize("name", ["volume.ome.tif", "volume.ome.zarr"])
def test_naparis_own_reader_opens_them(name, viewer, tmp_path):
    layer = saved("volume", tmp_path / name)
    (opened,) = viewer.open(tmp_path / name, plugin="napari")
    assert np.array_equal(np.asarray(opened.data), layer.data)


@pytest.mark.parametrize("name", ["volume.ome.tif", "volume.ome.zarr"])
def test_napari_opens_them_with_all_that_they_say(name, viewer, tmp_path):
    layer = saved("volume", tmp_path / name)
    (opened,) = viewer.open(tmp_path / name, plugin="napari-dip")
    assert np.array_equal(opened.data, layer.data)
    assert (tuple(opened.scale), opened.units, opened.colormap.name) == (tuple(layer.scale), layer.units, "green")


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.ome.tif"
    saved("plane", path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(tiff.tifffile, "imwrite", lambda file, *_, **__: file.write(b"half") and 1 / 0)
        with pytest.raises(OSError, match="cannot be written"):
            saved("mask", path)
    assert path.read_bytes() == before
    saved("plane", tmp_path / "a.ome.zarr")
    with pytest.raises(FileExistsError, match="name another one"):
        saved("mask", tmp_path / "a.ome.zarr")
    assert {each.name for each in tmp_path.iterdir()} == {"a.ome.tif", "a.ome.zarr"}


def test_a_file_that_changed_size_is_not_put_where_it_was(tmp_path):
    saved("plane", tmp_path / "a.tif", plugin="napari-dip")
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        info = tif.imagej_metadata["Info"]
    tifffile.imwrite(tmp_path / "cut.tif", np.zeros((3, 4), np.float32), imagej=True, metadata={"Info": info})
    _, meta, _ = read_image(tmp_path / "cut.tif")
    assert meta["scale"] == [1, 1]
    assert not {"translate", "rotate"} & set(meta)
    assert meta["metadata"][METADATA]["seed"] == 3


def test_save_the_result_and_open_it_again(viewer, dock, wait, picture, tmp_path, monkeypatch):
    write_image(str(tmp_path / "cells.tif"), picture, {"scale": (0.2, 0.2), "units": (UM, UM)})
    add_image(viewer, tmp_path / "cells.tif")
    widget = dock()
    assert widget.saving.isHidden()
    widget.run_button.click()
    wait(lambda: not widget.running)
    (layer,) = restored(viewer)
    headline = widget.status
    assert "'cells denoised'" in headline

    def answer(path, chosen):
        def asked(parent, title, start, filters):
            assert start == str(tmp_path / "cells denoised.ome.tif")  # beside the image
            return str(path), chosen

        monkeypatch.setattr(QFileDialog, "getSaveFileName", asked)
        widget.saving.click()

    answer(tmp_path / "mine", "OME-Zarr (*.ome.zarr *.zarr)")
    saved = f"'cells denoised' is saved in '{tmp_path / 'mine.ome.zarr'}', with its calibration and record."
    assert widget.status == f"{headline} {saved}"  # the verdict stays in view
    answer(tmp_path / "mine", "OME-Zarr (*.ome.zarr *.zarr)")  # nobody was asked about mine.ome.zarr
    assert widget.status.startswith(f"{headline} It is not saved: ")
    add_image(viewer, tmp_path / "mine.ome.zarr" / "zarr.json")
    again = viewer.layers[-1]
    assert np.array_equal(again.data, layer.data)
    assert again.metadata.pop(FILE) == str(tmp_path / "mine.ome.zarr")
    assert again.metadata == json.loads(json.dumps(layer.metadata))
    assert np.allclose(again.scale, 0.2)
    assert f"pictures.read({str(tmp_path / 'cells.tif')!r})" in widget.copying.run_as("python")
