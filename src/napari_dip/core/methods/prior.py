"""The deep image prior: the generator is fed a fixed code, and its image is compared with the measurement.

Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior" (CVPR 2018).
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_dip.core.averaging import RunningAverage
from napari_dip.core.codes import code_channels_of, make_code
from napari_dip.core.fidelity import make_fidelity
from napari_dip.core.forward import OF_PRIOR, FitCost, Peak, Shape, Size, memory_of, passed, work_of
from napari_dip.core.generators import fresh_generator
from napari_dip.core.generators.layers import Network
from napari_dip.core.langevin import Langevin
from napari_dip.core.methods.base import Fitter, layout
from napari_dip.core.methods.refine import COMPARED_NEAR, work_of_foretelling
from napari_dip.core.noise.model import Noise
from napari_dip.core.optimiser import Optimiser
from napari_dip.core.problem import Problem
from napari_dip.core.regularizers import regulariser_of
from napari_dip.core.state import Mark
from napari_dip.tables.knobs import Prior

# Measured (python -m benchmarks memory): torch 2.13 on processors with glibc.
_PEAK: Peak = {2: {"float32": 1.47, "bfloat16": 0.9}, 3: {"float32": 1.7, "bfloat16": 1.0}}
#: Calls of an iteration beside the layers, on a CPU: the optimiser's for each layer; code, operator, loss and averages.
_BESIDE = 0.45, 40


class PriorFitter(Fitter):
    """Fit of the weights whose image explains one measurement, seen through its operator.

    Parameters
    ----------
    problem : Problem
    method : Prior
    device : str
    """

    def __init__(self, problem: Problem, method: Prior, device: str) -> None:
        super().__init__(problem, method, device)
        self.method: Prior = method
        self._average = RunningAverage(method.average, spread=method.uncertainty)

    def lay_out(self, rng: torch.Generator) -> None:
        """Make the generator, its code, the fidelity and the regulariser, on the device."""
        method, problem = self.method, self.problem
        self._regulariser = (
            _placed(regulariser_of(method.regulariser), self.device) if method.regulariser_weight else None
        )
        shape, channels = problem.image_shape, len(problem.observation)
        code_channels = code_channels_of(method, len(shape), problem.guide)
        generator = fresh_generator(method, code_channels, channels, shape, rng, problem.voxel_size)
        if problem.begin is not None:
            generator.begin_at(torch.from_numpy(problem.begin))
        self._generator = generator.to(self.device)
        guide = None if problem.guide is None else _fed(problem.guide, self._generator)
        code = make_code(method, self._generator.canvas, guide, rng)
        self._code = code.to(self.device, memory_format=layout(len(shape)))
        if method.code_learned:  # as one of the weights, so that it is moved, kept and restored with them
            self._code = nn.Parameter(self._code)
            self._generator.register_parameter("code", self._code)
        self._noise = torch.empty_like(self._code)
        kind = "gaussian" if method.noise == "auto" else method.noise
        fidelity = problem.fidelity or make_fidelity(kind, problem.noise, problem.known)
        self._fidelity = _placed(copy.deepcopy(fidelity), self.device)
        self._tail = self._since + method.iterations - round(method.tail_share * method.iterations)
        if self.iteration > self._tail:
            self._average = RunningAverage(1, spread=method.uncertainty)

    def schedule(self) -> None:
        """Begin the plain average of the tail, and set the share of this iteration."""
        if self.iteration == self._tail:
            self._replayed.forget()
            self._average = RunningAverage(1, spread=self.method.uncertainty)
        self._average.weigh()

    def feed(self) -> None:
        """Perturb the weights and the code."""
        self._add_weight_noise()
        self._fed = self._noisy_code()  # no variable of the closure, which a traceback would keep

    def compare(self) -> tuple[Tensor, Tensor]:
        """Image that the generator makes of its code, and its loss against the observation."""
        with self.precision():
            image = self._generator(self._fed)
        image = image.float()
        loss: Tensor = self._fidelity(self._operator(image), self.observation)
        if self._regulariser is not None:
            loss = loss + self.method.regulariser_weight * self._regulariser(image)
        return image, loss.reshape(())  # which a part of the user's own may give another shape

    def remember(self) -> None:
        """Average the images."""
        self._average.take(self.iterate)

    @property
    def average(self) -> Tensor:
        """Average of the images, (1, C, *image); before the first iteration, the image of the fresh weights."""
        if self._average.mean is None:
            with torch.no_grad():
                return torch.as_tensor(self._generator(self._code))
        return self._average.mean

    def mark(self, final: bool = True) -> Mark:
        """Copy of the average, no darker than no light, and of its spread."""
        return Mark(self.iteration, self.average.clamp(min=self.problem.darkest), self._average.spread())

    def averages(self) -> dict[str, Any]:
        """State of the average."""
        return self._average.state()

    def restore_averages(self, averages: dict[str, Any]) -> None:
        """Go back to such a state."""
        self._average.restore(averages)

    def make_optimiser(self, slower: float) -> Optimiser | torch.optim.LBFGS:
        """A fresh optimiser: also one that samples, or searches along lines."""
        weights, method = self._generator.parameters(), self.method
        if method.optimiser == "sgld":
            return Langevin(weights, method.learning_rate * slower, self._temperature, self._random)
        if method.optimiser == "lbfgs":
            return torch.optim.LBFGS(
                weights, slower, max_iter=1, max_eval=25, history_size=10, line_search_fn="strong_wolfe"
            )
        return super().make_optimiser(slower)

    @staticmethod
    def cost(
        method: Prior, image: Shape, noise: Noise, voxel_size: Size | None, *, cpu: bool, filled: float
    ) -> FitCost:
        """Cost of the fit of an image (C, *image) by a generator that is fed one code."""
        channels, *shape = image
        code = {"mesh": len(shape), "guide": channels}.get(method.code, method.code_channels)
        forward = passed(method, code, channels, tuple(shape), voxel_size)
        if method.code_learned:
            forward = replace(forward, weights=forward.weights + forward.code)
        memory, state = memory_of(forward, method, len(shape), _PEAK), 3 * forward.weights + 4 * math.prod(image)
        behind = method.refine * math.prod(image) * (COMPARED_NEAR + work_of_foretelling(filled, noise, alone=False))
        beside = cpu * (_BESIDE[0] * forward.calls + _BESIDE[1]) * np.array([1, 0, 0, 0])
        work = method.iterations * (work_of(forward, method, OF_PRIOR) + beside) + behind
        return FitCost(memory, state, work, np.zeros(4))

    def _temperature(self, loss: Tensor) -> Tensor | float:
        """Temperature of the posterior: by the variance of the noise, or of the residual if that is not known."""
        noise, count = self.problem.noise, self.problem.observation.size * self.problem.known
        return 2 * (loss if noise is None else noise.sigma**2) / count

    def _noisy_code(self) -> Tensor:
        if not self.method.code_noise:
            return self._code
        self._noise.movedim(1, -1).normal_(generator=self._random)  # in the order of memory: eight times as fast
        return torch.add(self._code, self._noise, alpha=self.method.code_noise)

    def _add_weight_noise(self) -> None:
        if not self.method.weight_noise:
            return
        with torch.no_grad():
            for weight in self._generator.parameters():
                if weight.ndim > 2 and weight.numel() > 1 and weight is not self._code:
                    noise = torch.empty_like(weight).normal_(generator=self._random)
                    weight.add_(noise * weight.std() * self.method.weight_noise)


def _placed(part: Any, device: str) -> Any:
    """A part on a device, if it is a module."""
    return part.to(device) if isinstance(part, nn.Module) else part


def _fed(guide: npt.NDArray[np.float32], generator: Network) -> Tensor:
    """A guide (G, *image) as a code (1, G, *canvas): the image in the middle, reflected around it, and averaged."""
    before = [(c - n) // 2 for c, n in zip(generator.made, guide.shape[1:], strict=True)]
    after = [c - n - b for c, n, b in zip(generator.made, guide.shape[1:], before, strict=True)]
    padded = np.pad(guide, [(0, 0), *zip(before, after, strict=True)], mode="symmetric")
    code = torch.from_numpy(padded)[None]
    return code if generator.made == generator.canvas else functional.interpolate(code, generator.canvas, mode="area")
