"""Return to the last good state when the loss jumps or is not finite, and give up when that does not help."""

from __future__ import annotations

import math
from dataclasses import dataclass

from napari_dip.core.search import Search

EVERY = 10  # iterations between two looks: reading the loss waits for the GPU, a copy of the state costs memory traffic
JUMP = 10**0.5  # a rise of the mean square error by 5 dB
PATIENCE = 5  # returns in a row


@dataclass(frozen=True)
class Event:
    """Something worth telling that happened in a run: at which iteration, what, and a sentence."""

    iteration: int
    kind: str
    message: str


class Diverged(ArithmeticError):
    """The loss was never finite, so there is nothing to return."""


class Guard:
    """Watches one search.

    Each return starts a fresh optimiser with half the step length of the return before it, until a look finds the
    loss good again.
    """

    def __init__(self, search: Search) -> None:
        self.good = search.state()
        self.level = math.inf
        self.seen = len(search.losses)
        self.returns = 0

    def due(self, search: Search) -> bool:
        """Whether it is time to look."""
        return search.iteration % EVERY == 0

    def check(self, search: Search) -> Event | None:
        """Look at the loss since the last look: keep the state, or go back and say so.

        Raises
        ------
        Diverged
            If it gives up with no good iterate at all.
        """
        recent = search.losses[self.seen :]
        if not recent:
            return None
        self.seen += len(recent)
        level = sum(recent) / len(recent)
        if math.isfinite(level) and level <= JUMP * self.level:
            self.good, self.level, self.returns = search.state(), level, 0
            return None
        self.returns += 1
        what = (
            f"the loss rose to {level:.3g} from {self.level:.3g}" if math.isfinite(level) else "the loss was not finite"
        )
        search.restore(self.good)
        if self.returns < PATIENCE:
            slower = 0.5**self.returns
            search.restart_optimiser(slower)
            message = f"{what}: back to iteration {self.good.iteration}, step length times {slower:g}"
            return Event(search.iteration, "returned", message)
        message = (
            f"gave up after {search.iteration} iterations: {what}, {PATIENCE} times in a row; "
            f"lower learning_rate={search.settings.learning_rate:g}, or try another seed={search.settings.seed}"
        )
        if self.good.iteration == 0:
            raise Diverged(message)
        return Event(search.iteration, "gave up", message)
