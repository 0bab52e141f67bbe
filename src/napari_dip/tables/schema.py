"""JSON Schema of the files that settings are read from: settings alone, settings kept in the window, and records."""

from __future__ import annotations

from typing import Any

from napari_dip.tables.knobs import Knob
from napari_dip.tables.parts import MARK
from napari_dip.tables.settings import Settings, knobs
from napari_dip.tables.tasks import TASKS

_KINDS = {"int": "integer", "float": "number", "bool": "boolean"}


def settings_schema() -> dict[str, Any]:
    """JSON Schema of the files that `Settings.from_json` reads: settings, those kept in the window, and records."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of napari-dip",
        "description": "Settings by name, or a record with them, which may stand under napari-dip.",
        "type": "object",
        "if": {"required": ["napari-dip"]},
        "then": {"properties": {"napari-dip": {"$ref": "#/$defs/record"}}},
        "else": {
            "if": {"required": ["settings"]},
            "then": {"$ref": "#/$defs/record"},
            "else": {"$ref": "#/$defs/settings"},
        },
        "$defs": {
            "settings": {
                "description": "Knobs by name. Those that are left out are as Settings() has them.",
                "type": "object",
                "properties": {name: _property(name, knob) for name, knob in knobs().items()},
                "additionalProperties": False,
            },
            "record": {
                "description": "What was restored, and how. What is not named here is told, and not read.",
                "type": "object",
                "required": ["settings"],
                "properties": {
                    "task": {"enum": list(TASKS)},
                    "settings": {"$ref": "#/$defs/settings"},
                    "camera": {"type": "object", "additionalProperties": {"type": ["number", "null"]}},
                },
            },
        },
    }


def _property(name: str, knob: Knob) -> dict[str, Any]:
    """Schema of a knob."""
    one: dict[str, Any] = {"type": _KINDS.get(knob.kind.removesuffix("s"), "string")}
    if knob.kind in ("int", "ints", "float"):
        one |= {"minimum": knob.min, "maximum": knob.max}
    if knob.kind in ("choice", "choices"):
        one["enum"] = list(knob.choices)
    if knob.own:  # a record names a part of the user's own
        one = {"anyOf": [one, {"type": "string", "pattern": MARK}]}
    if knob.kind in ("ints", "choices"):
        one = {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}
    return {"description": knob.help, "default": getattr(Settings(), name), **one}
