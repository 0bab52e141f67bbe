"""The table of tasks is whole, and nothing else tells one task from another."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import napari_dip
from napari_dip.plan.request import Request, arguments, arguments_of, read_instrument
from napari_dip.tables.settings import PRESETS, knobs
from napari_dip.tables.tasks import TASKS, Task
from tests.bad_inputs import QUICK, plain

PACKAGE = Path(napari_dip.__file__).parent


def test_nothing_compares_the_name_of_a_task() -> None:
    name = rf"""["']({"|".join(TASKS)})["']"""
    compared = re.compile(rf"(==|!=|\bin) [({{[]?{name}|{name}:")  # also as the key of another table
    found = [
        f"{path.name}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text().splitlines()
        if compared.search(line)
    ]
    assert not found


@pytest.mark.parametrize("row", TASKS.values(), ids=TASKS)
def test_a_row_names_what_there_is(row: Task) -> None:
    assert set(row.presets) <= set(PRESETS)
    assert set(row.knobs) <= set(knobs())
    assert set(row.takes) <= set(arguments_of(row.name)) <= set(arguments())
    assert set(row.needs) <= {"mask", *row.takes}
    assert (row.where_whole or row.name) in TASKS


def test_a_request_is_checked_once() -> None:
    asked = read_instrument("superresolve", 2, factor=2, psf=1.5, voxel_size=(4, 2), gain=2)
    assert (asked.factor, asked.finer((5, 6)), asked.fine_voxel_size) == ((2, 2), (10, 12), (2.0, 1.0))
    assert asked.psf is not None
    assert asked.psf.sum() == pytest.approx(1)
    assert asked.camera == {"gain": 2.0}
    assert asked.said == {"factor": 2, "psf": 1.5, "voxel_size": (4, 2), "gain": 2}
    again = read_instrument("superresolve", 2, **asked.said)
    assert np.array_equal(again.psf, asked.psf)
    assert isinstance(again, Request)


@pytest.mark.parametrize("task", TASKS)
def test_the_window_has_a_dock_for_every_task(task: str) -> None:
    widget = pytest.importorskip("napari_dip.viewer.widget")
    dock = getattr(widget, f"{task.capitalize()}Widget")
    assert dock is getattr(widget, f"{task.capitalize()}Widget")
    assert (dock.task, dock.__doc__) == (task, TASKS[task].does)
    with pytest.raises(AttributeError, match="NoTaskWidget"):
        widget.NoTaskWidget  # noqa: B018


def test_a_run_goes_on_whose_record_is_older_than_an_argument() -> None:
    first = napari_dip.denoise(plain(), progress=False, **QUICK)
    record = {name: value for name, value in first.record.items() if name not in ("guide", "ended")}
    more = napari_dip.denoise(plain(), resume=replace(first, record=record), progress=False, iterations=2)
    assert more.iterations == first.iterations + 2
