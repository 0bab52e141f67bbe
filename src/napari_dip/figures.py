"""Figure of a result: before and after, what was removed, and the course of the run. Needs matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_dip.core.result import Result

_INSTALL = 'plot() needs matplotlib; install it: pip install "napari-dip[plot]"'


def blank(inches: tuple[float, float]) -> Any:
    """An empty figure of no window: a notebook shows it, ``savefig`` writes it."""
    try:
        from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ImportError(_INSTALL) from error
    return Figure(figsize=inches, layout="constrained")


def plot(result: Result) -> Any:
    """Draw a result: see `Result.plot`."""
    fitted = len(result.history.loss) > 0  # similar patches alone have no course
    figure = blank((12 if fitted else 9, 3.4))
    axes = figure.subplots(1, 4 if fitted else 3)
    for place, name, image in zip(axes, ("before", "after"), result.glance or (), strict=False):
        place.imshow(image, cmap="gray", vmin=0, vmax=255)
        place.set_title(name)
    removed = _plane(result)
    end = float(np.nanmax(np.abs(removed))) if np.isfinite(removed).any() else 1.0
    shown = axes[2].imshow(removed, cmap="RdBu_r", vmin=-end, vmax=end)
    axes[2].set_title("removed")
    figure.colorbar(shown, ax=axes[2], shrink=0.7)
    for place in axes[:3]:
        place.set_axis_off()
    if fitted:
        _course(axes[3], result)
    figure.suptitle(result.stop_reason, fontsize="small")
    return figure


def _course(place: Any, result: Result) -> None:
    """The quantity that the rule looked at, else the loss, of each iteration."""
    curve = result.history.curves[0] if result.history.curves else None
    if curve is not None and len(curve.values):
        place.plot(curve.iterations, curve.values)
        place.set_title(curve.quantity)
        if curve.bound is not None:
            place.axhline(curve.bound, linestyle="--", color="gray")
    else:
        place.plot(np.arange(1, len(result.history.loss) + 1), result.history.loss)
        place.set_title("loss")
    values = place.lines[0].get_ydata()
    if len(values) and np.nanmin(values) > 0:
        place.set_yscale("log")
    for mark in sorted(set(result.marks))[:1]:
        place.axvline(mark, linestyle=":", color="gray")
    place.set_xlabel("iteration")


def _plane(result: Result) -> npt.NDArray[np.float64]:
    """One plane (y, x) of the residual: the first slice, the middle of a volume, the mean of channels."""
    given, values = result.record["input"], np.asarray(result.residual, np.float64)
    if (axis := given["channel_axis"]) is not None:
        values = values.mean(axis)
    values = values.reshape(-1, *values.shape[given["leading_axes"] :])[0]
    while values.ndim > 2:
        values = values[len(values) // 2]
    return np.atleast_2d(values)
