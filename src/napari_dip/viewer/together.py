"""Gain or loss of one generator for all slices, said before a run: how alike their edges are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from napari_dip.viewer.background import Sentence
from napari_dip.viewer.layers import Source

_MOST = 12  # slices that are compared, each with each


class TogetherSentence(Sentence):
    """A line of text, there where all slices are to be restored together."""

    def __init__(self) -> None:
        super().__init__("together")

    def look(self, key: Any, read: Callable[[], Source] | None) -> None:
        """Compare the slices that `read` reads, unless `key` is that of the last time; None for nothing to compare."""
        if key == self._key and read is not None:
            return
        self._key = key
        self._background.forget()
        self._say("" if read is None else "Together: slices are being compared...")
        if read is not None:
            self._background.ask(lambda: _compared(read()))

    def _on_answer(self, answer: str | Exception) -> None:
        self._say("" if isinstance(answer, Exception) else f"Together: {answer}.")  # Run says what stands in the way


def _compared(source: Source) -> str:
    from napari_dip.trust import sharing  # imports torch: seconds

    some = np.unique(np.linspace(0, len(source.image) - 1, _MOST).astype(int))
    return sharing(source.image[some], channel_axis=0)
