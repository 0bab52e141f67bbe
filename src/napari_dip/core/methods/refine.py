"""Similar patches behind a prior: plug and play, with falling noise and the measurement put back at each step.

The prior knows images by its architecture, similar patches know this one by itself; they err differently. So the image
of the prior is taken for a noisy one: similar patches denoise it, the measurement is put back, and so on with less and
less noise (Venkatakrishnan, Bouman, Wohlberg 2013; the weights of Zhang et al., "Plug-and-play image restoration with
deep denoiser prior", 2021).

Where nothing but pixels is missing, similar patches foretell these more directly (`expected`): alone without a prior,
and behind one in the mean with what denoising makes of its image, as the two err differently. Before both, a hole is
brought to the level of what surrounds it, which a prior comes to late.

Where the contrast of the image is far below these noises, as in a dark background, patches only smooth: the image stays
that of the prior there.

Behind a blur that noise came after, and on a finer grid, each pixel is put back by its own noise, as the dark ones of
photons tell more than the bright ones. Behind a blur patches need one step with the image before as their guide. Noise
that is sharpened is correlated, and in a flat place patches that share some of it agree on stripes. So after each step
structure stays only where the measurement shows it: where its energy behind the blur is more than noise might have
around there. Nor does a step leave less than no light where the camera says what that is: the next one then explains
the measurement without the rings that would need it.

On a finer grid noise that is known ends a run early, with an image of few details. The prior, similar patches behind it
and similar patches of the coarse measurement itself err differently then, so the result is what they agree on. Under
noise the result has the mean of the measurement, on a finer grid and behind a blur.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_dip.core.forward import Work
from napari_dip.core.laws import denoised
from napari_dip.core.methods import expected
from napari_dip.core.methods.nlridge import COMPARED, by_strips
from napari_dip.core.methods.stable import denoised as stably_denoised
from napari_dip.core.nearest import standing_in
from napari_dip.core.noise.model import Noise
from napari_dip.core.operators import Mask, blurs, refines_grid
from napari_dip.core.pauses import part
from napari_dip.core.problem import Problem
from napari_dip.tables.method import is_noisy
from napari_dip.tables.parts import OwnPart

# Chosen on eight images of benchmarks/NOTES.md, "Similar patches behind a prior"; three others are for the claim.
FIRST, LAST = 15 / 255, 1 / 255  # noise of the first step and of the last, over the range of the image
_FIRST_FINER = 8 / 255  # of the first behind a prior on a finer grid, which made edges that patches would smooth
_ABOVE = 2.0  # the first over the noise of the measurement, at the least
_TRUST = 0.23  # weight of patches against the measurement, times the ratio of their variances
_ABOVE_BLURRED, _TRUST_BLURRED = 1.5, 0.35  # the same for noise behind a blur
_LEAST_BLURRED = 0.1  # variance of the darkest pixel there, relative to the mean one
_SOLVES = 10  # conjugate gradients at a time
_ENOUGH = 1e-10  # of the squared residual: where they end
REACH = 8  # pixels to the furthest similar patch: half as far costs a fourth and loses nothing where an image is smooth
COMPARED_NEAR = 0.45 * COMPARED  # work per pixel of a step, as patches are compared only so near
_FORETOLD = 0.6 * COMPARED_NEAR  # the same where known pixels foretell the missing ones, which half of all are
CLEAR = 8.0  # SNR from which much of a guessed noise may be fine structure, and counts for nothing
_FEW = 0.02  # share of known pixels around a missing one at which half of what they lack counts
_FAINT = 4 / 255  # contrast at which half of the change is kept, over the range of the image
_AROUND = 33  # pixels a side over which contrast is measured
_SEEN = 6.0  # energy of structure around a pixel, in variances of the noise, of which half shows
_BOX = 13  # pixels a side of the box whose mean, taken twice, is what lies around a pixel
_NEAR = (1.5 * _BOX) ** 2  # pixels that count there


def refined(problem: Problem, image: Tensor, steps: int, *, anew: bool = False) -> Generator[float, None, Tensor]:
    """Refine a restored image by similar patches, yielding the share that is done.

    Parameters
    ----------
    problem : Problem
    image : float tensor (1, C, *image)
        In scaled intensities, finite.
    steps : int
        Of patches; 0 gives the image back.
    anew : bool
        True if the image is the smoothest one, which has yet no structure of its own in its holes.

    Returns
    -------
    float tensor (1, C, *image)
        Bit by bit the same for the same image and number of threads on a CPU.
    """
    if not steps:
        return image
    operator = copy.deepcopy(problem.operator).to(image.device)  # Module.to moves in place
    observation = torch.from_numpy(problem.observation)[None].to(image)
    known = operator.known if isinstance(operator, Mask) and problem.denoiser is None else None
    if anew and known is not None:
        estimate = yield from _filled(known, image, observation, steps, _variance_at_first(problem.noise))
        return where_faint(image, estimate)
    if known is not None:
        image = levelled(known, image, observation)
    noise = noise_left(problem, operator, image, observation)
    blurred = blurs(operator) and noise > LAST  # without noise nothing of this gains
    above, trust = (_ABOVE_BLURRED, _TRUST_BLURRED) if blurred else (_ABOVE, _TRUST)
    finer = refines_grid(operator)
    least = _FIRST_FINER if finer and not anew else FIRST
    first, last = max(least, above * noise), max(LAST, noise)
    coarse = noise_of_coarse(problem) if problem.denoiser is None and not blurred else None
    whole = steps * (1 if known is None else 2) + (coarse is not None)
    estimate = image
    for step in range(steps):
        sigma = first * (last / first) ** (step / max(steps - 1, 1))
        guide = estimate[0] if blurred and step else None
        told = told_by(problem.noise, operator, estimate) if blurred or finer else 1.0
        telling = _times(told, operator)
        estimate = put_back(telling, told * observation, estimate, trust * (noise / sigma) ** 2)
        if problem.denoiser is not None:
            estimate = by_plane(problem.denoiser, estimate, sigma)
            yield (step + 1) / steps
        else:
            estimate = (yield from part(by_strips(estimate[0], sigma, reach=REACH, guide=guide), step, whole))[None]
            estimate = where_seen(estimate, telling, noise) if blurred else estimate
        estimate = estimate.clamp(min=problem.darkest)
    estimate = estimate if blurred else where_faint(image, estimate)
    if known is not None:
        filled = yield from part(_filled(known, image, observation, steps, noise**2), 1, 2)
        estimate = torch.where(known, estimate, (estimate + filled) / 2)
    estimate = estimate.clamp(min=problem.darkest)
    if coarse is not None:
        work = _agreed(problem, coarse, operator, estimate if anew else (image + estimate) / 2)
        estimate = yield from part(work, steps, whole)
    if coarse is None and not blurred:
        return estimate
    return (estimate + _lacking(operator, estimate, observation)).clamp(min=problem.darkest)


def noise_of_coarse(problem: Problem) -> Noise | None:
    """Noise of a coarse image whose finer grid is sought, if it is known and not weak; None for any other problem.

    Where its estimate is a guess, the finest detail tells it, if that is alike everywhere.
    """
    noise = problem.noise
    if noise is None or not refines_grid(problem.operator):
        return None
    if is_noisy(noise):
        return noise
    return Noise(gain=0, offset=0, read_noise=noise.detail, sigma=noise.detail) if noise.detail else None


def _agreed(
    problem: Problem, noise: Noise, operator: Callable[[Tensor], Tensor], image: Tensor
) -> Generator[float, None, Tensor]:
    """The image (1, C, *image) and its denoised measurement, drawn together as if both erred alike."""
    known = problem.known_pixels()
    coarse = yield from stably_denoised(standing_in(problem.observation, known), noise, image.device.type)
    measured = torch.from_numpy(np.where(known, coarse, 0))[None].to(image)
    return put_back(operator, measured, image, measured.numel() / image.numel())


def _lacking(operator: Callable[[Tensor], Tensor], image: Tensor, observation: Tensor) -> Tensor:
    """Brightness (1, C, 1, ...) that an image (1, C, *image) lacks to have the mean of its measurement.

    Dark pixels have the least photon noise: patches trust them most, and so lower the mean.
    """
    axes = tuple(range(2, image.ndim))
    with torch.no_grad():
        residual, one = observation - operator(image), operator(torch.ones_like(image))
    return (residual * one).sum(axes, keepdim=True) / one.square().sum(axes, keepdim=True).clamp(min=1e-6)


def levelled(known: Tensor, image: Tensor, observation: Tensor) -> Tensor:
    """An image (1, C, *S), its missing pixels raised by what it lacks of the known ones around them, on the mean."""
    seen = known.expand_as(image).to(image)
    lacking = _around(_around(seen * (observation - image))) / (_around(_around(seen)) + _FEW)
    return image + (1 - seen) * lacking


def work_of_foretelling(filled: float, noise: Noise, *, alone: bool) -> Work:
    """Work per pixel of a step that foretells missing pixels: the share `filled` of it, all of it if there is noise."""
    noisy = bool(_variance_at_first(noise)) if alone else noise.sigma > 0 and not noise.warning
    return _FORETOLD * (filled > 0 if noisy else filled)


def _variance_at_first(noise: Noise | None) -> float:
    """Variance of the known pixels, as far as it is no fine structure."""
    return noise.sigma**2 if noise is not None and noise.contrast < CLEAR else 0.0


def _filled(
    known: Tensor, image: Tensor, observation: Tensor, steps: int, variance: float
) -> Generator[float, None, Tensor]:
    """The image (1, C, *S) with its missing pixels as similar patches expect them, from known ones of such a noise."""
    known, estimate = known.expand_as(image)[0], image[0].float()
    if not variance:
        estimate = torch.where(known, observation[0], estimate)
    for number, step in enumerate(expected.steps_of(steps)):
        work = expected.expected(estimate, known, observation[0], step, variance)
        estimate = yield from part(work, number, steps)
    return estimate[None]


def where_faint(image: Tensor, estimate: Tensor) -> Tensor:
    """An estimate, but the image where its contrast is faint: both (1, C, *S)."""
    power = contrast(image).square()
    return torch.lerp(image, estimate, power / (power + _FAINT**2))


def where_seen(image: Tensor, operator: Callable[[Tensor], Tensor], sigma: float) -> Tensor:
    """An image (1, C, *S), but smooth where noise of the measurement would hide its structure.

    Noise alone has an energy of one variance in each independent value; that of a structure is the square of what the
    operator, which weighs pixels by their noise, leaves of it.
    """
    smooth = _around(_around(image))
    structure = image - smooth
    with torch.no_grad():
        density = structure * _adjoint(operator, image)(operator(structure))
    energy = _around(_around(density)).clamp(min=0) * _NEAR / sigma**2
    power = energy.square()
    return torch.lerp(smooth, image, power / (power + _SEEN**2))


def _around(image: Tensor) -> Tensor:
    """Mean of the pixels of an image (1, C, *S) in a box around each, in its plane."""
    sides = [min(_BOX, n - 1 + n % 2) for n in image.shape[-2:]]  # odd
    edges = [n // 2 for n in reversed(sides) for _ in range(2)]  # F.pad counts from the last axis
    planes = image.flatten(0, -3)[None]
    return F.avg_pool2d(F.pad(planes, edges, mode="replicate"), sides, stride=1).reshape(image.shape)


def told_by(noise: Noise | None, operator: Callable[[Tensor], Tensor], image: Tensor) -> Tensor | float:
    """Weight of each pixel of the measurement of an image: the mean noise over that of the pixel, where photons are."""
    if noise is None or not noise.gain:
        return 1.0
    with torch.no_grad():
        variance = noise.gain * (operator(image) - noise.offset).clamp(min=0) + noise.read_noise**2
    return noise.sigma * variance.clamp(min=_LEAST_BLURRED * noise.sigma**2).rsqrt()


def _times(told: Tensor | float, operator: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda image: told * operator(image)


def by_plane(denoiser: OwnPart, image: Tensor, sigma: float) -> Tensor:
    """An image (1, C, *S) as a denoiser of the user's makes it, plane by plane, on the host."""
    planes = image.detach().cpu().numpy()
    made = np.empty_like(planes)
    for place in np.ndindex(planes.shape[:-2]):
        made[place] = denoised(denoiser, denoiser.part, planes[place].copy(), sigma)
    return torch.from_numpy(made).to(image)


def noise_left(problem: Problem, operator: Callable[[Tensor], Tensor], image: Tensor, observation: Tensor) -> float:
    """Noise of the measurement that may count as such: its sigma, at most the residual that an image has left.

    A guess among missing pixels counts for nothing: it is texture as often as noise, and known pixels that are put back
    as measured gain in either case.
    """
    if problem.noise is None or (problem.noise.warning and problem.known < 1):
        return 0.0
    with torch.no_grad():
        residual = math.sqrt(float((observation - operator(image)).square().mean()) / problem.known)
    return min(problem.noise.sigma, residual)


def put_back(
    operator: Callable[[Tensor], Tensor], observation: Tensor, image: Tensor, weight: float, solves: int = _SOLVES
) -> Tensor:
    """The image (1, C, *image) next to this one that explains a measurement: least |y - Ax|^2 + weight |x - image|^2.

    By conjugate gradients on the normal equations; autograd gives the adjoint of the operator.
    """
    adjoint = _adjoint(operator, image)
    with torch.no_grad():
        left = adjoint(observation - operator(image))
        change, direction, power = torch.zeros_like(left), left.clone(), left.square().sum()
        enough = _ENOUGH * power
        for _ in range(solves):
            if power <= enough:
                break
            mapped = adjoint(operator(direction)) + weight * direction
            step = power / (direction * mapped).sum()
            change += step * direction
            left = left - step * mapped
            before, power = power, left.square().sum()
            direction = left + power / before * direction
        return image + change


def _adjoint(operator: Callable[[Tensor], Tensor], image: Tensor) -> Callable[[Tensor], Tensor]:
    """The adjoint of a linear operator on images like this one."""
    place = torch.zeros_like(image, requires_grad=True)
    with torch.enable_grad():
        seen = operator(place)

    @torch.enable_grad()
    def adjoint(measured: Tensor) -> Tensor:
        # of a sum: a gradient along a direction imports sympy, which takes 0.5 s
        (back,) = torch.autograd.grad((seen * measured).sum(), place, retain_graph=True)
        return back

    return adjoint


def contrast(image: Tensor) -> Tensor:
    """Standard deviation of an image (1, C, *S) around each pixel, over the channels: (1, 1, *S)."""
    axes = tuple(range(2, image.ndim))
    sides = [min(_AROUND, n - 1 + n % 2) for n in image.shape[2:]]  # odd
    edges = [n // 2 for n in reversed(sides) for _ in range(2)]  # F.pad counts from the last axis
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[len(axes)]

    def mean(values: Tensor) -> Tensor:
        return pool(F.pad(values, edges, mode="replicate"), sides, stride=1)

    centred = image - image.mean(axes, keepdim=True)
    variance = mean(centred.square()) - mean(centred).square()
    return variance.clamp(min=0).mean(1, keepdim=True).sqrt()
