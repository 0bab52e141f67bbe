"""Cost of a run over blocks, before it begins: memory of each worker, and total time."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any, Unpack

from napari_dip.blocks import Plan
from napari_dip.cluster import connected
from napari_dip.core.cost import code_to_load, memory_of_noise
from napari_dip.core.intensity import Scaling
from napari_dip.core.noise.model import Noise
from napari_dip.cost import Cost, estimate, in_bytes, in_time, less_time, tell_if_long
from napari_dip.io.disk import free_at, lack
from napari_dip.keywords import OfBlocks
from napari_dip.ledger import Ledger
from napari_dip.order import Order, look, noise_from, read_order, settled
from napari_dip.settings import Settings
from napari_dip.tasks import TASKS


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
    order = read_order(task, source, Ledger(""), mask, **options)  # in which nothing is written
    with connected(order.client) as client:
        order = replace(order, client=client)
        tiles, lead = order.tiles, order.source.shape[: order.leading]
        block = order.task, tiles.tile, order.factors, order.instrument
        if order.settings is None:
            cost = order.once(_of_samples, order.looked_at, order.intensity_range, *block)
        else:
            places = order.sample_places
            shape = tuple(each.stop - each.start for each in places[0][order.leading :])
            cost = order.once(_of_one, order.settings.changed(**order.changes), None, (len(places), shape), *block)
        workers = _workers(order)
    return BlocksCost(block=cost, blocks=math.prod(lead) * len(tiles), workers=workers)


def tell_of_long_wait(order: Order, plan: Plan) -> None:
    """Warn of a run over blocks that will take many hours, with what would take less."""
    left, tile, noise = plan.blocks - len(order.ledger.done("fit")), order.tiles.tile, plan.noise
    if noise is not None:
        noise = None if plan.intensity_range is None else noise.scaled(Scaling(*plan.intensity_range))
    block = order.task, tile, order.factors, order.instrument
    cost = BlocksCost(
        block=order.once(_of_one, plan.settings, noise, (1, tile), *block), blocks=left, workers=_workers(order)
    )
    less = less_time(plan.settings.device, order.factors, workers=order.client is not None)
    tell_if_long(cost.seconds, f"{cost}, if no rule ends them sooner", less)


def tell_of_full_disk(plan: Plan) -> None:
    """Warn if what a run over blocks has still to write may not have room."""
    left = {step: 1 - len(plan.ledger.done(step)) / count for step, count in plan.steps.items()}
    size = sum(int(left[step] * most) for output in plan.outputs for step, most in output.bytes.items())
    if size > free_at(plan.target):
        warnings.warn(
            f"{lack(plan.target, size)}; compressed it may fit, and where it does not the run ends with what is done, "
            "and goes on when there is room",
            stacklevel=2,
        )


def _workers(order: Order) -> int:
    return 1 if order.client is None else max(1, len(order.client.nthreads()))


def _of_samples(looked_at: tuple[Any, ...], limits: tuple[float, float] | None, *block: Any) -> Cost:
    """The cost of a block with what samples say, on the machine that this is called on."""
    seen = look(*looked_at)
    low, high = limits or seen["sampled"]["range"] or (0.0, 0.0)
    noise = None if seen["noise"] is None or low == high else noise_from(seen["noise"]).scaled(Scaling(low, high))
    count, *shape = seen["sampled"]["shape"]
    return _of_one(Settings(**seen["settings"]), noise, (count, tuple(shape)), *block)


def _of_one(
    settings: Settings,
    noise: Noise | None,
    sampled: tuple[int, tuple[int, ...]],
    task: str,
    tile: tuple[int, ...],
    factors: tuple[int, ...],
    instrument: dict[str, Any],
) -> Cost:
    """The cost of a block on the machine that this is called on; the noise of `sampled` planes may take more."""
    block = estimate(
        tile,
        settled(settings, len(tile))[0].changed(tile=max(16, *tile), overlap=0),
        task=task,
        factor=factors if "factor" in TASKS[task].takes else None,
        psf=instrument.get("psf"),
        voxel_size=instrument.get("voxel_size"),
        image_noise=noise,
    )
    return replace(block, memory=max(block.memory, code_to_load() + memory_of_noise(*sampled)))
