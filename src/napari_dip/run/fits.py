"""The fit of one slice, and the images that it becomes: alike for a stack in memory and for a block of an OME-Zarr."""

from __future__ import annotations

import gc
import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from napari_dip.core.judge.residual import Verdict
from napari_dip.core.memory import in_two_tries
from napari_dip.core.result import Progress, Result
from napari_dip.core.setup import Setup
from napari_dip.core.solve import Restoration
from napari_dip.core.telling import error_in_words
from napari_dip.plan.inputs import Slices
from napari_dip.plan.plan import Plan
from napari_dip.run import doubts

Array = npt.NDArray[Any]
Made = TypeVar("Made")
_log = logging.getLogger(__name__)


class Extras:
    """Companions of an image, worth none of it: where one cannot be made, the image stays, and why is said.

    Attributes
    ----------
    lost : dict of str
        What is not there -> why.
    """

    def __init__(self) -> None:
        self.lost: dict[str, str] = {}

    def make(self, what: str, make: Callable[[], Made], otherwise: Made) -> Made:
        """Make something, in the second try if memory runs out in the first; `otherwise` where it cannot be made."""
        try:
            return in_two_tries(make, gc.collect)
        except Warning:  # that are errors here
            raise
        except Exception as error:
            traceback.clear_frames(error.__traceback__)
            _log.debug("%s failed", what, exc_info=error)
            self.lost[what] = error_in_words(error)
            return otherwise

    @property
    def sentences(self) -> tuple[str, ...]:
        return tuple(f"The result is without {what}: {why}" for what, why in self.lost.items())


@dataclass(frozen=True)
class Images:
    """Images (C, *S) of a restored slice, in the units of the input: those of a `Result`."""

    image: Array
    last: Array
    residual: Array
    uncertainty: Array | None


@dataclass(frozen=True)
class Unfitted:
    """A slice with nothing to fit: its image, None if none of it is known, and the slices that it is one of."""

    image: Array | None
    slices: Slices | None = None


class Fit:
    """The fit of one slice of a plan.

    Parameters
    ----------
    plan : Plan
    index : int
        Of the slice.
    setup : Setup, optional
        How it is computed; by default as the plan has it.
    **how
        Other arguments of `Restoration`: what it begins with, and its pace.

    Attributes
    ----------
    restoration : Restoration
        Whose `steps` are the fit, in scaled intensities.
    """

    def __init__(self, plan: Plan, index: int, setup: Setup | None = None, **how: Any) -> None:
        self.plan, self.index = plan, index
        self.restoration = Restoration(plan.problem(index), setup or plan.setup, **how)

    def shown(self, progress: Progress) -> Progress:
        """Progress with its image in the units of the input, and in its axes without the leading ones."""
        units = self.plan.units
        level = units.level(self.restoration.problem, progress.image)
        image = units.finish(self.index, progress.image + level)
        return replace(progress, image=self.plan.slices.layout_one(image))

    def images(self, result: Result, extras: Extras) -> Images:
        """Images of the result of the fit; all but the restored one are `extras`."""
        units, index, spread = self.plan.units, self.index, result.uncertainty
        level = extras.make(
            "the brightness of the measurement",
            lambda: units.level(self.restoration.problem, result.image),
            np.zeros((), np.float32),
        )
        image = in_two_tries(lambda: units.finish(index, result.image + level), gc.collect)
        nothing = units.dtype_of_differences.type(np.nan)
        uncertainty = None
        if spread is not None:
            nowhere = np.broadcast_to(nothing, image.shape)
            uncertainty = extras.make("the uncertainty", lambda: self._uncertainty(spread), nowhere)
        return Images(
            image=image,
            last=extras.make("the last iterate", lambda: units.finish(index, result.last + level), image),
            residual=extras.make(
                "the residual",
                lambda: units.residual(index, result.residual - level),
                np.broadcast_to(nothing, result.residual.shape),
            ),
            uncertainty=uncertainty,
        )

    def _uncertainty(self, spread: npt.NDArray[np.float32]) -> Array:
        """The spread in the units of the input; in holes that nothing determines, no less than around them."""
        units, one = self.plan.units, self.plan.slices.one(self.index)
        found = units.uncertainty(self.index, spread)
        if not one.holes.any():
            return found
        least = units.enlarged(doubts.undetermined(one, doubts.hole_ratios(one, self.plan.noise)))[0]
        return np.asarray(np.maximum(found, least.astype(found.dtype)))

    def verdict(self, residual: Array) -> Verdict | None:
        """Verdict on the residual (C, *S) of this slice alone; None if there is nothing to judge."""
        if not self.plan.request.task.removes_noise:
            return None
        one = self.plan.slices.one(self.index)
        kept = self.plan.units.keeps_known
        return doubts.judge(one, residual[None], lambda _: self.plan.noises.of(self.index), kept=kept)
