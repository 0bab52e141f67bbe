"""Structure of a guide is told from structure that the measurement has too."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_dip.core.judge.guided import unsupported
from napari_dip.core.noise.model import Noise

SIGMA = 10.0
NOISE = Noise(gain=0, offset=0, read_noise=SIGMA, sigma=SIGMA)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, measurement, and an object that is in neither."""
    rng = np.random.default_rng(seed)
    truth = ndimage.gaussian_filter(rng.normal(size=(64, 64)), 3)
    truth = 100 + 15 * truth / truth.std()
    away = np.indices(truth.shape) - np.reshape((30, 40), (2, 1, 1))
    return truth, truth + rng.normal(0, SIGMA, truth.shape), np.float64(np.hypot(*away) < 6)


@pytest.mark.parametrize("seed", range(3))
def test_what_the_measurement_has_is_no_alarm(seed: int) -> None:
    truth, seen, disc = scene(seed)
    for guide in (2 * truth, 2 * truth + 80 * disc, -truth):
        for image in (truth, ndimage.gaussian_filter(seen, 1.5)):
            found = unsupported(image, seen, guide[None], NOISE)
            assert found.share == 0
            assert found.unconfirmed < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_an_object_of_the_guide_alone_is_one_and_its_place_is_told(seed: int) -> None:
    truth, seen, disc = scene(seed)
    found = unsupported(truth + 1.5 * SIGMA * disc, seen, (2 * truth + 80 * disc)[None], NOISE)
    assert 0 < found.share < 0.1
    assert np.hypot(found.place[0] - 30, found.place[1] - 40) < 12


def test_what_the_measurement_is_too_noisy_for_is_unconfirmed() -> None:
    truth, _, disc = scene(0)
    dark = 100 + np.random.default_rng(5).normal(0, 10 * SIGMA, truth.shape)
    noise = Noise(gain=0, offset=0, read_noise=10 * SIGMA, sigma=10 * SIGMA)
    found = unsupported(truth + 2 * SIGMA * disc, dark, (2 * truth + 80 * disc)[None], noise)
    assert found.share == 0
    assert found.unconfirmed > 0.3


def test_unknown_pixels_say_nothing_and_noise_must_be_known() -> None:
    truth, seen, disc = scene(0)
    seen[20:42, 28:52] = np.nan
    assert unsupported(truth + 2 * SIGMA * disc, seen, (2 * truth + 80 * disc)[None], NOISE).share < 0.02
    with pytest.raises(ValueError, match="sigma 0"):
        unsupported(truth, truth, truth[None], Noise(gain=0, offset=0, read_noise=0, sigma=0))
