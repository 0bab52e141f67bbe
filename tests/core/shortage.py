"""Memory that runs out at one allocation of a run, once or from there on: of torch, and of our calls of numpy.

The allocations are counted, so that a test can have each of them fail.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from napari_dip.core import cost

_VIEWS = ("view", "reshape", "alias", "detach", "t", "slice", "select", "expand", "permute", "_local_scalar_dense")


class Shortage:
    """Counts allocations, and has those from `first` on fail, once or (`lasting`) all of torch's."""

    def __init__(self, first: int | None = None, *, lasting: bool = False) -> None:
        self.first, self.lasting = first, lasting
        self.count = 0
        self.quiet = False  # during an estimate

    def take(self, error: Exception, *, host: bool = False) -> None:
        if self.quiet:
            return
        self.count += 1
        if self.first is None:
            return
        if self.count == self.first or (self.lasting and not host and self.count > self.first):
            raise error


class _Torch(TorchDispatchMode):
    def __init__(self, shortage: Shortage) -> None:
        super().__init__()
        self.shortage = shortage

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if func.namespace == "aten" and name not in _VIEWS and not name.endswith("_"):  # a view, or in place
            self.shortage.take(RuntimeError("could not create a primitive"))
        return func(*args, **(kwargs or {}))


class _Numpy(ModuleType):
    """numpy as one of our modules sees it."""

    def __init__(self, shortage: Shortage) -> None:
        super().__init__("numpy")
        self._shortage = shortage

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if isinstance(found, (type, np.ufunc)) or not callable(found) or name in ("errstate", "dtype", "isscalar"):
            return found

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._shortage.take(MemoryError(f"Unable to allocate 8. MiB for an array, in {name}"), host=True)
            return found(*args, **kwargs)

        return counted


@contextmanager
def shortage(first: int | None = None, *, lasting: bool = False) -> Iterator[Shortage]:
    """Meanwhile memory runs out at the allocation that is `first`; none where that is not given."""
    made = Shortage(first, lasting=lasting)
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("napari_dip.") and getattr(module, "np", None) is np:
                patch.setattr(module, "np", _Numpy(made))
        estimate = cost.estimate

        def quietly(*args: Any, **kwargs: Any) -> Any:
            made.quiet = True
            try:
                return estimate(*args, **kwargs)
            finally:
                made.quiet = False

        patch.setattr(cost, "estimate", quietly)
        with _Torch(made):
            yield made
    torch.set_num_threads(1)
