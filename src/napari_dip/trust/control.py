"""The noise-only control: a restoration of pure noise with the settings of another one shows what these make up."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_dip.core.intensity import mean_of
from napari_dip.core.judge.control import Invention, invented, noise_only_observation
from napari_dip.core.noise.model import Noise
from napari_dip.core.result import Progress, Result
from napari_dip.core.telling import counted
from napari_dip.io.arrays import read_known
from napari_dip.plan.cost import fitted
from napari_dip.plan.inputs import read_slices
from napari_dip.plan.instrument import read_psf
from napari_dip.plan.request import arguments
from napari_dip.run.restore import iterate
from napari_dip.run.run import Run
from napari_dip.tables.parts import OwnPart
from napari_dip.tables.record import fingerprint
from napari_dip.tables.tasks import TASKS
from napari_dip.terminal import to_the_end
from napari_dip.trust.results import NO_RESULT

if TYPE_CHECKING:
    from napari_dip.run.blocks.result import Restored

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Control:
    """Restoration of pure noise, with the settings of that of an image.

    Attributes
    ----------
    image : array
        Restored from `observation`, as a slice of the restoration. All that varies in it was made up.
    observation : array
        The noise, about the mean of the image, in the shape of one of its slices.
    invention : Invention
        Variation of `image`: a number and a sentence, which says so if the run was cut short.
    result : Result
        Of the run.
    """

    image: Array
    observation: Array
    invention: Invention
    result: Result


def iterate_noise_control(
    result: Result | Restored,
    image: npt.ArrayLike | None = None,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    interval: float = 0.25,
    **same: Any,
) -> Generator[Progress, None, Control]:
    """Restore pure noise with the settings of a restoration: all structure in the outcome is made up.

    Parameters
    ----------
    result : Result or Restored
        Result of the restoration, here or block by block; its settings, stopping rule, scaling of intensities and noise
        are taken over.
    image : array-like, optional
        Image that was restored: its mean is the level of the noise, its axes are those of `result`. Not for blocks,
        whose record says the mean.
    should_stop : callable
        As for `napari_dip.iterate`.
    interval : float
        Seconds between two steps at the least.
    **same
        ``guide``, ``psf`` and ``psf_centre`` of the restoration, and its ``operator``, ``fidelity`` and ``denoiser``,
        if it had any: what its record has no values of. Not for blocks.

    Yields
    ------
    Progress
        Progress of the restoration of the noise.

    Returns
    -------
    Control
        Outcome for one slice, or one block; it takes as long as one of these.

    Raises
    ------
    TypeError
        If `result` is none.
    ValueError
        If the noise is not known, nothing was fitted, or `image` is not what `result` was made of.

    Notes
    -----
    It shows what the settings make of noise alone. Beside real structure more may be made up.
    """
    pace = {"should_stop": should_stop, "interval": interval}
    if (task := getattr(result, "record", {}).get("task")) in TASKS and TASKS[task].adds_detail:
        raise ValueError("result is an image with more of its own detail and noise: there is nothing to control")
    if isinstance(result, Result):
        run, noise = _run_like(result, image, same, pace)
    elif hasattr(result, "blocks"):
        run, noise = _run_like_blocks(result, pace)
    else:
        raise TypeError(NO_RESULT.format(type(result).__name__))
    yield from run
    control, plan = run.result, run.plan
    made_up = control.image
    if plan.units.keeps_known:
        made_up = np.where(plan.slices.layout_one(plan.slices.missing[0]), made_up, np.nan)
    invention = invented(made_up, noise)
    if not control.complete:
        words = f"Stopped after {counted(control.iterations, 'iteration')}, too early to tell anything"
        invention = replace(invention, sentence=words)
    observation = plan.slices.layout_one(plan.slices.values[0])
    return Control(image=control.image, observation=observation, invention=invention, result=control)


noise_control = to_the_end(iterate_noise_control)


def _run_like(result: Result, image: Any, same: dict[str, Any], pace: dict[str, Any]) -> tuple[Run, Noise]:
    """A run on the noise of a result, and that noise."""
    made, shape = result.record["input"], result.residual.shape
    if np.shape(image) != shape:
        raise ValueError(
            f"image has shape {np.shape(image)}, the restored one had {shape}: give the image that was restored"
        )
    noise = _known(result.noise, bool(np.isfinite(result.residual).any()))
    slices = read_slices(image, None, made["channel_axis"], made["leading_axes"])
    psf = same.get("psf")
    blur = None if psf is None else fingerprint(read_psf(psf, slices.ndim, same.get("psf_centre", "mass")))
    if blur != result.record["psf"]:
        raise ValueError("psf and psf_centre must be those of the restoration: give the same ones")
    for name in ("operator", "fidelity", "denoiser"):
        given = None if same.get(name) is None else str(OwnPart(same[name]))
        if given != result.record[name]:
            raise ValueError(f"{name} must be that of the restoration, {result.record[name]}: give the same one")
    if fingerprint(slices.values) != made["sha256"]:
        raise ValueError(
            "image has other values or another type than the restored one: give the image that was restored"
        )
    missing = read_slices(result.residual, None, made["channel_axis"], made["leading_axes"]).missing
    level = mean_of(slices.values[~missing])
    observation = _noise_like(slices.values.shape[1:], noise, level, result.settings.seed)
    hidden = next(each for each in missing if not each.all())  # of the first slice that was fitted
    run = iterate(
        result.record["task"],
        slices.layout_one(observation),
        slices.layout_one(hidden) if hidden.any() else None,
        **{name: result.record[name] for name, each in arguments().items() if each.kept and result.record.get(name)},
        **same,
        **pace,
        channel_axis=slices.channel_axis_in_slice,
        gain=noise.gain,
        offset=noise.offset,
        read_noise=noise.read_noise,
        settings=result.settings.decided(stop=result.rule.name, uncertainty=False, output_dtype="float32"),
    )
    return run, noise


def _run_like_blocks(restored: Restored, pace: dict[str, Any]) -> tuple[Run, Noise]:
    """A run on the noise of an array that was restored block by block, in place of its first block with a fit."""
    blocks, order, index = restored.blocks, restored.order, restored.record.get("first_fit")
    if not restored.complete or blocks is None or order is None:
        raise ValueError("result is not complete: go on with it first, by the same call")
    noise = _known(blocks.plan.noise, index is not None)
    assert index is not None
    shape, seed = blocks.target.grid.block, blocks.plan.settings.seed
    _, missing = read_known(*order.parts(blocks.target.grid.place(index)))
    plan = blocks.plan_of(
        index,
        _noise_like(shape, noise, blocks.plan.level, seed),
        missing.reshape(shape),
        order.guide_part(index),
        uncertainty=False,
        output_dtype="float32",
    )
    return Run(fitted(plan), None, {**pace, "snapshot_every": 0, "finish": False}), noise


def _known(noise: Noise | None, fitted: bool) -> Noise:
    if noise is None or noise.sigma == 0 or not fitted:
        raise ValueError("result has no fit, or no noise was found in its image: there is nothing to control")
    return noise


def _noise_like(shape: tuple[int, ...], noise: Noise, level: float, seed: int) -> npt.NDArray[np.float64]:
    """Noise about a level in the shape of a slice, (C, *S)."""
    rng = np.random.default_rng(seed)
    space = tuple(n for n in shape[1:] if n > 1)  # noise is estimated without axes of one pixel
    return np.stack([noise_only_observation(noise, space, level, rng).reshape(shape[1:]) for _ in range(shape[0])])
