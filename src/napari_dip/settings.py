"""Every knob of a restoration, declared once.

`Settings` is what the keyword arguments, the command line, the form in the window and the record of a result are all
made from: they walk ``fields(Settings)`` and read the metadata that `knob` leaves there. A new knob is one line here
plus its use. What defines the problem itself (the mask, the factor) is an argument of the task, not a knob.
"""

from __future__ import annotations

import difflib
import math
import numbers
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from napari_dip import presets
from napari_dip.method import auto_preset
from napari_dip.tasks import task_named, tasks_with_knob

if TYPE_CHECKING:
    from napari_dip.core.noise import Noise

#: A knob that is one value for all scales, or a tuple with one value for each scale, the finest first.
IntPerScale = int | tuple[int, ...]
NamePerScale = str | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Knob:
    """What is known of one knob besides its name and default: bounds, choices and the words a user reads."""

    help: str
    kind: Literal["int", "float", "bool", "text", "choice", "ints", "choices"]
    min: float = -math.inf
    max: float = math.inf
    step: float = 1
    choices: tuple[str, ...] = ()
    unit: str = ""
    advanced: bool = True


def knob(default: Any, help: str, kind: str, **rest: Any) -> Any:
    """Declare a field of `Settings`: its default, its help text, its kind and its bounds."""
    return field(default=default, metadata={"knob": Knob(help=help, kind=cast(Any, kind), **rest)})


def knobs() -> dict[str, Knob]:
    """Name -> `Knob` of every field of `Settings`, in the order in which they are shown."""
    return {entry.name: entry.metadata["knob"] for entry in fields(Settings)}


def knobs_of(task: str) -> dict[str, Knob]:
    """Those of one task."""
    return {name: knob for name, knob in knobs().items() if task in tasks_with_knob(name)}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a deep image prior is fitted; every value is checked when it is made.

    Raises
    ------
    ValueError, TypeError
        For a value out of its range or of the wrong kind; the message names the knob, the value and the remedy.
    """

    preset: str = knob(
        "auto",
        "The named settings that the others start from; auto takes the task's default for this device.",
        "choice",
        choices=("auto", *presets.TABLE),
        advanced=False,
    )
    iterations: int = knob(2000, "Optimiser steps, at the most.", "int", min=1, max=1_000_000, step=100, advanced=False)
    stop: str = knob(
        "auto",
        "What ends the run and marks the image to return: the residual is down to the noise (discrepancy) or far below "
        "it (fitted), pixels held out are predicted best, the iterates vary least (variance, windowed or exponential), "
        "a self-guided fit has fitted each pixel often (passes), or the iterations are used up; auto chooses by the "
        "noise and says why.",
        "choice",
        choices=(
            *("auto", "discrepancy", "fitted", "held-out", "variance", "variance-exponential"),
            *("passes", "iterations"),
        ),
        advanced=False,
    )
    noise: str = knob(
        "auto",
        "How far an image is from the measurement: mean square error (gaussian, which auto takes), the same after "
        "photon noise is stabilised (poisson-gaussian), or with little weight on outliers (impulse).",
        "choice",
        choices=("auto", "gaussian", "poisson-gaussian", "impulse"),
    )
    learning_rate: float = knob(
        0.01,
        "Step length of Adam. (L-BFGS finds its own by line search.)",
        "float",
        min=1e-7,
        max=10,
        step=0.001,
    )
    channels: IntPerScale = knob(
        128,
        "Feature channels of the generator on the way down: one number, or one per scale, the finest first. "
        "More is slower and fits finer detail.",
        "ints",
        min=1,
        max=4096,
        advanced=False,
    )
    scales: int = knob(
        5,
        "How often the generator halves the image; fewer where the image is too small for it.",
        "int",
        min=1,
        max=10,
    )
    skip_channels: IntPerScale = knob(
        4,
        "Channels that bypass the coarser scales, one number or one per scale; 0 for none (for large holes).",
        "ints",
        min=0,
        max=4096,
    )
    average: float = knob(
        0.99,
        "Running average of the iterates: the weight of the past, 0 for the last iterate alone.",
        "float",
        min=0,
        max=0.99999,
        step=0.001,
    )
    tail: float = knob(
        0.0,
        "Plain average over this last share of the iterations, in place of the running average; 0 for none.",
        "float",
        min=0,
        max=1,
        step=0.1,
    )
    runs: int = knob(
        1,
        "Runs from different seeds that are averaged: better, and slower, by each one.",
        "int",
        min=1,
        max=1000,
    )
    tile: int = knob(
        0,
        "Side of the overlapping tiles that a large image is cut into, each fitted by a generator of its own; 0 for "
        "the whole image, or for tiles where memory asks for them.",
        "int",
        min=0,
        max=1_000_000,
        step=64,
        unit="px",
    )
    overlap: int = knob(
        0,
        "Pixels that neighbouring tiles share, up to half of a tile; 0 for an eighth of it, but 16.",
        "int",
        min=0,
        max=100_000,
        unit="px",
    )
    warm_start: bool = knob(
        True,
        "Of several slices, a self-guided fit begins with the weights of the slice before and makes a quarter of the "
        "passes; afresh where these show that it did not help.",
        "bool",
    )
    at_once: int = knob(
        0,
        "Slices of a stack that are fitted at the same time; 0 for one on a CPU, and on a GPU as many as fit.",
        "int",
        min=0,
        max=1024,
    )
    uncertainty: bool = knob(
        False, "Also return the standard deviation of each pixel, as a map in the units of the image.", "bool"
    )
    seed: int = knob(
        0,
        "Decides every random number: the same seed on the same machine gives the same image.",
        "int",
        min=0,
        max=2**31 - 1,
        advanced=False,
    )
    device: str = knob(
        "auto",
        "Where to compute: auto (the first CUDA GPU, else the CPU), cpu, cuda, cuda:1 or mps.",
        "text",
        advanced=False,
    )
    generator: str = knob(
        "hourglass",
        "The architecture of the untrained network: the hourglass with skips, or the U-Net of self-guided fits.",
        "choice",
        choices=("hourglass", "unet"),
    )
    blocks: int = knob(1, "Residual blocks per scale of the U-Net, on each way.", "int", min=1, max=16)
    channels_up: IntPerScale = knob(
        0,
        "Feature channels on the way up, one number or one per scale; 0 for the same as on the way down.",
        "ints",
        min=0,
        max=4096,
    )
    filter_size: IntPerScale = knob(
        3, "Width of the filters on the way down, odd, one number or one per scale.", "ints", min=1, max=15, unit="px"
    )
    filter_size_up: IntPerScale = knob(
        3, "Width of the filters on the way up, odd, one number or one per scale.", "ints", min=1, max=15, unit="px"
    )
    filter_size_skip: int = knob(
        1, "Width of the filters of the skip channels, odd.", "int", min=1, max=15, step=2, unit="px"
    )
    pointwise_up: bool = knob(True, "A second, 1x1 convolution after each upsampling.", "bool")
    upsampling: NamePerScale = knob(
        "bilinear",
        "How features grow to the next finer scale, one name or one per scale.",
        "choices",
        choices=("nearest", "bilinear", "transposed"),
    )
    downsampling: NamePerScale = knob(
        "stride",
        "How features shrink to the next coarser scale, one name or one per scale.",
        "choices",
        choices=("stride", "average", "maximum", "lanczos2", "lanczos3"),
    )
    padding: str = knob("reflection", "What filters see beyond the border.", "choice", choices=("reflection", "zero"))
    activation: str = knob(
        "leaky_relu", "Nonlinearity after each convolution.", "choice", choices=("leaky_relu", "swish", "elu")
    )
    normalisation: str = knob("batch", "Normalisation after each convolution.", "choice", choices=("batch", "none"))
    output: str = knob(
        "sigmoid",
        "sigmoid keeps the result inside the range of the observation; linear may leave it.",
        "choice",
        choices=("sigmoid", "linear"),
    )
    code: str = knob(
        "uniform",
        "What the generator is fed: fixed noise, a mesh grid, Fourier features, a guide image; or the measurement "
        "itself, made noisier (self; with the U-Net).",
        "choice",
        choices=("uniform", "normal", "mesh", "fourier", "guide", "self"),
    )
    code_channels: int = knob(
        32, "Channels of the code. (A mesh grid and a guide have their own number.)", "int", min=1, max=1024
    )
    code_scale: float = knob(
        0.1, "Height of the uniform code, standard deviation of the normal one.", "float", min=1e-6, max=100, step=0.05
    )
    code_noise: float = knob(
        1 / 30,
        "Standard deviation of the noise added to the code, anew at every iteration.",
        "float",
        min=0,
        max=10,
        step=0.01,
    )
    recorruption: float = knob(
        0.6,
        "Noise added to the measurement that a self-guided generator is fed, as a fraction of its own.",
        "float",
        min=0.01,
        max=10,
        step=0.1,
    )
    crop: int = knob(
        64,
        "Side of the crops that a self-guided generator is fitted on; as many pixels in a volume.",
        "int",
        min=8,
        max=4096,
        step=16,
        unit="px",
    )
    batch: int = knob(4, "Crops in an iteration of a self-guided fit.", "int", min=1, max=1024)
    similar_patches: bool = knob(
        True,
        "Similar patches of the measurement teach the generator of a self-guided fit, and have a share of the result.",
        "bool",
    )
    weight_noise: float = knob(
        0.0,
        "Noise added to the filters at every iteration, as a fraction of their standard deviation.",
        "float",
        min=0,
        max=1,
        step=0.01,
    )
    regulariser: str = knob(
        "none",
        "Penalty on the restored image: total variation, or Tikhonov (mean squared gradient).",
        "choice",
        choices=("none", "tv", "tikhonov"),
    )
    regulariser_weight: float = knob(
        0.0, "Weight of the regulariser against the mean square error.", "float", min=0, max=1e6, step=0.001
    )
    optimiser: str = knob(
        "adam",
        "What moves the weights. muon orthogonalises the momentum: faster where neighbours do not share noise. "
        "sgld adds noise that makes them samples of the posterior, and averages the last half.",
        "choice",
        choices=("adam", "muon", "lbfgs", "sgld"),
    )
    keep_known: bool = knob(
        True,
        "Known pixels keep their measured value, and only the holes are filled; off: everything is restored.",
        "bool",
        advanced=False,
    )
    skip_padding: bool = knob(
        True,
        "Leave out areas of one constant value that no camera gives (padding, dead and hot lines): they come back as "
        "they are. Off: they are restored like the rest.",
        "bool",
    )
    skip_bad_pixels: bool = knob(
        True,
        "Restore pixels that are hot or dead beyond doubt from their surroundings. Off: they count as measured.",
        "bool",
    )
    output_dtype: str = knob(
        "float32",
        "Type of the result: float32 (float64 where float32 cannot hold the range or the noise), or that of the input, "
        "rounded and clipped to its range.",
        "choice",
        choices=("float32", "input"),
    )
    precision: str = knob(
        "auto",
        "Digits of the convolutions: auto takes bfloat16 where the processor computes in it, but for volumes on a CPU.",
        "choice",
        choices=("auto", "float32", "bfloat16"),
    )
    recompute: str = knob(
        "auto",
        "Compute activations a second time in place of keeping them: the same image from less memory, a third slower. "
        "auto does where memory asks for it.",
        "choice",
        choices=("auto", "on", "off"),
    )
    threads: int = knob(
        0, "CPU threads; 0 for all (in the window: all but one, which keeps it alive).", "int", min=0, max=1024
    )

    def __post_init__(self) -> None:
        for name, knob in knobs().items():
            object.__setattr__(self, name, _checked(name, getattr(self, name), knob))
        for name in ("filter_size", "filter_size_up", "filter_size_skip"):
            for size in _as_tuple(getattr(self, name)):
                if size % 2 == 0:
                    raise ValueError(f"{name}={size} must be odd, so that filters have a centre; use {size + 1}")
        if (self.code == "self") != (self.generator == "unet"):
            raise ValueError(
                f"code={self.code!r} does not go with generator={self.generator!r}: code='self' and generator='unet' "
                "need each other; take preset='denoise-self' for both, or another preset for neither"
            )
        idle, others = (
            (presets.PRIOR_ONLY, "priors") if self.code == "self" else (presets.SELF_ONLY, "self-guided fits")
        )
        for name in idle:
            value = getattr(self, name)
            if value != Settings.__dataclass_fields__[name].default:
                raise ValueError(
                    f"{name}={value!r} is for {others} alone and would do nothing with code={self.code!r}; leave it "
                    "out, or take another preset"
                )
        if self.code == "self" and (self.noise not in ("auto", "gaussian") or self.optimiser in ("lbfgs", "sgld")):
            raise ValueError(
                f"noise={self.noise!r} and optimiser={self.optimiser!r} do not both go with code='self', which follows "
                "the estimated noise and is fitted by 'muon' or 'adam'; leave them out, or take another preset"
            )
        if 0 < self.tile < 16:
            raise ValueError(f"tile={self.tile} is too small to tell structure from noise; use at least 16, or 0")
        if self.tile and 2 * self.overlap > self.tile:  # ever more tiles, of which many would share each pixel
            raise ValueError(
                f"overlap={self.overlap} is more than half of tile={self.tile}; use {self.tile // 2} at the most (an "
                "eighth of a tile is usual)"
            )
        for name in knobs():
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.scales:
                raise ValueError(
                    f"{name}={value} has {len(value)} values for scales={self.scales}; give one number for all "
                    "scales, or one per scale"
                )

    def changed(self, **changes: Any) -> Settings:
        """A copy with some knobs changed.

        Raises
        ------
        TypeError
            For a name that is no knob; the message suggests the one that was meant.
        """
        check_names(changes)
        if "preset" in changes and changes["preset"] in PRESETS:
            changes = {**PRESETS[changes["preset"]].as_dict(), **changes}
        return replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """The knobs as plain values, fit for JSON."""
        return asdict(self)


def check_names(changes: dict[str, Any], also: tuple[str, ...] = ()) -> None:
    """Raise a `TypeError` with a suggestion for the first name that is no knob."""
    names = list(knobs())
    for name in changes:
        if name not in names:
            close = difflib.get_close_matches(name, [*names, *also], n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"the knobs are {', '.join(names)}"
            raise TypeError(f"unknown setting {name!r}: {hint}")


def check_preset(task: str, changes: dict[str, Any]) -> None:
    """Raise a `ValueError` that names the presets of a task if the changes name one that there is not."""
    name, knob = changes.get("preset", "auto"), knobs()["preset"]
    if name not in knob.choices:
        _checked("preset", name, replace(knob, choices=("auto", *presets_for(task))))


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _checked(name: str, value: Any, knob: Knob) -> Any:
    """`value` as the plain Python type of its knob, or the error that says what is wrong with it."""
    if knob.kind in ("ints", "choices") and isinstance(value, (list, tuple)):
        single = replace(knob, kind="int" if knob.kind == "ints" else "choice")
        return tuple(_checked(name, item, single) for item in value)
    if knob.kind in ("choice", "choices"):
        if not isinstance(value, str) or value not in knob.choices:
            close = difflib.get_close_matches(str(value), knob.choices, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(knob.choices)}"
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
    if isinstance(value, bool) or not isinstance(value, numbers.Integral if whole else numbers.Real):
        raise TypeError(f"{name}={value!r} must be {wanted}")
    if not knob.min <= cast(Any, value) <= knob.max:  # false for NaN too
        raise ValueError(f"{name}={value!r} must be {wanted} from {knob.min:.10g} to {knob.max:.10g}")
    return int(cast(Any, value)) if whole else float(value)


#: Every preset by name, as plain settings.
PRESETS = {name: Settings(preset=name, **changes) for name, changes in presets.TABLE.items()}


def settings_for(task: str, *, on_cpu: bool, image_noise: Noise | None = None, **changes: Any) -> Settings:
    """The settings of a task: its preset (the one named in `changes`, or the task's own), with the changes on top.

    The task's own depends on where it is computed, and on the noise of the image if that is known.

    Raises
    ------
    TypeError, ValueError
        For an unknown name or preset, or a value out of range.
    """
    check_names(changes)
    name = changes.get("preset", "auto")
    check_preset(task, changes)
    if name == "auto":
        name, _ = auto_preset(task, on_cpu=on_cpu, noise=image_noise, changes=changes)
    return Settings(preset=name).changed(**{**PRESETS[name].as_dict(), **changes, "preset": name})


def presets_for(task: str) -> list[str]:
    """The names of the presets that a task offers."""
    return [name for name in presets.TABLE if name in task_named(task).presets]
