"""Gradient checkpointing: activations within a part of a generator are not kept, but computed again going backward.

Chen, Xu, Zhang, Guestrin, "Training deep nets with sublinear memory cost" (2016). The gradients are the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def through(part: Callable[..., Tensor], *given: Tensor, recompute: bool) -> Tensor:
    """Output of a part of a generator; with `recompute` only its inputs are kept for the backward pass."""
    if not (recompute and torch.is_grad_enabled()):
        return part(*given)
    from torch.utils.checkpoint import checkpoint  # which imports sympy in torch 2.5 and 2.6: 0.5 s

    # no part draws random numbers; to keep their state would read it back to the host, which no CUDA graph allows
    made = checkpoint(part, *given, use_reentrant=False, preserve_rng_state=False, determinism_check="none")
    return torch.as_tensor(made)
