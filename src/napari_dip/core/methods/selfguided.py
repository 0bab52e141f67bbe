"""The self-guided fit: the generator is fed the measurement itself, with noise added, and learns to remove noise.

From a measurement y with noise of known variance V come pairs that are noisy independently of each other: the code
``y + a n`` and the target ``y - n / a``, where n is fresh noise of variance V (Recorrupted-to-Recorrupted: Pang, Zheng,
Quan, Ji, CVPR 2021). A generator that predicts the target from the code predicts the clean image, for the noise of the
target cannot be predicted. n and -n are used in pairs: random terms of the loss that do not depend on the weights
cancel. It is trained on crops with D4 augmentation, its weights are averaged over the iterations, and in the end it is
fed y itself.

If noise is correlated between neighbours, the image is split into sub-grids of every second (or third) pixel, in which
it is nearly independent; each is denoised, and they are interleaved again. If noise outweighs the structure, or nearly
does and is correlated over several pixels, all this is done to means of squares (`napari_dip.core.methods.bins`), whose
image is enlarged in the end.

The generator has a teacher: the NL-Ridge estimate x' of y (`napari_dip.core.methods.nlridge`). Half of the crops are
of x', with noise like that of y as the code and x' itself as the target (as in Restore-from-Restored: Lee, Cho, Kim,
Kim 2020, whose network is pretrained). These targets hold little noise, the others no error of the teacher. The
generator uses nearby pixels, NL-Ridge similar patches: the result is the mixture of the two that has the least squared
error by Stein's unbiased estimate.

Long because pairs, teacher, sub-grids and mixture are one method: each is there for the others.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Generator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn.utils import vector_to_parameters

from napari_dip.core import pages
from napari_dip.core.augmentation import augmentations
from napari_dip.core.averaging import RunningAverage
from napari_dip.core.generators import fresh_generator
from napari_dip.core.generators.unet import UNet
from napari_dip.core.memory import work_if_memory_allows
from napari_dip.core.methods import bins
from napari_dip.core.methods.base import Fitter, layout
from napari_dip.core.methods.coverage import (
    cost_of,
    crop_of,
    grid_of,
    iterations_at_most,
    one_epoch,
    share_is_sought,
    tiles,
    whole_fit,
)
from napari_dip.core.methods.stable import of_pixels
from napari_dip.core.muon import Muon
from napari_dip.core.nearest import standing_in
from napari_dip.core.noise.correlation import autocorrelation_of, coloured, every, phases, spectrum
from napari_dip.core.noise.photons import Stabilised
from napari_dip.core.pauses import part, without_pauses
from napari_dip.core.problem import Problem
from napari_dip.core.state import SAVING, Event, Mark, State
from napari_dip.tables.knobs import SelfGuided

NO_NOISE = "code='self' needs the noise of the image, which is not known here; use code='uniform'"
LEAST = 0.05  # step length at the end, relative to the first
WARM = 0.25  # of the epochs are enough from the weights of a neighbour
LEARNT = 0.05  # mean square error, in noise variances, that these epochs remove where the neighbour did not help
_LEVEL = 8  # pixels over which the result has the mean of the measurement
_SMOOTH = 4  # pixels over which a disagreement is averaged
_WEIGHT = 4  # weight in the loss of crops of the teacher's image: their targets hold little noise
_NUDGE = 0.1  # noise standard deviations by which a pixel is moved, to see how far the result follows
_SKEWED = 0.15  # skewness of the noise from which Stein's estimate is off: that of 44 photons
_MOST = 0.5  # share of the known pixels that must be trusted: what the few bright ones want may be wrong for the rest
_DOUBT = 0.02  # mean squared disagreement, in noise variances, below which the share tends to a half
_FEW = 8000  # pixels below which the weights themselves follow the noise, unseen by Stein's estimate
#: Squared error over squared disagreement of generator and NL-Ridge: 1 where NL-Ridge does all, else 3.75 to 11 on ten
#: images with a truth. With this value 92 to 100 % of their pixels lie within two standard deviations.
DISAGREEMENT = 6.0


class SelfGuidedFitter(Fitter):
    """Fit of the weights that remove the noise of one image. For operators that keep the pixel grid.

    Parameters
    ----------
    problem : Problem
        With its noise.
    method : SelfGuided
    device : str
    """

    cost = staticmethod(cost_of)
    iterations_at_most = staticmethod(iterations_at_most)

    def __init__(self, problem: Problem, method: SelfGuided, device: str) -> None:
        super().__init__(problem, method, device)
        self.method: SelfGuided = method
        if problem.noise is None:
            raise ValueError(NO_NOISE)
        if problem.image_shape != problem.observation.shape[1:]:
            raise ValueError("code='self' cannot enlarge an image; use code='uniform' for super-resolution")
        self._side = bins.side_of(problem.noise, problem.image_shape)
        seen = problem if self._side == 1 else bins.problem_of(problem, problem.noise, self._side)
        assert seen.noise is not None
        self._seen, self._noise = seen, seen.noise
        self.model = Stabilised(self._noise, seen.observation)
        self._shared = autocorrelation_of(self._noise, seen.image_shape)
        self._weights = RunningAverage(method.average)
        self._predicted: tuple[int, Tensor] | None = None
        self._agreed: Tensor | None = None  # NL-Ridge estimate: photons (C, *canvas)
        self._final: tuple[int, Tensor, float] | None = None  # iteration, photons (C, *canvas), share of the teacher

    def lay_out(self, rng: torch.Generator) -> None:
        """Make the generator, the photons and where they are known, on the device."""
        shape, channels = self._seen.image_shape, len(self._seen.observation)
        grid = grid_of(self._noise, shape, self._seen.voxel_size)
        unet = fresh_generator(self.method, channels, channels, grid.shape, rng, grid.voxel_size).to(self.device)
        assert isinstance(unet, UNet)
        self._generator, self._multiple, self._strides = unet, unet.multiple, grid.strides
        self._canvas = tuple(n * stride for n, stride in zip(unet.canvas, grid.strides, strict=True))
        alike = len(set(unet.multiple[-2:])) == len(set(grid.strides[-2:])) == 1
        self.ways = list(augmentations(len(shape), swap=alike))  # D4 augmentations that the generator can be fed
        self._smooth = copy.deepcopy(self._generator)
        known = self._seen.known_pixels()
        self._photons = self._on_canvas(self.model.photons(self._seen.observation))
        before_and_after = [(0, 0), *((0, c - n) for c, n in zip(self._canvas, shape, strict=True))]
        self._known = torch.from_numpy(np.pad(known, before_and_after)).float().to(self.device)
        self._middle = self.model.stabilise(self._photons).mean()
        self._crop = crop_of(grid.shape, self.method, grid.voxel_size)
        self._spectrum = spectrum(every(self._shared, grid.strides), self._crop).to(self.device)
        # where each augmentation takes each pixel of a crop from, and where pixels lie on the canvas from its corner
        inside = torch.arange(math.prod(self._crop)).reshape(1, *self._crop)
        turned = augmentations(len(shape), swap=len(set(self._crop[-2:])) == 1)
        self._turned = torch.stack([turn.apply(inside).flatten() for turn in turned]).to(self.device)
        place = torch.arange(math.prod(self._canvas)).reshape(self._canvas)
        crop = (slice(0, n * stride, stride) for n, stride in zip(self._crop, grid.strides, strict=True))
        self._from_corner = place[tuple(crop)].flatten().to(self.device)
        self._drawn = torch.zeros(2, self.method.batch, dtype=torch.long, device=self.device)
        self._taught = torch.zeros(self.method.batch, *[1] * (1 + len(shape)), dtype=torch.bool, device=self.device)

    def prepare(self) -> Generator[float, None, None]:
        """Compute the NL-Ridge estimate, unless it is found already. Out of memory costs the estimate, not the run."""
        if not (self.method.similar_patches or self.method.uncertainty):
            return
        self._agreed, failure = yield from work_if_memory_allows(self._found())
        if failure:
            message = f"memory ran out on {self.device} over similar patches ({failure}): the fit goes without them"
            self.events.append(Event(self.iteration, SAVING, message))

    def _found(self) -> Generator[float, None, Tensor]:
        """NL-Ridge estimate on this device, that of an earlier fit if there is one."""
        if "agreed" not in self.found:
            self.found["agreed"] = yield from self._of_similar_patches(self._photons)
        self.found["agreed"] = self.found["agreed"].to(self.device)
        return self.found["agreed"]

    @property
    def _teacher(self) -> Tensor | None:
        """NL-Ridge estimate if it is to teach; None if it only tells the uncertainty."""
        return self._agreed if self.method.similar_patches else None

    def begin(self, state: State | None = None, neighbour: State | None = None, since: int | None = None) -> None:
        """Begin, and plan how the step length falls."""
        self._before: Tensor | None = None
        super().begin(state, neighbour, since)
        shape = self._seen.image_shape, self.method, self._seen.voxel_size
        whole = whole_fit(*shape, self._noise)
        self.whole = math.ceil(whole * (WARM if self.warm else 1))  # a quarter of it for a warm start
        self.epoch = one_epoch(*shape)
        last = self._since + self.method.iterations
        self._planned = last if self.method.stop == "iterations" else min(self.whole, last)

    @torch.no_grad()
    def take_over(self, neighbour: State) -> None:
        self._before = neighbour.average["mean"].to(self.device, copy=True)
        sizes = [weight.numel() for weight in self._generator.parameters()]
        for weight, given in zip(self._generator.parameters(), self._before.split(sizes), strict=True):
            weight.copy_(given.view_as(weight))

    def helped(self) -> bool:
        """True if the neighbour knew nearly as much of this image as the epochs on it have found out."""
        return self.learnt() < LEARNT

    def learnt(self) -> float:
        """Mean square error, in noise variances, that the epochs removed from that of the neighbour."""
        if self._before is None or self._weights.mean is None:
            return 0.0
        return self._error(self._before) - self._error(self._weights.mean)

    @torch.no_grad()
    def _error(self, weights: Tensor) -> float:
        """Mean square error that some weights leave, in noise variances, plus a constant.

        The noisy pairs, as in the fit, are the same for all weights: a difference of two hardly depends on the draw.
        """
        strength = self.method.recorruption
        noise = self._drawn_noise() * self.model.variance(self._photons).sqrt()
        square = torch.zeros_like(noise)
        for side in (1, -1):
            predicted = self.predict(self._photons + side * strength * noise, weights)
            weight = self._known / self.model.variance(predicted).clamp(min=self.model.dimmest)
            square += (predicted - self._photons + side * noise / strength).square() * weight
        return float(square.sum() / (2 * self._known.sum()))

    def schedule(self) -> None:
        """Set the step length, and draw corners and augmentations of crops: by numpy, the same on every device."""
        if isinstance(self._optimiser, Muon):
            self._optimiser.pace.fill_(pace_at(self.iteration / self._planned))
        rng, canvas = np.random.default_rng((self.method.seed, self.iteration)), self._photons.shape[1:]
        drawn = []
        for _ in range(self.method.batch):
            sizes = zip(canvas, self._crop, self._strides, strict=True)
            corner = [rng.integers(n - (c - 1) * stride) for n, c, stride in sizes]
            drawn.append([np.ravel_multi_index(corner, canvas), rng.integers(len(self._turned))])
        self._drawn.copy_(torch.tensor(np.array(drawn).T), non_blocking=True)  # does not wait for the GPU
        every_other = np.arange(len(drawn)) + self.iteration * len(drawn) & 1
        self._taught.copy_(torch.from_numpy(every_other > 0).view_as(self._taught), non_blocking=True)
        self._weights.weigh()

    def feed(self) -> None:
        """Cut augmented crops, and make two codes and two targets of each: (2 batch, C, *crop) photons."""
        corner, turn = self._drawn
        turned = self._turned[turn]  # (batch, pixels)
        place = self._from_corner[turned] + corner[:, None]

        def crops(image: Tensor) -> Tensor:  # (C, *canvas) -> (batch, C, *crop)
            return image.flatten(1)[:, place].transpose(0, 1).reshape(len(place), len(image), *self._crop)

        once, where = crops(self._photons), crops(self._known)
        strength = torch.full(self._taught.shape, self.method.recorruption, device=self.device)
        back = strength.reciprocal()
        if self._teacher is not None:
            taught = self._taught
            once, where = torch.where(taught, crops(self._teacher), once), torch.where(taught, _WEIGHT * where, where)
            strength, back = torch.where(taught, 1, strength), torch.where(taught, 0, back)
        noise = self._noise_like(once, turned)
        self._fed = self._to_generator(torch.cat([once + strength * noise, once - strength * noise]))
        self._targets = torch.cat([once - back * noise, once + back * noise])
        self._where = torch.cat([where, where])

    def compare(self) -> tuple[Tensor, Tensor]:
        """Output of the generator for the codes, and its loss against the targets."""
        with self.precision():
            image = self._generator(self._fed)
        image = image.float()
        predicted = self._from_generator(image)
        # by the variance at the prediction, which does not depend on the target: no bias
        weight = self._where / self.model.variance(predicted.detach()).clamp(min=self.model.dimmest)
        loss = ((predicted - self._targets).square() * weight).sum() / self._where.sum().clamp(min=1)
        return image, loss

    def remember(self) -> None:
        """Average the weights: images of crops have nothing in common."""
        self._weights.take(_vector(self._generator))

    @property
    def average(self) -> Tensor:
        """Restored image so far, (1, C, *image): predicted once, and kept until the next iteration.

        The share of the teacher falls from all to a half over the planned fit: it is a good picture from the start,
        which the generator becomes by and by.
        """
        if self._predicted is None or self._predicted[0] != self.iteration:
            photons = self.predict(self._photons)
            if self._teacher is not None:
                photons = photons.lerp(self._teacher, self._usual_share)
            self._predicted = self.iteration, self._restored(photons)
        return self._predicted[1]

    @property
    def _usual_share(self) -> float:
        """Share of the teacher where nothing tells a better one: it falls to a half over the planned fit."""
        return 1 - 0.5 * min(self.iteration / self._planned, 1.0)

    def mark(self, final: bool = True) -> Mark:
        """Restored image so far; if final, averaged over D4 augmentation, and mixed with the best share of NL-Ridge.

        The disagreement of generator and NL-Ridge tells how large the errors are.
        """
        if not final:
            return Mark(self.iteration, self.average.clone(), None)
        if self._final is None or self._final[0] != self.iteration:
            without_pauses(self._finish())
        assert self._final is not None
        _, photons, share = self._final
        if self._agreed is None:
            return Mark(self.iteration, self._restored(photons), None)
        spread = None
        if self.method.uncertainty:
            known = self._known[self._inside]
            apart = (self._scaled(photons) - self._scaled(self._agreed))[0]
            spread = (DISAGREEMENT * self._enlarged(_blurred(apart.square(), known, _SMOOTH)[None]).clamp(min=0)).sqrt()
        return Mark(self.iteration, self._restored(photons.lerp(self._agreed, share)), spread)

    def finish(self) -> Generator[float, None, None]:
        """Predict the final image and find the share of NL-Ridge. If memory runs out, `mark` tries again."""
        yield from work_if_memory_allows(self._finish())

    def _finish(self) -> Generator[float, None, None]:
        self._replayed.forget()  # a recording holds as much memory as a step takes
        pages.trim()
        teacher, share = self._teacher, 0.0
        photons = yield from part(self._augmented(self._photons), 0, 1 if teacher is None else 3)
        if teacher is not None:
            share = self._usual_share
            if share_is_sought(self.method, self._noise):
                share = float((yield from self._share(photons, teacher)))
        self._final = self.iteration, photons, share

    @torch.no_grad()
    def _augmented(self, photons: Tensor) -> Generator[float, None, Tensor]:
        """Clean photons predicted from others (C, *canvas), averaged over D4 augmentation, with the same local mean."""
        clean = torch.zeros_like(photons)
        for done, turn in enumerate(self.ways, 1):
            clean += turn.undo(self.predict(turn.apply(photons))) / len(self.ways)
            yield done / len(self.ways)
        return clean + _blurred(photons - clean, self._known, _LEVEL)  # the measurement has no bias

    def _of_similar_patches(self, photons: Tensor) -> Generator[float, None, Tensor]:
        """NL-Ridge estimate of clean photons (C, *canvas) on the grid that the generator sees, stabilised."""
        clean = yield from of_pixels(self._scaled(photons)[0].cpu().numpy(), self._noise, self.device)
        with pages.apart():
            restored = self.model.photons(clean)
        return self._mirrored(restored)

    @torch.no_grad()
    def _share(self, one: Tensor, other: Tensor) -> Generator[float, None, Tensor]:
        """Share of `other` in the mixture of two estimates (C, *canvas) with the least squared error.

        With d = other - one, that is <d, clean - one> / <d, d>. The clean image is the measurement less its noise, and
        the mean product of d with white noise is the divergence of d (Stein 1981), measured as the response of d to
        a nudge of all pixels (Ramani, Blu, Unser 2008), which is correlated as the noise of the measurement is. The
        sums are in standard deviations of the noise, of pixels whose noise is nearly Gaussian; the fewer these are, and
        the smaller d, the closer the share is to a half. It is the usual one where they are not most of the image.
        """
        deviation = self.model.variance(one).clamp(min=self.model.dimmest).sqrt()
        trusted = self._known * (self.model.skewness(one) < _SKEWED)
        if trusted.sum() < _MOST * self._known.sum():
            return one.new_tensor(self._usual_share)
        apart, gap = (other - one) / deviation, (self._photons - one) / deviation
        nudge = self._drawn_noise() * trusted
        nudged = (self._photons + _NUDGE * deviation * nudge)[self._inside]
        moved = self._on_canvas(nudged.cpu().numpy())
        followed = yield from part(self._of_similar_patches(moved), 1, 3)
        followed = followed - (yield from part(self._augmented(moved), 2, 3))
        divergence = (nudge * ((followed - (other - one)) / deviation)).sum() / _NUDGE
        known = self._known.sum()
        doubt = _DOUBT * known * (1 + (_FEW / known).square())
        product, square = (trusted * apart * gap).sum() - divergence, (trusted * apart.square()).sum()
        return ((product + doubt / 2) / (square + doubt)).clamp(0, 1)

    def _drawn_noise(self) -> Tensor:
        """Noise (C, *canvas) of unit variance, correlated as that of the measurement."""
        random = torch.Generator(self.device).manual_seed(self.method.seed)
        white = torch.empty_like(self._photons).normal_(generator=random)
        return coloured(white, spectrum(self._shared, self._canvas).to(self.device), len(self._canvas))

    def averages(self) -> dict[str, Any]:
        return self._weights.state()

    def restore_averages(self, averages: dict[str, Any]) -> None:
        self._weights.restore(averages)
        self._predicted = self._final = None

    def _noise_like(self, photons: Tensor, turned: Tensor) -> Tensor:
        """Noise as in augmented photons (N, C, *S); its variance comes from the measured pixels, which have no bias."""
        noise = torch.empty_like(photons).normal_(generator=self._random)
        noise = coloured(noise, self._spectrum, len(self._crop))  # along the axes of the image, so before augmentation
        noise = noise.flatten(2).gather(2, turned[:, None].expand(-1, photons.shape[1], -1)).reshape(photons.shape)
        return noise * self.model.variance(photons).sqrt()

    def _to_generator(self, photons: Tensor) -> Tensor:
        seen = self.model.stabilise(photons) - self._middle
        return seen.contiguous(memory_format=layout(seen.ndim - 2))

    def _from_generator(self, image: Tensor) -> Tensor:
        return self.model.undo(image + self._middle)

    @torch.no_grad()
    @pages.apart()
    def predict(self, photons: Tensor, weights: Tensor | None = None) -> Tensor:
        """Clean photons (C, *canvas), predicted in overlapping tiles by the averaged weights, or those given."""
        weights = self._weights.mean if weights is None else weights
        if weights is None:
            weights = _vector(self._generator)
        vector_to_parameters(weights, self._smooth.parameters())
        result = torch.empty_like(photons)
        for grid in phases(self._strides):
            seen, made = photons[grid], result[grid]
            for inner, outer, within in tiles(tuple(seen.shape[1:]), max(self._multiple)):
                with self.precision():
                    image = self._smooth(self._to_generator(seen[(slice(None), *outer)][None]))
                place: tuple[Any, ...] = (slice(None), *inner)
                made[place] = self._from_generator(image.float())[0][(slice(None), *within)]
        return result

    def _on_canvas(self, photons: npt.NDArray[np.float32]) -> Tensor:
        """Photons (C, *image) with stand-ins for what is not known, mirrored beyond their far ends: (C, *canvas)."""
        return self._mirrored(standing_in(photons, self._seen.known_pixels()))

    def _mirrored(self, photons: npt.NDArray[np.float32]) -> Tensor:
        pad = [(0, 0), *((0, c - n) for c, n in zip(self._canvas, photons.shape[1:], strict=True))]
        return torch.from_numpy(np.pad(photons, pad, mode="symmetric")).float().to(self.device)

    @property
    def _inside(self) -> tuple[slice, ...]:
        """The image in its canvas."""
        return (slice(None), *(slice(n) for n in self._seen.image_shape))

    def _scaled(self, photons: Tensor) -> Tensor:
        """Photons (C, *canvas) as scaled intensities of what the generator sees, (1, C, *seen)."""
        return self.model.intensities(photons[self._inside][None])

    def _restored(self, photons: Tensor) -> Tensor:
        """Photons (C, *canvas) as scaled intensities (1, C, *image)."""
        return self._enlarged(self._scaled(photons))

    def _enlarged(self, seen: Tensor) -> Tensor:
        """The image (1, C, *image) whose squares have the values (1, C, *seen)."""
        if self._side == 1:
            return seen
        fine = bins.enlarged(seen[0].cpu().numpy(), self._side, self.problem.image_shape)
        return torch.from_numpy(fine)[None].to(seen)


def pace_at(share: float) -> float:
    """Step length relative to the first, after a share of the iterations: half a cosine down to `LEAST`."""
    return LEAST + (1 - LEAST) * (1 + math.cos(math.pi * min(share, 1))) / 2


def _blurred(image: Tensor, known: Tensor, width: float) -> Tensor:
    """Known pixels of an image (C, *S), convolved with a Gaussian (normalised)."""
    sigma = (0, *(min(width, n / 4) for n in image.shape[1:]))
    weight = known.cpu().numpy()
    blurred = ndimage.gaussian_filter(image.cpu().numpy() * weight, sigma)
    return torch.from_numpy(blurred / (ndimage.gaussian_filter(weight, sigma) + 1e-6)).to(image)


def _vector(generator: nn.Module) -> Tensor:
    """All weights as one vector."""
    return torch.cat([weight.detach().reshape(-1) for weight in generator.parameters()])
