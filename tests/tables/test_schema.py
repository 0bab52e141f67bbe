"""The schema of files with settings takes what our own commands write, and refuses what settings refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_dip import Settings, denoise, pictures, settings_schema
from napari_dip.tables.settings import PRESETS, knobs
from tests.bad_inputs import QUICK, plain

jsonschema = pytest.importorskip("jsonschema")  # which napari needs


@pytest.fixture(scope="module")
def takes() -> Any:
    schema = json.loads(json.dumps(settings_schema(), allow_nan=False))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["$defs"]["settings"]["properties"]) == set(knobs())
    return jsonschema.Draft202012Validator(schema).is_valid


def test_it_takes_settings_of_ours(takes: Any) -> None:
    assert all(takes(json.loads(settings.to_json())) for settings in (Settings(), *PRESETS.values()))
    kept = {"task": "denoise", "settings": {"channels": [4, 8], "scales": 2, "seed": 3}, "camera": {"gain": 2.0}}
    assert takes(kept)
    assert takes({"napari-dip": kept})


def test_it_takes_records_with_a_part_of_the_users_own_too(takes: Any, tmp_path: Path) -> None:
    for own in ({}, {"regulariser": lambda image: (image**2).mean(), "regulariser_weight": 0.1}):
        result = denoise(plain(), preset="denoise-small", progress=False, **QUICK, **own)
        assert takes(json.loads(json.dumps(result.record)))
    result.save(tmp_path / "out.npy")
    assert takes(json.loads((tmp_path / "out.npy.json").read_text()))
    assert not takes({**json.loads(json.dumps(result.record)), "settings": {"iterations": -4}})
    assert np.array_equal(pictures.read(tmp_path / "out.npy").values, result.image)


@pytest.mark.parametrize(
    "wrong", [{"itterations": 3}, {"iterations": -4}, {"seed": 1.5}, {"stop": "when"}, {"keep_known": 1}]
)
@pytest.mark.parametrize("within", [None, "settings", "napari-dip"])
def test_it_refuses_what_settings_refuse(takes: Any, wrong: dict[str, Any], within: str | None) -> None:
    found: Any = {within: wrong} if within == "settings" else {within: {"settings": wrong}} if within else wrong
    assert not takes(found)
    with pytest.raises((ValueError, TypeError)):
        Settings.from_json(json.dumps(found))
