"""Trust in a result: the second front door. Arrays and results in, in the axes of the input; figures, sentences and
images out.

docs/trust.md says what each measure can tell, what it cannot, and its measured figures.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip import doubts
from napari_dip.core.intensity import mean_of
from napari_dip.core.judge import metrics
from napari_dip.core.judge.control import Invention, invented, noise_only_observation
from napari_dip.core.judge.frc import FourierCorrelation, fourier_correlation
from napari_dip.core.judge.metrics import Comparison, calibration
from napari_dip.core.judge.residual import Verdict
from napari_dip.core.noise.model import Noise
from napari_dip.core.noise.pixels import find_bad_pixels
from napari_dip.core.pauses import without_pauses
from napari_dip.core.result import Progress, Result
from napari_dip.defects import without_lines, without_padding
from napari_dip.inputs import Slices, read_slices
from napari_dip.instrument import read_psf
from napari_dip.noises import noise_of
from napari_dip.record import fingerprint
from napari_dip.request import arguments
from napari_dip.restore import iterate
from napari_dip.tasks import TASKS
from napari_dip.terminal import script_bar

__all__ = [
    "Control",
    "calibration",
    "compare",
    "estimate_noise",
    "find_bad_pixels",
    "hole_map",
    "hole_warning",
    "iterate_noise_control",
    "left_out",
    "noise_control",
    "resolution",
    "verdict",
]

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Control:
    """Restoration of pure noise, with the settings of that of an image.

    Attributes
    ----------
    image : array
        Restored from `observation`, as a slice of the restoration. All that varies in it was made up.
    observation : array
        The noise, about the mean of the image, in the shape of one of its slices.
    invention : Invention
        Variation of `image`: a number and a sentence, which says so if the run was cut short.
    result : Result
        Of the run.
    """

    image: Array
    observation: Array
    invention: Invention
    result: Result


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
    _check_result(result)
    if result.verdict is None:
        why = "no pixel of it can be judged, as in a line"
        if not np.isfinite(result.residual).any():
            why = "nothing was fitted, as in an image of one value"
        elif result.noise is None:
            why = "the noise of a single pixel is not known"
        elif result.noise.sigma == 0:
            why = "no noise was found in the image; give that of the camera, read_noise=..."
        raise ValueError(f"result has no residual to judge: {why}")
    return result.verdict


def noise_control(result: Result, image: npt.ArrayLike, *, progress: bool = True, **options: Any) -> Control:
    """Restore pure noise with the settings of a restoration: all structure in the outcome is made up.

    Parameters
    ----------
    result : Result
        Result of the restoration; its settings, stopping rule, scaling of intensities and noise are taken over.
    image : array-like
        Image that was restored: its mean is the level of the noise, its axes are those of `result`.
    progress : bool
        Show a progress bar, as `napari_dip.denoise` does.
    **options
        Options of `iterate_noise_control`.

    Returns
    -------
    Control
        Outcome for one slice; it takes as long as one slice of the restoration.

    Raises
    ------
    TypeError
        If `result` is not a `Result`.
    ValueError
        If the noise is not known, nothing was fitted, or `image` is not what `result` was made of.

    Notes
    -----
    It shows what the settings make of noise alone. Beside real structure more may be made up.
    """
    with script_bar(progress) as bar:
        control = without_pauses(iterate_noise_control(result, image, **options), bar.show)
        bar.fill()
    return control


def iterate_noise_control(
    result: Result,
    image: npt.ArrayLike,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    interval: float = 0.25,
    **same: Any,
) -> Generator[Progress, None, Control]:
    """`noise_control` step by step.

    Parameters
    ----------
    result, image
        As for `noise_control`.
    should_stop, interval
        As for `napari_dip.iterate`.
    **same
        ``guide``, ``psf`` and ``psf_centre`` of the restoration, if it had any: what its record has no values of.

    Yields
    ------
    Progress
        Progress of the restoration of the noise.

    Returns
    -------
    Control
    """
    _check_result(result)
    made, noise, shape = result.record["input"], result.noise, result.residual.shape
    if np.shape(image) != shape:
        raise ValueError(
            f"image has shape {np.shape(image)}, the restored one had {shape}: give the image that was restored"
        )
    if noise is None or noise.sigma == 0 or not np.isfinite(result.residual).any():
        raise ValueError("result has no fit, or no noise was found in its image: there is nothing to control")
    slices = read_slices(image, None, made["channel_axis"], made["leading_axes"])
    psf = same.get("psf")
    blur = None if psf is None else fingerprint(read_psf(psf, slices.ndim, same.get("psf_centre", "mass")))
    if blur != result.record["psf"]:
        raise ValueError("psf and psf_centre must be those of the restoration: give the same ones")
    if fingerprint(slices.values) != made["sha256"]:
        raise ValueError(
            "image has other values or another type than the restored one: give the image that was restored"
        )
    missing = read_slices(result.residual, None, made["channel_axis"], made["leading_axes"]).missing
    observation = _noise_like(slices, noise, mean_of(slices.values[~missing]), result.settings.seed)
    hidden = next(each for each in missing if not each.all())  # of the first slice that was fitted
    run = iterate(
        result.record["task"],
        slices.layout_one(observation),
        slices.layout_one(hidden) if hidden.any() else None,
        **{name: result.record[name] for name, each in arguments().items() if each.kept and result.record.get(name)},
        **same,
        channel_axis=slices.channel_axis_in_slice,
        gain=noise.gain,
        offset=noise.offset,
        read_noise=noise.read_noise,
        should_stop=should_stop,
        interval=interval,
        settings=result.settings.changed(stop=result.rule.name, uncertainty=False, output_dtype="float32"),
    )
    yield from run
    control = run.result
    made_up = control.image
    if TASKS[result.record["task"]].fills_holes and result.settings.keep_known:
        made_up = np.where(slices.layout_one(hidden), made_up, np.nan)
    invention = invented(made_up, noise)
    if not control.complete:
        words = f"Stopped after {control.iterations} iterations, too early to tell anything"
        invention = replace(invention, sentence=words)
    return Control(
        image=control.image,
        observation=slices.layout_one(observation),
        invention=invention,
        result=control,
    )


def _check_result(result: Any) -> None:
    if not isinstance(result, Result):
        what = type(result).__name__
        raise TypeError(f"result is of type {what}: give what denoise, inpaint or superresolve returned, not an image")


def _noise_like(slices: Slices, noise: Noise, level: float, seed: int) -> npt.NDArray[np.float64]:
    """Noise about a level in the shape of a slice, (C, *S)."""
    shape = slices.values.shape[1:]
    rng = np.random.default_rng(seed)
    space = tuple(n for n in shape[1:] if n > 1)  # noise is estimated without axes of one pixel
    return np.stack([noise_only_observation(noise, space, level, rng).reshape(shape[1:]) for _ in range(shape[0])])


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
    restored: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    affine: bool = False,
    mask: npt.ArrayLike | None = None,
    data_range: float | None = None,
    channel_axis: int | None = None,
    leading_axes: int = 0,
) -> Comparison:
    """PSNR, SSIM and NRMSE against the truth; of several slices the means.

    Parameters
    ----------
    restored, truth : array-like of real numbers, of one shape
        Finite where they are compared.
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
    if leading_axes == 0:
        return metrics.compare(
            restored, truth, affine=affine, mask=mask, channel_axis=channel_axis, data_range=data_range
        )
    image, target = np.asarray(restored), np.asarray(truth)
    if image.shape != target.shape:
        raise ValueError(f"restored has shape {image.shape} and truth {target.shape}: they must be the same; crop one")
    inner = None if channel_axis is None else channel_axis % image.ndim - leading_axes
    hidden = None if mask is None else np.asarray(mask, bool)
    leading, space = image.shape[:leading_axes], image.ndim - leading_axes - (channel_axis is not None)
    if hidden is not None and hidden.ndim == space:
        hidden = np.broadcast_to(hidden, leading + hidden.shape)
    if data_range is None and target.dtype != np.uint8:
        data_range = float(np.ptp(target[np.isfinite(target)]))
    each = [
        metrics.compare(
            image[place],
            target[place],
            affine=affine,
            mask=None if hidden is None else hidden[place],
            channel_axis=inner,
            data_range=data_range,
        )
        for place in np.ndindex(*leading)
    ]
    names = ("psnr", "ssim", "nrmse", "gain", "offset")
    return replace(each[0], **{name: float(np.mean([getattr(one, name) for one in each])) for name in names})
