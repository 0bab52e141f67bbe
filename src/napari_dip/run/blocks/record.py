"""Record of a run over blocks: what was asked for, what was decided, and what makes another run another one.

It is written into the target before the first block, so that a run which goes on has it from there.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from napari_dip.core import device as devices
from napari_dip.core.intensity import Scaling
from napari_dip.core.noise.model import Noise
from napari_dip.core.reason import Choice
from napari_dip.core.tiling import Tiling
from napari_dip.plan.plan import Plan
from napari_dip.plan.values import read_range
from napari_dip.run.blocks.ledger import KEY, Ledger
from napari_dip.run.blocks.order import Order
from napari_dip.run.record import noise_as_dict
from napari_dip.tables import record
from napari_dip.tables.settings import Settings

_FREE = ("threads", "at_once")  # knobs that another call may have otherwise and still go on
_INSTRUMENT = ("kernel", "psf", "psf_centre", "voxel_size")  # arguments that a record keeps as they were said
_MAY_BE_UNKNOWN = ("contrast", "fine")  # figures of the noise


def asked_for(order: Order, samples: list[str | None], marks: dict[str, str | None]) -> dict[str, Any]:
    """All that decides the result, with fingerprints of samples and of what lies beside, fit for JSON."""
    request = order.request
    beside = {name: {"shape": each.shape, "sha256": marks[name]} for name, each in order.beside.items()}
    instrument = {name: request.said[name] for name in _INSTRUMENT if name in request.said}
    asked = {
        "task": request.task.name,
        "source": {"shape": order.source.shape, "dtype": str(order.source.array.dtype), "sha256": samples},
        "mask": None,
        "leading_axes": len(order.grid.lead),
        "factor": order.factors,
        "camera": request.camera,
        "intensity_range": request.intensity_range,
        "settings": None if order.settings is None else order.settings.as_dict(),
        "changes": {k: v for k, v in order.changes.items() if k not in _FREE},
        **{
            name: value if isinstance(value, (str, int, float)) else record.fingerprint(np.asarray(value))
            for name, value in instrument.items()
        },
        **({} if request.boost is None else {"boost": request.boost}),
        **({"image_noise": _all_of(request.image_noise)} if request.image_noise else {}),
        **({"residual": True} if order.residual else {}),
        **request.own_parts,
        **({} if order.channel_axis is None else {"channel_axis": order.channel_axis}),
        **beside,
    }
    return dict(json.loads(json.dumps(asked)))


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
        now = asked_for(order, samples, {name: (before.get(name) or {}).get("sha256") for name in order.beside})
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
    if isinstance(then, dict) and isinstance(now, dict):  # an array, whose pixels are a fingerprint here
        part = next((part for part in ("shape", "dtype") if then.get(part) != now.get(part)), "")
        then, now = then.get(part, "given"), now.get(part, "given")
    before, after = (said(name, value) for value in (then, now))
    what = f"the {name}" if name in ("source", "mask", "guide") else name
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


def noted(
    order: Order, asked: dict[str, Any], plan: Plan, run: str | None, guide: tuple[float, ...] | None
) -> dict[str, Any]:
    """The record of a run that begins: all that is fixed for it, fit for JSON; `guide`: its range and its mean."""
    tiles = order.grid.tiles
    found = {
        **{name: value for name, value in plan.request.definition.items() if value is not None},
        **plan.request.psf_said,
        "request": asked,
        "run": run,
        "noise": None if plan.noise is None else _all_of(plan.noise),
        "level": plan.level,
        "settings": plan.settings.as_dict(),
        "own_parts": {name: part.account for name, part in order.own_parts.items()},
        "method_reason": plan.method.reason,
        "device": vars(plan.device),
        "software": record.software(),
        "intensity_range": None if plan.scaling is None else [plan.scaling.low, plan.scaling.high],
        "tiles": {"shape": tiles.shape, "tile": tiles.tile, "corners": tiles.corners},
        "input": Path(order.source.path).name,
        "psf_background": plan.request.background,
        "guide_range": guide,
        "finished": None,
    }
    if KEY in order.source.attributes:
        found["input_record"] = order.source.attributes[KEY]
    return dict(json.loads(json.dumps(found)))


def plan_of(order: Order, found: dict[str, Any], decided: Settings) -> Plan:
    """The plan that a record has; its settings are checked unless they are those that are decided now.

    Raises
    ------
    ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError
        If it is damaged, or that of another version.
    """
    own = {name: part for name, part in order.own_parts.items() if name in found["settings"]}  # named in the record
    tiles, same = found["tiles"], found["settings"] == json.loads(decided.to_json())
    settings = decided if same else Settings(**{**found["settings"], **own})
    if Tiling(tuple(tiles["shape"]), tuple(tiles["tile"]), tuple(map(tuple, tiles["corners"]))) != order.grid.tiles:
        raise ValueError("its tiles are others")
    numbers = [
        value
        for name, value in (found["noise"] or {}).items()
        if name not in ("autocorrelation", "warning", "caution") and (value is not None or name not in _MAY_BE_UNKNOWN)
    ]
    if not all(isinstance(each, (int, float)) and math.isfinite(each) for each in (found["level"], *numbers)):
        raise ValueError("its level or noise is no number")
    return Plan(
        request=order.request,
        settings=settings.decided(**{name: order.changes.get(name, getattr(settings, name)) for name in _FREE}),
        open=frozenset(),
        device=devices.Device(settings.device, "as the run was begun"),
        method=Choice(settings.method.name, found["method_reason"]),
        noise=None if found["noise"] is None else noise_from(found["noise"]),
        scaling=None if found["intensity_range"] is None else Scaling(*read_range(tuple(found["intensity_range"]))),
        level=found["level"],
    )


def noise_from(values: dict[str, Any]) -> Noise:
    """The noise whose figures stand in a record."""
    known: dict[str, Any] = {name: np.inf if value is None else value for name, value in values.items()}
    return Noise(**{**known, "autocorrelation": np.array(values["autocorrelation"])})


def _all_of(noise: Noise) -> dict[str, Any]:
    known = {name: value for name, value in noise_as_dict(noise).items() if (name, value) != ("fine", None)}
    return {**known, "autocorrelation": noise.autocorrelation.tolist()}  # records from before have no "fine"
