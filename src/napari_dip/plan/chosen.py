"""Choice of the settings of a task on this machine, and the reason for it."""

from __future__ import annotations

from typing import Any

from napari_dip.core import device as devices
from napari_dip.core.noise.model import Noise
from napari_dip.tables.method import choose
from napari_dip.tables.parts import OwnPart
from napari_dip.tables.settings import Settings, check_preset


def chosen(
    task: str,
    settings: Settings | None,
    noise: Noise | None,
    knobs: dict[str, Any],
    depth: float | None = None,
    volume: bool = False,
    pixels: float | None = None,
    parts: dict[str, OwnPart] | None = None,
) -> tuple[Settings, str]:
    """The settings with these changes, by default those of the task here; and why they are so."""
    if settings is not None and not isinstance(settings, Settings):
        raise TypeError(f"settings={settings!r} must be Settings, those of a result say; give knobs by name")
    if settings is not None:
        check_preset(task, knobs)
        settings = settings.changed(**knobs)
        return settings, settings.reason("code")
    known: dict[str, Any] = {"image_noise": noise, "depth": depth, "volume": volume, "pixels": pixels, "parts": parts}
    return choose(task, on_cpu=_on_cpu(**knobs), **known, **knobs)


def settings_here(
    task: str,
    *,
    image_noise: Noise | None = None,
    depth: float | None = None,
    volume: bool = False,
    pixels: float | None = None,
    parts: dict[str, OwnPart] | None = None,
    **knobs: Any,
) -> Settings:
    """The settings of a task on this machine: its preset for the device that ``device`` means, and the changes.

    Parameters
    ----------
    task : {"denoise", "inpaint", "superresolve", "deconvolve", "deblock", "enhance"}
    image_noise : Noise, optional
        Noise of the image, by which ``preset="auto"`` chooses.
    depth : float, optional
        Pixels from the deepest missing pixel to a known one, by which it chooses too.
    volume : bool
        True if three axes are space.
    pixels : float, optional
        Of the restored image: small ones need fewer iterations.
    parts : dict of str to OwnPart, optional
        Parts of the user's own, which a method may lack.
    **knobs
        Changes to the settings, by name.

    Raises
    ------
    TypeError, ValueError
        For an unknown knob or preset, a value out of range, or a device that is not there.
    """
    return chosen(task, None, image_noise, knobs, depth, volume, pixels, parts)[0]


def _on_cpu(device: Any = "auto", **_: Any) -> bool:
    """Presets leave the device open; what is no text is refused with the other settings."""
    return isinstance(device, str) and devices.choose(device).name == "cpu"
