"""Settings that run in no time or for ever, and what a run leaves behind: what the tests of the widgets share."""

from napari_dip.viewer.restoration import METADATA

QUICK = {
    "channels": "4",
    "scales": 2,
    "code_channels": 8,
    "iterations": 5,
    "stop": "iterations",
    "runs": 1,
    "refine": 0,
}
LONG = QUICK | {"iterations": 100_000}


def restored(viewer):
    """The layers that carry a full record."""
    return [layer for layer in viewer.layers if "stop_reason" in layer.metadata.get(METADATA, {})]


def map_of(viewer, kind):
    """The layer of a map."""
    (layer,) = [layer for layer in viewer.layers if layer.metadata.get(METADATA, {}).get("map") == kind]
    return layer
