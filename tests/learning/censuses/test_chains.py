"""What is a chain, and what only looks like one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from weightwalk.learning.censuses.chains import chain_of
from weightwalk.learning.tasks import task_of


def kinds(module: nn.Module, x: Tensor | None = None) -> list[str] | None:
    chain = chain_of(module, torch.rand(4, 2) if x is None else x)
    return None if chain is None else [layer.kind for layer in chain.layers]


@pytest.mark.parametrize("name", ["linear", "sqrt", "hello", "hello6", "xor", "nearest", "regions"])
def test_the_gallery_is_made_of_chains(name: str) -> None:
    task = task_of(name)
    assert kinds(task.module(0), task.data.inputs) is not None


def test_layers_come_in_the_order_in_which_they_run() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(3, 1)
            self.first = nn.Linear(2, 3, bias=False)
            self.act = nn.GELU(approximate="tanh")

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.act(self.first(x)))

    chain = chain_of(Backwards(), torch.rand(4, 2))
    assert chain is not None
    assert [layer.name for layer in chain.layers] == ["first", "act", "last"]
    assert [layer.bias for layer in chain.layers] == [False, False, True]
    assert chain.layers[1].rounded
    assert kinds(nn.Linear(2, 1)) == ["linear"]
    assert kinds(nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True), nn.Linear(2, 1))) is not None


class Odd(nn.Module):
    """A chain but for one thing."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.one, self.act, self.two = nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)
        if how == "scale":
            self.scale = nn.Parameter(torch.ones(1))
        if how == "unused":
            self.three = nn.Linear(2, 2)
        if how == "tied":
            self.two.weight = self.one.weight
        if how == "buffer":
            self.register_buffer("shift", torch.zeros(2))
        if how == "frozen":
            self.one.weight.requires_grad_(False)
        if how == "mixed":
            self.two.double()

    def forward(self, x: Tensor) -> Tensor:
        how = self.how
        h = self.act(self.one(x.relu() if how == "before" else x))
        if how == "residual":
            h = h + x
        if how == "functional":
            h = torch.tanh(h)
        if how == "write":
            h[:, 0] = 0
        if how == "twice":
            h = self.act(self.one(h))
        if how == "mode" and self.training:
            h = h * 2
        if how == "mixed":
            h = h.double()
        if how == "keyword":
            return self.two(input=h)
        y = self.two(h)
        if how == "cut":
            return y[:, :1]
        if how == "softmax":
            return y.softmax(-1)
        if how == "side":
            self.one(x)
        return y


@pytest.mark.parametrize(
    "how",
    ["scale", "unused", "tied", "buffer", "frozen", "mixed", "before", "residual", "functional", "write", "twice",
     "mode", "keyword", "cut", "softmax", "side"],
)  # fmt: skip
def test_what_only_looks_like_a_chain_is_none(how: str) -> None:
    assert kinds(Odd("")) == ["linear", "relu", "linear"]
    assert kinds(Odd(how)) is None


def test_layers_of_unknown_arithmetic_make_no_chain() -> None:
    for layer in (nn.Softmax(dim=-1), nn.LayerNorm(2), nn.Dropout(0.5), nn.PReLU(), nn.ELU()):
        assert kinds(nn.Sequential(nn.Linear(2, 2), layer, nn.Linear(2, 1))) is None

    class Mine(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) * 2

    assert kinds(nn.Sequential(Mine(2, 2))) is None
    hooked = nn.Sequential(nn.Linear(2, 2))
    hooked[0].register_forward_hook(lambda module, given, out: None)
    assert kinds(hooked) is None
    assert kinds(nn.Sequential(nn.ReLU(), nn.Linear(2, 2))) is None
    assert kinds(nn.Sequential(nn.Embedding(3, 2, padding_idx=0), nn.Linear(2, 2)), torch.tensor([0, 1])) is None
    assert kinds(nn.Sequential(nn.Linear(2, 2)), torch.rand(3, 4, 2)) is None
    assert kinds(nn.Sequential(nn.Linear(2, 2)).to(torch.bfloat16), torch.rand(3, 2).bfloat16()) is None


def test_looking_leaves_the_net_as_it_was() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).eval()
    net[0].train()
    assert kinds(net) is not None
    assert [m.training for m in net] == [True, False, False]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
