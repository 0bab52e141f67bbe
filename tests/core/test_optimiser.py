"""Adam without a compiler: it moves weights as torch's class does, and goes on from what that had saved."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_dip.core.optimiser import Adam

SHAPES = (7,), (), (8, 1), (6, 5, 3, 3), (3, 4, 3, 3, 3)


def weights() -> list[nn.Parameter]:
    random = torch.Generator().manual_seed(0)
    made = [torch.randn(shape, generator=random) for shape in SHAPES]
    made[3] = made[3].to(memory_format=torch.channels_last)
    return [nn.Parameter(weight) for weight in made]


def after(optimiser: Any, moved: list[nn.Parameter], steps: range) -> list[Tensor]:
    """Weights after steps along gradients of random sizes, by a quarter of the length from the 15th on."""

    def closure() -> Tensor:
        optimiser.zero_grad()
        random = torch.Generator().manual_seed(i)
        loss = torch.stack([(w * w * torch.randn(w.shape, generator=random)).sum() for w in moved[:-1]]).sum()
        loss = loss if i % 3 else loss + moved[-1].square().sum()  # one has no gradient at times
        loss.backward()
        return loss

    for i in steps:
        optimiser.param_groups[0]["lr"] = 1e-2 if i < 15 else 2.5e-3
        optimiser.step(closure)
    return [weight.detach().clone() for weight in moved]


def same(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(some, others, strict=True))


def of_torch(moved: list[nn.Parameter]) -> torch.optim.Adam:
    return torch.optim.Adam(moved, 1e-2, fused=True)


def test_weights_move_as_by_the_class_of_torch() -> None:
    mine, theirs = weights(), weights()
    moved = after(Adam(mine, 1e-2), mine, range(30))
    assert same(moved, after(of_torch(theirs), theirs, range(30)))
    assert not same(moved, weights())


@pytest.mark.parametrize("began", [lambda moved: Adam(moved, 1e-2), of_torch], ids=["this", "torch"])
def test_going_on_is_not_having_stopped(began: Any) -> None:
    whole, parted = weights(), weights()
    expected = after(Adam(whole, 1e-2), whole, range(30))
    first = began(parted)
    after(first, parted, range(12))
    second = Adam(parted, 1.0)
    second.load_state_dict(first.state_dict())
    assert second.param_groups[0]["lr"] == 1e-2
    assert same(after(second, parted, range(12, 30)), expected)
