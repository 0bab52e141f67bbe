"""Images that a network takes for the same, and images that excite it, sought by a prior and by plain pixels.

Natural pre-image: minimise ||phi(f(z)) - phi(x)||^2 over the weights of the generator f, for the features phi of a
layer; activation maximisation: maximise a unit of it. Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior" (IJCV 2020).
The baseline, plain pixels with total variation, is that of Mahendran, Vedaldi, "Understanding deep image
representations by inverting them" (CVPR 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_dip.core.features import Activation, Excited, Features, Prepare, SameFeatures
from napari_dip.lab.iterates import Array, Steps, checked, to_the_end
from napari_dip.lab.sought import Preimage, sought_by_both
from napari_dip.tables.numbers import is_whole
from napari_dip.trust import psnr


def iterate_preimage(
    image: npt.ArrayLike,
    model: Any,
    layer: str,
    *,
    prepare: Prepare | None = None,
    limits: tuple[float, float] | None = None,
    iterations: int = 400,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    **search: Any,
) -> Steps[Preimage]:
    """Seek a natural image that a layer of a network takes for the same as this one.

    Parameters
    ----------
    image : array-like, (y, x) or (C, y, x)
        Real and finite, in the units that the model takes, or that `prepare` takes. About 64 pixels a side tell enough.
    model : torch.nn.Module or torch.export.ExportedProgram
        Takes a tensor (1, C, y, x). It is copied, and not trained.
    layer : str
        Name of a module of it, as in ``dict(model.named_modules())``; empty for its output.
    prepare : callable, optional
        Applied to a tensor (1, C, y, x) before the model: to normalise it, or to make three channels of one,
        ``lambda image: image.expand(-1, 3, -1, -1)``.
    limits : (float, float), optional
        Values that an image may have; by default the least and the largest of this one, which then is all that is known
        of it besides its features.
    iterations : int
        Of the prior, and as many of the plain pixels.
    seed : int
        Decides code and weights, and the pixels to begin with.
    should_stop : callable
        Asked before every iteration; true ends the search with what there is.
    **search
        ``plain=False`` not to seek it by plain pixels with total variation too; ``tv=0.1``, the weight of that beside
        the squared feature error; and knobs of the prior, as for `napari_dip.denoise`.

    Yields
    ------
    Step

    Returns
    -------
    Preimage

    Raises
    ------
    TypeError, ValueError
        If the image, the model, the layer or a knob is not fit; the message says what to do.
    """
    values = _image(image)
    within = (float(values.min()), float(values.max())) if limits is None else limits
    _check_limits(within)
    fidelity = SameFeatures(Features(model, layer, within, prepare))
    observed = ((values - within[0]) / (within[1] - within[0])).astype(np.float32)
    _tried(fidelity.features, observed)
    given = torch.from_numpy(observed)[None]
    search |= {"iterations": iterations, "seed": seed, "should_stop": should_stop}
    measure = "feature error", lambda made: float(fidelity(made, given)) ** 0.5
    found = yield from sought_by_both(observed, fidelity, *measure, within, **search)
    span = float(np.ptp(values))
    judged = {
        way: replace(sought, psnr=psnr(sought.image.reshape(values.shape), values, data_range=span))
        for way, sought in found.items()
    }
    return Preimage(quantity="feature error", prior=judged["prior"], plain=judged.get("plain"))


def iterate_maximise(
    model: Any,
    layer: str,
    unit: int,
    shape: Sequence[int] = (64, 64),
    *,
    prepare: Prepare | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    iterations: int = 200,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    **search: Any,
) -> Steps[Preimage]:
    """Seek an image that excites one unit of a layer of a network, such as a class.

    Parameters
    ----------
    model, layer, prepare, iterations, seed, **search
        As for `iterate_preimage`.
    unit : int
        Channel of the layer: a filter, whose mean over the image is raised, or a class of the output.
    shape : sequence of int
        Of the image: (y, x), or (C, y, x).
    limits : (float, float)
        Values that the image may have, in the units of the model.
    should_stop : callable
        As for `iterate_preimage`.

    Yields
    ------
    Step

    Returns
    -------
    Preimage

    Raises
    ------
    TypeError, ValueError
        If the model, the layer, the unit, the shape or a knob is not fit; the message says what to do.
    """
    size = tuple(shape) if np.ndim(shape) == 1 else ()
    if len(size) not in (2, 3) or not all(is_whole(n) and n >= 1 for n in size):
        raise ValueError(f"shape={shape} must be (y, x) or (C, y, x), whole numbers from 1 up, such as (64, 64)")
    _check_limits(limits)
    features = Features(model, layer, limits, prepare)
    noise = np.random.default_rng(seed).random((1,) * (3 - len(size)) + size, np.float32)
    made = _tried(features, noise)
    count = made.shape[1] if made.ndim > 1 else 0
    if not is_whole(unit) or not 0 <= unit < count:
        raise ValueError(f"unit={unit!r} must be a whole number from 0 to {count - 1}, as layer={layer!r} has {count}")
    activation = Activation(features, int(unit))
    search |= {"iterations": iterations, "seed": seed, "should_stop": should_stop}
    excited, measure = Excited(activation, float(made.std(correction=0)) or 1.0), lambda image: float(activation(image))
    found = yield from sought_by_both(np.zeros_like(noise), excited, "activation", measure, limits, **search)
    return Preimage(quantity="activation", prior=found["prior"], plain=found.get("plain"))


preimage, maximise = to_the_end(iterate_preimage), to_the_end(iterate_maximise)


def _image(image: npt.ArrayLike) -> Array:
    """An image as (C, y, x)."""
    values = checked(image, "(C, y, x); put the channels first")
    return values.reshape((1,) * (3 - values.ndim) + values.shape)


def _check_limits(limits: tuple[float, float]) -> None:
    try:
        low, high = map(float, limits)
    except (TypeError, ValueError):
        low = high = 0.0
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"limits={limits!r} must be two finite numbers, the lower one first, such as (0, 1)")


def _tried(features: Features, image: npt.NDArray[np.float32]) -> Tensor:
    """Features of an image (C, y, x), to find out whether the model takes it."""
    made: Tensor = features(torch.from_numpy(image)[None].requires_grad_())
    if not bool(made.isfinite().all()):
        raise ValueError(f"layer={features.layer!r} gives NaN or infinity for this image; see the units that it takes")
    if not made.requires_grad:
        raise ValueError(
            f"layer={features.layer!r} must be differentiable in the image: take torch.no_grad, .detach and numpy out "
            "of the model and of prepare="
        )
    return made.detach()
