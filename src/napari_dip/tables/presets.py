"""The presets as a table: what each changes in the defaults of `Settings`, in the order in which they are offered.

Rows named ``original-...`` are the settings of the notebooks that came with Ulyanov, Vedaldi, Lempitsky, "Deep Image
Prior" (CVPR 2018), one per figure. They scale intensities and treat borders as this package does, so figures agree
with the published ones within the spread of their runs. Rows named after a task alone are this package's own:
``small`` for a CPU, ``large`` for a GPU. The rows of `napari_dip.tables.tasks` say which ones a task offers.
"""

from __future__ import annotations

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
    "superresolve-small": dict(channels=32, iterations=1200, refine=8),
    "superresolve-large": dict(_LARGE, iterations=2000, refine=8),
    "deconvolve-small": dict(_SMALL, **_SHARP, iterations=1000),
    "deconvolve-large": dict(_LARGE, **_SHARP, iterations=1000),
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
