"""Parts of pages that are made of the code when the site is built, so that they are never out of date."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from napari_dip.plan.request import arguments
from napari_dip.tables import presets
from napari_dip.tables.knobs import FitKnobs, Knob, PriorKnobs, RefiningKnobs, RunKnobs, SelfGuidedKnobs
from napari_dip.tables.settings import Settings, knobs
from napari_dip.tables.tasks import TASKS, tasks_with_knob

_OWNERS = {
    RunKnobs: "Of the run",
    FitKnobs: "Of each fit, whatever its method",
    RefiningKnobs: "Of similar patches behind a first image",
    PriorKnobs: "Of a deep image prior alone",
    SelfGuidedKnobs: "Of self-guided training alone",
}


def knobs_by_owner() -> str:
    """Every knob of `Settings`, as lists of definitions."""
    parts, left = [], dict(knobs())
    for owner, title in _OWNERS.items():
        names = [each.name for each in fields(owner) if each.name in left]  # one owner may have those of another
        parts += [f"## {title}\n", *(_definition(name, left.pop(name)) for name in names)]
    return "\n".join(parts)


def arguments_of_the_problem() -> str:
    """All arguments besides the image and its mask, as a list of definitions."""
    parts = []
    for name, argument in arguments().items():
        takers = [row.name for row in TASKS.values() if name in row.takes]
        flags = ", ".join(f"`{option.flag}`" for option in argument.options)
        notes = [argument.kind.replace(", optional", ""), *[f"on the command line {flags}"] * bool(flags)]
        notes += [f"for {' and '.join(takers)}"] * bool(takers)
        parts.append(f"`{name}`\n: {argument.help}\n: *{'; '.join(notes)}*\n")
    return "\n".join(parts)


def presets_by_task() -> str:
    """Every preset with what it changes, one table for each task."""
    parts = []
    for row in TASKS.values():
        parts.append(f"## {row.title}\n\n| preset | what it changes |\n|---|---|")
        for name in row.presets:
            changes = ", ".join(f"`{knob}={value!r}`" for knob, value in presets.TABLE[name].items())
            parts.append(f"| `{name}` | {changes} |")
        parts.append("")
    return "\n".join(parts)


def kinds_of_image() -> str:
    """Every kind of image, or of hole, with its sentence and what it changes."""
    parts = ["| preset | for | when, and what it changes |\n|---|---|---|"]
    for name, kind in presets.KINDS.items():
        changes = ", ".join(f"`{knob}={value!r}`" for knob, value in kind.changes.items())
        parts.append(f"| `{name}` | {', '.join(kind.tasks)} | {kind.when}{f' {changes}' if changes else ''} |")
    return "\n".join(parts)


def _definition(name: str, knob: Knob) -> str:
    default: Any = getattr(Settings(), name)
    notes = [f"default {default!r}"]
    if knob.choices:
        notes += [] if name == "preset" else [f"one of {', '.join(knob.choices)}"]
    elif knob.kind in ("int", "ints", "float"):
        notes.append(f"{knob.min:.10g} to {knob.max:.10g}{f' {knob.unit}' if knob.unit else ''}")
    tasks = tasks_with_knob(name)
    notes += [f"for {' and '.join(tasks)}"] * (len(tasks) < len(TASKS))
    notes += ["advanced"] * knob.advanced
    return f"`{name}`\n: {knob.help}\n: *{'; '.join(notes)}*\n"
