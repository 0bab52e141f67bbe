"""Memory and work of one fit, by the forward pass of its generator; what is its own, each method says itself."""

from __future__ import annotations

from dataclasses import dataclass

from napari_dip.core.forward import Pass, Work
from napari_dip.tables.knobs import Method

# Measured (python -m benchmarks memory): torch 2.13 on processors with glibc.
_TWICE = {2: 0.85, 3: 0.9}  # factor on the peak where activations are recomputed
_THREAD = 0.075  # more of it in bfloat16 for each thread beyond the first: buffers of oneDNN
WEIGHTS = 8  # times the weights: these, gradients, moments, and a copy of the last good state
#: Bytes at the peak of a fit for each byte of features that a forward pass makes, by axes and precision.
Peak = dict[int, dict[str, float]]


@dataclass(frozen=True)
class FitCost:
    """Cost of one fit: bytes at its peak and of its state, its work, and work done once for all runs of a problem."""

    memory: int
    state: int
    work: Work
    once: Work


def memory_of(forward: Pass, method: Method, ndim: int, peak: Peak) -> int:
    """Bytes at the peak of a fit: forward and backward pass, weights, optimiser."""
    kept = peak[ndim][method.precision]
    if method.recompute == "on":
        kept *= _TWICE[ndim]
    if method.precision == "bfloat16":
        kept += _THREAD * (method.threads - 1)
    return int(kept * forward.made + WEIGHTS * forward.weights)


def work_of(forward: Pass, method: Method, each: Work) -> Work:
    """Work of an iteration; `each` is relative to a forward pass."""
    often = 4 / 3 if method.recompute == "on" else 1
    return often * each * forward.work(method.precision)
