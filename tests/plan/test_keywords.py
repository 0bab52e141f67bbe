"""What a function of the front door takes by name: as types, as help; and the progress that it shows."""

from __future__ import annotations

import inspect
import pydoc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import tqdm.auto

import napari_dip
from napari_dip import Result, Settings, restore_blocks, terminal, trust
from napari_dip.core.noise.model import Noise
from napari_dip.io.ngff import Calibration
from napari_dip.plan import keywords
from napari_dip.plan.request import AXES, arguments
from napari_dip.tables.settings import knobs
from tests.bad_inputs import QUICK, dot, plain

KNOWN = {"Noise": Noise, "Result": Result, "Calibration": Calibration}
OWN = {"factor", "psf", "boost"}  # arguments of the problem that only some functions take
ARGUMENTS = set(get_type_hints(keywords.Arguments, localns=KNOWN)) - set(knobs())


def keywords_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The arguments by name alone, and their types."""
    hints = get_type_hints(function, localns=KNOWN)
    found = inspect.signature(function).parameters.values()
    return {each.name: hints[each.name] for each in found if each.kind is each.KEYWORD_ONLY}


def test_a_type_checker_knows_the_settings_and_their_types() -> None:
    own = {name: str | Callable[..., Any] for name, knob in knobs().items() if knob.own}  # an object for a name
    assert get_type_hints(keywords.Knobs) == {**get_type_hints(Settings), **own}


def test_a_type_checker_knows_the_arguments_of_the_problem() -> None:
    assert {*ARGUMENTS} | OWN == {*arguments(), *AXES}


@pytest.mark.parametrize(
    ("typed", "function", "more", "own"),
    [
        (keywords.Options, napari_dip.iterate, ARGUMENTS, OWN),
        (keywords.FineOptions, napari_dip.iterate, ARGUMENTS, OWN - {"psf"}),
        (keywords.BlockOptions, napari_dip.iterate_blocks, {*arguments()} - {"guide", "operator"}, set()),
    ],
)
def test_a_type_checker_knows_the_other_arguments_too(
    typed: type, function: Callable[..., Any], more: set[str], own: set[str]
) -> None:
    said = {name: kind for name, kind in get_type_hints(typed, localns=KNOWN).items() if name not in knobs()}
    taken = {name: kind for name, kind in keywords_of(function).items() if name not in own}
    assert {name: kind for name, kind in said.items() if name not in more} == taken
    assert said.keys() == taken.keys() | more


@pytest.mark.parametrize("name", ["denoise", "inpaint", "deconvolve", "superresolve", "iterate", "restore_blocks"])
def test_help_lists_the_knobs_with_their_meaning(name: str) -> None:
    said = pydoc.plain(pydoc.render_doc(getattr(napari_dip, name)))
    for knob, what in knobs().items():
        assert f"\n    {knob} : " in said
        assert " ".join(what.help.split()) in " ".join(said.split())


# ------------------------------------------------------------------------------------------------------------ progress

TASKS: dict[str, Callable[..., Any]] = {
    "denoise": lambda **how: napari_dip.denoise(plain(), **QUICK, **how),
    "inpaint": lambda **how: napari_dip.inpaint(plain(), dot(), **QUICK, **how),
    "deconvolve": lambda **how: napari_dip.deconvolve(plain(), 1.0, **QUICK, **how),
    "superresolve": lambda **how: napari_dip.superresolve(plain(), 2, **QUICK, **how),
    "noise_control": lambda **how: trust.noise_control(
        napari_dip.denoise(plain(), read_noise=5.0, progress=False, **QUICK), plain(), **how
    ),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_script_shows_progress_on_stderr_unless_told_not_to(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    TASKS[task]()
    out, err = capsys.readouterr()
    assert "100%" in err
    assert not out
    TASKS[task](progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_script_shows_the_progress_of_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = np.random.default_rng(0).normal(100, 10, (2, 20, 24))
    restore_blocks("denoise", values, tmp_path / "shown.zarr", **QUICK)
    assert "fit: 100%" in capsys.readouterr().err
    restore_blocks("denoise", values, tmp_path / "quiet.zarr", progress=False, **QUICK)
    assert capsys.readouterr() == ("", "")


def test_step_by_step_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(napari_dip.iterate("denoise", plain(), interval=0, **QUICK))
    assert capsys.readouterr() == ("", "")


def test_progress_needs_no_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without a console has none."""
    monkeypatch.setattr(sys, "stderr", None)
    assert TASKS["denoise"]().complete


@pytest.mark.parametrize(("widgets", "bar"), [(None, tqdm.tqdm), ("a spec", tqdm.auto.tqdm)])
def test_a_notebook_with_widgets_shows_one(widgets: Any, bar: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ipywidgets tqdm.auto would warn."""
    monkeypatch.setattr(terminal, "find_spec", lambda _: widgets)
    assert terminal.best_tqdm() is bar
