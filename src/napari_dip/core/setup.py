"""Settings and device that an image is fitted with, and the next that take less memory, one step after the other.

1. Lower precision: bfloat16 in place of float32 takes half of it.
2. Recomputing: activations are computed again in the backward pass, not kept; the image is the same.
3. Tiles: a generator for each, which starts afresh (`napari_dip.core.pieces`).
4. The CPU, which has more memory and less speed.

Only what the user left open is changed, and each step is told. Later slices start with the setup that worked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from napari_dip.core import device as devices
from napari_dip.core.device import Device
from napari_dip.core.tiling import tiles_of
from napari_dip.tables.settings import Settings

LEAST = 128  # pixels of the result along the smallest tiles that are chosen for want of memory


def left_open(settings: Settings) -> frozenset[str]:
    """The knobs that the user left to us, of those that memory depends on."""
    return frozenset(
        name for name in ("precision", "recompute", "tile", "device") if getattr(settings, name) in ("auto", 0)
    )


@dataclass(frozen=True)
class Setup:
    """Settings and device of a fit, and what may be changed if memory runs out.

    Attributes
    ----------
    settings : Settings
    device : Device
    shape : tuple of int
        Of the observation.
    factor : int
        The largest of a super-resolution, else 1.
    open : frozenset of str
        Knobs that may be changed; by default none, so that a run ends where memory runs out.
    tried : tuple of str
        Steps taken so far, in words.
    """

    settings: Settings
    device: Device
    shape: tuple[int, ...]
    factor: int = 1
    open: frozenset[str] = frozenset()
    tried: tuple[str, ...] = ()
    _asked: Settings | None = None  # before the first step

    def only(self, *names: str) -> Setup:
        """The same, with nothing open but these knobs, if they were."""
        return replace(self, open=self.open.intersection(names))

    def with_less_memory(self, cut: bool = True) -> Setup | None:
        """The next setup that takes less memory; None if there is none.

        With `cut` the image may begin again in other tiles: smaller ones, or on the CPU those that were asked for.
        """
        settings, where = self.settings, (self.device.name, self._volume)
        full = "precision" in self.open and devices.precision_of(settings, *where) == "float32"
        if full and devices.can_bfloat16(settings, *where):
            return self._with("in bfloat16", settings.decided(precision="bfloat16"))
        if "recompute" in self.open and settings.recompute != "on":
            return self._with("computing activations twice, not keeping them", settings.decided(recompute="on"))
        if cut and "tile" in self.open and (side := self._smaller):
            return self._with(f"in tiles (tile={side})", settings.decided(tile=side))
        if not self.has_cpu:
            return None
        asked = self._asked or settings  # precision and recomputation are open again: a CPU has memory of its own
        on_cpu = asked.decided(device="cpu", tile=asked.tile if cut else settings.tile)
        return replace(self._with("on the CPU", on_cpu), device=Device("cpu", f"memory ran out on {self.device}"))

    @property
    def has_cpu(self) -> bool:
        """True if the CPU is a step below this one."""
        if "precision" not in self.open and self.settings.precision == "bfloat16" and self._volume:
            return False  # which a CPU gets wrong
        return "device" in self.open and self.device.name != "cpu"

    @property
    def _volume(self) -> bool:
        return len(self.shape) == 3

    @property
    def _smaller(self) -> int:
        """Side of smaller tiles, with an eighth to six tenths of the pixels of one; 0 for none.

        Of the sides that so many tiles just need to cover an axis, the one whose tiles have the fewest pixels in all.
        """
        overlap, now = self.settings.overlap, math.prod(tiles_of(self.shape, self.settings).tile)
        least = max(16, LEAST // self.factor, 2 * overlap)
        tried = {}
        for length in self.shape:
            for count in range(2, length // least + 2):
                # what neighbours share is an eighth of a tile by default
                shared = (count - 1) * overlap
                side = math.ceil((length + shared) / count if overlap else 8 * length / (7 * count + 1))
                tiles = tiles_of(self.shape, self.settings.decided(tile=side))
                if side >= least and 0.125 * now <= math.prod(tiles.tile) <= 0.6 * now:
                    tried[side] = len(tiles) * math.prod(tiles.tile)
        return min(tried, key=tried.__getitem__, default=0)

    def _with(self, how: str, settings: Settings) -> Setup:
        return replace(self, settings=settings, tried=(*self.tried, how), _asked=self._asked or self.settings)
