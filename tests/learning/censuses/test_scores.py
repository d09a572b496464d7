"""Losses of many seeds, and their gradients, against torch's own and its tape."""

from __future__ import annotations

import pytest
import torch

from weightwalk.learning.censuses.scores import SCORES
from weightwalk.learning.losses import LOSSES


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("name", sorted(SCORES))
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_a_score_is_the_loss_with_its_gradient(name: str, own: bool, scale: float) -> None:
    rows, out, seeds = 5, 4, 7
    torch.manual_seed(0)
    z = scale * torch.randn(rows, out, seeds, dtype=torch.float64)
    z[0, 0, 0] = 0.0
    if name == "cross_entropy":
        targets = torch.randint(out, (rows, seeds) if own else (rows,))
        each = [targets[:, s] if own else targets for s in range(seeds)]
    else:
        targets = torch.rand(rows, out, seeds if own else 1, dtype=torch.float64)
        targets[0, 0] = 0.0  # for mae, a difference of nothing
        each = [targets[..., s if own else 0] for s in range(seeds)]
    grad, spare = torch.empty_like(z), torch.empty_like(z)
    losses = SCORES[name](z.clone(), targets, own, grad, spare)
    for s in range(seeds):
        one = z[..., s].clone().requires_grad_()
        loss = LOSSES[name](one, each[s])
        (slope,) = torch.autograd.grad(loss, one)
        assert losses[s].item() == pytest.approx(loss.item(), rel=1e-13)
        assert (grad[..., s] - slope).abs().max() < 1e-14
