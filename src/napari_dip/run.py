"""One run: a task with its checked arguments, its iterator, and the record of how its result came about."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip import record
from napari_dip.core import device as devices
from napari_dip.core.cost import Cost
from napari_dip.core.intensity import Scaling, check_range, float_for, mean_of, to_dtype
from napari_dip.core.noise import Noise, estimate_noise, level_of
from napari_dip.core.operators import Place
from napari_dip.core.problem import Problem
from napari_dip.core.solve import Progress, Result, telling_of_memory
from napari_dip.core.stopping import Choice
from napari_dip.core.telling import warn
from napari_dip.inputs import Slices
from napari_dip.request import Request
from napari_dip.settings import Settings

Array = npt.NDArray[Any]
_PLANES = 16  # at the most, that the noise is estimated from
#: Times the noise of all slices, or the inverse, from which a slice has one of its own; and pixels that add to that: of
#: slices of the same noise the estimates lie within 0.89 to 1.17 of it at 128x128 pixels, 0.9 to 1.64 at 64x64.
_APART, _SMALL = 1.25, 2304
#: Difference in correlation from which noise is of another kind, as that of an interpolated frame is.
_KIND = 0.3


class Run:
    """A restoration under way: an iterator of `Progress`, and the `Result` when it is exhausted."""

    def __init__(self, stream: Generator[Progress, None, Result], estimate: Callable[[], Cost]) -> None:
        self._stream = stream
        self._estimate = estimate
        self._result: Result | None = None

    def __iter__(self) -> Iterator[Progress]:
        return self

    def __next__(self) -> Progress:
        try:
            with telling_of_memory():
                return next(self._stream)
        except StopIteration as end:
            self._result = end.value or self._result
            raise StopIteration from None

    @property
    def cost(self) -> Cost:
        """What it takes of memory and time if it goes to its last iteration, from `napari_dip.estimate`."""
        return self._estimate()

    @property
    def result(self) -> Result:
        """The result.

        Raises
        ------
        RuntimeError
            If the run is not exhausted yet.
        """
        if self._result is None:
            raise RuntimeError("the run has no result yet: exhaust it first, as in `for progress in run: ...`")
        return self._result

    def close(self) -> None:
        """Abandon the run and give its memory back."""
        self._stream.close()


@dataclass(frozen=True, kw_only=True)
class Job:
    """A task with its checked arguments."""

    request: Request
    scaling: Scaling | None  # None: all known pixels are equal
    settings: Settings
    open: frozenset[str]  # the knobs that the user left to us, and that memory may ask for
    device: devices.Device
    method: Choice
    noise: Noise | None  # of all slices, in the units of the input
    _noises: dict[int, Noise | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def slices(self) -> Slices:
        return self.request.slices

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape of the restored image."""
        return self.request.shape

    def problem(self, index: int) -> Problem:
        assert self.scaling is not None
        missing, noise = self.slices.missing[index], self.noise_in(index)
        # what is missing may be any number
        known = np.where(missing, self.scaling.low, self.slices.values[index].astype(np.float64))
        observation = np.where(missing, np.float32(0), self.scaling.apply(known))
        return Problem(
            observation=observation,
            operator=self.request.operator(missing),
            known=1 - float(missing.mean()),
            guide=self._guide,
            noise=None if noise is None else noise.scaled(self.scaling),
            voxel_size=self.request.fine_voxel_size,
        )

    @property
    def _guide(self) -> npt.NDArray[np.float32] | None:
        """The guide (G, *shape) as large as what is sought."""
        guide, edges = self.request.guide, [(0, 0), *((m, m) for m in self.request.margin)]
        return None if guide is None else np.pad(guide, edges, mode="symmetric")

    def noise_in(self, index: int) -> Noise | None:
        """The noise of a slice: that of all slices, at the mean of this one, or its own where that is another."""
        if index not in self._noises:
            shared = self._shared_noise(index)
            self._noises[index] = shared and (self._own_noise(index, shared) or shared)
        return self._noises[index]

    def apart(self, indices: Iterable[int]) -> dict[int, float]:
        """How many times the noise of all slices those of some have that have their own."""
        pairs = ((index, self.noise_in(index), self._shared_noise(index)) for index in indices)
        return {i: own.sigma / shared.sigma for i, own, shared in pairs if own and shared and own.sigma != shared.sigma}

    def _shared_noise(self, index: int) -> Noise | None:
        values, missing = self.slices.values, self.slices.missing
        if self.noise is None or missing[index].all():
            return self.noise
        return self.noise.moved(self._mean, level_in(values[index : index + 1], missing[index : index + 1]))

    @functools.cached_property
    def _mean(self) -> float:
        return level_in(self.slices.values, self.slices.missing)

    def _own_noise(self, index: int, shared: Noise) -> Noise | None:
        """The noise of a slice alone, where it is beyond doubt that this is not that of all slices."""
        if len(self.slices.values) == 1 or self.request.camera or shared.sigma <= 0:
            return None
        one = slice(index, index + 1)
        values, missing = self.slices.values[one], self.slices.missing[one]
        limit = _APART + _SMALL / values.size
        # takes a hundredth of the time of an estimate, and is the noise, or more
        level = level_of(values[0], ~missing[0]) / (shared.sigma * max(1 - shared.correlation, 0.1) ** 0.5)
        if 1 / limit <= level <= limit:
            return None
        own = noise_of(replace(self.slices, values=values, missing=missing, leading=(), padding=None), {})
        if own is None or own.warning or own.sigma <= 0:
            return None
        same_kind = abs(own.correlation - shared.correlation) < _KIND
        return None if same_kind and 1 / limit <= own.sigma / shared.sigma <= limit else own

    def level(self, problem: Problem, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """What a denoised image (C, *S) lacks to be as bright as the measurement of its problem: (C, 1, ...).

        An average of iterates is pulled towards the middle of the range, where the generator begins; the mean of so
        many measured pixels is known much better. In the other tasks the measured pixels leave no doubt about it.
        """
        if not self.request.task.keeps_mean:  # nor is a preview to pay for the instrument
            return np.zeros((len(image), *(1 for _ in self.shape)), np.float32)
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
        spread = self._difference(self.field(spread))
        kept = ~self.slices.missing[index] if self.keeps_known else np.zeros((), bool)
        if self.slices.padding is not None:
            kept = kept | self.enlarged(self.slices.padding[index : index + 1])[0]
        return np.where(kept, spread.dtype.type(np.nan), spread)

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
        """What lies within the measurement of an image (C, *image)."""
        field = (slice(m, n - m) for m, n in zip(self.request.margin, image.shape[1:], strict=True))
        return image[(slice(None), *field)]

    def _difference(self, values: npt.NDArray[np.float32]) -> Array:
        """Differences of intensities in the units of the input."""
        assert self.scaling is not None
        return (values * np.float64(self.scaling.high - self.scaling.low)).astype(self.dtype_of_differences)

    def holds_nothing(self, index: int, place: Place = ()) -> bool:
        """Whether there is nothing to fit in a slice, or at a place in it."""
        values, missing = self.slices.values[index], self.slices.missing[index]
        if self.scaling is None or (self.keeps_known and not missing.any()):
            return True
        there = (slice(None), *place)
        known = values[there][~missing[there]]
        return known.size == 0 or bool(known.min() == known.max())

    def trivial(self, index: int) -> Array | None:
        """The slice, if there is nothing to fit in it."""
        if not self.holds_nothing(index):
            return None
        values, missing = self.slices.values[index], self.slices.missing[index]
        if missing.all():
            warn(f"slice {index} has no known pixel and stays empty", stacklevel=2)
            return np.full((len(values), *self.shape), self.empty)
        known, result = values[~missing], values
        if self.scaling is None or known.min() == known.max():
            what = "the image" if len(self.slices.values) == 1 else f"slice {index}"
            if known.min() == known.max():
                warn(f"{what} has one value only and comes back as it is", stacklevel=2)
            result = np.full((len(values), *self.shape), known[0])
            if self.keeps_known:  # 64-bit integers may differ although their scaling cannot tell
                result[~missing] = known
        return self._padded(index, np.asarray(result.astype(self.dtype)))

    @property
    def keeps_known(self) -> bool:
        """Whether known pixels come back as they were measured."""
        return self.request.task.fills_holes and self.settings.keep_known

    @property
    def definition(self) -> dict[str, Any]:
        """The problem besides the image, with the scaling: a run that goes on must have it in common with the first."""
        limits = [self.scaling.low, self.scaling.high] if self.scaling else None
        return {**self.request.definition, "intensity_range": limits}

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the image: the type of the input if that is asked for, else a float that holds it."""
        return self.slices.values.dtype if self.settings.output_dtype == "input" else self._float

    @functools.cached_property
    def _float(self) -> np.dtype[Any]:
        return float_for(*self._limits, 0.0 if self.noise is None else self.noise.sigma)

    @functools.cached_property
    def dtype_of_differences(self) -> np.dtype[Any]:
        """That of the residual and the uncertainty."""
        low, high = self._limits
        return float_for(low - low, high - low)

    @functools.cached_property
    def _limits(self) -> tuple[float, float]:
        """The smallest and the largest known pixel."""
        known = self.slices.values[~self.slices.missing]
        return float(known.min()), float(known.max())

    @property
    def empty(self) -> Array:
        """What stands where nothing was restored: NaN, or 0 in integers."""
        return np.array(np.nan if self.dtype.kind == "f" else 0, self.dtype)


def rounded(slices: Slices) -> str:
    """A sentence if there are integers that float64 does not hold, in which all is computed; else an empty one."""
    if slices.values.dtype.kind not in "iu" or slices.values.dtype.itemsize < 8:
        return ""
    known = slices.values[~slices.missing]
    low, high = int(known.min()), int(known.max())
    if low == high or max(abs(low), abs(high)) <= 2**53:
        return ""
    return f"Integers beyond 2**53 are rounded to float64: subtract {low} from the image, and add it to the result"


def scaling_of(request: Request) -> Scaling | None:
    """One affine scaling for all slices, from known pixels only; None if they are all equal."""
    if request.intensity_range is not None:
        return Scaling(*request.intensity_range)
    known = request.slices.values[~request.slices.missing]
    low, high = float(known.min()), float(known.max())
    check_range(low, high)
    return Scaling(low, high) if low < high else None


def noise_of(slices: Slices, camera: dict[str, float]) -> Noise | None:
    """One noise for all slices, estimated around what is known of the camera; None for a pixel, or nothing known."""
    space = axes_of_noise(slices.values.shape[2:])
    planes, missing = (a.reshape(-1, *space) for a in (slices.values, slices.missing))
    some = np.flatnonzero(telling(planes, missing))
    some = some[:: -(-len(some) // _PLANES) or 1]  # evenly spaced
    if math.prod(space) == 1 or not some.size:
        return None
    return estimate_noise(planes[some], mask=missing[some], channel_axis=0, **camera)


def telling(images: Array, missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which of several images (N, *S) tell something of the noise: not blank ones, unless all are."""
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


def check_resume(resume: Result, job: Job) -> None:
    """Raise unless an earlier result can be continued by this job."""
    if not resume.states or resume.record.get("input", {}).get("sha256") != record.fingerprint(job.slices.values):
        why = "is of another image" if resume.states else "did not keep its state"
        raise ValueError(f"resume= {why}, so it cannot go on; start a new run")
    for name, value in job.definition.items():
        if value != resume.record[name]:
            raise ValueError(f"{name} is not that of the run to be continued; start a new run to change it")
    for name, value in job.settings.as_dict().items():
        before = getattr(resume.settings, name)
        if name not in ("iterations", "stop", "output_dtype", "keep_known", "threads", "at_once") and value != before:
            raise ValueError(
                f"{name}={value!r} was {before!r} in the run to be continued; start a new run to change it"
            )


def describe(job: Job, result: Result) -> dict[str, Any]:
    """The record of how a result came about, fit for JSON."""
    return {
        **job.definition,
        "missing_pixels": int(job.slices.missing.sum()),
        "bad_pixels": 0 if job.slices.bad is None else int(job.slices.bad.sum()),
        "padding_pixels": 0 if job.slices.padding is None else int(job.slices.padding.sum()),
        "input": {
            "shape": list(job.slices.layout(job.slices.values).shape),
            "dtype": str(job.slices.values.dtype),
            "channel_axis": job.slices.channel_axis,
            "leading_axes": len(job.slices.leading),
            "sha256": record.fingerprint(job.slices.values),
        },
        "settings": result.settings.as_dict(),
        "device": {"name": result.device.name, "reason": result.device.reason},
        "iterations": result.iterations,
        "seconds": round(result.seconds, 3),
        "stop_reason": result.stop_reason,
        "method": {"name": result.method.name, "reason": result.method.reason},
        "stop_rule": {"name": result.rule.name, "reason": result.rule.reason},
        "marks": list(result.marks),
        "noise": None if result.noise is None else _plain(result.noise),
        "residual_verdict": None if result.verdict is None else asdict(result.verdict),
        "warnings": list(result.warnings),
        "uncertainty": None if result.uncertainty is None else _source(result.settings),
        "events": [{"iteration": e.iteration, "kind": e.kind, "message": e.message} for e in result.history.events],
        "software": record.software(),
        "finished": record.now(),
    }


def _source(settings: Settings) -> str:
    """What the uncertainty is the spread of, or estimated from."""
    own = settings.method.uncertainty_from
    return f"runs and {own}" if settings.runs > 1 else own


def _plain(noise: Noise) -> dict[str, Any]:
    values = {name: value for name, value in vars(noise).items() if name != "autocorrelation"}
    return {**values, "contrast": noise.contrast if np.isfinite(noise.contrast) else None}
