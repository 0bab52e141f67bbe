"""How long an iteration takes: ``python -m benchmarks speed``.

Equal work, the preset of the original notebooks: 128 channels at five scales, four skip channels, reflection padding,
bilinear upsampling, batch norm. The loop of the original in plain torch and ours, each in a fresh process of its own,
take turns, so that what else the machine does hits all alike. Shares are of the least time for the arithmetic, at the
speed of a large matrix product, and for the memory, if each convolution touched its tensors once and nothing else did,
at the speed of a copy; both are measured in the same turns. On a machine that others keep busy,
``OMP_NUM_THREADS=1 python -m benchmarks speed --processor`` counts what the processor works, on one thread.
Written into ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.benchmark import Measurement, Timer
from torch.utils.flop_counter import FlopCounterMode

Shape = tuple[int, ...]  # (C, H, W)

WARM_UP = 5  # iterations before the first turn: libraries choose their algorithms, a graph is recorded
SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices whose product tells the speed of arithmetic
COPIED = {"cpu": 2**28, "cuda": 2**32}  # bytes whose copy tells the speed of memory
PLAIN = "plain loop"
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")  # as the user of a plain loop leaves them
PRECISION = {PLAIN: "float32", "ours, float32": "float32", "ours, bfloat16": "bfloat16"}
PRODUCT, COPY = "product, ", "copy"


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Seconds of an iteration by one method, median and interquartile range, and the least there can be."""

    method: str
    shape: Shape
    seconds: float
    spread: float
    arithmetic: float
    memory: float
    faster: float = 1.0  # than the plain loop


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    parser.add_argument("--sizes", nargs="+", type=int, metavar="N", help="NxN; by default 256 512, on a GPU 512 1024")
    parser.add_argument("--rounds", type=int, default=7, help="turns that each method takes")
    parser.add_argument("--number", type=int, help="iterations in a turn; by default 2, on a GPU 50")
    parser.add_argument("--processor", action="store_true", help="time of the processor, one thread; not on a GPU")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="where the table goes")


def main(options: argparse.Namespace) -> int:
    """Measure; write a table and a JSON."""
    from benchmarks import report

    device = "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"
    number = options.number or {"cpu": 2, "cuda": 50}[device]
    speeds = []
    for size in options.sizes or {"cpu": (256, 512), "cuda": (512, 1024)}[device]:
        shape = (1 if device == "cpu" else 3, size, size)
        speeds += compared(shape, device, options.rounds, number, processor=options.processor)
        for speed in speeds[-len(PRECISION) :]:
            print(f"{size}x{size}  {speed.method}  {1e3 * speed.seconds:.1f} ms  {speed.faster:.2f}x", flush=True)
    text = f"{table(speeds)}\n\n{options.rounds} turns of {number} iterations each, in processes of their own."
    figures = {"speeds": [asdict(speed) for speed in speeds]}
    clock, name = (" of the processor", f"speed-{device}-processor") if options.processor else ("", f"speed-{device}")
    title = f"Speed on a {'GPU' if device == 'cuda' else 'CPU'}: milliseconds{clock} of an iteration, equal work"
    folder = options.results or Path(__file__).parent / "results"
    print(report.save(folder, name, title, text, figures, report.where(device)))
    return 0


def table(speeds: list[Speed]) -> str:
    """A row a method and size."""
    head = "| image | method | ms, median | spread, ms | times as fast | share of arithmetic | share of memory |"
    lines = [head, "|---" * 7 + "|"]
    for s in speeds:
        size = f"{s.shape[1]}x{s.shape[2]}" + (f"x{s.shape[0]}" if s.shape[0] > 1 else "")
        shares = f"{s.arithmetic / s.seconds:.0%} | {s.memory / s.seconds:.0%}"
        lines.append(
            f"| {size} | {s.method} | {1e3 * s.seconds:.1f} | {1e3 * s.spread:.1f} | {s.faster:.2f} | {shares} |"
        )
    return "\n".join(lines)


def compared(shape: Shape, device: str, rounds: int, number: int, *, processor: bool = False) -> list[Speed]:
    """All methods on one shape, turn by turn."""
    probes = [COPY, *(PRODUCT + precision for precision in dict.fromkeys(PRECISION.values()))]
    workers: dict[str, _Worker] = {}
    turns: dict[str, list[Measurement]] = {name: [] for name in (*PRECISION, *probes)}
    try:
        for name in turns:
            workers[name] = _Worker(name, shape, device, number if name in PRECISION else 3, processor)
        for _ in range(rounds):
            for name, worker in workers.items():
                turns[name].append(worker.turn())
    finally:
        for worker in workers.values():
            worker.close()
    taken = {name: Measurement.merge(measured)[0] for name, measured in turns.items()}
    flops, values, weights = work(shape)
    bandwidth = 2 * COPIED[device] / taken[COPY].median  # read and written
    speeds = []
    for name, precision in PRECISION.items():
        rate = 2 * SIDE[device] ** 3 / taken[PRODUCT + precision].median
        width = 2 if precision == "bfloat16" else 4
        # Adam reads a weight, its gradient and two moments, and writes all but the gradient
        floor = (values * width + 7 * 4 * weights) / bandwidth
        speeds.append(
            Speed(
                method=name,
                shape=shape,
                seconds=taken[name].median,
                spread=taken[name].iqr,
                arithmetic=flops / rate,
                memory=floor,
                faster=taken[PLAIN].median / taken[name].median,
            )
        )
    return speeds


def work(shape: Shape) -> tuple[int, int, int]:
    """Of one iteration: floating point operations, values of features to be read or written, and weights."""
    from benchmarks import plain

    values = 0

    def count(layer: nn.Module, arriving: tuple[torch.Tensor, ...], leaving: torch.Tensor) -> None:
        nonlocal values
        # forward: read what arrives, write what leaves. Backward: read the gradient of what leaves, and what arrived
        # for the weights, and write the gradient of what arrives.
        values += 3 * arriving[0].numel() + 2 * leaving.numel()

    with torch.device("meta"):  # nothing is computed
        net = plain.network(shape[0])
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(count)
        with FlopCounterMode(display=False) as counter:
            net(torch.empty(1, plain.CODE, *shape[1:])).sum().backward()
    return counter.get_total_flops(), values, sum(weight.numel() for weight in net.parameters())


class _Worker:
    """A process that makes iterations of one method, or a probe, when it is its turn."""

    def __init__(self, name: str, shape: Shape, device: str, number: int, processor: bool) -> None:
        import napari_dip.core  # noqa: F401  sets how threads wait, which is read when a process starts

        own = {each: os.environ.pop(each) for each in WAITING if name == PLAIN and each in os.environ}
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, name, shape, device, number, processor))
        self._process.start()
        there.close()
        os.environ |= own
        self._answer()  # warm

    def turn(self) -> Measurement:
        self._pipe.send("go")
        measured: Measurement = self._answer()
        return measured

    def close(self) -> None:
        self._pipe.close()
        self._process.join()

    def _answer(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError as error:
            self._process.join()
            raise RuntimeError(f"a measurement died, exit status {self._process.exitcode}") from error


def _serve(pipe: Connection, name: str, shape: Shape, device: str, number: int, processor: bool) -> None:
    step = _probe(name, device) if name not in PRECISION else _loop(name, shape, device)
    for _ in range(WARM_UP):
        step()
    clock = {"timer": time.process_time} if processor else {}  # by default one that waits for a GPU
    timer = Timer("step()", globals={"step": step}, num_threads=torch.get_num_threads(), label=name, **clock)
    pipe.send("warm")
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        pipe.send(timer.timeit(number))


def _loop(name: str, shape: Shape, device: str) -> Callable[[], object]:
    """One iteration of a method, on an image of noise."""
    observation = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    if name == PLAIN:
        from benchmarks import plain

        return plain.loop(observation[None].to(device))
    from napari_dip.core.methods.prior import PriorFitter
    from napari_dip.core.operators import Identity
    from napari_dip.core.problem import Problem
    from napari_dip.tables.settings import Settings

    settings = Settings(
        precision=PRECISION[name], device=device, stop="iterations"
    )  # the others are the published ones
    search = PriorFitter(Problem(observation=observation.numpy(), operator=Identity()), settings.method, device)
    search.begin()
    return search.step


def _probe(name: str, device: str) -> Callable[[], object]:
    """A large matrix product, or a large copy."""
    if name == COPY:
        source = torch.ones(COPIED[device] // 4, device=device)
        target = torch.empty_like(source)
        return lambda: target.copy_(source)
    digits = getattr(torch, name.removeprefix(PRODUCT))
    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, in which convolutions of float32 are computed there
    matrix, product = (torch.ones(SIDE[device], SIDE[device], dtype=digits, device=device) for _ in range(2))
    return lambda: torch.mm(matrix, matrix, out=product)
