"""Presets by kind of image, and settings that the user keeps under a name."""

import json

import pytest

from napari_dip.tables.method import settings_for
from napari_dip.tables.presets import KINDS
from napari_dip.tables.schema import settings_schema
from napari_dip.tables.settings import Settings, knobs_of
from napari_dip.viewer.kinds import ANY


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr("napari_dip.viewer.kinds.presets_folder", lambda: tmp_path / "presets")
    return tmp_path / "presets"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_says_when_and_changes_only_what_it_says(kind):
    row = KINDS[kind]
    assert row.when.endswith(".")
    for task in row.tasks:
        by_kind, plain = (settings_for(task, on_cpu=True, preset=each).as_dict() for each in (kind, "auto"))
        changed = {name: value for name, value in by_kind.items() if value != plain[name] and name != "preset"}
        assert changed == {name: v for name, v in row.changes.items() if name in changed}
        assert set(row.changes) <= {*changed, *set(row.changes) - set(knobs_of(task))} or row.changes.get("preset")


def test_a_kind_of_another_task_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match="preset='hole' is not known"):
        settings_for("denoise", on_cpu=True, preset="hole")


def test_what_is_said_beside_a_kind_counts():
    assert settings_for("denoise", on_cpu=True, preset="photograph", output_dtype="float32").output_dtype == "float32"
    assert settings_for("denoise", on_cpu=True, preset="photograph").output_dtype == "input"


def test_a_kind_fills_in_the_form_and_says_when(viewer, dock, picture):
    viewer.add_image(picture)
    widget = dock()
    widget.form.reset()
    widget.form.set(quality="best")
    widget.kinds.row.value = "photograph"
    assert widget.form.knobs() == {
        "preset": "auto", "device": "auto", "quality": "best", **KINDS["photograph"].changes
    }  # fmt: skip
    assert widget.kinds.when.text() == KINDS["photograph"].when
    widget.kinds.row.value = "confocal"
    assert "output_dtype" not in widget.form.knobs()
    widget.form.reset()
    assert widget.kinds.row.value == ANY
    assert not widget.kinds.when.isVisibleTo(widget)


def test_kept_settings_with_a_knob_that_has_no_effect_any_more_are_offered_without_it(viewer, dock, picture, folder):
    (folder / "denoise").mkdir(parents=True)
    kept = {"settings": {"preset": "denoise-patches", "iterations": 500, "tile": 64}}
    (folder / "denoise" / "old.json").write_text(json.dumps(kept))
    viewer.add_image(picture)
    with pytest.warns(UserWarning, match="iterations=500 has no effect"):
        widget = dock()
    widget.kinds.row.value = "old"
    settings = widget.form.settings()
    assert (settings.method.name, settings.tile) == ("similar patches", 64)


def test_settings_are_kept_under_a_name_chosen_in_another_window_and_deleted(viewer, dock, picture, folder):
    viewer.add_image(picture)
    widget = dock()
    widget.form.reset()
    widget.form.set(iterations=77)
    widget.inputs.camera.rows["gain"].value = "2.5"
    widget.kinds.keep("my cells")
    path = folder / "denoise" / "my cells.json"
    assert Settings.from_json(path).iterations == 77
    pytest.importorskip("jsonschema").validate(json.loads(path.read_text()), settings_schema())

    (folder / "denoise" / "damaged.json").write_text("{")
    widget.kinds.row.value = ANY
    assert "iterations" not in widget.form.knobs()
    widget.inputs.camera.rows["gain"].value = ""
    widget.kinds.row.value = "my cells"
    assert widget.form.knobs()["iterations"] == 77
    assert widget.inputs.camera.values() == {"gain": 2.5}

    assert "my cells" not in dock("Inpaint").kinds.row.choices
    widget.kinds.delete()
    assert widget.kinds.row.value == ANY
    assert "my cells" not in widget.kinds.row.choices
    assert not (folder / "denoise" / "my cells.json").exists()
    assert widget.form.knobs()["iterations"] == 77


@pytest.mark.parametrize("name", ["", "  ", "photograph", ANY])
def test_a_name_that_is_taken_or_empty_is_refused(viewer, dock, picture, folder, name):
    widget = dock()
    widget.kinds.keep(name)
    assert "Nothing is kept" in widget.status
    assert not folder.exists()


def test_docks_are_tabs_of_each_other(viewer, dock, qtbot):
    docks = [dock(name) for name in ("Denoise", "Inpaint")]
    main = viewer.window._qt_window
    first, second = (viewer.window.add_plugin_dock_widget("napari-dip", name)[0] for name in ("Denoise", "Inpaint"))
    qtbot.waitUntil(lambda: first in main.tabifiedDockWidgets(second))
    assert len(docks) == len({each.task for each in docks}) == 2


def test_a_task_without_kinds_has_a_row_for_settings_of_ones_own(viewer, dock):
    widget = dock("Enhance")
    assert not widget.kinds.isVisibleTo(widget)
    widget.kinds.keep("mine")
    assert "'mine'" in widget.status
    assert "signs" not in widget.status
    assert widget.kinds.row.value == "mine"
    widget.kinds.keep("ä/ö:*?")
    assert "Kept as 'ä_ö___'" in widget.status
    assert "not as 'ä/ö:*?'" in widget.status
    assert widget.kinds.isVisibleTo(widget)
