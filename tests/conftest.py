"""What all tests share: one thread for tiny images, quick garbage collections, and the marker of tests for a GPU."""

from __future__ import annotations

import gc

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cuda: needs a CUDA GPU; skips itself where there is none")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tiny images are faster on one thread, and much faster on a busy machine."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def _what_was_there_before_is_no_garbage() -> None:
    """A collection looks at what the tests of a module made, and not at all objects of all libraries."""
    gc.collect()
    gc.freeze()
