"""Request for a run over blocks, what samples of its array decide for all of them, and the record of both.

The record is written into the target before the first block, so that a run which goes on has it from there.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_dip import record
from napari_dip.core import device as devices
from napari_dip.core.intensity import Scaling
from napari_dip.core.noise.model import Noise
from napari_dip.core.reason import Choice
from napari_dip.core.tiling import Tiling, snug, tiles_of, tiling
from napari_dip.inputs import Slices, read_range
from napari_dip.io.arrays import Part, Place, Source, Unreadable, open_source, read_known
from napari_dip.io.ngff import Calibration
from napari_dip.ledger import KEY, Ledger
from napari_dip.plan import Plan, decide
from napari_dip.request import Request, arguments, check_reach, read_instrument
from napari_dip.settings import Settings, check_names

_OTHERWISE = {  # how blocks are told what other functions have a keyword for
    "axes": "the file of an OME-Zarr names its axes, calibration= those of a plain array, and leading_axes= says how "
    "many of them are no space",
    "channel_axis": "channels are leading axes, which are restored one by one",
    "guide": "it would have to be of the size of the result; restore a part with code='guide'",
}
_INSTRUMENT = ("kernel", "psf", "psf_centre", "voxel_size")  # arguments that a record keeps as they were said
_TILE = {2: 1024, 3: 128}  # side of a tile at the most, or nearly, if the user names none
_SAMPLES = {2: (16, (512, 512)), 3: (4, (64, 128, 128))}  # how many, and how large: what the noise is estimated from


@dataclass(frozen=True, kw_only=True)
class Order:
    """Request for a run over blocks, checked.

    Attributes
    ----------
    request : Request
        The problem, without an image.
    source, mask : Source, Source or None
        Arrays that are read block by block.
    settings : Settings or None
        None for the preset of the task.
    changes : dict
        Changes to the settings, by name.
    residual : bool
        True if the residual is written too.
    """

    request: Request
    source: Source
    mask: Source | None
    settings: Settings | None
    changes: dict[str, Any]
    residual: bool

    @property
    def lead(self) -> tuple[int, ...]:
        """Lengths of the leading axes, which are no space."""
        return self.source.shape[: len(self.source.shape) - self.request.ndim]

    @property
    def space(self) -> tuple[int, ...]:
        return self.source.shape[len(self.lead) :]

    @property
    def factors(self) -> tuple[int, ...]:
        """Factors by which the result is finer along the axes of space."""
        return self.request.factor or (1,) * self.request.ndim

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

    @property
    def blocks(self) -> Iterator[Place]:
        """Places of all blocks in the source."""
        for at in np.ndindex(*self.lead):
            for tile in self.tiles:
                yield (*(slice(i, i + 1) for i in at), *tile)

    @property
    def sample_places(self) -> list[Place]:
        """Places of the samples in the source: middles of blocks, evenly spread over all of them."""
        count, size = _SAMPLES[len(self.space)]
        tiles = self.tiles
        total = math.prod(self.lead) * len(tiles)
        places = []
        for i in sorted({int(i) for i in np.linspace(0, total - 1, min(count, total))}):
            at = np.unravel_index(i // len(tiles), self.lead) if self.lead else ()
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
        return self.request, list(map(self.parts, self.sample_places)), self.settings, self.changes

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

    def asked(self, samples: list[str | None], mask: str | None) -> dict[str, Any]:
        """All that decides the result, with fingerprints of samples and of the mask, fit for JSON."""
        request = self.request
        instrument = {name: request.said[name] for name in _INSTRUMENT if name in request.said}
        asked = {
            "task": request.task.name,
            "source": {"shape": self.source.shape, "dtype": str(self.source.array.dtype), "sha256": samples},
            "mask": None if self.mask is None else {"shape": self.mask.shape, "sha256": mask},
            "leading_axes": len(self.lead),
            "factor": self.factors,
            "camera": request.camera,
            "intensity_range": request.intensity_range,
            "settings": None if self.settings is None else self.settings.as_dict(),
            "changes": {k: v for k, v in self.changes.items() if k != "threads"},
            **{
                name: value if isinstance(value, (str, int, float)) else record.fingerprint(np.asarray(value))
                for name, value in instrument.items()
            },
            **({"image_noise": _noise_as_dict(request.image_noise)} if request.image_noise else {}),
            **({"residual": True} if self.residual else {}),
        }
        return dict(json.loads(json.dumps(asked)))


def read_order(
    task: str,
    source: Any,
    mask: Any = None,
    *,
    leading_axes: int | None = None,
    calibration: Calibration | None = None,
    settings: Settings | None = None,
    residual: bool = False,
    **options: Any,
) -> Order:
    """Check a request as far as that needs no pixel; arguments as for `large.iterate_blocks`."""
    for name, instead in _OTHERWISE.items():
        if options.get(name) is not None:
            raise TypeError(f"{name}={options[name]!r} is not for blocks: {instead}")
    said = {name: options[name] for name in arguments() if name in options}
    changes = {name: value for name, value in options.items() if name not in said}
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
    if said.get("voxel_size") is None:
        said["voxel_size"] = read.calibration.voxel_size(ndim - leading)
    request = read_instrument(task, ndim - leading, **said)
    if request.task.fills_holes and hidden is None and read.array.dtype.kind != "f":
        raise ValueError("mask is not given and integers cannot be NaN, so there is no hole to fill; give a mask")
    order = Order(request=request, source=read, mask=hidden, settings=settings, changes=changes, residual=residual)
    check_reach(request, request.finer(order.tiles.tile))  # the sides of tiles are checked too
    return order


def _open_mask(mask: Any, source: Source) -> Source:
    if isinstance(mask, np.ndarray) and mask.dtype == bool:
        mask = mask.astype(np.uint8)
    opened = open_source(mask)
    if opened.shape != source.shape[len(source.shape) - len(opened.shape) :]:
        raise ValueError(f"mask has the shape {opened.shape}, but the source {source.shape}; a mask may only lack axes")
    return opened


def look(
    request: Request, samples: list[tuple[Part, Part | None]], settings: Settings | None, changes: dict[str, Any]
) -> tuple[Plan, list[str | None]]:
    """Decide by samples of an array how all of its blocks are restored; and their fingerprints, which identify it.

    On the machine that will compute, for the settings depend on its device. The scaling is that of the samples.
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
    values, missing = (np.stack([a.reshape(1, *space) for a in each]) for each in zip(*read, strict=True))
    plan = decide(replace(request, image=Slices(values, missing, (len(values),), None)), settings, changes)
    return replace(
        plan,
        request=request,
        settings=settled(plan.settings, request.ndim),
        open=frozenset(),
        level=plan.noises.level,
    ), digests


def settled(settings: Settings, ndim: int) -> Settings:
    """The settings for all blocks, so that neither free memory nor the machine of a worker has a say in them."""
    device = devices.choose(settings.device)
    settings = settings.changed(
        precision=devices.precision_of(settings, device.name, volume=ndim == 3),
        recompute="off" if settings.recompute == "auto" else settings.recompute,
    )
    if settings.device == "auto":  # the first GPU that each worker sees
        settings = settings.changed(device=device.name.partition(":")[0])
    return settings


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


def refuse_another(order: Order, found: dict[str, Any], path: Path, asked: dict[str, Any] | None = None) -> None:
    """Raise `AnotherRun` if a run was asked for something else; without `asked` as far as no pixel is read for that."""
    before = found["request"]
    samples = before["source"].get("sha256")
    if asked is None:
        now = order.asked(samples, None if before["mask"] is None else before["mask"].get("sha256"))
    else:  # a chunk may have been damaged then, or be damaged now
        same = _same_samples(asked["source"]["sha256"], samples)
        now = {**asked, "source": {**asked["source"], "sha256": same}}
    said = [{**each, **each["camera"], **each["changes"]} for each in (before, now)]
    if before["settings"] and now["settings"]:  # each knob that differs, not all of them
        said = [{**each["settings"], **each, "settings": None} for each in said]
    then, wanted = said
    differences = {
        name: (then.get(name), wanted.get(name))
        for name in sorted({*then, *wanted} - {"camera", "changes"})
        if then.get(name) != wanted.get(name)
    }
    if differences:
        raise AnotherRun(path, differences)


def begun(order: Order, ledger: Ledger, asked: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """The record of a run that is there and was asked for the same, as `refuse_another` finds."""
    found = ledger.record()
    try:
        if found is not None:
            refuse_another(order, found, ledger.path, asked)
    except AnotherRun:
        return None
    return found


def _same_samples(now: list[str | None], begun: Any) -> list[str | None]:
    """The fingerprints of a run that goes on, if all that were read both times are the same; else those of now."""
    if not isinstance(begun, list) or len(begun) != len(now):
        return now
    both = [(a, b) for a, b in zip(now, begun, strict=True) if a is not None and b is not None]
    return begun if both and all(a == b for a, b in both) else now


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


def noted(order: Order, asked: dict[str, Any], plan: Plan, run: str | None) -> dict[str, Any]:
    """The record of a run that begins: all that is fixed for it, fit for JSON."""
    tiles = order.tiles
    found = {
        "request": asked,
        "run": run,
        "task": plan.request.task.name,
        "noise": None if plan.noise is None else _noise_as_dict(plan.noise),
        "level": plan.level,
        "settings": plan.settings.as_dict(),
        "method_reason": plan.method.reason,
        "device": str(plan.device),
        "software": record.software(),
        "intensity_range": None if plan.scaling is None else [plan.scaling.low, plan.scaling.high],
        "tiles": {"shape": tiles.shape, "tile": tiles.tile, "corners": tiles.corners},
        "input": Path(order.source.path).name,
        "finished": None,
    }
    if KEY in order.source.attributes:
        found["input_record"] = order.source.attributes[KEY]
    return dict(json.loads(json.dumps(found)))


def plan_of(order: Order, found: dict[str, Any]) -> Plan:
    """The plan that a record has.

    Raises
    ------
    ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError
        If it is damaged, or that of another version.
    """
    tiles, settings = found["tiles"], Settings(**found["settings"])
    if Tiling(tuple(tiles["shape"]), tuple(tiles["tile"]), tuple(map(tuple, tiles["corners"]))) != order.tiles:
        raise ValueError("its tiles are others")
    numbers = [
        value
        for name, value in (found["noise"] or {}).items()
        if name not in ("autocorrelation", "contrast", "warning")
    ]
    if not all(isinstance(each, (int, float)) and math.isfinite(each) for each in (found["level"], *numbers)):
        raise ValueError("its level or noise is no number")
    return Plan(
        request=order.request,
        settings=settings.changed(threads=order.changes.get("threads", settings.threads)),
        open=frozenset(),
        device=devices.Device(settings.device, "as the run was begun"),
        method=Choice(settings.method.name, found["method_reason"]),
        noise=None if found["noise"] is None else noise_from(found["noise"]),
        scaling=None if found["intensity_range"] is None else Scaling(*read_range(tuple(found["intensity_range"]))),
        level=found["level"],
    )


def _noise_as_dict(noise: Noise) -> dict[str, Any]:
    values = {**vars(noise), "autocorrelation": noise.autocorrelation.tolist()}
    return {**values, "contrast": noise.contrast if np.isfinite(noise.contrast) else None}


def noise_from(values: dict[str, Any]) -> Noise:
    contrast = np.inf if values["contrast"] is None else values["contrast"]
    return Noise(**{**values, "autocorrelation": np.array(values["autocorrelation"]), "contrast": contrast})
