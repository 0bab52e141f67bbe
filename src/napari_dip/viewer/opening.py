"""File > IO Utilities > Open image with calibration: files that napari itself opens as bare pixels."""

# no annotations from __future__: napari hands in the viewer by the type of the argument

from pathlib import Path
from typing import Any

import napari
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QFileDialog

FILE = "napari-dip-file"  # in ``layer.metadata``: napari tells its own readers' files alone
_MARKS = ("zarr.json", ".zattrs", ".zgroup")  # a file in an OME-Zarr, which a dialog for files can choose
_FILTER = "Images (*.tif *.tiff *.lsm *.png *.jpg *.jpeg *.npy zarr.json .zattrs .zgroup)"


def open_image(viewer: napari.Viewer) -> None:
    """Ask for an image file (in an OME-Zarr its zarr.json), and add it with calibration, colours and record."""
    name, _ = QFileDialog.getOpenFileName(None, "Open image with calibration", "", _FILTER)
    if name:
        add_image(viewer, Path(name))


def add_image(viewer: napari.Viewer, path: Path) -> None:
    """Add an image file as a layer; tell the user if it cannot be read."""
    from napari_dip.viewer.saving import read_image  # imports readers of files

    path = path.parent if path.name in _MARKS else path
    try:
        values, meta, _ = read_image(path)
    except (OSError, ValueError, TypeError, MemoryError) as error:
        show_error(str(error))
        return
    added = viewer.add_image(values, **meta)
    for layer in added if isinstance(added, list) else [added]:
        layer.metadata[FILE] = str(path.absolute())


def file_of(layer: Any) -> str:
    """The file that a layer was opened from, by napari or here; empty if there is none, or it is a list of files."""
    path = layer.source.path or layer.metadata.get(FILE, "")
    return path if isinstance(path, str) else ""
