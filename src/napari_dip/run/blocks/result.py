"""Progress of a run over blocks, and its result: an OME-Zarr, which is not read."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zarr

from napari_dip.core.reason import End, Reason
from napari_dip.core.result import Progress
from napari_dip.core.telling import counted
from napari_dip.io.arrays import Place, Unreadable
from napari_dip.run.blocks.blocks import Blocks
from napari_dip.run.blocks.ledger import RESIDUAL, UNCERTAINTY, Ledger
from napari_dip.run.blocks.order import Order
from napari_dip.run.blocks.outputs import IMAGE
from napari_dip.tables.settings import off
from napari_dip.tables.tasks import TASKS

_TOLD = 10  # failures, in a sentence
_PATIENCE = 3  # blocks that fail before any is done, after which no other is tried


@dataclass(frozen=True, kw_only=True)
class BlockProgress:
    """Progress of a run over blocks.

    Attributes
    ----------
    step : str
        "sample", "measure", "fit", "blend", or "level 1" and so on (of the pyramid).
    done, count : int
        Pieces of this step that are done, and all of them.
    failed : int
        Pieces that could not be done; a later call tries them again.
    seconds_left : float
        Time left for this step, if all goes on as it has.
    block : Progress or None
        Progress of the block at hand, if it is computed here: its image is that block.
    place : tuple of slice or None
        Where that block lies in the source.
    """

    step: str
    done: int
    count: int
    failed: int = 0
    seconds_left: float = float("inf")
    block: Progress | None = None
    place: Place | None = None

    @property
    def fraction(self) -> float:
        """Share of this step that is done, 0 to 1."""
        return (self.done + self.failed + (self.block.fraction if self.block else 0)) / max(1, self.count)


class Step:
    """Pieces of a step: those that are done, those that failed, and the time left for the rest."""

    def __init__(self, name: str, count: int, done: int = 0) -> None:
        self.done, self.failed = done, 0
        self._name, self._count, self._before = name, count, done
        self._damaged = 0
        self._first: BaseException | None = None
        self._began = time.perf_counter()

    def progress(self, **block: Any) -> BlockProgress:
        tried = self.done - self._before + self.failed
        left = self._count - self.done - self.failed
        seconds = (time.perf_counter() - self._began) / tried * left if tried else float("inf")
        return BlockProgress(
            step=self._name, done=self.done, count=self._count, failed=self.failed, seconds_left=seconds, **block
        )

    def settle(self, error: BaseException | None) -> None:
        """Count a piece that is done, or failed."""
        self.done += error is None
        self.failed += error is not None
        if isinstance(error, Unreadable):
            self._damaged += 1
        elif self._first is None:
            self._first = error
        self.check(_PATIENCE)

    def check(self, most: int) -> None:
        """Raise the first error if nothing was done and so many failed: the others would fail like them."""
        if self._first is not None and self.done == self._before and self.failed - self._damaged >= most:
            raise self._first


@dataclass(frozen=True, kw_only=True)
class Restored:
    """Result of a run over blocks.

    Attributes
    ----------
    path : Path
        Path of the OME-Zarr image.
    end : End
        Why it ended: a `reason`, which is a member of an enum, and its sentence, which is `stop_reason` too.
    record : dict
        Provenance, as in the attributes of the image.
    order : Order or None
        What was asked for, without its pixels.
    blocks : Blocks or None
        How its blocks are restored, and into what; None if it was stopped before that was known.
    """

    path: Path
    end: End
    record: dict[str, Any]
    order: Order | None = field(default=None, repr=False)
    blocks: Blocks | None = field(default=None, repr=False)

    @property
    def complete(self) -> bool:
        """True if all blocks are in it. If not, the same call goes on."""
        return self.end.reason.complete

    @property
    def stop_reason(self) -> str:
        """The sentence that says why it ended."""
        return str(self.end)

    @property
    def seconds(self) -> float:
        """Time of all fits, one after the other, so far as it is known."""
        return float(self.record.get("seconds", 0.0))

    @property
    def stopped(self) -> bool:
        """True if the user ended it."""
        return self.end.reason is Reason.STOPPED

    @property
    def verdicts(self) -> str:
        """The verdicts on the residuals of all blocks in a sentence; empty where none was judged."""
        record = self.record
        judged = record.get("residuals_judged", record.get("blocks", 0) - record.get("empty", 0))  # old ones lack it
        if not judged:
            return ""
        kept = TASKS[record["task"]].fills_holes and record["settings"]["keep_known"]
        what = "The fits that fill the holes lack structure" if kept else "Structure of the sample was removed"
        return f"{what} in {record['residuals_with_structure']} of {counted(judged, 'block')}."

    @property
    def array(self) -> Any:
        """The finest level, not read: a zarr array."""
        return self._finest(IMAGE)

    @property
    def uncertainty(self) -> Any:
        """The standard deviation at each pixel, not read, where the settings ask for it; else None."""
        return self._finest(UNCERTAINTY)

    @property
    def residual(self) -> Any:
        """Measurement minus what the instrument sees of the result, not read, if it was asked for; else None."""
        return self._finest(RESIDUAL)

    def _finest(self, name: str) -> Any:
        path = self.path / name / "0"
        return zarr.open_array(path, mode="r") if path.is_dir() or not name else None


def left(failures: list[str]) -> str:
    """The rest of a sentence on a run that is not complete: what failed, and the remedy."""
    told = "; ".join(failures[:_TOLD]) + (f"; and {len(failures) - _TOLD} more" if len(failures) > _TOLD else "")
    return (f"; failed in {len(failures)}: {told}" if failures else "") + "; the same call goes on"


def found(finished: dict[str, Any]) -> str:
    """The rest of a sentence on a run that is complete: pixels that are no measurement."""
    said = ""
    if finished["empty"]:
        said += f"; {finished['empty']} of them have no known pixel and stay empty"
    if finished["padding_pixels"]:
        said += f"; padding or dead lines in them came back as they are ({off('skip_padding')} restores them)"
    if finished["bad_pixels"]:
        said += "; pixels in them that are hot or dead beyond doubt were restored "
        said += f"({off('skip_bad_pixels')} leaves them)"
    return said


def account(ledger: Ledger) -> dict[str, Any]:
    """Totals over the fits of all blocks."""
    total: dict[str, Any] = {
        "blocks": 0,
        "empty": 0,
        "iterations": 0,
        "seconds": 0.0,
        "padding_pixels": 0,
        "bad_pixels": 0,
        "residuals_judged": 0,
        "residuals_with_structure": 0,
    }
    gave_up, first_fit = list[str](), None
    for index, entry in ledger.entries("fit"):
        if first_fit is None and entry.get("iterations"):
            first_fit = index
        total["blocks"] += 1
        total["empty"] += entry.get("empty", False)
        total["iterations"] += entry.get("iterations", 0)
        total["seconds"] = round(total["seconds"] + entry.get("seconds", 0), 3)
        total["padding_pixels"] += entry.get("padding_pixels", 0)
        total["bad_pixels"] += entry.get("bad_pixels", 0)
        total["residuals_judged"] += entry.get("verdict") is not None
        total["residuals_with_structure"] += entry.get("verdict") is False
        if not entry.get("complete", True) and len(gave_up) < 10:
            gave_up.append(entry["stop_reason"])
    return {**total, "gave_up": gave_up, "first_fit": first_fit}
