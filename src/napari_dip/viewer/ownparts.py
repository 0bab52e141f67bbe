"""Rows for parts of the user's own: names in Python files, which are run."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox
from qtpy.QtWidgets import QFileDialog, QInputDialog

from napari_dip.plan.request import OWN, arguments
from napari_dip.tables.parts import OwnPart, named_in, part_in_file
from napari_dip.viewer.rows import Rows

NONE = "(none)"
FROM_FILE = "a Python file, which is run..."
_TIP = " Your own: a name in a Python file, which is run, so take no file that you have not read."


class PartRow(ComboBox):
    """A choice of our names, and an entry that asks for a Python file and a name in it."""

    def __init__(self, *names: str, tooltip: str, **words: str) -> None:
        super().__init__(choices=[*names, FROM_FILE], tooltip=tooltip + _TIP, **words)
        self._before = self.value

    def offer(self, text: str) -> None:
        """Choose ``FILE.py:NAME``, or a name of ours."""
        self.choices = list(dict.fromkeys([*self.choices, text]))
        self.value = text

    def _on_value_change(self, value: Any = None) -> None:
        if value != FROM_FILE:
            self._before = value
            return super()._on_value_change(value)
        with self.changed.blocked():
            self.value = before = self._before
        if (text := _asked(self.native)) and text != before:
            self.offer(text)
        return None


class OwnParts(Rows):
    """Rows for the parts that are arguments of the problem."""

    def __init__(self) -> None:
        self.rows = {
            name: PartRow(NONE, name=name, label=name.capitalize(), tooltip=arguments()[name].help) for name in OWN
        }
        super().__init__(list(self.rows.values()))
        self.watch(*self.rows.values())

    def values(self, names: Collection[str] = OWN) -> dict[str, OwnPart]:
        """Name -> part, for those rows of these names that are filled in.

        Raises
        ------
        ValueError
            If a file fails as it is run, or does not have what is named.
        """
        filled = {name: row.value for name, row in self.rows.items() if name in names and row.value != NONE}
        return {name: part_in_file(name, value) for name, value in filled.items()}

    def hold(self, values: dict[str, Any]) -> None:
        for name, row in self.rows.items():
            row.offer(values.get(name, row.value))

    def take(self, record: dict[str, Any]) -> None:
        """Leave out the parts that a run did not have."""
        for name in self.rows.keys() - named_in(record):
            self.rows[name].value = NONE


def _asked(parent: Any) -> str:
    """``FILE.py:NAME``, as the user chooses; empty if that is broken off."""
    file, _ = QFileDialog.getOpenFileName(parent, "A Python file of yours: it is run", "", "Python (*.py)")
    if not file:
        return ""
    found = re.findall(r"^(?:def|class) (\w+)|^(\w+) *=", Path(file).read_text("utf-8", "replace"), re.MULTILINE)
    names = [one or other for one, other in found]
    name, chosen = QInputDialog.getItem(parent, Path(file).name, "Function, class or object:", names)
    return f"{file}:{name}" if chosen and name else ""
