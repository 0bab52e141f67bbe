"""Computing activations twice: those within a part of a generator are not kept for the way back, but made again.

Chen, Xu, Zhang, Guestrin, "Training deep nets with sublinear memory cost" (2016). The gradients are the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def through(part: Callable[..., Tensor], *given: Tensor, recompute: bool) -> Tensor:
    """What a part of a generator makes of what it is given; with `recompute`, keeping for the way back only that."""
    if not (recompute and torch.is_grad_enabled()):
        return part(*given)
    # no part draws random numbers; to keep their state would read it back to the host, which no CUDA graph allows
    made = checkpoint(part, *given, use_reentrant=False, preserve_rng_state=False, determinism_check="none")
    return torch.as_tensor(made)
