"""Save the result...: the layer of the last run as a file with calibration, colours and record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_dip.again import as_name
from napari_dip.viewer.opening import file_of
from napari_dip.viewer.restoration import METADATA
from napari_dip.viewer.rows import tip

_FILTERS = {
    "OME-TIFF (*.ome.tif *.ome.tiff)": ".ome.tif",
    "TIFF, as ImageJ reads it (*.tif *.tiff)": ".tif",
    "OME-Zarr (*.ome.zarr *.zarr)": ".ome.zarr",
}


class ResultButton(QPushButton):
    """A button that is there once there is a result.

    Attributes
    ----------
    said : Signal
        A sentence for the user, and whether it is about a failure.
    """

    said = Signal(str, bool)

    def __init__(self, viewer: Any, text: str, hint: str) -> None:
        super().__init__(text)
        self._viewer = viewer
        self.setToolTip(tip(hint))
        self.setVisible(False)


class SaveButton(ResultButton):
    """A button that saves the layer of the last run."""

    def __init__(self, viewer: Any) -> None:
        super().__init__(
            viewer,
            "Save the result...",
            "Saves the layer of the last run with pixel size, units, axes, colours, contrast limits and record. "
            "File > Save does the same for any image layer, if napari-dip is chosen there as the type of the file.",
        )
        self._layer, self._folder = None, ""
        self.clicked.connect(self._ask)

    def offer(self, layer: Any) -> None:
        """Save this layer from now on."""
        self._layer = layer
        self.setVisible(True)

    def save(self, path: str, ending: str = "") -> None:
        """Write the layer; a path without an ending gets one, and then no file is replaced."""
        from napari_dip.viewer.saving import write_image  # imports writers of files

        assert self._layer is not None
        data, meta, _ = self._layer.as_layer_data_tuple()
        try:
            written = write_image(path, data, meta, ending)
        except (OSError, ValueError, TypeError, MemoryError) as error:
            return self.said.emit(f"It is not saved: {error}", True)
        return self.said.emit(f"'{self._layer.name}' is saved in '{written}', with its calibration and record.", False)

    def _ask(self) -> None:
        if self._layer is None:
            return
        start = str(Path(self._folder or self._folder_of_source()) / f"{as_name(self._layer.name)}.ome.tif")
        path, chosen = QFileDialog.getSaveFileName(self, "Save the result", start, ";;".join(_FILTERS))
        if path:
            self._folder = str(Path(path).parent)
            self.save(path, _FILTERS.get(chosen, ".ome.tif"))

    def _folder_of_source(self) -> Path:
        """The folder of the image that was restored, if it came from a file."""
        name = None if self._layer is None else self._layer.metadata.get(METADATA, {}).get("source_layer")
        files = [file_of(layer) for layer in self._viewer.layers if layer.name == name]
        return Path(files[0]).parent if files and files[0] else Path.home()
