"""Request for a run over blocks, and what follows from it for all of them: scaling, noise, settings, tiles.

It is written into the target before the first block, so that a run which goes on has it from there.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_dip import blocks, record
from napari_dip.blocks import Plan
from napari_dip.cluster import active_client
from napari_dip.core import device as devices
from napari_dip.core.intensity import float_for
from napari_dip.core.noise.model import Noise
from napari_dip.core.pieces import tiles_of
from napari_dip.core.tiling import Tiling, snug, tiling
from napari_dip.defects import Skips
from napari_dip.inputs import read_range, read_slices
from napari_dip.io.arrays import Part, Place, Source, Unreadable, open_source
from napari_dip.io.ngff import Calibration, besides, merged
from napari_dip.io.omezarr import VERSIONS, chunks_of, create_level, pyramid
from napari_dip.ledger import KEY, RESIDUAL, UNCERTAINTY, Ledger
from napari_dip.noises import level_in, noise_of
from napari_dip.outputs import IMAGE, Output
from napari_dip.plan import chosen
from napari_dip.request import arguments, read_instrument
from napari_dip.settings import Settings, check_names
from napari_dip.tasks import TASKS

_OTHERWISE = {  # how blocks are told what other functions have a keyword for
    "axes": "the file of an OME-Zarr names its axes, calibration= those of a plain array, and leading_axes= says how "
    "many of them are no space",
    "channel_axis": "channels are leading axes, which are restored one by one",
}
INSTRUMENT = ("kernel", "psf", "psf_centre", "voxel_size")  # what `restore.iterate` is told of it
_TILE = {2: 1024, 3: 128}  # side of a tile at the most, or nearly, if the user names none
_SAMPLES = {2: (16, (512, 512)), 3: (4, (64, 128, 128))}  # how many, and how large: what the noise is estimated from


@dataclass(frozen=True, kw_only=True)
class Order:
    """Request for a run over blocks, checked."""

    source: Source
    mask: Source | None
    ledger: Ledger
    client: Any
    should_stop: Callable[[], bool]
    interval: float
    task: str
    leading: int
    factors: tuple[int, ...]
    instrument: dict[str, Any]
    camera: dict[str, float]
    intensity_range: tuple[float, float] | None
    settings: Settings | None
    changes: dict[str, Any]
    residual: bool

    @property
    def space(self) -> tuple[int, ...]:
        return self.source.shape[self.leading :]

    @property
    def tiles(self) -> Tiling:
        """The tiles of a slice: as the user says, or along each axis of the size that fits best."""
        base = self.settings or Settings()
        wanted = base.changed(**{name: self.changes[name] for name in ("tile", "overlap") if name in self.changes})
        if wanted.tile:
            return tiles_of(self.space, wanted)
        side = _TILE[len(self.space)]
        overlap = wanted.overlap or side // 8
        if overlap > side // 2:
            raise ValueError(f"overlap={overlap} is more than half of a tile of {side}; say tile= too")
        return tiling(self.space, [snug(n, side, overlap) for n in self.space], overlap)

    def parts(self, place: Place | None) -> tuple[Part | None, Part | None]:
        """Parts of the source and the mask to read for a place in the source; None where none is read."""
        if place is None:
            return None, None
        if self.mask is None:
            return self.source.part(place), None
        return self.source.part(place), self.mask.part(place[len(place) - len(self.mask.shape) :])

    def samples(self) -> Iterator[tuple[Part | None, Part | None]]:
        """Middles of blocks, evenly spread over all of them."""
        return map(self.parts, self.sample_places)

    @property
    def sample_places(self) -> list[Place]:
        """Places of the samples in the source."""
        count, size = _SAMPLES[len(self.space)]
        lead, tiles = self.source.shape[: self.leading], self.tiles
        slices = int(np.prod(lead, dtype=int))
        total = slices * len(tiles)
        places = []
        for i in sorted({int(i) for i in np.linspace(0, total - 1, min(count, total))}):
            at = np.unravel_index(i // len(tiles), lead) if lead else ()
            space = []
            for part, most in zip(tiles.at(i % len(tiles)), size, strict=True):
                n = min(part.stop - part.start, most)
                begin = part.start + (part.stop - part.start - n) // 2
                space.append(slice(begin, begin + n))
            places.append((*(slice(int(k), int(k) + 1) for k in at), *space))
        return places

    @property
    def looked_at(self) -> tuple[Any, ...]:
        """The arguments of `look`."""
        return self.task, len(self.space), list(self.samples()), self.camera, self.settings, self.changes

    def once(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function where blocks will be computed."""
        if self.client is None:
            return function(*arguments)
        return self.client.submit(function, *arguments, pure=False).result()

    @property
    def mask_places(self) -> list[Place]:
        """The places in the mask that make up all of it, tile by tile."""
        if self.mask is None:
            return []
        shape = self.mask.shape
        flat = min(len(self.space), len(shape))  # a mask may lack even axes of space
        tiles = {tuple((each.start, each.stop) for each in tile[-flat:]): tile[-flat:] for tile in self.tiles}
        lead = np.ndindex(*shape[: len(shape) - flat])
        return [(*(slice(i, i + 1) for i in at), *tile) for at in lead for tile in tiles.values()]

    def request(self, fingerprint: list[str | None], mask: str | None) -> dict[str, Any]:
        """All that decides the result, with fingerprints of samples and of the mask, fit for JSON."""
        instrument = {
            name: value if isinstance(value, (str, int, float)) else record.fingerprint(np.asarray(value))
            for name, value in self.instrument.items()
        }
        asked = {
            "task": self.task,
            "source": {"shape": self.source.shape, "dtype": str(self.source.array.dtype), "sha256": fingerprint},
            "mask": None if self.mask is None else {"shape": self.mask.shape, "sha256": mask},
            "leading_axes": self.leading,
            "factor": self.factors,
            "camera": self.camera,
            "intensity_range": self.intensity_range,
            "settings": None if self.settings is None else self.settings.as_dict(),
            "changes": {k: v for k, v in self.changes.items() if k != "threads"},
            **instrument,
            **({"residual": True} if self.residual else {}),
        }
        return dict(json.loads(json.dumps(asked)))


def read_order(
    task: str,
    source: Any,
    ledger: Ledger,
    mask: Any = None,
    *,
    factor: Any = None,
    leading_axes: int | None = None,
    calibration: Calibration | None = None,
    intensity_range: tuple[float, float] | None = None,
    gain: float | None = None,
    offset: float | None = None,
    read_noise: float | None = None,
    client: Any = None,
    should_stop: Callable[[], bool] = lambda: False,
    interval: float = 0.25,
    settings: Settings | None = None,
    residual: bool = False,
    **options: Any,
) -> Order:
    """Check a request as far as that needs no pixel; arguments as for `large.iterate_blocks`."""
    changes = {name: value for name, value in options.items() if name not in INSTRUMENT}
    instrument = {name: value for name, value in options.items() if name in INSTRUMENT}
    for name, instead in _OTHERWISE.items():
        if name in changes:
            raise TypeError(f"{name}={changes[name]!r} is not for blocks: {instead}")
    check_names(changes, also=("mask", *arguments(), "leading_axes"))
    if "guide" in (changes.get("code"), settings.code if settings else ""):
        raise ValueError("code='guide' needs an image of the size of the result, which blocks do not have")
    read = open_source(source, calibration)
    hidden = None if mask is None else _open_mask(mask, read)
    ndim = len(read.shape)
    leading = ndim - 2 if leading_axes is None else leading_axes
    if ndim - leading not in (2, 3):
        raise ValueError(
            f"leading_axes={leading_axes} leaves {max(0, ndim - leading)} of {ndim} axes for space; "
            "an image needs 2, a volume 3"
        )
    camera = {"gain": gain, "offset": offset, "read_noise": read_noise}
    said = {"factor": factor, **instrument, "intensity_range": intensity_range, **camera}
    request = read_instrument(task, ndim - leading, **said)
    if request.task.fills_holes and hidden is None and read.array.dtype.kind != "f":
        raise ValueError("mask is not given and integers cannot be NaN, so there is no hole to fill; give a mask")
    instrument = {name: request.said[name] for name in INSTRUMENT if name in request.said}
    voxel_size = read.calibration.voxel_size(ndim - leading)
    if voxel_size is not None:
        instrument.setdefault("voxel_size", voxel_size)
    order = Order(
        source=read,
        mask=hidden,
        ledger=ledger,
        client=client if isinstance(client, str) else active_client(client),
        should_stop=should_stop,
        interval=interval,
        task=task,
        leading=leading,
        factors=request.factor or (1,) * request.ndim,
        instrument=instrument,
        camera=request.camera,
        intensity_range=request.intensity_range,
        settings=settings,
        changes=changes,
        residual=residual,
    )
    _ = order.tiles  # refuses now what makes no sense
    return order


def _open_mask(mask: Any, source: Source) -> Source:
    if isinstance(mask, np.ndarray) and mask.dtype == bool:
        mask = mask.astype(np.uint8)
    opened = open_source(mask)
    if opened.shape != source.shape[len(source.shape) - len(opened.shape) :]:
        raise ValueError(f"mask has the shape {opened.shape}, but the source {source.shape}; a mask may only lack axes")
    return opened


def look(
    task: str,
    ndim: int,
    samples: list[tuple[Part, Part | None]],
    camera: dict[str, float],
    settings: Settings | None,
    changes: dict[str, Any],
) -> dict[str, Any]:
    """Estimate from samples of an array what identifies it, its noise and its settings, fit for JSON.

    On the machine that will compute, for the settings depend on its device.
    """
    read, digests, damage = [], list[str | None](), list[Unreadable]()
    for sample in samples:
        try:
            values, missing = blocks.known(*sample)
        except Unreadable as error:
            digests.append(None)
            damage.append(error)
            continue
        read.append((values, missing))
        both = f"{record.fingerprint(values)}{record.fingerprint(missing)}"
        digests.append(hashlib.sha256(both.encode()).hexdigest())
    if not read:
        raise damage[0]
    values, missing = (np.stack([a.reshape(a.shape[-ndim:]) for a in each]) for each in zip(*read, strict=True))
    noise, level, limits = None, 0.0, None
    if not missing.all():
        limits = float(values[~missing].min()), float(values[~missing].max())
        slices = Skips.of(TASKS[task], settings, changes).areas(read_slices(values, missing, None, 1))
        noise, level = noise_of(slices, camera), level_in(slices.values, slices.missing)
    settings, reason = chosen(task, settings, noise, changes)
    settings, device = settled(settings, ndim)
    return {
        "sha256": digests,
        "sampled": {"shape": values.shape, "range": limits},
        "noise": None if noise is None else _noise_as_dict(noise),
        "level": level,
        "settings": settings.as_dict(),
        "method_reason": reason,
        "device": str(device),
        "software": record.software(),
    }


def same_samples(now: list[str | None], begun: Any) -> list[str | None]:
    """The fingerprints of a run that goes on, if all that were read both times are the same; else those of now."""
    if not isinstance(begun, list) or len(begun) != len(now):
        return now
    both = [(a, b) for a, b in zip(now, begun, strict=True) if a is not None and b is not None]
    return begun if both and all(a == b for a, b in both) else now


def settled(settings: Settings, ndim: int) -> tuple[Settings, devices.Device]:
    """The settings for all blocks, so that free memory has no say in them, and the device that this machine has."""
    device = devices.choose(settings.device)
    settings = settings.changed(
        precision=devices.precision_of(settings, device.name, volume=ndim == 3),
        recompute="off" if settings.recompute == "auto" else settings.recompute,
    )
    if settings.device == "auto":  # the first GPU that each worker sees
        settings = settings.changed(device=device.name.partition(":")[0])
    return settings, device


class AnotherRun(ValueError):
    """A target holds a run that was asked for something else.

    Attributes
    ----------
    differences : dict
        Name of each knob or argument that differs -> its value then, and its value now; None where it is left out.
    """

    def __init__(self, path: Path, differences: dict[str, tuple[Any, Any]]) -> None:
        self.differences = differences
        told = ", ".join(_change(name, then, now) for name, (then, now) in differences.items())
        super().__init__(
            f"{path} holds another run ({told}): ask for the same again to go on with it, name another target, or "
            "overwrite it to begin anew"
        )


def refuse_another(before: dict[str, Any], now: dict[str, Any], path: Path) -> None:
    """Raise `AnotherRun` unless both requests are the same."""
    said = [{**each, **each["camera"], **each["changes"]} for each in (before, now)]
    if before["settings"] and now["settings"]:  # each knob that differs, not all of them
        said = [{**each["settings"], **each, "settings": None} for each in said]
    then, asked = said
    differences = {
        name: (then.get(name), asked.get(name))
        for name in sorted({*then, *asked} - {"camera", "changes"})
        if then.get(name) != asked.get(name)
    }
    if differences:
        raise AnotherRun(path, differences)


def _change(name: str, then: Any, now: Any) -> str:
    """Difference between two runs in one knob or argument, in words."""
    if isinstance(then, dict) and isinstance(now, dict):  # the source or the mask, whose pixels are a fingerprint here
        part = next((part for part in ("shape", "dtype") if then.get(part) != now.get(part)), "")
        then, now = then.get(part, "given"), now.get(part, "given")
    before, after = (said(name, value) for value in (then, now))
    what = f"the {name}" if name in ("source", "mask") else name
    return f"{what}: {before} -> {after}" if before != after else f"{what}: another one"


def said(name: str, value: Any, left: str = "left out") -> str:
    """Value of a knob or an argument, in words; `left` where it was not given."""
    if value is None:
        return left
    if name == "settings":
        return "given as a whole"
    if isinstance(value, dict) or (name in ("psf", "voxel_size") and isinstance(value, str)):
        return "given"
    return str(tuple(value) if isinstance(value, list) else value)


def begin(
    order: Order, request: dict[str, Any], seen: dict[str, Any], limits: tuple[float, float] | None
) -> dict[str, Any]:
    """Make the target, empty, with all that is fixed for the run in its attributes."""
    tiles = order.tiles
    found = {
        "request": request,
        "run": order.ledger.run,
        "task": order.task,
        **{name: value for name, value in seen.items() if name not in ("sha256", "sampled")},
        "intensity_range": limits,
        "tiles": {"shape": tiles.shape, "tile": tiles.tile, "corners": tiles.corners},
        "input": Path(order.source.path).name,
        "finished": None,
    }
    if KEY in order.source.attributes:
        found["input_record"] = order.source.attributes[KEY]
    found = dict(json.loads(json.dumps(found)))
    plan, form = plan_of(order, found), order.source.zarr_format
    calibration = order.source.calibration
    finest = calibration.finer((*[1] * order.leading, *order.factors))
    version, of_source = {"version": VERSIONS[form]}, dict(order.source.of_array)

    def described(output: Output, calibration: Calibration, name: str) -> dict[str, Any]:
        """The multiscale image that an output is."""
        paths = [str(i) for i in range(len(output.levels))]
        return calibration.metadata(name, paths, [[1 / f for f in level] for level in output.levels])

    def marked(image: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
        """The attributes of a group that holds it, and what else belongs beside it."""
        if form == 2:
            return {**rest, "multiscales": [{**image, **version}]}
        return {"ome": {**rest, **version, "multiscales": [image]}}

    name, (image, *maps) = order.ledger.target.stem, plan.outputs
    besides_it, in_ome = besides(order.source.attributes)
    besides_it |= calibration.besides
    in_ome |= {"omero": calibration.omero} if calibration.omero else {}
    attributes = {**besides_it, **marked(merged(described(image, finest, name), order.source.ome), in_ome), KEY: found}
    work = order.ledger.work.relative_to(order.ledger.path)

    def make(path: Path) -> None:
        group = zarr.create_group(path, zarr_format=form, attributes=attributes)  # type: ignore[arg-type]
        for each in maps:
            grid = calibration if each.name == RESIDUAL else finest
            own = {**marked(described(each, grid, f"{name}, {each.name}"), {}), KEY: {"map": each.name, "of": name}}
            group.create_group(each.name, attributes=own)
        for output in plan.outputs:
            for i in range(len(output.levels)):
                level = output.level_shape(i)
                array = create_level(group, output.path(i), level, output.dtype, output.chunks, calibration.axes)
                own = {k: v for k, v in of_source.items() if i == 0 or k == "_ARRAY_DIMENSIONS"}
                array.attrs.update(own if output is image else {})
        (path / work).mkdir(parents=True)
        for output in plan.outputs:
            if not output.direct:
                shape = plan.blocks, *output.tiles.tile
                kept, chunks = f"{work.as_posix()}/{output.kept}", (1, *output.tiles.tile)
                group.create_array(kept, shape=shape, chunks=chunks, dtype=output.real, fill_value=np.nan)

    order.ledger.create(make)
    return found


def plan_of(order: Order, found: dict[str, Any]) -> Plan:
    """The plan that a record has.

    Raises
    ------
    ValueError
        If it is damaged, or that of another version.
    """
    try:
        return _plan(order, found)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"target={str(order.ledger.target)!r} was begun by another version of napari-dip, or its record is damaged "
            f"({why}); name another target, or overwrite it"
        ) from error


def _plan(order: Order, found: dict[str, Any]) -> Plan:
    tiles, settings = _tiling(found["tiles"]), Settings(**found["settings"])
    if tiles != order.tiles:
        raise ValueError("its tiles are others")
    numbers = [
        value
        for name, value in (found["noise"] or {}).items()
        if name not in ("autocorrelation", "contrast", "warning")
    ]
    if not all(isinstance(each, (int, float)) and math.isfinite(each) for each in (found["level"], *numbers)):
        raise ValueError("its level or noise is no number")
    limits = None if found["intensity_range"] is None else read_range(tuple(found["intensity_range"]))
    noise = None if found["noise"] is None else noise_from(found["noise"])
    low, high = limits or (0.0, 0.0)
    real = float_for(low, high, noise.sigma if noise else 0.0)
    dtype = np.dtype(order.source.array.dtype) if settings.output_dtype == "input" else real
    lead, spatial = order.source.shape[: order.leading], len(order.space)
    between = float_for(0.0, high - low)

    def output(name: str, tiles: Tiling, dtype: np.dtype[Any], real: np.dtype[Any]) -> Output:
        whole = *lead, *tiles.shape
        chunks, levels = chunks_of(whole, spatial), tuple(pyramid(whole, spatial))
        return Output(name=name, lead=lead, tiles=tiles, dtype=dtype, real=real, chunks=chunks, levels=levels)

    fine = tiles.finer(order.factors)
    return Plan(
        target=str(order.ledger.path.absolute()),
        run=found.get("run", ""),
        task=order.task,
        instrument=order.instrument,
        camera=order.camera,
        settings=settings.changed(threads=order.changes.get("threads", settings.threads)),
        intensity_range=limits,
        noise=noise,
        level=found["level"],
        tiles=tiles,
        factors=order.factors,
        outputs=(
            output(IMAGE, fine, dtype.newbyteorder("="), real),
            *([output(UNCERTAINTY, fine, between, between)] if settings.uncertainty else []),
            *([output(RESIDUAL, tiles, between, between)] if order.residual else []),
        ),
    )


def _tiling(found: dict[str, Any]) -> Tiling:
    return Tiling(tuple(found["shape"]), tuple(found["tile"]), tuple(tuple(each) for each in found["corners"]))


def _noise_as_dict(noise: Noise) -> dict[str, Any]:
    values = {**vars(noise), "autocorrelation": noise.autocorrelation.tolist()}
    return {**values, "contrast": noise.contrast if np.isfinite(noise.contrast) else None}


def noise_from(values: dict[str, Any]) -> Noise:
    contrast = np.inf if values["contrast"] is None else values["contrast"]
    return Noise(**{**values, "autocorrelation": np.array(values["autocorrelation"]), "contrast": contrast})
