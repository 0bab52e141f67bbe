"""The options of the command line. Those that are knobs come from walking `knobs`, arguments from `Request`.

Long because all that ``--help`` shows, and neither of these has, is written here.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import napari_dip
from napari_dip.command.parser import Parser, values_of, why_unknown
from napari_dip.io import files
from napari_dip.io.ngff import is_zarr
from napari_dip.plan.request import Argument, Option, arguments, arguments_of, with_defaults
from napari_dip.plan.values import read_factor
from napari_dip.tables import record
from napari_dip.tables.experiments import EXPERIMENTS
from napari_dip.tables.knobs import GENERATORS, Knob
from napari_dip.tables.method import settings_for
from napari_dip.tables.parts import part_in_file
from napari_dip.tables.settings import PRESETS, Settings, kinds_for, knobs, knobs_of, part_or_name, presets_for
from napari_dip.tables.tasks import TASKS, Task

_NOISE = "Say what the noise of an image is, and which of its pixels are bad."
_SAMPLES = "Draw images from a prior that is fitted to nothing, and say how self-similar they are."
_LAB = "Run an experiment of the laboratory on the middle of an image, and print its table: docs/laboratory.md."
_INFO = "Say the versions, the devices and the memory that there are, for a report of a fault."
_ABOUT = (
    "IN and OUT are .tif, .tiff, .png, .jpg, .jpeg, .npy or .zarr (OME-Zarr: block by block, of any size, and the same "
    "command goes on where it was broken off). Pixel sizes, units, axes and transparency are kept, and "
    "the record of how the result came about is in OUT, or in OUT.json beside it (.jpg, .npy). Each z slice, time "
    "and channel is restored on its own, the colours of RGB together. Ctrl-C ends the run and keeps the result so far."
)


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The arguments, and the knobs that were given.

    Raises
    ------
    SystemExit
        With status 2, after saying what is wrong, or 0 after ``--help`` and ``--version``.
    """
    parser, commands = _parsers()
    args, unknown = parser.parse_known_args(argv)
    command = commands[args.task]
    if getattr(args, "source", None) == "":
        command.error("IN is empty; name the image")
    if args.task in ("info", "samples", "lab"):
        if unknown:
            command.error(f"{unknown[0]!r} is one word too many: see napari-dip {args.task} --help")
        return args, {}
    if getattr(args, "target", "") is None and unknown and not unknown[0].startswith("-"):
        args.target = unknown.pop(0)  # argparse looks for what may be left out beside IN alone, not after an option
    if getattr(args, "output_folder", None) is not None:
        words = [word for word in unknown if not word.startswith("-")]
        args.sources = [args.source, *([] if args.target is None else [args.target]), *words]
        args.target, unknown = args.output_folder, [word for word in unknown if word not in words]
    elif hasattr(args, "output_folder") and Path(args.source).is_dir() and not is_zarr(args.source):
        command.error(f"{args.source} is a folder; name one for the results of its images: --output-folder OUT")
    if unknown:
        command.error(why_unknown(unknown[0], args.task, commands))
    if args.mask is None and (args.mask_label is not None or args.mask_is_known):
        command.error("--mask-label and --mask-is-known say how to read a mask; give it with --mask")
    if args.task == "noise":
        return args, {}
    try:
        changes = {name: part_or_name(name, value) for name, value in vars(args).items() if name in knobs()}
        beside = {} if args.settings is None else _of_problem(args)
    except ValueError as error:
        command.error(str(error))
    if args.settings is not None:
        try:
            if "preset" in changes:
                raise ValueError("--settings FILE names a preset; leave out --preset")
            parts = {name: value for name, value in changes.items() if knobs()[name].own}  # which a record only names
            found = record.read(Path(args.settings))
            changes = {**Settings.of_record(found, beside=beside, **parts).chosen, **changes}
            _take_problem(args, found)
        except (OSError, TypeError, ValueError) as error:
            command.error(f"--settings: {error}")
    if lacking := _lacking(args):
        command.error(lacking)
    if args.target is None and not args.estimate:
        command.error("OUT, the file to write, is missing (only --estimate writes none)")
    if args.affine and args.truth is None:
        command.error("--affine says how to compare with the truth; give it with --truth")
    if args.guide is not None:
        changes.setdefault("code", "guide")
    try:
        if (settings_for(args.task, on_cpu=True, **changes).code == "guide") != (args.guide is not None):
            raise ValueError("--code guide and --guide FILE go together; give both, or leave out --code")
        if (factor := getattr(args, "factor", None)) is not None:
            read_factor(factor, len(factor) if isinstance(factor, tuple) else 2)
    except (TypeError, ValueError) as error:
        command.error(str(error))
    return args, changes


def check_volume(args: argparse.Namespace, axes: str) -> None:
    """Refuse ``--volume`` for an image without a z axis, and what is said of z, y and x without it.

    Parameters
    ----------
    args : Namespace
        Of a command.
    axes : str
        Axes of its image, a letter for each.
    """
    has_z = "Z" in axes.upper()
    if args.volume and not has_z:
        raise ValueError(f"--volume needs a z axis, but {args.source} has the axes {axes}; leave it out")
    for name in ("factor", "psf_sigma"):
        values = getattr(args, name, None)
        if has_z and not args.volume and isinstance(values, tuple) and len(values) == 3:
            said = f"--{name.replace('_', '-')} {','.join(map(str, values))}"
            raise ValueError(f"{said} is for z, y and x: say --volume too, as only y and x are space without it")


def _parsers() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(prog="napari-dip", description=napari_dip.__doc__.partition("\n")[0], epilog=_ABOUT)
    parser.add_argument("--version", action="version", version=f"napari-dip {napari_dip.__version__}")
    subparsers = parser.add_subparsers(dest="task", metavar="TASK", required=True)
    commands = {task: subparsers.add_parser(task, help=row.does, **_texts(row)) for task, row in TASKS.items()}
    for task, command in commands.items():
        _add_arguments(command, task)
        _add_trust(command)
        _add_knobs(command, task)
    usage = "napari-dip noise IN [options]"
    commands["noise"] = subparsers.add_parser("noise", help=_NOISE, usage=usage, description=_NOISE, allow_abbrev=False)
    commands["noise"].add_argument("source", metavar="IN", help="The image.")
    _add_reading(commands["noise"])
    commands["noise"].add_argument(
        "--bad-pixels", metavar="MASK", help="Write where pixels are hot, dead, saturated or NaN: a mask for inpaint."
    )
    commands["noise"].add_argument("--overwrite", action="store_true", help="Replace MASK if it exists.")
    _add_samples(subparsers.add_parser("samples", help=_SAMPLES, description=_SAMPLES, allow_abbrev=False), commands)
    _add_lab(subparsers.add_parser("lab", help=_LAB, description=_LAB, allow_abbrev=False), commands)
    commands["info"] = subparsers.add_parser("info", help=_INFO, description=_INFO, allow_abbrev=False)
    return parser, commands


def _add_samples(command: Parser, commands: dict[str, Parser]) -> None:
    """Add the options of samples of a prior."""
    commands["samples"] = command
    command.add_argument("target", metavar="OUT", help="The file to write: a stack, of decimal numbers.")
    command.add_argument("--generator", choices=GENERATORS, default="hourglass", help="The untrained network.")
    command.add_argument("--count", type=int, default=8, metavar="N", help="Number of images (default: 8).")
    command.add_argument("--size", type=int, default=128, metavar="N", help="Pixels a side (default: 128).")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="Decides weights and code (default: 0).")
    command.add_argument("--overwrite", action="store_true", help="Replace OUT if it exists.")


def _add_lab(command: Parser, commands: dict[str, Parser]) -> None:
    """Add the options of the laboratory."""
    commands["lab"] = command
    add = command.add_argument
    add("experiment", metavar="EXPERIMENT", help=f"{', '.join(EXPERIMENTS)}.")
    add("source", metavar="IN", help="The image: (y, x), or (z, y, x).")
    add("--question", default="skips", metavar="NAME", help="Of an ablation: skips, code noise, ... (default: skips).")
    add("--truth", metavar="FILE", help="The same image without noise.")
    network = "Of preimage and maximise: textures, torchvision:NAME, timm:NAME, or FILE.py:NAME, which is run."
    add("--network", default="textures", metavar="NAME", help=network)
    add("--weights", metavar="FILE", help="Of that network: .npz, .safetensors, .pt or .pth.")
    add("--layer", default="relu2", metavar="NAME", help="Of that network (default: relu2; '' is its output).")
    add("--unit", type=int, default=0, metavar="N", help="Of that layer, to maximise: a filter, or a class.")
    add("--crop", type=int, default=96, metavar="N", help="Pixels a side, in the middle (default: 96).")
    add("--iterations", type=int, metavar="N", help="Of each fit.")
    add("--seed", type=int, default=0, metavar="N", help="Decides every random number (default: 0).")
    add("--images", metavar="OUT", help="Write the images as a stack, in the order of the table.")
    add("--overwrite", action="store_true", help="Replace OUT if it exists.")


def _texts(task: Task) -> dict[str, Any]:
    first = {name: argument.options[0] for name, argument in arguments().items() if argument.options}
    needed = [f"{first[name].flag} {first[name].metavar}" if name in first else "--mask MASK" for name in task.needs]
    usage = " ".join(["napari-dip", task.name, "IN OUT", *needed, "[options]"])  # the whole list would drown an error
    return {"usage": usage, "description": task.does, "epilog": _ABOUT, "allow_abbrev": False}


def _add_arguments(command: Parser, task: str) -> None:
    """Add the options that define the problem, and how it is run."""
    add = command.add_argument
    add("source", metavar="IN", help="The image to restore.")
    holds = "PNG and JPEG hold whole numbers only; TIFF holds any. Not needed for --estimate."
    add("target", metavar="OUT", nargs="?", help=f"The file to write. {holds}")
    add("--output-folder", metavar="FOLDER", help=_SEVERAL)
    _add_reading(command)
    for argument in arguments_of(task).values():
        if argument.options and not argument.group:
            _add_ways(command, argument)
    add("--together", type=str.upper, choices=("T", "C", "Z"), help=_TOGETHER)
    add("--overwrite", action="store_true", help="Replace OUT, and what is written beside it, if it exists.")
    add(
        "--scheduler",
        metavar="ADDRESS",
        help="OUT.zarr: compute on the workers of this Dask scheduler, tcp://HOST:PORT.",
    )
    add("--settings", metavar="FILE", help=_SETTINGS)
    add("--quiet", action="store_true", help="No progress bar.")
    add("--estimate", action="store_true", help="Only say what memory and time it would take; write nothing.")


def _add_ways(command: Any, argument: Argument) -> None:
    """The options of an argument, of which one may be given."""
    place = command.add_mutually_exclusive_group() if len(argument.options) > 1 else command
    for option in argument.options:
        how: dict[str, Any] = {"choices": option.choices} if option.choices else {"metavar": option.metavar}
        if not option.choices:
            how["type"] = values_of(option.type, option.several) if option.several else option.type
        place.add_argument(option.flag, help=option.help, **how)


def said(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of the problem that a command was given, by name, with the pixels of files."""
    found: dict[str, Any] = {}
    for name, option, value in _given(args):
        if option.file:
            found[name] = _pixels(option, value)
        else:
            found[name] = part_in_file(name, value) if option.code else value
    return with_defaults(found)


def _pixels(option: Option, path: str) -> Any:
    """Pixels of a file; where they have no colours, three or four planes that tifffile took for these are planes."""
    picture = files.read(path)
    if option.colours or not picture.order.startswith("S"):
        return picture.values
    return np.moveaxis(picture.samples(), -1, 0)


def _take_problem(args: argparse.Namespace, found: dict[str, Any]) -> None:
    """Fill in what a record keeps of the problem, and the command does not say."""
    kept, given = {**found, **(found.get("camera") or {})}, {name for name, *_ in _given(args)}
    for name, argument in arguments_of(args.task).items():
        for option in () if name in given else argument.options:
            value = None if option.file or option.code else kept.get(option.destination)
            if value is not None:
                setattr(args, option.destination, tuple(value) if isinstance(value, list) else value)


def _lacking(args: argparse.Namespace) -> str:
    """The error about an argument that a task needs, and neither the command nor its settings have; else empty."""
    given = {name for name, *_ in _given(args)}
    for name in TASKS[args.task].needs:
        flags = [option.flag for option in arguments()[name].options] if name in arguments() else []
        if len(flags) > 1 and name not in given:
            return f"one of the arguments {' '.join(flags)} is required"
        if flags and name not in given:
            return f"the following arguments are required: {flags[0]}"
    return ""


def _given(args: argparse.Namespace) -> Iterator[tuple[str, Option, Any]]:
    """Arguments of the problem that a command was given: the name, the option that says it, and the value of that."""
    for name, argument in arguments().items():
        for option in argument.options:
            value = getattr(args, option.destination, None)
            if value is not None:
                yield name, option, value


def files_said() -> list[str]:
    """Names of the arguments that are files on the command line."""
    return [name for name, argument in arguments().items() if any(option.file for option in argument.options)]


def _add_reading(command: Parser) -> None:
    """Add the options that say how IN is read, and what is known of it."""
    add = command.add_argument
    where = "not zero where a pixel is missing; NaN and infinite pixels of IN count as missing too"
    add("--series", metavar="N", type=int, help="Which of several images in the file IN, counted from 0.")
    add("--mask", metavar="MASK", help=f"An image of the size of IN, or of one of its slices: {where}.")
    add("--mask-label", metavar="N", type=int, help="Only the pixels of MASK that have this value are missing.")
    add("--mask-is-known", action="store_true", help="The other way round: MASK shows the pixels that are known.")
    add("--volume", action="store_true", help="z is space: one volume instead of one image for each z slice.")
    for group in dict.fromkeys(argument.group for argument in arguments().values() if argument.group):
        place = command.add_argument_group(group)
        for argument in arguments().values():
            if argument.group == group:
                _add_ways(place, argument)


def _add_trust(command: Parser) -> None:
    """Add the options for what is said of the result, and written beside it."""
    add = command.add_argument_group("how far to trust the result (--uncertainty writes OUT-uncertainty)").add_argument
    add(
        "--residual",
        action="store_true",
        help="Write what was removed beside OUT, as OUT-residual; where holes are filled, how far the fit is off the "
        "known pixels, which are kept.",
    )
    add(
        "--noise-control",
        action="store_true",
        help="Restore pure noise too, and say what is made of it; twice as long.",
    )
    add("--truth", metavar="FILE", help="Compare with the true image: PSNR, SSIM, NRMSE, before and after.")
    add("--affine", action="store_true", help="Fit gain and offset before comparing, for a truth of another exposure.")
    add("--resolution", action="store_true", help="Fourier ring correlation (--volume: shells), before and after.")


_SEVERAL = (
    "All that is named is IN: files and folders of images, each of which is written into FOLDER by its own name. Those "
    "that have all their files there already are left out, unless --overwrite is said."
)
_SETTINGS = (
    "Settings of an earlier result: the image that was written (TIFF, PNG, OME-Zarr), or its record OUT.json; or "
    "settings as JSON, from the window or from Settings.to_json(). What a record keeps of the problem comes with them "
    "(camera, factor, kernel, sigma, boost), but no mask, guide or measured point spread function. Options count more."
)
_TOGETHER = (
    "One generator restores all times, channels or z slices of an image together, like the colours of RGB: for few of "
    "them that have their structure in common."
)


def _of_problem(args: argparse.Namespace) -> dict[str, Any]:
    """The user's own parts of the problem that a command was given, by name."""
    return {name: part_in_file(name, value) for name, option, value in _given(args) if option.code}


def _add_knobs(command: Parser, task: str) -> None:
    """Add one option for each knob of the task."""
    groups = {
        False: command.add_argument_group("settings"),
        True: command.add_argument_group("advanced settings"),
    }
    for name, knob in knobs_of(task).items():
        option = f"--{name.replace('_', '-')}"
        groups[knob.advanced].add_argument(
            option, dest=name, default=argparse.SUPPRESS, help=_help(task, name, knob), **_reading(name, knob)
        )


def _reading(name: str, knob: Knob) -> dict[str, Any]:
    """Arguments with which argparse reads the value of a knob; `Settings` checks it."""
    if knob.kind == "bool":
        return {"action": argparse.BooleanOptionalAction}
    choices = "NAME" if name == "preset" else f"{{{','.join(knob.choices)}}}"
    kinds: dict[str, dict[str, Any]] = {
        "int": {"type": int, "metavar": "N"},
        "float": {"type": float, "metavar": "X"},
        "text": {"metavar": "NAME"},
        "choice": {"metavar": choices},
        "ints": {"type": values_of(int, "16 or 16,32,64"), "metavar": "N[,N...]"},
        "choices": {"type": values_of(str, "one name or several"), "metavar": f"{choices}[,...]"},
    }
    return kinds[knob.kind]


def _help(task: str, name: str, knob: Knob) -> str:
    notes = [f"one of auto, {', '.join([*kinds_for(task), *presets_for(task)])}"] if name == "preset" else []
    if knob.kind in ("int", "ints", "float"):
        notes.append(f"{knob.min:.10g} to {knob.max:.10g}{f' {knob.unit}' if knob.unit else ''}")
    defaults = {str(getattr(PRESETS[preset], name)) for preset in presets_for(task)}
    default = "auto" if name == "preset" else defaults.pop() if len(defaults) == 1 else "from the preset"
    return f"{knob.help} ({'; '.join([*notes, f'default: {default}'])})".replace("%", "%%")
