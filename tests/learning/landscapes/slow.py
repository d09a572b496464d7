"""The slow way: a copy of the net, moved by hand to every point; and nets to try it on."""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.learning.landscapes.directions import Plane
from weightwalk.learning.losses import loss_of, tensor_of
from weightwalk.learning.seeds import seeded
from weightwalk.nets.gpt import GPT, GPTConfig


def losses_by_hand(
    module: nn.Module, x: Tensor, y: Tensor, plane: Plane, loss: str, alphas: np.ndarray, betas: np.ndarray
) -> np.ndarray:
    """(A, B): weights written into a copy, one point after another."""
    moved = copy.deepcopy(module).eval()
    parameters = dict(moved.named_parameters())
    found = np.empty((len(alphas), len(betas)))
    v = plane.v or {}
    for i, a in enumerate(alphas):
        for j, b in enumerate(betas):
            with torch.no_grad():
                for name, w in plane.origin.items():
                    parameters[name].copy_(w + float(a) * plane.u.get(name, 0) + float(b) * v.get(name, 0))
                found[i, j] = float(loss_of(loss)(tensor_of(moved(x)), y))
    return found


class Functional(nn.Module):
    """Its activations are functions, so that it is no chain of modules; and a running statistic."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(3, 6)
        self.norm = nn.BatchNorm1d(6)
        self.fc2 = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.tanh(self.norm(self.fc1(x))))


class Conv(nn.Module):
    """(N, 1, 6, 6) -> (N, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(torch.relu(self.conv(x))).flatten(1))


class Noisy(nn.Module):
    """Draws random numbers even in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) + 0.1 * torch.randn(len(x), 1, dtype=x.dtype)


Case = tuple[nn.Module, Tensor, Tensor, str]


def mlp(*sizes: int, act: type[nn.Module] = nn.ReLU, bias: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b, bias=bias), act()]
    return nn.Sequential(*layers[:-1])


def case(name: str) -> Case:
    """A net in float64 with data and the name of a loss."""
    with seeded(3):
        x, classes = torch.randn(20, 3, dtype=torch.float64), torch.randint(0, 2, (20,))
        if name == "mlp":
            found = mlp(3, 8, 5, 2), x, torch.randn(20, 2, dtype=torch.float64), "mse"
        elif name == "gelu":
            found = mlp(3, 8, 2, act=nn.GELU, bias=False), x, classes, "cross_entropy"
        elif name == "deep rows":  # a linear layer over the last of three axes
            found = mlp(3, 4, 1, act=nn.Tanh), x.reshape(5, 4, 3), torch.randn(5, 4, 1, dtype=torch.float64), "mae"
        elif name == "words":
            net = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 7))
            found = net, torch.randint(0, 7, (9,)), torch.randint(0, 7, (9,)), "cross_entropy"
        elif name == "functional":
            found = Functional(), x, classes.double()[:, None].repeat(1, 2), "bce"
        elif name == "conv":
            images = torch.randn(8, 1, 6, 6, dtype=torch.float64)
            found = Conv(), images, torch.randint(0, 3, (8,)), "cross_entropy"
        else:
            net = GPT(GPTConfig(vocab_size=11, n_positions=6, n_embd=8, n_layer=1, n_head=2))
            found = net, torch.randint(0, 11, (3, 6)), torch.randint(0, 11, (3, 6)), "cross_entropy"
        net, xs, ys, loss = found
        return net.double(), xs, ys, loss


CASES = {
    "mlp": "chain", "gelu": "chain", "deep rows": "chain", "words": "chain", "functional": "vmap", "conv": "vmap",
    "gpt": "vmap",
}  # fmt: skip
"""Each case, and the way in which it is evaluated."""
