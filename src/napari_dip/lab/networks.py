"""Networks that experiments look into, by name, with weights from a file: data alone, no program is loaded.

A name is ``textures``, the small network in the package; ``torchvision:NAME`` or ``timm:NAME`` where these libraries
are installed, with weights from a file; or ``FILE.py:NAME``, a module or a function without arguments that makes one,
for which the file is run: that is Python of your own. Weights are read from .npz without pickle, from .safetensors, or
from .pt and .pth by ``torch.load(..., weights_only=True)``. A file of an exported program (torch.export, TorchScript,
ONNX) is refused: what loads one may run what it says. ``FILE.py:NAME`` may be what the user's own file loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_dip.core.features import as_module, is_program
from napari_dip.lab.textures import texture_network
from napari_dip.lab.weights import from_npz
from napari_dip.tables.experiments import NETWORKS, check_network
from napari_dip.tables.parts import from_file, said_of

#: Mean and standard deviation of each colour, to which networks of photographs are used.
_PHOTOGRAPHS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_WEIGHTS = (".npz", ".safetensors", ".pt", ".pth")
_PROGRAMS = (
    f"a program may run what it says when it is loaded; give the weights alone ({', '.join(_WEIGHTS)}), with the name "
    "of the network; or FILE.py:NAME, a file of yours with NAME = torch.export.load(...), if you trust the program"
)


def load_network(name: str, weights: str | Path | None = None) -> nn.Module:
    """A network by name, with weights from a file that holds nothing else.

    Parameters
    ----------
    name : str
        ``textures``; ``torchvision:vgg16`` or ``timm:resnet18``, where the library is installed; or ``FILE.py:NAME``,
        a `torch.nn.Module`, what `torch.export.load` returned, or a function that makes one, for which the file is run.
    weights : str or path, optional
        An .npz, .safetensors, .pt or .pth file with an array for each of its weights. Without it ``textures`` and
        ``FILE.py:NAME`` have those that they come with.

    Returns
    -------
    torch.nn.Module
        Takes an image (N, 1, y, x) or (N, 3, y, x) from 0 to 1: one of a library gets three channels, normalised as
        photographs are.

    Raises
    ------
    TypeError, ValueError, ImportError, OSError
        If there is no such network, or the weights are not its own; the message says what to do.
    """
    if not isinstance(name, str):
        raise TypeError(f"network={name!r} must be a text: {NETWORKS}")
    check_network(name)
    kind, _, rest = name.partition(":")
    if name == "textures":
        network: nn.Module = texture_network().eval()
    elif kind in _LIBRARIES and rest:
        if weights is None:
            raise ValueError(f"network {name!r} needs its weights: give a file ({', '.join(_WEIGHTS)})")
        network = _of_library(kind, rest).eval()
    elif ".py:" in name:
        made = from_file(name)
        if not isinstance(made, nn.Module) and not is_program(made):
            made = _made(name, made)
        try:
            network = as_module(made)
        except TypeError as error:
            raise ValueError(f"network {name!r}: {error}") from error
    else:
        raise ValueError(f"network {name!r} is a file: {_PROGRAMS}")
    if weights is not None:
        _fill(network, Path(weights))
    if kind in _LIBRARIES:  # ahead of it, so that its layers keep the names that the library gives them
        network.register_forward_pre_hook(_as_photograph)
    return network


def _made(name: str, function: Callable[[], Any]) -> Any:
    """The module that a function of the user's makes; an error of its own is told with its name and the remedy."""
    try:
        return function()
    except Exception as error:
        raise ValueError(
            f"network {name!r} fails as it is called without arguments: {said_of(error)}; name a torch.nn.Module, or a "
            "function without arguments that makes one"
        ) from error


def _as_photograph(_: nn.Module, seen: tuple[Tensor]) -> Tensor:
    """An image from 0 to 1, of one channel or three, as networks of photographs take it."""
    mean, deviation = (torch.tensor(values).to(seen[0]).view(1, 3, 1, 1) for values in _PHOTOGRAPHS)
    return (seen[0].expand(-1, 3, -1, -1) - mean) / deviation


_LIBRARIES: dict[str, Callable[[str], nn.Module]] = {
    "torchvision": lambda name: import_module("torchvision.models").get_model(name, weights=None),
    "timm": lambda name: import_module("timm").create_model(name, pretrained=False),
}


def _of_library(library: str, name: str) -> nn.Module:
    try:
        return _LIBRARIES[library](name)
    except ImportError as error:
        raise ImportError(f"network '{library}:{name}' needs {library}: pip install {library} ({error})") from error
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{library} has no network {name!r}: {error}") from error


def _fill(network: nn.Module, file: Path) -> None:
    """Give a network the weights of a file, all of them and no others."""
    if not file.exists():
        raise ValueError(f"weights {file} are not there; check the name")
    saved = _read(file)
    if not isinstance(saved, dict) or not all(isinstance(each, Tensor) for each in saved.values()):
        raise ValueError(f"weights {file} must be a state_dict, a tensor for each name; save model.state_dict() alone")
    own = network.state_dict()
    missing, more = sorted(own.keys() - saved.keys()), sorted(saved.keys() - own.keys())
    other = [name for name in own.keys() & saved.keys() if own[name].shape != saved[name].shape]
    if missing or more or other:
        words = {"lacks": missing, "has besides": more, "has in another shape": sorted(other)}
        said = "; ".join(f"{verb} {', '.join(names[:3])}" for verb, names in words.items() if names)
        raise ValueError(f"weights {file} are not those of this network: the file {said}")
    network.load_state_dict(saved)


def _read(file: Path) -> Any:
    suffix = file.suffix.lower()
    if suffix == ".npz":
        return from_npz(file)
    if suffix == ".safetensors":
        return import_module("safetensors.torch").load_file(file)
    if suffix in (".pt", ".pth"):
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # pickle has many
            words = " ".join(str(error).split())[:200]
            raise ValueError(f"weights {file} hold more than weights, and are not loaded: {words}") from error
    raise ValueError(f"weights {file} must be one of {', '.join(_WEIGHTS)}: {_PROGRAMS}")
