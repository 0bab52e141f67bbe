"""What a user is told of a run that is over: the sentence in view, and the account of what happened below it."""

from __future__ import annotations

import numpy as np

from napari_dip.core.solve import Result


def headline(name: str, result: Result) -> str:
    """Why a run ended and what its residual says, for the layer called `name`."""
    verdict = "" if result.verdict is None else f" {_ended(result.verdict.sentence)}"
    return f"'{name}' ({duration(result.seconds)}): {_ended(result.stop_reason)}{verdict}"


def details(result: Result) -> list[tuple[str, str]]:
    """What was chosen for a run and why, and what happened in it: a heading and a sentence each."""
    told = [("Warning", _ended(warning)) for warning in result.warnings]
    told += [(heading, _ended(sentence)) for heading, sentence in result.choices.items()]
    if result.noise is not None:
        told.append(("Noise", _ended(str(result.noise))))
    marks = sorted(set(result.marks))
    if marks and has_other_last(result):
        which = f"that of iteration {marks[0]}" if len(marks) == 1 else f"of iterations {marks[0]} to {marks[-1]}"
        told.append(("Image", f"It is {which}; {result.iterations} were made in all."))
    told.append(("Computed on", _ended(f"{result.device.name}, {result.device.reason}")))
    told += [(event.kind.capitalize(), _ended(event.message)) for event in result.history.events]
    return told


def has_other_last(result: Result) -> bool:
    """Whether a run went on after the image that it returns."""
    return not np.array_equal(result.last, result.image, equal_nan=True)


def duration(seconds: float) -> str:
    """A time a user can read: 42 s, 3:05 min, 1:02 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} min"
    return f"{minutes // 60}:{minutes % 60:02d} h"


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
