"""From the name of a parameter to what moves with it: linear layers, convolutions, norms, ties; and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import weightwalk as ww
from weightwalk.errors import UsageError
from weightwalk.formulas.losses.parameters import locate, loss_along_parameter
from weightwalk.nets import GALLERY

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "acasxu" / "ACASXU_1_1.nnet"


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(7, 2)
        self.scale = nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.fc1(x))
        h = h + nn.functional.leaky_relu(self.fc2(h)) * self.scale
        return self.fc3(torch.cat([h, x], 1))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(3, 2, 2), nn.Hardtanh(), nn.Flatten(), nn.Linear(8, 2),
    )  # fmt: skip


def by_torch(module: nn.Module, name: str, index: tuple[int, ...], x: Tensor, y: Tensor, w: float) -> float:
    moved = copy.deepcopy(module).double().eval()
    with torch.no_grad():
        moved.get_parameter(name)[index] = w
        return nn.functional.mse_loss(moved(x.double()), y.double()).item()


@pytest.mark.parametrize(
    ("build", "shape", "name", "index"),
    [
        (Residual, (3,), "fc1.weight", (2, 1)),
        (Residual, (3,), "fc1.bias", (2,)),
        (Residual, (3,), "fc2.weight", (3, 0)),
        (Residual, (3,), "fc3.weight", (1, 5)),
        (Residual, (3,), "scale", ()),
        (convolutional, (1, 6, 6), "0.weight", (1, 0, 2, 1)),
        (convolutional, (1, 6, 6), "0.bias", (0,)),
        (convolutional, (1, 6, 6), "1.weight", (2,)),
        (convolutional, (1, 6, 6), "4.weight", (1, 2, 0, 1)),
        (convolutional, (1, 6, 6), "7.weight", (0, 5)),
    ],
)
def test_any_parameter_that_acts_in_proportion(build: type, shape: tuple[int, ...], name: str, index: tuple) -> None:
    torch.manual_seed(1)
    module = build().eval()
    x, y = torch.randn(30, *shape), torch.randn(30, 2)
    full = name + (str(list(index)) if index else "")
    before = {k: v.clone() for k, v in module.state_dict().items()}
    line = loss_along_parameter(module, (x[:1],), full, (x.numpy(), y.numpy()))
    assert line.certificate.ok, str(line.certificate)
    assert line.certificate["|derivative"].ok
    assert line.at == float(module.get_parameter(name).detach()[index])
    w = np.random.default_rng(0).uniform(-3, 3, 25)
    wanted = np.array([by_torch(module, name, index, x, y, v) for v in w])
    assert np.abs(line(w) / wanted - 1).max() < 1e-12
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items()), "the module is left as it was"
    assert module.get_parameter(name).dtype is torch.float32


def test_the_gallery_net_on_its_own_data() -> None:
    net = ww.load_net("regions")
    x, y, *_ = GALLERY["regions"].data()
    line = loss_along_parameter(net.module, (x[:1],), "fc2.weight[0,1]", (x.numpy(), y.numpy()))
    assert line.certificate.ok, str(line.certificate)
    assert line.name == "fc2.weight[0, 1]"
    assert line.loss == pytest.approx(net.history.final, rel=1e-4), "the loss that training ended with"
    assert line.minimum.loss <= line.loss


def test_a_parameter_that_nothing_reads_leaves_the_loss_as_it_is() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    module.register_parameter("unused", nn.Parameter(torch.ones(3)))
    x = torch.randn(5, 2)
    line = loss_along_parameter(module, (x[:1],), "unused[1]", (x.numpy(), np.ones((5, 2))))
    assert line.pieces == 1 and line.derivative == (0.0, 0.0) and line.certificate.ok


class Tied(nn.Module):
    def __init__(self, *, parallel: bool) -> None:
        super().__init__()
        self.a = nn.Linear(3, 3)
        self.b = nn.Linear(3, 3)
        self.b.weight = self.a.weight
        self.parallel = parallel

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.a(x)) + self.b(-x) if self.parallel else self.b(torch.relu(self.a(x)))


def test_tied_weights() -> None:
    """Side by side they move together; one after the other the outputs hold their product."""
    torch.manual_seed(0)
    x, y = torch.randn(12, 3), torch.randn(12, 3)
    line = loss_along_parameter(Tied(parallel=True), (x[:1],), "b.weight[0, 1]", (x.numpy(), y.numpy()))
    assert line.certificate.ok and line.pieces > 1
    with pytest.raises(UsageError, match=r"a.weight\[0, 1\] is used by more than one layer"):
        loss_along_parameter(Tied(parallel=False), (x[:1],), "a.weight[0, 1]", (x.numpy(), y.numpy()))


def test_what_is_refused() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.PReLU(), nn.Linear(3, 1))
    x = (torch.zeros(1, 2),)
    with torch.no_grad():
        infinite = copy.deepcopy(module)
        infinite[0].weight[0, 0] = torch.inf
    norm = nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 3)), nn.ReLU())
    cases = [
        (lambda: locate(module, x, "0.weigth[0,1]"), r"There is no parameter '0.weigth'; did you mean 0.weight"),
        (lambda: locate(module, x, "0.weight[3,0]"), r"is no number of 0.weight, whose shape is \(3, 2\)"),
        (lambda: locate(module, x, "0.weight[1]"), "is no number of 0.weight"),
        (lambda: locate(module, x, "0.weight"), r"one is 0.weight\[0, 0\]"),
        (lambda: locate(module, x, "0.weight[a]"), "names no weight; one is named like fc2.weight"),
        (lambda: locate(module, x, "1.weight[0]"), "sets a slope or a kink of the activation"),
        (lambda: locate(nn.ReLU(), x, "weight[0]"), "There is no parameter 'weight'; the net has none"),
        (lambda: locate(torch.relu, x, "weight[0]"), "looked for in an nn.Module"),
        (lambda: locate(infinite, x, "0.weight[0,0]"), "is inf: a formula needs finite weights"),
        (lambda: locate(norm, x, "0.parametrizations.weight.original1[0,0]"), "do not move in proportion"),
        (lambda: locate(nn.Sequential(module, nn.Tanh()), x, "0.0.weight[0,0]"), "is not piecewise linear"),
    ]  # fmt: skip
    for call, message in cases:
        with pytest.raises(UsageError, match=message):
            call()
    assert locate(module, x, "0.weight[-1, 0]").index == (2, 0)


@pytest.mark.skipif(not DATA.is_file(), reason=f"the ACAS Xu controller is not at {DATA}")
def test_a_weight_of_a_real_controller() -> None:
    """Along a weight in the third of seven layers, with the outputs of the untouched net as targets: 0 where it is."""
    net = ww.load_net(str(DATA))
    low, high = np.array(net.expects.box).T
    x = np.random.default_rng(0).uniform(low, high, (200, 5))
    with torch.no_grad():
        y = net.module(torch.from_numpy(x)).numpy()
    line = loss_along_parameter(net.module, (torch.from_numpy(x[:1]),), "fc3.weight[7,21]", (x, y), (-2.0, 2.0))
    assert line.certificate.ok, str(line.certificate)
    assert line.minimum.at == pytest.approx(line.at, abs=1e-12) and line.minimum.loss < 1e-24
