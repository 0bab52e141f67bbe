"""PSNR, SSIM and NRMSE of a restored image against a known truth."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.intensity import check_range
from napari_dip.core.judge.errors import Levels, decibels, peak
from napari_dip.tables.numbers import channel_from_first, check_leading, is_number

Array = npt.NDArray[np.float64]
Place = tuple[slice, ...]
WINDOW = 7  # pixels: the side of the window in which SSIM compares
_PART = {2: 1024, 3: 128}  # pixels: the side of a part of an image that is not in memory


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Figures of a restored image against the truth.

    Attributes
    ----------
    psnr : float
        Peak signal-to-noise ratio in dB, for the given data range; infinite if the two are equal.
    ssim : float
        Mean structural similarity, -1 to 1.
    nrmse : float
        Root mean square error, relative to the root mean square of the truth.
    gain, offset : float
        Factor and summand applied to the restored image before the comparison; 1 and 0 without ``affine``.
    data_range : float
        The difference of intensities that counts as the peak.
    """

    psnr: float
    ssim: float
    nrmse: float
    gain: float = 1.0
    offset: float = 0.0
    data_range: float

    def __str__(self) -> str:
        scaled = f", after scaling by {self.gain:.3g} and adding {self.offset:.4g}"
        fitted = scaled if (self.gain, self.offset) != (1, 0) else ""
        return f"PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.3f}, NRMSE {self.nrmse:.3f}{fitted}"


def compare(
    restored: Any,
    truth: Any,
    *,
    affine: bool = False,
    mask: Any = None,
    channel_axis: int | None = None,
    leading_axes: int = 0,
    data_range: float | None = None,
) -> Comparison:
    """`napari_dip.trust.compare`, of arrays: what has a shape and a dtype but is no numpy array is read part by part.

    With `affine` there is one gain and one offset for all channels of a slice. What `mask` leaves out is left out of
    the fit, of the errors, and as the centre of windows of SSIM.

    Notes
    -----
    Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004), with a uniform
    window of 7 pixels, or the largest odd one that fits a smaller image. Metrics are those of scikit-image.
    """
    pair = _Pair.of(restored, truth, mask, channel_axis, leading_axes)
    levels = {at: found for at in pair.slices if (found := pair.levels(at)).count}
    if not levels:
        raise ValueError("mask leaves no pixel to compare: it marks what is left out as True; did you mean ~mask?")
    if data_range is None:
        low, high = min(each.low for each in levels.values()), max(each.high for each in levels.values())
        data_range = peak(pair.truth.dtype, low, high)
        if data_range == 0:
            raise ValueError("truth has one value only; say the data_range that counts as its peak")
    elif not (is_number(data_range) and 0 < data_range < np.inf):
        raise ValueError(f"data_range={data_range} must be a finite number above 0")
    each = [pair.figures(at, *(found.fit if affine else (1.0, 0.0)), data_range) for at, found in levels.items()]
    names = ("psnr", "ssim", "nrmse", "gain", "offset")
    return replace(each[0], **{name: float(np.mean([getattr(one, name) for one in each])) for name in names})


@dataclass(frozen=True)
class _Pair:
    """A restored image and its truth, read slice by slice and part by part as (C, *S)."""

    restored: Any
    truth: Any
    mask: Any
    masked_axes: tuple[int, ...]  # that the mask has
    channel_axis: int | None
    leading: tuple[int, ...]  # axes
    spatial: tuple[int, ...]

    @classmethod
    def of(cls, restored: Any, truth: Any, mask: Any, channel_axis: int | None, leading_axes: int) -> _Pair:
        """Check arrays and axes."""
        restored, truth = _checked("restored", restored), _checked("truth", truth)
        if restored.shape != truth.shape:
            raise ValueError(
                f"restored has shape {restored.shape} and truth {truth.shape}: they must be the same; crop one"
            )
        ndim, shape = len(truth.shape), truth.shape
        channel = channel_from_first(channel_axis, shape)
        check_leading(leading_axes, ndim)
        axes = [axis for axis in range(ndim) if axis != channel]
        spatial = axes[leading_axes:]
        space = tuple(shape[axis] for axis in spatial)
        if len(space) not in (2, 3) or min(space) < 3:
            raise ValueError(
                f"an image of {space} pixels cannot be compared: give two or three axes of 3 pixels or more"
            )
        masked: tuple[int, ...] = ()
        if mask is not None:
            mask = mask if hasattr(mask, "shape") else np.asarray(mask)
            several = (tuple(range(ndim)), tuple(axes), tuple(spatial))
            fitting = [some for some in several if mask.shape == tuple(shape[axis] for axis in some)]
            if not fitting:
                raise ValueError(f"mask has shape {mask.shape}: it must be that of the image, {space}")
            masked = fitting[0]
        return cls(restored, truth, mask, masked, channel, tuple(axes[:leading_axes]), tuple(spatial))

    @property
    def slices(self) -> Iterator[tuple[int, ...]]:
        return np.ndindex(*(self.truth.shape[axis] for axis in self.leading))

    @property
    def space(self) -> tuple[int, ...]:
        return tuple(self.truth.shape[axis] for axis in self.spatial)

    @property
    def parts(self) -> Iterator[Place]:
        """Places that make up a slice: one if the arrays are in memory."""
        side = _PART[len(self.space)]
        if isinstance(self.truth, np.ndarray) and isinstance(self.restored, np.ndarray):
            side = max(self.space)
        starts = [range(0, n, side) for n in self.space]
        for at in itertools.product(*starts):
            yield tuple(slice(a, min(a + side, n)) for a, n in zip(at, self.space, strict=True))

    def read(self, at: tuple[int, ...], place: Place) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
        """A part of a slice of both, (C, *S), and True where its pixels are compared.

        Raises
        ------
        ValueError
            If one of these is not finite.
        """
        where = dict(zip((*self.leading, *self.spatial), (*(slice(i, i + 1) for i in at), *place), strict=True))

        def part(array: Any, axes: tuple[int, ...]) -> npt.NDArray[Any]:
            values = np.asarray(array[tuple(where.get(axis, slice(None)) for axis in axes)])
            if self.channel_axis in axes:
                values = np.moveaxis(values, axes.index(self.channel_axis), 0)
            return values.reshape(-1, *(each.stop - each.start for each in place))

        axes = tuple(range(len(self.truth.shape)))
        result, target = (np.ascontiguousarray(part(a, axes), np.float64) for a in (self.restored, self.truth))
        compared = np.ones(target.shape, bool)
        if self.mask is not None:
            compared &= ~part(self.mask, self.masked_axes).astype(bool)
        for name, values in (("restored", result), ("truth", target)):
            if not np.isfinite(values[compared]).all():
                raise ValueError(
                    f"{name} has pixels that are NaN or infinite; leave them out with mask=~isfinite({name})"
                )
        return result, target, compared

    def levels(self, at: tuple[int, ...]) -> Levels:
        """Sums over a slice.

        Raises
        ------
        ValueError
            If float64 does not hold the powers of its differences.
        """
        levels = Levels()
        for place in self.parts:
            result, target, compared = self.read(at, place)
            for values in (result, target):
                if (known := values[np.isfinite(values)]).size:
                    check_range(float(known.min()), float(known.max()))
            levels.add(result[compared], target[compared])
        return levels

    def figures(self, at: tuple[int, ...], gain: float, offset: float, data_range: float) -> Comparison:
        """Figures of a slice."""
        window = min(WINDOW, (min(self.space) - 1) // 2 * 2 + 1)
        errors, power, count = 0.0, 0.0, 0
        similar = np.zeros((2, 2))  # sum and number: of windows inside the image, and of all
        for place in self.parts:
            around = tuple(
                slice(max(0, p.start - WINDOW), min(p.stop + WINDOW, n)) for p, n in zip(place, self.space, strict=True)
            )
            result, target, compared = self.read(at, around)
            target = np.where(compared | np.isfinite(target), target, 0)
            # what is left out counts as equal in windows beside it
            result = np.where(compared, gain * result + offset, target)
            similarity = _similarity(result, target, window, data_range)
            inner = tuple(
                slice(max(p.start, window // 2) - a.start, max(0, min(p.stop, n - window // 2) - a.start))
                for p, a, n in zip(place, around, self.space, strict=True)
            )
            own = tuple(slice(p.start - a.start, p.stop - a.start) for p, a in zip(place, around, strict=True))
            for i, there in enumerate((inner, own)):
                some = similarity[(slice(None), *there)][compared[(slice(None), *there)]]
                similar[i] += some.sum(), some.size
            fair = compared[(slice(None), *own)]
            a, b = target[(slice(None), *own)][fair], result[(slice(None), *own)][fair]
            errors, power, count = errors + float(np.sum((a - b) ** 2)), power + float(np.sum(a**2)), count + a.size
        # pixels whose windows reach over the border count only where there are no others
        total, windows = similar[0] if similar[0, 1] else similar[1]
        return Comparison(
            psnr=decibels(errors / count, data_range),
            ssim=float(total / windows),
            nrmse=float(np.sqrt(errors / power)) if power else float("inf"),
            gain=gain,
            offset=offset,
            data_range=data_range,
        )


def _similarity(result: Array, target: Array, window: int, data_range: float) -> Array:
    """Structural similarity at each pixel, channel by channel."""
    import skimage.metrics

    metrics: Any = skimage.metrics  # it has no types
    how = {"win_size": window, "data_range": data_range, "full": True}
    return np.stack([metrics.structural_similarity(a, b, **how)[1] for a, b in zip(target, result, strict=True)])


def _checked(name: str, image: Any) -> Any:
    """An image as it is if it has a shape and a type, else as an array."""
    image = image if hasattr(image, "shape") and hasattr(image, "dtype") else np.asarray(image)
    if image.dtype.kind not in "buif":
        raise TypeError(f"{name} is of type {image.dtype}: give an array of real numbers")
    return image
