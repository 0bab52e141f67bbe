"""Findings about a result that was written block by block: its maps are lazy, and its truth is read part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import napari_dip
from napari_dip.viewer.geometry import Geometry
from napari_dip.viewer.maps import RESIDUAL, UNCERTAINTY, Findings, Map, Wanted, plain
from napari_dip.viewer.stream import Stream, lazy_levels

if TYPE_CHECKING:
    from napari_dip.run.blocks.restore import Restored

NOT_OF_BLOCKS = "it needs whole slices in memory, but the result is written block by block: restore one slice"


def residual(stream: Stream, restored: Restored, wanted: Wanted) -> Findings:
    """Map of what was removed, and the number of blocks with structure in it."""
    spread = _sigma(restored)
    limits = (-3 * spread, 3 * spread)
    shown = _map(stream, restored, RESIDUAL, stream.source.geometry.coloured("PiYG", limits))
    judged, doubtful = restored.record["residuals_judged"], restored.record["residuals_with_structure"]
    figures = {"residual_verdicts": {"judged": judged, "with_structure": doubtful}}
    return Findings(sentences=(("Residual", restored.verdicts),), figures=figures, maps=(shown,))


def uncertainty(stream: Stream, restored: Restored, wanted: Wanted) -> Findings:
    """Standard deviation at each pixel."""
    look = stream.place(stream.source.geometry).coloured("viridis", (0.0, _sigma(restored)))
    words = f"Standard deviation at each pixel, in units of the image; the noise has {_sigma(restored):.3g}."
    return Findings(sentences=(("Uncertainty", words),), maps=(_map(stream, restored, UNCERTAINTY, look),))


def against_truth(stream: Stream, restored: Restored, wanted: Wanted) -> Findings:
    """Figures against a ground truth."""
    figures = napari_dip.trust.before_and_after(restored, wanted.truth, affine=wanted.affine)
    words = " ".join(f"{when}, {found}." for when, found in figures.items())
    each = {when.lower(): plain(found) for when, found in figures.items()}
    return Findings(
        sentences=((f"Against '{wanted.truth_name}'", words),),
        figures={"truth": {"truth_layer": wanted.truth_name, **each}},
    )


def not_of_blocks(stream: Stream, restored: Restored, wanted: Wanted) -> Findings:
    """A hole map, or a resolution."""
    raise ValueError(NOT_OF_BLOCKS)


def _map(stream: Stream, restored: Restored, kind: str, geometry: Geometry) -> Map:
    if not restored.complete:
        raise ValueError("the run was stopped before its end")
    if getattr(restored, kind) is None:
        raise ValueError("it is written during a run: switch it on and run again, into another file")
    levels: list[Any] = lazy_levels(restored, kind)
    return Map(kind=kind, image=levels, geometry=geometry)


def _sigma(restored: Restored) -> float:
    """Standard deviation of the noise, or 1 where it is not known."""
    return float((restored.record.get("noise") or {}).get("sigma") or 1.0)
