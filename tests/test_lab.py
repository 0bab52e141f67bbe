"""The laboratory: structure is fitted before noise, points are those of the curves, and a stop keeps what is whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_dip import lab
from tests.core.tiny import picture

TINY: dict[str, Any] = {"channels": 8, "scales": 3, "code_channels": 8, "device": "cpu"}


def test_an_image_is_fitted_before_its_shuffled_pixels_and_the_noise_comes_last() -> None:
    made = lab.impedance(
        picture(32, 32), {"skips": {}, "none": {"skip_channels": 0}}, iterations=120, progress=False, **TINY
    )
    assert list(made.fitted) == ["skips", "none"]
    for name in made.fitted:
        assert made.fitted[name]["image"][-1] > made.fitted[name]["shuffled"][-1] + 3
        assert made.truth[name].max() > made.noisy
        assert all(len(curve) == len(made.iterations) for curve in made.fitted[name].values())
    assert made.table().splitlines()[0].startswith("| generator | image | noise | image + noise | shuffled |")
    assert len(made.table().splitlines()) == 4


def test_points_come_one_by_one_and_a_stop_keeps_the_generators_that_are_whole() -> None:
    seen: list[lab.Point] = []
    narrow = {"iterations": 4, "device": "cpu", "channels": 4}
    work = lab.iterate_impedance(picture(16, 16), ["decoder", "resnet"], should_stop=lambda: len(seen) >= 18, **narrow)
    while True:
        try:
            seen.append(next(work))
        except StopIteration as end:
            made = end.value
            break
    assert list(made.fitted) == ["decoder"]
    assert [point.iteration for point in seen[:4]] == list(made.iterations) == [1, 2, 3, 4]
    assert [point.fitted for point in seen[:4]] == list(made.fitted["decoder"]["image"])
    assert [point.done for point in seen] == sorted(point.done for point in seen)


def test_the_same_seed_makes_the_same_targets_and_shuffling_keeps_the_pixels() -> None:
    image = picture(12, 12)
    first, again = (lab.targets_of(image, 0.1, 3) for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in lab.TARGETS)
    assert np.array_equal(np.sort(first["shuffled"].ravel()), np.sort(image.ravel()))


@pytest.mark.parametrize("image", [np.ones((8, 8)), np.full((8, 8), np.nan), np.zeros(5), np.zeros((8, 8), complex)])
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises((TypeError, ValueError), match="image"):
        lab.impedance(image, progress=False)
