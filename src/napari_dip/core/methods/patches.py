"""Similar patches without a network: a first good picture in seconds, on any task.

Noise alone is removed by NL-Ridge, once, on the image with stabilised noise. What is missing, blurred or on a coarser
grid begins as the smoothest image that explains the measurement, and is refined as that of a prior is; where nothing
but pixels is missing, as similar patches expect them (`napari_dip.core.methods.expected`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_dip.core import pages
from napari_dip.core.forward import FitCost, Shape, Size
from napari_dip.core.methods import bins
from napari_dip.core.methods.base import Fitter
from napari_dip.core.methods.coverage import UNDONE, of_patches
from napari_dip.core.methods.nlridge import COMPARED
from napari_dip.core.methods.refine import CLEAR, COMPARED_NEAR, put_back, work_of_foretelling
from napari_dip.core.methods.stable import denoised
from napari_dip.core.nearest import standing_in
from napari_dip.core.noise.model import Noise
from napari_dip.core.operators import blurs
from napari_dip.core.problem import Problem
from napari_dip.core.state import Mark, State
from napari_dip.tables.knobs import Patches

NO_NOISE = "similar patches need the noise of the image, which is not known here; use another preset"
_SOLVES = 150  # conjugate gradients for each weight
# weights of the squared Laplacian without noise: the first reaches far into a hole, the last is to be small
_SMOOTH = (0.1, 1e-3)
_SMOOTHEST = np.array([0, 1e5, 1e4, 0])  # work per pixel of the smoothest image
_RANGE = 0.1  # contrast of an image at which its noise is held against the weight


class PatchesFitter(Fitter):
    """The image that similar patches make, all of it before the first iteration, of which there is none.

    Parameters
    ----------
    problem : Problem
    method : Patches
    device : str
    """

    def __init__(self, problem: Problem, method: Patches, device: str) -> None:
        super().__init__(problem, method, device)
        self._image: Tensor | None = None

    def begin(self, state: State | None = None, neighbour: State | None = None, since: int | None = None) -> None:
        """Lay the measurement out."""
        if self.device == "cpu":
            pages.keep(self)
        self.observation = torch.from_numpy(self.problem.observation)[None].to(self.device)
        self._operator = copy.deepcopy(self.problem.operator).to(self.device)  # Module.to moves in place

    def prepare(self) -> Generator[float, None, None]:
        """Make the image, unless it is found already."""
        if "patches" not in self.found:
            self.found["patches"] = yield from self._made()
        self._image = self.found["patches"].to(self.device)

    def _made(self) -> Generator[float, None, Tensor]:
        if self.method.refine:  # which comes behind the fit
            return self._smoothest()
        problem = self.problem
        if problem.noise is None:
            raise ValueError(NO_NOISE)
        filled = standing_in(problem.observation, problem.known_pixels())
        return torch.from_numpy((yield from denoised(filled, problem.noise, self.device)))[None].to(self.device)

    def _smoothest(self) -> Tensor:
        """The smoothest image that explains the measurement, as far as its noise is no fine structure."""
        noise, blurred = self.problem.noise, blurs(self._operator)
        counts = noise is not None and not noise.warning and (blurred or noise.contrast < CLEAR)
        sigma = noise.sigma if noise is not None and counts else 0.0
        return smoothest(self._operator, self.observation, self.problem.image_shape, sigma)

    @property
    def average(self) -> Tensor:
        """The image; before it is made, the smoothest one that explains the measurement."""
        return self._smoothest() if self._image is None else self._image

    def mark(self, final: bool = True) -> Mark:
        """Copy of the image."""
        return Mark(self.iteration, self.average.clone(), None)

    def state(self, device: str | None = None) -> State:
        """Nothing to go on from but the beginning."""
        return State(iteration=0, weights={}, optimiser={}, random=torch.zeros(0), average={}, losses=())

    def restore(self, state: State) -> None:
        """Go back to the beginning."""

    def averages(self) -> dict[str, Any]:
        """Nothing is averaged."""
        return {}

    @staticmethod
    def iterations_at_most(method: Patches, shape: Shape, voxel_size: Size | None, noise: Noise | None = None) -> int:
        """None."""
        return 0

    @staticmethod
    def cost(
        method: Patches, image: Shape, noise: Noise, voxel_size: Size | None, *, cpu: bool, filled: float
    ) -> FitCost:
        """Cost of similar patches of an image (C, *image), once, or behind the smoothest image."""
        channels, *shape = image
        pixels = math.prod(image)
        memory = max(of_patches(channels, tuple(shape), method, noise, cpu), UNDONE * pixels)
        alone = COMPARED / bins.side_of(noise, tuple(shape)) ** 2
        step = work_of_foretelling(filled, noise, alone=True) if filled else COMPARED_NEAR
        work = method.refine * step + _SMOOTHEST if method.refine else alone
        return FitCost(int(memory), 0, np.zeros(4), pixels * work)


def smoothest(
    operator: Callable[[Tensor], Tensor], observation: Tensor, shape: tuple[int, ...], sigma: float
) -> Tensor:
    """The image (1, C, *shape) that explains a measurement with the least squared Laplacian, as heat plates bend.

    Among missing pixels that is biharmonic interpolation; behind a blur it is Wiener's filter for a spectrum that falls
    with the fourth power of the frequency.
    """
    image = observation.new_full((1, observation.shape[1], *shape), float(observation.mean()))
    wanted = torch.cat([observation.flatten(), observation.new_zeros(image.numel())])
    for least in _SMOOTH:
        weight = max(least, (sigma / _RANGE) ** 2) ** 0.5

        def seen(image: Tensor, weight: float = weight) -> Tensor:
            return torch.cat([operator(image).flatten(), weight * laplacian(image).flatten()])

        image = put_back(seen, wanted, image, 0.0, solves=_SOLVES)
    return image


def laplacian(image: Tensor) -> Tensor:
    """Sum of second differences of an image (1, C, *S) along all axes; the first are zero at the borders."""
    total = torch.zeros_like(image)
    for axis in range(2, image.ndim):
        step = image.diff(dim=axis)
        edge = torch.zeros_like(image.narrow(axis, 0, 1))
        total = total + torch.cat([edge, step, edge], axis).diff(dim=axis)
    return total
