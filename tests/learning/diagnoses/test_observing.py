"""Units and gradients against slow loops, on nets small enough to be followed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.diagnoses.observing import Observation, dead_now, deaths_of, observe
from weightwalk.learning.seeds import seeded


def hand_net() -> Any:
    """Two inputs, four ReLUs: dead, always on, on for positive x, on for some; the last has no way out."""
    net: Any = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [0.5], [1.0], [-1.0]]))
        net[0].bias.copy_(torch.tensor([-9.0, 3.0, 0.0, 0.5]))
        net[2].weight.copy_(torch.tensor([[1.0, 2.0, -1.0, 0.0]]))
        net[2].bias.fill_(0.25)
    return net


X = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])


def test_each_state_of_a_unit() -> None:
    seen = observe(hand_net(), X, 2 * X, "mse")
    (units,) = seen.units
    assert units.name == "1" and units.function == "relu" and units.count == 4
    assert (units.dead, units.always_on, units.starved, units.silent) == ((0,), (1,), (3,), ())
    assert units.off.tolist() == [1.0, 0.0, 0.5, 0.5]
    assert units.mean.tolist() == [0.0, 3.25, 0.75, 0.5]
    assert units.map.tolist() == [[0, 1, 0, 1], [0, 1, 0, 1], [0, 1, 1, 0], [0, 1, 1, 0]]
    # by hand: the answer is 2 (0.5 x + 3) - relu(x) + 0.25, the residual r = answer - 2 x, and dL/dz = 2 r w2
    residual = [-1.0 + 6.25 + 2.0, 6.25, 1.0 + 5.25 - 2.0, 2.0 + 4.25 - 4.0]
    assert units.gradient.tolist() == pytest.approx([0, 2 * 2 * max(residual), 2 * max(residual[2:]), 0])


def test_layers_have_the_gradient_of_a_slow_loop() -> None:
    with seeded(1):
        net: Any = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    x = torch.randn(1100, 3, generator=torch.Generator().manual_seed(0))  # three chunks
    y = x[:, :2].sin()
    seen = observe(net, x, y, "mse")
    twin = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    twin.load_state_dict({k: v.double() for k, v in net.state_dict().items()})
    sums = [torch.zeros_like(p) for p in twin.parameters()]
    for row, goal in zip(x.double(), y.double(), strict=True):
        slopes = torch.autograd.grad((twin(row) - goal).square().mean(), list(twin.parameters()))
        sums = [s + g / len(x) for s, g in zip(sums, slopes, strict=True)]
    for layer, pair in zip(seen.layers, (sums[:2], sums[2:]), strict=True):
        flat = torch.cat([p.reshape(-1) for p in pair])
        assert layer.gradient == pytest.approx(float(flat.norm()), rel=1e-5)
        assert layer.rms == pytest.approx(float(flat.square().mean().sqrt()), rel=1e-5)
    assert [y.name for y in seen.layers] == ["0", "2"]
    assert seen.outputs is not None and torch.equal(seen.outputs, net(x).detach())


class Functions(nn.Module):
    """Calls torch's functions in every way there is, one of them in place and one beside a bypass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 3), nn.Linear(3, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.first(x))
        b = nn.functional.gelu(self.second(a), approximate="tanh")
        c = torch.tanh(b * 2).sigmoid()
        d = c - 10
        return self.drop(nn.functional.silu(d) + d.relu() + d.clone().relu_())


def test_plain_functions_are_seen_and_named() -> None:
    seen = observe(Functions(), torch.randn(5, 2), torch.zeros(5, 3), "mse")
    assert [u.name for u in seen.units] == ["relu", "gelu", "tanh", "sigmoid", "silu", "relu:2", "relu:3"]
    assert all(u.count == 3 for u in seen.units)
    beside = seen.units[5]  # off everywhere, but silu's bypass carries a gradient to the same sum
    assert beside.dead == () and beside.silent == (0, 1, 2)


def test_saturated_is_not_dead() -> None:
    net: Any = nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, 1)).double()
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.copy_(torch.tensor([6.0, 0.0]))
    (units,) = observe(net, X.double(), X.double(), "mse").units
    assert (units.saturated, units.dead, units.off[1]) == ((0,), (), 0)
    slope = 1 - np.tanh(X.numpy() + 6) ** 2
    assert slope.max() < 0.005


def test_a_channel_of_a_convolution_is_one_unit() -> None:
    net: Any = nn.Sequential(
        nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 2)
    )
    with torch.no_grad():
        net[1].bias[1] = -50.0
    x = torch.randn(6, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    seen = observe(net.train(), x, torch.tensor([0, 1, 0, 1, 0, 1]), "cross_entropy")
    (units,) = seen.units
    assert units.count == 3 and units.dead == (1,)
    assert units.map.shape == (6, 3) and 0 < units.map[:, 0].mean() < 1
    assert net.training


def test_tokens_are_positions_not_units() -> None:
    net: Any = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5))
    ids = torch.tensor([[0, 1, 2], [3, 4, 0]])
    seen = observe(net, ids, ids, "cross_entropy")
    out = torch.relu(net[1](net[0](ids)))
    assert seen.units[0].count == 6
    assert np.allclose(seen.units[0].off, (out == 0).float().mean((0, 1)).numpy())


def test_a_silent_layer_is_told_with_its_rows() -> None:
    net = hand_net()
    with torch.no_grad():
        net[0].bias[1] = -9.0
    seen = observe(net, X, X, "mse", ("a", "b", "c", "d"))
    assert not seen.silenced  # the last two units share the line between them
    with torch.no_grad():
        net[0].bias[3] = -9.0
    seen = observe(net, X, X, "mse", ("a", "b", "c", "d"))
    assert [(s.layer, s.count, s.rows) for s in seen.silenced] == [("1", 2, ("a", "b"))]
    # CHECKLIST 186: there the next layer's sum is its bias exactly, and no gradient goes back
    out = net(X[:2])
    assert out.flatten().tolist() == [0.25, 0.25]
    assert not torch.autograd.grad(out.sum(), net[0].weight)[0].any()


def test_the_net_is_left_as_found() -> None:
    net: Any = nn.Sequential(nn.Linear(1, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Dropout(), nn.Linear(3, 1)).train()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    random = torch.get_rng_state()
    observe(net, X, X, "mse")
    dead_now(net, X)
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert all(m.training for m in net.modules()) and all(p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert torch.equal(torch.get_rng_state(), random)


def test_hooks_go_when_the_net_fails() -> None:
    net = hand_net()
    with pytest.raises(UsageError, match=r"cannot be run on rows of shape \(7,\) and type float32: RuntimeError: mat1"):
        observe(net, torch.ones(3, 7), torch.ones(3, 1), "mse")
    with pytest.raises(UsageError, match=r"do not fit outputs of shape \(4, 1\) .* IndexError: Target 5 is out"):
        observe(net, X, torch.full((4,), 5), "cross_entropy")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


@pytest.mark.parametrize("many", [1, 3])
def test_chunks_do_not_change_what_is_seen(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from weightwalk.learning.diagnoses import observing

    whole = observe(hand_net(), X, 2 * X, "mse")
    monkeypatch.setattr(observing, "CHUNK", many)
    parts = observe(hand_net(), X, 2 * X, "mse")
    assert _numbers(parts) == pytest.approx(_numbers(whole), rel=1e-6)
    assert parts.units[0].dead == whole.units[0].dead and dead_now(hand_net(), X) == {"1[0]"}


def _numbers(seen: Observation) -> list[float]:
    units = seen.units[0]
    flat = [units.off, units.mean, units.std, units.gradient, units.map]
    return [seen.loss, *(v for a in flat for v in a.ravel().tolist()), *(y.gradient for y in seen.layers)]


def test_when_a_unit_died_is_found_between_snapshots() -> None:
    net = hand_net()

    def at(bias: float) -> dict[str, Tensor]:
        state = {k: v.clone() for k, v in net.state_dict().items()}
        state["0.bias"][0] = bias
        return state

    snapshots = [(5 * e, at(1.0 if e < 137 else -9.0)) for e in range(300)]
    (death,) = deaths_of(["1[0]"], net, X, snapshots)
    assert (death.unit, death.before, death.after, death.known) == ("1[0]", 680, 685, True)
    (always,) = deaths_of(["1[0]"], net, X, [(e, at(-9.0)) for e in range(4)])
    assert (always.before, always.after) == (None, 0)
    (unknown,) = deaths_of(["1[0]"], net, X, [])
    assert not unknown.known


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x).relu() if bool(x[0] > 0) else self.fc(x).tanh()


def test_other_functions_on_other_inputs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from weightwalk.learning.diagnoses import observing

    monkeypatch.setattr(observing, "CHUNK", 1)
    with pytest.raises(UsageError, match="other functions on other inputs"):
        observe(Branches(), torch.tensor([[1.0], [-1.0]]), torch.zeros(2, 2), "mse")


def test_weights_and_losses_that_are_no_numbers_are_named() -> None:
    net = hand_net()
    with torch.no_grad():
        net[2].bias.fill_(float("inf"))
    with pytest.raises(UsageError, match=r"2\.bias\[0\] is inf"):
        observe(net, X, X, "mse")
    with pytest.raises(UsageError, match="The loss is nan on the rows from 0"):
        observe(hand_net(), X * float("nan"), X, "mse")
    with pytest.raises(UsageError, match="no parameter that can be trained"):
        observe(hand_net().requires_grad_(False), X, X, "mse")
