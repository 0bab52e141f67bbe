"""The search for the weights that explain one image: what it is made of, and the one step that moves it."""

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
from napari_dip.core.averaging import RunningAverage
from napari_dip.core.codes import NO_GUIDE, make_code
from napari_dip.core.fidelity import make_fidelity
from napari_dip.core.generators import fresh_generator
from napari_dip.core.langevin import Langevin
from napari_dip.core.muon import Muon
from napari_dip.core.problem import Problem
from napari_dip.core.regularizers import REGULARISERS
from napari_dip.core.state import SLOWER, Event, Mark, State, copy_to, on_host
from napari_dip.settings import Settings

OTHER_NETWORK = (
    "the run to be continued had another network, as its noise was another; say what was said of the noise then, or "
    "start a new run"
)


class Search:
    """The search for the weights that explain one problem.

    Attributes
    ----------
    iteration : int
        Steps made so far.
    warm : bool
        Whether they began from the weights of a neighbour.
    losses : list of float
        Of all steps, once they are read: reading waits for the GPU.
    observation, iterate : Tensor (1, C, *S), Tensor (1, C, *image)
        What is fitted, and the latest that the generator made: to look at, not to keep.
    events : list of Event
        What happened.
    found : dict of str to Tensor
        What takes long to find out about a problem and is the same in all searches of it: for those that follow.
    """

    def __init__(self, problem: Problem, settings: Settings, device: str) -> None:
        self.problem = problem
        self.settings = settings
        self.device = device
        self.iteration = 0
        self.warm = False
        self._losses: list[float] = []
        self._unread: list[Tensor] = []
        self.events: list[Event] = []
        self.found: dict[str, Tensor] = {}
        self._watches: list[Callable[[Search], None]] = []
        self._average = RunningAverage(settings.average, spread=settings.uncertainty)

    def begin(self, state: State | None = None, neighbour: State | None = None, since: int | None = None) -> None:
        """Make all that the search needs on the device, fresh from the seed or as a state left it.

        A neighbour is the state that the search for a similar image ended in: fresh, but from its weights. `since` is
        the iteration that the run began at, if it is not that of the state.
        """
        problem, settings = self.problem, self.settings
        if self.device == "cpu":
            pages.keep(self)
        rng = torch.Generator().manual_seed(settings.seed)
        self.observation = torch.from_numpy(problem.observation)[None].to(self.device)
        self._operator = copy.deepcopy(problem.operator).to(self.device)  # Module.to moves in place
        self._regulariser = REGULARISERS[settings.regulariser] if settings.regulariser_weight else None
        self.lay_out(rng)
        self._random = torch.Generator(self.device).manual_seed(int(torch.randint(2**62, (), generator=rng)))
        if settings.optimiser != "lbfgs":  # that reads all weights as one vector, so they must be contiguous
            self._generator.to(memory_format=_layout(len(problem.image_shape)))  # type: ignore[call-overload]
        recorder = graph.recorder_for(self.device, self._random)
        if recorder is not None and settings.optimiser == "lbfgs":
            recorder = None
            self._tell_eager("the line search of L-BFGS reads each loss on the host")
        self._fused = recorder is not None
        self._make = graph.Replayed(self.make_step, recorder, self._tell_eager)
        if state is not None and not self.fits(state):
            raise ValueError(OTHER_NETWORK)
        if neighbour is not None and not (neighbour.iteration and self.fits(neighbour)):
            neighbour = None  # its noise asked for another network, or it has learnt nothing
        self.warm = neighbour is not None if state is None else state.warm
        if self.warm and neighbour is not None:
            self.take_over(neighbour)
        self.restart_optimiser()
        self._since = (state.iteration if state else 0) if since is None else since
        self._tail = self._since + settings.iterations - round(tail_of(settings) * settings.iterations)
        if state is not None:
            if since is not None and state.iteration > self._tail:
                self._average = RunningAverage(1, spread=settings.uncertainty)
            self.restore(state)
            self.iteration = state.iteration
            self._losses = list(state.losses)

    def lay_out(self, rng: torch.Generator) -> None:
        """Make the generator and its code on the device."""
        settings, problem = self.settings, self.problem
        shape, channels = problem.image_shape, len(problem.observation)
        known_channels = {"mesh": len(shape), "guide": 0 if problem.guide is None else len(problem.guide)}
        code_channels = known_channels.get(settings.code, settings.code_channels)
        if code_channels == 0:
            raise ValueError(NO_GUIDE)
        generator = fresh_generator(settings, code_channels, channels, shape, rng, problem.voxel_size)
        self._generator = generator.to(self.device)
        guide = None if problem.guide is None else _pad(problem.guide, self._generator.canvas)
        code = make_code(settings, self._generator.canvas, guide, rng)
        self._code = code.to(self.device, memory_format=_layout(len(shape)))
        self._noise = torch.empty_like(self._code)
        kind = "gaussian" if settings.noise == "auto" else settings.noise
        self._fidelity = make_fidelity(kind, problem.noise, problem.known).to(self.device)

    def preliminaries(self) -> Generator[float, None, None]:
        """What takes long before the first iteration, with pauses that tell the share that is done. Nothing here."""
        yield from ()

    def conclusion(self) -> Generator[float, None, None]:
        """What takes long after the last iteration, before the final mark. Nothing here."""
        yield from ()

    def watch(self, watch: Callable[[Search], None]) -> None:
        """Have something see each iteration as a part of it, without waiting for the GPU."""
        self._watches.append(watch)

    def step(self) -> None:
        """One iteration."""
        self.prepare()
        self._make()
        self._unread.append(self._loss.clone())  # the next one may be written to the same place
        self.iteration += 1

    def prepare(self) -> None:
        """Set what the host decides for this iteration: a graph repeats the numbers that it was recorded with."""
        if self.iteration == self._tail:
            self._make.forget()
            self._average = RunningAverage(1, spread=self.settings.uncertainty)
        self._average.weigh()

    def make_step(self) -> None:
        """Perturb, predict, compare, move the weights, average, watch. Reads nothing back from the device."""
        self._add_weight_noise()
        self.feed()
        first: list[Tensor] = []

        def loss_and_gradients() -> Tensor:
            self._optimiser.zero_grad()
            image, loss = self.compare()
            if self._regulariser is not None:
                loss = loss + self.settings.regulariser_weight * self._regulariser(image)
            loss.backward()  # type: ignore[no-untyped-call]
            if not first:  # L-BFGS asks several times; the first is the iterate itself
                first.extend((image.detach(), loss.detach()))
            return loss

        self._optimiser.step(loss_and_gradients)  # type: ignore[arg-type]
        self.iterate, self._loss = first
        self.remember()
        for watch in self._watches:
            watch(self)

    def fits(self, state: State) -> bool:
        """True if a state is of a network like this one, layer by layer."""
        mine = self._generator.state_dict()
        return {name: w.shape for name, w in state.weights.items()} == {name: w.shape for name, w in mine.items()}

    def take_over(self, neighbour: State) -> None:
        """Begin with the weights of a neighbour."""
        self._generator.load_state_dict(neighbour.weights)

    def helped(self) -> bool:
        """Whether to begin from the weights of a neighbour was right."""
        return True

    def feed(self) -> None:
        """Choose what the generator is fed in this iteration."""
        self._fed = self._noisy_code()  # no variable of the closure, which a traceback would keep

    def compare(self) -> tuple[Tensor, Tensor]:
        """The image that the generator makes of it, and how far that is from the observation."""
        with self.precision():
            image = self._generator(self._fed)
        image = image.float()
        return image, self._fidelity(self._operator(image), self.observation)

    def remember(self) -> None:
        """Average the iterates."""
        self._average.take(self.iterate)

    def precision(self) -> torch.autocast:
        """The digits that the generator computes with."""
        chosen = devices.precision_of(self.settings, self.device, volume=len(self.problem.image_shape) == 3)
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=chosen == "bfloat16")

    @property
    def losses(self) -> list[float]:
        """Of all steps so far. Waits for the GPU."""
        if self._unread:
            try:
                read = torch.stack(self._unread).tolist()
            except Exception as error:
                if not devices.is_out_of_memory(error):
                    raise
                read = [loss.item() for loss in self._unread]  # slower, and takes no memory
            self._losses += read
            self._unread.clear()
        return self._losses

    @property
    def average(self) -> Tensor:
        """What is restored so far, (1, C, *image): to look at, not to keep."""
        if self._average.mean is None:
            with torch.no_grad():
                return torch.as_tensor(self._generator(self._code))
        return self._average.mean

    def expected(self) -> Tensor:
        """What the instrument would see of it, (1, C, *S)."""
        with torch.no_grad():
            return torch.as_tensor(self._operator(self.average))

    def mark(self, final: bool = True) -> Mark:
        """A copy of what is restored so far; if it is not final, without what takes long."""
        return Mark(self.iteration, self.average.clone(), self._average.spread())

    def image(self) -> npt.NDArray[np.float32]:
        """What is restored so far, (C, *image), on the host. Waits for the GPU."""
        return on_host(self.average)

    def restart_optimiser(self, slower: float = 1.0) -> None:
        """A fresh optimiser, its step length multiplied by `slower`."""
        self._make.forget()
        self._optimiser: torch.optim.Optimizer
        weights, rate = self._generator.parameters(), self.settings.learning_rate * slower
        if self.settings.optimiser == "adam":
            fused = self._fused or self.device == "cpu"
            self._optimiser = torch.optim.Adam(weights, rate, fused=fused or None, capturable=self._fused)
            # that the first steps are not recorded is meant so
            self._optimiser._warned_capturable_if_run_uncaptured = True
        elif self.settings.optimiser == "muon":
            self._optimiser = Muon(weights, rate, rate / 20)
        elif self.settings.optimiser == "sgld":
            self._optimiser = Langevin(weights, rate, self._temperature(), self._random)
        else:
            self._optimiser = torch.optim.LBFGS(
                weights,
                slower,
                max_iter=1,
                max_eval=25,
                history_size=10,
                line_search_fn="strong_wolfe",
            )

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
        self._make.forget()
        place = copy_to(self.device)
        self._generator.load_state_dict(state.weights)
        moments = place(state.optimiser)
        for saved, group in zip(moments["param_groups"], self._optimiser.param_groups, strict=True):
            saved |= {how: group[how] for how in ("fused", "capturable") if how in group}  # as this device needs it
        self._optimiser.load_state_dict(moments)
        if len(state.random) == len(self._random.get_state()):  # else it is of another kind of device
            self._random.set_state(state.random)
        self.restore_averages(place(state.average))

    def averages(self) -> dict[str, Any]:
        """The state of what is averaged."""
        return self._average.state()

    def restore_averages(self, averages: dict[str, Any]) -> None:
        """Go back to such a state."""
        self._average.restore(averages)

    def drop_gradients(self) -> None:
        """Make room after memory ran out."""
        if hasattr(self, "_make"):
            self._make.forget()
        if hasattr(self, "_optimiser"):
            self._optimiser.zero_grad(set_to_none=True)
        pages.release(self)
        devices.give_back(self.device)
        if self.device == "cpu":
            pages.keep(self)

    def close(self) -> None:
        """Let go of every tensor and give the device's memory back, also if a traceback still holds this object."""
        if hasattr(self, "_make"):
            self._make.forget()
        self.__dict__ = {"device": self.device}
        pages.release(self)
        devices.give_back(self.device)

    def _tell_eager(self, why: str) -> None:
        message = f"each iteration is launched kernel by kernel, as it cannot be recorded as a CUDA graph: {why}"
        self.events.append(Event(self.iteration, SLOWER, message))

    def _temperature(self) -> Callable[[Tensor], Tensor | float]:
        """Of the posterior, from the loss: with the variance of the noise, or of the residual if that is not known."""
        noise, count = self.problem.noise, self.problem.observation.size * self.problem.known
        return lambda loss: 2 * (loss if noise is None else noise.sigma**2) / count

    def _noisy_code(self) -> Tensor:
        if not self.settings.code_noise:
            return self._code
        self._noise.movedim(1, -1).normal_(generator=self._random)  # in the order of memory: eight times as fast
        return torch.add(self._code, self._noise, alpha=self.settings.code_noise)

    def _add_weight_noise(self) -> None:
        if not self.settings.weight_noise:
            return
        with torch.no_grad():
            for weight in self._generator.parameters():
                if weight.ndim > 2 and weight.numel() > 1:
                    noise = torch.empty_like(weight).normal_(generator=self._random)
                    weight.add_(noise * weight.std() * self.settings.weight_noise)


def tail_of(settings: Settings) -> float:
    """The last share of a run that is averaged uniformly; half of it, after the burn-in, if the run samples."""
    return settings.tail or (0.5 if settings.optimiser == "sgld" else 0.0)


def _layout(ndim: int) -> torch.memory_format:
    return {2: torch.channels_last, 3: torch.channels_last_3d}.get(ndim, torch.contiguous_format)


def _pad(guide: npt.NDArray[np.float32], canvas: tuple[int, ...]) -> Tensor:
    """A guide (G, *image) as a code (1, G, *canvas), continued by reflection, the image in the middle."""
    before = [(c - n) // 2 for c, n in zip(canvas, guide.shape[1:], strict=True)]
    after = [c - n - b for c, n, b in zip(canvas, guide.shape[1:], before, strict=True)]
    return torch.from_numpy(np.pad(guide, [(0, 0), *zip(before, after, strict=True)], mode="symmetric"))[None]
