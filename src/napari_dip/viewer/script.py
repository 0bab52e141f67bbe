"""Restoring a layer from a script or napari's console, without a form."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Image
from napari.utils import progress as activity
from qtpy.QtCore import QEventLoop

from napari_dip.plan.request import arguments, read_instrument, with_defaults
from napari_dip.viewer import engine, findings, guides, layers, masks
from napari_dip.viewer.account import has_other_last, share
from napari_dip.viewer.job import INTERVAL, Job, Outcome
from napari_dip.viewer.maps import Wanted, show_maps
from napari_dip.viewer.restoration import Restoration
from napari_dip.viewer.stream import Stream
from napari_dip.viewer.trust import truth_for


def restore_layer(
    viewer: Any,
    task: str,
    layer: Any,
    mask: Any = None,
    *,
    target: Any = None,
    label: int | None = None,
    where: str | int | tuple[int, ...] = layers.ALL,
    level: int = 0,
    volume: bool = False,
    guide: Any = None,
    last: bool = False,
    residual: bool = False,
    holes: bool = False,
    resolution: bool = False,
    control: bool = False,
    truth: Any = None,
    affine: bool = False,
    **options: Any,
) -> Any:
    """Restore an image layer and add the result as a new layer; the window stays alive meanwhile.

    Findings that are asked for (`uncertainty` is one of the settings) come as hidden layers above the result, called
    "NAME, residual" and so on; the figures are in ``layer.metadata["napari-dip"]["trust"]`` of the result.

    Parameters
    ----------
    viewer : napari.Viewer
    task : {"denoise", "inpaint", "superresolve", "deconvolve", "deblock", "enhance"}
    layer : napari.layers.Image, or its name
    mask : napari.layers.Labels, or its name, optional
        Marks missing pixels; aligned through the world.
    target : path, optional
        Of the OME-Zarr that the result is written to block by block, needed where several slices of a lazy layer (dask,
        zarr) are restored, or one that is too large to be read at once. The same run goes on there.
    label : int, optional
        The label that means missing; by default every non-zero one.
    where : "all", "together", int or tuple of int
        All slices along the leading axes one after the other, all together by one generator, or the one at this index
        along each.
    level : int
        Of a multiscale layer; 0 is the finest.
    volume : bool
        True if the last three axes are space, so that volumes are restored; `where` has an index for each axis before.
    guide : napari.layers.Image, optional
        For ``code="guide"``: looked up through the world, so that scale and offset may differ; as large as the restored
        image and without units it lies pixel on pixel.
    last : bool
        Also add the image at the end of the run, if that is another than the stopping rule marked.
    residual, holes : bool
        Also add the residual, or a map of how far holes reach beyond what their surroundings determine.
    resolution : bool
        Also tell the resolution before and after, by Fourier ring correlation.
    control : bool
        Also restore pure noise in the same way, for one slice, and add what becomes of it.
    truth : napari.layers.Image, or its name, optional
        Ground truth: also tell PSNR, SSIM and NRMSE before and after.
    affine : bool
        True if gain and offset are fitted before the comparison with the truth.
    **options
        Arguments of the problem and knobs, as for `napari_dip.iterate`; a point spread function may be an image layer,
        or its name.

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
    engine.load()
    layer, mask, truth = (_by_name(viewer, each) for each in (layer, mask, truth))
    where = (where,) if isinstance(where, int) else where
    selection = layers.select(layer, where=where, level=level, space=3 if volume else 2)
    said = {name: options.pop(name) for name in arguments() if name in options}
    given = {name: _by_name(viewer, each) for name, each in said.items() if arguments()[name].kept is False}
    said |= {name: layers.pixels(each) if isinstance(each, Image) else each for name, each in given.items()}
    request = read_instrument(task, selection.space, **said)
    said = with_defaults({**request.said, **({"factor": request.factor} if request.factor else {})})
    asked: dict[str, Any] = {
        "task": task,
        "knobs": options,
        "said": said,
        "mask_name": None if mask is None else mask.name,
    }
    if target is not None:
        if last or holes or resolution:
            raise ValueError("last, holes and resolution need whole slices in memory; leave them out, or target")
        restoration: Any = Stream(
            **asked,
            source=selection,
            guide=None if guide is None else layers.select(guide).array,
            mask=None if mask is None else masks.lazy_mask(selection, mask, label, viewer),
            where=where,
            target=Path(target),
            residual=residual,
        )
    else:
        source = selection.read()
        if mask is not None:
            source = masks.with_mask(source, mask, label, viewer)
        guide = None if guide is None else guides.aligned(guide, selection, said.get("factor"))
        restoration = Restoration(**asked, source=source, guide=guide, where=where)
        restoration.start(lambda: True, INTERVAL).close()  # refuses what is not fit, here rather than in the worker
    wanted = Wanted(
        residual=residual,
        uncertainty=options.get("uncertainty", False),
        holes=holes,
        resolution=resolution,
        truth=None if truth is None else truth_for(restoration, truth),
        truth_name="" if truth is None else truth.name,
        affine=affine,
    )
    finished = _run(restoration.name, partial(findings.restore, restoration, wanted, interval=INTERVAL))
    result, found = finished.result, finished.findings
    if control:
        name = f"Noise-only control of '{restoration.name}'"
        found += _run(name, partial(findings.control, restoration, result, interval=INTERVAL))
    shown = restoration.show_result(viewer, result, found.figures)
    if shown is None:
        raise RuntimeError(result.stop_reason)
    if last and has_other_last(result):
        restoration.show_last(viewer, result, shown.name)
    show_maps(viewer, shown.name, found)
    return shown


def _run(name: str, steps: Any) -> Any:
    """Exhaust `steps` in a job, with a bar, and return its value; the window stays alive meanwhile."""
    outcome: list[Outcome] = []
    job = Job(name, steps)
    loop = QEventLoop()
    with activity(total=100, desc=name) as bar:

        def show(progress: Any) -> None:
            bar.update(max(0, round(100 * share(progress)) - bar.n))
            job.taken()

        def end(result: Outcome) -> None:
            outcome.append(result)
            loop.quit()

        job.progressed.connect(show)
        job.ended.connect(end)
        job.start()
        loop.exec()
    if outcome[0].value is None:
        raise RuntimeError(outcome[0].error)
    return outcome[0].value


def _by_name(viewer: Any, layer: Any) -> Any:
    """A layer, or the one of this name."""
    if not isinstance(layer, str):
        return layer
    names = [other.name for other in viewer.layers]
    if layer not in names:
        raise ValueError(f"there is no layer {layer!r}; the layers are {', '.join(map(repr, names)) or 'none'}")
    return viewer.layers[layer]
