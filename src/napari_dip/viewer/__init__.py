"""The napari side: the only folder that knows napari, magicgui and Qt."""

from __future__ import annotations

from typing import Any

__all__ = ["restore_layer"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # late, so that samples open without torch
        from napari_dip.viewer.script import restore_layer

        return restore_layer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
