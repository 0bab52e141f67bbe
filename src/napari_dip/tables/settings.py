"""Settings: all knobs side by side, as users say them; checked once, and read as the method that they mean.

Keyword arguments, command line, the form in the window and the record of a result all walk ``fields(Settings)``.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

from napari_dip.doors import remedy
from napari_dip.tables import presets, record
from napari_dip.tables.knobs import (
    GENERATORS,
    HARMLESS,
    METHODS,
    FitKnobs,
    Knob,
    Method,
    Prior,
    PriorKnobs,
    RunKnobs,
    SelfGuidedKnobs,
    knob,
    own,
)
from napari_dip.tables.meant import meant
from napari_dip.tables.numbers import is_number, is_whole
from napari_dip.tables.parts import MARK, OwnPart, check_again, part_in_file, read_part
from napari_dip.tables.tasks import task_named, tasks_with_knob


class _Idle(ValueError):
    """A knob has no effect beside the others; its arguments are the name of the knob and the message."""

    def __str__(self) -> str:
        return str(self.args[1])


@dataclass(frozen=True, kw_only=True)
class Settings(SelfGuidedKnobs, PriorKnobs, FitKnobs, RunKnobs):
    """Knobs of a restoration, checked once: when a user makes or changes them.

    Raises
    ------
    ValueError, TypeError
        For a value out of its range or of the wrong kind, and for a knob of another method; the message names the
        knob, the value and the remedy.
    """

    code: str = knob(
        "uniform",
        "Input of the generator: fixed noise, a mesh grid, Fourier features, a guide image; or the measurement "
        "itself, made noisier (self; with the U-Net). Or no generator at all: similar patches alone (patches).",
        "choice",
        choices=("uniform", "normal", "mesh", "fourier", "guide", "self", "patches"),
    )

    def __post_init__(self) -> None:
        for name, declared in knobs().items():
            object.__setattr__(self, name, _checked(name, getattr(self, name), declared))
        for name in ("filter_size", "filter_size_up", "filter_size_skip"):
            value = getattr(self, name)
            for size in value if isinstance(value, tuple) else (value,):
                if size % 2 == 0:
                    raise ValueError(f"{name}={size} must be odd, so that filters have a centre; use {size + 1}")
        self._check_method()
        _check_tiles(self.tile, self.overlap)
        for name in knobs():
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.scales:
                raise ValueError(
                    f"{name}={value} has {len(value)} values for scales={self.scales}; give one number for all "
                    "scales, or one per scale"
                )

    def _check_method(self) -> None:
        """Refuse knobs and values that the method of these settings does not have."""
        method = self._kind
        for other in {Prior, *METHODS.values()} - {method}:
            for name in set(own(other)) - {*own(method), "code", "generator"}:
                value = getattr(self, name)
                if value != Settings.__dataclass_fields__[name].default:
                    raise _Idle(
                        name,
                        f"{name}={value!r} is for {other.plural} alone and has no effect with code={self.code!r}; "
                        "leave it out, or choose another preset",
                    )
        for name, values in method.takes.items():
            value = getattr(self, name)
            if value not in values and not (method is Prior and isinstance(value, OwnPart)):
                raise ValueError(
                    f"{name}={getattr(self, name)!r} does not go with code={self.code!r}; "
                    f"use {' or '.join(map(repr, values))}, or choose another preset"
                )
        preset = presets.TABLE.get(self.preset, {})
        for name in (name for name in method.idle if name not in HARMLESS):
            value, default = getattr(self, name), Settings.__dataclass_fields__[name].default
            if value not in (default, preset.get(name, default)):
                raise _Idle(
                    name,
                    f"{name}={value!r} has no effect with code={self.code!r}, which fits no network; leave it out, or "
                    "choose another preset",
                )
        if method is Prior:
            self._check_generator()

    def _check_generator(self) -> None:
        """Refuse architecture that the generator does not have; what a preset says of another one is passed over."""
        preset, reads = presets.TABLE.get(self.preset, {}), GENERATORS.get(self.generator, ())
        for name in {*GENERATORS["hourglass"]} - {*reads}:
            value, default = getattr(self, name), Settings.__dataclass_fields__[name].default
            if value not in (default, preset.get(name, default)):
                others = [other for other, knobs in GENERATORS.items() if name in knobs]
                raise _Idle(
                    name,
                    f"{name}={value!r} has no effect with generator={self.generator!r}; leave it out, or use "
                    f"generator={' or '.join(map(repr, others))}",
                )

    @property
    def _kind(self) -> type[Method]:
        return METHODS.get(self.code, Prior)

    @cached_property
    def method(self) -> Method:
        """The method with its knobs, and none of another one."""
        return self._kind(**{knob.name: getattr(self, knob.name) for knob in fields(self._kind)})

    @property
    def around(self) -> bool:
        """True if a prior may fit what surrounds the holes alone, as known pixels are kept.

        Parts of the user's own see the whole, and so do the presets of the notebooks.
        """
        own_part = isinstance(self.generator, OwnPart) or isinstance(self.regulariser, OwnPart)
        return self._kind is Prior and self.keep_known and not (own_part or self.preset in presets.ORIGINALS)

    @property
    def effective(self) -> tuple[str, ...]:
        """Names of the knobs that have an effect beside the others, in the order in which they are shown."""
        kind, table = self._kind, knobs()
        here = {entry.name for owner in (RunKnobs, kind) for entry in fields(owner)} - set(kind.idle)
        if kind is Prior and self.generator in GENERATORS:
            here -= {name for read in GENERATORS.values() for name in read} - set(GENERATORS[self.generator])
        return tuple(
            name
            for name in table
            if name in here and not any(getattr(self, other) in values for other, values in table[name].idle.items())
        )

    def changed(self, **changes: Any) -> Settings:
        """A copy with some knobs changed.

        Raises
        ------
        TypeError
            For a name that is no knob; the message suggests the one that was meant.
        """
        check_names(changes)
        if not changes:
            return self
        start = self
        if {"preset", "quality"} & set(changes):
            name, quality = (changes.get(each, getattr(self, each)) for each in ("preset", "quality"))
            _checked("quality", quality, knobs()["quality"])
            if name in PRESETS:
                start = PRESETS[name].decided(**{"quality": quality, **presets.at_quality(name, quality)})
        if "scales" in changes:  # of values per scale that were not given with it, the first ones
            scales = _checked("scales", changes["scales"], knobs()["scales"])
            held = {name: getattr(start, name) for name in knobs()}
            changes = {name: v[:scales] for name, v in held.items() if isinstance(v, tuple)} | changes
        return replace(start, **changes)

    def with_tiles(self, tile: Any, overlap: Any) -> Settings:
        """A copy with other tiles, of which nothing else needs a check.

        Raises
        ------
        TypeError, ValueError
            For sides that are no whole numbers, or do not go together.
        """
        sides = {name: _checked(name, n, knobs()[name]) for name, n in (("tile", tile), ("overlap", overlap))}
        _check_tiles(**sides)
        return self.decided(**sides)

    def decided(self, **knobs: Any) -> Settings:
        """A copy with what is decided within a run, which needs no check."""
        made = copy.copy(self)
        vars(made).update(knobs)
        vars(made).pop("method", None)
        return made

    def as_dict(self) -> dict[str, Any]:
        """The knobs as plain values, fit for JSON."""
        return asdict(self)

    def to_json(self) -> str:
        """The knobs as a JSON object, by name."""
        return json.dumps(self.as_dict(), indent=2)

    @classmethod
    def from_json(cls, source: str | Path, *, beside: Collection[str] = (), **changes: Any) -> Settings:
        """Read settings from JSON.

        Parameters
        ----------
        source : str or Path
            The text of a JSON object, or the name of a file that holds one: of knobs by name, of which some may be
            left out, or a record of a restoration, such as the OUT.json of the command line, with its ``settings``. Or
            an image that was restored: a TIFF, a PNG or an OME-Zarr with its record inside, a JPEG or .npy with it
            beside.
        beside : collection of str, or dict
            Parts of your own that are no knobs, ``fidelity``, ``operator`` or ``denoiser``, by name: those of the run
            that you give to the restoration again, beside these settings. Or these parts by name,
            ``{"fidelity": mine}``: a warning says if one is another than that of the run, as of the changes.
        **changes
            Knobs that count more than those read, by name: parts of your own too, which a record only names.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError, TypeError
            If it is no such object, a knob has a wrong name or value, or the run had a part of your own that is
            neither among the changes nor beside; the message says which.
        """
        return cls.of_record(record.read(source), beside=beside, **changes)

    @classmethod
    def of_record(cls, found: dict[str, Any], *, beside: Collection[str] = (), **changes: Any) -> Settings:
        """The settings of a record, or of knobs by name, less those without effect; all else as in `from_json`."""
        check_again(found, changes, beside)
        knobs = {**found.get("settings", found), **changes}
        device = found.get("device")
        if isinstance(device, dict) and "as device=" not in device.get("reason", "") and "device" not in changes:
            knobs["device"] = "auto"  # as it was asked for: the settings name what was found
        if isinstance(asked := found.get("request"), dict):  # a run over blocks settles these for all of them
            said = {**(asked.get("settings") or {}), **asked.get("changes", {}), **changes}
            knobs |= {name: said.get(name, "auto") for name in ("precision", "recompute")}
        while True:
            try:
                return cls().changed(**knobs)
            except _Idle as error:  # which an earlier version wrote
                name, text = error.args
                if name in changes or name not in knobs:
                    raise
                del knobs[name]
                warnings.warn(f"{text.partition(';')[0]}; it is left out", stacklevel=3)

    @property
    def chosen(self) -> dict[str, Any]:
        """The preset, and the knobs that are not as it has them, by name."""
        base = PRESETS.get(self.preset, DEFAULTS).as_dict()
        return {"preset": self.preset, **{name: v for name, v in self.as_dict().items() if v != base[name]}}

    def reason(self, name: str) -> str:
        """Reason for the value of a knob, as part of a sentence: the preset, or the user."""
        by_user = name in self.chosen or self.preset not in PRESETS
        return "chosen by the user" if by_user else f"of the preset {self.preset!r}"


@cache
def knobs() -> dict[str, Knob]:
    """Name -> `Knob` of every field of `Settings`, in the order in which they are shown."""
    return {entry.name: entry.metadata["knob"] for entry in fields(Settings)}


def label_of(name: str) -> str:
    """The label of a knob's row in the window."""
    knob = knobs()[name]
    return (knob.label or name.replace("_", " ").capitalize()) + (f" ({knob.unit})" if knob.unit else "")


def off(name: str) -> str:
    """The way to switch a knob off, in the words of the door that was taken."""
    flag = f"--no-{name.replace('_', '-')}"
    return remedy(python=f"{name}=False", command=flag, window=f"{label_of(name)} off")


def part_or_name(name: str, value: Any) -> Any:
    """A value of a knob as a user writes it: of one that takes the user's own parts, maybe that in ``FILE.py:NAME``."""
    return part_in_file(name, value) if knobs()[name].own and isinstance(value, str) and ".py:" in value else value


def knobs_of(task: str) -> dict[str, Knob]:
    """Knobs of one task."""
    return {name: knob for name, knob in knobs().items() if task in tasks_with_knob(name)}


def check_names(changes: dict[str, Any], also: tuple[str, ...] = ()) -> None:
    """Raise a `TypeError` with a suggestion for the first name that is no knob."""
    names = list(knobs())
    for name in changes:
        if name not in names:
            close = meant(name, [*names, *also], cutoff=0.5)
            hint = f"did you mean {close!r}?" if close else f"the knobs are {', '.join(names)}"
            raise TypeError(f"unknown setting {name!r}: {hint}")


def of_kind(task: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Changes to the settings with what a kind of image stands for, where ``preset`` names one."""
    name = changes.get("preset")
    if not isinstance(name, str) or name not in kinds_for(task):
        return changes
    lacks = {*GENERATORS["hourglass"]} - {*GENERATORS.get(changes.get("generator", "hourglass"), ())}
    own = {knob: v for knob, v in presets.KINDS[name].changes.items() if task in tasks_with_knob(knob)}
    return {**{knob: v for knob, v in own.items() if knob not in lacks}, **changes, "preset": "auto"}


def kinds_for(task: str) -> list[str]:
    """The names of the kinds of image, or of hole, that a task offers as presets."""
    return [name for name, kind in presets.KINDS.items() if task in kind.tasks]


def check_preset(task: str, changes: dict[str, Any]) -> None:
    """Raise a `ValueError` that names the presets of a task if the changes name one that there is not."""
    name, knob = changes.get("preset", "auto"), knobs()["preset"]
    if name not in knob.choices:
        _checked("preset", name, replace(knob, choices=("auto", *presets_for(task), *kinds_for(task))))


def _check_tiles(tile: int, overlap: int) -> None:
    if 0 < tile < 16:
        raise ValueError(f"tile={tile} is too small to tell structure from noise; use at least 16, or 0")
    if tile and 2 * overlap > tile:  # ever more tiles, of which many would share each pixel
        raise ValueError(
            f"overlap={overlap} is more than half of tile={tile}; use {tile // 2} at the most (an eighth of a tile is "
            "usual)"
        )


def _checked(name: str, value: Any, knob: Knob) -> Any:
    """`value` as the plain Python type of its knob, or the error that says what is wrong with it."""
    if knob.kind in ("ints", "choices") and isinstance(value, (list, tuple)):
        single = replace(knob, kind="int" if knob.kind == "ints" else "choice")
        return tuple(_checked(name, item, single) for item in value)
    if knob.own and (callable(value) or (isinstance(value, str) and MARK in value) or isinstance(value, OwnPart)):
        return read_part(name, value)
    if knob.kind in ("choice", "choices"):
        if not isinstance(value, str) or value not in knob.choices:
            close = meant(str(value), knob.choices)
            hint = f"did you mean {close!r}?" if close else f"choose one of {', '.join(knob.choices)}"
            raise ValueError(f"{name}={value!r} is not known: {hint}")
        return value
    if knob.kind == "text":
        if not isinstance(value, str):
            raise TypeError(f"{name}={value!r} must be a text, such as {Settings.__dataclass_fields__[name].default!r}")
        return value
    if knob.kind == "bool":
        if type(value).__name__ not in ("bool", "bool_"):
            raise TypeError(f"{name}={value!r} must be True or False")
        return bool(value)
    whole = knob.kind in ("int", "ints")
    wanted = "a whole number" if whole else "a number"
    if not (is_whole if whole else is_number)(value):
        raise TypeError(f"{name}={value!r} must be {wanted}")
    if not knob.min <= cast(Any, value) <= knob.max:  # false for NaN too
        raise ValueError(f"{name}={value!r} must be {wanted} from {knob.min:.10g} to {knob.max:.10g}")
    return int(cast(Any, value)) if whole else float(value)


#: What every knob is by itself.
DEFAULTS = Settings()
#: Every preset by name, as plain settings.
PRESETS = {name: Settings(preset=name, **changes) for name, changes in presets.TABLE.items()}


def presets_for(task: str) -> list[str]:
    """The names of the presets that a task offers."""
    return [name for name in presets.TABLE if name in task_named(task).presets]
