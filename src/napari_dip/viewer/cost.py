"""What a run will take of memory and time, in a sentence, before it begins."""

from __future__ import annotations

from typing import Any

from napari_dip.core import device as devices
from napari_dip.core import memory
from napari_dip.core.cost import Cost, in_bytes, in_time
from napari_dip.forecast import estimate
from napari_dip.settings import Settings
from napari_dip.viewer.background import Background
from napari_dip.viewer.form import Text, tip
from napari_dip.viewer.layers import Selection

_DELAY = 400  # ms: while a number is typed nothing is estimated
_ABOUT = (
    "The memory is that of the largest moment, beyond what napari holds. The time is what it would take if no stopping "
    "rule ended the run sooner, and nothing else kept this machine busy: right within a factor of two."
)


class CostSentence(Text):
    """A line of text that says what a run will take, and keeps up with what is chosen."""

    def __init__(self) -> None:
        super().__init__("cost")
        self._key: Any = None
        self._background = Background(_DELAY)
        self._background.setParent(self)
        self._background.answered.connect(self._on_answer)
        self.setToolTip(tip(_ABOUT))
        self.setVisible(False)

    @property
    def waiting(self) -> bool:
        """Whether an estimate is under way."""
        return self._background.waiting

    def look(self, task: str, selection: Selection, settings: Settings, factor: Any) -> None:
        """Estimate what a run will take, unless that is what was asked for the last time."""
        voxel_size = selection.geometry.pixel_size(selection.space)
        key = (task, selection.shape, selection.rgb, selection.space, selection.together, settings, factor, voxel_size)
        if key == self._key:
            return
        self._key = key
        self._say("Takes ...")  # so that nothing moves when the figures come
        self._background.ask(lambda: forecast(*key))

    def forget(self) -> None:
        """There is nothing whose cost could be told."""
        self._key = None
        self._background.forget()
        self._say("")

    def _on_answer(self, answer: tuple[Cost, int, str] | Exception) -> None:
        if isinstance(answer, Exception):  # Run says what stands in the way
            self._say("")
        else:
            cost, free, device = answer
            short = f" Only {in_bytes(free)} are free on {device}." if cost.memory > free else ""
            self._say(f"Takes about {in_bytes(cost.memory)} and {in_time(cost.seconds)} at most.{short}")

    def _say(self, text: str) -> None:
        self.setText(text)
        self.setVisible(bool(text))


def forecast(
    task: str,
    shape: tuple[int, ...],
    rgb: bool,
    space: int,
    together: bool,
    settings: Settings,
    factor: Any,
    voxel_size: tuple[float, ...],
) -> tuple[Cost, int, str]:
    """The cost of a run on a layer, what is free, and where."""
    channel_axis = len(shape) if rgb else 0 if together else None
    device = devices.choose(settings.device).name
    cost = estimate(
        (*shape, 3) if rgb else shape,
        settings,
        task=task,
        factor=factor,
        channel_axis=channel_axis,
        leading_axes=len(shape) - space - together,
        voxel_size=voxel_size,
    )
    return cost, memory.free(device), device
