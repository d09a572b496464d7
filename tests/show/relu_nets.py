"""Random nets of dense layers with ReLUs between them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn


def net(*sizes: int, seed: int = 0, scale: float = 1.0) -> nn.Module:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    made = nn.Sequential(*layers[:-1]).double()
    with torch.no_grad():
        for p in made.parameters():
            p.mul_(scale)
    return made
