"""Ledger of a long run, in its target, by which it can be killed at any time and continued by any process.

An OME-Zarr group whose attributes hold the record of the run, and beside the image, while it is worked on, a group with
a marker for each piece that is done: written after the data, under another name first. What replaces an image is made
beside it, and takes its place when it is whole. Long because all that a kill may interrupt is thought through here.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zarr
from filelock import FileLock, Timeout

from napari_dip.io.ngff import METADATA, RECORD, Node, image_metadata

MAPS = UNCERTAINTY, RESIDUAL = "uncertainty", "residual"  # groups within that of the restored image
KEY = RECORD  # also the name of the group of what is only needed meanwhile
_MANY = 1000  # markers in a folder
_EVERY = 1.0  # seconds between two looks for a wish to stop
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)  # what file systems that lack them answer
_RUN = re.compile(r"[0-9a-f]{32}")  # a name of a run, which becomes one of a folder
_OF_ZARR = {*METADATA, ".zattrs", ".zmetadata"}
_DROPPED = {"Thumbs.db", "desktop.ini", ".DS_Store", ".directory"}  # by file managers, anywhere
_PARTIAL = re.compile(r".*\.[0-9a-f]{32}\.partial")  # of zarr, before a chunk is whole
_CHUNK = re.compile(r"(c|(c\.)?\d+(\.\d+)*)(\.[0-9a-f]{32}\.partial)?")
_NUMBER, _TEXT, _DICT, _LIST, _NONE = (int, float), (str,), (dict,), (list,), (type(None),)
_WORDS = {float: "a number", str: "a text", dict: "an object", list: "a list", type(None): "null"}
_RECORD: dict[str, tuple[type, ...]] = {  # what a record must have to go on
    "request": _DICT,
    "run": _TEXT,
    "settings": _DICT,
    "tiles": _DICT,
    "software": _DICT,
    "level": _NUMBER,
    "noise": (*_DICT, *_NONE),
    "intensity_range": (*_LIST, *_NONE),
    "finished": (*_TEXT, *_NONE),
}
_REQUEST: dict[str, tuple[type, ...]] = {
    "task": _TEXT,
    "source": _DICT,
    "mask": (*_DICT, *_NONE),
    "camera": _DICT,
    "changes": _DICT,
    "settings": (*_DICT, *_NONE),
}


class Ledger:
    """The target of a run.

    Parameters
    ----------
    path : path
        Of an OME-Zarr group, on a file system that all workers share. A link stays, and what it names is written.
    run : str, optional
        The name of the run, so that what is late of an earlier one never writes into that which replaced it; by default
        that of the run which is there.
    beside : bool
        True for the target of a run that will replace what is at `path`.

    Attributes
    ----------
    target : Path
        Where the image will be.
    path : Path
        Where it is written: the same, or a hidden folder beside it.
    """

    def __init__(self, path: str | os.PathLike[str], run: str | None = None, *, beside: bool = False) -> None:
        self.target = Path(os.path.realpath(path) if os.path.islink(path) else path)
        self.path = self._hidden("new") if beside else self.target
        self.run = run

    def _hidden(self, what: str) -> Path:
        return self.target.with_name(f".{self.target.name}.napari-dip-{what}")

    @property
    def work(self) -> Path:
        """The folder of what is only needed meanwhile."""
        run = (self.record() or {}).get("run", "") if self.run is None else self.run
        return self.path / KEY / run

    @property
    def alive(self) -> bool:
        """True if the run is under way, and neither finished nor replaced by another one."""
        return self.work.is_dir()

    def record(self) -> dict[str, Any] | None:
        """Record of the run in the target; None if there is no run, or its record is damaged."""
        found = self._found()
        return None if found is None or _damage(found) is not None else dict(found.value)

    def damage(self) -> str:
        """The sentence on a record that is there, but cannot be gone on with; empty if that is not so."""
        found = self._found()
        error = None if found is None else _damage(found)
        return "" if error is None else str(error)

    def _found(self) -> Node | None:
        try:
            attributes = zarr.open_group(self.path, mode="r").attrs
        except Exception:  # zarr raises anything for what is none
            return None
        return Node(attributes[KEY], str(self.path), KEY) if KEY in attributes else None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """While this is entered nobody else writes the target: no other process, thread or machine.

        The lock is one of the operating system on a file beside the target, so that it ends with the process that holds
        it, however that ends.

        Raises
        ------
        BlockingIOError
            If another run writes it.
        """
        self._check_parent()
        file = self.target.with_name(f".{self.target.name}.lock")
        lock = FileLock(file, timeout=0, thread_local=False)  # a run may be closed by another thread than began it
        try:
            lock.acquire()
        except Timeout:
            raise BlockingIOError(
                f"target={self.target} is being written by another run: wait for its end or stop it, or name another "
                f"target (the lock is {file})"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            warnings.warn(
                f"the file system of {self.target} has no locks ({error}): see to it that no other run writes there",
                stacklevel=2,
            )
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows keeps what is open
                file.unlink()
            lock.release()

    def create(self, make: Callable[[Path], None]) -> None:
        """Let `make` fill a new folder, which then takes its place: at no time is it half there.

        Raises
        ------
        FileExistsError
            If something is there.
        """
        self._check_parent()
        new = self._hidden("making")
        _delete(new)
        try:
            make(new)
            if self.path.exists():
                raise FileExistsError(f"{self.path} appeared meanwhile; nothing is changed")
            os.rename(new, self.path)
        finally:
            _delete(new)

    def _check_parent(self) -> None:
        if not self.target.parent.is_dir():
            raise FileNotFoundError(f"{self.target.parent} is not a folder; make it first")

    def recover(self) -> None:
        """Sweep what a killed process left beside the target; under the lock, so that nobody else is at it."""
        _delete(self._hidden("making"))
        old = self._hidden("old")
        if old.exists() and not self.target.exists():  # killed between the two steps of `finish`
            os.rename(old, self.target)
        _delete(old)

    def check_replaceable(self) -> None:
        """Raise a `FileExistsError` if something would be lost that is no zarr array or OME-Zarr image."""
        target = self.target
        if not os.path.lexists(target):
            return
        if not target.is_dir() or (any(target.iterdir()) and not any((target / name).exists() for name in METADATA)):
            raise FileExistsError(f"{target} is no zarr, and is not replaced; name another target")
        foreign = next(_foreign(target), None)
        if foreign is not None:
            raise FileExistsError(
                f"{target} holds {foreign.relative_to(target)}, which is not of its image and would be lost: move that "
                "away, or name another target"
            )

    def discard(self) -> None:
        """Delete a run that was to replace the target, and never became whole."""
        if self.path != self.target:
            _delete(self.path)

    def finish(self) -> None:
        """Put a finished image where it belongs, without what was only needed meanwhile; what is there goes only then.

        Raises
        ------
        OSError
            If that cannot be; both images are kept.
        """
        shutil.rmtree(self.path / KEY, ignore_errors=True)
        if self.path == self.target:
            return
        old = self._hidden("old")
        try:
            self.check_replaceable()
            if self.target.exists():
                os.rename(self.target, old)
            os.rename(self.path, self.target)
        except OSError as error:
            if old.exists() and not self.target.exists():
                os.rename(old, self.target)
            raise OSError(f"{error}; the result is whole, in {self.path}") from error
        _delete(old)

    def amend(self, **entries: Any) -> None:
        """Change the attributes: one file, which zarr replaces as a whole."""
        zarr.open_group(self.path, mode="r+").attrs.update(entries)

    # ------------------------------------------------------------------------------------------------------ markers

    def mark(self, step: str, index: int, entry: dict[str, Any]) -> None:
        """Write down that a piece of a step is done."""
        path = self._marker(step, index)
        for folder in (path.parent.parent, path.parent):  # the one above is not made again once it is gone
            folder.mkdir(exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        part.write_text(json.dumps(entry))
        os.replace(part, path)

    def has(self, step: str, index: int) -> bool:
        """True if a piece of a step is done."""
        return self._marker(step, index).exists()

    def done(self, step: str) -> set[int]:
        """The pieces of a step that are done."""
        return {int(path.name) for path in self._markers(step)}

    def entries(self, step: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """Indices of the pieces of a step that are done, in order, and their entries."""
        for index in sorted(self.done(step)):
            yield index, json.loads(self._marker(step, index).read_text())

    def _markers(self, step: str) -> Iterator[Path]:
        """Marker files of a step, in folders: their names are numbers, unlike what file managers put beside them."""
        for folder in (self.work / step).glob("*"):
            if folder.name.isdecimal() and folder.is_dir():
                yield from (path for path in folder.iterdir() if path.name.isdecimal())

    def _marker(self, step: str, index: int) -> Path:
        return self.work / step / str(index // _MANY) / str(index)

    # -------------------------------------------------------------------------------------------------------- stopping

    def ask_to_stop(self) -> None:
        """Tell all workers, if there is anything to stop."""
        if self.alive:
            (self.work / ".stop").touch()

    def check_links(self) -> None:
        """Raise a `ValueError` if a folder of the target is a link, which might lead anywhere."""
        for folder in (*self.path.glob("*"), self.work, *self.work.glob("*"), *self.work.glob("*/*")):
            if folder.is_symlink():
                raise ValueError(f"{folder} is a link, and nothing is written through it; name another target")

    def begin(self) -> None:
        """Forget that wish, and what was not written to its end when a machine failed."""
        self.work.mkdir(parents=True, exist_ok=True)  # a copy may lack it, where it was empty
        (self.work / ".stop").unlink(missing_ok=True)
        for step in self.work.glob("*"):
            for path in self._markers(step.name):
                if not _whole(path):
                    path.unlink()
        for path in self.path.rglob("*.partial"):
            if _PARTIAL.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def stopping(self) -> Callable[[], bool]:
        """Function that returns True once a stop was asked for; it looks in the folder now and then."""
        seen, last = False, -_EVERY

        def ask() -> bool:
            nonlocal seen, last
            now = time.monotonic()
            if not seen and now - last >= _EVERY:
                seen, last = (self.work / ".stop").exists(), now
            return seen

        return ask


def _damage(record: Node) -> ValueError | None:
    """The error that names what a record lacks to be gone on with."""
    try:
        for node, fields in ((record, _RECORD), (record["request"], _REQUEST)):
            for name, kinds in fields.items():
                if not isinstance(node[name].value, kinds):
                    raise node[name].wrong(" or ".join(_WORDS[kind] for kind in kinds if kind in _WORDS))
        if not _RUN.fullmatch(record["run"].value):
            raise record["run"].wrong("32 letters and digits, as we write it")
    except ValueError as error:
        return error
    return None


def _whole(marker: Path) -> bool:
    try:
        return isinstance(json.loads(marker.read_bytes()), dict)
    except (OSError, ValueError, RecursionError):
        return False


def _delete(path: Path) -> None:
    """Delete a folder of ours, or a link in its place and not what that names."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _foreign(folder: Path) -> Iterator[Path]:
    """Entries of the folder of a zarr array or an OME-Zarr image that do not belong to it."""
    levels: list[str] = []
    with contextlib.suppress(Exception):  # where zarr or we cannot read it nothing is known of it
        opened = zarr.open(folder, mode="r")
        if isinstance(opened, zarr.Array):
            return _foreign_in(folder, [""])
        found = image_metadata(dict(opened.attrs), str(folder))
        for image in found["multiscales"].items("a list") if found else ():
            levels += [each["path"].text("a path") for each in image["datasets"].items("a list")]
        for name in MAPS:
            if (folder / name).is_dir() and KEY in (map_ := zarr.open_group(folder / name, mode="r")).attrs:
                levels += [f"{name}/{level}" for level in map_.array_keys()]
    return _foreign_in(folder, levels)


def _foreign_in(folder: Path, arrays: list[str], name: str = "") -> Iterator[Path]:
    """The same of a folder within it, by the paths of its arrays."""
    chunks = any(not each or f"{name}/".startswith(f"{each}/") for each in arrays)
    for entry in sorted(folder.iterdir()):
        inside, is_folder = f"{name}/{entry.name}".lstrip("/"), entry.is_dir() and not entry.is_symlink()
        if entry.name in _DROPPED or entry.name.startswith("._") or (is_folder and inside == KEY):
            continue
        known = entry.name in _OF_ZARR and not is_folder
        if chunks:
            known = known or _CHUNK.fullmatch(entry.name) is not None
        elif is_folder:
            known = any(f"{each}/".startswith(f"{inside}/") for each in arrays)
        if entry.is_symlink() or not known:
            yield entry
        elif is_folder:
            yield from _foreign_in(entry, arrays, inside)
