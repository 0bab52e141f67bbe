"""One number, of Python, numpy or torch: a truth value, a text or a list is none."""

from __future__ import annotations

from typing import Any

import numpy as np


def is_number(value: Any) -> bool:
    """True for one real number, NaN and infinity among them."""
    return np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iuf"


def is_whole(value: Any) -> bool:
    """True for one integer."""
    return np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iu"
