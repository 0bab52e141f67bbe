"""Reasons, as data: of choices, and of the end of a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from napari_dip.core.telling import counted


class Reason(Enum):
    """Why a run ended; the value is its sentence, which lacks what only the run knows."""

    FINISHED = "finished all {iterations}{remark}"
    RULE = "{rule}"
    RULE_BEFORE = "had been ended by its rule at iteration {iteration}"
    BEFORE = "had come to iteration {iteration}"
    NOTHING = "finished at once: there was nothing to fit"
    STOPPED = "stopped by the user{after}"
    OUT_OF_MEMORY = "memory ran out on {device} after {iterations} ({why}){also}"
    NO_MEMORY = "{error}"  # before the first iteration
    GAVE_UP = "{guard}"
    AFRESH = "the neighbour did not help: begun again afresh"
    ALL_BLOCKS = "finished {blocks} in {seconds:.0f} s"
    DONE_BEFORE = "was finished before"
    SOME_BLOCKS = "restored {done} of {blocks}"
    DISK_FULL = "{disk}"
    REPLACED = "its target was replaced, or finished, by another run"

    @property
    def complete(self) -> bool:
        """True for the end of a fit, or of a run, that came to it."""
        fits = Reason.FINISHED, Reason.RULE, Reason.RULE_BEFORE, Reason.NOTHING
        return self in (*fits, Reason.ALL_BLOCKS, Reason.DONE_BEFORE)

    def told(self, rest: str = "", **data: object) -> End:
        """The end for this reason, with what its sentence lacks, and what else there is to say."""
        counts = {name: counted(data[name], name[:-1]) for name in ("iterations", "blocks") if name in data}
        return End(self, self.value.format(**(data | counts)), rest)


@dataclass(frozen=True)
class End:
    """The reason why a run ended, its sentence, and what follows in it: the remedy, where it was, what failed."""

    reason: Reason
    what: str
    rest: str = ""

    def __str__(self) -> str:
        return self.what + self.rest

    def and_(self, more: str) -> End:
        """The same end, with more to say of it."""
        return replace(self, rest=self.rest + more)


@dataclass(frozen=True)
class Choice:
    """A choice, such as a rule by its name in the knob ``stop``, and the sentence that says why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}, because {self.reason}" if " " in self.reason else self.name
