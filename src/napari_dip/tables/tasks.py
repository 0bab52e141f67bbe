"""The tasks as a table: a row says all that tells one task from another, and nothing else compares their names.

A new task is a row here, its operator, and its command and widget in napari.yaml. Command line, window, keywords,
presets, records and names of results follow from the row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from napari_dip.tables.knobs import Method, Prior, SelfGuided


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task: its words, its arguments, its instrument and its presets.

    Attributes
    ----------
    name : str
        Keyword of the front door and name of the command.
    title, done : str
        Title of its window; participle in the name of a restored layer, such as "cells denoised".
    does : str
        Sentence of the help.
    of : str
        Preposition between the title and an image, where it takes one.
    needs : dict of str to str
        Arguments that must be given, and the remedy where one is not.
    defaults : dict
        Arguments that the task alone gives a value where none is said.
    takes : tuple of str
        All arguments that not every task takes.
    operators : tuple of str
        Classes of `core.operators` that the light passes, the first one first; each is made of the request, or left
        out where that does not ask for it.
    presets : tuple of str
        For a CPU, for an accelerator, and others that it offers.
    patches : str
        Preset of similar patches alone, for a first good picture.
    methods : tuple of type
        Methods that ``preset="auto"`` chooses from.
    knobs : tuple of str
        Knobs that not every task has.
    keeps_mean : bool
        The mean of the measurement is known much better than that of the result, which is moved there.
    before : tuple of str
        Measures that the measurement can be compared with its result by: "truth", "resolution".
    removes_noise : bool
        What it removes should be noise: only then the noise of the image and the residual are judged.
    sharpens_noise : bool
        Its prior sharpens noise, which similar patches behind it are to take out; without noise they only lose.
    adds_detail : bool
        The result is the measurement plus `boost` times what the fitted image lacks of it, which is coarse.
    where_whole : str
        Task of a part in which no pixel is missing; by default the same.
    """

    name: str
    title: str
    done: str
    does: str
    of: str = ""
    needs: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    takes: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    presets: tuple[str, ...]
    patches: str = ""
    methods: tuple[type[Method], ...] = (Prior,)
    knobs: tuple[str, ...] = ()
    keeps_mean: bool = False
    before: tuple[str, ...] = ()
    removes_noise: bool = True
    sharpens_noise: bool = False
    adds_detail: bool = False
    where_whole: str = ""

    @property
    def acts(self) -> str:
        """Beginning of a sentence that the name of an image ends."""
        return f"{self.title} {self.of}".rstrip()

    @property
    def fills_holes(self) -> bool:
        """There must be a hole, and what is around it is known."""
        return "mask" in self.needs


_ROWS = (
    Task(
        name="denoise",
        title="Denoise",
        done="denoised",
        does="Remove noise from an image.",
        presets=(
            *("denoise-small", "denoise-large", "denoise-self", "denoise-patches"),
            *("original-denoise", "original-denoise-strong", "original-jpeg"),
        ),
        patches="denoise-patches",
        methods=(SelfGuided, Prior),
        knobs=("similar_patches", "skip_bad_pixels", "skip_padding"),
        keeps_mean=True,
        before=("truth", "resolution"),
    ),
    Task(
        name="inpaint",
        title="Inpaint",
        done="inpainted",
        does="Fill the holes of an image.",
        needs={
            "mask": "and no pixel is NaN, so there is no hole to fill; mark the missing pixels with True or 1",
        },
        presets=(
            *("inpaint-small", "inpaint-large", "inpaint-patches", "original-inpaint-text"),
            *("original-inpaint-hole", "original-inpaint-region", "original-inpaint-half", "original-inpaint-sparse"),
        ),
        patches="inpaint-patches",
        knobs=("keep_known", "skip_bad_pixels", "skip_padding"),
        where_whole="denoise",
    ),
    Task(
        name="superresolve",
        title="Super-resolve",
        done="super-resolved",
        does="Enlarge an image by whole factors.",
        needs={"factor": "factor is needed for super-resolution, such as factor=2"},
        takes=("factor", "kernel", "psf", "psf_centre"),
        operators=("Blur", "Downsample"),
        presets=(
            *("superresolve-small", "superresolve-large", "superresolve-patches"),
            *("original-superresolve-4", "original-superresolve-8"),
        ),
        patches="superresolve-patches",
        knobs=("skip_padding",),
        before=("resolution",),
    ),
    Task(
        name="deconvolve",
        title="Deconvolve",
        done="deconvolved",
        does="Undo the blur of an instrument whose point spread function is known.",
        needs={"psf": "psf is needed for deconvolution: an array, or the sigma of a Gaussian such as psf=1.5"},
        takes=("psf", "psf_centre"),
        operators=("Blur",),
        presets=("deconvolve-small", "deconvolve-large", "deconvolve-patches"),
        patches="deconvolve-patches",
        sharpens_noise=True,
        knobs=("skip_padding",),
        before=("resolution",),
    ),
    Task(
        name="deblock",
        title="Remove JPEG artefacts",
        done="deblocked",
        does="Remove blocks and ringing that JPEG, or another lossy compression, left in an image.",
        of="from",
        presets=("deblock-small", "deblock-large", "original-jpeg"),
        removes_noise=False,
        keeps_mean=True,
        before=("truth", "resolution"),
    ),
    Task(
        name="enhance",
        title="Enhance",
        done="enhanced",
        does="Raise the contrast of fine detail: add what a coarse image made by a short run lacks, times a boost.",
        defaults={"boost": 2.0},
        takes=("boost",),
        presets=("enhance-small", "enhance-large"),
        keeps_mean=True,
        knobs=("skip_padding",),
        removes_noise=False,
        adds_detail=True,
    ),
)

#: Name -> row.
TASKS = {row.name: row for row in _ROWS}


def task_named(name: str) -> Task:
    """The row of a task.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if name not in TASKS:
        raise ValueError(f"task={name!r} is not known: choose one of {', '.join(TASKS)}")
    return TASKS[name]


def removes_noise(record: dict[str, Any]) -> bool:
    """True if the task of a record removes noise, or is not known."""
    row = TASKS.get(record.get("task", ""))
    return row is None or row.removes_noise


def tasks_with_knob(name: str) -> tuple[str, ...]:
    """Tasks that have a knob: those that name it, or all if none does."""
    return tuple(row.name for row in _ROWS if name in row.knobs) or tuple(TASKS)
