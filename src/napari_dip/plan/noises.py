"""The noise of a stack: one for all slices, at the mean of each, and another one where a slice has its own."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.intensity import mean_of
from napari_dip.core.noise.estimate import estimate_noise, is_guess
from napari_dip.core.noise.levels import level_of
from napari_dip.core.noise.model import Noise
from napari_dip.plan.inputs import Slices

Array = npt.NDArray[Any]
_PLANES = 16  # at the most, that the noise is estimated from
#: Times the noise of all slices, or the inverse, from which a slice has one of its own; and pixels that add to the
#: former: of slices of the same noise the estimates lie within 0.89 to 1.17 of it at 128x128 pixels, 0.9 to 1.64 at
#: 64x64.
_APART, _SMALL = 1.25, 2304
#: Times the noise that channels share, or the inverse, from which that of one is told: nothing restores it apart.
_CHANNEL_APART = 1.5
#: Of the usual variation from pixel to pixel, below which a slice may have weaker noise: it hides in fine structure.
_CALM = 0.9
#: Difference in correlation from which noise is of another kind, as that of an interpolated frame is.
_KIND = 0.3


@dataclass(frozen=True)
class Noises:
    """The noise of all slices, and that of each.

    Parameters
    ----------
    slices : Slices
    shared : Noise or None
        Of all slices, in the units of the input; None if it is not known.
    certain : bool
        The camera is known, so that no slice has a noise of its own.
    """

    slices: Slices
    shared: Noise | None
    certain: bool = False
    _found: dict[int, Noise | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def of(self, index: int) -> Noise | None:
        """The noise of a slice: the shared one, at the mean of this slice, or its own."""
        if index not in self._found:
            shared = self._shared_at(index)
            self._found[index] = shared and (self._own(index, shared) or shared)
        return self._found[index]

    def apart(self, indices: Iterable[int]) -> dict[int, float]:
        """Noise of each of these slices that has its own, relative to the shared one."""
        pairs = ((index, self.of(index), self._shared_at(index)) for index in indices)
        return {i: own.sigma / shared.sigma for i, own, shared in pairs if own and shared and own.sigma != shared.sigma}

    def channels_apart(self, index: int) -> dict[int, float]:
        """Noise of each channel of a slice that is far from what all of them share, relative to that.

        None where the latter may be structure, which channels have as they like.
        """
        if self.shared is None or self.shared.warning or self.shared.caution:
            return {}
        values, missing = self.slices.values[index][:, None], self.slices.missing[index][:, None]
        channels = Noises(Slices(values, missing, (len(values),), None), self.of(index), self.certain)
        found = channels.apart(range(len(values))) if len(values) > 1 else {}
        return {i: times for i, times in found.items() if max(times, 1 / times) > _CHANNEL_APART}

    def _shared_at(self, index: int) -> Noise | None:
        values, missing = self.slices.values, self.slices.missing
        if self.shared is None or missing[index].all():
            return self.shared
        return self.shared.moved(self.level, level_in(values[index : index + 1], missing[index : index + 1]))

    @functools.cached_property
    def level(self) -> float:
        """Mean of the known pixels of all slices, which the shared noise is at; 0 if there are none."""
        if self.slices.missing.all():
            return 0.0
        return level_in(self.slices.values, self.slices.missing)

    def calm(self, indices: Iterable[int]) -> list[int]:
        """Slices of `indices` that vary less than is usual from pixel to pixel: their noise may be weaker."""
        return [index for index in indices if self._level(index) < _CALM * self._usual]

    @functools.cached_property
    def _usual(self) -> float:
        """Level of the middle one of the slices that have any, of the lower one of two."""
        levels = [self._level(i) for i in range(0, len(self.slices.values), -(-len(self.slices.values) // _PLANES))]
        return statistics.median_low([level for level in levels if level > 0] or [0.0])

    def _level(self, index: int) -> float:
        """Differences between neighbours in a slice, relative to the sigma of the shared noise: noise, and texture."""
        shared = self._shared_at(index)
        values, missing = self.slices.values[index], self.slices.missing[index]
        return level_of(values, ~missing) / shared.sigma if shared and shared.sigma > 0 else 1.0

    def _own(self, index: int, shared: Noise) -> Noise | None:
        """The noise of a slice alone, where it is beyond doubt that this is not that of all slices."""
        if len(self.slices.values) == 1 or self.certain or shared.sigma <= 0:
            return None
        one = slice(index, index + 1)
        values, missing = self.slices.values[one], self.slices.missing[one]
        limit = _APART + _SMALL / values.size
        # takes a hundredth of the time of an estimate, and is the noise, or more
        expected = max(1 - shared.correlation, 0.1) ** 0.5
        if max(_CALM * self._usual, expected / limit) <= self._level(index) <= limit * expected:
            return None
        own = noise_of(replace(self.slices, values=values, missing=missing, leading=(), padding=None), {})
        if own is None or own.warning or own.sigma <= 0:
            return None
        own = replace(own, fine=shared.fine * (shared.sigma / own.sigma) ** 2)  # one slice tells less of it than all
        same_kind = abs(own.correlation - shared.correlation) < _KIND
        return None if same_kind and 1 / _APART <= own.sigma / shared.sigma <= limit else own


def noise_of(slices: Slices, camera: dict[str, float]) -> Noise | None:
    """One noise for all slices, estimated around what is known of the camera; None for a pixel, or nothing known.

    The calmest parts tell it, and one averaged or interpolated slice would be these: fewer than half of the slices are
    left out if their noise is weaker than that of the others.
    """
    space = axes_of_noise(slices.values.shape[2:])
    planes, missing = (a.reshape(-1, *space) for a in (slices.values, slices.missing))
    some = np.flatnonzero(telling(planes, missing))
    some = some[:: -(-len(some) // _PLANES) or 1]  # evenly spaced
    if math.prod(space) == 1 or not some.size:
        return None

    def estimate(which: npt.NDArray[np.intp]) -> Noise:
        return estimate_noise(planes[which], mask=missing[which], channel_axis=0, **camera)

    noise, owner = estimate(some), some * len(slices.values) // len(planes)
    weaker = np.isin(owner, [] if camera else Noises(slices, noise).calm(np.unique(owner)))
    if not weaker.any():
        return noise
    weak, rest = estimate(some[weaker]), estimate(some[~weaker])
    means = [level_in(planes[which][:, None], missing[which][:, None]) for which in (some[~weaker], some[weaker])]
    return noise if weak.warning or weak.sigma * _APART > rest.moved(*means).sigma else rest


def too_few(planes: int, shape: tuple[int, ...]) -> str:
    """Words on so many images (*shape) of so few pixels that their noise is a guess; empty if they have more."""
    if not is_guess(planes, axes_of_noise(shape)):
        return ""
    return f"{' x '.join(map(str, shape))} pixels, too few to tell noise from structure"


def telling(images: Array, missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """True for those of several images (N, *S) that have noise to estimate: not blank ones, unless all are."""
    some, varied = np.zeros((2, len(images)), bool)
    for index, (image, hidden) in enumerate(zip(images, missing, strict=True)):
        known = image[~hidden]
        some[index] = known.size > 0
        varied[index] = some[index] and known.min() < known.max()
    return varied if varied.any() else some


def level_in(values: Array, missing: npt.NDArray[np.bool_]) -> float:
    """The mean of the known pixels of slices (N, C, *S) whose images are not blank."""
    images, hidden = (a.reshape(-1, *a.shape[2:]) for a in (values, missing))
    some = telling(images, hidden)
    return mean_of(images[some][~hidden[some]])


def axes_of_noise(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an image as its noise is estimated: without axes of one pixel, but with two axes at the least."""
    long = tuple(n for n in shape if n > 1)
    return (1,) * (2 - len(long)) + long
