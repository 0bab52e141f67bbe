"""Words about a run that is over: the sentence in view, and the account of what happened below it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_dip.tables.settings import knobs
from napari_dip.tables.tasks import removes_noise

if TYPE_CHECKING:
    from napari_dip import Progress, Result
    from napari_dip.core.reason import Choice
    from napari_dip.run.blocks.restore import BlockProgress, Restored

_SHARE = {"sample": (0.0, 0.0), "measure": (0.0, 0.02), "fit": (0.02, 0.95)}  # of a run over blocks, about
GO_ON = "Go on"
_LINE = 30  # letters in a line of one after "Apply to"
_NAME = 22  # letters of a name that a button in a narrow dock has room for
_DOING = {
    "sample": "looking at samples",
    "measure": "finding the range of intensities",
    "fit": "restoring",
    "blend": "blending",
}


def headline(name: str, result: Result, named: Callable[[str], str] = str) -> str:
    """Headline of a run for the layer called `name`: its duration, its reason to end, its verdict.

    `named` puts names of slices into the latter.
    """
    verdict = "" if result.verdict is None else f" {ended(result.verdict.sentence)}"
    return f"'{name}' ({duration(result.seconds)}): {named(ended(result.stop_reason) + verdict)}"


def details(result: Result) -> list[tuple[str, str]]:
    """Choices of a run and their reasons, and its events: a heading and a sentence each."""
    told = [("Warning", ended(warning)) for warning in result.warnings]
    choices = {**result.choices, **({"Stopping rule": str(in_window(result.rule))} if result.choices else {})}
    told += [(heading, ended(sentence)) for heading, sentence in choices.items()]
    if result.noise is not None and removes_noise(result.record):
        told.append(("Noise", ended(str(result.noise))))
    marks = sorted(set(result.marks))
    if marks and has_other_last(result):
        which = f"that of iteration {marks[0]}" if len(marks) == 1 else f"of iterations {marks[0]} to {marks[-1]}"
        told.append(("Image", f"It is {which}; {result.iterations} were made in all."))
    told.append(("Computed on", ended(f"{device(result.device.name)}: {result.device.reason}")))
    told += [(event.kind.capitalize(), ended(event.message)) for event in result.history.events]
    return [(heading, sentence[0].upper() + sentence[1:]) for heading, sentence in told]


def in_window(rule: Choice) -> Choice:
    """A stopping rule by the words that the row of the form has for it."""
    return replace(rule, name=knobs()["stop"].words.get(rule.name, rule.name))


def details_of_blocks(restored: Restored) -> list[tuple[str, str]]:
    """The same of a run over blocks."""
    record = restored.record
    told = [("Warning", ended(record["absent_chunks"]))] if record.get("absent_chunks") else []
    if record.get("psf_background"):
        told.append(("Warning", ended(record["psf_background"])))
    if record.get("residuals_with_structure"):
        told.append(("Warning", restored.verdicts))
    if record.get("gave_up"):
        told.append(("Warning", f"The fit failed in some blocks, first because: {ended(record['gave_up'][0])}"))
    if "method_reason" in record:
        told.append(("Method", ended(f"{record['settings']['preset']}: {record['method_reason']}")))
        told.append(("Computed on", ended(f"{device(record['device']['name'])}: {record['device']['reason']}")))
    if record.get("tiles"):
        told.append(("Blocks", f"{' x '.join(map(str, record['tiles']['tile']))} pixels each, one scaling for all."))
    return [*told, ("File", f"{restored.path}.")]


def pace(progress: Progress | BlockProgress, slice_name: Callable[[int], str] | None = None) -> str:
    """Pace of a run: slice, by its number or its `slice_name`, iteration, rate and time left."""
    from napari_dip.run.blocks.restore import BlockProgress

    if isinstance(progress, BlockProgress):
        return _pace_of_blocks(progress)
    where = progress.where if slice_name is None else progress.where_in(slice_name(progress.slice))
    of = f"{where}, " if where else ""
    if progress.ready < 1:
        return f"{of}{_preparing(progress)}"
    return (
        f"{of}iteration {progress.iteration} of at most {progress.iterations}, "
        f"{progress.rate:.1f} a second, at most {duration(progress.seconds_left)} left"
    )


def moment(progress: Progress, each: bool = True) -> str:
    """The fit and the iteration of a progress: "run 2, iteration 29", or "run 2, iteration" of all; counted from 1."""
    fits = [("tile", progress.tile, progress.tiles), ("run", progress.run, progress.runs)]
    which = [f"{name} {index + 1}" for name, index, count in fits if count > 1]
    return ", ".join([*which, f"iteration {progress.iteration}" if each else "iteration"])


def _preparing(progress: Progress) -> str:
    return f"comparing similar patches, {progress.ready:.0%}"


def _pace_of_blocks(progress: BlockProgress) -> str:
    said = [_DOING.get(progress.step, "making the coarser levels")]
    if progress.count:
        said.append(f"{progress.done} of {progress.count} blocks done")
    if progress.block is not None and progress.block.ready < 1:
        said.append(_preparing(progress.block))
    elif progress.block is not None:
        said.append(f"iteration {progress.block.iteration} of at most {progress.block.iterations}")
    if progress.failed:
        said.append(f"{progress.failed} failed")
    if math.isfinite(progress.seconds_left):
        said.append(f"about {duration(progress.seconds_left)} left")
    text = ", ".join(said)
    return text[0].upper() + text[1:]


def share(progress: Progress | BlockProgress) -> float:
    """Share of a run that is done, 0 to 1."""
    from napari_dip.run.blocks.restore import BlockProgress

    if isinstance(progress, BlockProgress):
        begin, end = _SHARE.get(progress.step, (0.95, 1.0))
        return begin + (end - begin) * progress.fraction
    return progress.fraction


def go_on(name: str, more: str, long: bool = False) -> str:
    """Words on the button that goes on with the run of a layer, in two lines, or in one that may be `long`."""
    if not name:
        return GO_ON
    return f"{GO_ON} from '{name if long else short(name)}':{' ' if long else chr(10)}{more}"


def short(name: str) -> str:
    """Beginning and end of a name that a button has no room for."""
    return name if len(name) <= _NAME else f"{name[: _NAME // 2]}…{name[-_NAME // 2 + 1 :]}"


def all_of(name: str, slices: int) -> str:
    """Words on a button for all slices of a layer, in one line or two."""
    what, count = f"all of '{short(name)}'", f"({slices} slices)" if slices > 1 else ""
    return f"{what}{chr(10) if len(what) + len(count) > _LINE else ' '}{count}".rstrip()


def closed(running: str, waiting: int = 0) -> str:
    """Sentences on the end of a job, as its dock was closed, and of what waited there; empty if nothing did."""
    said = [f"{running}: stopped, as its dock was closed. What there is so far is kept."] if running else []
    if waiting:
        restorations = "One restoration that waited" if waiting == 1 else f"{waiting} restorations that waited"
        said.append(f"{restorations} will not begin{', as the dock was closed' if not running else ''}.")
    return " ".join(said)


def more(iterations: int, rate: float, fits: int) -> str:
    """Iterations to come of each of several fits, and their time at so many a second."""
    time = f", about {duration(iterations * fits / rate)}" if rate > 0 else ""
    return f"{iterations} more{time}"


def has_other_last(result: Result | Restored) -> bool:
    """True if a run went on after the image that it returns; not of similar patches alone, nor known of blocks."""
    if not (hasattr(result, "last") and result.iterations):
        return False
    return not np.array_equal(result.last, result.image, equal_nan=True)


def duration(seconds: float) -> str:
    """A time a user can read: 42 s, 3:05 min, 1:02 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} min"
    return f"{minutes // 60}:{minutes % 60:02d} h"


def device(name: str) -> str:
    """A device in words."""
    return "the processor" if name == "cpu" else name


def ended(sentence: str) -> str:
    """A sentence with its full stop."""
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
