"""Preferences of napari that are ours: where they come from, and what follows them."""

import threading
from pathlib import Path
from types import SimpleNamespace

import dask.array
import napari.settings
import numpy as np
import pytest
import yaml
from napari.utils.events import EmitterGroup
from qtpy.QtWidgets import QToolButton

import napari_dip
from napari_dip.viewer import engine
from napari_dip.viewer.preferences import DEFAULTS, preference
from napari_dip.viewer.restoration import Asked


@pytest.fixture
def prefer(monkeypatch):
    """Sets preferences, without a file."""
    events = EmitterGroup(auto_connect=False, changed=None)

    def prefer(**values):
        all_of = {name: default for name, (_, default) in DEFAULTS.items()} | values
        headings = {heading: SimpleNamespace(**all_of) for heading, _ in DEFAULTS.values()}
        monkeypatch.setattr(
            napari.settings, "get_plugin_settings", lambda _: SimpleNamespace(**headings, events=events), raising=False
        )
        events.changed()

    return prefer


def test_the_defaults_are_those_of_the_manifest(monkeypatch):
    manifest = yaml.safe_load((Path(napari_dip.__file__).parent / "napari.yaml").read_text())
    headings = manifest["contributions"]["configurations"].items()
    told = {n: (heading, each["default"]) for heading, row in headings for n, each in row["properties"].items()}
    assert told == DEFAULTS

    def unknown(name):
        raise KeyError(name)

    monkeypatch.setattr(napari.settings, "get_plugin_settings", unknown, raising=False)  # as before napari 0.9
    assert preference("moments_memory") == 512


def shown(form):
    """Device and threads in view, and which of them count as changed."""
    device, threads = form.row("device"), form.row("threads")
    changed = [each for each in ("Device", "Threads") if back_of(form, each).isEnabled()]
    return device.native.currentText(), threads.value, changed


def back_of(form, label):
    """The button that makes a row automatic again."""
    buttons = {each.accessibleName(): each for each in form.findChildren(QToolButton)}
    return buttons[f"{label}: automatic again"]


def test_docks_and_runs_follow_them(viewer, dock, prefer):
    prefer(device="cpu", threads=3, moments_memory=100)
    widget = dock()
    assert widget.form.settings().device == "cpu"
    assert widget.live.memory.value == 100
    assert shown(widget.form) == ("cpu", 3, [])
    widget.form.set(device="auto", threads=2)
    assert shown(widget.form) == ("auto", 2, ["Device", "Threads"])
    assert widget.form.knobs()["device"] == "auto"
    assert widget.form.knobs()["threads"] == 2
    back_of(widget.form, "Device").click()
    back_of(widget.form, "Threads").click()
    assert shown(widget.form) == ("cpu", 3, [])
    assert "threads" not in widget.form.knobs()
    assert Asked(task="denoise", source=None, knobs={}).knobs_here["threads"] == 3
    assert Asked(task="denoise", source=None, knobs={"threads": 2}).knobs_here["threads"] == 2


def test_an_open_dock_shows_what_a_run_will_take(viewer, dock, prefer):
    """Open docks followed the threads, and not the device nor the memory."""
    prefer(device="cpu", threads=3)
    widget, chosen = dock(), dock("Inpaint")
    chosen.form.set(device="auto", threads=5)
    chosen.live.memory.value = 50
    prefer(device="auto", threads=2, moments_memory=100)
    assert (widget.form.device, widget.live.memory.value) == ("auto", 100)
    assert shown(widget.form)[1:] == (2, [])
    prefer(device="cpu", threads=2)
    assert shown(widget.form) == ("cpu", 2, [])
    assert widget.form.settings().device == "cpu"
    assert shown(chosen.form) == ("cpu", 5, ["Threads"]), "a row that is as preferred is not a choice"
    assert chosen.live.memory.value == 50
    chosen.form.reset("threads")
    assert shown(chosen.form) == ("cpu", 2, [])


def test_a_dock_that_is_opened_again_follows_what_was_changed_meanwhile(viewer, prefer):
    prefer(moments_memory=100)
    dock, first = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
    first.live.every.value = 50
    dock.titleBarWidget().close_button.click()
    prefer(moments_memory=200)
    _, again = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
    assert again is not first
    assert (again.live.every.value, again.live.memory.value) == (50, 200)
    prefer(moments_memory=300)
    assert again.live.memory.value == 300


@pytest.mark.parametrize("how", ["run", "apply_to_all"])
def test_they_are_asked_for_once_torch_is_loaded_or_a_run_begins(viewer, dock, wait, picture, prefer, monkeypatch, how):
    loaded = threading.Event()
    monkeypatch.setattr(engine, "loaded", loaded.is_set)
    monkeypatch.setattr(engine, "load", lambda *_: loaded.wait(60))
    prefer(device="cpu", moments_memory=100)
    viewer.add_image(picture, name="cells")
    early, late, same = dock(), dock("Inpaint"), dock("Deconvolve")
    late.live.memory.value = 0
    for memory in (256, 512):  # as it was at first, on purpose
        same.live.memory.value = memory
    assert (early.form.device, early.live.memory.value) == ("auto", 512)
    getattr(early, how)()
    assert (early.form.device, early.live.memory.value) == ("cpu", 100)
    loaded.set()
    wait(lambda: late.form.device == "cpu")
    assert (late.live.memory.value, same.live.memory.value) == (0, 512)  # chosen meanwhile
    wait(lambda: not early.running)


def test_a_large_image_without_a_folder_is_written_where_the_user_says(viewer, dock, prefer, tmp_path):
    prefer()
    lazy = dask.array.from_array(np.zeros((3, 20, 24), np.float32), chunks=(1, 20, 24))
    viewer.add_image(lazy, name="stack", contrast_limits=(0, 1))
    widget = dock()
    widget.inputs.where.value = "all slices, one after the other"
    assert not widget.run_button.isEnabled()
    assert "Name a file under 'Write to'" in widget._sentence.text()
    assert widget.inputs.target.file.line_edit.value == ""
    prefer(ome_zarr_folder=str(tmp_path))
    widget.inputs.where.value = "the slice in view"
    widget.inputs.where.value = "all slices, one after the other"
    assert widget.run_button.isEnabled()
    assert f"'{tmp_path / 'stack denoised.ome.zarr'}'" in widget._sentence.text()
