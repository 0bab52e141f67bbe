"""A method at work on one problem: begin, prepare, step, image, state, finish.

A method is a subclass of `Fitter` that lays out its generator, feeds it, compares what it makes and remembers it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_dip.core import device as devices
from napari_dip.core import graph, pages
from napari_dip.core.forward import FitCost, Shape, Size
from napari_dip.core.generators.layers import Network
from napari_dip.core.memory import if_memory_allows
from napari_dip.core.muon import Muon
from napari_dip.core.noise.model import Noise
from napari_dip.core.optimiser import Adam, Optimiser
from napari_dip.core.problem import Problem
from napari_dip.core.state import SLOWER, Event, Mark, State, copy_to, on_host
from napari_dip.tables.knobs import Method


class Fitter:
    """Base of the methods at work: one generator that is fitted to one problem.

    Parameters
    ----------
    problem : Problem
    method : Method
        Its knobs.
    device : str

    Attributes
    ----------
    iteration : int
        Steps made so far.
    warm : bool
        True if they began from the weights of a neighbour.
    whole, epoch : int, float
        Iterations of a whole fit, and of one epoch, in which each pixel is fitted once.
    losses : list of float
        Of all steps, once they are read: reading waits for the GPU.
    observation, iterate : Tensor (1, C, *S), Tensor (1, C, *image)
        The measurement, and the latest output of the generator: to look at, not to keep.
    events : list of Event
        Log of the fit.
    found : dict of str to Tensor
        Costly results that are the same in all fits of a problem, for those that follow.
    """

    _generator: Network

    def __init__(self, problem: Problem, method: Method, device: str) -> None:
        self.problem, self.method, self.device = problem, method, device
        self.whole, self.epoch = method.iterations, 1.0
        self.iteration, self.warm = 0, False
        self._losses, self._unread = list[float](), list[Tensor]()
        self.events: list[Event] = []
        self.found: dict[str, Tensor] = {}
        self._watches: list[Callable[[Fitter], None]] = []

    def begin(self, state: State | None = None, neighbour: State | None = None, since: int | None = None) -> None:
        """Make all that the fit needs on the device, fresh from the seed or as a state left it.

        `neighbour` is the final state of the fit of a similar image: a fresh fit begins from its weights (warm start).
        `since` is the iteration that the run began at, if it is not that of the state.
        """
        problem, method = self.problem, self.method
        if self.device == "cpu":
            pages.keep(self)
        if state is not None:
            self.iteration, self._losses = state.iteration, list(state.losses)
        self._since = self.iteration if since is None else since
        rng = torch.Generator().manual_seed(method.seed)
        self.observation = torch.from_numpy(problem.observation)[None].to(self.device)
        self._operator = copy.deepcopy(problem.operator).to(self.device)  # Module.to moves in place
        self.lay_out(rng)
        self._random = torch.Generator(self.device).manual_seed(int(torch.randint(2**62, (), generator=rng)))
        if method.optimiser != "lbfgs":  # that reads all weights as one vector, so they must be contiguous
            self._generator.to(memory_format=layout(len(problem.image_shape)))  # type: ignore[call-overload]
        recorder = graph.recorder_for(self.device, self._random)
        if recorder is not None and method.optimiser == "lbfgs":
            recorder = None
            self._tell_eager("the line search of L-BFGS reads each loss on the host")
        self._replayed = graph.Replayed(self.make_step, recorder, self._tell_eager)
        if state is not None and not self.fits(state):
            raise ValueError(
                "the run to be continued had another network, as its noise was another; say what was said of the noise "
                "then, or start a new run"
            )
        if neighbour is not None and not (neighbour.iteration and self.fits(neighbour)):
            neighbour = None  # its noise asked for another network, or it has learnt nothing
        self.warm = neighbour is not None if state is None else state.warm
        if self.warm and neighbour is not None:
            self.take_over(neighbour)
        self.restart_optimiser()
        if state is not None:
            self.restore(state)

    def prepare(self) -> Generator[float, None, None]:
        """Do the long work before the first iteration, yielding the share that is done. None here."""
        yield from ()

    def finish(self) -> Generator[float, None, None]:
        """Do the long work after the last iteration, before the final mark. None here."""
        yield from ()

    def watch(self, watch: Callable[[Fitter], None]) -> None:
        """Add a callback to each iteration; it is a part of it, and must not wait for the GPU."""
        self._watches.append(watch)

    def step(self) -> None:
        """One iteration."""
        self.schedule()
        self._replayed.step()
        self._unread.append(self._loss.clone())  # the next one may be written to the same place
        self.iteration += 1

    def make_step(self) -> None:
        """Perturb, predict, compare, move the weights, average, watch. Reads nothing back from the device."""
        self.feed()
        first: list[Tensor] = []

        def loss_and_gradients() -> Tensor:
            self._optimiser.zero_grad()
            image, loss = self.compare()
            loss.backward()  # type: ignore[no-untyped-call]
            if not first:  # L-BFGS asks several times; the first is the iterate itself
                first.extend((image.detach(), loss.detach()))
            return loss

        self._optimiser.step(loss_and_gradients)
        self.iterate, self._loss = first
        self.remember()
        for watch in self._watches:
            watch(self)

    # -- what a method is --------------------------------------------------------------------------------------------

    def lay_out(self, rng: torch.Generator) -> None:
        """Make the generator, `self._generator`, and what it is fed and compared with, on the device."""
        raise NotImplementedError

    def schedule(self) -> None:
        """Set what the host decides for this iteration: a graph repeats the numbers that it was recorded with."""
        raise NotImplementedError

    def feed(self) -> None:
        """Choose what the generator is fed in this iteration."""
        raise NotImplementedError

    def compare(self) -> tuple[Tensor, Tensor]:
        """Predict: the image that the generator makes, and its loss."""
        raise NotImplementedError

    def remember(self) -> None:
        """Average the iterates."""
        raise NotImplementedError

    @property
    def average(self) -> Tensor:
        """Restored image so far, (1, C, *image): to look at, not to keep."""
        raise NotImplementedError

    def mark(self, final: bool = True) -> Mark:
        """Copy of the restored image so far; the long work is done only for the final one."""
        raise NotImplementedError

    def averages(self) -> dict[str, Any]:
        """State of what is averaged."""
        raise NotImplementedError

    def restore_averages(self, averages: dict[str, Any]) -> None:
        """Go back to such a state."""
        raise NotImplementedError

    @staticmethod
    def iterations_at_most(method: Any, shape: Shape, voxel_size: Size | None, noise: Noise | None = None) -> int:
        """Iterations of a fit of an image (*shape) with this noise, if it is known and no rule ends it sooner."""
        return int(method.iterations)

    @staticmethod
    def cost(method: Any, image: Shape, noise: Noise, voxel_size: Size | None, *, cpu: bool, filled: float) -> FitCost:
        """Cost of the fit of an image (C, *image) with this noise, in scaled intensities.

        `filled`: share of the work on missing pixels that similar patches foretell, if nothing else is amiss; else 0.
        """
        raise NotImplementedError

    # -- what all methods have ---------------------------------------------------------------------------------------

    def fits(self, state: State) -> bool:
        """True if a state is of a network like this one, layer by layer."""
        mine = self._generator.state_dict()
        return {name: w.shape for name, w in state.weights.items()} == {name: w.shape for name, w in mine.items()}

    def take_over(self, neighbour: State) -> None:
        """Begin with the weights of a neighbour."""
        self._generator.load_state_dict(neighbour.weights)

    def helped(self) -> bool:
        """True if it was right to begin from the weights of a neighbour."""
        return True

    def precision(self) -> torch.autocast:
        """Context in which the generator computes in bfloat16 or float32."""
        chosen = devices.precision_of(self.method, self.device, volume=len(self.problem.image_shape) == 3)
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=chosen == "bfloat16")

    @property
    def losses(self) -> list[float]:
        """Losses of all steps so far. Waits for the GPU."""
        if self._unread:
            read, _ = if_memory_allows(lambda: torch.stack(self._unread).tolist())
            self._losses += read or [loss.item() for loss in self._unread]  # slower, and takes no memory
            self._unread.clear()
        return self._losses

    @torch.no_grad()
    def expected(self) -> Tensor:
        """Measurement (1, C, *S) that the instrument would make of the restored image."""
        return torch.as_tensor(self._operator(self.average))

    def image(self) -> npt.NDArray[np.float32]:
        """Restored image so far, (C, *image), on the host. Waits for the GPU."""
        return on_host(self.average)

    def restart_optimiser(self, slower: float = 1.0) -> None:
        """Begin with a fresh optimiser, its step length multiplied by `slower`."""
        self._replayed.forget()
        self._optimiser = self.make_optimiser(slower)

    def make_optimiser(self, slower: float) -> Optimiser | torch.optim.LBFGS:
        """A fresh optimiser of the weights."""
        weights, rate = self._generator.parameters(), self.method.learning_rate * slower
        return Muon(weights, rate, rate / 20) if self.method.optimiser == "muon" else Adam(weights, rate)

    def state(self, device: str | None = None) -> State:
        """A copy of the state, on a device (by default where it is)."""
        place = copy_to(device or self.device)
        return State(
            iteration=self.iteration,
            weights=place(self._generator.state_dict()),
            optimiser=place(self._optimiser.state_dict()),
            random=self._random.get_state(),
            average=place(self.averages()),
            losses=tuple(self.losses),
            warm=self.warm,
        )

    def restore(self, state: State) -> None:
        """Go back to the weights, optimiser, random numbers and average of a state; steps stay counted."""
        self._replayed.forget()
        place = copy_to(self.device)
        self._generator.load_state_dict(state.weights)
        self._optimiser.load_state_dict(place(state.optimiser))
        if len(state.random) == len(self._random.get_state()):  # else it is of another kind of device
            self._random.set_state(state.random)
        self.restore_averages(place(state.average))

    def drop_gradients(self) -> None:
        """Make room after memory ran out."""
        if hasattr(self, "_replayed"):
            self._replayed.forget()
        if hasattr(self, "_optimiser"):
            self._optimiser.zero_grad()
        pages.release(self)
        devices.give_back(self.device)
        if self.device == "cpu":
            pages.keep(self)

    def close(self) -> None:
        """Let go of every tensor and give the device's memory back, also if a traceback still holds this object."""
        if hasattr(self, "_replayed"):
            self._replayed.forget()
        self.__dict__ = {"device": self.device}
        pages.release(self)
        devices.give_back(self.device)

    def _tell_eager(self, why: str) -> None:
        message = f"each iteration is launched kernel by kernel, as it cannot be recorded as a CUDA graph: {why}"
        self.events.append(Event(self.iteration, SLOWER, message))


def layout(ndim: int) -> torch.memory_format:
    """Order of memory in which convolutions are fastest."""
    return {2: torch.channels_last, 3: torch.channels_last_3d}.get(ndim, torch.contiguous_format)
