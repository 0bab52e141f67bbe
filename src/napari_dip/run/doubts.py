"""Doubts of a run about its own result: the verdict on the residual, and the holes that nothing determines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.judge import holes
from napari_dip.core.judge.guided import Unsupported, unsupported
from napari_dip.core.judge.residual import Verdict, residual_verdict
from napari_dip.core.noise.model import Noise
from napari_dip.core.noise.pixels import find_bad_pixels
from napari_dip.core.telling import counted
from napari_dip.doors import remedy
from napari_dip.plan.inputs import Slices
from napari_dip.plan.noises import too_few
from napari_dip.tables.settings import off

Array = npt.NDArray[Any]
_NAMED = 5  # slices at the most

_DOUBTFUL = 0.01  # of the image, from which unconfirmed structure of a guide and too dark a result are told
_FEW = "restore more of it at once, or say gain, offset and read noise of the camera"
_CAMERA = (
    "say gain, offset and read noise of the camera if they are known, or restore the image as it was recorded: not "
    "clipped, and with no background subtracted"
)


def judge(
    slices: Slices,
    residual: Array,
    noise_in: Callable[[int], Noise | None],
    cause: str = "",
    *,
    kept: bool = False,
) -> Verdict | None:
    """The worst verdict on the residuals (N, C, *S) of all slices and channels; None if there is nothing to judge.

    `noise_in` tells the noise of a slice; `kept` whether known pixels come back as measured, whatever the fit is there.

    Its `place` is in the axes of the input. Its sentence names the slice and the channel if there are several, and how
    many it is the worst of, and the likely cause where structure was removed.
    """
    found: list[tuple[str, Verdict]] = []
    for index, channel in np.ndindex(*residual.shape[:2]):
        measured, rest = slices.values[index, channel], residual[index, channel]
        fitted = np.isfinite(rest)
        noise = noise_in(index) if fitted.any() else None
        if noise is None or noise.sigma == 0:  # whatever was removed would be infinitely more than that
            continue
        shape = _long(measured.shape)  # as the noise was estimated
        restored = np.where(fitted, measured.astype(np.float64) - rest, np.nan)
        seen, image = measured.reshape(shape), restored.reshape(shape)
        bad = find_bad_pixels(seen, noise=noise) if noise.impulses else None
        try:
            verdict = residual_verdict(seen, image, noise, mask=bad, kept=kept)
        except (ValueError, MemoryError):  # no fair pixel is left, or no room: the result counts more
            continue
        place = np.unravel_index(np.ravel_multi_index(verdict.place, shape), measured.shape)
        placed = replace(verdict, place=_place(slices, index, channel, place))
        found.append((_named(slices, index, channel), placed))
    if not found:
        return None
    named, worst = max(found, key=lambda each: _badness(each[1]))
    of_all, end, of_one = worst.sentence.rpartition(". ")
    many = f", the worst of {len(found)}" if len(found) > 1 else ""
    because = f"; {cause}" if cause and not worst.ok else ""
    return replace(worst, sentence=f"{of_all}{end}{_where(f'{named}{many}', of_one)}{because}")


def _badness(verdict: Verdict) -> tuple[bool, float, float]:
    """Order of verdicts, the worst last."""
    return not verdict.ok, verdict.lost, abs(verdict.balance - 1) if verdict.ok else verdict.excess


def warnings_of(
    slices: Slices,
    noise: Noise | None,
    ratios: npt.NDArray[np.float64] | None,
    *,
    apart: dict[int, float],
    channels: dict[int, float],
    camera: bool = False,
    fills: bool = False,
) -> Iterator[str]:
    """Sentences that say what not to rely on, and what was left out.

    `apart`: how many times the noise of the stack slices have that were restored with their own. `channels`: how many
    times the noise that all share channels have that were restored together. `camera`: whether
    something is said of that, and doubted itself. `fills`: whether holes were to be filled.
    """
    if noise is not None and noise.warning:
        too_small = too_few(math.prod(slices.values.shape[:2]), slices.values.shape[2:])
        advice = f"there are {too_small}; {_FEW}" if too_small else _CAMERA
        yield noise.warning[0].upper() + noise.warning[1:] + ("" if camera else f"; {advice}")
    elif noise is not None and noise.caution:
        yield noise.caution[0].upper() + noise.caution[1:]
    if apart:
        few, more = sorted(apart)[:_NAMED], len(apart) - _NAMED
        which = ", ".join(map(str, few)) + (f" and {more} more" if more > 0 else "")
        times = " to ".join(dict.fromkeys(f"{each:.2g}" for each in (min(apart.values()), max(apart.values()))))
        each = "each of these" if len(apart) > 1 else "it"
        yield (
            f"In slice{'s' * (len(apart) > 1)} {which} the noise is {times} times that of the stack: {each} was "
            "restored with its own noise"
        )
    if channels:
        which = " and ".join(
            f"{times:.2g} in channel {channel}" for channel, times in sorted(channels.items())[:_NAMED]
        )
        how = remedy(
            python="one by one, each with its own noise (no channel_axis, but leading_axes)",
            command="one by one, each with its own noise (without --together; colours as images of their own)",
            window="'one after the other' under Restore, each with its own noise (colours after Split RGB)",
        )
        yield f"The noise is {which} times that which the channels share: restore them {how}"
    if slices.bad is not None:
        yield (
            f"{np.count_nonzero(slices.bad)} pixels are hot or dead beyond doubt and were restored from their "
            f"surroundings ({off('skip_bad_pixels')} counts them as measured)"
        )
    if not fills and (gaps := _gaps(slices)):
        yield f"Filled from their surroundings, not measured: {counted(gaps, 'pixel')} without a value (NaN, infinite)"
    if slices.padding is not None:
        yield padding_sentence(slices)
    if ratios is not None and (sentence := hole_sentence(slices, noise, ratios)):
        yield sentence


def _gaps(slices: Slices) -> int:
    """Number of pixels that are no finite number, in slices that have others."""
    if slices.values.dtype.kind != "f":
        return 0
    there = ~slices.missing.reshape(len(slices.missing), -1).all(axis=1)
    return int(np.count_nonzero(slices.holes[there] & ~np.isfinite(slices.values[there])))


def guide_sentence(
    slices: Slices, residual: Array, guide: Array | None, noise_in: Callable[[int], Noise | None]
) -> str:
    """A sentence on structure of a guide (G, *S) that the measurement does not support; empty if there is none.

    A guide of another grid than the measurement's is not judged.
    """
    found: list[tuple[Unsupported, str]] = []
    for index, channel in np.ndindex(*residual.shape[:2]):
        measured, rest, noise = slices.values[index, channel], residual[index, channel], noise_in(index)
        if guide is None or guide.shape[1:] != measured.shape or noise is None or noise.sigma == 0:
            continue
        seen = np.where(slices.missing[index, channel], np.nan, measured.astype(np.float64))
        if np.isfinite(rest).any():
            judged = unsupported(seen - rest, seen, guide, noise)
            found.append((judged, _named(slices, index, channel) or "the image"))
    said, result = [], "structure of the guide is in the result that the measurement"
    worst, where = max(found, key=lambda each: each[0].strength, default=(None, ""))
    if worst is not None and worst.share:
        most = f"most at {worst.place}, {worst.strength:.1f} standard errors: do not trust it there"
        said.append(f"In {100 * worst.share:.2g} % of {where}, {result} does not have; {most}")
    doubtful, where = max(found, key=lambda each: each[0].unconfirmed, default=(None, ""))
    if doubtful is not None and doubtful.unconfirmed >= _DOUBTFUL:
        same = "an object of the guide alone would look the same"
        said.append(f"In {100 * doubtful.unconfirmed:.2g} % of {where}, {result} is too noisy to confirm: {same}")
    return "; ".join(said)


def failures(failed: dict[int, str], there: set[int]) -> Iterator[str]:
    """Sentences that say which slices failed, and why: `failed`; those in `there` have an earlier result."""
    for index, why in list(failed.items())[:_NAMED]:
        stays = "is as it was before" if index in there else "is empty"
        yield f"Slice {index} could not be restored and {stays}: {why}"
    if len(failed) > _NAMED:
        yield f"{len(failed) - _NAMED} more slices could not be restored"


def unreached(slices: list[int], partly: list[int], count: int, empty: Array) -> Iterator[str]:
    """Sentences that say which of `count` slices, or parts of them, are empty, as the run ended before them."""
    for numbers, parts in ((slices, ""), (partly, "Parts of ")):
        if numbers:
            together = numbers == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 1
            which = f"{numbers[0]} to {numbers[-1]}" if together else ", ".join(map(str, numbers))
            what = f"slice{'s' * (len(numbers) > 1)} {which}" if count > 1 else "the image"
            verb = "are" if parts or len(numbers) > 1 else "is"
            sentence = f"{parts}{what} {verb} {empty:g}: the run ended before them"
            yield sentence[0].upper() + sentence[1:].replace("nan", "NaN")


def darkness_sentence(slices: Slices, image: Array) -> str:
    """A sentence that says how much of a deblurred image (N, C, *S) is darker than all that was measured."""
    seen = zip(slices.values, slices.missing, strict=True)
    least = min((values[~missing].min() for values, missing in seen if not missing.all()), default=-np.inf)
    count, darker = np.isfinite(image).sum(), (image < least).sum()
    if darker < max(1, _DOUBTFUL * count):
        return ""
    return (
        f"{100 * darker / count:.2g} % of the result is darker than all that was measured, down to "
        f"{np.nanmin(image):.4g} where the image has {least:.4g}: say gain, offset and read noise of the camera, and "
        "nothing will be darker than the offset"
    )


def padding_sentence(slices: Slices) -> str:
    """A sentence that says how much padding was found, and of what value; empty if there is none."""
    if slices.padding is None:
        return ""
    levels, counts = np.unique(slices.values[slices.padding], return_counts=True)
    usual = ", ".join(f"{value:g}" for value in levels[counts >= counts.max() / 10][:_NAMED])  # others are of rims
    shares = slices.padding.reshape(len(slices.padding), -1).mean(axis=1)
    each = f", from {100 * shares.min():.3g} to {100 * shares.max():.3g} % of a slice" if len(shares) > 1 else ""
    return (
        f"{np.count_nonzero(slices.padding)} pixels ({100 * slices.padding.mean():.3g} %{each}) are no measurement but "
        f"padding or dead lines, of value {usual}: they were left out and come back as they are "
        f"({off('skip_padding')} restores them)"
    )


def left_out_sentence(slices: Slices) -> str:
    """A sentence that says how many pixels an estimate of the noise leaves out as no measurement; empty if none."""
    found = [pixels for pixels in (slices.padding, slices.bad) if pixels is not None]
    if not found:
        return ""
    count = sum(np.count_nonzero(pixels) for pixels in found)
    return (
        f"{count} pixels ({100 * count / slices.values.size:.3g} %) are padding, or hot or dead lines: the noise is "
        "that of the others"
    )


def hole_ratios(slices: Slices, noise: Noise | None) -> npt.NDArray[np.float64]:
    """`holes.hole_ratio` of all slices and channels, (N, C, *S); infinite in a slice of which nothing is known."""
    ratios = np.zeros(slices.values.shape)
    for index, channel, values, missing in _holed(slices):
        if missing.all():
            ratios[index, channel] = np.inf
        else:
            ratios[index, channel] = holes.hole_ratio(missing, values, noise).reshape(slices.values.shape[2:])
    return ratios


def hole_sentence(slices: Slices, noise: Noise | None, ratios: npt.NDArray[np.float64]) -> str:
    """`holes.hole_warning` of the slice and channel with the largest hole; empty if there is none to warn of."""
    worst = ""
    for index, channel, values, missing in _holed(slices):
        if ratios[index, channel].max() < max(1.0, ratios.max()):
            continue
        words = "No pixel is known" if missing.all() else holes.hole_warning(missing, values, noise)
        worst = worst or _where(_named(slices, index, channel), words)
    return worst


def undetermined(slices: Slices, ratios: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Least uncertainty, (N, C, *S): the spread around a hole where nothing determines it, 0 elsewhere."""
    spread = np.zeros(slices.values.shape)
    for index, channel, values, missing in _holed(slices):
        ratio = ratios[index, channel].reshape(missing.shape)
        if not missing.all():
            spread[index, channel] = holes.spread_around(missing, values, ratio >= 1).reshape(spread.shape[2:])
    return spread


def _holed(slices: Slices) -> Iterator[tuple[int, int, Array, npt.NDArray[np.bool_]]]:
    """Index, channel, values and missing pixels of what has holes, without axes of one pixel."""
    shape, holes = slices.values.shape, slices.holes
    inner = _long(shape[2:]) if len(_long(shape[2:])) > 1 else shape[2:]
    for index, channel in np.ndindex(*shape[:2]):
        missing, values = holes[index, channel], slices.values[index, channel]
        if slices.padding is not None:  # is no hole, and nothing that is known
            values = np.where(slices.padding[index, channel], np.nan, values)
        if missing.any():
            yield index, channel, values.reshape(inner), missing.reshape(inner)


def _long(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n > 1)


def _where(named: str, sentence: str) -> str:
    """A sentence that says which of several slices or channels it is about, if it has a name."""
    return f"In {named}, {sentence[0].lower()}{sentence[1:]}" if named else sentence


def _named(slices: Slices, index: int, channel: int) -> str:
    """One of several slices or channels in words, counted from 0 like the array; empty if there is one alone."""
    count, channels = slices.values.shape[:2]
    return ", ".join([f"slice {index}"] * (count > 1) + [f"channel {channel}"] * (channels > 1))


def _place(slices: Slices, index: int, channel: int, place: tuple[Any, ...]) -> tuple[int, ...]:
    """A pixel of a slice in the axes of the input."""
    found = [*(np.unravel_index(index, slices.leading) if slices.leading else ()), *place]
    if slices.channel_axis is not None:
        found.insert(slices.channel_axis, channel)
    return tuple(int(i) for i in found)
