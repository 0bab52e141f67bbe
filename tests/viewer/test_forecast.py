"""What a run will take is said before it."""

import re
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from napari_dip import iterate
from napari_dip.core.cost import Cost
from napari_dip.core.pace import share_of_processor
from napari_dip.plan.cost import busy, cost_in_words
from napari_dip.tables.settings import PRESETS
from napari_dip.viewer import noise
from napari_dip.viewer.choice import IN_VIEW, VOLUME
from napari_dip.viewer.job import Job
from napari_dip.viewer.restoration import Asked, Forecast

pytestmark = pytest.mark.usefixtures("forecast")


def said(widget, wait):
    """Megabytes, once they are told."""
    wait(lambda: not widget.cost.waiting and "about" in widget.cost.text())
    size, unit = re.search(r"about ([\d.]+) (kB|MB|GB) and .+ at most", widget.cost.text()).groups()
    return float(size) * {"kB": 1e-3, "MB": 1, "GB": 1e3}[unit]


def test_more_channels_take_more(viewer, dock, wait):
    viewer.add_image(np.random.default_rng(0).normal(100, 10, (96, 96)).astype(np.float32))
    widget = dock(preset="denoise-small", channels="4")
    few = said(widget, wait)
    widget.form.set(channels="64")
    wait(lambda: "about" not in widget.cost.text())
    assert said(widget, wait) > few


@pytest.mark.parametrize(("name", "shape", "rgb"), [("Super-resolve", (32, 32), False), ("Denoise", (24, 24, 3), True)])
def test_factors_and_colours_count(viewer, dock, wait, name, shape, rgb):
    viewer.add_image(np.random.default_rng(0).random(shape), rgb=rgb)
    assert said(dock(name), wait) > 0


def test_coarse_planes_count(viewer, dock, wait):
    layer = viewer.add_image(np.random.default_rng(0).normal(100, 10, (24, 48, 48)).astype(np.float32))
    widget = dock(preset="denoise-small", channels="8")
    widget.inputs.where.value = VOLUME
    cubes = said(widget, wait)
    layer.scale = (8, 1, 1)
    widget.inputs.where.value = IN_VIEW
    widget.inputs.where.value = VOLUME
    wait(lambda: "about" not in widget.cost.text())
    assert said(widget, wait) != cubes


def test_what_the_noise_decides_is_not_told_before_it_is_known(viewer, dock, wait, monkeypatch):
    """An auto run that began within a second of the dock had the cost of the other method, 40 times its own, beside."""
    known, estimate = threading.Event(), noise._estimate
    monkeypatch.setattr(noise, "_estimate", lambda *asked: known.wait(60) and estimate(*asked))
    viewer.add_image(np.random.default_rng(0).normal(100, 10, (24, 24)).astype(np.float32))
    widget = dock()
    widget.form.set(preset="auto")
    assert widget.noise.waiting
    assert widget.cost.text() == "Takes ..."
    assert not widget.cost.waiting
    widget.run()
    assert widget.cost.text() == ""
    known.set()
    widget.stop()
    wait(lambda: not widget.running and not widget.noise.waiting)
    assert said(widget, wait) > 0


def test_too_little_memory_is_said(viewer, dock, wait, monkeypatch):
    monkeypatch.setattr("napari_dip.core.memory.free", lambda device: 10_000)
    viewer.add_image(np.random.default_rng(0).random((64, 64)))
    widget = dock()
    said(widget, wait)
    assert "Only 10 kB are free on cpu." in widget.cost.text()


def test_nothing_is_said_while_nothing_is_chosen(viewer, dock, wait):
    widget = dock()
    assert widget.cost.text() == ""
    viewer.add_image(np.random.default_rng(0).random((64, 64)))
    said(widget, wait)
    viewer.layers.clear()
    assert widget.cost.text() == ""


def test_a_wide_point_spread_function_takes_more(viewer, dock, wait):
    viewer.add_image(np.random.default_rng(0).random((96, 96)))
    widget = dock("Deconvolve", channels="32")
    widget.inputs.known["psf"].sigma.value = "1.5"
    narrow = said(widget, wait)
    widget.inputs.known["psf"].sigma.value = "12"
    wait(lambda: "about" not in widget.cost.text())
    assert said(widget, wait) > narrow


def test_what_would_shorten_a_wait_of_many_hours_is_said(viewer, dock, wait):
    viewer.add_image(np.random.default_rng(0).random((32, 32)))
    widget = dock(preset="denoise-small", iterations=1000)
    said(widget, wait)
    assert "less" not in widget.cost.text()
    widget.form.set(iterations=1_000_000, runs=1000)
    wait(lambda: "days" in widget.cost.text())
    assert "fewer iterations or a GPU would take less" in widget.cost.text()


def test_a_busy_machine_takes_longer_and_says_so(viewer, dock, wait, monkeypatch):
    viewer.add_image(np.random.default_rng(0).random((96, 96)))
    widget = dock(preset="denoise-small", iterations=20_000, runs=4)
    seconds = {}
    for share in (1.0, 0.1):
        monkeypatch.setattr("napari_dip.plan.cost.share_of_processor", lambda threads, share=share: share)
        widget.cost._key = None
        widget.reset_choices()
        said(widget, wait)
        seconds[share] = widget.cost.text()
    assert "busy" not in seconds[1.0]
    assert f"This computer is busy now; else {seconds[1.0].split(' and ')[1].split(' at most')[0]}." in seconds[0.1]


@pytest.mark.parametrize(("threads", "more"), [(1, ""), (2, " One thread may then take less.")])
def test_a_busy_machine_is_better_left_to_one_thread(threads, more):
    text = cost_in_words(10**6, 60.0, PRESETS["denoise-small"], None, slowed=10.0, threads=threads)
    assert text.endswith(f" This computer is busy now; else 60 s.{more}")
    assert "thread" not in cost_in_words(10**6, 60.0, PRESETS["denoise-small"], None, threads=threads)


def test_a_machine_that_is_hardly_busier_is_not_called_busy():
    """An experiment was said to take "about 5 s (this computer is busy now; else 5 s)"."""
    assert busy(5.0, 1.3) == " This computer is busy now; else 5 s."
    assert busy(1.0, 1.3) == busy(60.0, 1.0) == ""


def test_the_time_of_a_run_is_by_its_own_pace_once_it_has_begun(viewer, dock, wait):
    viewer.add_image(np.random.default_rng(0).random((24, 24)))
    widget = dock(iterations=100_000)
    widget.run()
    wait(lambda: "at the pace of this run" in widget.cost.text())
    widget.stop()
    wait(lambda: not widget.running)
    said(widget, wait)


def test_the_share_of_the_processor_is_a_share():
    assert 0 < share_of_processor(2) <= 1


@pytest.fixture
def share(monkeypatch):
    """Share of the processor that a run finds."""
    found = [1.0]
    monkeypatch.setattr("napari_dip.plan.cost.share_of_processor", lambda threads: found[-1])
    return found


@pytest.fixture
def in_view(viewer, dock, wait, monkeypatch):
    """A dock on the screen, with a run of a minute or so that is told."""
    monkeypatch.setattr("napari_dip.core.cost.estimate", lambda *_, **__: Cost(10**6, 60.0))
    viewer.add_image(np.random.default_rng(0).random((24, 24)))
    widget = dock()
    monkeypatch.setattr(widget.cost, "isVisible", lambda: True)
    said(widget, wait)
    return widget


def test_the_time_follows_what_else_the_machine_does_while_nothing_is_touched(share, in_view, wait):
    def told(busy_for):
        share.append(busy_for)
        in_view.cost._clock.timeout.emit()
        wait(lambda: not in_view.cost.waiting)
        return in_view.cost.text()

    first = in_view.cost.text()
    assert "60 s at most" in first
    assert told(0.9) == first, "a tenth more is not worth a word"
    assert "2 min at most. This computer is busy now; else 60 s." in told(0.5)
    assert told(1.0) == first


@pytest.mark.parametrize("why", ["hidden", "another run", "no image"])
def test_nothing_is_measured_while_nobody_looks_or_something_runs(share, in_view, viewer, monkeypatch, why):
    if why == "hidden":
        monkeypatch.setattr(in_view.cost, "isVisible", lambda: False)
    elif why == "another run":
        monkeypatch.setattr(Job, "busy", lambda: True)
    else:
        viewer.layers.clear()
    in_view.cost._clock.timeout.emit()
    assert not in_view.cost.waiting


def test_a_run_says_what_it_takes_as_busy_as_the_machine_is_when_it_begins(share, in_view, wait, hold):
    held = hold("napari_dip.viewer.findings.restore", lambda _: True)
    texts, tell = [], in_view.cost.begin
    in_view.cost.begin = lambda told: texts.append(told.sentence) or tell(told)
    share.append(0.25)
    in_view.run()
    wait(held.is_set)
    in_view.stop()
    wait(lambda: not in_view.running)
    assert "4 min at most. This computer is busy now; else 60 s." in texts[0]


def test_a_plan_tells_the_share_of_its_iterations():
    """Of a short run with similar patches behind it half of the time was told as the whole of it."""
    image, mask = np.random.default_rng(0).random((48, 48)).astype(np.float32), np.zeros((48, 48), bool)
    mask[20:28, 20:28] = True
    shares = []
    for iterations in (20, 2000):
        knobs = {"preset": "inpaint-small", "iterations": iterations, "device": "cpu"}
        plan = iterate("inpaint", image, mask, **knobs).plan
        shares.append(Asked(task="inpaint", source=None, knobs=knobs).planned(plan).forecast.iterating)
    assert 0 < shares[0] < 0.9 < shares[1] < 1


def test_the_time_of_a_run_is_told_anew_where_its_pace_has_changed_by_a_fifth(in_view):
    texts = []
    in_view.cost.begin(Forecast("Takes 60 s.", seconds=60.0, iterating=0.75))
    for left in (67.5, 60.75, 112.5):  # of iterations, which are three quarters of the run
        in_view.cost.follow(SimpleNamespace(seconds_left=left, fraction=0.1, rate=1.0))
        texts.append(in_view.cost.text())
    assert texts[0] == texts[1] == "Takes 100 s at most, at the pace of this run."
    assert texts[2] == "Takes 2.8 min at most, at the pace of this run."


def test_what_is_fitted_around_a_hole_counts(viewer, dock, wait):
    """The whole of a large image was told, where a speck in it takes a hundredth of that."""
    image = np.random.default_rng(0).normal(100, 10, (400, 400)).astype(np.float32)
    image[200:216, 200:216] = np.nan
    viewer.add_image(image)
    widget = dock("Inpaint")
    widget.form.set(channels="16", iterations=1500)
    wait(lambda: not widget.noise.waiting)
    assert widget.noise.tiles == {(96, 96): 1}
    around = said(widget, wait)
    widget.form.set(tile=400)
    wait(lambda: "about" not in widget.cost.text())
    assert said(widget, wait) > 2 * around
