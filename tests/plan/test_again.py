"""A run as a script: all that it takes, as Python spells it."""

from __future__ import annotations

from typing import Any

import numpy as np

import napari_dip
from napari_dip.again import Again
from napari_dip.tables.settings import Settings


def test_a_noise_of_which_a_figure_is_not_known_is_made_again() -> None:
    noise = napari_dip.Noise(gain=0, offset=float("nan"), read_noise=2, sigma=2, contrast=float("inf"))
    said = {"image_noise": noise}
    run = Again(task="denoise", settings=Settings(), said=said, image="in.tif", layer="in", fingerprint="", space=2)
    _, _, rest = run.python().partition("noise = ")
    made: dict[str, Any] = {"napari_dip": napari_dip, "np": np}
    exec("noise = " + rest.partition("\n)")[0] + "\n)", made)
    assert repr(made["noise"]) == repr(noise)
