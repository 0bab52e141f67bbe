"""Orthogonalised momentum: what it does to one matrix, and that it fits."""

from __future__ import annotations

import torch
from torch import nn

from napari_dip.core.muon import Muon


def step(optimiser: Muon, loss: torch.Tensor) -> None:
    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss.backward(retain_graph=True)
        return loss

    optimiser.step(closure)


def test_all_directions_of_a_filter_bank_move_alike() -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.zeros(6, 5, 3, 3))
    gradient = torch.randn(6, 5, 3, 3) * torch.logspace(0, -2, 6)[:, None, None, None]
    step(Muon([weight], 0.1), (weight * gradient).sum())
    moved = torch.linalg.svdvals(weight.detach().flatten(1))
    assert moved.min() > 0.05
    assert moved.max() < 0.13
    assert (weight.detach() * gradient).sum() < 0


def test_biases_and_banks_of_one_channel_move_as_by_adam() -> None:
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(*shape)) for shape in ((7,), (1, 8, 3, 3), (8, 1, 3, 3))]
    copies = [nn.Parameter(w.detach().clone()) for w in weights]
    muon, adam = Muon(weights, 0.02), torch.optim.Adam(copies, 1e-3)
    for _ in range(5):
        step(muon, sum((w**2).sum() for w in weights))  # type: ignore[arg-type]
        adam.zero_grad()
        sum((w**2).sum() for w in copies).backward()  # type: ignore[union-attr]
        adam.step()
    for mine, theirs in zip(weights, copies, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_its_state_is_saved_and_restored() -> None:
    torch.manual_seed(0)
    start = torch.randn(4, 4, 3, 3)
    target = torch.randn(4, 4, 3, 3)

    def after(count: int, pause: int) -> torch.Tensor:
        weight = nn.Parameter(start.clone())
        optimiser = Muon([weight], 0.02)
        for i in range(count):
            if i == pause:
                saved, optimiser = optimiser.state_dict(), Muon([weight], 0.02)
                optimiser.load_state_dict(saved)
            step(optimiser, ((weight - target) ** 2).sum())
        return weight.detach()

    assert torch.equal(after(6, pause=3), after(6, pause=-1))
