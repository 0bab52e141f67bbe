"""Forecast of the memory and time of a run, in a sentence, before it begins."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal

from napari_dip.viewer.account import duration
from napari_dip.viewer.background import Sentence
from napari_dip.viewer.restoration import Asked, Forecast
from napari_dip.viewer.rows import tip

if TYPE_CHECKING:
    from napari_dip import Noise
    from napari_dip.tables.settings import Settings

_PENDING = "Takes ..."  # so that nothing moves when the figures come
_ABOUT = (
    "The memory is the most that the run takes at once, beyond what napari holds. The time is what it would take if no "
    "stopping rule ended the run sooner, and the computer stayed as busy as it is: right within a factor of two. "
    "During a run it is by the pace of that run. Of a run over blocks it is that of the fits, without reading "
    "and writing."
)


class CostSentence(Sentence):
    """A line of text that says what a run will take, and keeps up with what is chosen.

    Attributes
    ----------
    told : Signal
        It says something else.
    short : bool
        There is less memory than a run will take.
    """

    told = Signal()

    def __init__(self) -> None:
        super().__init__("cost")
        self.short = False
        self.setToolTip(tip(_ABOUT))

    def look(self, asked: Asked, settings: Settings, noise: Noise | None) -> None:
        """Estimate what a run will take, unless that is what was asked for the last time."""
        key = asked.decides_cost(settings, noise)
        if key != self._key:
            self._key = key
            self._say(_PENDING)
            self._background.ask(lambda: asked.forecast(settings, noise))

    def follow(self, progress: Any) -> None:
        """Say what the run under way takes by its own pace, in place of what was expected."""
        left, done = progress.seconds_left, progress.fraction
        if hasattr(progress, "rate") and math.isfinite(left) and 0 < done < 1:  # blocks have a share of each step alone
            # to be estimated anew, as the machine may be busier than it was
            self.forget(f"Takes {duration(left / (1 - done))} at most, at the pace of this run.")

    def wait(self) -> None:
        """The figures depend on something that is still to be found."""
        self.forget(_PENDING)

    def forget(self, said: str = "") -> None:
        """There is nothing whose cost could be told now; `said` stands there meanwhile."""
        self._key = None
        self._background.forget()
        self._say(said)

    def _on_answer(self, answer: Forecast | Exception) -> None:
        told = Forecast("") if isinstance(answer, Exception) else answer  # Run says what stands in the way
        self._say(told.sentence)
        self.short = told.short
        self.told.emit()

    def _say(self, text: str) -> None:
        self.short = False
        super()._say(text)
