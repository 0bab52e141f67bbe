"""Request for a run over blocks, and what samples of its array decide for all of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, product
from typing import Any

import numpy as np

from napari_dip.core import device as devices
from napari_dip.core.telling import refuse_labels
from napari_dip.core.tiling import snug, tiles_of, tiling
from napari_dip.io.arrays import Part, Place, Source, Unreadable, open_source, read_known
from napari_dip.io.ngff import Calibration
from napari_dip.plan.holes import nearly_all
from napari_dip.plan.inputs import Slices, marked
from napari_dip.plan.plan import Plan, check_guide, decide
from napari_dip.plan.request import Request, arguments, check_reach, read_instrument, tell_of_spread
from napari_dip.run.blocks.grid import Grid
from napari_dip.tables import record
from napari_dip.tables.numbers import channel_from_first, check_leading
from napari_dip.tables.parts import OwnPart, read_part
from napari_dip.tables.settings import DEFAULTS, Settings, check_names, knobs

_OTHERWISE = {  # how blocks are told what other functions have a keyword for
    "axes": "the file of an OME-Zarr names its axes, calibration= those of a plain array, and leading_axes= says how "
    "many of them are no space",
    "operator": "it is an instrument that sees the whole image; restore it in memory",
}
_TILE = {2: 1024, 3: 128}  # side of a tile at the most, or nearly, if the user names none
_SAMPLES = {2: (16, (512, 512)), 3: (4, (64, 128, 128))}  # how many, and how large: what the noise is estimated from


@dataclass(frozen=True, kw_only=True)
class Order:
    """Request for a run over blocks, checked.

    Attributes
    ----------
    request : Request
        The problem, without an image.
    source : Source
        Array that is read block by block.
    beside : dict of Source
        By name the "mask", of its shape, and the "guide", of that of the result; each may lack leading axes.
    channel_axis : int or None
        A leading axis along which all is restored in one fit.
    settings : Settings or None
        None for the preset of the task.
    changes : dict
        Changes to the settings, by name.
    residual : bool
        True if the residual is written too.
    """

    request: Request
    source: Source
    beside: dict[str, Source]
    channel_axis: int | None
    settings: Settings | None
    changes: dict[str, Any]
    residual: bool

    @property
    def own_parts(self) -> dict[str, OwnPart]:
        """Parts of the user's own, by name."""
        said = {**(vars(self.settings) if self.settings else {}), **self.changes}
        named = {name: part for name, part in said.items() if isinstance(part, OwnPart)}
        return {**named, **self.request.own_parts}

    @property
    def factors(self) -> tuple[int, ...]:
        """Factors by which the result is finer along the axes of space."""
        return self.request.factor or (1,) * self.request.ndim

    @cached_property
    def grid(self) -> Grid:
        """The blocks; their tiles are as the user says, or along each axis of the size that fits best."""
        at = len(self.source.shape) - self.request.ndim
        lead, space = self.source.shape[:at], self.source.shape[at:]
        base = self.settings or DEFAULTS
        wanted = base.with_tiles(*(self.changes.get(name, getattr(base, name)) for name in ("tile", "overlap")))
        if wanted.tile:
            tiles = tiles_of(space, wanted)
        else:
            side = _TILE[len(space)]
            overlap = wanted.overlap or side // 8
            if overlap > side // 2:
                raise ValueError(f"overlap={overlap} is more than half of a tile of {side}; say tile= too")
            tiles = tiling(space, [snug(n, side, overlap) for n in space], overlap)
        return Grid(lead=lead, tiles=tiles, channel_axis=self.channel_axis)

    def _grid_of(self, name: str) -> tuple[Grid, tuple[int, ...]]:
        """Grid that an array beside the source lies on, and the axes of it that the array has.

        Raises
        ------
        ValueError
            If it is of another shape.
        """
        grid, shape = self.grid, self.beside[name].shape
        if name == "guide":
            grid = grid.finer(self.factors)
        every = range(len(grid.shape))
        least = self.request.ndim if name == "guide" else 1  # a mask may lack even axes of space
        for axes in ([axis for axis in every if axis != self.channel_axis], every):
            some = tuple(axes[-len(shape) :])
            if len(shape) >= least and tuple(grid.shape[axis] for axis in some) == shape:
                return grid, some
        whole = "source" if name == "mask" else "result"
        raise ValueError(f"{name} has the shape {shape}, but the {whole} {grid.shape}; a {name} may only lack axes")

    def parts(self, place: Place) -> tuple[Part, Part | None]:
        """Parts of the source and the mask to read for a place in the source."""
        if "mask" not in self.beside:
            return self.source.part(place), None
        _, axes = self._grid_of("mask")
        return self.source.part(place), self.beside["mask"].part(tuple(place[axis] for axis in axes))

    def guide_part(self, block: int) -> Part | None:
        """The part of the guide that a block needs, with the margin that it is sought in; None if there is no guide."""
        if "guide" not in self.beside:
            return None
        grid, axes = self._grid_of("guide")
        place, _ = grid.with_margin(grid.place(block), self.request.margin)
        return self.beside["guide"].part(tuple(place[axis] for axis in axes))

    @property
    def unknown(self) -> Any:
        """True where a pixel of the source is not known: a lazy array of its shape, or one that broadcasts to it."""
        from dask.array import isfinite

        hidden = ~isfinite(self.source.lazy)
        if "mask" not in self.beside:
            return hidden
        _, axes = self._grid_of("mask")
        along = tuple(slice(None) if axis in axes else None for axis in range(len(self.grid.shape)))
        return hidden | (self.beside["mask"].lazy[along] != 0)

    @property
    def sample_places(self) -> list[Place]:
        """Places of the samples in the source: middles of blocks, evenly spread over all of them."""
        grid = self.grid
        count, size = _SAMPLES[self.request.ndim]
        places = []
        for i in sorted({int(i) for i in np.linspace(0, len(grid) - 1, min(count, len(grid)))}):
            place, space = grid.place(i), []
            for part, most in zip(place[len(grid.lead) :], size, strict=True):
                n = min(part.stop - part.start, most)
                begin = part.start + (part.stop - part.start - n) // 2
                space.append(slice(begin, begin + n))
            places.append((*place[: len(grid.lead)], *space))
        return places

    @property
    def looked_at(self) -> tuple[Any, ...]:
        """The arguments of `look`."""
        return self.request, list(map(self.parts, self.sample_places)), self.settings, self.changes

    def parts_of(self, name: str) -> list[Part]:
        """Parts that make up all of an array beside the source, each pixel once."""
        beside = self.beside[name]
        if isinstance(beside.array, np.ndarray):
            return [beside.part(())]
        grid, axes = self._grid_of(name)
        starts = (*(range(n) for n in grid.lead), *grid.tiles.corners)
        sides = [[slice(a, b) for a, b in pairwise((*starts[axis], grid.shape[axis]))] for axis in axes]
        return [beside.part(place) for place in product(*sides)]


def read_order(
    task: str,
    source: Any,
    mask: Any = None,
    *,
    leading_axes: int | None = None,
    calibration: Calibration | None = None,
    settings: Settings | None = None,
    residual: bool = False,
    channel_axis: int | None = None,
    guide: Any = None,
    **options: Any,
) -> Order:
    """Check a request as far as that needs no pixel; arguments as for `large.iterate_blocks`."""
    for name, instead in _OTHERWISE.items():
        if options.get(name) is not None:
            raise TypeError(f"{name}={options[name]!r} is not for blocks: {instead}")
    said = {name: options[name] for name in arguments() if name in options}
    changes = {name: value for name, value in options.items() if name not in said}
    check_names(changes, also=("mask", *arguments(), "leading_axes"))
    for name, value in changes.items():  # which a record is to hold
        if knobs()[name].own and not isinstance(value, str):
            changes[name] = read_part(name, value)
    check_guide(changes.get("code", settings.code if settings else "uniform"), guide)
    if calibration is None:
        refuse_labels("source", source, lambda _: "hand in source.data, and its pixel size by calibration=")
    read = open_source(source, calibration)
    ndim = len(read.shape)
    if leading_axes is not None:
        check_leading(leading_axes, ndim)
    leading = ndim - 2 if leading_axes is None else leading_axes
    if ndim - leading not in (2, 3):
        raise ValueError(
            f"leading_axes={leading_axes} leaves {ndim - leading} of {ndim} axes for space; "
            "an image needs 2, a volume 3"
        )
    if said.get("voxel_size") is None:
        said["voxel_size"] = read.calibration.voxel_size(ndim - leading)
    request = read_instrument(task, ndim - leading, **said)
    tell_of_spread(request.margin, request.finer(read.shape[leading:]))
    if request.task.fills_holes and mask is None and read.array.dtype.kind != "f":
        raise ValueError(
            f"mask is not given and integers cannot be NaN, so there is no hole to fill; give a mask ({marked()})"
        )
    order = Order(
        request=request,
        source=read,
        beside={name: _open(each) for name, each in {"mask": mask, "guide": guide}.items() if each is not None},
        channel_axis=_channel_axis(channel_axis, leading, read),
        settings=settings,
        changes=changes,
        residual=residual,
    )
    check_reach(request.margin, request.finer(order.grid.tiles.tile))  # the sides of tiles are checked too
    for name in order.beside:
        order._grid_of(name)
    return order


def _open(beside: Any) -> Source:
    if isinstance(beside, np.ndarray) and beside.dtype == bool:
        beside = beside.astype(np.uint8)
    return open_source(beside)


def _channel_axis(axis: int | None, leading: int, source: Source) -> int | None:
    """Axis of the channels, counted from the first; they are leading axes, as in each OME-Zarr."""
    found = channel_from_first(axis, source.shape)
    if found is not None and found >= leading:
        raise ValueError(
            f"channel_axis={axis} is one of the {len(source.shape) - leading} axes of space, which come last: move the "
            "channels before them, as an OME-Zarr has them"
        )
    return found


def look(
    request: Request, samples: list[tuple[Part, Part | None]], settings: Settings | None, changes: dict[str, Any]
) -> tuple[Plan, list[str | None], str]:
    """Decide by samples of an array how all of its blocks are restored.

    And their fingerprints, which identify it, and the words of `nearly_all` on its mask. On the machine that will
    compute, for the settings depend on its device. The scaling is that of the samples.
    """
    read, digests, damage = [], list[str | None](), list[Unreadable]()
    for sample in samples:
        try:
            values, missing = read_known(*sample)
        except Unreadable as error:
            digests.append(None)
            damage.append(error)
            continue
        read.append((values, missing))
        both = f"{record.fingerprint(values)}{record.fingerprint(missing)}"
        digests.append(hashlib.sha256(both.encode()).hexdigest())
    if not read:
        raise damage[0]
    space = read[0][0].shape[-request.ndim :]
    values, missing = (np.stack([a.reshape(-1, *space) for a in each]) for each in zip(*read, strict=True))
    sampled = replace(request, image=Slices(values, missing, (len(values),), 1))
    suspect = request.task.fills_holes and samples[0][1] is not None and np.isfinite(values).any()
    plan = decide(sampled, settings, changes)
    plan = replace(
        plan,
        request=request,
        settings=settled(plan.settings, request.ndim),
        open=frozenset(),
        level=plan.noises.level,
    )
    return plan, digests, nearly_all(sampled) if suspect else ""


def settled(settings: Settings, ndim: int) -> Settings:
    """The settings for all blocks, so that neither free memory nor the machine of a worker has a say in them."""
    device = devices.choose(settings.device)
    settings = settings.decided(
        precision=devices.precision_of(settings, device.name, volume=ndim == 3),
        recompute="off" if settings.recompute == "auto" else settings.recompute,
    )
    if settings.device == "auto":  # the first GPU that each worker sees
        settings = settings.decided(device=device.name.partition(":")[0])
    return settings
