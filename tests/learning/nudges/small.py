"""Three rows, and a net of a few weights for them, in float64."""

from __future__ import annotations

import torch
from torch import nn

X = torch.tensor([[1.0, -2.0], [0.5, 3.0], [-1.5, 0.25]], dtype=torch.float64)
Y = torch.tensor([[2.0], [-1.0], [0.5]], dtype=torch.float64)


def deep(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
