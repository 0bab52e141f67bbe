"""Tiny problems, the settings that solve them in a moment, and how to measure what comes out."""

from __future__ import annotations

import gc
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
import torch

from napari_dip.core import device as devices
from napari_dip.core.fidelity import Gaussian
from napari_dip.core.methods import stable
from napari_dip.core.methods.nlridge import by_strips
from napari_dip.core.operators import Identity, Mask, Operator
from napari_dip.core.pauses import without_pauses
from napari_dip.core.problem import Problem
from napari_dip.core.result import Progress, Result
from napari_dip.core.setup import Setup
from napari_dip.core.solve import Restoration
from napari_dip.core.state import State
from napari_dip.tables.settings import PRESETS, Settings

#: Knobs that make an iteration cost about 3 ms.
TINY: dict[str, Any] = {
    "channels": 4,
    "scales": 2,
    "skip_channels": 2,
    "code_channels": 4,
    "iterations": 20,
    "device": "cpu",
    "precision": "float32",  # the same whatever the processor has
}


def tiny(**changes: Any) -> Settings:
    return Settings(**{**TINY, **changes})


def guided(**changes: Any) -> Settings:
    """A self-guided fit."""
    small = {"channels": 4, "scales": 2, "crop": 8, "batch": 2, "iterations": 12, "stop": "iterations", "device": "cpu"}
    return PRESETS["denoise-self"].changed(**{**small, "precision": "float32", **changes})


def picture(*shape: int) -> np.ndarray:
    """Smooth hills with a sharp bright block, 0 to 1, float64."""
    axes = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    hills = np.prod([0.5 + 0.4 * np.sin(3 * x + 1) for x in axes], axis=0)
    block = np.all([(x > 0.3) & (x < 0.6) for x in axes], axis=0)
    image = hills + 0.6 * block
    return (image - image.min()) / max(np.ptp(image), 1e-9)


def noisy(*shape: int, sigma: float = 0.1, seed: int = 0) -> np.ndarray:
    return picture(*shape) + sigma * np.random.default_rng(seed).normal(size=shape)


def problem(*shape: int, channels: int = 1, operator: Operator | None = None) -> Problem:
    """Denoising, unless another operator is given, of a noisy picture (12 x 12 by default)."""
    observation = np.stack([noisy(*(shape or (12, 12)), seed=c) for c in range(channels)]).astype(np.float32)
    return Problem(observation=observation, operator=operator or Identity())


def holed(missing: np.ndarray) -> Problem:
    """Inpainting of a noisy picture, `missing` (H, W) being True where it is not known."""
    observation = np.where(missing, 0, noisy(*missing.shape)).astype(np.float32)[None]
    operator = Mask(torch.from_numpy(~missing)[None, None])
    return Problem(observation=observation, operator=operator, known=1 - float(missing.mean()))


def not_finite_in_step(step: int) -> type[Gaussian]:
    """A fidelity that is not finite once, by a count that a graph sees."""

    class Jumping(Gaussian):
        def __init__(self, known: float = 1.0) -> None:
            super().__init__(known)
            self.register_buffer("count", torch.zeros(()))

        def forward(self, predicted: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
            self.count += 1  # type: ignore[operator]
            return super().forward(predicted, observed) * torch.where(self.count == step, torch.nan, 1.0)  # type: ignore[arg-type]

    return Jumping


def finish(steps: Generator[Progress, None, Result]) -> Result:
    """Exhaust a run."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def setup_of(case: Problem, settings: Settings, **more: Any) -> Setup:
    """Setup in which nothing may be changed, unless `more` says so."""
    shape, fine = case.observation.shape[1:], case.image_shape
    factor = max(f // n for f, n in zip(fine, shape, strict=True))
    return Setup(
        **{"settings": settings, "device": devices.choose(settings.device), "shape": shape, "factor": factor, **more}
    )


def iterate(
    case: Problem, settings: Settings, *, setup: Setup | None = None, state: State | None = None, **how: Any
) -> Generator[Progress, None, Result]:
    """Progress of a restoration that shows something; `state` is that of its only piece."""
    if state is not None:
        how["states"] = (state,)
    steps = Restoration(case, setup or setup_of(case, settings), **how).steps()
    try:
        while True:
            progress = next(steps)
            if progress is not None:
                yield progress
    except StopIteration as end:
        result: Result = end.value
        return result
    finally:
        steps.close()


def run(case: Problem, settings: Settings, **how: Any) -> Result:
    return finish(iterate(case, settings, **how))


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal to noise ratio in dB, the peak being the truth's range."""
    error = np.mean((np.asarray(image, np.float64) - truth) ** 2)
    return float(10 * np.log10(np.ptp(truth) ** 2 / error))


def comparisons(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Lists the shapes of the images whose similar patches are compared, from now on."""
    plain, compared = stable.by_strips, []

    def by_strips(image: torch.Tensor, sigma: float, shared: Any = None) -> Any:
        compared.append(tuple(image.shape))
        return plain(image, sigma, shared)

    monkeypatch.setattr(stable, "by_strips", by_strips)
    return compared


def live_tensors() -> int:
    """How many tensors Python holds, those behind `gc.freeze` left out."""
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def nonlocal_ridge(image: torch.Tensor, sigma: float, shared: Any = None) -> torch.Tensor:
    """The image denoised by NL-Ridge, without pauses."""
    return without_pauses(by_strips(image, sigma, shared))
