"""The file that a restoration is written to block by block: a new one, or that of a run which goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from magicgui.widgets import FileEdit, PushButton
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog

from napari_dip.viewer.layers import Selection
from napari_dip.viewer.rows import Rows
from napari_dip.viewer.runfiles import default_target, run_in
from napari_dip.viewer.stream import CONTINUE


class Target(Rows):
    """Rows for an OME-Zarr.

    Attributes
    ----------
    continued : Signal
        A run is to go on in its file; carries what it was asked for.
    said : Signal
        A sentence for the user, and whether it is about a failure.
    """

    continued = Signal(dict)
    said = Signal(str, bool)

    def __init__(self, task: str) -> None:
        self._task = task
        self._proposed = Path()
        self.file = FileEdit(
            name="target",
            label="Write to",
            mode="w",
            filter="OME-Zarr (*.ome.zarr)",
            tooltip="The image is lazy, so the result is written block by block into this OME-Zarr, and shown from it. "
            "A run that was stopped, or killed, goes on where it was if the same file is named.",
        )
        self.continue_button = PushButton(
            name="continue_run",
            text=CONTINUE,
            tooltip="Choose the OME-Zarr of a run that was stopped, or killed. Its settings are taken over.",
        )
        super().__init__([self.file, self.continue_button])
        self.watch(self.file)
        self.continue_button.changed.connect(self._ask_what_to_continue)

    @property
    def value(self) -> Path:
        """The file."""
        return Path(self.file.value)

    @value.setter
    def value(self, path: Path) -> None:
        self.file.value = path

    def held(self) -> dict[str, Any]:
        return {} if self.value == self._proposed else super().held()

    def propose(self, layer: Any, selection: Selection) -> None:
        """Fill in a name for the result, unless the user has written one."""
        if self.value in (self._proposed, Path()):
            self._proposed = default_target(layer, selection, self._task)
            with self.file.changed.blocked():
                if self._proposed == Path():
                    self.file.line_edit.value = ""
                else:
                    self.value = self._proposed

    def continue_run(self, folder: Path) -> None:
        """Choose the file that a run was begun in: the folder, or one that it lies in."""
        try:
            path, record = run_in(folder)
        except ValueError as error:
            return self.said.emit(str(error), True)
        asked = record["request"]
        if asked["task"] != self._task:
            return self.said.emit(f"'{path}' holds a run of another widget, '{asked['task']}': open that.", True)
        self.value = path
        self.continued.emit(asked)
        return self.said.emit(f"The settings are those that the run in '{path.name}' was begun with.", False)

    def _ask_what_to_continue(self) -> None:
        start = self.value if self.value.is_dir() else self.value.parent
        folder = QFileDialog.getExistingDirectory(self, "Continue the run in an OME-Zarr", str(start))
        if folder:
            self.continue_run(Path(folder))
