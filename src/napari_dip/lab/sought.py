"""An image sought by a prior and by plain pixels, so that it minimises a loss: a fit each, by the loop of all tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_dip.core import device as devices
from napari_dip.core.operators import Identity
from napari_dip.core.pauses import between_pauses
from napari_dip.core.problem import Problem
from napari_dip.core.result import Result
from napari_dip.core.setup import Setup
from napari_dip.core.solve import Restoration
from napari_dip.lab.iterates import Array, Outcome, Step, Steps, every
from napari_dip.tables.knobs import Prior
from napari_dip.tables.method import settings_for
from napari_dip.tables.numbers import is_number
from napari_dip.tables.settings import Settings

#: Knobs of both ways to seek, unless others are said.
_KNOBS: dict[str, Any] = {
    "preset": "denoise-small",
    "runs": 1,
    "refine": 0,
    "average": 0.0,
    "code_noise": 0.0,
    "stop": "iterations",
    "noise": "gaussian",
    "precision": "float32",  # 256 steps of grey are too few to match features by
}


class _Pixels(nn.Module):
    """A generator without a prior: its weights are the pixels, behind a sigmoid."""

    def __init__(self, _: int, channels: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.pixels = nn.Parameter(0.1 * torch.randn(1, channels, *shape))

    def forward(self, _: Tensor) -> Tensor:
        return torch.sigmoid(self.pixels)


TV = 0.1  # weight of the total variation of plain pixels, the best of 0.004, 0.02 and 0.1 (paper-preimage.md)
#: Knobs of plain pixels.
_PLAIN: dict[str, Any] = {
    "generator": _Pixels,
    "regulariser": "tv",
    "learning_rate": 0.03,
}


@dataclass(frozen=True, kw_only=True)
class Sought:
    """An image that was sought, and how it was approached.

    Attributes
    ----------
    image : float64 array (y, x) or (C, y, x)
        In the units of the model.
    iterations : int array (n,)
    values : float array (n,)
        Of the iterates: what `Preimage.quantity` says.
    psnr : float or None
        Against the image whose features were given, in dB of its range; None where there is none.
    """

    image: Array = field(repr=False)
    iterations: npt.NDArray[np.int64]
    values: Array
    psnr: float | None = None


@dataclass(frozen=True, kw_only=True)
class Preimage(Outcome):
    """An image sought by a prior, and by plain pixels with total variation.

    Attributes
    ----------
    quantity : str
        "feature error": distance of the features over their size, 0 for the same; or "activation": of the unit.
    prior : Sought
    plain : Sought or None
        None if it was not asked for.
    """

    quantity: str
    prior: Sought
    plain: Sought | None

    @property
    def image(self) -> Array:
        """The image that the prior made, in the units of the model."""
        return self.prior.image

    @property
    def images(self) -> dict[str, Array]:
        """The images by the way in which they were sought."""
        return {name: sought.image for name, sought in self._both.items()}

    @property
    def _both(self) -> dict[str, Sought]:
        both = {"prior": self.prior, "pixels and total variation": self.plain}
        return {name: sought for name, sought in both.items() if sought is not None}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Row of the table for each way to seek: what it reached, and the PSNR where there is one."""
        rows = []
        for name, sought in self._both.items():
            row: dict[str, Any] = {"sought by": name, self.quantity: f"{sought.values[-1]:.3g}"}
            rows.append(row if sought.psnr is None else {**row, "PSNR in dB": sought.psnr})
        return rows


def sought_by_both(
    observed: npt.NDArray[np.float32],
    fidelity: nn.Module,
    quantity: str,
    measure: Callable[[Tensor], float],
    limits: tuple[float, float],
    *,
    iterations: int,
    seed: int,
    should_stop: Callable[[], bool],
    plain: bool = True,
    tv: float = TV,
    **knobs: Any,
) -> Steps[dict[str, Sought]]:
    """An image (C, y, x) by the prior, and one by plain pixels: one fit each, by the loop that all tasks have."""
    step, found = every(iterations), dict[str, Sought]()
    if not isinstance(plain, bool):
        raise TypeError(f"plain={plain!r} must be True or False")
    if not is_number(tv) or not 0 <= tv <= 1e6:
        raise ValueError(f"tv={tv!r} must be a number from 0 to 1000000, such as {TV}")
    ways = {"prior": {**_KNOBS, **knobs}}
    if plain:
        same = {name: value for name, value in knobs.items() if name in ("device", "threads")}
        ways["plain"] = {**_KNOBS, **_PLAIN, "regulariser_weight": tv, **same}
    problem = Problem(observation=observed, operator=Identity(), fidelity=fidelity)
    for number, (way, changes) in enumerate(ways.items()):
        if number and should_stop():
            break
        settings = _settings(**changes, iterations=iterations, seed=seed)
        setup = Setup(settings, devices.choose(settings.device), observed.shape[1:])
        pace: dict[str, Any] = {"interval": np.inf, "snapshot_every": step, "should_stop": should_stop}
        on_threads = partial(devices.use_threads, settings.threads)
        search = between_pauses(on_threads, Restoration(problem, setup, **pace).steps())
        points = list[tuple[int, float]]()
        while True:
            try:
                shown = next(search)
            except StopIteration as end:
                result: Result = end.value
                break
            if shown is None or not shown.snapshot:
                continue
            points.append((shown.iteration, _measured(measure, shown.image)))
            yield Step(
                part=way,
                iteration=shown.iteration,
                values={quantity: points[-1][1]},
                done=(number + shown.iteration / iterations) / len(ways),
                image=_in_units(shown.image, limits),
            )
        if not points or points[-1][0] != result.iterations:
            points.append((result.iterations, _measured(measure, result.image)))
        at, values = zip(*points, strict=True)
        image = _in_units(result.image, limits)
        found[way] = Sought(image=image, iterations=np.array(at), values=np.array(values))
    return found


def _settings(**changes: Any) -> Settings:
    settings = settings_for("denoise", on_cpu=True, **changes)
    method = settings.method
    if not isinstance(method, Prior) or method.code == "guide" or settings.tile or settings.runs > 1:
        raise ValueError(
            "such an image is sought by one prior, and whole: leave out tile, runs, code='guide', and presets of other "
            "methods than priors"
        )
    return settings


def _measured(measure: Callable[[Tensor], float], image: npt.NDArray[Any]) -> float:
    with torch.no_grad():
        return measure(torch.from_numpy(np.asarray(image, np.float32))[None])


def _in_units(image: npt.NDArray[Any], limits: tuple[float, float]) -> Array:
    """An image (C, y, x) in the units of the model; (y, x) if it has one channel."""
    low, high = limits
    made = low + (high - low) * np.asarray(image, np.float64)
    return np.asarray(made[0] if len(made) == 1 else made)
