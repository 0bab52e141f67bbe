"""The presets as a table: what each changes in the defaults of `Settings`, in the order in which they are offered.

Rows named ``original-...`` are the settings of the notebooks that came with Ulyanov, Vedaldi, Lempitsky, "Deep Image
Prior" (CVPR 2018), one per figure. They scale intensities and treat borders as this package does, so figures agree
with the published ones within the spread of their runs. Rows named after a task alone are this package's own:
``small`` for a CPU, ``large`` for a GPU. The rows of `napari_dip.tables.tasks` say which ones a task offers.

Kinds of image and of hole stand beside them, and leave to ``auto`` what it finds out by itself: they change what no
pixel tells, or tells wrongly. Where there is nothing to change, a kind changes nothing and its sentence says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_SMALL: dict[str, Any] = dict(channels=(16, 32, 64, 64, 64), code_channels=16)
#: Half of the arithmetic of a step is at the finest scale, so few channels there.
_SELF: dict[str, Any] = dict(
    code="self",
    generator="unet",
    optimiser="muon",
    learning_rate=0.02,
    channels=(16, 32, 48, 48),
    scales=4,
    batch=2,
    padding="zero",
)
_PATCHES: dict[str, Any] = dict(code="patches", refine=12)
_LARGE: dict[str, Any] = dict(channels=128)
#: What was blurred is brighter than the brightest measured pixel, and is found slowly by Adam.
_SHARP: dict[str, Any] = dict(output="linear", optimiser="muon", learning_rate=0.02)
#: Much noise of the code makes a fit slow, and little of it one that rings, which total variation keeps down.
_FINER: dict[str, Any] = dict(
    channels=32,
    optimiser="muon",
    learning_rate=0.03,
    average=0.95,
    code_noise=0.015,
    regulariser="tv",
    regulariser_weight=0.003,
    iterations=600,
    refine=6,
)
#: Few skips, and of coarse scales alone: blocks are an artefact of the finest.
_LOSSY: dict[str, Any] = dict(
    channels=(8, 16, 32, 64, 128),
    skip_channels=(0, 0, 0, 4, 4),
    code_channels=3,
    iterations=2400,
    stop="variance",
)
#: A short run without code noise: its image has edges, but no fine detail yet.
_COARSE: dict[str, Any] = dict(_SMALL, code_noise=0.0, average=0.9, iterations=150, stop="iterations")


def _original(**changes: Any) -> dict[str, Any]:
    """Settings that all notebooks have in common: they run to their end."""
    return dict(stop="iterations", **changes)


#: name -> changes
TABLE: dict[str, dict[str, Any]] = {
    "denoise-self": dict(_SELF, iterations=4000),
    "denoise-small": dict(_SMALL, iterations=1500, runs=2),
    "denoise-large": dict(_LARGE, iterations=2000),
    "inpaint-small": dict(_SMALL, iterations=1500, refine=8),
    "inpaint-large": dict(_LARGE, iterations=3000, refine=8),
    "superresolve-small": _FINER,
    "superresolve-large": dict(_LARGE, iterations=2000, refine=8),
    "deconvolve-small": dict(_SMALL, **_SHARP, iterations=1000, refine=8),
    "deconvolve-large": dict(_LARGE, **_SHARP, iterations=1000, refine=8),
    "deblock-small": _LOSSY,
    "deblock-large": dict(_LOSSY, runs=2),
    "enhance-small": _COARSE,
    "enhance-large": dict(_COARSE, channels=128),
    "denoise-patches": dict(code="patches"),
    "inpaint-patches": _PATCHES,
    "superresolve-patches": _PATCHES,
    "deconvolve-patches": _PATCHES,
    "original-denoise": _original(iterations=3000),
    "original-denoise-strong": _original(iterations=3000, code_noise=1 / 20),
    "original-jpeg": _original(
        iterations=2400, channels=(8, 16, 32, 64, 128), skip_channels=(0, 0, 0, 4, 4), code_channels=3
    ),
    "original-inpaint-text": _original(
        iterations=6000, skip_channels=128, upsampling="nearest", code_noise=0.03, average=0.0
    ),
    "original-inpaint-hole": _original(
        iterations=5000, skip_channels=0, upsampling="nearest", code="mesh", code_noise=0.03, average=0.0
    ),
    "original-inpaint-region": _original(
        iterations=3000,
        scales=6,
        channels=(16, 32, 64, 128, 128, 128),
        skip_channels=0,
        filter_size=5,
        pointwise_up=False,
        upsampling="nearest",
        code_channels=1,
        code_noise=0.0,
        weight_noise=1 / 50,
        average=0.0,
    ),
    "original-inpaint-half": _original(iterations=11000, learning_rate=0.001, code_noise=0.03, average=0.0),
    "original-inpaint-sparse": _original(
        iterations=1000,
        channels=(16, 32, 64, 128, 128),
        skip_channels=0,
        downsampling="average",
        code_noise=0.0,
        average=0.0,
    ),
    "original-superresolve-4": _original(iterations=2000, code_noise=0.03, average=0.0),
    "original-superresolve-8": _original(iterations=4000, code_noise=0.05, average=0.0),
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Kind of image, or of hole, that the user knows: a name for changes on top of ``preset="auto"``.

    Attributes
    ----------
    when : str
        When to choose it, and what it does: a sentence or two in the window.
    changes : dict
        Knobs by name; those that a task lacks are left out.
    tasks : tuple of str
    """

    when: str
    changes: dict[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ("denoise", "superresolve", "deconvolve")


_HOLES: dict[str, Any] = dict(tasks=("inpaint",))

#: name -> kind, in the order in which they are offered.
KINDS: dict[str, Kind] = {
    "confocal": Kind(
        when="Scanned point by point: photon noise, each pixel on its own. Automatic finds that out, and needs no more."
    ),
    "wide-field": Kind(
        when="Taken by a camera, where neighbouring pixels often share their noise. Automatic finds that out, and hot "
        "pixels too, and needs no more. If the offset and gain of the camera are known, type them under Camera."
    ),
    "two-photon": Kind(
        when="Scanned point by point, with few photons and a dark background. Automatic finds the photon noise, and "
        "needs no more."
    ),
    "light sheet": Kind(
        when="A stack of planes from a camera. Automatic needs no more: it finds hot pixels, and each plane begins "
        "with what the one before has learnt. Choose all slices, one after the other."
    ),
    "electron microscopy": Kind(
        when="Structure everywhere, and no dark background. Automatic needs no more, but fine texture may count as "
        "noise: try a part first, and if structure is in its residual, type the read noise under Camera."
    ),
    "photograph": Kind(
        when="Specks and areas of one value belong to the picture, so nothing is taken for a hot pixel or for padding. "
        "The result has the type of the file.",
        changes=dict(skip_bad_pixels=False, skip_padding=False, output_dtype="input"),
    ),
    "text": Kind(
        when="Thin strokes over the picture, such as text or a grid. Automatic needs no more: similar patches fill "
        "what is up to 4 pixels away from what is known, in seconds, and a prior what is further away.",
        **_HOLES,
    ),
    "scratch": Kind(
        when="A line or a band across the picture. Automatic needs no more: where it is wider than some 6 pixels, a "
        "prior carries structure across it.",
        **_HOLES,
    ),
    "hole": Kind(
        when="A hole of many pixels across. The network has no skips, so that it carries structure in from further "
        "away. What it fills in there is a guess: the hole map says where.",
        changes=dict(skip_channels=0),
        **_HOLES,
    ),
}


#: Changes to presets where noise is strong and known: similar patches behind a prior make the same of a shorter one.
BEFORE_PATCHES: dict[str, dict[str, Any]] = {"deconvolve-small": dict(iterations=300, average=0.95)}

#: Changes to presets where noise is known and not weak: a slow fit, and less variation, tell it from structure.
NOISY: dict[str, dict[str, Any]] = {
    "superresolve-small": dict(code_noise=1 / 30, regulariser_weight=0.01, noise="poisson-gaussian", refine=8),
}

#: Iterations that an image of 170x170 or less needs, by preset; one of 256x256 needs those of the preset.
OF_SMALL_IMAGES: dict[str, int] = {"superresolve-small": 400}

#: The presets of the notebooks.
ORIGINALS = frozenset(name for name in TABLE if name.startswith("original-"))

#: The preset of self-guided fits.
SELF = "denoise-self"

#: What a quality changes in a preset: preset -> quality -> changes. "balanced" changes nothing, and a preset that lacks
#: another one says itself how long it takes.
OF_QUALITY: dict[str, dict[str, dict[str, Any]]] = {
    "denoise-self": {"fast": {}, "best": dict(runs=2)},
    "denoise-small": {"fast": dict(runs=1), "best": dict(runs=4)},
    "denoise-large": {"fast": {}, "best": dict(runs=2)},
    "inpaint-small": {"fast": dict(iterations=500), "best": dict(runs=2)},
    "inpaint-large": {"fast": dict(iterations=500), "best": dict(runs=2)},
    "superresolve-small": {"fast": {}, "best": dict(runs=2)},
    "superresolve-large": {"fast": {}, "best": dict(runs=2)},
    "deconvolve-small": {"fast": {}, "best": dict(runs=2)},
    "deconvolve-large": {"fast": {}, "best": dict(runs=2)},
    "deblock-small": {"fast": dict(iterations=600), "best": dict(runs=2)},
    "deblock-large": {"fast": dict(runs=1), "best": dict(runs=4)},
    "enhance-small": {"fast": {}, "best": dict(runs=2)},
    "enhance-large": {"fast": {}, "best": dict(runs=2)},
    **{name: {"fast": {}} for name, row in TABLE.items() if row.get("code") == "patches"},
    "denoise-patches": {"fast": {}, "best": {}},  # which auto takes where nothing slower is better
}
QUALITIES = ("fast", "balanced", "best")


def qualities_of(name: str) -> tuple[str, ...]:
    """Qualities that a preset has; all of them for "auto"."""
    return (
        QUALITIES if name == "auto" else tuple(q for q in QUALITIES if q == "balanced" or q in OF_QUALITY.get(name, {}))
    )


def at_quality(name: str, quality: str) -> dict[str, Any]:
    """Changes that a quality makes to a preset.

    Raises
    ------
    ValueError
        If the preset has no such quality.
    """
    if quality not in qualities_of(name):
        raise ValueError(
            f"quality={quality!r} is not there with preset={name!r}, which says itself how long it takes; leave one of "
            "them out"
        )
    return OF_QUALITY.get(name, {}).get(quality, {})
