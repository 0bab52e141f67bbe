"""Trust in a result: the second front door. Arrays and results in, in the axes of the input; figures, sentences and
images out.

docs/trust.md says what each measure can tell, what it cannot, and its measured figures. Long because ``help`` shows it:
most of it is what arguments mean.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_dip.control import NO_RESULT, Control, iterate_noise_control, noise_control
from napari_dip.core.judge import metrics
from napari_dip.core.judge.frc import FourierCorrelation, fourier_correlation
from napari_dip.core.judge.likeness import likeness as _likeness
from napari_dip.core.judge.metrics import Comparison, calibration, peak_of, psnr
from napari_dip.core.judge.residual import Verdict
from napari_dip.core.noise.model import Noise
from napari_dip.core.noise.pixels import find_bad_pixels
from napari_dip.core.result import Result
from napari_dip.io.arrays import open_source
from napari_dip.plan.defects import without_lines, without_padding
from napari_dip.plan.inputs import read_part, read_slices
from napari_dip.plan.noises import noise_of
from napari_dip.run import doubts
from napari_dip.tables.tasks import removes_noise

__all__ = [
    "Control",
    "before_and_after",
    "calibration",
    "compare",
    "estimate_noise",
    "find_bad_pixels",
    "hole_map",
    "hole_warning",
    "iterate_noise_control",
    "left_out",
    "likeness",
    "noise_control",
    "peak_of",
    "psnr",
    "resolution",
    "verdict",
]

if TYPE_CHECKING:
    from napari_dip.blocks.result import Restored

Array = npt.NDArray[Any]


def verdict(result: Result) -> Verdict:
    """Judge whether what a restoration removed is noise: `result.verdict`, or the reason why there is none.

    Parameters
    ----------
    result : Result
        Of any task. A super-resolved image is judged on the pixels that were measured, an inpainted one on what the
        generator makes of the known pixels.

    Returns
    -------
    Verdict
        Of several slices and channels the worst one's, which the sentence names; `place` is in the axes of the input.

    Raises
    ------
    ValueError
        If the noise is not known or none was found, or nothing was fitted.
    TypeError
        If `result` is not a `Result`.

    Notes
    -----
    `napari_dip.core.judge.residual.residual_verdict` says what it compares the residual with, and what it cannot see.
    """
    if not isinstance(result, Result):
        raise TypeError(NO_RESULT.format(type(result).__name__))
    if result.verdict is None:
        why = "no pixel of it can be judged, as in a line"
        if not np.isfinite(result.residual).any():
            why = "nothing was fitted, as in an image of one value"
        elif not removes_noise(result.record):
            why = "what this task removes is no noise"
        elif result.noise is None:
            why = "the noise of a single pixel is not known"
        elif result.noise.sigma == 0:
            why = "no noise was found in the image; give that of the camera, read_noise=..."
        raise ValueError(f"result has no residual to judge: {why}")
    return result.verdict


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
    """Estimate the noise of one image, stack or volume from nothing else, as a restoration does before it begins.

    Parameters
    ----------
    image : array-like, (*leading, *S) or with channels
        Any real number type. NaN, infinite and saturated pixels are left out, padding (``skip_padding``) and hot or
        dead lines (``skip_bad_pixels``) too.
    mask : array-like of bool or integers, optional
        True or non-zero where a pixel is left out; in the shapes that `napari_dip.iterate` takes.
    gain, offset, read_noise : float, optional
        Known values of the camera: counts per photo-electron, counts in the dark, and standard deviation in the dark in
        counts. The rest is estimated around it.
    channel_axis, leading_axes : int
        As for `napari_dip.iterate`. All channels and slices are taken to have the same noise, which is estimated from
        at most sixteen of them, evenly spaced.

    Returns
    -------
    Noise
        In the units of the image; as a string, one sentence.

    Raises
    ------
    TypeError, ValueError
        If an argument is not fit, or the image is one pixel; the message says what to do.

    Notes
    -----
    Method, sources and limits: `napari_dip.core.noise.estimate.estimate_noise`.
    """
    given = {"gain": gain, "offset": offset, "read_noise": read_noise}
    slices = without_lines(without_padding(read_slices(image, mask, channel_axis, leading_axes)))
    noise = noise_of(slices, {name: value for name, value in given.items() if value is not None})
    if noise is None:
        raise ValueError(
            f"image of shape {np.shape(image)} is one pixel, which has no noise to estimate; give a larger image"
        )
    return noise


def left_out(image: Any, mask: Any = None, *, channel_axis: int | None = None, leading_axes: int = 0) -> str:
    """A sentence if `estimate_noise` leaves out padding, or hot or dead lines, with their number; else an empty one.

    Parameters and errors are those of `estimate_noise`.
    """
    slices = read_slices(image, mask, channel_axis, leading_axes)
    return doubts.left_out_sentence(without_lines(without_padding(slices)))


def hole_map(
    image: Any, mask: Any = None, noise: Noise | None = None, *, channel_axis: int | None = None, leading_axes: int = 0
) -> npt.NDArray[np.float64]:
    """Distance of each missing pixel from the nearest known one, over the correlation length of what surrounds it.

    Parameters
    ----------
    image : array-like, (*leading, *S) or with channels
        Missing pixels may have any value. NaN and infinite pixels are missing too.
    mask : array-like of bool or integers, optional
        True or non-zero where a pixel is missing; in the shapes that `napari_dip.iterate` takes.
    noise : Noise, optional
        Of the image; without it the noise is taken for white.
    channel_axis, leading_axes : int
        As for `napari_dip.iterate`.

    Returns
    -------
    float64 array in the shape of the image
        0 where it is known. Below 1 the surroundings determine most of what is missing; well above 1 nothing of it;
        infinite in a slice of which nothing is known.

    Raises
    ------
    TypeError, ValueError
        If an argument is not fit; the message says what to do.
    """
    slices = read_slices(image, mask, channel_axis, leading_axes)
    return np.asarray(slices.layout(doubts.hole_ratios(slices, noise)))


def hole_warning(
    image: Any, mask: Any = None, noise: Noise | None = None, *, channel_axis: int | None = None, leading_axes: int = 0
) -> str:
    """A sentence if a hole is larger than what its surroundings determine, else an empty one.

    Parameters and errors are those of `hole_map`; it warns from 1, and of the largest hole only.
    """
    slices = read_slices(image, mask, channel_axis, leading_axes)
    return doubts.hole_sentence(slices, noise, doubts.hole_ratios(slices, noise))


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
    """To which detail one image (or two of the same field) can be told from its noise, by Fourier ring correlation.

    Before and after a restoration call it on either image; of a super-resolved one the pixels are smaller.

    Parameters
    ----------
    image : array-like of finite real numbers, (*leading, *S) or with channels
        At least 32 pixels along each spatial axis, or 16 if there is another image. In a volume shells are correlated.
    other : array-like of the same shape, optional
        A second measurement of the same field with its own noise; without it the image is split in two.
    pixel_size : float or tuple of float
        For all spatial axes, or for each.
    threshold : {"1/7", "half-bit"}
        Below which the halves count as different.
    noise : Noise, optional
        Of the image, for the caveat on correlated noise.
    channel_axis, leading_axes : int
        As for `napari_dip.iterate`.

    Returns
    -------
    FourierCorrelation
        Of several slices and channels, that with the median resolution. As a string, one sentence.

    Raises
    ------
    TypeError, ValueError
        If an argument is not fit; the message says what to do.

    Notes
    -----
    Method, sources and what it cannot see: `napari_dip.core.judge.frc.fourier_correlation`.
    """
    if other is not None and np.shape(other) != np.shape(image):
        raise ValueError(f"other has shape {np.shape(other)} and image {np.shape(image)}: they must be the same")
    first, second = (
        None if each is None else read_slices(each, None, channel_axis, leading_axes).values for each in (image, other)
    )
    assert first is not None
    found = [
        fourier_correlation(
            first[place],
            None if second is None else second[place],
            pixel_size=pixel_size,
            threshold=threshold,
            noise_correlation=0.0 if noise is None else noise.correlation,
        )
        for place in np.ndindex(*first.shape[:2])
    ]
    return sorted(found, key=lambda each: each.resolution)[len(found) // 2]


def compare(
    restored: Any,
    truth: Any,
    *,
    affine: bool = False,
    mask: Any = None,
    data_range: float | None = None,
    channel_axis: int | None = None,
    leading_axes: int = 0,
) -> Comparison:
    """PSNR, SSIM and NRMSE against the truth; of several slices the means.

    Parameters
    ----------
    restored, truth : array-like of real numbers, zarr or dask array, or path of a zarr, of one shape
        Finite where they are compared. Of what is not in memory only parts are read at a time.
    affine : bool
        True if each restored slice is first given the gain and offset that bring it closest to the truth.
    mask : array-like of bool, optional
        True where pixels are left out; in the shape of the image, with or without channels, or of one slice without.
    data_range : float, optional
        The peak, above 0, of all slices; by default 255 for a truth of 8-bit integers, else the difference of its
        largest and smallest pixel.
    channel_axis, leading_axes : int
        As for `napari_dip.iterate`.

    Returns
    -------
    Comparison
        As a string, one sentence.

    Raises
    ------
    TypeError, ValueError
        If an argument is not fit; the message says what to do.

    Notes
    -----
    Method and source: `napari_dip.core.judge.metrics.compare`.
    """
    return metrics.compare(
        _opened(restored),
        _opened(truth),
        affine=affine,
        mask=mask,
        channel_axis=channel_axis,
        leading_axes=leading_axes,
        data_range=data_range,
    )


def likeness(image: Any, *, channel_axis: int, leading_axes: int = 0) -> float:
    """Likeness of channels that one generator would make together: correlation of their edges, on the mean.

    Parameters
    ----------
    image : array-like with channels
    channel_axis, leading_axes : int
        As for `napari_dip.denoise`; the mean over the slices of leading axes is told.

    Returns
    -------
    float
        1 if all edges are in the same places, 0 if their places have nothing in common; NaN where no two channels vary.

    Raises
    ------
    TypeError, ValueError
        If the image is not fit.

    Notes
    -----
    docs/together.md says what sharing gained and lost by it. Noise lowers it.
    """
    slices = read_slices(image, None, channel_axis, leading_axes)
    values = np.where(slices.missing, np.nan, slices.values.astype(np.float64))
    middle = np.nanmean(values, axis=tuple(range(2, values.ndim)), keepdims=True)
    return float(np.mean([_likeness(each) for each in np.where(slices.missing, middle, values)]))


def before_and_after(restored: Restored, truth: Any, *, affine: bool = False) -> dict[str, Comparison]:
    """`compare` of an array that was restored block by block, "Before" and "After", where both can be compared.

    Parameters
    ----------
    restored : Restored
        Result of a run over blocks that is complete.
    truth : array-like, zarr or dask array, or path of a zarr, of the shape of the result
        Left out where it is not finite, and where the measurement is not known unless the task fills holes.
    affine : bool
        As for `compare`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not fit; the message says what to do.
    """
    from dask.array import isfinite

    order = restored.order
    if order is None or not restored.complete:
        raise ValueError("restored is not complete: go on with it first, by the same call")
    target, grid = open_source(truth), order.grid
    axes: dict[str, Any] = {"channel_axis": grid.channel_axis}
    axes["leading_axes"] = len(grid.lead) - (grid.channel_axis is not None)
    left_out = ~isfinite(target.lazy)
    images = {"After": restored.array}
    if "truth" in order.request.task.before:
        left_out = left_out | order.unknown
        images = {"Before": order.source.array, **images}
    return {when: compare(image, target.array, affine=affine, mask=left_out, **axes) for when, image in images.items()}


class _Lazy:
    """An array that is read part by part; an error names the file of a damaged chunk."""

    def __init__(self, array: Any) -> None:
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, place: tuple[slice, ...]) -> Array:
        return read_part(self._array, place)


def _opened(given: Any) -> Any:
    """An array; lazy if it is one of zarr or dask, or the path of a zarr."""
    if isinstance(given, (str, os.PathLike)):
        given = open_source(given).array
    return _Lazy(given) if hasattr(given, "chunks") else np.asarray(given)
