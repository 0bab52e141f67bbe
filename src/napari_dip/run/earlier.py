"""An earlier result that a run goes on from: what its fits came to, and what is left of them."""

from __future__ import annotations

import itertools

import numpy as np

from napari_dip.core.pieces import Account, States
from napari_dip.core.reason import Choice, Reason
from napari_dip.core.state import has_ended
from napari_dip.plan.plan import Plan


def unfinished(plan: Plan, states: States) -> float:
    """The share of fits, by their states, that no rule had ended, or not begun though there is what to fit."""
    return sum(left_of(plan, states)) / max(1, len(states))


def left_of(plan: Plan, states: States) -> list[int]:
    """Number of fits of each slice still to do: not ended by a rule, or not begun though they have pixels to fit."""
    counts = []
    for index, own in enumerate(of_slices(plan, states)):
        places = [place for place in plan.tiles(index) for _ in range(plan.settings.runs)]
        left = (
            not has_ended(state) and (state is not None or not plan.units.holds_nothing(index, place))
            for state, place in zip(own, places, strict=True)
        )
        counts.append(sum(left))
    return counts


def of_slices(plan: Plan, states: States) -> list[States]:
    """States of the fits of each slice."""
    stops = list(itertools.accumulate(plan.fits(index) for index in range(len(plan.slices.values))))
    return [states[start:stop] for start, stop in itertools.pairwise([0, *stops])]


def account_of(states: States, rule: Choice) -> Account:
    """Account of a slice from the states of its fits."""
    begun = [state for state in states if state is not None]
    looked = [state.rule.get("state", {}) for state in begun]
    marks = [found["mark"]["iteration"] if found.get("mark") else None for found in looked]
    return Account(
        rule=rule,
        marks=tuple(state.iteration if mark is None else int(mark) for state, mark in zip(begun, marks, strict=True)),
        iterations=sum(state.iteration for state in begun),
        end=Reason.BEFORE.told(iteration=begun[-1].iteration),
        loss=np.array([loss for state in begun for loss in state.losses], np.float32),
        curves=tuple(curve for found in looked for curve in found.get("curves", ())),
    )


def gone_on(before: States, after: States) -> bool:
    """True if any fit has made an iteration since."""
    pairs = zip(before, after, strict=True) if after else ()
    return any(a is not None and (b is None or a.iteration > b.iteration) for b, a in pairs)
