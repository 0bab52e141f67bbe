"""An enhanced image in the window: coarse image and detail as layers of their own, and another boost without a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dip.viewer import layers
from napari_dip.viewer.layers import Source
from napari_dip.viewer.maps import COARSE, DETAIL, Findings, Map
from napari_dip.viewer.restoration import METADATA, Restoration

if TYPE_CHECKING:
    from napari_dip import Result


def parts(restoration: Restoration, result: Result) -> Findings:
    """Coarse image and detail, of which the result is put together."""
    source, detail = restoration.source, result.residual
    spread = float(np.nanstd(detail)) if np.isfinite(detail).any() else 0.0
    limits = (-3 * spread, 3 * spread) if spread > 0 else (-1.0, 1.0)
    shown = detail.mean(axis=-1) if source.rgb else detail
    return Findings(
        maps=(
            Map(kind=COARSE, image=boosted(source, detail, -1), geometry=source.geometry),
            Map(kind=DETAIL, image=shown, geometry=source.geometry.coloured("gray", limits)),
        )
    )


def boosted(source: Source, detail: np.ndarray, boost: float) -> np.ndarray:
    """A source plus `boost` times its detail; colours in their own type, which napari needs."""
    image = source.image + boost * np.nan_to_num(detail)
    kind = source.image.dtype if source.rgb else np.dtype(np.float32)
    if kind.kind in "iu":
        image = np.clip(np.rint(image), np.iinfo(kind).min, np.iinfo(kind).max)
    return layers.with_alpha(source, image.astype(kind))


def boost_again(layer: Any, source: Source, detail: np.ndarray, boost: float) -> None:
    """Show an enhanced layer with another boost, and say so in its record."""
    layer.data = boosted(source, detail, boost)
    record = layer.metadata[METADATA]
    record.setdefault("boost_of_the_run", record["boost"])  # which its warnings speak of
    record["boost"] = boost
