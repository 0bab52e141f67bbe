"""Blocks on Dask workers: the same image as without them, also if a worker is killed or nobody waits for the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_dip import estimate_blocks, iterate_blocks, restore_blocks
from napari_dip.command.cli import DONE, FAILED, main
from napari_dip.run.blocks import cluster as clusters
from napari_dip.run.blocks.cluster import active_client
from napari_dip.run.blocks.ledger import Ledger
from tests.bad_inputs import QUICK
from tests.command.test_blockwise import TINY
from tests.run.blocks.test_large import finish, saved, stack

distributed = pytest.importorskip("distributed")

PRIOR: dict[str, Any] = {**QUICK, "preset": "denoise-small"}
LONGER: dict[str, Any] = {**PRIOR, "iterations": 20}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers, in processes of their own."""
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", silence_logs=50
    )
    with cluster, distributed.Client(cluster) as found:
        yield found


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """Path of three slices, and their restoration without workers."""
    folder = tmp_path_factory.mktemp("few")
    source = saved(stack(3, 20, 24), folder / "in.zarr")
    return source, restore_blocks("denoise", source, folder / "whole.zarr", client=False, **PRIOR).array[:]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """Path of six slices, and their restoration by `LONGER` without workers."""
    folder = tmp_path_factory.mktemp("many")
    source = saved(stack(6, 24, 40), folder / "in.zarr")
    return source, restore_blocks("denoise", source, folder / "whole.zarr", client=False, **LONGER).array[:]


def test_workers_make_the_image_that_one_process_makes(tmp_path: Path, client: Any) -> None:
    source = saved(stack(2, 24, 40), tmp_path / "in.zarr")
    knobs = {**PRIOR, "tile": 24, "overlap": 8}
    seen, restored = finish(iterate_blocks("denoise", source, tmp_path / "out.zarr", client=client, **knobs))
    assert restored.complete
    whole = restore_blocks("denoise", source, tmp_path / "whole.zarr", client=False, **knobs)
    np.testing.assert_array_equal(restored.array[:], whole.array[:])
    for step in ("measure", "fit", "blend"):
        done = [progress.done for progress in seen if progress.step == step]
        assert done == sorted(done)
        assert done[-1] == next(progress.count for progress in seen if progress.step == step)


def test_a_worker_that_is_killed_costs_its_block_and_not_the_run(
    tmp_path: Path, client: Any, many: tuple[str, Any]
) -> None:
    victim = next(iter(client.run(os.getpid).values()))
    killed, restored = False, None
    steps = iterate_blocks("denoise", many[0], tmp_path / "out.zarr", client=client, **LONGER)
    while restored is None:
        try:
            progress = next(steps)
        except StopIteration as end:
            restored = end.value
            break
        if progress.step == "fit" and progress.done >= 1 and not killed:
            os.kill(victim, signal.SIGKILL)
            killed = True
    assert killed
    assert restored.complete
    assert victim not in client.run(os.getpid).values()
    np.testing.assert_array_equal(restored.array[:], many[1])


def test_a_stop_cancels_the_rest_and_ends_what_is_computed(tmp_path: Path, client: Any, many: tuple[str, Any]) -> None:
    source, knobs = many[0], {**PRIOR, "iterations": 10_000}
    step = ""

    def should_stop() -> bool:
        """As soon as a worker fits."""
        return step == "fit" and any(client.run(lambda dask_worker: len(dask_worker.state.executing)).values())

    steps = iterate_blocks("denoise", source, tmp_path / "out.zarr", client=client, should_stop=should_stop, **knobs)
    while True:
        try:
            step = next(steps).step
        except StopIteration as end:
            stopped = end.value
            break
    assert not stopped.complete
    assert Ledger(tmp_path / "out.zarr").done("fit") == set()
    while any(client.processing().values()):
        time.sleep(0.1)


def test_an_array_in_memory_is_not_sent_to_workers(tmp_path: Path, client: Any) -> None:
    with pytest.raises(TypeError, match="workers cannot read; save it as .zarr"):
        restore_blocks("denoise", stack(2, 20, 24), tmp_path / "out.zarr", client=client, **PRIOR)


def test_the_command_line_computes_on_the_workers_of_a_scheduler(
    tmp_path: Path, client: Any, few: tuple[str, Any]
) -> None:
    target = tmp_path / "out.zarr"
    assert main(["denoise", few[0], str(target), "--scheduler", client.scheduler.address, *TINY]) == DONE
    np.testing.assert_array_equal(zarr.open_array(target / "0", mode="r")[:], few[1])


def test_an_estimate_is_that_of_the_workers(tmp_path: Path, client: Any) -> None:
    source = saved(stack(5, 20, 24), tmp_path / "in.zarr")
    said = estimate_blocks("denoise", source, client=client, **PRIOR)
    assert (said.blocks, said.workers) == (5, 2)
    assert said.seconds == 3 * said.block.seconds


#: By all three ways, then stays where it is when the first block of another run is restored, until it is killed.
ELSEWHERE = """
import json, sys
from distributed import Client
from napari_dip import iterate_blocks, restore_blocks
from napari_dip.command.cli import main
address, few, many, folder, knobs, longer, words = sys.argv[1:]
target, knobs = f"{folder}/{{}}.zarr".format, json.loads(knobs)
assert main(["denoise", few, target("cli"), "--scheduler", address, *json.loads(words)]) == 0
assert restore_blocks("denoise", few, target("address"), client=address, **knobs).complete
with Client(address, set_as_default=False) as client:
    assert restore_blocks("denoise", few, target("client"), client=client, **knobs).complete
print("restored", flush=True)
for progress in iterate_blocks("denoise", many, target("killed"), client=address, **json.loads(longer)):
    if progress.step == "fit" and progress.done:
        print("is there", flush=True)
        sys.stdin.read()
"""


@pytest.fixture(scope="module")
def elsewhere(
    tmp_path_factory: pytest.TempPathFactory, client: Any, few: tuple[str, Any], many: tuple[str, Any]
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process without an active client, and its folder."""
    folder = tmp_path_factory.mktemp("elsewhere")
    words = [client.scheduler.address, few[0], many[0], str(folder), *map(json.dumps, (PRIOR, LONGER, TINY))]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", ELSEWHERE, *words], **pipes) as process:
        come_to("restored", process)
        yield process, folder
        process.kill()


def come_to(word: str, process: subprocess.Popen[str]) -> None:
    """Wait until a process says so."""
    assert process.stdout is not None
    assert any(line.strip() == word for line in process.stdout), f"ended before {word!r}"


def test_a_scheduler_is_enough_without_an_active_client_and_a_client_need_not_be_the_default_one(
    elsewhere: tuple[subprocess.Popen[str], Path], few: tuple[str, Any]
) -> None:
    _, folder = elsewhere
    for way in ("cli", "address", "client"):
        np.testing.assert_array_equal(zarr.open_array(folder / f"{way}.zarr" / "0", mode="r")[:], few[1])


def test_a_call_that_is_killed_leaves_no_lock_behind(
    elsewhere: tuple[subprocess.Popen[str], Path], client: Any, many: tuple[str, Any]
) -> None:
    process, folder = elsewhere
    come_to("is there", process)
    with pytest.raises(BlockingIOError, match="being written"):
        restore_blocks("denoise", many[0], folder / "killed.zarr", client=client, **LONGER)
    process.kill()
    process.wait()
    restored = restore_blocks("denoise", many[0], folder / "killed.zarr", client=client, **LONGER)
    assert restored.complete
    np.testing.assert_array_equal(restored.array[:], many[1])


def clients(client: Any) -> set[str]:
    found: set[str] = client.run_on_scheduler(lambda dask_scheduler: {*dask_scheduler.clients})
    return found


@pytest.mark.parametrize("end", ["finished", "closed", "failed", "refused", "not begun"])
def test_a_client_is_closed_by_those_who_opened_it(tmp_path: Path, client: Any, few: tuple[str, Any], end: str) -> None:
    source = few[0]
    before = clients(client)
    for number, said in enumerate((client.scheduler.address, client)):
        target = tmp_path / f"{number}.zarr"
        if end == "failed":
            with pytest.raises(FileNotFoundError, match="not a folder"):
                restore_blocks("denoise", source, tmp_path / "no" / "out.zarr", client=said, **PRIOR)
        elif end == "refused":
            with pytest.raises(TypeError, match="workers cannot read"):
                restore_blocks("denoise", stack(2, 20, 24), target, client=said, **PRIOR)
        elif end == "not begun":
            iterate_blocks("denoise", source, target, client=said, **PRIOR)
        elif end == "closed":
            steps = iterate_blocks("denoise", source, target, client=said, **PRIOR)
            next(steps)
            assert len(clients(client)) == len(before) + (said is not client)
            steps.close()
        else:
            assert restore_blocks("denoise", source, target, client=said, **PRIOR).complete
        assert clients(client) == before
    assert client.status == "running"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nonsense", "scheduler 'nonsense' must be like tcp://HOST:PORT"),
        ("tcp://host", "scheduler 'tcp://host' must be like tcp://HOST:PORT"),
        ("http://host:8787", "scheduler 'http://host:8787' must be like tcp://HOST:PORT"),
        ("tcp://127.0.0.1:1", "no scheduler answers at tcp://127.0.0.1:1"),
        ("127.0.0.1:1", "no scheduler answers at 127.0.0.1:1"),
    ],
)
def test_an_address_without_a_scheduler_is_said_in_a_line(
    tmp_path: Path, address: str, words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(clusters, "PATIENCE", 0.2)
    source = saved(stack(2, 20, 24), tmp_path / "in.zarr")
    assert main(["denoise", source, str(tmp_path / "out.zarr"), "--scheduler", address, *TINY]) == FAILED
    said = capfd.readouterr().err
    assert words in said
    assert said.count("\n") == 1, said
    assert not (tmp_path / "out.zarr").exists()


def test_the_active_client_is_found(client: Any) -> None:
    assert active_client() is client
    assert active_client(False) is None
    assert active_client(client) is client
    by_address = active_client(client.scheduler.address)
    assert len(by_address.scheduler_info()["workers"]) == 2
    by_address.close()
