"""The front door: an array in, a `Result` out. Axes, checks and scaling live here, so that the window, a script and
the command line cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

from napari_dip.core import device as devices
from napari_dip.core.codes import NO_GUIDE
from napari_dip.core.ladder import left_open
from napari_dip.core.noise import Noise
from napari_dip.core.solve import Progress, Result, telling_of_memory
from napari_dip.core.stopping import Choice
from napari_dip.defects import without_bad_pixels, without_lines, without_padding
from napari_dip.forecast import cost_of, fitted, tell_of_long_wait
from napari_dip.keywords import Arguments, FineOptions, Options, with_knobs
from napari_dip.method import auto_preset
from napari_dip.request import AXES, arguments, read_request
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
    psf: Any = None,
    resume: Result | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    interval: float = 0.25,
    snapshot_every: int = 0,
    settings: Settings | None = None,
    **options: Unpack[Arguments],
) -> Run:
    """Restore step by step: ``for progress in iterate("denoise", image): ...``

    Parameters
    ----------
    task : {"denoise", "inpaint", "superresolve", "deconvolve"}
        What to do.
    image, mask, factor, psf
        As for `denoise`, `inpaint`, `superresolve` and `deconvolve`. A point spread function, on the grid of the
        restored image, may go with super-resolution too.
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
    **options
        What else is known of the image and the instrument, and changes to the settings, by name, listed below.

    Returns
    -------
    Run
        An iterator of `Progress`; when it is exhausted, its `result` is the `Result`.
    """
    changes: dict[str, Any] = {**options}
    said = {name: changes.pop(name) for name in (*arguments(), *AXES) if name in changes}
    check_names(changes, also=("mask", "factor", "psf", *arguments(), *AXES))
    if resume is not None and not isinstance(resume, Result):
        raise TypeError(f"resume={resume!r} must be the Result of an earlier run, as denoise() returns it")
    request = read_request(task, image, mask, factor=factor, psf=psf, **said)
    slices = request.slices
    if settings is None and resume is not None:
        settings = resume.settings

    def skips(name: str) -> bool:  # what the noise is found without, and so before the settings
        return bool(changes.get(name, getattr(settings, name, True)))

    if skips("skip_padding"):
        slices = without_padding(slices)
    if request.task.fills_holes and not slices.holes.any():
        what = "mask is not given" if mask is None else "mask hides nothing"
        raise ValueError(f"{what} {request.task.needs['mask']}")
    bad = "skip_bad_pixels" in request.task.knobs and skips("skip_bad_pixels")
    if bad:
        slices = without_lines(slices)
    noise = request.image_noise or noise_of(slices, request.camera)
    if bad and noise:
        slices = without_bad_pixels(slices, noise)
    settings, reason = chosen(task, settings, noise, changes)
    if resume is not None:
        reason = resume.method.reason
    device = devices.choose(settings.device)
    open, settings = left_open(settings), settings.changed(device=device.name)
    if settings.code == "guide" and request.guide is None:
        raise ValueError(NO_GUIDE)
    if request.guide is not None and settings.code != "guide":
        raise ValueError(f"guide is not used with code={settings.code!r}; say code='guide'")
    request = replace(request, image=slices)
    job = Job(
        request=request,
        scaling=scaling_of(request),
        settings=settings,
        open=open,
        device=device,
        noise=noise,
        method=Choice(settings.method.name, reason),
    )
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
