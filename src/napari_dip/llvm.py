"""Two LLVMs in one process: that of the window's OpenGL, and that of triton, which torch imports.

Mesa (virtual machines, remote desktops, AMD, software rendering) loads its libLLVM for all to see. The library of
triton, which comes with the CUDA and ROCm builds of torch, has an LLVM of another version inside. Loaded after a window
was opened, it calls Mesa's functions instead of its own, and the process ends with a segmentation fault: as soon as
torch makes an optimiser, in napari and in any other window.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder

_LIBRARY = "triton._C.libtriton"


class _Apart:
    """Opens the library of triton so that it calls its own functions first, just before it is imported by whomever.

    It does so only where an LLVM is visible already, and then the import would end the process. What it costs: the
    library also calls the C library's `malloc` rather than one that was preloaded (jemalloc, tcmalloc), and a sanitiser
    refuses it. Compiled kernels are the same. An import of triton with other flags of `sys.setdlopenflags` would do as
    well, but those hold for what other threads import at that moment, and triton would be imported for nothing where
    torch never asks for it.
    """

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        if name == _LIBRARY and (found := PathFinder.find_spec(name, path)) and found.origin:
            import ctypes

            if hasattr(ctypes.CDLL(None), "LLVMContextCreate"):
                with suppress(OSError):  # the import says why
                    ctypes.CDLL(found.origin, mode=os.RTLD_NOW | os.RTLD_DEEPBIND)
        return None  # what is open already is imported as it is


def keep_apart() -> None:
    """Let triton be imported beside another LLVM, from now on; only glibc can, and needs it."""
    if hasattr(os, "RTLD_DEEPBIND") and not any(isinstance(finder, _Apart) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Apart())
