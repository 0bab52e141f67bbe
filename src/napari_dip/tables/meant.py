"""The name that was meant by a word that is none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_TELLING = 3  # letters at least that begin a name


def meant(word: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """The one name that begins with a word, else the one that is most like it; empty if none is.

    `cutoff` is the least likeness, from 0 to 1, as `difflib` has it.
    """
    found = list(names)
    begun = [name for name in found if len(word) >= _TELLING and name.startswith(word.lower())]
    close = begun if len(begun) == 1 else difflib.get_close_matches(word, found, n=1, cutoff=cutoff)
    return close[0] if close else ""
