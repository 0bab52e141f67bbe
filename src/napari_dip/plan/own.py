"""Parts of the user's own, held against the method and the laws that ours obey, before anything is computed."""

from __future__ import annotations

import torch

from napari_dip.core import laws
from napari_dip.core.codes import code_channels_of
from napari_dip.core.generators import fresh_generator
from napari_dip.plan.request import Request
from napari_dip.tables.knobs import Prior
from napari_dip.tables.parts import OwnPart
from napari_dip.tables.settings import Settings

_FOR_PRIORS = "{}={!r} is for priors alone, not for {}; leave it out, or choose a preset of a prior"


def keeps_flat(request: Request) -> bool:
    """True if an image of ones is one behind the user's own operator, which is checked."""
    assert request.operator is not None
    shape, fine = request.slices.values.shape[1:], request.shape
    seen = tuple(n * f for n, f in zip(shape[1:], request.factor or (1,) * request.ndim, strict=True))
    operator = laws.on_host(request.operator.part)
    return laws.check_operator(request.operator, operator, (1, shape[0], *fine), (1, shape[0], *seen))


def check_method(request: Request, settings: Settings) -> None:
    """Raise a `ValueError` if there is a part of the user's own that the method does not have."""
    parts, method = request.own_parts, settings.method
    if "fidelity" in parts and not isinstance(method, Prior):
        raise ValueError(_FOR_PRIORS.format("fidelity", parts["fidelity"], method.plural))
    if "fidelity" in parts and settings.noise != "auto":
        raise ValueError(
            f"noise={settings.noise!r} has no effect with fidelity={parts['fidelity']!r}, which takes its place; leave "
            "one of them out"
        )
    if "operator" in parts and not (isinstance(method, Prior) or method.refine):
        raise ValueError(_FOR_PRIORS.format("operator", parts["operator"], method.plural))
    if "operator" in parts and request.task.adds_detail:
        raise ValueError(
            f"operator={parts['operator']!r} is not for task={request.task.name!r}, which adds the detail of the image "
            "itself; leave it out, or restore the image by task='denoise' first"
        )
    if "operator" in parts and settings.tile:
        raise ValueError(
            f"tile={settings.tile} cuts the measurement, and operator={parts['operator']!r} is of the whole; leave "
            "tile out"
        )
    if isinstance(settings.regulariser, OwnPart) and not settings.regulariser_weight:
        raise ValueError(
            f"regulariser={settings.regulariser!r} has no effect with regulariser_weight=0; say "
            "regulariser_weight=0.01, for example"
        )
    if "denoiser" in parts and not method.refine:
        raise ValueError(f"denoiser={parts['denoiser']!r} has no effect with refine=0; say refine=8, for example")


def check_parts(request: Request, settings: Settings) -> None:
    """Raise unless the other parts obey the laws of ours, tried on images of this size (`napari_dip.core.laws`)."""
    measured, channels, method = request.slices.values.shape[2:], request.slices.values.shape[1], settings.method
    if isinstance(method, Prior) and isinstance(method.generator, OwnPart):
        code, random = code_channels_of(method, request.ndim, request.guide), torch.Generator().manual_seed(0)
        sought = tuple(n + 2 * m for n, m in zip(request.shape, request.margin, strict=True))
        laws.check_generator(method.generator, fresh_generator(method, code, channels, sought, random), code, channels)
    if isinstance(settings.regulariser, OwnPart):
        penalty = laws.on_host(settings.regulariser.part)
        laws.check_scalar("regulariser", settings.regulariser, penalty, shape=(1, channels, *request.shape))
    if request.fidelity is not None:
        laws.check_fidelity(request.fidelity, laws.on_host(request.fidelity.part), (1, channels, *measured))
    if request.denoiser is not None:
        laws.check_denoiser(request.denoiser, request.denoiser.part, request.shape[-2:])
