"""Findings about a result besides its image: sentences, figures for its record, and maps as layers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pint
from scipy import ndimage  # type: ignore[import-untyped]

import napari_dip
from napari_dip.tables.tasks import TASKS
from napari_dip.viewer import blockfindings, detail
from napari_dip.viewer.account import ended
from napari_dip.viewer.geometry import Geometry
from napari_dip.viewer.maps import (
    CONTROL,
    HOLES,
    RESIDUAL,
    UNCERTAINTY,
    Findings,
    Finished,
    Map,
    Wanted,
    plain,
    positive,
)
from napari_dip.viewer.moments import Moments
from napari_dip.viewer.position import with_names
from napari_dip.viewer.restoration import Restoration
from napari_dip.viewer.stream import Stream

if TYPE_CHECKING:
    from napari_dip import Progress, Result
    from napari_dip.run.blocks.restore import BlockProgress
    from napari_dip.run.run import Run

Look = Callable[[Any, Any, Wanted], Findings]


def restore(
    restoration: Restoration | Stream,
    wanted: Wanted,
    should_stop: Callable[[], bool],
    moments: Moments | None = None,
    **pace: Any,
) -> Generator[Progress | BlockProgress, None, Finished]:
    """Restore, keeping moments, then look at the result; the noise-only control is a run of its own, see `control`."""

    def watch(run: Run) -> Iterator[Progress]:
        return iter(run) if moments is None else moments.watch(run, psnr_of(restoration, wanted))

    result: Any = yield from restoration.steps(watch, should_stop, **pace)
    return Finished(result=result, findings=examine(restoration, result, wanted))


def psnr_of(restoration: Any, wanted: Wanted) -> Callable[[Progress], float] | None:
    """PSNR of a progress, in dB; None without a truth, or with one of another shape."""
    truth, source = wanted.truth, restoration.source
    if truth is None:
        return None
    peak = napari_dip.trust.peak_of(truth)
    leading = source.axes["leading_axes"]
    slices = truth.reshape(-1, *truth.shape[leading:])

    def psnr(progress: Progress) -> float:
        if progress.image.shape != slices.shape[1:]:
            return float("nan")
        truth = slices[progress.slice]
        return napari_dip.trust.psnr(progress.image, truth, affine=wanted.affine, data_range=peak or None)

    return psnr


def control(
    restoration: Restoration | Stream, result: Any, should_stop: Callable[[], bool], interval: float
) -> Generator[Progress, None, Findings]:
    """Restore pure noise in the same way as a result, step by step."""
    try:
        found = yield from restoration.control(result, should_stop=should_stop, interval=interval)
    except ValueError as error:
        return Findings(sentences=(("Noise-only control", ended(f"Not available: {error}")),))
    if not found.result.complete:
        return Findings(sentences=(("Noise-only control", ended(found.invention.sentence)),))
    image = _grey(restoration.one_slice(found.image), restoration)
    geometry = restoration.control_geometry(result)
    limits = restoration.source.geometry.look.get("contrast_limits", _range(image))
    shown = geometry.coloured("gray", limits) if restoration.source.rgb else geometry
    return Findings(
        sentences=(("Noise-only control", ended(found.invention.sentence)),),
        figures={"noise_only_control": {"strength": found.invention.strength, "counts": found.invention.counts}},
        maps=(Map(kind=CONTROL, image=image, geometry=shown),),
    )


def examine(restoration: Restoration | Stream, result: Any, wanted: Wanted) -> Findings:
    """Find out what is wanted, but the noise-only control; what cannot be told is a sentence that says why."""
    found = Findings()
    for name, (heading, in_memory, of_blocks) in _LOOKS.items():
        if wanted.asks_for(name):
            try:
                found += (of_blocks if restoration.lazy else in_memory)(restoration, result, wanted)
            except (ValueError, TypeError, MemoryError) as error:
                found += Findings(sentences=((heading, ended(f"Not available: {error}")),))
    if TASKS[restoration.task].adds_detail and not restoration.lazy:
        found += detail.parts(restoration, result)
    return found


# --------------------------------------------------------------------------------------------------------- one by one


def _residual(restoration: Restoration, result: Result, wanted: Wanted) -> Findings:
    image = _grey(result.residual, restoration)
    spread = float(np.nanstd(image)) if np.isfinite(image).any() else 0.0
    limits = (-3 * spread, 3 * spread) if spread > 0 else (-1.0, 1.0)
    verdict = result.verdict
    why = "the noise is not known" if TASKS[restoration.task].removes_noise else "what this task removes is no noise"
    sentence = f"No verdict: {why}." if verdict is None else ended(verdict.sentence)
    return Findings(
        sentences=(("Residual", with_names(restoration.source, sentence)),),
        figures={} if verdict is None else {"residual_verdict": dict(vars(verdict))},
        maps=(Map(kind=RESIDUAL, image=image, geometry=restoration.source.geometry.coloured("PiYG", limits)),),
    )


def _uncertainty(restoration: Restoration, result: Result, wanted: Wanted) -> Findings:
    if result.uncertainty is None:
        if result.settings.uncertainty and not result.complete:
            raise ValueError("the run was stopped before its end")
        raise ValueError("it is computed during a run: switch it on and run again")
    image = _grey(result.uncertainty, restoration, lambda values, axis: np.sqrt(np.mean(values**2, axis=axis)))
    known = image[np.isfinite(image)]
    if not known.size:
        raise ValueError("every pixel keeps its measured value")
    low, middle, high = (float(v) for v in np.quantile(known, [0.05, 0.5, 0.95]))
    sentence = (
        f"{middle:.3g} at the median pixel, {low:.3g} to {high:.3g} at 90 % of the pixels, in units of the image."
    )
    return Findings(
        sentences=(("Uncertainty", sentence),),
        figures={"uncertainty": {"median": middle, "quantiles_5_95": [low, high], "of": result.record["uncertainty"]}},
        maps=(positive(UNCERTAINTY, image, restoration.place(restoration.source.geometry), "viridis"),),
    )


def _holes(restoration: Restoration, result: Result, wanted: Wanted) -> Findings:
    source = restoration.source
    warning = napari_dip.trust.hole_warning(noise=result.noise, **source.arguments)
    ratio = _grey(napari_dip.trust.hole_map(noise=result.noise, **source.arguments), restoration, np.max)
    if not ratio.any():
        raise ValueError("no pixel is missing")
    sentence = ended(warning) if warning else "Their surroundings determine most of what is missing."
    shown = np.where(np.isfinite(ratio), ratio, ratio[np.isfinite(ratio)].max())
    return Findings(
        sentences=(("Holes", sentence),),
        figures={"holes": {"largest_ratio": float(shown.max()), "warning": warning}},
        maps=(Map(kind=HOLES, image=shown, geometry=source.geometry.coloured("magma", (0.0, 2.0))),),
    )


def _resolution(restoration: Restoration, result: Result, wanted: Wanted) -> Findings:
    source = restoration.source
    if source.missing is not None and source.missing.any():
        raise ValueError("pixels are missing, and Fourier ring correlation needs an image without holes")
    sizes, unit = source.voxel_size, _unit(source.geometry)
    factors = restoration.factor or (1,) * source.space
    before = napari_dip.trust.resolution(source.image, pixel_size=sizes, noise=result.noise, **source.axes)
    fine = tuple(s / f for s, f in zip(sizes, factors, strict=True))
    after = napari_dip.trust.resolution(result.image, pixel_size=fine, noise=result.noise, **source.axes)
    return Findings(
        sentences=(("Resolution", f"Before, {before.detail(unit)}. After, {after.detail(unit)}. {_no_proof(result)}"),),
        figures={
            "resolution": {
                "before": before.resolution,
                "after": after.resolution,
                "finest_before": before.limit,
                "finest_after": after.limit,
                "unit": unit,
                "threshold": "1/7",
                "caveat": before.caveat,
            }
        },
    )


def _against_truth(restoration: Restoration, result: Result, wanted: Wanted) -> Findings:
    source, truth = restoration.source, np.asarray(wanted.truth)
    if truth.shape != result.image.shape:
        raise ValueError(
            f"'{wanted.truth_name}' has shape {truth.shape} and the result {result.image.shape}; choose one of that"
        )
    options = {**source.axes, "affine": wanted.affine, "mask": ~np.isfinite(truth)}
    enlarged, how = _enlarged(restoration)
    after = napari_dip.trust.compare(result.image, truth, **options)
    lines = [f"After, {after}."]
    figures = {"truth_layer": wanted.truth_name, "after": plain(after)}
    if np.isfinite(enlarged).all():
        before = napari_dip.trust.compare(enlarged, truth, **options)
        lines.insert(0, f"Before{how}, {before}.")
        figures["before"] = plain(before)
    if result.uncertainty is not None and np.isfinite(result.uncertainty).any():
        share = napari_dip.trust.calibration(result.uncertainty, result.image, truth)
        lines.append(f"{share:.0%} of the true values lie within two uncertainties (95% if these are right).")
        figures["within_two_uncertainties"] = share
    return Findings(sentences=((f"Against '{wanted.truth_name}'", " ".join(lines)),), figures={"truth": figures})


# ------------------------------------------------------------------------------------------------------------ the parts


def _grey(image: np.ndarray, restoration: Restoration, over: Callable[..., Any] = np.mean) -> np.ndarray:
    """A map of colours as one value for each pixel: their mean, or what `over` makes of them."""
    return np.asarray(over(image, axis=-1)) if restoration.source.rgb else image


def _range(image: np.ndarray) -> tuple[float, float]:
    low, high = float(np.nanmin(image)), float(np.nanmax(image))
    return (low, high) if high > low else (low, low + 1)


def _enlarged(restoration: Restoration) -> tuple[np.ndarray, str]:
    """The measurement on the grid of the result, and what to say of that."""
    image = restoration.source.image
    if restoration.factor is None:
        return image, ""
    zoom = [1.0] * image.ndim
    first = restoration.source.leading
    zoom[first : first + restoration.source.space] = restoration.factor
    return ndimage.zoom(
        image.astype(np.float64), zoom, order=3, mode="nearest", grid_mode=True
    ), " (enlarged bicubically)"


def _unit(geometry: Geometry) -> str:
    """The symbol of the unit of x."""
    unit = geometry.place["units"][-1]
    return "pixels" if str(unit) == "pixel" else f"{pint.get_application_registry().Unit(unit):~}"


def _no_proof(result: Result) -> str:
    shared = result.noise is not None and not result.noise.independent
    noise = "The noise is correlated between neighbouring pixels, and counts as detail here. " if shared else ""
    return f"{noise}Finer is no proof: what was invented counts as detail too."


_LOOKS: dict[str, tuple[str, Look, Look]] = {  # of `Wanted` -> heading, and how to find it out in memory and of blocks
    "residual": ("Residual", _residual, blockfindings.residual),
    "uncertainty": ("Uncertainty", _uncertainty, blockfindings.uncertainty),
    "holes": ("Holes", _holes, blockfindings.not_of_blocks),
    "resolution": ("Resolution", _resolution, blockfindings.not_of_blocks),
    "truth": ("Against the truth", _against_truth, blockfindings.against_truth),
}
