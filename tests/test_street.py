"""The street is short: few frames from the front door to the optimiser, and settings are checked once."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import napari_dip
from napari_dip.core.optimiser import Optimiser
from napari_dip.tables.settings import Settings
from tests.core.tiny import noisy

FRAMES = 8  # at the most
SMALL: dict[str, Any] = dict(channels=4, scales=2, iterations=2, device="cpu", progress=False)
PRIOR = dict(preset="denoise-small", runs=1, **SMALL)
CASES: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "prior": (noisy(20, 20), PRIOR),
    "self-guided": (noisy(20, 20), dict(preset="denoise-self", crop=16, batch=1, **SMALL)),
    "tiles and runs": (noisy(20, 20), {**PRIOR, "tile": 16, "overlap": 4, "runs": 2}),
    "stack": (noisy(2, 20, 20), {**PRIOR, "leading_axes": 1}),
}


@pytest.mark.parametrize("case", CASES)
def test_few_frames_lie_between_denoise_and_the_optimiser(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (image, knobs), package, ways = CASES[case], str(Path(napari_dip.__file__).parent), list[list[str]]()

    plain = Optimiser.step

    def step(*given: Any) -> torch.Tensor:
        frames = traceback.extract_stack()
        ways.append([frame.name for frame in frames if frame.filename.startswith(package)])
        return plain(*given)

    monkeypatch.setattr(Optimiser, "step", step)
    napari_dip.denoise(image, **knobs)
    for way in ways:
        assert way[0] == "denoise"
        assert len(way) <= FRAMES, way
    assert ways


@pytest.mark.parametrize("case", CASES)
def test_settings_are_checked_once(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (image, knobs), plain, checks = CASES[case], Settings.__post_init__, list[Settings]()

    def check(settings: Settings) -> None:
        checks.append(settings)
        plain(settings)

    monkeypatch.setattr(Settings, "__post_init__", check)
    result = napari_dip.denoise(image, **knobs)
    assert len(checks) == 1
    napari_dip.denoise(image, resume=result, progress=False, leading_axes=knobs.get("leading_axes", 0))
    assert len(checks) == 1


@pytest.mark.parametrize("knobs", [{}, {"tile": 16, "overlap": 4}], ids=str)
def test_settings_of_a_run_over_blocks_are_checked_once(
    knobs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, checks = noisy(1, 32, 32), list[Settings]()
    plain = Settings.__post_init__
    monkeypatch.setattr(Settings, "__post_init__", lambda settings: (checks.append(settings), plain(settings)))
    napari_dip.restore_blocks("denoise", image, tmp_path / "out.zarr", leading_axes=1, **{**PRIOR, **knobs})
    assert len(checks) == 1
    napari_dip.restore_blocks("denoise", image, tmp_path / "out.zarr", leading_axes=1, **{**PRIOR, **knobs})
    assert len(checks) == 2  # the record of the first run has what this one decides
