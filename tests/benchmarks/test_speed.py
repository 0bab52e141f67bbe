"""The measurement of speed: the plain loop is the same network as ours, and what is written down adds up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.benchmark import Measurement, Timer

from napari_dip.core.generators import make_generator
from napari_dip.tables.knobs import Prior

pytest.importorskip("benchmarks", reason="needs a checkout")

from benchmarks import plain, speed
from benchmarks.__main__ import main


def test_the_plain_loop_has_the_network_of_the_defaults() -> None:
    net, ours = plain.network(3), make_generator(Prior(), plain.CODE, 3, (64, 64))

    def weights(i: int) -> Iterator[nn.Parameter]:
        yield from ours.skips[i].parameters()
        yield from ours.downs[i].parameters()
        if i + 1 < plain.SCALES:
            yield from weights(i + 1)
        yield from ours.joins[i].parameters()

    with torch.no_grad():
        for here, there in zip([*weights(0), *ours.last.parameters()], net.parameters(), strict=True):
            here.copy_(there)
        code = torch.rand(1, plain.CODE, 64, 64, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(ours(code), net(code), rtol=1e-3, atol=1e-4)


def test_the_plain_loop_fits() -> None:
    step = plain.loop(torch.full((1, 1, 64, 64), 0.9))
    losses = [step() for _ in range(6)]
    assert losses[-1] < losses[0] / 2


def test_work_grows_with_the_pixels() -> None:
    (flops, values, weights), (more, larger, same) = speed.work((1, 64, 64)), speed.work((1, 128, 128))
    assert more == pytest.approx(4 * flops, rel=0.01)
    assert larger == pytest.approx(4 * values, rel=0.1)
    assert same == weights == sum(w.numel() for w in make_generator(Prior(), plain.CODE, 1, (64, 64)).parameters())


class AtOnce:
    """A worker without a process: only the tenth part of a second that it is said to have taken."""

    def __init__(self, name: str, shape: speed.Shape, device: str, number: int, processor: bool) -> None:
        self.taken = 0.1 * (1 + list(speed.PRECISION).index(name)) if name in speed.PRECISION else 0.01

    def turn(self) -> Measurement:
        return Measurement(1, [self.taken], Timer("pass").timeit(1).task_spec)

    def close(self) -> None:
        pass


def test_the_table_says_how_many_times_as_fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(speed, "_Worker", AtOnce)
    assert main(["speed", "--device", "cpu", "--sizes", "64", "96", "--results", str(tmp_path)]) == 0
    written: dict[str, Any] = json.loads((tmp_path / "speed-cpu.json").read_text())
    assert {"commit", "on", "torch"} <= set(written)
    speeds = written["speeds"]
    assert [s["shape"] for s in speeds] == [[1, 64, 64]] * 3 + [[1, 96, 96]] * 3
    assert [s["faster"] for s in speeds] == pytest.approx([1, 1 / 2, 1 / 3] * 2)
    assert "| 64x64 | plain loop | 100.0 |" in (tmp_path / "speed-cpu.md").read_text()


def test_time_of_the_processor_is_a_table_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(speed, "_Worker", AtOnce)
    assert main(["speed", "--processor", "--device", "cpu", "--sizes", "64", "--results", str(tmp_path)]) == 0
    assert "milliseconds of the processor" in (tmp_path / "speed-cpu-processor.md").read_text()
    assert not (tmp_path / "speed-cpu.md").exists()


@pytest.mark.parametrize("processor", [False, True])
def test_a_worker_measures_and_ends(processor: bool) -> None:
    worker = speed._Worker(speed.COPY, (1, 32, 32), "cpu", 1, processor)
    measured = worker.turn()
    worker.close()
    assert measured.median > 0
    assert worker._process.exitcode == 0
