"""The front door: an array in, a `Result` out. Axes, checks and scaling live here, so that the window, a script and
the command line cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Unpack

from napari_dip.core import device as devices
from napari_dip.core.codes import NO_GUIDE
from napari_dip.core.ladder import left_open
from napari_dip.core.noise import Noise
from napari_dip.core.operators import Downsample
from napari_dip.core.solve import Progress, Result, telling_of_memory
from napari_dip.core.stopping import Choice
from napari_dip.forecast import cost_of, fitted, tell_of_long_wait
from napari_dip.inputs import check_task, read_factor, read_guide, read_slices
from napari_dip.instrument import plain_psf, read_psf, read_voxel_size
from napari_dip.keywords import FineOptions, Knobs, Options, with_knobs
from napari_dip.method import auto_preset, method_of
from napari_dip.run import Job, Run, check_resume, noise_of, scaling_of
from napari_dip.series import stream, unfinished
from napari_dip.settings import Settings, check_names, check_preset, settings_for
from napari_dip.terminal import best_tqdm, script_bar

__all__ = ["Progress", "Result", "Run", "deconvolve", "denoise", "inpaint", "iterate", "settings_here", "superresolve"]

best_tqdm()  # imports it now, as that touches the filters of warnings, which all threads share


@with_knobs
def denoise(image: Any, mask: Any = None, *, progress: bool = True, **options: Unpack[Options]) -> Result:
    """Remove noise from an image.

    Parameters
    ----------
    image : array-like, (*leading, *S) or with channels
        Any real number type. Two spatial axes are an image, three a volume.
    mask : array-like of bool or integers, optional
        True or non-zero where a pixel is missing, such as a hot one; NaN and infinite pixels count as missing too.
    progress : bool
        Show a progress bar: as text on stderr, or in a notebook that has ipywidgets as one of them.
    **options
        The options of `iterate`, and every knob of `Settings` (``iterations=800, seed=0, ...``), listed below.

    Returns
    -------
    Result
        Its `image` has the shape and the units of the input.

    Raises
    ------
    TypeError, ValueError
        If an argument is not fit; the message says what to do.
    MemoryError
        If memory runs out before the first iteration.

    Notes
    -----
    Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior" (2018).
    """
    return _result(iterate("denoise", image, mask, **options), progress)


@with_knobs
def inpaint(image: Any, mask: Any = None, *, progress: bool = True, **options: Unpack[Options]) -> Result:
    """Fill the holes of an image.

    Parameters
    ----------
    image, progress, **options
        As for `denoise`.
    mask : array-like of bool or integers, optional
        True or non-zero where a pixel is missing; NaN and infinite pixels count as missing too.

    Returns
    -------
    Result
        Known pixels keep their measured value, unless ``keep_known=False``.
    """
    return _result(iterate("inpaint", image, mask, **options), progress)


@with_knobs
def deconvolve(image: Any, psf: Any, mask: Any = None, *, progress: bool = True, **options: Unpack[Options]) -> Result:
    """Undo the blur of an instrument whose point spread function is known.

    Parameters
    ----------
    image, mask, progress, **options
        As for `denoise`.
    psf : array-like with one axis for each spatial one, number, or sequence of numbers
        The image of a point, measured or computed, in any unit and on the grid of the image; or the standard deviation
        of a Gaussian in pixels, for all spatial axes or one for each.

    Returns
    -------
    Result
        Its `image` has the shape and the units of the input: the same light, where it came from.

    Notes
    -----
    What shines beyond the border is in the measurement too, and is sought with it.
    """
    return _result(iterate("deconvolve", image, mask, psf=psf, **options), progress)


@with_knobs
def superresolve(
    image: Any, factor: Any, mask: Any = None, *, progress: bool = True, **options: Unpack[FineOptions]
) -> Result:
    """Enlarge an image by whole factors, adding the detail that a deep image prior makes plausible.

    Parameters
    ----------
    image, mask, progress, **options
        As for `denoise`.
    factor : int or sequence of int
        Fine pixels per pixel of the input, for all spatial axes or one for each.

    Returns
    -------
    Result
        Its `image` is `factor` times the input's size; the outlines of the two coincide.
    """
    return _result(iterate("superresolve", image, mask, factor=factor, **options), progress)


@with_knobs
@telling_of_memory()
def iterate(
    task: str,
    image: Any,
    mask: Any = None,
    *,
    factor: Any = None,
    kernel: str = "lanczos2",
    psf: Any = None,
    psf_centre: str = "mass",
    voxel_size: Any = None,
    guide: Any = None,
    channel_axis: int | None = None,
    leading_axes: int = 0,
    intensity_range: tuple[float, float] | None = None,
    gain: float | None = None,
    offset: float | None = None,
    read_noise: float | None = None,
    image_noise: Noise | None = None,
    resume: Result | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    interval: float = 0.25,
    snapshot_every: int = 0,
    settings: Settings | None = None,
    **knobs: Unpack[Knobs],
) -> Run:
    """Restore step by step: ``for progress in iterate("denoise", image): ...``

    Parameters
    ----------
    task : {"denoise", "inpaint", "superresolve", "deconvolve"}
        What to do.
    image, mask, factor, psf
        As for `denoise`, `inpaint`, `superresolve` and `deconvolve`. A point spread function, on the grid of the
        restored image, may go with super-resolution too.
    kernel : {"lanczos2", "lanczos3", "bicubic", "gaussian", "box"}
        How the instrument blurs before it samples coarsely (super-resolution); box is camera binning.
    psf_centre : {"mass", "maximum", "middle"}
        Which place in a measured point spread function is the point's: its centre of mass, so that no light is moved on
        the whole; its brightest pixel; or the middle of the array.
    voxel_size : sequence of float, optional
        Distances between neighbouring pixels along each spatial axis, in any unit. Where they differ, the generator
        halves a coarse axis later than a fine one. By default all are equal.
    guide : array-like, optional
        An image of the size of the restored one that serves as the code, with ``code="guide"``.
    channel_axis : int, optional
        Axis of channels that are restored together by one generator, such as -1 for RGB. It may be any axis whose
        slices have their structure in common, frames of a short series too.
    leading_axes : int
        That many leading axes (time, z, channel; not counting `channel_axis`) are no space: their slices are restored
        one by one, with the same seed and one intensity scaling. A self-guided fit begins with the weights of the
        slice before (``warm_start``), so that it depends on that slice.
    intensity_range : (float, float), optional
        The two intensities that become 0 and 1 for the generator; by default the smallest and largest known pixel.
    gain, offset, read_noise : float, optional
        Of the camera, where they are known: counts per photo-electron, counts at no light, and standard deviation at
        no light in counts. Those not given are estimated from the image.
    image_noise : Noise, optional
        Of the image, where all of it is known, in place of these and of an estimate.
    resume : Result, optional
        Of an earlier run on the same image: goes on from there for ``iterations`` more. If that was stopped, what its
        rule had ended stays as it is; so does what is not reached if this one is stopped.
    should_stop : callable
        Asked before every iteration; true ends the run with what there is. It may block, which pauses the run.
    interval : float
        Seconds between two `Progress` at the least; 0 for each iteration.
    snapshot_every : int
        A `Progress` at each multiple of so many iterations, whatever the interval; 0 for none.
    settings : Settings, optional
        Those of an earlier result, say; by default the task's preset for the device.
    **knobs
        Changes to the settings, by name, listed below.

    Returns
    -------
    Run
        An iterator of `Progress`; when it is exhausted, its `result` is the `Result`.
    """
    changes: dict[str, Any] = {**knobs}
    check_task(task, factor, psf)
    if resume is not None and not isinstance(resume, Result):
        raise TypeError(f"resume={resume!r} must be the Result of an earlier run, as denoise() returns it")
    slices = read_slices(image, mask, channel_axis, leading_axes)
    if settings is None and resume is not None:
        settings = resume.settings

    def said(name: str) -> bool:  # what the noise is found without, and so before the settings
        return bool(changes.get(name, getattr(settings, name, True)))

    if said("skip_padding"):
        slices = slices.without_padding()
    if task == "inpaint" and not slices.holes.any():
        what = "mask is not given" if mask is None else "mask hides nothing"
        raise ValueError(f"{what} and no pixel is NaN, so there is no hole to fill; a mask marks what is missing")
    check_names(
        changes,
        also=(
            "mask",
            "factor",
            "kernel",
            "psf",
            "psf_centre",
            "voxel_size",
            "guide",
            "channel_axis",
            "leading_axes",
            "intensity_range",
        ),
    )
    given = {"gain": gain, "offset": offset, "read_noise": read_noise}
    camera = {name: float(value) for name, value in given.items() if value is not None}
    if image_noise is not None:
        if camera:
            raise ValueError(f"image_noise is given, and {', '.join(camera)} too; leave out the one or the other")
        camera = {name: getattr(image_noise, name) for name in given}
    skips = task in ("denoise", "inpaint") and said("skip_bad_pixels")
    if skips:
        slices = slices.without_lines()
    noise = noise_of(slices, camera) if image_noise is None else image_noise
    if skips and noise:
        slices = slices.without_bad_pixels(noise)
    settings, reason = chosen(task, settings, noise, changes)
    if resume is not None:
        reason = resume.method.reason
    device = devices.choose(settings.device)
    open, settings = left_open(settings), settings.changed(device=device.name)
    factors = read_factor(factor, slices.ndim) if factor is not None else None
    shape = tuple(n * f for n, f in zip(slices.values.shape[2:], factors or (1,) * slices.ndim, strict=True))
    if settings.code == "guide" and guide is None:
        raise ValueError(NO_GUIDE)
    if guide is not None and settings.code != "guide":
        raise ValueError(f"guide is not used with code={settings.code!r}; say code='guide'")
    job = Job(
        task=task,
        slices=slices,
        factors=factors,
        kernel=kernel,
        psf=None if psf is None else read_psf(plain_psf(psf), slices.ndim, psf_centre),
        voxel_size=read_voxel_size(voxel_size, slices.ndim),
        guide=read_guide(guide, slices, shape) if guide is not None else None,
        scaling=scaling_of(slices, intensity_range),
        shape=shape,
        settings=settings,
        open=open,
        device=device,
        camera=camera,
        noise=noise,
        method=Choice(method_of(settings), reason),
    )
    sizes = [n * f for n, f in zip(slices.values.shape[2:], factors or (1,) * slices.ndim, strict=True)]
    if any(reach >= 3 * n for reach, n in zip(job.margin, sizes, strict=True)):  # hours, for what is a slip of units
        size = " x ".join(map(str, sizes))
        raise ValueError(
            f"psf spreads light over {max(job.margin)} pixels, far beyond the image ({size}): give it in pixels of the "
            "restored image"
        )
    if factors:
        Downsample(factors, kernel)  # refuses an unknown kernel now, not after the first next()
    if resume is not None:
        check_resume(resume, job)
    else:
        job = fitted(job)
    left = 0.0 if resume is None or resume.complete else unfinished(job, resume.states)
    tell_of_long_wait(job, left or 1)
    pace = {"should_stop": should_stop, "interval": interval, "snapshot_every": snapshot_every, "finish": left > 0}
    return Run(stream(job, resume, pace), partial(cost_of, job))


def chosen(task: str, settings: Settings | None, noise: Noise | None, knobs: dict[str, Any]) -> tuple[Settings, str]:
    """The settings with these changes, by default those of the task here; and why they are so."""
    reason = "chosen by the user"
    if settings is not None and not isinstance(settings, Settings):
        raise TypeError(f"settings={settings!r} must be Settings, those of a result say; give knobs by name")
    if settings is not None:
        check_preset(task, knobs)
        return settings.changed(**knobs), reason
    if knobs.get("preset", "auto") == "auto":
        reason = why_here(task, image_noise=noise, **knobs)
    return settings_here(task, image_noise=noise, **knobs), reason


def settings_here(task: str, *, image_noise: Noise | None = None, **knobs: Any) -> Settings:
    """The settings of a task on this machine: its preset for the device that ``device`` means, and the changes.

    Parameters
    ----------
    task : {"denoise", "inpaint", "superresolve", "deconvolve"}
    image_noise : Noise, optional
        What ``preset="auto"`` becomes depends on it.
    **knobs
        Changes to the settings, by name.

    Raises
    ------
    TypeError, ValueError
        For an unknown knob or preset, a value out of range, or a device that is not there.
    """
    return settings_for(task, on_cpu=_on_cpu(task, knobs), image_noise=image_noise, **knobs)


def why_here(task: str, *, image_noise: Noise | None = None, **knobs: Any) -> str:
    """Why `settings_here` takes the preset that it takes for ``preset="auto"``, as part of a sentence."""
    return auto_preset(task, on_cpu=_on_cpu(task, knobs), noise=image_noise, changes=knobs)[1]


def _on_cpu(task: str, knobs: dict[str, Any]) -> bool:
    return devices.choose(settings_for(task, on_cpu=True, **knobs).device).name == "cpu"


def _result(run: Run, show: bool) -> Result:
    with script_bar(show) as bar:
        for progress in run:
            bar.show(progress)
        if run.result.complete:
            bar.fill()
    return run.result
