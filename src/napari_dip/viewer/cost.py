"""Forecast of the memory and time of a run, in a sentence, before it begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dip.inputs import read_factor
from napari_dip.record import fingerprint
from napari_dip.viewer.background import Background
from napari_dip.viewer.form import Text, tip
from napari_dip.viewer.layers import Selection
from napari_dip.viewer.stream import Stream

if TYPE_CHECKING:
    from napari_dip.settings import Settings

_DELAY = 400  # ms: while a number is typed nothing is estimated
_PENDING = "Takes ..."  # so that nothing moves when the figures come
_ABOUT = (
    "The memory is that of the largest moment, beyond what napari holds. The time is what it would take if no stopping "
    "rule ended the run sooner, and nothing else kept this machine busy: right within a factor of two. Of a run over "
    "blocks it is that of the fits, without reading and writing."
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
        """True while an estimate is under way."""
        return self._background.waiting

    def look(self, task: str, selection: Selection, settings: Settings, factor: Any = None, psf: Any = None) -> None:
        """Estimate what a run will take, unless that is what was asked for the last time."""
        voxel_size = selection.geometry.pixel_size(selection.space)
        chosen = (
            task,
            selection.shape,
            selection.rgb,
            selection.space,
            selection.together,
            settings,
            voxel_size,
            factor,
        )
        self._ask((*chosen, _fingerprint(psf)), lambda: forecast(*chosen, psf))

    def look_at_blocks(self, stream: Stream, settings: Settings) -> None:
        """The same for a run over blocks."""
        shape, space = stream.source.shape, stream.source.space
        left = (stream.finished, stream.done)
        voxel_size = stream.source.geometry.pixel_size(space)
        key = (
            stream.task,
            shape,
            space,
            settings,
            stream.factor,
            voxel_size,
            _fingerprint(stream.said.get("psf")),
            left,
        )
        self._ask(key, lambda: forecast_of_blocks(stream, settings))

    def _ask(self, key: Any, question: Callable[[], str]) -> None:
        if key != self._key:
            self._key = key
            self._say(_PENDING)
            self._background.ask(question)

    def wait(self) -> None:
        """The figures depend on something that is still to be found."""
        self._key = None
        self._background.forget()
        self._say(_PENDING)

    def forget(self) -> None:
        """There is nothing whose cost could be told."""
        self._key = None
        self._background.forget()
        self._say("")

    def _on_answer(self, answer: str | Exception) -> None:
        self._say("" if isinstance(answer, Exception) else answer)  # Run says what stands in the way

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
    voxel_size: tuple[float, ...],
    factor: Any = None,
    psf: Any = None,
) -> str:
    """Memory and time of a run on a layer, in a sentence."""
    from napari_dip.cost import estimate, sentence  # imports torch: seconds

    cost = estimate(
        (*shape, 3) if rgb else shape,
        settings,
        task=task,
        factor=factor,
        channel_axis=len(shape) if rgb else 0 if together else None,
        leading_axes=len(shape) - space - together,
        psf=psf,
        voxel_size=voxel_size,
    )
    factors = None if factor is None else read_factor(factor, space)
    return sentence(cost, settings, factors)


def forecast_of_blocks(stream: Stream, settings: Settings) -> str:
    """Memory and time of a run over blocks, in a sentence; empty if all blocks are done."""
    from napari_dip.cost import sentence

    cost = stream.cost(settings)
    each = f" on each of {cost.workers} workers" if cost.workers > 1 else ""
    several = cost.blocks > 1
    left = f"the {cost.blocks} blocks that are left" if several else "the last block"
    what = left if stream.done else f"{cost.blocks} blocks" if several else "1 block"
    return sentence(cost, settings, stream.factor, each, f", for {what}") if cost.blocks else ""


def _fingerprint(psf: Any) -> str:
    return "" if psf is None else fingerprint(np.asarray(psf, np.float64))
