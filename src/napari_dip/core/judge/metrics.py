"""PSNR, SSIM and NRMSE of a restored image against a known truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.intensity import check_range

WINDOW = 7  # pixels: the side of the window in which SSIM compares


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Figures of a restored image against the truth.

    Attributes
    ----------
    psnr : float
        Peak signal-to-noise ratio in dB, for the given data range; infinite if the two are equal.
    ssim : float
        Mean structural similarity, -1 to 1.
    nrmse : float
        Root mean square error, relative to the root mean square of the truth.
    gain, offset : float
        Factor and summand applied to the restored image before the comparison; 1 and 0 without ``affine``.
    data_range : float
        The difference of intensities that counts as the peak.
    """

    psnr: float
    ssim: float
    nrmse: float
    gain: float = 1.0
    offset: float = 0.0
    data_range: float

    def __str__(self) -> str:
        scaled = f", after scaling by {self.gain:.3g} and adding {self.offset:.4g}"
        fitted = scaled if (self.gain, self.offset) != (1, 0) else ""
        return f"PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.3f}, NRMSE {self.nrmse:.3f}{fitted}"


def compare(
    restored: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    affine: bool = False,
    mask: npt.ArrayLike | None = None,
    channel_axis: int | None = None,
    data_range: float | None = None,
) -> Comparison:
    """Compare a restored image with the truth.

    Parameters
    ----------
    restored, truth : array-like of real numbers, 2-D or 3-D (besides channels), of one shape
        Finite where they are compared.
    affine : bool
        True to first fit the gain and offset (one of each for all channels) that bring the restored image closest to
        the truth by least squares, for a truth that was taken with another exposure.
    mask : array-like of bool, of the shape without channels or with them, optional
        True where pixels are left out: of the fit, of the errors, and as centres of the windows of SSIM.
    channel_axis : int, optional
        Axis of channels, which SSIM compares one by one.
    data_range : float, optional
        Above 0; by default 255 for a truth of 8-bit integers, else the difference of its largest and smallest pixel.

    Returns
    -------
    Comparison

    Raises
    ------
    TypeError, ValueError
        If an argument is not fit; the message says what to do.

    Notes
    -----
    Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004), with a uniform
    window of 7 pixels, or the largest odd one that fits a smaller image. Metrics are those of scikit-image.
    """
    import skimage.metrics

    metrics: Any = skimage.metrics  # it has no types
    kind = np.asarray(truth).dtype
    result, target = _read("restored", restored), _read("truth", truth)
    if result.shape != target.shape:
        raise ValueError(f"restored has shape {result.shape} and truth {target.shape}: they must be the same; crop one")
    if channel_axis is not None:
        if not -target.ndim <= channel_axis < target.ndim:
            raise ValueError(f"channel_axis={channel_axis} is not an axis of an image of shape {target.shape}")
        result, target = np.moveaxis(result, channel_axis, -1), np.moveaxis(target, channel_axis, -1)
    space = target.shape[:-1] if channel_axis is not None else target.shape
    if len(space) not in (2, 3) or min(space) < 3:
        raise ValueError(f"an image of {space} pixels cannot be compared: give two or three axes of 3 pixels or more")
    compared = _compared(mask, target.shape, space, channel_axis)
    for name, values in (("restored", result), ("truth", target)):
        if not np.isfinite(values[compared]).all():
            raise ValueError(f"{name} has pixels that are NaN or infinite; leave them out with mask=~isfinite({name})")
        known = values[np.isfinite(values)]
        check_range(float(known.min()), float(known.max()))
    if data_range is None:
        data_range = 255.0 if kind == np.uint8 else float(np.ptp(target[compared]))
        if data_range == 0:
            raise ValueError("truth has one value only; say the data_range that counts as its peak")
    elif not (np.isfinite(data_range) and data_range > 0):
        raise ValueError(f"data_range={data_range} must be a finite number above 0")
    gain, offset = _fit(result[compared], target[compared]) if affine else (1.0, 0.0)
    target = np.where(compared | np.isfinite(target), target, 0)
    result = np.where(compared, gain * result + offset, target)  # what is left out counts as equal in windows beside it
    a, b = target[compared], result[compared]
    window = min(WINDOW, (min(space) - 1) // 2 * 2 + 1)
    similarity = metrics.structural_similarity(
        target,
        result,
        win_size=window,
        data_range=data_range,
        channel_axis=-1 if channel_axis is not None else None,
        full=True,
    )[1]
    inner: tuple[slice, ...] = (slice(window // 2, -(window // 2)),) * len(space)
    if not compared[inner].any():  # pixels whose windows reach over the border count only where there are no others
        inner = ()
    return Comparison(
        psnr=float(metrics.peak_signal_noise_ratio(a, b, data_range=data_range)) if (a != b).any() else float("inf"),
        ssim=float(similarity[inner][compared[inner]].mean()),
        nrmse=float(metrics.normalized_root_mse(a, b)) if np.any(a) else float("inf"),
        gain=gain,
        offset=offset,
        data_range=data_range,
    )


def _read(name: str, image: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values = np.asarray(image)
    if values.dtype.kind not in "buif":
        raise TypeError(f"{name} is of type {values.dtype}: give an array of real numbers")
    return values.astype(np.float64)


def _compared(
    mask: Any, shape: tuple[int, ...], space: tuple[int, ...], channel_axis: int | None
) -> npt.NDArray[np.bool_]:
    """True where pixels count, in the shape of the image with its channels last."""
    if mask is None:
        return np.ones(shape, bool)
    left_out = np.asarray(mask, bool)
    if channel_axis is not None and left_out.ndim == len(shape):
        left_out = np.moveaxis(left_out, channel_axis, -1)
    if left_out.shape not in (shape, space):
        raise ValueError(f"mask has shape {left_out.shape}: it must be that of the image, {space}")
    if left_out.shape != shape:
        left_out = np.broadcast_to(left_out[..., None], shape)
    if left_out.all():
        raise ValueError("mask leaves no pixel to compare: it marks what is left out as True; did you mean ~mask?")
    return ~left_out


def _fit(restored: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Gain and offset by least squares; a constant image becomes the mean of the truth."""
    centred = restored - restored.mean()
    power = float(centred @ centred)
    gain = float(centred @ (truth - truth.mean())) / power if power > 0 else 0.0
    return gain, float(truth.mean() - gain * restored.mean())


def calibration(uncertainty: npt.ArrayLike, restored: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Fraction of the true values that lie within two uncertainties of the restored ones.

    About 0.95 if the uncertainty is the standard deviation of a normal error; less if it is too small.

    Parameters
    ----------
    uncertainty, restored, truth : array-like of one shape
        In the same units; pixels where one of them is not finite are left out.

    Raises
    ------
    ValueError
        If the shapes differ, an uncertainty is negative or no pixel is finite.
    """
    spread, image, target = (np.asarray(a, np.float64) for a in (uncertainty, restored, truth))
    if not spread.shape == image.shape == target.shape:
        raise ValueError(f"uncertainty {spread.shape}, restored {image.shape}, truth {target.shape}: shapes must agree")
    fair = np.isfinite(spread) & np.isfinite(image) & np.isfinite(target)
    if not fair.any():
        raise ValueError("uncertainty, restored and truth have no pixel in common where all three are finite")
    if (spread[fair] < 0).any():
        raise ValueError("uncertainty has negative values; it must be a standard deviation")
    return float(np.mean(np.abs(image - target)[fair] <= 2 * spread[fair]))
