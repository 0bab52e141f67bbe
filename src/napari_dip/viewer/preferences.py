"""Preferences > napari-dip, as the user set them, or the defaults of the manifest (napari before 0.9 has none)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from qtpy.QtCore import QStandardPaths

#: Name -> heading in the manifest, and default.
DEFAULTS: dict[str, tuple[str, Any]] = {
    "device": ("computing", "auto"),
    "threads": ("computing", 0),
    "preview_interval": ("window", 0.3),
    "moments_memory": ("window", 512),
    "ome_zarr_folder": ("files", ""),
}


def preference(name: str) -> Any:
    """A preference by its name."""
    heading, default = DEFAULTS[name]
    try:
        from napari.settings import get_plugin_settings

        return getattr(getattr(get_plugin_settings("napari-dip"), heading), name)
    except (ImportError, KeyError, AttributeError):  # an older napari, or one that does not know this plugin
        return default


def preferences_changed() -> list[Any]:
    """The emitters that tell of changed preferences; none where napari has no preferences of ours."""
    try:
        from napari.settings import get_plugin_settings

        return [get_plugin_settings("napari-dip").events.changed]
    except (ImportError, KeyError, AttributeError):
        return []


def preferred_threads() -> int:
    """Threads of a run, as preferred; else all but one, as sharing that of the window stalls both at every barrier."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return preference("threads") or max(1, usable - 1)


def presets_folder() -> Path:
    """The folder of settings that the user keeps under names: beside napari's own settings."""
    from napari.settings import get_settings

    path = get_settings().config_path
    if path is None:  # napari is not to keep any
        path = Path(QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericConfigLocation)) / "napari"
    return Path(path).parent / "napari-dip" / "presets"


def zarr_folder() -> Path | None:
    """The folder for OME-Zarr of images that have none of their own; None if the user has set none, or it is gone."""
    folder = Path(preference("ome_zarr_folder")).expanduser()
    return folder if str(preference("ome_zarr_folder")) and folder.is_dir() else None
