"""The front door: an array in, a `Result` out. Axes, checks and scaling live here, so that the window, a script and
the command line cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from napari_dip.core.memory import telling_of_memory
from napari_dip.core.result import Result
from napari_dip.plan.cost import cost_of, fitted, tell_if_not_fast, tell_of_long_wait, why_not_fast
from napari_dip.plan.keywords import Arguments, FineOptions, Options, with_knobs
from napari_dip.plan.plan import make_plan
from napari_dip.plan.request import AXES, arguments, read_request
from napari_dip.run.earlier import unfinished
from napari_dip.run.run import Run
from napari_dip.tables.numbers import check_pace
from napari_dip.tables.settings import Settings, check_names
from napari_dip.terminal import best_tqdm, paced, script_bar

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
        If an argument is not valid; the message says what to do.
    MemoryError
        If memory runs out before the first iteration.

    Notes
    -----
    Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior" (2018).
    """
    return _result(iterate("denoise", image, mask, **paced(options, progress)), progress)


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
    return _result(iterate("inpaint", image, mask, **paced(options, progress)), progress)


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
    Light from beyond the border is in the measurement too, and is estimated with it.
    """
    return _result(iterate("deconvolve", image, mask, psf=psf, **paced(options, progress)), progress)


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
    return _result(iterate("superresolve", image, mask, factor=factor, **paced(options, progress)), progress)


@with_knobs
def deblock(image: Any, mask: Any = None, *, progress: bool = True, **options: Unpack[Options]) -> Result:
    """Remove blocks and ringing that JPEG, or another lossy compression, left in an image.

    Parameters
    ----------
    image, mask, progress, **options
        As for `denoise`.

    Returns
    -------
    Result
        Detail that the compression has lost does not come back.

    Notes
    -----
    Nothing is known of the compression. Its errors have no distribution that a rule could go by, so the run ends where
    the iterates vary least, or after 2400 iterations, which Ulyanov, Vedaldi, Lempitsky (2018) took.
    """
    return _result(iterate("deblock", image, mask, **paced(options, progress)), progress)


@with_knobs
def enhance(
    image: Any, mask: Any = None, *, boost: float = 2.0, progress: bool = True, **options: Unpack[Options]
) -> Result:
    """Raise the contrast of fine detail: ``image + boost * detail``, where detail is what a coarse image lacks.

    Parameters
    ----------
    image, mask, progress, **options
        As for `denoise`. The run is short, and its `iterations` decide the coarse image: more of them leave less
        detail.
    boost : float
        Multiple of the detail that is added, -1 to 100: 0 for the image itself, -1 for the coarse image.

    Returns
    -------
    Result
        Its `residual` is the detail, so ``image - result.residual`` is the coarse image, and
        ``image + 3 * result.residual`` what ``boost=3`` would give.

    Notes
    -----
    Noise is fine detail too, and is raised with it: denoise first. Contrast is no measurement any more.
    """
    return _result(iterate("enhance", image, mask, boost=boost, **paced(options, progress)), progress)


@with_knobs
@telling_of_memory()
def iterate(
    task: str,
    image: Any,
    mask: Any = None,
    *,
    factor: Any = None,
    psf: Any = None,
    boost: float | None = None,
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
    task : {"denoise", "inpaint", "superresolve", "deconvolve", "deblock", "enhance"}
        Kind of restoration.
    image, mask, factor, psf, boost
        As for `denoise`, `inpaint`, `superresolve`, `deconvolve` and `enhance`. A point spread function, on the grid
        of the restored image, may go with super-resolution too.
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
        Settings, of an earlier result for example; by default the task's preset for the device.
    **options
        Known properties of the image and the instrument, and changes to the settings, by name, listed below.

    Returns
    -------
    Run
        An iterator of `Progress`; when it is exhausted, its `result` is the `Result`.
    """
    check_pace(interval, snapshot_every)
    changes: dict[str, Any] = {**options}
    said = {name: changes.pop(name) for name in (*arguments(), *AXES) if name in changes}
    check_names(changes, also=("mask", *arguments(), *AXES))
    if resume is not None and not isinstance(resume, Result):
        raise TypeError(f"resume={resume!r} must be the Result of an earlier run, as denoise() returns it")
    request = read_request(task, image, mask, factor=factor, psf=psf, boost=boost, **said)
    plan = make_plan(request, settings, changes, resume, masked=mask is not None)
    if resume is None:
        plan = fitted(plan)
    left = 0.0 if resume is None or resume.complete else unfinished(plan, resume.states)
    tell_of_long_wait(plan, left or 1)
    if settings is None and resume is None and (why := why_not_fast(plan, changes)):
        tell_if_not_fast(why, cost_of(plan).seconds, plan.device.name)
    pace = {"should_stop": should_stop, "interval": interval, "snapshot_every": snapshot_every, "finish": left > 0}
    return Run(plan, resume, pace)


def _result(run: Run, show: bool) -> Result:
    with script_bar(show) as bar:
        for progress in run:
            bar.show(progress)
        if run.result.complete:
            bar.fill()
    return run.result
