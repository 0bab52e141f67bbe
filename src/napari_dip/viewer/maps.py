"""Findings about a result as data: sentences, figures for its record, and maps that become layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dip.viewer import layers
from napari_dip.viewer.geometry import Geometry
from napari_dip.viewer.restoration import METADATA

if TYPE_CHECKING:
    from napari_dip import Result
    from napari_dip.run.blocks.restore import Restored
    from napari_dip.trust.results import Comparison

RESIDUAL, UNCERTAINTY, HOLES, CONTROL = "residual", "uncertainty", "hole map", "noise-only control"
COARSE, DETAIL = "coarse", "detail"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Findings that are asked for.

    Attributes
    ----------
    residual, uncertainty, holes, resolution : bool
    truth : array, lazy or not, or None
        Ground truth, in the shape of the result.
    truth_name : str
        Of its layer.
    affine : bool
        True if gain and offset are fitted before the comparison.
    """

    residual: bool = False
    uncertainty: bool = False
    holes: bool = False
    resolution: bool = False
    truth: Any = field(default=None, repr=False)
    truth_name: str = ""
    affine: bool = False

    def asks_for(self, name: str) -> bool:
        """True if one of these is asked for."""
        value = getattr(self, name)
        return value if isinstance(value, bool) else value is not None


@dataclass(frozen=True, kw_only=True)
class Map:
    """An image of another quantity than intensity, with its place and its colours; or its lazy levels."""

    kind: str
    image: np.ndarray | list[Any]
    geometry: Geometry


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A heading and a sentence for each finding, figures by name, and maps."""

    sentences: tuple[tuple[str, str], ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)
    maps: tuple[Map, ...] = ()

    def __add__(self, other: Findings) -> Findings:
        return Findings(
            sentences=self.sentences + other.sentences,
            figures=self.figures | other.figures,
            maps=self.maps + other.maps,
        )


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A restoration that is over, with what was found out about it."""

    result: Result | Restored
    findings: Findings


def show_maps(viewer: Any, name: str, findings: Findings) -> list[Any]:
    """Add the maps of a result called `name` as layers, hidden so that they do not cover it, unless they are there."""
    there = [layer.metadata.get(METADATA, {}) for layer in viewer.layers]
    shown = {record.get("map") for record in there if record.get("of") == name}
    return [
        layers.show(
            viewer,
            found.image if len(found.image) > 1 or isinstance(found.image, np.ndarray) else found.image[0],
            found.geometry,
            f"{name}, {found.kind}",
            {METADATA: {"map": found.kind, "of": name, "figures": findings.figures}},
            visible=False,
        )
        for found in findings.maps
        if found.kind not in shown
    ]


def positive(kind: str, image: np.ndarray, geometry: Geometry, colormap: str) -> Map:
    """A map of something that is 0 or more; the few brightest pixels do not darken all others."""
    high = float(np.nanquantile(image, 0.995))
    return Map(kind=kind, image=image, geometry=geometry.coloured(colormap, (0.0, high if high > 0 else 1.0)))


def plain(figures: Comparison) -> dict[str, float]:
    """Figures of a comparison by name, fit for a record."""
    return {name: float(value) for name, value in vars(figures).items()}
