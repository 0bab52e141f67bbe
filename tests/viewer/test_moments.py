"""Moments of a run: images to 16 bits within a bound of memory, and curves that several fits, and runs, share."""

import errno
import gc
import os
import sys
import threading
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from napari_dip import Progress, iterate
from napari_dip.core.result import History
from napari_dip.core.state import Curve
from napari_dip.viewer.moments import Moment, Moments
from tests.viewer.docks import QUICK

NOT_THERE = os.strerror(errno.ENOENT)


def progress(iteration, image=None, mark=None, **where):
    loss = np.linspace(1, 0, iteration, dtype=np.float32)
    looks = np.arange(10, iteration + 1, 10)
    curves = (Curve("residual / noise", looks, 1 / looks, 0.95),) if len(looks) else ()
    image = np.full((8, 9), iteration, np.float32) if image is None else image
    log = History(loss, (), curves)
    return Progress(image=image, iteration=iteration, iterations=100, loss=0.1, rate=1, history=log, mark=mark, **where)


def test_a_quantity_that_is_never_a_number_has_no_row():
    """Where there is no noise, the residual is infinitely larger."""
    moments, at = Moments(2**20), progress(20)
    curves = (replace(at.history.curves[0], values=np.full(2, np.inf)),)
    moments.add(replace(at, history=replace(at.history, curves=curves)))
    assert [row.quantity for row in moments.chart(0).rows] == ["loss"]
    moments.add(progress(30))
    assert [row.quantity for row in moments.chart(0).rows] == ["residual / noise", "loss"]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3e4, 5e5), (1e6, 1e6 + 2), (0, 1e-20)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_an_image_comes_back_to_16_bits_of_its_range(low, high, kind):
    image = np.random.default_rng(0).uniform(low, high, (20, 30)).astype(kind)
    image[3, 4], image[5, 6] = np.nan, np.inf
    back = Moment.of(progress(1, image)).progress.image
    assert back.dtype == image.dtype
    assert (np.isnan(back) == ~np.isfinite(image)).all()
    finite = np.isfinite(image)
    spread = float(np.ptp(image[finite]))
    assert np.abs(back[finite] - image[finite]).max() <= spread / 131068 + np.spacing(kind(high))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float16])
def test_what_has_16_bits_comes_back_as_it_was(kind):
    image = np.random.default_rng(0).integers(0, 120, (20, 30)).astype(kind)
    given = image.copy()
    moment = Moment.of(progress(1, given))
    given[:] = 0  # of a run that writes to the same place
    assert np.array_equal(moment.progress.image, image)


@pytest.mark.parametrize("value", [0.0, 7.5, np.nan])
def test_images_of_one_value_come_back(value):
    image = np.full((4, 5), value, np.float32)
    assert np.array_equal(Moment.of(progress(1, image)).progress.image, image, equal_nan=True)


def test_integers_of_32_bits_stay_integers():
    image = np.arange(20, dtype=np.int32).reshape(4, 5) * 1000
    back = Moment.of(progress(1, image)).progress.image
    assert back.dtype == image.dtype
    assert np.abs(back - image).max() <= 1


def test_moments_lie_twice_as_far_apart_where_memory_is_used_up():
    size = 8 * 9 * 2
    moments = Moments(30 * size)
    for iteration in range(1, 601):
        moments.add(progress(iteration))
        assert moments.bytes <= 30 * size
        assert moments.chart(0).moments[-1][0] == iteration  # the newest is always there
    at = [place for place, _ in moments.chart(0).moments]
    assert len(at) >= 15
    assert min(np.diff(at)[:-1]) >= 16
    assert max(np.diff(at)) <= 64
    assert moments.bytes_on_disk == 0


def test_slices_share_the_memory_where_no_more_can_be_written(tmp_path):
    moments = Moments(12 * 8 * 9 * 2, tmp_path / "gone")
    for slice_ in range(3):
        for iteration in range(1, 31):
            moments.add(progress(iteration, slice=slice_, slices=3))
    counts = [len(moments.chart(slice_).moments) for slice_ in range(3)]
    assert min(counts) >= 2
    assert sum(counts) == moments.count <= 12
    assert moments.lack == f"Fewer images are kept, as no more can be written to '{tmp_path / 'gone'}': {NOT_THERE}."


@pytest.mark.parametrize("images", [0.5, 1, 4])
@pytest.mark.parametrize("kind", [np.float32, np.uint16])
def test_where_memory_is_a_few_images_others_lie_on_disk_as_they_are(tmp_path, images, kind):
    size, images_of = 8 * 9 * 2, np.random.default_rng(0).integers(0, 1000, (3, 100, 8, 9)).astype(kind)
    few, many = Moments(images * size, tmp_path), Moments(10**6)
    for slice_, movie in enumerate(images_of):
        for iteration, image in enumerate(movie, 1):
            for moments in (few, many):
                moments.add(progress(iteration, image, slice=slice_, slices=3))
            assert few.bytes <= images * size
            assert few.chart(slice_).moments[-1][0] == iteration
    for slice_ in few.slices:
        kept, all_of_them = few.chart(slice_).moments, dict(many.chart(slice_).moments)
        assert 12 <= len(kept) <= 24
        for at, moment in kept:
            assert np.array_equal(moment.progress.image, all_of_them[at].progress.image)
    assert few.bytes + few.bytes_on_disk == few.count * size
    assert few.bytes_on_disk <= 3 * 24 * size
    assert not few.lack


def test_what_is_shown_stays_as_it_is_where_others_take_its_place_on_disk_and_the_file_goes_with_the_last(tmp_path):
    moments = Moments(2 * 8 * 9 * 2, tmp_path)
    for iteration in range(1, 20):
        moments.add(progress(iteration))
    shown = moments.chart(0).moments[6][1]
    file = weakref.ref(moments._overflow)
    assert shown.on_disk
    for iteration in range(20, 400):
        moments.add(progress(iteration))
    assert moments.chart(0).place(shown) is None
    assert (shown.progress.image == 7).all()
    moments.let_go()
    moments.add(progress(1))
    assert moments.count == 0
    assert file() is not None
    del shown
    gc.collect()
    assert file() is None
    assert not list(tmp_path.iterdir())


def test_a_full_disk_keeps_what_it_has_room_for(tmp_path, monkeypatch):
    size = 8 * 9 * 2
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=20 * size))
    moments = Moments(size / 2, tmp_path)  # not one has room in memory
    for iteration in range(1, 101):
        moments.add(progress(iteration))
        assert moments.bytes_on_disk <= 10 * size
        assert moments.chart(0).moments[-1][0] == iteration
    assert moments.count >= 5
    assert moments.lack.endswith("half of the room on disk is used.")


def test_without_memory_for_images_there_are_curves_alone():
    moments = Moments(0)
    for iteration in range(1, 30):
        moments.add(progress(iteration))
    assert moments.count == 0
    chart = moments.chart(0)
    assert chart.length == 29
    assert chart.nearest(10) is None


def test_curves_of_several_fits_lie_behind_each_other():
    moments = Moments(10**6)
    for run, length in ((0, 30), (1, 20)):
        moments.add(progress(length - 10, run=run, runs=2), lambda shown: 20 + shown.run)
        moments.add(progress(length, run=run, runs=2, mark=length - 5), lambda shown: 30 + shown.run)
    chart = moments.chart(0)
    assert (chart.length, chart.lengths) == (50, (30, 20))
    assert [chart.length_at(place) for place in (1, 30, 31, 50)] == [30, 30, 20, 20]
    assert chart.mark == 30 + 15
    assert [place for place, _ in chart.moments] == [20, 30, 40, 50]
    psnr, ratio, loss = chart.rows
    assert [row.quantity for row in chart.rows] == ["PSNR (dB)", "residual / noise", "loss"]
    assert np.array_equal(psnr.iterations, [20, 30, np.nan, 40, 50], equal_nan=True)
    assert np.array_equal(psnr.values, [20, 30, np.nan, 21, 31], equal_nan=True)
    assert np.nanmax(ratio.iterations) == 50
    assert ratio.bound == 0.95
    assert len(loss.values) == 51
    assert chart.nearest(33).about.iteration == 30
    assert chart.place(chart.nearest(38)) == 40


def test_a_fit_that_begins_again_replaces_what_there_was():
    moments = Moments(10**6)
    for iteration in (10, 20, 5):
        moments.add(progress(iteration))
    assert [place for place, _ in moments.chart(0).moments] == [5]
    assert moments.chart(0).length == 5


def test_the_window_reads_while_the_run_adds():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns within each line
    moments, over, failed = Moments(40 * 8 * 9 * 2), threading.Event(), []

    def read():
        while not over.is_set():
            try:
                assert moments.bytes <= moments.memory
                for index in moments.slices:
                    assert len(moments.chart(index).moments) <= 40
            except Exception as error:
                failed.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for slice_ in range(30):
        for iteration in range(1, 21):
            moments.add(progress(iteration, slice=slice_, slices=30))
    over.set()
    reader.join()
    sys.setswitchinterval(before)
    assert not failed


@pytest.mark.parametrize("slices", [1, 3])
def test_a_run_too_short_for_a_preview_has_a_curve_and_its_end(slices):
    image = np.random.default_rng(0).random((slices, 20, 24)).astype(np.float32)
    moments, length = Moments(1e6), QUICK["iterations"]
    run = iterate("denoise", image, leading_axes=1, interval=1e3, seed=0, **QUICK | {"channels": 4})
    assert not [each for each in moments.watch(run) if each.history is not None]  # none is shown
    assert len(run.result.history.loss) == slices * length
    assert moments.slices == list(range(slices))
    for index in moments.slices:
        chart = moments.chart(index)
        assert (chart.length, chart.mark) == (length, run.result.marks[index])
        assert [at for at, _ in chart.moments] == [length]
        assert chart.moments[0][1].progress.image == pytest.approx(run.result.last[index], abs=1e-4)


def test_a_slice_has_its_end_while_the_others_are_under_way():
    image = np.random.default_rng(0).random((2, 20, 24)).astype(np.float32)
    moments, length = Moments(1e6), QUICK["iterations"]
    how = QUICK | {"channels": 4, "interval": 1e3, "snapshot_every": 2}
    for progress in moments.watch(iterate("denoise", image, leading_axes=1, seed=0, **how)):
        ended = [moments.chart(index).length for index in moments.slices if index < progress.slice]
        assert ended == [length] * progress.slice
    assert [[at for at, _ in moments.chart(index).moments] for index in (0, 1)] == [[2, 4, 5]] * 2
