"""The front door for arrays of any size: block after block from a lazy array into an OME-Zarr, here or on a cluster.

At no time is the whole array in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from napari_dip.core.pauses import without_pauses
from napari_dip.doors import overwriting
from napari_dip.io.ngff import Calibration
from napari_dip.plan.keywords import BlockOptions, OfArray, with_knobs
from napari_dip.run.blocks.cluster import active_client
from napari_dip.run.blocks.ledger import Ledger
from napari_dip.run.blocks.order import Order, read_order
from napari_dip.run.blocks.record import begun, refuse_another
from napari_dip.run.blocks.result import BlockProgress, Restored
from napari_dip.run.blocks.run import BlockRun, Work
from napari_dip.tables.numbers import check_pace
from napari_dip.tables.settings import Settings
from napari_dip.terminal import paced, script_bar

__all__ = ["BlockProgress", "Restored", "iterate_blocks", "restore_blocks"]


@with_knobs
def restore_blocks(
    task: str,
    source: Any,
    target: Any,
    mask: Any = None,
    *,
    progress: bool = True,
    **options: Unpack[BlockOptions],
) -> Restored:
    """Restore an array of any size block by block into an OME-Zarr.

    Parameters
    ----------
    task, source, target, mask, **options
        As for `iterate_blocks`.
    progress : bool
        Show a progress bar, as `denoise` does.

    Returns
    -------
    Restored
        Result, with the lazy `array`.
    """
    work = iterate_blocks(task, source, target, mask, **paced(options, progress))
    with script_bar(progress) as bar:
        return without_pauses(work, bar.show_blocks)


@with_knobs
def iterate_blocks(
    task: str,
    source: Any,
    target: Any,
    mask: Any = None,
    *,
    leading_axes: int | None = None,
    calibration: Calibration | None = None,
    client: Any = None,
    overwrite: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    interval: float = 0.25,
    settings: Settings | None = None,
    residual: bool = False,
    channel_axis: int | None = None,
    guide: Any = None,
    **options: Unpack[OfArray],
) -> Work:
    """Restore an array of any size block by block into an OME-Zarr, and say how far it is.

    Parameters
    ----------
    task : str
        One of `TASKS`.
    source : path, zarr.Array, zarr.Group, dask.array.Array or array, (*leading, *S)
        Real numbers; a path is that of a zarr array or an OME-Zarr image. Two to five axes.
    target : path
        Path of the OME-Zarr to write, on a file system that all workers share. If the same run was begun there, it goes
        on; if it was finished, nothing is computed. Anything else that is there is refused.
    mask : as source, optional
        Not zero where a pixel is missing: of the shape of the source, or of its last axes.
    leading_axes : int, optional
        Number of leading axes that are not space: each of their slices is restored on its own. By default all but y and
        x.
    channel_axis : int, optional
        A leading axis, such as that of the channels, all of which is restored in one fit, as the colours of an image
        are; its slices share structure, but not their noise.
    guide : as source, optional
        An array of the shape of the result, which may lack leading axes, that serves as the code with ``code="guide"``.
        It is read once for its range, and then block by block.
    calibration : Calibration, optional
        Calibration of the source, if its file does not say it.
    client : distributed.Client, str or False, optional
        Dask workers to compute on, or the address of their scheduler, to which there is a connection until the run
        ends; by default those of the active client. Without one, or with False, blocks are computed here one after the
        other.
    overwrite : bool
        Begin anew, and replace the image that is at the target when the new one is whole; until then both are kept, and
        the same call goes on. Never one that the source or the mask is read from, or that something else lies in.
    should_stop : callable
        Asked now and then; true ends the run, with what is done.
    interval : float
        Seconds between two signs of life from within a block that is computed here.
    residual : bool
        Also write what was removed, like `Result.residual`, as the group ``residual`` of the target. A map of the
        uncertainty, with ``uncertainty=True``, is its group ``uncertainty``. Each is an OME-Zarr image.
    settings, **options
        As for `restore.iterate`: the settings, and changes to them and properties of the whole array by name, listed
        below. By default the noise is estimated from samples of up to 16 blocks, ``intensity_range`` is that of the
        known pixels, for which the array is read once, and ``voxel_size`` that of the calibration. ``tile`` and
        ``overlap`` say how a slice is cut; by default into tiles of 1024 pixels at the most, of a volume 128, along an
        axis that is longer than one and a half of them.

    Yields
    ------
    BlockProgress

    Returns
    -------
    Restored

    Raises
    ------
    FileExistsError
        If something else is at the target.
    BlockingIOError
        If another run is writing the target.
    ValueError, TypeError
        If an argument is not valid, or differs from that of the run which goes on.

    Notes
    -----
    A block that fails is left out, and tried again by the next call, unless it is the first one. Bits are the same
    after a kill as long as device, number of threads and versions are.
    """
    check_pace(interval)
    order = read_order(
        task,
        source,
        mask,
        leading_axes=leading_axes,
        calibration=calibration,
        settings=settings,
        residual=residual,
        channel_axis=channel_axis,
        guide=guide,
        **options,
    )
    client = client if isinstance(client, str) else active_client(client)
    if client is not None and isinstance(order.source.array, np.ndarray):
        raise TypeError("source is an array in memory, which workers cannot read; save it as .zarr and name that")
    path = Path(target)
    _check_target(order, path, overwrite=overwrite)
    return BlockRun(
        order=order, path=path, client=client, should_stop=should_stop, interval=interval, overwrite=overwrite
    ).alone()


def _check_target(order: Order, target: Path, *, overwrite: bool) -> None:
    """Raise if a run may not write there, as far as that needs no pixel."""
    _refuse_inputs(order, target, overwrite=overwrite)
    ledger = Ledger(target)
    if overwrite:
        ledger.check_replaceable()
    elif ledger.path.exists() and begun(order, Ledger(target, beside=True)) is None:
        found = ledger.record()
        if found is None:
            raise FileExistsError(_no_run(ledger))
        refuse_another(order, found, target)


def _no_run(ledger: Ledger) -> str:
    """The sentence on a target that is something else, with a remedy that will do."""
    try:
        ledger.check_replaceable()
        way = f"name another target, {overwriting()}"
    except FileExistsError:
        way = "name another target"
    damage = ledger.damage()
    return f"{damage or f'{ledger.path} exists, and is no run that could go on'}; {way}"


def _refuse_inputs(order: Order, path: Path, *, overwrite: bool) -> None:
    """Raise if the target is the source or the mask, or the one lies in the other."""
    target = Ledger(path).path.resolve()
    for name, each in {"source": order.source, **order.beside}.items():
        try:
            files = each.files()
        except ValueError as error:
            if overwrite and target.exists():
                raise ValueError(f"{target} may hold the {name}: {error}; name another target") from error
            continue
        for file in files:
            if target == file or target in file.parents or file in target.parents:
                how = "is" if target == file else "contains" if target in file.parents else "lies in"
                raise ValueError(f"target={target} {how} the {name}, which is never changed; name another one")
