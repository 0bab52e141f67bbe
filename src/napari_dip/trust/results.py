"""Results judged: by the residual, by the truth, or by the truth before and after."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.judge import metrics
from napari_dip.core.judge.metrics import Comparison
from napari_dip.core.judge.residual import Verdict
from napari_dip.core.result import Result
from napari_dip.io.arrays import open_source
from napari_dip.plan.inputs import read_part
from napari_dip.tables.tasks import removes_noise

if TYPE_CHECKING:
    from napari_dip.run.blocks.result import Restored

Array = npt.NDArray[Any]
NO_RESULT = "result is of type {}: give what denoise, inpaint or superresolve returned, not an image"


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
