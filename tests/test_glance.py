"""What a result says of itself: in a line of a console, to numpy, and in a notebook."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from napari_dip import Result, deconvolve, denoise, inpaint, superresolve
from tests.bad_inputs import QUICK, dot, plain
from tests.core.tiny import noisy

TOGETHER = {"channel_axis": -1, **QUICK}


def pictures_of(result: Result) -> list[np.ndarray]:
    """The pictures that a notebook shows."""
    shown = result._repr_html_()
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', shown)
    assert shown.count("src=") == len(found)  # it needs no other file
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(each)))) for each in found]


def test_a_result_says_what_it_is_in_a_few_lines() -> None:
    result = denoise(100 + 50 * noisy(32, 40), read_noise=5.0, **QUICK)
    assert result.verdict
    said = repr(replace(result, warnings=("one", "two"))).splitlines()
    assert said == [
        "Result: denoise, 32 x 40, float32, prior",
        result.stop_reason,
        result.verdict.sentence,
        "2 warnings, see .warnings",
    ]
    assert len(repr(replace(result, warnings=(), verdict=None)).splitlines()) == 2


def test_numpy_takes_a_result_for_its_image() -> None:
    result = denoise(plain(), **QUICK)
    assert np.array_equal(np.asarray(result), result.image)
    assert np.asarray(result, np.float64).dtype == np.float64
    assert np.asarray(result) is result.image or np.shares_memory(np.asarray(result), result.image)
    assert not np.shares_memory(np.array(result), result.image)
    assert np.mean(result) == np.mean(result.image)


@pytest.mark.parametrize(
    ("result", "shape"),
    [
        pytest.param(lambda: denoise(noisy(20, 30), **QUICK), (20, 30), id="image"),
        pytest.param(lambda: denoise(noisy(9, 12, 15), **QUICK), (12, 15), id="volume"),
        pytest.param(lambda: denoise(np.stack([noisy(20, 30)] * 3), leading_axes=1, **QUICK), (20, 30), id="stack"),
        pytest.param(lambda: denoise(np.stack([noisy(20, 30)] * 3, -1), **TOGETHER), (20, 30, 3), id="colour"),
        pytest.param(lambda: denoise(np.stack([noisy(20, 30)] * 2, -1), **TOGETHER), (20, 30), id="channels"),
        pytest.param(lambda: denoise(noisy(40, 600), **QUICK), (14, 200), id="wide"),
        pytest.param(lambda: deconvolve(noisy(20, 30), 1.0, **QUICK), (20, 30), id="deconvolve"),
    ],
)
def test_a_notebook_shows_before_and_after(result: object, shape: tuple[int, ...]) -> None:
    before, after = pictures_of(result())  # type: ignore[operator]
    assert before.shape == after.shape == shape
    assert min(before.std(), after.std()) > 1


def test_what_is_missing_is_black_before_and_filled_after() -> None:
    before, after = pictures_of(inpaint(plain(), dot(), **QUICK))
    assert not before[dot()].any()
    assert after[dot()].all()


def test_an_enlargement_is_shown_with_its_own_pixels() -> None:
    before, after = pictures_of(superresolve(noisy(12, 16), 2, **QUICK))
    assert (before.shape, after.shape) == ((12, 16), (24, 32))


@pytest.mark.filterwarnings("ignore:the image has one value only")
@pytest.mark.parametrize("value", [0.0, 7.0, 1e30])
def test_a_blank_image_is_shown_too(value: float) -> None:
    result = denoise(np.full((16, 18), value), **QUICK)
    assert [each.shape for each in pictures_of(result)] == [(16, 18)] * 2
    assert "one value" in repr(result) or "nothing to fit" in repr(result)


def test_what_is_said_in_a_notebook_is_the_verdict_and_the_warnings_as_text() -> None:
    result = replace(denoise(100 + 50 * noisy(32, 40), read_noise=5.0, **QUICK), warnings=("a < b & <b>c</b>",))
    assert result.verdict
    shown = result._repr_html_()
    assert result.verdict.sentence in shown
    assert "<li>a &lt; b &amp; &lt;b&gt;c&lt;/b&gt;</li>" in shown
