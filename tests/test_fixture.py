"""Whole restorations keep their pixels: tasks x methods x tiles x runs x stack x colour x volume x zarr x going on.

On a processor that computes as the one that recorded ``tests/fixture.npz`` did, results are equal to 1e-6 of the range;
on another one, which rounds differently, to 3 % of it (root mean square). ``python -m tests.test_fixture`` records them
anew: before a change where yours is another one, or for a change that is to change results. Say in the commit why.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import napari_dip
from napari_dip.command.info import processor
from tests.core.tiny import noisy, picture

STORED = Path(__file__).with_name("fixture.npz")
PRIOR: dict[str, Any] = {
    "preset": "denoise-small",
    "channels": 4,
    "scales": 2,
    "skip_channels": 2,
    "code_channels": 4,
    "iterations": 12,
    "runs": 1,
    "refine": 0,
}
FINER: dict[str, Any] = {
    **PRIOR,
    "preset": "superresolve-small",
    "code_noise": 1 / 30,
    "regulariser": "none",
    "regulariser_weight": 0.0,
}
SELF: dict[str, Any] = {
    "preset": "denoise-self",
    "channels": 4,
    "scales": 2,
    "crop": 16,
    "batch": 2,
    "iterations": 12,
    "stop": "iterations",
}
COMMON: dict[str, Any] = {"threads": 1, "precision": "float32", "device": "cpu", "seed": 0, "progress": False}
RNG = np.random.default_rng

Images = dict[str, np.ndarray]
Case = Callable[[Path], Images]
CASES: dict[str, Case] = {}


def case(make: Case) -> Case:
    CASES[make.__name__.strip("_")] = make
    return make


def counts(*shape: int, sigma: float = 0.05, seed: int = 0) -> np.ndarray:
    """A camera's frame: whole numbers around 100 to 1100."""
    return np.round(100 + 1000 * noisy(*shape, sigma=sigma, seed=seed)).clip(0).astype(np.uint16)


def shared(*shape: int) -> np.ndarray:
    """A picture with correlated noise."""
    white = RNG(1).normal(size=shape)
    mixed = white + np.roll(white, 1, -1) + np.roll(white, 1, -2)
    return (100 + 1000 * (picture(*shape) + 0.05 * mixed)).astype(np.float32)


def images(result: Any) -> Images:
    found = {"image": result.image, "last": result.last, "residual": result.residual}
    if result.uncertainty is not None:
        found["uncertainty"] = result.uncertainty
    return {**found, "iterations": np.array([result.iterations, *result.marks])}


def plain(task: str, *arguments: Any, **knobs: Any) -> Images:
    return images(getattr(napari_dip, task)(*arguments, **{**COMMON, **knobs}))


def after(calls: int) -> Callable[[], bool]:
    """Stop at that question."""
    asked = count()
    return lambda: next(asked) >= calls


@case
def _prior(folder: Path) -> Images:
    return plain("denoise", counts(24, 24), **PRIOR)


@case
def _prior_by_discrepancy_with_uncertainty(folder: Path) -> Images:
    return plain("denoise", counts(20, 28), **{**PRIOR, "iterations": 60, "stop": "discrepancy", "uncertainty": True})


@case
def _prior_held_out(folder: Path) -> Images:
    return plain("denoise", counts(20, 20), **{**PRIOR, "iterations": 30, "stop": "held-out"})


@case
def _prior_poisson_tv_fourier(folder: Path) -> Images:
    knobs = {"noise": "poisson-gaussian", "regulariser": "tv", "regulariser_weight": 0.01, "code": "fourier"}
    return plain("denoise", counts(20, 20), **{**PRIOR, **knobs}, gain=2.0, offset=100.0, read_noise=3.0)


@case
def _prior_sgld(folder: Path) -> Images:
    return plain("denoise", counts(20, 20), **{**PRIOR, "optimiser": "sgld", "uncertainty": True})


@case
def _prior_impulse_lbfgs(folder: Path) -> Images:
    return plain("denoise", counts(20, 20), **{**PRIOR, "noise": "impulse", "optimiser": "lbfgs", "iterations": 5})


@case
def _guided_by_an_image(folder: Path) -> Images:
    return plain("denoise", counts(20, 20), guide=picture(20, 20), **{**PRIOR, "code": "guide"})


@case
def _selfguided(folder: Path) -> Images:
    return plain("denoise", counts(32, 32), **SELF)


@case
def _selfguided_by_passes_without_patches(folder: Path) -> Images:
    knobs = {**SELF, "stop": "passes", "similar_patches": False, "uncertainty": True, "crop": 24, "batch": 8}
    return plain("denoise", counts(24, 24), **knobs)


@case
def _selfguided_shared_noise(folder: Path) -> Images:
    return plain("denoise", shared(32, 32), **SELF)


@case
def _everything_on_auto(folder: Path) -> Images:
    return plain("denoise", counts(24, 24), channels=4, scales=2)


@case
def _inpaint(folder: Path) -> Images:
    mask = RNG(2).random((24, 24)) < 0.3
    return plain("inpaint", counts(24, 24), mask, **{**PRIOR, "preset": "inpaint-small"})


@case
def _inpaint_all_of_it(folder: Path) -> Images:
    image = picture(20, 24)
    image[5:9, 6:12] = np.nan
    return plain("inpaint", image, **{**PRIOR, "preset": "inpaint-small", "keep_known": False, "code": "mesh"})


@case
def _superresolve(folder: Path) -> Images:
    return plain("superresolve", counts(12, 14), 2, **FINER)


@case
def _deconvolve(folder: Path) -> Images:
    return plain("deconvolve", counts(20, 20), 1.2, **{**PRIOR, "preset": "deconvolve-small"})


@case
def _superresolve_blurred_volume_with_voxels(folder: Path) -> Images:
    knobs = {**FINER, "iterations": 6}
    return plain("superresolve", counts(4, 10, 10), (1, 2, 2), psf=1.0, voxel_size=(3, 1, 1), **knobs)


@case
def _tiles(folder: Path) -> Images:
    return plain("denoise", counts(40, 24), **PRIOR, tile=24, overlap=8)


@case
def _tiles_x_runs_with_uncertainty(folder: Path) -> Images:
    return plain("denoise", counts(36, 24), **{**PRIOR, "runs": 2, "uncertainty": True}, tile=24, overlap=6)


@case
def _tiles_self_superresolve(folder: Path) -> Images:
    return plain("superresolve", counts(12, 24), 2, **FINER, tile=16, overlap=4)


@case
def _runs(folder: Path) -> Images:
    return plain("denoise", counts(20, 20), **{**PRIOR, "runs": 3, "uncertainty": True})


@case
def _stack_prior(folder: Path) -> Images:
    stack = np.stack([counts(20, 20, seed=s) for s in range(3)])
    return plain("denoise", stack, leading_axes=1, **PRIOR)


@case
def _stack_at_once_x_tiles(folder: Path) -> Images:
    stack = np.stack([counts(20, 32, seed=s) for s in range(3)])
    return plain("denoise", stack, leading_axes=1, **PRIOR, at_once=2, tile=20, overlap=4)


@case
def _stack_self_warm(folder: Path) -> Images:
    stack = np.stack([counts(24, 24, seed=s) for s in range(3)])
    return plain("denoise", stack, leading_axes=1, **{**SELF, "stop": "passes", "crop": 24, "batch": 8})


@case
def _stack_with_a_blank_a_loud_and_a_padded_slice(folder: Path) -> Images:
    stack = np.stack([counts(24, 24, seed=s) for s in range(4)]).astype(np.float32)
    stack[1] = 100
    stack[2] += RNG(5).normal(scale=300, size=(24, 24))
    stack[3, :, :5] = 0
    return plain("denoise", stack, leading_axes=1, **PRIOR)


@case
def _two_axes_of_slices_and_channels(folder: Path) -> Images:
    stack = np.stack([counts(16, 16, seed=s) for s in range(8)], -1).reshape(16, 16, 2, 2, 2)
    return plain("denoise", stack.transpose(2, 3, 0, 1, 4), leading_axes=2, channel_axis=-1, **PRIOR)


@case
def _colour_bad_pixels(folder: Path) -> Images:
    image = np.stack([counts(24, 24, seed=s) for s in range(3)], -1)
    image[7, 9] = 60000
    return plain("denoise", image, channel_axis=-1, **PRIOR)


@case
def _colour_self(folder: Path) -> Images:
    return plain("denoise", np.stack([counts(24, 24, seed=s) for s in range(2)]), channel_axis=0, **SELF)


@case
def _volume(folder: Path) -> Images:
    return plain("denoise", counts(8, 16, 16), **{**PRIOR, "iterations": 6})


@case
def _volume_self(folder: Path) -> Images:
    return plain("denoise", counts(8, 16, 16), **{**SELF, "iterations": 6})


@case
def _input_type(folder: Path) -> Images:
    return plain("denoise", counts(20, 20).astype(np.int64) + 4_000_000_000, **PRIOR, output_dtype="input")


@case
def _going_on(folder: Path) -> Images:
    image, knobs = counts(20, 20), {**COMMON, **PRIOR, "stop": "iterations"}
    first = napari_dip.denoise(image, **{**knobs, "iterations": 7})
    return images(napari_dip.denoise(image, resume=first, progress=False, iterations=5))


@case
def _going_on_with_a_stopped_stack_in_tiles(folder: Path) -> Images:
    stack = np.stack([counts(20, 28, seed=s) for s in range(3)])
    knobs = {**COMMON, **PRIOR, "stop": "iterations", "leading_axes": 1, "tile": 20, "overlap": 4, "runs": 2}
    first = napari_dip.denoise(stack, should_stop=after(40), **knobs)
    return images(napari_dip.denoise(stack, resume=first, leading_axes=1, progress=False))


@case
def _going_on_with_a_stopped_stack_self(folder: Path) -> Images:
    stack = np.stack([counts(24, 24, seed=s) for s in range(3)])
    first = napari_dip.denoise(stack, leading_axes=1, should_stop=after(16), **{**COMMON, **SELF})
    return images(napari_dip.denoise(stack, resume=first, leading_axes=1, progress=False))


def levels(path: Path) -> Images:
    import zarr

    group = zarr.open_group(path, mode="r")
    return {name: np.asarray(group[name]) for name in sorted(group.array_keys())}


def blocks(folder: Path, task: str, image: np.ndarray, *arguments: Any, **knobs: Any) -> Images:
    done = napari_dip.restore_blocks(task, image, folder / "out.zarr", *arguments, **{**COMMON, **knobs})
    assert done.complete
    return levels(done.path)


@case
def _zarr_tiles(folder: Path) -> Images:
    return blocks(folder, "denoise", counts(30, 52), **PRIOR, tile=24, overlap=8)


@case
def _zarr_stack_self(folder: Path) -> Images:
    return blocks(folder, "denoise", np.stack([counts(24, 24, seed=s) for s in range(2)]), **SELF)


@case
def _zarr_superresolve(folder: Path) -> Images:
    return blocks(folder, "superresolve", counts(12, 24), factor=2, **FINER | {"preset": "auto"}, tile=16, overlap=4)


@case
def _zarr_inpaint(folder: Path) -> Images:
    mask = RNG(2).random((2, 20, 36)) < 0.2
    stack = np.stack([counts(20, 36, seed=s) for s in range(2)])
    return blocks(folder, "inpaint", stack, mask, **PRIOR | {"preset": "auto"}, tile=20, overlap=4)


@case
def _zarr_going_on(folder: Path) -> Images:
    arguments = "denoise", counts(24, 52), folder / "out.zarr"
    knobs = {**COMMON, **PRIOR, "tile": 24, "overlap": 8}
    assert not napari_dip.restore_blocks(*arguments, should_stop=after(30), **knobs).complete
    assert napari_dip.restore_blocks(*arguments, **knobs).complete
    return levels(folder / "out.zarr")


def rounding() -> str:
    """A name for how this machine computes: its processor, its vector instructions, and a fit of a few layers.

    Processors that give the same bits here can differ in larger layers and in what a fit makes of them.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, 24, 24, generator=generator, requires_grad=True)
    for width in (8, 8):
        kernel = torch.randn(width, x.shape[1], 3, 3, generator=generator)
        x = torch.nn.functional.batch_norm(torch.conv2d(x, kernel, padding=1), None, None, training=True).sigmoid()
    x.square().mean().backward()
    bits = hashlib.sha256(x.detach().numpy().tobytes()).hexdigest()[:16]
    return f"{bits} {torch.__version__.partition('+')[0]} {torch.backends.cpu.get_cpu_capability()} {processor()}"


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    with np.load(STORED) as file:
        return dict(file)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_a_restoration_is_that_which_was_recorded(name: str, stored: dict[str, np.ndarray], tmp_path: Path) -> None:
    wanted = {key.partition("/")[2]: value for key, value in stored.items() if key.startswith(f"{name}/")}
    found, same = CASES[name](tmp_path), rounding() == str(stored["rounding"])
    assert sorted(found) == sorted(wanted)
    for key, values in found.items():
        assert values.dtype == wanted[key].dtype, key
        scale = np.ptp(wanted[key][np.isfinite(wanted[key])].astype(float)) or 1
        if same:
            np.testing.assert_allclose(values, wanted[key], rtol=0, atol=1e-6 * scale, err_msg=key)
        elif key != "iterations":
            assert np.array_equal(np.isnan(values), np.isnan(wanted[key])), key
            assert np.sqrt(np.nanmean(np.square(values.astype(float) - wanted[key]))) < 0.03 * scale, key


def record() -> None:
    """Write what the restorations give now."""
    import tempfile

    torch.set_num_threads(1)
    found: dict[str, np.ndarray] = {"rounding": np.array(rounding())}
    for name, make in CASES.items():
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found |= {f"{name}/{key}": value for key, value in make(Path(folder)).items()}
    np.savez_compressed(STORED, **found)  # type: ignore[arg-type]
    print(json.dumps({"cases": len(CASES), "bytes": STORED.stat().st_size}))


if __name__ == "__main__":
    record()
