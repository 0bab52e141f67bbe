"""How far to trust a result: the second front door. Arrays and results in, in the axes of the input; figures, sentences
and images out.

What each measure tells, what it cannot, and its measured figures are in docs/trust.md.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.comparison import Comparison
from napari_dip.core.noise import Noise
from napari_dip.core.pixels import find_bad_pixels
from napari_dip.core.resolution import FourierCorrelation
from napari_dip.core.solve import Progress, Result
from napari_dip.core.trust import Invention, Verdict, calibration

__all__ = [
    "Control",
    "calibration",
    "compare",
    "estimate_noise",
    "find_bad_pixels",
    "hole_map",
    "hole_warning",
    "iterate_noise_control",
    "noise_control",
    "resolution",
    "verdict",
]

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Control:
    """What became of pure noise under the settings of a restoration.

    Attributes
    ----------
    image : array
        Restored from `observation`, as a slice of the restoration. All that varies in it was made up.
    observation : array
        The noise, about the mean of the image, in the shape of one of its slices.
    invention : Invention
        How much varies: a number and a sentence.
    result : Result
        Of the run.
    """

    image: Array
    observation: Array
    invention: Invention
    result: Result


def verdict(result: Result) -> Verdict:
    """Whether what a restoration removed is noise; of several slices and channels, the worst one's verdict."""
    raise NotImplementedError


def noise_control(result: Result, image: npt.ArrayLike, **options: Any) -> Control:
    """Run a restoration again, on pure noise: all that it shows is made up."""
    raise NotImplementedError


def iterate_noise_control(
    result: Result,
    image: npt.ArrayLike,
    *,
    guide: Any = None,
    should_stop: Callable[[], bool] = lambda: False,
    interval: float = 0.25,
) -> Generator[Progress, None, Control]:
    """`noise_control` step by step: yields `Progress`, and returns the `Control`."""
    raise NotImplementedError


def estimate_noise(
    image: Any,
    mask: Any = None,
    *,
    gain: float | None = None,
    offset: float | None = None,
    read_noise: float | None = None,
    channel_axis: int | None = None,
    leading_axes: int = 0,
) -> Noise:
    """Estimate the noise of one image, stack or volume from nothing else, as a restoration does before it begins."""
    raise NotImplementedError


def hole_map(
    image: Any, mask: Any = None, noise: Noise | None = None, *, channel_axis: int | None = None, leading_axes: int = 0
) -> npt.NDArray[np.float64]:
    """Distance of each missing pixel from the nearest known one, over the correlation length of what surrounds it."""
    raise NotImplementedError


def hole_warning(
    image: Any, mask: Any = None, noise: Noise | None = None, *, channel_axis: int | None = None, leading_axes: int = 0
) -> str:
    """A sentence if a hole is larger than what its surroundings determine, else an empty one."""
    raise NotImplementedError


def resolution(
    image: npt.ArrayLike,
    other: npt.ArrayLike | None = None,
    *,
    pixel_size: float | tuple[float, ...] = 1.0,
    threshold: str = "1/7",
    noise: Noise | None = None,
    channel_axis: int | None = None,
    leading_axes: int = 0,
) -> FourierCorrelation:
    """To which detail one image (or two of the same field) can be told from its noise, in units of the pixel size."""
    raise NotImplementedError


def compare(
    restored: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    affine: bool = False,
    mask: npt.ArrayLike | None = None,
    data_range: float | None = None,
    channel_axis: int | None = None,
    leading_axes: int = 0,
) -> Comparison:
    """PSNR, SSIM and NRMSE against the truth; of several slices, their means."""
    raise NotImplementedError
