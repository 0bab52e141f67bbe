"""Settings saved to a file, loaded from one, and taken from a layer that was restored before."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_dip.tables import record
from napari_dip.tables.parts import OwnPart, named_in
from napari_dip.tables.settings import Settings
from napari_dip.viewer.controls import button
from napari_dip.viewer.form import SettingsForm
from napari_dip.viewer.restoration import METADATA
from napari_dip.viewer.rows import beside, column

_JSON = "Settings or records (*.json)"
_LIKE = "Settings, records and restored images (*.json *.tif *.tiff *.png *.jpg *.jpeg *.npy .zattrs);;All files (*)"
_IN_ZARR = ("zarr.json", ".zattrs", ".zgroup")  # a file in an OME-Zarr, which a dialog for files can choose


class SettingsFile(QWidget):
    """Buttons beside a form.

    Parameters
    ----------
    viewer : napari.Viewer
    form : SettingsForm
    parts : callable
        Returns the parts of the user's own that are chosen beside the form, by name, out of those of some names.
    lacking : callable
        Sentence on what has to be chosen by hand for the restoration of a record; empty if nothing has.

    Attributes
    ----------
    said : Signal
        A sentence for the user, and whether it is about a failure.
    taken : Signal
        Carries the record of a restoration whose settings were taken: its factor and camera can be taken too.
    """

    said = Signal(str, bool)
    taken = Signal(dict)

    def __init__(
        self,
        viewer: Any,
        form: SettingsForm,
        parts: Callable[[Collection[str]], dict[str, OwnPart]],
        lacking: Callable[[dict[str, Any]], str],
    ) -> None:
        super().__init__()
        self._viewer, self._form, self._parts, self._lacking = viewer, form, parts, lacking
        self._folder = ""
        self.load_button = button(
            "Load...",
            self._ask_what_to_load,
            "Takes settings from a file: one that was saved here, the record OUT.json of the command line, or an image "
            "that was restored and saved with its record (TIFF, PNG; in an OME-Zarr choose zarr.json).",
        )
        self.save_button = button(
            "Save...",
            self._ask_where_to_save,
            "Saves the settings of this form. Settings.from_json and --settings read them too.",
        )
        self.layer_button = button(
            "As in layer",
            self.take_from_layer,
            "Takes the settings that the selected layer was restored with.",
        )
        column(self, beside(self.load_button, self.save_button, self.layer_button))

    def load(self, path: Path) -> None:
        """Take settings from a file, or from the record of an image; also what else the record says of the problem."""
        path = path.parent if path.name in _IN_ZARR else path
        try:
            found = record.read(path)
        except (OSError, ValueError, TypeError) as error:
            return self.said.emit(f"The settings stay as they were: {error}", True)
        self.take(found, f"'{path.name}'")

    def save(self, path: Path) -> None:
        """Save the settings of the form."""
        try:
            record.write(path, self._form.settings().to_json())
        except (OSError, ValueError, TypeError) as error:
            return self.said.emit(f"The settings are not saved: {error}", True)
        return self.said.emit(f"The settings are saved in '{path}'.", False)

    def take_from_layer(self) -> None:
        """Take the settings of the selected layer."""
        layer = self._viewer.layers.selection.active
        found = {} if layer is None else layer.metadata.get(METADATA, {})
        if "settings" not in found:
            name = "no layer" if layer is None else f"'{layer.name}'"
            return self.said.emit(f"Select a layer that was restored: {name} has no settings.", True)
        self.take(found, f"'{layer.name}'")

    def take(self, found: dict[str, Any], where: str) -> bool:
        """Take settings by name, or those of a record; says where from, and returns whether a run needs no more."""
        try:
            needed = named_in(found)  # of which alone the rows are asked: others may be wrong
            settings = Settings.of_record(found, beside=self._parts(needed), **self._form.parts(needed))
        except (ValueError, TypeError) as error:
            self.said.emit(f"The settings stay as they were: {error}", True)
            return False
        self._form.take(settings.chosen)
        missing = ""
        if "settings" in found:
            self.taken.emit(found)
            missing = self._lacking(found)
        self.said.emit(f"The settings are those of {where}. {missing}".rstrip(), False)
        return not missing

    def _ask_what_to_load(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load settings", self._folder, _LIKE)
        if name:
            self._folder = str(Path(name).parent)
            self.load(Path(name))

    def _ask_where_to_save(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save the settings", self._folder, _JSON)
        if name:
            path = Path(name)
            self._folder = str(path.parent)
            self.save(path if path.suffix else path.with_suffix(".json"))
