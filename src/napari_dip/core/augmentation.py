"""D4 augmentation: flips and quarter turns of an image; what is learnt of one is learnt of all."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from torch import Tensor


class Augmentation:
    """One augmentation: a flip along some axes of an image (C, *S), after a swap of its last two."""

    def __init__(self, flipped: tuple[int, ...], swapped: bool) -> None:
        self.flipped = flipped
        self.swapped = swapped

    def apply(self, image: Tensor) -> Tensor:
        image = image.transpose(-1, -2) if self.swapped else image
        return image.flip(self.flipped)

    def undo(self, image: Tensor) -> Tensor:
        image = image.flip(self.flipped)
        return image.transpose(-1, -2) if self.swapped else image


def augmentations(ndim: int, swap: bool) -> Iterator[Augmentation]:
    """All flips, and with `swap` all again after a swap of the last two axes: 8 of an image, 16 of a volume."""
    for swapped in (False, True) if swap else (False,):
        for flips in itertools.product((False, True), repeat=ndim):
            yield Augmentation(tuple(axis for axis, flipped in enumerate(flips, start=1) if flipped), swapped)
