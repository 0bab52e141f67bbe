"""Estimate of the noise of one image from that image alone.

Long because all that may mislead an estimate is met here, each with its warning: pixels at a limit, padding, too few
pixels, values of a camera that do not fit.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from napari_dip.core.intensity import above, check_range, piled
from napari_dip.core.noise import calm, counting
from napari_dip.core.noise.impulses import clusters, filled, isolated
from napari_dip.core.noise.levels import detail_over, least_level, level_of_detail, power_of_detail, power_of_finest
from napari_dip.core.noise.lines import camera_of, line_keeping
from napari_dip.core.noise.model import Noise, between_neighbours
from napari_dip.tables.numbers import is_number, to_float

_CLIPPED = "much of the image is at a limit of its range: the noise is a guess"
_LIMITED = "much of the image is at a limit of its range: the noise is that of the rest"
_FEW = "too little of the image is there: its noise is a guess"
_SMALL = "the image is small: fine structure may be what its neighbours seem to share, and the noise weaker"
_STRUCTURED = "hardly any part of the image is smooth: the noise may be weaker"
#: Doubts about an estimate that are none where the camera says all.
_OF_ESTIMATES = _FEW, _SMALL, _STRUCTURED
_OF_RANGES = _CLIPPED, _LIMITED
_FLAT = "most of the image does not vary from pixel to pixel: no noise can be seen in it"
_EQUAL = "most pixels equal their neighbours: the noise is a guess"
_BESIDES = "most of the image does not vary from pixel to pixel: the noise is that of the rest"
#: Fewer isolated pixels than this fraction may be chance.
_IMPULSES = 1e-3
_LINED = "the image is hardly more than a line of pixels: its noise is a guess, and fine structure may be part of it"
_HARDLY = (
    "the noise is so weak beside the structure that it may be gentle slopes, fine detail or rounding, and no noise"
)
_UNSURE = "fine structure may be a part of what counts as noise, which may be weaker"
_REMEDY = "leave it out or correct it"
#: Largest value that a camera can have, relative to an image's range; its inverse is the least.
_VAST = 1e9
_PASSES = 4
#: If fewer patches than this fraction vary at all, the others are no measurement, but padding or a background that was
#: set to a constant.
_VARIED = 0.9
#: Least read noise, relative to sigma, also where photons are all that is seen.
_LEAST = 0.05
#: If fewer patches than this fraction are calm, fine structure may count as noise.
_CALM = 0.03
#: Finest detail, relative to that of the noise of the calmest patches, below which these hold slopes and no noise; and
#: least part of that noise that is left.
_SMOOTH, _TRACE = 0.5, 0.01
#: Correlation along an axis up to which noise is about as strong at the finest detail as at all; least part of its
#: power that is there then, where it is bright; and beyond that the most that is there besides what such noise has.
_APART, _THERE, _BESIDE = 0.2, 0.7, 0.1
#: With fewer patches than this, nothing but a rough level can be estimated.
_ENOUGH = 100
#: Degrees of freedom, relative to whole patches, below which more than half of the pixels are missing, and below which
#: so many are that fine structure of a small image may not be told from noise.
_FREE, _SCATTERED = 0.25, 0.5
#: In fewer pixels than the first, a correlation along an axis above the second may be texture of all calm patches.
_LARGE, _TEXTURE = 3000, 0.25
#: Pixels across, below which no patches could tell the correlation; and pixels of such a line, from which differences
#: tell the noise level.
_WIDE, _LINE = 3, 32


def estimate_noise(
    image: npt.ArrayLike,
    *,
    mask: npt.ArrayLike | None = None,
    gain: float | None = None,
    offset: float | None = None,
    read_noise: float | None = None,
    channel_axis: int | None = None,
) -> Noise:
    """Estimate the noise of one image from that image alone.

    Parameters
    ----------
    image : array-like of real numbers
        With two or three spatial axes, and channels where `channel_axis` says; these are taken to have the same noise.
        NaN and infinite pixels are left out.
    mask : array-like of bool, optional
        True where a pixel is to be left out; in the shape of the image, with or without the channels.
    gain, offset, read_noise : float, optional
        Known properties of the camera: counts per photo-electron (0: the noise does not depend on the signal), counts
        at no light, and standard deviation at no light in counts. The rest is estimated around them.
    channel_axis : int, optional
        Axis of the channels.

    Returns
    -------
    Noise
        All in the units of the image ("counts"). The variance alone cannot tell the offset from the read noise: unless
        either is given, the offset is the intensity at which photons would leave no noise, so that there is no read
        noise. Where that is further below the darkest part of the image than its brightest part is above it, or the
        noise does not depend on the signal, the offset is the darkest part, and all the noise there is read noise. A
        constant that is added to the image is so added to the offset, and changes nothing else.

    Raises
    ------
    ValueError
        If the image has not two or three spatial axes or no pixel to estimate from, the mask does not fit, or a given
        value is not finite, is negative or cannot be: an offset above 90 % of the pixels, or values that mean more than
        10 times more or less noise than is seen. Beyond 50 % and 2 times, the warning says so.
    TypeError
        If a given value is not one number.

    Notes
    -----
    The method is described in `napari_dip.core.noise.calm`. It reads the noise from the calmest patches of 8x8 pixels.
    So it overestimates where no patch is calm, as with fine texture all over (up to 8 % of sigma), and takes real grain
    of the sample for noise. Pixels may be missing at random, up to half of them; where more are, the noise is a guess.
    Where they are missing in a pattern, as every second row, it is one too, without a warning: sigma up to 12 % off,
    and correlation down to half.
    It cannot see a correlation beyond two pixels, nor a fixed pattern of the camera. The gain is a guess where noise
    that does not depend on the signal outweighs that of the photons, and where contrast is low. In an image one or two
    pixels wide the noise is read from differences of neighbours, assumed independent.

    References
    ----------
    A. Foi, M. Trimeche, V. Katkovnik, K. Egiazarian, "Practical Poissonian-Gaussian noise modeling and fitting for
    single-image raw-data", IEEE Transactions on Image Processing 17, 2008.
    G. Chen, F. Zhu, P. A. Heng, "An efficient statistical method for image noise level estimation", ICCV 2015.
    """
    for name, value in (("gain", gain), ("offset", offset), ("read_noise", read_noise)):
        if value is not None and not is_number(value):
            raise TypeError(f"{name}={value!r} is not one number; leave it out to have it estimated")
        if value is not None and not math.isfinite(to_float(value)):
            raise ValueError(f"{name}={value} is not a number; leave it out to have it estimated")
        if value is not None and value < 0 and name != "offset":
            raise ValueError(f"{name}={value} is negative; leave it out to have it estimated")
    channels, known = _read(image, mask, channel_axis)
    lowest, highest = channels[known].min(), channels[known].max()
    low = float(lowest)
    check_range(low, float(highest))
    values = above(channels, lowest)  # no figure below depends on where zero is
    unit = _unit(float(values[known].max()) or low)
    values = filled(np.where(known, values / unit, (values[known] / unit).mean()), ~known)
    bad, impulses = np.zeros(values.shape, bool), 0.0
    for _ in range(_PASSES):
        dark, light = piled(channels, known & ~bad)
        noise = _estimate(filled(values, bad), known, dark | light)
        if noise.warning == _FEW:  # what lies around a pixel is a guess, too
            break
        alone, crowded = isolated(values, noise) & known, clusters(values, noise) & known
        before, bad = bad, alone | crowded
        impulses = float(bad.sum() / known.sum())
        if not (crowded & ~before).any() and (impulses < _IMPULSES or np.mean(before != bad) < _IMPULSES):
            break
    if impulses >= _IMPULSES:
        impulses = float((isolated(values, noise, surely=True) & known | crowded).sum() / known.sum())
    camera = {"gain": gain, "offset": offset, "read_noise": read_noise}
    given = {name: float(value) for name, value in camera.items() if value is not None}
    if given:
        noise = _by_camera(filled(values, bad), known, dark | light, noise, low, unit, given)
    structure = np.sqrt(max(float(values[known & ~bad].var()) - noise.sigma**2, 0.0))
    if noise.sigma > 0:
        detail = power_of_detail(values, known & ~bad) / noise.sigma**2
        noise = replace(noise, contrast=float(structure / noise.sigma), fine=detail)
    small = known.mean() * known[0].size < _LARGE
    return replace(
        noise,
        caution="" if given else _caution(noise, values, known & ~bad),
        gain=noise.gain * unit,
        offset=given.get("offset", noise.offset * unit + low),
        read_noise=noise.read_noise * unit,
        sigma=noise.sigma * unit,
        detail=level_of_detail(values, known) * unit if small and noise.warning and noise.sigma > 0 else 0.0,
        impulses=impulses if impulses >= _IMPULSES else 0.0,
    )


def _estimate(
    values: calm.Array,
    known: npt.NDArray[np.bool_],
    clipped: npt.NDArray[np.bool_],
    gain: float | None = None,
    offset: float | None = None,
    read_noise: float | None = None,
) -> Noise:
    """Noise of channels (C, *S) without impulses, whose lowest value is 0 and whose range is about 1."""
    if np.ptp(values[known]) == 0:
        return _rough(values, known, gain, offset, read_noise, _FLAT)
    if is_line(values.shape[1:]):
        return _rough(values, known, gain, offset, read_noise, _FEW if known.sum() < _LINE else "")
    if step := counting.step_of(values, known):
        return replace(_photons(values, known, step if gain is None else gain, offset, read_noise), counting=True)
    patches = calm.cut(values, known, clipped)
    if len(patches) < _ENOUGH:
        return _rough(values, known, gain, offset, read_noise, _FEW)
    freedom = float(patches.freedom.mean())
    patches, warning = _noisy(patches)
    used, clipping = _unclipped(patches) if len(patches) else (patches, "")
    if (clipping or not len(patches)) and (guess := counting.guess(values, known)):
        given = guess[0] if gain is None else gain, offset, guess[1] if read_noise is None else read_noise
        return replace(_photons(values, known, *given), limited=True, warning=_CLIPPED)
    if not len(patches):
        return _rough(values, known, gain, offset, read_noise, warning)
    limited = bool(clipping) and not warning
    warning = clipping or warning
    fit = calm.fit(used, line_keeping(gain, offset, read_noise))
    measured = read_noise is not None
    told = measured or gain is not None
    seen = float(patches.mean.min()), float(patches.mean.max())
    gain, offset, read_noise = camera_of(fit.slope, fit.constant, seen, gain, offset, read_noise)
    if not measured:  # no pixel is without noise, if only of the rounding: what divides by it must not fail in the dark
        read_noise = max(read_noise, _LEAST * float(np.sqrt(np.mean(fit.slope * patches.mean + fit.constant).clip(0))))
    if fit.calm < _CALM:
        warning, limited = warning or _STRUCTURED, False
    if limited:
        warning = _LIMITED
    mirrored = np.pad(fit.autocorrelation, [(n - 1, 0) for n in fit.autocorrelation.shape], mode="reflect")
    mirrored = mirrored.clip(-1, 1)  # where hardly a frequency has power, its share may come out as any number
    beside = between_neighbours(mirrored)
    if freedom < _FREE:
        warning = warning or _FEW
    if known.sum() < _LARGE and (max(beside) > _TEXTURE or freedom < _SCATTERED):
        warning = warning or _SMALL
    noise = Noise(
        gain=gain,
        offset=offset,
        read_noise=read_noise,
        sigma=0.0,
        correlation=float(np.mean(beside)),
        autocorrelation=mirrored,
        limited=limited,
        warning=warning,
    )
    noise = replace(noise, sigma=float(np.sqrt(noise.variance(patches.mean).mean())))
    if told or warning or (part := detail_over(noise, values, known)) >= _SMOOTH:
        return noise
    part = max(part, _TRACE)  # what divides by it must not fail
    gain, read_noise, sigma = noise.gain * part**2, noise.read_noise * part, noise.sigma * part
    return replace(noise, gain=gain, read_noise=read_noise, sigma=sigma, caution=_HARDLY)


def _photons(
    values: calm.Array, known: npt.NDArray[np.bool_], gain: float, offset: float | None, read_noise: float | None
) -> Noise:
    """Uncorrelated photon noise above the lowest value, 0, but for what is known of the camera."""
    offset = offset or 0.0
    noise = Noise(
        gain=gain,
        offset=offset,
        read_noise=_LEAST * math.sqrt(gain * max(float(values[known].mean()) - offset, 0.0)),
        sigma=0.0,
        autocorrelation=np.ones((1,) * (values.ndim - 1)),
    )
    if read_noise is not None:
        noise = replace(noise, read_noise=read_noise)
    return replace(noise, sigma=float(np.sqrt(noise.variance(values[known]).mean())))


def _caution(noise: Noise, values: calm.Array, known: npt.NDArray[np.bool_]) -> str:
    """Sentence on what the noise of channels (C, *S) may be besides noise, where no warning says more.

    Correlated noise has next to no power of the finest detail, and where that is fine structure, the noise of single
    pixels has it all.
    """
    if noise.warning or noise.counting:
        return ""
    if is_line(values.shape[1:]):
        return _LINED
    if noise.hardly_any:
        return _HARDLY
    beside = max(between_neighbours(noise.autocorrelation))
    smooth = np.array([1.0, noise.correlation, noise.correlation**4, noise.correlation**9])  # of a Gaussian kernel
    expected = float(smooth @ (20.0, -30.0, 12.0, -2.0) / 20) ** 2
    everywhere, bright = power_of_finest(noise, values, known)
    structure = everywhere - expected > _BESIDE if beside > _APART else bright < _THERE
    return noise.caution or (_UNSURE if structure else "")


def is_line(shape: tuple[int, ...]) -> bool:
    """True if an image (*shape) is too narrow for patches that could tell the correlation of its noise."""
    return sorted(shape)[-2] < _WIDE


def is_guess(channels: int, shape: tuple[int, ...]) -> bool:
    """True if channels (C, *shape) are too small for their noise to be more than a guess."""
    if is_line(shape):
        return channels * math.prod(shape) < _LINE
    return calm.count_of(channels, shape) < _ENOUGH


def _by_camera(
    values: calm.Array,
    known: npt.NDArray[np.bool_],
    clipped: npt.NDArray[np.bool_],
    seen: Noise,
    low: float,
    unit: float,
    given: dict[str, float],
) -> Noise:
    """Noise that keeps to what is `given` of a camera in counts, checked against the noise `seen` without it."""
    said = {name: f"{name}={value:g}" for name, value in given.items()}
    scaled = {name: (value - low * (name == "offset")) / unit for name, value in given.items()}
    most = _VAST * max(1.0, float(np.abs(values[known]).max()))
    for name, value in scaled.items():
        if abs(value) > most or (name == "gain" and 0 < value < 1 / _VAST):
            raise ValueError(f"{said[name]} is out of all proportion to an image of range {unit:.1g}: {_REMEDY}")
    whole = {"gain", "read_noise"} <= given.keys() and ("offset" in given or not given["gain"])
    hidden = whole and seen.warning in _OF_ESTIMATES  # the noise that is seen tells nothing of the one that is known
    beyond = whole and seen.warning in _OF_RANGES  # the camera says the noise of what its range limits, too
    doubts = [seen.warning] if seen.warning and not (hidden or beyond) else []
    below = float(np.mean(values[known] < scaled.get("offset", -np.inf) - seen.sigma / 2))
    if below > 0.5:
        sentence = f"{said['offset']} is above {below:.0%} of the pixels: {_REMEDY}"
        if below > 0.9:
            raise ValueError(sentence)
        doubts.append(sentence)
    noise = _estimate(values, known, clipped, **scaled)
    ratio = noise.sigma / seen.sigma if seen.sigma > 0 else 1.0
    if ratio > 2 or (ratio < 0.5 and not hidden):
        sentence = f"{', '.join(said.values())} means {ratio:.2g} times the noise that is seen: {_REMEDY}"
        if not (0.1 <= ratio <= 10 or seen.warning or seen.caution):
            raise ValueError(sentence)
        doubts.append(sentence)
    elif not hidden and scaled.get("gain") and seen.gain > 0 and not 0.1 <= scaled["gain"] / seen.gain <= 10:
        doubts.append(f"{said['gain']} is far from the {seen.gain * unit:.2g} that is seen: {_REMEDY}")
    if whole and noise.warning in _OF_ESTIMATES:  # so that what neighbours share is rather structure
        noise = replace(noise, correlation=0.0, autocorrelation=np.ones((1,) * (values.ndim - 1)), warning="")
    if beyond and noise.warning in _OF_RANGES:
        noise = replace(noise, warning="")
    limited = noise.limited and len(doubts) < 2
    warning = "; ".join(doubts) or noise.warning
    return replace(noise, limited=limited, warning=warning, given=whole and not warning)


def _read(
    image: npt.ArrayLike, mask: npt.ArrayLike | None, channel_axis: int | None
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]:
    """Channels (C, *S), and True where a pixel is known."""
    values = np.asarray(image)
    if values.dtype.kind not in "iufb":
        raise ValueError(f"image of type {values.dtype} does not hold real numbers; convert it")
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    space = values.ndim - (channel_axis is not None)
    if space not in (2, 3):
        raise ValueError(f"image of shape {values.shape} has {space} spatial axes; hand in one image or volume")
    channels = values[None] if channel_axis is None else np.moveaxis(values, channel_axis, 0)
    known = np.isfinite(channels)
    if mask is not None:
        missing = np.asarray(mask).astype(bool)
        if channel_axis is not None and missing.ndim == values.ndim:
            missing = np.moveaxis(missing, channel_axis, 0)
        if missing.shape not in (channels.shape, channels.shape[1:]):
            raise ValueError(f"mask of shape {missing.shape} does not fit the image of shape {values.shape}")
        known &= ~missing
    if not known.any():
        raise ValueError("image has no known pixel; mask fewer pixels")
    return channels, known


def _unit(span: float) -> float:
    """A power of two near the range of some values, by which they can be divided without rounding."""
    return math.ldexp(1.0, math.frexp(span)[1] - 1)


def _noisy(patches: calm.Patches) -> tuple[calm.Patches, str]:
    """Patches without padding and the like, if there is much of it; none where the rest is edges; and a warning."""
    varied = patches.power.any(axis=1)
    if varied.mean() >= _VARIED:
        return patches, ""
    usual = np.median(patches.still[varied]) if varied.any() else 1.0  # not 0 where counts are few or rounding coarse
    noisy = patches.still <= min(0.5, 1.5 * usual + 0.03)
    if noisy.sum() >= max(_ENOUGH, 0.5 * varied.sum()):
        return patches.only(noisy), _BESIDES if varied.mean() < 0.5 else ""
    return (patches, _EQUAL if usual > 0.5 else "") if varied.mean() >= 0.5 else (patches.only(noisy & ~noisy), _FLAT)


def _unclipped(patches: calm.Patches) -> tuple[calm.Patches, str]:
    """Patches of intensities at which hardly a pixel is clipped, and a warning if these are few.

    Whole ranges of intensity are left out, not the patches with a clipped pixel: those are the noisier ones.
    """
    order = np.argsort(patches.mean, kind="stable")
    groups = np.array_split(order, min(50, len(patches)))
    share = np.empty(len(patches))
    for group in groups:
        share[group] = patches.clipped[group].mean()
    for most in (0.01, 0.03, 0.1):
        keep = share <= most
        if keep.sum() >= max(_ENOUGH, 0.1 * len(patches)) and patches.power[keep].any():
            few = most > 0.01 or keep.mean() < 0.5
            return patches.only(keep), _CLIPPED if few else ""
    return patches, _CLIPPED


def _rough(
    values: calm.Array,
    known: npt.NDArray[np.bool_],
    gain: float | None,
    offset: float | None,
    read_noise: float | None,
    warning: str,
) -> Noise:
    """Noise from differences of neighbours, where there is no room for patches: taken as independent, of one level."""
    seen = float(values[known].min()), float(values[known].max())
    given = camera_of(0.0, least_level(values, known) ** 2, seen, gain, offset, read_noise)
    noise = Noise(
        gain=given[0],
        offset=given[1],
        read_noise=given[2],
        sigma=0.0,
        autocorrelation=np.ones((1,) * (values.ndim - 1)),
        warning=warning,
    )
    return replace(noise, sigma=float(np.sqrt(noise.variance(values[known]).mean())))
