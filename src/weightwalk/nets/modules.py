"""The gallery's small networks as modules, each small enough to be followed with pencil and paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LinearNet(nn.Module):
    """``y = w x + b``: a network without a hidden layer, whose formula is its two weights."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(1, 1, dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1) -> (N, 1)."""
        return self.fc(x)


class ReluNet(nn.Module):
    """``y = W2 relu(W1 x + b1) + b2``: one hidden layer, hence piecewise linear with at most `hidden` + 1 pieces."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(1, hidden, dtype=torch.float32)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(hidden, 1, dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1) -> (N, 1)."""
        return self.fc2(self.relu(self.fc1(x)))


class PlaneNet(nn.Module):
    """``y = W3 relu(W2 relu(W1 x + b1) + b2) + b3`` of two inputs: it divides the plane into polygons."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(2, hidden, dtype=torch.float32)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(hidden, hidden, dtype=torch.float32)
        self.relu2 = nn.ReLU()
        self.fc3 = nn.Linear(hidden, 1, dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2) -> (N, 1)."""
        return self.fc3(self.relu2(self.fc2(self.relu1(self.fc1(x)))))


class HelloNet(nn.Module):
    """Embedding of 2, two hidden layers of 2 with ReLU, and one logit per token: 10 + 6 + 6 + 15 = 37 parameters.

    Each token is looked at alone: row ``t`` of the logits depends on token ``t`` only.
    """

    def __init__(self, tokens: int = 5, width: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, width, dtype=torch.float32)
        self.fc1 = nn.Linear(width, width, dtype=torch.float32)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(width, width, dtype=torch.float32)
        self.relu2 = nn.ReLU()
        self.logits = nn.Linear(width, tokens, dtype=torch.float32)

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids (T,) -> logits (T, tokens)."""
        a1 = self.relu1(self.fc1(self.embed(ids)))
        a2 = self.relu2(self.fc2(a1))
        return self.logits(a2)
