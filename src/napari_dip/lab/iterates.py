"""Parts that experiments share: the iterates of one fit, images between 0 and 1, tables and figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from napari_dip.core.telling import quietly
from napari_dip.run.restore import iterate
from napari_dip.tables.numbers import is_whole
from napari_dip.terminal import to_the_end as _to_the_end

Array = npt.NDArray[np.float64]
Made = TypeVar("Made")
POINTS = 50  # on each curve, at the most
#: Tasks that need nothing but an image and a mask, on the grid of the image.
TASKS = ("denoise", "inpaint", "deblock")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One moment of an experiment.

    Attributes
    ----------
    part : str
        Name of the fit that is under way.
    iteration : int
        Of that fit.
    values : dict of str to float
        What the experiment measures, by name; of an image that no fit has made, nothing.
    done : float
        Share of the whole experiment that is done, 0 to 1.
    image : array
        The iterate, in the units of the image.
    """

    part: str
    iteration: int
    values: dict[str, float]
    done: float
    image: Array = field(repr=False)

    @property
    def curves(self) -> dict[str, float]:
        """Its points by the name of their curve: of several values each is a curve, else each part is one."""
        return {self.part: next(iter(self.values.values()))} if len(self.values) == 1 else self.values


#: An experiment step by step: its table and its images are what it returns.
Steps = Generator[Step, None, Made]


class Outcome:
    """Base of what experiments return: rows of a table, and images by name where there are any."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    @property
    def stack(self) -> Array | None:
        """The images (N, *S) in their order; None where there are none."""
        images: dict[str, Array] = getattr(self, "images", {})
        return np.stack(list(images.values())) if images else None

    def table(self) -> str:
        """The rows as a table in Markdown, PSNR in dB."""
        return table(self.rows)


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """An image between 0 and 1, and the way back to its units."""

    values: Array
    low: float
    span: float

    def forward(self, image: npt.ArrayLike) -> Array:
        """Another image in the same units."""
        return np.asarray((np.asarray(image, np.float64) - self.low) / self.span)

    def back(self, image: Array) -> Array:
        return np.asarray(self.low + self.span * image)


def checked(image: npt.ArrayLike, otherwise: str) -> Array:
    """The values of an image that is fit for an experiment: (y, x), or `otherwise` and a remedy."""
    values = np.asarray(image)
    if values.dtype.kind not in "buif" or values.ndim not in (2, 3):
        raise TypeError(
            f"image of type {values.dtype} and shape {values.shape} must be of real numbers, (y, x) or {otherwise}"
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all() or np.ptp(values) == 0:
        raise ValueError("image must be finite, and not of one value: give a crop without missing pixels")
    return values


def scaled(image: npt.ArrayLike) -> Scaled:
    """An image of real numbers, finite, of more than one value."""
    values = checked(image, "(z, y, x); give one channel")
    low, span = float(values.min()), float(np.ptp(values))
    return Scaled(values=(values - low) / span, low=low, span=span)


def like(name: str, other: npt.ArrayLike | None, shape: tuple[int, ...]) -> npt.NDArray[Any] | None:
    """Another array of the shape of the image, or None."""
    if other is None:
        return None
    values = np.asarray(other)
    if values.shape != shape:
        raise ValueError(f"{name} has the shape {values.shape} and the image {shape}; give a {name} of that shape")
    if values.dtype.kind not in "buif" or not np.isfinite(values).all():
        raise ValueError(f"{name} must be of finite real numbers; give a crop where it is")
    return values


def every(iterations: int, points: int = POINTS) -> int:
    """Iterations between two points of a curve."""
    if not is_whole(iterations) or iterations < 1:
        raise ValueError(f"iterations={iterations!r} must be a whole number from 1 up")
    return max(1, math.ceil(iterations / points))


def iterates(
    task: str,
    values: Array,
    mask: npt.NDArray[np.bool_] | None,
    iterations: int,
    step: int,
    should_stop: Callable[[], bool],
    **knobs: Any,
) -> Generator[tuple[int, Any], None, Array | None]:
    """Every so many iterations of one fit, which goes to its end: the iteration and its image.

    With ``each_plane=True`` each plane of a stack has a fit of its own. Returns the image that the run makes of it all,
    with the steps of `refine`; None if it was stopped.
    """
    if knobs.pop("each_plane", False):
        masks = [None] * len(values) if mask is None else list(mask)
        fits = [
            iterates(
                task,
                plane,
                missing if missing is not None and missing.any() else None,
                iterations,
                step,
                should_stop,
                **knobs,
            )
            for plane, missing in zip(values, masks, strict=True)
        ]
        for moments in zip(*fits, strict=False):  # stopped, one may be a step ahead
            yield moments[0][0], np.stack([made for _, made in moments])
        return None
    changes = {"preset": f"{task}-small", "runs": 1, "refine": 0, **knobs, "iterations": iterations}
    changes |= {"stop": "iterations", "skip_padding": False, "skip_bad_pixels": False}
    pace: dict[str, Any] = {"interval": math.inf, "snapshot_every": step}
    with quietly():  # of what noise alone is, a run has much to say
        run = iterate(task, values, mask, should_stop=should_stop, **pace, **changes)
    while True:
        with quietly():  # not across a yield
            shown = next(run, None)
        if shown is None:
            return None if should_stop() else run.result.image
        if shown.iteration and shown.iteration % step == 0:
            yield shown.iteration, shown.image


def to_the_end(steps: Callable[..., Generator[Any, None, Made]]) -> Callable[..., Made]:
    """The function that does all steps of an experiment, each with its `part` and the share `done`, under a bar."""
    return _to_the_end(steps, lambda bar, at: bar.show_share(at.done, at.part))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows that have the same keys, in Markdown."""
    if not rows:
        return ""
    head = list(rows[0])
    cells = [[_cell(value) for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *cells])


def _cell(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def draw(
    curves: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]], axis: str, images: dict[str, Array] | None = None
) -> Any:
    """Figure of matplotlib: curves by name over iterations, and images by name beside them on one grey scale.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    from napari_dip.figures import blank

    shown = images or {}
    across = min(4, len(shown))
    down = math.ceil(len(shown) / across) if shown else 1
    figure = blank((5 + 2.4 * across, max(3.4, 2.6 * down)))
    grid = figure.add_gridspec(down, across + 1, width_ratios=[2, *[1] * across])
    place = figure.add_subplot(grid[:, 0])
    for name, (iterations, values) in curves.items():
        place.plot(iterations, values, label=name)
    place.set_xscale("log")
    place.set_xlabel("iteration")
    place.set_ylabel(axis)
    place.legend(fontsize="small")
    low, high = np.percentile(next(iter(shown.values())), [0.5, 99.8]) if shown else (0, 1)
    for i, (name, image) in enumerate(shown.items()):
        plane = image if image.ndim == 2 else image[len(image) // 2]
        spot = figure.add_subplot(grid[i // across, i % across + 1])
        spot.imshow(plane, cmap="gray", vmin=low, vmax=high)
        spot.set_title(name, fontsize="small")
        spot.set_axis_off()
    return figure
