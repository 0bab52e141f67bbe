"""Return to the last good state when the loss jumps or is not finite, and give up when that does not help."""

from __future__ import annotations

import math

from napari_dip.core.methods.base import Fitter
from napari_dip.core.parts import parts_in
from napari_dip.core.state import Event, State
from napari_dip.core.telling import counted

EVERY = 10  # iterations between two looks: reading the loss waits for the GPU, a copy of the state costs memory traffic
JUMP = 10**0.5  # a rise of the mean square error by 5 dB
PATIENCE = 5  # returns in a row


class Diverged(ArithmeticError):
    """The loss was never finite, so there is nothing to return."""


class GaveUp(ArithmeticError):
    """Going back did not help, again and again; the last good state is there."""


class Guard:
    """Watches one fitter.

    Each return starts a fresh optimiser with half the step length of the return before it, until a look finds the
    loss good again.
    """

    def __init__(self) -> None:
        self.good: State | None = None
        self.level = math.inf
        self.seen = 0
        self.returns = 0

    def begin(self, fitter: Fitter) -> None:
        """Take the state of a fit as good."""
        self.good, self.seen = fitter.state(), len(fitter.losses)

    def forget(self) -> None:
        """Let go of the good state and its tensors."""
        self.good = None

    def due(self, fitter: Fitter) -> bool:
        """True every `EVERY` iterations, when it is time to look."""
        return fitter.iteration % EVERY == 0

    def rescue(self, fitter: Fitter) -> None:
        """Go back to the last good state if a loss since the last look was not finite."""
        if self.good is not None and not all(map(math.isfinite, fitter.losses[self.seen :])):
            fitter.restore(self.good)

    def check(self, fitter: Fitter, last: bool = False) -> Event | None:
        """Look at the loss since the last look: keep the state, or go back and say so.

        Parameters
        ----------
        last : bool
            True if no look will follow, so that this is the time to give up.

        Raises
        ------
        Diverged
            If it gives up with no good iterate at all.
        """
        recent = fitter.losses[self.seen :]
        if not recent or self.good is None:
            return None
        self.seen += len(recent)
        level = sum(recent) / len(recent)
        if math.isfinite(level) and level <= JUMP * self.level:
            self.level, self.returns = level, 0
            if not last:  # no look will follow that could go back to it
                self.good = fitter.state()
            return None
        self.returns += 1
        what = (
            f"the loss rose to {level:.3g} from {self.level:.3g}" if math.isfinite(level) else "the loss was not finite"
        )
        fitter.restore(self.good)
        if self.returns < PATIENCE and not (last and self.good.iteration == 0):
            slower = 0.5**self.returns
            fitter.restart_optimiser(slower)
            message = f"{what}: back to iteration {self.good.iteration}, step length times {slower:g}"
            return Event(fitter.iteration, "returned", message)
        message = (
            f"gave up after {counted(fitter.iteration, 'iteration')}: {what}, {self.returns} times in a row; "
            f"lower learning_rate={fitter.method.learning_rate:g}, or try another seed={fitter.method.seed}"
            f"{''.join(f', or mend {part}' for part in parts_in(vars(fitter).values()))}"
        )
        if self.good.iteration == 0:
            raise Diverged(message)
        return Event(fitter.iteration, "gave up", message)
