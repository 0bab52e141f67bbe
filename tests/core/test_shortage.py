"""Memory that runs out at any allocation costs no image that was finished, and ends in nothing but a remedy."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from napari_dip import Result, iterate
from napari_dip.core.attempt import Attempt
from napari_dip.core.memory import OutOfMemory
from napari_dip.core.methods.base import Fitter
from napari_dip.core.problem import Problem
from napari_dip.plan.units import Units
from napari_dip.run import doubts, target
from napari_dip.tables import record
from tests.core.shortage import shortage
from tests.core.tiny import noisy

#: Allocations of each run that are tried; NAPARI_DIP_ALL_ALLOCATIONS=1 tries them all.
_TRIED = 10
#: What a run goes without, and says so; then its image is another.
_OTHERWISE = "goes without them", "without the brightness"
_TINY: dict[str, Any] = dict(device="cpu", precision="float32", interval=1e9, gain=0.0, offset=0.0, read_noise=0.1)
RUNS: dict[str, tuple[Any, dict[str, Any]]] = {
    "prior": (noisy(12, 14), dict(preset="denoise-small", channels=4, scales=2, code_channels=4, iterations=4, runs=1)),
    "self-guided": (noisy(16, 16), dict(preset="denoise-self", channels=4, scales=2, crop=8, batch=1, iterations=4)),
}


def restored(kind: str, **more: Any) -> Result:
    image, knobs = RUNS[kind]
    run = iterate("denoise", image, **_TINY, **knobs, **more, stop="iterations")
    for _ in run:
        pass
    return run.result


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("kind", RUNS)
def test_at_any_allocation_a_finished_image_is_kept(kind: str, lasting: bool) -> None:
    whole = restored(kind)
    with shortage() as counted:
        again = restored(kind)
    assert np.array_equal(again.image, whole.image)
    stride = 1 if os.environ.get("NAPARI_DIP_ALL_ALLOCATIONS") else max(1, counted.count // _TRIED)
    ends = set()
    for first in (*range(1, counted.count, stride), counted.count):
        result = error = None
        with shortage(first, lasting=lasting):
            try:
                result = restored(kind)
            except OutOfMemory as caught:
                error = str(caught)
        if result is None:
            assert "; use fewer channels" in str(error), first  # a remedy
            ends.add("error")
            continue
        ends.add("whole" if result.complete else "part")
        assert np.isfinite(result.image).all(), first
        assert result.complete == (result.iterations == whole.iterations), first
        told = [*result.warnings, *(event.message for event in result.history.events), ""]
        if result.complete and not any(sign in " ".join(told) for sign in _OTHERWISE):
            assert np.array_equal(result.image, whole.image), first
        if result.complete and not result.states:
            assert any("more iterations are not possible" in each for each in result.warnings), first
    assert "whole" in ends
    assert "error" in ends


STAGES = [
    (Attempt, "state"),
    (Attempt, "good"),
    (Fitter, "state"),
    (Problem, "residual"),
    (doubts, "judge"),
    (doubts, "warnings_of"),
    (target, "describe"),
    (Units, "residual"),
    (Units, "uncertainty"),
    (Units, "level"),
    (record, "fingerprint"),
]


@pytest.mark.parametrize("error", [MemoryError("no more"), RuntimeError("could not create a primitive")], ids=repr)
@pytest.mark.parametrize(("owner", "name"), STAGES, ids=lambda value: getattr(value, "__name__", value))
def test_what_comes_with_an_image_costs_no_image(
    owner: Any, name: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails each time, once the last iteration is made."""
    whole, plain, steps = restored("prior", uncertainty=True), getattr(owner, name), [0]
    step = Fitter.step

    def counting(search: Fitter) -> None:
        step(search)
        steps[0] += 1

    def instead(*rest: Any, **named: Any) -> Any:
        if steps[0] >= 4:
            raise type(error)(*error.args)
        return plain(*rest, **named)

    monkeypatch.setattr(Fitter, "step", counting)
    monkeypatch.setattr(owner, name, instead)
    result = restored("prior", uncertainty=True)
    assert result.complete
    np.testing.assert_allclose(result.image, whole.image, atol=0.1 if name in ("level", "residual") else 0)
    if name != "good":
        assert {*result.warnings} - {*whole.warnings} or result.history.events
