"""All that computes, and torch with it: seconds to import, so a form opens without it and waits for it beside."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

_one = threading.Lock()  # two threads in the same imports may see modules that are not whole yet
_loaded = threading.Event()
_LOOK = 0.1  # seconds between two looks whether nobody waits any more


def load(given_up: Callable[[], bool] = lambda: False) -> None:
    """Import it, in whatever thread this is called, or wait until another one has.

    `given_up` says whether the wait for another thread is to end.

    Raises
    ------
    ImportError, OSError
        If torch cannot be imported.
    """
    while not _one.acquire(timeout=_LOOK):
        if given_up():
            return
    try:
        import_module("napari_dip.core")  # what is set before torch is loaded
        _open_libraries()
        for name in ("run.restore", "trust", "run.blocks.restore", "run.blocks.cost"):
            import_module(f"napari_dip.{name}")
    finally:
        _one.release()
    import_module("pyqtgraph")  # the plot's
    _loaded.set()


def loaded() -> bool:
    """True if it is there, so that using it keeps nobody waiting."""
    return _loaded.is_set()


def _open_libraries() -> None:
    """Open the libraries of torch as its import does, but without holding up other threads: that is most of a second.

    An import holds Python's lock meanwhile, and so does `ctypes.CDLL`; calling a C function does not.
    """
    torch = find_spec("torch")
    folder = Path(torch.origin).parent / "lib" if torch and torch.origin else Path()
    if not (folder / "libtorch_global_deps.so").exists():
        return  # another system than Linux, or a build of one's own
    dlopen = ctypes.CDLL(None).dlopen
    for name, kind in (("libtorch_global_deps.so", os.RTLD_GLOBAL), ("libtorch.so", os.RTLD_LOCAL)):
        dlopen(os.fsencode(folder / name), os.RTLD_NOW | kind)  # what cannot be opened the import will tell
