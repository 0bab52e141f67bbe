"""Results of the fits, in the units, the type and the axes of the input."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.intensity import Scaling, float_for, to_dtype
from napari_dip.core.operators import Place
from napari_dip.core.problem import Problem
from napari_dip.core.telling import warn
from napari_dip.plan.inputs import Slices
from napari_dip.plan.request import Request
from napari_dip.tables.settings import Settings

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Units:
    """Conversion from the scaled intensities of a fit to those of the input.

    Parameters
    ----------
    request : Request
    scaling : Scaling or None
        None if all known pixels are equal.
    settings : Settings
        Settings for the type of the result, and for known pixels to come back as they were measured.
    sigma : float
        Noise that the type of the result must hold, in the units of the input.
    """

    request: Request
    scaling: Scaling | None
    settings: Settings
    sigma: float

    @property
    def slices(self) -> Slices:
        return self.request.slices

    def level(self, problem: Problem, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Brightness that a denoised image (C, *S) lacks to have the mean of its measurement: (C, 1, ...).

        An average of iterates is pulled towards the middle of the range, where the generator begins; the mean of so
        many measured pixels is known much better. In the other tasks the measured pixels leave no doubt about it, or
        patches behind the fit see to it.
        """
        # nor is a preview to pay for the instrument
        if not self.request.task.keeps_mean or self.request.operator is not None:
            return np.zeros((len(image), *(1 for _ in self.request.shape)), np.float32)
        axes = tuple(range(1, image.ndim))
        residual = np.nanmean(problem.residual(image), axis=axes, keepdims=True)  # NaN where no tile is fitted yet
        return np.asarray(residual / np.float32(problem.known))

    def finish(self, index: int, image: npt.NDArray[np.float32]) -> Array:
        """A restored slice (C, *image) in the units of the input, in the type of the result: (C, *shape)."""
        assert self.scaling is not None
        restored = self.scaling.undo(self.field(image))
        values, missing = self.slices.values[index], self.slices.missing[index]
        if self.keeps_known:
            restored = np.where(missing, restored, values)
        if self.request.boost is not None:
            restored = np.where(missing, restored, values + self.request.boost * (values - restored))
        result = to_dtype(restored, self.dtype)
        if self.keeps_known and self.dtype == values.dtype:
            result[~missing] = values[~missing]  # bit by bit, also where float64 cannot hold them
        return self._padded(index, result)

    def _padded(self, index: int, result: Array) -> Array:
        """A result (C, *shape) with the padding of its slice as it was."""
        if self.slices.padding is None:
            return result
        one = slice(index, index + 1)
        values, padding = (self.enlarged(each[one])[0] for each in (self.slices.values, self.slices.padding))
        if values.dtype != result.dtype:
            values = to_dtype(values.astype(np.float64), result.dtype)
        return np.where(padding, values, result)

    def uncertainty(self, index: int, spread: npt.NDArray[np.float32]) -> Array:
        """The spread (C, *image) of a slice in the units of the input; NaN where the measurement is kept."""
        spread = self._difference(self.field(spread)) * np.float32(abs(self._share_of_fit))
        kept = ~self.slices.missing[index] if self.keeps_known else np.zeros((), bool)
        if self.slices.padding is not None:
            kept = kept | self.enlarged(self.slices.padding[index : index + 1])[0]
        return np.where(kept, spread.dtype.type(np.nan), spread)

    @property
    def _share_of_fit(self) -> float:
        """Change of the result with the fitted image."""
        return 1.0 if self.request.boost is None else -self.request.boost

    def residual(self, index: int, residual: npt.NDArray[np.float32]) -> Array:
        """The residual (C, *S) of a slice in the units of the input, NaN where nothing was measured."""
        residual = self._difference(residual)
        return np.where(self.slices.missing[index], residual.dtype.type(np.nan), residual)

    def enlarged(self, values: Array) -> Array:
        """Values (N, C, *S) of the observation's pixels on the grid of the restored image."""
        for axis, factor in enumerate(self.request.factor or (), start=2):
            values = values.repeat(factor, axis)
        return values

    def field(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The part of an image (C, *image) that lies in the measured field, without the margin around it: (C, *S)."""
        field = (slice(m, n - m) for m, n in zip(self.request.margin, image.shape[1:], strict=True))
        return image[(slice(None), *field)]

    def _difference(self, values: npt.NDArray[np.float32]) -> Array:
        """Differences of intensities in the units of the input."""
        assert self.scaling is not None
        return (values * np.float64(self.scaling.high - self.scaling.low)).astype(self.dtype_of_differences)

    def holds_nothing(self, index: int, place: Place = ()) -> bool:
        """True if there is nothing to fit in a slice, or at a place in it."""
        if self.scaling is None or (self.keeps_known and not self.slices.missing[index][(slice(None), *place)].any()):
            return True
        known = self._known(index, place)
        return known.size == 0 or bool(known.min() == known.max())

    def _known(self, index: int, place: Place = ()) -> Array:
        """Known values of a slice, or of a place in it, along one axis."""
        there = (slice(None), *place)
        known: Array = self.slices.values[index][there][~self.slices.missing[index][there]]
        return known

    def trivial(self, index: int) -> Array | None:
        """The slice, if there is nothing to fit in it."""
        if not self.holds_nothing(index):
            return None
        values, missing = self.slices.values[index], self.slices.missing[index]
        if missing.all():
            warn(f"slice {index} has no known pixel and stays empty", stacklevel=2)
            return np.full((len(values), *self.request.shape), self.empty)
        known, result = self._known(index), values
        if said := self.one_value(index):
            warn(said, stacklevel=2)
        if said or self.scaling is None:
            result = np.full((len(values), *self.request.shape), known[0])
            if self.keeps_known:  # 64-bit integers may differ although their scaling cannot tell
                result[~missing] = known
        return self._padded(index, np.asarray(result.astype(self.dtype)))

    def one_value(self, index: int) -> str:
        """A sentence if all that is known of a slice is one value; else an empty one."""
        known = self._known(index)
        if known.size == 0 or known.min() < known.max():
            return ""
        what = "the image" if len(self.slices.values) == 1 else f"slice {index}"
        filled = self.slices.holes[index].any()
        becomes = ", and its holes are filled with it" if filled else " and comes back as it is"
        return f"{what} has one value only{becomes}"

    @property
    def keeps_known(self) -> bool:
        """True if known pixels come back as they were measured."""
        return self.request.task.fills_holes and self.settings.keep_known and self.request.operator is None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the restored image: that of the input if asked for, else a float that holds its range."""
        return self.slices.values.dtype if self.settings.output_dtype == "input" else self._float

    @functools.cached_property
    def _float(self) -> np.dtype[Any]:
        return float_for(*self._limits, self.sigma)

    @functools.cached_property
    def dtype_of_differences(self) -> np.dtype[Any]:
        """Type of the residual and the uncertainty."""
        low, high = self._limits
        return float_for(low - low, high - low)

    @functools.cached_property
    def _limits(self) -> tuple[float, float]:
        """The smallest and the largest known pixel."""
        known = self.slices.values[~self.slices.missing]
        return float(known.min()), float(known.max())

    @property
    def empty(self) -> Array:
        """Value of pixels that were not restored: NaN, or 0 in integers."""
        return np.array(np.nan if self.dtype.kind == "f" else 0, self.dtype)

    @property
    def contrast(self) -> str:
        """A sentence if the contrast of the result is not that of the measurement; else an empty one."""
        if not self.request.boost:
            return ""
        times, noise = 1 + self.request.boost, ""
        if self.sigma:
            noise = f", and noise of {self.sigma:.3g} with it, to {abs(times) * self.sigma:.3g}"
        return f"The contrast of fine detail is multiplied by {times:.3g}{noise}: measure intensities in the original"

    @property
    def rounding(self) -> str:
        """A sentence if there are integers that float64 does not hold, in which all is computed; else an empty one."""
        values = self.slices.values
        if values.dtype.kind not in "iu" or values.dtype.itemsize < 8:
            return ""
        known = values[~self.slices.missing]
        low, high = int(known.min()), int(known.max())
        if low == high or max(abs(low), abs(high)) <= 2**53:
            return ""
        if high - low > 2**53:
            return f"Integers beyond 2**53 are rounded to float64, which does not hold all from {low} to {high}"
        return f"Integers beyond 2**53 are rounded to float64: subtract {low} from the image, and add it to the result"
