"""An enhanced image is the image and more of its own detail, and says that contrast is no measurement any more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tifffile

import napari_dip
from napari_dip import trust
from napari_dip.command import cli
from tests.bad_inputs import QUICK, plain

HOW: dict[str, Any] = {"progress": False, **QUICK}


def test_the_result_is_the_image_plus_its_detail_times_the_boost() -> None:
    image = plain()
    twice, coarse = (napari_dip.enhance(image, boost=boost, **HOW) for boost in (2, -1))
    assert np.allclose(twice.image, image + 2 * twice.residual, atol=1e-3)
    assert np.array_equal(twice.residual, coarse.residual)
    assert np.allclose(coarse.image, image - coarse.residual, atol=1e-3)
    assert coarse.image.std() < image.std() < twice.image.std()
    assert twice.image.mean() == pytest.approx(image.mean(), rel=1e-5)


def test_a_hole_gets_no_detail_and_the_uncertainty_is_that_of_the_detail() -> None:
    image = plain().astype(np.float32)
    image[3:5, 3:5] = np.nan
    three, coarse = (napari_dip.enhance(image, boost=boost, uncertainty=True, **HOW) for boost in (3, -1))
    assert np.array_equal(three.image[3:5, 3:5], coarse.image[3:5, 3:5])
    assert three.uncertainty is not None
    assert np.allclose(three.uncertainty, 3 * coarse.uncertainty)


def test_it_says_that_contrast_and_noise_are_raised() -> None:
    result = napari_dip.enhance(plain(), boost=2, read_noise=5.0, **HOW)
    assert any("multiplied by 3, and noise of 5 with it, to 15" in each for each in result.warnings)
    assert result.verdict is None
    assert result.record["boost"] == 2
    with pytest.raises(ValueError, match="nothing to control"):
        trust.noise_control(result, plain(), progress=False)


@pytest.mark.parametrize("boost", ["2", True, np.nan, -2, 101])
def test_a_boost_is_a_number_in_a_range(boost: Any) -> None:
    with pytest.raises(ValueError, match="boost=.* must be a number from -1 to 100"):
        napari_dip.enhance(plain(), boost=boost, **HOW)


def test_the_command_writes_the_image_and_the_detail(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("in.tif", plain().astype(np.float32))
    knobs = [word for name, value in QUICK.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert cli.main(["enhance", "in.tif", "out.tif", "--boost", "2", "--residual", "--quiet", *knobs]) == 0
    image, detail = (tifffile.imread(name) for name in ("out.tif", "out-residual.tif"))
    assert np.allclose(image, plain() + 2 * detail, atol=1e-3)
