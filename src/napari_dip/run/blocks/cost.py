"""Cost of a run over blocks, before it begins: memory of each worker, and total time."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from napari_dip.core.cost import code_to_load, memory_of_noise
from napari_dip.core.noise.model import Noise
from napari_dip.io.disk import free_at, lack
from napari_dip.plan.cost import (
    Cost,
    estimate,
    in_bytes,
    in_time,
    less_time,
    tell_if_long,
    tell_if_not_fast,
    why_not_fast,
)
from napari_dip.plan.keywords import OfBlocks
from napari_dip.plan.request import Request
from napari_dip.run.blocks.blocks import Blocks
from napari_dip.run.blocks.cluster import connected, once
from napari_dip.run.blocks.order import Order, look, read_order, settled
from napari_dip.run.blocks.target import ZarrTarget
from napari_dip.tables.settings import Settings

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class BlocksCost:
    """Memory and time of a run over blocks.

    Attributes
    ----------
    block : Cost
        Cost of one block: its seconds, and its peak memory in bytes, or that of the samples if they take more. Memory
        is counted beyond what a process holds that has the program loaded.
    blocks : int
        Number of blocks.
    workers : int
        Number of blocks computed at the same time.
    """

    block: Cost
    blocks: int
    workers: int = 1

    @property
    def memory(self) -> int:
        """Peak memory of each worker, in bytes."""
        return self.block.memory

    @property
    def seconds(self) -> float:
        """Total time, in seconds."""
        return math.ceil(self.blocks / self.workers) * self.block.seconds

    def __str__(self) -> str:
        each = f" on each of {self.workers} workers" if self.workers > 1 else ""
        blocks = f"{self.blocks} blocks of {in_time(self.block.seconds)}" if self.blocks > 1 else "one block"
        return f"about {in_bytes(self.memory)}{each} and {in_time(self.seconds)}: {blocks}"


def estimate_blocks(task: str, source: Any, mask: Any = None, **options: Unpack[OfBlocks]) -> BlocksCost:
    """Estimate the memory and time of `restore_blocks` before it begins; nothing is written.

    Up to 16 samples are read for the noise, which decides the settings; with ``settings=`` nothing is read, and the
    noise is what `estimate` takes it for. Device and rates are those of a worker.

    Parameters
    ----------
    task, source, mask, **options
        As for `iterate_blocks`; there is no target.

    Returns
    -------
    BlocksCost
        Its seconds are those of the fits, if no rule ends them early and each block has something to restore. Reading
        for the range, blending and the pyramid are not in them; they are bound by the storage.

    Raises
    ------
    ValueError, TypeError
        If an argument is not valid.
    """
    client = options.pop("client", None)
    order = read_order(task, source, mask, **options)
    grid, places = order.grid, order.sample_places
    sampled = len(places) * grid.channels, tuple(each.stop - each.start for each in places[0][len(grid.lead) :])
    with connected(client) as found:
        if order.settings is None:
            block = once(found, _of_samples, order.looked_at, grid.block, sampled)
        else:
            settings = order.settings.changed(**order.changes)
            block = once(found, _of_block, order.request, grid.block, settings, None, sampled)
        workers = _workers(found)
    return BlocksCost(block=block, blocks=len(grid), workers=workers)


def tell_of_long_wait(blocks: Blocks, order: Order, client: Any) -> None:
    """Warn of a run over blocks that will take many hours, or longer than is asked for, with what would take less."""
    plan, target = blocks.plan, blocks.target
    channels, *tile = shape = target.grid.block
    block = once(client, _of_block, plan.request, shape, plan.settings, plan.scaled_noise, (channels, tuple(tile)))
    cost = BlocksCost(block=block, blocks=len(target.grid) - len(target.ledger.done("fit")), workers=_workers(client))
    less = less_time(plan.settings.device, plan.request.factor, workers=client is not None)
    tell_if_long(cost.seconds, f"{cost}, if no rule ends them sooner", less)
    if order.settings is None:
        tell_if_not_fast(why_not_fast(plan, order.changes), cost.seconds, plan.settings.device)


def tell_of_full_disk(target: ZarrTarget, path: Path) -> None:
    """Warn if what a run over blocks has still to write may not have room at a path, where the image will be."""
    left = {step: 1 - len(target.ledger.done(step)) / count for step, count in target.steps.items()}
    size = sum(int(left[step] * most) for output in target.outputs for step, most in output.bytes.items())
    if size > free_at(path):
        warnings.warn(
            f"{lack(path, size)}; compressed it may fit, and where it does not the run ends with "
            "what is done, and goes on when there is room",
            stacklevel=2,
        )


def _workers(client: Any) -> int:
    return 1 if client is None else max(1, len(client.nthreads()))


def _of_samples(looked_at: tuple[Any, ...], shape: Shape, sampled: tuple[int, Shape]) -> Cost:
    """The cost of a block by what samples say, on the machine that this is called on."""
    plan, *_ = look(*looked_at)
    return _of_block(plan.request, shape, plan.settings, plan.scaled_noise, sampled)


def _of_block(
    request: Request, shape: Shape, settings: Settings, noise: Noise | None, sampled: tuple[int, Shape]
) -> Cost:
    """The cost of a block (C, *tile) on this machine; the noise of `sampled` planes may take more."""
    tile = shape[1:]
    block = estimate(
        shape,
        settled(settings, len(tile)).decided(tile=max(16, *tile), overlap=0),
        task=request.task.name,
        channel_axis=0,
        image_noise=noise,
        **{name: request.said[name] for name in ("factor", "psf", "voxel_size") if name in request.said},
    )
    together = max(1, settings.at_once)
    noisy = code_to_load(settings.method) + memory_of_noise(*sampled)
    return replace(block, memory=max(together * block.memory, noisy))
