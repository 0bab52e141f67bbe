"""Steps down when memory runs out: the same run with less of it, one rung of a ladder after the other.

1. Lower precision: bfloat16 in place of float32 takes half of it.
2. Recomputing: activations are computed again in the backward pass, not kept; the image is the same.
3. Tiles: a generator for each, which starts afresh (`napari_dip.core.pieces`).
4. The CPU, which has more memory and less speed.

Only what the user left open is changed, and each step is told. All runs of a job share one ladder, so that later slices
start on the rung that worked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from napari_dip.core import device as devices
from napari_dip.core.device import Device
from napari_dip.core.state import State
from napari_dip.knobs import Method
from napari_dip.settings import Settings

LEAST = 128  # pixels of the result along the smallest tiles that are chosen for want of memory


def left_open(settings: Settings) -> frozenset[str]:
    """The knobs that the user left to us, of those that memory depends on."""
    return frozenset(
        name for name in ("precision", "recompute", "tile", "device") if getattr(settings, name) in ("auto", 0)
    )


def smaller(settings: Settings, shape: tuple[int, ...], factor: int) -> int:
    """Side of the next smaller tiles of an observation (*shape): the largest power of two that cuts; 0 for none.

    `factor` is that of super-resolution.
    """
    side: int = 2 ** (math.ceil(math.log2(settings.tile or max(shape))) - 1)
    return side if side >= max(16, LEAST // factor, 2 * settings.overlap) else 0


class Ladder:
    """The rung that the runs of a job are on.

    Parameters
    ----------
    settings : Settings
        Of the job.
    device : Device
        Where it begins.
    open : collection of str
        The knobs that may be changed; by default none, so that a run ends where memory runs out.
    volume : bool
        True if volumes are fitted.
    crowded : callable
        True while several runs share the device: then fewer of them are the remedy.

    Attributes
    ----------
    device : Device
        Where runs compute now.
    tried : list of str
        The steps taken so far.
    cuts : bool
        True if tiles are the next rung: nothing is complete yet that would have to start again.
    good : State or None
        Last good state of a fit that ended before that rung: the CPU can go on from it.
    """

    def __init__(
        self,
        settings: Settings,
        device: Device,
        open: Collection[str] = (),
        volume: bool = False,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self.device = device
        self.crowded = crowded
        self.tried: list[str] = []
        self.cuts = False
        self.good: State | None = None
        self._settings = settings
        self._open = open
        self._volume = volume
        self._changes: dict[str, Any] = {}

    def applied(self, method: Method) -> Method:
        """The method of one fit as this rung has it."""
        return replace(method, **{name: value for name, value in self._changes.items() if hasattr(method, name)})

    def changed(self, settings: Settings) -> Settings:
        """Settings as this rung has them."""
        return settings.decided(**self._changes)

    @property
    def settings(self) -> Settings:
        """The settings of the job as this rung has them."""
        return self.changed(self._settings)

    def lower(self) -> str:
        """Take a step down after which a run can go on where it is.

        Returns how it goes on; an empty string if there is no such step, or tiles come first.
        """
        if self.crowded():
            return ""
        now, where = self.settings, (self.device.name, self._volume)
        full = "precision" in self._open and devices.precision_of(now, *where) == "float32"
        if full and devices.can_bfloat16(now, *where):
            return self._step("in bfloat16", precision="bfloat16")
        if "recompute" in self._open and now.recompute != "on":
            return self._step("computing activations twice, not keeping them", recompute="on")
        return "" if self.cuts else self.to_cpu()

    def begin(self, shape: tuple[int, ...], factor: int, fresh: bool) -> None:
        """Begin with an observation (*shape), of which nothing is complete yet; `fresh` if it was not fitted before."""
        chosen = "tile" in self._changes or smaller(self.settings, shape, factor) > 0
        self.cuts = fresh and "tile" in self._open and chosen
        self.good = None

    def cut(self, shape: tuple[int, ...], factor: int) -> str:
        """Go down to the next smaller tiles of an observation (*shape), if there are any."""
        side = 0 if self.crowded() else smaller(self.settings, shape, factor)
        return self._step(f"in tiles (tile={side})", tile=side) if side else ""

    def to_cpu(self, whole: bool = False) -> str:
        """Go down to the CPU, where precision and recomputing are open again; `whole`: without tiles chosen here."""
        if not self.has_cpu or self.crowded():
            return ""
        self._changes = {"tile": self.settings.tile} if "tile" in self._changes and not whole else {}
        self.device = Device("cpu", f"memory ran out on {self.device}")
        return self._step("on the CPU", device="cpu")

    @property
    def has_cpu(self) -> bool:
        """True if the CPU is a rung below this one."""
        if "precision" not in self._open and self._settings.precision == "bfloat16" and self._volume:
            return False  # which a CPU gets wrong
        return "device" in self._open and self.device.name != "cpu"

    def _step(self, how: str, **changes: Any) -> str:
        self._changes |= changes
        self.tried.append(how)
        return how
