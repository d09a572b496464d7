"""The gallery's small networks as modules, each small enough to be followed with pencil and paper."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError


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
    """An embedding, hidden layers with ReLU, and one logit per token.

    At 5 tokens and width 2: 10 + 6 + 6 + 15 = 37 parameters. Each token is looked at alone: row ``t`` of the logits
    depends on token ``t`` only.
    """

    def __init__(self, tokens: int = 5, width: int = 2, depth: int = 2, activation: str = "relu") -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, width, dtype=torch.float32)
        self.hidden = _hidden(self, [width] * (depth + 1), activation)
        self.logits = nn.Linear(width, tokens, dtype=torch.float32)

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids (T,) -> logits (T, tokens)."""
        a = self.embed(ids)
        for name in self.hidden:
            a = self.get_submodule(name)(a)
        return self.logits(a)


class LayeredNet(nn.Module):
    """``y = W act(... act(W1 x + b1) ...) + b``: the fully connected net of any depth, width and activation.

    Without hidden layers it is a linear map. Modules are called ``fc1``, ``relu1``, ``fc2`` ... (``tanh1`` where the
    activation is tanh, and so on).
    """

    def __init__(self, sizes: Sequence[int], activation: str = "relu") -> None:
        super().__init__()
        self.hidden = _hidden(self, sizes[:-1], activation)
        self.last = f"fc{len(sizes) - 1}"
        self.add_module(self.last, nn.Linear(sizes[-2], sizes[-1], dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """(N, first size) -> (N, last size)."""
        for name in self.hidden:
            x = self.get_submodule(name)(x)
        return self.get_submodule(self.last)(x)


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "identity": nn.Identity,
}


def _hidden(net: nn.Module, sizes: Sequence[int], activation: str) -> tuple[str, ...]:
    """Add ``fc1``, ``relu1``, ``fc2`` ... to `net`; their names in order."""
    if activation not in ACTIVATIONS:
        raise UsageError(f"There is no activation {activation!r}; there are {', '.join(ACTIVATIONS)}.")
    if any(size < 1 for size in sizes):
        raise UsageError(f"A layer has at least one unit; got sizes {', '.join(map(str, sizes))}.")
    names: list[str] = []
    for i, (before, after) in enumerate(pairwise(sizes), start=1):
        names += [f"fc{i}", f"{activation}{i}"]
        net.add_module(names[-2], nn.Linear(before, after, dtype=torch.float32))
        net.add_module(names[-1], ACTIVATIONS[activation]())
    return tuple(names)
