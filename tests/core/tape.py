"""A CUDA graph without a GPU: it keeps every kernel with the memory and the numbers it was given, and repeats them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


class Tape(TorchDispatchMode):
    """Records the kernels that run while it is entered. What they change is undone: recording makes no step.

    Numbers of Python are repeated as they were, tensors are read where they are, and a read back to the host fails:
    as in a CUDA graph.
    """

    def __init__(self, random: torch.Generator) -> None:
        super().__init__()
        self.random = random
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.own: set[int] = set()  # where the memory of the recording lies
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __enter__(self) -> Any:
        self.random_before = self.random.get_state()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.random.set_state(self.random_before)
        with torch.no_grad():
            for memory, before in self.before.values():
                memory.copy_(before)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                for tensor in tree_flatten(value)[0]:
                    self._keep(tensor)
        made = func(*args, **kwargs)
        for tensor in _new(func, made):
            self.own.add(_place(tensor))
        self.calls.append((func, args, kwargs, made))
        return made

    def replay(self) -> None:
        with torch.no_grad():
            for func, args, kwargs, made in self.calls:
                for old, new in zip(_new(func, made), _new(func, func(*args, **kwargs)), strict=True):
                    old.copy_(new)

    def _keep(self, tensor: Any) -> None:
        if isinstance(tensor, Tensor) and _place(tensor) not in self.own | self.before.keys():
            memory = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())  # type: ignore[call-overload]
            self.before[_place(tensor)] = (memory, memory.clone())


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _new(func: Any, made: Any) -> list[Tensor]:
    """What a kernel made anew: neither a view of its arguments nor one of them."""
    results = made if isinstance(made, (tuple, list)) and len(func._schema.returns) > 1 else (made,)
    fresh = [result for result, entry in zip(results, func._schema.returns, strict=False) if entry.alias_info is None]
    return [tensor for tensor in tree_flatten(fresh)[0] if isinstance(tensor, Tensor) and tensor.numel()]


class Taping:
    """A `napari_dip.core.graph.Recorder` for the CPU."""

    def __init__(self, device: str, random: torch.Generator) -> None:
        self.random = random
        self.recorded = self.replayed = self.forgotten = 0

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        with Tape(self.random) as tape:
            step()
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            tape.replay()

        return replay

    def forget(self) -> None:
        self.forgotten += 1


class Refusing(Taping):
    """One whose recordings all fail."""

    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("on purpose\nand a long story")
