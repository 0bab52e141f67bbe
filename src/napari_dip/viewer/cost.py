"""Forecast of the memory and time of a run, in a sentence, before it begins."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal

from napari_dip.viewer.background import Sentence
from napari_dip.viewer.job import Job
from napari_dip.viewer.restoration import Asked, Forecast
from napari_dip.viewer.rows import tip

if TYPE_CHECKING:
    from napari_dip import Noise
    from napari_dip.tables.settings import Settings

_NOTHING = Forecast("")
_PENDING = Forecast("Takes ...")  # so that nothing moves when the figures come
_EVERY = 20_000  # ms between two looks at what else the machine does, each of which takes a fifth of a second
_ABOUT = (
    "The memory is the most that the run takes at once, beyond what napari holds. The time is what it would take if no "
    "stopping rule ended the run sooner, and the computer stayed as busy as it is: right within a factor of two. "
    "During a run it is by the pace of that run. Of a run over blocks it is that of the fits, without reading "
    "and writing."
)


class CostSentence(Sentence):
    """A line of text that says what a run will take, and keeps up with what is chosen and what else the machine does.

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
        self._told, self._question = _NOTHING, None
        self._clock = QTimer(self)
        self._clock.setInterval(_EVERY)
        self._clock.timeout.connect(self.look_again)
        self._clock.start()
        self.setToolTip(tip(_ABOUT))

    @property
    def short(self) -> bool:
        return self._told.short

    def look(self, asked: Asked, settings: Settings, noise: Noise | None) -> None:
        """Estimate what a run will take, unless that is what was asked for the last time."""
        key = asked.decides_cost(settings, noise)
        if key != self._key:
            self._key, self._question = key, partial(asked.forecast, settings, noise)
            self._tell(_PENDING)
            self._background.ask(self._question)

    def look_again(self) -> None:
        """Estimate the same anew while it is in view and nothing runs, as the machine may be busier than it was."""
        if self._key is not None and self.isVisible() and not (self.waiting or Job.busy()):
            self._background.ask(self._question)

    def begin(self, forecast: Forecast) -> None:
        """Say what the run that begins takes, by its plan and as busy as the machine is now."""
        self.forget()
        self._tell(forecast)

    def follow(self, progress: Any) -> None:
        """Say what the run under way takes by its own pace, in place of what was expected."""
        left, done = progress.seconds_left, progress.fraction
        if hasattr(progress, "rate") and math.isfinite(left) and 0 < done < 1:  # blocks have a share of each step alone
            from napari_dip.plan.cost import in_time

            share = self._told.iterating or 1  # of a single iteration it is 0
            whole = left / (1 - done) / share
            said = f"Takes {in_time(whole)} at most, at the pace of this run."
            told = Forecast(said, seconds=whole, paced=True, iterating=share)
            if not told.like(self._told):
                self.begin(told)  # to be estimated anew afterwards

    def wait(self) -> None:
        """The figures depend on something that is still to be found."""
        self.begin(_PENDING)

    def forget(self) -> None:
        """There is nothing whose cost could be told now."""
        self._key = None
        self._background.forget()
        self._tell(_NOTHING)

    def _on_answer(self, answer: Forecast | Exception) -> None:
        told = _NOTHING if isinstance(answer, Exception) else answer  # Run says what stands in the way
        if not told.like(self._told):
            self._tell(told)
            self.told.emit()

    def _tell(self, told: Forecast) -> None:
        self._told = told
        self._say(told.sentence)
