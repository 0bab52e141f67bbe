"""Everything that is decided before the first iteration, each with its reason.

A plan is a value: run, window, `--estimate` and record read it, and nothing is decided a second time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.core import device as devices
from napari_dip.core.around import Tiles
from napari_dip.core.codes import NO_GUIDE
from napari_dip.core.intensity import Scaling, check_range, mean_of
from napari_dip.core.noise.model import Noise
from napari_dip.core.parts import Own
from napari_dip.core.problem import Problem
from napari_dip.core.reason import Choice
from napari_dip.core.result import Result
from napari_dip.core.setup import Setup, left_open
from napari_dip.core.telling import warn
from napari_dip.plan import own
from napari_dip.plan.chosen import chosen
from napari_dip.plan.defects import Skips
from napari_dip.plan.holes import depth_of, nearly_all, tiles_of_slice, tiles_with_holes
from napari_dip.plan.inputs import Array, Slices, inverted, marked
from napari_dip.plan.noises import Noises, noise_of, telling
from napari_dip.plan.request import Request
from napari_dip.plan.units import Units
from napari_dip.tables import record
from napari_dip.tables.knobs import GENERATORS
from napari_dip.tables.settings import Settings, of_kind
from napari_dip.tables.tasks import TASKS


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A request, and how it is going to be fulfilled.

    Attributes
    ----------
    request : Request
        Without what was found to be no measurement.
    settings : Settings
        All knobs, with what ``auto`` became.
    open : frozenset of str
        Knobs that were left to us, and that a shortage of memory may change.
    device : Device
        Where it is computed, and why there.
    method : Choice
        "self-guided" or "prior", and why.
    noise : Noise or None
        Of all slices, in the units of the input; None if it is not known.
    scaling : Scaling or None
        From the units of the input to about 0..1; None if all known pixels are equal.
    level : float
        Mean that the noise is at, of an array that is restored block by block.
    """

    request: Request
    settings: Settings
    open: frozenset[str]
    device: devices.Device
    method: Choice
    noise: Noise | None
    scaling: Scaling | None
    level: float = 0.0

    @property
    def slices(self) -> Slices:
        return self.request.slices

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape of the restored image."""
        return self.request.shape

    @property
    def setup(self) -> Setup:
        """Settings and device, and what a shortage of memory may change of them."""
        shape, factor = self.slices.values.shape[2:], max(self.request.factor or (1,))
        return Setup(self.settings, self.device, shape, factor, self.open)

    @cached_property
    def noises(self) -> Noises:
        """The noise of each slice."""
        return Noises(self.slices, self.noise, certain=bool(self.request.camera))

    @property
    def scaled_noise(self) -> Noise | None:
        """The noise in scaled intensities; None if it is not known, or there is no scaling."""
        return None if self.noise is None or self.scaling is None else self.noise.scaled(self.scaling)

    @cached_property
    def units(self) -> Units:
        """The way back to the units of the input."""
        sigma = 0.0 if self.noise is None else self.noise.sigma
        return Units(request=self.request, scaling=self.scaling, settings=self.settings, sigma=sigma)

    def problem(self, index: int) -> Problem:
        """Problem of one slice: its scaled observation, operator, noise and guide."""
        assert self.scaling is not None
        missing, noise, fidelity = self.slices.missing[index], self.noises.of(index), self.request.fidelity
        # what is missing may be any number
        known = np.where(missing, self.scaling.low, self.slices.values[index].astype(np.float64))
        observation = np.where(missing, np.float32(0), self.scaling.apply(known))
        return Problem(
            observation=observation,
            operator=self.request.instrument(missing),
            known=1 - float(missing.mean()),
            guide=self.request.guide,
            noise=None if noise is None else noise.scaled(self.scaling),
            voxel_size=self.request.fine_voxel_size,
            fidelity=None if fidelity is None else Own("fidelity", fidelity, fidelity.part),
            denoiser=self.request.denoiser,
            wanted=self.slices.wanted(index) if self.fills_alone else None,
            around=self.slices.around[index] if self.fills_alone else None,
        )

    def tiles(self, index: int) -> Tiles:
        """Tiles that a slice is fitted in."""
        return tiles_of_slice(self.slices, index, self.settings, around=self.fills_alone)

    def fits(self, index: int) -> int:
        """Number of fits of a slice: tiles times runs."""
        return len(self.tiles(index)) * self.settings.runs

    @property
    def fitted(self) -> dict[tuple[int, ...], int] | None:
        """Shapes of the tiles that are fitted, and how many there are; None where all of each slice is."""
        return tiles_with_holes(self.slices, self.settings) if self.fills_alone else None

    @property
    def fills_alone(self) -> bool:
        """True if a prior fits what surrounds the holes alone, as all else comes back as measured."""
        return self.units.keeps_known and self.settings.around and not self.request.own_parts

    def of_block(
        self, values: Array, missing: npt.NDArray[np.bool_], guide: npt.NDArray[np.float32] | None, **changes: Any
    ) -> Plan:
        """Plan of a block (C, *S) of an array, by that of the whole, with its guide and changes to its settings."""
        task = self.request.task
        if not missing.any():  # all of it is restored, as the user wishes
            task = TASKS.get(task.where_whole, task)
        skips, noise = Skips.of(task, self.settings, {}), self.noise
        slices = skips.areas(Slices(values[None], missing[None], (), 0 if len(values) > 1 else None))
        known = slices.values[~slices.missing]
        if noise is None:
            noise = noise_of(slices, self.request.camera)
        elif known.size:
            noise = noise.moved(self.level, mean_of(known))
        request = replace(self.request, task=task, image=skips.pixels(slices, noise), guide=guide)
        device = devices.choose(self.settings.device)  # that of this worker
        settings = self.settings.decided(device=device.name, **changes)
        scaling = self.scaling or scaling_of(request)
        own.check_parts(request, settings)
        return replace(self, request=request, settings=settings, device=device, noise=noise, scaling=scaling)

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the image."""
        return record.fingerprint(self.slices.values)

    @property
    def definition(self) -> dict[str, Any]:
        """The problem besides the image, with the scaling: a run that goes on must have it in common with the first."""
        limits = [self.scaling.low, self.scaling.high] if self.scaling else None
        return {**self.request.definition, "intensity_range": limits}


def make_plan(
    request: Request, settings: Settings | None, changes: dict[str, Any], resume: Result | None, *, masked: bool
) -> Plan:
    """Decide how to restore an image.

    Parameters
    ----------
    request : Request
    settings : Settings, optional
        By default those of the result to go on from, else the task's preset for the device.
    changes : dict
        Changes to the settings, by name.
    resume : Result, optional
        To go on from.
    masked : bool
        A mask was given.

    Raises
    ------
    ValueError, TypeError
        If knobs, image and mask, or the earlier result do not go together.
    """
    task = request.task
    if task.fills_holes and not request.slices.holes.any():
        what = "mask marks no pixel" if masked else "mask is not given"
        raise ValueError(f"{what} {task.needs['mask']} ({marked()})")
    if settings is None and resume is not None:
        settings = resume.settings
    if task.fills_holes and masked and resume is None and (nearly := nearly_all(request)):
        warn(f"mask: {nearly}; {inverted()}", stacklevel=5)
    by_holes = task.fills_holes and settings is None  # else nothing is chosen by their depth
    plan = decide(request, settings, changes, depth_of(request) if by_holes else None)
    check_guide(plan.settings.code, request.guide)
    plan = replace(plan, settings=plan.settings.decided(device=plan.device.name))
    own.check_parts(plan.request, plan.settings)
    if resume is not None:
        plan = replace(plan, method=Choice(plan.method.name, resume.method.reason))
        if plan.device.name == resume.device.name:
            plan = replace(plan, device=resume.device)  # with its reason
        check_resume(resume, plan)
    return plan


def decide(request: Request, settings: Settings | None, changes: dict[str, Any], depth: float | None = None) -> Plan:
    """Decide by the pixels of a request, which may be samples of a larger array; settings keep ``device="auto"``.

    `depth` is that of the deepest hole, in pixels, where all are known.
    """
    changes = of_kind(request.task.name, changes)
    skips = Skips.of(request.task, settings, changes)
    if request.operator is not None:  # behind which constant areas and lone pixels may be structure
        skips = Skips(padding=False, bad_pixels=False)
    slices = skips.areas(request.slices)
    noise = request.image_noise or noise_of(slices, request.camera)
    request = replace(request, image=skips.pixels(slices, noise))
    flat = request.operator is None or own.keeps_flat(request)
    if not flat and settings is None and "output" in GENERATORS.get(changes.get("generator", "hourglass"), ()):
        changes = {"output": "linear", **changes}  # what is measured is no bound of the image
    size = request.ndim == 3, math.prod(request.shape)
    settings, reason = chosen(request.task.name, settings, noise, changes, depth, *size, request.own_parts)
    own.check_method(request, settings)
    device = devices.choose(settings.device)
    return Plan(
        request=request,
        settings=settings,
        open=left_open(settings) - ({"tile"} if request.operator is not None else set()),
        device=device,
        method=Choice(settings.method.name, reason),
        noise=noise,
        scaling=scaling_of(request, from_zero=not flat),
    )


def check_guide(code: str, guide: Any) -> None:
    """Raise a `ValueError` unless there is a guide where the code is one."""
    if code == "guide" and guide is None:
        raise ValueError(NO_GUIDE)
    if guide is not None and code != "guide":
        raise ValueError(f"guide is not used with code={code!r}; say code='guide'")


def scaling_of(request: Request, *, from_zero: bool = False) -> Scaling | None:
    """One affine scaling for all slices, from known pixels of those that are not blank; None if all are, or missing.

    With `from_zero` zero stays zero, as behind an operator that a constant does not pass unchanged.
    """
    if from_zero and request.intensity_range is not None and request.intensity_range[0]:
        raise ValueError(
            f"intensity_range={request.intensity_range} must begin at 0 with operator={request.operator!r}, which does "
            "not keep a constant; subtract it from the measurement"
        )
    if request.intensity_range is not None:
        return Scaling(*request.intensity_range)
    values, missing = request.slices.values, request.slices.missing
    some = telling(values, missing)
    known = values[some][~missing[some]]
    if not known.size:
        return None
    low, high = 0.0 if from_zero else float(known.min()), float(known.max())
    check_range(low, high)
    return Scaling(low, high) if low < high else None


def check_resume(resume: Result, plan: Plan) -> None:
    """Raise unless an earlier result can be continued by this plan."""
    if not resume.states or resume.record.get("input", {}).get("sha256") != plan.fingerprint:
        why = "is of another image" if resume.states else "did not keep its state"
        raise ValueError(f"resume= {why}, so it cannot go on; start a new run")
    for name, value in plan.definition.items():
        if value != resume.record.get(name):
            raise ValueError(f"{name} is not that of the run to be continued; start a new run to change it")
    for name, value in plan.settings.as_dict().items():
        before = getattr(resume.settings, name)
        if name not in ("iterations", "stop", "output_dtype", "keep_known", "threads", "at_once") and value != before:
            raise ValueError(
                f"{name}={value!r} was {before!r} in the run to be continued; start a new run to change it"
            )
