"""Short fits behind the front door, of images and of blocks: not a letter of what is printed need be changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from napari_dip.run import restore
from napari_dip.run.blocks import order
from napari_dip.run.blocks import run as blocks
from napari_dip.run.run import Run
from napari_dip.tables.parts import OwnPart


def short(plan: Any) -> Any:
    """Three iterations of a narrow generator, whatever was asked for."""
    settings = plan.settings
    less: dict[str, Any] = {"refine": min(1, settings.refine)}
    if settings.code != "patches":  # which fit nothing
        less |= {"iterations": min(3, settings.iterations), "stop": "iterations", "runs": min(2, settings.runs)}
        if not isinstance(settings.generator, OwnPart):
            less |= {"channels": 4, "scales": 2}
        if isinstance(settings.skip_channels, tuple):
            less |= {"skip_channels": 4}
        if settings.code == "self":
            less |= {"similar_patches": False}  # comparing them takes most of the time
    return replace(plan, settings=settings.changed(**less))


def make_fits_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all fits short until the test is over."""

    def look(*what: Any) -> Any:
        plan, *rest = order.look(*what)
        return short(plan), *rest

    monkeypatch.setattr(restore, "Run", lambda plan, *rest: Run(short(plan), *rest))
    monkeypatch.setattr(blocks, "look", look)
