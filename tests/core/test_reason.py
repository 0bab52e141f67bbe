"""Why a run ended is data: a reason, and a sentence that nobody reads back."""

from __future__ import annotations

import re
from pathlib import Path

import napari_dip
from napari_dip.core.reason import Reason


def test_a_reason_tells_its_sentence() -> None:
    end = Reason.STOPPED.told(after=" after 3 of 20 iterations")
    assert str(end) == "stopped by the user after 3 of 20 iterations"
    assert str(Reason.FINISHED.told(iterations=1, remark="")) == "finished all 1 iteration"
    assert str(Reason.ALL_BLOCKS.told(blocks=1, seconds=2)) == "finished 1 block in 2 s"
    assert str(end.and_(", in tile 2 of 4")) == f"{end}, in tile 2 of 4"
    assert end.and_(", in tile 2 of 4").what == end.what
    assert not end.reason.complete
    assert Reason.NOTHING.complete


def test_no_sentence_is_read_back() -> None:
    read = re.compile(
        r"(reason|sentence|stop_reason)\.(startswith|endswith|partition|split|find)|\bin \w+\.stop_reason"
    )
    package = Path(napari_dip.__file__).parent
    lines = [line for path in package.rglob("*.py") for line in path.read_text().splitlines() if read.search(line)]
    assert [line.strip() for line in lines if "endswith((" not in line] == []  # which add a full stop
