"""Computing without numbers: code runs on tensors that have a shape but no memory, and what it would take is counted.

Every torch operation under `Ghosts` is given meta tensors, whatever device it names: they know their shapes, strides
and types, nothing is computed and nothing allocated. So the very code of a run says what the run will take.
"""

from __future__ import annotations

import bisect
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_aten = torch.ops.aten


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what the code in its block allocates, moves and computes; for real tensors as well as for ghosts.

    Attributes
    ----------
    live, peak : int
        Bytes of the tensors made in the block that are alive now, and at the most.
    moved : int
        Bytes that operations read and wrote.
    flops : int
        Of convolutions and matrix products.
    calls : int
        Operations.
    heap : Heap
        With the tensors, and what libraries take beside them meanwhile with so many `threads`.
    """

    def __init__(self, threads: int = 1) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._threads = threads
        self.live = self.peak = self.moved = self.flops = self.calls = 0
        self.heap = Heap()
        self._known: weakref.WeakKeyDictionary[Any, None] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.enter(func, args, func(*args, **(kwargs or {})))

    def enter(self, func: Any, args: Any, result: Any) -> Any:
        """Book an operation; returns its result."""
        made = list(_tensors(result))
        for tensor in made:
            self._book(tensor)
        if func.is_view or func.overloadpacket in _FREE:
            return result
        if beside := self._threads * _transposed(func, args):
            self.heap.give(self.heap.take(beside))
        self.calls += 1
        self.moved += sum(map(_size, (*_tensors(args), *made)))
        if func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, out_val=result)
        return result

    def _book(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self._known:
            return
        self._known[storage] = None
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._free, self.heap.take(size), size).atexit = False

    def _free(self, place: int, size: int) -> None:
        self.live -= size
        self.heap.give(place)


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _transposed(func: Any, args: Any) -> int:
    """Bytes that oneDNN takes for each thread while it finds the gradient of filters for images in bfloat16.

    It writes down what came in and what comes back with pixels in pairs, in blocks of 16 channels, image by image.
    """
    if func is not _aten.convolution_backward.default:
        return 0
    back, image, filters = args[:3]
    if image.dtype != torch.bfloat16 or filters.shape[2:].numel() == 1:
        return 0
    return sum(2 * -(-each.shape[1] // 16) * 16 * each.shape[2:].numel() for each in (back, image))


class Heap:
    """The heap of glibc, for aligned buffers that are never handed back to the system.

    A buffer takes the smallest gap that is large enough wherever the buffer begins in it, and leaves the rest; so what
    was freed between two others is too small for another one of its size, and the heap outgrows what it holds.

    Attributes
    ----------
    top : int
        Its largest extent in bytes.
    """

    def __init__(self) -> None:
        self.top = self._end = 0
        self._taken: dict[int, int] = {}  # place -> its end
        self._gaps: list[tuple[int, int]] = []  # size and place of each, the smallest first
        self._beginning: dict[int, int] = {}  # place of a gap -> its end
        self._ending: dict[int, int] = {}  # and the other way round

    def take(self, size: int) -> int:
        """Take so many bytes; returns their place."""
        size = -(-(size + 8) // 16) * 16
        at = bisect.bisect_left(self._gaps, (size + _ALIGNED + _LEAST, 0))
        if at < len(self._gaps):
            _, gap = self._gaps[at]
            end = self._beginning[gap]
            self._close(gap, end)
        else:
            gap = end = self._end
        place = -(-gap // _ALIGNED) * _ALIGNED
        if 0 < place - gap < _LEAST:
            place += _ALIGNED
        if place > gap:
            self._open(gap, place)
        if end > place + size:
            self._open(place + size, end)
        self._end = max(self._end, place + size)
        self.top = max(self.top, self._end)
        self._taken[place] = place + size
        return place

    def give(self, place: int) -> None:
        """Give back what was taken at a place."""
        end = self._taken.pop(place)
        if place in self._ending:
            place, before = self._ending[place], place
            self._close(place, before)
        if end in self._beginning:
            end, after = self._beginning[end], end
            self._close(after, end)
        if end == self._end:
            self._end = place
        else:
            self._open(place, end)

    def _open(self, place: int, end: int) -> None:
        bisect.insort(self._gaps, (end - place, place))
        self._beginning[place], self._ending[end] = end, place

    def _close(self, place: int, end: int) -> None:
        self._gaps.remove((end - place, place))
        del self._beginning[place], self._ending[end]


_ALIGNED, _LEAST = 64, 32  # bytes: of torch's buffers, and the smallest gap that glibc keeps
_FREE = (_aten.detach, _aten.alias, _aten.empty, _aten.empty_like, _aten.empty_strided)


class Ghosts:
    """While this is entered, torch computes with meta tensors in place of those of any device, and keeps `ledger`.

    What code reads back as a number is one.

    Parameters
    ----------
    truth : bool
        What every condition on values is.
    device : str
        Where tensors say that they are.
    threads : int
        That libraries would compute with.
    """

    def __init__(self, truth: bool = True, device: str = "cpu", threads: int = 1) -> None:
        self.ledger = Ledger(threads)
        self._modes = (_Meta(self.ledger), _Reads(truth, device))

    def __enter__(self) -> Ledger:
        for mode in self._modes:
            mode.__enter__()  # type: ignore[no-untyped-call]
        return self.ledger

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)  # type: ignore[no-untyped-call]


class _Meta(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sends operations to the meta device."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._ledger = ledger
        self._results: dict[Any, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace != "aten":  # the profiler, say
            return func(*args, **(kwargs or {}))
        if func is _aten._local_scalar_dense.default:
            return torch.ones((), dtype=args[0].dtype).item()
        args, kwargs = _ghosts(args), _ghosts(kwargs or {})
        if func._schema.name.endswith("_") and not func._schema.name.endswith("__"):  # in place
            return self._ledger.enter(func, args, args[0] if func._schema.returns else None)
        if any(argument.name == "device" for argument in func._schema.arguments):
            kwargs["device"] = torch.device("meta")
        if "generator" in kwargs:
            kwargs["generator"] = None
        return self._ledger.enter(func, args, self._result(func, args, kwargs))

    def _result(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What an operation gives. The meta kernels are slow, so each is asked once for the same shapes."""
        if any(value.alias_info for value in func._schema.returns):
            return func(*args, **kwargs)  # a view
        key = func, _outline(args), _outline(tuple(kwargs.items()))
        if key not in self._results:
            self._results[key] = _outline(func(*args, **kwargs))
        return _made(self._results[key])


@dataclass(frozen=True)
class _Outline:
    """What there is to know of a ghost."""

    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype


def _outline(value: Any) -> Any:
    """A tensor, or a tuple or list with tensors, by outlines."""
    if isinstance(value, Tensor):
        return _Outline(value.shape, value.stride(), value.dtype)
    return tuple(map(_outline, value)) if isinstance(value, (tuple, list)) else value


def _made(value: Any) -> Any:
    """The ghosts of outlines."""
    if isinstance(value, _Outline):
        return torch.empty_strided(value.shape, value.stride, dtype=value.dtype, device="meta")
    return tuple(map(_made, value)) if isinstance(value, tuple) else value


def _ghosts(value: Any) -> Any:
    """The same with ghosts in place of real tensors."""
    if isinstance(value, Tensor):
        return value if value.is_meta else value.to("meta")
    if isinstance(value, dict):
        return {name: _ghosts(item) for name, item in value.items()}
    return type(value)(map(_ghosts, value)) if type(value) in (tuple, list) else value


def _tensors(value: Any) -> Iterator[Tensor]:
    """Those in a tuple or list, or the tensor itself."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


class _Reads(TorchFunctionMode):
    """Answers what is asked of the values of tensors, and casts as autocast would: it passes over the meta device."""

    def __init__(self, truth: bool, device: str) -> None:
        super().__init__()
        self._truth, self._device = truth, torch.device(device)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func == Tensor.device.__get__:
            return self._device
        if func is Tensor.backward:  # what is computed again on the way back is to be seen too
            engine, first = torch.autograd.Variable._execution_engine, torch.ones_like(args[0])
            with self:  # the public ways to call the engine would step out of it
                return engine.run_backward((args[0],), (first,), False, False, (), True, accumulate_grad=True)
        if func is Tensor.__bool__:
            return self._truth
        if func is Tensor.tolist:
            return np.ones(args[0].shape).tolist()
        if func is Tensor.numpy:
            one = np.ones(1, str(args[0].dtype).removeprefix("torch."))
            return np.lib.stride_tricks.as_strided(one, args[0].shape, (0,) * args[0].ndim)
        if func in (Tensor.cpu, Tensor.cuda):
            return args[0]
        if func is Tensor.to:
            given = [*args[1:], *kwargs.values()]
            types = [v.dtype if isinstance(v, Tensor) else v for v in given if isinstance(v, (Tensor, torch.dtype))]
            kwargs = {name: kwargs[name] for name in ("copy", "memory_format") if name in kwargs}
            args = (args[0], *(types or [args[0].dtype]))
        if torch.is_autocast_enabled("cpu") and func in _LOWER:
            args = tuple(_cast(arg, torch.float32, torch.bfloat16) for arg in args)
        elif torch.is_autocast_enabled("cpu") and func in _FULL and (func is not F.pad or _mirrors(*args, **kwargs)):
            args = tuple(_cast(arg, torch.bfloat16, torch.float32) for arg in args)
        return func(*args, **kwargs)


#: What autocast computes in bfloat16.
_LOWER = {
    *(torch.conv1d, torch.conv2d, torch.conv3d),
    *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
    *(torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, torch.baddbmm, torch.addmm, torch.mm, F.linear),
}


#: What it computes in float32 on a CPU.
_FULL = {F.pad, F.avg_pool3d, F.max_pool3d}


def _mirrors(image: Tensor, pad: Any, mode: str = "constant", value: Any = None) -> bool:
    """Whether images are padded by reflection, or by their edges; volumes are padded as they are."""
    return mode != "constant" and image.ndim < 5


def _cast(value: Any, present: torch.dtype, wanted: torch.dtype) -> Any:
    return value.to(wanted) if isinstance(value, Tensor) and value.dtype == present else value
