"""Pixels that stand out of everything around them: hot, dead, salt and pepper, alone, in clusters and in lines."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage  # type: ignore[import-untyped]

from napari_dip.core.nearest import standing_in

if TYPE_CHECKING:
    from napari_dip.core.noise.model import Noise

#: Standard deviations above or below the surroundings.
_FAR = 5.0
#: Largest height of the neighbours, relative to that of the pixel. A spot 2 pixels wide gives them half.
_SHARED = 0.35
#: The same two for pixels that are defective beyond doubt; small spots per defective pixel from which there is doubt;
#: and the fraction of all pixels from which they are texture.
_SURELY, _UNSHARED, _DOUBT, _MANY = 10.0, 0.1, 0.25, 0.01
#: Least height of single pixels: below, noise hides whether the four pixels beside one have a share of its light.
_ALONE = 6.0
#: Least height in ranges of the neighbours without the two extremes: fine texture reaches further than noise.
_VARIED = 2.0
#: Fraction of an image's surroundings that are darker than those at which its noise counts as measured.
_DARK = 0.1

#: Pixels across the largest cluster, and the least standard deviation of the noise at a pixel, relative to sigma.
_CLUSTER, _LEAST = 5, 0.05
#: Pixels of a large cluster, pixels of an image per large cluster from which they are a pattern, and the part of the
#: pixels around a cluster that is left out at either end where their spread is measured.
_LARGE, _SPARSE, _TWELFTH = 9, 2000, 12
#: Shortest line, in pixels and as a fraction of the image; fraction of it that stands out; lines from which they are a
#: pattern, as a number and as a fraction of all.
_LENGTH, _CROSSED, _OUTSTANDING, _LINES, _PATTERN = 16, 0.25, 0.8, 3, 0.04
#: Factor on the threshold of lines at the border of the image, where photographs often end with a dark one, and of what
#: is known.
_ONE_SIDE = 4

_SQUARE = np.ones((3, 3), bool)
_BESIDE = _SQUARE.copy()
_BESIDE[1, 1] = False
_NEXT = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]) / 4
_AROUND = np.ones((5, 5), bool)
_AROUND[1:-1, 1:-1] = False
_FURTHER = np.zeros((7, 7), bool)
_FURTHER[::2, ::2] = True
_FURTHER[2:-2, 2:-2] = False


def isolated(values: npt.NDArray[np.float64], noise: Noise, *, surely: bool = False) -> npt.NDArray[np.bool_]:
    """Single pixels, or pairs, far from their surroundings.

    A pixel is compared with the median at two pixels' distance. What an instrument images is as wide as its PSF, so
    a pixel that stands out with more than one neighbour is a small structure.

    Parameters
    ----------
    values : float64 array (..., Y, X)
        Each plane is looked at on its own.
    noise : Noise
        In the same units.
    surely : bool
        Take the noise of the dark as no weaker than where it was measured, and that of a dark pixel for no weaker than
        that of its surroundings: for what is said of a pixel. Whether one more or less of the lower tail counts in an
        estimate is another matter.
    """
    height, above, below, _ = _heights(values, noise, _DARK if surely else 0)
    far = np.abs(height) > np.maximum(_FAR, _VARIED * (above - below))
    if surely:
        plain, deviation = _plainly(values, noise)
        far &= plain > _FAR * deviation
    hot = far & (height > 0) & (above < _SHARED * height + 0.5)
    dead = far & (height < 0) & (below > _SHARED * height - 0.5)
    return np.asarray(hot | dead)


def defective(values: npt.NDArray[np.float64], noise: Noise) -> npt.NDArray[np.bool_]:
    """Isolated pixels that are defective beyond doubt: the four pixels beside them have no light, even on average.

    A point spread function of 0.5 pixels (standard deviation) leaves them an eighth or more of the height. None is
    found if many spots are nearly as small. Parameters are those of `isolated`.
    """
    height, above, below, mean = _heights(values, noise, _DARK)
    size, beside = np.abs(height), np.where(height > 0, above, -below)
    plain, deviation = _plainly(values, noise)
    outstanding = size > 1.5 * _VARIED * (above - below)
    unshared = (beside < _UNSHARED * size + 2) & (np.sign(height) * mean < _UNSHARED * size)
    found = np.zeros(values.shape, bool)
    for least in (_SURELY, _ALONE):  # doubt about the lower pixels is none about the higher ones
        far = outstanding & (size > least) & (plain > least * deviation)
        alone = far & unshared
        small = far & ~unshared & (beside < 2 * _SHARED * size)  # of a blur of less than a pixel
        if np.count_nonzero(small) <= _DOUBT * np.count_nonzero(alone) and alone.mean() <= _MANY:
            found |= alone
    return found


def clusters(values: npt.NDArray[np.float64], noise: Noise) -> npt.NDArray[np.bool_]:
    """Clusters of up to 5x5 pixels, and pieces of lines, that are defective beyond doubt.

    The pixels around share nothing of their height. What an instrument images falls off gradually, so that its dimmest
    pixel is near the brightest one beside it. None is found in a plane that has such spots as small, edges of larger
    structure as sharp, or as many clusters as a pattern has. Parameters are those of `isolated`.
    """
    found = np.zeros(values.shape, bool)
    if noise.sigma > 0:
        for place in np.ndindex(values.shape[:-2]):
            found[place] = _clusters(values[place], noise)
    return found


def _clusters(plane: npt.NDArray[np.float64], noise: Noise) -> npt.NDArray[np.bool_]:
    found, compact = np.zeros(plane.shape, bool), np.zeros(plane.shape, bool)
    level = ndimage.median_filter(plane, footprint=_FURTHER, mode="reflect")  # no pixel of a line counts twice
    deviation = np.sqrt(noise.variance(np.maximum(plane, level)))  # else a few photons stand out of the dark
    rise = plane - level
    height = rise / np.maximum(deviation, _LEAST * noise.sigma)
    labels, _ = ndimage.label(np.abs(height) > _SURELY, _SQUARE)
    sizes = np.bincount(labels.ravel())
    if np.count_nonzero((sizes > 1) & (sizes <= _CLUSTER**2)) > _MANY * plane.size:
        return found
    blurred = large = count = 0
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        sides = [s.stop - s.start for s in box]
        if sizes[label] == 1 or (max(sides) > _CLUSTER and min(sides) > 1):
            continue
        around = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        inside = labels[around] == label
        compact[around] |= inside
        ring = ndimage.binary_dilation(inside, _SQUARE) & ~inside
        next_to = ring & ndimage.binary_dilation(inside)
        sign = np.sign(height[around][inside][0])
        heights, above, raw = (sign * each[around] for each in (height, rise, plane))
        least, beside = heights[inside].min(), np.sort(heights[ring])
        outer = max(1, len(beside) // _TWELFTH)
        drop = ndimage.minimum_filter(np.where(inside, raw, np.inf), 3)[ring] - raw[ring]
        if beside[-1] >= _UNSHARED * least + 3:
            blurred += beside[-1] < 2 * _SHARED * least
        elif (
            least > 2 * _VARIED * (beside[-1 - outer] - beside[outer])
            and above[next_to].mean() < _UNSHARED * above[inside].mean()
            and drop.min() > above[inside].min() / 2  # else the corner or the edge of an area
        ):
            found[around] |= inside
            count += 1
            large += sizes[label] >= _LARGE
    elsewhere = _steep(plane, noise) & ~ndimage.binary_dilation(compact | (sizes == 1)[labels], _SQUARE)
    doubt = blurred > _DOUBT * count or np.count_nonzero(elsewhere) > _DOUBT * np.count_nonzero(found)
    return np.zeros(plane.shape, bool) if doubt or large > max(_LINES, plane.size / _SPARSE) else found


def _steep(plane: npt.NDArray[np.float64], noise: Noise) -> npt.NDArray[np.bool_]:
    """Pixels that rise or fall within one pixel, from a level: no point spread function leaves such an edge."""
    found = np.zeros(plane.shape, bool)
    deviation = np.sqrt(noise.variance(plane))
    for turn in range(4):
        seen, noisy, out = (np.rot90(each, turn) for each in (plane, deviation, found))
        before, foot, top, behind = (seen[i : len(seen) - 3 + i] for i in range(4))
        step, strongest = top - foot, np.maximum(noisy[1:-2], noisy[2:-1])
        size, further = np.abs(step), np.sign(step) * (behind - top)
        flat = np.abs(foot - before) < _UNSHARED * size + 3 * noisy[1:-2]
        out[2:-1] |= (size > _SURELY * strongest) & flat & (further < _UNSHARED * size + 3 * strongest)
    return found


def lines(values: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Rows and columns, from one border, that stand out of those beside them nearly everywhere: hot, dead or unsteady.

    Each pixel must stand out of three on either side by far more than these differ, so the noise need not be known.
    What an instrument images is wider than one pixel, and lights the next line too. Many lines count as a pattern.

    Parameters
    ----------
    values : float64 array (..., Y, X)
        Each plane is looked at on its own.
    known : bool array (..., Y, X)
        False where something stands in for a missing pixel. That is no evidence: the nearest pixel, again and again,
        makes lines itself.
    """
    found = np.zeros(values.shape, bool)
    with np.errstate(over="ignore", invalid="ignore"):  # a range that float64 cannot hold is refused later
        for place in np.ndindex(values.shape[:-2]):
            plane, sure = values[place], known[place]
            found[place] = _columns(plane, sure) | _columns(plane.T, sure.T).T
    return found


def _columns(plane: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    rows, columns = plane.shape
    found = np.zeros(plane.shape, bool)
    least = max(_LENGTH, int(_CROSSED * rows))
    if rows < least or columns < 8:
        return found
    padded, sure = np.pad(plane, ((0, 0), (3, 3)), mode="reflect"), np.pad(known, ((0, 0), (3, 3)), mode="reflect")
    for sign, way in itertools.product((1, -1), (1, -1)):  # hot and dead, from either border
        over = [sign * plane > sign * padded[:, 3 + far : 3 + far + columns] for far in (-3, -2, 2, 3)]
        out = np.add.reduce(over, dtype=np.int8) >= 3
        likely = np.flatnonzero(_reach(out[::way], known[::way])[1] >= least)  # a quick preselection
        beside = np.sort(np.stack([padded[:, likely + far] for far in (0, 1, 2, 4, 5, 6)]), axis=0)
        guessed = ~np.logical_and.reduce([sure[:, likely + far] for far in (0, 1, 2, 4, 5, 6)])
        level, spread = (beside[2] + beside[3]) / 2, beside[4] - beside[1]
        guessed |= (likely < 3) | (likely >= columns - 3)  # the border mirrors what is there
        spread[guessed] *= _ONE_SIDE
        height = sign * (plane[:, likely] - level)
        out = (height > 2 * _VARIED * spread) & (spread > 0)
        reach, evidence = _reach(out[::way], known[::way][:, likely])
        for index in np.flatnonzero(evidence >= least):
            column = likely[index]
            n = rows if reach[index] > _OUTSTANDING * rows else reach[index]
            part = slice(None, n) if way == 1 else slice(rows - n, None)
            next_to = [sign * (padded[part, column + far] - level[part, index]).mean() for far in (2, 4)]
            found[part, column] |= min(next_to) < _UNSHARED * height[part, index].mean()
    pattern = np.count_nonzero(found.any(axis=0)) > max(_LINES, _PATTERN * columns)
    return np.zeros(plane.shape, bool) if pattern else found


def _reach(
    out: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    """Pixels of each column (Y, X) from its first to the last up to which most stand out: all, and those known."""
    out = out & known
    count = np.cumsum(known, axis=0)
    reached = (np.cumsum(out, axis=0) >= _OUTSTANDING * count) & out
    reach = np.where(reached.any(axis=0), len(out) - np.argmax(reached[::-1], axis=0), 0)
    return reach, np.where(reach > 0, np.take_along_axis(count, np.maximum(reach - 1, 0)[None], axis=0)[0], 0)


def _plainly(values: npt.NDArray[np.float64], noise: Noise) -> tuple[npt.NDArray[np.float64], ...]:
    """Distance of each pixel from its surroundings, and the noise deviation of these: no guess about the dark."""
    level = ndimage.median_filter(values, footprint=_AROUND.reshape((1,) * (values.ndim - 2) + (5, 5)), mode="mirror")
    return np.abs(values - level), np.sqrt(noise.variance(level))


def _heights(values: npt.NDArray[np.float64], noise: Noise, dark: float = 0) -> tuple[npt.NDArray[np.float64], ...]:
    """Height above the surroundings, in noise standard deviations, of each pixel and of its neighbours.

    Of the neighbours: the second highest, the second lowest, and the mean of the four next to the pixel.
    The variance in the darkest fraction `dark` of the surroundings is taken to be that at its upper end.
    """
    from napari_dip.core.noise.stabilise import Stabiliser  # imports torch, which a form and --help do without

    stabiliser = Stabiliser(noise)
    flat = (1,) * (values.ndim - 2)
    beside, around = _BESIDE.reshape(*flat, 3, 3), _AROUND.reshape(*flat, 5, 5)
    level = ndimage.median_filter(values, footprint=around, mode="mirror")
    first, slope = -np.inf, 0.0
    if noise.gain > 0:
        # the transform ends at no light, which would hide dead pixels: its tangent goes on. Where that begins above
        # the darkest part, the variance is not extrapolated, down to none at an offset that is often fitted too high
        first = max(float(np.quantile(level, dark)), noise.offset) if dark else noise.offset
        slope = 1 / stabiliser.unit / math.sqrt((first - noise.offset) / stabiliser.unit + stabiliser.dark)

    def stabilised(y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        lit = np.maximum(y, first)
        return stabiliser.forward(lit) - (lit - y) * slope

    stable, level = stabilised(values), stabilised(level)
    height = stable - level
    above = ndimage.rank_filter(stable, rank=-2, footprint=beside, mode="mirror") - level
    below = ndimage.rank_filter(stable, rank=1, footprint=beside, mode="mirror") - level
    mean = ndimage.convolve(stable, _NEXT.reshape(*flat, 3, 3), mode="mirror") - level
    return height, above, below, mean


def filled(values: npt.NDArray[np.float64], bad: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Each bad pixel replaced by the nearest good one of its plane, which has the same noise; (..., Y, X)."""
    plane = values.shape[-2:]
    return standing_in(values.reshape(-1, *plane), ~bad.reshape(-1, *plane)).reshape(values.shape)
