"""A GPU where there is none: tensors on the CPU that say they are on cuda:0, and complain as those on a GPU would.

What computes with tensors of two devices fails, what hands a tensor to numpy fails, a random generator of the wrong
device fails, and so does, in a step that is to be recorded, what waits for the GPU or copies between it and the host.
The numbers are those of the CPU.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from napari_dip.core import graph
from tests.core.tape import Taping

_aten = torch.ops.aten
_CPU = torch.device("cpu")
_HANDED_OVER = (Tensor.numpy, Tensor.__array__)
#: What gives as many values as there happen to be, so that the host has to wait and count.
_COUNTED = (_aten.nonzero, _aten.masked_select, _aten._unique2, _aten.unique_dim, _aten.unique_consecutive)


class Waits(RuntimeError):
    """The step waits for the GPU."""


class Devices:
    """Where tensors say that they are.

    Attributes
    ----------
    recording : bool
        Whether a step is under way that is to be recorded.
    """

    def __init__(self) -> None:
        self.recording = False
        self._of: weakref.WeakKeyDictionary[Any, torch.device] = weakref.WeakKeyDictionary()

    def of(self, tensor: Tensor) -> torch.device:
        return self._of.get(tensor.untyped_storage(), _CPU)

    def put(self, made: Any, device: torch.device) -> Any:
        for tensor in tensors(made):
            if device.type != "cpu":
                self._of[tensor.untyped_storage()] = device
        return made

    def refuse(self, what: str) -> None:
        if self.recording:
            raise Waits(f"operation not permitted when stream is capturing: {what}")


def tensors(value: Any) -> Iterator[Tensor]:
    """Those in lists, or the tensor itself."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from tensors(each)


class _Names(TorchFunctionMode):
    """Devices by name: asked for, moved to, given to what makes tensors."""

    def __init__(self, devices: Devices) -> None:
        super().__init__()
        self.devices = devices

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, devices = kwargs or {}, self.devices
        meta = str(kwargs.get("device")) == "meta"  # of an estimate
        if isinstance(func, torch._ops.OpOverload) or meta:  # from the tape
            return func(*args, **kwargs)
        if func == Tensor.device.__get__:
            return devices.of(args[0])
        if func == Tensor.is_cuda.__get__:
            return devices.of(args[0]).type == "cuda"
        if func in _HANDED_OVER and devices.of(args[0]) != _CPU:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        if func is Tensor.__deepcopy__ and devices.of(args[0]) != _CPU and not isinstance(args[0], torch.nn.Parameter):
            return args[0].detach().clone()
        if kwargs.get("generator") is not None:
            drawn = devices.of(args[0]) if args and isinstance(args[0], Tensor) else kwargs.get("device")
            if getattr(kwargs["generator"], "place", _CPU) != torch.device(drawn or "cpu"):
                raise RuntimeError(f"Expected a generator on {drawn}: {func}")
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._moved(func, *args, **kwargs)
        if kwargs.get("device") is not None and func is not torch.tensor:
            device = torch.device(kwargs["device"])
            return devices.put(func(*args, **{**kwargs, "device": _CPU}), device)
        if func is torch.tensor:
            device = torch.device(kwargs.pop("device", None) or "cpu")
            if device != _CPU:
                devices.refuse("torch.tensor from the host")
            return devices.put(func(*args, **kwargs), device)
        return func(*args, **kwargs)

    def _moved(self, func: Any, tensor: Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> Tensor:
        here = there = self.devices.of(tensor)
        rest: list[Any] = []
        for value in (*args, *(kwargs.pop(name) for name in ("device", "dtype", "other") if name in kwargs)):
            if isinstance(value, Tensor):
                there, value = self.devices.of(value), value.dtype
            if isinstance(value, (str, torch.device)):
                there = torch.device(value)
            elif isinstance(value, torch.dtype):
                rest.append(value)
        if func is not Tensor.to:
            there = _CPU if func is Tensor.cpu else torch.device("cuda:0")
        there = torch.device("cuda:0") if there == torch.device("cuda") else there
        if here == there:
            return torch.as_tensor(tensor.to(*(rest or [tensor.dtype]), copy=copy, **kwargs))
        self.devices.refuse(f"a copy from {here} to {there}")
        with torch.utils._python_dispatch._disable_current_modes():
            made = tensor.detach().to(*(rest or [tensor.dtype]), copy=True, **kwargs)
        assert not (tensor.requires_grad and torch.is_grad_enabled() and not tensor.is_leaf), "a copy with gradients"
        return torch.as_tensor(self.devices.put(made, there))


class _Kernels(TorchDispatchMode):
    """What is computed, and where."""

    def __init__(self, devices: Devices) -> None:
        super().__init__()
        self.devices = devices

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, devices = kwargs or {}, self.devices
        given = [*tensors(args), *tensors(tuple(kwargs.values()))]
        places = {devices.of(tensor) for tensor in given}
        gpus = places - {_CPU}
        name = func.overloadpacket
        if gpus:
            if name is _aten._local_scalar_dense or name in _COUNTED or self._by_mask(name, args):
                devices.refuse(str(func))
            if _CPU in places and name is _aten.copy_:
                if not (len(args) > 2 and args[2]):
                    devices.refuse("a copy between host and GPU")
                return func(*args, **kwargs)
            host = [tensor for tensor in given if devices.of(tensor) == _CPU]
            if len(gpus) > 1 or any(tensor.ndim for tensor in host):
                raise RuntimeError(
                    f"Expected all tensors to be on the same device: {func} has {sorted(map(str, places))}"
                )
        if gpus and kwargs.get("generator") is None and torch.Tag.nondeterministic_seeded in func.tags:
            raise RuntimeError(f"{func} draws from the random numbers of the user")
        made = func(*args, **kwargs)
        return devices.put(made, next(iter(gpus))) if gpus else made

    @staticmethod
    def _by_mask(name: Any, args: Any) -> bool:
        if name not in (_aten.index, _aten.index_put, _aten.index_put_):
            return False
        return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1])


class _Generator(torch.Generator):
    place: torch.device

    def __new__(cls, device: Any = "cpu") -> _Generator:
        made = super().__new__(cls, "cpu")
        made.place = torch.device(str(device))
        return made


class PretendedRecorder(Taping):
    """Steps are recorded on a tape; in them nothing may wait, neither when they are recorded nor before."""

    def __init__(self, devices: Devices, device: str, random: torch.Generator) -> None:
        super().__init__(device, random)
        self.devices = devices

    @contextmanager
    def _strictly(self) -> Iterator[None]:
        self.devices.recording = True
        try:
            yield
        finally:
            self.devices.recording = False

    def aside(self) -> AbstractContextManager[None]:
        return self._strictly()

    def record(self, step: graph.Step) -> graph.Step:
        with self._strictly():
            return super().record(step)


@contextmanager
def gpu(monkeypatch: pytest.MonkeyPatch, memory: int = 2**33) -> Iterator[list[PretendedRecorder]]:
    """While this is entered there is one GPU, ``cuda:0``; gives what records the steps of its runs."""
    recorders: list[PretendedRecorder] = []
    where = Devices()
    cast = torch.autocast

    def recorder_for(device: str, random: torch.Generator) -> PretendedRecorder | None:
        if device == "cpu":
            return None
        recorders.append(PretendedRecorder(where, device, random))
        return recorders[-1]

    def autocast(kind: str, *given: Any, **how: Any) -> Any:
        return cast("cpu", *given, **how)

    stand_ins = {
        "device_count": lambda: 1,
        "get_device_name": lambda which=0: "A pretended GPU",
        "is_bf16_supported": lambda including_emulation=True: True,
        "mem_get_info": lambda which=0: (memory, memory),
        "get_per_process_memory_fraction": lambda which=0: 1.0,
        "Stream": lambda which=0: SimpleNamespace(),
        "stream": lambda which: nullcontext(),
        "device": lambda which: nullcontext(),
        "current_stream": lambda which=0: SimpleNamespace(synchronize=lambda: None),
        **dict.fromkeys(("memory_reserved", "memory_allocated", "max_memory_allocated"), lambda which=0: 0),
        **dict.fromkeys(("empty_cache", "synchronize", "reset_peak_memory_stats"), lambda which=0: None),
    }
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(monkeypatch.context())
        for name, stand_in in stand_ins.items():
            patch.setattr(torch.cuda, name, stand_in)
        patch.setattr(torch, "Generator", _Generator)
        patch.setattr(torch, "autocast", autocast)
        patch.setattr(graph, "recorder_for", recorder_for)
        stack.enter_context(_Kernels(where))
        stack.enter_context(_Names(where))
        yield recorders
