"""Parts of the user's own in a run: an error of theirs is told with their name, and what they promised on trial."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from napari_dip.core.memory import shortage
from napari_dip.tables.parts import OwnPart, said_of


class Own(nn.Module):
    """A generator, an operator, a fidelity or a regulariser of the user's own, called as it is.

    Parameters
    ----------
    what : str
        Argument that it was given as.
    name : OwnPart
    part : callable or torch.nn.Module
        That part, or a copy of it.

    Raises
    ------
    ValueError
        In a call that fails, or whose result has another shape than that of the first one.
    """

    def __init__(self, what: str, name: OwnPart, part: Any) -> None:
        super().__init__()
        self.what, self.name, self.part = what, name, part
        self._first: str | None = None

    def forward(self, *given: Tensor) -> Any:
        fails = f"{self} fails on an image {tuple(given[0].shape)}"
        made = called(self.part, *given, fails=fails, remedy="let it do the same in each call")
        found = shape_of(made)
        self._first = self._first or found
        if found != self._first:
            raise ValueError(f"{self} gives {self._first} at first, and then {found}; let it do the same in each call")
        return made

    def __str__(self) -> str:
        return f"{self.what}={self.name!r}"


def called(function: Callable[..., Any], *given: Any, fails: str, remedy: str) -> Any:
    """Outcome of a function of the user's; an error of its own, but for want of memory, is told with the remedy."""
    try:
        return function(*given)
    except Exception as error:
        if shortage(error):
            raise
        raise ValueError(f"{fails}: {said_of(error)}; {remedy}") from error


def shape_of(value: Any) -> str:
    """Shape of a tensor, or the type of what is none."""
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__module__}.{type(value).__name__}".replace("builtins.", "")


def parts_in(values: Iterable[Any]) -> list[str]:
    """Each part of the user's own in these modules, as it was given."""
    modules = (part for value in values if isinstance(value, nn.Module) for part in value.modules())
    return [str(part) for part in modules if isinstance(part, Own)]
