"""Noise of one image from its calmest patches: its power at each frequency, and its variance at each intensity.

The calmest patches show hardly anything but noise. Which they are is not known beforehand, so three things are
estimated in alternation: the scale of the lowest component in the distribution of the power of patches (after Liu,
Tanaka and Okutomi 2013; Chen, Zhu and Heng 2015), the line through these scales against the mean intensity (Foi,
Trimeche, Katkovnik and Egiazarian 2008), and the spectrum of the noise, which says how much of its power the higher
frequencies hold.

Photon noise needs no wider distribution than Gaussian noise: the power of a patch of few photons varies more, but not
at a given mean of the patch (their distribution is then multinomial), and patches are compared with others of their
mean.

Where hardly a patch is whole, low frequencies are fitted to the known pixels of each, one after the other, and what is
left of these pixels tells the level, by fewer degrees of freedom. Long because all of this follows from each other, so
that none can be read without the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn, idctn  # type: ignore[import-untyped]
from scipy.special import gammainc, gammaincinv  # type: ignore[import-untyped]

Array = npt.NDArray[np.float64]

#: Pixels along a patch; along the first axis of a volume half as many, for slices are few and far apart.
SIZE = 8
#: Patches of 8x8 in all: more of them gain little and cost time.
COUNT = 16000
#: Noise of pixels further apart than this counts as independent.
REACH = 2
_RINGS = 8
#: Distance from the constant coefficient up to which polynomials are fitted to incomplete patches, of up to two bends.
_SMOOTH = 0.26
#: Distance from the constant coefficient at which high frequencies begin: they tell the level.
_HIGH = 0.55
#: Weight of the rings, from low to high frequencies: trust that they show noise alone.
_TRUST = np.array([0, 0.3, 0.6, 1, 1, 1, 1, 1])
#: Fraction of the patches, calm at other frequencies, from which each ring of the spectrum is read; and fraction, calm
#: at low frequencies, that may say that the level of white noise is lower.
_CALM, _CALMEST = 0.3, 0.15
#: Error of the autocorrelation: noise with less of it counts as white.
_ERROR = 0.1
_BINS = 30
_FEWEST = 30  # patches in a bin
_ROUNDS = 6
#: Share of whole patches below which incomplete ones count too; degrees of freedom that these have at the least, beside
#: low frequencies; what keeps fits to few pixels from breaking down; patches that are read at a time, and those that
#: tell what missing pixels do to the rest.
_WHOLE, _FREE, _RIDGE, _AT_ONCE, _SOME = 0.5, 8, 1e-3, 256, 64
#: Growth of that error with the loss of degrees of freedom.
_LOST = 0.75
#: Least variance, for images of a range of about 1: that of rounding to 20 bits.
_LEAST = 1e-13

Line = Callable[[Array, Array, Array], tuple[float, float]]


@dataclass(frozen=True)
class Patches:
    """Patches of an image.

    Attributes
    ----------
    mean : float64 array (P,)
        Mean intensity.
    power : float64 array (P, F)
        Square of each coefficient of the orthonormal cosine transform, or of `_waves`, the constant one set to 0.
    clipped : float64 array (P,)
        Fraction of pixels at a limit of the range.
    still : float64 array (P,)
        Fraction of pixels that equal the one before: hardly any in noise, most of them where there is none.
    shape : tuple of int
        Pixels along each axis, of product F.
    design : float64 array (F, D)
        Expected power of each coefficient per autocorrelation at each distance from 0 upwards.
    freedom : float64 array (P,)
        Degrees of freedom of the high frequencies, relative to a patch without a missing pixel.
    rings, coupled : float64 arrays (R,)
        Degrees of freedom of each ring of frequencies, and how much the sum of all rises with the power of one: 1 where
        frequencies are independent, as without a missing pixel.
    """

    mean: Array
    power: Array
    clipped: Array
    still: Array
    shape: tuple[int, ...]
    design: Array
    freedom: Array
    rings: Array
    coupled: Array

    def __len__(self) -> int:
        return len(self.mean)

    def only(self, keep: npt.NDArray[np.bool_]) -> Patches:
        each = (self.mean[keep], self.power[keep], self.clipped[keep], self.still[keep])
        return Patches(*each, self.shape, self.design, self.freedom[keep], self.rings, self.coupled)


@dataclass(frozen=True)
class Fit:
    """Noise of variance ``slope * mean + constant``, its autocorrelation, and the fraction of patches of noise alone.

    `autocorrelation` has one axis per spatial axis, with lags from 0 upwards. `calm` is that fraction.
    """

    slope: float
    constant: float
    autocorrelation: Array
    calm: float


def cut(channels: Array, known: npt.NDArray[np.bool_], clipped: npt.NDArray[np.bool_]) -> Patches:
    """Patches on a regular grid that have no unknown pixel, or few enough where hardly any has none.

    Parameters
    ----------
    channels : float64 array (C, *S)
        Of a range of about 1.
    known, clipped : bool array (C, *S)
        Unknown pixels may have any finite value.
    """
    shape, step = _shape_and_step(len(channels), channels.shape[1:])
    axes = tuple(range(1, len(shape) + 1))
    grid = (slice(None), *(slice(None, None, step) for _ in shape))

    def windows(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return np.lib.stride_tricks.sliding_window_view(values, shape, axis=axes)[grid].reshape(-1, *shape)

    there = windows(known)
    whole = there.all(axis=axes)
    enough = np.count_nonzero(there, axis=axes) >= np.count_nonzero(_radius(shape) < _HIGH) + _FREE
    if np.count_nonzero(whole) < _WHOLE * np.count_nonzero(enough):
        size = int(np.prod(shape))
        pixels, there, limits = (windows(each)[enough].reshape(-1, size) for each in (channels, known, clipped))
        return _incomplete(pixels, there, limits, shape)
    pixels = windows(channels)[whole].astype(np.float64)
    mean = pixels.mean(axis=axes)
    power = np.square(dctn(pixels - mean.reshape(-1, *(1 for _ in shape)), axes=axes, norm="ortho"))
    power = power.reshape(len(pixels), int(np.prod(shape)))
    power[:, 0] = 0
    still = np.count_nonzero(np.diff(pixels.reshape(power.shape), axis=1) == 0, axis=1) / power.shape[1]
    limits = windows(clipped)[whole].mean(axis=axes)
    rings = np.bincount(_rings(_radius(shape))).astype(np.float64)
    alone, independent = np.ones(len(mean)), np.ones(len(rings))
    return Patches(mean, power, limits, still, shape, _power_of_distance(shape), alone, rings, independent)


def _incomplete(
    pixels: Array, known: npt.NDArray[np.bool_], clipped: npt.NDArray[np.bool_], shape: tuple[int, ...]
) -> Patches:
    """Patches (P, F) with unknown pixels.

    Coefficients of low frequencies, from the lowest on, are each of what lower ones leave of the known pixels; those of
    high frequencies of what all low ones leave. All are scaled so that independent noise has about its variance.
    """
    radius = _radius(shape)
    low, high = np.split(np.argsort(radius, kind="stable"), [np.count_nonzero(radius < _HIGH)])
    waves = _waves(shape)
    count = np.count_nonzero(known, axis=1)
    freedom = (count - len(low)) / len(high)
    first = np.take_along_axis(pixels, known.argmax(axis=1)[:, None], axis=1)
    over = np.where(known, pixels - first, 0)
    mean = over.sum(axis=1) / count
    over = np.where(known, over - mean[:, None], 0)
    power = np.empty(pixels.shape)

    def waves_of(values: Array, part: slice) -> Array:
        """Coefficients of values (F, N) or (P, F, N) at the pixels of some patches."""
        seen = known[part, None] * waves[low]
        smooth = np.linalg.solve(np.linalg.cholesky(seen @ seen.mT + _RIDGE * np.eye(len(low))), seen)
        gentle = smooth @ values
        rest = known[part, :, None] * values - smooth.mT @ gentle
        made = np.empty(rest.shape)
        made[:, low], made[:, high] = gentle, waves[high] @ rest / np.sqrt(freedom[part, None, None])
        return made

    for start in range(0, len(pixels), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        power[part] = np.square(waves_of(over[part, :, None], part)[..., 0])
    power[:, 0] = 0
    some = slice(None, None, math.ceil(len(pixels) / _SOME))
    weights = waves_of(np.eye(len(radius)), some)
    weights[:, 0] = known[some] / np.sqrt(count[some, None])
    ring = _rings(radius)
    parts = [weights[:, ring == r] for r in range(ring.max() + 1)]
    shared = np.array([[np.sum(np.square(a @ b.mT)) for b in parts] for a in parts])
    own = np.diagonal(shared)
    rings = np.sum([np.square(a).sum(axis=(1, 2)) ** 2 for a in parts], axis=1) / own
    beside = known[:, 1:] & known[:, :-1]
    still = np.count_nonzero((np.diff(pixels, axis=1) == 0) & beside, axis=1) / np.maximum(beside.sum(axis=1), 1)
    limits = np.count_nonzero(clipped, axis=1) / count
    design = _autocorrelations(weights.reshape(-1, len(radius), *shape))
    return Patches(first[:, 0] + mean, power, limits, still, shape, design, freedom, rings, shared.sum(axis=0) / own)


def _autocorrelations(weights: Array) -> Array:
    """Products of weights (P, F, *S) of pixels at each distance, counted for all directions, the mean of P: (F, D)."""
    shape = weights.shape[2:]
    axes = tuple(range(1, len(shape) + 1))
    power = sum(np.square(np.abs(np.fft.fftn(each, [2 * n for n in shape], axes))) for each in weights) / len(weights)
    found = np.fft.ifftn(power, axes=axes).real
    for axis, n in zip(axes, shape, strict=True):
        found = np.stack(
            [found.take(d, axis) + (found.take(-d, axis) if d else 0) for d in range(min(REACH + 1, n))], axis
        )
    return np.asarray(found.reshape(len(found), -1))


def coefficients(channels: int, space: tuple[int, ...]) -> int:
    """Largest number of coefficients of all patches that are cut from channels (C, *S)."""
    return count_of(channels, space) * math.prod(_shape_and_step(channels, space)[0])


def count_of(channels: int, space: tuple[int, ...]) -> int:
    """Largest number of patches that are cut from channels (C, *S)."""
    shape, step = _shape_and_step(channels, space)
    return channels * math.prod(len(range(0, n - b + 1, step)) for n, b in zip(space, shape, strict=True))


def _shape_and_step(channels: int, space: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Pixels along each axis of a patch, and from one patch to the next."""
    size = (SIZE // 2, SIZE, SIZE) if len(space) == 3 else (SIZE,) * len(space)
    shape = tuple(min(a, b) for a, b in zip(size, space, strict=True))
    places = channels * math.prod(n - b + 1 for n, b in zip(space, shape, strict=True))
    return shape, max(1, math.ceil((places / (COUNT * SIZE**2 / math.prod(shape))) ** (1 / len(shape))))


def fit(patches: Patches, line: Line) -> Fit:
    """Fit the noise of patches.

    Parameters
    ----------
    patches : Patches
        Of more than one pixel each, and not all without any power.
    line : callable
        From intensities, variances there and their standard errors to slope and constant: `straight_line`, or what
        is known of either.
    """
    mean, power = patches.mean, patches.power
    radius, design = _radius(patches.shape), patches.design
    ring = _rings(radius)
    high, low = radius >= _HIGH, (radius > 0) & (radius < _HIGH)
    colour = np.ones(power.shape[1])  # power of the noise by frequency, 1 on average
    autocorrelation = np.eye(1, design.shape[1])[0]
    doubt = _ERROR / np.median(patches.freedom) ** _LOST
    slope, variance = 0.0, np.zeros(0)
    for _ in range(_ROUNDS):
        level = power[:, high].sum(axis=1) / colour[high].sum()
        shape = colour[high].sum() ** 2 / np.square(colour[high]).sum() / 2 * patches.freedom
        before = np.full(len(mean), max(np.median(level), _LEAST)) if not len(variance) else variance
        blur = before * _blur(float(design[0] @ autocorrelation)) / power.shape[1]
        slope, constant = line(*_level_by_intensity(mean, level, before, shape, blur))
        if slope == 0 and line is straight_line:  # no bright patches to wait for: the calmest wherever they are
            constant = _lowest_scale(level, shape)[0]
        variance = slope * mean + constant
        variance = np.maximum(variance, max(0.01 * np.maximum(variance, 0).mean(), _LEAST))
        spectrum = _spectrum(power / variance[:, None], colour, ring, patches)
        trusted = _TRUST[ring] > 0
        weight = np.sqrt(_TRUST[ring][trusted]) / (spectrum[trusted] + 0.05)
        distances = np.linalg.lstsq(design[trusted] * weight[:, None], spectrum[trusted] * weight, rcond=None)[0]
        if distances[0] > 0:
            autocorrelation = _drawn_to_white(distances / distances[0], doubt)
            colour = np.maximum(design @ autocorrelation, 0.01)
    if line is straight_line and not autocorrelation[1:].any():  # else low frequencies hold more of the noise itself
        structure = power[:, low].sum(axis=1) / variance
        calmest = structure <= np.quantile(structure, _CALMEST)
        weaker = min(float(np.mean((level / variance)[calmest])), 1.0)
        slope, constant = weaker * slope, weaker * constant
    reach = tuple(min(REACH + 1, n) for n in patches.shape)
    calm = np.mean(level < variance) / np.median(gammainc(shape, shape))
    return Fit(slope, constant, autocorrelation.reshape(reach), float(min(calm, 1)))


def _drawn_to_white(autocorrelation: Array, error: float) -> Array:
    """Autocorrelation by distance, from 0 on: that of white noise within its error, the same as it was far above it."""
    largest = max(float(np.abs(autocorrelation[1:]).max(initial=0)), error)
    drawn = (1 - (error / largest) ** 4) * autocorrelation
    drawn[0] = 1
    return np.asarray(drawn)


def straight_line(intensity: Array, variance: Array, error: Array) -> tuple[float, float]:
    """Slope and constant of a robust line; a slope that does not stand out of its error, or is negative, is 0.

    Structure can only add to a variance, so what lies above the line counts less than what lies below.
    """
    columns = np.stack([intensity, np.ones_like(intensity)], axis=1)
    middle = float(np.median(variance))
    line = np.full_like(variance, middle)
    doubt = np.ones_like(variance)
    for _ in range(30):
        spread = error * np.maximum(line, 0.05 * middle)
        weight = np.sqrt(doubt) / spread
        solution = np.linalg.lstsq(columns * weight[:, None], variance * weight, rcond=None)[0]
        line = np.maximum(columns @ solution, 0.02 * middle)
        away = (variance - line) / spread
        doubt = 1 / (1 + np.square(away / np.where(away > 0, 2, 4)))
    slope, constant = (float(value) for value in solution)
    normal = (columns * weight[:, None]).T @ (columns * weight[:, None])
    scatter = max(1.0, float(np.sqrt(np.mean(np.minimum(doubt * np.square(away), 9)))))
    certain = slope > 3 * scatter * np.sqrt(np.linalg.pinv(normal)[0, 0])
    low, high = np.quantile(intensity, (0.1, 0.9))
    matters = slope * (high - low) > 0.1 * middle
    return (slope, constant) if len(variance) > 2 and certain and matters else (0.0, middle)


def _level_by_intensity(
    mean: Array, level: Array, before: Array, shape: Array, blur: Array
) -> tuple[Array, Array, Array]:
    """Intensity, variance and its relative standard error, in bins of the mean intensity.

    An extreme mean is partly so by noise: the intensity behind the means of a bin is off, on average, by the variance
    of a mean times the slope of the logarithm of their density (Tweedie; Robbins 1956). Of that variance `blur` counts.
    """
    count = int(np.clip(len(mean) // _FEWEST, 1, _BINS))
    parts = (1 - np.cos(np.linspace(0, np.pi, count + 1))) / 2  # finer at the ends, where a line is held
    # equal means are in one bin, however they are rounded
    edges = np.unique(np.quantile(mean, parts).round(12)) - 1e-12
    place = np.clip(np.searchsorted(edges, mean, side="right") - 1, 0, max(len(edges) - 2, 0))
    nearer = _towards_the_many(mean, edges, float(np.mean(blur)))
    rows = []
    for index in range(max(len(edges) - 1, 1)):
        inside = place == index
        if inside.sum() >= min(_FEWEST, len(mean) // count):
            scale, kept = _lowest_scale(level[inside] / before[inside], shape[inside])
            error = np.sqrt(4 / (np.median(shape[inside]) * max(kept, 1)) + 0.03**2)
            intensity = mean[inside].mean() + blur[inside].mean() * nearer[index] / np.mean(inside)
            rows.append((intensity, max(scale * before[inside].mean(), _LEAST), error))
    intensities, variances, errors = np.array(rows).T
    return intensities, variances, errors


def _blur(shared: float) -> float:
    """Part of the variance of a patch's mean that moves it off the line of variances; 0 for independent noise.

    `shared` is the variance of that mean, and the result too, relative to independent noise. Photons that are many by
    chance vary more, too: independent ones as much as others of that mean. Correlation comes from a filter, which acts
    twice on the variance of the mean, and once on the covariance of mean and variance.
    """
    return shared - math.sqrt(max(shared, 0))


def _towards_the_many(mean: Array, edges: Array, blur: float) -> Array:
    """Increase of the density of the means from the beginning of each bin to its end; it is 0 beyond the bins."""
    width = math.sqrt(max(abs(blur), np.finfo(float).tiny))
    in_order = np.sort(mean)
    near = np.searchsorted(in_order, edges + width / 2) - np.searchsorted(in_order, edges - width / 2)
    density = near / (len(mean) * width)
    density[[0, -1]] = 0
    return np.diff(density, append=0)


def _lowest_scale(level: Array, shape: Array | float, start: float = 0.1, cut: float = 1.0) -> tuple[float, int]:
    """Scale of the lowest component of levels of gamma distributions, and the number that it was read from.

    Levels above `cut` times the scale are left out, for they may be structure; the mean of a gamma distribution that is
    truncated there makes up for it. The iteration begins at the quantile `start`.
    """
    shapes, times = np.unique(shape, return_counts=True)
    share = times / times.sum()
    usual = float(share @ shapes)
    scale = _quantile(level, start) / (gammaincinv(usual, start) / usual)
    expected = float(share @ gammainc(shapes + 1, shapes * cut)) / float(share @ gammainc(shapes, shapes * cut))
    count = len(level)
    for _ in range(60):
        kept = level[level < scale * cut]
        count = len(kept)
        if count < 5:
            break
        before, scale = scale, float(np.add.reduce(kept)) / count / expected  # `mean` takes longer to begin than to add
        if abs(scale - before) < 1e-4 * scale:
            break
    return scale, count


def _quantile(values: Array, part: float) -> float:
    """Quantile of an array (N,), to the last bit that of `numpy.quantile`, which takes ten times as long for a few."""
    place = part * (len(values) - 1)
    low = min(int(place), len(values) - 2)
    if low < 0:
        return float(values[0])
    below, above = (float(value) for value in np.partition(values, (low, low + 1))[low : low + 2])
    rest = place - low
    return below + (above - below) * rest if rest < 0.5 else above - (above - below) * (1 - rest)


def _spectrum(power: Array, colour: Array, ring: npt.NDArray[np.intp], patches: Patches) -> Array:
    """Power of the noise at each frequency, from patches that are calm at all the others.

    Patches are chosen by other frequencies than the one that is read, so that the choice does not lower it.
    """
    size = np.bincount(ring)
    rings = np.stack([power[:, ring == r].sum(axis=1) for r in range(len(size))], axis=1)
    even = power / np.maximum(colour, 0.05)
    evened = np.stack([even[:, ring == r].sum(axis=1) for r in range(len(size))], axis=1)
    whole = evened.sum(axis=1)
    spectrum = np.zeros(power.shape[1])
    for r in range(len(size)):
        others = whole - patches.coupled[r] * evened[:, r]
        calm = others <= _quantile(others, _CALM)
        level = rings[calm, r] / size[r]
        scale, _ = _lowest_scale(level, patches.rings[r] / 2, start=0.3, cut=1.3)
        kept = power[calm][level <= scale * 1.3][:, ring == r].mean(axis=0)
        spectrum[ring == r] = scale * kept / max(kept.mean(), np.finfo(float).tiny)
    return spectrum


def _radius(shape: tuple[int, ...]) -> Array:
    """Distance of each coefficient from the constant one, 1 where one axis oscillates from pixel to pixel."""
    squares = np.meshgrid(*(np.square(np.arange(n) / n) for n in shape), indexing="ij")
    return np.asarray(np.sqrt(sum(squares)).ravel())


def _rings(radius: Array) -> npt.NDArray[np.intp]:
    """Ring of each coefficient; rings have about equal numbers of frequencies, and the constant one is in ring 0."""
    edges = np.quantile(radius[1:], np.linspace(0, 1, _RINGS + 1))
    return np.clip(np.searchsorted(edges, radius, side="right") - 1, 0, _RINGS - 1)


def _waves(shape: tuple[int, ...]) -> Array:
    """Orthonormal waves (F, F), a row of pixels for each frequency: polynomials, and cosines for the higher ones.

    Cosines alone see power at all frequencies in a slope.
    """
    radius = _radius(shape)
    waves = idctn(np.eye(len(radius)).reshape(-1, *shape), axes=range(1, len(shape) + 1), norm="ortho")
    powers: Array = np.ones((1, 1))
    for n in shape:
        powers = np.asarray(np.kron(powers, np.vander(np.linspace(-1, 1, n), increasing=True).T), np.float64)
    waves = np.where(radius[:, None] <= _SMOOTH, powers, waves.reshape(powers.shape))
    order = np.argsort(radius, kind="stable")
    waves[order] = np.linalg.qr(waves[order].T)[0].T
    return np.asarray(waves)


def _power_of_distance(shape: tuple[int, ...]) -> Array:
    """Expected power of each coefficient (rows) per autocorrelation at each distance from 0 upwards (columns).

    That is the autocorrelation of the cosine itself, counted twice where a distance stands for both directions.
    """

    def along(n: int) -> Array:
        basis = np.sqrt(2 / n) * np.cos(np.pi * np.outer(np.arange(n), np.arange(n) + 0.5) / n)
        basis[0] /= np.sqrt(2)
        distances = range(min(REACH + 1, n))
        return np.stack([(2 if d else 1) * (basis[:, d:] * basis[:, : n - d]).sum(axis=1) for d in distances], axis=1)

    design: Array = np.ones((1, 1))
    for n in shape:
        design = np.asarray(np.kron(design, along(n)), np.float64)
    return design
