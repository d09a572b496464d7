"""The lift: a recorded walk as a piecewise-affine net, held against the module itself in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import weightwalk as ww
from weightwalk.errors import UsageError
from weightwalk.formulas.lifts.lift import lift
from weightwalk.formulas.oracle import oracle_of, replay_oracle


class Residual(nn.Module):
    """Skips, concatenation, a slice, a maximum of two signals and scalings by constants."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.a(x)) + x
        g = torch.clamp(self.b(h), -0.5, 0.5).abs()
        wide = self.c(torch.cat([h, g], -1))
        return wide - 3 * torch.maximum(h[..., :2], g[..., 2:]) + h.mean(-1, keepdim=True) / 3


class InPlace(nn.Module):
    """Writes into parts of what it computed before."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        h[:, :2] = torch.relu(h[:, 2:4])
        h[:, 4].mul_(2.0).add_(1.0)
        h.clamp_(min=-0.25)
        return self.b(h).neg_()


class Twice(nn.Module):
    """One layer used twice, and a transposed product."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(torch.relu(self.a(x)))
        return torch.tensor([[1.0, 2.0, -1.0]], dtype=x.dtype) @ h.t() - h.sum(-1, keepdim=True)


class Masked(nn.Module):
    """A constant mask, padding, rolls and gathers."""

    def forward(self, x: Tensor) -> Tensor:
        keep = torch.tensor([True, False, True, True])
        h = torch.where(keep, x, torch.zeros((), dtype=x.dtype)).relu()
        h = F.pad(h, (1, 2), value=0.5).roll(2, -1)[..., torch.tensor([6, 0, 3])]
        return F.leaky_relu(h.flip(-1) - 0.1, 0.2).amax(-1)


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, padding=1, ceil_mode=True), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, 3),
        nn.PReLU(), nn.Hardtanh(), nn.ReLU6(), nn.Hardsigmoid(), nn.Softshrink(0.3), nn.RReLU(), nn.AvgPool1d(3),
    ).eval()  # fmt: skip


def odd_convolutions() -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(2, 3, 3, stride=2), nn.ReLU(), nn.Conv2d(3, 6, 3, groups=3, dilation=2, stride=2),
        nn.PReLU(6), nn.AdaptiveMaxPool2d(2),
    )  # fmt: skip


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear stack": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), (1, 3)),
    "no batch axis": (lambda: nn.Sequential(nn.Linear(3, 5), nn.LeakyReLU(), nn.Linear(5, 2)), (3,)),
    "rows": (lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)), (4, 3)),
    "residual": (Residual, (1, 4)),
    "in place": (InPlace, (1, 3)),
    "twice": (Twice, (1, 3)),
    "masked": (Masked, (1, 4)),
    "cnn": (cnn, (1, 1, 8, 8)),
    "convolutions": (odd_convolutions, (1, 2, 5, 5)),
    "1-D": (
        lambda: nn.Sequential(
            nn.Conv1d(4, 8, 3, groups=2, padding=1), nn.ReLU(), nn.MaxPool1d(2), nn.Upsample(None, 2)
        ),
        (1, 4, 10),
    ),
    "dropout in eval mode": (lambda: nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Dropout(0.5)).eval(), (1, 2)),
    "threshold": (lambda: nn.Sequential(nn.Linear(2, 4), nn.Threshold(0.5, 0.5)), (1, 2)),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", NETS)
def test_the_lifted_net_is_the_net(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    build, shape = NETS[name]
    module = build()
    for buffer in module.buffers():  # statistics that are not 0 and 1
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 2.0)
    module = module.to(dtype)
    walk = ww.walk(module, torch.randn(shape).to(dtype))
    found = lift(walk)
    x = np.random.default_rng(0).normal(size=(40, math.prod(shape))) * 2
    module = module.double()
    with torch.no_grad():
        wanted = torch.stack([module(torch.from_numpy(row).reshape(shape)).reshape(-1) for row in x]).numpy()
    assert np.abs(found.net(x) - wanted).max() <= 1e-13 * max(1.0, np.abs(wanted).max())


@pytest.mark.parametrize("name", NETS)
def test_the_numpy_replay_agrees(name: str) -> None:
    """The second judge shares no code with the lift: recorded steps as NumPy equations."""
    torch.manual_seed(1)
    build, shape = NETS[name]
    walk = ww.walk(build(), torch.randn(shape))
    found = lift(walk)
    x = np.random.default_rng(1).normal(size=(3, math.prod(shape)))
    assert np.abs(found.net(x) - replay_oracle(found)(x)).max() < 1e-12


def test_a_saved_walk_is_enough(tmp_path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 1)).double()
    path = ww.walk(module, torch.zeros(1, 2, dtype=torch.float64)).save(tmp_path / "net.walk")
    found = lift(ww.load(path))
    x = np.random.default_rng(0).normal(size=(9, 2))
    assert np.abs(found.net(x) - module(torch.from_numpy(x)).detach().numpy()).max() < 1e-15


def test_weights_stand_in_the_layers_as_they_are() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    net = lift(ww.walk(module, torch.zeros(1, 3))).net
    assert [layer.name for layer in net.layers] == ["0"]
    assert not net.inexact
    ((source, weight),) = net.layers[0].affine.terms
    assert source == 0 and np.array_equal(weight, module[0].weight.detach().double().numpy())
    assert np.array_equal(net.output.bias, module[2].bias.detach().double().numpy())
    assert net.layers[0].unit(3) == "0[0, 3]"
    assert net.inputs == ("in[0, 0]", "in[0, 1]", "in[0, 2]") and net.outputs == ("2[0, 0]", "2[0, 1]")


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval(), "the batch norm at 1/native_batch_norm divides"),
        (nn.Sequential(nn.Linear(2, 3), nn.AvgPool1d(3)), "divides by a number that is no power of 2"),
        (nn.Sequential(nn.Linear(2, 3), nn.Hardsigmoid()), "slope 1/6"),
    ],
)
def test_what_is_rounded_is_said(module: nn.Module, reason: str) -> None:
    assert reason in lift(ww.walk(module, torch.zeros(1, 2))).net.inexact


def test_an_inner_value_can_be_the_output() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4), nn.Softmax(-1))
    walk = ww.walk(module, torch.zeros(1, 2))
    found = lift(walk, "2")
    assert found.net.outputs[0] == "2[0, 0]" and not found.whole
    x = np.random.default_rng(0).normal(size=(5, 2))
    with torch.no_grad():
        wanted = module.double()[:3](torch.from_numpy(x)).numpy()
    assert np.abs(found.net(x) - wanted).max() < 1e-14
    assert np.abs(oracle_of(found)(x) - wanted).max() < 1e-14


def test_token_ids_give_the_embeddings_as_inputs() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(5, 2), nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 5))
    found = lift(ww.walk(module, torch.tensor([3])))
    assert found.embedded and found.net.inputs == ("0[0, 0]", "0[0, 1]")
    assert np.array_equal(found.point, module[0].weight[3].detach().double().numpy())


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Product(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x


class Step(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x > 0).to(x.dtype)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.GELU()), r"GELU at 1/gelu is not piecewise linear.*try --surrogate"),
        (nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()), r"the sigmoid at 1/sigmoid is not piecewise linear"),
        (nn.Sequential(nn.Linear(2, 2), nn.Softmax(-1)), r"softmax at 1/softmax .*name an earlier value with --output"),
        (nn.Sequential(nn.LayerNorm(2)), r"layer norm at 0/native_layer_norm is not piecewise linear"),
        (
            nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).train(),
            r"bernoulli at 1/bernoulli_? is a random draw.*call net\.eval",
        ),
        (nn.Sequential(nn.Linear(2, 2), nn.Threshold(0.5, 0.0)), r"threshold, which jumps at 0\.5,"),
        (Branching(), "reads a number that depends on its input into Python"),
        (Product(), "mul of two values that both depend on the input"),
        (Step(), "gt, which jumps, at"),
    ],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)
def test_what_is_not_piecewise_linear_is_refused_by_name(module: nn.Module, message: str) -> None:
    walk = ww.walk(module, torch.tensor([[0.3, -0.7]]))
    with pytest.raises(UsageError, match=message):
        lift(walk)


def test_batch_norm_in_training_mode_is_refused() -> None:
    walk = ww.walk(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).train(), torch.randn(4, 2))
    with pytest.raises(UsageError, match="batch norm in training mode, whose statistics depend on the input"):
        lift(walk)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_named(bad: float) -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    with torch.no_grad():
        module[0].weight[1, 0] = bad
    walk = ww.walk(module, torch.zeros(1, 2))
    with pytest.raises(UsageError, match=rf"0\.weight\[1, 0\] is {bad} \(1 of 6 numbers"):
        lift(walk)


def test_a_constant_output_is_refused() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones(2) * 3

    walk = ww.walk(Constant(), torch.zeros(1, 2))
    with pytest.raises(UsageError, match=r"depends on no real-valued input|does not depend on the input"):
        lift(walk)


def test_a_large_convolution_stays_an_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    from weightwalk.formulas.lifts import linear as lift_rules

    monkeypatch.setattr(lift_rules, "LARGEST", 10)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).double()
    net = lift(ww.walk(module, torch.zeros(1, 3, 16, 16, dtype=torch.float64))).net
    assert not isinstance(net.layers[0].affine.terms[0][1], np.ndarray)
    x = np.random.default_rng(0).normal(size=(3, 3 * 256))
    wanted = module(torch.from_numpy(x).reshape(3, 3, 16, 16)).detach().reshape(3, -1).numpy()
    assert np.abs(net(x) - wanted).max() < 1e-13
    operator = net.layers[0].affine.terms[0][1]
    v, w = (
        np.random.default_rng(1).normal(size=operator.shape[1]),
        np.random.default_rng(2).normal(size=operator.shape[0]),
    )
    assert (operator @ v) @ w == pytest.approx(v @ (operator.T @ w), rel=1e-12)


class TwoValues(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(2, 3), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.a(x).relu(), self.b(x)


def test_of_several_values_the_first_is_taken_and_the_others_are_named() -> None:
    walk = ww.walk(TwoValues(), torch.zeros(1, 2))
    found = lift(walk)
    assert len(found.net.outputs) == 3 and found.others == ("b",)
    assert lift(walk, "b").others == ()


def test_a_net_that_hands_on_its_input_is_the_identity() -> None:
    found = lift(ww.walk(nn.Identity(), torch.zeros(1, 2)))
    assert np.array_equal(found.net(np.array([[3.0, -4.0]])), [[3.0, -4.0]])
