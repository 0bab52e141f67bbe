"""A moment of a run: its image in 16 bits, in memory or in a temporary file."""

from __future__ import annotations

import errno
import shutil
import tempfile
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari_dip import Progress

_CODES = 2**16 - 2  # steps from the lowest to the highest value; the code 0 is NaN

_SHARE = 0.5  # of the room that a disk has at first: the rest is for others


@dataclass(eq=False)
class Moment:
    """Image of a run at one iteration.

    Attributes
    ----------
    about : Progress
        All but its image and its log.
    codes : array or OnDisk
        The image, in at most 16 bits.
    low, high : float
        Values of the first and the last code, where it is not the image itself.
    kind : dtype
        Of the image.
    """

    about: Progress
    codes: np.ndarray | OnDisk
    low: float
    high: float
    kind: Any

    @classmethod
    def of(cls, progress: Progress) -> Moment:
        """Keep what a progress shows: as it is if that takes no more than 16 bits, else to 1/65534 of its range."""
        image, about = progress.image, replace(progress, image=np.empty(0), history=None)
        if image.dtype.itemsize <= 2:
            return cls(about, image.copy(), 0.0, 0.0, image.dtype)
        known = np.isfinite(image)
        low, high = (float(end(image[known])) if known.any() else 0.0 for end in (np.min, np.max))
        steps = (image - low) * (_CODES / (high - low) if high > low else 0.0)
        codes = np.where(known, np.rint(steps) + 1, 0).astype(np.uint16)
        return cls(about, codes, low, high, image.dtype)

    @property
    def on_disk(self) -> bool:
        """True if its image is in a file."""
        return isinstance(self.codes, OnDisk)

    @property
    def progress(self) -> Progress:
        """The progress with its image.

        Raises
        ------
        OSError
            If it lies on a disk that cannot be read.
        """
        codes = np.asarray(self.codes)
        if codes.dtype == self.kind:
            return replace(self.about, image=codes)
        exact = self.kind if self.kind.kind == "f" else np.dtype(np.float64)
        values = (codes.astype(exact) - 1) * ((self.high - self.low) / _CODES) + self.low
        image = np.where(codes > 0, values, np.nan) if self.kind.kind == "f" else np.rint(values)
        return replace(self.about, image=image.astype(self.kind))


class Overflow:
    """A temporary file of images, which goes with the last of them: it has no name where the system allows that.

    Parameters
    ----------
    folder : Path or None
        Where it lies; by default the temporary folder of the system.

    Raises
    ------
    OSError
        If no file can be written there.
    """

    def __init__(self, folder: Path | None = None) -> None:
        where = folder or tempfile.gettempdir()
        self._file = tempfile.TemporaryFile(buffering=0, dir=where)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._room = int(_SHARE * shutil.disk_usage(where).free)
        self._end = 0
        self._free: defaultdict[int, list[int]] = defaultdict(list)  # places of images that are gone, by their size
        self._lock = threading.Lock()  # of the place in the file

    def put(self, image: np.ndarray) -> OnDisk:
        """Write an image.

        Raises
        ------
        OSError
            If there is no room.
        """
        size, free = image.nbytes, self._free[image.nbytes]
        if not free and self._end + size > self._room:
            raise OSError(errno.ENOSPC, "half of the room on disk is used")
        place = free.pop() if free else self._end
        self._through(self._file.write, np.ascontiguousarray(image), place)
        self._end = max(self._end, place + size)
        return OnDisk(self, place, image)

    def read(self, place: int, image: np.ndarray) -> None:
        """Read an image from its place."""
        self._through(self._file.readinto, image, place)

    def free(self, place: int, size: int) -> None:
        """Let another image of this size take its place."""
        self._free[size].append(place)

    def _through(self, step: Callable[[Any], int], image: np.ndarray, place: int) -> None:
        """Write or read all bytes of an image, which the system may do in several steps."""
        left = memoryview(image.reshape(-1).view(np.uint8))
        with self._lock:
            self._file.seek(place)
            while left:
                done = step(left)
                if not done:
                    raise OSError(errno.EIO, "the file of images ends too soon")
                left = left[done:]


class OnDisk:
    """An image in a file, whose place is free when nobody knows it any more."""

    def __init__(self, file: Overflow, place: int, image: np.ndarray) -> None:
        self._file, self._place = file, place
        self.shape, self.dtype, self.nbytes = image.shape, image.dtype, image.nbytes

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The image, read anew."""
        image = np.empty(self.shape, self.dtype)
        self._file.read(self._place, image)
        return image if dtype is None else image.astype(dtype)

    def __del__(self) -> None:
        self._file.free(self._place, self.nbytes)
