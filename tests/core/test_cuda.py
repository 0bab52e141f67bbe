"""On a GPU: the same restoration within noise, the reason for the device, going on, and all memory given back."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_dip import denoise
from napari_dip.core import fidelity, graph, stopping
from napari_dip.core.fidelity import Gaussian
from napari_dip.core.methods import fitter_of
from napari_dip.core.methods.prior import PriorFitter
from napari_dip.core.noise.model import Noise
from napari_dip.core.operators import Compose, Downsample, Mask
from napari_dip.core.problem import Problem
from napari_dip.tables.settings import PRESETS, Settings
from tests.core.tiny import finish, iterate, noisy, not_finite_in_step, picture, psnr, run, tiny

pytestmark = pytest.mark.cuda

LARGER = {"channels": 16, "scales": 3, "code_channels": 16, "iterations": 300, "device": "cuda"}


def masked_problem() -> Problem:
    """Half of the pixels of a coarse picture."""
    known = np.random.default_rng(0).random((16, 16)) < 0.5
    operator = Compose(Downsample((2, 2)), Mask(torch.from_numpy(known)[None, None]))
    return Problem(
        observation=(picture(16, 16) * known).astype(np.float32)[None], operator=operator, known=float(known.mean())
    )


def denoising(*shape: int) -> Problem:
    return Problem(observation=noisy(*shape).astype(np.float32)[None], operator=Compose())


@pytest.fixture
def allocated() -> Iterator[None]:
    """Memory of the GPU after the test is what it was before."""

    def now() -> int:
        gc.collect()
        torch.cuda.synchronize()
        torch._C._cuda_clearCublasWorkspaces()
        return torch.cuda.memory_allocated()

    # what else the libraries keep, once made, stays
    run(denoising(8, 8), tiny(device="cuda", iterations=2))
    before = now()
    yield
    assert now() == before


@pytest.mark.parametrize("shape", [(32, 32), (12, 16, 16)], ids=str)
def test_cpu_and_gpu_agree_within_noise(shape: tuple[int, ...]) -> None:
    truth = picture(*shape)
    on_gpu = psnr(run(denoising(*shape), tiny(**LARGER)).image[0], truth)
    on_cpu = psnr(run(denoising(*shape), tiny(**{**LARGER, "device": "cpu"})).image[0], truth)
    assert on_gpu == pytest.approx(on_cpu, abs=2.5)  # other noise: of four seeds they were 1.5 dB apart
    assert on_gpu > psnr(noisy(*shape), truth) + 2


def test_the_first_loss_is_that_of_the_cpu() -> None:
    losses = [run(masked_problem(), tiny(device=d, iterations=1, code_noise=0.0)).history.loss for d in ("cpu", "cuda")]
    np.testing.assert_allclose(losses[0], losses[1], rtol=5e-3)  # TF32 takes a tenth of that


def test_the_result_gives_the_reason_for_the_gpu() -> None:
    result = run(denoising(8, 8), tiny(device="cuda", iterations=1))
    assert result.device.name == "cuda:0"
    assert torch.cuda.get_device_name(0) in result.device.reason
    assert "as device=" in result.device.reason
    assert "first" in run(denoising(8, 8), tiny(device="auto", iterations=1)).device.reason


def test_global_random_numbers_of_the_gpu_are_left_alone() -> None:
    before = torch.cuda.get_rng_state()
    run(denoising(8, 8), tiny(device="cuda", weight_noise=0.01))
    assert torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_a_run_goes_on_on_the_gpu(optimiser: str) -> None:
    settings = tiny(device="cuda", optimiser=optimiser, iterations=15)
    half = run(masked_problem(), settings)
    (state,) = half.states
    assert all(weight.device.type == "cpu" for weight in state.weights.values())
    both = run(masked_problem(), settings, state=state)
    whole = run(masked_problem(), settings.changed(iterations=30))
    assert both.iterations == 30
    np.testing.assert_allclose(both.history.loss, whole.history.loss, rtol=0.05, atol=1e-4)


@pytest.mark.parametrize("made_on", ["cpu", "cuda"])
def test_going_on_counts_the_steps_of_adam_where_its_graph_sees_them(made_on: str) -> None:
    (state,) = run(denoising(8, 8), tiny(device=made_on)).states
    going_on = PriorFitter(denoising(8, 8), tiny(device="cuda").method, "cuda:0")
    going_on.begin(state)
    counts = [moments["step"] for moments in going_on._optimiser.state.values()]
    assert counts
    assert {(float(count), count.device.type) for count in counts} == {(20.0, "cuda")}
    going_on.close()


# --------------------------------------------------------------------------------------------------------- CUDA graphs

#: Layers whose gradients are the same each time.
EVEN = {"padding": "zero", "upsampling": "nearest"}
RECORDED: dict[str, dict[str, Any]] = {
    "adam": {},
    "spread": {"uncertainty": True, "average": 0.9},
    "weight noise": {"weight_noise": 0.01},
    "muon": {"optimiser": "muon"},
    "sgld": {"optimiser": "sgld"},
    "tail": {"tail": 0.5},
    "bfloat16": {"precision": "bfloat16"},
    "variance": {"stop": "variance-exponential"},
}


class Refusing(graph.CUDA):
    """Has all steps run as they are."""

    def record(self, step: graph.Step) -> graph.Step:
        raise RuntimeError("on purpose")


def guided(**changes: Any) -> Settings:
    small = {"channels": 8, "scales": 2, "crop": 16, "batch": 2, "iterations": 20, "stop": "iterations"}
    return PRESETS["denoise-self"].changed(**{**small, "device": "cuda", **changes})


def with_noise(case: Problem) -> Problem:
    return replace(case, noise=Noise(gain=0.0, offset=0.0, read_noise=0.1, sigma=0.1))


@pytest.mark.parametrize("way", [*RECORDED, "self-guided"])
def test_a_graph_does_what_the_step_does(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = guided() if way == "self-guided" else tiny(device="cuda", **EVEN, **RECORDED[way])
    case = with_noise(denoising(32, 32))
    # in gradients, rounding of 1e-5 grows to a third of the loss in 20 iterations (sgld), to a hundredth (adam)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    recorded = run(case, settings)
    assert not recorded.history.events
    monkeypatch.setattr(graph, "CUDA", Refusing)
    eager = run(case, settings)
    assert [event.kind for event in eager.history.events] == ["no CUDA graph"]
    np.testing.assert_allclose(recorded.history.loss, eager.history.loss, rtol=0.02)
    apart = np.sqrt(np.mean(np.square(recorded.image - eager.image)))  # nothing, if all kernels sum in one order
    assert apart < 0.01 * np.ptp(eager.image)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("way", [*RECORDED, "self-guided"])
def test_nothing_waits_for_the_gpu_between_two_looks(way: str) -> None:
    settings = guided() if way == "self-guided" else tiny(device="cuda", **RECORDED[way])
    case = with_noise(denoising(32, 32))
    rule = stopping.RULES["iterations" if settings.stop == "auto" else settings.stop](case, settings.method)
    running = fitter_of(case, settings.method, "cuda:0")
    running.begin()
    rule.begin(running)
    running.watch(rule.update)
    for _ in range(graph.WARM_UP + 1):
        running.step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(5):
            running.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(set(running.losses)) == graph.WARM_UP + 6
    assert not running.events
    running.close()


def test_a_step_that_waits_for_the_gpu_runs_as_it_is(allocated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Reading(Gaussian):
        def forward(self, predicted: Tensor, observed: Tensor) -> Tensor:
            return super().forward(predicted, observed) * (1 if float(predicted.detach().sum()) else 2)

    with monkeypatch.context() as patch:
        patch.setattr(fidelity, "Gaussian", Reading)
        result = run(denoising(32, 32), tiny(device="cuda", iterations=60))
    assert [event.kind for event in result.history.events] == ["no CUDA graph"]
    assert result.complete
    assert np.mean(result.history.loss[-10:]) < 0.5 * result.history.loss[0]
    del result
    assert not run(denoising(32, 32), tiny(device="cuda")).history.events  # the next one is recorded


def test_a_return_is_recorded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity, "Gaussian", not_finite_in_step(26))
    result = run(denoising(32, 32), tiny(device="cuda", iterations=100))
    assert [event.kind for event in result.history.events] == ["returned"]
    assert np.mean(result.history.loss[-10:]) < np.mean(result.history.loss[:10])


@pytest.mark.parametrize("end", ["finished", "stopped", "closed"])
def test_a_run_gives_the_memory_back(allocated: None, end: str) -> None:
    case = masked_problem()
    asked = iter([False] * 7 + [True] * 99)
    should_stop = (lambda: next(asked)) if end == "stopped" else (lambda: False)
    steps = iterate(case, tiny(device="cuda"), interval=0, should_stop=should_stop)
    next(steps)
    result = steps.close() if end == "closed" else finish(steps)
    assert case.operator.operators[1].known.device.type == "cpu"  # type: ignore[index,union-attr]
    del steps, result


@pytest.mark.parametrize("at", [0, 2, graph.WARM_UP])  # at once, early, while it is recorded
def test_an_error_gives_the_memory_back_while_it_is_looked_at(
    allocated: None, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Gaussian):
        asked = 0

        def forward(self, predicted: Tensor, observed: Tensor) -> Tensor:
            self.asked += 1
            if self.asked > at:
                raise ValueError("on purpose")
            return super().forward(predicted, observed)

    monkeypatch.setattr(fidelity, "Gaussian", Failing)
    before = torch.cuda.memory_allocated()
    with pytest.raises(ValueError, match="on purpose") as caught:
        run(masked_problem(), tiny(device="cuda"))
    gc.collect()
    assert caught.tb is not None
    assert torch.cuda.memory_allocated() == before


def test_running_out_of_memory_says_so_and_gives_the_memory_back(allocated: None) -> None:
    free, total = torch.cuda.mem_get_info()
    del free
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**26) / total)
    try:
        with pytest.raises(MemoryError, match="cuda:0.*fewer channels"):
            run(denoising(1024, 1024), tiny(device="cuda", channels=128))  # without a ladder
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_large_image_fits_into_eight_gigabytes(allocated: None) -> None:
    _, total = torch.cuda.mem_get_info()
    if total < 8e9:
        pytest.skip("the GPU has less than 8 GB")
    torch.cuda.set_per_process_memory_fraction(8e9 / total)
    torch.cuda.reset_peak_memory_stats()
    try:
        with pytest.warns(UserWarning, match="it is fitted"):
            result = denoise(noisy(4096, 4096), device="cuda", preset="denoise-small", iterations=5)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert result.complete
    assert np.isfinite(result.image).all()
    assert torch.cuda.max_memory_allocated() < 8e9


@pytest.mark.parametrize("knobs", [{}, {"preset": "denoise-self", "scales": 3, "crop": 16, "batch": 2}], ids=str)
def test_several_slices_at_once_give_what_each_gives_alone(allocated: None, knobs: dict[str, Any]) -> None:
    image = np.stack([noisy(24, 24, seed=seed) for seed in range(5)])
    settings = {**LARGER, "iterations": 30, "stop": "iterations", "warm_start": False, **knobs, "device": "cuda"}
    settings["precision"] = "float32"  # rounding of 1e-4 in gradients grows to 0.016, that of bfloat16 to 0.04
    if knobs:
        settings = {name: value for name, value in settings.items() if name != "code_channels"}
    alone = denoise(image, leading_axes=1, gain=0.0, offset=0.0, read_noise=0.1, at_once=1, **settings)
    together = denoise(image, leading_axes=1, gain=0.0, offset=0.0, read_noise=0.1, at_once=4, **settings)
    np.testing.assert_allclose(together.image, alone.image, atol=0.05)
    # the first losses, before rounding has grown: kernels add in an order that is not always the same
    np.testing.assert_allclose(together.history.loss[::30], alone.history.loss[::30], rtol=1e-3)
