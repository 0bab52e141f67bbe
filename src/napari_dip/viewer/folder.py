"""A folder of images, restored one after the other into OME-TIFFs in another folder; no layer comes of them."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_dip.viewer import layers
from napari_dip.viewer.controls import button
from napari_dip.viewer.layers import Source
from napari_dip.viewer.restoration import Planned, Restoration
from napari_dip.viewer.rows import Text, column

if TYPE_CHECKING:
    from napari_dip import Progress, Result
    from napari_dip.viewer.restoration import Watch


class FolderPanel(QWidget):
    """A button that asks for two folders.

    Attributes
    ----------
    asked : Signal
        Carries the folder of the images, and that of their results.
    """

    asked = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        words = Text("folder")
        words.setText("Restores every image of a folder with these settings. The results are OME-TIFFs, not layers.")
        self.button = button("Choose the folders...", self._ask, "First that of the images, then that of the results.")
        column(self, words, self.button)

    def _ask(self) -> None:
        source = QFileDialog.getExistingDirectory(self, "Images to restore")
        target = source and QFileDialog.getExistingDirectory(self, "Folder of the results", source)
        if target:
            self.asked.emit(Path(source), Path(target))


def jobs(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Images of a folder and the OME-TIFFs that they become, without those that are there already.

    Raises
    ------
    ValueError
        If there is no image, all are there already, two would become one file, or the folders are the same.
    """
    from napari_dip import pictures  # imports readers and writers of files

    if target.exists() and target.samefile(source):
        raise ValueError(
            f"'{target}' is the folder of the images, where the next run would restore the results too: choose another "
            "one for the results."
        )
    found: dict[Path, Path] = {}
    images = pictures.in_folder(source)
    for each in images:
        name = target / f"{each.name.partition('.ome.')[0] if '.ome.' in each.name else each.stem}.ome.tif"
        if name in found:
            raise ValueError(f"'{found[name].name}' and '{each.name}' would both be written to '{name}': rename one.")
        found[name] = each
    if not images:
        raise ValueError(f"'{source}' has no image in it.")
    left = [(each, name) for name, each in found.items() if not name.exists()]
    if not left:
        raise ValueError(f"All {len(images)} images are in '{target}' already: delete those to be made anew.")
    return left


def read(path: Path, space: int, together: bool) -> Source:
    """The pixels of an image file, with `space` axes of space; all slices, which may be restored together."""
    from napari_dip import pictures  # imports readers and writers of files

    picture = pictures.read(path)
    rgb, axes = picture.axes.endswith("S"), picture.slice_axes
    leading = len(axes) - space
    if leading < 0:
        raise ValueError(f"'{path.name}' has {len(axes)} axes, and a volume needs 3: choose a slice under Restore")
    layer = Image(
        picture.values,
        rgb=rgb,
        scale=[picture.pixel_size.get(axis, 1.0) for axis in axes],
        units=pictures.units_of(picture),
        axis_labels=[axis.lower() for axis in axes],
    )
    together = together and leading == 1 and not rgb
    return Source(picture.values, layers.geometry_of(layer), path.name, rgb, space=space, together=together)


@dataclass(frozen=True, kw_only=True)
class FileRestoration(Restoration):
    """A restoration of a file into another one."""

    path: Path
    target: Path

    def steps(self, watch: Watch, *how: Any, **pace: Any) -> Generator[Planned | Progress, None, Result]:
        """As of a layer; at the end the file is written."""
        result = yield from super().steps(watch, *how, **pace)
        if result.iterations or result.complete:
            result.save(self.target, like=self.path)
        return result

    def show_result(self, viewer: Any, result: Result, figures: dict[str, Any], preview: Any = None) -> Any:
        """No layer."""
        return None

    @property
    def nothing(self) -> str:  # type: ignore[override]
        """Sentence on the run, of which no layer comes."""
        return f"'{self.path.name}' is restored into '{self.target}'." if self.target.exists() else Restoration.nothing
