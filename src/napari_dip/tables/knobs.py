"""Every knob of a restoration, declared once by what owns it: the run, each fit, or one method.

`Prior` and `SelfGuided` are what the core gets: a method with all that one fit of it needs, and no knob of the other.
`Settings` (in `napari_dip.tables.settings`) has all knobs side by side, as users say them; keywords, options, form and
record walk its fields. A new knob is a field here and its use. What defines the problem (mask, factor) is an argument
of the task, not a knob. Long because it is a table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, cast

from napari_dip.tables import presets

#: A knob that is one value for all scales, or a tuple with one value for each scale, the finest first.
IntPerScale = int | tuple[int, ...]
NamePerScale = str | tuple[str, ...]
_UPWARD = "channels", "scales", "upsampling", "activation", "normalisation", "output"
_BOTH_WAYS = *_UPWARD, "filter_size", "downsampling", "padding"
_SKIPS = "skip_channels", "channels_up", "filter_size_up", "filter_size_skip", "pointwise_up"
#: Generators that a prior may have, by their names in `napari_dip.core.generators`; and the knobs that each reads.
GENERATORS: dict[str, tuple[str, ...]] = {
    "hourglass": (*_BOTH_WAYS, *_SKIPS),
    "decoder": _UPWARD,
    "unet": _BOTH_WAYS,
    "resnet": ("channels", "filter_size", "padding", "activation", "normalisation", "output"),
    "mixer": ("channels", "scales", "activation", "normalisation", "output"),
}
#: Knobs that ask for nothing that a method without them lacks.
HARMLESS = ("seed", "threads", "precision", "recompute", "warm_start", "quality")
#: Stopping rules by the names that their classes have in `core.stopping`, which imports torch.
RULES_OF_PRIORS = ("auto", "discrepancy", "fitted", "held-out", "variance", "variance-exponential", "iterations")


@dataclass(frozen=True, kw_only=True)
class Knob:
    """Description of a knob besides its name and default: bounds, choices and the words a user reads.

    Attributes
    ----------
    idle : dict of str to tuple
        Values of other knobs with which it has no effect.
    """

    help: str
    kind: Literal["int", "float", "bool", "text", "choice", "ints", "choices"]
    min: float = -math.inf
    max: float = math.inf
    step: float = 1
    choices: tuple[str, ...] = ()
    unit: str = ""
    idle: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    advanced: bool = True
    label: str = ""  # in the window, where it is not the name
    words: dict[str, str] = field(default_factory=dict)  # in the window, of choices that are not their names
    own: bool = False  # an object of the user's may stand for a name


def knob(default: Any, help: str, kind: str, **rest: Any) -> Any:
    """Declare a knob: its default, its help text, its kind and its bounds."""
    return field(default=default, metadata={"knob": Knob(help=help, kind=cast(Any, kind), **rest)})


@dataclass(frozen=True, kw_only=True)
class RunKnobs:
    """Knobs of a whole run: what it starts from, how it is cut into fits, and what is kept of the measurement."""

    preset: str = knob(
        "auto",
        "The named settings that the others start from; auto takes the task's default for this device.",
        "choice",
        choices=("auto", *presets.TABLE),
        advanced=False,
    )
    quality: str = knob(
        "balanced",
        "Time against quality, by the preset: fast is a first good picture; best takes twice as long or more, for some "
        "0.2 dB where it enlarges, and next to nothing (0.02 dB) where self-guided training denoises.",
        "choice",
        choices=presets.QUALITIES,
        advanced=False,
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
        "the whole image, for what surrounds its holes, or for tiles where memory asks for them: a prior denoises on a "
        "CPU in 4 GB.",
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
        idle={"tile": (0,)},
    )
    warm_start: bool = knob(
        True,
        "Start self-guided training of each slice from the weights of the previous one, and train a quarter as long. "
        "A slice where that does not help starts afresh.",
        "bool",
    )
    at_once: int = knob(
        0,
        "Slices of a stack, or blocks, fitted at the same time; 0 for one on a CPU, and on a GPU as many as fit.",
        "int",
        label="Slices at a time",
        min=0,
        max=1024,
    )
    device: str = knob(
        "auto",
        "Device that computes: auto (the first CUDA GPU, else that of a Mac, else the CPU), cpu, cuda, cuda:1 or mps.",
        "text",
        advanced=False,
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
        label="Save as",
        choices=("float32", "input"),
        words={"float32": "decimal numbers", "input": "same type as the input"},
    )


@dataclass(frozen=True, kw_only=True)
class FitKnobs:
    """Knobs of each fit, whatever its method."""

    iterations: int = knob(2000, "Optimiser steps, at the most.", "int", min=1, max=1_000_000, step=100, advanced=False)
    stop: str = knob(
        "auto",
        "Rule that ends the run and marks the image to return: the residual is down to the noise (discrepancy) or far "
        "below it (fitted), pixels held out are predicted best, the iterates vary least (variance, windowed or "
        "exponential), self-guided training has used each pixel often enough (passes), or the iterations are used up; "
        "auto chooses by the noise and says why.",
        "choice",
        choices=(*RULES_OF_PRIORS, "passes"),
        advanced=False,
        words={"passes": "enough rounds"},
    )
    noise: str = knob(
        "auto",
        "Distance between an image and the measurement: mean square error (gaussian, which auto takes), the same after "
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
        idle={"optimiser": ("lbfgs",)},
    )
    optimiser: str = knob(
        "adam",
        "Algorithm that fits the weights. muon orthogonalises the momentum: faster where noise is not correlated. "
        "sgld adds noise that makes them samples of the posterior, and averages the last half.",
        "choice",
        choices=("adam", "muon", "lbfgs", "sgld"),
    )
    average: float = knob(
        0.99,
        "Running average of the iterates: the weight of the past, 0 for the last iterate alone.",
        "float",
        min=0,
        max=0.99999,
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
        "Number of times that the generator halves the image; fewer where the image is too small for it.",
        "int",
        min=1,
        max=10,
    )
    filter_size: IntPerScale = knob(
        3, "Width of the filters on the way down, odd, one number or one per scale.", "ints", min=1, max=15, unit="px"
    )
    padding: str = knob(
        "reflection", "Pixels seen by filters beyond the border.", "choice", choices=("reflection", "zero")
    )
    activation: str = knob(
        "leaky_relu", "Nonlinearity after each convolution.", "choice", choices=("leaky_relu", "swish", "elu")
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
    precision: str = knob(
        "auto",
        "Digits of the convolutions: auto takes bfloat16 where that is faster, but for volumes on a CPU.",
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


@dataclass(frozen=True, kw_only=True)
class RefiningKnobs:
    """Knobs of similar patches behind a first image: that of a prior, or the smoothest."""

    refine: int = knob(
        0,
        "Steps of similar patches behind the prior, with falling noise and the measurement put back each time; 0 for "
        "none.",
        "int",
        min=0,
        max=1000,
    )


@dataclass(frozen=True, kw_only=True)
class PriorKnobs(RefiningKnobs):
    """Knobs of a deep image prior alone."""

    generator: str = knob(
        "hourglass",
        "Architecture of the untrained network: the hourglass with skips, the deep decoder (few weights), the U-Net "
        "(which self-guided fits have), residual blocks at one scale (resnet), or the MLP-Mixer.",
        "choice",
        choices=tuple(GENERATORS),
        own=True,
    )
    code: str = knob(
        "uniform",
        "Input of the generator: fixed noise, a mesh grid, Fourier features or a guide image.",
        "choice",
        choices=("uniform", "normal", "mesh", "fourier", "guide"),
    )
    code_channels: int = knob(
        32,
        "Channels of the code. (A mesh grid and a guide have their own number.)",
        "int",
        min=1,
        max=1024,
        idle={"code": ("mesh", "guide")},
    )
    code_scale: float = knob(
        0.1,
        "Height of the uniform code, standard deviation of the normal one.",
        "float",
        min=1e-6,
        max=100,
        step=0.05,
        idle={"code": ("mesh", "fourier", "guide")},
    )
    code_learned: bool = knob(False, "Fit the code too, from where it begins, not the weights alone.", "bool")
    code_noise: float = knob(
        1 / 30,
        "Standard deviation of the noise added to the code, anew at every iteration.",
        "float",
        min=0,
        max=10,
        step=0.01,
    )
    weight_noise: float = knob(
        0.0,
        "Noise added to the filters at every iteration, as a fraction of their standard deviation.",
        "float",
        min=0,
        max=1,
        step=0.01,
    )
    tail: float = knob(
        0.0,
        "Plain average over this last share of the iterations, in place of the running average; 0 for none.",
        "float",
        min=0,
        max=1,
        step=0.1,
    )
    skip_channels: IntPerScale = knob(
        4,
        "Channels that bypass the coarser scales, one number or one per scale; 0 for none (for large holes).",
        "ints",
        min=0,
        max=4096,
    )
    channels_up: IntPerScale = knob(
        0,
        "Feature channels on the way up, one number or one per scale; 0 for the same as on the way down.",
        "ints",
        min=0,
        max=4096,
    )
    filter_size_up: IntPerScale = knob(
        3, "Width of the filters on the way up, odd, one number or one per scale.", "ints", min=1, max=15, unit="px"
    )
    filter_size_skip: int = knob(
        1,
        "Width of the filters of the skip channels, odd.",
        "int",
        min=1,
        max=15,
        step=2,
        unit="px",
        idle={"skip_channels": (0,)},
    )
    pointwise_up: bool = knob(True, "A second, 1x1 convolution after each upsampling.", "bool")
    upsampling: NamePerScale = knob(
        "bilinear",
        "Method by which features grow to the next finer scale, one name or one per scale.",
        "choices",
        choices=("nearest", "bilinear", "transposed"),
    )
    downsampling: NamePerScale = knob(
        "stride",
        "Method by which features shrink to the next coarser scale, one name or one per scale.",
        "choices",
        choices=("stride", "average", "maximum", "lanczos2", "lanczos3"),
    )
    normalisation: str = knob("batch", "Normalisation after each convolution.", "choice", choices=("batch", "none"))
    output: str = knob(
        "sigmoid",
        "sigmoid keeps the result inside the range of the observation; linear may leave it.",
        "choice",
        choices=("sigmoid", "linear"),
    )
    regulariser: str = knob(
        "none",
        "Penalty on the restored image: total variation, or Tikhonov (mean squared gradient).",
        "choice",
        choices=("none", "tv", "tikhonov"),
        own=True,
    )
    regulariser_weight: float = knob(
        0.0,
        "Weight of the regulariser against the mean square error.",
        "float",
        min=0,
        max=1e6,
        step=0.001,
        idle={"regulariser": ("none",)},
    )


@dataclass(frozen=True, kw_only=True)
class SelfGuidedKnobs:
    """Knobs of self-guided training alone."""

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
    batch: int = knob(4, "Crops in an iteration of self-guided training.", "int", min=1, max=1024)
    blocks: int = knob(1, "Residual blocks per scale of the U-Net, on each way.", "int", min=1, max=16)
    similar_patches: bool = knob(
        True,
        "Similar patches of the measurement guide self-guided training, and are averaged into the result.",
        "bool",
    )


@dataclass(frozen=True, kw_only=True)
class Prior(PriorKnobs, FitKnobs):
    """Deep image prior: the generator is fed a fixed code, and makes structure before it makes noise."""

    name: ClassVar[str] = "prior"
    plural: ClassVar[str] = "priors"
    #: Values that it takes of knobs that have others for other methods.
    takes: ClassVar[dict[str, tuple[str, ...]]] = {
        "generator": tuple(GENERATORS),
        "stop": RULES_OF_PRIORS,
    }
    begins_warm: ClassVar[bool] = False
    #: Knobs of the run and of each fit that have no effect.
    idle: ClassVar[tuple[str, ...]] = ("warm_start",)

    @property
    def rule(self) -> tuple[str, str] | None:
        """Stopping rule that it needs whatever the noise, and the reason."""
        needs_all = "iterations", "the average of the tail of a run needs the whole run"
        return needs_all if self.tail_share else None

    @property
    def tail_share(self) -> float:
        """Last share of a fit that is averaged uniformly; half of it, after the burn-in, if it samples."""
        return self.tail or (0.5 if self.optimiser == "sgld" else 0.0)

    @property
    def uncertainty_from(self) -> str:
        """Source of the standard deviation of each pixel."""
        return "samples" if self.optimiser == "sgld" else "iterates"


@dataclass(frozen=True, kw_only=True)
class SelfGuided(SelfGuidedKnobs, FitKnobs):
    """Self-guided training: the generator is fed the measurement itself, made noisier, and learns to denoise it."""

    name: ClassVar[str] = "self-guided"
    plural: ClassVar[str] = "self-guided fits"
    takes: ClassVar[dict[str, tuple[str, ...]]] = {
        "generator": ("unet",),
        "stop": ("auto", "passes", "iterations"),
        "noise": ("auto", "gaussian"),
        "optimiser": ("muon", "adam"),
    }
    generator: ClassVar[str] = "unet"
    refine: ClassVar[int] = 0
    idle: ClassVar[tuple[str, ...]] = ()
    #: No other rule has what to look at: the residual grows from nothing, and iterates are crops.
    rule: ClassVar[tuple[str, str]] = "passes", "self-guided training overfits slowly, so that a fixed length is enough"
    uncertainty_from: ClassVar[str] = "disagreement"

    @property
    def begins_warm(self) -> bool:
        """Weights of a similar image are a head start; a fixed number of iterations would not profit."""
        return self.stop != "iterations"


@dataclass(frozen=True, kw_only=True)
class Patches(RefiningKnobs, FitKnobs):
    """Similar patches alone: the image is made at once, and nothing is fitted. Without `refine` they remove noise."""

    name: ClassVar[str] = "similar patches"
    plural: ClassVar[str] = "similar patches"
    takes: ClassVar[dict[str, tuple[Any, ...]]] = {"stop": ("auto",), "uncertainty": (False,)}
    begins_warm: ClassVar[bool] = False
    rule: ClassVar[tuple[str, str]] = "once", "similar patches make the image at once"
    #: All that is about a network, its weights or its random numbers.
    idle: ClassVar[tuple[str, ...]] = (
        *(each.name for each in fields(FitKnobs) if each.name != "threads"),
        *("quality", "runs", "warm_start"),
    )
    uncertainty_from: ClassVar[str] = ""


Method = Prior | SelfGuided | Patches
#: Code by which a user asks for a method; any other one is that of a prior.
METHODS: dict[str, type[Method]] = {"self": SelfGuided, "patches": Patches}


def own(method: type[Method]) -> tuple[str, ...]:
    """Names of the knobs that no other method has."""
    return tuple(knob.name for knob in fields(method) if knob.name not in FitKnobs.__dataclass_fields__)
