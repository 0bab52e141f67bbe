"""The problem: explain this observation, seen through this operator."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_dip.core.around import Around
from napari_dip.core.noise.model import Noise
from napari_dip.core.operators import Mask, Operator, blurs
from napari_dip.tables.parts import OwnPart


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One image to restore: minimise ``D(A f(z), y) + weight * R(f(z))`` over the weights of f.

    Parameters
    ----------
    observation : float32 array (C, *S)
        The measurement y, scaled to about 0..1 and zero where it is not known.
    operator : Operator
        The instrument A, from an image (1, C, *image) to a measurement (1, C, *S).
    known : float
        Fraction of the observation that was measured, in (0, 1].
    guide : float32 array (G, *image), optional
        The code for ``code="guide"``.
    noise : Noise, optional
        Of the observation, in its scaled intensities.
    voxel_size : tuple of float, optional
        Distances between the pixels of the image along its axes, of which only the ratios matter; by default all equal.
    fidelity : callable, optional
        The user's own D, of two tensors (1, C, *S); by default one by the noise.
    denoiser : OwnPart, optional
        The user's own, of a plane (y, x) and a sigma, in place of similar patches behind the prior.
    begin : float32 array (C), optional
        Intensities that a prior begins at; by default the middle of the range.
    wanted : bool array (*S), optional
        True where the image is wanted; elsewhere it comes back as measured, on the grid of the measurement. By default
        all of it is.
    around : Around, optional
        Tiles around what is wanted, where these alone are to be fitted.
    """

    observation: npt.NDArray[np.float32]
    operator: Operator
    known: float = 1.0
    guide: npt.NDArray[np.float32] | None = None
    noise: Noise | None = None
    voxel_size: tuple[float, ...] | None = None
    fidelity: Callable[[Tensor, Tensor], Tensor] | None = None
    denoiser: OwnPart | None = None
    begin: npt.NDArray[np.float32] | None = None
    wanted: npt.NDArray[np.bool_] | None = None
    around: Around | None = None

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Spatial shape of the image that is sought."""
        return self.operator.image_shape(self.observation.shape[1:])

    @property
    def darkest(self) -> float:
        """Least intensity of a deblurred image: that at no light, where the camera says it; else minus infinity."""
        told = self.noise is not None and self.noise.given and self.noise.gain > 0 and blurs(self.operator)
        return self.noise.offset if told and self.noise is not None else -math.inf

    def residual(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Observation (C, *S) minus the measurement expected of an image (C, *image); zero where not known."""
        with torch.no_grad():
            expected = copy.deepcopy(self.operator).cpu()(torch.from_numpy(image)[None])[0]
        return np.asarray(self.observation - expected.numpy())

    def known_pixels(self) -> npt.NDArray[np.bool_]:
        """True where the observation (C, *S) was measured."""
        shape = self.observation.shape
        masks = [each.known for each in self.operator.modules() if isinstance(each, Mask)]
        return np.broadcast_to(masks[-1][0].cpu().numpy(), shape) if masks else np.ones(shape, bool)
