"""Presets in the window: kinds of image or of hole with a sentence on when, and what the user keeps under a name.

A preset of the user's is a file of settings in a folder beside napari's own, so that `Settings.from_json` and
``--settings`` read it too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QInputDialog

from napari_dip.tables import record
from napari_dip.tables.presets import KINDS
from napari_dip.tables.settings import Settings, kinds_for, knobs_of, of_kind
from napari_dip.viewer.controls import button
from napari_dip.viewer.form import SettingsForm
from napari_dip.viewer.preferences import presets_folder
from napari_dip.viewer.rows import Rows, Text, beside

ANY = "any"


class Kinds(Rows):
    """A row to choose a preset.

    Parameters
    ----------
    task : str
    form : SettingsForm
        Its rows are filled in.
    camera : callable
        Returns what is known of the camera, by name, which is kept with the settings.

    Attributes
    ----------
    said : Signal
        A sentence for the user, and whether it is about a failure.
    taken : Signal
        Carries what a preset of the user's says of the problem: its camera.
    when : Text
        Sentence on when to choose it.
    buttons : QWidget
        What keeps and deletes presets of the user's.
    """

    said = Signal(str, bool)
    taken = Signal(dict)

    def __init__(self, task: str, form: SettingsForm, camera: Callable[[], dict[str, float]]) -> None:
        self._task, self._form, self._camera = task, form, camera
        self._own: dict[str, dict[str, Any]] = {}
        self._read()
        what = "hole" if kinds_for(task) and all(KINDS[name].tasks == (task,) for name in kinds_for(task)) else "image"
        self.row = ComboBox(
            name="kind",
            label=f"Kind of {what}",
            choices=self._names,
            tooltip="Sets only what the pixels cannot tell; all else stays automatic. Settings that you keep under a "
            "name (Settings as a file > Keep as...) stand here too.",
        )
        super().__init__([self.row])
        self.when = Text("kind")
        self.keep_button = button("Keep as...", self._ask, "Keeps these settings under a name, in the row above.")
        self.delete_button = button("Delete", self.delete, "Deletes the settings kept under the name that is chosen.")
        self.buttons = beside(self.keep_button, self.delete_button)
        self.row.changed.connect(self._take)
        form.replaced.connect(self._forget)
        self._show()

    def hold(self, values: dict[str, Any]) -> None:
        with self.row.changed.blocked():  # which would fill in the form
            super().hold(values)
        self._show()

    def keep(self, name: str) -> None:
        """Keep what is chosen now under a name, in place of what was kept under it."""
        asked = name.strip(" .")
        name = "".join(c if c.isalnum() or c in " -_." else "_" for c in name).strip(" .")
        if not name or name in (ANY, *KINDS):
            return self.said.emit(f"Nothing is kept: '{name}' cannot be the name of settings of yours.", True)
        path = self._file(name)
        try:
            kept = {"task": self._task, "settings": self._form.knobs(), "camera": self._camera()}
            Settings.of_record(kept)  # refuses a part of the user's own, which a file only names
            path.parent.mkdir(parents=True, exist_ok=True)
            record.write(path, json.dumps(kept, indent=2))
        except (OSError, ValueError, TypeError) as error:
            return self.said.emit(f"Nothing is kept: {error}", True)
        self._offer(name)
        other = "" if name == asked else f" (not as '{asked}': names of files have no such signs)"
        return self.said.emit(f"Kept as '{name}'{other}, in '{path}'.", False)

    def delete(self) -> None:
        """Delete what is kept under the name that is chosen; the form stays as it is."""
        name = self.row.value
        try:
            self._file(name).unlink()
        except OSError as error:
            return self.said.emit(f"'{name}' is not deleted: {error}", True)
        self._offer(ANY)
        return self.said.emit(f"'{name}' is deleted.", False)

    def _ask(self) -> None:
        name, chosen = QInputDialog.getText(self, "Keep these settings", "Name:")
        if chosen:
            self.keep(name)

    def _file(self, name: str) -> Path:
        return presets_folder() / self._task / f"{name}.json"

    def _names(self, _: Any = None) -> list[str]:
        return [ANY, *kinds_for(self._task), *self._own]

    def _read(self) -> None:
        """Read what is kept for this task; a file that is damaged is passed over."""
        self._own = {}
        for path in sorted((presets_folder() / self._task).glob("*.json")):
            try:
                found = record.read(path)
                settings, kept = Settings.of_record(found), found.get("settings", found)
            except (OSError, ValueError, TypeError):
                continue
            if kept.get("preset", "auto") != "auto":  # else the method is open, and what has an effect with it
                found = {**found, "settings": {name: getattr(settings, name) for name in kept}}
            self._own[path.stem] = found

    def _offer(self, name: str) -> None:
        """Offer what is kept now, and show a name without taking its settings again."""
        self._read()
        with self.row.changed.blocked():
            self.row.reset_choices()
            self.row.value = name
        self._show()

    def _take(self, name: str) -> None:
        found = self._own.get(name)
        chosen = of_kind(self._task, {"preset": name}) if found is None else found.get("settings", found)
        if name == ANY:
            self._form.reset()
        else:
            known = {knob: value for knob, value in chosen.items() if knob in knobs_of(self._task)}
            self._form.take({"quality": self._form.quality, **known})
        if found is not None:
            self.taken.emit({"camera": found.get("camera", {})})
        with self.row.changed.blocked():
            self.row.value = name
        self._show()

    def _forget(self) -> None:
        """The form was filled in from elsewhere."""
        with self.row.changed.blocked():
            self.row.value = ANY
        self._show()

    def _show(self) -> None:
        kind = KINDS.get(self.row.value)
        self.when.setText("" if kind is None else kind.when)
        self.when.setVisible(kind is not None)
        self.setVisible(len(self.row.choices) > 1)
        self.delete_button.setEnabled(self.row.value in self._own)
