"""Restoring a layer from a script or napari's console, without a form."""

from __future__ import annotations

from functools import partial
from typing import Any

from napari.utils import progress as activity
from qtpy.QtCore import QEventLoop

from napari_dip.inputs import read_factor
from napari_dip.restore import settings_here
from napari_dip.settings import TASKS
from napari_dip.viewer import layers
from napari_dip.viewer.job import INTERVAL, Job, Outcome
from napari_dip.viewer.restoration import Restoration


def restore_layer(
    viewer: Any,
    task: str,
    layer: Any,
    mask: Any = None,
    *,
    label: int | None = None,
    where: str | int | tuple[int, ...] = layers.ALL,
    level: int = 0,
    factor: Any = None,
    kernel: str = "lanczos2",
    guide: Any = None,
    **settings: Any,
) -> Any:
    """Restore an image layer and add the result as a new layer; the window stays alive meanwhile.

    Parameters
    ----------
    viewer : napari.Viewer
    task : {"denoise", "inpaint", "superresolve"}
    layer : napari.layers.Image, or its name
    mask : napari.layers.Labels, or its name, optional
        Marks missing pixels; aligned through the world.
    label : int, optional
        The label that means missing; by default every non-zero one.
    where : "all", int or tuple of int
        All slices along the leading axes, one after the other, or the one at this index along each.
    level : int
        Of a multiscale layer; 0 is the finest.
    factor, kernel
        As for `napari_dip.superresolve`.
    guide : napari.layers.Image, optional
        For ``code="guide"``: as large as the restored image, pixel on pixel.
    **settings
        Knobs of `napari_dip.Settings`.

    Returns
    -------
    napari.layers.Image
        The new layer, with the record of how it was made in ``layer.metadata["napari-dip"]``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not fit.
    RuntimeError
        If the run fails, or another one is under way.
    """
    if task not in TASKS:
        raise ValueError(f"task={task!r} is not known: choose one of {', '.join(TASKS)}")
    layer, mask = _by_name(viewer, layer), _by_name(viewer, mask)
    where = (where,) if isinstance(where, int) else where
    source = layers.read(layer, where=where, level=level)
    if mask is not None:
        source = layers.with_mask(source, mask, label, viewer)
    restoration = Restoration(
        task=task,
        source=source,
        settings=settings_here(task, **settings),
        factors=None if factor is None else read_factor(factor, 2),
        kernel=kernel,
        mask_name=None if mask is None else mask.name,
        guide=None if guide is None else layers.pixels(guide),
    )
    restoration.start(lambda: True, INTERVAL).close()  # refuses what is not fit, here rather than in the worker
    outcome: list[Outcome] = []
    job = Job(restoration.name, partial(restoration.start, interval=INTERVAL))
    loop = QEventLoop()
    with activity(total=100, desc=restoration.name) as bar:

        def show(progress: Any) -> None:
            bar.update(round(100 * progress.fraction) - bar.n)
            job.taken()

        def end(result: Outcome) -> None:
            outcome.append(result)
            loop.quit()

        job.progressed.connect(show)
        job.ended.connect(end)
        job.start()
        loop.exec()
    if outcome[0].result is None:
        raise RuntimeError(outcome[0].error)
    return restoration.show_result(viewer, outcome[0].result)


def _by_name(viewer: Any, layer: Any) -> Any:
    """A layer, or the one of this name."""
    if not isinstance(layer, str):
        return layer
    names = [other.name for other in viewer.layers]
    if layer not in names:
        raise ValueError(f"there is no layer {layer!r}; the layers are {', '.join(map(repr, names)) or 'none'}")
    return viewer.layers[layer]
