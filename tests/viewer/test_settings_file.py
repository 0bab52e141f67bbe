"""Settings in a file: saved from the form, loaded into it, and taken from a restored layer."""

import json

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtWidgets import QFileDialog

from napari_dip import Settings
from napari_dip.tables.parts import part_in_file
from napari_dip.viewer.restoration import METADATA
from napari_dip.viewer.saving import write_image
from tests.viewer.docks import QUICK, restored


@pytest.fixture
def named(monkeypatch):
    """Answers the questions for a file."""

    def named(path):
        for ask in ("getOpenFileName", "getSaveFileName"):
            monkeypatch.setattr(QFileDialog, ask, staticmethod(lambda *_: (str(path) if path else "", "")))

    return named


def test_settings_come_back_from_a_file(viewer, dock, picture, named, tmp_path):
    viewer.add_image(picture)
    widget, other = dock(seed=5, learning_rate=0.004), dock("Inpaint")
    before = widget.form.settings()
    named(tmp_path / "mine")
    widget.files.save_button.click()
    assert f"saved in '{tmp_path / 'mine.json'}'" in widget.status
    assert Settings.from_json(tmp_path / "mine.json") == before
    widget.form.set(seed=0, channels="16", learning_rate=0.01)
    named(tmp_path / "mine.json")
    widget.files.load_button.click()
    assert "those of 'mine.json'" in widget.status
    assert widget.form.settings() == before
    assert other.form.settings().seed == 0
    named(None)  # the question is dismissed
    widget.files.load_button.click()
    widget.files.save_button.click()
    assert widget.form.settings() == before


@pytest.mark.parametrize("text", ["{", '{"iterations": -4}', '{"itterations": 4}', "[]"])
def test_a_file_that_is_wrong_is_said_and_changes_nothing(viewer, dock, picture, named, tmp_path, text):
    viewer.add_image(picture)
    widget = dock()
    before = widget.form.settings()
    (tmp_path / "wrong.json").write_text(text)
    named(tmp_path / "wrong.json")
    widget.files.load_button.click()
    assert widget.status.startswith("The settings stay as they were: ")
    assert widget.form.settings() == before


@pytest.mark.parametrize("name", ["generator", "regulariser", "fidelity", "operator", "denoiser"])
def test_settings_of_a_run_with_a_part_of_ones_own_are_refused_where_no_row_has_it(viewer, dock, picture, name):
    layer = viewer.add_image(picture)
    widget = dock()
    before, account = widget.form.settings(), "mine.part#0123456789ab: give the same one to repeat the run"
    knobs = {name: account.partition(":")[0]} if name in before.as_dict() else {}
    layer.metadata[METADATA] = {
        "task": "denoise", "stop_reason": "", "settings": {**before.as_dict(), "iterations": 7, **knobs},
        "own_parts": {name: account},
    }  # fmt: skip
    viewer.layers.selection.active = layer
    widget.files.layer_button.click()
    assert f"stay as they were: {name}='mine.part#0123456789ab'" in widget.status
    widget.record.again_button.click()
    assert f"--{name} FILE.py:NAME" in widget.status
    assert not widget.running
    assert widget.form.settings() == before


def test_rows_that_are_wrong_are_in_the_way_of_no_settings(viewer, dock, picture, named, tmp_path):
    viewer.add_image(picture)
    widget = dock(seed=5)
    named(tmp_path / "plain.json")
    widget.files.save_button.click()
    (tmp_path / "mine.py").write_text("def far(predicted, observed):\n    return (predicted - observed).abs().mean()\n")
    rows = widget.inputs.own.rows
    rows["operator"].offer(f"{tmp_path / 'gone.py'}:twice")
    rows["fidelity"].offer(f"{tmp_path / 'mine.py'}:far")
    widget.form.set(channels="4, 5, 6", seed=0)
    widget.files.load_button.click()
    assert "those of 'plain.json'" in widget.status
    assert widget.form.settings().seed == 5
    fidelity = part_in_file("fidelity", rows["fidelity"].value)
    record = {
        "settings": json.loads((tmp_path / "plain.json").read_text()),
        "own_parts": {"fidelity": fidelity.account},
    }
    (tmp_path / "record.json").write_text(json.dumps(record))
    widget.form.set(channels="4, 5, 6", seed=0)
    named(tmp_path / "record.json")
    widget.files.load_button.click()
    assert "those of 'record.json'" in widget.status
    assert widget.form.settings().seed == 5
    assert [*widget.inputs.own.values()] == ["fidelity"]


def test_run_again_like_a_layer_or_its_record(viewer, dock, wait, picture, named, tmp_path):
    viewer.add_image(picture, name="cells")
    widget = dock(seed=3)
    widget.run_button.click()
    wait(lambda: not widget.running)
    (first,) = restored(viewer)
    widget.form.set(seed=0, iterations=2, channels="8")
    viewer.layers.selection.active = viewer.layers["cells"]
    widget.files.layer_button.click()
    assert "'cells' has no settings" in widget.status
    viewer.layers.selection.active = first
    widget.files.layer_button.click()
    assert "those of 'cells denoised'" in widget.status
    widget.inputs.image.value = viewer.layers["cells"]
    widget.run_button.click()
    wait(lambda: not widget.running)
    (tmp_path / "record.json").write_text(json.dumps(first.metadata[METADATA]))
    widget.form.set(seed=9)
    named(tmp_path / "record.json")
    widget.files.load_button.click()
    assert widget.form.settings().seed == 3
    widget.run_button.click()
    wait(lambda: not widget.running)
    for again in restored(viewer)[1:]:
        assert np.array_equal(again.data, first.data)
        assert again.metadata[METADATA]["settings"] == first.metadata[METADATA]["settings"]
    assert len(restored(viewer)) == 3
    assert QUICK["iterations"] == 5


def test_an_image_that_was_saved_is_run_again_with_its_factor_and_camera(viewer, dock, picture, named, tmp_path):
    settings = Settings().changed(preset="superresolve-small", seed=4)
    record = {"settings": settings.as_dict(), "factor": [3, 3], "kernel": "box", "camera": {"gain": 2.0}, "psf": "a1b2"}
    layer = Image(picture, metadata={METADATA: record})
    write_image(str(tmp_path / "fine.ome.zarr"), *layer.as_layer_data_tuple()[:2])
    viewer.add_image(picture, name="cells")
    widget = viewer.window.add_plugin_dock_widget("napari-dip", "Super-resolve")[1]
    named(tmp_path / "fine.ome.zarr" / "zarr.json")
    widget.files.load_button.click()
    assert "those of 'fine.ome.zarr'" in widget.status
    assert "point spread function" in widget.status
    assert widget.form.settings().seed == 4
    assert {**widget.inputs.problem(), "factor": (3, 3), "kernel": "box", "gain": 2.0} == widget.inputs.problem()
