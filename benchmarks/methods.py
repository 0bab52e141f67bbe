"""What is measured: each method turns a case into one or more images, in a process of its own.

Classical methods are told the true noise; ours is told nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import classical
from benchmarks.images import Array, Case

SNAPSHOT = 10  # iterations between two iterates that compete for the best
BEST = {"ours": "ours, best", "original": "original, best"}


@dataclass
class Outcome:
    """What a method made of a case, in how many seconds of the processor, and with how many bytes beyond those before.

    Several images if they come from one run: a fixed iteration and the best one, say. `notes` are fit for JSON.
    """

    images: dict[str, Array]
    notes: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    memory: int = 0


def ours(case: Case, oracle: bool = False, **knobs: Any) -> Outcome:
    """Everything on auto; with `oracle` the same run again, for its best iterate by the truth.

    A prior is run to its last iteration, the first alone of several runs; a self-guided fit as long as before. The
    final image competes too.
    """
    from napari_dip import iterate

    began = time.process_time()
    run = iterate(case.task, case.observed, **case.arguments, interval=np.inf, **knobs)
    for _ in run:
        pass
    seconds, result = time.process_time() - began, run.result
    outcome = Outcome({"ours": result.image.astype(np.float64)}, _notes(result), seconds)
    if oracle:
        again = result.settings.changed(stop="iterations", runs=1)
        if result.method.name == "self-guided":
            again = again.changed(iterations=result.iterations)
        image, iteration, _ = _best(case, settings=again)
        outcome.images[BEST["ours"]] = image
        gap = case.score(image) - case.score(result.image)
        outcome.notes |= {"best iteration": iteration, "gap to it, dB": round(gap, 3)}
    return outcome


def original(case: Case, **knobs: Any) -> Outcome:
    """The preset of the original notebooks at its fixed iteration, and at its best one by the truth."""
    began = time.process_time()
    best, iteration, result = _best(case, preset=case.original, **knobs)
    images = {"original": result.image.astype(np.float64), BEST["original"]: best}
    return Outcome(images, {**_notes(result), "best iteration": iteration}, time.process_time() - began)


def _notes(result: Any) -> dict[str, Any]:
    keep = {
        "iterations": result.iterations,
        "method": result.method.name,
        "rule": result.rule.name,
        "marked": list(result.marks),
        "stop": result.stop_reason,
        "device": result.device.name,
    }
    settings = result.settings.as_dict()
    return {**keep, **{name: settings[name] for name in ("preset", "code", "noise") if name in settings}}


def _best(case: Case, **options: Any) -> tuple[Array, int, Any]:
    """The iterate closest to the truth, its iteration, and the result; the last one competes too."""
    from napari_dip import iterate

    run = iterate(case.task, case.observed, **case.arguments, interval=np.inf, snapshot_every=SNAPSHOT, **options)
    best, image, iteration = -np.inf, np.zeros(0), 0
    for progress in run:
        reached = case.score(progress.image)
        if reached > best:
            best, image, iteration = reached, progress.image.astype(np.float64), progress.iteration
    if case.score(run.result.image) > best:
        image, iteration = run.result.image.astype(np.float64), run.result.iterations
    return image, iteration, run.result


def run(name: str, case: Case, **options: Any) -> Outcome:
    """Apply a method, in this process."""
    began = time.process_time()
    if name == "ours":
        return ours(case, **options)
    if name == "original":
        return original(case, **options)
    image = classical.METHODS[case.task][name](case)
    return Outcome({name: image}, seconds=time.process_time() - began)


def measure(name: str, case: Case, **options: Any) -> Outcome:
    """Apply a method in a fresh process, watched from here.

    Memory is the largest resident size, or on a GPU the largest allocation, above what the process held after its
    start; it is looked at every 5 ms.

    Raises
    ------
    classical.Missing
        If a package that the method needs is not installed.
    RuntimeError
        If the process died.
    """
    import psutil

    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_in_process, args=(there, name, case, options))
    process.start()
    there.close()
    try:
        here.recv()  # it is ready
        watched = psutil.Process(process.pid)
        start = peak = watched.memory_info().rss
        here.send("go")
        while not here.poll(0.005):
            peak = max(peak, watched.memory_info().rss)
        outcome = here.recv()
    except (EOFError, psutil.NoSuchProcess) as error:
        process.join()
        raise RuntimeError(f"{name} died on {case.group}/{case.name}, exit status {process.exitcode}") from error
    process.join()
    if isinstance(outcome, BaseException):
        raise outcome
    outcome.memory = outcome.memory or peak - start
    return outcome


def _in_process(pipe: Any, name: str, case: Case, options: dict[str, Any]) -> None:
    import skimage.restoration  # noqa: F401  what is loaded now counts neither as time nor as memory

    neural = name in BEST
    if neural:
        import torch

        import napari_dip.run.restore  # noqa: F401
    for package in classical.PACKAGES:
        with contextlib.suppress(ImportError):
            importlib.import_module(package)
    pipe.send("ready")
    pipe.recv()
    try:
        outcome = run(name, case, **options)
        if neural and torch.cuda.is_available():
            outcome.memory = torch.cuda.max_memory_allocated()
        pipe.send(outcome)
    except Exception as error:
        pipe.send(error if isinstance(error, classical.Missing) else RuntimeError(f"{type(error).__name__}: {error}"))
