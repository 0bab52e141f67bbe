"""Deep image prior for napari and for scripts: denoise, inpaint, deconvolve, super-resolve an image without training.

>>> from napari_dip import denoise
>>> result = denoise(image, iterations=800, seed=0)  # doctest: +SKIP
>>> result.image, result.stop_reason                 # doctest: +SKIP

Importing this package is cheap: torch is loaded with the first name that needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from napari_dip.llvm import keep_apart

if TYPE_CHECKING:
    from napari_dip.core.noise.model import Noise
    from napari_dip.core.noise.pixels import find_bad_pixels
    from napari_dip.core.result import Progress, Result
    from napari_dip.plan.cost import Cost, estimate
    from napari_dip.run.blocks.cost import BlocksCost, estimate_blocks
    from napari_dip.run.blocks.restore import iterate_blocks, restore_blocks
    from napari_dip.run.restore import deblock, deconvolve, denoise, enhance, inpaint, iterate, superresolve
    from napari_dip.run.run import Run
    from napari_dip.tables.parts import part_in_file
    from napari_dip.tables.record import fingerprint
    from napari_dip.tables.schema import settings_schema
    from napari_dip.tables.settings import PRESETS, Settings
    from napari_dip.trust import estimate_noise

_FROM = {
    "tables.settings": ("PRESETS", "Settings"),
    "tables.parts": ("part_in_file",),
    "tables.record": ("fingerprint",),
    "tables.schema": ("settings_schema",),
    "run.restore": ("deblock", "deconvolve", "denoise", "enhance", "inpaint", "iterate", "superresolve"),
    "run.run": ("Run",),
    "core.result": ("Progress", "Result"),
    "run.blocks.restore": ("iterate_blocks", "restore_blocks"),
    "plan.cost": ("Cost", "estimate"),
    "run.blocks.cost": ("BlocksCost", "estimate_blocks"),
    "core.noise.model": ("Noise",),
    "trust": ("estimate_noise", "find_bad_pixels"),
}
__all__ = [
    "PRESETS",
    "BlocksCost",
    "Cost",
    "Noise",
    "Progress",
    "Result",
    "Run",
    "Settings",
    "deblock",
    "deconvolve",
    "denoise",
    "enhance",
    "estimate",
    "estimate_blocks",
    "estimate_noise",
    "find_bad_pixels",
    "fingerprint",
    "inpaint",
    "iterate",
    "iterate_blocks",
    "part_in_file",
    "restore_blocks",
    "settings_schema",
    "superresolve",
    "trust",
]
__version__ = "0.1.0"

keep_apart()  # before anything of ours, or of the user's, has torch import triton


def __getattr__(name: str) -> Any:
    if name in ("lab", "labelled", "pictures", "trust", "viewer"):  # viewer is light: what is taken of it loads napari
        return importlib.import_module(f"napari_dip.{name}")
    for module, names in _FROM.items():
        if name in names:
            return getattr(importlib.import_module(f"napari_dip.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
