"""Metadata damaged in any way: read, or refused in one sentence with its path; nothing else is touched.

``make fuzz`` tries thousands of cases, other ones each time.
"""

from __future__ import annotations

import copy
import json
import math
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_dip import restore_blocks
from napari_dip.io.arrays import Unreadable, open_source
from napari_dip.io.ngff import besides, merged
from napari_dip.run.blocks.ledger import KEY
from tests.io.test_ngff import IMAGE, written
from tests.run.blocks.test_large import PRIOR
from tests.run.blocks.test_targets import files, stack, stopped

COUNT = int(os.environ.get("FUZZ", "0"))


def pace(few: int) -> Any:
    """So many cases, the same each time, or as many as are asked for."""
    return settings(
        max_examples=COUNT or few,
        derandomize=not COUNT,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def assert_a_sentence(error: Exception, path: Path) -> None:
    assert str(path) in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 1000


WORDS = ["", "0", "x", "..", "/", "../../outside", "\0", "scale", "space", "µm", "axes", "path", "regular", "bytes"]
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2, 3, 10**30, -(10**400), 0.5, -0.0, math.nan, math.inf, 1e308, 5e-324]),
    st.sampled_from(WORDS),
    st.text(max_size=4),
)
JSON = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*WORDS, "name", "type", "unit"]), inner, max_size=3),
    ),
    max_leaves=4,
)


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> Any:
    """A document with some of its values left out, repeated or replaced."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        inside, key = None, None
        value = document
        while isinstance(value, (dict, list)) and value and (inside is None or draw(st.integers(0, 3))):
            inside = value
            key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
            value = value[key]
        if inside is None:
            break
        how = draw(st.sampled_from(["drop", "replace", "replace", "twice", "empty"]))
        if how == "drop":
            del inside[key]
        elif how == "twice" and isinstance(inside, list):
            inside.append(copy.deepcopy(value))
        elif how == "empty" and isinstance(value, (dict, list, str)):
            inside[key] = type(value)()
        else:
            inside[key] = draw(JSON)
    return document


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A sound image for each format."""
    folder = tmp_path_factory.mktemp("images")
    image: dict[str, Any] = copy.deepcopy(IMAGE)
    image["coordinateTransformations"] = [{"type": "translation", "translation": [0.0, 1.0, 2.0]}]
    omero = {"channels": [{"label": "A", "color": "FF0000", "window": {"start": 0, "end": 1}}]}
    return {form: written(folder / f"{form}.zarr", form, image, name="x", omero=omero) for form in (2, 3)}


FILES = [(2, ".zattrs"), (3, "zarr.json"), (2, "0/.zarray"), (3, "0/zarr.json"), (2, ".zgroup")]


@pytest.mark.parametrize(("form", "name"), FILES)
@pace(40)
@given(data=st.data())
def test_an_image_is_read_or_refused_in_a_sentence(images: dict[int, Path], form: int, name: str, data: Any) -> None:
    path = images[form]
    sound = (path / name).read_bytes()
    try:
        (path / name).write_text(json.dumps(data.draw(damaged(json.loads(sound)))))
        source = open_source(path)
        n = len(source.shape)
        image = source.calibration.finer((1,) * n).metadata("x", ["0"], [(1,) * n])
        json.dumps([merged(image, source.ome), besides(source.attributes), source.calibration.omero])
        source.calibration.voxel_size(2)
        assert source.absent.count("\n") == 0
        if math.prod(source.array.chunks) < 10**6:
            source.part((slice(0, 1),) * n).read()
    except (ValueError, TypeError, Unreadable) as error:
        assert_a_sentence(error, path)
    finally:
        (path / name).write_bytes(sound)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run that was stopped."""
    folder = tmp_path_factory.mktemp("targets")
    (folder / "outside" / "fit" / "0").mkdir(parents=True)
    (folder / "outside" / "fit" / "0" / "0").write_text("{}")
    stopped(stack(2, 16, 20), folder / "kept.zarr")
    return folder / "out.zarr"


@pace(12)
@given(data=st.data())
def test_a_run_goes_on_or_is_refused_in_a_sentence(target: Path, data: Any) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(target.with_name("kept.zarr"), target)
    group = zarr.open_group(target, mode="r+")
    outside = files(target.with_name("outside"))
    text = json.dumps(data.draw(damaged(json.loads(json.dumps(group.attrs[KEY])))))
    attributes = json.loads((target / "zarr.json").read_text())
    attributes["attributes"][KEY] = json.loads(text)
    (target / "zarr.json").write_text(json.dumps(attributes))
    try:
        with warnings.catch_warnings(action="ignore"):
            restored = restore_blocks("denoise", stack(2, 16, 20), target, **PRIOR)
        if restored.complete and not restored.stop_reason.startswith("was finished"):
            np.testing.assert_array_equal(restored.array[:], stack(2, 16, 20))
    except (ValueError, TypeError, OSError) as error:
        assert_a_sentence(error, target)
    assert files(target.with_name("outside")) == outside
    assert sorted(each.name for each in target.parent.iterdir()) == ["kept.zarr", "out.zarr", "outside"]
