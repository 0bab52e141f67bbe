"""A run at one moment: its state to go on from, its image, and its events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

Image = npt.NDArray[Any]
#: Kinds of events that a run goes on from, at the cost of time or digits.
SLOWER, SAVING = "no CUDA graph", "less memory"
#: The kind of the one by which the state of a fit is lost: its image is whole.
NO_STATE = "no state"
#: The kind of those that memory ran out in, and an image or a part of it was lost or made worse.
OUT_OF_MEMORY = "out of memory"
#: The kind of those that cost a slice, a tile or a run.
FAILED = "failed"
STATES_AT_MOST = 2**30  # bytes of states that a result keeps for going on


@dataclass(frozen=True)
class State:
    """State from which a run goes on exactly where it was: about four times the memory of its weights."""

    iteration: int
    weights: dict[str, Tensor]
    optimiser: dict[str, Any]
    random: Tensor
    average: dict[str, Any]
    losses: tuple[float, ...]
    rule: dict[str, Any] = field(default_factory=dict)
    warm: bool = False  # True if it began from the weights of a neighbour


@dataclass(frozen=True)
class Curve:
    """A quantity that a stopping rule looks at, by iteration.

    Attributes
    ----------
    quantity : str
        Its name, without a unit: all are ratios, or of the scaled intensities of the generator.
    iterations : int array (N,)
    values : float array (N,)
    bound : float or None
        The value at which the rule ends the run, if there is one.
    """

    quantity: str
    iterations: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    bound: float | None = None


def keepable(states: Iterable[State | None]) -> bool:
    """True if a result keeps so many states: all weights, and what the optimiser keeps for them."""
    size = sum(4 * w.numel() * w.element_size() for s in states if s is not None for w in s.weights.values())
    return size <= STATES_AT_MOST


def has_ended(state: State | None) -> bool:
    """True if the rule has ended the run that left this state."""
    return state is not None and bool(state.rule.get("state", {}).get("ended"))


@dataclass(frozen=True)
class Event:
    """Something worth telling that happened in a run: at which iteration, what, and a sentence."""

    iteration: int
    kind: str
    message: str


@dataclass(frozen=True)
class Mark:
    """An image (1, C, *image) of a run, its spread if that is kept, and the iteration that it is of."""

    iteration: int
    image: Tensor
    spread: Tensor | None


@dataclass(frozen=True)
class Outcome:
    """Images and state of a fit, on the host: the image that the rule marked, the last one, its spread, the state.

    `mark` is the iteration of `image`, `iteration` that of `last`. The state is None if there was no memory for it.
    """

    image: Image
    last: Image
    spread: Image | None
    mark: int
    iteration: int
    losses: tuple[float, ...]
    curves: tuple[Curve, ...]
    state: State | None


def copy_to(device: str) -> Callable[[Any], Any]:
    """A function that copies all tensors in nested dicts and lists to a device."""

    def copy(tree: Any) -> Any:
        if isinstance(tree, Tensor):
            return tree.detach().to(device, copy=True)
        if isinstance(tree, dict):
            return {key: copy(value) for key, value in tree.items()}
        return [copy(value) for value in tree] if isinstance(tree, (list, tuple)) else tree

    return copy


def on_host(image: Tensor) -> npt.NDArray[np.float32]:
    """An image (1, C, *S) as an array (C, *S) of its own."""
    return np.array(image[0].cpu().numpy())
