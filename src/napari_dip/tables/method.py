"""Settings of a task: its preset, or the one that ``auto`` takes by device, noise and what the user has chosen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_dip.tables import presets
from napari_dip.tables.knobs import HARMLESS, FitKnobs, Patches, Prior, SelfGuided, own
from napari_dip.tables.parts import OwnPart
from napari_dip.tables.settings import PRESETS, Settings, check_names, check_preset, of_kind
from napari_dip.tables.tasks import TASKS

if TYPE_CHECKING:
    from napari_dip.core.noise.model import Noise


def auto_preset(
    task: str,
    *,
    on_cpu: bool,
    noise: Noise | None,
    depth: float | None = None,
    pixels: float | None = None,
    changes: dict[str, Any],
) -> tuple[str, str]:
    """The name of a preset, and the reason for it as part of a sentence.

    Parameters
    ----------
    task : str
    on_cpu : bool
        True if the fit runs on a CPU.
    noise : Noise or None
        Noise of the image; None if it is not known.
    depth : float, optional
        Pixels from the deepest missing pixel to a known one; not known by default.
    pixels : float, optional
        Of the restored image; few, by default.
    changes : dict
        The settings and parts that the user has chosen: they may ask for what only one method has.
    """
    row, quality = TASKS[task], changes.get("quality", "balanced")
    prior = row.presets[0 if on_cpu else 1]
    method, stated = _wish(changes)
    if row.patches and method == Patches.name:
        return row.patches, f"{stated} needs it"
    if SelfGuided in row.methods:
        if method:
            return presets.SELF if method == SelfGuided.name else prior, f"{stated} needs it"
        return _denoiser(prior, row.patches, noise, quality, pixels, _trained_by(changes))
    if row.fills_holes and (quality == "fast" if depth is None else depth > NEAR):
        return prior, _too_deep(depth)
    if row.patches and quality == "fast":
        alone = _AT_ONCE
    elif row.fills_holes and depth is not None:
        alone = f"no missing pixel is more than {depth:.1f} pixels away from a known one"
    else:
        return prior, f"it is the default for this task on a {'CPU' if on_cpu else 'GPU'}"
    asked = stated or _trained_by(changes) or ("quality='best'" if quality == "best" else "")
    return (prior, f"{asked} needs it") if asked else (row.patches, alone)


def _too_deep(depth: float | None) -> str:
    """Why holes of this depth, which may not be known, are not for similar patches alone."""
    if depth == math.inf:
        return "no pixel is known in all channels, and similar patches alone need some"
    away = "an unknown distance" if depth is None else f"{depth:.1f} pixels"
    return f"a missing pixel is {away} away from a known one, too far for similar patches alone"


def _denoiser(
    prior: str, patches: str, noise: Noise | None, quality: str, pixels: float | None, asked: str
) -> tuple[str, str]:
    """The preset of a denoising, and the reason for it; `asked` states what needs a network, if anything does."""
    if noise is None or noise.sigma <= 0 or (noise.warning and not noise.limited):  # too uncertain for similar patches
        return _by_training(prior, noise)
    if squares := _by_squares(noise):
        name, reason = presets.SELF, f"{squares}, and there self-guided training of means of squares denoises best"
        at_once = f"{squares}, and there similar patches of means of squares denoise well"
        alone = "" if _fitted(noise, quality, pixels) else at_once
    else:
        name, reason = _by_training(prior, noise)
        alone = _AT_ONCE if quality == "fast" else ""
    if alone and not asked:
        return patches, alone
    return name, f"{asked} needs a network, and {reason}" if alone else reason


def _by_squares(noise: Noise) -> str:
    """Why a plane is to be denoised by means of squares; empty where it is not."""
    if noise.autocorrelation.ndim != 2:
        return ""
    if is_faint(noise):
        coarse = "" if noise.contrast < FAINTEST else ", which has hardly any fine detail"
        return f"noise outweighs the structure{coarse}"
    return _over_several(noise) if reaches_far(noise) else ""


def is_faint(noise: Noise) -> bool:
    """True if white noise outweighs the structure of a plane so much that means of squares tell more than pixels."""
    return noise.independent and noise.contrast < (FAINTEST if noise.fine > FINE else FAINTEST_COARSE)


def _fitted(noise: Noise, quality: str, pixels: float | None) -> bool:
    """True if a network is to be trained on means of squares: where that is worth its time."""
    if quality == "fast" or (pixels or 0) < ENOUGH:
        return False
    return noise.independent or quality == "best"  # 0.1 dB where the noise is correlated


def _over_several(noise: Noise) -> str:
    return f"the noise is correlated over several pixels ({noise.far:.2f} at two) and nearly outweighs the structure"


def reaches_far(noise: Noise) -> bool:
    """True if noise is correlated over several pixels, and not much weaker than the structure."""
    return not noise.independent and noise.far > FAR and noise.contrast < FAINTEST_FAR


def _by_training(prior: str, noise: Noise | None) -> tuple[str, str]:
    """The preset of a denoising network, a prior's or the self-guided one, and the reason for it."""
    if noise is None:
        return prior, "the noise of the image is not known, and self-guided training needs it"
    if noise.sigma <= 0 and noise.warning:
        return prior, f"self-guided training needs the noise, which is not known: {noise.warning}"
    if noise.sigma <= 0:
        return prior, "self-guided training learns from the noise, and none was found"
    if noise.contrast < (FAINTEST if noise.independent else FAINTEST_SHARED):
        return prior, "the noise outweighs the structure, and there the prior denoises better"
    if reaches_far(noise):
        return prior, f"{_over_several(noise)}, and there the prior denoises better"
    if not noise.independent:
        shared = f"the noise is correlated between neighbouring pixels ({noise.correlation:.1f})"
        return presets.SELF, f"{shared}, nearly independent some pixels apart, and hardly stronger than the structure"
    if noise.limited:
        return presets.SELF, "the noise is independent from pixel to pixel, and known where the range does not limit it"
    if noise.warning:
        return prior, f"self-guided training needs the noise, and its estimate is uncertain: {noise.warning}"
    return presets.SELF, "the noise is known, and independent from pixel to pixel"


#: SNR below which the prior denoises better than self-guided training of single pixels: 0.3 for white noise, where a
#: plane is for means of squares, 0.85 for correlated noise. Above that SNR correlated noise is for self-guided training
#: even if its estimate is a guess, by which a prior would stop too early or too late.
FAINTEST, FAINTEST_SHARED = 0.3, 0.85
#: Power of structure that means of squares lose of a plane, over that of white noise, up to which it is next to
#: nothing; and the SNR below which they are better than pixels then. A plane of 256x256 is the least that tells.
FINE, FAINTEST_COARSE = 0.0045, 0.7
#: Correlation of noise two pixels apart above which it is too much on the sub-grids of self-guided training, and the
#: SNR below which the prior denoises better then, and in a plane what is made of means of 2x2 pixels.
FAR, FAINTEST_FAR = 0.12, 1.5
#: Pixels of a plane from which self-guided training of means of squares denoises better than similar patches of them.
ENOUGH = 160**2
#: Pixels from a missing pixel to a known one up to which similar patches alone are as good as behind a prior: measured
#: at 3.6 and 4.5, where they lose 0.7 to 0.8 dB in two of eight images.
NEAR = 4.0
#: SNR from which a deconvolution ends with the prior: similar patches behind it take out noise that was sharpened.
WEAK = 8.0
#: SNR below which they make the same of a prior that is a third as long.
STRONG = 5.0
#: Correlation from which the noise of a coarse image is taken for texture that its grid cut up.
TEXTURED = 0.3
_AT_ONCE = "quality='fast' asks for a first good picture"
_OF_SELF = (("code", "self"), ("optimiser", "muon"), ("stop", "passes"))


def _by_noise(name: str, noise: Noise | None, volume: bool, asked: dict[str, Any]) -> dict[str, Any]:
    """Changes to the preset of a deconvolution: no patches in little noise, a shorter prior in much."""
    if noise is None:
        return {}
    if noise.sigma <= 0 or WEAK <= noise.contrast < math.inf:
        return {} if "denoiser" in asked else {"refine": 0}
    if volume or noise.contrast >= STRONG or noise.warning:  # a volume would lose 0.2 dB
        return {}
    as_it_is = not _wish(asked)[0] and not {*_trained(asked)} - {"uncertainty"} and asked.get("quality") != "best"
    return presets.BEFORE_PATCHES.get(name, {}) if as_it_is else {}


def _where_noisy(name: str, noise: Noise | None, asked: dict[str, Any]) -> dict[str, Any]:
    """Changes to a preset where the noise of a coarse image is known and not weak."""
    if noise is None or not is_noisy(noise):
        return {}
    replaced = ("noise",) if "fidelity" in asked else ()
    return {knob: value for knob, value in presets.NOISY.get(name, {}).items() if knob not in replaced}


def is_noisy(noise: Noise) -> bool:
    """True if the noise of a coarse image is known and not weak; what is correlated may be structure."""
    return noise.sigma > 0 and not noise.warning and noise.correlation < TEXTURED and noise.contrast < WEAK


def _by_size(name: str, pixels: float | None) -> dict[str, Any]:
    """Changes to a preset for the number of pixels of the restored image: small ones need fewer iterations."""
    few, most = presets.OF_SMALL_IMAGES.get(name), PRESETS[name].iterations
    if few is None or pixels is None:
        return {}
    return {"iterations": round(min(max(few, math.sqrt(pixels) / 256 * most), most))}


def _trained(changes: dict[str, Any]) -> list[str]:
    """Names of the user's choices that only a network heeds."""
    return [name for name in changes if name in FitKnobs.__dataclass_fields__ and name not in HARMLESS]


def _trained_by(changes: dict[str, Any]) -> str:
    """The first of these choices, or of those of a run that do, stated; empty if there is none."""
    of_run = (name for name, without in (("runs", 1), ("keep_known", True)) if changes.get(name, without) != without)
    heeded = [*_trained(changes), *of_run]
    return next((f"{name}={changes[name]!r}" for name in heeded), "")


def asked_of_network(changes: dict[str, Any]) -> str:
    """The first of the user's choices that names a method, or that only a network heeds, stated; empty if none does."""
    return _wish(changes)[1] or _trained_by(changes)


def _wish(changes: dict[str, Any]) -> tuple[str, str]:
    """The method that a choice of the user's needs, and that choice; both empty if none needs one."""
    for name, given in sorted(changes.items(), key=lambda change: change[0] != "code"):  # which names the method
        value = OwnPart(given) if callable(given) else given  # which has no address of memory in its name
        stated = f"{name}={value!r}"
        if (name, value) == ("code", "patches"):
            return Patches.name, stated
        if name in own(SelfGuided) or (name, value) in _OF_SELF:
            return SelfGuided.name, stated
        of_prior = name in own(Prior) or name == "optimiser" or isinstance(value, OwnPart)
        if of_prior or value not in SelfGuided.takes.get(name, (value,)):
            return Prior.name, stated
    return "", ""


def settings_for(task: str, **known: Any) -> Settings:
    """The settings of a task, and not their reason: `choose` has the arguments."""
    return choose(task, **known)[0]


def choose(
    task: str,
    *,
    on_cpu: bool,
    image_noise: Noise | None = None,
    depth: float | None = None,
    volume: bool = False,
    pixels: float | None = None,
    parts: dict[str, OwnPart] | None = None,
    **changes: Any,
) -> tuple[Settings, str]:
    """The settings of a task: its preset (the one named in `changes`, or the task's own), with the changes on top.

    And the reason for their method, as part of a sentence.

    The task's own depends on where it is computed, on the noise of the image and the depth of its holes if these are
    known, on whether it is a volume, on the number of pixels of the restored image, and on parts of the user's own.

    Raises
    ------
    TypeError, ValueError
        For an unknown name or preset, or a value out of range.
    """
    check_names(changes)
    changes = of_kind(task, changes)
    name, reason = changes.get("preset", "auto"), ""
    check_preset(task, changes)
    if name == "auto":
        asked = {**(parts or {}), **changes}
        name, reason = auto_preset(task, on_cpu=on_cpu, noise=image_noise, depth=depth, pixels=pixels, changes=asked)
        changes = {**_where_noisy(name, image_noise, asked), **changes}
        if TASKS[task].sharpens_noise and name != TASKS[task].patches:
            changes = {**_by_noise(name, image_noise, volume, asked), **changes}
    changes = {**_by_size(name, pixels), **changes}
    settings = PRESETS[name].changed(**{**changes, "preset": name}) if changes else PRESETS[name]
    return settings, reason or settings.reason("code")
