"""Stopping rules: they mark the best image of a run, and tell when going on is in vain.

A deep image prior makes structure first and noise later, so its best image comes before its last. All rules have one
shape: a rule may take something out of the problem before the run (`problem`), sees every iteration (`update`, which
never waits for a GPU), and at every look marks the running average if that is the best so far and returns the
sentence that ends the run, or nothing (`look`). Long because all rules are here, side by side.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_dip.core.methods.base import Fitter
from napari_dip.core.methods.refine import noise_of_coarse
from napari_dip.core.noise.model import INDEPENDENT
from napari_dip.core.operators import Compose, Mask, refines_grid
from napari_dip.core.problem import Problem
from napari_dip.core.reason import Choice
from napari_dip.core.state import Curve, Mark
from napari_dip.tables.knobs import Method
from napari_dip.tables.method import TEXTURED

# Residual over noise: the mean square of the one over the variance of the other.
RATIO = 0.95  # to stop at: the running average lags behind the iterate, which has fitted some noise by then
RATIO_GUESSED = 0.05  # the same where the noise is a guess, which fine texture makes up to 5 times too high
RATIO_WEAK = 0.25  # the same where noise is weak, so that fine texture may be half of what is taken for it
RATIO_SEEN = 0.4  # the same where it is read from the finest detail of a coarse image, which structure may add to
RATIO_SHARED = 1.0  # the same for correlated noise: it is fitted early and fast, so that stopping late costs more
MOST, MOST_GUESSED = 1.15, 2.0  # residual over noise, or a guess of it, up to which held-out pixels may choose an image
LEAST = 0.8  # residual over noise below which the error of held-out pixels must go on falling
HELD_OUT = 0.03  # fraction of the known pixels
BLOCK = 7  # pixels along each axis of a block that is held out, under correlated noise
ENOUGH = 100  # held-out pixels; the mean square error of fewer is left to chance
CLEAR = 8.0  # SNR from which much of the estimated noise may be fine structure
CUT_UP = 4.0  # SNR from which, on a finer grid, noise that neighbours share is rather texture that the coarse cut up
WATCHED = 1024  # pixels whose variance is followed: a window of 100 iterations of them takes 0.4 MB
WINDOW = 100  # iterations, of the windowed variance
NEWEST = 0.1  # weight of the newest iterate in the exponential variance
WARM_UP = 200  # iterations: variances have minima before that mean nothing
PATIENCE, PATIENCE_BELOW = 300, 50  # iterations without a better image; the same below the noise


class Rule:
    """Base of the rules; on its own "iterations": the run goes to its end, and its last image is the result.

    Parameters
    ----------
    problem : Problem
        As asked.
    method : Method
        With the seed of what a rule draws.

    Attributes
    ----------
    problem : Problem
        The problem to fit: less than was asked if the rule holds something out.
    mark : Mark or None
        The best image so far.
    ended : bool
        True once the rule has ended a run. If the user lets it go on nevertheless, its last image counts.
    quantity : str
        What it looks at, if that is a number.
    bound : float or None
        The value of the quantity that ends the run.
    """

    quantity = ""
    bound: float | None = None

    def __init_subclass__(cls, name: str = "") -> None:
        if name:
            RULES[name] = cls

    def __init__(self, problem: Problem, method: Method) -> None:
        self.problem = problem
        self.method = method
        self.mark: Mark | None = None
        self.ended = False
        self._noted: list[tuple[int, float]] = []

    def at_most(self, iterations: int, done: int) -> int:
        """Number of further iterations, of those asked for, that the rule allows after those `done`."""
        return iterations

    def begin(self, fitter: Fitter) -> None:
        """Allocate what the rule keeps, on the device of the fit."""

    def update(self, fitter: Fitter) -> None:
        """See one iteration, without waiting for the GPU; a CUDA graph repeats it, so tensors keep their addresses."""

    def look(self, fitter: Fitter) -> str:
        """Mark the image if it is the best so far; returns why the run ends here, or nothing. Waits for the GPU."""
        return ""

    def note(self, fitter: Fitter, value: Tensor | float) -> float:
        """Keep a value of the quantity for the curve; returns it as a number."""
        self._noted.append((fitter.iteration, float(value)))
        return self._noted[-1][1]

    @property
    def curves(self) -> tuple[Curve, ...]:
        """The quantity by iteration: one curve, or none."""
        if not self._noted:
            return ()
        iterations, values = zip(*self._noted, strict=True)
        return (Curve(self.quantity, np.array(iterations), np.array(values), self.bound),)

    def restart(self) -> None:
        """Forget the latest iterates: the fit has gone back. A mark was made while all was well, and stays."""

    def remark(self) -> str:
        """Words to add when the iterations are used up before the rule has ended the run."""
        return ""

    def forget(self) -> None:
        """Let go of every tensor."""
        self.__dict__.clear()

    def state(self) -> dict[str, Any]:
        """State to go on from: tensors and numbers."""
        return {"mark": self.mark and vars(self.mark), "ended": self.ended, "curves": self.curves}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from the state of an earlier run, its tensors on the device of the fit."""
        self.mark = Mark(**state["mark"]) if state["mark"] and not state["ended"] else None
        self.ended = state["ended"]
        for curve in state["curves"]:
            self._noted = list(zip(curve.iterations.tolist(), curve.values.tolist(), strict=True))


#: Name, as the knob ``stop`` has it -> rule; a class with a `name` adds itself.
RULES: dict[str, type[Rule]] = {"iterations": Rule}


class Once(Rule, name="once"):
    """No iteration: the image is made before the first."""

    def at_most(self, iterations: int, done: int) -> int:
        return 0

    def look(self, fitter: Fitter) -> str:
        return "finished without a network" + ("" if fitter.method.refine else ", by similar patches alone")

    def resume(self, state: dict[str, Any]) -> None:
        """Begin as if never ended: there is nothing to go on with."""


class Discrepancy(Rule, name="discrepancy"):
    """Stop where the residual is as small as the noise: what is left then is noise, and what comes next fits it.

    Compares the mean of (y - A x)^2, x being the running average, with the mean variance of the noise (Morozov 1966).
    It holds for correlated noise too, and is as good as the estimate of the variance. Weighting each pixel by its own
    variance would leave the decision to the dark ones, whose variance is known least.
    """

    quantity = "residual / noise"
    bound: float

    def __init__(self, problem: Problem, method: Method) -> None:
        super().__init__(problem, method)
        if problem.noise is None:
            raise ValueError(f"stop={method.stop!r} needs the noise of the observation; take another rule")
        self.bound = RATIO_SHARED if problem.noise.correlation >= INDEPENDENT else RATIO
        self.ratio = math.inf

    def look(self, fitter: Fitter) -> str:
        self.ratio = self.note(fitter, _ratio(fitter))
        if self.ratio > self.bound:
            return ""
        self.mark = fitter.mark()
        return f"stopped at iteration {fitter.iteration}: the residual is down to {self.ratio:.2f} times the noise"

    def remark(self) -> str:
        return f", where the residual is {self.ratio:.3g} times the noise: more iterations would show more"


class Fitted(Discrepancy, name="fitted"):
    """Stop where the residual is far below a noise that is a guess, or weak: all that comes is the rest of the noise.

    A tiny image, of which the noise is known least, is so far after some hundred iterations.
    """

    def __init__(self, problem: Problem, method: Method) -> None:
        super().__init__(problem, method)
        assert problem.noise is not None
        self.bound = RATIO_GUESSED if problem.noise.warning else RATIO_WEAK
        if (seen := noise_of_coarse(problem)) and problem.noise.warning:
            self.bound = RATIO_SEEN * (seen.sigma / problem.noise.sigma) ** 2

    def remark(self) -> str:
        return ""


class Epochs(Rule, name="passes"):
    """Stop a self-guided fit when each pixel has been fitted often enough: its step length falls to that end."""

    def begin(self, fitter: Fitter) -> None:
        self.whole, self._epoch = fitter.whole, fitter.epoch

    def at_most(self, iterations: int, done: int) -> int:
        if done == self.whole and not self.ended:  # it was stopped over the final image
            return 0
        return min(iterations, self.whole - done if done < self.whole else self.whole)

    def look(self, fitter: Fitter) -> str:
        self.share = fitter.iteration / self.whole
        if self.share < 1:
            return ""
        beginning = ", from the weights of its neighbour" if fitter.warm else ""
        times = f"{fitter.iteration / self._epoch:.0f} times{beginning}"
        return f"finished after {fitter.iteration} iterations: every pixel was used about {times}"

    def remark(self) -> str:
        return f", {self.share:.0%} of the {self.whole} that this image needs"


class Lowest(Rule):
    """Base of the rules that mark the lowest value of a score, and end the run when no lower one comes."""

    what = "the score"
    warm_up = 0

    def __init__(self, problem: Problem, method: Method) -> None:
        super().__init__(problem, method)
        self.lowest = math.inf
        self.patience = PATIENCE

    def score(self, fitter: Fitter) -> Tensor | None:
        """Value whose minimum is sought; None while there is none."""
        raise NotImplementedError

    def look(self, fitter: Fitter) -> str:
        score = self.score(fitter) if fitter.iteration >= self.warm_up else None
        if score is None:
            return ""
        if (value := self.note(fitter, score)) < self.lowest:
            self.lowest, self.mark = value, fitter.mark()
        if self.mark is None or (since := fitter.iteration - self.mark.iteration) < self.patience:
            return ""
        return f"took iteration {self.mark.iteration}, where {self.what} was lowest, and stopped {since} later"

    def remark(self) -> str:
        return "" if self.mark is None else f", and took {self.mark.iteration}, where {self.what} was lowest"

    def state(self) -> dict[str, Any]:
        return {**super().state(), "lowest": self.lowest}

    def resume(self, state: dict[str, Any]) -> None:
        super().resume(state)
        self.lowest = state["lowest"]


class HeldOut(Lowest, name="held-out"):
    """Leave some pixels out of the loss, and take the image that predicts them best.

    Unbiased where noise is independent between what is held out and what is fitted: single pixels of white noise,
    blocks of correlated noise. Only images count whose residual is like the noise, which keeps out chance minima. Below
    `LEAST` of it patience is short, as weakly correlated noise lets neighbours predict each other. It is not zero, as
    texture often makes the noise estimate too high, and then better images still come.
    """

    what = "the error of the pixels held out"
    quantity = "held-out error"

    def __init__(self, problem: Problem, method: Method) -> None:
        super().__init__(problem, method)
        known = problem.known_pixels()
        correlated = problem.noise is not None and problem.noise.correlation >= INDEPENDENT
        held = draw_held_out(np.asarray(known.any(0)), BLOCK if correlated else 1, method.seed)
        self.held = held & known
        if not self.held.any() or not (known & ~held).any():
            raise ValueError("stop='held-out' needs more known pixels than there are; take stop='iterations'")
        self.observation, self.operator = problem.observation, problem.operator
        self.problem = replace(
            problem,
            observation=np.where(held, np.float32(0), problem.observation),
            operator=Compose(problem.operator, Mask(torch.from_numpy(~held)[None, None])),
            known=float((known & ~held).mean()),
        )

    def begin(self, fitter: Fitter) -> None:
        self._operator = copy.deepcopy(self.operator).to(fitter.device)  # Module.to moves in place
        self._truth = torch.from_numpy(self.observation)[None].to(fitter.device)
        self._held = torch.from_numpy(self.held)[None].to(fitter.device)
        self._count = int(self.held.sum())

    def look(self, fitter: Fitter) -> str:
        noise = self.problem.noise
        ratio, most = 1.0, MOST
        if noise is not None and (noise.sigma > 0 or not noise.warning):
            ratio, most = _ratio(fitter), MOST_GUESSED if noise.warning else MOST
        self.patience = PATIENCE_BELOW if ratio < LEAST else PATIENCE
        if ratio <= most:
            return super().look(fitter)
        self.note(fitter, self.score(fitter))
        return ""

    def score(self, fitter: Fitter) -> Tensor:
        with torch.no_grad():
            error = self._operator(fitter.average) - self._truth
        return torch.sum(error.square() * self._held) / self._count


class WindowedVariance(Lowest, name="variance"):
    """Take the image around which the iterates vary least: structure is made before, noise after.

    ES-WMV of Wang et al., "Early Stopping for Deep Image Prior" (2021), on a random subset of the pixels.
    """

    what = "the variance of the iterates"
    quantity = "variance of the iterates"
    warm_up = WARM_UP

    def begin(self, fitter: Fitter) -> None:
        size = math.prod((len(self.problem.observation), *self.problem.image_shape))
        rng = torch.Generator().manual_seed(fitter.method.seed)
        self._watched = torch.randperm(size, generator=rng)[:WATCHED].to(fitter.device)
        self._window = torch.zeros(WINDOW, len(self._watched), device=fitter.device)
        self._seen = torch.zeros(1, dtype=torch.long, device=fitter.device)

    def update(self, fitter: Fitter) -> None:
        self._window.index_copy_(0, self._seen % WINDOW, fitter.iterate.reshape(1, -1)[:, self._watched])
        self._seen += 1

    def score(self, fitter: Fitter) -> Tensor | None:
        return torch.var(self._window, 0, correction=0).mean() if self._seen >= WINDOW else None

    def restart(self) -> None:
        self._seen.zero_()

    def state(self) -> dict[str, Any]:
        return {**super().state(), "window": self._window, "seen": self._seen}

    def resume(self, state: dict[str, Any]) -> None:
        super().resume(state)
        self._window.copy_(state["window"])
        self._seen.copy_(state["seen"])


class ExponentialVariance(WindowedVariance, name="variance-exponential"):
    """The same with a variance that forgets exponentially: ES-EMV of Wang et al. (2021). Keeps two rows, no window."""

    def begin(self, fitter: Fitter) -> None:
        super().begin(fitter)
        self._window = self._window[:2]  # mean and variance

    def update(self, fitter: Fitter) -> None:
        mean, variance = self._window
        step = fitter.iterate.reshape(-1)[self._watched] - mean
        newest = torch.where(self._seen > 0, NEWEST, 1.0)
        mean += newest * step
        variance += newest * step.square()
        variance *= 1 - newest
        self._seen += 1

    def score(self, fitter: Fitter) -> Tensor:
        return self._window[1].mean()

    def restart(self) -> None:
        super().restart()
        self._window.zero_()


def choose(problem: Problem, method: Method, said: str = "chosen by the user") -> Choice:
    """The rule that ``stop`` means for a problem, and why; `said` is the reason for one that ``stop`` names."""
    if method.stop != "auto":
        return Choice(method.stop, said)
    if method.rule:
        return Choice(*method.rule)
    noise = problem.noise
    if noise is None:
        return Choice("iterations", "the noise of the image is not known")
    shared = noise.correlation >= INDEPENDENT
    same = problem.image_shape == problem.observation.shape[1:]
    more = not same or problem.known < 1  # is sought than was measured
    weak = more and CLEAR <= noise.contrast < math.inf
    large = HELD_OUT * problem.known * problem.observation[0].size >= ENOUGH
    guess = bool(noise.warning) and not large
    if shared and not weak and not (more and guess):
        if refines_grid(problem.operator) and noise.correlation >= TEXTURED and noise.contrast >= CUT_UP:
            return Choice("iterations", f"what is like noise is correlated ({noise.correlation:.1f}): rather structure")
        return Choice(
            "discrepancy",
            f"the noise is correlated between neighbouring pixels ({noise.correlation:.1f}), which would give away "
            "that of pixels held out",
        )
    if noise.given and refines_grid(problem.operator) and not weak:
        return Choice("discrepancy", "the camera says the noise, and what a coarse grid cut up no neighbour foretells")
    if large and not shared:
        return Choice("held-out", "noise is independent from pixel to pixel")
    if guess:
        if noise_of_coarse(problem):
            alike = "the finest detail is alike everywhere, as noise is"
            return Choice("fitted", f"the noise is uncertain ({noise.warning}), but {alike}")
        # what a blur or a coarser grid took away still comes back where the residual is that small
        name = "fitted" if same else "iterations"
        return Choice(name, f"the noise is uncertain ({noise.warning}) and the image small")
    if weak:
        return Choice("fitted", "the noise is weak, so that much of it may be fine structure")
    return Choice("discrepancy", "the image is too small to hold pixels out")


def _ratio(fitter: Fitter) -> float:
    """The mean square of the residual over the variance of the noise, impulses left out. Waits for the GPU."""
    noise = fitter.problem.noise
    assert noise is not None
    # where a pixel is not known both images are zero, and so is the residual
    square = (fitter.observation - fitter.expected()).square().flatten()
    known = fitter.problem.known * len(square)
    impulses = round(noise.impulses * known)
    error = square.sum() - square.topk(impulses).values.sum()
    return float(error) / (known - impulses) / max(noise.sigma**2, 1e-12)


def draw_held_out(known: npt.NDArray[np.bool_], block: int, seed: int) -> npt.NDArray[np.bool_]:
    """Pixels (*S) to hold out: blocks that begin at random known pixels and cover about `HELD_OUT` of these."""
    rng = np.random.default_rng(seed)
    size = tuple(min(block, max(1, n // 4)) for n in known.shape)
    places = np.argwhere(known)
    corners = rng.permutation(places)[: max(1, round(HELD_OUT * len(places) / math.prod(size)))]
    held = np.zeros(known.shape, bool)
    for offset in np.ndindex(size):
        held[tuple(np.minimum(corners + offset, np.array(known.shape) - 1).T)] = True
    return held
