"""The step as a graph: recorded and replayed it does what it does as it is, and it reads nothing back to the host."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_dip.core import fidelity, graph, stopping
from napari_dip.core.fidelity import Gaussian
from napari_dip.core.methods import fitter_of
from napari_dip.core.methods.base import Fitter
from napari_dip.core.methods.selfguided import SelfGuidedFitter
from napari_dip.core.noise.model import Noise
from napari_dip.core.operators import Compose, Downsample, Mask
from napari_dip.core.problem import Problem
from napari_dip.core.result import Result
from napari_dip.core.state import State
from napari_dip.tables.settings import PRESETS, Settings
from tests.core.tape import Refusing, Taping
from tests.core.test_solve import equal, state_of
from tests.core.tiny import noisy, not_finite_in_step, problem, run, tiny

WHITE = Noise(gain=0.0, offset=0.0, read_noise=0.1, sigma=0.1)
PHOTONS = Noise(gain=0.02, offset=0.1, read_noise=0.02, sigma=0.1, impulses=0.01)
SHARED = replace(WHITE, autocorrelation=np.outer([0.5, 1, 0.5], [0.5, 1, 0.5]))


def guided(**changes: Any) -> Settings:
    small = {"channels": 4, "scales": 2, "crop": 8, "batch": 2, "iterations": 12, "stop": "iterations", "device": "cpu"}
    return PRESETS["denoise-self"].changed(**{**small, **changes})


#: All that an iteration may have in it.
WAYS: dict[str, Settings] = {
    "plain": tiny(code_noise=0.0, average=0.0),
    "averaged": tiny(average=0.9),
    "spread": tiny(average=0.9, uncertainty=True),
    "last alone, spread": tiny(average=0.0, uncertainty=True),
    "tail": tiny(tail=0.5, uncertainty=True),
    "weight noise": tiny(weight_noise=0.01),
    "muon": tiny(optimiser="muon"),
    "sgld": tiny(optimiser="sgld", uncertainty=True),
    "total variation": tiny(regulariser="tv", regulariser_weight=0.1),
    "Tikhonov": tiny(regulariser="tikhonov", regulariser_weight=0.1),
    "photons": tiny(noise="poisson-gaussian"),
    "impulses": tiny(noise="impulse"),
    "discrepancy": tiny(stop="discrepancy"),
    "held-out": tiny(stop="held-out"),
    "variance": tiny(stop="variance"),
    "variance-exponential": tiny(stop="variance-exponential"),
    "bfloat16": tiny(precision="bfloat16"),
    "other layers": tiny(upsampling="transposed", downsampling="lanczos2", padding="zero", activation="swish"),
    "linear": tiny(output="linear", normalisation="none", upsampling="nearest", downsampling="maximum"),
    "deep decoder": tiny(generator="decoder", skip_channels=4),
    "U-Net": tiny(generator="unet", skip_channels=4),
    "ResNet": tiny(generator="resnet", skip_channels=4, scales=5),
    "mixer": tiny(generator="mixer", skip_channels=4),
    "learned code": tiny(code_learned=True),
    "self-guided": guided(),
    "self-guided, adam": guided(optimiser="adam", precision="float32"),
    "self-guided, taught": guided(),
}
each_way = pytest.mark.parametrize("way", WAYS)


def case_of(way: str) -> Problem:
    """Half of the pixels of a coarse picture; for a self-guided fit all, with shared noise unless patches teach it."""
    if way == "self-guided, taught":
        return replace(problem(16, 16), noise=WHITE)
    if way.startswith("self-guided"):
        return replace(problem(16, 16), noise=SHARED)
    known = np.random.default_rng(0).random((12, 12)) < 0.5
    return Problem(
        observation=(noisy(12, 12) * known).astype(np.float32)[None],
        operator=Compose(Downsample((2, 2)), Mask(torch.from_numpy(known)[None, None])),
        known=float(known.mean()),
        noise=PHOTONS if way == "photons" else WHITE,
    )


def record_with(kind: type[Taping], monkeypatch: pytest.MonkeyPatch) -> list[Taping]:
    """Have all runs recorded with a kind of recorder; these are kept in the list."""
    made: list[Taping] = []

    def recorder_for(device: str, random: torch.Generator) -> Taping:
        made.append(kind(device, random))
        return made[-1]

    monkeypatch.setattr(graph, "recorder_for", recorder_for)
    return made


def both(
    case: Problem, settings: Settings, monkeypatch: pytest.MonkeyPatch, state: State | None = None
) -> tuple[Result, Result]:
    """The result of a run that is recorded, and of one whose recording fails."""
    recorders = record_with(Taping, monkeypatch)
    recorded = run(case, settings, state=state)
    steps = recorded.iterations - (0 if state is None else state.iteration)
    assert sum(recorder.replayed for recorder in recorders) >= steps / 2
    assert all(recorder.recorded - recorder.forgotten <= 1 for recorder in recorders)
    record_with(Refusing, monkeypatch)
    return recorded, run(case, settings, state=state)


def same(one: Result, other: Result) -> bool:
    return (
        np.array_equal(one.image, other.image)
        and np.array_equal(one.history.loss, other.history.loss)
        and one.marks == other.marks
        and equal(vars(state_of(one)), vars(state_of(other)))
    )


@each_way
def test_a_recorded_run_is_the_same_bit_by_bit(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded, eager = both(case_of(way), WAYS[way].changed(iterations=12), monkeypatch)
    assert same(recorded, eager)
    assert len(set(recorded.history.loss)) == recorded.iterations  # each replay is another step
    if recorded.uncertainty is not None:
        assert np.array_equal(recorded.uncertainty, eager.uncertainty)  # type: ignore[arg-type]


def test_a_recording_that_fails_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    record_with(Taping, monkeypatch)
    assert not run(problem(), tiny()).history.events
    record_with(Refusing, monkeypatch)
    result = run(problem(), tiny(iterations=30))
    (event,) = result.history.events
    assert (event.kind, event.iteration) == ("no CUDA graph", graph.WARM_UP)
    assert event.message.endswith("on purpose")
    assert result.complete


def test_what_reads_back_to_the_host_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reading(Gaussian):
        def forward(self, predicted: Tensor, observed: Tensor) -> Tensor:
            return super().forward(predicted, observed) * (1 if float(predicted.detach().sum()) else 2)

    record_with(Taping, monkeypatch)
    whole = run(problem(), tiny())
    monkeypatch.setattr(fidelity, "Gaussian", Reading)
    result = run(problem(), tiny())
    assert same(result, whole)  # what did not come to be recorded has changed nothing
    assert "not permitted" in result.history.events[0].message


def test_the_line_search_of_lbfgs_is_not_recorded_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(problem(), tiny(optimiser="lbfgs"))
    recorders = record_with(Taping, monkeypatch)
    result = run(problem(), tiny(optimiser="lbfgs"))
    assert not any(recorder.recorded for recorder in recorders)
    assert same(result, expected)
    assert "L-BFGS" in result.history.events[0].message


@pytest.mark.parametrize("settings", [tiny(), tiny(optimiser="muon"), tiny(optimiser="sgld", uncertainty=True)])
def test_a_return_is_recorded_anew(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity, "Gaussian", not_finite_in_step(13))
    settings = settings.changed(iterations=30)
    recorded, eager = both(problem(), settings, monkeypatch)
    assert np.array_equal(recorded.image, eager.image)
    assert [event.kind for event in recorded.history.events] == ["returned"]
    assert "step length times 0.5" in recorded.history.events[0].message
    for part in ("weights", "optimiser", "random", "average"):
        assert equal(getattr(state_of(recorded), part), getattr(state_of(eager), part))


@pytest.mark.parametrize("way", ["averaged", "muon", "sgld", "self-guided"])
def test_going_back_by_itself_and_a_fresh_optimiser_are_seen(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = {}
    for kind in (Taping, Refusing):
        record_with(kind, monkeypatch)
        settings = WAYS[way]
        search = fitter_of(case_of(way), settings.method, "cpu")
        search.begin()
        for i in range(24):
            if i == 6:
                state = search.state()
            if i == 12:
                search.restore(state)
            if i == 18:
                search.restart_optimiser(0.5)
            search.step()
        losses[kind] = search.losses
        if way != "self-guided":  # that draws its crops by the count of the steps, which goes on
            assert search.losses[12:18] == search.losses[6:12]
    assert losses[Taping] == losses[Refusing]


@pytest.mark.parametrize("way", ["averaged", "muon", "sgld", "tail", "variance", "self-guided"])
def test_going_on_is_recorded_too(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case, settings = case_of(way), WAYS[way].changed(iterations=12)
    half = run(case, settings)  # never recorded: a state goes on whatever made it
    recorded, eager = both(case, settings, monkeypatch, state=state_of(half))
    assert recorded.iterations == 24
    assert same(recorded, eager)
    onwards = run(case, settings, state=state_of(recorded))
    monkeypatch.undo()
    back = run(case, settings, state=state_of(recorded))
    assert back.iterations == onwards.iterations == 36
    np.testing.assert_allclose(back.history.loss, onwards.history.loss, rtol=1e-2)


def test_a_stopped_run_is_the_same_too(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for kind in (Taping, Refusing):
        record_with(kind, monkeypatch)
        asked = iter([False] * 17 + [True])
        results.append(run(problem(), tiny(), should_stop=lambda asked=asked: next(asked)))
    assert results[0].iterations == 17
    assert same(*results)


def test_a_rule_ends_a_recorded_run_where_it_ends_any(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WINDOW", 10), ("PATIENCE", 20)):
        monkeypatch.setattr(stopping, name, value)
    for rule in (stopping.WindowedVariance, stopping.ExponentialVariance):
        monkeypatch.setattr(rule, "warm_up", 20)
    settings = tiny(stop="variance-exponential", iterations=400, channels=8, learning_rate=0.02, average=0.9)
    recorded, eager = both(replace(problem(), noise=WHITE), settings, monkeypatch)
    assert recorded.iterations < 400
    assert recorded.stop_reason == eager.stop_reason
    assert same(recorded, eager)


# ------------------------------------------------------------------------------------------------ nothing is read back


@pytest.fixture
def _meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device whose tensors have no data: whoever reads a value fails."""
    on_cpu = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": on_cpu("cpu"))
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())


def begun(way: str) -> Fitter:
    case, settings = case_of(way), WAYS[way]
    rule = stopping.RULES["iterations" if settings.stop == "auto" else settings.stop](case, settings.method)
    search = fitter_of(rule.problem, settings.method, "meta")
    search.begin()
    if isinstance(search, SelfGuidedFitter) and way.endswith("taught"):
        search._agreed = torch.empty_like(search._photons)
    rule.begin(search)
    search.watch(rule.update)
    return search


@pytest.mark.parametrize("way", ["plain", "discrepancy", "self-guided"])  # the others: `test_pretended`
@pytest.mark.usefixtures("_meta")
def test_a_step_reads_nothing_back(way: str) -> None:
    search = begun(way)
    for _ in range(2):  # the second has the state of the optimiser
        search.step()
    assert search.iterate.device.type == "meta"
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        search.losses  # noqa: B018 - the look does


@pytest.mark.usefixtures("_meta")
@pytest.mark.parametrize(
    "read", [lambda image: float(image.sum()), lambda image: image.cpu(), lambda image: bool(image.any())]
)
def test_what_reads_back_is_found(read: Any) -> None:
    search = begun("averaged")
    search.watch(lambda search: read(search.iterate))
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        search.step()
