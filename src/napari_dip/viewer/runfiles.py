"""OME-Zarr files that runs are written to block by block: their names, and what is there already."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_dip.again import as_name
from napari_dip.tables.tasks import TASKS
from napari_dip.viewer.layers import Selection
from napari_dip.viewer.opening import file_of
from napari_dip.viewer.preferences import zarr_folder

if TYPE_CHECKING:
    from napari_dip.run.blocks.ledger import Ledger


def default_target(layer: Any, selection: Selection, task: str) -> Path:
    """A name for the result of a layer: beside its file if it has one, else in the folder that the preferences name.

    That of a run which can go on, otherwise one that is not taken; empty where there is no such folder.
    """
    index = [str(each.start) for each in selection.part if each.stop - each.start == 1]
    whole = selection.shape == tuple(selection.data.shape[: len(selection.shape)])
    words = [layer.name, *([] if whole else index), *(["volume"] if selection.space == 3 else []), TASKS[task].done]
    name = as_name(" ".join(words))
    folder = _folder_of(layer, selection) or zarr_folder()
    if folder is None:
        return Path()
    names = (f"{name}{number}.ome.zarr" for number in itertools.chain([""], (f" {i}" for i in itertools.count(2))))
    return next(path for path in (folder / each for each in names) if _may_be_written(path))


def run_in(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The OME-Zarr of a run that a folder is, or lies in, and the record of that run.

    Raises
    ------
    ValueError
        If there is none.
    """
    for path in (folder, *folder.parents):
        found = ledger_of(path).record()
        if found is not None:
            return path, found
    raise ValueError(
        f"'{folder}' holds no unfinished or finished run; choose the OME-Zarr of a run, or write to a new file."
    )


def what_is_there(target: Path) -> str:
    """Start of a sentence, to be ended by the name of the target, on a run that it holds; empty if it holds none.

    Raises
    ------
    ValueError
        If something is there that is no run of ours, or there is no such folder.
    """
    if target == Path():
        raise ValueError(
            "Name a file under 'Write to': the image is large, and not from a file beside which the result could lie. "
            "File > Preferences > napari-dip has a folder for such results."
        )
    if target.exists():
        found = ledger_of(target).record()
        if found is None:
            raise ValueError(
                f"'{target}' exists, but not from a run of this plugin: name another file under 'Write to'."
            )
        return "It was finished before, in" if found["finished"] else "It goes on with the run in"
    if not target.parent.is_dir():
        raise ValueError(f"'{target.parent}' is not a folder: name another file under 'Write to'.")
    return ""


def ledger_of(path: Path, run: str | None = None) -> Ledger:
    """The ledger of a run in an OME-Zarr: of one by its name, else of the one that is there."""
    from napari_dip.run.blocks.ledger import Ledger  # imports zarr, which the first dock would wait for

    return Ledger(path, run)


def _may_be_written(target: Path) -> bool:
    """True if nothing is there, or a run that is not finished."""
    found = ledger_of(target).record() if target.exists() else None
    return not target.exists() if found is None else not found["finished"]


def _folder_of(layer: Any, selection: Selection) -> Path | None:
    """The folder that the file of a layer is in, if one may write there."""
    store = getattr(selection.data, "store_path", None)
    path = file_of(layer) or ("" if store is None else str(store).removeprefix("file://"))
    if not path or "://" in path:
        return None
    path = Path(path)
    zarrs = [each for each in (*path.parents[::-1], path) if each.suffix == ".zarr"]
    folder = (zarrs[0] if zarrs else path).parent
    return folder if folder.is_dir() and os.access(folder, os.W_OK) else None
