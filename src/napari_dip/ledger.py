"""What a long run writes down in its target, so that it can be killed at any time and continued by any process.

An OME-Zarr group whose attributes hold the record of the run, and beside the image, while it is worked on, a group with
a marker for each piece that is done: written after the data, under another name first.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zarr
from filelock import FileLock, Timeout

KEY = "napari-dip"  # of the record in the attributes, and name of the group of what is only needed meanwhile
_MANY = 1000  # markers in a folder
_EVERY = 1.0  # seconds between two looks for a wish to stop
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)  # what file systems that lack them answer


class Ledger:
    """The target of a run.

    Parameters
    ----------
    path : path
        Of an OME-Zarr group, on a file system that all workers share.
    run : str, optional
        The name of the run, so that what is late of an earlier one never writes into that which replaced it; by default
        that of the run which is there.
    """

    def __init__(self, path: str | os.PathLike[str], run: str | None = None) -> None:
        self.path = Path(path)
        self.run = run

    @property
    def work(self) -> Path:
        """The folder of what is only needed meanwhile."""
        run = (self.record() or {}).get("run", "") if self.run is None else self.run
        return self.path / KEY / run

    @property
    def alive(self) -> bool:
        """Whether the run is under way, and neither finished nor replaced by another one."""
        return self.work.is_dir()

    def record(self) -> dict[str, Any] | None:
        """That of the run whose target it is; None if it is something else, or nothing."""
        try:
            attributes = zarr.open_group(self.path, mode="r").attrs
        except Exception:  # zarr raises anything for what is none
            return None
        found = attributes.get(KEY)
        return dict(found) if isinstance(found, dict) and "request" in found else None

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
        file = self.path.with_name(f".{self.path.name}.lock")
        lock = FileLock(file, timeout=0, thread_local=False)  # a run may be closed by another thread than began it
        try:
            lock.acquire()
        except Timeout:
            raise BlockingIOError(
                f"target={self.path} is being written by another run: wait for its end or stop it, or name another "
                f"target (the lock is {file})"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            warnings.warn(
                f"the file system of {self.path} has no locks ({error}): see to it that no other run writes there",
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
        new = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        shutil.rmtree(new, ignore_errors=True)
        try:
            make(new)
            if self.path.exists():
                raise FileExistsError(f"{self.path} appeared meanwhile; nothing is changed")
            os.rename(new, self.path)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _check_parent(self) -> None:
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"{self.path.parent} is not a folder; make it first")

    def remove(self) -> None:
        """Delete it, if it is a zarr array or group or an empty folder.

        Raises
        ------
        FileExistsError
            If it is something else, which is never deleted.
        """
        marks = ("zarr.json", ".zgroup", ".zarray")
        if not self.path.is_dir() or (any(self.path.iterdir()) and not any((self.path / m).exists() for m in marks)):
            raise FileExistsError(f"{self.path} is no zarr, and is not replaced; name another target")
        shutil.rmtree(self.path)

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

    def done(self, step: str) -> set[int]:
        """The pieces of a step that are done."""
        folders = [path for path in (self.work / step).glob("*") if path.is_dir()]
        return {int(path.name) for folder in folders for path in folder.iterdir() if not path.name.startswith(".")}

    def entries(self, step: str) -> Iterator[dict[str, Any]]:
        """What was written down of them."""
        for index in sorted(self.done(step)):
            yield json.loads(self._marker(step, index).read_text())

    def _marker(self, step: str, index: int) -> Path:
        return self.work / step / str(index // _MANY) / str(index)

    # -------------------------------------------------------------------------------------------------------- stopping

    def ask_to_stop(self) -> None:
        """Tell all workers, if there is anything to stop."""
        if self.alive:
            (self.work / ".stop").touch()

    def begin(self) -> None:
        """Forget that wish."""
        self.work.mkdir(parents=True, exist_ok=True)  # a copy may lack it, where it was empty
        (self.work / ".stop").unlink(missing_ok=True)

    def stopping(self) -> Callable[[], bool]:
        """Whether that was wished, looked up now and then."""
        seen, last = False, -_EVERY

        def ask() -> bool:
            nonlocal seen, last
            now = time.monotonic()
            if not seen and now - last >= _EVERY:
                seen, last = (self.work / ".stop").exists(), now
            return seen

        return ask
