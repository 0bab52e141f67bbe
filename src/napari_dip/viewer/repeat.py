"""Copy as Python, Copy as command: the last run as a text in the clipboard."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from napari.layers import Image
from qtpy.QtWidgets import QApplication, QMenu

from napari_dip.again import Again, Beside, file_for
from napari_dip.tables.record import fingerprint
from napari_dip.viewer.layers import ALL, TOGETHER
from napari_dip.viewer.opening import file_of
from napari_dip.viewer.restoration import Restoration
from napari_dip.viewer.save_button import ResultButton


class CopyButton(ResultButton):
    """A button with a menu, there once there is a result in memory."""

    def __init__(self, viewer: Any) -> None:
        super().__init__(
            viewer, "Copy as", "The last run as a text in the clipboard, which gives the identical image on a CPU."
        )
        self._last: tuple[Restoration, Any, int | None] | None = None
        menu = QMenu(self)
        menu.addAction("Copy as Python", partial(self._copy, "python"))
        menu.addAction("Copy as command", partial(self._copy, "command"))
        self.setMenu(menu)

    def offer(self, restoration: Any, result: Any, label: int | None) -> None:
        """Copy this run from now on; `label` is the one that marked missing pixels."""
        memory = isinstance(restoration, Restoration) and restoration.resume is None
        self._last = (restoration, result, label) if memory else None
        self.setVisible(memory)

    def run_as(self, kind: str) -> str:
        """The run as "python" or "command"."""
        assert self._last is not None
        return str(getattr(again(self._viewer, *self._last), kind)())

    def _copy(self, kind: str) -> None:
        try:
            text = self.run_as(kind)
        except ValueError as error:
            return self.said.emit(f"It is not copied: {error}.", True)
        QApplication.clipboard().setText(text)
        what = "The script" if kind == "python" else "The command"
        to_do = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# save ")]
        first = f" {to_do[0][0].upper()}{to_do[0][1:]}" if to_do else ""
        return self.said.emit(f"{what} is in the clipboard.{first}", False)


def again(viewer: Any, restoration: Restoration, result: Any, label: int | None = None) -> Again:
    """A run that made a result, as what it takes to repeat it."""
    source = restoration.source
    found = {layer.name: layer for layer in viewer.layers}
    layer = found.get(source.name)
    image, saved = file_for(source.name, None if layer is None else file_of(layer))
    mask_layer = found.get(restoration.mask_name or "")
    mask, mask_saved = ("", True) if mask_layer is None else file_for(mask_layer.name, file_of(mask_layer))
    given = result.record["input"]
    said = {**restoration.problem, "guide": restoration.guide}
    return Again(
        task=restoration.task,
        settings=result.settings,
        said=said,
        beside={name: found for name, value in said.items() if (found := _beside(viewer, value)) is not None},
        image=image,
        layer=source.name,
        saved=saved,
        by_napari=saved and _by_napari(layer, image),
        mask=mask if mask_saved else mask.replace(".ome.tif", ".tif"),
        mask_saved=mask_saved,
        mask_layer=restoration.mask_name or "",
        label=label,
        part=_part(restoration),
        axes={"leading_axes": given["leading_axes"], "channel_axis": given["channel_axis"]},
        space=source.space,
        voxel_size=source.voxel_size,
        place=_place(restoration),
        alpha=source.alpha is not None,
        fingerprint=fingerprint(source.image),
    )


def _by_napari(layer: Any, file: str) -> bool:
    return bool(layer.source.reader_plugin == "napari" and not file.lower().endswith(".zarr"))


def _beside(viewer: Any, values: Any) -> Beside | None:
    """The file of the layer that has these pixels; None for numbers, and where there is no such layer."""
    if np.ndim(values) < 2:
        return None
    for layer in viewer.layers:
        if not isinstance(layer, Image) or layer.multiscale or layer.data.shape != np.shape(values):
            continue
        if np.array_equal(layer.data, values):
            file, saved = file_for(layer.name, file_of(layer))
            by_napari = saved and _by_napari(layer, file)
            return Beside(
                file=file, layer=layer.name, saved=saved, by_napari=by_napari, fingerprint=fingerprint(values)
            )
    return None


def _place(restoration: Restoration) -> dict[str, Any]:
    """Names, distances and units of the axes of the result, in words of Python alone."""
    geometry = restoration.place(restoration.source.geometry)
    return {
        "labels": tuple(map(str, geometry.place["axis_labels"])),
        "scale": tuple(map(float, geometry.scale)),
        "units": tuple(map(str, geometry.place["units"])),
        "rgb": restoration.source.rgb,
    }


def _part(restoration: Restoration) -> tuple[slice, ...] | None:
    """The part of the image that was restored, along its axes; None for all of it."""
    source, index, window = restoration.source, restoration.where, restoration.window
    leading = [slice(None)] * source.leading
    if index not in (ALL, TOGETHER):
        leading = [slice(int(i), int(i) + 1) for i in index]
    elif window is None:
        return None
    if window is None and not leading:
        return None
    return (*leading, *[slice(None)] * (source.space - 2), *(window or (slice(None), slice(None))))
