"""Gradients and updated weights are numbers like any other: accounts across backward and optimizer steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from zoo import ZOO, tensors
from zoo.entry import Float64, widen

import weightwalk as ww
from weightwalk.readings.account import Account
from weightwalk.walks.walk import Walk


def check(a: Account) -> None:
    assert math.fsum([*(r.value for r in a.rows), a.remainder, *a.tail]) == a.number
    assert a.relative_residual < 1e-12
    assert a.worst is None or a.worst.relative < 1e-12
    assert abs(a.remainder) <= a.bound or a.remainder == 0
    assert not a.opaque


def net_and_data() -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    return net, torch.randn(5, 3).double(), torch.randint(0, 2, (5,))


# By hand ------------------------------------------------------------------------------------------------------------


def test_the_gradient_of_one_weight_by_hand() -> None:
    """loss = (w x + b - t)^2, so dloss/dw = 2 (w x + b - t) x: error times input, and the error is a sum of three."""
    net = nn.Linear(1, 1).double()
    with torch.no_grad():
        net.weight.fill_(3.0)
        net.bias.fill_(0.5)
    x, t = torch.tensor([[2.0]]).double(), torch.tensor([[10.0]]).double()
    with ww.recording(net) as w:
        F.mse_loss(net(x), t).backward()
    a = w.account("weight.grad[0, 0]", cut="inputs")
    assert a.number == 2 * (3 * 2 + 0.5 - 10) * 2
    found = {r.address: r.value for r in a.rows}
    target = w.steps[next(i for i, s in enumerate(w.steps) if s.name == "mse_loss")].args[1].value
    assert found == {"in[0, 0]": 24.0, "bias": 2.0, w.values[target].address: -40.0}
    check(a)
    activation = w.account("weight.grad[0, 0]", cut="inputs", split="activation")
    assert [(r.address, r.value) for r in activation.rows] == [("in[0, 0]", -14.0)]


def test_why_a_weight_moved_by_gradient_descent() -> None:
    """w' - w = -lr (g + decay w): the decay is the weight's own row."""
    net, x, y = net_and_data()
    weight = net[0].weight.detach().clone()
    with ww.recording(net) as w:
        F.cross_entropy(net(x), y).backward()
        torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.2).step()
    a = w.account("0.weight.updated[1, 2] - 0.weight[1, 2]", cut="inputs")
    check(a)
    found = {r.address: r.value for r in a.rows}
    assert found["0.weight"] == pytest.approx(-0.1 * 0.2 * weight[1, 2].item(), rel=1e-12)
    gradient = w.account("0.weight.grad[1, 2]", cut="inputs")
    for row in gradient.rows:
        assert found[row.address] == pytest.approx(-0.1 * row.value, rel=1e-9, abs=1e-15)


def test_cross_entropy_pushes_by_the_prediction_less_the_target() -> None:
    """The gradient of an output bias is the mean of p - onehot; at a uniform prediction that is 1/n - onehot."""
    net, x, y = net_and_data()
    with ww.recording(net) as w:
        F.cross_entropy(net(x), y).backward()
    a = w.account("2.bias.grad[1]", cut="inputs")
    check(a)
    uniform = [r for r in a.rows if r.label.startswith("gradient of a uniform prediction")]
    assert uniform[0].value == pytest.approx(0.5 - y.double().mean().item())


# Every optimizer ------------------------------------------------------------------------------------------------------

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"foreach": True, "momentum": 0.9}),
    ("SGD", {"fused": True, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}),
    ("SGD", {"fused": True, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {"weight_decay": 0.1, "maximize": True}),
    ("Adam", {"amsgrad": True}),
    ("Adam", {"foreach": True, "weight_decay": 0.1}),
    ("Adam", {"fused": True, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"foreach": True}),
    ("AdamW", {"fused": True}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Adagrad", {}),
    ("Adamax", {}),
    ("NAdam", {}),
    ("RAdam", {}),
    ("Adadelta", {}),
    ("ASGD", {}),
]


def trained(name: str, options: dict[str, Any], steps: int = 2) -> Walk:
    net, x, y = net_and_data()
    optimizer = getattr(torch.optim, name)(net.parameters(), lr=0.01, **options)
    with ww.recording(net) as w:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    return w


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=lambda x: x if isinstance(x, str) else ",".join(x))
def test_why_a_weight_moved(name: str, options: dict[str, Any]) -> None:
    w = trained(name, options)
    for address in ("0.weight.updated[1, 2] - 0.weight[1, 2]", "2.bias.updated[0]"):
        a = w.account(address, cut="inputs")
        check(a)
        assert any(r.kind == "cut" and r.value for r in a.rows)


@pytest.mark.parametrize(
    "pair", [("Adam", {"weight_decay": 0.1}), ("AdamW", {"weight_decay": 0.1}), ("SGD", {"momentum": 0.9})]
)
def test_lists_and_fused_kernels_tell_the_same_story_as_plain_steps(pair: tuple[str, dict[str, Any]]) -> None:
    name, options = pair
    address = "0.weight.updated[1, 2] - 0.weight[1, 2]"
    stories = []
    for kind in ({}, {"foreach": True}, {"fused": True}):
        a = trained(name, {**options, **kind}, steps=3).account(address, cut="inputs")
        stories.append({r.address: r.value for r in a.rows if r.kind == "cut"})
    assert stories[0]
    for other in stories[1:]:
        assert other == pytest.approx(stories[0], rel=1e-8)


# Every net that trains ------------------------------------------------------------------------------------------------

NETS = [
    "mlp_gelu", "swiglu", "norms", "cnn_eval", "resnet", "lstm", "gru", "attention_fused", "multihead_attention",
    "encoder_train", "mixture_of_experts", "gpt2", "gpt2_sdpa", "llama", "llama_sdpa", "gemma2", "gpt_neox", "opt",
    "mamba", "bert", "bert_sdpa", "deberta", "t5", "vit",
]  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_gradients_and_updates_of_real_nets_close(name: str) -> None:
    net = widen(ZOO[name].build())
    optimizer = torch.optim.AdamW(net.model.parameters(), lr=0.01)
    torch.manual_seed(1)
    with Float64(), ww.recording(net.model) as w:
        out = next(t for t in tensors(net()) if t.requires_grad)
        rows = out.reshape(-1, out.shape[-1])
        F.cross_entropy(rows, torch.zeros(len(rows), dtype=torch.long)).backward()
        optimizer.step()
    gradients = [k for k in w.given if k.endswith(".grad")]
    for key in (gradients[0], gradients[-1]):
        value = w.values[w.given[key]]
        sizes = np.abs(value.numpy())
        index = ", ".join(map(str, np.unravel_index(int(sizes.argmax()), value.shape)))
        at = f"[{index}]" if value.shape else ""
        parameter = key.removesuffix(".grad")
        for address in (f"{key}{at}", f"{parameter}.updated{at} - {parameter}{at}"):
            check(w.account(address, cut="modules"))
